// The pod as a map: order, copies in and views out, what is accepted, what reading does, and iteration (rules 1 to 5).
import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import type { Json, Key } from '../../src/index.ts';
import { POD } from '../../src/index.ts';
import { codeOf, listing, plain, temporary, thrownBy } from './support.ts';

const { path, open } = temporary();

type Loose = Record<string, unknown>;

describe('rule 1: order', () => {
  it('TP-046: order survives a reopen', () => {
    const at = path();
    const pod = open<number, Key>(at, { fileSize: 2 });
    const keys: Key[] = ['z', 1, 'a', ['t', 2], '1', 0, 'm'];
    for (const [n, key] of keys.entries()) pod.set(key, n);
    expect([...pod.keys()]).toEqual(keys);
    pod.close();
    expect([...open<number, Key>(at).entries()]).toEqual(keys.map((key, n) => [key, n]));
  });

  it('TP-043: an update keeps the place, in memory and after a reopen', () => {
    const at = path();
    const pod = open<Json>(at, { init: { a: 1, b: 2, c: 3 } });
    pod.set('a', 'again').set('b', { deep: [] });
    (pod.get('b') as { deep: number[] }).deep.push(1);
    expect([...pod.keys()]).toEqual(['a', 'b', 'c']);
    pod.close();
    expect(plain([...open(at)])).toEqual([
      ['a', 'again'],
      ['b', { deep: [1] }],
      ['c', 3],
    ]);
  });

  it('what is deleted and added again goes to the end, also across appends, sync points and reopens', () => {
    for (const between of [() => {}, (pod: POD<number>) => pod.sync(), (pod: POD<number>) => pod.compact()]) {
      const pod = open<number>(path(), { fileSize: 2, init: { a: 1, b: 2, c: 3, d: 4, e: 5 } });
      between(pod);
      pod.delete('b');
      between(pod);
      pod.set('b', 6);
      between(pod);
      const wanted = ['a', 'c', 'd', 'e', 'b'];
      expect([...pod.keys()]).toEqual(wanted);
      const at = pod.path;
      pod.close();
      expect([...open(at).keys()]).toEqual(wanted);
    }
  });

  it('of what is inside a value is the order of JSON text, before and after', () => {
    const at = path();
    const pod = open<Json>(at);
    pod.set('k', { z: 1, a: 2, 10: 3, 2: 4 });
    const names = Object.keys(pod.get('k') as object);
    expect(names).toEqual(['2', '10', 'z', 'a']);
    pod.close();
    expect(Object.keys(open(at).get('k') as object)).toEqual(names);
  });
});

