/**
 * The test kit: a file system that fails on purpose, a clock moved by hand, locks in memory, and seeded randomness.
 */
export { ManualClock } from './clock.ts';
export {
  type CrashBudget,
  type CrashState,
  crashStates,
  describeOperation,
  dumpImage,
  imageKey,
} from './crash-states.ts';
export { MemoryLocks } from './locks.ts';
export {
  type DiskImage,
  type FsCall,
  type FsCallName,
  type FsFault,
  type FsyncBeside,
  MemoryFileSystem,
  ProcessKilled,
} from './memory-file-system.ts';
export type { MemoryNode, OpenOperation, OperationStatus, Survival, WriteOperation } from './memory-files.ts';
export { type Random, seededRandom } from './random.ts';
export { type TestSystem, testSystem } from './system.ts';
