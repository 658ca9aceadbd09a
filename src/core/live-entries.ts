/**
 * The entries of a table that exist as objects: made when somebody asks for one, kept while they differ from the disk, and let go when they
 * are clean and others are wanted more.
 */
import { CleanEntries } from './clean-entries.ts';
import { Entry, type EntryHome, parseValue } from './entry.ts';
import type { Json } from './json.ts';
import { type Key, keyIdentity } from './key.ts';
import { Rows } from './rows.ts';

/** What an entry takes beside its value, and the factor from a value's text to its objects; both measured on crawl entries. */
const ENTRY_BYTES = 300;
const OBJECT_TO_TEXT = 2;
/** V8 keeps what a WeakRef was made for until the turn ends, so one turn that looks at everything must not make more of them. */
const WEAK_PER_TURN_MAX = 20_000;

/** What making and keeping entries needs of the table. */
export interface LiveHome<V, K extends Key> extends EntryHome<V, K> {
  /** Whether an entry differs from the last sync point. */
  isUnsynced(entry: Entry<V, K>): boolean;
  /** Whether entries may be let go now. */
  readonly mayLetGo: boolean;
  readonly owner: EntryHome<V, K>['owner'] & { afterTurn?(work: () => void): void };
}

export class LiveEntries<V, K extends Key> {
  /** Replaced as a whole when the table is cleared or read anew. */
  rows: Rows<V, K>;
  readonly #home: LiveHome<V, K>;
  readonly #clean: CleanEntries<Entry<V, K>>;
  /** WeakRefs made in this turn of the event loop. */
  #weakened: number = 0;

  constructor(home: LiveHome<V, K>, cacheBytes: number, seed: number) {
    this.#home = home;
    this.#clean = new CleanEntries(cacheBytes);
    this.rows = new Rows(seed);
  }

  /** The entry in a slot. */
  at(slot: number): Entry<V, K> {
    const live = this.rows.live(slot);
    if (live !== undefined) {
      live.used = true;
      if (live.weight === 0 && !live.unsynced) this.noteClean(live);
      return live;
    }
    this.makeRoom();
    const key = this.rows.keyAt(slot);
    const entry = new Entry<V, K>(this.#home, key, keyIdentity(key), this.rows.numberOf(slot));
    entry.slot = slot;
    entry.used = true;
    this.noteClean(entry);
    return entry;
  }

  /** The JSON text of an entry's value as it lies on the disk. */
  textOf(entry: Entry<V, K>): string {
    const slot = this.slotOf(entry);
    if (slot < 0) throw this.#home.owner.detachedError(entry.key);
    return this.rows.textAt(slot);
  }

  /** The slot of an entry, also of one that was let go; -1 where the table has it no more. */
  slotOf(entry: Entry<V, K>): number {
    if (!entry.adrift) return entry.slot;
    const slot = this.rows.find(entry.identity);
    return slot >= 0 && this.rows.numberOf(slot) === entry.number ? slot : -1;
  }

  /** The plain value in a slot, to be looked at once; nothing is made for it. */
  peekAt(slot: number): Json {
    const live = this.rows.live(slot);
    if (live !== undefined) return live.peek();
    const key = this.rows.keyAt(slot);
    try {
      return parseValue(this.rows.textAt(slot), key);
    } catch (error) {
      throw this.#home.owner.located(error, key);
    }
  }

  /** From now on an entry may be let go, unless it still differs from the last sync point. */
  noteClean(entry: Entry<V, K>): void {
    entry.unsynced = this.#home.isUnsynced(entry);
    if (entry.unsynced || entry.slot < 0) return;
    const isWanted = entry.used || entry.isViewed || entry.pins > 0 || entry.touched;
    if (!isWanted && entry.weight === 0 && this.#clean.isBusy && this.#home.mayLetGo) {
      this.#letGo(entry);
      return;
    }
    this.rows.setLive(entry.slot, entry);
    this.#clean.add(entry, ENTRY_BYTES + OBJECT_TO_TEXT * this.rows.lengthOf(entry.slot));
  }

  /** Lets entries go where there are too many. */
  makeRoom(): void {
    if (this.#home.mayLetGo) this.#clean.sweep((entry) => this.#letGo(entry));
  }

  #letGo(entry: Entry<V, K>): void {
    if (entry.isViewed && this.#weakened < WEAK_PER_TURN_MAX) {
      // Whoever holds a view holds the entry, so as long as anybody does, the table finds it again.
      if (this.#weakened++ === 0) {
        this.#home.owner.afterTurn?.(() => {
          this.#weakened = 0;
        });
      }
      this.rows.setLive(entry.slot, new WeakRef(entry));
      return;
    }
    this.rows.setLive(entry.slot, undefined);
    entry.leave(entry.shard);
    entry.adrift = true;
  }
}
