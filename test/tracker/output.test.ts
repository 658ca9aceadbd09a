// Outputs tied to done: the file holds the lines of each task that is done, once, and nothing else, whatever happens to the process or the file.
import { appendFileSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { backUp } from '../../src/disk/backup.ts';
import { copyFolder } from '../../src/disk/copy.ts';
import { parseManifest } from '../../src/disk/manifest.ts';
import { isOutputName } from '../../src/disk/names.ts';
import { acceptEdits, repairFolder, verifyFolder } from '../../src/disk/repair.ts';
import { restoreFolder } from '../../src/disk/restore.ts';
import type { Durability, ProgressTracker as Tracker } from '../../src/index.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import fc from '../fast-check.ts';
import { testSize } from '../size.ts';
import { clock, fastSystem } from './fast-system.ts';
import { codeOf, errorOf, useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();
const NAME = 'pages.jsonl';
const quiet = (): void => {};

function open(path = temporary.path(), options: object = {}): Tracker {
  return temporary.keep(ProgressTracker.open(path, { syncEvery: 0, ...options }));
}

/** The lines of an output, as JSON. */
function linesIn(path: string): unknown[] {
  const text = readFileSync(join(path, NAME), 'utf8');
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as unknown);
}

/** A closed tracker with three lines in its output. */
function closedWithLines(): string {
  const tasks = open();
  const output = tasks.output(NAME);
  for (const key of ['a', 'b', 'c']) {
    tasks.add(key);
    output.write(key, { key });
    tasks.markDone(key);
  }
  tasks.close();
  return tasks.path;
}

/** A tracker that was killed with two lines in the file and two in the log alone. */
function killedWithLines(): string {
  const tasks = open();
  tasks.addMany(['a', 'b', 'c', 'd', 'e']);
  const output = tasks.output(NAME);
  for (const key of tasks.tryKeys()) {
    output.write(key, key);
    if (key !== 'e') tasks.markDone(key);
    if (key === 'b') tasks.sync();
  }
  expect(linesIn(tasks.path)).toEqual(['a', 'b']);
  return temporary.copy(tasks.path);
}

describe('an output', () => {
  it('holds what was written for tasks that are done, in the order in which they became done', () => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    const output = tasks.output<{ n: number } | string>(NAME);
    expect(output.path).toBe(join(tasks.path, NAME));
    output.write('a', { n: 1 });
    output.write('b', 'b: "ü"\n');
    output.write('a', { n: 2 });
    tasks.markDone('b');
    tasks.markDone('a');
    tasks.markDone('c');
    tasks.sync();
    expect(linesIn(tasks.path)).toEqual(['b: "ü"\n', { n: 1 }, { n: 2 }]);
    tasks.close();
    expect(linesIn(tasks.path)).toEqual(['b: "ü"\n', { n: 1 }, { n: 2 }]);
    expect(verifyFolder(fastSystem, tasks.path)).toBe(3);
  });

  it('has nothing of a try that failed, was given back, aborted, put back, deleted, or followed by another', () => {
    const tasks = open(undefined, { maxTries: 9 });
    const ends: Record<string, (key: string) => void> = {
      fail: (key) => tasks.fail(key, 'no'),
      blame: (key) => tasks.fail(key, 'no', { blame: 'host' }),
      abort: (key) => tasks.abort(key),
      another: (key) => void tasks.shouldTry(key),
      delete: (key) => {
        tasks.delete(key);
        tasks.add(key);
      },
      retry: (key) => {
        tasks.fail(key, 'no');
        output.write(key, 'after the failure');
        tasks.retry({ keys: [key] });
      },
      clear: () => {
        tasks.clear();
        tasks.addMany(Object.keys(ends));
      },
    };
    const output = tasks.output(NAME);
    tasks.addMany(Object.keys(ends));
    for (const [key, end] of Object.entries(ends)) {
      tasks.shouldTry(key);
      output.write(key, `lost: ${key}`);
      end(key);
    }
    for (const key of Object.keys(ends)) {
      output.write(key, key);
      tasks.markDone(key);
    }
    tasks.close();
    expect(linesIn(tasks.path)).toEqual(Object.keys(ends));
  });

  it('goes with a transaction: what it undoes was not written, and what waited before waits again', () => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    const output = tasks.output(NAME);
    output.write('a', 'before');
    output.write('b', 'kept');
    const undone = (): void =>
      tasks.transaction(() => {
        output.write('a', 'undone');
        tasks.markDone('a');
        tasks.fail('b', 'no');
        tasks.delete('c');
        throw new RangeError('back');
      });
    expect(undone).toThrow(RangeError);
    tasks.transaction(() => {
      tasks.markDone('a');
      tasks.markDone('b');
    });
    tasks.close();
    expect(linesIn(tasks.path)).toEqual(['before', 'kept']);
  });

  it('goes back with a revert, to what was in the file and what waited at the sync point', () => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    const output = tasks.output(NAME);
    output.write('a', 1);
    tasks.markDone('a');
    output.write('b', 'waits');
    tasks.sync();
    output.write('b', 'too late');
    output.write('c', 'too late');
    tasks.markDone('c');
    tasks.markDone('b');
    tasks.revert();
    expect([...tasks.doneKeys()]).toEqual(['a']);
    tasks.markDone('b');
    tasks.markDone('c');
    tasks.close();
    expect(linesIn(tasks.path)).toEqual([1, 'waits']);
  });

  it('counts a task that became done by any road, and one that is done again a second time', () => {
    const tasks = open();
    tasks.addMany(['view', 'set', 'update', 'again']);
    const output = tasks.output(NAME);
    for (const key of tasks.keys()) output.write(key, key);
    (tasks.get('view') as { _done: boolean })._done = true;
    tasks.set('set', { _done: true } as never);
    tasks.update([['update', { _done: true }]]);
    tasks.markDone('again');
    expect(codeOf(() => output.write('again', 'late'))).toBe('ERR_POD_UNSUPPORTED');
    tasks.markNotDone('again');
    output.write('again', 'again');
    tasks.markDone('again');
    tasks.close();
    expect(linesIn(tasks.path)).toEqual(['view', 'set', 'update', 'again', 'again']);
  });

  it('of text takes strings as they are', async () => {
    const tasks = open();
    tasks.add('a');
    const rows = tasks.output<string>('rows.csv', { format: 'text' });
    rows.write('a', 'x,"1 ""2"""');
    rows.write('a', '');
    expect(codeOf(() => rows.write('a', 5 as never))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => rows.write('a', '\ud800'))).toBe('ERR_POD_VALUE');
    tasks.markDone('a');
    await Promise.resolve();
    const killed = temporary.copy(tasks.path);
    tasks.close();
    open(killed).close();
    for (const path of [tasks.path, killed])
      expect(readFileSync(join(path, 'rows.csv'), 'utf8')).toBe('x,"1 ""2"""\n\n');
  });

  it('refuses what cannot be a name, a line or a task, and leaves nothing', () => {
    const tasks = open();
    tasks.add('a');
    const names = [
      '',
      '.',
      '..',
      'a/b',
      '../x',
      'a\\b',
      '.x',
      'pod.json',
      'POD.json',
      '0.json',
      '7.json.gz',
      'lock',
      'wal-1',
      'shared.json',
      'shared-12345678.sock',
    ];
    for (const name of [...names, 'quarantine', 'index.bin', '__proto__', 'x'.repeat(101), 'a\0', 'ü', 5, undefined]) {
      expect(isOutputName(name)).toBe(false);
      expect(codeOf(() => tasks.output(name as string))).toBe('ERR_POD_OPTIONS');
    }
    for (const options of [{ format: 'xml' }, { formt: 'text' }, null]) {
      expect(codeOf(() => tasks.output(NAME, options as never))).toBe('ERR_POD_OPTIONS');
    }
    expect(readdirSync(tasks.path)).not.toContain(NAME);
    const output = tasks.output(NAME);
    expect(codeOf(() => output.write('b', 1))).toBe('ERR_POD_UNKNOWN_KEY');
    expect(codeOf(() => output.write('a', Number.NaN))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => output.write('a', [undefined] as never))).toBe('ERR_POD_VALUE');
    writeFileSync(join(tasks.path, 'mine.txt'), 'mine');
    expect(codeOf(() => tasks.output('mine.txt'))).toBe('ERR_POD_OPTIONS');
    expect(readFileSync(join(tasks.path, 'mine.txt'), 'utf8')).toBe('mine');
    tasks.close();
    expect(codeOf(() => output.write('a', 1))).toBe('ERR_POD_CLOSED');
    const reader = open(tasks.path, { mode: 'r' });
    expect(codeOf(() => reader.output(NAME))).toBe('ERR_POD_READONLY');
  });

  it('makes the format of the folder 2, and a folder without one stays in the first', () => {
    const tasks = open();
    const formatNow = (): unknown => /"format":(\d)/.exec(readFileSync(join(tasks.path, 'pod.json'), 'utf8'))?.[1];
    expect(formatNow()).toBe('1');
    tasks.output(NAME);
    expect(formatNow()).toBe('2');
    tasks.close();
    expect(formatNow()).toBe('2');
  });
});

