// The commands that look at tasks and those that change them: what they answer, in words and in JSON, and what they leave in the folder.
import { existsSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { POD, ProgressTracker } from '../../src/index.ts';
import { clock } from '../tracker/fast-system.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { everpod } from './everpod.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();

/** Done: a. Failed for good: b and c, alike. Aborted: d. To do: e, and the number 7. */
function trackerAt(): string {
  const path = temporary.path();
  const tracker = ProgressTracker.open<{ title?: string }, string | number>(path, { maxTries: 1 });
  tracker.addMany(['a', 'b', 'c', 'd', 'e', 7]);
  for (const key of ['a', 'b', 'c']) tracker.shouldTry(key);
  tracker.markDone('a', { title: 'A' });
  tracker.fail('b', new Error('HTTP 503'));
  clock.advance(3_600_000);
  tracker.fail('c', new Error('HTTP 502'));
  tracker.abort('d', 'too large');
  tracker.close();
  return path;
}

function podAt(entries: Record<string, unknown>): string {
  const path = temporary.path();
  POD.open<unknown>(path, { init: entries }).close();
  return path;
}

function reopened(path: string): ProgressTracker<object, string | number> {
  return temporary.keep(ProgressTracker.open<object, string | number>(path, { mode: 'r' }));
}

/** The answer of a command line that goes well. */
function answer(...args: string[]): string {
  const { code, out, err } = everpod(...args);
  expect([code, err]).toEqual([0, '']);
  return out;
}

describe('stats', () => {
  it('counts the tasks of a tracker', () => {
    const path = trackerAt();
    expect(answer('stats', path)).toBe(
      [
        `${path}: a tracker of 6 tasks`,
        'done          1  16.7 %',
        'to do         2  33.3 %',
        'failed        3  50.0 %',
        'out of tries  2  33.3 %',
        'aborted       1  16.7 %',
        'tries: 3, at most 1 for a task',
        '',
      ].join('\n'),
    );
    expect(JSON.parse(answer('stats', path, '--json'))).toEqual({
      kind: 'tracker',
      total: 6,
      done: 1,
      todo: 2,
      failed: 3,
      exhausted: 2,
      aborted: 1,
      tried: 3,
      tries: 3,
      maxTries: 1,
      fileSize: 1000,
      gzipped: false,
    });
  });

  it('says why nothing is left to do', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path);
    tracker.add('a');
    tracker.markDone('a');
    tracker.close();
    expect(answer('stats', path)).toContain('a tracker of 1 task\n');
    expect(answer('stats', path)).toContain('no limit for a task\nnothing is left to do: The one task is done.\n');
  });

  it('counts the entries of any other pod', () => {
    expect(answer('stats', podAt({ a: 1 }))).toMatch(/: a pod of 1 entry\n$/);
    expect(JSON.parse(answer('stats', podAt({ a: 1, b: 2 }), '--json'))).toMatchObject({ kind: 'pod', total: 2 });
  });

  it('disturbs no writer', () => {
    const path = trackerAt();
    const tracker = temporary.keep(ProgressTracker.open(path));
    // In one process there is one handle for a folder; a copy as it lies stands for the look of another process.
    tracker.markDone('e');
    tracker.sync();
    expect(answer('stats', temporary.copy(path))).toContain('done          2');
  });
});

describe('ls', () => {
  it.each<[string[], string]>([
    [[], 'a b c d e 7'],
    [['--todo'], 'e 7'],
    [['--done'], 'a'],
    [['--failed'], 'b c d'],
    [['--aborted'], 'd'],
    [['--limit', '10'], 'a b c d e 7'],
  ])('lists %o', (options, keys) => {
    expect(answer('ls', trackerAt(), ...options)).toBe(`${keys.replaceAll(' ', '\n')}\n`);
  });

  it('says what --limit left out', () => {
    expect(everpod('ls', trackerAt(), '--limit', '2')).toEqual({
      code: 0,
      out: 'a\nb\n',
      err: 'everpod: 2 of 6 keys; --limit left the others out.\n',
    });
  });

  it('lists keys so that each is one line and can be told from the others', () => {
    const path = temporary.path();
    const keys = ['plain', 'with space', '7', 7, ['7'], '', ' led', '"quoted"', 'two\nlines', '[7]', '-3', 'é'];
    POD.open<number, string | number | string[]>(path, { init: keys.map((key, n) => [key, n] as const) }).close();
    const lines = answer('ls', path).split('\n').slice(0, -1);
    expect(lines).toEqual([
      'plain',
      'with space',
      '"7"',
      '7',
      '["7"]',
      '""',
      '" led"',
      '"\\"quoted\\""',
      '"two\\nlines"',
      '"[7]"',
      '"-3"',
      'é',
    ]);
    const inJson = answer('ls', path, '--json').split('\n').slice(0, -1);
    expect(inJson.map((line) => JSON.parse(line) as unknown)).toEqual(keys);
    // What it prints can be given back to it.
    for (const [n, line] of lines.entries()) expect([line, answer('get', path, line)]).toEqual([line, `${n}\n`]);
  });

  it('refuses two lists, a wrong limit, and a list of tasks where there are none', () => {
    expect(everpod('ls', trackerAt(), '--done', '--todo').err).toContain('cannot be given together');
    for (const limit of ['x', '-1', '1.5', '']) {
      expect(everpod('ls', trackerAt(), '--limit', limit), limit).toMatchObject({ code: 2, out: '' });
    }
    const ofPod = everpod('ls', podAt({ a: 1 }), '--done');
    expect([ofPod.code, ofPod.out]).toEqual([2, '']);
    expect(ofPod.err).toContain('must be a tracker');
  });
});

