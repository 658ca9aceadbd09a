/**
 * A place in the order of a table that stays right while the table changes.
 */
import type { Entry } from './entry.ts';
import type { Key } from './key.ts';
import type { LiveEntries } from './live-entries.ts';

export class Cursor<V, K extends Key> {
  readonly #live: LiveEntries<V, K>;
  readonly #layoutNow: () => number;
  readonly #pick: ((slot: number) => number) | undefined;
  /** The slot that is looked at next. */
  #slot: number = 0;
  /** The number of the last entry that was passed: the place is found again by it when entries have moved to other slots. */
  #lastNumber: number = -1;
  #layout: number;

  /**
   * @param layoutNow goes up whenever entries move to other slots
   * @param pick names the next slot of interest at or after the one given, or -1; without it every entry is visited
   */
  constructor(live: LiveEntries<V, K>, layoutNow: () => number, pick: ((slot: number) => number) | undefined) {
    this.#live = live;
    this.#layoutNow = layoutNow;
    this.#pick = pick;
    this.#layout = layoutNow();
  }

  next(): Entry<V, K> | undefined {
    const slot = this.#nextSlot();
    return slot < 0 ? undefined : this.#live.at(slot);
  }

  /** As `next`, for who wants nothing but the key: no entry is made for it. */
  nextKey(): K | undefined {
    const slot = this.#nextSlot();
    return slot < 0 ? undefined : this.#live.rows.keyAt(slot);
  }

  #nextSlot(): number {
    const { rows } = this.#live;
    const layout = this.#layoutNow();
    if (layout !== this.#layout) {
      this.#slot = rows.firstSlotAfter(this.#lastNumber);
      this.#layout = layout;
    }
    if (this.#pick !== undefined) {
      const picked = this.#pick(this.#slot);
      this.#slot = picked < 0 ? rows.slotEnd : picked;
    }
    const found = rows.nextAlive(this.#slot);
    if (found >= rows.slotEnd) {
      this.#slot = found;
      // All that there is was passed, also what was not picked, and stays so when it moves.
      if (found > 0) this.#lastNumber = Math.max(this.#lastNumber, rows.numberOf(found - 1));
      return -1;
    }
    this.#slot = found + 1;
    this.#lastNumber = rows.numberOf(found);
    return found;
  }
}
