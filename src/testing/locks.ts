/**
 * Locks in memory: one holder for each folder, and holders that die without a word when a test says so.
 */
import { PodError } from '../core/errors.ts';
import type { HeldLock, LockOwner, Locks } from '../disk/lock.ts';

/** Locks of one make-believe machine. */
export class MemoryLocks implements Locks {
  readonly #holders: Map<string, object> = new Map();
  /** Who had a folder and never closed it. */
  readonly #left: Map<string, LockOwner> = new Map();
  #processes: number = 0;

  acquire(folder: string): HeldLock {
    if (this.#holders.has(folder)) {
      const holder = this.#left.get(folder);
      throw new PodError('ERR_POD_LOCKED', `${folder} is open for writing in process ${holder?.pid} of the test.`, {
        path: folder,
        info: { ...holder },
      });
    }
    const previous = this.#left.get(folder);
    const holder = {};
    this.#holders.set(folder, holder);
    const owner: LockOwner = {
      pid: ++this.#processes,
      host: 'test',
      bootId: 'test',
      startTicks: '0',
      since: '2024-01-01T00:00:00.000Z',
    };
    this.#left.set(folder, owner);
    return {
      owner,
      previous,
      isIntact: () => true,
      release: (outcome) => {
        if (this.#holders.get(folder) !== holder) return;
        this.#holders.delete(folder);
        if (outcome === 'closed' || (outcome === 'undone' && previous === undefined)) this.#left.delete(folder);
        else if (outcome === 'undone' && previous !== undefined) this.#left.set(folder, previous);
      },
    };
  }

  /** Every holder dies: the kernel frees the locks, and what they left behind says that they never closed. */
  kill(): void {
    this.#holders.clear();
  }

  /** Whether somebody holds a folder. */
  isHeld(folder: string): boolean {
    return this.#holders.has(folder);
  }
}
