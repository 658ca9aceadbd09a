// The index of keys, against a Map: whatever is added and taken out is found, however it grew, was saved, or was renumbered.
import { describe, expect, it } from 'vitest';
import { type BucketImage, KeyIndex, type SlotMatcher } from '../../src/core/key-index.ts';
import { seededRandom } from '../../src/testing/index.ts';
import fc from '../fast-check.ts';

/** Slots with their hashes; an identity is the slot itself, so equal hashes stand for different keys. */
class Model implements SlotMatcher<number> {
  index: KeyIndex = new KeyIndex();
  readonly hashes: Map<number, number> = new Map();

  isAt(slot: number, identity: number): boolean {
    return slot === identity;
  }

  add(hash: number, slot: number): void {
    this.index.add(hash | 0, slot);
    this.hashes.set(slot, hash | 0);
  }

  remove(slot: number): void {
    this.index.remove(this.hashes.get(slot) as number, slot);
    this.hashes.delete(slot);
  }

  renumber(): void {
    const slots = [...this.hashes].sort(([a], [b]) => a - b);
    const moved = new Int32Array((slots.at(-1)?.[0] ?? -1) + 1);
    this.hashes.clear();
    slots.forEach(([slot, hash], to) => {
      moved[slot] = to;
      this.hashes.set(to, hash);
    });
    this.index.renumber(moved);
  }

  /** What is wrong, or nothing. */
  complaint(): string | undefined {
    for (const [slot, hash] of this.hashes) {
      const found = this.index.find(hash, slot, this);
      if (found !== slot) return `slot ${slot} is found as ${found}`;
      // Another key with the same hash is not taken for it.
      const other = this.index.find(hash, -2, this);
      if (other !== -1) return `a key that is not there is found in ${other}`;
    }
    return this.index.size === this.hashes.size ? undefined : `${this.index.size} of ${this.hashes.size} are filed`;
  }
}

/** Hashes that are spread, and hashes that differ in few bits or not at all. */
const hashArb = fc.oneof(
  fc.integer(),
  fc.nat(3),
  fc.nat(40).map((low) => low << 5),
  fc.nat(7).map((high) => high << 29),
);
const commandArb = fc.oneof(
  { weight: 12, arbitrary: hashArb.map((hash) => ({ what: 'add' as const, hash })) },
  { weight: 5, arbitrary: fc.nat().map((which) => ({ what: 'remove' as const, which })) },
  { weight: 1, arbitrary: fc.constant({ what: 'renumber' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'save' as const }) },
);

function copyOf(images: readonly BucketImage[]): BucketImage[] {
  return images.map(({ depth, cells }) => ({ depth, cells: cells.slice() }));
}

describe('KeyIndex', () => {
  it('finds what a Map finds, through growth, removal, renumbering and saving', () => {
    fc.assert(
      fc.property(fc.array(commandArb, { maxLength: 250 }), (commands) => {
        const model = new Model();
        let next = 0;
        for (const command of commands) {
          if (command.what === 'add') model.add(command.hash, next++);
          else if (command.what === 'remove') {
            const slots = [...model.hashes.keys()];
            if (slots.length > 0) model.remove(slots[command.which % slots.length] as number);
          } else if (command.what === 'renumber') {
            model.renumber();
            next = model.hashes.size;
          } else model.index = KeyIndex.from(copyOf(model.index.images()), next) as KeyIndex;
        }
        expect(model.complaint()).toBeUndefined();
      }),
      { numRuns: 150 },
    );
  });

  it('does so through thousands of splits', () => {
    const random = seededRandom(1);
    const model = new Model();
    for (let slot = 0; slot < 30_000; slot++) model.add(random.below(2 ** 32), slot);
    for (let slot = 0; slot < 30_000; slot += 3) model.remove(slot);
    model.renumber();
    expect(model.complaint()).toBeUndefined();
    expect(model.index.images().length).toBeGreaterThan(60);
    model.index = KeyIndex.from(copyOf(model.index.images()), 20_000) as KeyIndex;
    expect(model.complaint()).toBeUndefined();
    for (let slot = 20_000; slot < 60_000; slot++) model.add(random.below(2 ** 32), slot);
    expect(model.complaint()).toBeUndefined();
  });

  it('keeps its directory in bounds when hashes are equal, or alike in their first bits', () => {
    for (const hashOf of [() => 7, (slot: number) => slot % 3, (slot: number) => slot & 0xfff]) {
      const model = new Model();
      for (let slot = 0; slot < 3_000; slot++) model.add(hashOf(slot), slot);
      const images = model.index.images();
      const depth = Math.max(...images.map((image) => image.depth));
      // A directory has two to the power of `depth` members.
      expect(2 ** depth).toBeLessThanOrEqual(images.length * 32);
      expect(model.index.size).toBe(3_000);
      for (const slot of [0, 1, 2, 1_500, 2_999]) expect(model.index.find(hashOf(slot), slot, model)).toBe(slot);
    }
  });

  it('an image that was taken before buckets split still holds what it held, and more only where a bucket did not split', () => {
    const random = seededRandom(2);
    const model = new Model();
    for (let slot = 0; slot < 2_000; slot++) model.add(random.below(2 ** 32), slot);
    const images = model.index.images();
    const hashes = new Map(model.hashes);
    for (let slot = 2_000; slot < 12_000; slot++) model.add(random.below(2 ** 32), slot);
    const then = new Model();
    for (const [slot, hash] of hashes) then.hashes.set(slot, hash);
    then.index = KeyIndex.from(copyOf(images), 2_000, () => true) as KeyIndex;
    expect(then.complaint()).toBeUndefined();
    // Without somebody who says what counts, later slots are none of its business.
    expect(KeyIndex.from(copyOf(images), 2_000)).toBeUndefined();
  });

  it('takes in only the slots that are there, and refuses buckets that do not make up a directory', () => {
    const model = new Model();
    for (let slot = 0; slot < 2_000; slot++) model.add(Math.imul(slot, 0x9e3779b1), slot);
    const images = copyOf(model.index.images());
    expect(images.length).toBeGreaterThan(2);
    for (let slot = 0; slot < 2_000; slot += 2) model.hashes.delete(slot);
    model.index = KeyIndex.from(images, 2_000, (slot) => slot % 2 === 1) as KeyIndex;
    expect(model.complaint()).toBeUndefined();
    expect(KeyIndex.from(images.slice(1), 2_000)).toBeUndefined();
    expect(KeyIndex.from([...images, images[0] as BucketImage], 2_000)).toBeUndefined();
    expect(KeyIndex.from([], 0)).toBeUndefined();
  });
});
