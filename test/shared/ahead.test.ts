// The claim that a word takes with it: one round trip for a task, and what was claimed so and not handed out is as if it had not been.
import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SharedTracker } from '../../src/shared/index.ts';
import { useBench } from '../process/built.ts';
import { all, codeOf, ownerThread, useHandles } from './handles.ts';

const bench = useBench();
const handles = useHandles();
const keys = (count: number): string[] => Array.from({ length: count }, (_, n) => `k${n}`);

type Tracker = SharedTracker<{ n?: number }>;

/** A handle as its own methods see it. */
interface Asking {
  read<R>(operation: string, ...args: unknown[]): Promise<R>;
}

const open = (path: string, options = {}): Promise<Tracker> =>
  handles.keep(SharedTracker.open<{ n?: number }>(path, options));

/** Two handles, and so many tasks. */
async function two(count: number): Promise<{ path: string; one: Tracker; other: Tracker }> {
  const path = handles.path();
  const [one, other] = [await open(path), await open(path)];
  await one.addMany(keys(count));
  return { path, one, other };
}

/** Does the first task and goes on at once, so that the loop has reason to think that it always does. Returns the second task. */
async function begin(tracker: Tracker, loop: AsyncIterator<string>): Promise<string> {
  await tracker.markDone((await loop.next()).value);
  return (await loop.next()).value;
}

/** What a word did, as seen by a question that goes in the same frame behind it. */
async function countsBehind(tracker: Tracker, word: Promise<unknown>): Promise<{ done: number; tries: number }> {
  const [{ done, tries }] = await Promise.all([tracker.stats(), word]);
  return { done, tries };
}

describe('a word about a task', () => {
  it('claims the next one with it, where the program went on at once before', async () => {
    const { one } = await two(4);
    const loop = one.tryItems();
    const { value: first } = await loop.next();
    expect(await countsBehind(one, one.markDone(first[0]))).toEqual({ done: 1, tries: 1 });
    const { value: second } = await loop.next();
    expect(await countsBehind(one, one.markDone(second[0]))).toEqual({ done: 2, tries: 3 });
    expect(await loop.next()).toEqual({ value: ['k2', { _tries: 1, _done: false, _aborted: false }], done: false });
    expect(await countsBehind(one, one.fail('k2', new Error('x')))).toEqual({ done: 2, tries: 4 });
    expect((await loop.next()).value[0]).toBe('k3');
    await one.abort('k3');
    expect(await loop.next()).toEqual({ value: undefined, done: true });
    expect(await one.stats()).toMatchObject({ done: 2, tries: 4, aborted: 1 });
  });

  it('answers what it answers by itself', async () => {
    const { one } = await two(4);
    const told: unknown[] = [];
    one.on('fail', ({ error }) => told.push(error));
    one.on('abort', ({ error }) => told.push(error));
    const loop = one.tryKeys();
    await one.fail(await begin(one, loop), new TypeError('odd'));
    await one.abort((await loop.next()).value);
    await one.abort((await loop.next()).value, 'not for us');
    expect(told).toMatchObject([{ name: 'TypeError', message: 'odd', try: 1 }, undefined, { message: 'not for us' }]);
    expect(told[1]).toBeUndefined();
  });

  it('claims nothing where it is refused, and ends no claim', async () => {
    const { one, other } = await two(3);
    const loop = one.tryKeys();
    const key = await begin(one, loop);
    const wrong = one.fail(key, new Error('x'), { blame: 'me' as never }).catch(() => {});
    expect(await countsBehind(one, wrong)).toEqual({ done: 1, tries: 2 });
    expect(await other.shouldTry(key)).toBe(false);
    await one.markDone(key);
    expect((await loop.next()).value).toBe('k2');
    await other.abort('k2');
    await other.add('k3');
    expect(await codeOf(one.markDone('k2'))).toBe('ERR_POD_STALE');
    expect(await one.tries('k3')).toBe(0);
  });

  it('K9: is one of three, with the arguments that it takes', async () => {
    const { one } = await two(2);
    const ask = (...question: unknown[]): Promise<unknown> =>
      (one as unknown as Asking).read('wordAndClaim', ...question, 'loop', 0, false, false);
    const wrong = [
      ['clear', []],
      ['wordAndClaim', ['markDone', ['k0'], 'loop', 0, false, false]],
      ['constructor', ['k0']],
      ['markDone', []],
      ['markDone', ['k0', 1]],
      ['markDone', ['k0', null, null, null]],
      ['fail', [{}]],
    ];
    for (const question of wrong) expect(await codeOf(ask(...question))).toMatch(/^ERR_POD_(UNSUPPORTED|KEY)$/);
    expect(await one.stats()).toMatchObject({ total: 2, done: 0, tries: 0 });
    expect(await ask('markDone', ['k0', { n: 1 }])).toEqual([null, [expect.any(String), 'k1']]);
  });

  it('that is refused because the claim was lost frees its place in a loop with concurrency', async () => {
    const { one, other } = await two(2);
    const loop = one.tryKeys({ concurrency: 1 });
    const { value: key } = await loop.next();
    await other.abort(key);
    expect(await codeOf(one.markDone(key))).toBe('ERR_POD_STALE');
    expect((await loop.next()).value).toBe('k1');
  });
});

