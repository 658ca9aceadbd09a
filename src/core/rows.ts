/**
 * The rows of a table: for each entry, in the order of insertion, where its line lies and what is known of it, in typed arrays.
 *
 * A row is 28 bytes whatever its value is; an `Entry` exists only for rows that somebody looked at or changed (`live`). A slot is a row's
 * number. The slot of a deleted entry stays empty until the rows are packed; shard numbers never fall along the slots.
 */
import type { Cleared } from './changes.ts';
import type { Entry, LoadedEntry, TextSource } from './entry.ts';
import { hashIdentity } from './hash.ts';
import { type Key, type KeyIdentity, keyIdentity, parseKey } from './key.ts';
import { type BucketImage, KeyIndex, type SlotMatcher } from './key-index.ts';

// The members of a row. One row lies in one line of the processor's cache, mostly.
const STRIDE = 7;
/** The shard; its complement where the slot is empty. */
const SHARD = 0;
/** Which source the line lies in; -1 where the value was never written. */
const SOURCE = 1;
const POSITION = 2;
const POSITION_HIGH = 3;
const LENGTH = 4;
/** The crc of the line's bytes. */
const CHECK = 5;
/** What the observer derived from the value, or -1. */
const STATE = 6;

/** Rows are kept in pieces of so many slots: growing copies nothing but the first small one. */
const CHUNK_SLOTS_LOG = 16;
const CHUNK_SLOTS = 1 << CHUNK_SLOTS_LOG;
const FIRST_SLOTS = 64;
/** Live entries are kept by pages of so many slots, which exist only where one is live. */
const PAGE_SLOTS_LOG = 12;
const PAGE_SLOTS = 1 << PAGE_SLOTS_LOG;

interface ShardInfo {
  lines: number;
  /** No entry of the shard stands before this slot. */
  firstSlot: number;
}

/** Where a line lies. */
export interface Place {
  readonly source: TextSource;
  readonly position: number;
  readonly length: number;
  readonly check: number;
}

/** Rows as they are saved. */
export interface RowsImage {
  readonly seed: number;
  readonly slotEnd: number;
  readonly buckets: readonly BucketImage[];
  readonly sources: readonly TextSource[];
  /** A piece of `CHUNK_SLOTS` rows, by number; the last one may be shorter. */
  chunkAt(number: number): Int32Array;
}

type Live<V, K extends Key> = Entry<V, K> | WeakRef<Entry<V, K>>;

/** Whether a JSON text is that of a key with this identity. Most are strings in which nothing is escaped: they need not be parsed for that. */
function isKeyText(text: string, identity: KeyIdentity): boolean {
  const isPlain = text.startsWith('"') && text.endsWith('"') && !text.includes('\\');
  if (!isPlain) return keyIdentity(parseKey(text)) === identity;
  return typeof identity === 'string' && text.length === identity.length + 2 && text.startsWith(identity, 1);
}

