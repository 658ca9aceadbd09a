/**
 * The commands that change something while no program has the folder open: retry, abort, done, reset, compact.
 */
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import { nodeSystem } from '../disk/system.ts';
import { optionsError } from '../pod/options.ts';
import { engineOf } from '../pod/pod.ts';
import type { RetryOptions } from '../tracker/options.ts';
import { isStuck, retryFilter } from '../tracker/retry.ts';
import { FAILED, stateOf, UNFINISHED } from '../tracker/task.ts';
import type { Command, Given, Output } from './command.ts';
import { type AnyTracker, reading, requireTracker, unknownKey, writing, writingTasks } from './open.ts';
import { keysWhere, WHERE_OPTION, whereOption } from './select.ts';
import type { Where } from './where.ts';
import { figure, findKey, timeOption } from './words.ts';

const DRY_RUN_OPTION = ['--dry-run', 'only count the tasks; also beside a program that is at work'] as const;

export const STEERING: readonly Command[] = [
  {
    name: 'retry',
    words: '[key...]',
    summary: 'put failed tasks back, all or some; their tries count from 0 again; exit code 1 where there was none',
    options: [
      ['--class <id>', 'only those with an error of this class; see errors'],
      ['--since <time>', 'only those that failed since then: 90s, 15m, 2h or 3d ago, or a time in ISO 8601'],
      ['--aborted', 'aborted ones that have an error, too'],
      WHERE_OPTION,
      DRY_RUN_OPTION,
    ],
    examples: [
      'retry crawl.pod',
      'retry crawl.pod --class E3f2a91 --since 2d',
      "retry crawl.pod --where 'tries < 5' --dry-run",
    ],
    run: retry,
  },
  {
    name: 'abort',
    words: '[key...]',
    summary:
      'set tasks aside, so that they are not handed out; needs keys, --where, or both, which is those keys for which it holds',
    options: [['--reason <text>', 'is kept as the error of the task'], WHERE_OPTION, DRY_RUN_OPTION],
    examples: [
      'abort crawl.pod https://example.org/calendar --reason "has no end"',
      'abort crawl.pod --where \'not done and key ~ "/calendar/"\'',
    ],
    run: (given, output) =>
      each(given, output, 'aborted', (tracker, key) => tracker.abort(key, given.options.reason as string | undefined)),
  },
  {
    name: 'done',
    words: '[key...]',
    summary: 'mark tasks as done; needs keys, --where, or both, which is those keys for which it holds',
    options: [WHERE_OPTION, DRY_RUN_OPTION],
    examples: ['done crawl.pod https://example.org/', "done crawl.pod --where 'title exists' --dry-run"],
    run: (given, output) => each(given, output, 'done', (tracker, key) => tracker.markDone(key)),
  },
  {
    name: 'reset',
    words: '[key...]',
    summary:
      'make tasks as if nobody had tried them, done ones too; the data in them stays; needs keys, --where, or both, which is those keys for ' +
      'which it holds',
    options: [WHERE_OPTION, DRY_RUN_OPTION],
    examples: ['reset crawl.pod https://example.org/', "reset crawl.pod --where 'done and status = 404'"],
    run: (given, output) =>
      each(given, output, 'reset', (tracker, key) => {
        const { _error, ...task } = tracker.snapshot(key) as Record<string, unknown>;
        tracker.set(key, { ...task, _tries: 0, _done: false, _aborted: false });
      }),
  },
  {
    name: 'compact',
    summary: 'write every file anew, full and without gaps; needs room for a second copy',
    examples: ['compact crawl.pod'],
    run: ({ path, json }, { out }) =>
      writing(path, (pod) => {
        pod.compact();
        out(
          json ? `${JSON.stringify({ entries: pod.size })}\n` : `${path}: ${figure(pod.size)} entries written anew.\n`,
        );
        return 0;
      }),
  },
];

