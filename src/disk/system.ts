/**
 * What the disk floor needs of the outside world, as one argument: files, locks, time. Tests put their own in place.
 */
import type { Clock } from '../core/clock.ts';
import { type FileSystem, nodeFileSystem } from './fs.ts';
import { type Locks, systemLocks } from './lock.ts';

export interface System {
  readonly fs: FileSystem;
  readonly locks: Locks;
  readonly clock: Clock;
  /** Waits without letting anything else run; only readers that met a writer's half-done step do. */
  sleep(durationMs: number): void;
  /** The log is folded only when it is larger than this; left out, a size that suits real disks. Tests make it small. */
  readonly foldLogBytes?: number | undefined;
  /** Pods with fewer entries get no saved index; left out, a number that suits real disks. Tests make it small. */
  readonly indexEntries?: number | undefined;
  /** So much of an index is put on the disk at a time; left out, a size that suits real disks. Tests make it small. */
  readonly indexFlushBytes?: number | undefined;
}

const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, task, { keepAlive = false } = {}) => {
    const timer = setTimeout(task, delayMs);
    if (!keepAlive) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** The system the process runs on. */
export const nodeSystem: System = {
  fs: nodeFileSystem,
  locks: systemLocks(),
  clock: systemClock,
  sleep: (durationMs) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
  },
};
