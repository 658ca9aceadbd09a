/**
 * How far a tracker is and how fast it goes: counts, rates, and an estimate that says when it cannot know.
 */
import type { Clock } from '../core/clock.ts';

/** A tracker's counts and rates at one moment. */
export interface TrackerStats {
  readonly total: number;
  readonly done: number;
  readonly aborted: number;
  /** What `tryKeys` would still hand out. */
  readonly todo: number;
  /** Handed out at least once. */
  readonly tried: number;
  /** The sum of all tries; more than 33,554,431 of one task count as so many. */
  readonly tries: number;
  /** Not done, with an `_error`: the last try failed, or the task was aborted with a reason. */
  readonly failed: number;
  /** Not done and not aborted, with every try used up. */
  readonly exhausted: number;
  /** Tasks done a minute, over the last 15 minutes of this process; undefined until two moments can be compared. */
  readonly donePerMinute: number | undefined;
  /** Tasks added a minute, over the same time. */
  readonly addedPerMinute: number | undefined;
  /**
   * How much longer it takes, from (nothing more is added) to (things go on being added as now), in milliseconds. `high` is undefined
   * while more is added than done; the whole is undefined while nothing gets done.
   */
  readonly etaMs: { readonly low: number; readonly high: number | undefined } | undefined;
}

interface Sample {
  readonly atMs: number;
  readonly done: number;
  readonly total: number;
}

const WINDOW_MS = 15 * 60_000;
const SAMPLE_EVERY_MS = 1_000;

/** Remembers counts over time; asking costs nothing between samples. */
export class RateMeter {
  readonly #clock: Clock;
  readonly #samples: Sample[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes the counts of this moment in, at most one a second. */
  sample(done: number, total: number): void {
    const atMs = this.#clock.monotonic();
    const last = this.#samples[this.#samples.length - 1];
    if (last !== undefined && atMs - last.atMs < SAMPLE_EVERY_MS) return;
    this.#samples.push({ atMs, done, total });
    this.#forget(atMs - WINDOW_MS);
  }

  /** Rates over the window, or since the first sample where that is later. */
  rates(done: number, total: number): { donePerMinute: number; addedPerMinute: number } | undefined {
    const nowMs = this.#clock.monotonic();
    this.#forget(nowMs - WINDOW_MS);
    const [first] = this.#samples;
    if (first === undefined) return undefined;
    const elapsedMs = nowMs - Math.max(first.atMs, nowMs - WINDOW_MS);
    // Rates over less than a sample's time say nothing.
    if (elapsedMs < SAMPLE_EVERY_MS) return undefined;
    const minutes = elapsedMs / 60_000;
    return { donePerMinute: (done - first.done) / minutes, addedPerMinute: (total - first.total) / minutes };
  }

  /** Drops what lies before a moment, but for the last sample: those were the counts when the window began. */
  #forget(beforeMs: number): void {
    while ((this.#samples[1]?.atMs ?? Number.POSITIVE_INFINITY) <= beforeMs) this.#samples.shift();
  }
}

/** The estimate that follows from rates. */
export function estimate(todo: number, donePerMinute: number, addedPerMinute: number): TrackerStats['etaMs'] {
  if (todo === 0) return { low: 0, high: 0 };
  if (donePerMinute <= 0) return undefined;
  const net = donePerMinute - Math.max(0, addedPerMinute);
  return { low: (todo / donePerMinute) * 60_000, high: net <= 0 ? undefined : (todo / net) * 60_000 };
}
