/**
 * What runs when the process ends: everything registered here is flushed, synchronously, however the process ends on purpose.
 *
 * signal-exit catches signals and keeps their exit status. It has holes (reliability F5 to F8), and each has its guard here:
 * - It takes its listeners off before it calls anybody, so a second signal would kill in the middle of a flush; two copies of it in one
 *   process overrule each other; and it is spent after one signal, although a handler may have vetoed that one, and process 1 of a
 *   container survives it. So, in the moment its listeners go, ours take their place, and the signal that it then sends
 *   again comes to us: what has changed meanwhile is flushed too, and the process ends with that signal's status.
 * - Another library's handler that throws keeps ours from running, so the plain `exit` event is listened to as well.
 * - It makes SIGXFSZ fatal, which is only the announcement of an EFBIG.
 * - It hides from Node that nobody set an exit code, and with it the code 13 of an `await` that never ends.
 *
 * Nothing here remembers "done": a flush with nothing to do costs nothing.
 */
import { constants } from 'node:os';
import { onExit, signals } from 'signal-exit';

/** Saves what must not be lost. `how` says how the process ends: a signal's name, `exit 0`, `uncaughtException`. */
export type ExitTask = (how: string) => void;

/** The signals that end the process where nobody listens. */
const ENDING: readonly NodeJS.Signals[] = signals.filter((signal) => signal !== 'SIGXFSZ');

/** The time between the end of the last pod and the end of listening. */
interface Aftermath {
  readonly onSignal: (signal: NodeJS.Signals) => void;
  readonly end: () => void;
}

const tasks = new Set<ExitTask>();
let stopListening: (() => void) | undefined;
let aftermath: Aftermath | undefined;
/** What is ending the process, where that is more than its exit code: a signal, or the origin of an error that nobody caught. */
let reason: string | undefined;
/** signal-exit has called us for a signal, which it does once in the life of a process. */
let spent: boolean = false;

/** Registers a task. Returns a function that takes it off again. Soon after the last one nothing is listened to any more. */
export function atExit(task: ExitTask): () => void {
  tasks.add(task);
  if (stopListening === undefined) {
    stopListening = listen();
    aftermath?.end();
  }
  return () => {
    tasks.delete(task);
    if (tasks.size > 0 || stopListening === undefined) return;
    beginAftermath();
    stopListening();
    stopListening = undefined;
  };
}

/**
 * A signal that came while the program was busy, or that it sends itself right after it closed its pods, is told to who listens when the
 * event loop comes to it. If by then nobody did, it would be swallowed and the program would end with 0. So for two rounds of the loop,
 * which are kept going for it, somebody still listens and lets the signal do what it does where nobody listens.
 */
function beginAftermath(): void {
  const onSignal = (signal: NodeJS.Signals): void => {
    if (process.listenerCount(signal) > 1 + listenersOfSignalExit()) return;
    mine.end();
    if (process.pid === 1) process.exit(128 + constants.signals[signal]);
    process.kill(process.pid, signal);
  };
  const mine: Aftermath = {
    onSignal,
    end: () => {
      for (const signal of ENDING) process.off(signal, onSignal);
      if (aftermath === mine) aftermath = undefined;
    },
  };
  aftermath = mine;
  for (const signal of ENDING) process.on(signal, onSignal);
  afterTwoRounds(mine.end);
}

/**
 * Listening to a signal keeps no event loop going. Whoever stops listening may be about to send the signal again, as signal-exit is, and
 * the loop must still go when it comes.
 */
function keepLoopGoing(): void {
  afterTwoRounds(ignore);
}

function afterTwoRounds(work: () => void): void {
  setImmediate(() => void setImmediate(work));
}

function listen(): () => void {
  const stops = [listenToSignals(), listenToExit()];
  return () => {
    for (const stop of stops) stop();
  };
}

