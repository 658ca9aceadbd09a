/**
 * A task's record and the questions about it; pure.
 *
 * The names on disk are those of tastypy, so that its folders carry on: `_tries`, `_done`, `_aborted` (checklist TP-003, TP-111).
 */
import { PodError } from '../core/errors.ts';
import { copyJson } from '../core/json.ts';

/** Why the last try of a task failed, or why it was aborted. */
export interface TaskError {
  /** The error's class, such as `TypeError`; `Aborted` for an abort with a reason of words. */
  name: string;
  message: string;
  /** The error's `code`, where it has one. */
  code?: string;
  /** When. ISO 8601. */
  at: string;
  /** Which try it was, from 1; one less where the try was given back. */
  try: number;
  /** Who is to blame where it is not the task itself; such a failure uses up no try. */
  blame?: Exclude<Blame, 'task'>;
  /** No loop hands the task out before then. ISO 8601. */
  retryAt?: string;
  /** How often in a row the process died while the task was in flight. */
  deaths?: number;
}

/** Who is to blame for a failure: the task, the host it is about, or the environment it ran in (the network, a proxy, this machine). */
export type Blame = 'task' | 'host' | 'environment';

/** What a tracker keeps about a task beside the user's own data. */
export interface TaskRecord {
  /** How often it was handed out. */
  _tries: number;
  _done: boolean;
  _aborted: boolean;
  _error?: TaskError;
  /** A whole number from -10 to 10; the higher, the earlier it is handed out. Left out: 0. */
  _priority?: number;
}

/** A task: the user's data and the record. */
export type Task<T> = T & TaskRecord;

/** The record of a task that nobody has tried. */
export const NEW_TASK: Readonly<TaskRecord> = Object.freeze({ _tries: 0, _done: false, _aborted: false });

/** The record's properties; everything else is the user's. */
export const RECORD_NAMES: readonly (keyof TaskRecord)[] = ['_tries', '_done', '_aborted', '_error', '_priority'];

// What is derived from a task, packed into one small integer, so that it costs nothing to keep for each entry.
export const DONE = 1;
export const ABORTED = 2;
export const TRIED = 4;
/** Not done, and the last thing that is known is an error. */
export const FAILED = 8;
/** Handed out, and no word of how it went: in flight when the process ended, or never marked. */
export const UNFINISHED = 16;
const PRIORITY_SHIFT = 5;
const PRIORITY_BITS = 5;
const TRIES_SHIFT = PRIORITY_SHIFT + PRIORITY_BITS;
/** No count of tries is packed beyond this, and no limit is looked at beyond it; the docstrings of `tries` and `maxTries` name it. */
export const TRIES_MAX: number = 2 ** 21 - 1;
export const PRIORITY_MAX = 10;

/** Derives the packed state of any value; what is missing or of the wrong type counts as not there (rule 11). */
export function stateOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const { _done, _aborted, _error, _priority } = value as Partial<Record<keyof TaskRecord, unknown>>;
  const tries = Math.min(triesOf(value as object), TRIES_MAX);
  const done = _done === true;
  const aborted = _aborted === true;
  const hasError = typeof _error === 'object' && _error !== null;
  let state = tries << TRIES_SHIFT;
  if (isPriority(_priority)) state |= (_priority & (2 ** PRIORITY_BITS - 1)) << PRIORITY_SHIFT;
  if (done) state |= DONE;
  if (aborted) state |= ABORTED;
  if (tries > 0) state |= TRIED;
  if (hasError && !done) state |= FAILED;
  const failedTry = hasError ? (_error as Partial<TaskError>).try : 0;
  if (tries > (typeof failedTry === 'number' ? failedTry : 0) && !done && !aborted) state |= UNFINISHED;
  return state;
}

/** The tries of a task, whatever stands in their place. */
function triesOf(task: object): number {
  const { _tries } = task as { _tries?: unknown };
  return typeof _tries === 'number' && _tries > 0 ? Math.floor(_tries) : 0;
}

/** The tries of a task whose state is known; the value is looked at only where they are too many to be packed. */
export function exactTries(state: number, value: () => unknown): number {
  const tries = triesIn(state);
  return tries < TRIES_MAX ? tries : triesOf(value() as object);
}

/** Whether no loop hands a failed task out yet. */
export function isPutOff(value: unknown, nowMs: number): boolean {
  const at = retryAtOf(value);
  return at !== undefined && at > nowMs;
}

/** When a failed task may be tried again, where somebody said so. Milliseconds since 1970. */
export function retryAtOf(value: unknown): number | undefined {
  const { _error: error } = value as { _error?: { retryAt?: unknown } | null };
  if (typeof error?.retryAt !== 'string') return undefined;
  const at = Date.parse(error.retryAt);
  return Number.isNaN(at) ? undefined : at;
}

