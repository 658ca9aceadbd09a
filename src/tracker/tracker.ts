/**
 * `ProgressTracker`: a pod of tasks with tries, done and aborted, whose `tryKeys()` drives a crawl or a batch.
 */

import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import { openHandle } from '../pod/open-pods.ts';
import { type Entries, optionsError, type PodOptions, pairs } from '../pod/options.ts';
import { applyInit, HANDLE_DOOR } from '../pod/pod.ts';
import { LoopedPod } from './loops.ts';
import { type AddOptions, checkAddOptions, checkMaxTries, type GateOptions, type TrackerOptions } from './options.ts';
import { type ResumeReport, resumeReport } from './resume.ts';
import { taskSchema } from './schema.ts';
import { estimate, type TrackerStats } from './stats.ts';
import { asObject, copyData, isTodo, NEW_TASK, type Task, toTask } from './task.ts';
import { TaskIndex } from './task-index.ts';

/** A task that was in flight at this many deaths of the process in a row is set aside. */
export const DEFAULT_MAX_DEATHS = 5;

/**
 * As `ProgressTracker.open`, for whoever knows better which tasks are still in flight: what was when the last process died is marked only
 * by `markDeaths`. Not exported from the package.
 */
export let openUnmarked: <T extends object, K extends Key>(
  path: string,
  options: TrackerOptions<T, K>,
) => { readonly tracker: ProgressTracker<T, K>; readonly markDeaths: () => void };

/** From when on a task may be handed out, on the monotonic clock; undefined where nobody put it off. Not exported from the package. */
export let dueMsOf: <T extends object, K extends Key>(tracker: ProgressTracker<T, K>, key: K) => number | undefined;

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
export class ProgressTracker<T extends object = {}, K extends Key = string> extends LoopedPod<T, K> {
  readonly #engine: PodEngine<Task<T>, K>;
  readonly #index: TaskIndex<Task<T>, K>;
  /** How the last run ended and what it left, as found when the tracker was opened. */
  readonly resume: ResumeReport<K>;

