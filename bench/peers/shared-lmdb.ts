/**
 * LMDB used by several processes through lmdb-js: one environment that all of them open, each step a write transaction.
 */
import { join } from 'node:path';
import { requirePeer, type TaskRecord } from './peer.ts';
import type { SharedPeer } from './shared.ts';

interface Database<V> {
  get(key: number): V | undefined;
  putSync(key: number, value: V): unknown;
  removeSync(key: number): unknown;
  getRange(options?: { limit?: number }): Iterable<{ key: number; value: V }>;
  getKeys(options?: { limit?: number }): Iterable<number>;
  openDB<Value>(options: object): Database<Value>;
  transactionSync<R>(work: () => R): R;
  close(): Promise<void>;
}

interface Module {
  open(options: object): Database<unknown>;
}

/** A task's record, which has its key because the database has a number for it. */
interface Row extends TaskRecord {
  readonly key: string;
}

const COUNTER = 0;

export function sharedLmdb(): SharedPeer {
  const { open } = requirePeer<Module>('lmdb');
  const openAll = (folder: string) => {
    const root = open({ path: join(folder, 'data.mdb'), noSync: true, noMemInit: true, maxDbs: 4 });
    const openDb = (name: string): Database<string> =>
      root.openDB<string>({ name, encoding: 'string', keyEncoding: 'uint32' });
    return {
      root,
      tasks: openDb('tasks'),
      todo: openDb('todo'),
      claims: openDb('claims'),
      counters: openDb('counters'),
    };
  };
  return {
    async fill(folder, keys) {
      const { root, tasks, todo, counters } = openAll(folder);
      root.transactionSync(() => {
        keys.forEach((key, id) => {
          tasks.putSync(id, JSON.stringify({ key, _tries: 0, _done: false, _aborted: false } satisfies Row));
          todo.putSync(id, '');
        });
        counters.putSync(COUNTER, '0');
      });
      await root.close();
    },
    async connect(folder, index) {
      const { root, tasks, todo, claims, counters } = openAll(folder);
      const read = (id: number): Row => JSON.parse(tasks.get(id) as string) as Row;
      const claim = (): { id: number; key: string } | undefined => {
        for (const id of todo.getKeys({ limit: 1 })) {
          const row = read(id);
          todo.removeSync(id);
          row._tries++;
          tasks.putSync(id, JSON.stringify(row));
          claims.putSync(id, `${index} ${Date.now()}`);
          return { id, key: row.key };
        }
        return undefined;
      };
      const finish = (id: number): void => {
        tasks.putSync(id, JSON.stringify({ ...read(id), _done: true }));
        claims.removeSync(id);
      };
      return {
        async drain(visit) {
          for (;;) {
            const task = root.transactionSync(claim);
            if (task === undefined) return;
            visit(task.key);
            root.transactionSync(() => finish(task.id));
          }
        },
        increment: () =>
          root.transactionSync(() => {
            const n = Number(counters.get(COUNTER)) + 1;
            counters.putSync(COUNTER, String(n));
            return n;
          }),
        async counts() {
          let [done, tries] = [0, 0];
          for (const { value } of tasks.getRange()) {
            const row = JSON.parse(value) as Row;
            done += row._done ? 1 : 0;
            tries += row._tries;
          }
          return { done, tries, claims: [...claims.getKeys()].length, counter: Number(counters.get(COUNTER)) };
        },
        close: () => root.close(),
      };
    },
  };
}
