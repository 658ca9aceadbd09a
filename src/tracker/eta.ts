/**
 * How fast a run goes and when it will be over, from what was done and what was known over time; pure.
 *
 * A run that finds its own work (a crawl) is over when it has done all that it will ever find, so the estimate follows two curves: how fast
 * tasks get done, and how many new ones each of them brings. Both are uncertain, hence the answer is a range, or a word why there is none.
 */

import { FailureWatch, type ProgressSample } from './eta-failures.ts';

export type { ProgressSample };

/** When a run will be over, or why nobody can say. */
export type Eta =
  /** Most likely between these two from now. */
  | { readonly state: 'range'; readonly lowMs: number; readonly highMs: number }
  /** Nothing is left to do. */
  | { readonly state: 'finished'; readonly lowMs: 0; readonly highMs: 0 }
  /** As much or more is found as is done: there is no telling how much there is. What is known takes `lowMs` at least. */
  | { readonly state: 'growing'; readonly lowMs: number; readonly highMs: undefined }
  /** Too little was done yet to tell anything. */
  | { readonly state: 'early'; readonly lowMs: undefined; readonly highMs: undefined }
  /** Nothing was done for `idleMs`, which is much longer than usual. */
  | {
      readonly state: 'stalled';
      readonly idleMs: number;
      readonly lowMs: undefined;
      readonly highMs: undefined;
    };

/** What can be said of a run at one moment. */
export interface Forecast {
  /** Done a minute, over the last minute; undefined before there are two seconds to compare. */
  readonly perMinute1: number | undefined;
  /** Done a minute, over the last 15 minutes or since the start. */
  readonly perMinute15: number | undefined;
  /** New tasks for each that is done, of late; undefined before enough was done. */
  readonly foundPerDone: number | undefined;
  readonly eta: Eta;
}

const MINUTE_MS = 60_000;
const WINDOW_MS = 15 * MINUTE_MS;
const SAMPLE_EVERY_MS = 1_000;
const RATE_FROM_MS = 2_000;
/** Of the whole run so many points are kept; when there are more, every second one goes. */
const CURVE_POINTS_MAX = 256;
/** Below this many done in this process nothing is said. */
const DONE_MIN = 20;
/** Nor before so long; who asks how long ten seconds take? */
const EARLY_MS = 10_000;
/** A rate over fewer than this is luck. */
const RATE_DONE_MIN = 20;
/** What stays uncertain about a rate, however much was done: tomorrow's pages are other pages. */
const RATE_SLACK = 0.2;
/** The same about how quickly the finds dry up. */
const DECAY_SLACK = 0.35;
/** For the lower end the finds count for so much: they may end sooner than they look. */
const FINDS_LOW = 0.8;
/** How many more tries a task that failed may take than others. */
const FAILING_TRIES = 2.5;
/** A range wider than this, before what the last tasks take, helps nobody; the run is called growing. */
const RATIO_MAX = 4.5;
/** Where so many times what is known to do may be hidden behind tasks that failed, nobody knows how much there is. */
const HIDDEN_MAX = 2.5;
/** The last ones to fail may fail once more. */
const DELAYS_AT_END = 2;
/** A pause is a stall when it is this many times the usual gap between two, and twice the longest that turned out to be none. */
const STALL_GAPS = 20;
const STALL_MS_MIN = 10_000;

/**
 * Remembers a run's samples, many of late and few of long ago, and says what follows from them.
 *
 * @example
 * const history = new ProgressHistory();
 * history.add({ atMs: 0, done: 0, known: 1, failing: 0 });
 * history.add({ atMs: 60_000, done: 50, known: 400, failing: 2 });
 * history.forecast({ atMs: 61_000, done: 51, known: 402, failing: 2 }).eta;
 */
export class ProgressHistory {
  /** The last 15 minutes, at most one a second, and the last one before them. */
  readonly #recent: ProgressSample[] = [];
  /** The whole run, thinned out, evenly by what was done. */
  #curve: ProgressSample[] = [];
  #curveStep: number = 1;
  /** The last moment at which something was done. */
  #lastDone: ProgressSample | undefined;
  #longestPauseMs: number = 0;
  #stalledMs: number = 0;
  /** How many were done and then were not, all in all. */
  #putBack: number = 0;
  #lastCount: number = 0;
  readonly #failures: FailureWatch = new FailureWatch();

