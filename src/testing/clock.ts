/**
 * A clock that stands still until a test moves it, so that timers run exactly when the test says so.
 */
import type { Clock } from '../core/clock.ts';

interface Timer {
  readonly dueMs: number;
  /** Timers that are due at the same moment run in the order they were made. */
  readonly order: number;
  readonly task: () => void;
}

/**
 * A clock moved by hand.
 *
 * @example
 * const clock = new ManualClock();
 * clock.after(1000, () => console.log('now'));
 * clock.advance(1000);
 */
export class ManualClock implements Clock {
  /** Each reading of `monotonic` moves the clock by this much: what a busy machine does to code that looks at the time. */
  readingCostMs: number = 0;
  readonly #startedAt: number;
  #elapsedMs: number = 0;
  /** How far the wall clock was set. */
  #setByMs: number = 0;
  #timersMade: number = 0;
  readonly #timers: Set<Timer> = new Set();

  /** @param startAt what `now()` says at first, in milliseconds since 1970 */
  constructor(startAt: number = 1_700_000_000_000) {
    this.#startedAt = startAt;
  }

  now(): number {
    return this.#startedAt + this.#elapsedMs + this.#setByMs;
  }

  monotonic(): number {
    this.#elapsedMs += this.readingCostMs;
    return this.#elapsedMs;
  }

  after(delayMs: number, task: () => void): () => void {
    const timer: Timer = { dueMs: this.#elapsedMs + delayMs, order: this.#timersMade++, task };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** Sets the wall clock forward, or back where that is less than nothing. Time goes on as before: no timer runs for it. */
  setWallClock(byMs: number): void {
    this.#setByMs += byMs;
  }

  /** How many timers wait. */
  get waiting(): number {
    return this.#timers.size;
  }

  /** Moves the clock and runs every timer that becomes due, in order, those that they start included. */
  advance(durationMs: number): void {
    const untilMs = this.#elapsedMs + durationMs;
    for (let timer = this.#nextDue(untilMs); timer !== undefined; timer = this.#nextDue(untilMs)) {
      this.#timers.delete(timer);
      this.#elapsedMs = Math.max(this.#elapsedMs, timer.dueMs);
      timer.task();
    }
    this.#elapsedMs = Math.max(this.#elapsedMs, untilMs);
  }

  /** Moves to the next timer and runs it alone. Returns false where none waits. */
  runNext(): boolean {
    const timer = this.#nextDue(Number.POSITIVE_INFINITY);
    if (timer === undefined) return false;
    this.#timers.delete(timer);
    this.#elapsedMs = Math.max(this.#elapsedMs, timer.dueMs);
    timer.task();
    return true;
  }

  #nextDue(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > untilMs) continue;
      const isSooner = next === undefined || timer.dueMs < next.dueMs;
      if (isSooner || (timer.dueMs === next?.dueMs && timer.order < next.order)) next = timer;
    }
    return next;
  }
}