describe('get', () => {
  it('gives one value', () => {
    const path = podAt({ a: { n: [1] } });
    expect(answer('get', path, 'a')).toBe('{\n  "n": [\n    1\n  ]\n}\n');
    expect(JSON.parse(answer('get', path, 'a', '--json'))).toEqual({ key: 'a', value: { n: [1] } });
  });

  it('says so where there is none', () => {
    const { code, out, err } = everpod('get', podAt({ a: 1 }), 'b');
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain('no entry "b"');
  });
});

describe('explain', () => {
  it.each([
    ['a', 1, 'done, tried 1 time of 1'],
    ['b', 1, 'out of tries, tried 1 time of 1; the last error, at '],
    ['d', 1, 'aborted, tried 0 times of 1; the last error, at '],
    ['e', 0, 'to do, tried 0 times of 1'],
    ['7', 0, 'to do, tried 0 times of 1'],
  ])('%s', (key, code, why) => {
    const path = trackerAt();
    const said = everpod('explain', path, key);
    expect([said.code, said.err]).toEqual([code, '']);
    expect(said.out).toContain(`${key}: ${why}`);
    expect(JSON.parse(everpod('explain', path, key, '--json').out)).toMatchObject({ todo: code === 0 });
  });

  it('says who is to blame, and until when a task is put off', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path);
    tracker.addMany(['a', 'b']);
    tracker.fail('a', new Error('HTTP 429'), { blame: 'host', retryAfterMs: 60_000 });
    const at = new Date(clock.now() + 60_000).toISOString();
    tracker.close();
    expect(answer('explain', path, 'a')).toMatch(
      new RegExp(`^a: to do, but not before ${at}, tried 0 times; .* HTTP 429 \\(the host's fault\\)\n$`),
    );
    clock.advance(60_000);
    expect(answer('explain', path, 'a')).toMatch(/^a: to do, tried 0 times; /);
  });

  it('says which priority a task was given', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path);
    tracker.add('a', undefined, { priority: -3 });
    tracker.close();
    expect(answer('explain', path, 'a')).toBe('a: to do, tried 0 times, priority -3\n');
  });

  it('is for tasks that are there', () => {
    expect(everpod('explain', trackerAt(), 'x')).toMatchObject({ code: 1, out: '' });
    expect(everpod('explain', podAt({ a: 1 }), 'a')).toMatchObject({ code: 2, out: '' });
  });
});

describe('errors', () => {
  it('shows classes of errors, the most frequent first', () => {
    const { code, out, err } = everpod('errors', trackerAt());
    expect([code, err]).toEqual([1, '']);
    const [head = '', first = '', second = ''] = out.split('\n');
    expect(head).toMatch(/^class +tasks +stuck +last +error$/);
    expect(first).toMatch(/^E[\da-f]{6} +2 +2 +[\d-]+T[\d:]+ +Error: HTTP <n>$/);
    expect(second).toMatch(/^E[\da-f]{6} +1 +1 +[\d-]+T[\d:]+ +Aborted: too large$/);
  });

  it('answers in JSON, a line each', () => {
    const { out } = everpod('errors', trackerAt(), '--json');
    const classes = out
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { count: number; sampleKeys: unknown[] });
    expect(classes).toMatchObject([{ count: 2, sampleKeys: ['b', 'c'] }, { count: 1 }]);
  });

  it('says so where nothing has failed', () => {
    const path = temporary.path();
    ProgressTracker.open(path).close();
    expect(answer('errors', path)).toBe(`${path}: no task has failed.\n`);
  });
});

