/**
 * What is asked of a store that several processes use at once, and who is asked.
 */
import { sharedEverpod } from './shared-everpod.ts';
import { sharedLmdb } from './shared-lmdb.ts';
import { sharedRedis } from './shared-redis.ts';
import { sharedSqlite } from './shared-sqlite.ts';

/** What one process does with the store. Each call is atomic among all processes, and safe from `kill -9` of any of them when it is over. */
export interface SharedWorker {
  /**
   * Works off what is to do, until nothing is: takes the next task, with its try counted and a note that this process has it; tells its key;
   * marks it as done.
   */
  drain(visit: (key: string) => void): Promise<void>;
  /** Adds one to the counter that all processes share. */
  increment(): unknown;
  /** What is in the store when everything is over. */
  counts(): Promise<SharedCounts>;
  close(): unknown;
}

export interface SharedCounts {
  readonly done: number;
  readonly tries: number;
  /** Notes that a process has a task. */
  readonly claims: number;
  readonly counter: number;
}

export interface SharedPeer {
  /** Starts what must run beside the processes. Returns what ends it. */
  serve?(folder: string): Promise<() => Promise<void>>;
  /** Puts in the tasks, and a counter at 0. In a process of its own. */
  fill(folder: string, keys: readonly string[]): Promise<void>;
  /** @param index the number of the process, from 0 */
  connect(folder: string, index: number): Promise<SharedWorker>;
}

export interface SharedContestant {
  readonly id: string;
  readonly name: string;
  readonly packages: readonly string[];
  readonly configuration: string;
  /** A process runs beside the workers. */
  readonly isServed: boolean;
  /** Why it cannot be had here, beside its packages. */
  missing?(): string | undefined;
  make(): SharedPeer;
}

export const SHARED_CONTESTANTS: readonly SharedContestant[] = [
  {
    id: 'everpod',
    name: 'everpod',
    packages: [],
    configuration:
      '`SharedTracker`, durability `process`, no sync points by themselves; the first of the processes is the owner and a worker as the others are',
    isServed: false,
    make: () => sharedEverpod('worker'),
  },
  {
    id: 'everpod-served',
    name: 'everpod, served',
    packages: [],
    configuration:
      'the same with one more process that only serves, as `everpod serve-pod` does; the others are opened with `mayOwn: false`',
    isServed: true,
    make: () => sharedEverpod('server'),
  },
  {
    id: 'better-sqlite3',
    name: 'better-sqlite3',
    packages: ['better-sqlite3'],
    configuration:
      'WAL, `synchronous=OFF`, prepared statements, cache 256 MiB, mmap 8 GiB, busy timeout 60 s; each claim a `BEGIN IMMEDIATE` transaction with one `UPDATE ... RETURNING` over a partial index; done and counter: one `UPDATE` each',
    isServed: false,
    make: sharedSqlite,
  },
  {
    id: 'lmdb',
    name: 'lmdb',
    packages: ['lmdb'],
    configuration:
      'one environment in all processes, `noSync`, JSON text as values, numbers as keys; each claim, done and increment a `transactionSync`',
    isServed: false,
    make: sharedLmdb,
  },
  {
    id: 'redis',
    name: 'Redis',
    packages: ['ioredis'],
    configuration:
      '`appendonly yes`, `appendfsync no`, no snapshots, over a Unix socket, with ioredis; claim and done a Lua script each, the counter `HINCRBY`',
    isServed: true,
    missing: sharedRedis.missing,
    make: sharedRedis,
  },
];
