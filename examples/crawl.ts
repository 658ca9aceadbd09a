/**
 * Crawls a web site, and carries on where it was if it is stopped or killed.
 *
 *     npm run crawl                    the demo site that comes with it
 *     npm run crawl -- --site DIR      a folder of HTML files
 *     npm run crawl -- URL             a site on the network, politely
 *
 * The loop is in `crawl/crawler.ts`; this file only sets up what it needs and sums up what it did.
 */
import { PodError } from '../src/index.ts';
import { type Arguments, readArguments, USAGE, UsageError } from './crawl/arguments.ts';
import { CrawlState } from './crawl/crawl-state.ts';
import { Crawler } from './crawl/crawler.ts';
import { dataFolder } from './crawl/data-folder.ts';
import { prepareRerun } from './crawl/rerun.ts';
import { openSite, type Site } from './crawl/site.ts';
import { stopOnSignal } from './crawl/stop-on-signal.ts';
import { formatSummary, summarise } from './crawl/summary.ts';

const GRACE_MS = 2_000;
const MAX_PAGE_BYTES = 5_000_000;

try {
  const args = readArguments(process.argv.slice(2), process.env);
  if (args.help) process.stdout.write(USAGE);
  else await main(args);
} catch (error) {
  // These say themselves what to do; anything else is a bug and keeps its stack.
  if (!(error instanceof UsageError || error instanceof PodError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}

async function main(args: Arguments): Promise<void> {
  const site = await openSite(args);
  try {
    await crawl(site, args);
  } finally {
    await site.close();
  }
}

async function crawl(site: Site, args: Arguments): Promise<void> {
  const say = (line: string) => (args.json ? process.stderr : process.stdout).write(`${line}\n`);
  const state = new CrawlState(dataFolder(args.dataRoot, site.name, args.fresh), args.maxTries);
  say(`Crawling ${site.label}, kept in ${state.folder}`);
  for (const line of prepareRerun(state, args.retryFailed)) say(line);

  const { stop, cut, signal, raise } = stopOnSignal(GRACE_MS, (name) =>
    say(`${name}: finishing what is in flight ...`),
  );
  const { concurrency, timeoutMs } = args;
  const crawler = new Crawler(site, state, { concurrency, timeoutMs, maxBytes: MAX_PAGE_BYTES, stop, cut });
  const { tasks } = state;
  tasks.on('pause', ({ class: id, durationMs }) => {
    const message = tasks.errorClasses().find((each) => each.id === id)?.message;
    process.stderr.write(`Pausing for ${durationMs / 1_000} s, as tries fail alike: ${message}\n`);
  });
  const progress = tasks.attachProgress();
  const startedAt = performance.now();
  try {
    await crawler.run();
  } finally {
    progress[Symbol.dispose]();
  }
  const ms = performance.now() - startedAt;
  const summary = summarise(state, {
    counts: crawler.counts,
    startUrl: site.startUrl,
    ms,
    stoppedBy: signal() ?? (crawler.gaveUp ? 'an outage' : undefined),
  });
  state.close();
  process.stdout.write(args.json ? `${JSON.stringify(summary, null, 2)}\n` : formatSummary(summary));
  raise();
}
