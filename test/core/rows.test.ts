// Rows: what is in a row stays in it through growth, packing and saving, and what is saved while rows change holds together or is refused.
import { describe, expect, it } from 'vitest';
import type { Entry, TextSource } from '../../src/core/entry.ts';
import { type Key, keyIdentity, keyText, parseKey } from '../../src/core/key.ts';
import { Rows, type RowsImage } from '../../src/core/rows.ts';
import fc from '../fast-check.ts';

/** A source whose lines are the texts of keys, by position. */
class Keys implements TextSource {
  readonly #texts: Map<number, string> = new Map();

  put(position: number, key: Key): void {
    this.#texts.set(position, keyText(key));
  }

  keyTextAt(position: number): string {
    const text = this.#texts.get(position);
    if (text === undefined) throw new Error(`nothing lies at ${position}`);
    return text;
  }

  textAt(position: number): string {
    return this.keyTextAt(position);
  }
}

/** Rows whose keys are numbers, each placed. */
class Shelf {
  rows: Rows<never, Key> = new Rows(5);
  readonly source: Keys = new Keys();
  #next: number = 0;

  push(key: Key, shard: number): number {
    // Beyond four gigabytes, so that both halves of a position are used.
    const position = 2 ** 33 + this.#next * 64;
    const slot = this.rows.push(keyIdentity(key), shard, this.#next++);
    this.source.put(position, key);
    this.rows.setPlace(slot, this.source, position, 2 ** 31 + slot, 2 ** 32 - 1 - slot);
    return slot;
  }

  /** The same rows, read back from what an image says now. */
  saved(image: RowsImage, exact: boolean): Rows<never, Key> | undefined {
    return Rows.from(frozen(image), exact);
  }
}

/** An image as a file would have it, written in the order in which files are. */
function frozen(image: RowsImage, between: () => void = () => {}): RowsImage {
  const buckets = image.buckets.map(({ depth, cells }) => ({ depth, cells: cells.slice() }));
  between();
  const chunks = Rows.chunkLengths(image.slotEnd).map((_, number) => image.chunkAt(number).slice());
  return { ...image, buckets, sources: [...image.sources], chunkAt: (number) => chunks[number] as Int32Array };
}

/** The keys in order, each of which must be found where it stands, and counted in its shard. */
function keysOf(rows: Rows<never, Key>): Key[] {
  const keys: Key[] = [];
  const perShard = new Map<number, number>();
  for (let slot = rows.nextAlive(0); slot < rows.slotEnd; slot = rows.nextAlive(slot + 1)) {
    const key = rows.keyAt(slot);
    keys.push(key);
    expect(rows.find(keyIdentity(key))).toBe(slot);
    perShard.set(rows.shardOf(slot), (perShard.get(rows.shardOf(slot)) ?? 0) + 1);
  }
  expect(rows.size).toBe(keys.length);
  expect([...rows.shards].map(([shard, { lines }]) => [shard, lines]).sort()).toEqual([...perShard].sort());
  const listed = [...perShard.keys()].flatMap((shard) => [...rows.shardSlots(shard)].map((slot) => rows.keyAt(slot)));
  expect(listed).toEqual(keys);
  expect(rows.tail).toBe(Math.max(0, ...perShard.keys()));
  return keys;
}

describe('a row', () => {
  it('says where its line lies, however far into a file, and what was derived', () => {
    const shelf = new Shelf();
    const slot = shelf.push('a', 3);
    expect(shelf.rows.stateOf(slot)).toBe(-1);
    shelf.rows.setState(slot, 77);
    const place = { source: shelf.source, position: 2 ** 33, length: 2 ** 31, check: 2 ** 32 - 1 };
    expect(shelf.rows.placeOf(slot)).toEqual(place);
    expect([shelf.rows.shardOf(slot), shelf.rows.stateOf(slot)]).toEqual([3, 77]);
    expect(parseKey(shelf.source.keyTextAt(place.position))).toBe('a');
  });

  it('that was emptied comes back as it was', () => {
    const shelf = new Shelf();
    for (const key of ['a', 'b', 'c']) shelf.push(key, key === 'c' ? 4 : 0);
    shelf.rows.kill(2, 'c');
    expect([shelf.rows.tail, shelf.rows.find('c'), shelf.rows.isAlive(2)]).toEqual([0, -1, false]);
    shelf.rows.revive(2, 'c');
    expect(keysOf(shelf.rows)).toEqual(['a', 'b', 'c']);
    expect(shelf.rows.tail).toBe(4);
  });

  it('keeps what it says when the pieces that rows lie in grow and fill', () => {
    const shelf = new Shelf();
    const count = 70_000;
    for (let key = 0; key < count; key++) shelf.push(key, Math.floor(key / 1000));
    for (const slot of [0, 63, 64, 65_535, 65_536, count - 1]) {
      expect(shelf.rows.keyAt(slot)).toBe(slot);
      expect(shelf.rows.find(keyIdentity(slot))).toBe(slot);
      expect(shelf.rows.placeOf(slot).check).toBe(2 ** 32 - 1 - slot);
    }
    for (let key = 0; key < count; key += 2) shelf.rows.kill(key, keyIdentity(key));
    shelf.rows.pack(500);
    expect(shelf.rows.slotEnd).toBe(count / 2);
    for (const slot of [0, 32_767, 34_999]) expect(shelf.rows.keyAt(slot)).toBe(2 * slot + 1);
    expect([shelf.rows.tail, shelf.rows.shards.size]).toEqual([69, 70]);
    const saved = shelf.saved(shelf.rows.image(), true) as Rows<never, Key>;
    expect([saved.size, saved.keyAt(34_999), saved.find(keyIdentity(69_999))]).toEqual([count / 2, 69_999, 34_999]);
  });
});

const stepArb = fc.oneof(
  { weight: 8, arbitrary: fc.nat(2).map((more) => ({ what: 'push' as const, more })) },
  { weight: 4, arbitrary: fc.nat().map((which) => ({ what: 'kill' as const, which })) },
  { weight: 1, arbitrary: fc.constantFrom(undefined, 2, 7).map((size) => ({ what: 'pack' as const, size })) },
);
type Step =
  | { what: 'push'; more: number }
  | { what: 'kill'; which: number }
  | { what: 'pack'; size: number | undefined };

describe('rows', () => {
  /** Plays steps on rows and on a list of keys. */
  function play(shelf: Shelf, keys: Key[], steps: readonly Step[], names: { next: number }): void {
    for (const step of steps) {
      if (step.what === 'push') {
        const key = `k${names.next++}`;
        shelf.push(key, shelf.rows.tail + (step.more === 2 ? 1 : 0));
        keys.push(key);
      } else if (step.what === 'kill' && keys.length > 0) {
        const [key] = keys.splice(step.which % keys.length, 1) as [Key];
        shelf.rows.kill(shelf.rows.find(keyIdentity(key)), keyIdentity(key));
      } else if (step.what === 'pack') shelf.rows.pack(step.size);
    }
  }

  it('are those of a list, through coming, going, packing and saving', () => {
    fc.assert(
      fc.property(fc.array(stepArb, { maxLength: 120 }), (steps) => {
        const shelf = new Shelf();
        const keys: Key[] = [];
        play(shelf, keys, steps, { next: 0 });
        expect(keysOf(shelf.rows)).toEqual(keys);
        const numbers: number[] = [];
        for (let slot = 0; slot < shelf.rows.slotEnd; slot++) numbers.push(shelf.rows.numberOf(slot));
        expect(numbers.slice(1).filter((number, index) => number <= (numbers[index] as number))).toEqual([]);
        for (const exact of [true, false]) {
          const saved = shelf.saved(shelf.rows.image(), exact);
          expect(saved === undefined ? undefined : keysOf(saved)).toEqual(keys);
        }
      }),
      { numRuns: 120 },
    );
  });

  it('that change while they are saved are those that were there at both ends, or are refused', () => {
    const movesNot = stepArb.filter(({ what }) => what !== 'pack');
    let taken = 0;
    fc.assert(
      fc.property(
        fc.array(movesNot, { minLength: 40, maxLength: 120 }),
        fc.array(movesNot, { maxLength: 60 }),
        fc.array(movesNot, { maxLength: 60 }),
        (before, early, late) => {
          const shelf = new Shelf();
          const keys: Key[] = [];
          const names = { next: 0 };
          play(shelf, keys, before, names);
          const first = [...keys];
          const image = shelf.rows.image();
          play(shelf, keys, early, names);
          const saved = Rows.from<never, Key>(
            frozen(image, () => play(shelf, keys, late, names)),
            false,
          );
          // What is new since lies behind the image's end; what is gone was gone when its row was written.
          expect(saved === undefined ? undefined : keysOf(saved)).toEqual(first.filter((key) => keys.includes(key)));
          taken++;
        },
      ),
      { numRuns: 120 },
    );
    expect(taken).toBeGreaterThan(0);
  });

  it('are refused where a bucket leads to a row that came later, or no bucket leads to one', () => {
    const shelf = new Shelf();
    for (let key = 0; key < 50; key++) shelf.push(key, 0);
    const image = frozen(shelf.rows.image());
    shelf.push(50, 0);
    const later = frozen(shelf.rows.image());
    expect(Rows.from({ ...image, buckets: later.buckets }, true)).toBeUndefined();
    shelf.rows.kill(7, keyIdentity(7));
    const without = frozen(shelf.rows.image());
    for (const exact of [true, false]) {
      expect(Rows.from({ ...image, buckets: without.buckets }, exact)).toBeUndefined();
      expect(Rows.from({ ...image, sources: [] }, exact)).toBeUndefined();
    }
  });

  it('know which of them exist as objects, and forget an object only with its slot', () => {
    const shelf = new Shelf();
    for (let key = 0; key < 5000; key++) shelf.push(key, 0);
    const entry = { slot: 4321, key: 4321, identity: keyIdentity(4321) } as unknown as Entry<never, Key>;
    shelf.rows.setLive(4321, entry);
    expect(shelf.rows.live(4321)).toBe(entry);
    for (let key = 0; key < 4321; key++) shelf.rows.kill(key, keyIdentity(key));
    shelf.rows.pack();
    expect([entry.slot, shelf.rows.live(0), [...shelf.rows.allLive()]]).toEqual([0, entry, [entry]]);
    shelf.rows.setLive(0, new WeakRef(entry));
    expect(shelf.rows.live(0)).toBe(entry);
    shelf.rows.kill(0, keyIdentity(4321));
    expect([...shelf.rows.allLive()]).toEqual([]);
  });
});
