/**
 * The public surface of everpod: explicit exports, nothing else.
 */
import './tracker/convert.ts';

export { PodError, type PodErrorCode, type PodErrorDetails } from './core/errors.ts';
export type { Json } from './core/json.ts';
export type { Key } from './core/key.ts';
export type { Ending, RecoveryReport } from './disk/recovery.ts';
export type { PodEvents } from './pod/events.ts';
export {
  DEFAULT_FILE_SIZE,
  DEFAULT_SYNC_AT,
  DEFAULT_SYNC_EVERY,
  type Durability,
  type Entries,
  type PodOptions,
  type StandardResult,
  type StandardSchema,
} from './pod/options.ts';
export { PersistentOrderedDict, PersistentOrderedDict as POD } from './pod/pod.ts';
export type { BreakerOptions } from './tracker/breaker.ts';
export { describeResume } from './tracker/describe-resume.ts';
export type { ErrorClass } from './tracker/error-classes.ts';
export type { Eta } from './tracker/eta.ts';
export type { TrackerEvents } from './tracker/events.ts';
export type {
  AddOptions,
  FailOptions,
  GateOptions,
  GroupName,
  LoopOptions,
  PacedOptions,
  RetryOptions,
  TrackerOptions,
} from './tracker/options.ts';
export type { Output, OutputOptions } from './tracker/output.ts';
export type { ProgressOptions, ProgressStream } from './tracker/progress.ts';
export type { ResumeReport } from './tracker/resume.ts';
export type { TrackerStats } from './tracker/stats.ts';
export { type Blame, NEW_TASK, type Task, type TaskError, type TaskRecord } from './tracker/task.ts';
export { ProgressTracker, ProgressTracker as Tracker } from './tracker/tracker.ts';
