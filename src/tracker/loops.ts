/**
 * The loops of a tracker: which tasks are handed out, in order and live.
 */
import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import type { HANDLE_DOOR } from '../pod/pod.ts';
import { checkLoopOptions, type LoopOptions } from './options.ts';
import { RecordedPod } from './records.ts';
import type { Task } from './task.ts';
import type { TaskIndex } from './task-index.ts';

/** A tracker that hands out what is left to do. */
export abstract class LoopedPod<T extends object, K extends Key> extends RecordedPod<T, K> {
  readonly #engine: PodEngine<Task<T>, K>;
  readonly #index: TaskIndex<Task<T>, K>;

  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<Task<T>, K>, index: TaskIndex<Task<T>, K>) {
    super(door, engine, index);
    this.#engine = engine;
    this.#index = index;
  }

  // ---- Loops. All are live and in order: what the loop itself adds is visited. A task is visited once in a pass.

  /**
   * Keys of what is to do when they are reached.
   *
   * @throws {PodError} `ERR_POD_OPTIONS`, `ERR_POD_CLOSED`, with the first step
   */
  *todoKeys(options?: LoopOptions): IterableIterator<K> {
    for (const entry of this.#todo(options)) yield entry.key;
  }

  /** As `todoKeys`, with each task as a view. */
  *todoItems(options?: LoopOptions): IterableIterator<[K, Task<T>]> {
    for (const entry of this.#todo(options)) yield [entry.key, entry.value];
  }

  /** As `todoKeys`, only the tasks, as views. */
  *todoValues(options?: LoopOptions): IterableIterator<Task<T>> {
    for (const entry of this.#todo(options)) yield entry.value;
  }

  /**
   * Hands out what is to do, counting each try before it yields; at every level but `exit` the count is in the log by then, so a
   * task that kills the process is known to have been tried. A failed task comes again in the next pass, until its tries are used up.
   * Finding the next one costs the same with ten million done tasks before it as with none.
   *
   * Where several tasks are worked on at once, let one pass end and all its tasks come back before the next begins: a second iterator hands
   * out whatever is not done, also what is still under way.
   *
   * @throws {PodError} with the first step `ERR_POD_READONLY`, `ERR_POD_CLOSED`, `ERR_POD_OPTIONS`; with any, `ERR_POD_DISK` where the
   * claim could not be appended
   *
   * @example
   * for (const url of tasks.tryKeys({ limit: 100 })) await work(url);
   */
  *tryKeys(options?: LoopOptions): IterableIterator<K> {
    for (const entry of this.#tries(options)) yield entry.key;
  }

  /** As `tryKeys`, with each task as a view. */
  *tryItems(options?: LoopOptions): IterableIterator<[K, Task<T>]> {
    for (const entry of this.#tries(options)) yield [entry.key, entry.value];
  }

  /** As `tryKeys`, only the tasks, as views. */
  *tryValues(options?: LoopOptions): IterableIterator<Task<T>> {
    for (const entry of this.#tries(options)) yield entry.value;
  }

  *#todo(options: LoopOptions = {}): Generator<Entry<Task<T>, K>, void, undefined> {
    this.#engine.requireOpen();
    checkLoopOptions(this.path, options);
    const { allowAborted = false, limit = Number.POSITIVE_INFINITY, signal } = options;
    const cursor = this.#engine.table.cursor((slot) => this.#index.nextTodo(slot, allowAborted));
    for (let count = 0; count < limit && signal?.aborted !== true; count++) {
      const entry = cursor.next();
      if (entry === undefined) return;
      yield entry;
      this.#engine.requireOpen();
    }
  }

  *#tries(options?: LoopOptions): Generator<Entry<Task<T>, K>, void, undefined> {
    this.#engine.requireWritable();
    for (const entry of this.#todo(options)) {
      this.claim(entry);
      yield entry;
    }
  }
}
