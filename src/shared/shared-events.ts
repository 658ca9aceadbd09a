/**
 * What a shared tracker tells its listeners: how tasks end by the calls of this handle.
 */
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import { Listeners } from '../pod/events.ts';
import type { TrackerEvents } from '../tracker/events.ts';

/** What a shared tracker tells: of `markDone`, `fail` and `abort` of this handle, when the owner has answered. */
export type SharedTrackerEvent = 'done' | 'fail' | 'abort';

const NAMES: readonly SharedTrackerEvent[] = ['done', 'fail', 'abort'];

/**
 * Listeners of one handle. The process-wide channels are not told here: where the owner is in this process, its tracker has told them of
 * everybody's tasks.
 */
export class SharedListeners<K extends Key> extends Listeners<TrackerEvents<K>> {
  /** @throws {PodError} `ERR_POD_OPTIONS` */
  listen<N extends SharedTrackerEvent>(name: N, listener: (event: TrackerEvents<K>[N]) => void): Disposable {
    if (!NAMES.includes(name)) {
      throw new PodError(
        'ERR_POD_OPTIONS',
        `A shared tracker has no event ${JSON.stringify(name)}; it has: ${NAMES.join(', ')}. What is about the folder or a paced loop is told by a local tracker.`,
      );
    }
    return this.on(NAMES, name, listener);
  }
}
