// What a tracker says about the run before it: each way a process can end, what was in flight, and why nothing is left.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { meanwhile } from '../../src/disk/lock.ts';
import { describeResume } from '../../src/tracker/describe-resume.ts';
import type { ResumeReport } from '../../src/tracker/resume.ts';
import { LISTED_KEYS_MAX, whyNothingLeft } from '../../src/tracker/resume.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { builtFile } from '../bundle.ts';
import { useTemporary } from './temporary.ts';

const temporary = useTemporary();
const CHILD = builtFile('test/tracker/children/leaves-tasks.ts');

interface Left {
  readonly path: string;
  readonly pid: number | undefined;
  readonly code: number | null;
  readonly signal: string | null;
}

/** Runs a process that leaves tasks in every state and ends in one way. */
async function leave(ending: string): Promise<Left> {
  const path = temporary.path('crawl.pod');
  const flags = ending === 'full heap' ? ['--max-old-space-size=60'] : [];
  const child = spawn(process.execPath, [...flags, CHILD, path, ending], { stdio: 'ignore' });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { path, pid: child.pid, code, signal };
}

const left = new Map<string, Left>();

beforeAll(async () => {
  const endings = ['close', 'kill', 'exit', 'error', 'signal', 'full heap'];
  const all = await Promise.all(endings.map(leave));
  endings.forEach((ending, index) => {
    left.set(ending, all[index] as Left);
  });
});