/** A value as an object that can hold a record: one that is none goes under the name `val`, so that nothing is lost. */
export function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : { val: value };
}

/** Whether a value is a priority. */
export function isPriority(value: unknown): value is number {
  return Number.isInteger(value) && Math.abs(value as number) <= PRIORITY_MAX;
}

/** The priority in a packed state. */
export function priorityIn(state: number): number {
  // Up to the sign, and down again with it.
  return (state << (32 - TRIES_SHIFT)) >> (32 - PRIORITY_BITS);
}

/** The tries in a packed state. */
export function triesIn(state: number): number {
  return state >>> TRIES_SHIFT;
}

/** Whether a packed state may still be tried; 0 tries allowed means no limit. */
export function hasTriesLeft(state: number, maxTries: number): boolean {
  return maxTries < 1 || triesIn(state) < Math.min(maxTries, TRIES_MAX);
}

/** Whether the task is to do (checklist TP-127): not done, tries left, and not aborted unless that is allowed. */
export function isTodo(state: number, maxTries: number, allowAborted: boolean): boolean {
  return (state & DONE) === 0 && hasTriesLeft(state, maxTries) && (allowAborted || (state & ABORTED) === 0);
}

/**
 * A task from what a caller gives: an object, its record filled up where something is missing.
 *
 * @throws {PodError} `ERR_POD_VALUE` where it is no object, or a part of the record is of the wrong type
 */
export function toTask(data: unknown): unknown {
  requireTaskData(data);
  const { _tries, _done, _aborted } = data as Partial<TaskRecord>;
  if (_tries !== undefined && _done !== undefined && _aborted !== undefined) return data;
  // The copy drops undefined properties, which would hide the defaults, and refuses what a spread would quietly empty: a Date, a Map.
  return { ...NEW_TASK, ...(copyJson(data) as object) };
}

/**
 * A copy of what is to be merged into a task.
 *
 * @throws {PodError} `ERR_POD_VALUE` as `toTask`, and where it is no JSON
 */
export function copyData(data: object): object {
  requireTaskData(data);
  return copyJson(data) as object;
}

function requireTaskData(data: unknown): void {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw new PodError(
      'ERR_POD_VALUE',
      'A task must be an object, as it holds _tries, _done and _aborted beside your data. Nothing was changed.',
      {
        at: '$',
      },
    );
  }
  const { _tries, _done, _aborted, _priority } = data as Partial<TaskRecord>;
  requireType(
    '_tries',
    _tries,
    _tries === undefined || (Number.isSafeInteger(_tries) && _tries >= 0),
    'a whole number from 0',
  );
  requireType('_done', _done, _done === undefined || typeof _done === 'boolean', 'true or false');
  requireType('_aborted', _aborted, _aborted === undefined || typeof _aborted === 'boolean', 'true or false');
  requireType(
    '_priority',
    _priority,
    _priority === undefined || isPriority(_priority),
    `a whole number from -${PRIORITY_MAX} to ${PRIORITY_MAX}`,
  );
}

function requireType(name: string, value: unknown, right: boolean, what: string): void {
  if (right) return;
  throw new PodError(
    'ERR_POD_VALUE',
    `A task's ${name} must be ${what}, not ${JSON.stringify(value)}. Nothing was changed.`,
    {
      at: `$.${name}`,
    },
  );
}

/** What is kept of an error, or of anything else that was thrown. */
export function toTaskError(error: unknown, at: string, tryNumber: number, fallbackName: string): TaskError {
  const { name, message, code } = safelyDescribe(error, fallbackName);
  return { name, message, ...(code !== undefined && { code }), at, try: tryNumber };
}

/** Reporting a failure must not fail itself, whatever was thrown. */
function safelyDescribe(error: unknown, fallbackName: string): ReturnType<typeof describe> {
  try {
    return describe(error, fallbackName);
  } catch {
    return { name: fallbackName, message: '' };
  }
}

function describe(error: unknown, fallbackName: string): { name: string; message: string; code?: string | undefined } {
  if (typeof error !== 'object' || error === null)
    return { name: fallbackName, message: error === undefined ? '' : String(error) };
  const { name, message, code, cause } = error as {
    name?: unknown;
    message?: unknown;
    code?: unknown;
    cause?: unknown;
  };
  // fetch says only "fetch failed"; what happened is in the cause.
  const inner = typeof cause === 'object' && cause !== null ? (cause as { code?: unknown }).code : undefined;
  const known = typeof code === 'string' || typeof code === 'number' ? code : inner;
  return {
    name: typeof name === 'string' && name !== '' ? name : fallbackName,
    message: typeof message === 'string' ? message : safeText(error),
    code: typeof known === 'string' || typeof known === 'number' ? String(known) : undefined,
  };
}

function safeText(value: object): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // A circle, or a bigint.
  }
  return text ?? Object.prototype.toString.call(value);
}
