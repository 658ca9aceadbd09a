/**
 * Hands the tasks of a shared tracker out, so that no task is held by two at a time.
 *
 * All loops that run at the same time make one pass. A task that fails in it comes again in the next one, as in a local loop; one whose worker
 * died comes again in the same. The pass ends for everyone when nothing is left and nothing is claimed.
 *
 * Moments at which tasks come again are those of the monotonic clock, which nobody sets.
 */
import type { Clock } from '../core/clock.ts';
import { PodError } from '../core/errors.ts';
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import { randomHex } from '../disk/random.ts';
import { DueQueue } from '../tracker/due-queue.ts';
import type { Task, TaskError } from '../tracker/task.ts';
import { dueMsOf, type ProgressTracker } from '../tracker/tracker.ts';
import type { Claim } from './memory.ts';
import type { Group } from './requests.ts';

type AnyTracker = ProgressTracker<object, Key>;

/** What is asked of the owner's memory. */
interface ClaimBook {
  readonly claims: ReadonlyMap<string, Claim>;
  claimOf(key: Key): Claim | undefined;
}

/**
 * Why a claim ends without a word about the task: its loop went on (`passed`), it was never begun (`unused`), the worker left (`left`) or died
 * (`died`).
 */
export type Release = 'passed' | 'unused' | 'left' | 'died';

/** What all loops do that run at the same time. */
interface Pass {
  /** When the first of its loops began, which may have been under another owner; milliseconds since 1970. */
  sinceMs: number;
  /** Whether it may have begun under another owner: only the first of an owner can. */
  readonly isInherited: boolean;
  readonly loops: Set<string>;
  /** Tasks whose loops went on without a word; they come again in the next pass. */
  readonly passed: Set<KeyIdentity>;
  /** Tasks that failed in it, as far as this owner was told; they come again in the next pass. */
  readonly failed: Set<KeyIdentity>;
  /** Tasks that come again at a moment. */
  readonly putOff: Set<KeyIdentity>;
}

/** A search through what is to do, in order. */
interface Search {
  keys: Iterator<Key> | undefined;
  /** What had changed when it was begun; after more changes it is worth another one. */
  stamp: number;
}

export class ClaimDesk {
  readonly #tracker: AnyTracker;
  readonly #book: ClaimBook;
  readonly #clock: Clock;
  readonly #maxDeaths: number;
  /** Begins every token of this owner. */
  readonly #origin: string = randomHex(6);
  #count: number = 0;
  #pass: Pass | undefined;
  #hadPass: boolean = false;
  /** Tasks that came back. */
  #returned: Key[] = [];
  /** Tasks that failed and come again at a moment. */
  readonly #later: DueQueue<Key> = new DueQueue();
  #stamp: number = 1;
  readonly #searches: Map<boolean, Search> = new Map();

  constructor(tracker: AnyTracker, book: ClaimBook, clock: Clock, maxDeaths: number) {
    this.#tracker = tracker;
    this.#book = book;
    this.#clock = clock;
    this.#maxDeaths = maxDeaths;
  }

  /** Something was changed that may have added work. */
  changed(): void {
    this.#stamp++;
  }

  /** When the next task comes again that was put off, on the monotonic clock; infinite where there is none. */
  get nextDueMs(): number {
    return this.#later.nextMs;
  }

  /** Whether nothing is left for anybody: asked when `claim` found nothing. */
  get isOver(): boolean {
    return this.#book.claims.size === 0 && this.#later.size === 0;
  }