describe('any sequence of tries, ends, sync points, folds, reverts and kills', () => {
  it('leaves in the file the lines of what is done, once', async () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ op: fc.constantFrom('write', 'done', 'fail', 'try'), nth: fc.nat(9) }) },
      {
        weight: 4,
        arbitrary: fc.record({ op: fc.constantFrom('turn', 'sync', 'flush', 'revert', 'compact', 'kill', 'close') }),
      },
    );
    const levels = fc.constantFrom<Durability>('process', 'power', 'exit');
    await fc.assert(
      fc.asyncProperty(
        levels,
        fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }),
        async (durability, steps) => {
          let tasks = open(undefined, { durability, fileSize: 3 });
          for (let key = 0; key < 10; key++) tasks.add(`${key}`);
          let output = tasks.output(NAME);
          tasks.sync();
          let written = 0;
          for (const each of steps) {
            const key = `${'nth' in each ? each.nth : 0}`;
            if (each.op === 'write' && !tasks.done(key)) output.write(key, [key, ++written]);
            // The record says which lines belong to the task, so that every state of the entries says what the file must hold.
            else if (each.op === 'done' && !tasks.done(key)) tasks.markDone(key, { at: written } as object);
            else if (each.op === 'fail' && !tasks.done(key)) tasks.fail(key, 'no');
            else if (each.op === 'try') tasks.shouldTry(key);
            else if (each.op === 'turn') await Promise.resolve();
            else if (each.op === 'sync') tasks.sync();
            else if (each.op === 'flush') await tasks.flush();
            else if (each.op === 'revert') tasks.revert();
            else if (each.op === 'compact') tasks.compact();
            else if (each.op === 'kill' || each.op === 'close') {
              const path = each.op === 'kill' ? temporary.copy(tasks.path) : tasks.path;
              tasks.close();
              tasks = open(path, { durability });
              output = tasks.output(NAME);
            }
            if (each.op === 'sync' || each.op === 'kill' || each.op === 'close') requireExact(tasks);
          }
          tasks.close();
          requireExact(open(tasks.path));
        },
      ),
      { numRuns: { small: 20, ci: 300, long: 2_000 }[testSize] },
    );

    /** Every line belongs to a task that is done and was written before it was; no line is there twice. */
    function requireExact(tasks: Tracker): void {
      const lines = linesIn(tasks.path) as [string, number][];
      expect(new Set(lines.map(([, n]) => n)).size).toBe(lines.length);
      for (const [key, n] of lines) {
        expect(tasks.done(key), `the line ${n} of ${key}, which is not done`).toBe(true);
        expect(n).toBeLessThanOrEqual((tasks.snapshot(key) as unknown as { at: number }).at);
      }
    }
  });

  it('loses no line either', () => {
    const tasks = open();
    const output = tasks.output(NAME);
    const expected: string[] = [];
    let path = tasks.path;
    let now = tasks;
    let write = output;
    for (let round = 0; round < 12; round++) {
      for (let n = 0; n < 5; n++) {
        const key = `${round}-${n}`;
        now.add(key);
        now.shouldTry(key);
        write.write(key, key);
        if (n === 3) continue;
        now.markDone(key);
        expected.push(key);
      }
      if (round % 3 === 0) now.sync();
      if (round % 4 === 1) now.compact();
      // A claim appends everything before it; what dies after that is in the log.
      now.addIfAbsent('claim');
      now.shouldTry('claim');
      path = temporary.copy(path);
      now.close();
      now = open(path);
      write = now.output(NAME);
      expect(linesIn(path)).toEqual(expected);
    }
  });
});

