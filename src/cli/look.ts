/**
 * The commands that look and change nothing, beside a program that is at work: stats, ls, get, explain, errors.
 */
import { type Key, keyText } from '../core/key.ts';
import { nodeSystem } from '../disk/system.ts';
import { optionsError } from '../pod/options.ts';
import { engineOf } from '../pod/pod.ts';
import { type ErrorClass, ErrorClasses, errorOf } from '../tracker/error-classes.ts';
import { isPutOff, type TaskError, type TaskRecord } from '../tracker/task.ts';
import { type Command, type Given, type Output, sayError } from './command.ts';
import { type AnyPod, type AnyTracker, reading, requireTracker, unknownKey } from './open.ts';
import { keysWhere, WHERE_OPTION, whereOption } from './select.ts';
import type { Where } from './where.ts';
import { columns, countOption, entries, figure, findKey, keyWord, oneLine } from './words.ts';

/** What `ls` can be asked for, apart from everything. */
const LISTS: Readonly<Record<string, (tracker: AnyTracker) => Iterable<Key>>> = {
  todo: (tracker) => tracker.todoKeys(),
  done: (tracker) => tracker.doneKeys(),
  failed: (tracker) => tracker.failedKeys(),
  aborted: (tracker) => tracker.abortedKeys(),
};

export const LOOKING: readonly Command[] = [
  {
    name: 'stats',
    summary: 'how many entries there are, and how many of them are done, to do, failed, aborted',
    examples: ['stats crawl.pod', 'stats crawl.pod --json | jq .todo'],
    run: ({ path, json }, { out }) =>
      reading(path, (pod, tracker) => {
        if (json) {
          const { fileSize, gzip } = engineOf(pod).layout;
          const of = tracker === undefined ? { total: pod.size } : taskCounts(tracker);
          out(
            `${JSON.stringify({ kind: tracker === undefined ? 'pod' : 'tracker', ...of, fileSize, gzipped: gzip })}\n`,
          );
        } else out(tracker === undefined ? `${path}: a pod of ${entries(pod.size)}\n` : describeTracker(path, tracker));
        return 0;
      }),
  },
  {
    name: 'ls',
    summary: 'the keys, one a line, in order; keys that are not plain words as JSON',
    options: [
      ['--todo', 'only tasks that are to do'],
      ['--done', 'only tasks that are done'],
      ['--failed', 'only tasks that are not done and have an error'],
      ['--aborted', 'only tasks that are aborted'],
      WHERE_OPTION,
      ['--limit <n>', 'at most so many; what was left out is said on standard error'],
    ],
    examples: ['ls crawl.pod --failed', 'ls crawl.pod --todo --where \'key glob "*.pdf"\' --json --limit 10'],
    run: list,
  },
  {
    name: 'get',
    words: '<key>',
    summary: 'one value, as JSON; exit code 1 where there is none',
    examples: ['get crawl.pod https://example.org/', 'get numbers.pod 17'],
    run: (given, output) =>
      reading(given.path, (pod) =>
        aboutKey(pod, given, output, (key) => {
          const value = pod.snapshot(key);
          output.out(given.json ? `${JSON.stringify({ key, value })}\n` : `${JSON.stringify(value, undefined, 2)}\n`);
          return 0;
        }),
      ),
  },
  {
    name: 'explain',
    words: '<key>',
    summary: 'whether a task will be handed out, and why; exit code 1 where it will not',
    examples: ['explain crawl.pod https://example.org/'],
    run: (given, output) =>
      reading(given.path, (pod) => {
        const tracker = requireTracker(pod);
        return aboutKey(pod, given, output, (key) => {
          const isTodo = tracker.shouldDo(key);
          const why = explainTask(tracker, key);
          output.out(given.json ? `${JSON.stringify({ key, todo: isTodo, why })}\n` : `${keyWord(key)}: ${why}\n`);
          return isTodo ? 0 : 1;
        });
      }),
  },
  {
    name: 'errors',
    summary:
      'why tasks failed; errors that are alike are one class, the most frequent first; exit code 1 where there are any',
    options: [WHERE_OPTION],
    examples: ['errors crawl.pod', "errors crawl.pod --where 'tries > 2' --json | jq -r .id"],
    run: (given, { out }) => {
      const { path, json } = given;
      const where = whereOption(given);
      return reading(path, (pod) => {
        const classes = errorClassesWhere(requireTracker(pod), where);
        if (json) for (const each of classes) out(`${JSON.stringify(each)}\n`);
        else if (classes.length === 0) out(`${path}: no task has failed.\n`);
        else {
          const rows = classes.map(({ id, count, stuck, lastAt, name, code, message }) => [
            id,
            figure(count),
            figure(stuck),
            lastAt.slice(0, 19),
            oneLine(`${name}${code === undefined ? '' : ` ${code}`}: ${message}`),
          ]);
          out(columns([['class', 'tasks', 'stuck', 'last', 'error'], ...rows], [1, 2]));
        }
        return classes.length === 0 ? 0 : 1;
      });
    },
  },
];

