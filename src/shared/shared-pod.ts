/**
 * `SharedPOD`: one pod, used by several processes of a machine at once.
 */
import type { Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import { normalizePath } from '../pod/open-pods.ts';
import type { PodOptions } from '../pod/options.ts';
import type { RemotePod } from './async-types.ts';
import { Caller } from './caller.ts';
import { SHARED_DOOR, SharedBase } from './shared-base.ts';
import { type SharedPodOptions, splitOptions } from './shared-options.ts';

/**
 * A pod that several processes, or threads, use at once, with nobody to start a server: whoever opens the folder first becomes its owner and
 * serves the others, and when the owner ends, however it does, another takes over. See `docs/several-processes.md`.
 *
 * It has the methods of a local pod, each with a promise. Values are copies; change them with `edit`, `in`, `transaction`, or under `locked`.
 *
 * @typeParam V the values; JSON
 * @typeParam K the keys
 *
 * @example
 * const counts = await SharedPOD.open<number>('counts.pod');
 * await counts.in('visits').increment();
 * await counts.edit('best', (best = 0) => Math.max(best, 7));
 * await counts.close();
 */
export class SharedPOD<V = Json, K extends Key = string> extends SharedBase<V, K> implements RemotePod<V, K> {
  /**
   * Joins the processes that share a folder; the first makes it where there is none. `init` is put in by the process that becomes the owner here.
   *
   * @throws {PodError} `ERR_POD_LOCKED` where a process has the folder that does not share it; `ERR_POD_OPTIONS` an option is wrong, or the
   * folder is shared as a tracker; `ERR_POD_PROTOCOL` the owner runs another version; and as `PersistentOrderedDict.open`
   */
  static async open<V = Json, K extends Key = string>(
    path: string,
    options: SharedPodOptions<V, K> = {},
  ): Promise<SharedPOD<V, K>> {
    const place = normalizePath(path);
    const { share, folder } = splitOptions(place, options);
    const { init, ...rest } = folder as PodOptions<V, K>;
    const pod = rest as unknown as PodOptions<Json, Key>;
    const caller = new Caller(place, { kind: 'pod', pod, tracker: {}, ...share }, share.reconnectTimeoutMs);
    const { isNew } = await caller.open(share.joinTimeoutMs);
    const shared = new SharedPOD<V, K>(SHARED_DOOR, caller);
    try {
      if (isNew && init !== undefined) await shared.update(init);
    } catch (error) {
      await shared.close();
      throw error;
    }
    return shared;
  }
}