describe('a task that was claimed with a word and not handed out is given back with its try', () => {
  const ends: Readonly<Record<string, (tracker: Tracker) => Promise<void>>> = {
    break: async (tracker) => {
      for await (const key of tracker.tryKeys()) {
        await tracker.markDone(key);
        if (key === 'k2') break;
      }
    },
    'break before the word was answered': async (tracker) => {
      const words: Promise<void>[] = [];
      for await (const key of tracker.tryKeys()) {
        words.push(tracker.markDone(key));
        if (key === 'k2') break;
      }
      await Promise.all(words);
    },
    throw: async (tracker) => {
      const work = async (): Promise<void> => {
        for await (const key of tracker.tryKeys()) {
          await tracker.markDone(key);
          if (key === 'k2') throw new RangeError('enough');
        }
      };
      await expect(work()).rejects.toThrow('enough');
    },
    limit: async (tracker) => {
      for await (const key of tracker.tryKeys({ limit: 3 })) {
        const { tries } = await countsBehind(tracker, tracker.markDone(key));
        expect(tries).toBeLessThanOrEqual(3);
      }
    },
    'limit, with concurrency': async (tracker) => {
      const loop = tracker.tryKeys({ limit: 3, concurrency: 2 });
      const out = [await loop.next(), await loop.next()];
      const third = loop.next();
      const [{ tries }] = await Promise.all([
        countsBehind(tracker, Promise.all(out.map(({ value }) => tracker.markDone(value)))),
        third,
      ]);
      expect(tries).toBe(3);
      await tracker.markDone((await third).value);
      expect(await loop.next()).toEqual({ value: undefined, done: true });
    },
    signal: async (tracker) => {
      const ending = new AbortController();
      for await (const key of tracker.tryKeys({ signal: ending.signal })) {
        await tracker.markDone(key);
        if (key === 'k2') ending.abort();
      }
    },
    'signal before the word': async (tracker) => {
      const ending = new AbortController();
      for await (const key of tracker.tryKeys({ signal: ending.signal })) {
        if (key === 'k2') ending.abort();
        const { tries } = await countsBehind(tracker, tracker.markDone(key));
        expect(tries).toBeLessThanOrEqual(3);
      }
    },
    'return of a loop that waits': async (tracker) => {
      const loop = tracker.tryKeys({ concurrency: 3 });
      const out = [await loop.next(), await loop.next(), await loop.next()];
      const waiting = loop.next();
      const words = out.map(({ value }) => tracker.markDone(value));
      await loop.return?.();
      expect(await waiting).toEqual({ value: undefined, done: true });
      await Promise.all(words);
    },
    close: async (tracker) => {
      for await (const key of tracker.tryKeys()) {
        await tracker.markDone(key);
        if (key !== 'k2') continue;
        await tracker.close();
        break;
      }
    },
  };

  it.each(Object.entries(ends))('%s', async (_, end) => {
    const { one, other } = await two(6);
    await end(one);
    expect(await other.stats()).toMatchObject({ done: 3, tries: 3 });
    expect(await all(other.tryKeys())).toEqual(['k3', 'k4', 'k5']);
  });

  it('also where the handle closes, or its process ends, with several that were claimed at once', async () => {
    const { path, one, other } = await two(12);
    await one.tryKeys({ prefetch: 5 }).next();
    expect(await other.stats()).toMatchObject({ tries: 5 });
    await one.close();
    // The one that was handed out was begun.
    expect(await other.stats()).toMatchObject({ tries: 1 });
    const { code, lines } = await bench.run('sharer', ['quit', path]);
    expect({ code, lines }).toEqual({ code: 0, lines: ['has k0'] });
    expect(await other.stats()).toMatchObject({ tries: 2 });
  });

  it('in the turn in which it came, where the program does something else first; and then words go by themselves', async () => {
    const { one, other } = await two(4);
    const loop = one.tryKeys();
    const key = await begin(one, loop);
    expect(await countsBehind(one, one.markDone(key))).toEqual({ done: 2, tries: 3 });
    await sleep(20);
    expect(await other.stats()).toMatchObject({ done: 2, tries: 2 });
    expect((await loop.next()).value).toBe('k2');
    expect(await countsBehind(one, one.markDone('k2'))).toEqual({ done: 3, tries: 3 });
    expect((await loop.next()).value).toBe('k3');
  });

  it('to a loop that waits for one', async () => {
    const { one, other } = await two(2);
    const loop = one.tryKeys();
    const key = await begin(one, loop);
    const waiting = other.tryKeys().next();
    await sleep(10);
    const added = one.add('k2');
    // Its owner carries both out together, so the loop that said the word has the new task first.
    expect(await countsBehind(one, one.markDone(key))).toEqual({ done: 2, tries: 3 });
    await added;
    expect((await waiting).value).toBe('k2');
    expect(await one.tries('k2')).toBe(1);
    await other.markDone('k2');
    expect((await loop.next()).done).toBe(true);
  });
});

