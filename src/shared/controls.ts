/**
 * What is asked of the owner itself rather than of the pod; and which operations it has to know more about.
 */
import { PodError } from '../core/errors.ts';
import type { Context, Operation } from './operations.ts';

/** What a control needs of the owner beside the pod. */
interface Control extends Context {
  readonly hold: () => void;
  readonly unhold: () => void;
}

const control = (args: Operation['args'], run: (context: Control, args: readonly never[]) => unknown): Operation => ({
  kind: 'control',
  args,
  run: run as Operation['run'],
});

/** What is about the session. */
export const CONTROLS: ReadonlyMap<string, Operation> = new Map([
  ['hold', control([], ({ hold }) => hold())],
  ['unhold', control([], ({ unhold }) => unhold())],
  ['revert', control([], ({ pod }) => pod.revert())],
  [
    'setMaxTries',
    control(['count'], ({ tracker }, [maxTries]) => {
      if (tracker === undefined) throw new PodError('ERR_POD_UNSUPPORTED', 'Only a tracker has a limit of tries.');
      tracker.maxTries = maxTries as unknown as number;
    }),
  ],
]);

/** The operations that may have no answer yet. */
export const WAITS: ReadonlySet<string> = new Set(['claim', 'lock']);

/** The operations that may add to what is to do. */
export const ADDS_WORK: ReadonlySet<string> = new Set([
  ...['set', 'getOrInsert', 'update', 'patch', 'setIn', 'deleteIn', 'increment', 'transaction'],
  ...['add', 'addIfAbsent', 'addMany', 'addManyIfAbsent', 'markNotDone', 'unabort', 'retry', 'shouldDoAdd'],
  'setPriority',
  ...['decrementTries', 'resetTries', 'claimKey'],
]);
