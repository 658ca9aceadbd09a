// The tracker's methods, one by one: adding, the record of a task, gates, counts. Loops and opening have files of their own.
import { describe, expect, it, vi } from 'vitest';
import type { Key } from '../../src/core/key.ts';
import { POD } from '../../src/index.ts';
import type { TrackerOptions } from '../../src/tracker/options.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { clock } from './fast-system.ts';
import { codeOf, errorOf, useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();
const NEW = { _tries: 0, _done: false, _aborted: false };

type Data = Record<string, unknown>;

function open<T extends object = Data, K extends Key = string>(
  options: TrackerOptions<T, K> = {},
  path: string = temporary.path(),
): ProgressTracker<T, K> {
  return temporary.keep(ProgressTracker.open<T, K>(path, options));
}

/** What a reopen gives back, as plain entries. */
function reopened<T extends object, K extends Key>(tracker: ProgressTracker<T, K>): [K, unknown][] {
  tracker.close();
  const again = open<T, K>({}, tracker.path);
  return [...again.keys()].map((key) => [key, again.snapshot(key)]);
}

describe('adding', () => {
  it('TP-111, TPT-09: a new task has a record that says nobody tried it', () => {
    const tracker = open();
    tracker.add('a');
    expect(tracker.snapshot('a')).toStrictEqual(NEW);
    expect(reopened(tracker)).toStrictEqual([['a', NEW]]);
  });

  it('TP-006, TP-114: add refuses a key that is there and leaves its task alone', () => {
    const tracker = open();
    tracker.add('a', { title: 'first' });
    const error = errorOf(() => tracker.add('a', { title: 'second' }));
    expect(error.code).toBe('ERR_POD_DUPLICATE_KEY');
    expect(error.key).toBe('a');
    expect(error.path).toBe(tracker.path);
    expect(tracker.get('a')?.title).toBe('first');
    expect(tracker.size).toBe(1);
  });

  it('TP-115, TP-194: addIfAbsent says whether the task is new', () => {
    const tracker = open();
    expect(tracker.addIfAbsent('a', { n: 1 })).toBe(true);
    expect(tracker.addIfAbsent('a', { n: 2 })).toBe(false);
    expect(tracker.snapshot('a')).toStrictEqual({ ...NEW, n: 1 });
  });

  it('TP-116: addMany keeps what it added before a key that is there already', () => {
    const tracker = open();
    tracker.add('c');
    const error = errorOf(() => tracker.addMany(['a', 'b', 'c', 'd']));
    expect(error.code).toBe('ERR_POD_DUPLICATE_KEY');
    expect(error.key).toBe('c');
    expect([...tracker.keys()]).toEqual(['c', 'a', 'b']);
  });

  it('TP-116: addMany refuses a key that comes twice', () => {
    const tracker = open();
    expect(codeOf(() => tracker.addMany(['a', 'a']))).toBe('ERR_POD_DUPLICATE_KEY');
    expect([...tracker.keys()]).toEqual(['a']);
  });

  it('TP-117: addManyIfAbsent says how many are new', () => {
    const tracker = open();
    tracker.add('b');
    expect(tracker.addManyIfAbsent(['a', 'b', 'c', 'a'])).toBe(2);
    expect(tracker.addManyIfAbsent([])).toBe(0);
    expect(tracker.addManyIfAbsent(new Set(['c', 'd']))).toBe(1);
    expect([...tracker.keys()]).toEqual(['b', 'a', 'c', 'd']);
  });

  it.each(['addMany', 'addManyIfAbsent'] as const)('%s keeps what it added before a key that is none', (add) => {
    const tracker = open();
    expect(codeOf(() => tracker[add](['a', 2.5 as never, 'b']))).toBe('ERR_POD_KEY');
    expect([...tracker.keys()]).toEqual(['a']);
    expect(codeOf(() => tracker.transaction(() => tracker[add](['c', 2.5 as never])))).toBe('ERR_POD_KEY');
    expect([...tracker.keys()]).toEqual(['a']);
  });

  it('TPT-23: keys are strings, integers and tuples, and all of them are different', () => {
    const tracker = open<object, Key>();
    const keys: Key[] = [1, '1', ['1'], [1], [1, [2]], '', '__proto__', -7];
    tracker.addMany(keys);
    tracker.markDone(1);
    tracker.abort(['1']);
    expect([...tracker.doneKeys()]).toEqual([1]);
    expect([...tracker.abortedKeys()]).toEqual([['1']]);
    expect(tracker.done('1')).toBe(false);
    expect(reopened(tracker).map(([key]) => key)).toEqual(keys);
    expect(codeOf(() => open<object, Key>().add(1.5))).toBe('ERR_POD_KEY');
  });

  it('takes data, copies it, and fills the record up', () => {
    const tracker = open();
    const links = ['x'];
    const data = { links, _tries: 2, skipped: undefined };
    tracker.add('a', data);
    links.push('y');
    expect(tracker.snapshot('a')).toStrictEqual({ _tries: 2, _done: false, _aborted: false, links: ['x'] });
    expect(data).toEqual({ links: ['x', 'y'], _tries: 2, skipped: undefined });
  });

  it.each<[string, unknown]>([
    ['a number', 5],
    ['null', null],
    ['a string', 'x'],
    ['an array', []],
    ['a Date', new Date(0)],
    ['a Map', new Map([['a', 1]])],
    ['NaN inside', { n: Number.NaN }],
    ['undefined in an array', { list: [undefined] }],
    ['a function', { f: () => 1 }],
    ['tries that are a text', { _tries: '1' }],
    ['tries below zero', { _tries: -1 }],
    ['a flag that is a number', { _done: 1 }],
    ['a flag that is null', { _aborted: null }],
  ])('TP-112: refuses %s as a task, and nothing is changed', (_name, value) => {
    const tracker = open();
    tracker.add('there', { n: 1 });
    const bad = value as Data;
    if (value !== null) expect(codeOf(() => tracker.add('a', bad))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => tracker.set('a', bad as never))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => tracker.set('there', bad as never))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => tracker.update([['there', bad as never]]))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => tracker.getOrInsert('a', bad as never))).toBe('ERR_POD_VALUE');
    expect(reopened(tracker)).toStrictEqual([['there', { ...NEW, n: 1 }]]);
  });

  it('TP-112: set takes a whole task, and fills up what its record lacks', () => {
    const tracker = open();
    expect(tracker.set('a', { _tries: 1, _done: true } as never)).toBe(tracker);
    expect(tracker.snapshot('a')).toStrictEqual({ _tries: 1, _done: true, _aborted: false });
    expect(tracker.numDone()).toBe(1);
    tracker.set('a', { title: 'x' } as never);
    expect(tracker.snapshot('a')).toStrictEqual({ ...NEW, title: 'x' });
    expect(tracker.numDone()).toBe(0);
  });
});

