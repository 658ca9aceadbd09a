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

/** Lets `look` at a folder, beside a writer if there is one. */
export function reading<R>(path: string, look: (pod: AnyPod, tracker: AnyTracker | undefined) => R): R {
  const pod = open(path, 'r');
  try {
    return look(pod, asTracker(pod));
  } finally {
    pod.close();
  }
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

function open(path: string, mode: 'r' | 'w'): AnyPod {
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
