// The copy that every value takes on its way in: what it keeps, what it drops, what it refuses and where it says so.
import vm from 'node:vm';
import { describe, expect, it } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import { copyJson, DEPTH_MAX, equalJson, isTooDeep, setOwn } from '../../src/core/json.ts';
import fc from '../fast-check.ts';

function refusal(value: unknown, depth?: number): { at: string | undefined; message: string } {
  try {
    copyJson(value, depth);
  } catch (error) {
    if (!(error instanceof PodError)) throw error;
    expect(error.code).toBe('ERR_POD_VALUE');
    expect(error.message).toContain(String(error.at));
    return { at: error.at, message: error.message };
  }
  throw new Error('it was accepted');
}

function nested(levels: number, make: (inner: unknown) => unknown): unknown {
  let value: unknown = 0;
  for (let level = 0; level < levels; level++) value = make(value);
  return value;
}

describe('copyJson', () => {
  it('gives back what JSON text gives back, for any JSON value, and shares nothing with it', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const copy = copyJson(value);
        expect(copy).toEqual(JSON.parse(JSON.stringify(value)));
        expect(JSON.stringify(copy)).toBe(JSON.stringify(value));
        if (typeof value === 'object' && value !== null) expect(copy).not.toBe(value);
      }),
    );
  });

  it('TP-052: drops undefined properties and makes -0 a 0, as JSON does; property order stays', () => {
    const copy = copyJson({ b: 1, gone: undefined, a: -0, list: [-0] }) as { a: number; list: number[] };
    expect(JSON.stringify(copy)).toBe('{"b":1,"a":0,"list":[0]}');
    expect('gone' in copy).toBe(false);
    expect([Object.is(copy.a, 0), Object.is(copy.list[0], 0)]).toEqual([true, true]);
  });

  const thing = new (class Thing {
    n = 1;
  })();
  const extra = Object.assign([1, 2], { extra: true });
  const holes: unknown[] = [1];
  holes[2] = 3;
  const mostlyHoles: unknown[] = [];
  mostlyHoles[200_000_000] = 1;
  const refused: [string, unknown, RegExp][] = [
    ['undefined', undefined, /undefined/],
    ['NaN', Number.NaN, /NaN/],
    ['Infinity', Number.POSITIVE_INFINITY, /Infinity/],
    ['-Infinity', Number.NEGATIVE_INFINITY, /-Infinity/],
    ['a bigint', 1n, /bigint/],
    ['a function', () => 1, /function/],
    ['a class', class A {}, /function/],
    ['a symbol', Symbol('x'), /symbol/],
    ['a Date', new Date(0), /Date/],
    ['a RegExp', /x/, /RegExp/],
    ['a Map', new Map(), /Map/],
    ['a Set', new Set(), /Set/],
    ['a WeakMap', new WeakMap(), /WeakMap/],
    ['a Promise', Promise.resolve(), /Promise/],
    ['an Error', new Error('x'), /Error/],
    ['a buffer', Buffer.from('x'), /Buffer/],
    ['a typed array', new Uint8Array(1), /Uint8Array/],
    ['an ArrayBuffer', new ArrayBuffer(1), /ArrayBuffer/],
    ['a boxed number', Object(1), /Number/],
    ['a boxed string', Object('x'), /String/],
    ['an instance', thing, /Thing/],
    ['an object that inherits from another', Object.create({ a: 1 }), /instance/],
    ['an array of a class', new (class List extends Array {})(), /List|array/],
    ['an array with a further property', extra, /array/],
    ['an array with a hole', holes, /hole|array|undefined/],
    ['an array that is hardly anything but holes', mostlyHoles, /hole at 0/],
    ['an empty array of a length', new Array(3), /hole|array|undefined/],
    ['an object with a symbol', { [Symbol('s')]: 1 }, /symbol/],
    ['an array with a symbol', Object.assign([1], { [Symbol('s')]: 1 }), /symbol|array/],
    ['globalThis', globalThis, /./],
  ];
  it.each(refused)('refuses %s, wherever it is, and says where', (_, bad, why) => {
    expect(refusal(bad)).toMatchObject({ message: expect.stringMatching(why) });
    expect(refusal({ ok: 1, 'a b': [0, { x: [bad] }] }).at).toMatch(/^\$\["a b"\]\[1\]\.x\[0\]/);
    expect(refusal([[0], { bad: [bad] }]).at).toMatch(/^\$\[1\]\.bad\[0\]/);
    if (bad !== undefined) expect(refusal({ $x: { y_1: bad } }).at).toMatch(/^\$\.\$x\.y_1/);
  });

  it('names of a path that are no words are quoted', () => {
    for (const [name, at] of [
      ['a-b', '$["a-b"]'],
      ['', '$[""]'],
      ['0', '$["0"]'],
      ['é', '$["é"]'],
      ['"', '$["\\""]'],
      ['__proto__', '$.__proto__'],
    ] as const) {
      const value: Record<string, unknown> = {};
      setOwn(value, name, Number.NaN);
      expect(refusal(value).at).toBe(at);
    }
  });

  it('refuses a cycle, through objects and arrays, at the place where it closes; the same object twice is no cycle', () => {
    const object: Record<string, unknown> = { deep: {} };
    (object.deep as Record<string, unknown>).back = object;
    expect(refusal(object).at).toBe('$.deep.back');
    const list: unknown[] = [1];
    list.push({ list });
    expect(refusal({ list }).at).toBe('$.list[1].list');
    const shared = { n: 1 };
    const copy = copyJson({ a: shared, b: [shared] }) as unknown as { a: object; b: object[] };
    expect(copy).toEqual({ a: { n: 1 }, b: [{ n: 1 }] });
    expect(copy.a).not.toBe(copy.b[0]);
  });

  it.each<[string, (inner: unknown) => unknown, string]>([
    ['arrays', (inner) => [inner], '[0]'],
    ['objects', (inner) => ({ a: inner }), '.a'],
  ])('takes %s 512 levels deep and no more, counted from where they are put', (_, make, step) => {
    expect(DEPTH_MAX).toBe(512);
    expect(JSON.stringify(copyJson(nested(512, make)))).toBe(JSON.stringify(nested(512, make)));
    expect(refusal(nested(513, make)).at).toBe(`$${step.repeat(512)}`);
    expect(copyJson(nested(12, make), 500)).toEqual(nested(12, make));
    expect(refusal(nested(13, make), 500).message).toMatch(/512|deep/);
    expect(copyJson(1, DEPTH_MAX)).toBe(1);
    expect(refusal([], DEPTH_MAX).at).toBe('$');
    expect(refusal(nested(100_000, make)).at).toBe(`$${step.repeat(512)}`);
  });

  it('takes plain objects without a prototype and those of another realm', () => {
    expect(copyJson(Object.assign(Object.create(null) as object, { a: 1 }))).toEqual({ a: 1 });
    const foreign: unknown = vm.runInNewContext('({ list: [1, { deep: null }], __proto__: Object.prototype })');
    expect(foreign instanceof Object).toBe(false);
    const copy = copyJson(foreign) as { list: unknown[] };
    expect(copy).toEqual({ list: [1, { deep: null }] });
    expect([Object.getPrototypeOf(copy), Object.getPrototypeOf(copy.list)]).toEqual([
      Object.prototype,
      Array.prototype,
    ]);
    expect(refusal(vm.runInNewContext('({ at: new Date(0) })')).at).toBe('$.at');
    expect(refusal(vm.runInNewContext('[new Map()]')).at).toBe('$[0]');
    // A class that only calls itself Object is not one.
    const named = { Object: class {} };
    expect(named.Object.name).toBe('Object');
    expect(refusal(new named.Object()).at).toBe('$');
  });

  it('keeps awkward names as ordinary ones, and changes no prototype', () => {
    const odd = JSON.parse(
      '{"__proto__":{"polluted":1},"constructor":2,"toString":3,"":4,"hasOwnProperty":5}',
    ) as object;
    const copy = copyJson(odd) as object;
    expect(JSON.stringify(copy)).toBe(JSON.stringify(odd));
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
    expect(Object.hasOwn(copy, '__proto__')).toBe(true);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it('reads a getter once and keeps what it gave; what a getter throws comes through', () => {
    let reads = 0;
    const value = {
      get n(): number {
        return ++reads;
      },
    };
    expect(copyJson(value)).toEqual({ n: 1 });
    expect(() =>
      copyJson({
        get bad(): number {
          throw new RangeError('on purpose');
        },
      }),
    ).toThrow(RangeError);
  });

  it('says something true where a value is another one when it is looked at again', () => {
    let reads = 0;
    const sly = {
      get n(): unknown {
        return reads++ === 0 ? Number.NaN : 1;
      },
    };
    expect(refusal(sly).message).toMatch(/changed/);
  });

  it('refuses a string that JSON text could not hold', () => {
    const long = 'x'.repeat(89_000_001);
    expect(refusal({ long }).message).toMatch(/89000001.*89000000/);
  });
});

