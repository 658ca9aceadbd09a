/**
 * Where the time goes: everpod's works in one process, each under V8's sampling profiler, as a table of Markdown on standard output.
 *
 * Time is counted for the file whose code was running, and for calls into Node and the system by their own names. `JSON.stringify`,
 * `JSON.parse` and the hash tables of V8 count for the file that calls them.
 */
import { readFileSync, rmSync } from 'node:fs';
import { type Profiler, Session } from 'node:inspector/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { POD, ProgressTracker } from '../src/index.ts';
import { type CrawlEntry, crawlEntry, crawlKey, STRIDE } from './data.ts';
import { figure, inFolder } from './measure.ts';
import { BATCH } from './works.ts';

const INTERVAL_US = 200;
/** What takes less is left out. */
const SHARE_MIN = 0.02;
const MANUAL = { syncAt: Number.MAX_SAFE_INTEGER, syncEvery: 0, cacheSize: 1 << 30 };

const entries = Number(process.argv[2]);
const tasks = Math.min(entries, 100_000);
const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.setSamplingInterval', { interval: INTERVAL_US });
const fileOf = filesOf(fileURLToPath(import.meta.url));
const lines = ['| work | µs each | where the time goes |', '| --- | ---: | --- |'];

await inFolder(async (folder) => {
  const path = join(folder, 'entries.pod');
  const scattered = Array.from({ length: entries }, (_, index) => crawlKey((index * STRIDE) % entries));
  const batches = Array.from({ length: entries / BATCH }, (_, batch) => batchAt(batch * BATCH));
  let pod = POD.open<CrawlEntry>(path, MANUAL);
  await profiled('bulk load, then sync', entries, async () => {
    for (const batch of batches) {
      for (const [key, value] of batch) pod.set(key, value);
      await null;
    }
    pod.sync();
  });
  batches.length = 0;
  pod.close();
  await profiled('open to first get', 1, () => {
    pod = POD.open<CrawlEntry>(path, MANUAL);
    pod.get(crawlKey(entries >> 1));
  });
  for (const touch of ['first touch', 'warm']) {
    await profiled(`random get, ${touch}`, entries, () => {
      let sum = 0;
      for (const key of scattered) sum += pod.get(key)?.depth ?? 0;
      return sum;
    });
  }
  await profiled('small nested updates, then sync', tasks, async () => {
    for (let index = 0; index < tasks; index++) {
      (pod.get(scattered[index] as string) as CrawlEntry).status = index;
      if (index % BATCH === 0) await null;
    }
    pod.sync();
  });
  pod.close();
  await profiled('open and iterate everything', entries, () => {
    pod = POD.open<CrawlEntry>(path, MANUAL);
    let sum = 0;
    for (const value of pod.values()) sum += value.depth;
    return sum;
  });
  pod.close();
  rmSync(path, { recursive: true });
  for (const [name, durability] of [
    ['each step safe from kill -9', 'process'],
    ['synced every 1,000', 'exit'],
  ] as const) {
    const tracker = ProgressTracker.open(join(folder, `${durability}.pod`), { ...MANUAL, durability });
    tracker.add(crawlKey(0));
    await profiled(`crawl loop, ${name}`, tasks, async () => {
      let next = 1;
      let taken = 0;
      for (const key of tracker.tryKeys({ limit: tasks })) {
        // Two of three links are new.
        tracker.addManyIfAbsent([crawlKey(next), crawlKey(next + 1), crawlKey(next >> 1)]);
        next += 2;
        tracker.markDone(key);
        if (durability === 'exit' && ++taken % BATCH === 0) tracker.sync();
      }
    });
    tracker.close();
  }
});
session.disconnect();
process.stdout.write(`${lines.join('\n')}\n`);

function batchAt(start: number): [string, CrawlEntry][] {
  return Array.from({ length: BATCH }, (_, index) => [crawlKey(start + index), crawlEntry(start + index)]);
}

async function profiled(name: string, count: number, work: () => unknown): Promise<void> {
  await session.post('Profiler.start');
  const before = performance.now();
  await work();
  const microseconds = ((performance.now() - before) * 1000) / count;
  const { profile } = await session.post('Profiler.stop');
  const shares = [...sharesOf(profile)].filter(([, share]) => share >= SHARE_MIN).sort((a, b) => b[1] - a[1]);
  const parts = shares.map(([what, share]) => `${what} ${Math.round(share * 100)} %`);
  lines.push(`| ${name} | ${figure(microseconds)} | ${parts.join(', ')} |`);
}

/** The shares of the time that was spent in each file, and in each function of Node and the system. */
function sharesOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Map<string, number> {
  const labels = new Map(nodes.map(({ id, callFrame }) => [id, labelOf(callFrame)]));
  const times = new Map<string, number>();
  let total = 0;
  for (const [index, id] of samples.entries()) {
    const label = labels.get(id) ?? 'unknown';
    const microseconds = timeDeltas[index] ?? 0;
    // The profiler's own work.
    if (label === '(idle)' || label === 'dispatch') continue;
    times.set(label, (times.get(label) ?? 0) + microseconds);
    total += microseconds;
  }
  return new Map([...times].map(([label, time]) => [label, time / total]));
}

function labelOf({ functionName, url, lineNumber }: Profiler.Profile['nodes'][number]['callFrame']): string {
  if (url === '') return functionName === '(garbage collector)' ? 'garbage collection' : functionName;
  if (url.startsWith('node:')) return url;
  return fileOf(lineNumber);
}

/** Says which source file a line of a bundle comes from: the bundler writes its name before it. */
function filesOf(bundle: string): (line: number) => string {
  const starts: [line: number, file: string][] = [];
  for (const [line, text] of readFileSync(bundle, 'utf8').split('\n').entries()) {
    const file = /^\/\/ ((?:src|bench|node_modules)\/\S+)$/.exec(text)?.[1];
    if (file !== undefined) starts.push([line, file.replace(/^src\//, '').replace(/^(node_modules\/[^/]+).*/, '$1')]);
  }
  return (line) => starts.findLast(([start]) => start <= line)?.[1] ?? 'unknown';
}
