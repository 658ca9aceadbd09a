/**
 * Opens a folder as what it is, a pod or a tracker, for the commands that look at it or change it.
 */
import { PodError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import { hasManifest } from '../disk/reader.ts';
import { nodeSystem } from '../disk/system.ts';
import { normalizePath, openHandle } from '../pod/open-pods.ts';
import { optionsError } from '../pod/options.ts';
import { HANDLE_DOOR, PersistentOrderedDict } from '../pod/pod.ts';
import { ProgressTracker } from '../tracker/tracker.ts';

export type AnyPod = PersistentOrderedDict<Json, Key>;
export type AnyTracker = ProgressTracker<object, Key>;

/** Lets `look` at a folder, beside a writer if there is one; until its promise is settled, where it gives one. */
export function reading<R>(path: string, look: (pod: AnyPod, tracker: AnyTracker | undefined) => R): R {
  const pod = open(path, 'r');
  let result: R | undefined;
  try {
    result = look(pod, asTracker(pod));
  } finally {
    if (!(result instanceof Promise)) pod.close();
  }
  return result instanceof Promise ? (result.finally(() => pod.close()) as R) : (result as R);
}

/** Lets `work` on a folder that is there; the command never makes one. */
export function writing<R>(path: string, work: (pod: AnyPod) => R): R {
  // A reader tells a folder of tastypy from one that is nobody's. Where there is a manifest, reading everything twice would tell no more.
  if (!hasManifest(nodeSystem, normalizePath(path))) open(path, 'r').close();
  const pod = open(path, 'w');
  try {
    return work(pod);
  } finally {
    pod.close();
  }
}

/**
 * The same for commands that are about tasks.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` where the folder is no tracker
 */
export function writingTasks<R>(path: string, work: (tracker: AnyTracker) => R): R {
  return writing(path, (pod) => work(requireTracker(pod)));
}

/** @throws {PodError} `ERR_POD_OPTIONS` where the folder is no tracker */
export function requireTracker(pod: AnyPod): AnyTracker {
  const tracker = asTracker(pod);
  if (tracker !== undefined) return tracker;
  throw optionsError(pod.path, 'path', 'must be a tracker for this command; this is a pod of other values');
}

/**
 * Opens a folder for writing, for work that takes its time; the caller closes it.
 *
 * @param create what is made where there is nothing; left out, nothing is
 * @throws {PodError} `ERR_POD_NOT_FOUND` where there is nothing and nothing is to be made; and as `PersistentOrderedDict.open`
 */
export function openForWork(path: string, create: 'pod' | 'tracker' | undefined): AnyPod {
  if (isThere(path)) return open(path, 'w');
  if (create === undefined) {
    throw new PodError('ERR_POD_NOT_FOUND', `There is no pod at ${path}. Check the path; --create makes one.`, {
      path,
    });
  }
  return create === 'tracker' ? (ProgressTracker.open(path) as unknown as AnyPod) : PersistentOrderedDict.open(path);
}

/**
 * Whether a folder is that of a pod.
 *
 * @throws {PodError} where it is and cannot be read, or cannot be one
 */
export function isThere(path: string): boolean {
  try {
    // A folder of tastypy has no manifest; reading it tells.
    if (!hasManifest(nodeSystem, normalizePath(path))) open(path, 'r').close();
    return true;
  } catch (error) {
    if (error instanceof PodError && error.code === 'ERR_POD_NOT_FOUND') return false;
    throw error;
  }
}

/** @throws {PodError} `ERR_POD_UNKNOWN_KEY` */
export function unknownKey(path: string, word: string): PodError {
  return new PodError('ERR_POD_UNKNOWN_KEY', `There is no entry ${JSON.stringify(word)} in ${path}.`, {
    path,
    key: word,
  });
}

function asTracker(pod: AnyPod): AnyTracker | undefined {
  return pod instanceof ProgressTracker ? (pod as unknown as AnyTracker) : undefined;
}

/** Opens a folder that is there, or with `w` makes one; the caller closes it. */
export function open(path: string, mode: 'r' | 'w'): AnyPod {
  const { handle } = openHandle<AnyPod, Json, Key>(
    path,
    { mode },
    {
      name: 'PersistentOrderedDict',
      meta: {},
      accepts: (other): other is AnyPod => other instanceof PersistentOrderedDict,
      make: (engine) =>
        engine.meta.tracker === true
          ? (new ProgressTracker<object, Key>(HANDLE_DOOR, engine as never) as unknown as AnyPod)
          : new PersistentOrderedDict<Json, Key>(HANDLE_DOOR, engine),
    },
  );
  return handle;
}