  /** Takes the counts of a moment in. A task that is put back (a retry, a revert) is work to be done again, but not a find. */
  add(sample: ProgressSample): void {
    const point = this.#point(sample);
    this.#putBack = point.done - sample.done;
    this.#failures.add(point);
    const lastDone = this.#lastDone;
    if (lastDone === undefined) {
      this.#recent.push(point);
      this.#curve.push(point);
      this.#lastDone = point;
    }
    this.#lastCount = sample.done;
    if (lastDone === undefined) return;
    if (point.done > lastDone.done) {
      const pauseMs = point.atMs - lastDone.atMs;
      if (this.#isStall(pauseMs)) this.#stalledMs += pauseMs;
      else this.#longestPauseMs = Math.max(this.#longestPauseMs, pauseMs);
      this.#lastDone = point;
    }
    const last = this.#recent[this.#recent.length - 1] as ProgressSample;
    if (point.atMs - last.atMs >= SAMPLE_EVERY_MS) {
      this.#recent.push(point);
      while ((this.#recent[1]?.atMs ?? Number.POSITIVE_INFINITY) <= point.atMs - WINDOW_MS) this.#recent.shift();
    }
    const end = this.#curve[this.#curve.length - 1] as ProgressSample;
    if (point.done - end.done < this.#curveStep) return;
    this.#curve.push(point);
    if (this.#curve.length <= CURVE_POINTS_MAX) return;
    this.#curve = this.#curve.filter((_, index) => index % 2 === 0);
    this.#curveStep *= 2;
  }

  /** What can be said at a moment, whose sample need not have been added. */
  forecast(sample: ProgressSample): Forecast {
    const now = this.#point(sample);
    const found = this.#finds(now);
    return {
      perMinute1: perMinute(this.#over(now, MINUTE_MS)),
      perMinute15: perMinute(this.#over(now, WINDOW_MS)),
      foundPerDone: found?.perDone,
      eta: this.#eta(now, sample.known - sample.done, found),
    };
  }

  /** A sample whose `done` never goes back. */
  #point(sample: ProgressSample): ProgressSample {
    const putBack = this.#putBack + Math.max(0, this.#lastCount - sample.done);
    return { ...sample, done: sample.done + putBack };
  }

  #eta(now: ProgressSample, todo: number, found: Finds | undefined): Eta {
    if (todo <= 0) return { state: 'finished', lowMs: 0, highMs: 0 };
    const idleMs = now.atMs - (this.#lastDone?.atMs ?? now.atMs);
    if (this.#isStall(idleMs)) return { state: 'stalled', idleMs, lowMs: undefined, highMs: undefined };
    const speed = this.#speed(now);
    if (found === undefined || speed === undefined) return { state: 'early', lowMs: undefined, highMs: undefined };
    const low = remaining(todo, found.perDoneLow, found.decayHigh);
    const high = remaining(todo, found.perDoneHigh, found.decayLow);
    const lowMs = low / speed.high;
    const highMs = high / speed.low;
    const hidden = now.failing * this.#failures.hiddenEach(found.perDoneHigh);
    if (!Number.isFinite(highMs) || highMs > lowMs * RATIO_MAX || hidden > HIDDEN_MAX * todo)
      return { state: 'growing', lowMs: todo / speed.high, highMs: undefined };
    // The last tasks of a run are its bad ones: each takes more tries than one, and one more pause as long as any is to be expected.
    const endMs = (FAILING_TRIES * now.failing) / speed.low + Math.max(idleMs, this.#longestPauseMs);
    const lastMs = DELAYS_AT_END * this.#failures.delayMs;
    return { state: 'range', lowMs, highMs: highMs + endMs + lastMs };
  }

  #isStall(pauseMs: number): boolean {
    const first = this.#curve[0];
    const last = this.#lastDone;
    if (first === undefined || last === undefined || last.done - first.done < DONE_MIN) return false;
    const usualMs = (last.atMs - first.atMs - this.#stalledMs) / (last.done - first.done);
    return pauseMs > Math.max(STALL_MS_MIN, STALL_GAPS * usualMs, 2 * this.#longestPauseMs);
  }

  /** What was done over a time that ends now, or since the start. */
  #over(now: ProgressSample, spanMs: number): { readonly ms: number; readonly done: number } | undefined {
    const sinceMs = now.atMs - spanMs;
    let from = this.#recent[0];
    for (let index = this.#recent.length - 1; index >= 0; index--) {
      from = this.#recent[index] as ProgressSample;
      if (from.atMs <= sinceMs) break;
    }
    if (from === undefined) return undefined;
    const ms = now.atMs - Math.max(from.atMs, sinceMs);
    return ms < RATE_FROM_MS ? undefined : { ms, done: now.done - from.done };
  }

  /** Done a millisecond, at least and at most: over the last minute, the last 15, and the whole run. */
  #speed(now: ProgressSample): { readonly low: number; readonly high: number } | undefined {
    const first = this.#curve[0] as ProgressSample;
    const whole = { ms: now.atMs - first.atMs, done: now.done - first.done };
    if (whole.ms < EARLY_MS) return undefined;
    let low = Number.POSITIVE_INFINITY;
    let high = 0;
    for (const span of [whole, this.#over(now, WINDOW_MS), this.#over(now, MINUTE_MS)]) {
      if (span === undefined || span.done < RATE_DONE_MIN || span.ms < RATE_FROM_MS) continue;
      // Over a short time one slow task more or less makes another rate.
      const slack = RATE_SLACK + 1 / Math.sqrt(span.done) + this.#longestPauseMs / span.ms;
      low = Math.min(low, span.done / span.ms / (1 + slack));
      high = Math.max(high, (span.done / span.ms) * (1 + slack));
    }
    return high === 0 ? undefined : { low, high };
  }

  /**
   * How many new tasks each done one brings, and how quickly that falls: the finds over the last third of what was done, beside the third
   * before it. In a finite graph the finds dry up exponentially, because ever more links lead to what is known.
   */
  #finds(now: ProgressSample): Finds | undefined {
    const first = this.#curve[0];
    if (first === undefined || now.done - first.done < DONE_MIN) return undefined;
    const third = (now.done - first.done) / 3;
    const middle = this.#at(now.done - third);
    const before = this.#at(now.done - 2 * third);
    const width = now.done - middle.done;
    const widthBefore = middle.done - before.done;
    if (width < DONE_MIN / 4 || widthBefore < DONE_MIN / 4) return undefined;
    // One more than was seen: none among few does not mean never.
    const late = Math.max(0, now.known - middle.known);
    const earlier = Math.max(0, middle.known - before.known);
    const perDone = late / width;
    const centres = (width + widthBefore) / 2;
    const decay = Math.log((earlier + 1) / widthBefore / ((late + 1) / width)) / centres;
    const decayError = Math.sqrt(1 / (late + 1) + 1 / (earlier + 1)) / centres;
    const decayLow = Math.max(0, decay * (1 - DECAY_SLACK) - decayError);
    const decayHigh = Math.max(0, decay * (1 + DECAY_SLACK) + decayError);
    // Those were the finds in the middle of the last third; since then they went on falling.
    const error = Math.sqrt(late + 1) / width;
    // Finds may also end from one page to the next (the last level of a site), which only the very last ones show.
    const newest = this.#at(now.done - third / 4);
    const newestWidth = Math.max(1, now.done - newest.done);
    const newestFound = Math.max(0, now.known - newest.known);
    const newestLow = Math.max(0, newestFound - Math.sqrt(newestFound + 1)) / newestWidth;
    return {
      perDone,
      perDoneLow: FINDS_LOW * Math.min(newestLow, Math.max(0, perDone - error) * Math.exp((-decayHigh * width) / 2)),
      perDoneHigh: (perDone + error) * Math.exp((-decayLow * width) / 2),
      decayLow,
      decayHigh,
    };
  }

  /** The last point of the curve with no more done than this. */
  #at(done: number): ProgressSample {
    let low = 0;
    let high = this.#curve.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#curve[middle] as ProgressSample).done <= done) low = middle;
      else high = middle - 1;
    }
    return this.#curve[low] as ProgressSample;
  }
}

interface Finds {
  readonly perDone: number;
  readonly perDoneLow: number;
  readonly perDoneHigh: number;
  /** By which the logarithm of the finds falls with each task done. */
  readonly decayLow: number;
  readonly decayHigh: number;
}

/** How many tasks are left in all, if each done one brings `perDone` new ones, fewer and fewer; Infinity where it never ends. */
function remaining(todo: number, perDone: number, decay: number): number {
  if (decay === 0) return perDone >= 1 ? Number.POSITIVE_INFINITY : todo / (1 - perDone);
  // The smallest solution of left = todo + the finds of doing so many; each step comes closer from below.
  let left = todo;
  for (let step = 0; step < 500; step++) {
    const next = todo + (perDone / decay) * (1 - Math.exp(-decay * left));
    if (next - left < left * 1e-4) return next;
    left = next;
  }
  return left;
}

function perMinute(span: { readonly ms: number; readonly done: number } | undefined): number | undefined {
  return span === undefined ? undefined : (span.done / span.ms) * MINUTE_MS;
}
