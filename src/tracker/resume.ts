/**
 * What a tracker found when it was opened: how the last run ended and what it left.
 */
import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { Ending, RecoveryReport } from '../disk/recovery.ts';
import { isTodo } from './task.ts';
import type { TaskIndex } from './task-index.ts';

/** The story of the last run, as far as the folder tells. */
export interface ResumeReport<K extends Key = Key> {
  /** How the process before this one ended. */
  readonly ended: Ending;
  /** In its own words: `SIGTERM`, `exit 1`, `uncaughtException`. */
  readonly how: string | undefined;
  /** Who had the folder before, if that process did not close it. */
  readonly previous: RecoveryReport['previous'];
  /** The last sign of life of that process, ISO 8601. */
  readonly lastWrite: string | undefined;
  /** The machine was started again since that process took the folder: a power cut or a restart may have ended it. */
  readonly restarted: boolean;
  /** How many processes the kernel has killed on this machine since then for want of memory; undefined where it does not tell. */
  readonly oomKills: number | undefined;
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
  /** How many of those are to do again; each has used up a try. */
  readonly returned: number;
  /** How many of those are set aside, because that was their last try; `retry()` puts them back. */
  readonly setAside: number;
  /** Log records that were replayed. */
  readonly replayed: number;
  /** Bytes of an unfinished append that were cut off the log; they are in quarantine. */
  readonly droppedBytes: number;
  /** Files that were put into `quarantine/`. */
  readonly quarantined: readonly string[];
  /** How long opening took. */
  readonly durationMs: number;
  /** Where nothing is left to do: why, in a sentence. */
  readonly nothingLeft: string | undefined;
}

/** At most this many keys are listed. */
export const LISTED_KEYS_MAX = 1000;

/** What there is to tell when a tracker is opened. `unfinished` are the entries of the index's set of that name. */
export function resumeReport<V, K extends Key>(
  recovery: RecoveryReport,
  index: TaskIndex<V, K>,
  unfinished: Iterable<Entry<V, K>>,
): ResumeReport<K> {
  const { ended, how, previous, lastWrite, restarted, oomKills, replayed, droppedBytes, quarantined, durationMs } =
    recovery;
  const { maxTries } = index;
  const counts = {
    total: index.size,
    done: index.done.size,
    aborted: index.aborted.size,
    failed: index.failed.size,
    todo: index.todo.size,
    exhausted: index.exhausted,
  };
  const unfinishedKeys: K[] = [];
  let returned = 0;
  for (const { key, state } of unfinished) {
    if (unfinishedKeys.length < LISTED_KEYS_MAX) unfinishedKeys.push(key);
    if (isTodo(state, maxTries, false)) returned++;
  }
  return {
    ended,
    how,
    previous,
    lastWrite,
    restarted,
    oomKills,
    ...counts,
    unfinished: index.unfinished.size,
    unfinishedKeys,
    returned,
    setAside: index.unfinished.size - returned,
    replayed,
    droppedBytes,
    quarantined,
    durationMs,
    nothingLeft: whyNothingLeft({ ...counts, maxTries }),
  };
}

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