  /** Trackers are made by `open`. */
  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<Task<T>, K>) {
    const index = new TaskIndex(engine.table, engine.meta.maxTries ?? 0);
    super(door, engine, index);
    this.#engine = engine;
    this.#index = index;
    this.resume = resumeReport(this.recovery, index, this.members(index.unfinished));
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
    return ProgressTracker.#open<T, K>(path, options, true);
  }

  // biome-ignore lint/complexity/noBannedTypes: as above.
  static #open<T extends object = {}, K extends Key = string>(
    path: string,
    options: TrackerOptions<T, K>,
    marksDeaths: boolean,
  ): ProgressTracker<T, K> {
    const { init, maxTries, maxDeaths, schema, ...rest } = options;
    if (maxDeaths !== undefined && (!Number.isSafeInteger(maxDeaths) || maxDeaths < 0)) {
      throw optionsError(path, 'maxDeaths', 'must be a whole number from 0');
    }
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
        const tracker = new ProgressTracker<T, K>(HANDLE_DOOR, engine);
        if (engine.isWritable && marksDeaths) tracker.markDeaths(maxDeaths ?? DEFAULT_MAX_DEATHS);
        return tracker;
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

  /** How often a task is handed out at most; 0 means no limit, and more than 2,097,151 as much as that. Setting it is durable at once. */
  get maxTries(): number {
    return this.#index.maxTries;
  }

  set maxTries(tries: number) {
    checkMaxTries(this.path, tries);
    this.#engine.requireWritable();
    this.#setMaxTries(tries);
  }

  // ---- Adding.

  /**
   * Adds a task that nobody has tried, at the end.
   *
   * @throws {PodError} `ERR_POD_DUPLICATE_KEY`; `ERR_POD_VALUE` where `data` is no object of JSON; `ERR_POD_OPTIONS`
   *
   * @example
   * tasks.add('https://a.example/sitemap.xml', undefined, { priority: 10 }); // before everything else
   */
  add(key: K, data?: T, options?: AddOptions): void {
    if (this.#add(key, data, this.#priorityOf(options))) return;
    throw this.#duplicate(key);
  }

  /** Adds a task unless it is there. Returns whether it was added. */
  addIfAbsent(key: K, data?: T, options?: AddOptions): boolean {
    return this.#add(key, data, this.#priorityOf(options));
  }

  /** Adds tasks one by one. What was added before a key that is there already, or is none, stays; see `add`. */
  addMany(keys: Iterable<K>, options?: AddOptions): void {
    const priority = this.#priorityOf(options);
    for (const key of keys) if (!this.#add(key, undefined, priority)) throw this.#duplicate(key);
  }

  /** Adds those that are not there, one by one. Returns how many were added. What was added before a key that is none stays. */
  addManyIfAbsent(keys: Iterable<K>, options?: AddOptions): number {
    const priority = this.#priorityOf(options);
    let added = 0;
    for (const key of keys) if (this.#add(key, undefined, priority)) added++;
    return added;
  }

  /**
   * Sets a task's whole value; what the record lacks is filled up.
   *
   * @throws {PodError} `ERR_POD_VALUE` where it is no object, or a part of the record is of the wrong type; and as in the pod
   */
  override set(key: K, value: T | Task<T>): this {
    super.set(key, toTask(value) as Task<T>);
    this.rates.sample(this.#index.done.size, this.size);
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

  // ---- Gates.

  /**
   * Whether a task is to do: not done, with tries left, and not aborted (unless `allowAborted`). Changes nothing.
   *
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`
   */
  shouldDo(key: K, { allowAborted = false }: GateOptions = {}): boolean {
    return isTodo(this.requireTask(key, false).state, this.maxTries, allowAborted);
  }

  /** As `shouldDo`, adding the task first where it is not there. */
  shouldDoAdd(key: K, options?: GateOptions): boolean {
    this.addIfAbsent(key);
    return this.shouldDo(key, options);
  }

  /** As `shouldDo`; when it is so, the try is counted, and appended before this returns. */
  shouldTry(key: K, options?: GateOptions): boolean {
    if (!this.shouldDo(key, options)) return false;
    this.claim(this.requireTask(key));
    return true;
  }

  /** As `shouldTry`, adding the task first where it is not there. */
  shouldTryAdd(key: K, options?: GateOptions): boolean {
    this.addIfAbsent(key);
    return this.shouldTry(key, options);
  }

  // ---- Counts; more of them, and lists, in the classes below this one.

  /** All counts, the rates of this run, and how much longer it takes. */
  stats(): TrackerStats {
    const index = this.#index;
    const todo = index.todo.size;
    const rates = this.rates.rates(index.done.size, this.size);
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
      ...this.rates.forecast(this.size),
    };
  }

  // ---- Inside.

  static {
    openUnmarked = (path, options) => {
      const tracker = ProgressTracker.#open(path, options, false);
      return { tracker, markDeaths: () => tracker.markDeaths(options.maxDeaths ?? DEFAULT_MAX_DEATHS) };
    };
    dueMsOf = (tracker, key) => tracker.retryTimes.dueMs(tracker.requireTask(key, false));
  }

  #priorityOf(options: AddOptions | undefined): number {
    if (options !== undefined) checkAddOptions(this.path, options);
    return options?.priority ?? 0;
  }

  #add(key: K, data: T | undefined, priority: number): boolean {
    this.#engine.requireWritable();
    if (this.#engine.table.has(key)) return false;
    const given = data ?? ({} as T);
    // Copied before it is spread, which would make an object of an array or a Map and so hide it from the check.
    this.set(key, priority === 0 ? given : ({ ...copyData(given), _priority: priority } as Task<T>));
    return true;
  }

  #duplicate(key: K): PodError {
    return new PodError('ERR_POD_DUPLICATE_KEY', `${this.path}: the task ${JSON.stringify(key)} is there already.`, {
      path: this.path,
      key,
    });
  }

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

  #merge(key: K, data: Partial<Task<T>>): void {
    const entry = this.#engine.table.find(key);
    if (entry === undefined) {
      this.set(key, data as Task<T>);
      return;
    }
    const task = { ...NEW_TASK, ...asObject(entry.plain), ...copyData(data) };
    this.#engine.table.edit(entry, this.checkedTask(key, task));
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