describe('the file of an output', () => {
  it('gets the lines that only the log has when the folder is opened again', () => {
    const path = killedWithLines();
    expect(linesIn(path)).toEqual(['a', 'b']);
    const tasks = open(path);
    expect(linesIn(path)).toEqual(['a', 'b', 'c', 'd']);
    expect(tasks.recovery.quarantined).toEqual([]);
    expect([...tasks.doneKeys()]).toEqual(['a', 'b', 'c', 'd']);
  });

  it('keeps in quarantine what somebody has appended to it, or what a torn write has left', () => {
    for (const [make, text] of [
      [closedWithLines, 'mine\n'],
      [killedWithLines, '"c"\nmine\n'],
      [killedWithLines, '\0\0\0'],
    ] as const) {
      const path = make();
      const before = linesIn(path).length;
      appendFileSync(join(path, NAME), text);
      const tasks = open(path);
      const [kept = ''] = tasks.recovery.quarantined;
      expect(text.endsWith(readFileSync(join(path, kept), 'utf8'))).toBe(true);
      expect(readFileSync(join(path, kept), 'utf8')).toMatch(/mine|\0/);
      expect(linesIn(path).length).toBe(make === closedWithLines ? before : 4);
    }
  });

  it.each<[string, (file: string) => void]>([
    ['missing', (file) => rmSync(file)],
    ['shortened', (file) => truncateSync(file, 9)],
    ['edited', (file) => writeFileSync(file, readFileSync(file, 'utf8').replace('"a"', '"x"'))],
    ['made longer in the middle', (file) => writeFileSync(file, `first\n${readFileSync(file, 'utf8')}`)],
  ])('that is %s is noticed and left alone, until somebody says that it is right', (_, harm) => {
    const path = closedWithLines();
    const file = join(path, NAME);
    harm(file);
    const harmed = readdirSync(path).includes(NAME) ? readFileSync(file, 'utf8') : undefined;
    const error = errorOf(() => ProgressTracker.open(path)) as { code?: string; message: string; file?: string };
    expect(error.code).toBe('ERR_POD_CORRUPT');
    expect(error.message).toContain('everpod accept');
    expect(codeOf(() => verifyFolder(fastSystem, path))).toBe('ERR_POD_CORRUPT');
    expect(readdirSync(path).includes(NAME) ? readFileSync(file, 'utf8') : undefined).toBe(harmed);
    // Whoever only reads the entries is not disturbed.
    const reader = open(path, { mode: 'r' });
    expect(reader.numDone()).toBe(3);
    reader.close();
    expect(acceptEdits(fastSystem, path)).toEqual([NAME]);
    const tasks = open(path);
    tasks.add('d');
    tasks.output(NAME).write('d', 'd');
    tasks.markDone('d');
    tasks.close();
    const ended = harmed === undefined || harmed.endsWith('\n') ? (harmed ?? '') : `${harmed}\n`;
    expect(readFileSync(file, 'utf8')).toBe(`${ended}"d"\n`);
    expect(verifyFolder(fastSystem, path)).toBe(4);
  });

  it('that was edited far from its end is noticed by verify', () => {
    const tasks = open();
    tasks.add('a');
    const output = tasks.output(NAME);
    for (let n = 0; n < 20; n++) output.write('a', 'x'.repeat(10_000));
    tasks.markDone('a');
    tasks.close();
    const file = join(tasks.path, NAME);
    writeFileSync(file, readFileSync(file, 'utf8').replace('x', 'y'));
    expect(codeOf(() => verifyFolder(fastSystem, tasks.path))).toBe('ERR_POD_CORRUPT');
  });

  it('that is moved away while it is open is not written anew: the log keeps the lines, and the program is told', () => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    const output = tasks.output(NAME);
    output.write('a', 'a');
    tasks.markDone('a');
    tasks.sync();
    const away = `${output.path}.away`;
    renameSync(output.path, away);
    output.write('b', 'b');
    tasks.markDone('b');
    expect(codeOf(() => tasks.sync())).toBe('ERR_POD_DISK');
    expect(codeOf(() => tasks.close())).toBe('ERR_POD_DISK');
    expect(tasks.closed).toBe(false);
    renameSync(away, output.path);
    tasks.close();
    expect(linesIn(tasks.path)).toEqual(['a', 'b']);
  });

  it('that cannot be written in the background is heard of with the next change', async () => {
    const tasks = temporary.keep(ProgressTracker.open(temporary.path(), { syncEvery: 100 }));
    tasks.addMany(['a', 'b']);
    const output = tasks.output(NAME);
    output.write('a', 'a');
    tasks.markDone('a');
    renameSync(output.path, `${output.path}.away`);
    clock.advance(200);
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    expect(codeOf(() => tasks.markDone('b'))).toBe('ERR_POD_DISK');
    expect(tasks.done('b')).toBe(false);
    renameSync(`${output.path}.away`, output.path);
    tasks.markDone('b');
    tasks.close();
    expect(linesIn(tasks.path)).toEqual(['a']);
  });
});