describe('retry', () => {
  it('puts everything that failed back', () => {
    const path = trackerAt();
    expect(answer('retry', path)).toBe(`${path}: 2 tasks put back.\n`);
    expect([...reopened(path).todoKeys()]).toEqual(['b', 'c', 'e', 7]);
  });

  it('puts a class, what failed lately, some keys, or aborted ones back', () => {
    const path = trackerAt();
    const [{ id = '' } = {}] = everpod('errors', path, '--json')
      .out.split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { id?: string });
    expect(answer('retry', path, '--class', id, '--since', '30m')).toBe(`${path}: 1 task put back.\n`);
    expect(answer('retry', path, 'b', '--json')).toBe('{"retried":1}\n');
    expect(answer('retry', path, '--aborted')).toBe(`${path}: 1 task put back.\n`);
    expect(everpod('retry', path)).toEqual({ code: 1, out: `${path}: 0 tasks put back.\n`, err: '' });
    expect([...reopened(path).todoKeys()]).toEqual(['b', 'c', 'd', 'e', 7]);
  });

  it('refuses a time that is none, and an unknown key', () => {
    const path = trackerAt();
    // Date itself takes 5 for a day in 2001, and all tasks would be put back.
    for (const time of ['tuesday', '5', '2026', '', '-2d', '1w']) {
      expect(everpod('retry', path, `--since=${time}`).err).toContain('"since" must be how long ago');
    }
    expect(everpod('retry', path, 'b', 'x')).toMatchObject({ code: 2, out: '' });
    expect([...reopened(path).todoKeys()]).toEqual(['e', 7]);
  });
});

describe('abort, done, reset', () => {
  it('abort sets tasks aside, with a reason', () => {
    const path = trackerAt();
    expect(answer('abort', path, 'e', '7', '--reason', 'has no end')).toBe(`${path}: 2 tasks aborted.\n`);
    const tracker = reopened(path);
    expect([...tracker.todoKeys()]).toEqual([]);
    expect(tracker.get(7)?._error).toMatchObject({ name: 'Aborted', message: 'has no end' });
  });

  it('done marks tasks as done', () => {
    const path = trackerAt();
    expect(answer('done', path, 'e', '--json')).toBe('{"done":1}\n');
    expect(reopened(path).done('e')).toBe(true);
  });

  it('reset makes a task as if nobody had tried it, and keeps its data', () => {
    const path = trackerAt();
    expect(answer('reset', path, 'a', 'd')).toBe(`${path}: 2 tasks reset.\n`);
    const tracker = reopened(path);
    expect(tracker.snapshot('a')).toEqual({ title: 'A', _tries: 0, _done: false, _aborted: false });
    expect(tracker.snapshot('d')).toEqual({ _tries: 0, _done: false, _aborted: false });
  });

  it.each(['abort', 'done', 'reset'])('%s does all of it or nothing', (command) => {
    const path = trackerAt();
    const before = answer('export', path);
    const { code, out, err } = everpod(command, path, 'e', 'nobody');
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('ERR_POD_UNKNOWN_KEY');
    expect(answer('export', path)).toBe(before);
  });

  it.each([
    ['abort', '"where" or at least one key must be given'],
    ['done', '"where" or at least one key must be given'],
    ['reset', '"where" or at least one key must be given'],
    ['get', "missing required argument 'key'"],
    ['explain', "missing required argument 'key'"],
  ])('%s needs a key', (command, words) => {
    const { code, out, err } = everpod(command, trackerAt());
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(words);
  });
});

describe('compact', () => {
  it('writes everything anew', () => {
    const path = podAt({ a: 1, b: 2 });
    expect(answer('compact', path)).toBe(`${path}: 2 entries written anew.\n`);
    expect(answer('compact', path, '--json')).toBe('{"entries":2}\n');
    expect(answer('export', path)).toBe('["a",1]\n["b",2]\n');
  });
});

describe('a folder that is not there, or open elsewhere', () => {
  const commands = ['stats', 'ls', 'get x', 'explain x', 'errors', 'retry', 'abort x', 'done x', 'reset x', 'compact'];

  it.each(commands)('%s says that it is not there and makes none', (words) => {
    const [command = '', ...keys] = words.split(' ');
    const path = temporary.path('nothing.pod');
    const { code, out, err } = everpod(command, path, ...keys);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('ERR_POD_NOT_FOUND');
    expect(existsSync(path)).toBe(false);
  });
});
