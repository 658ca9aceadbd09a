// Priorities: the order in which loops hand out, live, against a model; and what becomes of a priority.
import { describe, expect, it, vi } from 'vitest';
import { PodError, type ProgressTracker as Tracker } from '../../src/index.ts';
import { ReadyQueue } from '../../src/tracker/ready-queue.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import fc from '../fast-check.ts';
import { testSize } from '../size.ts';
import { clock } from './fast-system.ts';
import { derivedBy, isToDo, priorityOf, recount } from './recount.ts';
import { codeOf, useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();
const open = (path = temporary.path()): Tracker => temporary.keep(ProgressTracker.open(path));

describe('a priority', () => {
  it('decides who is handed out first; inside one it is the order of insertion', () => {
    const tasks = open();
    tasks.addMany(['a', 'b']);
    tasks.add('c', undefined, { priority: 5 });
    tasks.addManyIfAbsent(['d', 'a'], { priority: -3 });
    tasks.addIfAbsent('e', {}, { priority: 5 });
    expect([...tasks.todoKeys()]).toEqual(['c', 'e', 'a', 'b', 'd']);
    expect([...tasks.tryKeys()]).toEqual(['c', 'e', 'a', 'b', 'd']);
    expect([...tasks.keys()]).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('is heeded for what a loop adds meanwhile', () => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    const seen: string[] = [];
    for (const key of tasks.tryKeys()) {
      seen.push(key);
      if (key === 'a') tasks.add('urgent', undefined, { priority: 10 });
      if (key === 'b') tasks.add('later', undefined, { priority: -10 });
      tasks.markDone(key);
    }
    expect(seen).toEqual(['a', 'urgent', 'b', 'c', 'later']);
  });

  it('is there after a reopen, and stays when a task fails and is put back', () => {
    const path = temporary.path();
    const tasks = open(path);
    tasks.addMany(['a', 'b']);
    tasks.setPriority('b', 1);
    for (const key of tasks.tryKeys()) tasks.fail(key, 'no');
    tasks.retry();
    tasks.close();
    const again = open(path);
    expect([again.priority('a'), again.priority('b')]).toEqual([0, 1]);
    expect([...again.tryKeys()]).toEqual(['b', 'a']);
    again.setPriority('b', 0);
    expect(again.snapshot('b')).not.toHaveProperty('_priority');
  });

  it('can be written by hand, comes back with a transaction and a revert, and counts as 0 where it is none', () => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    tasks.sync();
    (tasks.get('c') as { _priority?: unknown })._priority = 2;
    expect([...tasks.todoKeys()]).toEqual(['c', 'a', 'b']);
    const refused = (): void =>
      tasks.transaction(() => {
        tasks.setPriority('b', 9);
        throw new RangeError('back');
      });
    expect(refused).toThrow(RangeError);
    expect([...tasks.todoKeys()]).toEqual(['c', 'a', 'b']);
    tasks.revert();
    expect([...tasks.todoKeys()]).toEqual(['a', 'b', 'c']);
    for (const none of [11, -11, 1.5, '5', null, {}]) (tasks.get('c') as { _priority?: unknown })._priority = none;
    expect([...tasks.todoKeys()]).toEqual(['a', 'b', 'c']);
  });

  it('that is none is refused, and nothing is added', () => {
    const tasks = open();
    for (const priority of [11, -11, 0.5, Number.NaN, '1' as never, null as never]) {
      expect(codeOf(() => tasks.add('a', undefined, { priority }))).toBe('ERR_POD_OPTIONS');
    }
    // A misspelt option would lose the priority without a word.
    for (const options of [{ prio: 5 }, { prority: undefined }, null]) {
      expect(codeOf(() => tasks.add('a', undefined, options as never))).toBe('ERR_POD_OPTIONS');
      expect(codeOf(() => tasks.addMany([], options as never))).toBe('ERR_POD_OPTIONS');
    }
    expect(codeOf(() => tasks.set('a', { _priority: 11 } as never))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => tasks.setPriority('a', 1))).toBe('ERR_POD_UNKNOWN_KEY');
    expect(tasks.size).toBe(0);
    expect(() => tasks.setPriority('a', 99)).toThrow(PodError);
  });
});

