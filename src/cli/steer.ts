/**
 * The commands that change something while no program has the folder open: retry, abort, done, reset, compact.
 */
import type { Key } from '../core/key.ts';
import { nodeSystem } from '../disk/system.ts';
import type { Command, Given, Output } from './command.ts';
import { type AnyTracker, unknownKey, writing, writingTasks } from './open.ts';
import { figure, findKey, timeOption } from './words.ts';

export const STEERING: readonly Command[] = [
  {
    name: 'retry',
    words: '[key...]',
    summary: 'put failed tasks back, all or some; their tries count from 0 again; exit code 1 where there was none',
    options: [
      ['--class <id>', 'only those with an error of this class; see errors'],
      ['--since <time>', 'only those that failed since then: 90s, 15m, 2h or 3d ago, or a time in ISO 8601'],
      ['--aborted', 'aborted ones that have an error, too'],
    ],
    examples: ['retry crawl.pod', 'retry crawl.pod --class E3f2a91 --since 2d'],
    run: ({ path, words, json, options }, { out }) =>
      writingTasks(path, (tracker) => {
        const since = options.since === undefined ? undefined : String(options.since);
        const count = tracker.retry({
          ...(words.length > 0 && { keys: keysOf(tracker, words) }),
          ...(options.class !== undefined && { class: String(options.class) }),
          ...(since !== undefined && { since: timeOption(path, 'since', since, nodeSystem.clock.now()) }),
          allowAborted: options.aborted === true,
        });
        out(json ? `${JSON.stringify({ retried: count })}\n` : `${path}: ${tasks(count)} put back.\n`);
        return count > 0 ? 0 : 1;
      }),
  },
  {
    name: 'abort',
    words: '<key...>',
    summary: 'set tasks aside, so that they are not handed out',
    options: [['--reason <text>', 'is kept as the error of the task']],
    examples: ['abort crawl.pod https://example.org/calendar --reason "has no end"'],
    run: (given, output) =>
      each(given, output, 'aborted', (tracker, key) => tracker.abort(key, given.options.reason as string | undefined)),
  },
  {
    name: 'done',
    words: '<key...>',
    summary: 'mark tasks as done',
    examples: ['done crawl.pod https://example.org/'],
    run: (given, output) => each(given, output, 'done', (tracker, key) => tracker.markDone(key)),
  },
  {
    name: 'reset',
    words: '<key...>',
    summary: 'make tasks as if nobody had tried them, done ones too; the data in them stays',
    examples: ['reset crawl.pod https://example.org/'],
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

/** Does one thing to each of the tasks that were named: to all of them, or to none. */
function each(
  { path, words, json }: Given,
  { out }: Output,
  what: string,
  change: (tracker: AnyTracker, key: Key) => void,
): number {
  return writingTasks(path, (tracker) => {
    const keys = keysOf(tracker, words);
    tracker.transaction(() => {
      for (const key of keys) change(tracker, key);
    });
    out(json ? `${JSON.stringify({ [what]: keys.length })}\n` : `${path}: ${tasks(keys.length)} ${what}.\n`);
    return 0;
  });
}

/** @throws {PodError} `ERR_POD_UNKNOWN_KEY` */
function keysOf(tracker: AnyTracker, words: readonly string[]): Key[] {
  return words.map((word) => {
    const key = findKey(word, (candidate) => tracker.has(candidate));
    if (key === undefined) throw unknownKey(tracker.path, word);
    return key;
  });
}

function tasks(count: number): string {
  return count === 1 ? '1 task' : `${figure(count)} tasks`;
}
