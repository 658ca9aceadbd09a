/**
 * `SharedTracker`: one progress tracker, worked on by several processes of a machine at once.
 */
import { copyJson } from '../core/json.ts';
import { copyKey, type Key } from '../core/key.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { type Entries, type PodOptions, pairs } from '../pod/options.ts';
import type { ErrorClass } from '../tracker/error-classes.ts';
import type { TrackerEvents } from '../tracker/events.ts';
import {
  type AddOptions,
  checkAddOptions,
  checkFailOptions,
  checkMaxTries,
  checkPriority,
  checkRetryOptions,
  type FailOptions,
  type GateOptions,
  type LoopOptions,
  type RetryOptions,
  type TrackerOptions,
} from '../tracker/options.ts';
import { checkProgressOptions, type ProgressOptions, type ProgressStream } from '../tracker/progress.ts';
import type { ResumeReport } from '../tracker/resume.ts';
import type { TrackerStats } from '../tracker/stats.ts';
import { copyData, type Task, type TaskError, toTaskError } from '../tracker/task.ts';
import type { RemoteTracker, TrackerOperation } from './async-types.ts';
import { Caller } from './caller.ts';
import { pagesOf } from './remote-pages.ts';
import { SHARED_DOOR } from './shared-base.ts';
import { SharedCounts } from './shared-counts.ts';
import { SharedListeners, type SharedTrackerEvent } from './shared-events.ts';
import {
  checkSharedLoopOptions,
  type SharedLoopOptions,
  type SharedTrackerOptions,
  splitOptions,
} from './shared-options.ts';
import { type SharedProgress, showSharedProgress } from './shared-progress.ts';
import { TokenBook, type Word } from './token-book.ts';
import { TryLoop } from './try-loop.ts';

/**
 * A tracker that several processes, or threads, work on at once. `tryKeys()` never hands one task to two at a time: a task is claimed, in one
 * durable step with the count of its try, until `markDone`, `fail` or `abort` says how it went, or until whoever has it dies or is not heard of
 * any more; then it is to do again.
 *
 * @typeParam T the user's data in each task
 * @typeParam K the keys
 *
 * @example
 * const tasks = await SharedTracker.open('crawl.pod', { maxTries: 3 });
 * await tasks.addIfAbsent('https://a.example/');
 * for await (const url of tasks.tryKeys()) {
 *   try {
 *     await tasks.addManyIfAbsent(await linksOf(url));
 *     await tasks.markDone(url);
 *   } catch (error) {
 *     await tasks.fail(url, error);
 *   }
 * }
 * await tasks.close();
 */
