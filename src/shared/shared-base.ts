/**
 * What shared pods and shared trackers have in common: every method of a pod as a promise, and changes that are atomic among all who share.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PodError } from '../core/errors.ts';
import { copyJson, equalJson, type Json } from '../core/json.ts';
import { copyKey, type Key } from '../core/key.ts';
import type { RecoveryReport } from '../disk/recovery.ts';
import { type Entries, pairs } from '../pod/options.ts';
import type { Awaitable, PodOperation, Remote, RemotePlace } from './async-types.ts';
import type { Caller } from './caller.ts';
import { patchBetween, type Step } from './path.ts';
import { pagesOf } from './remote-pages.ts';

/** Entries that go over as one call, where an operation may be cut into several. */
const CHUNK_ENTRIES = 1000;
const CHUNK_CHARACTERS = 1 << 20;
/** Changes of others in a row that an `edit` tries to be quicker than. */
const EDIT_TRIES_MAX = 1000;

/** Only this library makes handles; `open` is the door. */
export const SHARED_DOOR: unique symbol = Symbol('everpod.shared');

export abstract class SharedBase<V, K extends Key, O = PodOperation<V, K>> implements Remote<V, K, O> {
  protected readonly caller: Caller;
  /** The work under the lock, one after the other: the lock is the handle's, and a handle may be used from several places at once. */
  #lockQueue: Promise<void> = Promise.resolve();
  #unlockNext: (() => void) | undefined;

  constructor(door: typeof SHARED_DOOR, caller: Caller) {
    if (door !== SHARED_DOOR) throw new PodError('ERR_POD_UNSUPPORTED', 'Use open(path) instead of new.');
    this.caller = caller;
  }

  /** The folder, as an absolute path. */
  get path(): string {
    return this.caller.path;
  }

  /** Whether this handle was closed. */
  get closed(): boolean {
    return this.caller.closed;
  }

  /** Whether this process is the owner at the moment. */
  get isOwner(): boolean {
    return this.caller.isOwner;
  }

  /** The process that is the owner, as far as this handle knows. */
  get ownerPid(): number | undefined {
    return this.caller.ownerPid;
  }

  /** How many entries there are. */
  get size(): Promise<number> {
    return this.read('size');
  }

  // ---- One entry.

  /**
   * The value of a key, or undefined: plain data of your own. Changing it changes nothing; see `edit` and `in`.
   *
   * @throws {PodError} `ERR_POD_CLOSED`, `ERR_POD_KEY`; as every call here, `ERR_POD_DISCONNECTED` where no owner can be reached
   */
  get(key: K): Promise<V | undefined> {
    return this.read('get', copyKey(key));
  }

  has(key: K): Promise<boolean> {
    return this.read('has', copyKey(key));
  }

  /**
   * Sets a value.
   *
   * @throws {PodError} as a local pod; `ERR_POD_UNCERTAIN` where the owner ended and nobody can say whether the value was set
   */
  async set(key: K, value: V): Promise<this> {
    await this.change('set', copyKey(key), copyJson(value));
    return this;
  }

  delete(key: K): Promise<boolean> {
    return this.change('delete', copyKey(key));
  }

  clear(): Promise<void> {
    return this.change('clear');
  }

  getOrInsert(key: K, value: V): Promise<V> {
    return this.change('getOrInsert', copyKey(key), copyJson(value));
  }

  /** As `getOrInsert`; `make` is called only where there is no value yet. */
  async getOrInsertComputed(key: K, make: (key: K) => V): Promise<V> {
    const found = await this.get(key);
    return found === undefined ? await this.getOrInsert(key, make(key)) : found;
  }

  pop(key: K): Promise<V | undefined>;
  pop<D>(key: K, fallback: D): Promise<V | D>;
  async pop<D>(key: K, fallback?: D): Promise<V | D | undefined> {
    const taken = await this.change<[V] | []>('pop', copyKey(key));
    return taken.length === 0 ? fallback : taken[0];
  }

