/**
 * everpod as it is measured: a pod for the entries, a tracker for the tasks.
 */
import { PersistentOrderedDict, ProgressTracker } from '../../src/index.ts';
import type { CrawlEntry } from '../data.ts';
import { countTasks, type Level, type Peer, type Store, type TaskQueue } from './peer.ts';

/** No sync points of their own: where others only promise that the process may die, everpod must not wait for the disk either. */
const MANUAL = { syncAt: Number.MAX_SAFE_INTEGER, syncEvery: 0, cacheSize: 1 << 30 };

export function everpod(): Peer {
  return {
    openStore: (folder, level) => store(PersistentOrderedDict.open(folder, { durability: level, ...MANUAL }), level),
    openAsUsers: (folder) => store(PersistentOrderedDict.open(folder), 'process'),
    openQueue: (folder, safety) =>
      safety === 'step'
        ? stepQueue(ProgressTracker.open(folder, { durability: 'process', ...MANUAL }))
        : batchQueue(ProgressTracker.open(folder, { durability: 'exit', ...MANUAL })),
  };
}

/** At level `process` the append comes at the end of the turn, and so before the promise that is awaited goes on. */
function store(pod: PersistentOrderedDict<CrawlEntry>, level: Level): Store {
  const together = (change: () => void): undefined | Promise<void> => {
    if (level === 'power') {
      pod.transaction(change);
      return undefined;
    }
    change();
    return Promise.resolve();
  };
  return {
    put: (keys, values) =>
      together(() => {
        for (let index = 0; index < keys.length; index++) pod.set(keys[index] as string, values[index] as CrawlEntry);
      }),
    getEach(keys, visit) {
      for (const key of keys) visit(pod.get(key) as CrawlEntry);
    },
    update(keys, change) {
      // One change at level `power` is durable by itself; a transaction around it would only be work.
      if (keys.length === 1) {
        change(pod.get(keys[0] as string) as CrawlEntry, 0);
        return level === 'power' ? undefined : Promise.resolve();
      }
      return together(() => {
        for (let index = 0; index < keys.length; index++) change(pod.get(keys[index] as string) as CrawlEntry, index);
      });
    },
    sync: () => pod.sync(),
    iterate(visit) {
      for (const [key, value] of pod) visit(key, value);
    },
    close: () => pod.close(),
  };
}

function stepQueue(tracker: ProgressTracker): TaskQueue {
  return {
    ...commonQueue(tracker),
    async crawl(tasks, linksOf) {
      let taken = 0;
      for (const key of tracker.tryKeys({ limit: tasks })) {
        taken++;
        tracker.addManyIfAbsent(linksOf(key));
        // Known with the claim of the next one, which takes everything before it into the log.
        tracker.markDone(key);
      }
      await null; // The end of the turn: from here on the last one is known to be done, too.
      return taken;
    },
  };
}

function batchQueue(tracker: ProgressTracker): TaskQueue {
  return {
    ...commonQueue(tracker),
    crawl(tasks, linksOf) {
      let taken = 0;
      for (const key of tracker.tryKeys({ limit: tasks })) {
        taken++;
        tracker.addManyIfAbsent(linksOf(key));
        tracker.markDone(key);
      }
      tracker.sync();
      return taken;
    },
  };
}

function commonQueue(tracker: ProgressTracker): Omit<TaskQueue, 'crawl'> {
  return {
    fill(keys, done) {
      for (let index = 0; index < keys.length; index++) {
        const isDone = index < done;
        tracker.set(keys[index] as string, { _tries: isDone ? 1 : 0, _done: isDone, _aborted: false });
      }
      tracker.sync();
    },
    counts: () => countTasks(tracker.values()),
    close: () => tracker.close(),
  };
}