export class Rows<V, K extends Key> implements SlotMatcher<KeyIdentity>, Cleared<K> {
  /** How many entries there are. */
  size: number = 0;
  /** One past the last slot in use; slots below may be empty. */
  slotEnd: number = 0;
  /** The highest shard that has entries, or 0. */
  tail: number = 0;
  readonly shards: Map<number, ShardInfo> = new Map();
  readonly #seed: number;
  /** The identity that was hashed last, and its hash: whoever looks for a key adds it next, or looks for it again. */
  #hashed: KeyIdentity | undefined;
  #hash: number = 0;
  #index: KeyIndex = new KeyIndex();
  #chunks: Int32Array[] = [];
  #pages: (Live<V, K> | undefined)[][] = [];
  readonly #sources: TextSource[] = [];
  readonly #sourceIds: Map<TextSource, number> = new Map();
  /** Insertion numbers go up by one from slot to slot, from this one, until rows are packed or put back. */
  #firstNumber: number = 0;
  #numbers: number[] | undefined;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /**
   * Rows from saved ones.
   *
   * @param exact the image shows one moment. Otherwise it was taken while rows changed, the buckets before the rows: what came later is left
   *   out here and found in the log, and what was deleted meanwhile is in the buckets still, or nowhere
   * @returns undefined where it does not hold together
   */
  static from<V, K extends Key>(image: RowsImage, exact: boolean): Rows<V, K> | undefined {
    const rows = new Rows<V, K>(image.seed);
    rows.slotEnd = image.slotEnd;
    rows.#chunks = Rows.chunkLengths(image.slotEnd).map((_, number) => image.chunkAt(number));
    for (const source of image.sources) rows.#idOf(source);
    const count = image.sources.length;
    let info: ShardInfo = { lines: 0, firstSlot: 0 };
    let last = -1;
    for (const [number, chunk] of rows.#chunks.entries()) {
      for (let at = 0; at < chunk.length; at += STRIDE) {
        const shard = chunk[at + SHARD] as number;
        if (shard < 0) continue;
        const source = chunk[at + SOURCE] as number;
        if (source < 0 || source >= count || shard < last) return undefined;
        if (shard !== last) {
          info = { lines: 0, firstSlot: number * CHUNK_SLOTS + at / STRIDE };
          rows.shards.set(shard, info);
          last = shard;
        }
        info.lines++;
        rows.size++;
      }
    }
    rows.tail = Math.max(last, 0);
    const { slotEnd } = image;
    const index = exact
      ? KeyIndex.from(image.buckets, slotEnd)
      : KeyIndex.from(image.buckets, slotEnd, (slot) => rows.#get(slot, SHARD) >= 0);
    // A row that no bucket leads to would be there and not be found.
    if (index?.size !== rows.size) return undefined;
    rows.#index = index;
    return rows;
  }

  /**
   * What is to be saved. Rows that change while it is being written change there, too, so buckets are written before rows: a row that is
   * alive when it is written was so before, and a bucket leads to it.
   */
  image(): RowsImage {
    const { slotEnd } = this;
    const lengths = Rows.chunkLengths(slotEnd);
    return {
      seed: this.#seed,
      slotEnd,
      buckets: this.#index.images(),
      sources: this.#sources,
      // Looked up when it is written: a piece that grows becomes another array.
      chunkAt: (number) => (this.#chunks[number] as Int32Array).subarray(0, lengths[number]),
    };
  }

  /** How many numbers make up the rows in so many slots, by pieces. */
  static chunkLengths(slotEnd: number): number[] {
    const lengths: number[] = [];
    for (let from = 0; from < slotEnd; from += CHUNK_SLOTS)
      lengths.push(Math.min(CHUNK_SLOTS, slotEnd - from) * STRIDE);
    return lengths;
  }

  // ---- One row.

  isAlive(slot: number): boolean {
    return slot < this.slotEnd && this.#get(slot, SHARD) >= 0;
  }

  shardOf(slot: number): number {
    const shard = this.#get(slot, SHARD);
    return shard < 0 ? ~shard : shard;
  }

  stateOf(slot: number): number {
    return this.#get(slot, STATE);
  }

  setState(slot: number, state: number): void {
    this.#set(slot, STATE, state);
  }

  /** Visits every row in order, with what is known of its value: ten million in a tenth of the time that asking for each takes. */
  visitStates(visit: (slot: number, state: number) => void): void {
    for (let first = 0; first < this.slotEnd; first += CHUNK_SLOTS) {
      const chunk = this.#chunks[first >>> CHUNK_SLOTS_LOG] as Int32Array;
      const count = Math.min(CHUNK_SLOTS, this.slotEnd - first);
      for (let index = 0, at = 0; index < count; index++, at += STRIDE) {
        if ((chunk[at + SHARD] as number) >= 0) visit(first + index, chunk[at + STATE] as number);
      }
    }
  }

  /** Insertion number: higher means later; never given twice. */
  numberOf(slot: number): number {
    return this.#numbers === undefined ? this.#firstNumber + slot : (this.#numbers[slot] as number);
  }

  /** Gives the rows other numbers; those of saved rows go up from slot to slot. */
  numberFrom(first: number): void {
    this.#firstNumber = first;
  }

  hasPlace(slot: number): boolean {
    return this.#get(slot, SOURCE) >= 0;
  }

  /** Where the line lies that says what is in a slot, or said it last. */
  placeOf(slot: number): Place {
    const chunk = this.#chunks[slot >>> CHUNK_SLOTS_LOG] as Int32Array;
    const at = (slot & (CHUNK_SLOTS - 1)) * STRIDE;
    return {
      source: this.#sources[chunk[at + SOURCE] as number] as TextSource,
      position: ((chunk[at + POSITION] as number) >>> 0) + (chunk[at + POSITION_HIGH] as number) * 2 ** 32,
      length: (chunk[at + LENGTH] as number) >>> 0,
      check: (chunk[at + CHECK] as number) >>> 0,
    };
  }

  lengthOf(slot: number): number {
    return this.#get(slot, LENGTH) >>> 0;
  }

  setPlace(slot: number, source: TextSource, position: number, length: number, check: number): void {
    const chunk = this.#chunks[slot >>> CHUNK_SLOTS_LOG] as Int32Array;
    const at = (slot & (CHUNK_SLOTS - 1)) * STRIDE;
    chunk[at + SOURCE] = this.#idOf(source);
    chunk[at + POSITION] = position;
    chunk[at + POSITION_HIGH] = Math.floor(position / 2 ** 32);
    chunk[at + LENGTH] = length;
    chunk[at + CHECK] = check;
  }

  #idOf(source: TextSource): number {
    let id = this.#sourceIds.get(source);
    if (id === undefined) {
      id = this.#sources.push(source) - 1;
      this.#sourceIds.set(source, id);
    }
    return id;
  }

  #get(slot: number, member: number): number {
    return (this.#chunks[slot >>> CHUNK_SLOTS_LOG] as Int32Array)[
      (slot & (CHUNK_SLOTS - 1)) * STRIDE + member
    ] as number;
  }

