/**
 * The works a pod is for, each beside the raw limit of that work in the same run: the least that any program in this language must do.
 */
import { closeSync, fdatasyncSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { PersistentOrderedDict, ProgressTracker } from '../src/index.ts';
import { type CrawlEntry, crawlEntry, crawlKey } from './data.ts';
import { figure, inFolder, table } from './measure.ts';

interface Work {
  readonly name: string;
  readonly pod: (state: State) => void | Promise<void>;
  readonly limit?: ((state: State) => void) | undefined;
}

interface State {
  readonly folder: string;
  readonly entries: number;
  pod: PersistentOrderedDict<CrawlEntry>;
  readonly map: Map<string, CrawlEntry>;
  readonly fd: number;
}

/** Runs every work once on a pod of that many entries and returns a Markdown table, times in milliseconds. */
export async function worksTable(entries: number): Promise<string> {
  const rows = await inFolder(async (folder) => {
    const state: State = {
      folder,
      entries,
      pod: PersistentOrderedDict.open(join(folder, 'pod')),
      map: new Map(),
      fd: openSync(join(folder, 'raw.jsonl'), 'wx'),
    };
    const measured: string[][] = [];
    for (const { name, pod, limit } of WORKS) {
      const limitMs = limit === undefined ? Number.NaN : await timeOnce(() => limit(state));
      const podMs = await timeOnce(() => pod(state));
      measured.push([name, figure(podMs), figure(limitMs), figure(podMs / limitMs)]);
    }
    closeSync(state.fd);
    state.pod.close();
    return measured;
  });
  return table([`${entries.toLocaleString('en')} entries`, 'everpod, ms', 'raw limit, ms', 'ratio'], rows);
}

async function timeOnce(work: () => unknown): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

const UPDATES = 100_000;
const TASKS = 100_000;

const WORKS: readonly Work[] = [
  {
    name: 'bulk load, then sync',
    limit: ({ map, fd, entries }) => {
      let lines: string[] = [];
      for (let index = 0; index < entries; index++) {
        const value = crawlEntry(index);
        map.set(crawlKey(index), value);
        lines.push(`${JSON.stringify(crawlKey(index))}\t${JSON.stringify(value)}\n`);
        if (lines.length === 1000) {
          writeSync(fd, lines.join(''));
          lines = [];
        }
      }
      writeSync(fd, lines.join(''));
      fdatasyncSync(fd);
    },
    pod: ({ pod, entries }) => {
      for (let index = 0; index < entries; index++) pod.set(crawlKey(index), crawlEntry(index));
      pod.sync();
    },
  },
  {
    name: 'close (everything into the shards)',
    pod: ({ pod }) => pod.close(),
  },
  {
    name: 'open to first get',
    pod: (state) => {
      state.pod = PersistentOrderedDict.open(state.pod.path);
      state.pod.get(crawlKey(1));
    },
  },
  {
    name: 'iterate everything, first touch',
    limit: ({ folder }) => {
      for (const line of readFileSync(join(folder, 'raw.jsonl'), 'latin1').split('\n')) {
        if (line !== '') JSON.parse(line.slice(line.indexOf('\t') + 1));
      }
    },
    pod: ({ pod }) => {
      let depths = 0;
      for (const value of pod.values()) depths += value.depth;
      if (depths === 0) throw new Error('Nothing was read.');
    },
  },
  {
    name: 'close and open again',
    pod: (state) => {
      state.pod.close();
      state.pod = PersistentOrderedDict.open(state.pod.path);
    },
  },
  {
    name: 'random get, first touch',
    limit: ({ map }) => {
      for (const value of map.values()) JSON.parse(JSON.stringify(value));
    },
    pod: ({ pod, entries }) => readAll(pod, entries),
  },
  {
    name: 'random get, warm',
    limit: ({ map, entries }) => readAll(map, entries),
    pod: ({ pod, entries }) => readAll(pod, entries),
  },
  {
    name: '100,000 small nested updates, then sync',
    limit: ({ map, fd, entries }) => {
      for (let index = 0; index < UPDATES; index++) {
        const key = crawlKey((index * 7919) % entries);
        const value = map.get(key) as CrawlEntry;
        value.status = index;
        writeSync(fd, `${JSON.stringify(key)}\t${JSON.stringify(value)}\n`);
      }
      fdatasyncSync(fd);
    },
    pod: ({ pod, entries }) => {
      for (let index = 0; index < UPDATES; index++) {
        const value = pod.get(crawlKey((index * 7919) % entries)) as CrawlEntry;
        value.status = index;
      }
      pod.sync();
    },
  },
  {
    name: 'crawl loop, 100,000 tasks, each step safe from kill -9',
    pod: async ({ folder }) => {
      const tasks = ProgressTracker.open(join(folder, 'tasks'));
      tasks.add(crawlKey(0));
      let found = 1;
      let taken = 0;
      for (const key of tasks.tryKeys({ limit: TASKS })) {
        taken++;
        for (let link = 0; link < 3 && found < 2 * TASKS; link++) tasks.addIfAbsent(crawlKey(found++));
        tasks.markDone(key);
        await null;
      }
      if (taken !== TASKS || tasks.numDone() !== TASKS) throw new Error('The crawl did not do what it was to do.');
      tasks.close();
    },
  },
  {
    name: 'the same writes to a bare file: one append a step',
    pod: ({ folder }) => {
      const path = join(folder, 'raw-crawl.jsonl');
      writeFileSync(path, '');
      const fd = openSync(path, 'a');
      const line = `${JSON.stringify([crawlKey(1), { _tries: 1, _done: true, _aborted: false }])}\n`;
      for (let task = 0; task < TASKS; task++) {
        writeSync(fd, line);
        writeSync(fd, line.repeat(4));
      }
      closeSync(fd);
    },
  },
];

function readAll(source: { get(key: string): CrawlEntry | undefined }, entries: number): void {
  let found = 0;
  for (let index = 0; index < entries; index++) {
    const value = source.get(crawlKey((index * 7919) % entries));
    if (value !== undefined && value.depth >= 0) found++;
  }
  if (found !== entries) throw new Error(`Only ${found} of ${entries} entries were found.`);
}
