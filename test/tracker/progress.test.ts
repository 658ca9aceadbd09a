// The line for a program's own terminal: what it says, where it is written, and that nothing of it reaches the program.
import { spawnSync } from 'node:child_process';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type ProgressStream, ProgressTracker, type TrackerStats } from '../../src/index.ts';
import { progressLine } from '../../src/tracker/progress.ts';
import { widthOf } from '../../src/tracker/wording.ts';
import { builtAddress } from '../bundle.ts';
import { clock } from './fast-system.ts';
import { codeOf, useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();
afterEach(() => vi.unstubAllEnvs());

function trackerOf(count: number): ProgressTracker {
  const tasks = temporary.keep(ProgressTracker.open(temporary.path()));
  for (let n = 0; n < count; n++) tasks.add(`task ${n}`);
  return tasks;
}

function streamOf(changes: Partial<ProgressStream> = {}): { stream: ProgressStream; written: string[] } {
  const written: string[] = [];
  const write = (text: string, done?: () => void): boolean => {
    written.push(text);
    done?.();
    return true;
  };
  return { stream: { write, ...changes }, written };
}

const STATS: TrackerStats = {
  total: 812_440,
  done: 500_000,
  aborted: 3_000,
  todo: 309_000,
  tried: 504_000,
  tries: 520_000,
  failed: 1_200,
  exhausted: 440,
  donePerMinute: 2_400,
  addedPerMinute: 100,
  etaMs: undefined,
  eta: { state: 'range', lowMs: 3 * 3_600_000, highMs: 9 * 3_600_000 },
  perMinute1: 2_478,
  perMinute15: 2_400,
  foundPerDone: 1.42,
};

describe('the line', () => {
  it('says all there is to know', () => {
    expect(progressLine(STATS, 16, 200, 'crawl')).toBe(
      'crawl  ████████████░░░░░░░░  61.9 % of 812,440 known  41/s  still finding 1.4 a task  3 to 9 h left  1,200 failed  16 in flight',
    );
  });

  it('leaves the least important out where there is no room, and never wraps', () => {
    for (let columns = 1; columns < 140; columns++) {
      expect(widthOf(progressLine(STATS, 16, columns, '漢字 crawl'))).toBeLessThanOrEqual(columns);
    }
    expect(progressLine(STATS, 16, 45)).toBe('61.9 % of 812,440 known  41/s  3 to 9 h left');
  });

  it('calls nothing complete that is not', () => {
    expect(progressLine({ ...STATS, total: 100_000, todo: 1 }, 0, 200)).toContain('99.9 % of');
    expect(progressLine({ ...STATS, todo: 0, eta: { state: 'finished', lowMs: 0, highMs: 0 } }, 0, 200)).toContain(
      '100 % of 812,440 known',
    );
  });
});

describe('attachProgress', () => {
  it('rewrites one line on a terminal, and leaves the cursor on the next one', () => {
    const tasks = trackerOf(4);
    const { stream, written } = streamOf({ isTTY: true, columns: 70 });
    vi.stubEnv('NO_COLOR', '1');
    const progress = tasks.attachProgress(stream);
    tasks.markDone('task 0');
    clock.advance(200);
    progress[Symbol.dispose]();
    progress[Symbol.dispose]();
    clock.advance(60_000);
    expect(written).toHaveLength(3);
    for (const text of written) expect(text.startsWith('\r\u001B[K')).toBe(true);
    expect(written[0]).toContain('0 % of 4 known');
    expect(written[1]).toContain('25 % of 4 known');
    expect(written.map((text) => text.endsWith('\n'))).toEqual([false, false, true]);
    expect(written.join('')).not.toContain('\u001B[3');
  });

  it('is coloured on a terminal, unless NO_COLOR is set', () => {
    const tasks = trackerOf(2);
    tasks.markDone('task 0');
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'xterm');
    const { stream, written } = streamOf({ isTTY: true, columns: 100 });
    tasks.attachProgress(stream)[Symbol.dispose]();
    expect(written[0]).toContain('\u001B[32m██████████\u001B[39m░');
  });

  it('writes a plain line now and then elsewhere, and one at the end', () => {
    const tasks = trackerOf(2);
    const { stream, written } = streamOf();
    const progress = tasks.attachProgress(stream, { label: 'mine', everyMs: 5_000 });
    clock.advance(4_999);
    expect(written).toEqual([]);
    clock.advance(1);
    progress[Symbol.dispose]();
    expect(written).toHaveLength(2);
    expect(written[0]).toBe('mine  ░░░░░░░░░░░░░░░░░░░░  0 % of 2 known  0/min  too early to tell\n');
  });

  it('knows what is in flight in this process, and not what the last one left', () => {
    const path = temporary.path();
    const first = ProgressTracker.open(path);
    first.addMany(['a', 'b', 'c', 'd']);
    first.shouldTry('a');
    first.shouldTry('b');
    first.close();
    const tasks = temporary.keep(ProgressTracker.open(path));
    const { stream, written } = streamOf();
    const progress = tasks.attachProgress(stream, { everyMs: 1_000 });
    const next = (): string => {
      clock.advance(1_000);
      return written[written.length - 1] as string;
    };
    expect(next()).not.toContain('in flight');
    tasks.shouldTry('b');
    expect(next()).toContain('1 in flight');
    tasks.shouldTry('c');
    expect(next()).toContain('2 in flight');
    tasks.markDone('b');
    tasks.fail('c', 'no');
    expect(next()).not.toContain('in flight');
    progress[Symbol.dispose]();
  });

  it('ends with the tracker, without being told', () => {
    const tasks = trackerOf(1);
    const { stream, written } = streamOf();
    tasks.attachProgress(stream, { everyMs: 1_000 });
    clock.advance(1_000);
    tasks.close();
    clock.advance(60_000);
    expect(written).toHaveLength(2);
  });

  it('never throws into the program: a stream that breaks ends it', async () => {
    const tasks = trackerOf(1);
    const before = process.listenerCount('exit');
    const write = vi.fn((): boolean => {
      throw new Error('EPIPE');
    });
    const progress = tasks.attachProgress({ write, isTTY: true });
    clock.advance(10_000);
    expect(write).toHaveBeenCalledOnce();
    progress[Symbol.dispose]();
    const stream = new PassThrough();
    tasks.attachProgress(stream, { everyMs: 1_000 });
    stream.destroy(new Error('gone'));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(10_000);
    expect(process.listenerCount('exit')).toBe(before);
  });

  it('survives a stream whose last write fails, and then leaves it alone', async () => {
    // What a closed pipe does to the last line of a program.
    const stream = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
    const thrown: unknown[] = [];
    const listener = (error: unknown): void => void thrown.push(error);
    const before = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException').on('uncaughtException', listener);
    try {
      trackerOf(1).attachProgress(stream)[Symbol.dispose]();
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const each of before) process.on('uncaughtException', each);
    }
    expect(thrown).toEqual([]);
    expect(stream.listenerCount('error')).toBe(0);
  });

  it('skips lines that nobody takes', () => {
    const { stream, written } = streamOf({ writableNeedDrain: true });
    const progress = trackerOf(1).attachProgress(stream, { everyMs: 1_000 });
    clock.advance(10_000);
    expect(written).toEqual([]);
    progress[Symbol.dispose]();
  });

  it('refuses options that are none, and a tracker that is closed', () => {
    const tasks = trackerOf(1);
    expect(codeOf(() => tasks.attachProgress(undefined, { everyMs: 0 }))).toBe('ERR_POD_OPTIONS');
    for (const stream of [5, null, {}])
      expect(codeOf(() => tasks.attachProgress(stream as never))).toBe('ERR_POD_OPTIONS');
    tasks.close();
    expect(codeOf(() => tasks.attachProgress())).toBe('ERR_POD_CLOSED');
  });

  it('keeps no process alive, and leaves the line complete when it ends', () => {
    const index = builtAddress('src/index.ts');
    const code = `import { ProgressTracker } from ${JSON.stringify(index)};
      const tasks = ProgressTracker.open(${JSON.stringify(temporary.path())});
      tasks.add('a');
      tasks.attachProgress();`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect(child.status).toBe(0);
    expect(child.stderr).toMatch(/0 % of 1 known.*\n$/);
  });
});
