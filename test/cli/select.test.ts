// --where in the commands that look at tasks and those that change them, and what --dry-run says before.
import { describe, expect, it, vi } from 'vitest';
import { ProgressTracker } from '../../src/index.ts';
import fc from '../fast-check.ts';
import { testSize } from '../size.ts';
import { clock } from '../tracker/fast-system.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { everpod } from './everpod.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();

/** Done: a. Failed: b for good with a timeout, c with an HTTP error. Aborted: d. To do: e, and the number 7. */
function trackerAt(): string {
  const path = temporary.path();
  const tracker = ProgressTracker.open<{ size?: number }, string | number>(path, { maxTries: 1 });
  for (const [size, key] of ['a', 'b', 'c', 'd', 'e', 7].entries()) tracker.add(key, { size });
  for (const key of ['a', 'b', 'c']) tracker.shouldTry(key);
  tracker.markDone('a');
  tracker.fail('b', new TypeError('timeout'));
  tracker.fail('c', new Error('HTTP 502'));
  tracker.abort('d', 'too large');
  tracker.close();
  return path;
}

function tasksOf(path: string): Record<string, { _done: boolean; _aborted: boolean; _tries: number }> {
  const tracker = temporary.keep(ProgressTracker.open(path, { mode: 'r' }));
  const tasks = JSON.parse(JSON.stringify(Object.fromEntries(tracker))) as ReturnType<typeof tasksOf>;
  tracker.close();
  return tasks;
}

function answer(...args: string[]): string {
  const { code, out, err } = everpod(...args);
  expect([code, err]).toEqual([0, '']);
  return out;
}

describe('ls and errors', () => {
  it('show only what the condition holds for', () => {
    const path = trackerAt();
    expect(answer('ls', path, '--where', 'size >= 2')).toBe('c\nd\ne\n7\n');
    expect(answer('ls', path, '--todo', '--where', 'size > 4 or key = "e"')).toBe('e\n7\n');
    expect(answer('ls', path, '--failed', '--where', 'error.name = "TypeError"')).toBe('b\n');
    expect(answer('ls', path, '--where', 'size < 0')).toBe('');
    const { out, err } = everpod('ls', path, '--where', 'size >= 2', '--limit', '1');
    expect([out, err]).toEqual(['c\n', 'everpod: 1 of 4 keys; --limit left the others out.\n']);
    const all = everpod('errors', path, '--json');
    const lines = all.out.trim().split('\n');
    const some = everpod('errors', path, '--json', '--where', 'error.message ~ "HTTP" or key = "d"');
    expect(some.code).toBe(1);
    expect(some.out.trim().split('\n').sort()).toEqual(lines.filter((line) => !line.includes('timeout')).sort());
    expect(lines).toHaveLength(3);
    expect(everpod('errors', path, '--where', 'done').code).toBe(0);
  });

  it('say where a condition cannot be read, before the folder is looked at', () => {
    for (const command of ['ls', 'errors', 'retry', 'abort', 'done', 'reset', 'export']) {
      const { code, out, err } = everpod(command, 'no.pod', '--where', 'tries >> 3');
      expect([code, out]).toEqual([2, '']);
      expect(err).toMatch(/ERR_POD_OPTIONS: .*"where".*, at character 8:\n {2}tries >> 3\n {9}\^\n$/);
    }
  });
});

