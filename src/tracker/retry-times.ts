/**
 * When failed tasks that were put off come again, on the clock that never goes back.
 *
 * A record says it by the wall clock, because it outlives the process; but that clock can be set, and then nobody shall wait for an hour that
 * was meant to be a second. So it is asked once for each failure: when the task fails, or when a record from an earlier run is first looked at.
 */
import type { Clock } from '../core/clock.ts';
import type { Entry } from '../core/entry.ts';
import type { Key, KeyIdentity } from '../core/key.ts';
import { FAILED, isTodo, retryAtOf, type TaskError } from './task.ts';
import type { TaskIndex, TaskWatcher } from './task-index.ts';

/** A failure as it stands in the record, and what it means in this process. */
interface PutOff {
  readonly at: unknown;
  readonly retryAt: unknown;
  readonly dueMs: number;
}

export class RetryTimes<V, K extends Key> implements TaskWatcher<V, K> {
  readonly #clock: Clock;
  readonly #index: TaskIndex<V, K>;
  /** By key, as an entry that nobody needs may be let go meanwhile. */
  readonly #putOff: Map<KeyIdentity, PutOff> = new Map();

  constructor(clock: Clock, index: TaskIndex<V, K>) {
    this.#clock = clock;
    this.#index = index;
    index.watch(this);
  }

  /** A task is about to be marked as failed. */
  failed(entry: Entry<V, K>, error: TaskError): void {
    this.#remember(entry, error);
  }

  /** From when on a task may be handed out, on the monotonic clock; undefined where nobody put it off. */
  dueMs(entry: Entry<V, K>): number | undefined {
    // Only what failed can be put off, so nothing else is looked at.
    if ((entry.state & FAILED) === 0) return undefined;
    const { _error: error } = entry.peek() as { _error: Partial<TaskError> };
    if (error.retryAt === undefined) return undefined;
    const known = this.#putOff.get(entry.identity);
    if (known !== undefined && known.at === error.at && known.retryAt === error.retryAt) return known.dueMs;
    return this.#remember(entry, error);
  }

  #remember(entry: Entry<V, K>, error: Partial<TaskError>): number | undefined {
    const retryAtMs = retryAtOf({ _error: error });
    if (retryAtMs === undefined) return undefined;
    const leftMs = retryAtMs - this.#clock.now();
    // Since it failed the clock may have been set back: nobody waits for longer than the task was put off for.
    const wholeMs = retryAtMs - Date.parse(String(error.at));
    const dueMs = this.#clock.monotonic() + (wholeMs < leftMs ? wholeMs : leftMs);
    this.#putOff.set(entry.identity, { at: error.at, retryAt: error.retryAt, dueMs });
    return dueMs;
  }

  // ---- What the index tells: what nobody has to do any more is forgotten.

  taskChanged(entry: Entry<V, K>): void {
    const { state } = entry;
    if ((state & FAILED) === 0 || !isTodo(state, this.#index.maxTries, true)) this.#putOff.delete(entry.identity);
  }

  taskRemoved(entry: Entry<V, K>): void {
    this.#putOff.delete(entry.identity);
  }

  /** Nobody says which tasks are gone. Those are kept whose moment either clock has still to come to; the others are free without being known. */
  tasksRebuilt(): void {
    const [nowMs, wallMs] = [this.#clock.monotonic(), this.#clock.now()];
    for (const [identity, { retryAt, dueMs }] of this.#putOff) {
      if (dueMs <= nowMs && Date.parse(String(retryAt)) <= wallMs) this.#putOff.delete(identity);
    }
  }
}
