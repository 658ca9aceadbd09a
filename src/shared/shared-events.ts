/**
 * What a shared tracker tells its listeners: how tasks end by the calls of this handle.
 */
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import type { TrackerEvents } from '../tracker/events.ts';

/** What a shared tracker tells: of `markDone`, `fail` and `abort` of this handle, when the owner has answered. */
export type SharedTrackerEvent = 'done' | 'fail' | 'abort';

const NAMES: readonly SharedTrackerEvent[] = ['done', 'fail', 'abort'];

/**
 * Listeners of one handle. The process-wide channels are not told here: where the owner is in this process, its tracker has told them of
 * everybody's tasks.
 */
export class Listeners<K extends Key> {
  readonly #listeners: Map<string, Set<(event: never) => void>> = new Map();

  on<N extends SharedTrackerEvent>(name: N, listener: (event: TrackerEvents<K>[N]) => void): Disposable {
    if (!NAMES.includes(name)) {
      throw new PodError(
        'ERR_POD_OPTIONS',
        `A shared tracker has no event ${JSON.stringify(name)}; it has: ${NAMES.join(', ')}. What is about the folder or a paced loop is told by a local tracker.`,
      );
    }
    if (typeof listener !== 'function') {
      throw new PodError('ERR_POD_OPTIONS', `The listener of ${JSON.stringify(name)} must be a function.`);
    }
    // A function of its own, so that one listener may be added twice and each be taken away alone.
    const call = (event: TrackerEvents<K>[N]): void => listener(event);
    const there = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, there.add(call));
    return {
      [Symbol.dispose]: () => {
        there.delete(call);
      },
    };
  }

  /** What a listener throws becomes an uncaught exception of its own: the task has ended all the same. */
  tell<N extends SharedTrackerEvent>(name: N, event: TrackerEvents<K>[N]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as (event: TrackerEvents<K>[N]) => void)(event);
      } catch (error) {
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }
}
