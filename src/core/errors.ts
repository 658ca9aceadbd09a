/**
 * The one error class of the library and the closed list of its codes.
 *
 * Every failure a caller can meet is a `PodError` with a stable `code`; messages may be reworded, codes may not.
 * Each code has a paragraph in `docs/errors.md`.
 */

/** What went wrong, in a form that programs can compare. The list only ever grows. */
export type PodErrorCode =
  /** Another process (or thread) has the folder open for writing. */
  | 'ERR_POD_LOCKED'
  /** The handle was closed. */
  | 'ERR_POD_CLOSED'
  /** The bytes on disk are not what was written; nothing was changed. */
  | 'ERR_POD_CORRUPT'
  /** The value is not JSON, or is nested too deeply. */
  | 'ERR_POD_VALUE'
  /** The value does not fit the schema. */
  | 'ERR_POD_SCHEMA'
  /** The key is not a string, a safe integer or an array of those. */
  | 'ERR_POD_KEY'
  /** The key exists already. */
  | 'ERR_POD_DUPLICATE_KEY'
  /** The key does not exist. */
  | 'ERR_POD_UNKNOWN_KEY'
  /** An option is wrong, or conflicts with a handle that is open. */
  | 'ERR_POD_OPTIONS'
  /** The handle was opened for reading. */
  | 'ERR_POD_READONLY'
  /** There is no pod at the path. */
  | 'ERR_POD_NOT_FOUND'
  /** The path, or a part of it, is not a folder. */
  | 'ERR_POD_NOT_FOLDER'
  /** The operating system refused a read or a write. */
  | 'ERR_POD_DISK'
  /** The folder was written by a newer version, or is not a pod's. */
  | 'ERR_POD_FORMAT'
  /** The view belongs to a value that was replaced or deleted. */
  | 'ERR_POD_DETACHED'
  /** The operation is not possible here. */
  | 'ERR_POD_UNSUPPORTED'
  /** The claim or the lock that the call relied on was lost meanwhile; nothing was changed. */
  | 'ERR_POD_STALE'
  /** No owner of a shared pod could be reached; nothing was changed. */
  | 'ERR_POD_DISCONNECTED'
  /** Nobody can say whether the call took effect. */
  | 'ERR_POD_UNCERTAIN'
  /** The other end speaks another version, or breaks the rules of the channel. */
  | 'ERR_POD_PROTOCOL';

/** Where an error happened; every field is optional. */
export interface PodErrorDetails {
  /** The pod's folder. */
  path?: string | undefined;
  /** The file inside the folder. */
  file?: string | undefined;
  /** The line in that file, from 1. */
  line?: number | undefined;
  /** The key of the entry. */
  key?: unknown;
  /** The place inside the value, such as `$.links[3]`. */
  at?: string | undefined;
  /** The error underneath. */
  cause?: unknown;
  /** Facts for programs, such as `{ pid, host, since }` of a lock's owner. */
  info?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * An error of the library.
 *
 * @example
 * try {
 *   POD.open('crawl.pod');
 * } catch (error) {
 *   if (error instanceof PodError && error.code === 'ERR_POD_LOCKED') console.error(error.info?.pid);
 *   else throw error;
 * }
 */
export class PodError extends Error {
  readonly code: PodErrorCode;
  readonly path: string | undefined;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly key: unknown;
  readonly at: string | undefined;
  readonly info: Readonly<Record<string, unknown>> | undefined;

  constructor(code: PodErrorCode, message: string, details: PodErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'PodError';
    this.code = code;
    this.path = details.path;
    this.file = details.file;
    this.line = details.line;
    this.key = details.key;
    this.at = details.at;
    this.info = details.info;
  }
}

/** Adds where it happened to an error of code that knows neither the pod nor the key; what is there already stays. */
export function addPlace(error: unknown, path: string | undefined, key: unknown): unknown {
  if (!(error instanceof PodError)) return error;
  const open = error as { -readonly [Name in 'path' | 'key']: PodError[Name] };
  open.path ??= path;
  open.key ??= key;
  return error;
}
