/**
 * Pods and trackers as every place offers them: what a local one answers at once, a shared one answers with a promise.
 *
 * `await` and `for await` take both kinds, so a loop that is written against these interfaces runs on all of them.
 */
import type { Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import type { RecoveryReport } from '../disk/recovery.ts';
import type { Entries } from '../pod/options.ts';
import type { ErrorClass } from '../tracker/error-classes.ts';
import type { TrackerEvents } from '../tracker/events.ts';
import type { AddOptions, FailOptions, GateOptions, LoopOptions, RetryOptions } from '../tracker/options.ts';
import type { ProgressOptions, ProgressStream } from '../tracker/progress.ts';
import type { ResumeReport } from '../tracker/resume.ts';
import type { TrackerStats } from '../tracker/stats.ts';
import type { Task } from '../tracker/task.ts';
import type { Step } from './path.ts';
import type { SharedTrackerEvent } from './shared-events.ts';

/** Something, or a promise of it. */
export type Awaitable<T> = T | PromiseLike<T>;
/** What `for await` goes through. */
export type AnyIterable<T> = Iterable<T> | AsyncIterable<T>;

/** What every pod can do, wherever it is. */
export interface AsyncPod<V = Json, K extends Key = string> {
  readonly path: string;
  readonly size: Awaitable<number>;
  readonly recovery: Awaitable<RecoveryReport>;
  readonly closed: boolean;
  get(key: K): Awaitable<V | undefined>;
  has(key: K): Awaitable<boolean>;
  set(key: K, value: V): Awaitable<unknown>;
  delete(key: K): Awaitable<boolean>;
  clear(): Awaitable<void>;
  keys(): AnyIterable<K>;
  values(): AnyIterable<V>;
  entries(): AnyIterable<[K, V]>;
  forEach(visit: (value: V, key: K) => void): Awaitable<void>;
  getOrInsert(key: K, value: V): Awaitable<V>;
  getOrInsertComputed(key: K, make: (key: K) => V): Awaitable<V>;
  pop(key: K): Awaitable<V | undefined>;
  pop<D>(key: K, fallback: D): Awaitable<V | D>;
  update(...sources: Entries<V, K>[]): Awaitable<void>;
  snapshot(key: K): Awaitable<V | undefined>;
  equals(other: Iterable<readonly [K, V]>): Awaitable<boolean>;
  dirty(): Awaitable<Set<K>>;
  markDirty(key: K): Awaitable<void>;
  sync(): Awaitable<void>;
  syncKey(key: K): Awaitable<void>;
  flush(): Awaitable<void>;
  hold(): Awaitable<Disposable | AsyncDisposable>;
  unhold(): Awaitable<void>;
  revert(): Awaitable<void>;
  compact(): Awaitable<void>;
  close(): Awaitable<void>;
}

/** What every tracker can do, wherever it is. */
// biome-ignore lint/complexity/noBannedTypes: {} is "no data of one's own", which is what a plain crawl has.
export interface AsyncTracker<T extends object = {}, K extends Key = string>
  extends Omit<AsyncPod<Task<T>, K>, 'set' | 'update'> {
  readonly maxTries: Awaitable<number>;
  readonly resume: Awaitable<ResumeReport<K>>;
  set(key: K, value: T | Task<T>): Awaitable<unknown>;
  update(...sources: Entries<Partial<Task<T>>, K>[]): Awaitable<void>;
  add(key: K, data?: T, options?: AddOptions): Awaitable<void>;
  addIfAbsent(key: K, data?: T, options?: AddOptions): Awaitable<boolean>;
  addMany(keys: Iterable<K>): Awaitable<void>;
  addManyIfAbsent(keys: Iterable<K>): Awaitable<number>;
  markDone(key: K, data?: Partial<T>): Awaitable<void>;
  markNotDone(key: K): Awaitable<void>;
  done(key: K): Awaitable<boolean>;
  abort(key: K, reason?: unknown): Awaitable<void>;
  unabort(key: K): Awaitable<void>;
  aborted(key: K): Awaitable<boolean>;
  fail(key: K, error: unknown, options?: FailOptions): Awaitable<void>;
  priority(key: K): Awaitable<number>;
  setPriority(key: K, priority: number): Awaitable<void>;
  tries(key: K): Awaitable<number>;
  incrementTries(key: K): Awaitable<void>;
  decrementTries(key: K): Awaitable<void>;
  resetTries(key: K): Awaitable<void>;
  retry(options?: RetryOptions<K>): Awaitable<number>;
  errorClasses(): Awaitable<ErrorClass<K>[]>;
  shouldDo(key: K, options?: GateOptions): Awaitable<boolean>;
  shouldDoAdd(key: K, options?: GateOptions): Awaitable<boolean>;
  shouldTry(key: K, options?: GateOptions): Awaitable<boolean>;
  shouldTryAdd(key: K, options?: GateOptions): Awaitable<boolean>;
  todoKeys(options?: LoopOptions): AnyIterable<K>;
  todoItems(options?: LoopOptions): AnyIterable<[K, Task<T>]>;
  todoValues(options?: LoopOptions): AnyIterable<Task<T>>;
  tryKeys(options?: LoopOptions): AnyIterable<K>;
  tryItems(options?: LoopOptions): AnyIterable<[K, Task<T>]>;
  tryValues(options?: LoopOptions): AnyIterable<Task<T>>;
  abortedKeys(): AnyIterable<K>;
  abortedItems(): AnyIterable<[K, Task<T>]>;
  abortedValues(): AnyIterable<Task<T>>;
  doneKeys(): AnyIterable<K>;
  doneItems(): AnyIterable<[K, Task<T>]>;
  doneValues(): AnyIterable<Task<T>>;
  failedKeys(): AnyIterable<K>;
  failedItems(): AnyIterable<[K, Task<T>]>;
  numDone(): Awaitable<number>;
  numTried(): Awaitable<number>;
  numAborted(): Awaitable<number>;
  numTodo(): Awaitable<number>;
  numNotDone(): Awaitable<number>;
  numNotTried(): Awaitable<number>;
  numNotAborted(): Awaitable<number>;
  fractionDone(): Awaitable<number>;
  fractionTried(): Awaitable<number>;
  fractionAborted(): Awaitable<number>;
  fractionTodo(): Awaitable<number>;
  fractionNotDone(): Awaitable<number>;
  fractionNotTried(): Awaitable<number>;
  fractionNotAborted(): Awaitable<number>;
  percentDone(decimals?: number): Awaitable<string>;
  percentTried(decimals?: number): Awaitable<string>;
  percentAborted(decimals?: number): Awaitable<string>;
  percentTodo(decimals?: number): Awaitable<string>;
  percentNotDone(decimals?: number): Awaitable<string>;
  percentNotTried(decimals?: number): Awaitable<string>;
  percentNotAborted(decimals?: number): Awaitable<string>;
  stats(): Awaitable<TrackerStats>;
  on<N extends SharedTrackerEvent>(name: N, listener: (event: TrackerEvents<K>[N]) => void): Disposable;
  attachProgress(stream?: ProgressStream, options?: ProgressOptions): Awaitable<Disposable | AsyncDisposable>;
}

/** One place inside one entry, changed where the entry is, so that nobody's change overwrites another's. */
export interface RemotePlace {
  /** What is there; undefined where nothing is. */
  get(): Promise<Json | undefined>;
  set(value: Json): Promise<void>;
  /** Removes it; from a list, the rest moves up. Returns whether anything was there. */
  delete(): Promise<boolean>;
  /** Appends to the list. Returns its new length. */
  push(...values: Json[]): Promise<number>;
  /** Takes the last member out of the list. */
  pop(): Promise<Json | undefined>;
  /** As that of lists. Returns what was taken out. */
  splice(start: number, deleteCount?: number, ...values: Json[]): Promise<Json[]>;
  /** Adds to the number; a missing one counts as 0. Returns the sum. */
  increment(by?: number): Promise<number>;
}

/** One operation of a transaction: its name and its arguments. */
export type PodOperation<V, K extends Key> =
  | readonly ['set', K, V]
  | readonly ['delete', K]
  | readonly ['clear']
  | readonly ['update', readonly (readonly [K, V])[]]
  | readonly ['setIn', K, readonly Step[], Json]
  | readonly ['deleteIn', K, readonly Step[]]
  | readonly ['push', K, readonly Step[], readonly Json[]]
  | readonly ['increment', K, readonly Step[], number];

/** What pods outside this process can do beside: changes that are atomic among all who share them. */
export interface Remote<V, K extends Key, O = PodOperation<V, K>> {
  /**
   * Changes one entry: `recipe` gets a copy, and changes it or returns another value. If somebody was quicker, it is called again.
   * Returns the new value.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a recipe that changes its copy returns nothing.
  edit(key: K, recipe: (value: V | undefined) => Awaitable<V | undefined | void>): Promise<V | undefined>;
  /** A place inside an entry. */
  in(key: K, ...path: Step[]): RemotePlace;
  /** Keeps everybody else waiting until `unlock`. */
  lock(): Promise<void>;
  unlock(): Promise<void>;
  /** Does `work` under the lock. */
  locked<R>(work: () => Awaitable<R>): Promise<R>;
  /** Carries out all operations, or none. Returns what each gave. */
  transaction(operations: readonly O[]): Promise<unknown[]>;
}

/** One operation of a tracker's transaction. */
export type TrackerOperation<T extends object, K extends Key> =
  | PodOperation<T | Task<T>, K>
  | readonly ['add', K, T?]
  | readonly ['addIfAbsent', K, T?]
  | readonly ['addManyIfAbsent', readonly K[]]
  | readonly ['markNotDone', K]
  | readonly ['setPriority', K, number]
  | readonly ['resetTries', K];

/** A pod outside this process. */
export interface RemotePod<V = Json, K extends Key = string> extends AsyncPod<V, K>, Remote<V, K> {}

/** A tracker outside this process. */
// biome-ignore lint/complexity/noBannedTypes: as above.
export interface RemoteTracker<T extends object = {}, K extends Key = string>
  extends AsyncTracker<T, K>,
    Remote<Task<T>, K, TrackerOperation<T, K>> {}
