/**
 * The commands that watch a folder while a program is at work, or after its death, without touching it: tail, top.
 */
import type { Key } from '../core/key.ts';
import { keyText } from '../core/key.ts';
import { type FollowedRecord, Follower } from '../disk/follower.ts';
import { nodeSystem } from '../disk/system.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { errorOf } from '../tracker/error-classes.ts';
import { ABORTED, DONE, FAILED, stateOf, triesIn, UNFINISHED } from '../tracker/task.ts';
import { clip, printable } from '../tracker/wording.ts';
import type { Command, Given, Output } from './command.ts';
import { runTop } from './top.ts';
import { untilSignal } from './until-signal.ts';
import { countOption, figure, keyWord } from './words.ts';

const LINES_DEFAULT = 10;
const FOLLOW_EVERY_MS = 500;
const VALUE_COLUMNS = 80;

export const WATCHING: readonly Command[] = [
  {
    name: 'tail',
    summary:
      'the last records of the log, one a line: its number, what was done, how the task stands, key, short value',
    options: [
      ['-n, --lines <n>', `so many of the last records; default ${LINES_DEFAULT}`],
      ['-f, --follow', 'go on with what is appended, until Ctrl-C'],
    ],
    examples: ['tail crawl.pod -n 20', 'tail crawl.pod -f', 'tail crawl.pod -f --json | jq -r .key'],
    run: tail,
  },
  {
    name: 'top',
    summary:
      'watch a run: progress, rates, time left, tasks in flight, slow hosts, failures; one picture where there is no terminal',
    options: [
      ['--once', 'one picture instead of a screen; while a program is at work it takes two looks, for the rates'],
      ['--interval <seconds>', 'between two looks; default 2'],
    ],
    examples: ['top crawl.pod', 'top crawl.pod --once', 'top crawl.pod --json | jq .todo'],
    run: runTop,
  },
];

async function tail({ path, json, options }: Given, output: Output): Promise<number> {
  const folder = normalizePath(path);
  const lines = options.lines === undefined ? LINES_DEFAULT : countOption(folder, 'lines', String(options.lines));
  const follower = new Follower(nodeSystem, folder);
  const show = (records: readonly FollowedRecord[]): void => {
    const isTracker = follower.meta.tracker === true;
    for (const record of records) output.out(`${json ? asJson(record, isTracker) : asLine(record, isTracker)}\n`);
  };
  const { records } = follower.look();
  show(lines === 0 ? [] : records.slice(-lines));
  if (records.length < lines) {
    output.err(
      `everpod: the log holds ${figure(records.length)} ${records.length === 1 ? 'record' : 'records'}; what is older is in the shards, without its history.\n`,
    );
  }
  if (options.follow !== true) return 0;
  await untilSignal(FOLLOW_EVERY_MS, () => {
    const look = follower.look();
    if (look.wentBackTo !== undefined) {
      output.err(`everpod: the program went back; what came after record ${look.wentBackTo} did not happen.\n`);
    }
    if (look.missed) output.err('everpod: records were folded into the shards before they could be read.\n');
    show(look.records);
  });
  return 0;
}

function asJson(record: FollowedRecord, isTracker: boolean): string {
  const { s, operation, key, text } = record;
  const value: unknown = text === undefined ? undefined : JSON.parse(text);
  const task = isTracker && text !== undefined ? taskWord(value) : undefined;
  return JSON.stringify({ record: s, operation, key, task, value });
}

function asLine(record: FollowedRecord, isTracker: boolean): string {
  const { s, operation, key, text } = record;
  const words = [String(s), operation.padEnd(5)];
  if (text === undefined) return [...words, ...(key === undefined ? [] : [shownKey(key)])].join('  ').trimEnd();
  if (!isTracker) return [...words, shownKey(key as Key), clip(printable(text), VALUE_COLUMNS)].join('  ');
  const value: unknown = JSON.parse(text);
  const { _tries, _done, _aborted, _error, ...data } = value as Record<string, unknown>;
  const error = (stateOf(value) & FAILED) === 0 ? undefined : errorOf(value);
  const short = error === undefined ? JSON.stringify(data) : `${error.name}: ${error.message}`;
  return [...words, taskWord(value).padEnd(7), shownKey(key as Key), clip(printable(short), VALUE_COLUMNS)].join('  ');
}

function shownKey(key: Key): string {
  return printable(keyWord(key) || keyText(key));
}

/** How a task stands. */
function taskWord(value: unknown): string {
  const state = stateOf(value);
  if ((state & DONE) !== 0) return 'done';
  if ((state & ABORTED) !== 0) return 'aborted';
  if ((state & UNFINISHED) !== 0) return `try ${triesIn(state)}`;
  return (state & FAILED) !== 0 ? 'failed' : 'to do';
}
