/**
 * A process of `everpod torture` that writes until it is killed, and says on its standard output what is safe from that by then.
 *
 * What it says are lines: `open` after each opening; `synced N`, everything up to step N is safe; for a tracker `adding FROM TO`, `added TO`,
 * `claimed NAME TRIES`, `OUTCOME NAME`, `emptying` and `emptied`. A line is in the pipe before the next change is made.
 */
import type { Key } from '../core/key.ts';
import { nodeSystem } from '../disk/system.ts';
import { openHandle } from '../pod/open-pods.ts';
import type { PodOptions } from '../pod/options.ts';
import { HANDLE_DOOR, PersistentOrderedDict } from '../pod/pod.ts';
import { ProgressTracker } from '../tracker/tracker.ts';
import { applyStep, below, type Numbers, numbersFrom, type StepTarget, type StepValue } from './torture-workload.ts';

/** What a writer is to do; handed over as JSON. */
export interface WriterTask {
  readonly kind: 'pod' | 'tracker';
  readonly folder: string;
  /** Of the steps. */
  readonly seed: number;
  /** Of everything that the steps do not say: when to close, to compact, to rest. */
  readonly habits: number;
  /** What `synced` is to mean: safe from a kill, or from a power cut as well. */
  readonly against: 'kill' | 'power cut';
  /** Steps, or tasks, that are there already. */
  readonly done: number;
  readonly options: Pick<PodOptions<StepValue, Key>, 'durability' | 'fileSize' | 'gzipped' | 'syncAt' | 'syncEvery'>;
  /** The log is folded when it is larger than this. */
  readonly foldLogBytes: number | undefined;
}

/** What happened to a task that was handed out. */
export const OUTCOMES = ['done', 'failed', 'aborted', 'left'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Steps in a turn, at most. */
const TURN_STEPS_MAX = 300;
/** Turns between two openings, at most. */
const TURNS_MAX = 60;
const NEW_TASKS_MAX = 50;
/** A tracker with more tasks is emptied, so that looking at it does not become the work. */
const TASKS_MAX = 3000;

/** Writes until the process is killed. */
export async function writeForEver(task: WriterTask, say: (line: string) => void): Promise<never> {
  const numbers = numbersFrom(task.habits);
  if (task.kind === 'tracker') {
    for (let added = task.done; ; ) added = await doTasks(task, added, numbers, say);
  }
  for (let done = task.done; ; ) done = await doSteps(task, done, numbers, say);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Opens, writes some turns, closes. Returns the last step. */
async function doSteps(task: WriterTask, done: number, numbers: Numbers, say: (line: string) => void): Promise<number> {
  const pod = openPod(task);
  say('open');
  const target = stepTarget(pod);
  const { durability } = task.options;
  const everyTurn = durability === 'power' || (durability === 'process' && task.against === 'kill');
  let step = done;
  for (let turns = below(numbers, TURNS_MAX); turns > 0; turns--) {
    for (let steps = 1 + below(numbers, TURN_STEPS_MAX); steps > 0; steps--) {
      step++;
      applyStep(target, task.seed, step);
      if (durability === 'power') say(`synced ${step}`);
    }
    const habit = numbers();
    if (habit < 0.02) pod.compact();
    else if (habit < 0.1) await pod.flush();
    else if (habit < 0.4) pod.sync();
    else await nextTurn();
    if (everyTurn || habit < 0.4) say(`synced ${step}`);
  }
  pod.close();
  say(`synced ${step}`);
  return step;
}

function openPod({ folder, options, foldLogBytes }: WriterTask): PersistentOrderedDict<StepValue, Key> {
  return openHandle<PersistentOrderedDict<StepValue, Key>, StepValue, Key>(folder, options, {
    name: 'PersistentOrderedDict',
    meta: {},
    accepts: (other): other is PersistentOrderedDict<StepValue, Key> => other instanceof PersistentOrderedDict,
    make: (engine) => new PersistentOrderedDict(HANDLE_DOOR, engine),
    system: { ...nodeSystem, foldLogBytes },
  }).handle;
}

/** Thrown to give a transaction up. */
class GivenUp extends Error {}

function stepTarget(pod: PersistentOrderedDict<StepValue, Key>): StepTarget {
  return {
    get: (key) => pod.get(key),
    set: (key, value) => pod.set(key, value),
    delete: (key) => pod.delete(key),
    clear: () => pod.clear(),
    together: (change) => pod.transaction(change),
    undone: (change) => {
      try {
        pod.transaction(() => {
          change();
          throw new GivenUp();
        });
      } catch (error) {
        if (!(error instanceof GivenUp)) throw error;
      }
    },
  };
}

/** Opens a tracker, adds tasks, does some, closes. Returns the number of the last task that was added. */
async function doTasks(task: WriterTask, done: number, numbers: Numbers, say: (line: string) => void): Promise<number> {
  const { fileSize, syncAt, durability } = task.options;
  const tracker = ProgressTracker.open<{ visits: number[] }>(task.folder, {
    fileSize,
    syncAt,
    durability,
    maxDeaths: 0,
  });
  say('open');
  let added = done;
  if (tracker.size > TASKS_MAX) {
    say('emptying');
    tracker.clear();
    await nextTurn();
    say('emptied');
  }
  for (let rounds = 1 + below(numbers, 10); rounds > 0; rounds--) {
    const to = added + 1 + below(numbers, NEW_TASKS_MAX);
    say(`adding ${added + 1} ${to}`);
    while (added < to) tracker.add(`task ${++added}`, { visits: [] });
    await nextTurn();
    say(`added ${added}`);
    for (const key of tracker.tryKeys({ limit: 1 + below(numbers, 2 * NEW_TASKS_MAX) })) {
      say(`claimed ${key} ${tracker.tries(key)}`);
      tracker.get(key)?.visits.push(tracker.tries(key));
      const outcome = OUTCOMES[below(numbers, OUTCOMES.length)] as Outcome;
      if (outcome === 'done') tracker.markDone(key);
      else if (outcome === 'failed') tracker.fail(key, new Error('on purpose'));
      else if (outcome === 'aborted') tracker.abort(key, 'on purpose');
      await nextTurn();
      say(`${outcome} ${key}`);
    }
  }
  tracker.close();
  return added;
}
