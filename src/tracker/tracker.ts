/**
 * `ProgressTracker`: a pod of tasks with tries, done and aborted, whose `tryKeys()` drives a crawl or a batch.
 */

import type { Entry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { copyJson, setOwn } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import { openHandle } from '../pod/open-pods.ts';
import { type Entries, optionsError, type PodOptions, pairs } from '../pod/options.ts';
import { applyInit, HANDLE_DOOR } from '../pod/pod.ts';
import { type ErrorClass, ErrorClasses, errorClassOf, errorOf } from './error-classes.ts';
import { ListedPod } from './lists.ts';
import {
  checkLoopOptions,
  checkRetryOptions,
  type GateOptions,
  type LoopOptions,
  type RetryOptions,
  type TrackerOptions,
} from './options.ts';
import { LISTED_KEYS_MAX, type ResumeReport, whyNothingLeft } from './resume.ts';
import { taskSchema } from './schema.ts';
import { estimate, RateMeter, type TrackerStats } from './stats.ts';
import {
  ABORTED,
  asObject,
  DONE,
  exactTries,
  FAILED,
  isTodo,
  NEW_TASK,
  type Task,
  type TaskRecord,
  toTask,
  toTaskError,
} from './task.ts';
import { TaskIndex } from './task-index.ts';

/**
 * A pod of tasks. Each value holds the user's data and `_tries`, `_done`, `_aborted`, and `_error` once a try failed. Counters and the
 * index of what is left to do are derived from the entries whenever one changes, so editing a task by hand keeps them right.
 *
 * @typeParam T the user's data in each task
 * @typeParam K the keys
 *
 * @example
 * const tasks = ProgressTracker.open('crawl.pod', { maxTries: 3 });
 * tasks.addIfAbsent('https://a.example/');
 * for (const url of tasks.tryKeys()) {
 *   try {
 *     tasks.addManyIfAbsent(await linksOf(url)); // visited in this same loop
 *     tasks.markDone(url);
 *   } catch (error) {
 *     tasks.fail(url, error);
 *   }
 * }
 * tasks.close();
 */
// biome-ignore lint/complexity/noBannedTypes: {} is "no data of one's own", which is what a plain crawl has.
export class ProgressTracker<T extends object = {}, K extends Key = string> extends ListedPod<Task<T>, K> {
  readonly #engine: PodEngine<Task<T>, K>;
  readonly #index: TaskIndex<Task<T>, K>;
  readonly #rates: RateMeter;
  /** How the last run ended and what it left, as found when the tracker was opened. */
  readonly resume: ResumeReport<K>;

  /** Trackers are made by `open`. */
  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<Task<T>, K>) {
    const index = new TaskIndex(engine.table, engine.meta.maxTries ?? 0);
    super(door, engine, index);
    this.#engine = engine;
    this.#index = index;
    this.#rates = new RateMeter(engine.clock);
    this.#rates.sample(this.#index.done.size, engine.table.size);
    this.resume = this.#resumeReport();
  }

  /**
   * Opens a tracker, creating it where there is none. See `PersistentOrderedDict.open` for what is shared and what is thrown.
   *
   * @throws {PodError} also `ERR_POD_OPTIONS` where the folder holds values that are no tasks; `convertToTracker()` makes them so
   *
   * @example
   * const tasks = ProgressTracker.open<{ depth: number }>('crawl.pod', { maxTries: 3 });
   */
  // biome-ignore lint/complexity/noBannedTypes: as above.
  static open<T extends object = {}, K extends Key = string>(
    path: string,
    options: TrackerOptions<T, K> = {},
  ): ProgressTracker<T, K> {
    const { init, maxTries, schema, ...rest } = options;
    const podOptions: PodOptions<Task<T>, K> & { maxTries?: number | undefined } = {
      ...rest,
      ...(maxTries !== undefined && { maxTries }),
      ...(schema !== undefined && { schema: taskSchema(schema) }),
    };
    const { handle } = openHandle<ProgressTracker<T, K>, Task<T>, K>(path, podOptions, {
      name: 'ProgressTracker',
      meta: { tracker: true, maxTries: maxTries ?? 0 },
      accepts: (other): other is ProgressTracker<T, K> => other instanceof ProgressTracker,
      make: (engine) => {
        requireTasks(engine);
        return new ProgressTracker(HANDLE_DOOR, engine);
      },
    });
    try {
      if (maxTries !== undefined) handle.#setMaxTries(maxTries);
    } catch (error) {
      handle.close();
      throw error;
    }
    applyInit(handle, init as Entries<Task<T>, K> | undefined);
    return handle;
  }

  /** How often a task is handed out at most; 0 means no limit. Setting it is durable at once. */
  get maxTries(): number {
    return this.#index.maxTries;
  }

  set maxTries(tries: number) {
    if (!Number.isSafeInteger(tries) || tries < 0)
      throw optionsError(this.path, 'maxTries', 'must be a whole number from 0');
    this.#engine.requireWritable();
    this.#setMaxTries(tries);
  }

  // ---- Adding.

  /**
   * Adds a task that nobody has tried, at the end.
   *
   * @throws {PodError} `ERR_POD_DUPLICATE_KEY`; `ERR_POD_VALUE` where `data` is no object of JSON
   */
  add(key: K, data?: T): void {
    if (this.addIfAbsent(key, data)) return;
    throw new PodError('ERR_POD_DUPLICATE_KEY', `${this.path}: the task ${JSON.stringify(key)} is there already.`, {
      path: this.path,
      key,
    });
  }

  /** Adds a task unless it is there. Returns whether it was added. */
  addIfAbsent(key: K, data?: T): boolean {
    this.#engine.requireWritable();
    if (this.#engine.table.find(key) !== undefined) return false;
    this.set(key, (data ?? {}) as Task<T>);
    return true;
  }

  /** Adds tasks one by one. What was added before a key that is there already stays; see `add`. */
  addMany(keys: Iterable<K>): void {
    for (const key of keys) this.add(key);
  }

  /** Adds those that are not there. Returns how many were added. */
  addManyIfAbsent(keys: Iterable<K>): number {
    let added = 0;
    for (const key of keys) if (this.addIfAbsent(key)) added++;
    return added;
  }

  /**
   * Sets a task's whole value; what the record lacks is filled up.
   *
   * @throws {PodError} `ERR_POD_VALUE` where it is no object, or a part of the record is of the wrong type; and as in the pod
   */
  override set(key: K, value: T | Task<T>): this {
    super.set(key, toTask(value) as Task<T>);
    this.#rates.sample(this.#index.done.size, this.size);
    return this;
  }

  /** Merges data into tasks, adding those that are not there; from left to right, so that the rightmost wins. */
  override update(...sources: Entries<Partial<Task<T>>, K>[]): void {
    this.#engine.requireWritable();
    for (const source of sources) {
      for (const [key, data] of pairs(source)) this.#merge(key, data);
    }
  }

  override copyTo(path: string, options: PodOptions<Task<T>, K> = {}): ProgressTracker<T, K> {
    return super.copyTo(path, options) as ProgressTracker<T, K>;
  }

  // ---- The record of one task.

  /**
   * Marks a task as done, with more data if given. Its `_error` is dropped. Doing it again changes nothing.
   *
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`; `ERR_POD_VALUE`, `ERR_POD_SCHEMA` where the data does not fit: the task is not done
   */
  markDone(key: K, data?: Partial<T>): void {
    const entry = this.#require(key);
    const members = data === undefined ? undefined : copyData(data);
    this.#change(
      entry,
      (task) => {
        for (const [name, member] of Object.entries(members ?? {})) {
          setOwn(task as unknown as Record<string, unknown>, name, member);
        }
        task._done = true;
        delete task._error;
      },
      members !== undefined,
    );
  }

  /** Marks a task as not done. */
  markNotDone(key: K): void {
    this.#change(this.#require(key), (task) => {
      task._done = false;
    });
  }

  /** Whether a task is done; false for a key that is not there. */
  done(key: K): boolean {
    this.#engine.requireOpen();
    return (this.#state(key) & DONE) !== 0;
  }

  /** Sets a task aside: it is not handed out any more. The reason, an error or words, is kept as its `_error`. */
  abort(key: K, reason?: unknown): void {
    const entry = this.#require(key);
    this.#change(entry, (task) => {
      task._aborted = true;
      if (reason !== undefined) task._error = toTaskError(reason, this.#now(), triesNow(entry), 'Aborted');
    });
  }

  /** Puts an aborted task back. */
  unabort(key: K): void {
    this.#change(this.#require(key), (task) => {
      task._aborted = false;
      if (task._error?.name === 'Aborted') delete task._error;
    });
  }

  /** Whether a task is aborted. */
  aborted(key: K): boolean {
    return (this.#require(key, false).state & ABORTED) !== 0;
  }

  /** Remembers why a try failed: the error's name, message and code, when, and which try. The try stays counted. */
  fail(key: K, error: unknown): void {
    const entry = this.#require(key);
    this.#change(entry, (task) => {
      task._error = toTaskError(error, this.#now(), triesNow(entry), 'Error');
    });
  }

  /** How often a task was handed out. */
  tries(key: K): number {
    return triesNow(this.#require(key, false));
  }

  /** Counts one try more, without handing the task out. */
  incrementTries(key: K): void {
    this.#setTries(key, (tries) => tries + 1);
  }

  /** Takes one try back; never below zero. */
  decrementTries(key: K): void {
    this.#setTries(key, (tries) => Math.max(0, tries - 1));
  }

  /** Takes all tries back, so that a task whose tries were used up is to do again. */
  resetTries(key: K): void {
    this.#setTries(key, () => 0);
  }

  /**
   * Puts failed tasks back: those with an `_error`, and those that used up their tries without one. Their tries count from 0 again and the
   * error is dropped, so the next `tryKeys()` hands them out. What is done stays done.
   *
   * @returns how many were put back
   * @throws {PodError} `ERR_POD_OPTIONS`, `ERR_POD_READONLY`, `ERR_POD_CLOSED`; `ERR_POD_UNKNOWN_KEY` for one of `keys`
   *
   * @example
   * for (const { id, count, message } of tasks.errorClasses()) console.log(id, count, message);
   * tasks.retry({ class: 'E3f2a91' }); // the proxy is up again
   */
  retry(options: RetryOptions<K> = {}): number {
    this.#engine.requireWritable();
    checkRetryOptions(this.path, options);
    const { allowAborted = false, class: wanted, since, keys } = options;
    const sinceAt = since === undefined ? undefined : new Date(since).toISOString();
    let count = 0;
    for (const entry of this.#stuck(keys)) {
      if ((entry.state & ABORTED) !== 0 && !allowAborted) continue;
      const error = errorOf(entry.peek());
      if (wanted !== undefined && (error === undefined || errorClassOf(error) !== wanted)) continue;
      if (sinceAt !== undefined && (error === undefined || error.at < sinceAt)) continue;
      this.#change(entry, (task) => {
        task._tries = 0;
        task._aborted = false;
        delete task._error;
      });
      count++;
    }
    return count;
  }

  /** The errors of failed tasks, those that are alike as one, the most frequent first. Reads the value of every failed task. */
  errorClasses(): ErrorClass<K>[] {
    const classes = new ErrorClasses<K>();
    for (const entry of this.members(this.#index.failed)) {
      const error = errorOf(entry.peek());
      if (error !== undefined) classes.add(entry.key, error, !isTodo(entry.state, this.maxTries, false));
    }
    return classes.list();
  }

  /** Failed tasks, then those that used up their tries and have no error: the process died each time, or nobody said how it went. */
  *#stuck(keys?: Iterable<K>): Generator<Entry<Task<T>, K>, void, undefined> {
    const isStuck = ({ state }: Entry<Task<T>, K>): boolean =>
      (state & FAILED) !== 0 || ((state & DONE) === 0 && !isTodo(state, this.maxTries, true));
    if (keys !== undefined) {
      // All of them are looked for first, so that an unknown one leaves nothing half done.
      const entries = [...keys].map((key) => this.#require(key));
      yield* entries.filter(isStuck);
      return;
    }
    yield* this.members(this.#index.failed);
    for (const entry of this.members(this.#index.unfinished)) if (isStuck(entry)) yield entry;
  }

  // ---- Gates.

  /**
   * Whether a task is to do: not done, with tries left, and not aborted (unless `allowAborted`). Changes nothing.
   *
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`
   */
  shouldDo(key: K, { allowAborted = false }: GateOptions = {}): boolean {
    return isTodo(this.#require(key, false).state, this.maxTries, allowAborted);
  }

  /** As `shouldDo`, adding the task first where it is not there. */
  shouldDoAdd(key: K, options?: GateOptions): boolean {
    this.addIfAbsent(key);
    return this.shouldDo(key, options);
  }

  /** As `shouldDo`; when it is so, the try is counted, and appended before this returns. */
  shouldTry(key: K, options?: GateOptions): boolean {
    if (!this.shouldDo(key, options)) return false;
    this.#claim(this.#require(key));
    return true;
  }

  /** As `shouldTry`, adding the task first where it is not there. */
  shouldTryAdd(key: K, options?: GateOptions): boolean {
    this.addIfAbsent(key);
    return this.shouldTry(key, options);
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

  // ---- Counts; more of them, and lists, in the classes below this one.

  /** All counts, the rates of this run, and how much longer it takes. */
  stats(): TrackerStats {
    const index = this.#index;
    const todo = index.todo.size;
    const rates = this.#rates.rates(index.done.size, this.size);
    return {
      total: this.size,
      done: index.done.size,
      aborted: index.aborted.size,
      todo,
      tried: index.tried,
      tries: index.tries,
      failed: index.failed.size,
      exhausted: index.exhausted,
      donePerMinute: rates?.donePerMinute,
      addedPerMinute: rates?.addedPerMinute,
      etaMs: rates === undefined ? undefined : estimate(todo, rates.donePerMinute, rates.addedPerMinute),
    };
  }

  // ---- Inside.

  #setMaxTries(maxTries: number): void {
    if (maxTries === this.#index.maxTries) return;
    if (this.#engine.table.inTransaction) {
      throw new PodError(
        'ERR_POD_UNSUPPORTED',
        'maxTries cannot be changed inside a transaction, as it could not be taken back with it.',
        { path: this.path },
      );
    }
    if (this.isWritable) this.#engine.setMeta({ maxTries });
    this.#index.maxTries = maxTries;
  }

  #require(key: K, toChange: boolean = true): Entry<Task<T>, K> {
    if (toChange) this.#engine.requireWritable();
    else this.#engine.requireOpen();
    const entry = this.#engine.table.find(key);
    if (entry !== undefined) return entry;
    throw new PodError('ERR_POD_UNKNOWN_KEY', `${this.path}: there is no task ${JSON.stringify(key)}. Add it first.`, {
      path: this.path,
      key,
    });
  }

  #state(key: K): number {
    return this.#engine.table.find(key)?.state ?? 0;
  }

  /** Changes a task's record as one step: one record in the log, and one fsync at level `power`. */
  #change(entry: Entry<Task<T>, K>, change: (task: TaskRecord) => void, withData: boolean = false): void {
    const record: TaskRecord = { ...NEW_TASK, ...asObject(entry.plain) };
    change(record);
    this.#engine.table.edit(entry, withData ? this.#checked(entry.key, record) : record);
    this.#rates.sample(this.#index.done.size, this.size);
  }

  /** What the schema makes of a whole task, where there is one. */
  #checked(key: K, task: object): object {
    const { checkValue } = this.#engine;
    return checkValue === undefined ? task : (copyJson(checkValue(task, key)) as object);
  }

  #merge(key: K, data: Partial<Task<T>>): void {
    const entry = this.#engine.table.find(key);
    if (entry === undefined) {
      this.set(key, data as Task<T>);
      return;
    }
    const task = { ...NEW_TASK, ...asObject(entry.plain), ...copyData(data) };
    this.#engine.table.edit(entry, this.#checked(key, task));
  }

  #setTries(key: K, next: (tries: number) => number): void {
    const entry = this.#require(key);
    this.#change(entry, (task) => {
      task._tries = next(triesNow(entry));
      // The error of a try that was taken back must not pass for the outcome of the next one with that number.
      const error: TaskRecord['_error'] | null = task._error;
      if (error != null && error.try > task._tries) task._error = { ...error, try: task._tries };
    });
  }

  /** Counts a try and appends it: the claim is safe from the death of the process before anybody works on the task. */
  #claim(entry: Entry<Task<T>, K>): void {
    this.#change(entry, (task) => {
      task._tries = triesNow(entry) + 1;
    });
    this.#engine.appendNow();
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
      this.#claim(entry);
      yield entry;
    }
  }

  #now(): string {
    return new Date(this.#engine.clock.now()).toISOString();
  }

  #resumeReport(): ResumeReport<K> {
    const { ended, how, previous, lastWrite, replayed, durationMs } = this.recovery;
    const index = this.#index;
    const counts = {
      total: this.size,
      done: index.done.size,
      aborted: index.aborted.size,
      failed: index.failed.size,
      todo: index.todo.size,
      exhausted: index.exhausted,
    };
    const unfinishedKeys: K[] = [];
    for (const entry of this.members(index.unfinished)) {
      if (unfinishedKeys.length === LISTED_KEYS_MAX) break;
      unfinishedKeys.push(entry.key);
    }
    return {
      ended,
      how,
      previous,
      lastWrite,
      ...counts,
      unfinished: index.unfinished.size,
      unfinishedKeys,
      replayed,
      durationMs,
      nothingLeft: whyNothingLeft({ ...counts, maxTries: index.maxTries }),
    };
  }
}

