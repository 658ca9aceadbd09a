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

/** Everything that a table held when it was cleared. */
export interface Cleared<K extends Key> {
  /** How many of it were there before a number was given. */
  countBefore(number: number): number;
  /** The identities and keys of those. */
  keysBefore(number: number): Iterable<readonly [KeyIdentity, K]>;
}

/** The changes since the moment when `since` was the next insertion number. */
export class ChangeSet<E extends Numbered<K>, K extends Key> {
  /** Entries that are new or have another value, in the order of their first change. */
  readonly changed: Set<E> = new Set();
  /** Entries that were there at that moment and are gone, or were deleted and added again. */
  readonly deleted: Map<KeyIdentity, E> = new Map();
  /** What was gone already when `clear()` was called for the first time; `deleted` is empty then. */
  deletedBefore: readonly E[] = [];
  /** What the table held then. */
  cleared: Cleared<K> | undefined;
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

  tableCleared(held: Cleared<K>): void {
    if (this.cleared === undefined) {
      this.deletedBefore = [...this.deleted.values()];
      this.cleared = held;
      this.#clearedSize = this.deletedBefore.length + held.countBefore(this.since);
    }
    this.changed.clear();
    this.deleted.clear();
  }

  /** Every key that differs. */
  keys(): Set<K> {
    const keys = new Map<KeyIdentity, K>();
    for (const entry of this.deletedBefore) keys.set(entry.identity, entry.key);
    for (const [identity, key] of this.cleared?.keysBefore(this.since) ?? []) keys.set(identity, key);
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
    this.deletedBefore = other.deletedBefore;
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
