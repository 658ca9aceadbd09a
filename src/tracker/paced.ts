/**
 * The paced loop: hands tasks out no faster than it is allowed to, and waits where the plain loop would end.
 *
 * A task is in flight from its claim until its record says how it went, by whatever road. Tasks are taken in order; one whose group may not
 * start another now waits in its group, and the next task of another group goes first. So there is one walk over the index and, for a
 * group, one small object, however many groups there are.
 *
 * Every moment in here is one of the monotonic clock: the wall clock can be set, and then the loop would stand still or hurry.
 */
import type { Clock } from '../core/clock.ts';
import type { Entry } from '../core/entry.ts';
import type { Key, KeyIdentity } from '../core/key.ts';
import { Breaker, type Pause } from './breaker.ts';
import { DueQueue } from './due-queue.ts';
import { errorClassOf, errorOf } from './error-classes.ts';
import type { GroupName, PacedOptions } from './options.ts';
import { ReadyQueue } from './ready-queue.ts';
import { ABORTED, DONE, FAILED, isTodo, priorityIn, UNFINISHED } from './task.ts';
import type { TaskIndex, TaskWatcher } from './task-index.ts';

/** What the loop asks of its tracker. */
export interface PacedHost<V, K extends Key> {
  readonly clock: Clock;
  readonly index: TaskIndex<V, K>;
  /** A walk over what is to do; what is added later is found later. */
  todo(allowAborted: boolean): { next(above: number): Entry<V, K> | undefined };
  /** The entry as it is now; undefined where it is no longer there. */
  current(entry: Entry<V, K>): Entry<V, K> | undefined;
  claim(entry: Entry<V, K>): void;
  /** What any paced loop of the tracker has in flight, so that two of them never hand out one task at a time. */
  readonly inFlight: Set<Entry<V, K>>;
  /** Gives tries back; what they failed of is the environment's fault. */
  refund(entries: readonly Entry<V, K>[]): number;
  /** From when on a failed task may be handed out; undefined where nobody put it off. */
  dueMs(entry: Entry<V, K>): number | undefined;
  /** When a group may start again, as somebody said. */
  blockedUntil(group: GroupName): number;
  paused(pause: { class: string; durationMs: number; refunded: number }): void;
  /** Throws where the tracker is closed. */
  requireWritable(): void;
}

/** The tasks that belong together, of which only so many may be in flight. */
interface Group<E> {
  readonly name: GroupName;
  inFlight: number;
  notBeforeMs: number;
  /** Passed by while the group could start nothing; from `head` on. */
  waiting: E[];
  head: number;
  /** Whether it is in the queue of groups that may start something, or of those that may later. */
  queued: 'no' | 'ready' | 'later';
  /** The priority at which it is in the queue of those that may. */
  readyAt: number | undefined;
}

/** So many tasks are looked at before the rest of the program has its turn. */
const SCAN_MAX = 10_000;
/** A waiting list forgets what was taken from it when this much lies before its head. */
const SHIFT_MIN = 1_024;

export class PacedLoop<V, K extends Key> implements TaskWatcher<V, K> {
  readonly #host: PacedHost<V, K>;
  readonly #options: PacedOptions<K>;
  readonly #breaker: Breaker<Entry<V, K>> | undefined;
  readonly #cursor: { next(above: number): Entry<V, K> | undefined };
  readonly #groups: Map<GroupName, Group<Entry<V, K>>> = new Map();
  readonly #inFlight: Map<Entry<V, K>, Group<Entry<V, K>>> = new Map();
  /** Groups that have something waiting and may start it. */
  readonly #ready: ReadyQueue<Group<Entry<V, K>>> = new ReadyQueue();
  /** Groups that have something waiting and may start it later. */
  readonly #later: DueQueue<Group<Entry<V, K>>> = new DueQueue();
  /** How many groups that is; one that was freed before its time has left a place in the queue that means nothing. */
  #laterCount: number = 0;
  /** Failed tasks that come again, and when. By key, as an entry that nobody needs may be let go meanwhile. */
  readonly #putOff: Map<KeyIdentity, number> = new Map();
  /** The same by moment; one that is there at no moment of `#putOff` means nothing any more. */
  readonly #again: DueQueue<Entry<V, K>> = new DueQueue();
  /** What the breaker said, and nobody has seen to yet. */
  #pauses: Pause<Entry<V, K>>[] = [];
  #count: number = 0;
  #hasEnded: boolean = false;
  /** What a function of the options threw while a task was being changed. */
  #thrown: { readonly error: unknown } | undefined;
  readonly #waiters: Set<() => void> = new Set();

