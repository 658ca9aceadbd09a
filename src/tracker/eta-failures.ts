/**
 * What the tasks that failed mean for the end of a run: what may be hidden behind them, and how long the last of them wait; pure.
 *
 * Where one link leads to each page, all that lies below a page that failed is found when it is done in the end; where many do, it was found
 * long before. Which it is shows when such tasks get done; until then the first is possible.
 */
/** The counts of one moment. */
export interface ProgressSample {
  /** On a clock that never goes back. */
  readonly atMs: number;
  /** Tasks that need nothing more: done, aborted, or out of tries. */
  readonly done: number;
  /** All tasks that were found so far, done ones too. */
  readonly known: number;
  /** Tasks to do that failed at least once: they need more than one try, and wait for the next pass. */
  readonly failing: number;
}

/** How much of what was learnt of one task is left after the next one: about the last ten count. */
const MEMORY = 0.9;
/** One alone may be an accident. */
const DELAYS_MIN = 2;
/** So many failed tasks are followed one by one; what is learnt of them is learnt of all. */
const FOLLOWED_MAX = 1_000;

/** An average of the last values. */
class RecentMean {
  #count: number = 0;
  #sum: number = 0;

  /** Of how many values, at most ten. */
  get count(): number {
    return this.#count;
  }

  get sum(): number {
    return this.#sum;
  }

  add(value: number, times: number = 1): void {
    const left = MEMORY ** times;
    this.#count = this.#count * left + times;
    this.#sum = this.#sum * left + value * times;
  }
}

export class FailureWatch {
  #first: ProgressSample | undefined;
  #last: ProgressSample | undefined;
  /** What each task found that was done after a failure. */
  readonly #found: RecentMean = new RecentMean();
  /** Whether it was its turn no later than that of any other that was known when it failed: 1 or 0. */
  readonly #soon: RecentMean = new RecentMean();
  /** How long it waited, where that was less than for its turn. */
  readonly #delaysMs: RecentMean = new RecentMean();
  /** When tasks failed, and what there was to do then; the first that failed is taken for the first that comes again. */
  readonly #failed: { readonly atMs: number; readonly todo: number }[] = [];
  /** Tasks are found in generations: those that were known at the beginning, those that they lead to, and so on. */
  #generation: number = 0;
  #generationEnd: number = 0;
  /** The generations of all tasks that were done, added up. */
  #depths: number = 0;

  add(sample: ProgressSample): void {
    const last = this.#last;
    this.#last = sample;
    if (last === undefined) {
      this.#first = sample;
      this.#generationEnd = sample.known;
      return;
    }
    const done = Math.max(0, sample.done - last.done);
    const todo = sample.known - sample.done;
    for (let more = sample.failing - last.failing; more > 0 && this.#failed.length < FOLLOWED_MAX; more--)
      this.#failed.push({ atMs: sample.atMs, todo });
    const again = last.failing - sample.failing;
    if (again > 0) this.#endWaits(again, sample);
    // What was found in the same moment is shared among all that were done in it.
    if (again > 0 && done > 0) this.#found.add(Math.max(0, sample.known - last.known) / done, Math.min(again, done));
    this.#depths += done * this.#generation;
    if (sample.done + sample.failing < this.#generationEnd) return;
    this.#generation++;
    this.#generationEnd = sample.known;
  }

  /** How long a task waits after a failure, where that is not simply for its turn; 0 where nothing is known of such a wait. */
  get delayMs(): number {
    const { count, sum } = this.#delaysMs;
    return count < DELAYS_MIN ? 0 : sum / count;
  }

  /**
   * How many tasks each failing one may hide: what it finds itself, and all below that, as deep as the middle of the run.
   *
   * @param perDone what each task is expected to find anyhow; what comes again soon is no different
   */
  hiddenEach(perDone: number): number {
    const done = (this.#last?.done ?? 0) - (this.#first?.done ?? 0);
    if (done <= 0) return 0;
    // One more than was seen: none among few does not mean never.
    const finds = (this.#found.sum + 1) / (this.#found.count + 1);
    const isSoon = this.#soon.sum > this.#soon.count / 2;
    return (isSoon ? Math.max(0, finds - perDone) : finds) * (this.#depths / done);
  }

  #endWaits(again: number, now: ProgressSample): void {
    const first = this.#first as ProgressSample;
    const msEach = (now.atMs - first.atMs) / Math.max(1, now.done - first.done);
    for (const { atMs, todo } of this.#failed.splice(0, again)) {
      const waitedMs = now.atMs - atMs;
      const turnMs = todo * msEach;
      this.#soon.add(waitedMs <= 2 * turnMs ? 1 : 0);
      // Whoever is put at the end of the queue, or of the run, waits for all that was there before.
      if (waitedMs <= turnMs / 2) this.#delaysMs.add(waitedMs);
    }
  }
}
