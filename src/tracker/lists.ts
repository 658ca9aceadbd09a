/**
 * The lists of a tracker: the tasks that are aborted, done or failed, in order, without looking at the others.
 */
import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import type { HANDLE_DOOR } from '../pod/pod.ts';
import { CountedPod } from './counts.ts';
import type { SlotSet } from './slot-set.ts';
import type { TaskIndex } from './task-index.ts';

/** A pod whose entries are listed by their record. */
export abstract class ListedPod<V, K extends Key> extends CountedPod<V, K> {
  readonly #engine: PodEngine<V, K>;
  readonly #index: TaskIndex<V, K>;

  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<V, K>, index: TaskIndex<V, K>) {
    super(door, engine, index);
    this.#engine = engine;
    this.#index = index;
  }

  /** Keys of the tasks that are aborted, in order. */
  *abortedKeys(): IterableIterator<K> {
    for (const entry of this.members(this.#index.aborted)) yield entry.key;
  }

  /** As `abortedKeys`, with each task as a view. */
  *abortedItems(): IterableIterator<[K, V]> {
    for (const entry of this.members(this.#index.aborted)) yield [entry.key, entry.value];
  }

  /** As `abortedKeys`, only the tasks, as views. */
  *abortedValues(): IterableIterator<V> {
    for (const entry of this.members(this.#index.aborted)) yield entry.value;
  }

  /** Keys of the tasks that are done, in order. */
  *doneKeys(): IterableIterator<K> {
    for (const entry of this.members(this.#index.done)) yield entry.key;
  }

  /** As `doneKeys`, with each task as a view. */
  *doneItems(): IterableIterator<[K, V]> {
    for (const entry of this.members(this.#index.done)) yield [entry.key, entry.value];
  }

  /** As `doneKeys`, only the tasks, as views. */
  *doneValues(): IterableIterator<V> {
    for (const entry of this.members(this.#index.done)) yield entry.value;
  }

  /** Tasks that are not done and have an `_error`: failed ones, and those aborted with a reason. */
  *failedKeys(): IterableIterator<K> {
    for (const entry of this.members(this.#index.failed)) yield entry.key;
  }

  /** As `failedKeys`, with each task as a view. */
  *failedItems(): IterableIterator<[K, V]> {
    for (const entry of this.members(this.#index.failed)) yield [entry.key, entry.value];
  }

  /** The entries in a set, in order, live. */
  protected *members(set: SlotSet): Generator<Entry<V, K>, void, undefined> {
    this.#engine.requireOpen();
    const cursor = this.#engine.table.cursor((slot) => set.next(slot));
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      yield entry;
      this.#engine.requireOpen();
    }
  }
}
