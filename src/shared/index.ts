/**
 * The public surface of `everpod/shared`: one folder for several processes.
 */
export type {
  AnyIterable,
  AsyncPod,
  AsyncTracker,
  Awaitable,
  PodOperation,
  Remote,
  RemotePlace,
  RemotePod,
  RemoteTracker,
  TrackerOperation,
} from './async-types.ts';
export type { Step } from './path.ts';
export type { SharedTrackerEvent } from './shared-events.ts';
export type { SharedLoopOptions, SharedPodOptions, SharedTrackerOptions, ShareOptions } from './shared-options.ts';
export { SharedPOD } from './shared-pod.ts';
export { SharedTracker } from './shared-tracker.ts';