describe('update', () => {
  it('TP-113, TPT-10: merges into what is there, adds what is not, and the rightmost wins', () => {
    const tracker = open();
    tracker.add('a', { title: 'A', depth: 1 });
    tracker.update({ a: { depth: 2 } as never, b: { title: 'B' } as never }, [
      ['a', { note: 'x' } as never],
      ['b', { title: 'B2', _tries: 2 } as never],
      ['c', {} as never],
    ]);
    expect(reopened(tracker)).toStrictEqual([
      ['a', { ...NEW, title: 'A', depth: 2, note: 'x' }],
      ['b', { ...NEW, title: 'B2', _tries: 2 }],
      ['c', NEW],
    ]);
  });

  it('TP-113: moves the counters with what it merges', () => {
    const tracker = open({ maxTries: 3 });
    tracker.addMany(['a', 'b', 'c']);
    tracker.update({ a: { _done: true } as never, b: { _tries: 3 } as never, c: { _aborted: true } as never });
    expect([tracker.numDone(), tracker.numTried(), tracker.numAborted(), tracker.numTodo()]).toEqual([1, 1, 1, 0]);
    tracker.update({ a: { _done: false } as never, b: { _tries: 0 } as never, c: { _aborted: false } as never });
    expect([tracker.numDone(), tracker.numTried(), tracker.numAborted(), tracker.numTodo()]).toEqual([0, 0, 0, 3]);
  });

  it('TP-113: keeps a view attached, as it changes the task and does not replace it', () => {
    const tracker = open<{ n?: number; deep?: { x: number } }>();
    tracker.add('a', { deep: { x: 1 } });
    const view = tracker.get('a');
    const deep = view?.deep;
    tracker.update({ a: { n: 1 } as never });
    expect(tracker.get('a')).toBe(view);
    if (deep !== undefined) deep.x = 2;
    expect(tracker.snapshot('a')).toStrictEqual({ ...NEW, n: 1, deep: { x: 2 } });
  });

  it('refuses what does not fit, with the key before it changed and the one after it not', () => {
    const tracker = open();
    tracker.addMany(['a', 'b', 'c']);
    const bad = [
      ['a', { n: 1 }],
      ['b', { _done: 'yes' }],
      ['c', { n: 1 }],
    ];
    expect(codeOf(() => tracker.update(bad as never))).toBe('ERR_POD_VALUE');
    expect([tracker.get('a')?.n, tracker.get('b')?.n, tracker.get('c')?.n]).toEqual([1, undefined, undefined]);
  });

  it('drops undefined members and keeps names that mean something to objects', () => {
    const tracker = open();
    tracker.add('a', { keep: 1 });
    tracker.update([['a', JSON.parse('{"__proto__":{"x":1},"constructor":2}') as never]]);
    tracker.update([['a', { keep: undefined, more: undefined } as never]]);
    expect(JSON.stringify(tracker.snapshot('a'))).toBe(
      '{"_tries":0,"_done":false,"_aborted":false,"keep":1,"__proto__":{"x":1},"constructor":2}',
    );
  });
});

