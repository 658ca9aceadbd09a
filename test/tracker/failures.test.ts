// Failures as a first-class thing: who is to blame, when a task may be tried again, tasks the process dies of; and the events that tell.
import { spawn } from 'node:child_process';
import diagnostics from 'node:diagnostics_channel';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { POD, PodError } from '../../src/index.ts';
import type { TrackerOptions } from '../../src/tracker/options.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { builtFile } from '../bundle.ts';
import { useTemporary } from './temporary.ts';

const temporary = useTemporary();
const CHILD = builtFile('test/tracker/children/dies-in-flight.ts');
const POISONED = builtFile('test/tracker/children/poisoned.ts');

function open(keys: Iterable<string> = [], maxTries: number = 0): ProgressTracker {
  const tracker = temporary.keep(ProgressTracker.open(temporary.path(), { maxTries }));
  tracker.addMany(keys);
  return tracker;
}

describe('blame', () => {
  it.each(['host', 'environment'] as const)('of the %s gives the try back, so that it does not count', (blame) => {
    const tracker = open(['a'], 2);
    for (let n = 0; n < 10; n++) {
      expect(tracker.shouldTry('a')).toBe(true);
      expect(tracker.tries('a')).toBe(1);
      tracker.fail('a', new Error('HTTP 503'), { blame });
      expect(tracker.tries('a')).toBe(0);
      expect(tracker.get('a')?._error).toMatchObject({ message: 'HTTP 503', blame, try: 0 });
    }
    expect([tracker.numTodo(), tracker.stats().failed, tracker.stats().tries]).toEqual([1, 1, 0]);
  });

  it('of the task uses the try up, and is not written down', () => {
    const tracker = open(['a', 'b'], 1);
    for (const key of tracker.tryKeys()) tracker.fail(key, new Error('HTTP 404'), key === 'a' ? {} : { blame: 'task' });
    expect([...tracker.todoKeys()]).toEqual([]);
    for (const key of ['a', 'b']) expect(tracker.snapshot(key)?._error).not.toHaveProperty('blame');
  });

  it('gives one try back, however often it is said', () => {
    const tracker = open(['a']);
    tracker.shouldTry('a');
    tracker.shouldTry('a');
    tracker.fail('a', 'once', { blame: 'host' });
    tracker.fail('a', 'twice', { blame: 'host' });
    expect(tracker.tries('a')).toBe(1);
    // And a task that is not in flight has none to give.
    tracker.add('b');
    tracker.fail('b', 'early', { blame: 'host' });
    expect(tracker.tries('b')).toBe(0);
  });

  it('leaves a task that is in flight again known as such', () => {
    const tracker = open(['a']);
    tracker.shouldTry('a');
    tracker.fail('a', 'x', { blame: 'environment' });
    tracker.shouldTry('a');
    tracker.close();
    expect(temporary.keep(ProgressTracker.open(tracker.path)).resume.unfinishedKeys).toEqual(['a']);
  });

  it.each([
    [{ blame: 'nobody' }, 'blame'],
    [{ retryAfterMs: -1 }, 'retryAfterMs'],
    [{ retryAfterMs: Number.POSITIVE_INFINITY }, 'retryAfterMs'],
    [{ retryAfter: 5 }, 'retryAfter'],
  ])('refuses %j, and the task is as it was', (options, option) => {
    const tracker = open(['a']);
    tracker.shouldTry('a');
    expect(() => tracker.fail('a', 'x', options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_POD_OPTIONS', info: { option } }),
    );
    expect(tracker.snapshot('a')).toEqual({ _tries: 1, _done: false, _aborted: false });
  });
});

describe('retryAfterMs', () => {
  it('puts a task off for the loops that hand out, also after a restart, and not for a question about it', () => {
    const tracker = open(['a', 'b']);
    tracker.shouldTry('a');
    tracker.fail('a', 'busy', { retryAfterMs: 60_000 });
    const { retryAt } = tracker.snapshot('a')?._error ?? {};
    expect(Date.parse(retryAt ?? '') - Date.now()).toBeGreaterThan(50_000);
    tracker.close();
    const again = temporary.keep(ProgressTracker.open(tracker.path));
    expect([...again.tryKeys()]).toEqual(['b']);
    // It is to do all the same.
    expect([...again.todoKeys()]).toEqual(['a', 'b']);
    expect(again.numTodo()).toBe(2);
    expect(again.shouldDo('a')).toBe(true);
  });

  it('ends, and a text that is no time puts nothing off', () => {
    const tracker = open(['a', 'b']);
    for (const key of tracker.tryKeys()) tracker.fail(key, 'busy', { retryAfterMs: 60_000 });
    Object.assign(tracker.get('a')?._error as object, { retryAt: 'later' });
    Object.assign(tracker.get('b')?._error as object, { retryAt: new Date(Date.now() - 1).toISOString() });
    expect([...tracker.tryKeys()]).toEqual(['a', 'b']);
  });
});

/** A process that takes the first task and ends in a way. */
async function endInFlight(way: 'kill' | 'error' | 'signal' | 'exit'): Promise<string> {
  const path = temporary.path();
  const child = spawn(process.execPath, [CHILD, path, way], { stdio: 'ignore' });
  const [code, signal] = await once(child, 'close');
  expect([way, code, signal]).toEqual([
    way,
    ...{ kill: [null, 'SIGKILL'], error: [1, null], signal: [null, 'SIGTERM'], exit: [0, null] }[way],
  ]);
  return path;
}

describe('a task that is in flight when the process dies', () => {
  function reopen(path: string, options: TrackerOptions<object, string> = {}): ProgressTracker<object> {
    return temporary.keep(ProgressTracker.open(path, options));
  }

  /** What a process leaves that goes on with a folder, takes the first task, and is killed. */
  function killedAgain(path: string, options: TrackerOptions<object, string> = {}): string {
    const tracker = reopen(path, options);
    tracker.addManyIfAbsent(['deadly', 'later']);
    tracker.tryKeys({ allowAborted: true }).next();
    const left = temporary.copy(path);
    tracker.close();
    return left;
  }

  it.each([
    ['kill', 'killed'],
    ['error', 'uncaughtException'],
  ] as const)('is marked (%s)', async (way, how) => {
    const tracker = reopen(await endInFlight(way));
    expect(tracker.resume.unfinishedKeys).toEqual(['deadly']);
    expect(tracker.snapshot('deadly')).toMatchObject({
      _tries: 1,
      _aborted: false,
      _error: {
        name: 'ProcessDied',
        message: `the process died (${how}) while this task was in flight`,
        try: 1,
        deaths: 1,
      },
    });
    expect([...tracker.todoKeys()]).toEqual(['deadly', 'later']);
  });

  it.each(['signal', 'exit'] as const)('is not blamed for the end of a program (%s)', async (way) => {
    const tracker = reopen(await endInFlight(way));
    expect(tracker.resume.unfinishedKeys).toEqual(['deadly']);
    expect(tracker.snapshot('deadly')).toEqual({ _tries: 1, _done: false, _aborted: false });
  });

  it('is set aside when it was so too often, and has all its chances again when it is put back', () => {
    let path = temporary.path();
    for (let n = 1; n <= 3; n++) {
      path = killedAgain(path, { maxDeaths: 3 });
      const tracker = reopen(path, { maxDeaths: 3 });
      expect(tracker.snapshot('deadly')).toMatchObject({ _tries: n, _aborted: n === 3, _error: { deaths: n } });
      expect([...tracker.todoKeys()]).toEqual(n === 3 ? ['later'] : ['deadly', 'later']);
      tracker.close();
    }
    const tracker = reopen(path);
    tracker.unabort('deadly');
    expect(tracker.snapshot('deadly')).not.toHaveProperty('_error');
    tracker.close();
    expect(reopen(killedAgain(path)).snapshot('deadly')?._error?.deaths).toBe(1);
  });

  it('is set aside after so many kills of a program that is started again each time, which then gets through', async () => {
    const path = temporary.path();
    const ends: unknown[] = [];
    while (ends.length < 5 && ends[ends.length - 1] !== 0) {
      const [code, signal] = await once(spawn(process.execPath, [POISONED, path, '2'], { stdio: 'ignore' }), 'close');
      ends.push(signal ?? code);
    }
    expect(ends).toEqual(['SIGKILL', 'SIGKILL', 0]);
    const tracker = reopen(path);
    expect([...tracker.doneKeys()]).toEqual(['before', 'after']);
    expect(tracker.snapshot('poison')).toMatchObject({ _tries: 2, _aborted: true, _error: { deaths: 2 } });
  }, 60_000);

  it('begins anew once it came to an end in between', () => {
    const path = killedAgain(temporary.path());
    const tracker = reopen(path);
    tracker.shouldTry('deadly');
    tracker.fail('deadly', new Error('HTTP 500'));
    tracker.close();
    expect(reopen(killedAgain(path)).snapshot('deadly')?._error?.deaths).toBe(1);
  });

  it.each([
    [0, undefined],
    [undefined, 5],
    [1, 1],
  ])('is set aside, with maxDeaths %s, at death number %s', (maxDeaths, last) => {
    let path = temporary.path();
    const options = maxDeaths === undefined ? {} : { maxDeaths };
    for (let n = 1; n <= 6; n++) {
      path = killedAgain(path, options);
      const tracker = reopen(path, options);
      expect(tracker.numAborted()).toBe(last !== undefined && n >= last ? 1 : 0);
      tracker.close();
    }
  });

  it('is neither marked nor changed by a reader', () => {
    const path = killedAgain(temporary.path());
    const tracker = reopen(path, { mode: 'r' });
    expect(tracker.snapshot('deadly')).toEqual({ _tries: 1, _done: false, _aborted: false });
  });

  it.each([-1, 1.5, '3'])('refuses maxDeaths %j', (maxDeaths) => {
    expect(() => ProgressTracker.open(temporary.path(), { maxDeaths: maxDeaths as number })).toThrow(
      expect.objectContaining({ code: 'ERR_POD_OPTIONS', info: { option: 'maxDeaths' } }),
    );
  });
});

describe('events', () => {
  it('tell how tasks end, once each', () => {
    const tracker = open(['a', 'b', 'c']);
    const told: unknown[] = [];
    for (const name of ['done', 'fail', 'abort'] as const) {
      tracker.on(name, ({ path, key, ...rest }) => told.push([name, path === tracker.path, key, rest]));
    }
    tracker.markDone('a');
    tracker.markDone('a');
    tracker.fail('b', new TypeError('no'));
    tracker.abort('c', 'why not');
    tracker.abort('c', 'again');
    expect(told).toMatchObject([
      ['done', true, 'a', {}],
      ['fail', true, 'b', { error: { name: 'TypeError', message: 'no' } }],
      ['abort', true, 'c', { error: { name: 'Aborted', message: 'why not' } }],
    ]);
  });

  it('tell of sync points with something in them, by sync, flush and close', async () => {
    const pod = temporary.keep(POD.open<number>(temporary.path()));
    const told: number[] = [];
    pod.on('sync', ({ keys, durationMs }) => {
      expect(durationMs).toBeGreaterThanOrEqual(0);
      told.push(keys);
    });
    pod.sync();
    pod.set('a', 1).set('b', 2);
    pod.sync();
    pod.set('a', 2);
    await pod.flush();
    pod.set('c', 3);
    pod.close();
    expect(told).toEqual([2, 1, 1]);
  });

  it('reach the channels of the process', () => {
    const tracker = open(['a']);
    const told: unknown[] = [];
    const listener = (event: unknown) => told.push(event);
    diagnostics.subscribe('everpod:done', listener);
    tracker.markDone('a');
    diagnostics.unsubscribe('everpod:done', listener);
    tracker.markNotDone('a');
    tracker.markDone('a');
    expect(told).toEqual([{ path: tracker.path, key: 'a' }]);
  });

  it('of a transaction are told when it is over, and not where it was undone', () => {
    const tracker = open(['a', 'b', 'c', 'd']);
    const told: string[] = [];
    for (const name of ['done', 'fail', 'abort'] as const) {
      tracker.on(name, ({ key }) => told.push(`${name} ${key}, ${tracker.done('a')}`));
    }
    const undone = new Error('undone');
    const undo = (): void =>
      tracker.transaction(() => {
        tracker.markDone('d');
        throw undone;
      });
    expect(() =>
      tracker.transaction(() => {
        for (const key of ['a', 'b']) tracker.markDone(key);
        tracker.fail('c', new Error('no'));
        tracker.abort('d');
        throw undone;
      }),
    ).toThrow(undone);
    expect(told).toEqual([]);
    tracker.transaction(() => {
      tracker.fail('c', new Error('no'));
      // What a part of it took back did not happen either.
      expect(undo).toThrow(undone);
      tracker.markDone('a');
      expect(told).toEqual([]);
    });
    expect(told).toEqual(['fail c, true', 'done a, true']);
  });

  it('stop when that is disposed of, one listener at a time', () => {
    const tracker = open(['a', 'b']);
    const told: string[] = [];
    const listener = ({ key }: { key: string }) => told.push(key);
    const first = tracker.on('done', listener);
    tracker.on('done', listener);
    tracker.markDone('a');
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    tracker.markDone('b');
    expect(told).toEqual(['a', 'a', 'b']);
  });

  it('are refused where there are none of that name, or the listener is no function', () => {
    const tracker = open();
    const refused = expect.objectContaining({ code: 'ERR_POD_OPTIONS' });
    expect(() => tracker.on('finished' as never, () => {})).toThrow(refused);
    expect(() => tracker.on('done', 'log' as never)).toThrow(refused);
    const pod = temporary.keep(POD.open(temporary.path()));
    expect(() => pod.on('done' as never, () => {})).toThrow(refused);
  });

  it('cannot break what they tell of', async () => {
    const tracker = open(['a']);
    const thrown = new PodError('ERR_POD_UNSUPPORTED', 'a listener that throws');
    tracker.on('done', () => {
      throw thrown;
    });
    const told: string[] = [];
    tracker.on('done', ({ key }) => told.push(key));
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    try {
      const uncaught = once(process, 'uncaughtException');
      tracker.markDone('a');
      expect((await uncaught)[0]).toBe(thrown);
    } finally {
      for (const other of others) process.on('uncaughtException', other);
    }
    expect(told).toEqual(['a']);
    expect(tracker.done('a')).toBe(true);
  });
});
