/**
 * The works that are measured, each in a process of its own on a folder that earlier works of the same round may have filled.
 *
 * Only calls of the store are timed: what is stored is made, and what was read is checked, outside of that.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type CrawlEntry, crawlEntry, crawlKey, STRIDE } from './data.ts';
import { quantile } from './measure.ts';
import { type Level, type Maybe, type Peer, type Safety, type Store, settled, type TaskQueue } from './peers/peer.ts';

/** How much each work does. */
export interface Sizes {
  readonly entries: number;
  readonly updates: number;
  readonly singles: number;
  readonly tasks: number;
  /** How many single calls ask for the next task. */
  readonly nextTasks: number;
}

/** One measurement: what a child process is told. */
export interface Job {
  readonly contestant: string;
  readonly work: WorkName;
  /** The contestant's own folder in this round. */
  readonly folder: string;
  /** Where everpod's entries lie: what must be read to open them is a raw limit. */
  readonly everpodFolder: string;
  readonly sizes: Sizes;
}

/** What was measured, by the name of the metric. */
export type Metrics = Readonly<Record<string, number>>;

type Work = (peer: Peer, job: Job) => Promise<Metrics>;

/** Entries in one batch. */
export const BATCH = 1000;
/** A work that makes single updates durable stops after this time, however few there were. */
const SINGLES_MS_MAX = 3000;
/** Entries stored in one turn of the event loop, where its longest stall is looked for. */
const TURN = 100;
/** So long the event loop is watched after the last entry: timers fire, folds end. */
const AFTERMATH_MS = 1500;
const LOADED_STATUS = 200;
/** Checksums are added up, so that the order does not matter; below this the sum stays exact. */
const CHECKSUM_MAX = 2 ** 48;
/** The folder of the entries, which most works share. */
const ENTRIES = 'entries';

export const WORKS = {
  load: (peer, job) => load(peer, job, 'process'),
  'load-power': (peer, job) => load(peer, job, 'power'),
  open,
  iterate,
  gets,
  update,
  single,
  'crawl-step': (peer, job) => crawl(peer, job, 'step'),
  'crawl-batch': (peer, job) => crawl(peer, job, 'batch'),
  probe,
  fill,
  next: (peer, job) => next(peer, job, 'filled'),
  'next-none': (peer, job) => next(peer, job, 'none'),
  stall,
} satisfies Record<string, Work>;

export type WorkName = keyof typeof WORKS;

/** Whether the contestant works here at all. */
async function probe(peer: Peer, job: Job): Promise<Metrics> {
  const store = await settled(peer.openStore?.(place(job, 'probe-store'), 'process'));
  await settled(store?.close());
  const queue = await settled(peer.openQueue?.(place(job, 'probe-queue'), 'step'));
  await settled(queue?.close());
  return {};
}

// ---- Works on entries.

async function load(peer: Peer, job: Job, level: Level): Promise<Metrics> {
  const { sizes } = job;
  const open = required(peer.openStore);
  const folder = place(job, level === 'process' ? ENTRIES : 'entries-power');
  const store = await open(folder, level);
  const writtenBefore = writtenBytes();
  const clock = new Stopwatch();
  for (let start = 0; start < sizes.entries; start += BATCH) {
    const { keys, values } = batch(start, Math.min(sizes.entries, start + BATCH));
    await clock.time(() => store.put(keys, values));
  }
  await clock.time(() => store.sync());
  await settled(store.close());
  const written = writtenBytes() - writtenBefore;
  const bytes = diskBytes(folder);
  const total = await checkEntries(await open(folder, level), sizes.entries, (index) => crawlEntry(index).status);
  if (level === 'process') return { load: clock.milliseconds, diskBytes: bytes, loadAmplification: written / total };
  rmSync(folder, { recursive: true });
  return { loadPower: clock.milliseconds };
}