describe('rule 2: in by copy, out by view', () => {
  it("the caller's own object is never aliased", () => {
    const pod = open<{ list: number[] }>(path());
    const mine = { list: [1] };
    pod.set('a', mine).set('b', mine);
    mine.list.push(2);
    expect(plain(pod.get('a'))).toEqual({ list: [1] });
    pod.get('a')?.list.push(3);
    expect(mine).toEqual({ list: [1, 2] });
    expect(plain(pod.get('b'))).toEqual({ list: [1] });
  });

  it("is not in the way of a caller's frozen object", () => {
    const pod = open<{ deep: { n: number } }>(path());
    pod.set('a', Object.freeze({ deep: Object.freeze({ n: 1 }) }));
    const view = pod.get('a') as { deep: { n: number } };
    view.deep.n++;
    expect(pod.get('a')?.deep.n).toBe(2);
  });

  it('get gives the same view each time, at each depth', () => {
    const pod = open<{ list: { n: number }[] }>(path(), { init: { a: { list: [{ n: 1 }] } } });
    expect(pod.get('a')).toBe(pod.get('a'));
    const list = pod.get('a')?.list as { n: number }[];
    expect(pod.get('a')?.list).toBe(list);
    expect(list.includes(list[0] as { n: number })).toBe(true);
    expect(list.indexOf(list[0] as { n: number })).toBe(0);
    expect([...pod.values()][0]).toBe(pod.get('a'));
    expect([...pod.entries()][0]?.[1]).toBe(pod.get('a'));
    pod.forEach((value) => {
      expect(value).toBe(pod.get('a'));
    });
  });

  it('TP-070, TP-069: a write below any view is noticed and saved, however long ago the view was taken', () => {
    const at = path();
    const pod = open<{ tags: string[]; deep: { n: number } }>(at, { init: { a: { tags: [], deep: { n: 0 } } } });
    const tags = pod.get('a')?.tags as string[];
    const deep = pod.get('a')?.deep as { n: number };
    pod.sync();
    expect(pod.dirty()).toEqual(new Set());
    tags.push('x');
    expect(pod.dirty()).toEqual(new Set(['a']));
    pod.sync();
    deep.n = 5;
    expect(pod.dirty()).toEqual(new Set(['a']));
    pod.revert();
    expect(plain(pod.get('a'))).toEqual({ tags: ['x'], deep: { n: 0 } });
    pod.close();
    expect(plain(open(at).get('a'))).toEqual({ tags: ['x'], deep: { n: 0 } });
  });

  it('TP-048: values met while iterating are views too', () => {
    const pod = open<{ n: number }>(path(), { init: { a: { n: 1 }, b: { n: 2 } } });
    pod.sync();
    for (const value of pod.values()) value.n *= 10;
    expect(pod.dirty()).toEqual(new Set(['a', 'b']));
    expect(plain([...pod])).toEqual([
      ['a', { n: 10 }],
      ['b', { n: 20 }],
    ]);
  });

  it.each<[string, (pod: POD<{ n: number; deep: { n: number } }>) => void]>([
    ['set again', (pod) => pod.set('a', { n: 1, deep: { n: 1 } })],
    ['deleted', (pod) => pod.delete('a')],
    ['deleted and added again', (pod) => pod.delete('a') && pod.set('a', { n: 7, deep: { n: 7 } })],
    ['popped', (pod) => pod.pop('a')],
    ['cleared', (pod) => pod.clear()],
    ['updated', (pod) => pod.update({ a: { n: 1, deep: { n: 1 } } })],
    [
      'reverted',
      (pod) => {
        pod.sync();
        pod.markDirty('a');
        pod.revert();
      },
    ],
  ])('a view of a value that was %s reads, and refuses every write, also one of what it holds already', (_, leave) => {
    const pod = open<{ n: number; deep: { n: number } }>(path(), { init: { a: { n: 1, deep: { n: 1 } } } });
    const view = pod.get('a') as { n: number; deep: { n: number }; x?: number };
    const { deep } = view;
    leave(pod);
    const now = plain([...pod]);
    expect(plain(view)).toEqual({ n: 1, deep: { n: 1 } });
    const writes: (() => unknown)[] = [
      () => (view.n = 2),
      () => (view.n = 1),
      () => delete view.x,
      () => (deep.n = 2),
      () => (deep.n = 1),
      () => (view.deep.n = 1),
      () => Object.assign(view, { n: 1 }),
      () => Object.defineProperty(view, 'n', { value: 1 }),
    ];
    for (const write of writes) {
      const error = thrownBy(write);
      expect(error.code).toBe('ERR_POD_DETACHED');
      expect(error.key).toBe('a');
      expect(error.path).toBe(pod.path);
    }
    expect(plain([...pod])).toEqual(now);
    expect(plain(view)).toEqual({ n: 1, deep: { n: 1 } });
  });

  it('a view of an array that left refuses what would change nothing, too', () => {
    const pod = open<number[]>(path(), { init: { a: [] } });
    const view = pod.get('a') as number[];
    pod.delete('a');
    pod.set('a', [1, 2]);
    for (const write of [
      () => view.pop(),
      () => view.splice(0),
      () => view.sort(),
      () => view.push(),
      () => (view.length = 0),
    ]) {
      expect(codeOf(write)).toBe('ERR_POD_DETACHED');
    }
  });

  it('TPB-19: what is closed is let go: views of it read, and a write to one says that it was closed', () => {
    const pod = open<{ n: number }>(path(), { init: { a: { n: 1 } } });
    const view = pod.get('a') as { n: number };
    pod.close();
    expect(view.n).toBe(1);
    for (const write of [() => (view.n = 2), () => (view.n = 1), () => Reflect.deleteProperty(view, 'x')]) {
      expect(codeOf(write)).toBe('ERR_POD_CLOSED');
    }
    expect(view.n).toBe(1);
  });
});

