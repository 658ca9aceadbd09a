// The loops: what they hand out, what they count before they do, and what they do when the tracker changes under them.
import { cpSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Entry } from '../../src/core/entry.ts';
import { Table } from '../../src/core/table.ts';
import type { Durability } from '../../src/index.ts';
import type { LoopOptions, TrackerOptions } from '../../src/tracker/options.ts';
import { SlotSet } from '../../src/tracker/slot-set.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { testSize } from '../size.ts';
import { fastSystem } from './fast-system.ts';
import { codeOf, errorOf, useTemporary } from './temporary.ts';

/** How many tasks are done before those that are to do. */
const BEHIND = testSize === 'small' ? 150_000 : 1_000_000;

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();

type Data = { n?: number; [name: string]: unknown };
type Tracker = ProgressTracker<Data>;

function open(options: TrackerOptions<Data, string> = {}, path: string = temporary.path()): Tracker {
  return temporary.keep(ProgressTracker.open<Data>(path, options));
}

function openWith(keys: string, options: TrackerOptions<Data, string> = {}): Tracker {
  const tracker = open(options);
  tracker.addMany(keys.split(' '));
  return tracker;
}

/** The six loops, as lists of keys, so that they can be compared with each other. */
const loops: Readonly<Record<string, (tracker: Tracker, options?: LoopOptions) => Iterable<string>>> = {
  todoKeys: (tracker, options) => tracker.todoKeys(options),
  *todoItems(tracker, options) {
    for (const [key, task] of tracker.todoItems(options)) yield sameTask(tracker, key, task);
  },
  *todoValues(tracker, options) {
    for (const task of tracker.todoValues(options)) yield keyOf(tracker, task);
  },
  tryKeys: (tracker, options) => tracker.tryKeys(options),
  *tryItems(tracker, options) {
    for (const [key, task] of tracker.tryItems(options)) yield sameTask(tracker, key, task);
  },
  *tryValues(tracker, options) {
    for (const task of tracker.tryValues(options)) yield keyOf(tracker, task);
  },
};

function sameTask(tracker: Tracker, key: string, task: unknown): string {
  expect(task).toBe(tracker.get(key));
  return key;
}

function keyOf(tracker: Tracker, task: unknown): string {
  for (const [key, value] of tracker) if (value === task) return key;
  throw new Error('The loop yielded something that is no task of the tracker.');
}

const allLoops = Object.keys(loops) as (keyof typeof loops)[];
const tries = allLoops.filter((name) => name.startsWith('try'));

function run(name: string, tracker: Tracker, options?: LoopOptions): Iterable<string> {
  return (loops[name] as (typeof loops)[string])(tracker, options);
}