describe('a copy of a tracker', () => {
  it('has the outputs as they are for the entries that it has', () => {
    for (const make of [closedWithLines, killedWithLines]) {
      const path = make();
      const before = readFileSync(join(path, NAME), 'utf8');
      const [backup, copy, place] = [temporary.path(), temporary.path(), temporary.path()];
      backUp(fastSystem, path, backup, quiet);
      copyFolder(fastSystem, path, copy, {}, quiet);
      restoreFolder(fastSystem, backup, place, quiet);
      expect(readFileSync(join(path, NAME), 'utf8')).toBe(before);
      const expected = make === closedWithLines ? [{ key: 'a' }, { key: 'b' }, { key: 'c' }] : ['a', 'b', 'c', 'd'];
      for (const each of [backup, copy, place]) {
        expect(linesIn(each)).toEqual(expected);
        expect(verifyFolder(fastSystem, each)).toBeGreaterThan(0);
      }
      // Over a pod that has other lines, and goes on afterwards.
      const other = closedWithLines();
      const { before: kept = '' } = restoreFolder(fastSystem, backup, other, quiet);
      expect(linesIn(kept)).toHaveLength(3);
      expect(linesIn(other)).toEqual(expected);
      const tasks = open(other);
      tasks.add('new');
      tasks.output(NAME).write('new', 'new');
      tasks.markDone('new');
      tasks.close();
      expect(linesIn(other)).toEqual([...expected, 'new']);
    }
  });

  it('made by copyTo has what is in memory', () => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    const output = tasks.output(NAME);
    output.write('a', 'a');
    tasks.markDone('a');
    tasks.sync();
    output.write('b', 'b');
    output.write('c', 'c');
    tasks.markDone('b');
    const copy = temporary.keep(tasks.copyTo(temporary.path()));
    expect(linesIn(copy.path)).toEqual(['a', 'b']);
    copy.output(NAME).write('c', 'of the copy');
    copy.markDone('c');
    copy.close();
    tasks.markDone('c');
    tasks.close();
    expect(linesIn(copy.path)).toEqual(['a', 'b', 'of the copy']);
    expect(linesIn(tasks.path)).toEqual(['a', 'b', 'c']);
  });
});

describe('repair', () => {
  it('keeps outputs, and puts the lines of the log where they belong', () => {
    const path = killedWithLines();
    repairFolder(fastSystem, path);
    expect(linesIn(path)).toEqual(['a', 'b', 'c', 'd']);
    const tasks = open(path);
    expect([...tasks.doneKeys()]).toEqual(['a', 'b', 'c', 'd']);
    tasks.output(NAME).write('e', 'e');
    tasks.markDone('e');
    tasks.close();
    expect(linesIn(path)).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('of a lost manifest leaves the file as it is, and the lines of the log in quarantine', () => {
    const path = killedWithLines();
    rmSync(join(path, 'pod.json'));
    const { quarantined } = repairFolder(fastSystem, path);
    expect(linesIn(path)).toEqual(['a', 'b']);
    const [kept = ''] = quarantined.filter((name) => name.includes('.lines.'));
    expect(readFileSync(join(path, kept), 'utf8')).toContain('"c"\n"d"\n');
    expect(parseManifest(path, readFileSync(join(path, 'pod.json'))).outputs?.has(NAME)).toBe(true);
  });
});
