/** Turns Ctrl-C into an orderly end: the first one asks, the second one does not. */

export interface StopRequest {
  /** Aborted at the first signal: begin nothing new. */
  readonly stop: AbortSignal;
  /** Aborted a little later: give up what is still going on. */
  readonly cut: AbortSignal;
  /** The signal that came, if any did. */
  readonly signal: () => NodeJS.Signals | undefined;
  /** Ends the process the way the signal would have, so that the caller's shell sees the right status. */
  readonly raise: () => void;
}

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];

export function stopOnSignal(graceMs: number, onStop: (signal: NodeJS.Signals) => void): StopRequest {
  const stop = new AbortController();
  const cut = new AbortController();
  let received: NodeJS.Signals | undefined;

  const raise = (signal = received) => {
    if (signal === undefined) return;
    for (const name of SIGNALS) process.removeListener(name, onSignal);
    process.kill(process.pid, signal);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (received !== undefined) return raise(signal);
    received = signal;
    stop.abort();
    setTimeout(() => cut.abort(), graceMs).unref();
    onStop(signal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return { stop: stop.signal, cut: cut.signal, signal: () => received, raise };
}