  enter(loop: string, sinceMs: number): void {
    this.#pass ??= {
      sinceMs,
      isInherited: !this.#hadPass,
      loops: new Set(),
      passed: new Set(),
      failed: new Set(),
      putOff: new Set(),
    };
    this.#hadPass = true;
    this.#pass.sinceMs = Math.min(this.#pass.sinceMs, sinceMs);
    this.#pass.loops.add(loop);
  }

  leave(loop: string): void {
    this.#pass?.loops.delete(loop);
    if (this.#pass?.loops.size !== 0) return;
    this.#pass = undefined;
    while (this.#later.take(Number.POSITIVE_INFINITY) !== undefined);
    this.#searches.clear();
  }

  /** Ends the loops whose names begin so. */
  leaveAll(prefix: string): void {
    for (const loop of [...(this.#pass?.loops ?? [])]) if (loop.startsWith(prefix)) this.leave(loop);
  }

  /** Claims the next task, counting its try. */
  claim(group: Group, client: string, allowAborted: boolean): Claim | undefined {
    for (let key = this.#next(allowAborted); key !== undefined; key = this.#next(allowAborted)) {
      const claim = this.claimKey(group, client, key, allowAborted);
      if (claim !== undefined) return claim;
    }
    return undefined;
  }

  /** Claims a task if it is to do and nobody works on it. */
  claimKey(group: Group, client: string, key: Key, allowAborted: boolean): Claim | undefined {
    if (this.#book.claimOf(key) !== undefined) return undefined;
    group.touch(key);
    if (!this.#tracker.shouldTry(key, { allowAborted })) return undefined;
    const token = `${this.#origin}-${++this.#count}`;
    group.note(['claim', token, client, key]);
    return { token, client, key };
  }

  /**
   * Ends the claim that a word about a task belongs to, if it still holds.
   *
   * @param token what the client was given with the task; undefined where it was given none, and speaks about the task all the same
   * @param overrules whether it may speak about a task that somebody else works on
   * @throws {PodError} `ERR_POD_STALE` where the claim was lost
   */
  settle(group: Group, client: string, key: Key, token: string | undefined, overrules: boolean): void {
    const claim = this.#book.claimOf(key);
    const isLost =
      token === undefined ? claim !== undefined && !overrules && claim.client !== client : claim?.token !== token;
    if (isLost) {
      throw new PodError(
        'ERR_POD_STALE',
        `The task ${JSON.stringify(key)} is not, or no more, claimed by this handle: its lease or its connection ended, its loop went on, or another worker has it. Nothing was changed.`,
        { key },
      );
    }
    if (claim !== undefined) group.note(['end', claim.token]);
  }

  /** Ends claims on tasks that were done, aborted or removed by any other road. */
  settleChanged(group: Group, keys: Iterable<Key>): void {
    if (this.#book.claims.size === 0) return;
    for (const key of keys) {
      const claim = this.#book.claimOf(key);
      if (claim === undefined) continue;
      const isOver = !this.#tracker.has(key) || this.#tracker.done(key) || this.#tracker.aborted(key);
      if (isOver) group.note(['end', claim.token]);
    }
  }

  /** Ends a claim that nobody spoke about; its task is to do again. */
  release(group: Group, { token, key }: Claim, how: Release): void {
    if (!this.#book.claims.has(token)) return;
    group.note(['end', token]);
    const task = this.#tracker.has(key) ? (this.#tracker.snapshot(key) as Task<object>) : undefined;
    if (task === undefined || task._done) return;
    if (how === 'passed') this.#pass?.passed.add(keyIdentity(key));
    else this.#returned.push(key);
    if (how === 'unused') {
      group.touch(key);
      this.#tracker.decrementTries(key);
    } else if (how === 'died') {
      group.touch(key);
      this.#tracker.set(key, this.#afterDeath(task));
    }
  }

  /** A task failed: it comes again in the next pass, or at the moment that was named. */
  failed(key: Key): void {
    this.#pass?.failed.add(keyIdentity(key));
    const dueMs = dueMsOf(this.#tracker, key);
    if (dueMs !== undefined) this.#putOff(key, dueMs);
  }

  #putOff(key: Key, dueMs: number): void {
    const identity = keyIdentity(key);
    if (this.#pass === undefined || this.#pass.putOff.has(identity)) return;
    this.#pass.putOff.add(identity);
    this.#later.add(dueMs, key);
  }

  #afterDeath(task: Task<object>): Task<object> {
    const deaths = (task._error?.deaths ?? 0) + 1;
    const _error: TaskError = {
      name: 'ProcessDied',
      message: 'the process that worked on this task died or was not heard of any more',
      at: new Date(this.#clock.now()).toISOString(),
      try: task._tries,
      deaths,
    };
    const _aborted = task._aborted || (this.#maxDeaths > 0 && deaths >= this.#maxDeaths);
    return { ...task, _aborted, _error };
  }

  #next(allowAborted: boolean): Key | undefined {
    for (let key = this.#returned.shift(); key !== undefined; key = this.#returned.shift()) {
      if (this.#isFree(key, allowAborted)) return key;
      this.#stamp++; // Another kind of loop may want it.
    }
    const nowMs = this.#clock.monotonic();
    for (let key = this.#later.take(nowMs); key !== undefined; key = this.#later.take(nowMs)) {
      this.#pass?.putOff.delete(keyIdentity(key));
      if (this.#isFree(key, allowAborted)) return key;
    }
    const search = this.#search(allowAborted);
    for (;;) {
      if (search.keys === undefined) {
        if (search.stamp === this.#stamp) return undefined;
        search.stamp = this.#stamp;
        search.keys = this.#tracker.todoKeys({ allowAborted });
      }
      const { value: key, done } = search.keys.next();
      if (done === true) search.keys = undefined;
      else if (this.#isFree(key, allowAborted) && !this.#isHeldBack(key)) return key;
    }
  }

  #search(allowAborted: boolean): Search {
    let search = this.#searches.get(allowAborted);
    if (search === undefined) {
      search = { keys: undefined, stamp: 0 };
      this.#searches.set(allowAborted, search);
    }
    return search;
  }

  #isFree(key: Key, allowAborted: boolean): boolean {
    return (
      this.#book.claimOf(key) === undefined && this.#tracker.has(key) && this.#tracker.shouldDo(key, { allowAborted })
    );
  }

  /** Whether a task has had its turn in this pass, or has to wait for a moment that somebody named. */
  #isHeldBack(key: Key): boolean {
    if (this.#pass?.passed.has(keyIdentity(key)) === true) return true;
    const task = this.#tracker.get(key) as Task<object>;
    const error = task._error;
    if (error == null || error.deaths !== undefined) return false;
    const dueMs = dueMsOf(this.#tracker, key);
    if (dueMs !== undefined) {
      if (dueMs <= this.#clock.monotonic()) return false;
      this.#putOff(key, dueMs);
      return true;
    }
    const pass = this.#pass;
    if (pass === undefined) return false;
    // Of what failed under another owner the record is all there is, and that has the wall clock.
    return pass.failed.has(keyIdentity(key)) || (pass.isInherited && Date.parse(error.at) >= pass.sinceMs);
  }
}
