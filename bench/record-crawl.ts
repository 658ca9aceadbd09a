/**
 * Writes down how the crawl of the demo site goes: the recording that the estimate of the time that is left is tried on.
 *
 *     npx tsx bench/record-crawl.ts politely > test/fixtures/runs/demo-crawl-politely.json
 *     npx tsx bench/record-crawl.ts far > test/fixtures/runs/demo-crawl-far.json
 *
 * Each sample is `[ms since the start, tasks that need nothing more, tasks that are known, tasks to do that failed before]`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CrawlState } from '../examples/crawl/crawl-state.ts';
import { Crawler } from '../examples/crawl/crawler.ts';
import { demoSite } from '../examples/crawl/demo-site.ts';
import { serve } from '../examples/crawl/serve.ts';
import type { Site } from '../examples/crawl/site.ts';

const SAMPLE_EVERY_MS = 100;

const folder = mkdtempSync(join(tmpdir(), 'everpod-recording-'));
// Politely is four pages a second at most, as a site of somebody else is crawled; far is one page at a time from a site that is far away.
const isPolite = process.argv[2] !== 'far';
const demo = demoSite(isPolite ? {} : { latencyMs: 150 });
const server = await serve(demo.handle);
const site: Site = {
  name: 'demo',
  startUrl: `${demo.origin}/`,
  label: 'the demo site',
  isLocal: !isPolite,
  addressOf: (url) => url.replace(demo.origin, server.origin),
  close: () => server.close(),
};
const state = new CrawlState(folder, 3);
const never = new AbortController().signal;
const crawler = new Crawler(site, state, {
  concurrency: isPolite ? 8 : 1,
  timeoutMs: 1_500,
  maxBytes: 5_000_000,
  stop: never,
  cut: never,
});
const samples: [number, number, number, number][] = [];
const startedMs = performance.now();
const sample = (): void => {
  const { total, todo } = state.tasks.stats();
  let failing = 0;
  for (const key of state.tasks.failedKeys()) if (state.tasks.shouldDo(key)) failing++;
  samples.push([Math.round(performance.now() - startedMs), total - todo, total, failing]);
};
sample();
const timer = setInterval(sample, SAMPLE_EVERY_MS);
try {
  await crawler.run();
} finally {
  clearInterval(timer);
  sample();
  state.close();
  await site.close();
  rmSync(folder, { recursive: true });
}
process.stdout.write(`[\n${samples.map((each) => JSON.stringify(each)).join(',\n')}\n]\n`);
