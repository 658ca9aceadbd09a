/**
 * What a tracker found when it was opened: how the last run ended and what it left.
 */
import type { Key } from '../core/key.ts';
import type { Ending, RecoveryReport } from '../disk/recovery.ts';

/** The story of the last run, as far as the folder tells. */
export interface ResumeReport<K extends Key = Key> {
  /** How the process before this one ended. */
  readonly ended: Ending;
  /** In its own words: `SIGTERM`, `exit 1`, `uncaughtException`. */
  readonly how: string | undefined;
  readonly previous: RecoveryReport['previous'];
  readonly lastWrite: string | undefined;
  readonly total: number;
  readonly done: number;
  readonly aborted: number;
  /** Not done, with an `_error`: the last try failed, or the task was aborted with a reason. */
  readonly failed: number;
  /** What is left to do now. */
  readonly todo: number;
  /** Not done and not aborted, but every try is used up. */
  readonly exhausted: number;
  /** Tasks that were handed out and of which nothing more was heard: in flight when the process ended, or never marked. */
  readonly unfinished: number;
  /** The first thousand of those. */
  readonly unfinishedKeys: readonly K[];
  /** Log records that were replayed. */
  readonly replayed: number;
  readonly durationMs: number;
  /** Where nothing is left to do: why, in a sentence. */
  readonly nothingLeft: string | undefined;
}

/** At most this many keys are listed. */
export const LISTED_KEYS_MAX = 1000;

/** Says why nothing is left to do, or nothing where something is. */
export function whyNothingLeft(counts: {
  total: number;
  done: number;
  todo: number;
  exhausted: number;
  maxTries: number;
}): string | undefined {
  const { total, done, todo, exhausted, maxTries } = counts;
  if (todo > 0) return undefined;
  if (total === 0) return 'No task was added yet.';
  if (done === total) return total === 1 ? 'The one task is done.' : `All ${total} tasks are done.`;
  const parts = [`${done} of ${total} tasks are done`];
  if (exhausted > 0) parts.push(`${exhausted} used up all ${maxTries} tries`);
  // Nothing is to do, so these are all that is left; an aborted task may be done or exhausted as well.
  const aborted = total - done - exhausted;
  if (aborted > 0) parts.push(`${aborted} ${aborted === 1 ? 'is' : 'are'} aborted`);
  return `${parts.join(', ')}.`;
}
