/** Shows how far the crawl is: a bar on a terminal, a line now and then anywhere else. */

export interface ProgressCounts {
  readonly done: number;
  readonly aborted: number;
  /** Waiting, in flight, or failed with a try left. */
  readonly todo: number;
  readonly total: number;
  readonly fetched: number;
  /** How much longer it takes at least, where that can be told. */
  readonly etaMs: number | undefined;
}

const BAR_WIDTH = 20;
const BAR_EVERY_MS = 100;
const LINE_EVERY_MS = 2_000;
const ETA_FROM_MS = 10_000;

/** Shows `count()` until the returned function is called. On stderr, so that stdout holds nothing but the summary. */
export function showProgress(count: () => ProgressCounts, output: NodeJS.WriteStream = process.stderr): () => void {
  const write = output.isTTY
    ? () => output.write(`\r\u001B[K${clip(bar(count()), output.columns)}`)
    : () => output.write(`${line(count())}\n`);
  // A timer that is only for show must not keep the process alive.
  const timer = setInterval(write, output.isTTY ? BAR_EVERY_MS : LINE_EVERY_MS).unref();
  return () => {
    clearInterval(timer);
    write();
    if (output.isTTY) output.write('\n');
  };
}

function bar(counts: ProgressCounts): string {
  const settled = counts.total - counts.todo;
  const filled = counts.total === 0 ? 0 : Math.round((settled / counts.total) * BAR_WIDTH);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${line(counts)}`;
}

function line({ done, aborted, todo, total, fetched, etaMs }: ProgressCounts): string {
  const counts = `${done} of ${total} done, ${todo} to do, ${aborted} given up, ${fetched} fetched`;
  // Below that it would jump about and be over before it is read.
  return etaMs === undefined || etaMs < ETA_FROM_MS ? counts : `${counts}, ${duration(etaMs)} or more`;
}

function duration(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 2) return `${Math.round(ms / 1000)} s`;
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

/** A line that wraps could not be drawn over. */
function clip(text: string, columns: number | undefined): string {
  return text.slice(0, (columns ?? 80) - 1);
}