describe('loops that claim with their words', () => {
  it('hand each task to one, in two loops of one handle and over a socket, and end together', async () => {
    const path = handles.path();
    const end = await ownerThread(bench.built('test/process/children/serving-thread.js'), path, 'tracker');
    const trackers = await Promise.all([open(path), open(path)]);
    await trackers[0]?.addMany(keys(20));
    const given: string[] = [];
    const ended: number[] = [];
    const work = async (tracker: Tracker, pauseMs: number): Promise<void> => {
      for await (const key of tracker.tryKeys()) {
        given.push(key);
        if (pauseMs > 0) await sleep(pauseMs);
        if (given.length < 200) await tracker.addManyIfAbsent([`${key}-a`, `${key}-b`]);
        await tracker.markDone(key);
      }
      ended.push((await tracker.stats()).todo);
    };
    await Promise.all(trackers.flatMap((tracker) => [work(tracker, 0), work(tracker, 1), work(tracker, 0)]));
    expect(new Set(given).size).toBe(given.length);
    expect(given.length).toBeGreaterThan(200);
    expect(ended).toEqual([0, 0, 0, 0, 0, 0]);
    const counts = await trackers[0]?.stats();
    expect(counts).toMatchObject({ total: given.length, done: given.length, tries: given.length });
    await end();
  });

  it('with concurrency: as many are claimed and no more, and each once', async () => {
    const { one, other } = await two(60);
    let isOver = false;
    let most = 0;
    const look = (async () => {
      while (!isOver) {
        most = Math.max(most, (await (other as unknown as Asking).read<{ inFlight: number }>('progress')).inFlight);
        await sleep(0);
      }
    })();
    const words: Promise<void>[] = [];
    const given: string[] = [];
    for await (const key of one.tryKeys({ concurrency: 4 })) {
      given.push(key);
      words.push(sleep(Math.random() * 3).then(() => one.markDone(key)));
    }
    isOver = true;
    await Promise.all([...words, look]);
    expect(given).toEqual([...new Set(given)]);
    expect(await other.stats()).toMatchObject({ done: 60, tries: 60 });
    expect(most).toBe(4);
  });

  it('leave no listener with their signal', async () => {
    const { one } = await two(20);
    const { signal } = new AbortController();
    for await (const key of one.tryKeys({ concurrency: 2, signal })) void sleep(1).then(() => one.markDone(key));
    expect(await one.numDone()).toBe(20);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('K3: what was claimed with a word comes back when the process is killed, its try counted', async () => {
    const { path, one } = await two(3);
    const child = bench.start('sharer', ['block', path]);
    await child.said('blocked');
    expect(await one.stats()).toMatchObject({ done: 2, tries: 3 });
    child.process.kill('SIGKILL');
    await child.finished;
    while ((await one.get('k2'))?._error?.deaths !== 1) await sleep(5);
    expect(await all(one.tryItems())).toMatchObject([['k2', { _tries: 2 }]]);
  });
});
