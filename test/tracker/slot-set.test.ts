// The set of slots against a plain Set, and how many words it looks at.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SlotSet } from '../../src/tracker/slot-set.ts';
import fc from '../fast-check.ts';

function nextOf(plain: ReadonlySet<number>, from: number): number {
  let next = -1;
  for (const slot of plain) if (slot >= from && (next < 0 || slot < next)) next = slot;
  return next;
}

/** Places around every boundary of words and levels, as well as anywhere. */
const slotArb = fc.oneof(
  fc.nat(70),
  fc.nat(3_000),
  fc.nat(100_000),
  fc
    .tuple(
      fc.constantFrom(32, 64, 1_023, 1_024, 2_048, 32_767, 32_768, 65_536, 1_048_576),
      fc.integer({ min: -2, max: 2 }),
    )
    .map(([edge, by]) => edge + by),
);

describe('SlotSet', () => {
  it('is a set, with next()', () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ op: fc.constant('add' as const), slot: slotArb }) },
      { weight: 3, arbitrary: fc.record({ op: fc.constant('delete' as const), slot: slotArb }) },
      { weight: 3, arbitrary: fc.record({ op: fc.constant('deleteNext' as const), slot: slotArb }) },
      { weight: 4, arbitrary: fc.record({ op: fc.constant('next' as const), slot: slotArb }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('clear' as const), slot: fc.constant(0) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        const set = new SlotSet();
        const plain = new Set<number>();
        for (const { op, slot } of steps) {
          switch (op) {
            case 'add':
              set.add(slot);
              plain.add(slot);
              break;
            case 'delete':
              set.delete(slot);
              plain.delete(slot);
              break;
            case 'deleteNext': {
              const next = nextOf(plain, slot);
              if (next < 0) break;
              set.delete(next);
              plain.delete(next);
              break;
            }
            case 'clear':
              set.clear();
              plain.clear();
              break;
            default:
              break;
          }
          expect(set.size).toBe(plain.size);
          expect(set.has(slot)).toBe(plain.has(slot));
          expect(set.next(slot)).toBe(nextOf(plain, slot));
          expect(set.next(slot + 1)).toBe(nextOf(plain, slot + 1));
        }
        const walked: number[] = [];
        for (let slot = set.next(0); slot >= 0; slot = set.next(slot + 1)) walked.push(slot);
        expect(walked).toEqual([...plain].sort((a, b) => a - b));
      }),
      { numRuns: 300 },
    );
  });

  it('finds the highest bit of a word, where JavaScript counts below zero', () => {
    const set = new SlotSet();
    for (const slot of [31, 63, 1_023, 1_024 * 32 - 1]) set.add(slot);
    expect([0, 32, 64, 1_024].map((from) => set.next(from))).toEqual([31, 63, 1_023, 32_767]);
    expect(set.next(32_768)).toBe(-1);
    set.delete(31);
    expect(set.next(0)).toBe(63);
  });

  it('has nothing beyond its end', () => {
    const set = new SlotSet();
    expect(set.next(0)).toBe(-1);
    expect(set.next(10_000_000)).toBe(-1);
    expect(set.has(10_000_000)).toBe(false);
    set.delete(10_000_000);
    expect(set.size).toBe(0);
  });

  it('counts a member once', () => {
    const set = new SlotSet();
    set.add(5);
    set.add(5);
    expect(set.size).toBe(1);
    set.delete(5);
    set.delete(5);
    expect(set.size).toBe(0);
  });

  it.each([0, 31, 32, 992, 1_024, 32_768, 1_048_576])(
    'still knows a lone member, %i, however far it grows',
    (member) => {
      for (const far of [64, 2_000, 70_000, 3_000_000, 40_000_000]) {
        const set = new SlotSet();
        set.add(member);
        set.add(member + far);
        expect([set.next(0), set.next(member + 1), set.next(member + far + 1)]).toEqual([member, member + far, -1]);
      }
    },
  );

  it('still knows every member after growing by several levels at once', () => {
    const set = new SlotSet();
    const members = [0, 31, 40, 700, 33_000];
    for (const slot of members) set.add(slot);
    set.add(40_000_000);
    members.push(40_000_000);
    expect(set.size).toBe(members.length);
    const walked: number[] = [];
    for (let slot = set.next(0); slot >= 0; slot = set.next(slot + 1)) walked.push(slot);
    expect(walked).toEqual(members);
  });
});

describe('next', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  /** Words that count how often somebody looks at one. */
  function countWords(): { looks: number } {
    const counter = { looks: 0 };
    const Real = Uint32Array;
    vi.stubGlobal(
      'Uint32Array',
      class extends Real {
        constructor(length: number) {
          super(length);
          // biome-ignore lint/correctness/noConstructorReturn: a proxy is the only way to see an element being read.
          return new Proxy(this, {
            get: (words, name) => {
              if (typeof name === 'string' && /^\d+$/.test(name)) counter.looks++;
              const value = Reflect.get(words, name, words) as unknown;
              return typeof value === 'function' ? value.bind(words) : value;
            },
          });
        }
      },
    );
    return counter;
  }

  it('looks at a few words, however many slots lie between', () => {
    const counter = countWords();
    const set = new SlotSet();
    set.add(3);
    set.add(10_000_000);
    counter.looks = 0;
    expect(set.next(4)).toBe(10_000_000);
    // Up five levels and down again.
    expect(counter.looks).toBeGreaterThan(0);
    expect(counter.looks).toBeLessThanOrEqual(10);
    counter.looks = 0;
    expect(set.next(10_000_001)).toBe(-1);
    expect(counter.looks).toBeLessThanOrEqual(5);
  });
});

describe('assign', () => {
  it('makes the members those whose bits are set, as if each had been added, and the set goes on from there', () => {
    const wordArb = fc.oneof(
      { weight: 3, arbitrary: fc.constant(0) },
      { weight: 2, arbitrary: fc.nat(0xffff_ffff) },
      { weight: 1, arbitrary: fc.constantFrom(1, 0x8000_0000, 0xffff_ffff) },
    );
    fc.assert(
      fc.property(
        fc.array(wordArb, { maxLength: 1100 }),
        fc.array(fc.nat(40_000), { maxLength: 20 }),
        (words, more) => {
          const assigned = new SlotSet();
          assigned.add(12_345);
          assigned.assign(Uint32Array.from(words));
          const expected = new Set<number>();
          words.forEach((word, index) => {
            for (let bit = 0; bit < 32; bit++) if (((word >>> bit) & 1) === 1) expected.add(index * 32 + bit);
          });
          const members = (): number[] => {
            const found: number[] = [];
            for (let at = assigned.next(0); at >= 0; at = assigned.next(at + 1)) found.push(at);
            return found;
          };
          const sorted = (): number[] => [...expected].sort((a, b) => a - b);
          expect(assigned.size).toBe(expected.size);
          expect(members()).toEqual(sorted());
          for (const slot of more) {
            if (expected.delete(slot)) assigned.delete(slot);
            else {
              expected.add(slot);
              assigned.add(slot);
            }
          }
          expect(assigned.size).toBe(expected.size);
          expect(members()).toEqual(sorted());
        },
      ),
      { numRuns: 40 },
    );
  });

  it('of nothing leaves an empty set that can grow again', () => {
    const set = new SlotSet();
    set.add(5000);
    set.assign(new Uint32Array(0));
    expect([set.size, set.next(0), set.has(5000)]).toEqual([0, -1, false]);
    set.add(70_000);
    expect([set.size, set.next(0)]).toEqual([1, 70_000]);
  });
});
