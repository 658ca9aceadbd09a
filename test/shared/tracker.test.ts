// SharedTracker: claims. No task is with two at a time, every try is counted, and the loops end for everyone together.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ProgressTracker } from '../../src/index.ts';
import { SharedTracker } from '../../src/shared/index.ts';
import { useBench } from '../process/built.ts';
import { all, codeOf, errorOf, ownerThread, useHandles } from './handles.ts';

const bench = useBench();
const handles = useHandles();
const keys = (count: number): string[] => Array.from({ length: count }, (_, n) => `k${n}`);

const open = (path: string, options = {}): Promise<SharedTracker<{ n?: number }>> =>
  handles.keep(SharedTracker.open<{ n?: number }>(path, options));

/** A loop that does each task, and what it was given. */
async function worker(tracker: SharedTracker<{ n?: number }>, given: string[], pauseMs = 0): Promise<void> {
  for await (const key of tracker.tryKeys()) {
    given.push(key);
    if (pauseMs > 0) await sleep(pauseMs);
    await tracker.markDone(key);
  }
}

describe('a shared tracker', () => {
  it('what was answered is not kept for a client whose loop waits meanwhile', async () => {
    const path = handles.path();
    const [owner, other] = [await open(path), await open(path)];
    await owner.add('only');
    expect(await owner.shouldTry('only')).toBe(true);
    const loop = other.tryKeys();
    const waiting = loop.next();
    // Everything is said anew when a megabyte of it is new, and that is then what nobody said that he has.
    const big = { _tries: 0, _done: false, _aborted: true, text: 'x'.repeat(10_000) };
    for (let count = 0; count < 300; count++) await other.getOrInsert('big', big);
    const log = readdirSync(path).filter((name) => name.startsWith('wal-'));
    const lines = log.flatMap((name) => readFileSync(join(path, name), 'utf8').split('\n'));
    const notes = lines.filter((line) => line.includes('"o":"note"'));
    const kept = notes.slice(notes.findLastIndex((line) => line.includes('"o":"note","all":')));
    expect(notes.join().length).toBeGreaterThan(2 * 2 ** 20);
    expect(kept.join().length).toBeLessThan(1.5 * 2 ** 20);
    await owner.markDone('only');
    expect(await waiting).toEqual({ value: undefined, done: true });
  });

  it('TP-176, TPT-17, TPT-18: has the methods of a local tracker, each with a promise', async () => {
    const path = handles.path();
    const tracker = await open(path, { maxTries: 2 });
    await tracker.add('a', { n: 1 });
    await tracker.addMany(['b', 'c']);
    expect(await tracker.addManyIfAbsent(['c', 'd'])).toBe(1);
    expect([await tracker.addIfAbsent('d'), await tracker.addIfAbsent('e')]).toEqual([false, true]);
    expect(await codeOf(tracker.add('a'))).toBe('ERR_POD_DUPLICATE_KEY');
    await tracker.markDone('a', { n: 2 });
    await tracker.markNotDone('a');
    await tracker.markDone('a');
    await tracker.incrementTries('b');
    await tracker.incrementTries('b');
    await tracker.decrementTries('b');
    expect([await tracker.tries('b'), await tracker.done('a'), await tracker.done('nobody')]).toEqual([1, true, false]);
    await tracker.resetTries('b');
    await tracker.fail('c', Object.assign(new TypeError('odd'), { code: 'E_ODD' }));
    await tracker.abort('d', 'not for us');
    expect([await tracker.aborted('d'), await tracker.aborted('a')]).toEqual([true, false]);
    expect((await tracker.get('c'))?._error).toMatchObject({ name: 'TypeError', message: 'odd', code: 'E_ODD' });
    expect((await tracker.get('d'))?._error).toMatchObject({ name: 'Aborted', message: 'not for us' });
    expect((await tracker.errorClasses()).map(({ message }) => message).sort()).toEqual(['not for us', 'odd']);
    expect(await tracker.retry()).toBe(1);
    await tracker.unabort('d');
    const numbers = [tracker.numDone(), tracker.numTried(), tracker.numAborted(), tracker.numTodo()];
    expect(await Promise.all(numbers)).toEqual([1, 0, 0, 4]);
    expect(await Promise.all([tracker.numNotDone(), tracker.numNotTried(), tracker.numNotAborted()])).toEqual([
      4, 5, 5,
    ]);
    expect([await tracker.fractionDone(), await tracker.percentDone(), await tracker.percentTodo(0)]).toEqual([
      0.2,
      '20.00 %',
      '80 %',
    ]);
    expect(await tracker.stats()).toMatchObject({ total: 5, done: 1, todo: 4 });
    expect(await tracker.maxTries).toBe(2);
    await tracker.close();
    const local = ProgressTracker.open<{ n?: number }>(path);
    expect([local.maxTries, local.numDone(), local.get('a')?.n]).toEqual([2, 1, 2]);
    local.close();
  });

  it.each<[string, string | undefined, (tracker: SharedTracker<object>) => Promise<unknown>]>([
    ['ERR_POD_OPTIONS', 'since', (tracker) => tracker.retry({ since: new Date(Number.NaN) })],
    ['ERR_POD_OPTIONS', 'since', (tracker) => tracker.retry({ since: '5' })],
    ['ERR_POD_OPTIONS', 'keys', (tracker) => tracker.retry({ keys: 'xy' })],
    ['ERR_POD_OPTIONS', 'bogus', (tracker) => tracker.retry({ bogus: 1 } as never)],
    ['ERR_POD_OPTIONS', 'priority', (tracker) => tracker.setPriority('x', Number.NaN)],
    ['ERR_POD_OPTIONS', 'priority', (tracker) => tracker.setPriority('x', 11)],
    ['ERR_POD_OPTIONS', 'priority', (tracker) => tracker.add('z', {}, { priority: Number.NaN })],
    ['ERR_POD_OPTIONS', 'maxTries', (tracker) => tracker.setMaxTries(-1)],
    [
      'ERR_POD_OPTIONS',
      'retryAfterMs',
      (tracker) => tracker.fail('x', 'e', { retryAfterMs: Number.POSITIVE_INFINITY }),
    ],
    ['ERR_POD_OPTIONS', 'blame', (tracker) => tracker.fail('x', 'e', { blame: 'me' as never })],
    ['ERR_POD_VALUE', undefined, (tracker) => tracker.add('z', [1])],
    ['ERR_POD_VALUE', undefined, (tracker) => tracker.add('z', [1], { priority: 3 })],
    ['ERR_POD_VALUE', undefined, (tracker) => tracker.addIfAbsent('z', new Date(0))],
    ['ERR_POD_VALUE', undefined, (tracker) => tracker.add('z', { _tries: -1 })],
    ['ERR_POD_VALUE', undefined, (tracker) => tracker.markDone('x', [7])],
    ['ERR_POD_KEY', undefined, (tracker) => tracker.addManyIfAbsent(['n1', 2.5 as never, 'n2'])],
  ])('refuses with %s, about %s, what a local one refuses: %s', async (code, option, call) => {
    const tracker = await open(handles.path());
    await tracker.addMany(['x', 'y']);
    await tracker.fail('x', 'first');
    const before = await all(tracker);
    const error = await errorOf(call(tracker));
    expect([error.code, error.info?.option, await tracker.maxTries]).toEqual([code, option, 0]);
    const local = handles.path();
    const one = ProgressTracker.open(local);
    onTestFinished(() => one.close());
    one.addMany(['x', 'y']);
    // The same call, so that neither changes without the other; a local tracker's limit is a property.
    Object.assign(one, {
      setMaxTries: (tries: number) => {
        one.maxTries = tries;
      },
    });
    const localError = await errorOf((async () => await call(one as never))());
    expect([localError.code, localError.info?.option]).toEqual([code, option]);
    expect(await all(tracker)).toEqual(before);
  });

  it('the facts of an error of the owner arrive with it', async () => {
    const path = handles.path();
    const [owner, other] = [await open(path), await open(path)];
    await owner.add('x');
    for (const tracker of [owner, other]) {
      const error = await errorOf(tracker.transaction([['setPriority', 'x', 11]]));
      expect([error.code, error.info]).toEqual(['ERR_POD_OPTIONS', { option: 'priority' }]);
    }
  });

  it('TP-177: the gates are there, and shouldTry claims', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    expect(await codeOf(one.shouldDo('a'))).toBe('ERR_POD_UNKNOWN_KEY');
    expect([await one.shouldDoAdd('a'), await one.shouldTryAdd('a'), await two.shouldTry('a')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(await one.tries('a')).toBe(1);
    expect(await codeOf(two.markDone('a'))).toBe('ERR_POD_STALE');
    await one.fail('a', new Error('x'));
    expect(await two.shouldTry('a')).toBe(true);
    await two.markDone('a');
    expect(await one.shouldDo('a')).toBe(false);
  });

  it('TP-178, TP-179, TPT-19, TPT-20: the iterators give what local ones give', async () => {
    const tracker = await open(handles.path(), { maxTries: 2 });
    await tracker.addMany(keys(20));
    await tracker.abort('k0');
    await tracker.incrementTries('k1');
    await tracker.incrementTries('k1');
    await tracker.markDone('k2');
    await tracker.incrementTries('k3');
    const rest = keys(20).slice(3);
    expect(await all(tracker.todoKeys())).toEqual(rest);
    expect((await all(tracker.todoItems({ limit: 1 })))[0]).toEqual([
      'k3',
      { _tries: 1, _done: false, _aborted: false },
    ]);
    expect(await all(tracker.todoValues({ limit: 2 }))).toHaveLength(2);
    expect(await all(tracker.todoKeys({ allowAborted: true }))).toEqual(['k0', ...rest]);
    expect(await all(tracker.abortedKeys())).toEqual(['k0']);
    expect((await all(tracker.doneItems())).map(([key]) => key)).toEqual(['k2']);
    expect((await all(tracker.tryItems({ limit: 2 }))).map(([key, task]) => [key, task._tries])).toEqual([
      ['k3', 2],
      ['k4', 1],
    ]);
    expect(await all(tracker.tryValues({ limit: 1 }))).toEqual([{ _tries: 2, _done: false, _aborted: false }]);
    const codeWith = (options: object): Promise<string> =>
      codeOf(Promise.resolve().then(() => tracker.tryKeys(options as never).next()));
    expect(await codeWith({ colour: 1 })).toBe('ERR_POD_OPTIONS');
    for (const option of ['group', 'perGroup', 'delayMs', 'retryDelayMs', 'breaker']) {
      expect(await codeWith({ [option]: 1, concurrency: 2 })).toBe('ERR_POD_UNSUPPORTED');
    }
  });

  it('hands out higher priorities first, also those that were given while a loop is under way', async () => {
    const path = handles.path();
    const tracker = await open(path);
    await tracker.addMany(keys(4));
    await tracker.add('first', { n: 1 }, { priority: 10 });
    await tracker.setPriority('k3', 5);
    expect([await tracker.priority('first'), await tracker.priority('k3'), await tracker.priority('k0')]).toEqual([
      10, 5, 0,
    ]);
    expect(await codeOf(tracker.setPriority('k0', 11))).toBe('ERR_POD_OPTIONS');
    const given: string[] = [];
    for await (const key of tracker.tryKeys()) {
      given.push(key);
      if (key === 'k0') await tracker.setPriority('k2', 1);
      if (key === 'k2') expect(await tracker.addIfAbsent('late', {}, { priority: 9 })).toBe(true);
      await tracker.markDone(key);
    }
    expect(given).toEqual(['first', 'k3', 'k0', 'k2', 'late', 'k1']);
  });

  it('a word that nobody waited for has been carried out when the next task is there', async () => {
    const path = handles.path();
    await (await open(path)).addMany(keys(50));
    const workers = [await open(path), await open(path)];
    const words: Promise<void>[] = [];
    await Promise.all(
      workers.map(async (tracker) => {
        let last: string | undefined;
        for await (const key of tracker.tryKeys()) {
          if (last !== undefined) expect(await tracker.done(last)).toBe(true);
          last = key;
          words.push(tracker.markDone(key));
        }
      }),
    );
    await Promise.all(words);
    expect(words).toHaveLength(50);
    expect((await all((workers[0] as (typeof workers)[0]).values())).map(({ _tries }) => _tries)).toEqual(
      Array.from({ length: 50 }, () => 1),
    );
  });

  it('tells listeners how tasks end by the calls of their own handle', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    await one.addMany(keys(5));
    const told: unknown[] = [];
    const listening = (['done', 'fail', 'abort'] as const).map((name) =>
      one.on(name, (event) => told.push([name, event.path === path, event.key, 'error' in event && event.error])),
    );
    await one.markDone('k0');
    await one.shouldTry('k1');
    await one.fail('k1', new TypeError('odd'));
    await one.abort('k2', 'not for us');
    await one.abort('k3');
    await two.markDone('k4');
    expect(await codeOf(one.markDone('nobody'))).toBe('ERR_POD_UNKNOWN_KEY');
    expect(told).toMatchObject([
      ['done', true, 'k0', false],
      ['fail', true, 'k1', { name: 'TypeError', message: 'odd', try: 1 }],
      ['abort', true, 'k2', { name: 'Aborted', message: 'not for us' }],
      ['abort', true, 'k3', undefined],
    ]);
    for (const each of listening) each[Symbol.dispose]();
    await one.markNotDone('k0');
    await one.markDone('k0');
    expect(told).toHaveLength(4);
    for (const call of [() => one.on('sync' as never, () => {}), () => one.on('done', 1 as never)]) {
      expect(await codeOf(Promise.resolve().then(call))).toBe('ERR_POD_OPTIONS');
    }
  });

  it('says what its owner found, and shows the progress of everybody', async () => {
    const path = handles.path();
    const local = ProgressTracker.open(path);
    local.addMany(keys(4));
    local.markDone('k0');
    local.close();
    const [one, two] = [await open(path), await open(path)];
    expect(await two.resume).toMatchObject({ ended: 'closed', total: 4, done: 1, todo: 3, unfinishedKeys: [] });
    expect(await two.recovery).toMatchObject({ ended: 'closed', quarantined: [] });
    const lines: string[] = [];
    const stream = { write: (text: string) => lines.push(text) > 0 };
    const progress = await one.attachProgress(stream, { label: 'crawl', everyMs: 10 });
    await two.shouldTry('k1');
    await two.markDone('k2');
    await progress[Symbol.asyncDispose]();
    expect(lines.at(-1)).toMatch(/^crawl.* 50 %.* 1 in flight/);
    const count = lines.length;
    await sleep(50);
    expect(lines).toHaveLength(count);
    expect(await codeOf(one.attachProgress(stream, { everyMs: 0 }))).toBe('ERR_POD_OPTIONS');
  });

  it('TPT-21: two handles that count 200 tries each make 400', async () => {
    const path = handles.path();
    const trackers = [await open(path), await open(path)];
    await trackers[0]?.add('a');
    await Promise.all(
      trackers.map(async (tracker) => {
        for (let count = 0; count < 200; count++) await tracker.incrementTries('a');
      }),
    );
    expect(await trackers[0]?.tries('a')).toBe(400);
  });

  it('TPT-22: what two add under the lock does not interleave', async () => {
    const path = handles.path();
    const trackers = [await open(path), await open(path)];
    await Promise.all(
      trackers.map((tracker, who) =>
        tracker.locked(async () => {
          for (let n = 0; n < 10; n++) {
            await tracker.add(`${who}-${n}`);
            await tracker.in(`${who}-${n}`, 'n').set(n);
          }
        }),
      ),
    );
    const order = (await all((trackers[0] as SharedTracker).keys())).map((key) => key[0]).join('');
    expect(['0'.repeat(10) + '1'.repeat(10), '1'.repeat(10) + '0'.repeat(10)]).toContain(order);
  });
});

