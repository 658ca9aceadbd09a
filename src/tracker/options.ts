/**
 * The options of a tracker and of its loops: their types and their checks.
 */
import { z } from 'zod';
import type { Key } from '../core/key.ts';
import { checkWith, type Entries, type PodOptions, type StandardSchema, wholeNumber } from '../pod/options.ts';
import type { Task } from './task.ts';

/** How a tracker is opened: as a pod, and with a limit of tries. */
export interface TrackerOptions<T extends object, K extends Key>
  extends Omit<PodOptions<Task<T>, K>, 'init' | 'schema'> {
  /** How often a task is handed out at most; 0 means no limit. Kept on disk; default: as on disk, else 0. */
  maxTries?: number | undefined;
  /** Merged in with `update()` after loading. */
  init?: Entries<Partial<Task<T>>, K> | undefined;
  /** Checks the user's part of each task, without `_tries`, `_done`, `_aborted` and `_error`. */
  schema?: StandardSchema<T> | undefined;
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

const retrySchema = z.strictObject({
  keys: z
    .custom<object>((value) => typeof value === 'object' && value !== null && Symbol.iterator in value, 'must be keys')
    .optional(),
  allowAborted: z.boolean('must be true or false').optional(),
  class: z.string('must be the id of a class of errors').optional(),
  since: z
    .union([z.date(), z.string()], 'must be a Date or a time in ISO 8601')
    .refine((time) => !Number.isNaN(new Date(time).getTime()), 'must be a Date or a time in ISO 8601')
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

const loopSchema = z.strictObject({
  allowAborted: z.boolean('must be true or false').optional(),
  limit: z
    .union(
      [z.literal(Number.POSITIVE_INFINITY), wholeNumber(0, Number.MAX_SAFE_INTEGER)],
      'must be a whole number from 0',
    )
    .optional(),
  signal: z.custom<object>((value) => value instanceof AbortSignal, 'must be an AbortSignal').optional(),
});

/**
 * Checks the options of a loop as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkLoopOptions(path: string, options: object): void {
  checkWith(loopSchema, path, options);
}
