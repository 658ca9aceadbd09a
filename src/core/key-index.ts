/**
 * The index of keys: the slots that are filed under a hash, in typed arrays that grow without ever holding the program up.
 *
 * Extendible hashing (Fagin, Nievergelt, Pippenger, Strong 1979): a directory leads from the first bits of a hash to a bucket of fixed size; a full
 * bucket is split in two by one more bit, and now and then the directory doubles. So the most that one insertion does is to copy
 * one bucket and an array of references: 0.3 ms at ten million keys, where a `Map` stops for most of a second.
 */

/** Pairs in a full-grown bucket: 4 KB. */
const BUCKET_PAIRS = 512;
/** A bucket starts this small, so that a small pod stays small. */
const FIRST_PAIRS = 16;
/** A bucket this many bits deeper than an even spread would make it holds equal hashes: it grows, as splitting would only double the directory. */
const DEPTH_SLACK = 4;
const LOAD_MAX = 0.8;

/** What finds compare with: a hash may stand for several keys. */
export interface SlotMatcher<I> {
  /** Whether the entry in a slot has this identity. */
  isAt(slot: number, identity: I): boolean;
}

/** A bucket as it is saved. */
export interface BucketImage {
  readonly depth: number;
  readonly cells: Int32Array;
}

class Bucket {
  /** How many bits all its hashes share. */
  depth: number;
  count: number = 0;
  /** Pairs of hash and slot + 1; 0 is an empty place. A hash lies at the place its lower bits name, or behind it. */
  cells: Int32Array;

  constructor(depth: number, pairs: number) {
    this.depth = depth;
    this.cells = new Int32Array(pairs * 2);
  }

  put(hash: number, slot: number): void {
    const mask = this.cells.length - 1;
    let at = (hash << 1) & mask;
    while (this.cells[at + 1] !== 0) at = (at + 2) & mask;
    this.cells[at] = hash;
    this.cells[at + 1] = slot + 1;
    this.count++;
  }
}

export class KeyIndex {
  /** Grows with `2 ** depth`; neighbours may be the same bucket. */
  #directory: Bucket[] = [new Bucket(0, FIRST_PAIRS)];
  #depth: number = 0;
  #bucketCount: number = 1;

  add(hash: number, slot: number): void {
    let bucket = this.#bucket(hash);
    while (bucket.count + 1 > (bucket.cells.length >> 1) * LOAD_MAX) {
      this.#makeRoom(bucket, hash);
      bucket = this.#bucket(hash);
    }
    bucket.put(hash, slot);
  }