  constructor(host: PacedHost<V, K>, options: PacedOptions<K>) {
    this.#host = host;
    this.#options = options;
    this.#breaker = options.breaker === undefined ? undefined : new Breaker(options.breaker);
    const { allowAborted = false } = options;
    this.#cursor = host.todo(allowAborted);
    host.index.watch(this);
    options.signal?.addEventListener('abort', this.wake);
  }

  /** The next task, claimed; undefined where nothing is left and nothing in flight can add anything. */
  async next(): Promise<Entry<V, K> | undefined> {
    const { limit = Number.POSITIVE_INFINITY, signal, concurrency } = this.#options;
    for (;;) {
      if (this.#hasEnded) return undefined;
      if (this.#thrown !== undefined) throw this.#thrown.error;
      this.#host.requireWritable();
      if (this.#count >= limit || signal?.aborted === true) return undefined;
      const nowMs = this.#now();
      this.#seeToPauses();
      const mayStart =
        this.#inFlight.size < concurrency && (this.#breaker?.notBeforeMs() ?? Number.NEGATIVE_INFINITY) <= nowMs;
      const found = mayStart ? this.#pick(nowMs) : undefined;
      if (found === 'more') {
        await new Promise(setImmediate);
        continue;
      }
      if (found !== undefined) {
        this.#count++;
        return found;
      }
      if (mayStart && this.#isAtEnd()) return undefined;
      await this.#untilSomethingHappens(mayStart);
    }
  }

  end(): void {
    this.#hasEnded = true;
    this.#host.index.unwatch(this);
    this.#options.signal?.removeEventListener('abort', this.wake);
    for (const entry of this.#inFlight.keys()) {
      this.#host.inFlight.delete(entry);
      entry.pins--;
    }
    this.#inFlight.clear();
    this.wake();
  }

  /** A group was blocked or freed. */
  regroup(name: GroupName): void {
    const group = this.#groups.get(name);
    if (group === undefined) return;
    if (group.queued === 'later') this.#laterCount--;
    group.queued = 'no';
    group.readyAt = undefined;
    this.#queue(group, this.#now());
    this.wake();
  }

  /** Somebody may start now, or nobody any more: looks again. */
  readonly wake = (): void => {
    for (const resolve of this.#waiters) resolve();
  };

  // ---- What the index tells.

  taskChanged(entry: Entry<V, K>): void {
    this.#guarded(() => {
      if (this.#putOff.has(entry.identity)) this.#reconsider(entry);
      if ((entry.state & UNFINISHED) === 0) this.#ended(entry);
    });
  }

  /** A task that waits takes the place of its priority. */
  taskMoved(entry: Entry<V, K>): void {
    this.#guarded(() => {
      const group = this.#groups.get(this.#nameOf(entry));
      const at = group?.waiting.indexOf(entry, group.head) ?? -1;
      if (group === undefined || at < 0) return;
      group.waiting.splice(at, 1);
      this.#wait(group, entry, this.#now());
    });
  }

  taskRemoved(entry: Entry<V, K>): void {
    this.#guarded(() => {
      this.#putOff.delete(entry.identity);
      this.#ended(entry);
    });
  }