  #set(slot: number, member: number, value: number): void {
    (this.#chunks[slot >>> CHUNK_SLOTS_LOG] as Int32Array)[(slot & (CHUNK_SLOTS - 1)) * STRIDE + member] = value;
  }

  // ---- The entries that exist as objects.

  /** The entry of a slot, where there is an object for it. */
  live(slot: number): Entry<V, K> | undefined {
    const found = this.#pages[slot >>> PAGE_SLOTS_LOG]?.[slot & (PAGE_SLOTS - 1)];
    return found instanceof WeakRef ? found.deref() : found;
  }

  setLive(slot: number, entry: Live<V, K> | undefined): void {
    let page = this.#pages[slot >>> PAGE_SLOTS_LOG];
    if (page === undefined) {
      if (entry === undefined) return;
      page = [];
      this.#pages[slot >>> PAGE_SLOTS_LOG] = page;
    }
    page[slot & (PAGE_SLOTS - 1)] = entry;
  }

  /** All entries that exist as objects. */
  *allLive(): Generator<Entry<V, K>, void, undefined> {
    for (const page of this.#pages) {
      for (const found of page ?? []) {
        const entry = found instanceof WeakRef ? found.deref() : found;
        if (entry !== undefined) yield entry;
      }
    }
  }

  // ---- Coming and going.

  /** The slot of a key, or -1. */
  find(identity: KeyIdentity): number {
    return this.#index.find(this.#hashOf(identity), identity, this);
  }