describe('the record of one task', () => {
  it('TP-118: markDone is counted once, and drops the error', () => {
    const tracker = open();
    tracker.add('a');
    tracker.fail('a', new Error('x'));
    expect([tracker.numDone(), [...tracker.failedKeys()]]).toEqual([0, ['a']]);
    tracker.markDone('a');
    tracker.markDone('a');
    expect([tracker.numDone(), [...tracker.failedKeys()]]).toEqual([1, []]);
    expect(tracker.snapshot('a')).toStrictEqual({ ...NEW, _done: true });
  });

  it('TP-118: marking again what is done changes nothing', () => {
    const tracker = open();
    tracker.add('a');
    tracker.markDone('a');
    tracker.sync();
    tracker.markDone('a');
    expect(tracker.dirty().size).toBe(0);
  });

  it('TP-118: markDone keeps data beside the record, and what was there', () => {
    const tracker = open();
    tracker.add('a', { title: 'A', size: 1 });
    tracker.markDone('a', { size: 2, links: ['x'], gone: undefined });
    expect(reopened(tracker)).toStrictEqual([['a', { ...NEW, _done: true, title: 'A', size: 2, links: ['x'] }]]);
  });

  it('TP-118: markDone keeps data under names that mean something to objects', () => {
    const tracker = open();
    tracker.add('a');
    tracker.markDone('a', JSON.parse('{"__proto__":{"x":1},"constructor":2}') as Data);
    const wanted = '{"_tries":0,"_done":true,"_aborted":false,"__proto__":{"x":1},"constructor":2}';
    expect(JSON.stringify(tracker.snapshot('a'))).toBe(wanted);
    expect(JSON.stringify(reopened(tracker)[0]?.[1])).toBe(wanted);
  });

  it.each<[string, Data]>([
    ['NaN', { n: Number.NaN }],
    ['a Date inside', { at: new Date(0) }],
    ['a Date', new Date(0) as never],
    ['a Map', new Map() as never],
    ['an array', [1] as never],
    ['a text', 'done' as never],
    ['tries that are a text', { _tries: 'x' }],
    ['an aborted that is a number', { _aborted: 1 }],
  ])('TP-118: markDone refuses %s as data, and the task is not done', (_name, data) => {
    const tracker = open();
    tracker.add('a');
    expect(codeOf(() => tracker.markDone('a', data))).toBe('ERR_POD_VALUE');
    expect(tracker.done('a')).toBe(false);
    expect(tracker.snapshot('a')).toStrictEqual(NEW);
  });

  it('TP-119: markNotDone is the reverse, and counted once', () => {
    const tracker = open();
    tracker.add('a');
    tracker.markDone('a');
    tracker.markNotDone('a');
    tracker.markNotDone('a');
    expect(tracker.numDone()).toBe(0);
    expect(tracker.shouldDo('a')).toBe(true);
  });

  it('TP-120: abort and unabort are counted once, and gates pass over an aborted task', () => {
    const tracker = open();
    tracker.add('a');
    tracker.abort('a');
    tracker.abort('a');
    expect([tracker.numAborted(), tracker.aborted('a'), tracker.shouldDo('a')]).toEqual([1, true, false]);
    tracker.unabort('a');
    tracker.unabort('a');
    expect([tracker.numAborted(), tracker.aborted('a'), tracker.shouldDo('a')]).toEqual([0, false, true]);
    expect(tracker.snapshot('a')).toStrictEqual(NEW);
  });

  it('TP-120: abort keeps the reason, and unabort forgets it', () => {
    const tracker = open();
    tracker.addMany(['a', 'b']);
    tracker.incrementTries('a');
    tracker.abort('a', 'robots.txt');
    const at = new Date(clock.now()).toISOString();
    expect(tracker.get('a')?._error).toEqual({ name: 'Aborted', message: 'robots.txt', at, try: 1 });
    expect([...tracker.failedKeys()]).toEqual(['a']);
    tracker.unabort('a');
    expect(tracker.get('a')?._error).toBeUndefined();
    tracker.abort('b', new TypeError('no'));
    expect(tracker.get('b')?._error).toMatchObject({ name: 'TypeError', message: 'no' });
  });

  it('TP-121: incrementTries counts tries, and num_tried counts tasks', () => {
    const tracker = open();
    tracker.addMany(['a', 'b']);
    tracker.incrementTries('a');
    tracker.incrementTries('a');
    expect([tracker.tries('a'), tracker.numTried(), tracker.stats().tries]).toEqual([2, 1, 2]);
  });

  it('TP-122: decrementTries stops at zero', () => {
    const tracker = open();
    tracker.add('a');
    tracker.incrementTries('a');
    tracker.decrementTries('a');
    expect([tracker.tries('a'), tracker.numTried()]).toEqual([0, 0]);
    tracker.decrementTries('a');
    expect([tracker.tries('a'), tracker.numTried(), tracker.get('a')?._tries]).toEqual([0, 0, 0]);
    tracker.incrementTries('a');
    expect([tracker.tries('a'), tracker.numTried()]).toEqual([1, 1]);
  });

  it('TP-123: resetTries goes back to zero', () => {
    const tracker = open({ maxTries: 2 });
    tracker.add('a', { _tries: 7 });
    expect(tracker.shouldDo('a')).toBe(false);
    tracker.resetTries('a');
    expect([tracker.tries('a'), tracker.numTried(), tracker.shouldDo('a')]).toEqual([0, 0, true]);
  });

  it('TP-124, TP-125, TP-126: asking changes nothing and dirties nothing', () => {
    const tracker = open();
    tracker.addMany(['a', 'b']);
    tracker.sync();
    const before = JSON.stringify([...tracker]);
    expect([tracker.tries('a'), tracker.done('a'), tracker.aborted('a'), tracker.shouldDo('a')]).toEqual([
      0,
      false,
      false,
      true,
    ]);
    expect([...tracker.todoKeys()].length + [...tracker.todoItems()].length + [...tracker.todoValues()].length).toBe(6);
    tracker.stats();
    expect(tracker.dirty().size).toBe(0);
    expect(JSON.stringify([...tracker])).toBe(before);
  });

  it('TP-125: done of an unknown key is false', () => {
    expect(open().done('nobody')).toBe(false);
  });

  it.each([
    'tries',
    'aborted',
    'shouldDo',
    'shouldTry',
    'markDone',
    'markNotDone',
    'abort',
    'unabort',
    'incrementTries',
    'decrementTries',
    'resetTries',
    'fail',
  ] as const)('TP-118 to TP-129: %s refuses an unknown key', (method) => {
    const tracker = open();
    tracker.add('a');
    const call = tracker[method].bind(tracker) as (key: string) => unknown;
    const error = errorOf(() => call('nobody'));
    expect(error.code).toBe('ERR_POD_UNKNOWN_KEY');
    expect(error.key).toBe('nobody');
    expect(error.message).toContain('"nobody"');
    expect([...tracker.keys()]).toEqual(['a']);
  });

  it('fail remembers the error, when, and which try; the try stays counted', () => {
    const tracker = open();
    tracker.add('a');
    tracker.incrementTries('a');
    tracker.incrementTries('a');
    tracker.fail('a', Object.assign(new TypeError('boom'), { code: 'E_BOOM' }));
    const _error = {
      name: 'TypeError',
      message: 'boom',
      code: 'E_BOOM',
      at: new Date(clock.now()).toISOString(),
      try: 2,
    };
    expect(tracker.snapshot('a')).toStrictEqual({ ...NEW, _tries: 2, _error });
    expect([...tracker.failedKeys()]).toEqual(['a']);
    expect([...tracker.failedItems()].map(([key, task]) => [key, task._error?.message])).toEqual([['a', 'boom']]);
    expect(tracker.stats().failed).toBe(1);
    expect(reopened(tracker)).toStrictEqual([['a', { ...NEW, _tries: 2, _error }]]);
  });

  it.each<[string, unknown]>([
    ['an object', { n: 1 }],
    ['a text', 'two'],
    ['nothing at all', undefined],
    ['less than nothing', -1],
  ])('fail numbers the try from 0 where the tries are %s', (_name, tries) => {
    const tracker = open();
    tracker.add('a');
    Object.assign(tracker.get('a') as object, { _tries: tries });
    tracker.fail('a', 'x');
    expect(tracker.get('a')?._error?.try).toBe(0);
    const before = tracker.snapshot('a');
    // What is in memory is what a reopen gives back, and nothing lies in two places of it.
    expect(reopened(tracker)).toStrictEqual([['a', before]]);
  });

  it('TP-150 to TP-156: a task is changed in place, and the counters go with it', () => {
    const tracker = open<{ int: number; list: number[]; deep: { list?: string[]; x?: number } }>();
    tracker.add('a', { int: 1, list: [3, 1], deep: {} });
    const task = tracker.get('a');
    if (task === undefined) throw new Error('It was added.');
    task.list.push(2);
    task.int += 10;
    task.deep.list = ['x'];
    task.deep.list.splice(0, 0, 'w');
    Object.assign(task.deep, { x: 1 });
    expect(task.list.pop()).toBe(2);
    task.list[0] = 9;
    delete (task as { int?: number }).int;
    task._done = true;
    task._tries += 2;
    expect([tracker.numDone(), tracker.numTried(), tracker.tries('a')]).toEqual([1, 1, 2]);
    expect(reopened(tracker)).toStrictEqual([
      ['a', { _tries: 2, _done: true, _aborted: false, list: [9, 1], deep: { list: ['w', 'x'], x: 1 } }],
    ]);
  });

  it.each<[string, unknown]>([
    ['a text', 'x'],
    ['null', null],
    ['an object', {}],
    ['half a try', 0.5],
  ])('rule 11: a view may write %s into the record, and it counts as not there', (_name, value) => {
    const tracker = open({ maxTries: 1 });
    tracker.add('a', { _tries: 1, _done: true, _aborted: true });
    const task = tracker.get('a') as unknown as Data;
    for (const name of ['_tries', '_done', '_aborted', '_error']) task[name] = value;
    if (value === null || typeof value !== 'object') expect([...tracker.failedKeys()]).toEqual([]);
    expect([tracker.numDone(), tracker.numTried(), tracker.numAborted(), tracker.numTodo()]).toEqual([0, 0, 0, 1]);
    tracker.incrementTries('a');
    expect([tracker.tries('a'), tracker.numTodo()]).toEqual([1, 0]);
  });

  it('a number of tries beyond any count is never made smaller by one more', () => {
    const tracker = open();
    tracker.add('a', { _tries: 1_000_000_000 });
    tracker.incrementTries('a');
    expect(tracker.get('a')?._tries).toBe(1_000_000_001);
    expect(tracker.shouldTry('a')).toBe(true);
    expect(tracker.get('a')?._tries).toBe(1_000_000_002);
    expect(tracker.tries('a')).toBe(1_000_000_002);
  });
});

