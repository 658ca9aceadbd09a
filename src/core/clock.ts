/**
 * Time as an argument: what the wall clock says, for texts and reports, and a timer that keeps no process alive.
 *
 * No order, lock or decision about data depends on the wall clock (reliability B29). A moment that has to outlive the process can be kept by
 * no other; whoever reads it translates it to the monotonic clock, once.
 */

/** The time, and a way to be called later. */
export interface Clock {
  /** Milliseconds since 1970, for people; it may jump. */
  now(): number;
  /** Milliseconds since some moment, never going back; for durations. */
  monotonic(): number;
  /** Calls `task` once after `delayMs`, without keeping the process alive unless asked to. Returns a function that cancels it. */
  after(delayMs: number, task: () => void, options?: { readonly keepAlive?: boolean }): () => void;
}