function retry(given: Given, { out }: Output): number {
  const { path, words, json, options } = given;
  const where = whereOption(given);
  const since =
    options.since === undefined ? undefined : timeOption(path, 'since', String(options.since), nodeSystem.clock.now());
  const wanted = options.class === undefined ? undefined : String(options.class);
  const allowAborted = options.aborted === true;
  const isDry = options.dryRun === true;
  const count = onTasks(path, isDry, (tracker) => {
    const keys = words.length === 0 && where === undefined ? undefined : chosen(tracker, words, where);
    if (isDry) return countToRetry(tracker, keys, { class: wanted, since, allowAborted });
    return tracker.retry({
      ...(keys !== undefined && { keys }),
      ...(wanted !== undefined && { class: wanted }),
      ...(since !== undefined && { since }),
      allowAborted,
    });
  });
  if (json) out(`${JSON.stringify({ retried: count, ...(isDry && { dryRun: true }) })}\n`);
  else out(`${path}: ${tasks(count)} ${isDry ? 'would be put back; nothing was changed' : 'put back'}.\n`);
  return count > 0 ? 0 : 1;
}

/** How many tasks `retry()` of a tracker would put back, without changing any. */
function countToRetry(
  tracker: AnyTracker,
  keys: Iterable<Key> | undefined,
  conditions: Omit<RetryOptions<Key>, 'keys'>,
): number {
  const { table } = engineOf(tracker);
  const isWanted = retryFilter(conditions);
  let count = 0;
  for (const key of keys ?? tracker.keys()) {
    const task = table.find(key)?.peek();
    const state = stateOf(task);
    // Of all tasks only those are put back that failed, or of which nothing was heard; one that is named need only be out of tries.
    if (!isStuck(state, tracker.maxTries) || (keys === undefined && (state & (FAILED | UNFINISHED)) === 0)) continue;
    if (isWanted(state, () => task)) count++;
  }
  return count;
}

/** Does one thing to each of the tasks that were chosen: to all of them, or to none. */
function each(given: Given, { out }: Output, what: string, change: (tracker: AnyTracker, key: Key) => void): number {
  const { path, words, json, options } = given;
  const where = whereOption(given);
  if (words.length === 0 && where === undefined) throw optionsError(path, 'where', 'or at least one key must be given');
  const isDry = options.dryRun === true;
  const count = onTasks(path, isDry, (tracker) => {
    const keys = chosen(tracker, words, where);
    if (!isDry) {
      tracker.transaction(() => {
        for (const key of keys) change(tracker, key);
      });
    }
    return keys.length;
  });
  if (json) out(`${JSON.stringify({ [what]: count, ...(isDry && { dryRun: true }) })}\n`);
  else out(`${path}: ${tasks(count)} ${isDry ? `would be ${what}; nothing was changed` : what}.\n`);
  return count > 0 ? 0 : 1;
}

function onTasks<R>(path: string, isDry: boolean, work: (tracker: AnyTracker) => R): R {
  return isDry ? reading(path, (pod) => work(requireTracker(pod))) : writingTasks(path, work);
}

/**
 * The tasks that were named, or all of them; of those the ones for which the condition holds, where there is one.
 *
 * @throws {PodError} `ERR_POD_UNKNOWN_KEY`
 */
function chosen(tracker: AnyTracker, words: readonly string[], where: Where | undefined): Key[] {
  // All are chosen before the first is changed, since the change may make the condition false for another.
  return [...keysWhere(tracker, where, words.length === 0 ? tracker.keys() : keysOf(tracker, words))];
}

/**
 * The keys that are meant, each once.
 *
 * @throws {PodError} `ERR_POD_UNKNOWN_KEY`
 */
function keysOf(tracker: AnyTracker, words: readonly string[]): Key[] {
  const keys = new Map<KeyIdentity, Key>();
  for (const word of words) {
    const key = findKey(word, (candidate) => tracker.has(candidate));
    if (key === undefined) throw unknownKey(tracker.path, word);
    keys.set(keyIdentity(key), key);
  }
  return [...keys.values()];
}

function tasks(count: number): string {
  return count === 1 ? '1 task' : `${figure(count)} tasks`;
}