describe('adding with a priority', () => {
  class User {
    name = 'x';
  }
  it.each<[string, unknown]>([
    ['an array', [1, 2]],
    ['a string', 'abc'],
    ['a number', 5],
    ['a function', () => 1],
    ['a Date', new Date(0)],
    ['a Map', new Map([[1, 2]])],
    ['an instance of a class', new User()],
    ['one with a whole record', Object.assign(new User(), { _tries: 0, _done: false, _aborted: false })],
    ['an object with a symbol', { n: 1, [Symbol('s')]: 2 }],
    ['NaN inside', { n: Number.NaN }],
    ['a record that is none', { _tries: '1' }],
    ['another priority that is none', { _priority: 99 }],
  ])('refuses %s, as without one, and nothing is added', (_name, data) => {
    const tasks = open();
    for (const options of [undefined, { priority: 0 }, { priority: 3 }]) {
      expect(codeOf(() => tasks.add('a', data as never, options))).toBe('ERR_POD_VALUE');
      expect(codeOf(() => tasks.addIfAbsent('a', data as never, options))).toBe('ERR_POD_VALUE');
    }
    expect(tasks.size).toBe(0);
  });

  it('keeps the data as without one, also under names that mean something to objects', () => {
    const tasks = open();
    const data = JSON.parse('{"n":[1],"__proto__":{"a":1}}') as object;
    tasks.add('a', { ...data, left: undefined } as never, { priority: 3 });
    tasks.add('b', null as never, { priority: -3 });
    expect(JSON.stringify(tasks.snapshot('a'))).toContain('"n":[1],"__proto__":{"a":1},"_priority":3');
    expect(tasks.snapshot('a')).not.toHaveProperty('left');
    expect(tasks.snapshot('b')).toEqual({ _tries: 0, _done: false, _aborted: false, _priority: -3 });
  });
});

