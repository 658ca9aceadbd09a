/**
 * What a client may ask of a shared tracker beside what any pod can do.
 */
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import type { AddOptions, FailOptions, GateOptions, RetryOptions } from '../tracker/options.ts';
import type { ClaimDesk, Release } from './claims.ts';
import {
  type Context,
  change,
  checkArguments,
  type Operation,
  PARKED,
  read,
  type ServedTracker,
} from './operations.ts';

/** How many tasks are handed out at once at most. */
const CLAIMS_MAX = 1000;
/** What may be said together with the claim of the next task. */
const WORDS: ReadonlySet<string> = new Set(['markDone', 'fail', 'abort']);

interface TaskContext extends Context {
  readonly tracker: ServedTracker;
  readonly desk: ClaimDesk;
}

/** What an operation about tasks works with. */
function tasksOf(context: Context): TaskContext {
  if (context.tracker !== undefined && context.desk !== undefined) return context as TaskContext;
  throw new PodError('ERR_POD_UNSUPPORTED', `${context.pod.path} is a pod and no tracker.`);
}

/** A change of one task that says nothing of a try. */
function edit<A extends readonly unknown[]>(
  args: Operation['args'],
  run: (tracker: ServedTracker, args: [Key, ...A]) => unknown,
): Operation {
  return change(args, (context, given: [Key, ...A]) => {
    const { tracker, group } = tasksOf(context);
    group.touch(given[0]);
    return run(tracker, given);
  });
}

/** A word about how a try went; it ends the claim. */
function word<A extends readonly unknown[]>(
  args: Operation['args'],
  run: (context: TaskContext, key: Key, args: A) => unknown,
  overrules: boolean = false,
): Operation {
  return change([...args, 'text?'], (context, given: [Key, ...unknown[]]) => {
    const tasks = tasksOf(context);
    const key = given[0];
    const token = given[args.length] as string | null | undefined;
    tasks.group.touch(key);
    tasks.desk.settle(tasks.group, tasks.client, key, token ?? undefined, overrules);
    return run(tasks, key, given.slice(1, args.length) as unknown as A);
  });
}

const tracked = <A extends readonly unknown[]>(
  args: Operation['args'],
  run: (tracker: ServedTracker, args: A) => unknown,
): Operation => read(args, (context, given: A) => run(tasksOf(context).tracker, given));

export const TRACKER_OPERATIONS: readonly (readonly [string, Operation])[] = [
  ['done', tracked(['key'], (tracker, [key]: [Key]) => tracker.done(key))],
  ['aborted', tracked(['key'], (tracker, [key]: [Key]) => tracker.aborted(key))],
  ['tries', tracked(['key'], (tracker, [key]: [Key]) => tracker.tries(key))],
  ['maxTries', tracked([], (tracker) => tracker.maxTries)],
  ['priority', tracked(['key'], (tracker, [key]: [Key]) => tracker.priority(key))],
  ['stats', tracked([], (tracker) => tracker.stats())],
  ['resume', tracked([], (tracker) => tracker.resume)],
  [
    'progress',
    read([], (context) => ({ stats: tasksOf(context).tracker.stats(), inFlight: context.memory.claims.size })),
  ],
  ['errorClasses', tracked([], (tracker) => tracker.errorClasses())],
  [
    'shouldDo',
    tracked(['key', 'object?'], (tracker, [key, options]: [Key, GateOptions | null]) =>
      tracker.shouldDo(key, options ?? {}),
    ),
  ],
  [
    'counts',
    tracked([], (tracker) => [
      tracker.size,
      tracker.numDone(),
      tracker.numTried(),
      tracker.numAborted(),
      tracker.numTodo(),
    ]),
  ],

  [
    'add',
    edit(['key', 'object?', 'object?'], (tracker, [key, data, options]: [Key, object | null, AddOptions | null]) =>
      tracker.add(key, data ?? {}, options ?? {}),
    ),
  ],
  [
    'addIfAbsent',
    edit(['key', 'object?', 'object?'], (tracker, [key, data, options]: [Key, object | null, AddOptions | null]) =>
      tracker.addIfAbsent(key, data ?? {}, options ?? {}),
    ),
  ],
  [
    'setPriority',
    edit(['key', 'number'], (tracker, [key, priority]: [Key, number]) => tracker.setPriority(key, priority)),
  ],
  ['addMany', many((tracker, keys) => tracker.addMany(keys))],
  ['addManyIfAbsent', many((tracker, keys) => tracker.addManyIfAbsent(keys))],
  ['markNotDone', edit(['key'], (tracker, [key]) => tracker.markNotDone(key))],
  ['unabort', edit(['key'], (tracker, [key]) => tracker.unabort(key))],
  ['incrementTries', edit(['key'], (tracker, [key]) => tracker.incrementTries(key))],
  ['decrementTries', edit(['key'], (tracker, [key]) => tracker.decrementTries(key))],
  ['resetTries', edit(['key'], (tracker, [key]) => tracker.resetTries(key))],
  [
    'shouldDoAdd',
    edit(['key', 'object?'], (tracker, [key, options]: [Key, GateOptions | null]) =>
      tracker.shouldDoAdd(key, options ?? {}),
    ),
  ],
  [
    'retry',
    change(['object?'], (context, [options]: [RetryOptions | null]) => {
      const { tracker, group } = tasksOf(context);
      for (const key of tracker.failedKeys()) group.touch(key);
      for (const key of options?.keys ?? []) group.touch(key);
      return tracker.retry(options ?? {});
    }),
  ],

  [
    'markDone',
    word(['key', 'object?'], ({ tracker }, key, [data]: [object | null]) => tracker.markDone(key, data ?? undefined)),
  ],
  [
    'abort',
    word(
      ['key', 'value?'],
      ({ tracker }, key, [reason]: [unknown]) => {
        tracker.abort(key, reason ?? undefined);
        return tracker.snapshot(key)?._error;
      },
      true,
    ),
  ],
  [
    'fail',
    word(['key', 'value?', 'object?'], ({ tracker, desk }, key, [error, options]: [unknown, FailOptions | null]) => {
      tracker.fail(key, error ?? undefined, options ?? {});
      desk.failed(key);
      return tracker.get(key)?._error;
    }),
  ],

  [
    'claimKey',
    // The first argument says whether the task is added where it is not there.
    change(['yes', 'key', 'object?'], (context, [adds, key, options]: [boolean, Key, GateOptions | null]) => {
      const { tracker, desk, group, client } = tasksOf(context);
      const { allowAborted = false } = options ?? {};
      if (adds) {
        group.touch(key);
        tracker.addIfAbsent(key);
      }
      tracker.shouldDo(key, { allowAborted }); // Refuses an unknown key and wrong options.
      return desk.claimKey(group, client, key, allowAborted)?.token ?? false;
    }),
  ],
  ['claim', change(['text', 'number', 'count', 'yes', 'yes', 'values'], claim, false)],
  ['wordAndClaim', change(['text', 'values', 'text', 'number', 'yes', 'yes'], wordAndClaim, false)],
  ['release', change(['text', 'values'], release, false)],
  ['leave', change(['text', 'values', 'values'], leave, false)],
];

