// Keys: what may be one, when two are one, and that their text gives them back.
import { describe, expect, it } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import { copyKey, type Key, keyIdentity, keyText, parseKey } from '../../src/core/key.ts';
import fc from '../fast-check.ts';

const keyArb: fc.Arbitrary<Key> = fc.letrec<{ key: Key; list: Key[] }>((tie) => ({
  key: fc.oneof(
    { maxDepth: 3 },
    fc.string({ unit: fc.constantFrom('\0', 's', 't', '"', '1', '[', ']', ',', 'é', '\ud800', '\\'), maxLength: 4 }),
    fc.integer({ min: -2, max: 2 }),
    fc.maxSafeInteger(),
    tie('list'),
  ),
  list: fc.array(tie('key'), { maxLength: 3 }),
})).key;

describe('keys', () => {
  it('TP-040, TP-041: two keys have one identity exactly when they have one JSON text, and the text gives the key back', () => {
    fc.assert(
      fc.property(keyArb, keyArb, (a, b) => {
        expect(keyIdentity(a) === keyIdentity(b)).toBe(keyText(a) === keyText(b));
        expect(parseKey(keyText(a))).toEqual(a);
        expect(keyIdentity(parseKey(keyText(a)))).toBe(keyIdentity(a));
        expect(copyKey(a)).toEqual(a);
      }),
      { numRuns: 2000 },
    );
  });

  it('what is easily confused is told apart', () => {
    const keys: Key[] = [
      1,
      '1',
      [1],
      ['1'],
      [[1]],
      [['1']],
      [],
      [[]],
      '',
      [''],
      '[]',
      '[1]',
      '["1"]',
      '\0',
      '\0\0',
      '\0s',
      '\0s\0',
      '\0t',
      '\0t[1]',
      '\0t["1"]',
      ['a', 'b'],
      ['a,b'],
      ['a', ['b']],
      [['a'], 'b'],
      0,
      '0',
      [0],
      '-0',
      -1,
      'NaN',
      'null',
      'true',
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
    ];
    expect(new Set(keys.map(keyIdentity)).size).toBe(keys.length);
  });

  it('-0 is 0', () => {
    expect(Object.is(keyIdentity(-0), 0)).toBe(true);
    expect(Object.is(copyKey(-0), 0)).toBe(true);
    expect(keyIdentity([-0])).toBe(keyIdentity([0]));
    expect(Object.is((copyKey([-0]) as number[])[0], 0)).toBe(true);
    expect(Object.is(parseKey('-0'), 0)).toBe(true);
  });

  const bad: [string, unknown][] = [
    ['a float', 0.5],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['2^53', 2 ** 53],
    ['-2^53', -(2 ** 53)],
    ['null', null],
    ['undefined', undefined],
    ['true', true],
    ['false', false],
    ['a bigint', 1n],
    ['a symbol', Symbol('k')],
    ['an object', { a: 1 }],
    ['a function', () => 1],
    ['a Date', new Date(0)],
    ['a boxed string', Object('a')],
    ['a hole', new Array(1)],
    ['an array that is hardly anything but holes', new Array(4_294_967_295)],
  ];
  it.each(bad)('%s is none, alone or in an array', (_, key) => {
    for (const wrong of [key, ['a', key], [['a', [key]]]]) {
      for (const work of [keyIdentity, copyKey]) {
        let error: unknown;
        try {
          work(wrong);
        } catch (caught) {
          error = caught;
        }
        expect(error).toBeInstanceOf(PodError);
        expect((error as PodError).code).toBe('ERR_POD_KEY');
        expect((error as PodError).message).toMatch(/cannot be a key: .*(string|safe integer)/);
      }
    }
  });

  it('text that is no key is refused', () => {
    for (const text of ['null', 'true', '{}', '1.5', '9007199254740992', '[null]', '["a",{}]', '1e400']) {
      expect(() => parseKey(text)).toThrow(expect.objectContaining({ code: 'ERR_POD_KEY' }));
    }
    for (const text of ['', 'a', '"a', '[1', "'a'"]) expect(() => parseKey(text)).toThrow(SyntaxError);
  });

  it('an array is copied and frozen at every depth; one that is nested too deep, or in itself, is refused', () => {
    const key = ['a', ['b', [1]]];
    const copy = copyKey(key) as [string, [string, number[]]];
    (key[1] as unknown[]).push('c');
    expect(copy).toEqual(['a', ['b', [1]]]);
    expect([copy, copy[1], copy[1][1]].every((part) => Object.isFrozen(part))).toBe(true);
    let deep: Key = 'a';
    for (let level = 0; level < 513; level++) deep = [deep];
    expect(() => copyKey(deep)).toThrow(expect.objectContaining({ code: 'ERR_POD_KEY' }));
    expect(parseKey(keyText((deep as Key[])[0] as Key))).toEqual((deep as Key[])[0]);
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => keyIdentity(cycle)).toThrow(expect.objectContaining({ code: 'ERR_POD_KEY' }));
  });

  it('a long key that is refused is shown short', () => {
    try {
      copyKey({ text: 'x'.repeat(1000) });
    } catch (error) {
      expect((error as PodError).message.length).toBeLessThan(250);
      return;
    }
    throw new Error('it was accepted');
  });
});
