/**
 * The circuit breaker: notices that the last tries failed alike, which says that it is not the tasks. Pure.
 *
 * States: closed, where everything goes through; open, where nothing does until a moment; half open, where one try goes through to see.
 * A try that fails alike opens it again for twice as long; any other outcome closes it.
 */

import type { TaskError } from './task.ts';

/** When a paced loop pauses by itself. */
export interface BreakerOptions {
  /** This many of the last `of` tries failed with errors of one class; see `errorClasses()`. From 1. */
  failures: number;
  /** From `failures`; default the same number: all of them. */
  of?: number | undefined;
  /** The first pause, in milliseconds; each one that follows in vain is twice as long, up to an hour. Default 30,000. */
  pauseMs?: number | undefined;
  /**
   * Which errors count; default all. Any other is taken for an answer: a page that says 500 says that the network is there. Where broken
   * tasks can be all that is left, they should not count, or the loop pauses again and again and never uses up their tries.
   */
  counts?: ((error: TaskError) => boolean) | undefined;
}

const DEFAULT_PAUSE_MS = 30_000;
const PAUSE_MS_MAX = 3_600_000;

/** What became of one try. */
interface Outcome<E> {
  readonly task: E;
  /** The class of its error; undefined where it did not fail. */
  readonly failure: string | undefined;
}

/** The breaker has opened, or a task that was in flight then has failed of the same cause. */
export interface Pause<E> {
  readonly failure: string;
  readonly hasOpened: boolean;
  readonly untilMs: number;
  readonly durationMs: number;
  /** The tasks that failed alike. */
  readonly tasks: readonly E[];
}

export class Breaker<E> {
  readonly #failures: number;
  readonly #of: number;
  readonly #firstPauseMs: number;
  #last: Outcome<E>[] = [];
  #pauseMs: number;
  #openUntilMs: number = Number.NEGATIVE_INFINITY;
  /** The class that it opened for; undefined while it is closed. */
  #failure: string | undefined;
  #probe: E | undefined;

  constructor({ failures, of = failures, pauseMs = DEFAULT_PAUSE_MS }: BreakerOptions) {
    this.#failures = failures;
    this.#of = of;
    this.#firstPauseMs = pauseMs;
    this.#pauseMs = pauseMs;
  }

  /** When the next task may be handed out; infinite while the outcome of a single try is awaited. */
  notBeforeMs(): number {
    if (this.#failure === undefined) return Number.NEGATIVE_INFINITY;
    return this.#probe === undefined ? this.#openUntilMs : Number.POSITIVE_INFINITY;
  }

  /** A task is handed out. */
  handedOut(task: E): void {
    if (this.#failure !== undefined) this.#probe ??= task;
  }

  /** A try ended. Returns the pause, where this is what opens the breaker. */
  ended(task: E, failure: string | undefined, nowMs: number): Pause<E> | undefined {
    if (this.#failure !== undefined) {
      // What was in flight when it opened says nothing new, but is as innocent as the others.
      if (task !== this.#probe) {
        if (failure !== this.#failure) return undefined;
        return { failure, hasOpened: false, untilMs: this.#openUntilMs, durationMs: this.#pauseMs, tasks: [task] };
      }
      this.#probe = undefined;
      if (failure === this.#failure)
        return this.#open(failure, [task], nowMs, Math.min(2 * this.#pauseMs, PAUSE_MS_MAX));
      this.#failure = undefined;
      this.#pauseMs = this.#firstPauseMs;
    }
    this.#last.push({ task, failure });
    if (this.#last.length > this.#of) this.#last.shift();
    if (failure === undefined) return undefined;
    const alike = this.#last.filter((outcome) => outcome.failure === failure);
    if (alike.length < this.#failures) return undefined;
    return this.#open(
      failure,
      alike.map((outcome) => outcome.task),
      nowMs,
      this.#firstPauseMs,
    );
  }

  #open(failure: string, tasks: readonly E[], nowMs: number, durationMs: number): Pause<E> {
    this.#failure = failure;
    this.#pauseMs = durationMs;
    this.#openUntilMs = nowMs + durationMs;
    this.#last = [];
    return { failure, hasOpened: true, untilMs: this.#openUntilMs, durationMs, tasks };
  }
}