async function open(peer: Peer, job: Job): Promise<Metrics> {
  const key = crawlKey(job.sizes.entries >> 1);
  const before = performance.now();
  if (job.contestant === 'limit') {
    for (const name of readdirSync(join(job.everpodFolder, ENTRIES))) {
      if (/^(?:pod\.json|wal-.*)$/.test(name)) readFileSync(join(job.everpodFolder, ENTRIES, name));
    }
    return { open: performance.now() - before };
  }
  const store = await settled(required(peer.openStore)(place(job, ENTRIES), 'process'));
  let depth = Number.NaN;
  await settled(
    store.getEach([key], (value) => {
      depth = value.depth;
    }),
  );
  const milliseconds = performance.now() - before;
  const { rss } = process.memoryUsage();
  if (depth !== crawlEntry(job.sizes.entries >> 1).depth) throw new Error(`${key} was not found, or is wrong.`);
  await settled(store.close());
  return { open: milliseconds, rss };
}

async function iterate(peer: Peer, job: Job): Promise<Metrics> {
  const { sizes } = job;
  const folder = place(job, ENTRIES);
  let seen = 0;
  let sum = 0;
  const clock = new Stopwatch();
  const store = await clock.time(() => required(peer.openStore)(folder, 'process'));
  await clock.time(() =>
    store.iterate((_, value) => {
      seen++;
      sum += value.depth;
    }),
  );
  let expected = 0;
  for (let index = 0; index < sizes.entries; index++) expected += crawlEntry(index).depth;
  if (seen !== sizes.entries || sum !== expected) throw new Error(`Iterating gave ${seen} entries with sum ${sum}.`);
  await settled(store.close());
  return { iterate: clock.milliseconds };
}

async function gets(peer: Peer, job: Job): Promise<Metrics> {
  const { sizes } = job;
  const folder = place(job, ENTRIES);
  const store = await settled(required(peer.openStore)(folder, 'process'));
  // The first get may build what all others use; that belongs to opening.
  await settled(store.getEach([crawlKey(0)], () => {}));
  const times: number[] = [];
  for (const _ of ['first touch', 'warm']) {
    let sum = 0;
    let expected = 0;
    const clock = new Stopwatch();
    for (let start = 0; start < sizes.entries; start += BATCH) {
      const places = scattered(start, Math.min(sizes.entries, start + BATCH), sizes.entries);
      const keys = places.map(crawlKey);
      await clock.time(() =>
        store.getEach(keys, (value) => {
          sum += value.depth + value.status;
        }),
      );
      for (const place of places) expected += (place % 9) + LOADED_STATUS;
    }
    if (sum !== expected) throw new Error(`Reading at random gave the sum ${sum} instead of ${expected}.`);
    times.push(clock.milliseconds);
  }
  await settled(store.close());
  return { firstTouch: times[0] as number, warm: times[1] as number };
}

async function update(peer: Peer, job: Job): Promise<Metrics> {
  const { sizes } = job;
  const folder = place(job, ENTRIES);
  const open = required(peer.openStore);
  const store = await settled(open(folder, 'process'));
  await settled(store.getEach([crawlKey(0)], () => {}));
  const expected = new Map<number, number>();
  const writtenBefore = writtenBytes();
  let changedBytes = 0;
  const clock = new Stopwatch();
  for (let start = 0; start < sizes.updates; start += BATCH) {
    const places = scattered(start, Math.min(sizes.updates, start + BATCH), sizes.entries);
    const keys = places.map(crawlKey);
    await clock.time(() =>
      store.update(keys, (value, index) => {
        value.status = start + index;
        value.links[1] = '/updated';
      }),
    );
    places.forEach((place, index) => {
      expected.set(place, start + index);
      changedBytes += JSON.stringify(crawlEntry(place)).length + crawlKey(place).length;
    });
  }
  await clock.time(() => store.sync());
  await settled(store.close());
  const written = writtenBytes() - writtenBefore;
  await checkEntries(await open(folder, 'process'), sizes.entries, (index, value) => {
    const status = expected.get(index);
    if (status !== undefined) value.links[1] = '/updated';
    return status ?? value.status;
  });
  return { update: clock.milliseconds, updateAmplification: written / changedBytes };
}