function listenToSignals(): () => void {
  const onSignal = (signal: NodeJS.Signals): void => {
    // Where the application listens too, it decides; the `exit` event will tell us.
    if (process.listenerCount(signal) - 1 > listenersOfSignalExit()) return;
    const errors = runTasks(signal);
    // A kernel ignores a signal that process 1 sends itself. And what could not be saved must be heard of: the exit event
    // tries once more and throws.
    if (process.pid === 1 || errors.length > 0) {
      reason = signal;
      process.exit(128 + constants.signals[signal]);
    }
    process.off(signal, onSignal);
    keepLoopGoing();
    process.kill(process.pid, signal);
  };
  const takeOver = (): void => {
    for (const signal of ENDING) if (!process.listeners(signal).includes(onSignal)) process.on(signal, onSignal);
  };
  // Called before Node gives a signal without listeners back to the system, so there is no gap.
  const onRemove = (event: string | symbol, listener: unknown): void => {
    const isOurs = listener === onSignal || listener === aftermath?.onSignal;
    if (isOurs || !(ENDING as readonly unknown[]).includes(event)) return;
    takeOver();
    keepLoopGoing();
  };
  const stopSignalExit = onExit((code, signal) => {
    if (signal !== null) {
      spent = true;
      keepLoopGoing();
    }
    // Without a signal the plain `exit` event is ours too; this only comes first where somebody calls process.reallyExit.
    runTasks(signal ?? reason ?? `exit ${code ?? 0}`);
    return undefined;
  });
  (process as NodeJS.EventEmitter).prependListener('removeListener', onRemove);
  process.on('SIGXFSZ', ignore);
  if (spent) takeOver();
  return () => {
    (process as NodeJS.EventEmitter).off('removeListener', onRemove);
    process.off('SIGXFSZ', ignore);
    stopSignalExit();
    for (const signal of ENDING) process.off(signal, onSignal);
  };
}

/** Every loaded copy of signal-exit has one listener on each signal; they count themselves in these places, versions 4 and 3. */
function listenersOfSignalExit(): number {
  interface Emitter {
    readonly count?: number;
  }
  const { count: four = 0 } = ((globalThis as Record<symbol, unknown>)[Symbol.for('signal-exit emitter')] ??
    {}) as Emitter;
  const { count: three = 0 } = (process as { __signal_exit_emitter__?: Emitter }).__signal_exit_emitter__ ?? {};
  return four + three;
}

function listenToExit(): () => void {
  const onProcessExit = (code: number): void => {
    const errors = runTasks(reason ?? `exit ${process.exitCode ?? code}`);
    if (errors.length === 0) return;
    if (process.exitCode === undefined || process.exitCode === 0) process.exitCode = 1;
    throw errors.length === 1 ? errors[0] : new AggregateError(errors, `${errors.length} pods could not be saved.`);
  };
  const onUncaught = (_error: Error, origin: string): void => {
    const caught = process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback();
    if (!caught) reason = origin;
  };
  let codeUnset = false;
  const onBeforeExit = (): void => {
    codeUnset = process.exitCode === undefined;
  };
  const unsetCode = (code: number): void => {
    if (codeUnset && code === 0) process.exitCode = undefined;
  };
  process.on('beforeExit', onBeforeExit);
  process.prependListener('exit', unsetCode);
  process.on('exit', onProcessExit);
  process.on('uncaughtExceptionMonitor', onUncaught);
  return () => {
    process.off('beforeExit', onBeforeExit);
    process.off('exit', unsetCode);
    process.off('exit', onProcessExit);
    process.off('uncaughtExceptionMonitor', onUncaught);
  };
}

function ignore(): void {}

/** Runs every task, whatever the others do; returns what they threw. */
function runTasks(how: string): unknown[] {
  const errors: unknown[] = [];
  for (const task of [...tasks]) {
    try {
      task(how);
    } catch (error) {
      errors.push(error);
    }
  }
  return errors;
}
