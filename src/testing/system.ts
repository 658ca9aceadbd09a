/**
 * A whole system in memory for the disk floor: files, locks and time that a test commands.
 */
import type { System } from '../disk/system.ts';
import { ManualClock } from './clock.ts';
import { MemoryLocks } from './locks.ts';
import { MemoryFileSystem } from './memory-file-system.ts';

/** A system whose every part can be commanded. */
export interface TestSystem extends System {
  readonly fs: MemoryFileSystem;
  readonly locks: MemoryLocks;
  readonly clock: ManualClock;
}

/**
 * Makes a system; what is not given is new.
 *
 * @example
 * const system = testSystem();
 * system.fs.intercept = (call) => (call.name === 'write' ? { kind: 'error', code: 'ENOSPC' } : undefined);
 */
export function testSystem(parts: Partial<TestSystem> = {}): TestSystem {
  const clock = parts.clock ?? new ManualClock();
  return {
    fs: new MemoryFileSystem(),
    locks: new MemoryLocks(),
    sleep: (durationMs) => clock.advance(durationMs),
    ...parts,
    clock,
  };
}
