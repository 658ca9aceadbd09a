/**
 * The lists of a tracker (the tasks that are aborted, done or failed, in order, without looking at the others), and the line that shows it.
 */
import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import type { HANDLE_DOOR } from '../pod/pod.ts';
import { CountedPod } from './counts.ts';
import { checkProgressOptions, type ProgressOptions, type ProgressStream, showProgress } from './progress.ts';
import type { ResumeReport } from './resume.ts';
import type { SlotSet } from './slot-set.ts';
import type { TrackerStats } from './stats.ts';
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

  abstract readonly resume: ResumeReport<K>;
  abstract stats(): TrackerStats;

  /**
   * Shows a line about the progress, on a terminal rewritten in place, elsewhere one every half minute: how much of what is known is done,
   * the rate, how quickly the frontier grows, how much longer it takes, failures, tasks in flight. It never throws into the program and never
   * keeps it alive: a stream that breaks ends it, and so does closing the tracker. What the program itself writes to the same terminal goes
   * into that line; write it after disposing, or to another stream.
   *
   * @param stream default `process.stderr`
   * @returns dispose of it to write the last line and leave the terminal as it was
   * @throws {PodError} `ERR_POD_OPTIONS`, `ERR_POD_CLOSED`
   *
   * @example
   * const progress = tasks.attachProgress();
   * for (const url of tasks.tryKeys()) await work(url);
   * progress[Symbol.dispose](); // or: using progress = tasks.attachProgress();
   */
  attachProgress(stream: ProgressStream = process.stderr, options: ProgressOptions = {}): Disposable {
    this.#engine.requireOpen();
    checkProgressOptions(this.path, stream, options);
    const { unfinished, unfinishedKeys } = this.resume;
    // What the last run left in flight does not fly now, until it is handed out again.
    const left = new Map(unfinishedKeys.map((key) => [key, this.#engine.table.find(key)?.state]));
    const inFlight = (): number | undefined => {
      if (unfinished > unfinishedKeys.length) return undefined;
      for (const [key, state] of left) if (this.#engine.table.find(key)?.state !== state) left.delete(key);
      return Math.max(0, this.#index.unfinished.size - left.size);
    };
    const pod = this;
    return showProgress(
      {
        get closed() {
          return pod.closed;
        },
        stats: () => this.stats(),
        inFlight,
      },
      this.#engine.clock,
      stream,
      options,
    );
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