describe('claims', () => {
  it('hand each task to one, whoever asks, and end for everyone together', async () => {
    const path = handles.path();
    const end = await ownerThread(bench.built('test/process/children/serving-thread.js'), path, 'tracker');
    const trackers = await Promise.all([1, 2, 3].map(() => open(path)));
    await trackers[0]?.addMany(keys(300));
    const given: string[] = [];
    await Promise.all(trackers.flatMap((tracker) => [worker(tracker, given), worker(tracker, given)]));
    expect([...given].sort()).toEqual(keys(300).sort());
    expect(await trackers[0]?.stats()).toMatchObject({ done: 300, tries: 300 });
    await end();
  });

  it('wait while others may add work', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    await one.add('first');
    const given: string[] = [];
    const slow = (async () => {
      for await (const key of one.tryKeys()) {
        if (key === 'first') {
          await sleep(50);
          await one.addMany(['second', 'third']);
        }
        await one.markDone(key);
        given.push(key);
      }
    })();
    await sleep(10);
    await Promise.all([slow, worker(two, given)]);
    expect([...given].sort()).toEqual(['first', 'second', 'third']);
  });

  it('a failed task comes again in the next pass; one with a moment in this pass', async () => {
    const path = handles.path();
    const [one, two] = [await open(path, { maxTries: 3 }), await open(path)];
    await one.addMany(['bad', 'later', 'good']);
    const given: string[] = [];
    const work = async (tracker: typeof one): Promise<void> => {
      for await (const key of tracker.tryKeys()) {
        given.push(key);
        if (key === 'bad') await tracker.fail(key, new Error('no'));
        else if (key === 'later' && (await tracker.tries(key)) === 1) {
          await tracker.fail(key, new Error('soon'), { retryAfterMs: 40 });
        } else await tracker.markDone(key);
      }
    };
    await Promise.all([work(one), work(two)]);
    expect([...given].sort()).toEqual(['bad', 'good', 'later', 'later']);
    await work(two);
    expect([await one.tries('bad'), await one.done('later')]).toEqual([2, true]);
  });

  it.each([
    ['back', -3_600_000],
    ['forward', 3_600_000],
  ])('come again when they should where the wall clock is set %s by an hour in the middle of it', async (_, byMs) => {
    const tracker = await open(handles.path(), { maxTries: 3 });
    await tracker.addMany(['bad', 'later', 'far']);
    const real = Date.now;
    const wall = vi.spyOn(Date, 'now');
    onTestFinished(() => wall.mockRestore());
    const given: string[] = [];
    const stop = new AbortController();
    // What is put off for half an hour comes in no pass of this test, so that a signal has to end the first one.
    for await (const key of tracker.tryKeys({ signal: stop.signal })) {
      given.push(key);
      if (key === 'far') {
        await tracker.fail(key, new Error('much later'), { retryAfterMs: 1_800_000 });
        wall.mockImplementation(() => real() + byMs);
      } else if (key === 'bad') await tracker.fail(key, new Error('no'));
      else if (given.includes('far')) {
        await tracker.markDone(key);
        stop.abort();
      } else await tracker.fail(key, new Error('soon'), { retryAfterMs: 500 });
    }
    expect(given).toEqual(['bad', 'later', 'far', 'later']);
    // The next pass, in which what failed in the last one is tried again, whatever the clock says.
    for await (const key of tracker.tryKeys({ limit: 1 })) given.push(key);
    expect(given.slice(4)).toEqual(['bad']);
  });

  it('a task that its loop passed over without a word is free, and comes again in the next pass', async () => {
    const tracker = await open(handles.path());
    await tracker.addMany(keys(3));
    expect(await all(tracker.tryKeys())).toEqual(keys(3));
    expect(await all(tracker.tryKeys({ limit: 1 }))).toEqual(['k0']);
    expect([await tracker.tries('k0'), await tracker.tries('k1')]).toEqual([2, 1]);
  });

  it('what was claimed ahead and not handed out is given back with its try', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    await one.addMany(keys(10));
    for await (const key of one.tryKeys({ prefetch: 5 })) {
      await one.markDone(key);
      break;
    }
    expect(await two.stats()).toMatchObject({ done: 1, tries: 1 });
    const given: string[] = [];
    await worker(two, given);
    expect([...given].sort()).toEqual(keys(10).slice(1).sort());
  });

  it('with concurrency, as many are in flight and no more', async () => {
    const tracker = await open(handles.path());
    await tracker.addMany(keys(30));
    let inFlight = 0;
    let most = 0;
    for await (const key of tracker.tryKeys({ concurrency: 4 })) {
      most = Math.max(most, ++inFlight);
      void sleep(Math.random() * 5).then(() => {
        inFlight--;
        return tracker.markDone(key);
      });
    }
    expect(most).toBe(4);
    expect(await tracker.numDone()).toBe(30);
  });

  it('a loop that waits ends at its signal, and nothing stays claimed', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    await one.add('a');
    const mine = one.tryKeys();
    await mine.next();
    const ending = new AbortController();
    const waiting = all(two.tryKeys({ signal: ending.signal }));
    await sleep(20);
    ending.abort();
    expect(await waiting).toEqual([]);
    await one.markDone('a');
    expect(await mine.next()).toEqual({ value: undefined, done: true });
  });

  it('end with their handle: the task is to do again, its try counted, and nobody died of it', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    await one.add('a');
    await two.tryKeys().next();
    await two.close();
    const { value } = await one.tryItems().next();
    expect(value).toEqual(['a', { _tries: 2, _done: false, _aborted: false }]);
  });

  it('K3: end with their process: the death is noted, and after so many the task is set aside', async () => {
    const path = handles.path();
    const tracker = await open(path, { maxDeaths: 2 });
    await tracker.add('a');
    for (const deaths of [1, 2]) {
      const child = bench.start('sharer', ['hang', path]);
      await child.said('has a');
      child.process.kill('SIGKILL');
      await child.finished;
      while (((await tracker.get('a'))?._error?.deaths ?? 0) < deaths) await sleep(5);
      expect(await tracker.tries('a')).toBe(deaths);
    }
    expect(await tracker.aborted('a')).toBe(true);
    expect(await all(tracker.tryKeys())).toEqual([]);
  });

  it('K17: end when nothing is heard of a process, and its late word is answered as stale', async () => {
    const path = handles.path();
    const tracker = await open(path, { leaseMs: 500 });
    await tracker.add('a');
    const child = bench.start('sharer', ['hang', path]);
    await child.said('has a');
    child.process.kill('SIGSTOP');
    const { value: key } = await tracker.tryKeys().next();
    expect([key, await tracker.tries('a')]).toEqual(['a', 2]);
    await sleep(600);
    child.process.kill('SIGCONT');
    expect(await child.said('ERR_POD_')).toBe('ERR_POD_STALE');
    expect(await tracker.done('a')).toBe(false);
    await tracker.markDone('a');
    await child.finished;
    expect(await tracker.done('a')).toBe(true);
  });

  it('K18: outlive their owner', async () => {
    const path = handles.path();
    const end = await ownerThread(bench.built('test/process/children/serving-thread.js'), path, 'tracker');
    const [one, two] = [await open(path), await open(path)];
    await one.addMany(['a', 'b']);
    const mine = one.tryKeys();
    const { value: key } = await mine.next();
    await end();
    const theirs = two.tryKeys();
    expect((await theirs.next()).value).toBe(key === 'a' ? 'b' : 'a');
    await one.markDone(key as string);
    await two.markDone(key === 'a' ? 'b' : 'a');
    expect([(await mine.next()).done, (await theirs.next()).done]).toEqual([true, true]);
    expect(await two.stats()).toMatchObject({ done: 2, tries: 2 });
  });

  it('end when the task is removed, or done by another road', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    await one.addMany(['a', 'b', 'c']);
    const mine = one.tryKeys({ concurrency: 3 });
    for (let count = 0; count < 3; count++) await mine.next();
    await two.delete('a');
    await two.in('b', '_done').set(true);
    await two.abort('c', 'by hand');
    expect(await all(two.tryKeys())).toEqual([]);
    expect(await codeOf(one.markDone('a'))).toBe('ERR_POD_STALE');
    expect(await codeOf(one.markDone('b'))).toBe('ERR_POD_STALE');
  });

  it('a call that is refused ends no claim', async () => {
    const path = handles.path();
    const [one, two] = [await open(path), await open(path)];
    await one.add('a');
    await one.tryKeys().next();
    expect(await codeOf(one.fail('a', new Error('x'), { blame: 'me' as never }))).toBe('ERR_POD_OPTIONS');
    expect(await two.shouldTry('a')).toBe(false);
    await one.markDone('a');
  });
});
