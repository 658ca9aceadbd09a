/**
 * What changed since some moment: the difference between the table now and the table then, by entry.
 *
 * Several of these run side by side over one table (since the last append, since the last sync point, since a flush began).
 * Entries are numbered as they are inserted, so "was it there at that moment?" is one comparison with `since`.
 */
import type { Key, KeyIdentity } from './key.ts';

/** What a set of changes knows of an entry. */
export interface Numbered<K extends Key> {
  readonly key: K;
  readonly identity: KeyIdentity;
  /** Insertion number: higher means later; never given twice. */
  readonly number: number;
}

/** The changes since the moment when `since` was the next insertion number. */
export class ChangeSet<E extends Numbered<K>, K extends Key> {
  /** Entries that are new or have another value, in the order of their first change. */
  readonly changed: Set<E> = new Set();
  /** Entries that were there at that moment and are gone, or were deleted and added again. */
  readonly deleted: Map<KeyIdentity, E> = new Map();
  /** All that was there at that moment or came since and is gone, where `clear()` was called; `deleted` is empty then. */
  cleared: readonly (E | null)[] | undefined;
  /** How many of the cleared entries were there at that moment. */
  #clearedSize: number = 0;
  readonly since: number;

  constructor(since: number) {
    this.since = since;
  }

  get isEmpty(): boolean {
    return this.changed.size === 0 && this.deleted.size === 0 && this.cleared === undefined;
  }

  /** How many keys differ, or more: a key that was deleted and added again counts twice. */
  get size(): number {
    return this.changed.size + this.deleted.size + this.#clearedSize;
  }

  entryChanged(entry: E): void {
    this.changed.add(entry);
  }

  entryDeleted(entry: E): void {
    this.changed.delete(entry);
    if (this.cleared === undefined && entry.number < this.since) this.deleted.set(entry.identity, entry);
  }

  tableCleared(entries: readonly (E | null)[]): void {
    if (this.cleared === undefined) {
      this.cleared = this.deleted.size === 0 ? entries : [...this.deleted.values(), ...entries];
      for (const entry of this.cleared) if (entry !== null && entry.number < this.since) this.#clearedSize++;
    }
    this.changed.clear();
    this.deleted.clear();
  }

  /** Every key that differs. */
  keys(): Set<K> {
    const keys = new Map<KeyIdentity, K>();
    for (const entry of this.cleared ?? []) {
      if (entry !== null && entry.number < this.since) keys.set(entry.identity, entry.key);
    }
    for (const entry of this.deleted.values()) keys.set(entry.identity, entry.key);
    for (const entry of this.changed) keys.set(entry.identity, entry.key);
    return new Set(keys.values());
  }

  /** A copy that can be put back with `assign` when a transaction is undone. */
  copy(): ChangeSet<E, K> {
    const copy = new ChangeSet<E, K>(this.since);
    copy.assign(this);
    return copy;
  }

  /** Takes over the changes of another set. */
  assign(other: ChangeSet<E, K>): void {
    this.changed.clear();
    this.deleted.clear();
    for (const entry of other.changed) this.changed.add(entry);
    for (const [identity, entry] of other.deleted) this.deleted.set(identity, entry);
    this.cleared = other.cleared;
    this.#clearedSize = other.#clearedSize;
  }

  /** What was added since and is still there, in the order of insertion, which is the order of the table. */
  added(): E[] {
    const added: E[] = [];
    let sorted = true;
    for (const entry of this.changed) {
      if (entry.number < this.since) continue;
      // Undoing a transaction can put an entry back behind a later one.
      if (sorted && added.length > 0 && (added[added.length - 1] as E).number > entry.number) sorted = false;
      added.push(entry);
    }
    return sorted ? added : added.sort((a, b) => a.number - b.number);
  }

  /** What was there and has another value now. */
  *updated(): Generator<E, void, undefined> {
    for (const entry of this.changed) {
      if (entry.number < this.since) yield entry;
    }
  }
}