// biome-ignore lint/complexity/noBannedTypes: {} is "no data of one's own", which is what a plain crawl has.
export class SharedTracker<T extends object = {}, K extends Key = string>
  extends SharedCounts<Task<T>, K, TrackerOperation<T, K>>
  implements RemoteTracker<T, K>
{
  readonly #tokens: TokenBook = new TokenBook();
  readonly #listeners: SharedListeners<K> = new SharedListeners();

  /**
   * Joins the processes that share a folder; see `SharedPOD.open`. `maxTries`, where it is given, is set for everybody.
   *
   * @throws {PodError} as `SharedPOD.open` and `ProgressTracker.open`
   */
  // biome-ignore lint/complexity/noBannedTypes: as above.
  static async open<T extends object = {}, K extends Key = string>(
    path: string,
    options: SharedTrackerOptions<T, K> = {},
  ): Promise<SharedTracker<T, K>> {
    const place = normalizePath(path);
    const { share, folder } = splitOptions(place, options);
    const { init, maxTries, maxDeaths, schema, ...rest } = folder as TrackerOptions<T, K>;
    const caller = new Caller(
      place,
      {
        kind: 'tracker',
        pod: rest as unknown as PodOptions<never, Key>,
        tracker: { maxDeaths, schema: schema as TrackerOptions<object, Key>['schema'] },
        ...share,
      },
      share.reconnectTimeoutMs,
    );
    const { isNew } = await caller.open(share.joinTimeoutMs);
    const tracker = new SharedTracker<T, K>(SHARED_DOOR, caller);
    try {
      if (maxTries !== undefined && maxTries !== (await tracker.maxTries)) await tracker.setMaxTries(maxTries);
      if (isNew && init !== undefined) await tracker.update(init);
    } catch (error) {
      await tracker.close();
      throw error;
    }
    return tracker;
  }

  /** How often a task is handed out at most; 0 means no limit, and more than 2,097,151 as much as that. */
  get maxTries(): Promise<number> {
    return this.read('maxTries');
  }

  // What options and data may be is checked here by the rules of a local tracker, and not only by the owner: JSON, which takes them there, makes
  // null of NaN and Infinity, and an error about the shape of a call says nothing of the option.

  /** Sets it for everybody, durably. @throws {PodError} `ERR_POD_OPTIONS` */
  async setMaxTries(maxTries: number): Promise<void> {
    checkMaxTries(this.path, maxTries);
    await this.read('setMaxTries', maxTries);
  }

  // ---- Adding.

  override async set(key: K, value: T | Task<T>): Promise<this> {
    return await super.set(key, value as Task<T>);
  }

  override async update(...sources: Entries<Partial<Task<T>>, K>[]): Promise<void> {
    for (const source of sources) {
      await this.inParts('update', pairs(source), ([key, value]) => [copyKey(key), copyJson(value)]);
    }
  }

  /** @throws {PodError} `ERR_POD_DUPLICATE_KEY`, `ERR_POD_VALUE`, `ERR_POD_OPTIONS` */
  async add(key: K, data?: T, options?: AddOptions): Promise<void> {
    await this.#add('add', key, data, options);
  }

  async addIfAbsent(key: K, data?: T, options?: AddOptions): Promise<boolean> {
    return await this.#add('addIfAbsent', key, data, options);
  }

  /** The priority of a task: 0 unless somebody has set one. @throws {PodError} `ERR_POD_UNKNOWN_KEY` */
  priority(key: K): Promise<number> {
    return this.read('priority', copyKey(key));
  }

  /** Gives a task a priority, from -10 to 10; see `ProgressTracker.setPriority`. @throws {PodError} `ERR_POD_OPTIONS`, `ERR_POD_UNKNOWN_KEY` */
  async setPriority(key: K, priority: number): Promise<void> {
    checkPriority(this.path, priority);
    await this.change('setPriority', copyKey(key), priority);
  }

  /** What was added before a key that is there already stays; of a key that is none, what went over in parts of 1000 before it. */
  async addMany(keys: Iterable<K>): Promise<void> {
    await this.inParts('addMany', keys, copyKey);
  }

  /** Returns how many were added. Of a key that is none, what went over in parts of 1000 before it stays. */
  addManyIfAbsent(keys: Iterable<K>): Promise<number> {
    return this.inParts('addManyIfAbsent', keys, copyKey);
  }

  // ---- How a task went.

  /**
   * Marks a task as done, with more data if given.
   *
   * @throws {PodError} `ERR_POD_STALE` where the task was handed out to this handle and its claim was lost since: nothing was changed, and the
   * task is with somebody else, or to do again. `ERR_POD_UNKNOWN_KEY`, `ERR_POD_VALUE`, `ERR_POD_SCHEMA`
   */
  async markDone(key: K, data?: Partial<T>): Promise<void> {
    await this.#say('markDone', key, data === undefined ? null : copyData(data));
    this.#listeners.tell('done', { path: this.path, key });
  }

  /** Remembers why a try failed; see `ProgressTracker.fail`. @throws {PodError} as `markDone` */
  async fail(key: K, error: unknown, options?: FailOptions): Promise<void> {
    if (options !== undefined) checkFailOptions(this.path, options);
    const kept = await this.#say<TaskError>('fail', key, errorArgument(error, 'Error'), optional(options));
    this.#listeners.tell('fail', { path: this.path, key, error: kept });
  }

  /** Sets a task aside. @throws {PodError} as `markDone` */
  async abort(key: K, reason?: unknown): Promise<void> {
    const argument = reason === undefined ? null : errorArgument(reason, 'Aborted');
    const error = await this.#say<TaskError | undefined>('abort', key, argument);
    this.#listeners.tell('abort', { path: this.path, key, error });
  }

  markNotDone(key: K): Promise<void> {
    return this.change('markNotDone', copyKey(key));
  }

  done(key: K): Promise<boolean> {
    return this.read('done', copyKey(key));
  }

  unabort(key: K): Promise<void> {
    return this.change('unabort', copyKey(key));
  }

  aborted(key: K): Promise<boolean> {
    return this.read('aborted', copyKey(key));
  }

  tries(key: K): Promise<number> {
    return this.read('tries', copyKey(key));
  }

  incrementTries(key: K): Promise<void> {
    return this.change('incrementTries', copyKey(key));
  }

  decrementTries(key: K): Promise<void> {
    return this.change('decrementTries', copyKey(key));
  }

  resetTries(key: K): Promise<void> {
    return this.change('resetTries', copyKey(key));
  }

  async retry(options: RetryOptions<K> = {}): Promise<number> {
    checkRetryOptions(this.path, options);
    const { keys, since, ...rest } = options;
    return await this.change('retry', {
      ...rest,
      ...(keys !== undefined && { keys: Array.from(keys, (key) => copyKey(key)) }),
      ...(since !== undefined && { since: since instanceof Date ? since.toISOString() : since }),
    });
  }

  errorClasses(): Promise<ErrorClass<K>[]> {
    return this.read('errorClasses');
  }

  // ---- Gates. `shouldTry` claims the task for this handle, as `tryKeys` does.

  shouldDo(key: K, options?: GateOptions): Promise<boolean> {
    return this.read('shouldDo', copyKey(key), optional(options));
  }

  shouldDoAdd(key: K, options?: GateOptions): Promise<boolean> {
    return this.change('shouldDoAdd', copyKey(key), optional(options));
  }

  /** Whether the task is to do and nobody works on it; then its try is counted and it is this handle's. */
  shouldTry(key: K, options?: GateOptions): Promise<boolean> {
    return this.#claimKey(false, key, options);
  }

  shouldTryAdd(key: K, options?: GateOptions): Promise<boolean> {
    return this.#claimKey(true, key, options);
  }

  // ---- Loops.

  async *todoKeys(options?: LoopOptions): AsyncIterableIterator<K> {
    checkSharedLoopOptions(this.path, options ?? {});
    for await (const [key] of pagesOf<Task<T>, K>(this.caller, 'todo', false, options)) yield key;
  }

  async *todoItems(options?: LoopOptions): AsyncIterableIterator<[K, Task<T>]> {
    checkSharedLoopOptions(this.path, options ?? {});
    yield* pagesOf<Task<T>, K>(this.caller, 'todo', true, options);
  }

  async *todoValues(options?: LoopOptions): AsyncIterableIterator<Task<T>> {
    for await (const [, task] of this.todoItems(options)) yield task;
  }

  /**
   * Hands out what is to do, to all loops of all processes together, each task to one at a time; the claim and its try are in the log by then.
   * It waits while others work on tasks and may add more, and ends for everyone when nothing is left and nothing is claimed. A task that failed
   * comes again in the next pass, one whose worker died in this one.
   *
   * `markDone`, `fail` and `abort` claim the next task with the same question where the loop is about to go on, and give it back, with its try, if
   * the program does not ask for it in that turn after all.
   *
   * Without `concurrency` a task that was neither done nor failed nor aborted is let go when the loop goes on; its try stays counted.
   *
   * @throws {PodError} `ERR_POD_OPTIONS` with the call; as every call, with the steps
   */
  tryKeys(options: SharedLoopOptions = {}): AsyncIterableIterator<K> {
    return this.#tries(options, false, (key) => key);
  }

  /** As `tryKeys`, with each task as it was when it was handed out. */
  tryItems(options: SharedLoopOptions = {}): AsyncIterableIterator<[K, Task<T>]> {
    return this.#tries(options, true, (key, task) => [key, task]);
  }

  tryValues(options: SharedLoopOptions = {}): AsyncIterableIterator<Task<T>> {
    return this.#tries(options, true, (_, task) => task);
  }

  // ---- Looking.

  stats(): Promise<TrackerStats> {
    return this.read('stats');
  }

  /** What the owner found when it opened the folder, and so another one after the owner has changed. See `ProgressTracker.resume`. */
  get resume(): Promise<ResumeReport<K>> {
    return this.read('resume');
  }

  /**
   * Calls `listener` when `markDone`, `fail` or `abort` of this handle was carried out, until what is returned is disposed of. What others do is
   * not told; `stats()`, or a reader, sees it.
   *
   * @throws {PodError} `ERR_POD_OPTIONS` where there is no such event, or `listener` is no function
   */
  on<N extends SharedTrackerEvent>(name: N, listener: (event: TrackerEvents<K>[N]) => void): Disposable {
    return this.#listeners.listen(name, listener);
  }

  /**
   * Shows a line about the progress of everybody who works on the tracker; see `ProgressTracker.attachProgress`. In flight is what anybody has
   * claimed.
   *
   * @param stream default `process.stderr`
   * @returns dispose of it to write the last line and leave the terminal as it was
   * @throws {PodError} `ERR_POD_OPTIONS`, `ERR_POD_CLOSED`
   *
   * @example
   * const progress = await tasks.attachProgress();
   * for await (const url of tasks.tryKeys()) await work(url);
   * await progress[Symbol.asyncDispose](); // or: await using progress = await tasks.attachProgress();
   */
  async attachProgress(
    stream: ProgressStream = process.stderr,
    options: ProgressOptions = {},
  ): Promise<AsyncDisposable> {
    checkProgressOptions(this.path, stream, options);
    const tracker = this;
    const source = {
      get closed() {
        return tracker.closed;
      },
      look: () => this.read<SharedProgress>('progress'),
    };
    return await showSharedProgress(source, stream, options);
  }

  // ---- Inside.

  #add<R>(operation: 'add' | 'addIfAbsent', key: K, data?: T, options?: AddOptions): Promise<R> {
    if (options !== undefined) checkAddOptions(this.path, options);
    return this.change(operation, copyKey(key), copyData(data ?? {}), optional(options));
  }

  #tries<R>(
    options: SharedLoopOptions,
    withValues: boolean,
    what: (key: K, task: Task<T>) => R,
  ): AsyncIterableIterator<R> {
    checkSharedLoopOptions(this.path, options);
    return new TryLoop<Task<T>, K, R>(this.caller, this.#tokens, options, withValues, Date.now(), what);
  }

  #say<R = void>(operation: Word, key: K, ...args: unknown[]): Promise<R> {
    return this.#tokens.say(this.caller, operation, copyKey(key), args);
  }

  async #claimKey(adds: boolean, key: K, options?: GateOptions): Promise<boolean> {
    const token = await this.change<string | false>('claimKey', adds, copyKey(key), optional(options));
    if (token === false) return false;
    this.#tokens.keep(key, token);
    return true;
  }
}

function optional(value: object | undefined): unknown {
  return value === undefined ? null : copyJson(value);
}

/** What goes over of an error: its name, message and code. Words stay words. */
function errorArgument(error: unknown, fallbackName: string): unknown {
  if (typeof error === 'string') return error;
  const { name, message, code } = toTaskError(error, '', 0, fallbackName);
  return { name, message, ...(code !== undefined && { code }) };
}