describe('gates', () => {
  it('TP-127: shouldDo asks for done, tries and aborted', () => {
    const tracker = open({ maxTries: 2 });
    tracker.add('new');
    tracker.add('tried', { _tries: 1 });
    tracker.add('exhausted', { _tries: 2 });
    tracker.add('done', { _done: true });
    tracker.add('aborted', { _aborted: true });
    tracker.add('aborted and exhausted', { _aborted: true, _tries: 2 });
    const open_ = [...tracker.keys()].filter((key) => tracker.shouldDo(key));
    expect(open_).toEqual(['new', 'tried']);
    const allowing = [...tracker.keys()].filter((key) => tracker.shouldDo(key, { allowAborted: true }));
    expect(allowing).toEqual(['new', 'tried', 'aborted']);
  });

  it('TP-128: shouldDoAdd adds, and means allowAborted', () => {
    const tracker = open();
    expect(tracker.shouldDoAdd('a')).toBe(true);
    expect(tracker.snapshot('a')).toStrictEqual(NEW);
    tracker.markDone('a');
    expect(tracker.shouldDoAdd('a')).toBe(false);
    tracker.markNotDone('a');
    tracker.abort('a');
    expect(tracker.shouldDoAdd('a')).toBe(false);
    expect(tracker.shouldDoAdd('a', { allowAborted: true })).toBe(true);
    expect(tracker.tries('a')).toBe(0);
  });

  it('D14, TP-129: shouldTry counts a try when it says yes, and only then', () => {
    const tracker = open({ maxTries: 2 });
    tracker.add('a');
    expect([tracker.shouldTry('a'), tracker.shouldTry('a'), tracker.shouldTry('a')]).toEqual([true, true, false]);
    expect(tracker.tries('a')).toBe(2);
    tracker.resetTries('a');
    tracker.abort('a');
    expect([tracker.shouldTry('a'), tracker.tries('a')]).toEqual([false, 0]);
    expect([tracker.shouldTry('a', { allowAborted: true }), tracker.tries('a')]).toEqual([true, 1]);
  });

  it('D14, TP-130: shouldTryAdd adds, counts, and means allowAborted', () => {
    const tracker = open({ maxTries: 2 });
    expect([tracker.shouldTryAdd('a'), tracker.tries('a')]).toEqual([true, 1]);
    tracker.abort('a');
    expect(tracker.shouldTryAdd('a')).toBe(false);
    expect([tracker.shouldTryAdd('a', { allowAborted: true }), tracker.tries('a')]).toEqual([true, 2]);
    expect(tracker.shouldTryAdd('a', { allowAborted: true })).toBe(false);
  });

  it("TPT-09: the gates of the ancestor's own test", () => {
    const tracker = open();
    tracker.add('a', { field: 'x' });
    expect(tracker.shouldDoAdd('a')).toBe(true);
    tracker.markDone('a');
    expect([tracker.done('a'), tracker.shouldDoAdd('a')]).toEqual([true, false]);
    tracker.markNotDone('a');
    expect(tracker.done('a')).toBe(false);
    tracker.incrementTries('a');
    tracker.incrementTries('a');
    tracker.decrementTries('a');
    expect(tracker.tries('a')).toBe(1);
    tracker.resetTries('a');
    expect(reopened(tracker)).toStrictEqual([['a', { ...NEW, field: 'x' }]]);
  });

  it('TPT-23: with no limit of tries a task is to do however often it was tried', () => {
    const tracker = open({ maxTries: 0 });
    tracker.add('a', { _tries: 1_000_000 });
    expect([tracker.shouldDo('a'), tracker.shouldTry('a'), tracker.numTodo(), tracker.stats().exhausted]).toEqual([
      true,
      true,
      1,
      0,
    ]);
  });
});