  tasksRebuilt(): void {
    this.#guarded(() => {
      for (const entry of [...this.#inFlight.keys()]) {
        if (entry.slot < 0 || (entry.state & UNFINISHED) === 0) this.#ended(entry);
      }
    });
  }

  /** What a function of the options throws ends the loop; the change of a task that it was asked about is made all the same. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#thrown ??= { error };
    }
    this.wake();
  }

  /** A task that waits for its moment was changed: one that nobody has to do is forgotten, one that was put back is free now. */
  #reconsider(entry: Entry<V, K>): void {
    if (this.#isTodo(entry) && (entry.state & FAILED) !== 0) return;
    this.#putOff.delete(entry.identity);
    if (this.#isTodo(entry)) this.#wait(this.#groupOf(entry), entry, this.#now());
  }

  #ended(entry: Entry<V, K>): void {
    const group = this.#inFlight.get(entry);
    if (group === undefined) return;
    const nowMs = this.#now();
    this.#inFlight.delete(entry);
    this.#host.inFlight.delete(entry);
    entry.pins--;
    group.inFlight--;
    group.notBeforeMs = Math.max(group.notBeforeMs, nowMs + this.#delayMs(group));
    this.#queue(group, nowMs);
    const hasFailed = entry.slot >= 0 && (entry.state & FAILED) !== 0 && (entry.state & (ABORTED | DONE)) === 0;
    const error = hasFailed ? errorOf(entry.peek()) : undefined;
    const isAlarming = error !== undefined && (this.#options.breaker?.counts?.(error) ?? true);
    if (hasFailed) this.#comesAgain(entry, nowMs);
    // The change that ended it is still being made, so what follows from a pause has to wait for the loop's own turn.
    const pause = this.#breaker?.ended(entry, isAlarming ? errorClassOf(error) : undefined, nowMs);
    if (pause !== undefined) this.#pauses.push(pause);
  }

  /** A failed task comes again in this loop where somebody said when, and where it has tries left. */
  #comesAgain(entry: Entry<V, K>, nowMs: number): void {
    const dueMs = this.#host.dueMs(entry);
    const { retryDelayMs } = this.#options;
    if (!this.#isTodo(entry) || (dueMs === undefined && retryDelayMs === undefined)) return;
    this.#comesAt(Math.max(dueMs ?? nowMs, nowMs + (retryDelayMs ?? 0)), entry);
  }

  #comesAt(atMs: number, entry: Entry<V, K>): void {
    this.#putOff.set(entry.identity, atMs);
    this.#again.add(atMs, entry);
  }

  /** What failed of the cause of a pause gets its try back, and comes again after it; the breaker lets the first through to see. */
  #seeToPauses(): void {
    for (const { failure, hasOpened, untilMs, durationMs, tasks } of this.#pauses.splice(0)) {
      const refunded = this.#host.refund(tasks);
      for (const task of tasks) {
        const now = this.#host.current(task);
        if (now === undefined || !this.#isTodo(now)) continue;
        const comesAnyway = this.#putOff.has(now.identity) || this.#host.inFlight.has(now);
        if (!comesAnyway) this.#comesAt(Math.max(untilMs, this.#host.dueMs(now) ?? untilMs), now);
      }
      if (hasOpened) this.#host.paused({ class: failure, durationMs, refunded });
    }
  }

  // ---- What may start.

  #pick(nowMs: number): Entry<V, K> | 'more' | undefined {
    for (let group = this.#later.take(nowMs); group !== undefined; group = this.#later.take(nowMs)) {
      if (group.queued !== 'later') continue;
      this.#laterCount--;
      group.queued = 'no';
      this.#queue(group, nowMs);
    }
    for (let entry = this.#again.take(nowMs); entry !== undefined; entry = this.#again.take(nowMs)) {
      const dueMs = this.#putOff.get(entry.identity);
      // It was taken already, or comes at a later moment.
      if (dueMs === undefined || dueMs > nowMs) continue;
      this.#putOff.delete(entry.identity);
      const current = this.#current(entry);
      if (current !== undefined && !this.#isPutOff(current, nowMs)) this.#wait(this.#groupOf(current), current, nowMs);
    }
    // What nobody has looked at yet goes before what waits only where its priority is higher.
    const { highest } = this.#ready;
    const urgent = highest === Number.NEGATIVE_INFINITY ? undefined : this.#pickNew(nowMs, highest);
    return urgent ?? this.#pickWaiting(nowMs) ?? this.#pickNew(nowMs, Number.NEGATIVE_INFINITY);
  }

  #pickWaiting(nowMs: number): Entry<V, K> | undefined {
    for (;;) {
      const { highest } = this.#ready;
      const group = this.#ready.take();
      if (group === undefined) return undefined;
      // It was put in again with a higher priority, or freed or blocked, and may be gone by now.
      if (group.queued !== 'ready' || group.readyAt !== highest) continue;
      group.queued = 'no';
      group.readyAt = undefined;
      const entry = this.#mayStart(group, nowMs) ? this.#takeWaiting(group, nowMs) : undefined;
      if (entry !== undefined) this.#start(group, entry, nowMs);
      this.#queue(group, nowMs);
      if (entry !== undefined) return entry;
    }
  }

  #pickNew(nowMs: number, above: number): Entry<V, K> | 'more' | undefined {
    for (let looked = 0; looked < SCAN_MAX; looked++) {
      const entry = this.#cursor.next(above);
      if (entry === undefined) return undefined;
      if (this.#host.inFlight.has(entry)) continue;
      if (this.#isPutOff(entry, nowMs)) continue;
      const group = this.#groupOf(entry);
      if (priorityIn(entry.state) > this.#firstPriority(group) && this.#mayStart(group, nowMs)) {
        this.#start(group, entry, nowMs);
        return entry;
      }
      this.#wait(group, entry, nowMs);
    }
    return 'more';
  }

  /** Whether no loop may hand it out yet; then it comes at its moment. It may have failed once more since it was looked at. */
  #isPutOff(entry: Entry<V, K>, nowMs: number): boolean {
    const dueMs = this.#host.dueMs(entry);
    if (dueMs === undefined || dueMs <= nowMs) return false;
    this.#comesAt(dueMs, entry);
    return true;
  }

  #start(group: Group<Entry<V, K>>, entry: Entry<V, K>, nowMs: number): void {
    this.#host.claim(entry);
    this.#putOff.delete(entry.identity);
    this.#inFlight.set(entry, group);
    this.#host.inFlight.add(entry);
    // The loop knows it by this object until it ends.
    entry.pins++;
    group.inFlight++;
    group.notBeforeMs = Math.max(group.notBeforeMs, nowMs + this.#delayMs(group));
    this.#breaker?.handedOut(entry);
  }

  /** The task as it is now, where it is still to do and not in flight; after `revert()` the entry of a key can be another one. */
  #current(entry: Entry<V, K>): Entry<V, K> | undefined {
    const found = this.#host.current(entry);
    return found === undefined || this.#host.inFlight.has(found) || !this.#isTodo(found) ? undefined : found;
  }

  #isTodo({ state }: Entry<V, K>): boolean {
    return isTodo(state, this.#host.index.maxTries, this.#options.allowAborted === true);
  }

  #groupOf(entry: Entry<V, K>): Group<Entry<V, K>> {
    const name = this.#nameOf(entry);
    let group = this.#groups.get(name);
    if (group === undefined) {
      const notBeforeMs = Number.NEGATIVE_INFINITY;
      group = { name, inFlight: 0, notBeforeMs, waiting: [], head: 0, queued: 'no', readyAt: undefined };
      this.#groups.set(name, group);
    }
    return group;
  }

  #nameOf({ key }: Entry<V, K>): GroupName {
    // Without groups every task belongs to one that may be as large as the loop.
    return this.#options.group?.(key) ?? '';
  }

  #mayStart(group: Group<Entry<V, K>>, nowMs: number): boolean {
    return group.inFlight < this.#perGroup && this.#notBeforeMs(group) <= nowMs;
  }

  #notBeforeMs({ name, notBeforeMs }: Group<Entry<V, K>>): number {
    return Math.max(notBeforeMs, this.#host.blockedUntil(name));
  }

  get #perGroup(): number {
    const { group, perGroup, concurrency } = this.#options;
    return group === undefined ? concurrency : (perGroup ?? 1);
  }

  #delayMs({ name }: Group<Entry<V, K>>): number {
    const { delayMs = 0 } = this.#options;
    return typeof delayMs === 'function' ? delayMs(name) : delayMs;
  }

  #wait(group: Group<Entry<V, K>>, entry: Entry<V, K>, nowMs: number): void {
    const { waiting } = group;
    const priority = priorityIn(entry.state);
    let at = waiting.length;
    if (at > group.head && priorityIn((waiting[at - 1] as Entry<V, K>).state) < priority) {
      at = waiting.findIndex((other, index) => index >= group.head && priorityIn(other.state) < priority);
    }
    waiting.splice(at, 0, entry);
    this.#queue(group, nowMs);
  }

  /** Of what waits in a group; below every priority where nothing does. */
  #firstPriority({ waiting, head }: Group<Entry<V, K>>): number {
    return head === waiting.length ? Number.NEGATIVE_INFINITY : priorityIn((waiting[head] as Entry<V, K>).state);
  }

  #takeWaiting(group: Group<Entry<V, K>>, nowMs: number): Entry<V, K> | undefined {
    while (group.head < group.waiting.length) {
      const entry = this.#current(group.waiting[group.head++] as Entry<V, K>);
      if (group.head === group.waiting.length) {
        group.waiting = [];
        group.head = 0;
      } else if (group.head > SHIFT_MIN && group.head * 2 > group.waiting.length) {
        group.waiting = group.waiting.slice(group.head);
        group.head = 0;
      }
      if (entry !== undefined && !this.#isPutOff(entry, nowMs)) return entry;
    }
    return undefined;
  }

  /** Puts a group that has something waiting where it will be found; one that is full is looked at again when a task of it ends. */
  #queue(group: Group<Entry<V, K>>, nowMs: number): void {
    if (group.queued === 'later' || group.head === group.waiting.length || group.inFlight >= this.#perGroup) return;
    const priority = this.#firstPriority(group);
    if (group.queued === 'ready' && group.readyAt !== undefined && group.readyAt >= priority) return;
    if (this.#mayStart(group, nowMs)) {
      group.queued = 'ready';
      group.readyAt = priority;
      this.#ready.add(group, priority);
    } else {
      group.queued = 'later';
      group.readyAt = undefined;
      this.#laterCount++;
      this.#later.add(this.#notBeforeMs(group), group);
    }
  }

  // ---- Waiting for what comes.

  #isAtEnd(): boolean {
    return this.#inFlight.size === 0 && this.#laterCount === 0 && this.#putOff.size === 0;
  }

  async #untilSomethingHappens(mayStart: boolean): Promise<void> {
    const delayMs = this.#nextMs(mayStart) - this.#now();
    // The clock went on since it was asked what may start: the moment to wait for has come already.
    if (delayMs <= 0) return;
    // Only a moment to wait for is worth keeping the process alive; tasks in flight do that themselves, or nobody is there to end them.
    const cancel =
      delayMs < Number.POSITIVE_INFINITY
        ? this.#host.clock.after(Math.min(delayMs, TIMER_MS_MAX), this.wake, { keepAlive: true })
        : undefined;
    let waiter: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      waiter = resolve;
      this.#waiters.add(resolve);
    });
    this.#waiters.delete(waiter as () => void);
    cancel?.();
  }

  /** When there is something new to look at, if nothing else happens. */
  #nextMs(mayStart: boolean): number {
    if (mayStart) return Math.min(this.#later.nextMs, this.#again.nextMs);
    if (this.#inFlight.size >= this.#options.concurrency) return Number.POSITIVE_INFINITY;
    return this.#breaker?.notBeforeMs() ?? Number.POSITIVE_INFINITY;
  }

  #now(): number {
    return this.#host.clock.monotonic();
  }
}

/**
 * A paced loop as an iterator. Not a generator: one of those, while it waits for its next task, cannot be told to end.
 *
 * @param begin starts the loop, at the first step
 * @param end is told when the loop is over, once, if it was begun
 */
export function pacedIterator<V, K extends Key, R>(
  begin: () => PacedLoop<V, K>,
  end: (loop: PacedLoop<V, K>) => void,
  what: (entry: Entry<V, K>) => R,
): AsyncIterableIterator<R> {
  let loop: PacedLoop<V, K> | undefined;
  let isOver = false;
  const finish = (): IteratorReturnResult<undefined> => {
    if (!isOver && loop !== undefined) {
      loop.end();
      end(loop);
    }
    isOver = true;
    return { done: true, value: undefined };
  };
  return {
    async next() {
      if (isOver) return finish();
      try {
        loop ??= begin();
        const entry = await loop.next();
        return entry === undefined ? finish() : { done: false, value: what(entry) };
      } catch (error) {
        finish();
        throw error;
      }
    },
    return: () => Promise.resolve(finish()),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The longest that a timer of the language can wait; the loop looks again then. */
const TIMER_MS_MAX = 2 ** 31 - 1;
