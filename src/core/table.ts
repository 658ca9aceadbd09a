/**
 * The table: ordered entries that know which of them differ from what was last written. It does no I/O of its own.
 *
 * What it always knows of an entry is a row (`rows.ts`): its place in the order, its shard, and where its line lies. An `Entry`, with the value
 * and its views, is made when somebody asks for it, stays while it differs from the last sync point, and is let go when it is
 * clean, nobody has asked for it lately, and the clean ones have become too many. Every entry belongs to a numbered shard: a new key
 * goes to the highest shard that has entries, or the next one where that is full. So shard numbers never fall along the rows, and
 * the order of the table is the order of the shards and, inside a shard, the order of its lines.
 */
import { ChangeSet } from './changes.ts';
import { Cursor } from './cursor.ts';
import { duplicateError, Entry, type LoadedEntry, parseValue } from './entry.ts';
import { copyJson, type Json } from './json.ts';
import { copyKey, type Key, type KeyIdentity, keyIdentity } from './key.ts';
import { LiveEntries, type LiveHome } from './live-entries.ts';
import { Rows } from './rows.ts';
import { rowsAtSyncPoint } from './sync-point.ts';
import type { TableObserver, TableOptions, TableOwner } from './table-owner.ts';

/** Undoes one step of a transaction. */
type Undo = () => void;

export class Table<V, K extends Key> implements LiveHome<V, K> {
  owner: TableOwner;
  /** How many entries go into one shard. */
  fileSize: number;
  /** Since the last append: what the next batch holds. */
  pending: ChangeSet<Entry<V, K>, K> = new ChangeSet(0);
  /** Since the last sync point: what `dirty` means to a caller. */
  dirty: ChangeSet<Entry<V, K>, K> = new ChangeSet(0);
  /** Since a flush that is still under way began; it becomes `dirty` when the flush succeeds. */
  sinceFlush: ChangeSet<Entry<V, K>, K> | undefined;
  readonly #seed: number;
  readonly #live: LiveEntries<V, K>;
  #nextNumber: number = 0;
  /** Goes up whenever entries move to other slots, so that cursors know to look for their place again. */
  #layout: number = 0;
  #observer: TableObserver<V, K> | undefined;
  #undo: Undo[] | undefined;
  #isUndoing: boolean = false;
  /** Entries whose old value the innermost transaction has kept. */
  #kept: Set<Entry<V, K>> = new Set();

  constructor(
    owner: TableOwner,
    fileSize: number,
    { cacheBytes = Number.POSITIVE_INFINITY, seed = 0 }: TableOptions = {},
  ) {
    this.owner = owner;
    this.fileSize = fileSize;
    this.#seed = seed;
    this.#live = new LiveEntries(this, cacheBytes, seed);
  }

  get size(): number {
    return this.#live.rows.size;
  }

  /** One past the last slot in use; slots below may be empty. */
  get slotEnd(): number {
    return this.#live.rows.slotEnd;
  }

  /** @throws {PodError} `ERR_POD_KEY` */
  find(key: unknown): Entry<V, K> | undefined {
    const slot = this.#live.rows.find(this.#identity(key));
    return slot < 0 ? undefined : this.#live.at(slot);
  }

  /**
   * Whether there is an entry; nothing is made for it.
   *
   * @throws {PodError} `ERR_POD_KEY`
   */
  has(key: unknown): boolean {
    return this.#live.rows.find(this.#identity(key)) >= 0;
  }

  /** An entry as the table has it now, also where it was let go meanwhile; undefined where it is there no more. */
  current(entry: Entry<V, K>): Entry<V, K> | undefined {
    if (entry.slot >= 0) return entry;
    const found = this.find(entry.key);
    return found?.number === entry.number ? found : undefined;
  }

  entryAt(slot: number): Entry<V, K> | undefined {
    return this.#live.rows.isAlive(slot) ? this.#live.at(slot) : undefined;
  }

