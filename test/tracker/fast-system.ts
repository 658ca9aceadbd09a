// A system for tests that open hundreds of folders: real files, but no fsync, locks in memory, and a clock that is moved by hand.
//
// Put it in the place of the real one with
// vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));
import { writeFileSync } from 'node:fs';
import { nodeFileSystem } from '../../src/disk/fs.ts';
import type { System } from '../../src/disk/system.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { MemoryLocks } from '../../src/testing/locks.ts';

export const clock: ManualClock = new ManualClock();

export const fastSystem: System = {
  fs: {
    ...nodeFileSystem,
    fsync: () => {},
    fdatasync: () => {},
    fdatasyncBeside: () => Promise.resolve(),
    fsyncFolder: () => {},
    stage: (path, bytes) => writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 }),
  },
  locks: new MemoryLocks(),
  clock,
  sleep: (durationMs) => clock.advance(durationMs),
};
