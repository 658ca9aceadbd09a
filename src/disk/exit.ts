/**
 * What runs when the process ends: everything registered here is flushed, synchronously, however the process ends on purpose.
 *
 * signal-exit catches signals and keeps their exit status; it has four measured holes (reliability F5 to F8) and a guard here for each:
 * it takes its listeners off before it calls us, so signals are shielded while we flush; another library's handler that throws
 * keeps ours from running, so the plain `exit` event is listened to as well; it runs its handlers once in a life, so nothing
 * here remembers "done"; and as process 1 of a container its second signal is ignored, so we exit with the status ourselves.
 */
import { constants } from 'node:os';
import { onExit } from 'signal-exit';

/** Saves what must not be lost. `how` says how the process ends: a signal's name, `exit 0`, `uncaughtException`. */
export type ExitTask = (how: string) => void;

const SHIELDED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

const tasks = new Set<ExitTask>();
let stopListening: (() => void) | undefined;
/** The origin of the error that is ending the process, if one is. */
let uncaught: string | undefined;

/** Registers a task. Returns a function that takes it off again. Nothing is listened to while no task is registered. */
export function atExit(task: ExitTask): () => void {
  tasks.add(task);
  stopListening ??= listen();
  return () => {
    tasks.delete(task);
    if (tasks.size > 0) return;
    stopListening?.();
    stopListening = undefined;
  };
}

function listen(): () => void {
  const stopSignals = onExit((code, signal) => {
    if (signal === null) {
      // The plain `exit` event follows and is ours too; this only comes first where somebody calls process.reallyExit.
      runTasks(uncaught ?? `exit ${code ?? 0}`);
      return;
    }
    const errors = runTasks(signal);
    // A kernel ignores a signal that process 1 sends itself. And what could not be saved must be heard of: the exit event
    // tries once more and throws.
    if (process.pid === 1 || errors.length > 0) process.exit(128 + constants.signals[signal]);
  });
  const onProcessExit = (code: number): void => {
    const [error] = runTasks(uncaught ?? `exit ${code}`);
    if (error === undefined) return;
    if (process.exitCode === undefined || process.exitCode === 0) process.exitCode = 1;
    throw error;
  };
  const onUncaught = (_error: Error, origin: string): void => {
    uncaught = origin;
  };
  process.on('exit', onProcessExit);
  process.on('uncaughtExceptionMonitor', onUncaught);
  return () => {
    stopSignals();
    process.off('exit', onProcessExit);
    process.off('uncaughtExceptionMonitor', onUncaught);
  };
}

/** Runs every task, whatever the others do; returns what they threw. */
function runTasks(how: string): unknown[] {
  const errors: unknown[] = [];
  const ignore = (): void => {};
  for (const signal of SHIELDED) process.on(signal, ignore);
  try {
    for (const task of [...tasks]) {
      try {
        task(how);
      } catch (error) {
        errors.push(error);
      }
    }
  } finally {
    for (const signal of SHIELDED) process.off(signal, ignore);
  }
  return errors;
}
