/** Keeps requests apart, however many workers send them. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Where the time comes from. */
export interface PaceClock {
  now(): number;
  /** Rejects with an `AbortError` if the signal comes first. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

const systemClock: PaceClock = {
  now: () => Date.now(),
  wait: (ms, signal) => sleep(ms, undefined, { signal }),
};

export class Pace {
  readonly #minimumMs: number;
  readonly #clock: PaceClock;
  #nextAt = 0;

  /** Without a wish of the site's own, requests start at least `minimumMs` apart. */
  constructor(minimumMs: number, clock: PaceClock = systemClock) {
    this.#minimumMs = minimumMs;
    this.#clock = clock;
  }

  /** Resolves when the next request may start; rejects with an `AbortError` if the signal comes first. */
  async turn(delayMs: number, signal: AbortSignal): Promise<void> {
    const gapMs = Math.max(delayMs, this.#minimumMs);
    if (gapMs === 0) return;
    const now = this.#clock.now();
    const startAt = Math.max(now, this.#nextAt);
    // Taken before waiting, so that who comes meanwhile is behind us.
    this.#nextAt = startAt + gapMs;
    await this.#clock.wait(startAt - now, signal);
  }
}
