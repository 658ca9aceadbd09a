/**
 * Makes a pod a tracker: adds `convertToTracker()` to the pod, which must not know of trackers, as they build on it.
 */
import { PodError } from '../core/errors.ts';
import { copyJson } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import { shareHandle } from '../pod/open-pods.ts';
import { engineOf, HANDLE_DOOR, PersistentOrderedDict } from '../pod/pod.ts';
import { checkMaxTries } from './options.ts';
import { asObject, type Task, toTask } from './task.ts';
import { ProgressTracker } from './tracker.ts';

declare module '../pod/pod.ts' {
  interface PersistentOrderedDict<V, K extends Key> {
    /**
     * Makes this pod a tracker: every value becomes a task that nobody has tried. An object keeps its properties, and a record it has
     * already; anything else becomes `{ val: value }`. The pod's handle goes on working on the same entries; close both.
     *
     * @throws {PodError} `ERR_POD_READONLY`, `ERR_POD_CLOSED`; `ERR_POD_VALUE` where an object has a record of the wrong type: nothing was
     * changed
     */
    convertToTracker<T extends object = V extends object ? V : { val: V }>(options?: {
      maxTries?: number | undefined;
    }): ProgressTracker<T, K>;
  }
}

/** Installed from here, because a tracker builds on the pod and the pod must not know of it. */
PersistentOrderedDict.prototype.convertToTracker = function convertToTracker<T extends object, V, K extends Key>(
  this: PersistentOrderedDict<V, K>,
  { maxTries }: { maxTries?: number | undefined } = {},
): ProgressTracker<T, K> {
  if (this instanceof ProgressTracker) return this as ProgressTracker<T, K>;
  const engine = engineOf(this) as unknown as PodEngine<Task<T>, K>;
  engine.requireWritable();
  if (engine.table.inTransaction) {
    throw new PodError('ERR_POD_UNSUPPORTED', 'convertToTracker() cannot run inside a transaction.', {
      path: engine.path,
    });
  }
  if (maxTries !== undefined) checkMaxTries(engine.path, maxTries);
  const known = converted.get(engine) as ProgressTracker<T, K> | undefined;
  if (known !== undefined) {
    if (maxTries !== undefined) known.maxTries = maxTries;
    engine.handles++;
    return known;
  }
  engine.transaction(() => {
    for (const entry of engine.table.entries()) {
      const value: unknown = entry.plain;
      const task = toTask(asObject(value)) as object;
      if (task !== value) engine.table.edit(entry, copyJson({ ...task }) as object);
    }
  });
  engine.sync();
  engine.setMeta({ tracker: true, maxTries: maxTries ?? engine.meta.maxTries ?? 0 });
  const tracker = new ProgressTracker<T, K>(HANDLE_DOOR, engine);
  shareHandle(engine, tracker);
  converted.set(engine, tracker);
  return tracker;
};

/** A table tells one index of its changes, so there is one tracker for an engine. */
const converted: WeakMap<object, object> = new WeakMap();