  #hashOf(identity: KeyIdentity): number {
    if (identity !== this.#hashed) {
      this.#hash = hashIdentity(identity, this.#seed);
      this.#hashed = identity;
    }
    return this.#hash;
  }

  /** Whether a slot holds a key. Equal hashes are not enough: the key itself is looked at, on the disk if need be. */
  isAt(slot: number, identity: KeyIdentity): boolean {
    const live = this.live(slot);
    return live === undefined ? isKeyText(this.keyTextAt(slot), identity) : live.identity === identity;
  }

  keyAt(slot: number): K {
    const live = this.live(slot);
    if (live !== undefined) return live.key;
    return parseKey(this.keyTextAt(slot)) as K;
  }

  /** The JSON text of the key, as it lies on the disk. */
  keyTextAt(slot: number): string {
    const { source, position, length, check } = this.placeOf(slot);
    return source.keyTextAt(position, length, check);
  }

  /** The JSON text of the value, as it lies on the disk. */
  textAt(slot: number): string {
    const { source, position, length, check } = this.placeOf(slot);
    return source.textAt(position, length, check);
  }

  /** Adds a row at the end. Its key must not be there. */
  push(identity: KeyIdentity, shard: number, number: number): number {
    const slot = this.slotEnd++;
    this.#reserve(slot);
    if (slot === 0) this.#firstNumber = number;
    if (this.#numbers !== undefined) this.#numbers.push(number);
    else if (number !== this.#firstNumber + slot) {
      this.#numbers = this.#listNumbers(slot);
      this.#numbers.push(number);
    }
    this.#set(slot, SHARD, shard);
    this.#set(slot, SOURCE, -1);
    this.#set(slot, STATE, -1);
    this.#index.add(this.#hashOf(identity), slot);
    this.#countIn(slot, shard);
    return slot;
  }

  /** The same for an entry as it was found on disk. */
  pushLoaded({ shard, source, position, length, check }: LoadedEntry, identity: KeyIdentity, number: number): number {
    const slot = this.push(identity, shard, number);
    this.setPlace(slot, source, position, length, check);
    return slot;
  }

  /** Empties a slot. What the row says stays, so that `revive` can undo it. */
  kill(slot: number, identity: KeyIdentity): void {
    const shard = this.shardOf(slot);
    this.#set(slot, SHARD, ~shard);
    this.setLive(slot, undefined);
    this.#index.remove(this.#hashOf(identity), slot);
    this.size--;
    const info = this.shards.get(shard) as ShardInfo;
    info.lines--;
    if (info.lines > 0) return;
    // A shard without entries vanishes; the highest that is left becomes the tail, or 0 when the table is empty.
    this.shards.delete(shard);
    while (this.tail > 0 && !this.shards.has(this.tail)) this.tail--;
  }

  revive(slot: number, identity: KeyIdentity): void {
    const shard = this.shardOf(slot);
    this.#set(slot, SHARD, shard);
    this.#index.add(this.#hashOf(identity), slot);
    this.#countIn(slot, shard);
  }

  #reserve(slot: number): void {
    const number = slot >>> CHUNK_SLOTS_LOG;
    const within = slot & (CHUNK_SLOTS - 1);
    const chunk = this.#chunks[number];
    if (chunk === undefined) {
      this.#chunks[number] = new Int32Array((number === 0 ? FIRST_SLOTS : CHUNK_SLOTS) * STRIDE);
    } else if (within * STRIDE >= chunk.length) {
      const larger = new Int32Array(Math.min(Math.max(chunk.length * 2, FIRST_SLOTS * STRIDE), CHUNK_SLOTS * STRIDE));
      larger.set(chunk);
      this.#chunks[number] = larger;
    }
  }

  #countIn(slot: number, shard: number): void {
    this.size++;
    const info = this.shards.get(shard);
    if (info === undefined) this.shards.set(shard, { lines: 1, firstSlot: slot });
    else {
      info.lines++;
      if (slot < info.firstSlot) info.firstSlot = slot;
    }
    if (shard > this.tail) this.tail = shard;
  }

  #listNumbers(count: number): number[] {
    return Array.from({ length: count }, (_, slot) => this.#firstNumber + slot);
  }

  // ---- The order.

  /** The first slot at or after one that holds an entry; `slotEnd` or more where there is none. */
  nextAlive(slot: number): number {
    let at = slot;
    while (at < this.slotEnd && this.#get(at, SHARD) < 0) at++;
    return at;
  }

  /** The first slot whose entry came after a number, empty or not; numbers go up along the slots. */
  firstSlotAfter(number: number): number {
    let low = 0;
    let high = this.slotEnd;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.numberOf(middle) > number) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The numbers of the shards that have entries, ascending. */
  shardNumbers(): number[] {
    return [...this.shards.keys()].sort((a, b) => a - b);
  }

  /** The slots of one shard, in order. */
  *shardSlots(shard: number): Generator<number, void, undefined> {
    const info = this.shards.get(shard);
    if (info === undefined) return;
    for (let slot = info.firstSlot, left = info.lines; left > 0 && slot < this.slotEnd; slot++) {
      const here = this.#get(slot, SHARD);
      if (here < shard) continue; // Empty, or of an earlier shard.
      if (here > shard) return;
      left--;
      yield slot;
    }
  }

  // ---- As what was there when a table was cleared.

  countBefore(number: number): number {
    let count = 0;
    const end = this.firstSlotAfter(number - 1);
    for (let slot = this.nextAlive(0); slot < end; slot = this.nextAlive(slot + 1)) count++;
    return count;
  }

  *keysBefore(number: number): Generator<readonly [KeyIdentity, K], void, undefined> {
    const end = this.firstSlotAfter(number - 1);
    for (let slot = this.nextAlive(0); slot < end; slot = this.nextAlive(slot + 1)) {
      const key = this.keyAt(slot);
      yield [keyIdentity(key), key];
    }
  }

  /** Closes the gaps. With `shardSize` every row gets the shard that it has when all shards are full. */
  pack(shardSize?: number): void {
    const moved = new Int32Array(this.slotEnd);
    const numbers: number[] = [];
    const pages = this.#pages;
    this.#pages = [];
    this.shards.clear();
    this.tail = 0;
    this.size = 0;
    let to = 0;
    for (let slot = 0; slot < this.slotEnd; slot++) {
      if (!this.isAlive(slot)) continue;
      const from = (slot & (CHUNK_SLOTS - 1)) * STRIDE;
      (this.#chunks[to >>> CHUNK_SLOTS_LOG] as Int32Array).set(
        (this.#chunks[slot >>> CHUNK_SLOTS_LOG] as Int32Array).subarray(from, from + STRIDE),
        (to & (CHUNK_SLOTS - 1)) * STRIDE,
      );
      numbers.push(this.numberOf(slot));
      moved[slot] = to;
      if (shardSize !== undefined) this.#set(to, SHARD, Math.floor(to / shardSize));
      this.#countIn(to, this.shardOf(to));
      const live = pages[slot >>> PAGE_SLOTS_LOG]?.[slot & (PAGE_SLOTS - 1)];
      const entry = live instanceof WeakRef ? live.deref() : live;
      if (entry !== undefined) {
        entry.slot = to;
        this.setLive(to, live);
      }
      to++;
    }
    if (to !== this.slotEnd) this.#numbers = numbers;
    this.slotEnd = to;
    this.#chunks.length = (to + CHUNK_SLOTS - 1) >>> CHUNK_SLOTS_LOG;
    this.#index.renumber(moved);
  }
}