describe('rule 3: memory equals disk', () => {
  const cycle: Loose = { list: [] };
  (cycle.list as unknown[]).push(cycle);
  let deep: Json = 0;
  for (let level = 0; level < 513; level++) deep = [deep];
  const mostlyHoles: unknown[] = [];
  mostlyHoles[200_000_000] = 1;
  const refused: [name: string, value: unknown, at: string][] = [
    ['undefined', undefined, '$'],
    ['undefined in an array', { a: [1, undefined] }, '$.a[1]'],
    ['NaN', { a: { b: Number.NaN } }, '$.a.b'],
    ['Infinity', [Number.POSITIVE_INFINITY], '$[0]'],
    ['a bigint', { n: 1n }, '$.n'],
    ['a function', { f: () => 1 }, '$.f'],
    ['a symbol', [Symbol('s')], '$[0]'],
    ['a Date', { at: new Date(0) }, '$.at'],
    ['a Map', { m: new Map() }, '$.m'],
    ['a Set', { 'a b': new Set() }, '$["a b"]'],
    ['a buffer', { b: Buffer.from('x') }, '$.b'],
    ['a class instance', [new (class Thing {})()], '$[0]'],
    ['a cycle', cycle, '$.list[0]'],
    ['an array that is hardly anything but holes', { ids: mostlyHoles }, '$.ids'],
    ['513 levels', deep, `$${'[0]'.repeat(512)}`],
  ];
  type Holder = { keep: number; list: Json[]; deep: Loose };
  const entryPoints: [name: string, write: (pod: POD<Json>, value: Json) => unknown][] = [
    ['set', (pod, value) => pod.set('new', value)],
    ['set of an entry that is there', (pod, value) => pod.set('a', value)],
    ['getOrInsert', (pod, value) => pod.getOrInsert('new', value)],
    ['getOrInsertComputed', (pod, value) => pod.getOrInsertComputed('new', () => value)],
    ['update with pairs', (pod, value) => pod.update([['new', value]])],
    ['update with an object', (pod, value) => pod.update({ new: value })],
    ['transaction', (pod, value) => pod.transaction(() => pod.set('b', 1).set('new', value))],
    ['init', (pod, value) => open<Json>(pod.path, { init: { new: value } })],
  ];

  it.each(entryPoints)(
    'D7: %s refuses what JSON cannot give back, with the path inside, and nothing is changed',
    (_, write) => {
      const pod = open<Json>(path(), { init: { a: { keep: 1 } } });
      pod.sync();
      for (const [name, value, at] of refused) {
        const error = thrownBy(() => write(pod, value as Json));
        expect([name, error.code, error.at]).toEqual([name, 'ERR_POD_VALUE', at]);
        expect(error.message).toContain(at);
        expect(error.path).toBe(pod.path);
        expect(error.key).toBe(name === 'never' ? undefined : error.key === 'a' ? 'a' : 'new');
        expect(plain([...pod])).toEqual([['a', { keep: 1 }]]);
        expect(pod.dirty()).toEqual(new Set());
      }
    },
  );

  const below: [name: string, write: (value: Holder, bad: unknown) => unknown, where: string][] = [
    ['assignment', (value, bad) => ((value.deep as Loose).x = bad), ''],
    ['assignment of an element', (value, bad) => ((value.list as unknown[])[0] = bad), ''],
    ['Object.assign', (value, bad) => Object.assign(value.deep, { x: bad }), ''],
    [
      'defineProperty',
      (value, bad) =>
        Object.defineProperty(value.deep, 'x', { value: bad, enumerable: true, writable: true, configurable: true }),
      '',
    ],
    ['Reflect.set', (value, bad) => Reflect.set(value.deep, 'x', bad), ''],
    ['push', (value, bad) => value.list.push(1, bad as Json), ''],
    ['unshift', (value, bad) => value.list.unshift(bad as Json, 1), ''],
    ['splice', (value, bad) => value.list.splice(0, 2, 3, bad as Json), ''],
    ['fill', (value, bad) => value.list.fill(bad as Json), ''],
  ];
  it.each(below)('D7: %s below the root refuses the same, as one step', (name, write) => {
    const at = path();
    const pod = open<Holder>(at, { init: { a: { keep: 1, list: [1, 2], deep: { x: 1 } } } });
    pod.sync();
    for (const [what, bad] of refused) {
      // A property that is undefined is one that is not there.
      if (bad === undefined && ['assignment', 'Object.assign', 'defineProperty', 'Reflect.set'].includes(name))
        continue;
      const error = thrownBy(() => write(pod.get('a') as Holder, bad));
      expect([what, error.code]).toEqual([what, 'ERR_POD_VALUE']);
      expect(error.key).toBe('a');
      expect(error.path).toBe(at);
      expect(plain(pod.get('a'))).toEqual({ keep: 1, list: [1, 2], deep: { x: 1 } });
      expect(pod.dirty()).toEqual(new Set());
    }
  });

  it('D7, TPB-02: a refused value does no harm to what is there: the next sync works and a reopen gives everything back', () => {
    const at = path();
    const pod = open<Json, Key>(at, { init: { a: 1, b: [2] } });
    expect(codeOf(() => pod.set('c', [1, { when: new Date(0) as unknown as Json }]))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => pod.set(['t', 1.5], 1))).toBe('ERR_POD_KEY');
    pod.sync();
    pod.close();
    expect(plain([...open<Json>(at)])).toEqual([
      ['a', 1],
      ['b', [2]],
    ]);
  });

  it('D7, TP-052: what is accepted is what a reopen gives back: undefined properties are dropped and -0 is 0', () => {
    const at = path();
    const pod = open<Json>(at);
    const values = {
      zero: -0,
      list: [-0, 1e21, 5e-324, 0.1 + 0.2],
      text: 'é漢😀\u2028\ud800\0\t\n"\\',
      nothing: null,
      gone: undefined,
    };
    pod.set('a', values as unknown as Json);
    const before = pod.get('a') as unknown as typeof values;
    expect(Object.is(before.zero, 0)).toBe(true);
    expect(Object.is(before.list[0], 0)).toBe(true);
    expect('gone' in before).toBe(false);
    const snapshot = pod.snapshot('a');
    pod.close();
    expect(open(at).snapshot('a')).toEqual(snapshot);
  });

  it.each([null, 5, 'ab', [1], [null], new Set(['a'])])('update takes pairs or an object, and not %s', (source) => {
    const pod = open<Json>(path(), { init: { a: 1 } });
    expect(codeOf(() => pod.update(source as never))).toBe('ERR_POD_VALUE');
    expect([...pod]).toEqual([['a', 1]]);
  });

  it('__proto__, constructor and the like are ordinary keys and ordinary names, and nobody is polluted', () => {
    const at = path();
    const pod = open<Json>(at);
    const odd = JSON.parse(
      '{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 2}}, "toString": 3, "": 4}',
    ) as Json;
    for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', '0']) pod.set(key, odd);
    pod.update(JSON.parse('{"__proto__": {"polluted": 3}, "valueOf": 1}') as Record<string, Json>);
    const view = pod.get('constructor') as Loose;
    (Reflect.get(view, '__proto__') as Loose).deep = { __proto__: null, polluted: 5 };
    Object.defineProperty(view, '__proto__', {
      value: { again: 6 },
      enumerable: true,
      writable: true,
      configurable: true,
    });
    const wanted = JSON.stringify([...pod]);
    expect(wanted).toContain('"__proto__":{"again":6}');
    expect(Object.getPrototypeOf(view)).toBe(Object.prototype);
    expect(({} as Loose).polluted).toBeUndefined();
    pod.close();
    const again = open(at);
    expect(JSON.stringify([...again])).toBe(wanted);
    expect(plain(again.snapshot('__proto__'))).toEqual({ polluted: 3 });
    expect(({} as Loose).polluted).toBeUndefined();
  });

  it('TP-040, TP-041: keys are strings, safe integers and arrays of keys, and 1, "1" and ["1"] are three', () => {
    const at = path();
    const pod = open<number, Key>(at, { fileSize: 2 });
    const keys: Key[] = [
      1,
      '1',
      ['1'],
      [1],
      [[1]],
      [],
      '',
      -5,
      Number.MAX_SAFE_INTEGER,
      ['a', ['b', [2]]],
      '[1]',
      '\0',
      'é\t"\\\n',
    ];
    keys.forEach((key, n) => {
      pod.set(key, n);
    });
    expect(pod.size).toBe(keys.length);
    pod.close();
    const again = open<number, Key>(at);
    expect([...again.keys()]).toEqual(keys);
    keys.forEach((key, n) => {
      expect(again.get(key)).toBe(n);
      expect(again.has(key)).toBe(true);
    });
    for (const other of [2, '2', ['2'], [], [['1']], '["1"]'].filter(
      (key) => !keys.some((known) => JSON.stringify(known) === JSON.stringify(key)),
    )) {
      expect(again.has(other)).toBe(false);
    }
    expect(again.get(-0)).toBe(again.get(0));
  });

  it.each<[string, unknown]>([
    ['a float', 1.5],
    ['NaN', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
    ['an unsafe integer', 2 ** 53],
    ['null', null],
    ['undefined', undefined],
    ['true', true],
    ['an object', {}],
    ['a bigint', 1n],
    ['a symbol', Symbol('k')],
    ['an array of one', [null]],
    ['a function', () => 1],
  ])('TP-040: %s is refused as a key by every method that takes one', (_, bad) => {
    const pod = open<Json, Key>(path(), { init: [['a', 1]] });
    pod.sync();
    const key = bad as Key;
    const calls: (() => unknown)[] = [
      () => pod.get(key),
      () => pod.has(key),
      () => pod.set(key, 1),
      () => pod.delete(key),
      () => pod.pop(key),
      () => pod.pop(key, 1),
      () => pod.getOrInsert(key, 1),
      () => pod.getOrInsertComputed(key, () => 1),
      () => pod.update([[key, 1]]),
      () => pod.snapshot(key),
      () => pod.markDirty(key),
      () => pod.syncKey(key),
    ];
    for (const call of calls) {
      const error = thrownBy(call);
      expect(error.code).toBe('ERR_POD_KEY');
      expect(error.path).toBe(pod.path);
      expect(error.message).toMatch(/string.*integer|safe integer/);
    }
    expect([...pod]).toEqual([['a', 1]]);
    expect(pod.dirty()).toEqual(new Set());
  });

  it('a key that is an array is copied and frozen', () => {
    const pod = open<number, Key>(path());
    const key: [string, number[]] = ['a', [1]];
    pod.set(key, 1);
    key[1].push(2);
    expect([...pod.keys()]).toEqual([['a', [1]]]);
    const [kept] = pod.keys();
    expect(Object.isFrozen(kept)).toBe(true);
    expect(Object.isFrozen((kept as [string, Key])[1])).toBe(true);
  });

  it('a change made by what is being put in does not make two entries of one key, nor lose one', () => {
    const pod = open<Json>(path());
    const sly = {
      get x(): number {
        pod.set('a', 'inner');
        return 1;
      },
    };
    pod.set('a', sly);
    expect(plain([...pod])).toEqual([['a', { x: 1 }]]);
    pod.set('a', {
      get x(): number {
        pod.delete('a');
        return 2;
      },
    });
    expect(plain([...pod])).toEqual([['a', { x: 2 }]]);
    const at = pod.path;
    pod.close();
    expect(plain([...open(at)])).toEqual([['a', { x: 2 }]]);
  });
});