describe('counts', () => {
  it('TP-138, TPT-11: count tasks, not tries, over the whole life of one', () => {
    const tracker = open();
    tracker.addMany(['a', 'b']);
    const counts = (): unknown[] => [
      tracker.numTried(),
      tracker.fractionTried(),
      tracker.percentTried(),
      tracker.percentNotTried(),
      tracker.numDone(),
      tracker.fractionDone(),
      tracker.percentDone(),
      tracker.percentNotDone(),
    ];
    expect(counts()).toEqual([0, 0, '0.00 %', '100.00 %', 0, 0, '0.00 %', '100.00 %']);
    tracker.incrementTries('a');
    tracker.incrementTries('a');
    tracker.markDone('a');
    expect(counts()).toEqual([1, 0.5, '50.00 %', '50.00 %', 1, 0.5, '50.00 %', '50.00 %']);
    tracker.incrementTries('b');
    tracker.markDone('b');
    expect(counts()).toEqual([2, 1, '100.00 %', '0.00 %', 2, 1, '100.00 %', '0.00 %']);
    tracker.delete('a');
    tracker.resetTries('b');
    expect(counts()).toEqual([0, 0, '0.00 %', '100.00 %', 1, 1, '100.00 %', '0.00 %']);
  });

  it('TP-139: fractions of an empty tracker are 0', () => {
    const tracker = open();
    const fractions = [
      tracker.fractionDone(),
      tracker.fractionTried(),
      tracker.fractionAborted(),
      tracker.fractionTodo(),
      tracker.fractionNotDone(),
      tracker.fractionNotTried(),
      tracker.fractionNotAborted(),
    ];
    expect(fractions).toEqual([0, 0, 0, 0, 0, 0, 0]);
    expect([tracker.percentDone(), tracker.percentNotDone()]).toEqual(['0.00 %', '0.00 %']);
  });

  it('TP-139 to TP-142: every count has its fraction and its percent', () => {
    const tracker = open({ maxTries: 1 });
    tracker.add('done', { _done: true, _tries: 1 });
    tracker.add('exhausted', { _tries: 1 });
    tracker.add('aborted', { _aborted: true });
    for (const key of ['x', 'y', 'z']) tracker.add(key);
    const all = {
      Done: [1, 1 / 6, '16.67 %'],
      Tried: [2, 2 / 6, '33.33 %'],
      Aborted: [1, 1 / 6, '16.67 %'],
      Todo: [3, 0.5, '50.00 %'],
      NotDone: [5, 5 / 6, '83.33 %'],
      NotTried: [4, 4 / 6, '66.67 %'],
      NotAborted: [5, 5 / 6, '83.33 %'],
    } as const;
    for (const [name, [num, fraction, percent]] of Object.entries(all) as [
      keyof typeof all,
      readonly [number, number, string],
    ][]) {
      expect([name, tracker[`num${name}`](), tracker[`fraction${name}`](), tracker[`percent${name}`]()]).toEqual([
        name,
        num,
        fraction,
        percent,
      ]);
    }
  });

  it('TP-140, TP-143: percent takes the number of decimals', () => {
    const tracker = open();
    for (let key = 0; key < 1_000; key++) tracker.add(`k${key}`, { _done: key < 347 });
    expect([tracker.percentDone(), tracker.percentDone(1), tracker.percentNotDone(0)]).toEqual([
      '34.70 %',
      '34.7 %',
      '65 %',
    ]);
    const ninth = open();
    for (let key = 0; key < 9; key++)
      ninth.add(`k${key}`, { _done: key < 1, _tries: key < 2 ? 1 : 0, _aborted: key < 3 });
    expect([ninth.percentDone(0), ninth.percentTried(3), ninth.percentAborted(0)]).toEqual([
      '11 %',
      '22.222 %',
      '33 %',
    ]);
    expect([ninth.percentNotTried(0), ninth.percentNotAborted(1), ninth.percentTodo(0)]).toEqual([
      '78 %',
      '66.7 %',
      '67 %',
    ]);
  });

  it('TP-144: revert takes the counters back too', () => {
    const tracker = open({ maxTries: 2 });
    tracker.addMany(['a', 'b', 'c']);
    tracker.markDone('a');
    tracker.sync();
    tracker.markDone('b');
    tracker.abort('c', 'x');
    tracker.incrementTries('c');
    tracker.add('d');
    tracker.delete('a');
    tracker.revert();
    expect([tracker.numDone(), tracker.numAborted(), tracker.numTried(), tracker.numTodo(), tracker.size]).toEqual([
      1, 0, 0, 2, 3,
    ]);
    expect([...tracker.doneKeys()]).toEqual(['a']);
    expect([...tracker.failedKeys()]).toEqual([]);
  });

  it('TP-145, TPT-23: opening twice gives one tracker with one set of counters', () => {
    const tracker = open();
    const same = open({}, tracker.path);
    expect(same).toBe(tracker);
    same.add('a');
    same.markDone('a');
    expect(tracker.numDone()).toBe(1);
    expect(temporary.keep(POD.open(tracker.path))).toBe(tracker);
  });

  it('stats counts, measures and estimates', () => {
    const tracker = open({ maxTries: 2 });
    tracker.addMany(['a', 'b', 'c', 'd', 'e']);
    expect(tracker.stats()).toMatchObject({ donePerMinute: undefined, addedPerMinute: undefined, etaMs: undefined });
    clock.advance(30_000);
    tracker.incrementTries('a');
    tracker.markDone('a');
    tracker.incrementTries('b');
    tracker.incrementTries('b');
    tracker.fail('b', 'x');
    tracker.abort('c');
    tracker.add('f');
    expect(tracker.stats()).toEqual({
      total: 6,
      done: 1,
      aborted: 1,
      todo: 3,
      tried: 2,
      tries: 3,
      failed: 1,
      exhausted: 1,
      // The five before the first half minute count as added in it, because the tracker was empty when it was opened.
      donePerMinute: 2,
      addedPerMinute: 12,
      etaMs: { low: 90_000, high: undefined },
      // One task is done, one aborted, one out of tries: three that need nothing more, in half a minute.
      perMinute1: 6,
      perMinute15: 6,
      foundPerDone: undefined,
      eta: { state: 'early', lowMs: undefined, highMs: undefined },
    });
  });
});