describe('equalJson', () => {
  it('is what JSON text says, but for the order of properties', () => {
    const sorted = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(sorted);
      if (typeof value !== 'object' || value === null) return value;
      return Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, member]) => [name, sorted(member)]);
    };
    const text = (value: unknown): string => JSON.stringify([Array.isArray(value), sorted(value)]);
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 2 }), fc.jsonValue({ maxDepth: 2 }), (a, b) => {
        expect(equalJson(a, copyJson(a))).toBe(true);
        expect(equalJson(copyJson(a), copyJson(b))).toBe(text(copyJson(a)) === text(copyJson(b)));
      }),
    );
  });

  it('tells what is nearly equal apart', () => {
    const different: [unknown, unknown][] = [
      [1, '1'],
      [0, false],
      [null, undefined],
      [null, 0],
      [null, {}],
      [[], {}],
      [{}, []],
      [[1], [1, 2]],
      [
        [1, 2],
        [2, 1],
      ],
      [{ a: 1 }, { b: 1 }],
      [{ a: 1 }, { a: 1, b: 1 }],
      [['a'], { 0: 'a', length: 1 }],
      [{ a: undefined }, { b: 1 }],
      [JSON.parse('{"__proto__":1}'), {}],
      [{ toString: 1 }, { valueOf: 1 }],
    ];
    for (const [a, b] of different) {
      expect([a, b, equalJson(a, b)]).toEqual([a, b, false]);
      expect(equalJson(b, a)).toBe(false);
    }
    expect(equalJson({ a: 1, b: [2] }, { b: [2], a: 1 })).toBe(true);
    expect(equalJson(0, -0)).toBe(true);
    expect(equalJson(JSON.parse('{"__proto__":{"a":1}}'), JSON.parse('{"__proto__":{"a":1}}'))).toBe(true);
  });
});

describe('isTooDeep', () => {
  it('agrees with the copy about every depth, and is not taken in by brackets in strings', () => {
    for (const levels of [1, 511, 512, 513, 2000]) {
      const text = JSON.stringify(
        nested(Math.min(levels, 2000), (inner) => (levels % 2 === 0 ? [inner, '[{"\\'] : { a: ']"', b: inner })),
      );
      expect([levels, isTooDeep(text)]).toEqual([levels, levels > 512]);
    }
    expect(isTooDeep(JSON.stringify('['.repeat(2000)))).toBe(false);
    expect(isTooDeep(JSON.stringify([`"\\"${'['.repeat(2000)}`, '\\', '\\\\']))).toBe(false);
    expect(isTooDeep(JSON.stringify(Array.from({ length: 1000 }, () => [[{}]])))).toBe(false);
    expect(isTooDeep(`"${'x'.repeat(2000)}`)).toBe(false);
  });
});