describe('rule 4: reads never dirty', () => {
  it('TP-042, TPB-14: nothing that reads marks, writes, or changes the order', async () => {
    const at = path();
    const pod = open<{ list: number[]; deep: { n: number } }>(at, {
      fileSize: 2,
      init: Object.fromEntries([...'abcde'].map((key) => [key, { list: [3, 1], deep: { n: 1 } }])),
    });
    pod.close();
    const again = open<{ list: number[]; deep: { n: number } }>(at, { syncEvery: 1 });
    const before = listing(at);
    for (const [key, value] of again) {
      expect(again.has(key)).toBe(true);
      expect(again.get(key)?.list.map((n) => n + 1)).toEqual([4, 2]);
      expect(value.list.toSorted()).toEqual([1, 3]);
      expect(value.list.slice().reverse()).toEqual([1, 3]);
      expect({ ...value, deep: { ...value.deep } }).toMatchObject({ deep: { n: 1 } });
      expect(inspect(value)).toBe('{ list: [ 3, 1 ], deep: { n: 1 } }');
      expect(JSON.stringify(value)).toBe('{"list":[3,1],"deep":{"n":1}}');
      expect(Object.keys(value)).toEqual(['list', 'deep']);
      expect('deep' in value).toBe(true);
      again.snapshot(key);
      again.getOrInsert(key, { list: [], deep: { n: 2 } });
    }
    again.forEach(() => {});
    again.equals([]);
    again.dirty();
    again.transaction(() => again.get('a'));
    expect(again.dirty()).toEqual(new Set());
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(listing(at)).toEqual(before);
    expect([...again.keys()]).toEqual([...'abcde']);
  });

  it('D30: a sync point with nothing dirty writes nothing', async () => {
    const pod = open<number>(path(), { init: { a: 1 }, syncEvery: 0 });
    pod.sync();
    const before = listing(pod.path);
    pod.sync();
    await pod.flush();
    pod.unhold();
    pod.transaction(() => {});
    expect(listing(pod.path)).toEqual(before);
  });

  it('a write of an equal primitive is no change', () => {
    const pod = open<{ n: number; s: string; z: null; list: boolean[] }>(path(), {
      init: { a: { n: 0, s: 'x', z: null, list: [true] } },
    });
    pod.sync();
    const view = pod.get('a') as { n: number; s: string; z: null; list: boolean[]; gone?: undefined };
    view.n = 0;
    view.n = -0;
    view.s = 'x';
    view.z = null;
    view.list[0] = true;
    view.list.length = 1;
    delete view.gone;
    expect(pod.dirty()).toEqual(new Set());
    view.n = 1;
    expect(pod.dirty()).toEqual(new Set(['a']));
  });
});