  /** The slot under a hash that `matcher` says is the one, or -1. */
  find<I>(hash: number, identity: I, matcher: SlotMatcher<I>): number {
    const { cells } = this.#bucket(hash);
    const mask = cells.length - 1;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const slot = (cells[at + 1] as number) - 1;
      if (slot < 0) return -1;
      if (cells[at] === hash && matcher.isAt(slot, identity)) return slot;
    }
  }

  /** Takes out a slot that is there. */
  remove(hash: number, slot: number): void {
    const bucket = this.#bucket(hash);
    const { cells } = bucket;
    const mask = cells.length - 1;
    let hole = (hash << 1) & mask;
    while (cells[hole + 1] !== slot + 1) hole = (hole + 2) & mask;
    bucket.count--;
    // Whatever stands behind and could stand here moves up, so that no search ends too early.
    for (let at = (hole + 2) & mask; cells[at + 1] !== 0; at = (at + 2) & mask) {
      const home = ((cells[at] as number) << 1) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      cells[hole] = cells[at] as number;
      cells[hole + 1] = cells[at + 1] as number;
      hole = at;
    }
    cells[hole + 1] = 0;
  }

  /** Every slot moves: `moved[slot]` is where it is now. */
  renumber(moved: Int32Array): void {
    for (const { cells } of this.#buckets()) {
      for (let at = 1; at < cells.length; at += 2) {
        const slot = (cells[at] as number) - 1;
        if (slot >= 0) cells[at] = (moved[slot] as number) + 1;
      }
    }
  }

  /** Its buckets in the order of the directory. Splitting one later leaves the one given here as it was. */
  images(): BucketImage[] {
    return [...this.#buckets()];
  }

  /** How many slots are filed. Looks at every bucket. */
  get size(): number {
    let size = 0;
    for (const { count } of this.#buckets()) size += count;
    return size;
  }

  /**
   * An index from saved buckets.
   *
   * @param isThere says which of their slots below `slotEnd` count; without it all must be below, and do
   * @returns undefined where they do not make up a directory
   */
  static from(
    images: readonly BucketImage[],
    slotEnd: number,
    isThere?: (slot: number) => boolean,
  ): KeyIndex | undefined {
    const index = new KeyIndex();
    // Splitting stops there, so what is deeper was not made here, and its directory could be of any size.
    const depthMax = Math.log2(images.length) + DEPTH_SLACK + 1;
    let isSound = images.every(({ depth, cells }) => depth >= 0 && depth <= depthMax && isBucketLength(cells.length));
    if (!isSound) return undefined;
    index.#depth = images.reduce((depth, image) => Math.max(depth, image.depth), 0);
    index.#bucketCount = images.length;
    index.#directory = [];
    for (const { depth, cells } of images) {
      const bucket = new Bucket(depth, 0);
      if (isThere === undefined) {
        bucket.cells = cells;
        for (let at = 1; at < cells.length; at += 2) {
          const cell = cells[at] as number;
          if (cell === 0) continue;
          bucket.count++;
          if (cell < 0 || cell > slotEnd) isSound = false;
        }
      } else {
        bucket.cells = new Int32Array(cells.length);
        refill(cells, (hash, slot) => {
          if (slot < slotEnd && isThere(slot)) bucket.put(hash, slot);
        });
      }
      // One without an empty place would be searched for ever.
      isSound = isSound && bucket.count < cells.length >> 1;
      for (let span = 1 << (index.#depth - depth); span > 0; span--) index.#directory.push(bucket);
    }
    return isSound && index.#directory.length === 1 << index.#depth ? index : undefined;
  }

  *#buckets(): Generator<Bucket, void, undefined> {
    let last: Bucket | undefined;
    for (const bucket of this.#directory) {
      if (bucket !== last) yield bucket;
      last = bucket;
    }
  }

  #bucket(hash: number): Bucket {
    return this.#directory[this.#depth === 0 ? 0 : hash >>> (32 - this.#depth)] as Bucket;
  }

  #makeRoom(bucket: Bucket, hash: number): void {
    const pairs = bucket.cells.length >> 1;
    if (pairs < BUCKET_PAIRS || bucket.depth > Math.log2(this.#bucketCount) + DEPTH_SLACK) {
      const { cells } = bucket;
      bucket.cells = new Int32Array(pairs * 4);
      bucket.count = 0;
      refill(cells, (each, slot) => bucket.put(each, slot));
      return;
    }
    if (bucket.depth === this.#depth) this.#doubleDirectory();
    this.#bucketCount++;
    const depth = bucket.depth + 1;
    const low = new Bucket(depth, pairs);
    const high = new Bucket(depth, pairs);
    refill(bucket.cells, (each, slot) => (((each >>> (32 - depth)) & 1) === 0 ? low : high).put(each, slot));
    const span = 1 << (this.#depth - bucket.depth);
    const first = bucket.depth === 0 ? 0 : (hash >>> (32 - bucket.depth)) * span;
    for (let at = 0; at < span; at++) this.#directory[first + at] = at < span / 2 ? low : high;
  }

  #doubleDirectory(): void {
    const { length } = this.#directory;
    const doubled = new Array<Bucket>(length * 2);
    for (let at = 0; at < length; at++) {
      doubled[2 * at] = this.#directory[at] as Bucket;
      doubled[2 * at + 1] = this.#directory[at] as Bucket;
    }
    this.#directory = doubled;
    this.#depth++;
  }
}

/** A power of two, with room for a pair of numbers. */
function isBucketLength(length: number): boolean {
  return length >= 2 && (length & (length - 1)) === 0;
}

function refill(cells: Int32Array, put: (hash: number, slot: number) => void): void {
  for (let at = 0; at < cells.length; at += 2) {
    const slot = (cells[at + 1] as number) - 1;
    if (slot >= 0) put(cells[at] as number, slot);
  }
}
