/** Keeps requests apart, however many workers send them. */
import { setTimeout as sleep } from 'node:timers/promises';

export class Pace {
  readonly #minimumMs: number;
  #nextAt = 0;

  /** Without a wish of the site's own, requests start at least `minimumMs` apart. */
  constructor(minimumMs: number) {
    this.#minimumMs = minimumMs;
  }

  /** Resolves when the next request may start; rejects with an `AbortError` if the signal comes first. */
  async turn(delayMs: number, signal: AbortSignal): Promise<void> {
    const gapMs = Math.max(delayMs, this.#minimumMs);
    if (gapMs === 0) return;
    const now = Date.now();
    const startAt = Math.max(now, this.#nextAt);
    this.#nextAt = startAt + gapMs;
    await sleep(startAt - now, undefined, { signal });
  }
}