function resumeAfter(ending: string): Left & { resume: ResumeReport } {
  const found = left.get(ending) as Left;
  const tracker = temporary.keep(ProgressTracker.open(temporary.copy(found.path)));
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
    returned: 2,
    setAside: 1,
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
      restarted: false,
      oomKills: undefined,
      returned: 0,
      setAside: 0,
      droppedBytes: 0,
      quarantined: [],
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

describe('describeResume', () => {
  const counts = '8 tasks: 1 done, 5 to do, 1 aborted, 1 out of tries, 1 with an error.';
  const inFlight =
    '3 tasks in flight, of which nothing more was heard: 2 to do again, 1 set aside, as that was the last try.';
  const time = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z';

  /** A copy of what a child left, with its lock as if another machine, or another moment, had been at work. */
  function afterEdit(ending: string, edit: (lock: string) => string): readonly string[] {
    const path = temporary.copy((left.get(ending) as Left).path);
    const lock = readFileSync(join(path, 'lock'), 'utf8');
    writeFileSync(join(path, 'lock'), edit(lock));
    return describeResume(temporary.keep(ProgressTracker.open(path)).resume);
  }

  it.each([
    ['exit', ' ended \\(exit 3\\) without closing, with everything saved\\.'],
    ['error', ' was ended by an error that nobody caught \\(uncaughtException\\), with everything saved\\.'],
    ['signal', ' was ended by SIGTERM, with everything saved\\.'],
    ['kill', ' was killed and left no word\\.'],
    ['full heap', ' was killed and left no word\\.'],
  ])('tells how a process ended, and when it last wrote: %s', (ending, words) => {
    const [first, ...others] = afterEdit(ending, (lock) => lock);
    const who = `\\(process ${left.get(ending)?.pid} on .+, since ${time}\\)`;
    expect(first).toMatch(new RegExp(`^The last run ${who}${words} Its last sign of life was at ${time}\\.`));
    expect(others.slice(0, 2)).toEqual([counts, inFlight]);
    expect(others[2]).toMatch(/^\d+ records of the log replayed in \d+ ms\.$/);
    expect(others).toHaveLength(3);
  });

  it('tells of a process that closed the folder, and nothing of a log', () => {
    expect(afterEdit('close', (lock) => lock)).toEqual(['The last run ended in good order.', counts, inFlight]);
  });

  it('says of a process that was killed what the machine says, and no more', () => {
    const [restarted] = afterEdit('kill', (lock) => lock.replace(/^boot id: .*$/m, 'boot id: another'));
    expect(restarted).toContain('The machine was started again since: it may have been a power cut.');
    // Another machine wrote it, on a disk that was moved: nothing is known of that one.
    const moved = (lock: string) =>
      lock.replace(/^boot id: .*$/m, 'boot id: another').replace(/^host: .*$/m, 'host: h');
    const [foreign] = afterEdit('exit', moved);
    expect(foreign).not.toContain('machine');
  });

  const counted = existsSync('/proc/vmstat') && /^oom_kill \d+$/m.test(readFileSync('/proc/vmstat', 'utf8'));
  if (!counted) console.warn('The kernel here does not count whom it kills for want of memory, so that is not tested.');
  it.skipIf(!counted)('says whether the kernel has killed anybody for want of memory meanwhile', () => {
    const [none] = afterEdit('full heap', (lock) => lock);
    expect(none).toMatch(/ It was not killed by the kernel for want of memory: kill -9 does this, .*heap is full\.$/);
    // A count that is none, or one from the future, is no evidence.
    const [silent] = afterEdit('kill', (lock) => lock.replace(/^oom kills: .*\n/m, ''));
    expect(silent).toMatch(/Its last sign of life was at \S+\.$/);
    const [future] = afterEdit('kill', (lock) => lock.replace(/^oom kills: .*$/m, 'oom kills: 999999999'));
    expect(future).toMatch(/Its last sign of life was at \S+\.$/);
  });

  it('names the kernel as a suspect where it has killed somebody, and no more than that', () => {
    const { resume } = temporary.keep(ProgressTracker.open(temporary.copy((left.get('kill') as Left).path)));
    const [one] = describeResume({ ...resume, oomKills: 1 });
    expect(one).toContain(
      ' The kernel has killed 1 process since then for want of memory; it may have been among them.',
    );
    expect(describeResume({ ...resume, oomKills: 2 })[0]).toContain(' 2 processes since then ');
  });

  it('compares what two owners saw', () => {
    const before = { pid: 1, host: 'h', bootId: 'b', startTicks: '', since: '', oomKills: 3 };
    expect(meanwhile(before, { ...before, oomKills: 5 })).toEqual({ restarted: false, oomKills: 2 });
    expect(meanwhile(before, { ...before, bootId: 'c', oomKills: 5 })).toEqual({
      restarted: true,
      oomKills: undefined,
    });
    // Where the system tells of no boot, nothing follows.
    expect(meanwhile({ ...before, bootId: '' }, before)).toEqual({ restarted: false, oomKills: undefined });
  });

  it('says nothing of an end where it only looks', () => {
    const { path } = left.get('kill') as Left;
    const { resume } = temporary.keep(ProgressTracker.open(path, { mode: 'r' }));
    expect(resume.ended).toBe('unknown');
    expect(describeResume(resume)[0]).toBe('How the last run ended is not known: this is a look beside it.');
  });

  it('says why nothing is left, and nothing more of a new folder', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path);
    expect(describeResume(tracker.resume)).toEqual(['Nothing is there yet: the tracker is new.']);
    tracker.add('a');
    tracker.markDone('a');
    tracker.close();
    expect(describeResume(temporary.keep(ProgressTracker.open(path)).resume)).toEqual([
      'The last run ended in good order.',
      '1 task: 1 done, 0 to do, 0 aborted.',
      'Nothing is left to do: The one task is done.',
    ]);
  });

  it('says what was cut off and where it is kept', () => {
    const path = temporary.copy((left.get('kill') as Left).path);
    const log = readdirSync(path).find((name) => name.startsWith('wal-')) as string;
    appendFileSync(join(path, log), 'half a li');
    const lines = describeResume(temporary.keep(ProgressTracker.open(path)).resume);
    expect(lines.at(-2)).toBe('9 bytes dropped from the log: an append that was cut short.');
    const [, kept = ''] = /^Kept aside: (\S+)\.$/.exec(lines.at(-1) ?? '') ?? [];
    expect(readFileSync(join(path, kept), 'utf8')).toBe('half a li');
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