describe('rule 5: iteration is live', () => {
  const visits = (iterator: Iterable<string>, work: (key: string) => void): string[] => {
    const seen: string[] = [];
    for (const key of iterator) {
      seen.push(key);
      if (seen.length > 20) throw new Error('it does not end');
      work(key);
    }
    return seen;
  };

  it('TP-047, TPT-07: what is appended is visited, what is deleted is not, what comes back is met again: as with a Map', () => {
    const changes: [string, (map: POD<number> | Map<string, number>, key: string) => void][] = [
      ['append', (map, key) => key === 'b' && map.set('d', 4).set('e', 5)],
      ['delete what is ahead', (map, key) => key === 'a' && map.delete('b')],
      ['delete what is behind', (map, key) => key === 'c' && map.delete('a')],
      ['delete itself', (map, key) => map.delete(key)],
      ['delete and add again', (map, key) => map.get(key) === 1 && map.delete(key) && map.set(key, 9)],
      ['delete and add again what is ahead', (map, key) => key === 'a' && map.delete('b') && map.set('b', 9)],
      ['clear', (map, key) => key === 'b' && map.clear()],
      [
        'clear and refill',
        (map, key) => {
          if (key !== 'b') return;
          map.clear();
          map.set('x', 1).set('a', 2);
        },
      ],
      ['set what is there', (map, key) => map.set(key, 7)],
    ];
    for (const [name, change] of changes) {
      const map = new Map([
        ['a', 1],
        ['b', 2],
        ['c', 3],
      ]);
      const pod = open<number>(path(), { init: [...map] });
      const wanted = visits(map.keys(), (key) => change(map, key));
      expect([name, visits(pod.keys(), (key) => change(pod, key))]).toEqual([name, wanted]);
      expect([name, [...pod]]).toEqual([name, [...map]]);
      pod.close();
    }
  });

  it('an iteration that ended stays ended', () => {
    const pod = open<number>(path(), { init: { a: 1 } });
    const keys = pod.keys();
    expect([...keys]).toEqual(['a']);
    pod.set('b', 2);
    expect(keys.next().done).toBe(true);
  });

  it('keeps its place when the empty places are packed, by thousands of deletions or by compact()', () => {
    const count = 5000;
    const pod = open<number>(path(), { syncAt: 1_000_000 });
    for (let n = 0; n < count; n++) pod.set(`k${n}`, n);
    const seen: number[] = [];
    for (const [key, n] of pod) {
      seen.push(n);
      // The one that is visited stays, so that the place is a real one; nine of ten before and after it go.
      if (n === 1000) for (let gone = 0; gone < count; gone++) if (gone % 10 !== 0) pod.delete(`k${gone}`);
      if (n === 2000) pod.compact();
      if (n === 3000) pod.delete(key);
    }
    const wanted = Array.from({ length: count }, (_, n) => n).filter((n) => n <= 1000 || n % 10 === 0);
    expect(seen).toEqual(wanted);
  });

  it('keeps its place through revert(): nothing is skipped or met twice', () => {
    const pod = open<number>(path(), { init: { a: 1, b: 2, c: 3, d: 4 } });
    pod.sync();
    pod.delete('a');
    const keys = pod.keys();
    expect(keys.next().value).toBe('b');
    pod.clear();
    pod.set('x', 1);
    pod.revert();
    expect([...keys]).toEqual(['c', 'd']);
    expect([...pod.keys()]).toEqual(['a', 'b', 'c', 'd']);
  });

  it('keeps its place through a transaction that fails', () => {
    const pod = open<number>(path(), { init: { a: 1, b: 2, c: 3 } });
    const keys = pod.keys();
    keys.next();
    expect(() =>
      pod.transaction(() => {
        pod.clear();
        pod.set('x', 1);
        throw new Error('on purpose');
      }),
    ).toThrow('on purpose');
    expect([...keys]).toEqual(['b', 'c']);
  });

  it('values, entries, forEach and the pod itself go the same way', () => {
    const pod = open<number>(path(), { init: { a: 1, b: 2 } });
    const seen: unknown[] = [];
    for (const value of pod.values()) {
      seen.push(value);
      if (value === 2) pod.set('c', 3);
    }
    for (const [key, value] of pod) {
      seen.push(key, value);
      if (key === 'a') pod.delete('b');
    }
    pod.forEach((value, key, self) => {
      seen.push(`${key}=${value}`);
      expect(self).toBe(pod);
      if (key === 'c') self.set('d', 4);
    });
    expect(seen).toEqual([1, 2, 3, 'a', 1, 'c', 3, 'a=1', 'c=3', 'd=4']);
  });

  it('of a pod that was closed meanwhile says so', () => {
    const pod = open<number>(path(), { init: { a: 1, b: 2 } });
    const keys = pod.keys();
    keys.next();
    pod.close();
    expect(codeOf(() => keys.next())).toBe('ERR_POD_CLOSED');
  });
});