/** Answers about the one entry that was named; exit code 1 where there is none. */
function aboutKey(
  pod: AnyPod,
  { words: [word = ''], json }: Given,
  output: Output,
  answer: (key: Key) => number,
): number {
  const key = findKey(word, (each) => pod.has(each));
  if (key !== undefined) return answer(key);
  sayError(unknownKey(pod.path, word), json, output);
  return 1;
}

/** As `errorClasses()` of a tracker, of some of its tasks. */
function errorClassesWhere(tracker: AnyTracker, where: Where | undefined): ErrorClass[] {
  if (where === undefined) return tracker.errorClasses();
  const classes = new ErrorClasses<Key>();
  for (const key of keysWhere(tracker, where, tracker.failedKeys())) {
    const error = errorOf(tracker.snapshot(key));
    if (error !== undefined) classes.add(key, error, !tracker.shouldDo(key));
  }
  return classes.list();
}

function taskCounts(tracker: AnyTracker) {
  const { total, done, todo, failed, exhausted, aborted, tried, tries } = tracker.stats();
  return { total, done, todo, failed, exhausted, aborted, tried, tries, maxTries: tracker.maxTries };
}

function describeTracker(path: string, tracker: AnyTracker): string {
  const { total, done, todo, failed, exhausted, aborted, tries, maxTries } = taskCounts(tracker);
  const share = (count: number): string => (total === 0 ? '' : `${((100 * count) / total).toFixed(1)} %`);
  const rows = [
    ['done', figure(done), share(done)],
    ['to do', figure(todo), share(todo)],
    ['failed', figure(failed), share(failed)],
    ['out of tries', figure(exhausted), share(exhausted)],
    ['aborted', figure(aborted), share(aborted)],
  ];
  const limit = maxTries === 0 ? 'no limit for a task' : `at most ${figure(maxTries)} for a task`;
  const why = tracker.resume.nothingLeft;
  return [
    `${path}: a tracker of ${total === 1 ? '1 task' : `${figure(total)} tasks`}\n`,
    columns(rows, [1, 2]),
    `tries: ${figure(tries)}, ${limit}\n`,
    why === undefined ? '' : `nothing is left to do: ${why}\n`,
  ].join('');
}

function list(given: Given, { out, err }: Output): number {
  const { path, json, options } = given;
  const where = whereOption(given);
  return reading(path, (pod) => {
    const asked = Object.keys(LISTS).filter((name) => options[name] === true);
    if (asked.length > 1) throw optionsError(path, asked[1] ?? '', `cannot be given together with --${asked[0]}`);
    const limit =
      options.limit === undefined ? Number.POSITIVE_INFINITY : countOption(path, 'limit', String(options.limit));
    const keys = asked[0] === undefined ? pod.keys() : LISTS[asked[0]]?.(requireTracker(pod));
    let count = 0;
    for (const key of keysWhere(pod, where, keys as Iterable<Key>)) {
      if (count++ < limit) out(`${json ? keyText(key) : keyWord(key)}\n`);
    }
    if (count > limit) err(`everpod: ${figure(limit)} of ${figure(count)} keys; --limit left the others out.\n`);
    return 0;
  });
}

function explainTask(tracker: AnyTracker, key: Key): string {
  const task = tracker.snapshot(key) as TaskRecord;
  const { _tries: tries, _done, _aborted } = task;
  const last = errorOf(task);
  const { maxTries } = tracker;
  const priority = tracker.priority(key);
  const tried =
    `tried ${tries} ${tries === 1 ? 'time' : 'times'}${maxTries === 0 ? '' : ` of ${maxTries}`}` +
    (priority === 0 ? '' : `, priority ${priority}`);
  const error =
    last === undefined
      ? ''
      : `; the last error, at ${oneLine(last.at)}, was ${oneLine(`${last.name}: ${last.message}`)}${blamed(last)}`;
  if (_done) return `done, ${tried}`;
  if (_aborted) return `aborted, ${tried}${error}`;
  if (maxTries > 0 && tries >= maxTries) return `out of tries, ${tried}${error}`;
  if (isPutOff(task, nodeSystem.clock.now())) return `to do, but not before ${task._error?.retryAt}, ${tried}${error}`;
  return `to do, ${tried}${error}`;
}

function blamed({ blame }: TaskError): string {
  return blame === undefined ? '' : ` (the ${blame}'s fault)`;
}