describe.each(allLoops)('%s', (name) => {
  it('TP-131 to TP-135: visits what is to do, in the order of insertion', () => {
    const tracker = openWith('a b c d e f', { maxTries: 2 });
    tracker.markDone('b');
    tracker.abort('c');
    tracker.update({ d: { _tries: 2 } as never, e: { _tries: 1 } as never });
    expect([...run(name, tracker)]).toEqual(['a', 'e', 'f']);
  });

  it('TPT-20, TPT-23: means allowAborted', () => {
    const tracker = openWith('a b c d', { maxTries: 9 });
    tracker.abort('a');
    tracker.abort('c', 'later');
    tracker.update({ c: { _tries: 9 } as never });
    tracker.markDone('d');
    expect([...run(name, tracker)]).toEqual(['b']);
    expect([...run(name, tracker, { allowAborted: true })]).toEqual(['a', 'b']);
    expect([...run(name, tracker, { allowAborted: false, limit: undefined, signal: undefined })]).toEqual(['b']);
  });

  it('TP-131: visits what the loop adds, breadth first', () => {
    const tracker = openWith('a');
    const links: Record<string, string[]> = { a: ['b', 'c'], b: ['d', 'a'], c: ['e', 'd'], d: [], e: ['f'], f: ['a'] };
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      tracker.addManyIfAbsent(links[key] ?? []);
    }
    expect(visited).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('TP-131: visits a task once in a pass, though it is still to do', () => {
    const tracker = openWith('a b');
    expect([...run(name, tracker)]).toEqual(['a', 'b']);
    expect([...run(name, tracker)]).toEqual(['a', 'b']);
  });

  it('asks whether a task is to do when it is reached', () => {
    const tracker = openWith('a b c d e f');
    tracker.markDone('f');
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      if (key !== 'a') continue;
      tracker.markDone('b');
      tracker.abort('c');
      tracker.delete('d');
      tracker.markNotDone('f');
    }
    expect(visited).toEqual(['a', 'e', 'f']);
  });

  it('goes on behind a task that was deleted while it was worked on', () => {
    const tracker = openWith('a b c');
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      tracker.delete(key);
    }
    expect(visited).toEqual(['a', 'b', 'c']);
    expect(tracker.size).toBe(0);
  });

  it('comes to a task again that was deleted and added again, as it is a new one at the end', () => {
    const tracker = openWith('a b');
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      if (visited.length > 1) continue;
      tracker.delete('a');
      tracker.add('a');
    }
    expect(visited).toEqual(['a', 'b', 'a']);
  });

  it('ends with a tracker that was cleared, and visits what came after', () => {
    const tracker = openWith('a b c');
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      if (key === 'a') {
        tracker.clear();
        tracker.addMany(['x', 'y']);
      }
    }
    expect(visited).toEqual(['a', 'x', 'y']);
  });

  it('keeps its place through revert', () => {
    const tracker = openWith('a b c d');
    tracker.markDone('c');
    tracker.sync();
    tracker.markNotDone('c');
    tracker.add('e');
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      if (key === 'b') tracker.revert();
    }
    expect(visited).toEqual(['a', 'b', 'd']);
    expect(tracker.size).toBe(4);
  });

  it('keeps its place when the tracker packs its slots', () => {
    const tracker = open();
    for (let key = 0; key < 4_000; key++) tracker.add(`k${key}`, { _done: key > 3 && key < 3_990 } as never);
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      if (key === 'k3') for (let other = 0; other < 3_992; other++) tracker.delete(`k${other}`);
    }
    expect(visited).toEqual(
      [...'0123'].map((n) => `k${n}`).concat(Array.from({ length: 8 }, (_, n) => `k${3_992 + n}`)),
    );
  });

  it('hands out no more than the limit', () => {
    const tracker = openWith('a b c d');
    expect([...run(name, tracker, { limit: 0 })]).toEqual([]);
    expect(tracker.numTried()).toBe(0);
    expect([...run(name, tracker, { limit: 3 })]).toEqual(['a', 'b', 'c']);
    expect([...run(name, tracker, { limit: 99 })]).toEqual(['a', 'b', 'c', 'd']);
  });

  it('ends when the signal says so, before it hands out another', () => {
    const tracker = openWith('a b c');
    const controller = new AbortController();
    const visited: string[] = [];
    for (const key of run(name, tracker, { signal: controller.signal })) {
      visited.push(key);
      if (key === 'b') controller.abort();
    }
    expect(visited).toEqual(['a', 'b']);
    expect(tracker.tries('c')).toBe(0);
    expect([...run(name, tracker, { signal: AbortSignal.abort() })]).toEqual([]);
    expect(tracker.tries('a')).toBe(tries.includes(name) ? 1 : 0);
  });

  it('TP-193: several loops at once do not disturb each other', () => {
    const tracker = openWith('a b c');
    const pairs: string[] = [];
    for (const outer of run(name, tracker)) for (const inner of run(name, tracker)) pairs.push(outer + inner);
    expect(pairs).toEqual(['aa', 'ab', 'ac', 'ba', 'bb', 'bc', 'ca', 'cb', 'cc']);
    const first = run(name, tracker)[Symbol.iterator]();
    const second = run(name, tracker)[Symbol.iterator]();
    expect([first.next().value, second.next().value, first.next().value, second.next().value]).toEqual([
      'a',
      'a',
      'b',
      'b',
    ]);
  });

  it('ends when it is left, and stays ended', () => {
    const tracker = openWith('a b c');
    const loop = run(name, tracker)[Symbol.iterator]();
    expect(loop.next()).toEqual({ value: 'a', done: false });
    loop.return?.();
    expect(loop.next().done).toBe(true);
    expect([tracker.tries('b'), tracker.tries('c')]).toEqual([0, 0]);
  });

  it('stays ended although something was added afterwards', () => {
    const tracker = openWith('a');
    const loop = run(name, tracker)[Symbol.iterator]();
    expect([loop.next().done, loop.next().done]).toEqual([false, true]);
    tracker.add('b');
    expect(loop.next().done).toBe(true);
    expect(tracker.tries('b')).toBe(0);
  });

  it('says so when the tracker was closed in the loop', () => {
    const tracker = openWith('a b');
    const loop = run(name, tracker)[Symbol.iterator]();
    loop.next();
    tracker.close();
    expect(codeOf(() => loop.next())).toBe('ERR_POD_CLOSED');
  });

  it('is a loop for `for await` too', async () => {
    const tracker = openWith('a b');
    const visited: string[] = [];
    for await (const key of run(name, tracker)) {
      visited.push(key);
      if (key === 'a') tracker.add('c');
    }
    expect(visited).toEqual(['a', 'b', 'c']);
  });

  it('follows a limit of tries that changes while it runs', () => {
    const tracker = open({ maxTries: 0 });
    for (const key of 'abcd') tracker.add(key, { _tries: 3 } as never);
    const visited: string[] = [];
    for (const key of run(name, tracker)) {
      visited.push(key);
      if (key === 'b') tracker.maxTries = 2;
    }
    expect(visited).toEqual(['a', 'b']);
  });

  it('D14: runs inside a transaction, which takes its tries back when it fails', () => {
    const tracker = openWith('a b');
    const visit = (): void =>
      tracker.transaction(() => {
        for (const key of run(name, tracker)) tracker.markDone(key);
        throw new RangeError('undo');
      });
    expect(visit).toThrow('undo');
    expect([tracker.numDone(), tracker.numTried(), tracker.numTodo()]).toEqual([0, 0, 2]);
    expect([...run(name, tracker)]).toEqual(['a', 'b']);
  });
});

