/**
 * What one small nested update costs at each durability level, beside a raw append and a raw append with fdatasync in the same run.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Durability, PersistentOrderedDict } from '../src/index.ts';
import { type CrawlEntry, crawlEntry, crawlKey } from './data.ts';
import { figure, inFolder, quantile, table, timeEach } from './measure.ts';

const ENTRIES = 10_000;
const ROUNDS = 3;

/** Measures and returns a Markdown table, times in microseconds. */
export async function durabilityTable(updates: number): Promise<string> {
  const times = new Map<string, number[]>();
  const note = (name: string, more: readonly number[]): void => {
    times.set(name, [...(times.get(name) ?? []), ...more]);
  };
  // Alternating, so that a busy moment of the machine meets all of them.
  for (let round = 0; round < ROUNDS; round++) {
    note('raw append', await inFolder((folder) => rawAppends(folder, updates, false)));
    note('one update, `exit`', await podUpdates('exit', updates));
    note('one update, `process`, to the end of its turn', await podUpdates('process', updates));
    note('raw append + fdatasync', await inFolder((folder) => rawAppends(folder, Math.ceil(updates / 10), true)));
    note('one update, `power`', await podUpdates('power', Math.ceil(updates / 10)));
    note('one update and `sync()`, `process`', await podSyncs(Math.ceil(updates / 10)));
  }
  const rows = [...times].map(([name, values]) => [
    name,
    figure(quantile(values, 0.5)),
    figure(quantile(values, 0.99)),
    String(values.length),
  ]);
  return table(['one nested update, 10,000 entries', 'p50, µs', 'p99, µs', 'updates'], rows);
}

function rawAppends(folder: string, count: number, durable: boolean): Promise<number[]> {
  const fd = openSync(join(folder, 'raw.log'), 'wx');
  const line = Buffer.from(`${JSON.stringify([crawlKey(1), crawlEntry(1)])}\n`);
  return timeEach(count, () => {
    writeSync(fd, line);
    if (durable) fdatasyncSync(fd);
  }).finally(() => closeSync(fd));
}

async function podUpdates(durability: Durability, count: number): Promise<number[]> {
  return withPod(durability, (pod) =>
    timeEach(count, (index) => {
      const entry = pod.get(crawlKey((index * 7919) % ENTRIES));
      if (entry !== undefined) entry.status = index;
      // The append of level `process` runs before this promise goes on.
      return durability === 'process' ? Promise.resolve() : undefined;
    }),
  );
}

async function podSyncs(count: number): Promise<number[]> {
  return withPod('process', (pod) =>
    timeEach(count, (index) => {
      const entry = pod.get(crawlKey((index * 7919) % ENTRIES));
      if (entry !== undefined) entry.status = index;
      pod.sync();
    }),
  );
}

async function withPod<R>(
  durability: Durability,
  work: (pod: PersistentOrderedDict<CrawlEntry>) => Promise<R>,
): Promise<R> {
  return inFolder(async (folder) => {
    // No timer: its sync would fall into some of the measured updates.
    const pod = PersistentOrderedDict.open<CrawlEntry>(join(folder, 'pod'), {
      durability,
      syncEvery: 0,
      syncAt: 1_000_000,
    });
    for (let index = 0; index < ENTRIES; index++) pod.set(crawlKey(index), crawlEntry(index));
    pod.sync();
    try {
      return await work(pod);
    } finally {
      pod.close();
    }
  });
}
