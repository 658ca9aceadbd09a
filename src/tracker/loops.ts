/**
 * The loops of a tracker: which tasks are handed out, in order and live.
 */
import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import { optionsError } from '../pod/options.ts';
import type { HANDLE_DOOR } from '../pod/pod.ts';
import {
  checkLoopOptions,
  checkPacedOptions,
  type GroupName,
  isPaced,
  type LoopOptions,
  type PacedOptions,
  withCheckedAnswers,
} from './options.ts';
import { type PacedHost, PacedLoop, pacedIterator } from './paced.ts';
import { RecordedPod } from './records.ts';
import type { Task } from './task.ts';
import type { TaskIndex } from './task-index.ts';
import { TodoCursor } from './todo-cursor.ts';

/** A tracker that hands out what is left to do. */
export abstract class LoopedPod<T extends object, K extends Key> extends RecordedPod<T, K> {
  readonly #engine: PodEngine<Task<T>, K>;
  readonly #index: TaskIndex<Task<T>, K>;
  readonly #inFlight: Set<Entry<Task<T>, K>> = new Set();
  readonly #loops: Set<PacedLoop<Task<T>, K>> = new Set();
  /** Until when, on the monotonic clock. */
  readonly #blocked: Map<GroupName, number> = new Map();

  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<Task<T>, K>, index: TaskIndex<Task<T>, K>) {
    super(door, engine, index);
    this.#engine = engine;
    this.#index = index;
  }

  // ---- Loops. All are live and in order, higher priorities first: what the loop itself adds is visited. A task is visited once in a pass.

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
   * With `concurrency` the loop is a paced one: it hands out so many at once, keeps groups of tasks (such as the pages of one host) apart in
   * time, waits for tasks in flight, which may add more, and ends when nothing is left and nothing is in flight. It is asynchronous.
   * A failed task comes again in the same loop where `retryDelayMs` or `fail`'s `retryAfterMs` says when.
   *
   * @throws {PodError} with the first step `ERR_POD_READONLY`, `ERR_POD_CLOSED`, `ERR_POD_OPTIONS`; with any, `ERR_POD_DISK` where the
   * claim could not be appended
   *
   * @example
   * for (const url of tasks.tryKeys({ limit: 100 })) await work(url);
   *
   * @example
   * const hostOf = (url: string) => new URL(url).host;
   * for await (const url of tasks.tryKeys({ concurrency: 16, group: hostOf, perGroup: 1, delayMs: 500 })) {
   *   void work(url); // ends with markDone, fail or abort
   * }
   */
  tryKeys(options: PacedOptions<K>): AsyncIterableIterator<K>;
  tryKeys(options?: LoopOptions): IterableIterator<K>;
  tryKeys(options: LoopOptions | PacedOptions<K> = {}): IterableIterator<K> | AsyncIterableIterator<K> {
    return this.#handOut(options, ({ key }) => key);
  }

  /** As `tryKeys`, with each task as a view. */
  tryItems(options: PacedOptions<K>): AsyncIterableIterator<[K, Task<T>]>;
  tryItems(options?: LoopOptions): IterableIterator<[K, Task<T>]>;
  tryItems(
    options: LoopOptions | PacedOptions<K> = {},
  ): IterableIterator<[K, Task<T>]> | AsyncIterableIterator<[K, Task<T>]> {
    return this.#handOut(options, ({ key, value }) => [key, value]);
  }

  /** As `tryKeys`, only the tasks, as views. */
  tryValues(options: PacedOptions<K>): AsyncIterableIterator<Task<T>>;
  tryValues(options?: LoopOptions): IterableIterator<Task<T>>;
  tryValues(options: LoopOptions | PacedOptions<K> = {}): IterableIterator<Task<T>> | AsyncIterableIterator<Task<T>> {
    return this.#handOut(options, ({ value }) => value);
  }

  /**
   * Keeps paced loops of this tracker away from a group until a moment, for `Retry-After` and the like; a moment in the past frees it.
   * Kept in memory only, as the time that is left: a wall clock that is set later changes nothing.
   *
   * @param until a date, or milliseconds since 1970
   * @throws {PodError} `ERR_POD_OPTIONS` where that is no time
   *
   * @example
   * tasks.blockGroup('a.example', Date.now() + 60_000);
   */
  blockGroup(group: GroupName, until: Date | number): void {
    const untilMs = typeof until === 'number' ? until : until instanceof Date ? until.getTime() : Number.NaN;
    if (Number.isNaN(untilMs)) throw optionsError(this.path, 'until', 'must be a Date or milliseconds since 1970');
    const { clock } = this.#engine;
    const nowMs = clock.monotonic();
    const leftMs = untilMs - clock.now();
    for (const [name, otherMs] of this.#blocked) if (otherMs <= nowMs) this.#blocked.delete(name);
    if (leftMs > 0) this.#blocked.set(group, nowMs + leftMs);
    else this.#blocked.delete(group);
    for (const loop of this.#loops) loop.regroup(group);
  }

  *#todo(
    options: LoopOptions = {},
    isPassedBy: (entry: Entry<Task<T>, K>) => boolean = () => false,
  ): Generator<Entry<Task<T>, K>, void, undefined> {
    this.#engine.requireOpen();
    checkLoopOptions(this.path, options);
    const { allowAborted = false, limit = Number.POSITIVE_INFINITY, signal } = options;
    const cursor = new TodoCursor(this.#engine.table, this.#index, allowAborted);
    for (let count = 0; count < limit && signal?.aborted !== true; count++) {
      let entry = cursor.next();
      while (entry !== undefined && isPassedBy(entry)) entry = cursor.next();
      if (entry === undefined) return;
      yield entry;
      this.#engine.requireOpen();
    }
  }

  #isPutOff(entry: Entry<Task<T>, K>): boolean {
    const dueMs = this.retryTimes.dueMs(entry);
    return dueMs !== undefined && dueMs > this.#engine.clock.monotonic();
  }

  #handOut<R>(
    options: LoopOptions | PacedOptions<K>,
    what: (entry: Entry<Task<T>, K>) => R,
  ): IterableIterator<R> | AsyncIterableIterator<R> {
    return isPaced(options) ? this.#paced(options as PacedOptions<K>, what) : this.#tries(options as LoopOptions, what);
  }

  #paced<R>(options: PacedOptions<K>, what: (entry: Entry<Task<T>, K>) => R): AsyncIterableIterator<R> {
    const { closing } = this.#engine;
    const begin = (): PacedLoop<Task<T>, K> => {
      this.#engine.requireWritable();
      checkPacedOptions(this.path, options);
      const loop = new PacedLoop(this.#host(), withCheckedAnswers(this.path, options));
      this.#loops.add(loop);
      closing.add(loop.wake);
      return loop;
    };
    const end = (loop: PacedLoop<Task<T>, K>): void => {
      closing.delete(loop.wake);
      this.#loops.delete(loop);
    };
    return pacedIterator(begin, end, what);
  }

  #host(): PacedHost<Task<T>, K> {
    const { table, clock } = this.#engine;
    return {
      clock,
      index: this.#index,
      inFlight: this.#inFlight,
      todo: (allowAborted) => new TodoCursor(table, this.#index, allowAborted),
      current: (entry) => table.current(entry),
      claim: (entry) => this.claim(entry),
      refund: (entries) => this.refund(entries),
      dueMs: (entry) => this.retryTimes.dueMs(entry),
      blockedUntil: (group) => this.#blocked.get(group) ?? Number.NEGATIVE_INFINITY,
      paused: (pause) => this.events.emit('pause', () => ({ path: this.path, ...pause })),
      requireWritable: () => this.#engine.requireWritable(),
    };
  }

  *#tries<R>(options: LoopOptions, what: (entry: Entry<Task<T>, K>) => R): Generator<R, void, undefined> {
    this.#engine.requireWritable();
    for (const entry of this.#todo(options, (each) => this.#isPutOff(each))) {
      this.claim(entry);
      yield what(entry);
    }
  }
}