describe('todoKeys, todoItems and todoValues', () => {
  it('TP-131: change nothing', () => {
    const tracker = openWith('a b c');
    tracker.sync();
    for (const name of allLoops.filter((each) => !tries.includes(each)))
      expect([...run(name, tracker)]).toHaveLength(3);
    expect([tracker.dirty().size, tracker.numTried()]).toEqual([0, 0]);
  });

  it('TP-132, TP-133: yield pairs, and values alone', () => {
    const tracker = open();
    tracker.add('a', { n: 1 });
    expect([...tracker.todoItems()]).toEqual([['a', { n: 1, _tries: 0, _done: false, _aborted: false }]]);
    expect([...tracker.todoValues()]).toEqual([{ n: 1, _tries: 0, _done: false, _aborted: false }]);
  });
});

describe.each(tries)('%s', (name) => {
  it('D14, TP-134, TP-135: counts the try before it hands the task out', () => {
    const tracker = openWith('a b c');
    const seen: [string, number, number][] = [];
    for (const key of run(name, tracker)) seen.push([key, tracker.tries(key), tracker.numTried()]);
    expect(seen).toEqual([
      ['a', 1, 1],
      ['b', 1, 2],
      ['c', 1, 3],
    ]);
  });

  it('TP-134: with three tries, three passes hand everything out and the fourth nothing', () => {
    const tracker = openWith('a b c', { maxTries: 3 });
    tracker.markDone('b');
    const passes = [1, 2, 3, 4].map(() => [...run(name, tracker)].join(''));
    expect(passes).toEqual(['ac', 'ac', 'ac', '']);
    expect([tracker.stats().exhausted, tracker.numTodo()]).toEqual([2, 0]);
  });

  it('counts only what it handed out when the loop is left early', () => {
    const tracker = openWith('a b c');
    for (const key of run(name, tracker)) if (key === 'b') break;
    expect(['a', 'b', 'c'].map((key) => tracker.tries(key))).toEqual([1, 1, 0]);
    expect([...run(name, tracker, { limit: 1 })]).toEqual(['a']);
  });

  it('keeps the try of a task in which the loop was thrown out', () => {
    const tracker = openWith('a b c', { maxTries: 2 });
    const crash = (): void => {
      for (const key of run(name, tracker)) {
        if (key === 'b') throw new RangeError('boom');
        tracker.markDone(key);
      }
    };
    expect(crash).toThrow('boom');
    expect(['a', 'b', 'c'].map((key) => tracker.tries(key))).toEqual([1, 1, 0]);
    expect([...run(name, tracker)]).toEqual(['b', 'c']);
    expect([...run(name, tracker)]).toEqual(['c']);
  });

  it('two loops at once share the tries', () => {
    const tracker = openWith('a b', { maxTries: 2 });
    const handedOut: string[] = [];
    for (const outer of run(name, tracker)) {
      handedOut.push(outer);
      for (const inner of run(name, tracker)) handedOut.push(inner);
    }
    expect(handedOut.filter((key) => key === 'a')).toHaveLength(2);
    expect(handedOut.filter((key) => key === 'b')).toHaveLength(2);
    expect([tracker.tries('a'), tracker.tries('b')]).toEqual([2, 2]);
  });

  it('does not hand out a task whose try could not be saved', () => {
    const tracker = openWith('a b');
    tracker.sync();
    const full = vi.spyOn(fastSystem.fs, 'write').mockImplementation(() => {
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' });
    });
    const handedOut: string[] = [];
    const work = (): void => {
      for (const key of run(name, tracker)) handedOut.push(key);
    };
    expect(codeOf(work)).toBe('ERR_POD_DISK');
    full.mockRestore();
    expect(handedOut).toEqual([]);
    expect([...run(name, tracker)]).toEqual(['a', 'b']);
  });

  const safe: [Durability, number][] = [
    ['exit', 0],
    ['process', 1],
    ['power', 1],
  ];

  it.each(safe)(
    'D14: at level %s the claim is in the folder before the task is handed out: %i',
    (durability, counted) => {
      const tracker = openWith('a b', { durability });
      tracker.sync();
      for (const key of run(name, tracker)) {
        // The process dies here: this is what it leaves.
        const left = open({}, temporary.copy(tracker.path));
        expect([key, left.tries(key)]).toEqual([key, counted]);
        expect(left.resume.unfinishedKeys).toEqual(counted === 0 ? [] : key === 'a' ? ['a'] : ['a', 'b']);
        left.close();
      }
    },
  );

  it.each<[Durability, number]>([
    ['process', 0],
    ['power', 1],
  ])('D14: at level %s so many fsyncs are made before each task is handed out: %i', (durability, fsyncs) => {
    const tracker = openWith('a b', { durability });
    tracker.sync();
    const fdatasync = vi.spyOn(fastSystem.fs, 'fdatasync');
    try {
      let handedOut = 0;
      for (const _ of run(name, tracker)) expect(fdatasync).toHaveBeenCalledTimes(fsyncs * ++handedOut);
      expect(handedOut).toBe(2);
    } finally {
      fdatasync.mockRestore();
    }
  });

  it('D1, D14: what was changed before the claim is in the folder with it', () => {
    const tracker = openWith('a b');
    for (const key of run(name, tracker)) {
      const left = open({}, temporary.copy(tracker.path));
      expect([key, left.numDone(), left.get('a')?.n]).toEqual(key === 'a' ? ['a', 0, undefined] : ['b', 1, 7]);
      left.close();
      tracker.markDone(key, { n: 7 });
    }
  });
});

