/**
 * Does something again and again until the person at the keyboard, or the system, has had enough.
 */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What ended it. */
export type Stop = (typeof SIGNALS)[number] | 'output closed';

/**
 * Calls `work` every so often; what it throws ends it, too.
 *
 * @returns which signal ended it; nobody reads the output any more counts as one
 */
export function untilSignal(everyMs: number, work: () => void): Promise<Stop> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const listeners = SIGNALS.map((signal) => [signal, () => end(() => resolve(signal))] as const);
    const closed = (): void => end(() => resolve('output closed'));
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      for (const [signal, listener] of listeners) process.off(signal, listener);
      process.stdout.off('error', closed);
      settle();
    };
    const step = (): void => {
      try {
        work();
        timer = setTimeout(step, everyMs);
      } catch (error) {
        end(() => reject(error));
      }
    };
    for (const [signal, listener] of listeners) process.on(signal, listener);
    process.stdout.on('error', closed);
    timer = setTimeout(step, everyMs);
  });
}
