/**
 * LevelDB through classic-level: batches for what is written, its synchronous get for what is read.
 */
import type { CrawlEntry } from '../data.ts';
import { type Peer, READ_AHEAD, requirePeer, type Store, type TaskQueue, type TaskRecord } from './peer.ts';

type Change<V> =
  | { readonly type: 'put'; readonly key: string; readonly value: V }
  | { readonly type: 'del'; readonly key: string };

interface Iterator<V> {
  nextv(size: number): Promise<[string, V][]>;
  close(): Promise<void>;
}

interface Level<V> {
  open(): Promise<void>;
  getSync(key: string): V | undefined;
  batch(changes: readonly Change<V>[], options: { sync: boolean }): Promise<void>;
  put(key: string, value: V, options: { sync: boolean }): Promise<void>;
  del(key: string, options: { sync: boolean }): Promise<void>;
  iterator(range?: { gte?: string; gt?: string; lt?: string; limit?: number }): Iterator<V>;
  close(): Promise<void>;
}

interface Module {
  readonly ClassicLevel: new <V>(path: string, options: object) => Level<V>;
}

/** Entries read from an iterator at once. */
const CHUNK = 1000;
/** A key that sorts behind all others and is never there: deleting it is the smallest write that can be synced. */
const NO_KEY = '~';

export function classicLevel(): Peer {
  const { ClassicLevel } = requirePeer<Module>('classic-level');
  const open = async <V>(folder: string): Promise<Level<V>> => {
    const level = new ClassicLevel<V>(folder, {
      valueEncoding: 'json',
      cacheSize: 256 << 20,
      writeBufferSize: 64 << 20,
    });
    await level.open();
    return level;
  };
  return {
    openStore: async (folder, level) => store(await open<CrawlEntry>(folder), level === 'power'),
    openQueue: async (folder, safety) => queue(await open<TaskRecord | string>(folder), safety === 'step'),
  };
}

function store(level: Level<CrawlEntry>, sync: boolean): Store {
  return {
    put: (keys, values) =>
      level.batch(
        keys.map((key, index) => ({ type: 'put', key, value: values[index] as CrawlEntry })),
        { sync },
      ),
    getEach(keys, visit) {
      for (const key of keys) visit(level.getSync(key) as CrawlEntry);
    },
    update(keys, change) {
      const changes: Change<CrawlEntry>[] = keys.map((key, index) => {
        const value = level.getSync(key) as CrawlEntry;
        change(value, index);
        return { type: 'put', key, value };
      });
      return level.batch(changes, { sync });
    },
    sync: () => level.del(NO_KEY, { sync: true }),
    iterate: (visit) => each(level, {}, visit),
    close: () => level.close(),
  };
}

async function each<V>(
  level: Level<V>,
  range: { gte?: string; lt?: string },
  visit: (key: string, value: V) => void,
): Promise<void> {
  const iterator = level.iterator(range);
  for (;;) {
    const chunk = await iterator.nextv(CHUNK);
    if (chunk.length === 0) break;
    for (const [key, value] of chunk) visit(key, value);
  }
  await iterator.close();
}

/**
 * Tasks lie under `t` and their key, the keys of those that are to do under `n` and a number, in the order in which they were added. What
 * a batch has changed and not yet written is looked up in `pending`.
 */
async function queue(level: Level<TaskRecord | string>, safeSteps: boolean): Promise<TaskQueue> {
  const pending = new Map<string, TaskRecord>();
  let changes: Change<TaskRecord | string>[] = [];
  let ahead: [string, string][] = [];
  let position = 0;
  let last = 'n';
  let added = 0;
  await each(level, { gte: 'n', lt: 'o' }, (key) => {
    added = Number(key.slice(1));
  });

  const write = async (sync: boolean): Promise<void> => {
    const written = changes;
    changes = [];
    await level.batch(written, { sync });
    pending.clear();
  };
  const readAhead = async (): Promise<void> => {
    const iterator = level.iterator({ gt: last, lt: 'o', limit: READ_AHEAD });
    ahead = (await iterator.nextv(READ_AHEAD)) as [string, string][];
    position = 0;
    await iterator.close();
  };
  const add = (key: string, task: TaskRecord): void => {
    changes.push({ type: 'put', key: `t${key}`, value: task });
    pending.set(key, task);
    if (task._done) return;
    const place = `n${String(++added).padStart(12, '0')}`;
    changes.push({ type: 'put', key: place, value: key });
  };

  return {
    async fill(keys, done) {
      for (let index = 0; index < keys.length; index++) {
        const isDone = index < done;
        add(keys[index] as string, { _tries: isDone ? 1 : 0, _done: isDone, _aborted: false });
        if (changes.length >= CHUNK) await write(false);
      }
      await write(true);
    },
    async crawl(tasks, linksOf) {
      let taken = 0;
      for (; taken < tasks; taken++) {
        if (position === ahead.length) {
          // What is only pending is not found by an iterator.
          await readAhead();
          if (ahead.length === 0 && changes.length > 0) {
            await write(false);
            await readAhead();
          }
        }
        const next = ahead[position++];
        if (next === undefined) break;
        const [place, key] = next;
        last = place;
        const task = pending.get(key) ?? (level.getSync(`t${key}`) as TaskRecord);
        task._tries++;
        if (safeSteps) {
          // The end of one task and the claim of the next are one batch.
          changes.push({ type: 'put', key: `t${key}`, value: task });
          await write(false);
        }
        for (const link of linksOf(key)) {
          if (pending.has(link) || level.getSync(`t${link}`) !== undefined) continue;
          add(link, { _tries: 0, _done: false, _aborted: false });
        }
        task._done = true;
        pending.set(key, task);
        changes.push({ type: 'put', key: `t${key}`, value: task }, { type: 'del', key: place });
      }
      await write(!safeSteps);
      return taken;
    },
    async counts() {
      const counts = { total: 0, done: 0, tries: 0 };
      await each(level, { gte: 't', lt: 'u' }, (_, task) => {
        if (typeof task === 'string') return;
        counts.total++;
        if (task._done) counts.done++;
        counts.tries += task._tries;
      });
      return counts;
    },
    close: () => level.close(),
  };
}