describe('shouldTry', () => {
  it.each<[Durability, number]>([
    ['exit', 0],
    ['process', 1],
    ['power', 1],
  ])('D14: at level %s has the claim in the folder when it returns: %i', (durability, counted) => {
    const tracker = openWith('a', { durability });
    tracker.sync();
    expect(tracker.shouldTry('a')).toBe(true);
    expect(open({}, temporary.copy(tracker.path)).tries('a')).toBe(counted);
    tracker.sync();
    expect(tracker.shouldTryAdd('b')).toBe(true);
    expect(open({}, temporary.copy(tracker.path)).has('b')).toBe(counted === 1);
  });
});

describe.each(allLoops)('%s', (name) => {
  it.each<[option: string, options: object | null]>([
    ['limit', { limit: -1 }],
    ['limit', { limit: 1.5 }],
    ['limit', { limit: Number.NaN }],
    ['limit', { limit: '1' }],
    ['signal', { signal: 'now' }],
    ['allowAborted', { allowAborted: 'yes' }],
    ['max', { max: 3 }],
    ['options', null],
  ])('refuses a wrong option before it hands anything out: %s: %o', (option, options) => {
    const tracker = openWith('a');
    const loop = run(name, tracker, options as LoopOptions)[Symbol.iterator]();
    const error = errorOf(() => loop.next());
    expect([error.code, error.info]).toEqual(['ERR_POD_OPTIONS', { option }]);
    expect(tracker.tries('a')).toBe(0);
  });

  it('takes a limit of 0 and of Infinity', () => {
    const tracker = openWith('a b');
    expect([...run(name, tracker, { limit: 0 })]).toEqual([]);
    expect([...run(name, tracker, { limit: Number.POSITIVE_INFINITY })]).toEqual(['a', 'b']);
  });
});

