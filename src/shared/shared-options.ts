/**
 * The options of shared pods and trackers: their types and their checks.
 */
import * as z from 'zod';
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import { checkOptions, checkWith, optionsError, type PodOptions, wholeNumber } from '../pod/options.ts';
import { type LoopOptions, loopShape, type TrackerOptions } from '../tracker/options.ts';

/** How a folder is shared. Every option may be left out. */
export interface ShareOptions {
  /** Nothing is heard of a handle for this long: its connection is cut, and its claims and its lock are free. Milliseconds; default 30,000. */
  leaseMs?: number | undefined;
  /** How long `open` waits for somebody who has the folder and does not share it. Milliseconds; default 5,000. */
  joinTimeoutMs?: number | undefined;
  /** How long calls wait for another owner when theirs has ended. Milliseconds; default 60,000. */
  reconnectTimeoutMs?: number | undefined;
  /** Whether this process may become the owner; default true. One that may not waits for one that is. */
  mayOwn?: boolean | undefined;
  /** Told, where this process is the owner, of connections that were cut off because they broke the rules. */
  onRefusal?: ((error: PodError) => void) | undefined;
}

/** The same with its defaults. */
interface Sharing {
  readonly leaseMs: number;
  readonly joinTimeoutMs: number;
  readonly reconnectTimeoutMs: number;
  readonly mayOwn: boolean;
  readonly onRefusal: (error: PodError) => void;
}

/** How a shared pod is opened. What is about the folder counts where this process becomes the owner. */
export interface SharedPodOptions<V, K extends Key> extends Omit<PodOptions<V, K>, 'mode' | 'isolated'>, ShareOptions {}

/** How a shared tracker is opened. */
export interface SharedTrackerOptions<T extends object, K extends Key>
  extends Omit<TrackerOptions<T, K>, 'mode' | 'isolated'>,
    ShareOptions {}

/** Which tasks a shared loop hands out. */
export interface SharedLoopOptions extends Omit<LoopOptions, 'concurrency'> {
  /**
   * At most this many tasks of this loop are claimed: handed out, and neither `markDone`, `fail` nor `abort` has said how it went. Left out, a
   * task is let go when the loop goes on to the next one.
   */
  concurrency?: number | undefined;
  /**
   * So many tasks are claimed at once, and handed out one after the other. Their tries are counted when they are claimed: if the process dies,
   * those that it had not begun have lost one. Default 1.
   */
  prefetch?: number | undefined;
}

const LEASE_MS = 30_000;
const JOIN_TIMEOUT_MS = 5_000;
const RECONNECT_TIMEOUT_MS = 60_000;
const TIMER_MS_MAX = 2_147_483_647;

const shareSchema = z.object({
  leaseMs: wholeNumber(100, TIMER_MS_MAX).default(LEASE_MS),
  joinTimeoutMs: wholeNumber(0, TIMER_MS_MAX).default(JOIN_TIMEOUT_MS),
  reconnectTimeoutMs: wholeNumber(0, TIMER_MS_MAX).default(RECONNECT_TIMEOUT_MS),
  mayOwn: z.boolean('must be true or false').default(true),
  onRefusal: z.custom<object>((value) => typeof value === 'function', 'must be a function').optional(),
});

const deathsSchema = z.object({ maxDeaths: wholeNumber(0, Number.MAX_SAFE_INTEGER).optional() });

const loopSchema = z.strictObject({
  ...loopShape,
  concurrency: wholeNumber(1, 1000).optional(),
  prefetch: wholeNumber(1, 1000).optional(),
});

/** What paced loops of one process have beside. */
const PACED_ONLY = ['group', 'perGroup', 'delayMs', 'retryDelayMs', 'breaker'];

/** What of the options is about sharing, with its defaults; and what is about the folder, checked. */
export function splitOptions<O extends ShareOptions>(
  path: string,
  options: O,
): { readonly share: Sharing; readonly folder: Omit<O, keyof ShareOptions> } {
  const { leaseMs, joinTimeoutMs, reconnectTimeoutMs, mayOwn, onRefusal = () => {}, ...folder } = options;
  const timing = { leaseMs, joinTimeoutMs, reconnectTimeoutMs, mayOwn, onRefusal };
  checkWith(shareSchema, path, timing);
  for (const name of ['mode', 'isolated']) {
    if (Object.hasOwn(folder, name)) throw optionsError(path, name, 'is not one of shared pods; POD.open has it');
  }
  const { maxDeaths, ...checked } = folder as { maxDeaths?: unknown };
  checkWith(deathsSchema, path, { maxDeaths });
  checkOptions(path, checked);
  return { share: { ...shareSchema.parse(timing), onRefusal }, folder };
}

/** @throws {PodError} `ERR_POD_OPTIONS` naming the option; `ERR_POD_UNSUPPORTED` for those that only a loop of one process can keep */
export function checkSharedLoopOptions(path: string, options: object): void {
  const paced = PACED_ONLY.find((name) => (options as Record<string, unknown> | null)?.[name] !== undefined);
  if (paced !== undefined) {
    throw new PodError(
      'ERR_POD_UNSUPPORTED',
      `${path}: a loop of a shared tracker has no option "${paced}", because the pace of others is not known to it. Work with several tasks of one group in one process through ProgressTracker, or call fail(key, error, { retryAfterMs }) for what is to come again later; concurrency and prefetch are there.`,
      { path, info: { option: paced } },
    );
  }
  checkWith(loopSchema, path, options);
}
