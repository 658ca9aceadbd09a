/**
 * One phase in the life of a large tracker, in a process of its own: reads the phase from its argument, writes what it measured as JSON.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ProgressTracker } from '../src/index.ts';
import { crawlEntry, crawlKey, STRIDE } from './data.ts';
import type { HugeJob, HugePhase } from './huge.ts';

/** Of the tasks the last few are to do; all others are done. */
const UNDONE = 10_000;
/** Entries stored in one turn of the event loop. */
const TURN = 200;

type Tracker = ProgressTracker<object>;
type Metrics = Record<string, number>;

const job = JSON.parse(process.argv[2] ?? '') as HugeJob;
const { folder, entries } = job;

const phases: Record<HugePhase, () => Metrics | Promise<Metrics>> = { build, open, crawl, verify };

process.stdout.write(`${JSON.stringify(await phases[job.phase]())}\n`);

/** Fills a new tracker, folds and closes it, as a program that never stops for long would. */
async function build(): Promise<Metrics> {
  const tracker: Tracker = ProgressTracker.open(folder, { syncEvery: 0 });
  const stalls = watchStalls();
  const before = performance.now();
  for (let index = 0; index < entries; ) {
    for (const end = Math.min(entries, index + TURN); index < end; index++) {
      tracker.set(crawlKey(index), { ...crawlEntry(index), _done: index < entries - UNDONE });
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  tracker.sync();
  const buildMs = performance.now() - before;
  const stallMs = stalls();
  const { rss } = process.memoryUsage();
  const closing = performance.now();
  tracker.close();
  const bytes = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  return { buildUs: (buildMs * 1000) / entries, stallMs, buildRss: rss, closeMs: performance.now() - closing, bytes };
}

/** Opens it to its first value. */
function open(): Metrics {
  const empty = process.memoryUsage().rss;
  const before = performance.now();
  const tracker: Tracker = ProgressTracker.open(folder);
  const value = tracker.snapshot(crawlKey(entries >> 1));
  const openMs = performance.now() - before;
  const { rss } = process.memoryUsage();
  if (value === undefined || tracker.size !== entries) throw new Error('What was opened is not what was built.');
  return { openMs, openRss: rss - empty, rssAnEntry: (rss - empty) / entries };
}

/** What single operations cost, and a fold of what they changed. */
async function crawl(): Promise<Metrics> {
  const tracker: Tracker = ProgressTracker.open(folder, { syncAt: Number.MAX_SAFE_INTEGER, syncEvery: 0 });
  const at = (turn: number): number => (turn * STRIDE) % entries;
  const each = (count: number, work: (turn: number) => void): number => {
    const before = performance.now();
    for (let turn = 0; turn < count; turn++) work(turn);
    return ((performance.now() - before) * 1000) / count;
  };
  const getUs = each(20_000, (turn) => tracker.snapshot(crawlKey(at(turn))));
  const hasUs = each(20_000, (turn) => tracker.has(crawlKey(entries + turn)));
  const addUs = each(20_000, (turn) => tracker.addIfAbsent(crawlKey(at(turn))));
  const tasks = tracker.tryKeys();
  const nextUs = each(2_000, () => {
    const { value } = tasks.next() as IteratorYieldResult<string>;
    tracker.markDone(value);
  });
  const updateUs = each(10_000, (turn) => {
    (tracker.get(crawlKey(at(turn))) as unknown as { depth: number }).depth++;
  });
  const syncing = performance.now();
  tracker.sync();
  const syncMs = performance.now() - syncing;
  const closing = performance.now();
  tracker.close();
  return { getUs, hasUs, addUs, nextUs, updateUs, syncMs, foldMs: performance.now() - closing };
}

/** Reads everything there is. */
async function verify(): Promise<Metrics> {
  const before = performance.now();
  const { verifyFolder } = await import('../src/disk/repair.ts');
  const { nodeSystem } = await import('../src/disk/system.ts');
  const found = verifyFolder(nodeSystem, folder);
  if (found !== entries) throw new Error(`${found} entries were verified instead of ${entries}.`);
  return { verifyMs: performance.now() - before, verifyRss: process.memoryUsage().rss };
}

/** Watches the event loop; the function it gives back tells its longest stall so far. */
function watchStalls(): () => number {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  timer.unref();
  return () => longest;
}
