/**
 * everpod used by several processes: the first of them owns the folder, or one more that only serves.
 */
import { join } from 'node:path';
import { SharedTracker } from '../../src/shared/index.ts';
import type { SharedPeer } from './shared.ts';

interface Counter {
  n?: number;
}

const COUNTER = 'counter';
/** No sync points by themselves: the peers make none either. */
const MANUAL = { syncAt: Number.MAX_SAFE_INTEGER, syncEvery: 0 };

/** @param owner who owns the folder: a worker, or a process that does nothing else (the one that measures, which only waits) */
export function sharedEverpod(owner: 'worker' | 'server'): SharedPeer {
  const open = (folder: string, mayOwn: boolean): Promise<SharedTracker<Counter>> =>
    SharedTracker.open<Counter>(join(folder, 'tasks.pod'), { mayOwn, ...MANUAL });
  return {
    ...(owner === 'server' && {
      async serve(folder: string) {
        const tasks = await open(folder, true);
        return () => tasks.close();
      },
    }),
    async fill(folder, keys) {
      const tasks = await open(folder, owner === 'worker');
      await tasks.addManyIfAbsent(keys);
      // Aborted, so that nobody is given it to do.
      await tasks.transaction([['set', COUNTER, { _tries: 0, _done: false, _aborted: true, n: 0 }]]);
      await tasks.close();
    },
    async connect(folder) {
      const tasks = await open(folder, owner === 'worker');
      return {
        async drain(visit) {
          for await (const key of tasks.tryKeys()) {
            visit(key);
            await tasks.markDone(key);
          }
        },
        increment: () => tasks.in(COUNTER, 'n').increment(),
        async counts() {
          let [done, tries, claims] = [0, 0, 0];
          for await (const [key, task] of tasks.entries()) {
            if (key === COUNTER) continue;
            done += task._done ? 1 : 0;
            tries += task._tries;
            claims += task._done ? 0 : task._tries;
          }
          return { done, tries, claims, counter: (await tasks.get(COUNTER))?.n ?? Number.NaN };
        },
        close: () => tasks.close(),
      };
    },
  };
}
