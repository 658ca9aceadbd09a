/**
 * SQLite used by several processes through better-sqlite3: each step a transaction that takes the write lock at its beginning.
 */
import { join } from 'node:path';
import { requirePeer } from './peer.ts';
import type { SharedCounts, SharedPeer } from './shared.ts';

interface Statement {
  run(...values: unknown[]): unknown;
  get(...values: unknown[]): unknown;
  raw(): Statement;
  pluck(): Statement;
}

interface Database {
  pragma(text: string): unknown;
  exec(sql: string): unknown;
  prepare(sql: string): Statement;
  close(): unknown;
}

type Module = new (path: string, options: { timeout: number }) => Database;

const BUSY_MS_MAX = 60_000;

export function sharedSqlite(): SharedPeer {
  const Sqlite = requirePeer<Module>('better-sqlite3');
  const open = (folder: string): Database => {
    const database = new Sqlite(join(folder, 'data.db'), { timeout: BUSY_MS_MAX });
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = OFF');
    database.pragma('cache_size = -262144');
    database.pragma('mmap_size = 8589934592');
    return database;
  };
  return {
    async fill(folder, keys) {
      const database = open(folder);
      database.exec(`
        CREATE TABLE tasks (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, tries INTEGER NOT NULL DEFAULT 0,
          done INTEGER NOT NULL DEFAULT 0, aborted INTEGER NOT NULL DEFAULT 0, worker INTEGER, claimed_at INTEGER);
        CREATE INDEX todo ON tasks (id) WHERE done = 0 AND aborted = 0 AND worker IS NULL;
        CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO counters VALUES ('counter', 0);
      `);
      const add = database.prepare('INSERT INTO tasks (key) VALUES (?)');
      database.exec('BEGIN IMMEDIATE');
      for (const key of keys) add.run(key);
      database.exec('COMMIT');
      database.close();
    },
    async connect(folder, index) {
      const database = open(folder);
      const [begin, commit] = [database.prepare('BEGIN IMMEDIATE'), database.prepare('COMMIT')];
      const claim = database
        .prepare(`UPDATE tasks SET tries = tries + 1, worker = ?, claimed_at = ? WHERE id =
          (SELECT id FROM tasks INDEXED BY todo WHERE done = 0 AND aborted = 0 AND worker IS NULL ORDER BY id LIMIT 1)
          RETURNING id, key`)
        .raw();
      const finish = database.prepare('UPDATE tasks SET done = 1, worker = NULL, claimed_at = NULL WHERE id = ?');
      const increment = database.prepare("UPDATE counters SET n = n + 1 WHERE name = 'counter' RETURNING n").pluck();
      return {
        async drain(visit) {
          for (;;) {
            begin.run();
            const task = claim.get(index, Date.now()) as [number, string] | undefined;
            commit.run();
            if (task === undefined) return;
            visit(task[1]);
            finish.run(task[0]);
          }
        },
        increment: () => increment.get(),
        async counts() {
          const [done, tries, claims] = database
            .prepare('SELECT sum(done), sum(tries), count(worker) FROM tasks')
            .raw()
            .get() as [number, number, number];
          const counter = database.prepare('SELECT n FROM counters').pluck().get() as number;
          return { done, tries, claims, counter } satisfies SharedCounts;
        },
        close: () => database.close(),
      };
    },
  };
}