function many(run: (tracker: ServedTracker, keys: readonly Key[]) => unknown): Operation {
  return change(['keys'], (context, [keys]: [Key[]]) => {
    const { tracker, group } = tasksOf(context);
    for (const key of keys) group.touch(key);
    return run(tracker, keys);
  });
}

/**
 * Hands tasks out. `passed` are the tokens of those that the loop went on from. The answer is `[[token, key, value?], ...]`, or null when the
 * pass is over; there is none while others may still add work.
 */
function claim(
  context: Context,
  [loop, sinceMs, limit, allowAborted, withValues, passed]: [string, number, number, boolean, boolean, string[]],
): unknown {
  const tasks = tasksOf(context);
  const name = `${tasks.client} ${loop}`;
  tasks.desk.enter(name, sinceMs);
  releaseAll(tasks, passed, 'passed');
  const handed: unknown[] = [];
  while (handed.length < Math.min(limit, CLAIMS_MAX)) {
    const next = handOut(tasks, allowAborted, withValues);
    if (next === undefined) break;
    handed.push(next);
  }
  if (handed.length > 0) return handed;
  if (!tasks.desk.isOver) return PARKED;
  tasks.desk.leave(name);
  return null;
}

/**
 * A word about a task, and with it the claim of the next one, in the same batch: `[what the word answers, [token, key, value?] or null]`. A
 * word that is refused claims nothing. This waits for no task, because the loop may not want one yet.
 */
function wordAndClaim(
  context: Context,
  [name, args, loop, sinceMs, allowAborted, withValues]: [string, unknown[], string, number, boolean, boolean],
): unknown {
  if (!WORDS.has(name)) {
    throw new PodError('ERR_POD_UNSUPPORTED', `${JSON.stringify(name.slice(0, 40))} says nothing of how a task went.`);
  }
  const tasks = tasksOf(context);
  const said = context.operationOf(name);
  checkArguments(name, said, args);
  const result = said.run(context, args as never[]);
  const facts = tasks.group.facts.length;
  tasks.desk.enter(`${tasks.client} ${loop}`, sinceMs);
  try {
    return [result, handOut(tasks, allowAborted, withValues) ?? null];
  } catch {
    // The word was heard all the same; whoever asks for the next task by itself is told.
    tasks.group.undoFrom(facts);
    return [result, null];
  }
}

/** Claims the next task, as it goes to its loop. */
function handOut({ tracker, desk, group, client }: TaskContext, allowAborted: boolean, withValues: boolean): unknown {
  const claimed = desk.claim(group, client, allowAborted);
  if (claimed === undefined) return undefined;
  const { token, key } = claimed;
  return withValues ? [token, key, tracker.snapshot(key)] : [token, key];
}

function release(context: Context, [how, tokens]: [string, string[]]): void {
  if (how !== 'passed' && how !== 'unused' && how !== 'left') {
    throw new PodError('ERR_POD_UNSUPPORTED', 'A claim is not released so.');
  }
  releaseAll(tasksOf(context), tokens, how);
}

/** A loop ends before everything is done. */
function leave(context: Context, [loop, passed, unused]: [string, string[], string[]]): void {
  const tasks = tasksOf(context);
  releaseAll(tasks, passed, 'passed');
  releaseAll(tasks, unused, 'unused');
  tasks.desk.leave(`${tasks.client} ${loop}`);
}

function releaseAll({ memory, desk, group, client }: TaskContext, tokens: readonly unknown[], how: Release): void {
  for (const token of tokens) {
    const claimed = memory.claims.get(String(token));
    if (claimed?.client === client) desk.release(group, claimed, how);
  }
}
