// What a tracker says about the run before it: each way a process can end, what was in flight, and why nothing is left.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ResumeReport } from '../../src/tracker/resume.ts';
import { LISTED_KEYS_MAX, whyNothingLeft } from '../../src/tracker/resume.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { useTemporary } from './temporary.ts';

const temporary = useTemporary();
const CHILD = join(dirname(fileURLToPath(import.meta.url)), 'children', 'leaves-tasks.ts');

interface Left {
  readonly path: string;
  readonly pid: number | undefined;
  readonly code: number | null;
  readonly signal: string | null;
}

/** Runs a process that leaves tasks in every state and ends in one way. */
async function leave(ending: string): Promise<Left> {
  const path = temporary.path('crawl.pod');
  const child = spawn(process.execPath, ['--import', 'tsx', CHILD, path, ending], { stdio: 'ignore' });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { path, pid: child.pid, code, signal };
}

const left = new Map<string, Left>();

beforeAll(async () => {
  const endings = ['close', 'kill', 'exit', 'error', 'signal'];
  const all = await Promise.all(endings.map(leave));
  endings.forEach((ending, index) => {
    left.set(ending, all[index] as Left);
  });
});

function resumeAfter(ending: string): Left & { resume: ResumeReport } {
  const found = left.get(ending) as Left;
  const tracker = temporary.keep(ProgressTracker.open(found.path));
  return { ...found, resume: tracker.resume };
}

describe('resume', () => {
  /** What the child leaves, however it ends. */
  const counts = {
    total: 8,
    done: 1,
    aborted: 1,
    failed: 1,
    todo: 5,
    exhausted: 1,
    unfinished: 3,
    unfinishedKeys: ['exhausted', 'in flight 1', 'in flight 2'],
    nothingLeft: undefined,
  };

  it('tells of a process that closed the folder', () => {
    const { code, resume } = resumeAfter('close');
    expect(code).toBe(0);
    expect(resume).toMatchObject({
      ...counts,
      ended: 'closed',
      how: undefined,
      previous: undefined,
      lastWrite: undefined,
    });
    expect(resume.replayed).toBe(0);
  });

  it('tells of a process that was killed in the middle of two tasks, and which', () => {
    const { signal, pid, resume } = resumeAfter('kill');
    expect(signal).toBe('SIGKILL');
    expect(resume).toMatchObject({ ...counts, ended: 'killed', how: undefined, previous: { pid } });
    expect(resume.replayed).toBeGreaterThan(0);
    const lastWrite = Date.parse(resume.lastWrite ?? '');
    expect(Math.abs(Date.now() - lastWrite)).toBeLessThan(120_000);
    expect(resume.durationMs).toBeGreaterThan(0);
  });

  it('tells of a process that exited without closing', () => {
    const { code, pid, resume } = resumeAfter('exit');
    expect(code).toBe(3);
    expect(resume).toMatchObject({ ...counts, ended: 'exit', how: 'exit 3', previous: { pid } });
  });

  it('tells of a process that an error ended', () => {
    const { code, resume } = resumeAfter('error');
    expect(code).toBe(1);
    expect(resume).toMatchObject({ ...counts, ended: 'error', how: 'uncaughtException' });
  });

  it('tells of a process that a signal ended', () => {
    const { signal, resume } = resumeAfter('signal');
    expect(signal).toBe('SIGTERM');
    expect(resume).toMatchObject({ ...counts, ended: 'signal', how: 'SIGTERM' });
  });

  it('has nothing to tell of a new folder', () => {
    const tracker = temporary.keep(ProgressTracker.open(temporary.path()));
    expect(tracker.resume).toEqual({
      ended: 'new',
      how: undefined,
      previous: undefined,
      lastWrite: undefined,
      total: 0,
      done: 0,
      aborted: 0,
      failed: 0,
      todo: 0,
      exhausted: 0,
      unfinished: 0,
      unfinishedKeys: [],
      replayed: 0,
      durationMs: tracker.recovery.durationMs,
      nothingLeft: 'No task was added yet.',
    });
  });

  it('is what was found at opening, whatever happens afterwards', () => {
    const tracker = temporary.keep(ProgressTracker.open(temporary.path()));
    const before = { ...tracker.resume };
    tracker.addMany(['a', 'b']);
    tracker.markDone('a');
    expect(tracker.resume).toEqual(before);
  });

  it('keeps the keys as they are, and names a thousand at most', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open<object, number | string>(path, { durability: 'exit', maxTries: 2 });
    tracker.add('1');
    for (let key = 1; key <= LISTED_KEYS_MAX + 5; key++) tracker.add(key);
    for (const key of tracker.tryKeys()) if (key === 1) tracker.markDone(key);
    tracker.close();
    const { resume } = temporary.keep(ProgressTracker.open<object, number | string>(path));
    expect(resume.unfinished).toBe(LISTED_KEYS_MAX + 5);
    expect(resume.unfinishedKeys).toHaveLength(LISTED_KEYS_MAX);
    expect(resume.unfinishedKeys.slice(0, 3)).toEqual(['1', 2, 3]);
  });

  it('says why nothing is left when it is opened', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path, { maxTries: 1 });
    tracker.addMany(['a', 'b', 'c']);
    tracker.markDone('a');
    tracker.incrementTries('b');
    tracker.abort('c');
    tracker.close();
    const again = temporary.keep(ProgressTracker.open(path));
    expect(again.resume.nothingLeft).toBe('1 of 3 tasks are done, 1 used up all 1 tries, 1 is aborted.');
    // A task that is done as well as aborted is not counted twice.
    again.abort('a');
    again.resetTries('b');
    again.markDone('b');
    again.close();
    const sentence = '2 of 3 tasks are done, 1 is aborted.';
    expect(temporary.keep(ProgressTracker.open(path, { mode: 'r' })).resume.nothingLeft).toBe(sentence);
  });
});

describe('whyNothingLeft', () => {
  const none = { total: 0, done: 0, todo: 0, exhausted: 0, maxTries: 0 };

  it.each<[string | undefined, Partial<typeof none>]>([
    ['No task was added yet.', {}],
    [undefined, { total: 1, todo: 1 }],
    [undefined, { total: 9, done: 8, todo: 1, maxTries: 3 }],
    ['The one task is done.', { total: 1, done: 1 }],
    ['All 5 tasks are done.', { total: 5, done: 5 }],
    ['3 of 5 tasks are done, 2 used up all 3 tries.', { total: 5, done: 3, exhausted: 2, maxTries: 3 }],
    ['3 of 5 tasks are done, 2 are aborted.', { total: 5, done: 3 }],
    ['0 of 2 tasks are done, 2 are aborted.', { total: 2 }],
    ['3 of 5 tasks are done, 1 used up all 3 tries, 1 is aborted.', { total: 5, done: 3, exhausted: 1, maxTries: 3 }],
  ])('says %j', (sentence, counts) => {
    expect(whyNothingLeft({ ...none, ...counts })).toBe(sentence);
  });
});