describe('a loop that is under way', () => {
  it('visits each task once, whatever becomes of its priority', () => {
    const action = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ op: fc.constant('add' as const), priority: fc.integer({ min: -2, max: 2 }) }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          op: fc.constant('move' as const),
          nth: fc.nat(20),
          priority: fc.integer({ min: -2, max: 2 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          op: fc.constantFrom('done' as const, 'fail' as const, 'delete' as const),
          nth: fc.nat(20),
        }),
      },
      { weight: 6, arbitrary: fc.record({ op: fc.constant('step' as const), loop: fc.nat(1) }) },
    );
    fc.assert(
      fc.property(fc.array(action, { minLength: 5, maxLength: 60, size: 'max' }), (actions) => {
        const tasks = open();
        const loops = [tasks.todoKeys(), tasks.tryKeys()].map((real) => ({
          real,
          gone: new Set<string>(),
          ended: false,
        }));
        let count = 0;
        for (const each of actions) {
          const keys = [...tasks.keys()];
          const key = 'nth' in each ? keys[each.nth % keys.length] : undefined;
          if (each.op === 'add') tasks.add(`${count++}`, undefined, { priority: each.priority });
          else if (each.op === 'step') step(tasks, loops[each.loop] as (typeof loops)[number]);
          else if (key !== undefined) change(tasks, key, each);
        }
        expect(derivedBy(tasks)).toEqual(recount(tasks, 0));
      }),
      { numRuns: { small: 30, ci: 500, long: 5_000 }[testSize] },
    );
  });

  function change(tasks: Tracker, key: string, each: { op: string; priority?: number }): void {
    if (each.op === 'move') tasks.setPriority(key, each.priority as number);
    else if (each.op === 'done') tasks.markDone(key);
    else if (each.op === 'fail') tasks.fail(key, 'no');
    else tasks.delete(key);
  }

  /** The first task to do of the highest priority that the loop has not gone by; what it goes by on the way does not come back. */
  function step(tasks: Tracker, loop: { real: Iterator<string>; gone: Set<string>; ended: boolean }): void {
    const priorities = [...new Set([0, ...[...tasks.values()].map(priorityOf)])].sort((a, b) => b - a);
    let expected: string | undefined;
    if (!loop.ended) {
      for (const priority of priorities) {
        for (const [key, task] of tasks) {
          if (priorityOf(task) !== priority || expected !== undefined || loop.gone.has(key)) continue;
          loop.gone.add(key);
          if (isToDo(task, 0, false)) expected = key;
        }
        if (expected !== undefined) break;
      }
    }
    if (expected === undefined) loop.ended = true;
    expect(loop.real.next().value).toBe(expected);
  }

  it.each<[string, (tasks: ReturnType<typeof open>) => void]>([
    ['a compaction', (tasks) => tasks.compact()],
    ['another maxTries', (tasks) => (tasks.maxTries += 1)],
    [
      'room made by the deletion of many',
      (tasks) => {
        const many = Array.from({ length: 1_100 }, (_, n) => `${tasks.maxTries}/${n}`);
        tasks.addMany(many);
        for (const key of many) tasks.delete(key);
      },
    ],
  ])('visits no task again because of %s', (_, change) => {
    const tasks = open();
    tasks.addMany(['a', 'b', 'c']);
    tasks.add('first', undefined, { priority: 5 });
    const visited: string[] = [];
    for (const key of tasks.tryKeys({ limit: 8 })) {
      visited.push(key);
      tasks.fail(key, new Error('no'));
      change(tasks);
    }
    expect(visited).toEqual(['first', 'a', 'b', 'c']);
  });

  it('visits no task again that comes into a priority which the walk is through with, also where tasks move', () => {
    const tasks = open();
    tasks.add('a');
    tasks.add('first', undefined, { priority: 5 });
    tasks.add('last', undefined, { priority: -5 });
    const visited: string[] = [];
    for (const key of tasks.tryKeys({ limit: 6 })) {
      visited.push(key);
      tasks.fail(key, new Error('no'));
      if (key !== 'last') continue;
      tasks.setPriority('first', 0);
      tasks.compact();
    }
    expect(visited).toEqual(['first', 'a', 'last']);
  });

  it('in a paced loop goes by priority, also among the tasks that wait for their group', async () => {
    const tasks = open();
    tasks.addMany(['x1', 'x2', 'y1', 'x3']);
    tasks.setPriority('x3', 2);
    const loop = tasks.tryKeys({ concurrency: 9, group: (key: string) => key[0] as string });
    const seen: string[] = [];
    const next = async (): Promise<void> => void seen.push((await loop.next()).value as string);
    await next();
    await next();
    // Both groups are full now: x1 and x2 wait, and what comes with a higher priority goes before them.
    tasks.add('x4', undefined, { priority: 1 });
    tasks.add('z1', undefined, { priority: -1 });
    await next();
    tasks.markDone('x3');
    await next();
    tasks.setPriority('x2', 5);
    tasks.markDone('x4');
    await next();
    tasks.markDone('x2');
    await next();
    for (const key of ['y1', 'z1', 'x1']) tasks.markDone(key);
    expect((await loop.next()).done).toBe(true);
    expect(seen).toEqual(['x3', 'y1', 'z1', 'x4', 'x2', 'x1']);
    expect(clock.now()).toBeGreaterThan(0);
  });
});

describe('ReadyQueue', () => {
  it('gives out what a sorted list would', () => {
    const items = fc.array(fc.option(fc.integer({ min: -10, max: 10 }), { nil: 'take' as const }), { maxLength: 200 });
    fc.assert(
      fc.property(items, (steps) => {
        const queue = new ReadyQueue<number>();
        const list: { priority: number; item: number }[] = [];
        steps.forEach((step, item) => {
          if (step !== 'take') {
            queue.add(item, step);
            list.push({ priority: step, item });
            list.sort((a, b) => b.priority - a.priority || a.item - b.item);
          } else expect(queue.take()).toBe(list.shift()?.item);
          expect(queue.highest).toBe(list[0]?.priority ?? Number.NEGATIVE_INFINITY);
        });
      }),
    );
  });
});
