/**
 * What everything that is measured has in common: a store of entries, a queue of tasks, and how to open them.
 *
 * Methods take many entries at once, so that each store can use its fastest form: a transaction, a batch, a prepared statement. A method
 * that has to wait answers with a promise; one that has not, does not, because awaiting costs as much as a fast read.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { CrawlEntry } from '../data.ts';

/** `process`: what `put` and `update` did survives `kill -9`. `power`: it survives a power cut. Both from their end on. */
export type Level = 'process' | 'power';

/** `step`: each claim and each end of a task survives `kill -9`. `batch`: a call of `crawl` survives a power cut once it is over. */
export type Safety = 'step' | 'batch';

export type Maybe<T> = T | Promise<T>;

export interface Store {
  /** Stores new entries. */
  put(keys: readonly string[], values: readonly CrawlEntry[]): Maybe<void>;
  /** Reads one after the other. */
  getEach(keys: readonly string[], visit: (value: CrawlEntry) => void): Maybe<void>;
  /** Reads each, lets it be changed in place, and stores it. */
  update(keys: readonly string[], change: (value: CrawlEntry, index: number) => void): Maybe<void>;
  /** Everything so far survives a power cut once this is over. */
  sync(): Maybe<void>;
  /** Reads everything once. */
  iterate(visit: (key: string, value: CrawlEntry) => void): Maybe<void>;
  close(): Maybe<void>;
}

export interface QueueCounts {
  readonly total: number;
  readonly done: number;
  readonly tries: number;
}

export interface TaskQueue {
  /** Adds tasks, of which the first `done` are done after one try. */
  fill(keys: readonly string[], done: number): Maybe<void>;
  /**
   * Up to so many times: takes the next task that is to do, counts the try, asks for the links of its page, adds those that are not known, and
   * marks it done. Answers how many there were.
   */
  crawl(tasks: number, linksOf: (key: string) => readonly string[]): Maybe<number>;
  /** Counted from what is stored. */
  counts(): Maybe<QueueCounts>;
  close(): Maybe<void>;
}

/** A store as it is measured; made by the one function that its file exports, after its package was imported. */
export interface Peer {
  openStore?(folder: string, level: Level): Maybe<Store>;
  openQueue?(folder: string, safety: Safety): Maybe<TaskQueue>;
  /** As users have it, with its own limits and timers; where that differs from `openStore(folder, 'process')`. */
  openAsUsers?(folder: string): Maybe<Store>;
}

/** Waits for a promise, and for nothing else. */
export async function settled<T>(result: Maybe<T>): Promise<T> {
  return result instanceof Promise ? await result : result;
}

/** A package that may be missing, found from the folder that the process runs in: the compiler does not look for it. */
export function requirePeer<Module>(name: string): Module {
  return createRequire(join(process.cwd(), 'package.json'))(name) as Module;
}

/** A record of a task, as a tracker of everpod keeps it. */
export interface TaskRecord {
  _tries: number;
  _done: boolean;
  _aborted: boolean;
}

/** Counts tasks that are at hand as records. */
export function countTasks(tasks: Iterable<TaskRecord>): QueueCounts {
  let total = 0;
  let done = 0;
  let tries = 0;
  for (const task of tasks) {
    total++;
    if (task._done) done++;
    tries += task._tries;
  }
  return { total, done, tries };
}

/** How many tasks a queue reads ahead. One process works on it, so nothing can come between. */
export const READ_AHEAD = 100;