/** One small change at a time, each durable before the next. Leaves the first entries with another status. */
async function single(peer: Peer, job: Job): Promise<Metrics> {
  const { sizes } = job;
  const folder = place(job, ENTRIES);
  const open = required(peer.openStore);
  const store = await settled(open(folder, 'power'));
  await settled(store.getEach([crawlKey(0)], () => {}));
  const times: number[] = [];
  const deadline = performance.now() + SINGLES_MS_MAX;
  for (let index = 0; index < sizes.singles && performance.now() < deadline; index++) {
    const keys = [crawlKey(index)];
    const clock = new Stopwatch();
    await clock.time(() =>
      store.update(keys, (value) => {
        value.status = -index;
      }),
    );
    times.push(clock.milliseconds * 1000);
  }
  await settled(store.close());
  const again = await settled(open(folder, 'power'));
  let wrong = 0;
  let index = 0;
  await settled(
    again.getEach(
      times.map((_, place) => crawlKey(place)),
      (value) => {
        if (value.status !== 0 - index++) wrong++;
      },
    ),
  );
  await settled(again.close());
  if (wrong > 0 || index !== times.length)
    throw new Error(`${wrong} of ${times.length} durable updates are not there.`);
  return { single: quantile(times, 0.5), single99: quantile(times, 0.99) };
}

/** The longest time between two turns of the event loop while entries come in, are synced, and are moved to where they stay. */
async function stall(peer: Peer, job: Job): Promise<Metrics> {
  const { sizes } = job;
  const folder = place(job, 'stall');
  const openStore = required(peer.openStore);
  const open = peer.openAsUsers ?? ((path: string) => openStore(path, 'process'));
  const store = await settled(open(folder));
  let longest = 0;
  let last = performance.now();
  const turn = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  for (let start = 0; start < sizes.entries; start += TURN) {
    const { keys, values } = batch(start, Math.min(sizes.entries, start + TURN));
    await turn();
    last = performance.now();
    await settled(store.put(keys, values));
    if (start % BATCH === BATCH - TURN) {
      await turn();
      await settled(store.sync());
    }
    await turn();
  }
  const end = performance.now() + AFTERMATH_MS;
  while (performance.now() < end) await turn();
  await settled(store.close());
  await checkEntries(await open(folder), sizes.entries, (index) => crawlEntry(index).status);
  rmSync(folder, { recursive: true });
  return { stall: longest };
}

// ---- Works on tasks.

async function crawl(peer: Peer, job: Job, safety: Safety): Promise<Metrics> {
  const { sizes } = job;
  const folder = place(job, `crawl-${safety}`);
  const open = required(peer.openQueue);
  const queue = await settled(open(folder, safety));
  await settled(queue.fill([crawlKey(0)], 0));
  let taken = 0;
  const clock = new Stopwatch();
  while (taken < sizes.tasks) {
    const count = await clock.time(() => queue.crawl(Math.min(BATCH, sizes.tasks - taken), linksOf));
    if (count === 0) break;
    taken += count;
  }
  await settled(queue.close());
  const again = await settled(open(folder, safety));
  const counts = await settled(again.counts());
  await settled(again.close());
  // A page links to two new ones and one that is known.
  const expected = { total: 2 * sizes.tasks + 1, done: sizes.tasks, tries: sizes.tasks };
  if (JSON.stringify(counts) !== JSON.stringify(expected)) {
    throw new Error(`The crawl left ${JSON.stringify(counts)} instead of ${JSON.stringify(expected)}.`);
  }
  rmSync(folder, { recursive: true });
  return { [safety === 'step' ? 'crawlStep' : 'crawlBatch']: (clock.milliseconds * 1000) / sizes.tasks };
}

/** Each page links to two that nobody else links to, and to the one that links to it. */
function linksOf(key: string): string[] {
  const index = Number(key.slice(-19, -5));
  return [crawlKey(2 * index + 1), crawlKey(2 * index + 2), crawlKey(index >> 1)];
}

