/** Sums up a crawl: what is done, what failed and why, and what a rerun would do. */
import { count } from './count.ts';
import type { CrawlState } from './crawl-state.ts';
import type { CrawlCounts } from './crawler.ts';

export interface ReasonCount {
  readonly reason: string;
  readonly count: number;
  /** One of the pages, to look at. */
  readonly example: string;
}

export interface Summary {
  readonly folder: string;
  /** Of all runs together. */
  readonly pages: number;
  readonly done: number;
  readonly redirects: number;
  /** Pages with a try left: a rerun takes them. */
  readonly todo: number;
  /** Pages that used up their tries, by the last reason. */
  readonly failed: readonly ReasonCount[];
  /** Pages that no further try can help, by reason. */
  readonly aborted: readonly ReasonCount[];
  readonly tries: number;
  readonly maxTries: number;
  /** Of this run alone. */
  readonly fetched: number;
  readonly seconds: number;
  readonly pagesPerSecond: number;
  /** A signal, or `an outage`; null where it came to its end. */
  readonly stoppedBy: string | null;
  /** Where the start page sends us, if that is another site. */
  readonly movedTo: string | null;
}

export interface Run {
  readonly counts: CrawlCounts;
  readonly startUrl: string;
  readonly ms: number;
  readonly stoppedBy: string | undefined;
}

export function summarise({ folder, tasks }: CrawlState, run: Run): Summary {
  const failed = new Clusters();
  const aborted = new Clusters();
  let redirects = 0;
  for (const [url, task] of tasks) {
    if (task.redirectedTo !== undefined && task._done) redirects += 1;
    if (task._aborted) aborted.add(task._error?.message ?? 'no reason given', url);
    else if (!task._done && !tasks.shouldDo(url)) failed.add(task._error?.message ?? 'no error was recorded', url);
  }
  const { todo, tries } = tasks.stats();
  const seconds = run.ms / 1000;
  const movedTo = tasks.get(run.startUrl)?.redirectedTo;
  return {
    folder,
    pages: tasks.size,
    done: tasks.numDone(),
    redirects,
    todo,
    failed: failed.counts(),
    aborted: aborted.counts(),
    tries,
    maxTries: tasks.maxTries,
    fetched: run.counts.fetched,
    seconds: Number(seconds.toFixed(2)),
    pagesPerSecond: Math.round(run.counts.fetched / seconds),
    stoppedBy: run.stoppedBy ?? null,
    movedTo: movedTo !== undefined && !tasks.has(movedTo) ? movedTo : null,
  };
}

export function formatSummary(summary: Summary): string {
  const { failed, aborted } = summary;
  const lines = [
    '',
    `${count(summary.done, 'page')} done, of which ${count(summary.redirects, 'redirect')}`,
    `${count(total(failed), 'page')} failed until the tries were used up`,
    ...failed.map(formatReason),
    `${count(total(aborted), 'page')} given up at once`,
    ...aborted.map(formatReason),
    `${summary.tries} tries in all runs; ${summary.fetched} fetched in this one, in ${summary.seconds} s, ` +
      `${summary.pagesPerSecond} a second`,
    `Kept in ${summary.folder}`,
    '',
    whatNext(summary),
  ];
  if (summary.movedTo !== null) lines.push(`The start page leads to another site: crawl ${summary.movedTo} instead.`);
  return `${lines.join('\n')}\n`;
}

function whatNext({ todo, failed, maxTries, stoppedBy }: Summary): string {
  const usedUp = total(failed);
  if (todo > 0)
    return `Stopped${stoppedBy ? ` by ${stoppedBy}` : ''}: the same command again does the ${todo} that are left.`;
  if (usedUp === 0) return 'Nothing is left to do.';
  const theirs = usedUp === 1 ? 'its' : 'their';
  return (
    `Nothing is left to do: ${count(usedUp, 'page')} used up ${theirs} ${count(maxTries, 'try', 'tries')}. ` +
    `--retry-failed gives ${usedUp === 1 ? 'it' : 'them'} as many again.`
  );
}

function formatReason({ reason, count: n, example }: ReasonCount): string {
  return `  ${String(n).padStart(4)} x ${reason}, for example ${example}`;
}

function total(reasons: readonly ReasonCount[]): number {
  return reasons.reduce((sum, { count: n }) => sum + n, 0);
}

/** Counts by reason, most frequent first. */
class Clusters {
  readonly #byReason = new Map<string, { count: number; example: string }>();

  add(reason: string, url: string): void {
    const cluster = this.#byReason.get(reason);
    if (cluster) cluster.count += 1;
    else this.#byReason.set(reason, { count: 1, example: url });
  }

  counts(): ReasonCount[] {
    return [...this.#byReason]
      .map(([reason, { count: n, example }]) => ({ reason, count: n, example }))
      .sort((a, b) => b.count - a.count);
  }
}
