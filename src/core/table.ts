/**
 * The table: ordered entries in memory that know which of them differ from what was last written. It does no I/O.
 *
 * Entries stand in `#slots` in the order of their insertion; a deleted one leaves a `null` until the slots are packed.
 * Every entry belongs to a numbered shard, which is where it lies on disk: a new key goes to the highest shard that has
 * entries, or the next one where that is full. So shard numbers never fall along the slots, and the order of the table is
 * the order of the shards and, inside a shard, the order of its lines.
 */
import { ChangeSet } from './changes.ts';
import { Entry, type EntryHome, type LoadedEntry } from './entry.ts';
import { PodError } from './errors.ts';
import { copyJson, type Json } from './json.ts';
import { copyKey, type Key, type KeyIdentity, keyIdentity } from './key.ts';

/** What a table asks of the one who owns it. */
export interface TableOwner {
  /** Called before each change; throws where nothing may be changed now. */
  beforeChange(): void;
  /** Called after each change. `first` says that this entry had not been changed since the last append. */
  afterChange(first: boolean): void;
  /** What is thrown when a detached view is written to. */
  detachedError(key: Key): PodError;
  /** Adds the pod, and the key it is about, to an error of code that knows neither. */
  located(error: unknown, key: unknown): unknown;
  /** Checks a value against the schema on its way in and when it is first read; throws, or gives back what to keep. */
  checkValue?: ((value: unknown, key: Key) => unknown) | undefined;
}

/** Is told of every change to any entry, by whatever road; counters and indexes are derived from it. */
export interface TableObserver<V, K extends Key> {
  /** The entry is new, or has another value. */
  entryChanged(entry: Entry<V, K>): void;
  /** The entry is leaving. */
  entryRemoved(entry: Entry<V, K>): void;
  /** Slots were renumbered, or everything was replaced: derive all anew. */
  tableRebuilt(): void;
}

interface ShardInfo {
  lines: number;
  /** No entry of the shard stands before this slot. */
  firstSlot: number;
}

/** Undoes one step of a transaction. */
type Undo = () => void;

export class Table<V, K extends Key> implements EntryHome<V, K> {
  owner: TableOwner;
  /** How many entries go into one shard. */
  fileSize: number;
  /** Since the last append: what the next batch holds. */
  pending: ChangeSet<Entry<V, K>, K> = new ChangeSet(0);
  /** Since the last sync point: what `dirty` means to a caller. */
  dirty: ChangeSet<Entry<V, K>, K> = new ChangeSet(0);
  /** Since a flush that is still under way began; it becomes `dirty` when the flush succeeds. */
  sinceFlush: ChangeSet<Entry<V, K>, K> | undefined;
  #index: Map<KeyIdentity, Entry<V, K>> = new Map();
  #slots: (Entry<V, K> | null)[] = [];
  #shards: Map<number, ShardInfo> = new Map();
  #tail: number = 0;
  #nextNumber: number = 0;
  /** Goes up whenever entries move to other slots, so that cursors know to look for their place again. */
  #layout: number = 0;
  #observer: TableObserver<V, K> | undefined;
  #undo: Undo[] | undefined;
  /** Entries whose old value the innermost transaction has kept. */
  #kept: Set<Entry<V, K>> = new Set();

  constructor(owner: TableOwner, fileSize: number) {
    this.owner = owner;
    this.fileSize = fileSize;
  }

  get size(): number {
    return this.#index.size;
  }

  /** One past the last slot in use; slots below may be empty. */
  get slotEnd(): number {
    return this.#slots.length;
  }

  /** @throws {PodError} `ERR_POD_KEY` */
  find(key: unknown): Entry<V, K> | undefined {
    return this.#index.get(typeof key === 'string' && key.charCodeAt(0) !== 0 ? key : this.#identity(key));
  }

  entryAt(slot: number): Entry<V, K> | undefined {
    return this.#slots[slot] ?? undefined;
  }

