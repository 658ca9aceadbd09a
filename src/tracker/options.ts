/**
 * The options of a tracker and of its loops: their types and their checks.
 */
import * as z from 'zod';
import type { Key } from '../core/key.ts';
import {
  checkWith,
  type Entries,
  optionsError,
  type PodOptions,
  type StandardSchema,
  wholeNumber,
} from '../pod/options.ts';
import type { BreakerOptions } from './breaker.ts';
import { type Blame, isPriority, PRIORITY_MAX, type Task } from './task.ts';

/** How a tracker is opened: as a pod, and with a limit of tries. */
export interface TrackerOptions<T extends object, K extends Key>
  extends Omit<PodOptions<Task<T>, K>, 'init' | 'schema'> {
  /**
   * How often a task is handed out at most; 0 means no limit. Kept on disk; default: as on disk, else 0. More than 2,097,151 is kept, and
   * limits as so many do.
   */
  maxTries?: number | undefined;
  /**
   * A task that was in flight this many times in a row when the process died (killed, out of memory, an error that nobody caught) is set
   * aside, instead of killing the process again; 0 means never. Default 5. Looked at when the folder is opened for writing.
   */
  maxDeaths?: number | undefined;
  /** Merged in with `update()` after loading. */
  init?: Entries<Partial<Task<T>>, K> | undefined;
  /** Checks the user's part of each task, without `_tries`, `_done`, `_aborted`, `_error` and `_priority`. */
  schema?: StandardSchema<T> | undefined;
}

/** How a task is added. */
export interface AddOptions {
  /** Loops hand out higher ones first: a whole number from -10 to 10. Default 0. */
  priority?: number | undefined;
}

const addSchema = z.strictObject({
  priority: z.custom<number>(isPriority, `must be a whole number from -${PRIORITY_MAX} to ${PRIORITY_MAX}`).optional(),
});

/**
 * Checks the options of `add` and its like as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkAddOptions(path: string, options: object): void {
  checkWith(addSchema, path, options);
}

/** @throws {PodError} `ERR_POD_OPTIONS` */
export function checkPriority(path: string, priority: unknown): void {
  if (isPriority(priority)) return;
  throw optionsError(path, 'priority', `must be a whole number from -${PRIORITY_MAX} to ${PRIORITY_MAX}`);
}

/** @throws {PodError} `ERR_POD_OPTIONS` */
export function checkMaxTries(path: string, tries: unknown): void {
  if (Number.isSafeInteger(tries) && (tries as number) >= 0) return;
  throw optionsError(path, 'maxTries', 'must be a whole number from 0');
}

/** Which tasks count as to do. */
export interface GateOptions {
  /** Aborted tasks too. Default false. */
  allowAborted?: boolean | undefined;
}

/** Which tasks are handed out, and for how long. */
export interface LoopOptions extends GateOptions {
  /** End after this many; a whole number from 0, or Infinity, which is the default. */
  limit?: number | undefined;
  /** End when it is aborted. */
  signal?: AbortSignal | undefined;
  /** With it the loop is a paced one, which waits; see `PacedOptions`. */
  concurrency?: undefined;
}

/** What tells which tasks belong together, such as the host of an address. */
export type GroupName = string | number;

/** How a loop is paced that hands out several tasks at once and waits for them. */
export interface PacedOptions<K extends Key = Key> extends Omit<LoopOptions, 'concurrency'> {
  /**
   * At most this many tasks are in flight: handed out, and neither `markDone`, `fail`, `abort` nor anything else has said how it went. From
   * 1. The loop waits for them, and ends when nothing is left and nothing is in flight.
   */
  concurrency: number;
  /** The group of a task. Default: all are one, with no limit of its own. */
  group?: ((key: K) => GroupName) | undefined;
  /** At most this many of one group are in flight; default 1. */
  perGroup?: number | undefined;
  /** At least this long between the starts of two tasks of one group, and from the end of one to the next start. Default 0. */
  delayMs?: number | ((group: GroupName) => number) | undefined;
  /** Failed tasks with tries left come again in this same loop, this much later. Default: only those with `retryAfterMs`. */
  retryDelayMs?: number | undefined;
  /** Pauses when tries fail alike. Default: never. */
  breaker?: BreakerOptions | undefined;
}

/** What is known of a failure beside the error. */
export interface FailOptions {
  /** Who is to blame; default `'task'`. For any other the try is given back, so that it does not count towards `maxTries`. */
  blame?: Blame | undefined;
  /** No loop hands the task out for this long, also after a restart; milliseconds. Default: none does in the same pass. */
  retryAfterMs?: number | undefined;
}

/** Which failed tasks are put back; all that is given must fit. */
export interface RetryOptions<K extends Key = Key> extends GateOptions {
  /** Only these; one that has not failed is left as it is. */
  keys?: Iterable<K> | undefined;
  /** Only those whose error is of this class; see `errorClasses()`. */
  class?: string | undefined;
  /** Only those that failed at this time or later; a text is ISO 8601. */
  since?: Date | string | undefined;
}