  /** Sets many entries, from left to right. Long ones go over in parts, each of which is one step; see `transaction` for all or none. */
  async update(...sources: Entries<V, K>[]): Promise<void> {
    for (const source of sources)
      await this.inParts('update', pairs(source), ([key, value]) => [copyKey(key), copyJson(value)]);
  }

  /** As `get`. */
  snapshot(key: K): Promise<V | undefined> {
    return this.get(key);
  }

  // ---- Atomic changes.

  async edit(
    key: K,
    // biome-ignore lint/suspicious/noConfusingVoidType: a recipe that changes its copy returns nothing.
    recipe: (value: V | undefined) => Awaitable<V | undefined | void>,
  ): Promise<V | undefined> {
    for (let count = 0; count < EDIT_TRIES_MAX; count++) {
      const [version, value] = await this.read<[string, Json?]>('getVersion', copyKey(key));
      const copy = value === undefined ? undefined : copyJson(value);
      const returned = await recipe(copy as V | undefined);
      const wanted = returned === undefined ? copy : copyJson(returned);
      if (wanted === undefined) return undefined;
      const checked = copyJson(wanted);
      const patch = value === undefined ? [[[], checked]] : patchBetween(value, checked);
      if (patch.length === 0) return checked as V;
      const stored = await this.change<boolean | [V]>('patch', copyKey(key), version, patch);
      if (stored !== false) return stored === true ? (checked as V) : stored[0];
      // Everybody else goes first now and then.
      if (count > 2) await sleep(Math.random() * Math.min(count, 50));
    }
    throw new PodError(
      'ERR_POD_STALE',
      `${JSON.stringify(key)} was changed by others ${EDIT_TRIES_MAX} times while it was edited. Do it under the lock.`,
      { path: this.path, key },
    );
  }

  in(key: K, ...path: Step[]): RemotePlace {
    const at = copyKey(key);
    return {
      get: () => this.read('getIn', at, path),
      set: (value) => this.change('setIn', at, path, copyJson(value)),
      delete: () => this.change('deleteIn', at, path),
      push: (...values) => this.change('push', at, path, copyJson(values)),
      pop: () => this.change('popIn', at, path),
      splice: (start, deleteCount, ...values) =>
        this.change('splice', at, path, start, deleteCount ?? null, copyJson(values)),
      increment: (by = 1) => this.change('increment', at, path, by),
    };
  }

  transaction(operations: readonly O[]): Promise<unknown[]> {
    return this.change('transaction', copyJson(operations));
  }