  observe(observer: TableObserver<V, K>): void {
    this.#observer = observer;
    observer.tableRebuilt();
  }

  /** Entries in order, live: what is appended while it runs is visited, what is deleted is not. */
  *entries(): Generator<Entry<V, K>, void, undefined> {
    const cursor = this.cursor();
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) yield entry;
  }

  /**
   * A place in the order that stays right while the table changes. `pick` names the next slot of interest at or after the
   * one given, or -1; without it every entry is visited.
   */
  cursor(pick?: (slot: number) => number): { next(): Entry<V, K> | undefined } {
    let slot = 0;
    let lastNumber = -1;
    let layout = this.#layout;
    return {
      next: () => {
        if (layout !== this.#layout) {
          slot = this.#firstSlotAfter(lastNumber);
          layout = this.#layout;
        }
        if (pick !== undefined) {
          const picked = pick(slot);
          slot = picked < 0 ? this.#slots.length : picked;
        }
        while (slot < this.#slots.length) {
          const entry = this.#slots[slot++];
          if (entry == null) continue;
          lastNumber = entry.number;
          return entry;
        }
        return undefined;
      },
    };
  }

  /** The entries of one shard, in order. */
  *shardEntries(shard: number): Generator<Entry<V, K>, void, undefined> {
    const info = this.#shards.get(shard);
    if (info === undefined) return;
    for (let slot = info.firstSlot, left = info.lines; left > 0 && slot < this.#slots.length; slot++) {
      const entry = this.#slots[slot];
      if (entry == null || entry.shard < shard) continue;
      if (entry.shard > shard) return;
      left--;
      yield entry;
    }
  }

  /** The numbers of the shards that have entries, ascending. */
  shardNumbers(): number[] {
    return [...this.#shards.keys()].sort((a, b) => a - b);
  }

  // ---- Changes by key. Values are checked and copied before anything is touched.

  /** Sets a value; a new key goes to the end. */
  set(key: unknown, value: unknown): Entry<V, K> {
    const identity = typeof key === 'string' && key.charCodeAt(0) !== 0 ? key : this.#identity(key);
    const plain = this.#copyIn(value, key);
    this.owner.beforeChange();
    // Looked for only now: making the copy can run code of the caller, which can change the table.
    const found = this.#index.get(identity);
    if (found === undefined) return this.#append(copyKey(key) as K, plain);
    this.#keepValue(found);
    found.replace(plain);
    this.entryDidChange(found);
    return found;
  }

  /**
   * Gives an entry's object other members as one change. The object stays the same one, so its views stay attached; `members` are
   * plain, and the members below that are the same objects as before keep their views too. Any other value is replaced.
   */
  edit(entry: Entry<V, K>, members: object): void {
    const { plain } = entry;
    if (typeof plain === 'object' && plain !== null && !Array.isArray(plain)) {
      entry.assignMembers(members);
      return;
    }
    this.entryWillChange(entry);
    entry.replace(members);
    this.entryDidChange(entry);
  }

  /** Takes an entry out; its views are detached. */
  delete(entry: Entry<V, K>): void {
    this.owner.beforeChange();
    const first = !entry.touched;
    this.#keepDeleted(entry);
    this.#takeOut(entry);
    for (const changes of this.#changeSets()) changes.entryDeleted(entry);
    entry.touched = false;
    this.owner.afterChange(first);
    this.#packWhenSparse();
  }

  clear(): void {
    if (this.size === 0) return;
    this.owner.beforeChange();
    const { pending, dirty, sinceFlush } = this;
    const before = { index: this.#index, slots: this.#slots, shards: this.#shards, tail: this.#tail };
    const places =
      this.#undo === undefined ? [] : [...this.#index.values()].map((entry) => [entry, entry.slot] as const);
    for (const entry of this.#index.values()) {
      entry.slot = -1;
      entry.touched = false;
    }
    if (this.#undo !== undefined) {
      const copies = { pending: pending.copy(), dirty: dirty.copy(), sinceFlush: sinceFlush?.copy() };
      this.#undo.push(() => {
        pending.assign(copies.pending);
        dirty.assign(copies.dirty);
        if (copies.sinceFlush !== undefined) sinceFlush?.assign(copies.sinceFlush);
        this.#index = before.index;
        this.#slots = before.slots;
        this.#shards = before.shards;
        this.#tail = before.tail;
        for (const [entry, slot] of places) entry.slot = slot;
        this.#rebuilt();
      });
    }
    for (const changes of this.#changeSets()) changes.tableCleared(before.slots);
    this.#index = new Map();
    this.#slots = [];
    this.#shards = new Map();
    this.#tail = 0;
    this.#rebuilt();
    this.owner.afterChange(true);
  }

  // ---- Called by entries.

  entryWillChange(entry: Entry<V, K>): void {
    this.owner.beforeChange();
    this.#keepValue(entry);
  }

  entryDidChange(entry: Entry<V, K>): void {
    const first = !entry.touched;
    if (first || this.#undo !== undefined) this.#noteChanged(entry);
    this.#observer?.entryChanged(entry);
    this.owner.afterChange(first);
  }

  /** A value from disk, checked against the schema. */
  checked(value: unknown, key: Key): unknown {
    const check = this.owner.checkValue;
    return check === undefined ? value : copyJson(check(value, key));
  }

  // ---- Points in time.

  /** Marks an entry as changed although it is not. */
  mark(entry: Entry<V, K>): void {
    this.owner.beforeChange();
    const first = !entry.touched;
    this.#noteChanged(entry);
    this.owner.afterChange(first);
  }

  /** Everything pending went into the log. */
  appended(): void {
    for (const entry of this.pending.changed) entry.touched = false;
    this.pending = new ChangeSet(this.#nextNumber);
  }

  /** A flush began: what changes from now on will be dirty after it. */
  flushBegan(): void {
    this.sinceFlush = new ChangeSet(this.#nextNumber);
  }

  /** What was appended when the flush began is on the disk. */
  flushed(): void {
    if (this.sinceFlush === undefined) return;
    this.dirty = this.sinceFlush;
    this.sinceFlush = undefined;
  }

  /** The flush came to nothing: everything is as dirty as it was. */
  flushFailed(): void {
    this.sinceFlush = undefined;
  }

  /** Everything in memory is on the disk. */
  synced(): void {
    this.dirty = new ChangeSet(this.#nextNumber);
    this.sinceFlush = undefined;
  }

  // ---- Transactions. Each step pushes what undoes it; undoing runs them backwards.

  get inTransaction(): boolean {
    return this.#undo !== undefined;
  }

  /** Runs `change` so that either all of it happened or, if it throws, nothing. Transactions nest. */
  transaction<R>(change: () => R): R {
    const outer = this.#undo;
    const outerKept = this.#kept;
    const undo = outer ?? [];
    const mark = undo.length;
    this.#undo = undo;
    this.#kept = new Set();
    try {
      return change();
    } catch (error) {
      this.#undo = undefined;
      for (const step of undo.splice(mark).reverse()) step();
      throw error;
    } finally {
      this.#undo = outer;
      this.#kept = outerKept;
    }
  }

  /** Undoes every transaction that is under way, for a process that ends in the middle of one. */
  abandonTransactions(): void {
    const undo = this.#undo ?? [];
    this.#undo = undefined;
    for (const step of undo.splice(0).reverse()) step();
  }

  // ---- Loading.

  /** Fills an empty table with what is on disk; nothing of it is a change. */
  load(loaded: Iterable<LoadedEntry>): void {
    for (const item of loaded) {
      const entry = Entry.unread<V, K>(this, item, this.#nextNumber++);
      const other = this.#index.get(entry.identity);
      if (other !== undefined) {
        throw this.owner.located(duplicateError(entry.key, other.shard, entry.shard), entry.key);
      }
      this.#place(entry);
    }
    this.#resetChanges();
    this.#observer?.tableRebuilt();
  }

  /**
   * Goes back to what is on disk, which is the last sync point. Entries that did not change since stay the same objects with
   * the same views and the same numbers, so that running iterations keep their place; the views of all others are detached.
   */
  restore(loaded: Iterable<LoadedEntry>): void {
    const { cleared, deleted, changed, since } = this.dirty;
    const before = new Map<KeyIdentity, Entry<V, K>>();
    for (const entry of cleared ?? this.#slots) {
      if (entry !== null && entry.number < since) before.set(entry.identity, entry);
    }
    for (const entry of deleted.values()) before.set(entry.identity, entry);
    const current = this.#index;
    for (const entry of current.values()) entry.slot = -1;
    this.#index = new Map();
    this.#slots = [];
    this.#shards = new Map();
    this.#tail = 0;
    for (const item of loaded) {
      const old = before.get(keyIdentity(item.key));
      const same = old !== undefined && current.get(old.identity) === old && !changed.has(old);
      const entry = same ? old : Entry.unread<V, K>(this, item, old?.number ?? this.#nextNumber++);
      entry.shard = item.shard;
      this.#place(entry);
    }
    this.#resetChanges();
    this.#rebuilt();
  }

  /** Puts what is on disk now in the place of everything; all views are detached. */
  replaceAll(loaded: Iterable<LoadedEntry>): void {
    for (const entry of this.#index.values()) entry.slot = -1;
    this.#index = new Map();
    this.#slots = [];
    this.#shards = new Map();
    this.#tail = 0;
    this.#layout++;
    this.load(loaded);
  }

  /** Gives every entry the shard it has after a compaction. */
  renumberShards(fileSize: number): void {
    this.fileSize = fileSize;
    this.#pack();
    this.#shards = new Map();
    this.#tail = 0;
    this.#slots.forEach((entry, slot) => {
      if (entry === null) return;
      entry.shard = Math.floor(slot / fileSize);
      this.#countIn(entry);
    });
    this.#rebuilt();
  }

  #resetChanges(): void {
    for (const entry of this.pending.changed) entry.touched = false;
    this.pending = new ChangeSet(this.#nextNumber);
    this.dirty = new ChangeSet(this.#nextNumber);
    this.sinceFlush = undefined;
  }

  // ---- Places.

  #append(key: K, plain: Json): Entry<V, K> {
    const tail = this.#shards.get(this.#tail);
    const shard = tail !== undefined && tail.lines >= this.fileSize ? this.#tail + 1 : this.#tail;
    const entry = new Entry<V, K>(this, key, keyIdentity(key), shard, this.#nextNumber++, plain);
    this.#undo?.push(() => {
      this.#takeOut(entry);
    });
    this.#place(entry);
    this.entryDidChange(entry);
    return entry;
  }

  #place(entry: Entry<V, K>): void {
    entry.slot = this.#slots.length;
    this.#slots.push(entry);
    this.#index.set(entry.identity, entry);
    this.#countIn(entry);
  }

  #countIn(entry: Entry<V, K>): void {
    const info = this.#shards.get(entry.shard);
    if (info === undefined) this.#shards.set(entry.shard, { lines: 1, firstSlot: entry.slot });
    else {
      info.lines++;
      info.firstSlot = Math.min(info.firstSlot, entry.slot);
    }
    this.#tail = Math.max(this.#tail, entry.shard);
  }

  #takeOut(entry: Entry<V, K>): void {
    this.#observer?.entryRemoved(entry);
    this.#slots[entry.slot] = null;
    entry.slot = -1;
    this.#index.delete(entry.identity);
    const info = this.#shards.get(entry.shard) as ShardInfo;
    info.lines--;
    if (info.lines > 0) return;
    // A shard without entries vanishes; the highest that is left becomes the tail, or 0 when the table is empty.
    this.#shards.delete(entry.shard);
    while (this.#tail > 0 && !this.#shards.has(this.#tail)) this.#tail--;
  }

  #putBack(entry: Entry<V, K>, slot: number): void {
    entry.slot = slot;
    this.#slots[slot] = entry;
    this.#index.set(entry.identity, entry);
    this.#countIn(entry);
    this.#observer?.entryChanged(entry);
  }

  #packWhenSparse(): void {
    if (this.#undo !== undefined) return; // Undoing needs the slots as they are.
    if (this.#slots.length > 2 * this.size + 1024) {
      this.#pack();
      this.#rebuilt();
    }
  }

  #pack(): void {
    this.#slots = this.#slots.filter((entry) => entry !== null);
    for (const info of this.#shards.values()) info.firstSlot = Number.POSITIVE_INFINITY;
    this.#slots.forEach((entry, slot) => {
      if (entry === null) return;
      entry.slot = slot;
      const info = this.#shards.get(entry.shard) as ShardInfo;
      info.firstSlot = Math.min(info.firstSlot, slot);
    });
    this.#layout++;
  }

  #rebuilt(): void {
    this.#layout++;
    this.#observer?.tableRebuilt();
  }

  #firstSlotAfter(number: number): number {
    const slot = this.#slots.findIndex((entry) => entry !== null && entry.number > number);
    return slot < 0 ? this.#slots.length : slot;
  }

  // ---- Bookkeeping of changes.

  #identity(key: unknown): KeyIdentity {
    try {
      return keyIdentity(key);
    } catch (error) {
      throw this.owner.located(error, key);
    }
  }

  #copyIn(value: unknown, key: unknown): Json {
    const check = this.owner.checkValue;
    try {
      return copyJson(check === undefined ? value : check(value, key as Key));
    } catch (error) {
      throw this.owner.located(error, key);
    }
  }

  #changeSets(): ChangeSet<Entry<V, K>, K>[] {
    const { pending, dirty, sinceFlush } = this;
    return sinceFlush === undefined ? [pending, dirty] : [pending, dirty, sinceFlush];
  }

  #noteChanged(entry: Entry<V, K>): void {
    entry.touched = true;
    for (const changes of this.#changeSets()) {
      if (this.#undo !== undefined && !changes.changed.has(entry)) {
        this.#undo.push(() => {
          changes.changed.delete(entry);
          entry.touched = false;
        });
      }
      changes.entryChanged(entry);
    }
  }

  /** In a transaction, keeps the value an entry had before its first change in it. */
  #keepValue(entry: Entry<V, K>): void {
    if (this.#undo === undefined || this.#kept.has(entry)) return;
    this.#kept.add(entry);
    const plain = copyJson(entry.plain);
    this.#undo.push(() => {
      entry.replace(plain);
      this.#observer?.entryChanged(entry);
    });
  }

  #keepDeleted(entry: Entry<V, K>): void {
    if (this.#undo === undefined) return;
    const { slot } = entry;
    for (const changes of this.#changeSets()) {
      const wasChanged = changes.changed.has(entry);
      const deletedBefore = changes.deleted.get(entry.identity);
      this.#undo.push(() => {
        if (wasChanged) changes.changed.add(entry);
        if (deletedBefore === undefined) changes.deleted.delete(entry.identity);
        else changes.deleted.set(entry.identity, deletedBefore);
      });
    }
    this.#undo.push(() => {
      this.#putBack(entry, slot);
    });
  }
}

function duplicateError(key: Key, first: number, second: number): PodError {
  const where = first === second ? `twice in shard ${first}` : `in shard ${first} and again in shard ${second}`;
  return new PodError(
    'ERR_POD_CORRUPT',
    `The key ${JSON.stringify(key)} is ${where}. Nothing was changed. Remove one of the two lines.`,
    {
      key,
    },
  );
}
