// The paced loop: how many at once, groups, delays, what comes again, pauses, and when it ends.
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import type { PacedOptions } from '../../src/tracker/options.ts';
import type { TaskError } from '../../src/tracker/task.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { clock } from './fast-system.ts';
import { useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('./fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();

function open(keys: Iterable<string>, maxTries: number = 0): ProgressTracker {
  const tracker = temporary.keep(ProgressTracker.open(temporary.path(), { maxTries }));
  tracker.addMany(keys);
  return tracker;
}

/** What a loop hands out, taken as fast as it gives, and whether it has ended. */
class Taken {
  readonly keys: string[] = [];
  ended: boolean = false;
  error: unknown;
  readonly #iterator: AsyncIterator<string>;

  constructor(tracker: ProgressTracker, options: PacedOptions<string>) {
    this.#iterator = tracker.tryKeys(options);
    void this.#take();
  }

  async #take(): Promise<void> {
    try {
      for (let step = await this.#iterator.next(); step.done !== true; step = await this.#iterator.next()) {
        this.keys.push(step.value);
      }
    } catch (error) {
      this.error = error;
    }
    this.ended = true;
  }

  /** What was handed out since the last call. */
  async since(): Promise<string[]> {
    // Two turns of the loop: one for what was woken, one for what that handed on.
    await turn();
    await turn();
    return this.keys.splice(0);
  }

  async leave(): Promise<void> {
    await this.#iterator.return?.();
  }
}

const hostOf = (key: string): string => key.slice(0, 1);

describe('a paced loop', () => {
  it('hands out so many at once, in order, and waits for them', async () => {
    const tracker = open(['a', 'b', 'c', 'd']);
    const taken = new Taken(tracker, { concurrency: 2 });
    expect(await taken.since()).toEqual(['a', 'b']);
    expect(tracker.tries('b')).toBe(1);
    expect(tracker.tries('c')).toBe(0);
    tracker.markDone('b');
    expect(await taken.since()).toEqual(['c']);
    tracker.fail('a', new Error('no'));
    expect(await taken.since()).toEqual(['d']);
    tracker.abort('c');
    expect(await taken.since()).toEqual([]);
    expect(taken.ended).toBe(false);
    tracker.markDone('d');
    expect(await taken.since()).toEqual([]);
    expect(taken.ended).toBe(true);
    // A task that failed waits for the next loop.
    expect(tracker.tries('a')).toBe(1);
  });

  it('hands out what a task in flight adds, and ends only when none is in flight', async () => {
    const tracker = open(['a']);
    const taken = new Taken(tracker, { concurrency: 8 });
    expect(await taken.since()).toEqual(['a']);
    expect(taken.ended).toBe(false);
    tracker.addMany(['b', 'c']);
    expect(await taken.since()).toEqual(['b', 'c']);
    for (const key of ['a', 'b', 'c']) tracker.markDone(key);
    await taken.since();
    expect(taken.ended).toBe(true);
  });

  it.each([
    ['an edit by hand', (tracker: ProgressTracker) => Object.assign(tracker.get('a') as object, { _done: true })],
    ['set', (tracker: ProgressTracker) => tracker.set('a', { _tries: 1, _done: true, _aborted: false })],
    ['deletion', (tracker: ProgressTracker) => tracker.delete('a')],
    ['clear', (tracker: ProgressTracker) => tracker.clear()],
    ['a try that is given back', (tracker: ProgressTracker) => tracker.decrementTries('a')],
    ['revert', (tracker: ProgressTracker) => tracker.revert()],
  ])('takes %s as the end of a task', async (_, end) => {
    const tracker = open(['a']);
    tracker.sync();
    const taken = new Taken(tracker, { concurrency: 1 });
    expect(await taken.since()).toEqual(['a']);
    end(tracker);
    await taken.since();
    expect(taken.ended).toBe(true);
  });

  it('keeps so many of one group in flight, and lets others go first', async () => {
    const tracker = open(['a1', 'a2', 'a3', 'b1', 'b2', 'c1']);
    const taken = new Taken(tracker, { concurrency: 10, group: hostOf });
    expect(await taken.since()).toEqual(['a1', 'b1', 'c1']);
    tracker.markDone('b1');
    expect(await taken.since()).toEqual(['b2']);
    tracker.markDone('a1');
    expect(await taken.since()).toEqual(['a2']);
    tracker.markDone('c1');
    tracker.markDone('b2');
    expect(await taken.since()).toEqual([]);
    tracker.markDone('a2');
    expect(await taken.since()).toEqual(['a3']);
    tracker.markDone('a3');
    await taken.since();
    expect(taken.ended).toBe(true);
  });

  it('takes perGroup of each group', async () => {
    const tracker = open(['a1', 'a2', 'a3', 'b1']);
    const taken = new Taken(tracker, { concurrency: 10, group: hostOf, perGroup: 2 });
    expect(await taken.since()).toEqual(['a1', 'a2', 'b1']);
    await taken.leave();
  });

  it('waits between two tasks of one group, from the start of the one and from its end', async () => {
    const tracker = open(['a1', 'a2', 'b1']);
    const taken = new Taken(tracker, { concurrency: 10, group: hostOf, delayMs: 1_000 });
    expect(await taken.since()).toEqual(['a1', 'b1']);
    tracker.markDone('b1');
    clock.advance(600);
    tracker.markDone('a1');
    clock.advance(999);
    expect(await taken.since()).toEqual([]);
    clock.advance(1);
    expect(await taken.since()).toEqual(['a2']);
    await taken.leave();
  });

  it('asks for the delay of each group where it is a function', async () => {
    const tracker = open(['a1', 'a2', 'b1', 'b2']);
    const delayMs = (host: string | number) => (host === 'a' ? 1_000 : 0);
    const taken = new Taken(tracker, { concurrency: 10, group: hostOf, delayMs });
    expect(await taken.since()).toEqual(['a1', 'b1']);
    tracker.markDone('a1');
    tracker.markDone('b1');
    expect(await taken.since()).toEqual(['b2']);
    clock.advance(1_000);
    expect(await taken.since()).toEqual(['a2']);
    await taken.leave();
  });

  it('leaves a blocked group alone until then, or until it is freed', async () => {
    const tracker = open(['a1', 'a2', 'b1']);
    tracker.blockGroup('a', clock.now() + 5_000);
    const taken = new Taken(tracker, { concurrency: 10, group: hostOf });
    expect(await taken.since()).toEqual(['b1']);
    clock.advance(5_000);
    expect(await taken.since()).toEqual(['a1']);
    tracker.blockGroup('a', new Date(clock.now() + 60_000));
    tracker.markDone('a1');
    expect(await taken.since()).toEqual([]);
    tracker.blockGroup('a', 0);
    expect(await taken.since()).toEqual(['a2']);
    await taken.leave();
  });

  it('ends when nothing is left, also where a group was freed long before its time', async () => {
    const tracker = open(['a1', 'a2']);
    tracker.blockGroup('a', clock.now() + 3_600_000);
    const taken = new Taken(tracker, { concurrency: 2, group: hostOf, perGroup: 2 });
    expect(await taken.since()).toEqual([]);
    tracker.blockGroup('a', 0);
    for (const key of await taken.since()) tracker.markDone(key);
    for (const key of await taken.since()) tracker.markDone(key);
    expect(tracker.numDone()).toBe(2);
    await taken.since();
    expect(taken.ended).toBe(true);
  });

  it('misses no moment that comes while it looks at the clock', async () => {
    for (let early = 1; early < 12; early++) {
      const tracker = open(['a'], 2);
      const taken = new Taken(tracker, { concurrency: 2, retryDelayMs: 50 });
      expect(await taken.since()).toEqual(['a']);
      tracker.fail('a', new Error('no'));
      await taken.since();
      clock.advance(50 - early);
      // From now on every look at the clock takes it a millisecond further, and no timer comes to help.
      const startedMs = clock.monotonic();
      let looks = 0;
      const ticking = vi.spyOn(clock, 'monotonic').mockImplementation(() => startedMs + looks++);
      const after = vi.spyOn(clock, 'after');
      tracker.add('b');
      for (let turns = 0; turns < 5; turns++) await taken.since();
      const isWaiting = after.mock.calls.length > 0;
      ticking.mockRestore();
      after.mockRestore();
      if (!isWaiting) expect(tracker.tries('a'), `${early} ms early`).toBe(2);
      await taken.leave();
    }
  });

  it('waits for a task that is put off', async () => {
    const tracker = open(['a', 'b']);
    tracker.shouldTry('a');
    tracker.fail('a', new Error('busy'), { retryAfterMs: 2_000 });
    expect([...tracker.todoKeys()]).toEqual(['a', 'b']);
    const taken = new Taken(tracker, { concurrency: 1 });
    expect(await taken.since()).toEqual(['b']);
    tracker.markDone('b');
    expect(await taken.since()).toEqual([]);
    expect(taken.ended).toBe(false);
    clock.advance(2_000);
    expect(await taken.since()).toEqual(['a']);
    // It is put off again in this same loop, and comes again.
    tracker.fail('a', new Error('busy'), { retryAfterMs: 3_000 });
    expect(await taken.since()).toEqual([]);
    clock.advance(3_000);
    expect(await taken.since()).toEqual(['a']);
    tracker.markDone('a');
    await taken.since();
    expect(taken.ended).toBe(true);
  });

  it('hands failed tasks out again with retryDelayMs, until their tries are used up', async () => {
    const tracker = open(['a'], 3);
    const taken = new Taken(tracker, { concurrency: 1, retryDelayMs: 10 });
    for (let n = 1; n <= 3; n++) {
      expect(await taken.since()).toEqual(['a']);
      tracker.fail('a', new Error('no'));
      expect(await taken.since()).toEqual([]);
      // After the last try there is nothing to wait for.
      expect(taken.ended).toBe(n === 3);
      clock.advance(10);
    }
    expect(tracker.tries('a')).toBe(3);
  });

  it.each<[string, (tracker: ProgressTracker) => void]>([
    ['used up its tries', () => undefined],
    ['was done by somebody else', (tracker) => tracker.markDone('a')],
    ['was set aside', (tracker) => tracker.abort('a')],
    ['was deleted', (tracker) => tracker.delete('a')],
  ])('waits for no task that was put off and %s', async (what, change) => {
    const tracker = open(['a'], what === 'used up its tries' ? 1 : 2);
    const taken = new Taken(tracker, { concurrency: 1, retryDelayMs: 10 });
    expect(await taken.since()).toEqual(['a']);
    tracker.fail('a', new Error('busy'), { retryAfterMs: 3_600_000 });
    change(tracker);
    expect(await taken.since()).toEqual([]);
    expect(taken.ended).toBe(true);
  });

  it('hands out at once what was put off and is put back by hand, once', async () => {
    const tracker = open(['a']);
    const taken = new Taken(tracker, { concurrency: 2 });
    expect(await taken.since()).toEqual(['a']);
    tracker.fail('a', new Error('busy'), { retryAfterMs: 60_000 });
    tracker.sync();
    expect(await taken.since()).toEqual([]);
    expect(tracker.retry()).toBe(1);
    expect(await taken.since()).toEqual(['a']);
    clock.advance(60_000);
    expect(await taken.since()).toEqual([]);
    tracker.markDone('a');
    await taken.since();
    expect(taken.ended).toBe(true);
  });

  it('heeds the later moment where a failure is told twice', async () => {
    const tracker = open(['a']);
    const taken = new Taken(tracker, { concurrency: 1 });
    expect(await taken.since()).toEqual(['a']);
    tracker.fail('a', new Error('busy'), { retryAfterMs: 10 });
    tracker.fail('a', new Error('busy'), { retryAfterMs: 5_000 });
    clock.advance(4_999);
    expect(await taken.since()).toEqual([]);
    clock.advance(1);
    expect(await taken.since()).toEqual(['a']);
    await taken.leave();
  });

  it('heeds a failure that is told while a task waits for its group', async () => {
    const tracker = open(['a', 'b']);
    const taken = new Taken(tracker, { concurrency: 1, group: () => 'all', delayMs: 100 });
    expect(await taken.since()).toEqual(['a']);
    tracker.markDone('a');
    expect(await taken.since()).toEqual([]);
    tracker.fail('b', new Error('busy'), { retryAfterMs: 5_000 });
    clock.advance(4_999);
    expect(await taken.since()).toEqual([]);
    clock.advance(1);
    expect(await taken.since()).toEqual(['b']);
    await taken.leave();
  });

  it.each<[string, Partial<PacedOptions<string>>]>([
    ['delayMs', { group: hostOf, delayMs: () => Number.NaN }],
    ['delayMs', { group: hostOf, delayMs: () => -1 }],
    ['delayMs', { group: hostOf, delayMs: (() => '1') as unknown as () => number }],
    ['group', { group: (() => undefined) as unknown as () => string }],
    ['group', { group: (() => ({})) as unknown as () => string }],
  ])('ends with an error where a function gives what is no %s', async (option, options) => {
    const taken = new Taken(open(['a', 'b']), { concurrency: 1, ...options });
    await taken.since();
    expect(taken.ended).toBe(true);
    expect(taken.error).toMatchObject({ code: 'ERR_POD_OPTIONS', info: { option } });
  });

  it('ends with what a function of its options throws; the change that it was asked about is made', async () => {
    const tracker = open(['a', 'b']);
    const counts = (): boolean => {
      throw new RangeError('counts broke');
    };
    const taken = new Taken(tracker, { concurrency: 1, breaker: { failures: 2, counts } });
    expect(await taken.since()).toEqual(['a']);
    tracker.fail('a', new Error('no'));
    expect(tracker.get('a')?._error?.message).toBe('no');
    expect(await taken.since()).toEqual([]);
    expect(taken.error).toEqual(new RangeError('counts broke'));
  });

  it.each<[string, unknown]>([
    ['no time', Number.NaN],
    ['no date', new Date(Number.NaN)],
    ['null', null],
    ['a text', '2026-11-21'],
  ])('blockGroup refuses %s', (_, until) => {
    const tracker = open([]);
    expect(() => tracker.blockGroup('a', until as Date)).toThrow('must be a Date or milliseconds since 1970');
  });

  it('pauses when tries fail alike, gives them back, looks with one task, and goes on', async () => {
    const tracker = open(['a', 'b', 'c', 'd', 'e'], 1);
    const pauses: unknown[] = [];
    tracker.on('pause', (event) => pauses.push(event));
    const taken = new Taken(tracker, { concurrency: 3, breaker: { failures: 2, pauseMs: 1_000 } });
    expect(await taken.since()).toEqual(['a', 'b', 'c']);
    tracker.fail('a', new Error('proxy 1 is down'));
    expect(await taken.since()).toEqual(['d']);
    tracker.fail('b', new Error('proxy 2 is down'));
    expect(await taken.since()).toEqual([]);
    const id = tracker.errorClasses()[0]?.id;
    expect(pauses).toEqual([{ path: tracker.path, class: id, durationMs: 1_000, refunded: 2 }]);
    // What was in flight fails of the same cause, and is as innocent.
    tracker.fail('c', new Error('proxy 3 is down'));
    expect(await taken.since()).toEqual([]);
    expect(['a', 'b', 'c', 'd'].map((key) => tracker.tries(key))).toEqual([0, 0, 0, 1]);
    expect(tracker.get('a')?._error).toMatchObject({ blame: 'environment', try: 0 });
    tracker.markDone('d');
    expect(await taken.since()).toEqual([]);
    clock.advance(1_000);
    const [probe, ...others] = await taken.since();
    expect(probe).toBe('a');
    expect(others).toEqual([]);
    tracker.fail('a', new Error('proxy 1 is down'));
    clock.advance(1_999);
    expect(await taken.since()).toEqual([]);
    clock.advance(1);
    const [second] = await taken.since();
    tracker.markDone(second as string);
    const rest = await taken.since();
    for (const key of rest) tracker.markDone(key);
    for (const key of await taken.since()) tracker.markDone(key);
    await taken.since();
    expect(taken.ended).toBe(true);
    expect(pauses.length).toBe(2);
    expect(tracker.numDone()).toBe(5);
  });

  it('takes errors that do not count for answers: they open nothing, and close what is open', async () => {
    const tracker = open(['a', 'b', 'c', 'd', 'e', 'f'], 1);
    const pauses: unknown[] = [];
    tracker.on('pause', (event) => pauses.push(event));
    const counts = ({ message }: TaskError): boolean => message === 'no network';
    const taken = new Taken(tracker, { concurrency: 2, breaker: { failures: 2, pauseMs: 1_000, counts } });
    expect(await taken.since()).toEqual(['a', 'b']);
    for (const key of ['a', 'b']) tracker.fail(key, new Error('HTTP 500'));
    expect(await taken.since()).toEqual(['c', 'd']);
    expect(pauses).toEqual([]);
    for (const key of ['c', 'd']) tracker.fail(key, new Error('no network'));
    expect(await taken.since()).toEqual([]);
    expect(pauses.length).toBe(1);
    clock.advance(1_000);
    const [probe] = await taken.since();
    tracker.fail(probe as string, new Error('HTTP 500'));
    const rest = await taken.since();
    expect(rest.length).toBe(2);
    expect(tracker.tries('a')).toBe(1);
    await taken.leave();
  });

  it('ends at its limit, and at its signal also while it waits', async () => {
    const tracker = open(['a', 'b', 'c']);
    const limited = new Taken(tracker, { concurrency: 5, limit: 2 });
    expect(await limited.since()).toEqual(['a', 'b']);
    expect(limited.ended).toBe(true);
    const stop = new AbortController();
    const stopped = new Taken(tracker, { concurrency: 1, signal: stop.signal });
    await stopped.since();
    expect(stopped.ended).toBe(false);
    stop.abort();
    await stopped.since();
    expect(stopped.ended).toBe(true);
  });

  it('fails with the tracker, when that is closed while it waits', async () => {
    const tracker = open(['a', 'b']);
    const taken = new Taken(tracker, { concurrency: 1 });
    await taken.since();
    tracker.close();
    await taken.since();
    expect(taken.error).toMatchObject({ code: 'ERR_POD_CLOSED' });
  });

  it('never has one task in flight twice, also in two loops', async () => {
    const tracker = open(['a', 'b', 'c']);
    const first = new Taken(tracker, { concurrency: 2 });
    expect(await first.since()).toEqual(['a', 'b']);
    const second = new Taken(tracker, { concurrency: 2 });
    expect(await second.since()).toEqual(['c']);
    await first.leave();
    await second.leave();
  });

  it('goes on where it was when entries move, and after a revert', async () => {
    const tracker = open(Array.from({ length: 3_000 }, (_, n) => `a${n}`));
    tracker.sync();
    const taken = new Taken(tracker, { concurrency: 1, group: hostOf });
    expect(await taken.since()).toEqual(['a0']);
    // So many that the table closes the gaps.
    for (let n = 0; n < 2_990; n++) if (n !== 0) tracker.delete(`a${n}`);
    tracker.markDone('a0');
    expect(await taken.since()).toEqual(['a2990']);
    tracker.revert();
    // The claim was taken back with everything else, so the next one is handed out; what is back is behind the place.
    const [next] = await taken.since();
    expect(next).toMatch(/^a\d+$/);
    await taken.leave();
  });

  it('hands out each task of many groups once', async () => {
    const keys = Array.from({ length: 2_000 }, (_, n) => `${n % 700}/${n}`);
    const tracker = open(keys);
    const seen: string[] = [];
    const inFlight = new Map<string, number>();
    const group = (key: string): string => key.split('/')[0] as string;
    for await (const key of tracker.tryKeys({ concurrency: 50, group, perGroup: 1 })) {
      const host = group(key);
      inFlight.set(host, (inFlight.get(host) ?? 0) + 1);
      expect(inFlight.get(host)).toBe(1);
      expect([...inFlight.values()].reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(50);
      seen.push(key);
      void turn().then(() => {
        inFlight.set(host, 0);
        tracker.markDone(key);
      });
    }
    expect(seen.toSorted()).toEqual(keys.toSorted());
  });

  it.each([
    [{ concurrency: 0 }, 'concurrency'],
    [{ concurrency: 1.5 }, 'concurrency'],
    [{ group: hostOf }, 'concurrency'],
    [{ concurrency: 1, group: 'host' }, 'group'],
    [{ concurrency: 1, perGroup: 0 }, 'perGroup'],
    [{ concurrency: 1, delayMs: -1 }, 'delayMs'],
    [{ concurrency: 1, delayMs: Number.NaN }, 'delayMs'],
    [{ concurrency: 1, retryDelayMs: '1' }, 'retryDelayMs'],
    [{ concurrency: 1, breaker: { failures: 3, of: 2 } }, 'breaker'],
    [{ concurrency: 1, breaker: {} }, 'breaker'],
    [{ concurrency: 1, parallel: 2 }, 'parallel'],
  ])('refuses %j, naming %s', async (options, option) => {
    const tracker = open(['a']);
    const taken = new Taken(tracker, options as PacedOptions<string>);
    await taken.since();
    expect(taken.error).toMatchObject({ code: 'ERR_POD_OPTIONS', info: { option } });
    expect(tracker.tries('a')).toBe(0);
  });

  it('hands out items and values, too', async () => {
    const tracker = open(['a']);
    for await (const [key, task] of tracker.tryItems({ concurrency: 1 })) {
      expect([key, task._tries]).toEqual(['a', 1]);
      tracker.markNotDone(key);
      tracker.decrementTries(key);
    }
    for await (const task of tracker.tryValues({ concurrency: 1 })) task._done = true;
    expect(tracker.numDone()).toBe(1);
  });
});