  /**
   * Keeps everybody else waiting until `unlock`, or until this handle's connection ends. Calls of this handle pass, from wherever they come; a
   * second `lock` waits for the first `unlock`.
   */
  async lock(): Promise<void> {
    const before = this.#lockQueue;
    let next = (): void => {};
    this.#lockQueue = new Promise((resolve) => {
      next = resolve;
    });
    await before;
    try {
      await this.change('lock');
      this.caller.noteLock(true);
      this.#unlockNext = next;
    } catch (error) {
      next();
      throw error;
    }
  }

  /** @throws {PodError} `ERR_POD_STALE` where the lock was lost with its connection */
  async unlock(): Promise<void> {
    const next = this.#unlockNext;
    this.#unlockNext = undefined;
    try {
      await this.change('unlock');
    } finally {
      this.caller.noteLock(false);
      next?.();
    }
  }

  /**
   * Does `work` while everybody else waits.
   *
   * @throws {PodError} `ERR_POD_STALE` where the lock was lost meanwhile: others may have come in between
   */
  async locked<R>(work: () => Awaitable<R>): Promise<R> {
    await this.lock();
    let result: R;
    try {
      result = await work();
    } catch (error) {
      await this.unlock().catch(() => {});
      throw error;
    }
    await this.unlock();
    return result;
  }

  // ---- All entries; in pages, live.

  async *keys(): AsyncIterableIterator<K> {
    for await (const [key] of pagesOf<V, K>(this.caller, 'all', false)) yield key;
  }

  async *values(): AsyncIterableIterator<V> {
    for await (const [, value] of this.entries()) yield value;
  }

  entries(): AsyncIterableIterator<[K, V]> {
    return pagesOf<V, K>(this.caller, 'all', true);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<[K, V]> {
    return this.entries();
  }

  async forEach(visit: (value: V, key: K, pod: this) => void): Promise<void> {
    for await (const [key, value] of this.entries()) visit(value, key, this);
  }

  /** Whether pairs have equal keys and equal values in the same order. */
  async equals(other: Iterable<readonly [K, V]>): Promise<boolean> {
    const mine = this.entries();
    try {
      for (const [key, value] of other) {
        const { value: pair, done } = await mine.next();
        if (done === true || !equalJson(pair[0], key) || !equalJson(pair[1], value)) return false;
      }
      return (await mine.next()).done === true;
    } finally {
      await mine.return?.();
    }
  }

  /** What the owner found when it opened the folder, and so another one after the owner has changed. See `POD.recovery`. */
  get recovery(): Promise<RecoveryReport> {
    return this.read('recovery');
  }

  // ---- Saving.

  async dirty(): Promise<Set<K>> {
    return new Set(await this.read<K[]>('dirty'));
  }

  markDirty(key: K): Promise<void> {
    return this.change('markDirty', copyKey(key));
  }

  /** Makes a sync point: every change that was answered so far, whoever made it, is on the disk. */
  sync(): Promise<void> {
    return this.read('sync');
  }

  async syncKey(key: K): Promise<void> {
    await this.markDirty(key);
    await this.sync();
  }

  /** As `sync`. */
  flush(): Promise<void> {
    return this.sync();
  }

  /** Suspends automatic sync points and folding, until `unhold` or the end of this handle's connection. */
  async hold(): Promise<AsyncDisposable> {
    await this.read('hold');
    this.caller.noteHold(1);
    let ended = false;
    return {
      [Symbol.asyncDispose]: async () => {
        if (ended) return;
        ended = true;
        if (!this.closed) await this.unhold();
      },
    };
  }

  async unhold(): Promise<void> {
    await this.read('unhold');
    this.caller.noteHold(-1);
  }

  /** Goes back to the last sync point, for everybody. One is made whenever the owner becomes another one. */
  revert(): Promise<void> {
    return this.change('revert');
  }

  compact(): Promise<void> {
    return this.read('compact');
  }

  /** Makes a sync point and lets go. Where this process is the owner, the others go on with another one. */
  async close(): Promise<void> {
    if (this.closed) return;
    try {
      await this.sync();
    } finally {
      await this.caller.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ---- Asking.

  protected read<R>(operation: string, ...args: unknown[]): Promise<R> {
    return this.caller.ask(operation, args, false);
  }

  protected change<R>(operation: string, ...args: unknown[]): Promise<R> {
    return this.caller.ask(operation, args, true);
  }

  /** Does something with many items, as many at once as fit. Adds up what the parts give. */
  protected async inParts<I>(operation: string, items: Iterable<I>, argumentOf: (item: I) => unknown): Promise<number> {
    let part: unknown[] = [];
    let characters = 0;
    let sum = 0;
    const send = async (): Promise<void> => {
      sum += (await this.change<number | undefined>(operation, part)) ?? 0;
      part = [];
      characters = 0;
    };
    for (const item of items) {
      const argument = argumentOf(item);
      const length = JSON.stringify(argument).length;
      if (part.length >= CHUNK_ENTRIES || (characters + length > CHUNK_CHARACTERS && part.length > 0)) await send();
      part.push(argument);
      characters += length;
    }
    if (part.length > 0) await send();
    return sum;
  }
}