describe('abort, done and reset', () => {
  it('change the tasks for which the condition holds', () => {
    const path = trackerAt();
    expect(answer('abort', path, '--where', 'not done and size > 3', '--reason', 'late')).toBe(
      `${path}: 2 tasks aborted.\n`,
    );
    const aborted = tasksOf(path);
    expect(Object.keys(aborted).filter((key) => aborted[key]?._aborted)).toEqual(['7', 'd', 'e']);
    expect(answer('done', path, '--where', 'aborted', '--json')).toBe('{"done":3}\n');
    expect(answer('reset', path, '--where', 'done')).toBe(`${path}: 4 tasks reset.\n`);
    const reset = tasksOf(path);
    expect(Object.keys(reset).filter((key) => reset[key]?._done)).toEqual([]);
    expect(reset.b?._tries).toBe(1);
  });

  it('take keys, a condition, or those of the keys for which the condition holds', () => {
    const path = trackerAt();
    expect(answer('done', path, 'b', 'c', 'e', 'e', '--where', 'failed')).toBe(`${path}: 2 tasks done.\n`);
    const tasks = tasksOf(path);
    expect(Object.keys(tasks).filter((key) => tasks[key]?._done)).toEqual(['a', 'b', 'c']);
    const none = everpod('done', path, 'e', '--where', 'failed');
    expect([none.code, none.out]).toEqual([1, `${path}: 0 tasks done.\n`]);
    expect(everpod('done', path, 'nobody', '--where', 'failed').err).toContain('ERR_POD_UNKNOWN_KEY');
    for (const command of ['abort', 'done', 'reset']) {
      const { code, err } = everpod(command, path);
      expect([code, err]).toEqual([2, expect.stringContaining('the option "where" or at least one key must be given')]);
    }
    expect(tasksOf(path)).toEqual(tasks);
  });

  it('only count with --dry-run, beside a program that is at work', () => {
    const path = trackerAt();
    const before = tasksOf(path);
    const busy = temporary.keep(ProgressTracker.open(path, { isolated: true }));
    for (const [command, participle] of [
      ['abort', 'aborted'],
      ['done', 'done'],
      ['reset', 'reset'],
    ] as const) {
      expect(everpod(command, path, '--where', 'size < 2').code).toBe(2);
      expect(answer(command, path, '--where', 'size < 2', '--dry-run')).toBe(
        `${path}: 2 tasks would be ${participle}; nothing was changed.\n`,
      );
      expect(JSON.parse(answer(command, path, 'a', '--dry-run', '--json'))).toEqual({ [participle]: 1, dryRun: true });
    }
    expect(answer('retry', path, '--dry-run')).toBe(`${path}: 2 tasks would be put back; nothing was changed.\n`);
    busy.close();
    expect(tasksOf(path)).toEqual(before);
  });
});

describe('retry', () => {
  it('puts back the failed ones for which the condition holds', () => {
    const path = trackerAt();
    expect(answer('retry', path, '--where', 'error.message glob "HTTP 5??" or done')).toBe(
      `${path}: 1 task put back.\n`,
    );
    expect(tasksOf(path).c?._tries).toBe(0);
    expect(tasksOf(path).b?._tries).toBe(1);
    expect(everpod('retry', path, '--where', 'size > 100').code).toBe(1);
  });

  it('--dry-run leaves out what retry leaves out: aborted ones that failed of nothing, unless they are named', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open<object>(path, { maxTries: 1 });
    tracker.set('k', { _tries: 1, _done: false, _aborted: true });
    tracker.close();
    expect(everpod('retry', path, '--aborted', '--dry-run').out).toContain('0 tasks would be');
    expect(everpod('retry', path, '--aborted').out).toContain('0 tasks put back');
    expect(everpod('retry', path, 'k', '--aborted', '--dry-run').out).toContain('1 task would be');
    expect(everpod('retry', path, 'k', '--aborted').out).toContain('1 task put back');
  });

  it('--dry-run counts what it then does, whatever state the tasks are in', () => {
    const task = fc.record(
      {
        _tries: fc.nat(3),
        _done: fc.boolean(),
        _aborted: fc.boolean(),
        _error: fc.record({
          name: fc.constant('E'),
          message: fc.constantFrom('x', 'y'),
          at: fc.constantFrom('2026-01-01T00:00:00.000Z', '2026-03-01T00:00:00.000Z'),
          try: fc.nat(3),
        }),
      },
      { requiredKeys: ['_tries', '_done', '_aborted'] },
    );
    const flags = fc.subarray([['--aborted'], ['--since', '2026-02-01'], ['--where', 'tries > 1'], ['k0', 'k1', 'k2']]);
    let counted = 0;
    fc.assert(
      fc.property(fc.array(task, { minLength: 3, maxLength: 8 }), fc.nat(3), flags, (tasks, maxTries, given) => {
        const path = temporary.path();
        const tracker = ProgressTracker.open<object>(path, { maxTries });
        for (const [at, each] of tasks.entries()) tracker.set(`k${at}`, each);
        tracker.close();
        clock.advance(1);
        const dry = everpod('retry', path, '--json', '--dry-run', ...given.flat());
        const wet = everpod('retry', path, '--json', ...given.flat());
        const { retried } = JSON.parse(wet.out) as { retried: number };
        expect(JSON.parse(dry.out)).toEqual({ retried, dryRun: true });
        expect(dry.code).toBe(wet.code);
        counted += retried;
      }),
      { numRuns: testSize === 'small' ? 50 : 150 },
    );
    expect(counted).toBeGreaterThan(testSize === 'small' ? 30 : 100);
  }, 60_000);
});
