/**
 * What `everpod torture` knows of a folder from what its writers said, and the comparison with what is in it.
 */
import type { Key } from '../core/key.ts';
import { PersistentOrderedDict } from '../pod/pod.ts';
import { ProgressTracker } from '../tracker/tracker.ts';
import { Model } from './torture-workload.ts';
import { OUTCOMES, type Outcome } from './torture-writer.ts';

/** Follows one folder. */
export interface Witness {
  /** Writes that the writers said to be safe. */
  readonly acknowledged: number;
  /** What a new writer has to know. */
  readonly done: number;
  /** Whether it can look while a writer is at work. */
  readonly canWatch: boolean;
  /** Takes a line of a writer in. */
  hear(line: string): void;
  /** Opens the folder, looks at all of it, and closes it. Returns what is wrong. */
  look(folder: string, mode: 'r' | 'w'): string | undefined;
}

/** A writer that is told to stop can be so many steps ahead of what was heard of it. */
const STEPS_AHEAD_MAX = 50_000;

/** The folder must hold the state after some step that is not older than the last one that was said to be safe. */
export function witnessSteps(seed: number): Witness {
  const model = new Model(seed);
  let safe = 0;
  return {
    get acknowledged() {
      return safe;
    },
    get done() {
      return model.step;
    },
    canWatch: true,
    hear: (line) => {
      const step = /^synced (\d+)$/.exec(line)?.[1];
      if (step !== undefined) safe = Math.max(safe, Number(step));
    },
    look: (folder, mode) => {
      const pod = PersistentOrderedDict.open<unknown, Key>(folder, { mode });
      const found: [Key, unknown][] = [];
      for (const key of pod.keys()) found.push([key, pod.snapshot(key)]);
      while (model.step < safe) model.advance();
      const first = model.step;
      const difference = model.difference(found);
      const hint = { at: 0 };
      while (model.difference(found, hint) !== undefined) {
        if (model.step - first > STEPS_AHEAD_MAX) {
          return `${folder} is in no state that was written since step ${first}, which was acknowledged. Then, ${difference}`;
        }
        model.advance();
      }
      // What was seen once must not be gone later.
      safe = model.step;
      // Only a state that is right is put away: what is wrong is left as it was found.
      pod.close();
      return undefined;
    },
  };
}

interface KnownTask {
  tries: number;
  outcome: Outcome;
  /** Visits that were lost with the turns in which writers were killed. */
  missed: number;
}

/**
 * Every task that was added is there, with exactly the tries that were said, and one more for at most one task: the one that was claimed
 * when the process was killed. What was said to be done, failed or aborted is that.
 */
export function witnessTasks(): Witness {
  let acknowledged = 0;
  let added = 0;
  let adding = 0;
  let claimed: string | undefined;
  let emptying = false;
  let wroteSince = false;
  const tasks = new Map<string, KnownTask>();
  const add = (to: number): void => {
    while (added < to) tasks.set(`task ${++added}`, { tries: 0, outcome: 'left', missed: 0 });
  };
  const heard: Record<string, (name: string, more: string) => void> = {
    adding: (_from, to) => {
      adding = Number(to);
    },
    added: (to) => add(Number(to)),
    claimed: (name, tries) => {
      claimed = name;
      const task = tasks.get(name);
      if (task !== undefined) task.tries = Number(tries);
    },
    emptying: () => {
      emptying = true;
    },
    emptied: () => {
      emptying = false;
      tasks.clear();
    },
    open: () => {},
  };
  for (const outcome of OUTCOMES) {
    heard[outcome] = (name) => {
      claimed = undefined;
      const task = tasks.get(name);
      // A task that is tried again and left keeps the error it had.
      if (task !== undefined && outcome !== 'left') task.outcome = outcome;
    };
  }
  return {
    get acknowledged() {
      return acknowledged;
    },
    get done() {
      return added;
    },
    canWatch: false,
    hear: (line) => {
      const [, word = '', name = '', more = ''] = /^(\w+) ?(task \d+|\d+)? ?(\d+)?$/.exec(line) ?? [];
      wroteSince = true;
      heard[word]?.(name, more);
      if (word !== 'open' && word !== 'adding' && word !== 'emptying') acknowledged++;
    },
    look: (folder, mode) => {
      const tracker = ProgressTracker.open<{ visits: number[] }>(folder, { mode, maxDeaths: 0 });
      const keys = [...tracker.keys()];
      if (emptying && keys.length === 0) tasks.clear();
      // What was being added may be there, as far as it came.
      if (keys.length > tasks.size) add(Math.min(adding, added + keys.length - tasks.size));
      const wrong = compareTasks(tracker, keys, tasks, claimed, wroteSince);
      if (wrong !== undefined) return `${folder}: ${wrong}`;
      claimed = undefined;
      emptying = false;
      wroteSince = false;
      tracker.close();
      return undefined;
    },
  };
}

/** Compares, and takes over what may be either. Returns what is wrong. */
function compareTasks(
  tracker: ProgressTracker<{ visits: number[] }>,
  keys: readonly string[],
  tasks: Map<string, KnownTask>,
  claimed: string | undefined,
  wroteSince: boolean,
): string | undefined {
  if (keys.length !== tasks.size) return `it holds ${keys.length} tasks and should hold ${tasks.size}`;
  const names = tasks.keys();
  let further: string | undefined;
  for (const key of keys) {
    const name = names.next().value;
    if (key !== name) return `${key} stands where ${name} should`;
    const known = tasks.get(key) as KnownTask;
    const tries = tracker.tries(key);
    // A task that was left, or tried again and left, is marked when the process dies; that takes the place of an error it had.
    const isMarked =
      tracker.get(key)?._error?.deaths !== undefined && known.outcome !== 'done' && known.outcome !== 'aborted';
    const outcome = isMarked ? 'left' : outcomeOf(tracker, key);
    if (tries === known.tries + 1 && wroteSince && claimed === undefined && further === undefined) further = key;
    else if (tries !== known.tries) return `${key} has ${tries} tries and should have ${known.tries}`;
    if (outcome !== known.outcome && key !== claimed && !isMarked)
      return `${key} is ${outcome} and should be ${known.outcome}`;
    const visits = tracker.snapshot(key)?.visits.length ?? 0;
    // The visit is noted after the claim.
    const missed = tries - visits;
    const missedMax = known.missed + (key === claimed || key === further ? 1 : 0);
    if (missed < 0 || missed > missedMax) return `${key} has ${visits} visits and ${tries} tries`;
    Object.assign(known, { tries, outcome, missed });
  }
  return undefined;
}

function outcomeOf(tracker: ProgressTracker<{ visits: number[] }>, key: string): Outcome {
  if (tracker.done(key)) return 'done';
  if (tracker.aborted(key)) return 'aborted';
  return tracker.get(key)?._error === undefined ? 'left' : 'failed';
}