describe('the methods of a map', () => {
  it('TP-044, TP-045, TPT-08: get, has and size', () => {
    const pod = open<Json, Key>(path(), {
      init: [
        ['a', null],
        [1, false],
      ],
    });
    expect(pod.get('a')).toBeNull();
    expect(pod.get(1)).toBe(false);
    expect(pod.get('1')).toBeUndefined();
    expect([pod.has('a'), pod.has('1'), pod.has(1)]).toEqual([true, false, true]);
    expect(pod.size).toBe(2);
  });

  it('TP-051, TP-101: delete says whether there was one, clear empties, and both last', () => {
    const at = path();
    const pod = open<number>(at, { fileSize: 2, init: { a: 1, b: 2, c: 3, d: 4, e: 5 } });
    pod.close();
    const second = open<number>(at);
    expect(second.delete('b')).toBe(true);
    expect(second.delete('b')).toBe(false);
    expect(second.delete('never')).toBe(false);
    second.close();
    const third = open<number>(at);
    expect([...third.keys()]).toEqual(['a', 'c', 'd', 'e']);
    third.clear();
    expect(third.size).toBe(0);
    third.close();
    const fourth = open<number>(at);
    expect([...fourth]).toEqual([]);
    fourth.set('f', 6);
    fourth.close();
    expect([...open(at)]).toEqual([['f', 6]]);
  });

  it('pop gives plain data back, or the fallback, whatever it is', () => {
    const pod = open<Json>(path(), { init: { a: { deep: [1] }, u: null } });
    const popped = pod.pop('a') as { deep: number[] };
    popped.deep.push(2);
    expect(popped).toEqual({ deep: [1, 2] });
    expect(structuredClone(popped)).toEqual(popped);
    expect(pod.has('a')).toBe(false);
    expect(pod.pop('a')).toBeUndefined();
    expect(pod.pop('a', 7)).toBe(7);
    expect(pod.pop('a', undefined)).toBeUndefined();
    expect(pod.pop('u', 7)).toBeNull();
  });

  it('getOrInsert and getOrInsertComputed insert once, give a view, and call their function only when needed', () => {
    const pod = open<number[]>(path());
    const mine = [1];
    pod.getOrInsert('a', mine).push(2);
    expect(mine).toEqual([1]);
    expect(pod.getOrInsert('a', [9])).toBe(pod.get('a'));
    let calls = 0;
    const make = (key: string): number[] => {
      calls++;
      return [key.length];
    };
    pod.getOrInsertComputed('abc', make).push(4);
    pod.getOrInsertComputed('abc', make);
    expect(calls).toBe(1);
    expect(plain([...pod])).toEqual([
      ['a', [1, 2]],
      ['abc', [3, 4]],
    ]);
    expect(() =>
      pod.getOrInsertComputed('x', () => {
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(pod.has('x')).toBe(false);
  });

  it('TP-050: update takes pairs and objects, from left to right; rightmost wins and an update keeps the place', () => {
    const pod = open<Json>(path(), { init: { a: 1 } });
    const other = open<Json>(path(), { init: { z: [1] } });
    expect(
      pod.update(
        { a: 2, b: 2 },
        [
          ['a', 3],
          ['c', 3],
        ],
        new Map([['b', { n: 4 }]]),
        other,
        {},
      ),
    ).toBeUndefined();
    expect(plain([...pod])).toEqual([
      ['a', 3],
      ['b', { n: 4 }],
      ['c', 3],
      ['z', [1]],
    ]);
    pod.update();
    pod.update(pod);
    expect(pod.size).toBe(4);
  });

  it('update keeps what came before the refused entry, and a transaction does not', () => {
    const pod = open<number>(path());
    const bad = [
      ['a', 1],
      ['b', Number.NaN],
      ['c', 3],
    ] as [string, number][];
    expect(codeOf(() => pod.update(bad))).toBe('ERR_POD_VALUE');
    expect([...pod]).toEqual([['a', 1]]);
    expect(codeOf(() => pod.transaction(() => pod.update({ x: 1 }, bad)))).toBe('ERR_POD_VALUE');
    expect([...pod]).toEqual([['a', 1]]);
  });

  it('snapshot is plain data of your own, fit for structuredClone and for JSON', () => {
    const pod = open<{ deep: { n: number }[] }>(path(), { init: { a: { deep: [{ n: 1 }] } } });
    const snapshot = pod.snapshot('a') as { deep: { n: number }[] };
    expect(structuredClone(snapshot)).toEqual({ deep: [{ n: 1 }] });
    (snapshot.deep[0] as { n: number }).n = 2;
    expect(pod.get('a')?.deep[0]?.n).toBe(1);
    expect(pod.snapshot('never')).toBeUndefined();
    expect(() => structuredClone(pod.get('a'))).toThrow();
    pod.sync();
    expect(pod.dirty()).toEqual(new Set());
  });

  it('equals compares keys, values and order, with any iterable of pairs', () => {
    const pod = open<Json, Key>(path(), {
      init: [
        ['a', { x: 1, y: [2] }],
        [1, null],
      ],
    });
    const pairs: [Key, Json][] = [
      ['a', { y: [2], x: 1 }],
      [1, null],
    ];
    expect(pod.equals(pairs)).toBe(true);
    expect(pod.equals(pod)).toBe(true);
    expect(pod.equals(new Map(pairs))).toBe(true);
    expect(pod.equals(pairs.toReversed())).toBe(false);
    expect(pod.equals(pairs.slice(1))).toBe(false);
    expect(pod.equals([...pairs, ['b', 1]])).toBe(false);
    expect(
      pod.equals([
        ['a', { x: 1, y: [2] }],
        ['1', null],
      ]),
    ).toBe(false);
    expect(
      pod.equals([
        ['a', { x: 1, y: [2], z: 1 }],
        [1, null],
      ]),
    ).toBe(false);
    expect(
      pod.equals([
        ['a', { x: 1, y: { 0: 2 } }],
        [1, null],
      ]),
    ).toBe(false);
    expect(pod.equals([])).toBe(false);
    const copy = pod.copyTo(path());
    expect(pod.equals(copy)).toBe(true);
    copy.close();
  });

  it('TP-049: what is spread is a list of its own', () => {
    const pod = open<number>(path(), { init: { a: 1 } });
    const keys = [...pod.keys()];
    keys.push('b');
    expect([...pod.keys()]).toEqual(['a']);
    expect(new Map(pod)).toEqual(new Map([['a', 1]]));
    expect(Object.fromEntries(pod)).toEqual({ a: 1 });
  });

  it('TP-002: POD is PersistentOrderedDict, which only open() makes', async () => {
    const { PersistentOrderedDict } = await import('../../src/index.ts');
    expect(POD).toBe(PersistentOrderedDict);
    const Maker = POD as unknown as new (...args: unknown[]) => unknown;
    expect(codeOf(() => new Maker(path()))).toBe('ERR_POD_UNSUPPORTED');
  });

  it('TPB-20: nothing is printed', () => {
    const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, 'write').mockReturnValue(true));
    try {
      const pod = open<number>(path(), { init: { a: 1 } });
      expect(codeOf(() => pod.set('b', Number.NaN))).toBe('ERR_POD_VALUE');
      pod.sync();
      pod.compact();
      pod.revert();
      pod.close();
      expect(spies.flatMap((spy) => spy.mock.calls)).toEqual([]);
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
  });
});
