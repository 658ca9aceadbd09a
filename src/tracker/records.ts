/**
 * The record of a task: how it went is written into it, and read from it.
 */
import type { Entry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { copyJson, type Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import type { Events } from '../pod/events.ts';
import type { HANDLE_DOOR } from '../pod/pod.ts';
import { type ErrorClass, ErrorClasses, errorOf } from './error-classes.ts';
import { TRACKER_EVENTS, type TrackerEvents } from './events.ts';
import { ListedPod } from './lists.ts';
import { checkFailOptions, checkPriority, checkRetryOptions, type FailOptions, type RetryOptions } from './options.ts';
import { type Output, type OutputOptions, TaskOutputs } from './output.ts';
import { isStuck, retryFilter } from './retry.ts';
import { RetryTimes } from './retry-times.ts';
import { RateMeter } from './stats.ts';
import {
  ABORTED,
  asObject,
  copyData,
  DONE,
  exactTries,
  FAILED,
  isTodo,
  NEW_TASK,
  priorityIn,
  type Task,
  type TaskError,
  type TaskRecord,
  toTaskError,
  UNFINISHED,
} from './task.ts';
import type { TaskIndex } from './task-index.ts';

/** What becomes of a task's record; undefined takes a member out. */
type RecordChange = { readonly [M in keyof TaskRecord]?: TaskRecord[M] | undefined };

const DONE_NOW: RecordChange = { _done: true, _error: undefined };

/** A pod whose entries are tasks with a record. */
export abstract class RecordedPod<T extends object, K extends Key> extends ListedPod<Task<T>, K> {
  readonly #engine: PodEngine<Task<T>, K>;
  readonly #index: TaskIndex<Task<T>, K>;
  /** What waits to be written, once there is an output. */
  #outputs: TaskOutputs<Task<T>, K> | undefined;
  /** Tells what happened in the transaction that is under way. */
  readonly #untold: (() => void)[] = [];
  protected readonly rates: RateMeter;
  protected readonly retryTimes: RetryTimes<Task<T>, K>;

  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<Task<T>, K>, index: TaskIndex<Task<T>, K>) {
    super(door, engine, index);
    this.#engine = engine;
    this.#index = index;
    this.retryTimes = new RetryTimes(engine.clock, index);
    this.rates = new RateMeter(engine.clock, index);
    this.rates.sample(index.done.size, engine.table.size);
  }

  /**
   * Marks a task as done, with more data if given. Its `_error` is dropped. Doing it again changes nothing.
   *
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`; `ERR_POD_VALUE`, `ERR_POD_SCHEMA` where the data does not fit: the task is not done
   */
  markDone(key: K, data?: Partial<T>): void {
    const entry = this.requireTask(key);
    const wasDone = (entry.state & DONE) !== 0;
    if (data === undefined) this.changeTask(entry, DONE_NOW);
    else this.changeTask(entry, DONE_NOW, copyData(data));
    if (!wasDone) this.#tell('done', () => ({ path: this.path, key: entry.key }));
  }

  /** Marks a task as not done. */
  markNotDone(key: K): void {
    this.changeTask(this.requireTask(key), { _done: false });
  }

  /** Whether a task is done; false for a key that is not there. */
  done(key: K): boolean {
    this.#engine.requireOpen();
    return (this.#state(key) & DONE) !== 0;
  }

  /** Sets a task aside: it is not handed out any more. The reason, an error or words, is kept as its `_error`. */
  abort(key: K, reason?: unknown): void {
    const entry = this.requireTask(key);
    const error = reason === undefined ? undefined : toTaskError(reason, this.#now(), triesNow(entry), 'Aborted');
    this.#setAside(entry, error);
  }

  /** Puts an aborted task back. */
  unabort(key: K): void {
    const entry = this.requireTask(key);
    const { _error: error } = asObject(entry.plain) as Partial<TaskRecord>;
    // A task that the process died of gets as many chances as any other.
    const isOver = error?.name === 'Aborted' || error?.deaths !== undefined;
    this.changeTask(entry, { _aborted: false, ...(isOver && { _error: undefined }) });
  }

  /** Whether a task is aborted. */
  aborted(key: K): boolean {
    return (this.requireTask(key, false).state & ABORTED) !== 0;
  }

  /**
   * Remembers why a try failed: the error's name, message and code, when, and which try. The try stays counted, unless somebody else is to
   * blame: then it is given back.
   *
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`, `ERR_POD_OPTIONS`
   *
   * @example
   * tasks.fail(url, error); // counts
   * tasks.fail(url, new Error('HTTP 429'), { blame: 'host', retryAfterMs: 60_000 }); // does not, and not again within a minute
   */
  fail(key: K, error: unknown, options: FailOptions = {}): void {
    checkFailOptions(this.path, options);
    const { blame = 'task', retryAfterMs } = options;
    const entry = this.requireTask(key);
    const tries = triesNow(entry);
    // Only a try that is under way can be given back, and only once.
    const counted = blame !== 'task' && (entry.state & UNFINISHED) !== 0 ? tries - 1 : tries;
    const kept: TaskError = {
      ...toTaskError(error, this.#now(), counted, 'Error'),
      ...(blame !== 'task' && { blame }),
      ...(retryAfterMs !== undefined && { retryAt: this.#now(retryAfterMs) }),
    };
    // Before those are told who ask when it comes again.
    this.retryTimes.failed(entry, kept);
    this.changeTask(entry, { ...(counted !== tries && { _tries: counted }), _error: kept });
    this.#outputs?.drop(entry);
    this.#tell('fail', () => ({ path: this.path, key: entry.key, error: kept }));
  }

  /** How often a task was handed out. */
  tries(key: K): number {
    return triesNow(this.requireTask(key, false));
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
    const isWanted = retryFilter(options);
    let count = 0;
    for (const entry of this.#stuck(options.keys)) {
      if (!isWanted(entry.state, () => entry.peek())) continue;
      this.changeTask(entry, { _tries: 0, _aborted: false, _error: undefined });
      this.#outputs?.drop(entry);
      count++;
    }
    return count;
  }

  /** The errors of failed tasks, those that are alike as one, the most frequent first. Reads the value of every failed task. */
  errorClasses(): ErrorClass<K>[] {
    const classes = new ErrorClasses<K>();
    for (const entry of this.members(this.#index.failed)) {
      const error = errorOf(entry.peek());
      if (error !== undefined) classes.add(entry.key, error, !isTodo(entry.state, this.#index.maxTries, false));
    }
    return classes.list();
  }

  /** Failed tasks, then those that used up their tries and have no error: the process died each time, or nobody said how it went. */
  *#stuck(keys?: Iterable<K>): Generator<Entry<Task<T>, K>, void, undefined> {
    if (keys !== undefined) {
      // All of them are looked for first, so that an unknown one leaves nothing half done.
      const entries = [...keys].map((key) => this.requireTask(key));
      yield* entries.filter(({ state }) => isStuck(state, this.#index.maxTries));
      return;
    }
    yield* this.members(this.#index.failed);
    for (const entry of this.members(this.#index.unfinished))
      if (isStuck(entry.state, this.#index.maxTries)) yield entry;
  }

  // ---- Priorities.

  /** The priority of a task: 0 unless somebody has set one. */
  priority(key: K): number {
    return priorityIn(this.requireTask(key, false).state);
  }

  /**
   * Gives a task a priority, which is kept as its `_priority`: loops hand out higher ones first, and go by the order of insertion inside one.
   *
   * @param priority a whole number from -10 to 10; 0 is what a task has that was given none
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`, `ERR_POD_OPTIONS`
   *
   * @example
   * tasks.setPriority('https://a.example/sitemap.xml', 10);
   */
  setPriority(key: K, priority: number): void {
    checkPriority(this.path, priority);
    const entry = this.requireTask(key);
    if (priorityIn(entry.state) === priority) return;
    this.changeTask(entry, { _priority: priority === 0 ? undefined : priority });
  }

  // ---- Outputs.

  /**
   * A file in the tracker's folder that holds what was written for each task that is done, once, in the order in which they became done,
   * whatever the process died of. It is made when it is first asked for. Lines reach it at sync points; until then the log has them.
   *
   * @typeParam L what a line is made of
   * @param name a plain file name
   * @throws {PodError} `ERR_POD_OPTIONS` where the name cannot be used; `ERR_POD_READONLY`, `ERR_POD_CLOSED`, `ERR_POD_DISK`
   *
   * @example
   * const pages = tasks.output<{ url: string; title: string }>('pages.jsonl');
   * for (const url of tasks.tryKeys()) {
   *   pages.write(url, { url, title: await titleOf(url) });
   *   tasks.markDone(url);
   * }
   */
  output<L = Json>(name: string, options: OutputOptions = {}): Output<L, K> {
    this.#engine.requireWritable();
    this.#outputs ??= new TaskOutputs(this.#engine, this.#index);
    return this.#outputs.open<L>(name, options, (key) => this.requireTask(key));
  }

  // ---- Events.

  /**
   * Calls `listener` at every such event; see `TrackerEvents`. The same events go to the channels `everpod:done`, `everpod:fail`,
   * `everpod:abort` and `everpod:pause` of `node:diagnostics_channel`. Otherwise as with a pod.
   *
   * @returns what ends it when it is disposed of
   * @throws {PodError} `ERR_POD_OPTIONS` where there is no such event
   *
   * @example
   * tasks.on('fail', ({ key, error }) => console.warn(key, error.message));
   */
  override on<N extends keyof TrackerEvents<K>>(name: N, listener: (event: TrackerEvents<K>[N]) => void): Disposable {
    return this.events.on(TRACKER_EVENTS, name, listener);
  }

  override transaction<R>(change: () => R): R {
    try {
      return super.transaction(change);
    } finally {
      if (!this.#engine.table.inTransaction) for (const tell of this.#untold.splice(0)) tell();
    }
  }

  /** Tells of it now, or when the transaction that it is part of has happened. */
  #tell<N extends keyof TrackerEvents<K>>(name: N, make: () => TrackerEvents<K>[N]): void {
    const { table } = this.#engine;
    if (!table.inTransaction) {
      this.events.emit(name, make);
      return;
    }
    if (!this.events.isHeard(name)) return;
    const event = make();
    let isUndone = false;
    table.onUndo(() => {
      isUndone = true;
    });
    this.#untold.push(() => {
      if (!isUndone) this.events.emit(name, () => event);
    });
  }

  // ---- For the classes that build on this one.

  /** The entry of a task that must be there. */
  protected requireTask(key: K, toChange: boolean = true): Entry<Task<T>, K> {
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

  /**
   * Changes a task's record as one step: one record in the log, and one fsync at level `power`.
   *
   * @param data goes into the task before `change`
   */
  protected changeTask(entry: Entry<Task<T>, K>, change: RecordChange, data?: object): void {
    const { plain } = entry;
    if (data === undefined && isComplete(plain)) this.#engine.table.patch(entry, change);
    else this.#changeWhole(entry, change, data);
    this.rates.sample(this.#index.done.size, this.size);
  }

  #changeWhole(entry: Entry<Task<T>, K>, change: RecordChange, data: object | undefined): void {
    const task: Record<string, unknown> = { ...NEW_TASK, ...asObject(entry.plain), ...data };
    for (const [name, member] of Object.entries(change)) {
      if (member === undefined) delete task[name];
      else task[name] = member;
    }
    this.#engine.table.edit(entry, data === undefined ? task : this.checkedTask(entry.key, task));
  }

  /** What the schema makes of a whole task, where there is one. */
  protected checkedTask(key: K, task: object): object {
    const { checkValue } = this.#engine;
    return checkValue === undefined ? task : (copyJson(checkValue(task, key)) as object);
  }

  #setTries(key: K, next: (tries: number) => number): void {
    const entry = this.requireTask(key);
    const tries = next(triesNow(entry));
    const { _error: error } = asObject(entry.plain) as { _error?: TaskError | null };
    // The error of a try that was taken back must not pass for the outcome of the next one with that number.
    const isLater = error != null && error.try > tries;
    this.changeTask(entry, { _tries: tries, ...(isLater && { _error: { ...error, try: tries } }) });
  }

  /** Counts a try and appends it: the claim is safe from the death of the process before anybody works on the task. */
  protected claim(entry: Entry<Task<T>, K>): void {
    this.changeTask(entry, { _tries: triesNow(entry) + 1 });
    this.#outputs?.drop(entry);
    this.#engine.appendNow();
  }

  /** Gives tries back that failed for a reason which is not the task's; those that got it back already are passed by. Returns how many. */
  protected refund(entries: readonly Entry<Task<T>, K>[]): number {
    const mine = entries
      .map((entry) => this.#engine.table.current(entry))
      .filter((entry) => entry !== undefined)
      .filter(({ state }) => (state & FAILED) !== 0 && (state & DONE) === 0);
    let count = 0;
    for (const entry of mine) {
      const error = (entry.peek() as Partial<TaskRecord>)._error;
      if (error == null || error.blame !== undefined) continue;
      this.changeTask(entry, {
        _tries: Math.max(0, triesNow(entry) - 1),
        // One less, too: where the task is in flight again, the try that is under way must stay the later one.
        _error: { ...error, try: Math.max(0, error.try - 1), blame: 'environment' },
      });
      count++;
    }
    return count;
  }

  /**
   * Marks what was in flight when the last process died, and sets aside what was it too often. A task that failed or was done in between
   * begins anew, and so does one that a signal or the end of the program interrupted: that is nobody's fault.
   */
  protected markDeaths(maxDeaths: number): void {
    const { ended, how } = this.recovery;
    if (ended !== 'killed' && ended !== 'error') return;
    for (const entry of [...this.members(this.#index.unfinished)]) {
      const { _error: last } = entry.peek() as Partial<TaskRecord>;
      const deaths = (typeof last?.deaths === 'number' ? last.deaths : 0) + 1;
      const error: TaskError = {
        name: 'ProcessDied',
        message: `the process died (${how ?? ended}) while this task was in flight`,
        at: this.#now(),
        try: triesNow(entry),
        deaths,
      };
      if (maxDeaths > 0 && deaths >= maxDeaths) this.#setAside(entry, error);
      else this.changeTask(entry, { _error: error });
    }
  }

  #setAside(entry: Entry<Task<T>, K>, error: TaskError | undefined): void {
    const wasAborted = (entry.state & ABORTED) !== 0;
    this.changeTask(entry, { _aborted: true, ...(error !== undefined && { _error: error }) });
    this.#outputs?.drop(entry);
    if (!wasAborted) this.#tell('abort', () => ({ path: this.path, key: entry.key, error }));
  }

  protected get events(): Events<TrackerEvents<K>> {
    return this.#engine.events as unknown as Events<TrackerEvents<K>>;
  }

  #now(laterMs: number = 0): string {
    return new Date(this.#engine.clock.now() + laterMs).toISOString();
  }
}

/** Whether a value is an object with the members that each task has. */
function isComplete(value: Json): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.hasOwn(value, '_tries') && Object.hasOwn(value, '_done') && Object.hasOwn(value, '_aborted');
}

function triesNow<V, K extends Key>(entry: Entry<V, K>): number {
  return exactTries(entry.state, () => entry.peek());
}
