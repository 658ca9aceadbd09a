/**
 * `PersistentOrderedDict`: an ordered `Map` of JSON values that lives in a folder.
 */

import type { Entry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { copyJson, equalJson, type Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import { copyTable } from '../disk/compact.ts';
import type { RecoveryReport } from '../disk/recovery.ts';
import type { PodEngine } from './engine.ts';
import { POD_EVENTS, type PodEvents } from './events.ts';
import { copyTarget, discardHandle, openHandle, releaseHandle } from './open-pods.ts';
import { type Entries, type PodOptions, pairs } from './options.ts';

/** Lets only this library make handles; `open` is the door. */
export const HANDLE_DOOR: unique symbol = Symbol('everpod.handle');

/** Node's `util.inspect`, as it hands itself to objects that show themselves. */
type Inspect = (value: unknown, options: object) => string;

/** `console.log` shows this many entries. */
const SHOWN_ENTRIES_MAX = 20;

/** The engine under a handle, for classes that build on the pod; not exported from the package. */
export let engineOf: <V, K extends Key>(pod: PersistentOrderedDict<V, K>) => PodEngine<V, K>;

/**
 * An ordered `Map` of JSON values that lives in a folder. Change a nested value in place and it is saved.
 *
 * Order is that of first insertion. What goes in is copied; what comes out is a deep view: writing anywhere below it marks the entry
 * as changed, reading never does. Changes are appended to a log at the end of each turn of the event loop (level `process`), made durable
 * at sync points, and folded into numbered, readable shard files.
 *
 * @typeParam V the values; JSON
 * @typeParam K the keys
 *
 * @example
 * const pages = POD.open<{ title: string; links: string[] }>('pages.pod');
 * pages.set('https://a.example/', { title: 'A', links: [] });
 * pages.get('https://a.example/')?.links.push('https://b.example/'); // saved
 * pages.close();
 */
export class PersistentOrderedDict<V = Json, K extends Key = string> {
  readonly #engine: PodEngine<V, K>;

  /** Handles are made by `open`. */
  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<V, K>) {
    if (door !== HANDLE_DOOR)
      throw new PodError('ERR_POD_UNSUPPORTED', 'Use PersistentOrderedDict.open(path) instead of new.');
    this.#engine = engine;
  }

  /**
   * Opens a folder, creating it where there is none (mode `'w'`). In one process there is one handle for a folder: opening it
   * again gives the same object, and the last `close()` closes it. A folder that tastypy wrote is opened as it is.
   *
   * @param path the folder; `~` is the home folder
   * @throws {PodError} `ERR_POD_LOCKED` another process writes to it; `ERR_POD_OPTIONS` an option is wrong or conflicts with the open
   * handle; `ERR_POD_NOT_FOUND` mode `'r'` and nothing is there; `ERR_POD_NOT_FOLDER` the path is a file; `ERR_POD_CORRUPT` the bytes are not
   * what was written; `ERR_POD_FORMAT` a newer version wrote it; `ERR_POD_DISK` the system refused; and as `update` for `init`. A failed
   * open leaves nothing behind.
   *
   * @example
   * const pod = POD.open('settings.pod', { init: { retries: 3 }, syncEvery: 200 });
   */
  static open<V = Json, K extends Key = string>(
    path: string,
    options: PodOptions<V, K> = {},
  ): PersistentOrderedDict<V, K> {
    const { handle } = openHandle<PersistentOrderedDict<V, K>, V, K>(path, options, {
      name: 'PersistentOrderedDict',
      meta: {},
      accepts: (other): other is PersistentOrderedDict<V, K> => other instanceof PersistentOrderedDict,
      make: (engine) => new PersistentOrderedDict(HANDLE_DOOR, engine),
    });
    applyInit(handle, options.init);
    return handle;
  }

  /** The folder, as an absolute path. */
  get path(): string {
    return this.#engine.path;
  }

  /** How many entries there are. */
  get size(): number {
    return this.#engine.table.size;
  }

  /** Whether this handle may change anything. */
  get isWritable(): boolean {
    return this.#engine.isWritable;
  }

  /** Whether the folder was closed. */
  get closed(): boolean {
    return this.#engine.closed;
  }

  /** How the last process ended, what was replayed, dropped or put into quarantine, and how long opening took. */
  get recovery(): RecoveryReport {
    return this.#engine.recovery;
  }

  /** A sync point is made when this many keys are dirty. */
  get syncAt(): number {
    return this.#engine.syncAt;
  }

  set syncAt(keys: number) {
    if (!Number.isSafeInteger(keys) || keys < 1) {
      throw new PodError('ERR_POD_OPTIONS', 'syncAt must be a whole number of keys, at least 1.', { path: this.path });
    }
    this.#engine.syncAt = keys;
  }

  // ---- One entry.

  /**
   * The value of a key, or undefined. Objects and arrays come as deep views: `pod.get(k) === pod.get(k)`, and a write anywhere below
   * changes the entry. A view whose value was replaced or deleted still reads; writing to it throws `ERR_POD_DETACHED`. For
   * `structuredClone` and `postMessage` take `snapshot(key)`.
   *
   * @throws {PodError} `ERR_POD_CLOSED`, `ERR_POD_KEY`; `ERR_POD_SCHEMA` when the first reading finds that the value does not fit
   */
  get(key: K): V | undefined {
    this.#engine.requireOpen();
    return this.#engine.table.find(key)?.value;
  }

  /** Whether there is an entry. Never reads its value. */
  has(key: K): boolean {
    this.#engine.requireOpen();
    return this.#engine.table.has(key);
  }

  /**
   * Sets a value. A new key goes to the end, an existing one keeps its place. The value is copied; `undefined` properties are dropped.
   *
   * @throws {PodError} `ERR_POD_VALUE` with the path inside the value, `ERR_POD_SCHEMA`, `ERR_POD_KEY`, `ERR_POD_READONLY`,
   * `ERR_POD_CLOSED`: nothing was changed. `ERR_POD_DISK`: the disk refuses; at level `power` the change stays in memory and dirty
   */
  set(key: K, value: V): this {
    this.#engine.requireWritable();
    this.#engine.table.set(key, value);
    return this;
  }

  /** Deletes an entry; its views are detached. Returns whether there was one. */
  delete(key: K): boolean {
    this.#engine.requireWritable();
    const entry = this.#engine.table.find(key);
    if (entry === undefined) return false;
    this.#engine.table.delete(entry);
    return true;
  }

  /** Deletes every entry. */
  clear(): void {
    this.#engine.requireWritable();
    this.#engine.table.clear();
  }

  /** The value of a key; where there is none, `value` is set first. */
  getOrInsert(key: K, value: V): V {
    return this.getOrInsertComputed(key, () => value);
  }

  /** The value of a key; where there is none, `make(key)` is set first. */
  getOrInsertComputed(key: K, make: (key: K) => V): V {
    this.#engine.requireOpen();
    const found = this.#engine.table.find(key);
    if (found !== undefined) return found.value;
    this.#engine.requireWritable();
    this.set(key, make(key));
    return this.get(key) as V;
  }

  /** Deletes an entry and gives back its value as plain data; `fallback` (any value, undefined too) where there is none. */
  pop(key: K): V | undefined;
  pop<D>(key: K, fallback: D): V | D;
  pop<D>(key: K, fallback?: D): V | D | undefined {
    this.#engine.requireWritable();
    const entry = this.#engine.table.find(key);
    if (entry === undefined) return fallback;
    const value = copyJson(entry.plain) as V;
    this.#engine.table.delete(entry);
    return value;
  }

  /**
   * Sets many entries, from pairs or objects, from left to right, so that the rightmost wins.
   *
   * @throws {PodError} as `set`; what came before the refused entry stays. Use `transaction` for all or nothing.
   */
  update(...sources: Entries<V, K>[]): void {
    this.#engine.requireWritable();
    for (const source of sources) {
      for (const [key, value] of pairs(source)) this.set(key, value);
    }
  }

  /** The value as plain data of your own, fit for `structuredClone` and `postMessage`; undefined where there is none. */
  snapshot(key: K): V | undefined {
    this.#engine.requireOpen();
    const entry = this.#engine.table.find(key);
    return entry === undefined ? undefined : (copyJson(entry.plain) as V);
  }

  // ---- All entries. Iteration is live, as that of `Map`: what is appended meanwhile is visited, what is deleted is not.

  /** Keys, in order. */
  *keys(): IterableIterator<K> {
    this.#engine.requireOpen();
    const cursor = this.#engine.table.cursor();
    for (let key = cursor.nextKey(); key !== undefined; key = cursor.nextKey()) {
      yield key;
      this.#engine.requireOpen();
    }
  }

  /** Values, in order; objects and arrays as views. */
  *values(): IterableIterator<V> {
    for (const entry of this.#entries()) yield entry.value;
  }

  /** Pairs of key and value, in order; objects and arrays as views. */
  *entries(): IterableIterator<[K, V]> {
    for (const entry of this.#entries()) yield [entry.key, entry.value];
  }

  /** As `entries`. */
  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.entries();
  }

  /** Calls `visit` for each entry, in order, live. */
  forEach(visit: (value: V, key: K, pod: this) => void): void {
    for (const entry of this.#entries()) visit(entry.value, entry.key, this);
  }

  /** Whether another iterable of pairs has equal keys and equal values in the same order. */
  equals(other: Iterable<readonly [K, V]>): boolean {
    const mine = this.#entries()[Symbol.iterator]();
    for (const [key, value] of other) {
      const next = mine.next();
      if (next.done === true) return false;
      if (!equalJson(next.value.key, key) || !equalJson(next.value.peek(), value)) return false;
    }
    return mine.next().done === true;
  }

  *#entries(): Generator<Entry<V, K>, void, undefined> {
    this.#engine.requireOpen();
    const cursor = this.#engine.table.cursor();
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      yield entry;
      this.#engine.requireOpen();
    }
  }

  // ---- Saving.

  /** The keys that changed since the last sync point: set, changed in place, or deleted. A new set each time. */
  dirty(): Set<K> {
    return this.#engine.table.dirty.keys();
  }

  /**
   * Marks an entry as changed although it is not, so that it is written again.
   *
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`
   */
  markDirty(key: K): void {
    this.#engine.requireWritable();
    this.#engine.table.mark(this.#require(key));
  }

  /**
   * Makes a sync point: every change so far is on the disk when it returns.
   *
   * @throws {PodError} `ERR_POD_DISK` the disk refuses; everything stays dirty and the next sync tries again. `ERR_POD_READONLY`,
   * `ERR_POD_CLOSED`
   */
  sync(): void {
    this.#engine.sync();
  }

  /** Marks an entry and makes a sync point, which is one for everything that is dirty. */
  syncKey(key: K): void {
    this.markDirty(key);
    this.sync();
  }

  /**
   * As `sync`, without holding the program up while the disk works. Rejects where `sync` would throw. What a `revert()` takes back meanwhile is
   * not saved, and the promise is fulfilled all the same.
   */
  flush(): Promise<void> {
    return this.#engine.flush();
  }

  /**
   * Suspends automatic sync points and folding, for bulk edits. Calls nest. What `durability` promises about the death of the process
   * holds all the while. The result ends the hold when it is disposed of, once.
   *
   * @example
   * pod.hold();
   * try {
   *   for (const value of pod.values()) value.seen = true;
   * } finally {
   *   pod.unhold();
   * }
   */
  hold(): Disposable {
    this.#engine.hold();
    let ended = false;
    return {
      [Symbol.dispose]: () => {
        if (ended) return;
        ended = true;
        if (!this.closed) this.unhold();
      },
    };
  }

  /** Ends a hold; when it was the last one, makes a sync point if one is due. Without a hold it does nothing. */
  unhold(): void {
    this.#engine.unhold();
  }

  /**
   * Goes back to the last sync point: everything changed since is as it was. Views of what had changed are detached. A reader goes to
   * the newest state on disk instead.
   */
  revert(): void {
    this.#engine.revert();
  }

  /**
   * Runs changes as one step: all of them survive, or none. If `change` throws, nothing happened. Transactions nest.
   *
   * @throws {PodError} `ERR_POD_UNSUPPORTED` where `change` returns a promise; whatever `change` throws
   */
  transaction<R>(change: () => R): R {
    return this.#engine.transaction(change);
  }

  // ---- Events.

  /**
   * Calls `listener` at every such event; see `PodEvents`. The same events go to the channels `everpod:sync` and `everpod:corrupt` of
   * `node:diagnostics_channel`. They cost nothing while nobody listens, and a listener that throws does not disturb the pod: its error
   * becomes an uncaught exception.
   *
   * @returns what ends it when it is disposed of
   * @throws {PodError} `ERR_POD_OPTIONS` where there is no such event
   *
   * @example
   * pod.on('sync', ({ keys, durationMs }) => console.log(`${keys} keys in ${durationMs} ms`));
   */
  on<N extends keyof PodEvents>(name: N, listener: (event: PodEvents[N]) => void): Disposable {
    return this.#engine.events.on(POD_EVENTS, name, listener);
  }

  // ---- The folder.

  /** Writes every shard anew, full and without gaps. Needs room for a second copy, and takes as long as writing it. */
  compact(): void {
    this.#engine.compact();
  }

  /**
   * Writes a copy into a folder that is missing or empty, and opens it.
   *
   * @param options as for `open`; `gzipped` and `fileSize` are taken over unless given
   * @throws {PodError} `ERR_POD_OPTIONS` where the folder holds something already, and as `open`
   */
  copyTo(path: string, options: PodOptions<V, K> = {}): PersistentOrderedDict<V, K> {
    this.#engine.requireOpen();
    this.writeCopy(path, options);
    return (this.constructor as typeof PersistentOrderedDict).open(path, options);
  }

  /** Writes the copy itself. */
  protected writeCopy(path: string, options: PodOptions<V, K>): void {
    const { layout, meta, table } = this.#engine;
    const { fs, target, undo } = copyTarget(path, options);
    const { fileSize = layout.fileSize, gzipped: gzip = layout.gzip } = options;
    try {
      copyTable(fs, target, table, { fileSize, gzip }, meta, this.#engine.outputSources());
    } catch (error) {
      undo();
      throw error;
    }
  }

  /**
   * Gives the handle back. The last one folds everything into the shards, frees the lock and detaches every view; that of a reader closes the
   * files that it keeps open. Calling it again does nothing.
   *
   * @throws {PodError} `ERR_POD_DISK`; where the last changes could not be saved, the handle stays open
   */
  close(): void {
    releaseHandle(this.#engine);
  }

  /** As `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** What `console.log` shows: class, size, path, and the first entries. */
  #inspect(options: object, inspect: Inspect): string {
    const head = `${this.constructor.name}(${this.size}) ${JSON.stringify(this.path)}`;
    if (this.closed) return `${head} (closed)`;
    const shown = new Map<K, Json>();
    for (const entry of this.#entries()) {
      if (shown.size === SHOWN_ENTRIES_MAX) break;
      shown.set(entry.key, entry.peek());
    }
    const body = inspect(shown, options).replace(/^Map\(\d+\) /, '');
    return shown.size < this.size ? `${head} ${body} … ${this.size - shown.size} more` : `${head} ${body}`;
  }

  static {
    engineOf = (pod) => pod.#engine;
    Object.defineProperty(PersistentOrderedDict.prototype, Symbol.for('nodejs.util.inspect.custom'), {
      value: function show(this: PersistentOrderedDict, _depth: number, options: object, inspect: Inspect): string {
        return this.#inspect(options, inspect);
      },
    });
  }

  #require(key: K): Entry<V, K> {
    const entry = this.#engine.table.find(key);
    if (entry !== undefined) return entry;
    throw new PodError('ERR_POD_UNKNOWN_KEY', `There is no entry ${JSON.stringify(key)} in ${this.path}.`, {
      path: this.path,
      key,
    });
  }
}

/** Puts `init` in. If it is refused, a handle that was opened for it is closed again, and nothing of it stays. */
export function applyInit<V, K extends Key>(pod: PersistentOrderedDict<V, K>, init: Entries<V, K> | undefined): void {
  if (init === undefined) return;
  try {
    pod.transaction(() => pod.update(init));
  } catch (error) {
    discardHandle(engineOf(pod));
    throw error;
  }
}