describe('as a pod', () => {
  it('TP-190 to TP-192, TP-196: what the early versions had a method for is there', () => {
    const tracker = open({ maxTries: 3 });
    tracker.add('a', { n: 1 });
    tracker.syncKey('a');
    expect(tracker.dirty().size).toBe(0);
    const copy = temporary.keep(tracker.copyTo(temporary.path('copy.pod')) as unknown as ProgressTracker);
    expect(copy).toBeInstanceOf(ProgressTracker);
    expect([copy.maxTries, copy.path === tracker.path, copy.snapshot('a')]).toEqual([3, false, { ...NEW, n: 1 }]);
    copy.markDone('a');
    expect([copy.numDone(), tracker.numDone()]).toEqual([1, 0]);
  });

  it('TP-195: hold suspends syncs and unhold makes up for them', () => {
    const tracker = open({ syncAt: 3 });
    tracker.hold();
    tracker.addMany(['a', 'b', 'c', 'd']);
    expect(tracker.dirty().size).toBe(4);
    tracker.unhold();
    expect(tracker.dirty().size).toBe(0);
  });

  it('TPT-09: a thousand and first task makes a sync point by itself', () => {
    const tracker = open();
    for (let key = 1; key < 1_000; key++) tracker.add(`k${key}`);
    expect(tracker.dirty().size).toBe(999);
    tracker.add('k1000');
    expect(tracker.dirty().size).toBe(0);
    tracker.add('k1001');
    expect(tracker.dirty().size).toBe(1);
  });

  it('TP-008: is refused after it was closed', () => {
    const tracker = open();
    tracker.add('a');
    tracker.close();
    const calls: (() => unknown)[] = [
      () => tracker.add('b'),
      () => tracker.addIfAbsent('a'),
      () => tracker.done('a'),
      () => tracker.tries('a'),
      () => tracker.shouldDo('a'),
      () => tracker.markDone('a'),
      () => tracker.update({}),
      () => tracker.todoKeys().next(),
      () => tracker.tryKeys().next(),
      () => tracker.doneKeys().next(),
      () => {
        tracker.maxTries = 2;
      },
    ];
    expect(calls.map(codeOf)).toEqual(calls.map(() => 'ERR_POD_CLOSED'));
  });

  it('changes nothing as a reader', () => {
    const path = temporary.path();
    const writer = open({ maxTries: 3 }, path);
    writer.add('a');
    writer.close();
    const tracker = open({ mode: 'r' }, path);
    expect([tracker.maxTries, tracker.shouldDo('a'), [...tracker.todoKeys()]]).toEqual([3, true, ['a']]);
    const calls: (() => unknown)[] = [
      () => tracker.add('b'),
      () => tracker.addIfAbsent('a'),
      () => tracker.addMany(['c']),
      () => tracker.addManyIfAbsent(['c']),
      () => tracker.shouldDoAdd('a'),
      () => tracker.shouldTry('a'),
      () => tracker.shouldTryAdd('a'),
      () => tracker.markDone('a'),
      () => tracker.markNotDone('a'),
      () => tracker.abort('a'),
      () => tracker.unabort('a'),
      () => tracker.fail('a', 'x'),
      () => tracker.incrementTries('a'),
      () => tracker.decrementTries('a'),
      () => tracker.resetTries('a'),
      () => tracker.update({}),
      () => tracker.tryKeys().next(),
      () => tracker.tryItems().next(),
      () => tracker.tryValues().next(),
      () => {
        tracker.maxTries = 5;
      },
    ];
    expect(calls.map(codeOf)).toEqual(calls.map(() => 'ERR_POD_READONLY'));
    expect(tracker.snapshot('a')).toStrictEqual(NEW);
  });

  it('takes await as well as a tracker elsewhere does', async () => {
    const tracker = open();
    await tracker.add('a');
    await tracker.markDone('a');
    expect(await tracker.done('a')).toBe(true);
    expect(await tracker.numDone()).toBe(1);
  });
});
