/**
 * Does something again and again until the person at the keyboard, or the system, has had enough.
 */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What ended it. */
export type Stop = (typeof SIGNALS)[number] | 'output closed' | 'key' | 'over';

/** The keyboard of a terminal, as it is looked at here. */
export interface Keyboard {
  setRawMode(isRaw: boolean): unknown;
  on(event: 'data', listener: (keys: Buffer) => void): unknown;
  off(event: 'data', listener: (keys: Buffer) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

/** `q`, and Ctrl-C, which a keyboard that gives every key for itself does not turn into a signal. */
const QUIT: readonly string[] = ['q', 'Q', '\u0003'];

/**
 * Calls `work` every so often; what it throws ends it, too.
 *
 * @param options `keyboard`: where the key `q` ends it, too; it is as it was when the promise settles. `isOver` ends it when it says so
 * @returns which signal ended it; nobody reads the output any more counts as one
 */
export function untilSignal(
  everyMs: number,
  work: () => void,
  { keyboard, isOver = () => false }: { keyboard?: Keyboard | undefined; isOver?: () => boolean } = {},
): Promise<Stop> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const listeners = SIGNALS.map((signal) => [signal, () => end(() => resolve(signal))] as const);
    const closed = (): void => end(() => resolve('output closed'));
    const pressed = (keys: Buffer): void => {
      if (QUIT.some((key) => keys.includes(key))) end(() => resolve('key'));
    };
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      for (const [signal, listener] of listeners) process.off(signal, listener);
      process.stdout.off('error', closed);
      keyboard?.off('data', pressed);
      keyboard?.setRawMode(false);
      keyboard?.pause();
      settle();
    };
    const step = (): void => {
      try {
        work();
        if (isOver()) {
          end(() => resolve('over'));
          return;
        }
        timer = setTimeout(step, everyMs);
      } catch (error) {
        end(() => reject(error));
      }
    };
    for (const [signal, listener] of listeners) process.on(signal, listener);
    process.stdout.on('error', closed);
    keyboard?.setRawMode(true);
    keyboard?.on('data', pressed);
    keyboard?.resume();
    timer = setTimeout(step, isOver() ? 0 : everyMs);
  });
}