async function fill(peer: Peer, job: Job): Promise<Metrics> {
  for (const [name, done] of [
    ['filled', job.sizes.entries],
    ['none', 0],
  ] as const) {
    const queue: TaskQueue = await settled(required(peer.openQueue)(place(job, `next-${name}`), 'step'));
    for (let start = 0; start < done; start += BATCH) {
      await settled(queue.fill(batchKeys(start, Math.min(done, start + BATCH)), BATCH));
    }
    await settled(queue.fill(batchKeys(done, done + job.sizes.nextTasks), 0));
    await settled(queue.close());
  }
  return {};
}

async function next(peer: Peer, job: Job, name: 'filled' | 'none'): Promise<Metrics> {
  const folder = place(job, `next-${name}`);
  const { entries, nextTasks } = job.sizes;
  const queue = await settled(required(peer.openQueue)(folder, 'step'));
  let taken = 0;
  const clock = new Stopwatch();
  for (let index = 0; index < nextTasks; index++) taken += await clock.time(() => queue.crawl(1, () => []));
  const { total, done } = await settled(queue.counts());
  await settled(queue.close());
  const before = name === 'filled' ? entries : 0;
  if (taken !== nextTasks || total !== before + nextTasks || done !== total) {
    throw new Error(`${taken} tasks were taken, ${done} of ${total} are done.`);
  }
  rmSync(folder, { recursive: true });
  return { [name === 'filled' ? 'next' : 'nextNone']: (clock.milliseconds * 1000) / nextTasks };
}

// ---- Steps of several works.

/** A folder of the contestant, made if it is not there. */
function place(job: Job, name: string): string {
  const path = join(job.folder, name);
  mkdirSync(path, { recursive: true });
  return path;
}

class Stopwatch {
  milliseconds: number = 0;

  async time<T>(work: () => Maybe<T>): Promise<T> {
    const before = performance.now();
    const result = work();
    const value = result instanceof Promise ? ((await result) as T) : result;
    this.milliseconds += performance.now() - before;
    return value;
  }
}

/** Reads everything back and compares it, in any order, with what was stored. Answers how many bytes of JSON that is. Closes the store. */
async function checkEntries(
  store: Store,
  entries: number,
  statusOf: (index: number, value: CrawlEntry) => number,
): Promise<number> {
  let bytes = 0;
  const digest = (key: string, value: CrawlEntry): number => {
    const text = `${key}\t${JSON.stringify(value)}\n`;
    bytes += text.length;
    return crc32(text);
  };
  let expected = 0;
  for (let index = 0; index < entries; index++) {
    const value = crawlEntry(index);
    value.status = statusOf(index, value);
    expected = (expected + digest(crawlKey(index), value)) % CHECKSUM_MAX;
  }
  const expectedBytes = bytes;
  let found = 0;
  let count = 0;
  await settled(
    store.iterate((key, value) => {
      count++;
      found = (found + digest(key, value)) % CHECKSUM_MAX;
    }),
  );
  await settled(store.close());
  if (count !== entries || found !== expected) {
    throw new Error(`Read back: ${count} entries with checksum ${found}; stored: ${entries} with ${expected}.`);
  }
  return expectedBytes;
}

function batch(start: number, end: number): { keys: string[]; values: CrawlEntry[] } {
  const values: CrawlEntry[] = [];
  for (let index = start; index < end; index++) values.push(crawlEntry(index));
  return { keys: batchKeys(start, end), values };
}

function batchKeys(start: number, end: number): string[] {
  const keys: string[] = [];
  for (let index = start; index < end; index++) keys.push(crawlKey(index));
  return keys;
}

/** Places that lie far from each other; over the whole range each comes once. */
function scattered(start: number, end: number, entries: number): number[] {
  const places: number[] = [];
  for (let index = start; index < end; index++) places.push((index * STRIDE) % entries);
  return places;
}

/** What lies on the disk, in blocks that are in use. */
function diskBytes(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).blocks * 512;
  }
  return bytes;
}

/** What this process has sent towards the disk so far; not a number where the system does not say. */
function writtenBytes(): number {
  try {
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1] ?? Number.NaN);
  } catch {
    return Number.NaN;
  }
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('This contestant cannot do this work.');
  return value;
}
