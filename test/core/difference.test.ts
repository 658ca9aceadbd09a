// Differences of JSON values, place by place, and the fewest numbers that must move.
import { describe, expect, it } from 'vitest';
import { differences, outOfOrder } from '../../src/core/difference.ts';
import { equalJson, type Json } from '../../src/core/json.ts';
import fc from '../fast-check.ts';

describe('differences', () => {
  const cases: [from: Json, to: Json, found: object[]][] = [
    [1, 1, []],
    [1, '1', [{ at: '$', from: 1, to: '1' }]],
    [null, {}, [{ at: '$', from: null, to: {} }]],
    [[], {}, [{ at: '$', from: [], to: {} }]],
    [{ a: 1, b: 2 }, { b: 2, a: 1 }, []],
    [
      { a: 1 },
      { b: 1 },
      [
        { at: '$.b', to: 1 },
        { at: '$.a', from: 1 },
      ],
    ],
    [{ a: null }, {}, [{ at: '$.a', from: null }]],
    [
      { a: { 'b c': [1, 2] } },
      { a: { 'b c': [1, 3, 4] } },
      [
        { at: '$.a["b c"][1]', from: 2, to: 3 },
        { at: '$.a["b c"][2]', to: 4 },
      ],
    ],
    [
      [1, 2, 3],
      [2, 3],
      [
        { at: '$[0]', from: 1, to: 2 },
        { at: '$[1]', from: 2, to: 3 },
        { at: '$[2]', from: 3 },
      ],
    ],
    [JSON.parse('{"__proto__":1}') as Json, {}, [{ at: '$.__proto__', from: 1 }]],
  ];

  it.each(cases)('of %j and %j', (from, to, found) => {
    expect([...differences(from, to)]).toEqual(found);
  });

  it('are none exactly where the values are equal, and each of them is one', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), fc.boolean(), (a, b, same) => {
        const from = a as Json;
        const to = (same ? structuredClone(a) : b) as Json;
        const found = [...differences(from, to)];
        expect(found.length === 0).toBe(equalJson(from, to));
        for (const each of found) if ('from' in each && 'to' in each) expect(equalJson(each.from, each.to)).toBe(false);
        expect(new Set(found.map(({ at }) => at)).size).toBe(found.length);
      }),
    );
  });
});

describe('outOfOrder', () => {
  it.each([
    [[], []],
    [[1, 2, 3], []],
    [[3, 1, 2], [0]],
    [[2, 3, 1], [2]],
    [[1, 5, 2, 3], [1]],
  ])('%j: the indexes %j', (numbers, moved) => {
    expect([...outOfOrder(numbers)]).toEqual(moved);
  });

  it('leaves an ascending row, and no longer one is there', () => {
    const numbers = fc.uniqueArray(fc.nat(50), { maxLength: 9 });
    fc.assert(
      fc.property(numbers, (given) => {
        const moved = outOfOrder(given);
        const stay = given.filter((_, index) => !moved.has(index));
        expect(stay).toEqual([...stay].sort((a, b) => a - b));
        expect(stay.length).toBe(longest(given));
      }),
    );
  });
});

/** By trying every subset. */
function longest(numbers: readonly number[]): number {
  let best = 0;
  for (let set = 0; set < 1 << numbers.length; set++) {
    const row = numbers.filter((_, index) => (set & (1 << index)) !== 0);
    if (row.every((number, index) => index === 0 || (row[index - 1] as number) < number))
      best = Math.max(best, row.length);
  }
  return best;
}