describe('lists of what is not to do', () => {
  it('TP-136, TP-137: aborted tasks, in order', () => {
    const tracker = openWith('a b c d');
    tracker.abort('d');
    tracker.abort('b', 'why');
    tracker.markDone('d');
    expect([...tracker.abortedKeys()]).toEqual(['b', 'd']);
    expect([...tracker.abortedItems()].map(([key, task]) => [key, task === tracker.get(key)])).toEqual([
      ['b', true],
      ['d', true],
    ]);
    expect([...tracker.abortedValues()].map((task) => task._aborted)).toEqual([true, true]);
  });

  it('done tasks, in order', () => {
    const tracker = openWith('a b c');
    tracker.markDone('c');
    tracker.markDone('a');
    expect([...tracker.doneKeys()]).toEqual(['a', 'c']);
    expect([...tracker.doneItems()].map(([key, task]) => [key, task === tracker.get(key)])).toEqual([
      ['a', true],
      ['c', true],
    ]);
    expect([...tracker.doneValues()].map((task) => task._done)).toEqual([true, true]);
  });

  it('failed tasks, in order, until they are done', () => {
    const tracker = openWith('a b c');
    tracker.fail('c', 'x');
    tracker.fail('a', 'y');
    tracker.abort('b', 'z');
    tracker.markDone('c');
    expect([...tracker.failedKeys()]).toEqual(['a', 'b']);
    expect([...tracker.failedItems()].map(([key, task]) => [key, task._error?.message])).toEqual([
      ['a', 'y'],
      ['b', 'z'],
    ]);
  });

  it('are live and keep their place', () => {
    const tracker = openWith('a b c');
    for (const key of ['a', 'b']) tracker.abort(key);
    const visited: string[] = [];
    for (const key of tracker.abortedKeys()) {
      visited.push(key);
      tracker.unabort(key);
      tracker.abort('c');
    }
    expect(visited).toEqual(['a', 'b', 'c']);
    expect(tracker.numAborted()).toBe(1);
  });
});

describe('the loop it is all for', () => {
  it('TP-198: a crawl that fails, finds, gives up and ends, over three runs', () => {
    const path = temporary.path('urls.tracker');
    const site: Record<string, string[]> = { '/': ['/a', '/b', '/down'], '/a': ['/', '/c'], '/b': ['/c'], '/c': [] };
    const fetched: string[] = [];
    const crawl = (limit: number): ProgressTracker => {
      const urls = open({ maxTries: 3 }, path);
      urls.addIfAbsent('/');
      for (const url of urls.tryKeys({ limit })) {
        fetched.push(url);
        const links = site[url];
        if (links === undefined) {
          urls.fail(url, new Error('503'));
          continue;
        }
        urls.addManyIfAbsent(links);
        urls.markDone(url);
      }
      return urls as unknown as ProgressTracker;
    };
    crawl(2).close();
    expect(fetched).toEqual(['/', '/a']);
    crawl(99).close();
    expect(fetched).toEqual(['/', '/a', '/b', '/down', '/c']);
    crawl(99).close();
    const last = crawl(99);
    expect(fetched).toEqual(['/', '/a', '/b', '/down', '/c', '/down', '/down']);
    expect([last.percentDone(), last.numTodo(), last.stats().exhausted]).toEqual(['80.00 %', 0, 1]);
    last.close();
    expect(open({}, path).resume.nothingLeft).toBe('4 of 5 tasks are done, 1 used up all 3 tries.');
  });
});

