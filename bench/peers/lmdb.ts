/**
 * LMDB through lmdb-js, with its values as MessagePack, its default, or as JSON text, its fastest form for values like these.
 */
import { closeSync, fdatasyncSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { CrawlEntry } from '../data.ts';
import { type Level, type Peer, READ_AHEAD, requirePeer, type Store, type TaskQueue, type TaskRecord } from './peer.ts';

interface Database<V, K> {
  get(key: K): V | undefined;
  doesExist(key: K): boolean;
  putSync(key: K, value: V): unknown;
  removeSync(key: K): unknown;
  getRange(options?: { start?: K; limit?: number }): Iterable<{ key: K; value: V }>;
  openDB<Value, Key>(options: object): Database<Value, Key>;
  transactionSync<R>(work: () => R): R;
  close(): Promise<void>;
}

interface Module {
  open(options: object): Database<unknown, string>;
}

export type LmdbEncoding = 'msgpack' | 'text';

export function lmdb(encoding: LmdbEncoding): Peer {
  const { open } = requirePeer<Module>('lmdb');
  const openRoot = (folder: string, level: Level): Database<unknown, string> =>
    open({
      path: join(folder, 'data.mdb'),
      // Without overlapping a commit that returned at level `power` was fsynced.
      ...(level === 'process' ? { noSync: true } : { overlappingSync: false }),
      noMemInit: true,
      maxDbs: 4,
    });
  return {
    openStore: (folder, level) => store(openRoot(folder, level), folder, encoding),
    openQueue: (folder, safety) =>
      queue(openRoot(folder, safety === 'step' ? 'process' : 'power'), encoding, safety === 'step'),
  };
}

function options(name: string, encoding: LmdbEncoding): object {
  return encoding === 'text'
    ? { name, encoding: 'string' }
    : { name, encoding: 'msgpack', sharedStructuresKey: Symbol.for('structures') };
}

/** How values go in and come out: as they are, or as text. */
interface Packing {
  pack(value: object): unknown;
  unpack<V>(stored: unknown): V;
}

const PACKING: Readonly<Record<LmdbEncoding, Packing>> = {
  msgpack: { pack: (value) => value, unpack: <V>(stored: unknown) => stored as V },
  text: { pack: (value) => JSON.stringify(value), unpack: <V>(stored: unknown) => JSON.parse(stored as string) as V },
};

function store(root: Database<unknown, string>, folder: string, encoding: LmdbEncoding): Store {
  const entries = root.openDB<unknown, string>(options('entries', encoding));
  const { pack, unpack } = PACKING[encoding];
  return {
    put(keys, values) {
      root.transactionSync(() => {
        for (let index = 0; index < keys.length; index++) {
          entries.putSync(keys[index] as string, pack(values[index] as CrawlEntry));
        }
      });
    },
    getEach(keys, visit) {
      for (const key of keys) visit(unpack<CrawlEntry>(entries.get(key)));
    },
    update(keys, change) {
      root.transactionSync(() => {
        for (let index = 0; index < keys.length; index++) {
          const key = keys[index] as string;
          const value = unpack<CrawlEntry>(entries.get(key));
          change(value, index);
          entries.putSync(key, pack(value));
        }
      });
    },
    sync() {
      // With `noSync` nothing was asked of the disk yet; the pages are the system's, so any descriptor will do.
      const fd = openSync(join(folder, 'data.mdb'), 'r+');
      fdatasyncSync(fd);
      closeSync(fd);
    },
    iterate(visit) {
      for (const { key, value } of entries.getRange()) visit(key, unpack<CrawlEntry>(value));
    },
    close: () => root.close(),
  };
}

/** A task that is being worked on. */
interface Claimed {
  readonly place: number;
  readonly key: string;
  readonly task: TaskRecord;
}

/** The tasks by key, and the numbers of those that are to do, in the order in which they were added. */
function queue(root: Database<unknown, string>, encoding: LmdbEncoding, safeSteps: boolean): TaskQueue {
  const tasks = root.openDB<unknown, string>(options('tasks', encoding));
  const todo = root.openDB<string, number>({ name: 'todo', encoding: 'string', keyEncoding: 'uint32' });
  const { pack, unpack } = PACKING[encoding];
  let ahead: { key: number; value: string }[] = [];
  let position = 0;
  let last = 0;
  let added = 0;
  for (const { key } of todo.getRange()) added = Math.max(added, key);

  const together = <R>(work: () => R): R => (safeSteps ? root.transactionSync(work) : work());

  const claim = (): Claimed | undefined => {
    if (position === ahead.length) {
      ahead = [...todo.getRange({ start: last + 1, limit: READ_AHEAD })];
      position = 0;
    }
    const next = ahead[position++];
    if (next === undefined) return undefined;
    last = next.key;
    const task = unpack<TaskRecord>(tasks.get(next.value));
    task._tries++;
    tasks.putSync(next.value, pack(task));
    return { place: next.key, key: next.value, task };
  };

  const finish = ({ place, key, task }: Claimed, links: readonly string[]): void => {
    for (const link of links) {
      if (tasks.doesExist(link)) continue;
      tasks.putSync(link, pack({ _tries: 0, _done: false, _aborted: false }));
      todo.putSync(++added, link);
    }
    task._done = true;
    tasks.putSync(key, pack(task));
    todo.removeSync(place);
  };

  const steps = (count: number, linksOf: (key: string) => readonly string[]): number => {
    let taken = 0;
    let claimed = together(claim);
    while (claimed !== undefined) {
      const current = claimed;
      const links = linksOf(current.key);
      taken++;
      // The end of one task and the claim of the next are one transaction.
      claimed = together(() => {
        finish(current, links);
        return taken < count ? claim() : undefined;
      });
    }
    return taken;
  };

  return {
    fill(keys, done) {
      root.transactionSync(() => {
        for (let index = 0; index < keys.length; index++) {
          const key = keys[index] as string;
          const isDone = index < done;
          tasks.putSync(key, pack({ _tries: isDone ? 1 : 0, _done: isDone, _aborted: false }));
          if (!isDone) todo.putSync(++added, key);
        }
      });
    },
    crawl: (count, linksOf) => (safeSteps ? steps(count, linksOf) : root.transactionSync(() => steps(count, linksOf))),
    counts() {
      const counts = { total: 0, done: 0, tries: 0 };
      for (const { value } of tasks.getRange()) {
        const task = unpack<TaskRecord>(value);
        counts.total++;
        if (task._done) counts.done++;
        counts.tries += task._tries;
      }
      return counts;
    },
    close: () => root.close(),
  };
}