/** Whether a text is a time in ISO 8601, from the day on; `Date` itself takes much else for one, such as `5`. */
export function isIsoTime(text: string): boolean {
  return ISO_TIME.test(text) && !Number.isNaN(new Date(text).getTime());
}

const ISO_TIME = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/;

const retrySchema = z.strictObject({
  keys: z
    .custom<object>((value) => typeof value === 'object' && value !== null && Symbol.iterator in value, 'must be keys')
    .optional(),
  allowAborted: z.boolean('must be true or false').optional(),
  class: z.string('must be the id of a class of errors').optional(),
  since: z
    .union([z.date(), z.string()], 'must be a Date or a time in ISO 8601')
    .refine((time) => typeof time !== 'string' || isIsoTime(time), 'must be a Date or a time in ISO 8601')
    .optional(),
});

/**
 * Checks the options of `retry` as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkRetryOptions(path: string, options: object): void {
  checkWith(retrySchema, path, options);
}

/** At most this long, so that a time that is added to today's is a date. */
const DURATION_MS_MAX = 10 * 365 * 86_400_000;

function durationMs(): z.ZodNumber {
  const message = `must be a number of milliseconds from 0 to ${DURATION_MS_MAX}`;
  return z.number(message).min(0, message).max(DURATION_MS_MAX, message);
}

const failSchema = z.strictObject({
  blame: z.enum(['task', 'host', 'environment'], 'must be "task", "host" or "environment"').optional(),
  retryAfterMs: durationMs().optional(),
});

/**
 * Checks the options of `fail` as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkFailOptions(path: string, options: object): void {
  checkWith(failSchema, path, options);
}

/** What every loop understands. */
export const loopShape: Readonly<Record<'allowAborted' | 'limit' | 'signal', z.ZodType>> = {
  allowAborted: z.boolean('must be true or false').optional(),
  limit: z
    .union(
      [z.literal(Number.POSITIVE_INFINITY), wholeNumber(0, Number.MAX_SAFE_INTEGER)],
      'must be a whole number from 0',
    )
    .optional(),
  signal: z.custom<object>((value) => value instanceof AbortSignal, 'must be an AbortSignal').optional(),
};

const loopSchema = z.strictObject({ ...loopShape, concurrency: z.undefined().optional() });

const aFunction = z.custom<object>((value) => typeof value === 'function', 'must be a function');
const fromOne = wholeNumber(1, Number.MAX_SAFE_INTEGER);
const pacedSchema = loopSchema.extend({
  concurrency: fromOne,
  group: aFunction.optional(),
  perGroup: fromOne.optional(),
  delayMs: z
    .union([durationMs(), aFunction], 'must be a number of milliseconds, or a function that gives it')
    .optional(),
  retryDelayMs: durationMs().optional(),
  breaker: z
    .strictObject(
      { failures: fromOne, of: fromOne.optional(), pauseMs: durationMs().optional(), counts: aFunction.optional() },
      'must have the number of failures',
    )
    .refine(({ failures, of = failures }) => of >= failures, 'cannot need more failures than it looks at')
    .optional(),
});

/** Whether the options are those of a paced loop; one that lacks `concurrency` is told so by `checkPacedOptions`. */
export function isPaced(options: object): boolean {
  if (typeof options !== 'object' || options === null) return false;
  const { concurrency } = options as { concurrency?: unknown };
  return (
    concurrency !== undefined || PACED_ONLY.some((name) => (options as Record<string, unknown>)[name] !== undefined)
  );
}

const PACED_ONLY = Object.keys(pacedSchema.shape).filter((name) => !(name in loopSchema.shape));

/**
 * Checks the options of a paced loop as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkPacedOptions(path: string, options: object): void {
  checkWith(pacedSchema, path, options);
}

/**
 * The options with functions whose answers are checked: what is no delay would keep the loop waiting for ever, and what is no group would be
 * one of its own for each task.
 */
export function withCheckedAnswers<K extends Key>(path: string, options: PacedOptions<K>): PacedOptions<K> {
  const { group, delayMs } = options;
  const checked = { ...options };
  if (group !== undefined) {
    checked.group = (key) => {
      const name: unknown = group(key);
      if (typeof name === 'string' || typeof name === 'number') return name;
      throw optionsError(
        path,
        'group',
        `must give a string or a number; for the task ${JSON.stringify(key)} it did not`,
      );
    };
  }
  if (typeof delayMs === 'function') {
    checked.delayMs = (name) => {
      const delay: unknown = delayMs(name);
      if (typeof delay === 'number' && delay >= 0 && delay <= DURATION_MS_MAX) return delay;
      throw optionsError(
        path,
        'delayMs',
        `must give a number of milliseconds from 0 to ${DURATION_MS_MAX}; for the group ${JSON.stringify(name)} it gave ${String(delay)}`,
      );
    };
  }
  return checked;
}

/**
 * Checks the options of a loop as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkLoopOptions(path: string, options: object): void {
  checkWith(loopSchema, path, options);
}