describe('the next task', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it(`is found behind ${BEHIND} done ones without looking at them`, () => {
    const tracker = open({ durability: 'exit' });
    tracker.hold();
    const record = { _tries: 1, _done: true, _aborted: false };
    for (let key = 0; key < BEHIND; key++) tracker.set(`k${key}`, record);
    expect([tracker.numDone(), tracker.numTodo()]).toEqual([BEHIND, 0]);
    tracker.addMany(['first', 'second']);

    const next = vi.spyOn(SlotSet.prototype, 'next');
    const entries = vi.spyOn(Table.prototype, 'entries');
    const peek = vi.spyOn(Entry.prototype, 'peek');
    const handedOut: string[] = [];
    for (const key of tracker.tryKeys()) handedOut.push(key);
    expect(handedOut).toEqual(['first', 'second']);
    // One question for each task and one for the end, each answered with the very slot.
    expect(next.mock.results.map(({ value }) => value as number)).toEqual([BEHIND, BEHIND + 1, -1]);
    expect(entries).not.toHaveBeenCalled();
    // The task itself is looked at when it changes, those before it never.
    expect(new Set(peek.mock.contexts.map((entry) => (entry as Entry<unknown, string>).key))).toEqual(
      new Set(['first', 'second']),
    );
    vi.restoreAllMocks();
    // Nobody needs so many lines in a file for this.
    tracker.clear();
  }, 120_000);
});

describe('a folder of the ancestor', () => {
  interface Expected {
    readonly meta: {
      readonly num_done: number;
      readonly num_tried: number;
      readonly num_aborted: number;
      readonly percent_done: string;
      readonly max_tries: number;
      readonly todo: readonly string[];
    };
    readonly entries: readonly (readonly [string, unknown])[];
  }
  const fixtures = new URL('../fixtures/tastypy/', import.meta.url);
  const expected = JSON.parse(readFileSync(new URL('crawl.expected.json', fixtures), 'utf8')) as Expected;

  function crawl(): string {
    const path = temporary.path('crawl.tracker');
    cpSync(new URL('crawl.tracker', fixtures), path, { recursive: true });
    return path;
  }

  it('TP-110, TP-131, TP-138: has the counts and the tasks to do that the ancestor had', () => {
    const { meta, entries } = expected;
    const tracker = open({ maxTries: meta.max_tries }, crawl());
    expect([...tracker.keys()].map((key) => [key, tracker.snapshot(key)])).toEqual(entries);
    expect({
      num_done: tracker.numDone(),
      num_tried: tracker.numTried(),
      num_aborted: tracker.numAborted(),
      percent_done: tracker.percentDone(),
      todo: [...tracker.todoKeys()],
    }).toEqual({
      num_done: meta.num_done,
      num_tried: meta.num_tried,
      num_aborted: meta.num_aborted,
      percent_done: meta.percent_done,
      todo: meta.todo,
    });
    expect(tracker.resume).toMatchObject({ ended: 'closed', total: entries.length, todo: meta.todo.length });
  });

  it('TP-134: carries on, and is complete after a reopen', () => {
    const path = crawl();
    const tracker = open({ maxTries: 3 }, path);
    const handedOut: string[] = [];
    for (const key of tracker.tryKeys()) {
      handedOut.push(key);
      tracker.markDone(key);
    }
    expect(handedOut).toEqual(expected.meta.todo);
    tracker.close();
    const again = open({}, path);
    expect([again.maxTries, again.numTodo()]).toEqual([3, 0]);
    expect(again.numDone()).toBe(expected.meta.num_done + expected.meta.todo.length);
  });

  it('is read as it is by a reader, which writes nothing', () => {
    const path = crawl();
    const reader = open({ mode: 'r', maxTries: 3 }, path);
    expect([...reader.todoKeys()]).toEqual(expected.meta.todo);
    reader.close();
    expect(open({ mode: 'r' }, path).numTodo()).toBeGreaterThan(expected.meta.todo.length);
  });
});