  observe(observer: TableObserver<V, K>): void {
    this.#observer = observer;
    observer.tableRebuilt(false);
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
  cursor(pick?: (slot: number) => number): Cursor<V, K> {
    return new Cursor(this.#live, () => this.#layout, pick);
  }

  // ---- What is known without an entry.

  stateOf(slot: number): number {
    return this.#live.rows.stateOf(slot);
  }

  setState(slot: number, state: number): void {
    this.#live.rows.setState(slot, state);
  }

  /** The plain value in a slot, to be looked at once; nothing is made for it. */
  peekAt(slot: number): Json {
    return this.#live.peekAt(slot);
  }

  shardOf(slot: number): number {
    return this.#live.rows.shardOf(slot);
  }

  // ---- Changes by key. Values are checked and copied before anything is touched.

  /** Sets a value; a new key goes to the end. */
  set(key: unknown, value: unknown): Entry<V, K> {
    const identity = this.#identity(key);
    const plain = this.#copyIn(value, key);
    this.owner.beforeChange();
    // Looked for only now: making the copy can run code of the caller, which can change the table.
    const slot = this.#live.rows.find(identity);
    if (slot < 0) return this.#append(copyKey(key) as K, identity, plain);
    const found = this.#live.at(slot);
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
    if (entry.adrift) this.takeBack(entry);
    const { plain } = entry;
    if (typeof plain === 'object' && plain !== null && !Array.isArray(plain)) {
      entry.assignMembers(members);
      return;
    }
    this.entryWillChange(entry);
    entry.replace(members);
    this.entryDidChange(entry);
  }

  /** Sets some members of an entry's object, and takes out those that are undefined in `members`, as one change. */
  patch(entry: Entry<V, K>, members: Readonly<Record<string, unknown>>): void {
    if (entry.adrift) this.takeBack(entry);
    void entry.plain;
    entry.patchMembers(members);
  }

  /** Takes an entry out; its views are detached. */
  delete(entry: Entry<V, K>): void {
    if (entry.adrift) this.takeBack(entry);
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
    const before = this.#live.rows;
    const held = [...before.allLive()].map((entry) => [entry, entry.slot] as const);
    for (const [entry] of held) this.#detach(entry);
    if (this.#undo !== undefined) {
      const copies = { pending: pending.copy(), dirty: dirty.copy(), sinceFlush: sinceFlush?.copy() };
      this.#undo.push(() => {
        pending.assign(copies.pending);
        dirty.assign(copies.dirty);
        if (copies.sinceFlush !== undefined) sinceFlush?.assign(copies.sinceFlush);
        this.#live.rows = before;
        for (const [entry, slot] of held) {
          entry.slot = slot;
          this.#live.noteClean(entry);
        }
        this.#rebuilt();
      });
    }
    for (const changes of this.#changeSets()) changes.tableCleared(before);
    this.#live.rows = new Rows(this.#seed);
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
    this.#tellChanged(entry);
    this.owner.afterChange(first);
  }

  textOf(entry: Entry<V, K>): string {
    return this.#live.textOf(entry);
  }

  slotOf(entry: Entry<V, K>): number {
    return this.#live.slotOf(entry);
  }

  takeBack(entry: Entry<V, K>): void {
    const slot = this.#live.slotOf(entry);
    if (slot < 0 || this.#live.rows.live(slot) !== undefined) throw this.owner.detachedError(entry.key);
    if (entry.isViewed) {
      const now = this.checked(this.peekAt(slot), entry.key);
      if (JSON.stringify(now) !== JSON.stringify(entry.plain)) throw this.owner.detachedError(entry.key);
    }
    entry.adrift = false;
    entry.slot = slot;
    // Whoever takes it back needs it now, so it is not let go again at once.
    entry.used = true;
    this.#live.rows.setLive(slot, entry);
    this.#live.noteClean(entry);
  }

  /** A value from disk, checked against the schema. */
  checked(value: unknown, key: Key): unknown {
    const check = this.owner.checkValue;
    return check === undefined ? value : copyJson(check(value, key));
  }

  // ---- Points in time.

  /** Marks an entry as changed although it is not. */
  mark(entry: Entry<V, K>): void {
    if (entry.adrift) this.takeBack(entry);
    this.owner.beforeChange();
    // What is dirty is held in memory: if the disk fails it is written from there.
    void entry.plain;
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
    const { changed } = this.dirty;
    this.dirty = this.sinceFlush;
    this.sinceFlush = undefined;
    for (const entry of changed) this.#live.noteClean(entry);
  }

  /** The flush came to nothing: everything is as dirty as it was. */
  flushFailed(): void {
    this.sinceFlush = undefined;
  }

  /** Everything in memory is on the disk. */
  synced(): void {
    const { changed } = this.dirty;
    this.dirty = new ChangeSet(this.#nextNumber);
    this.sinceFlush = undefined;
    for (const entry of changed) this.#live.noteClean(entry);
  }

  // ---- Transactions. Each step pushes what undoes it; undoing runs them backwards.

  /** Undo steps know entries by their objects, so while there are any none is let go. */
  get mayLetGo(): boolean {
    return this.#undo === undefined && !this.#isUndoing;
  }

  #runBack(steps: Undo[]): void {
    this.#undo = undefined;
    this.#isUndoing = true;
    try {
      for (const step of steps.reverse()) step();
    } finally {
      this.#isUndoing = false;
    }
  }

  get inTransaction(): boolean {
    return this.#undo !== undefined;
  }

  /** Adds a step to what undoes the transaction that is under way, if one is: for what changes along with the table. */
  onUndo(step: () => void): void {
    this.#undo?.push(step);
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
      this.#runBack(undo.splice(mark));
      throw error;
    } finally {
      this.#undo = outer;
      this.#kept = outerKept;
    }
  }

  /** Undoes every transaction that is under way, for a process that ends in the middle of one. */
  abandonTransactions(): void {
    const undo = this.#undo ?? [];
    this.#runBack(undo.splice(0));
  }

  // ---- Loading.

  /** Fills an empty table with what is on disk; nothing of it is a change. */
  load(loaded: Iterable<LoadedEntry>): void {
    this.loadRows(this.#rowsOf(loaded));
  }

  #rowsOf(loaded: Iterable<LoadedEntry>): Rows<V, K> {
    const rows = new Rows<V, K>(this.#seed);
    for (const item of loaded) {
      const identity = keyIdentity(item.key);
      const other = rows.find(identity);
      if (other >= 0) {
        throw this.owner.located(duplicateError(item.key, rows.shardOf(other), item.shard), item.key);
      }
      rows.pushLoaded(item, identity, this.#nextNumber++);
    }
    return rows;
  }

  /** Fills an empty table with rows that were saved. */
  loadRows(rows: Rows<V, K>): void {
    this.#live.rows = rows;
    this.#nextNumber = rows.slotEnd;
    this.#resetChanges();
    this.#observer?.tableRebuilt(false);
  }

  isUnsynced(entry: Entry<V, K>): boolean {
    return this.dirty.changed.has(entry) || this.sinceFlush?.changed.has(entry) === true;
  }

  get rows(): Rows<V, K> {
    return this.#live.rows;
  }

  /** Goes up whenever entries move to other slots. */
  get layout(): number {
    return this.#layout;
  }

  /**
   * Goes back to what is on disk, which is the last sync point. Entries that did not change since stay the same objects with
   * the same views and the same numbers, so that running iterations keep their place; the views of all others are detached.
   *
   * Nothing has changed when this returns, or throws because the disk cannot be read: what it returns does it, and reads nothing.
   */
  restore(loaded: Iterable<LoadedEntry>): () => void {
    const before = this.#live.rows;
    const held = new Set(before.allLive());
    const { rows, kept } = rowsAtSyncPoint(loaded, before, this.dirty, {
      rows: new Rows<V, K>(this.#seed),
      nextNumber: () => this.#nextNumber++,
      stateOf: this.#observer?.stateOf,
    });
    return () => {
      this.#live.rows = rows;
      for (const [entry, slot] of kept) {
        held.delete(entry);
        entry.slot = slot;
        rows.setLive(slot, entry);
      }
      for (const entry of held) this.#detach(entry, before);
      this.#resetChanges();
      this.#rebuilt();
    };
  }

  /** Puts what is on disk now in the place of everything; all views are detached. Where it cannot be read nothing changes. */
  replaceAll(loaded: Iterable<LoadedEntry>): void {
    this.#replaceRows(this.#rowsOf(loaded));
  }

  /** The same with rows that were saved. */
  replaceRows(rows: Rows<V, K>): void {
    // Numbers are never given twice: what had one of them may be somewhere in a loop.
    rows.numberFrom(this.#nextNumber);
    this.#nextNumber += rows.slotEnd;
    this.#replaceRows(rows);
  }

  #replaceRows(rows: Rows<V, K>): void {
    const stateOf = this.#observer?.stateOf;
    if (stateOf !== undefined) {
      rows.visitStates((slot, state) => {
        if (state < 0) rows.setState(slot, stateOf(parseValue(rows.textAt(slot), rows.keyAt(slot))));
      });
    }
    // Nothing is read from here on.
    for (const entry of this.#live.rows.allLive()) this.#detach(entry);
    this.#live.rows = rows;
    this.#resetChanges();
    this.#rebuilt();
  }

  /** Gives every entry the shard it has after a compaction. */
  renumberShards(fileSize: number): void {
    this.fileSize = fileSize;
    this.#live.rows.pack(fileSize);
    this.#rebuilt(true);
  }

  #resetChanges(): void {
    const { changed } = this.dirty;
    for (const entry of this.pending.changed) entry.touched = false;
    this.pending = new ChangeSet(this.#nextNumber);
    this.dirty = new ChangeSet(this.#nextNumber);
    this.sinceFlush = undefined;
    for (const entry of changed) this.#live.noteClean(entry);
  }

  // ---- Places.

  #append(key: K, identity: KeyIdentity, plain: Json): Entry<V, K> {
    this.#live.makeRoom();
    const rows = this.#live.rows;
    const tail = rows.shards.get(rows.tail);
    const shard = tail !== undefined && tail.lines >= this.fileSize ? rows.tail + 1 : rows.tail;
    const entry = new Entry<V, K>(this, key, identity, this.#nextNumber++, plain);
    this.#undo?.push(() => {
      this.#takeOut(entry);
    });
    entry.slot = rows.push(identity, shard, entry.number);
    rows.setLive(entry.slot, entry);
    this.entryDidChange(entry);
    return entry;
  }

  #takeOut(entry: Entry<V, K>): void {
    this.#observer?.entryRemoved(entry);
    const { slot } = entry;
    entry.leave(this.#live.rows.shardOf(slot));
    this.#live.rows.kill(slot, entry.identity);
  }

  #putBack(entry: Entry<V, K>, slot: number): void {
    entry.slot = slot;
    this.#live.rows.revive(slot, entry.identity);
    this.#live.rows.setLive(slot, entry);
    this.#live.noteClean(entry);
    this.#tellChanged(entry);
  }

  #tellChanged(entry: Entry<V, K>): void {
    // Where nobody looks, what was derived before must not be saved with the row and believed by the next who does.
    if (this.#observer === undefined) entry.state = -1;
    else this.#observer.entryChanged(entry);
  }

  #packWhenSparse(): void {
    if (this.#undo !== undefined) return; // Undoing needs the slots as they are.
    if (this.#live.rows.slotEnd > 2 * this.size + 1024) {
      this.#live.rows.pack();
      this.#rebuilt(true);
    }
  }

  #rebuilt(onlySlots: boolean = false): void {
    this.#layout++;
    this.#observer?.tableRebuilt(onlySlots);
  }

  /** The entry is no longer in the table. */
  #detach(entry: Entry<V, K>, rows: Rows<V, K> = this.#live.rows): void {
    entry.leave(rows.shardOf(entry.slot));
    entry.touched = false;
  }

  // ---- Bookkeeping of changes.

  #identity(key: unknown): KeyIdentity {
    if (typeof key === 'string' && key.charCodeAt(0) !== 0) return key;
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
    if (!entry.unsynced) {
      entry.unsynced = true;
      this.#live.rows.setLive(entry.slot, entry);
    }
    for (const changes of this.#changeSets()) {
      if (this.#undo !== undefined && !changes.changed.has(entry)) {
        this.#undo.push(() => {
          changes.changed.delete(entry);
          entry.touched = false;
          this.#live.noteClean(entry);
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
      this.#tellChanged(entry);
    });
  }

  #keepDeleted(entry: Entry<V, K>): void {
    if (this.#undo === undefined) return;
    const { slot } = entry;
    for (const changes of this.#changeSets()) {
      const wasChanged = changes.changed.has(entry);
      const deletedBefore = changes.deleted.get(entry.identity);
      this.#undo.push(() => {
        if (wasChanged) {
          changes.changed.add(entry);
          entry.unsynced = true;
        }
        if (deletedBefore === undefined) changes.deleted.delete(entry.identity);
        else changes.deleted.set(entry.identity, deletedBefore);
      });
    }
    this.#undo.push(() => {
      this.#putBack(entry, slot);
    });
  }
}
