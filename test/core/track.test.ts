// Views: they read like the plain value, notice every change exactly, change all or nothing, and are detached when their value leaves.
import { inspect, isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { PodError, type PodErrorCode } from '../../src/core/errors.ts';
import { copyJson } from '../../src/core/json.ts';
import { TrackedValue } from '../../src/core/track.ts';
import fc from '../fast-check.ts';
import { applyEdit, editArb, plainCopy, valueArb } from '../property/model-values.ts';

/** A value that counts its changes and can be closed. */
class Box extends TrackedValue {
  changes: number = 0;
  started: number = 0;
  locked: boolean = false;

  constructor(value: unknown) {
    super(copyJson(value));
  }

  /** The view, as whatever a test says it is. */
  as<T>(): T {
    return this.view() as T;
  }

  get text(): string {
    return JSON.stringify(this.root);
  }

  replace(value: unknown): void {
    this.replaceRoot(copyJson(value));
  }

  protected override requireChangeable(): void {
    if (this.locked) throw new PodError('ERR_POD_READONLY', 'locked');
  }

  protected override beforeChange(): void {
    this.requireChangeable();
    this.started++;
  }

  protected override afterChange(): void {
    this.changes++;
  }

  protected override detachedError(): PodError {
    return new PodError('ERR_POD_DETACHED', 'detached');
  }

  protected override located(error: unknown): unknown {
    return error;
  }
}

type Loose = Record<string, unknown>;

function codeOf(work: () => unknown): PodErrorCode | 'TypeError' {
  try {
    work();
  } catch (error) {
    if (error instanceof PodError) return error.code;
    if (error instanceof TypeError) return 'TypeError';
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('reading a view', () => {
  const value = { n: 1, list: [1, { deep: [] as number[] }], text: 'é', nothing: null, '': 0, nested: { a: { b: 2 } } };

  it('is like reading the plain value: keys, in, spread, JSON, inspect, equality, destructuring', () => {
    const box = new Box(value);
    const view = box.as<typeof value>();
    expect(Object.keys(view)).toEqual(Object.keys(value));
    expect(Reflect.ownKeys(view)).toEqual(Reflect.ownKeys(value));
    expect(Object.entries({ ...view }).map(([name]) => name)).toEqual(Object.keys(value));
    expect(['n' in view, 'x' in view, Object.hasOwn(view, 'list')]).toEqual([true, false, true]);
    expect(JSON.stringify(view, null, 1)).toBe(JSON.stringify(value, null, 1));
    expect(inspect(view, { depth: 9 })).toBe(inspect(value, { depth: 9 }));
    expect(isDeepStrictEqual(view, value)).toBe(true);
    expect(view).toEqual(value);
    expect(view).toStrictEqual(value);
    const {
      list: [first, second],
      ...rest
    } = view;
    expect([first, second, rest.n]).toEqual([1, { deep: [] }, 1]);
    expect(Object.getPrototypeOf(view)).toBe(Object.prototype);
    expect([Array.isArray(view.list), Array.isArray(view), view instanceof Object]).toEqual([true, false, true]);
    expect(Object.isExtensible(view)).toBe(true);
    expect(String(view)).toBe('[object Object]');
    expect([Object.hasOwn(view, 'n'), (view as Loose).toString === Object.prototype.toString]).toEqual([true, true]);
    expect(box.changes).toBe(0);
  });

  it('of an array goes through every method that only reads', () => {
    const plain = [3, 1, [2], { n: 4 }, 'x', null];
    const box = new Box(plain);
    const view = box.as<typeof plain>();
    expect(view.length).toBe(6);
    expect([view.at(-1), view.indexOf(1), view.includes('x'), view.join('|'), view.findLast((x) => x === 'x')]).toEqual(
      [null, 1, true, plain.join('|'), 'x'],
    );
    expect([...view.keys()]).toEqual([0, 1, 2, 3, 4, 5]);
    expect([...view]).toEqual(plain);
    expect(view.map((x) => x)).toEqual(plain);
    expect(view.slice(1, 3)).toEqual([1, [2]]);
    expect(view.flat()).toEqual(plain.flat());
    expect([0, ...view.concat([9])]).toEqual([0, ...plain, 9]);
    expect(([] as unknown[]).concat(view)).toEqual(plain);
    expect(view.toReversed()).toEqual(plain.toReversed());
    expect(view.toSpliced(0, 2)).toEqual(plain.toSpliced(0, 2));
    expect(view.with(0, 7)).toEqual(plain.with(0, 7));
    expect(new Box([3, 1, 2]).as<number[]>().toSorted()).toEqual([1, 2, 3]);
    expect(Object.entries(view)).toEqual(Object.entries(plain));
    expect(Array.from(view)).toEqual(plain);
    expect(Math.max(...new Box([3, 1, 2]).as<number[]>())).toBe(3);
    expect(inspect(view)).toBe(inspect(plain));
    // What they give are views, or lists of views, not copies.
    (view.slice(3, 4)[0] as { n: number }).n = 5;
    expect([plain[3], box.changes, box.text]).toEqual([{ n: 4 }, 1, '[3,1,[2],{"n":5},"x",null]']);
  });

  it('gives one view for one object: by name, by descriptor, by iteration', () => {
    const view = new Box({ list: [{ a: 1 }, { a: 1 }] }).as<{ list: { a: number }[] }>();
    const [first, second] = view.list as [{ a: number }, { a: number }];
    expect(view.list).toBe(view.list);
    expect([first === view.list[0], first === second, view.list.includes(second), view.list.indexOf(second)]).toEqual([
      true,
      false,
      true,
      1,
    ]);
    expect(Object.getOwnPropertyDescriptor(view, 'list')?.value).toBe(view.list);
    expect(Object.values(view)[0]).toBe(view.list);
    expect(view.list.find((item) => item === second)).toBe(second);
  });

  it('an absent name gives what the language has there, and never a way to the plain value', () => {
    const box = new Box({ list: [] });
    const view = box.as<Loose>();
    expect([view.absent, Reflect.get(view, '__proto__') === Object.prototype, view.constructor === Object]).toEqual([
      undefined,
      true,
      true,
    ]);
    expect(Object.getOwnPropertySymbols(view)).toEqual([]);
    expect((view.list as unknown as Loose).constructor).toBe(Array);
    expect(Object.getOwnPropertyDescriptors(view).list?.value).toBe(view.list);
  });

  it('cannot be cloned as it is', () => {
    expect(() => structuredClone(new Box({ a: 1 }).as<object>())).toThrow();
  });
});

describe('writing through a view', () => {
  it('TP-156: every way to change an object is noticed, once for each change', () => {
    const ways: [string, (view: Loose) => unknown, unknown][] = [
      ['assignment', (view) => (view.a = 2), { a: 2, deep: { n: 1 } }],
      ['a new property', (view) => (view.b = { x: [] }), { a: 1, deep: { n: 1 }, b: { x: [] } }],
      ['an operator', (view) => (view.a as number)++, { a: 2, deep: { n: 1 } }],
      ['??=', (view) => (view.c ??= 3), { a: 1, deep: { n: 1 }, c: 3 }],
      ['delete', (view) => delete view.a, { deep: { n: 1 } }],
      ['undefined', (view) => (view.a = undefined), { deep: { n: 1 } }],
      ['Reflect.set', (view) => Reflect.set(view, 'a', 5), { a: 5, deep: { n: 1 } }],
      ['Reflect.deleteProperty', (view) => Reflect.deleteProperty(view, 'deep'), { a: 1 }],
      ['Object.assign', (view) => Object.assign(view, { a: 6 }), { a: 6, deep: { n: 1 } }],
      ['defineProperty', (view) => Object.defineProperty(view, 'a', { value: 7 }), { a: 7, deep: { n: 1 } }],
      [
        'a new defineProperty',
        (view) => Object.defineProperty(view, 'z', { value: 7, writable: true, enumerable: true, configurable: true }),
        { a: 1, deep: { n: 1 }, z: 7 },
      ],
      ['below', (view) => ((view.deep as Loose).n = 2), { a: 1, deep: { n: 2 } }],
      ['__proto__', (view) => Reflect.set(view, '__proto__', 1), JSON.parse('{"a":1,"deep":{"n":1},"__proto__":1}')],
    ];
    for (const [name, way, wanted] of ways) {
      const box = new Box({ a: 1, deep: { n: 1 } });
      const view = box.as<Loose>();
      const before = box.changes;
      way(view);
      expect([name, box.changes - before, box.text]).toEqual([name, 1, JSON.stringify(wanted)]);
      expect(box.started).toBe(box.changes);
      expect(Object.getPrototypeOf(view)).toBe(Object.prototype);
    }
  });

  const arrays: [string, (list: unknown[]) => unknown][] = [
    ['push', (list) => list.push(1, { n: 1 })],
    ['push of nothing', (list) => list.push()],
    ['pop', (list) => list.pop()],
    ['shift', (list) => list.shift()],
    ['unshift', (list) => list.unshift([1], 2)],
    ['unshift of nothing', (list) => list.unshift()],
    ['splice', (list) => list.splice(1, 2, 'a', 'b', 'c')],
    ['splice from the end', (list) => list.splice(-2, 1)],
    ['splice to the end', (list) => list.splice(1)],
    ['splice of everything', (list) => list.splice(0)],
    ['splice with undefined', (list) => list.splice(undefined as unknown as number, undefined as unknown as number, 1)],
    ['splice of nothing', (list) => (list.splice as () => unknown)()],
    ['splice beyond', (list) => list.splice(99, 5, 'x')],
    ['splice of less than nothing', (list) => list.splice(1, -5, 'x')],
    ['reverse', (list) => list.reverse()],
    ['sort', (list) => list.sort()],
    ['sort by', (list) => list.sort((a, b) => (String(a) < String(b) ? 1 : -1))],
    ['fill', (list) => list.fill(0)],
    ['fill a part', (list) => list.fill({ n: 2 }, 1, -1)],
    ['fill nothing', (list) => list.fill(1, 5, 2)],
    ['copyWithin', (list) => list.copyWithin(0, 2)],
    ['copyWithin from the end', (list) => list.copyWithin(1, -2, -1)],
    ['copyWithin beyond', (list) => list.copyWithin(99, 0)],
    ['an element', (list) => (list[1] = 'x')],
    ['one more element', (list) => (list[list.length] = 'x')],
    ['a shorter length', (list) => (list.length = 1)],
    ['no length', (list) => (list.length = 0)],
    ['the same length', (list) => (list.length = list.length * 1)],
    ['swap', (list) => ([list[0], list[1]] = [list[1], list[0]])],
  ];
  it.each(arrays)('array: %s does what it does to a plain array, in one change', (name, way) => {
    for (const start of [[3, 1, 2], [{ n: 1 }, [2], 'x', null, 5], [1], []]) {
      const plain = plainCopy(start) as unknown[];
      const wanted = JSON.stringify(way(plain));
      const box = new Box({ list: start });
      const { list } = box.as<{ list: unknown[] }>();
      // What would leave a hole has no place in JSON.
      if (Object.keys(plain).length < plain.length || plain.includes(undefined)) {
        expect(codeOf(() => way(list))).toBe('ERR_POD_VALUE');
        expect([box.text, box.changes]).toEqual([JSON.stringify({ list: start }), 0]);
        continue;
      }
      const result = way(list);
      expect(JSON.stringify(result)).toBe(wanted);
      expect(box.text).toBe(JSON.stringify({ list: plain }));
      const changed = JSON.stringify(start) !== JSON.stringify(plain);
      if (changed) expect(box.changes).toBeGreaterThan(0);
      expect(box.changes).toBeLessThanOrEqual(name === 'swap' ? 2 : 1);
      expect(box.started).toBe(box.changes);
      if (['reverse', 'sort', 'sort by', 'fill', 'copyWithin'].includes(name)) expect(result).toBe(list);
    }
  });

  it('a change that changes nothing is none', () => {
    const box = new Box({ n: 0, s: 'x', z: null, list: [1, 2], deep: {} });
    const view = box.as<{ n: number; s: string; z: null; list: number[]; deep: object; gone?: number | undefined }>();
    view.n = -0;
    view.s = 'x';
    view.z = null;
    Reflect.set(view, 'deep', view.deep);
    view.gone = undefined;
    delete view.gone;
    view.list[1] = 2;
    view.list.length = 2;
    view.list.sort();
    view.list.push();
    view.list.splice(1, 0);
    view.list.fill(0, 2);
    Object.assign(view, { n: 0 });
    Object.defineProperty(view, 's', { value: 'x' });
    expect([box.changes, box.started]).toEqual([0, 0]);
  });

  it('what is moved or put in twice is copied: a value is a tree', () => {
    const box = new Box({ a: { n: 1 }, list: [{ n: 2 }] });
    const view = box.as<Loose>();
    view.b = view.a;
    (view.b as Loose).n = 9;
    expect(box.text).toBe('{"a":{"n":1},"list":[{"n":2}],"b":{"n":9}}');
    const list = view.list as Loose[];
    list.push(list[0] as Loose, view.a as Loose);
    (list[0] as Loose).n = 5;
    view.self = view;
    expect(JSON.parse(box.text)).toEqual({
      a: { n: 1 },
      list: [{ n: 5 }, { n: 2 }, { n: 1 }],
      b: { n: 9 },
      self: { a: { n: 1 }, list: [{ n: 5 }, { n: 2 }, { n: 1 }], b: { n: 9 } },
    });
    const filled = new Box([0, 0]).as<Loose[]>();
    filled.fill({ n: 1 });
    (filled[0] as Loose).n = 2;
    expect(JSON.stringify(filled)).toBe('[{"n":2},{"n":1}]');
    filled.copyWithin(1, 0);
    (filled[0] as Loose).n = 3;
    expect(JSON.stringify(filled)).toBe('[{"n":3},{"n":2}]');
    const mine = { n: 1 };
    view.mine = mine;
    mine.n = 2;
    expect((view.mine as Loose).n).toBe(1);
  });

  it('what JSON has no place for is refused, as one step, and nothing is changed', () => {
    const box = new Box({ a: 1, list: [1, 2, 3] });
    const view = box.as<Loose>();
    const list = view.list as unknown[];
    const before = box.text;
    const writes: (() => unknown)[] = [
      () => (view[Symbol('s') as unknown as string] = 1),
      () => Object.defineProperty(view, 'x', { get: () => 1, enumerable: true, configurable: true }),
      () => Object.defineProperty(view, 'x', { value: 1 }),
      () => Object.defineProperty(view, 'a', { value: 1, enumerable: false }),
      () => Object.defineProperty(view, 'a', { value: 2, writable: false }),
      () => Object.defineProperty(view, 'a', { value: 2, configurable: false }),
      () => Object.freeze(view),
      () => Object.seal(list),
      () => Object.preventExtensions(view),
      () => Reflect.preventExtensions(view),
      () => (list[4] = 1),
      () => (list.length = 4),
      () => (list.length = 4294967295),
      () => (list.length = -1),
      () => (list.length = 1.5),
      () => ((list as unknown as Loose).name = 1),
      () => ((list as unknown as Loose)['-1'] = 1),
      () => ((list as unknown as Loose)['01'] = 1),
      () => ((list as unknown as Loose)['1.5'] = 1),
      () => delete list[0],
      () => delete list[2],
      () => (list[0] = undefined),
      () => Object.defineProperty(list, 'length', { value: 9 }),
      () => list.push(4, Number.NaN),
      () => list.unshift(0, undefined),
      () => list.splice(0, 3, 1, 2, new Date(0)),
      () => list.fill(() => 1),
      () => Object.assign(list, [7, 8, 9, 10, 11].slice(0, 0), { x: 1 }),
    ];
    for (const [n, write] of writes.entries()) {
      expect([n, codeOf(write)]).toEqual([n, 'ERR_POD_VALUE']);
      expect([n, box.text, box.changes]).toEqual([n, before, 0]);
    }
    for (const write of [() => Object.setPrototypeOf(view, null), () => Object.setPrototypeOf(list, {})])
      expect(codeOf(write)).toBe('TypeError');
    expect(Reflect.setPrototypeOf(view, Array.prototype)).toBe(false);
    expect(Reflect.setPrototypeOf(view, Object.prototype)).toBe(true);
    expect([box.text, box.changes]).toEqual([before, 0]);
  });

  it('the depth limit counts from the root', () => {
    const box = new Box({});
    let here = box.as<Loose>();
    for (let level = 1; level < 512; level++) {
      here.x = {};
      here = here.x as Loose;
    }
    here.leaf = 1;
    expect(codeOf(() => (here.x = {}))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => (here.x = []))).toBe('ERR_POD_VALUE');
    expect(JSON.parse(box.text)).toBeDefined();
    const list = new Box({ list: [] }).as<{ list: unknown[] }>().list;
    let deep: unknown = 0;
    for (let level = 0; level < 510; level++) deep = [deep];
    list.push(deep);
    expect(codeOf(() => list.push([deep]))).toBe('ERR_POD_VALUE');
    expect(list).toHaveLength(1);
  });

  it('a comparison that throws, or looks at views, leaves the array whole', () => {
    const box = new Box([{ n: 3 }, { n: 1 }, { n: 2 }]);
    const list = box.as<{ n: number }[]>();
    const [three] = list;
    expect(() =>
      list.sort(() => {
        throw new RangeError('on purpose');
      }),
    ).toThrow(RangeError);
    expect([box.text, box.changes]).toEqual(['[{"n":3},{"n":1},{"n":2}]', 0]);
    const seen = new Set<unknown>();
    list.sort((a, b) => {
      seen.add(a).add(b);
      return a.n - b.n;
    });
    expect([...list].every((item) => seen.has(item))).toBe(true);
    expect(list[2]).toBe(three);
    (three as { n: number }).n = 4;
    expect(box.text).toBe('[{"n":1},{"n":2},{"n":4}]');
  });

  it('an array method on something else says so', () => {
    const { push } = new Box([]).as<unknown[]>();
    expect(codeOf(() => push.call([], 1))).toBe('TypeError');
    expect(codeOf(() => push.call(null as unknown as unknown[], 1))).toBe('TypeError');
    expect(codeOf(() => push.call(new Box({}).as<unknown[]>(), 1))).toBe('TypeError');
    expect(codeOf(() => push.call(Object.create(new Box([]).as<unknown[]>()) as unknown[], 1))).toBe('TypeError');
  });

  it("the language's own push, used on a view, changes it", () => {
    const box = new Box([1]);
    Array.prototype.push.call(box.as<unknown[]>(), 2);
    expect(box.text).toBe('[1,2]');
    Array.prototype.sort.call(box.as<unknown[]>(), () => -1);
    expect(box.changes).toBeGreaterThan(1);
  });
});

describe('receivers', () => {
  it('an object that inherits from a view has properties of its own', () => {
    const box = new Box({ a: 1 });
    const child = Object.create(box.as<object>()) as Loose;
    child.a = 2;
    child.b = 3;
    expect([child.a, Object.hasOwn(child, 'a'), box.text, box.changes]).toEqual([2, true, '{"a":1}', 0]);
    delete child.a;
    expect(child.a).toBe(1);
  });

  it('Reflect.set with another receiver writes to that one', () => {
    const box = new Box({ a: 1 });
    const other = {} as Loose;
    expect(Reflect.set(box.as<object>(), 'a', 2, other)).toBe(true);
    expect([other.a, box.text]).toEqual([2, '{"a":1}']);
    const second = new Box({ a: 5 });
    expect(Reflect.set(box.as<object>(), 'a', 7, second.as<object>())).toBe(true);
    expect([box.text, second.text, box.changes, second.changes]).toEqual(['{"a":1}', '{"a":7}', 0, 1]);
    expect(Reflect.get(box.as<object>(), 'a', other)).toBe(1);
  });
});

describe('detached views', () => {
  const leaving: [string, (view: Loose) => void][] = [
    ['overwritten', (view) => (view.child = { fresh: 1 })],
    ['overwritten by a primitive', (view) => (view.child = 1)],
    ['deleted', (view) => delete view.child],
    ['set to undefined', (view) => (view.child = undefined)],
    ['assigned', (view) => Object.assign(view, { child: [] })],
    ['defined', (view) => Object.defineProperty(view, 'child', { value: {} })],
  ];
  it.each(leaving)('what was %s reads as it was and refuses every write, at every depth', (_, leave) => {
    const box = new Box({ child: { n: 1, deep: { list: [{ n: 1 }] } } });
    const view = box.as<Loose>();
    const child = view.child as { n: number; deep: { list: { n: number }[] } };
    const { list } = child.deep;
    leave(view);
    const { text, changes } = box;
    const writes: (() => unknown)[] = [
      () => (child.n = 2),
      () => (child.n = 1),
      () => Reflect.deleteProperty(child, 'n'),
      () => Reflect.deleteProperty(child, 'absent'),
      () => (child.deep.list = []),
      () => list.push({ n: 2 }),
      () => list.pop(),
      () => list.sort(),
      () => list.splice(0),
      () => (list.length = 0),
      () => ((list[0] as { n: number }).n = 2),
      () => ((child.deep.list[0] as { n: number }).n = 1),
      () => Object.assign(child, { x: 1 }),
      () => Object.defineProperty(child, 'n', { value: 1 }),
    ];
    for (const [n, write] of writes.entries()) expect([n, codeOf(write)]).toEqual([n, 'ERR_POD_DETACHED']);
    expect([box.text, box.changes]).toEqual([text, changes]);
    expect(JSON.stringify(child)).toBe('{"n":1,"deep":{"list":[{"n":1}]}}');
  });

  it('what leaves an array by pop, shift, splice, length, fill, copyWithin, or an element is detached; what stays is not', () => {
    const ways: [string, (list: Loose[]) => unknown, number[]][] = [
      ['pop', (list) => list.pop(), [2]],
      ['shift', (list) => list.shift(), [0]],
      ['splice', (list) => list.splice(1, 1, { n: 9 }), [1]],
      ['length', (list) => (list.length = 1), [1, 2]],
      ['fill', (list) => list.fill({ n: 9 }, 1), [1, 2]],
      ['copyWithin', (list) => list.copyWithin(0, 2), [0]],
      ['element', (list) => (list[1] = { n: 9 }), [1]],
      ['reverse', (list) => list.reverse(), []],
      ['sort', (list) => list.sort((a, b) => (b.n as number) - (a.n as number)), []],
      ['unshift', (list) => list.unshift({ n: 9 }), []],
    ];
    for (const [name, way, gone] of ways) {
      const box = new Box([{ n: 0 }, { n: 1 }, { n: 2 }]);
      const list = box.as<Loose[]>();
      const items = [...list];
      way(list);
      for (const [n, item] of items.entries()) {
        if (gone.includes(n)) {
          expect([name, n, codeOf(() => (item.n = 7))]).toEqual([name, n, 'ERR_POD_DETACHED']);
          expect(item.n).toBe(n);
        } else {
          item.n = 70 + n;
          expect([name, box.text.includes(String(70 + n)), list.includes(item)]).toEqual([name, true, true]);
        }
      }
    }
  });

  it('what pop, shift and splice give back is plain data, or can be put in again', () => {
    const box = new Box([{ n: 0 }, { n: 1 }, { n: 2 }]);
    const list = box.as<{ n: number }[]>();
    const last = list.pop() as { n: number };
    list.unshift(last);
    const [middle] = list.splice(1, 1);
    list.push(middle as { n: number });
    expect(box.text).toBe('[{"n":2},{"n":1},{"n":0}]');
    const item = list[0] as { n: number };
    list[0] = list[1] as { n: number };
    list[1] = item;
    expect(box.text).toBe('[{"n":1},{"n":2},{"n":0}]');
  });

  it('a value that is replaced detaches every view, and the new one has its own', () => {
    const box = new Box({ a: { n: 1 } });
    const view = box.as<{ a: { n: number } }>();
    const { a } = view;
    box.replace({ a: { n: 2 } });
    expect([view.a.n, a.n]).toEqual([1, 1]);
    for (const write of [() => (view.a = { n: 3 }), () => (a.n = 3), () => (view.a.n = 3)])
      expect(codeOf(write)).toBe('ERR_POD_DETACHED');
    expect(box.as<object>()).not.toBe(view);
    box.as<{ a: { n: number } }>().a.n = 4;
    expect(box.text).toBe('{"a":{"n":4}}');
  });

  it('a value that may not be changed refuses what would change nothing, too', () => {
    const box = new Box({ n: 1, list: [1] });
    const view = box.as<{ n: number; list: number[]; x?: number }>();
    box.locked = true;
    for (const write of [
      () => (view.n = 2),
      () => (view.n = 1),
      () => delete view.x,
      () => view.list.sort(),
      () => (view.list.length = 1),
      () => view.list.push(),
    ]) {
      expect(codeOf(write)).toBe('ERR_POD_READONLY');
    }
    expect([box.text, box.changes]).toEqual(['{"n":1,"list":[1]}', 0]);
  });

  it('a getter that changes the target while its value is copied in cannot make a write disappear', () => {
    const box = new Box({ child: { n: 1 }, list: [1, 2, 3] });
    const view = box.as<Loose>();
    const child = view.child as Loose;
    const sly = {
      get x(): number {
        view.child = { n: 2 };
        return 1;
      },
    };
    expect(codeOf(() => (child.y = sly))).toBe('ERR_POD_DETACHED');
    expect(JSON.parse(box.text)).toMatchObject({ child: { n: 2 } });
    const list = view.list as unknown[];
    expect(
      codeOf(
        () =>
          (list[3] = {
            get x(): number {
              list.length = 0;
              return 1;
            },
          }),
      ),
    ).toBe('ERR_POD_VALUE');
    expect(JSON.stringify(list)).toBe('[]');
    view.a = {
      get x(): number {
        view.a = { inner: {} };
        return 3;
      },
    };
    expect(JSON.parse(box.text)).toMatchObject({ a: { x: 3 } });
  });
});

describe('any operations on a view', () => {
  it('give what they give on a plain copy, and what JSON text gives back; views that stay attached write on', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(valueArb, { maxLength: 5 }),
          fc.dictionary(fc.string({ maxLength: 2 }), valueArb, { maxKeys: 5 }),
        ),
        fc.array(editArb, { maxLength: 12 }),
        (start, edits) => {
          const box = new Box(start);
          let plain = plainCopy(start);
          const view = box.as<typeof plain>();
          for (const edit of edits) {
            const copy = plainCopy(plain);
            const wanted = applyEdit(copy, edit, true);
            if (JSON.stringify(copy).length > 3000) continue;
            const { changes, text } = box;
            expect(applyEdit(view, edit, false)).toBe(wanted);
            plain = plainCopy(copy);
            expect(JSON.stringify(view)).toBe(JSON.stringify(plain));
            expect(box.text).toBe(JSON.stringify(plain));
            expect(isDeepStrictEqual(view, plain)).toBe(true);
            if (box.text !== text) expect(box.changes).toBeGreaterThan(changes);
            expect(box.started).toBe(box.changes);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
