/**
 * What a tracker tells beside what every pod tells: how tasks end.
 */
import type { Key } from '../core/key.ts';
import { POD_EVENTS, type PodEvents } from '../pod/events.ts';
import type { TaskError } from './task.ts';

/**
 * What a tracker tells. Told by its methods; a task that is edited by hand, through a view or `set`, ends quietly. What happens in a transaction
 * is told when that is over, and not at all where it is undone.
 */
export interface TrackerEvents<K extends Key = Key> extends PodEvents {
  /** `markDone` made a task done. */
  done: { readonly path: string; readonly key: K };
  /** `fail` was called. */
  fail: { readonly path: string; readonly key: K; readonly error: TaskError };
  /** A task was set aside: by `abort`, or because the process died too often with it in flight. */
  abort: { readonly path: string; readonly key: K; readonly error: TaskError | undefined };
  /** The circuit breaker of a paced loop opened: too many tries failed alike, so nothing is handed out for a while. */
  pause: {
    readonly path: string;
    /** The class of the errors; see `errorClasses()`. */
    readonly class: string;
    readonly durationMs: number;
    /** How many tasks got their try back. */
    readonly refunded: number;
  };
}

/** The events of a tracker, by name. */
export const TRACKER_EVENTS: readonly (keyof TrackerEvents)[] = [...POD_EVENTS, 'done', 'fail', 'abort', 'pause'];
