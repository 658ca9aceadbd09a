/**
 * The line about the progress of a shared tracker: of all who work on it, as the owner counts.
 */
import { nodeSystem } from '../disk/system.ts';
import { type ProgressOptions, type ProgressStream, showProgress } from '../tracker/progress.ts';
import type { TrackerStats } from '../tracker/stats.ts';

/** What the owner says when it is asked for it. */
export interface SharedProgress {
  readonly stats: TrackerStats;
  /** Tasks that somebody has claimed. */
  readonly inFlight: number;
}

/** Where it is asked for. */
interface Source {
  readonly closed: boolean;
  look(): Promise<SharedProgress>;
}

/**
 * Shows the line until the returned thing is disposed of. Each line asks for the figures of the next one, so that nobody waits; the last one
 * waits for its own.
 */
export async function showSharedProgress(
  source: Source,
  stream: ProgressStream,
  options: ProgressOptions,
): Promise<AsyncDisposable> {
  let latest = await source.look();
  let looking: Promise<void> | undefined;
  const look = (): Promise<void> => {
    looking ??= source
      .look()
      .then(
        (found) => {
          latest = found;
        },
        // While there is no owner, what was known last is shown.
        () => {},
      )
      .finally(() => {
        looking = undefined;
      });
    return looking;
  };
  const shown = showProgress(
    {
      get closed() {
        return source.closed;
      },
      stats: () => {
        if (!source.closed) void look();
        return latest.stats;
      },
      inFlight: () => latest.inFlight,
    },
    nodeSystem.clock,
    stream,
    options,
  );
  return {
    [Symbol.asyncDispose]: async () => {
      // What is under way was asked for earlier.
      await looking;
      if (!source.closed) await look();
      shown[Symbol.dispose]();
    },
  };
}