/** A folder that was never a tracker's may be one all the same (tastypy's have no manifest); what is no task is refused. */
function requireTasks<T extends object, K extends Key>(engine: PodEngine<Task<T>, K>): void {
  // A folder that was just adopted has the mark because we asked for it, not because anybody looked.
  const { adopted } = engine.recovery;
  if (engine.meta.tracker === true && !adopted) return;
  try {
    for (const entry of engine.table.entries()) {
      const value: unknown = entry.peek();
      if (toTask(value) !== value) throw new PodError('ERR_POD_VALUE', 'The record is not complete.');
    }
    if (engine.isWritable) engine.setMeta({ tracker: true, maxTries: engine.meta.maxTries ?? 0 });
  } catch (error) {
    if (adopted) engine.setMeta({ tracker: false, maxTries: undefined });
    if (!(error instanceof PodError) || error.code !== 'ERR_POD_VALUE') throw error;
    throw new PodError(
      'ERR_POD_OPTIONS',
      `${engine.path} holds values that are no tasks. Open it with POD.open and call convertToTracker() once.`,
      { path: engine.path, cause: error, info: { option: 'kind' } },
    );
  }
}

/** A copy of what is to be merged into a task. */
function copyData(data: object): object {
  toTask(data);
  return copyJson(data) as object;
}

function triesNow<V, K extends Key>(entry: Entry<V, K>): number {
  return exactTries(entry.state, () => entry.peek());
}
