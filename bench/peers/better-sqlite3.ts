/**
 * SQLite through better-sqlite3: prepared statements, a write-ahead log, one transaction for each batch.
 */
import { closeSync, fdatasyncSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { CrawlEntry } from '../data.ts';
import { type Peer, READ_AHEAD, requirePeer, type Store, type TaskQueue } from './peer.ts';

interface Statement {
  run(...values: unknown[]): unknown;
  get(...values: unknown[]): unknown;
  all(...values: unknown[]): unknown[];
  iterate(...values: unknown[]): Iterable<unknown>;
  pluck(): Statement;
  raw(): Statement;
}

interface Database {
  pragma(text: string): unknown;
  exec(sql: string): unknown;
  prepare(sql: string): Statement;
  close(): unknown;
}

type Module = new (path: string) => Database;

export function betterSqlite3(): Peer {
  const Sqlite = requirePeer<Module>('better-sqlite3');
  const open = (folder: string, synchronous: 'OFF' | 'FULL'): Database => {
    const database = new Sqlite(join(folder, 'data.db'));
    database.pragma('locking_mode = EXCLUSIVE');
    database.pragma('journal_mode = WAL');
    database.pragma(`synchronous = ${synchronous}`);
    database.pragma('cache_size = -262144');
    database.pragma('mmap_size = 8589934592');
    database.pragma('wal_autocheckpoint = 16384');
    return database;
  };
  return {
    openStore: (folder, level) => store(open(folder, level === 'power' ? 'FULL' : 'OFF'), folder),
    openQueue: (folder, safety) => queue(open(folder, safety === 'step' ? 'OFF' : 'FULL'), safety === 'step'),
  };
}

function store(database: Database, folder: string): Store {
  database.exec('CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID');
  const insert = database.prepare('INSERT INTO entries VALUES (?, ?)');
  const select = database.prepare('SELECT value FROM entries WHERE key = ?').pluck();
  const write = database.prepare('UPDATE entries SET value = ? WHERE key = ?');
  const all = database.prepare('SELECT key, value FROM entries').raw();
  const [begin, commit] = [database.prepare('BEGIN IMMEDIATE'), database.prepare('COMMIT')];
  const syncFiles = fileSync(folder);
  return {
    put(keys, values) {
      begin.run();
      for (let index = 0; index < keys.length; index++) insert.run(keys[index], JSON.stringify(values[index]));
      commit.run();
    },
    getEach(keys, visit) {
      for (const key of keys) visit(JSON.parse(select.get(key) as string) as CrawlEntry);
    },
    update(keys, change) {
      const single = keys.length === 1;
      if (!single) begin.run();
      for (let index = 0; index < keys.length; index++) {
        const value = JSON.parse(select.get(keys[index]) as string) as CrawlEntry;
        change(value, index);
        write.run(JSON.stringify(value), keys[index]);
      }
      if (!single) commit.run();
    },
    sync: () => syncFiles.sync(),
    iterate(visit) {
      for (const row of all.iterate() as Iterable<[string, string]>) visit(row[0], JSON.parse(row[1]) as CrawlEntry);
    },
    close() {
      database.close();
      syncFiles.close();
    },
  };
}

/**
 * With `synchronous = OFF` nothing asks for the disk, also no checkpoint; so a sync point is the fdatasync of both files. They stay open
 * until the database is closed, because closing a file drops the locks that SQLite has on it.
 */
function fileSync(folder: string): { sync(): void; close(): void } {
  const fds: number[] = [];
  return {
    sync() {
      if (fds.length === 0) fds.push(...['data.db-wal', 'data.db'].map((name) => openSync(join(folder, name), 'r+')));
      for (const fd of fds) fdatasyncSync(fd);
    },
    close() {
      for (const fd of fds) closeSync(fd);
    },
  };
}

function queue(database: Database, safeSteps: boolean): TaskQueue {
  database.exec(`
    CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, tries INTEGER NOT NULL,
      done INTEGER NOT NULL, aborted INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS todo ON tasks (id) WHERE done = 0 AND aborted = 0;
  `);
  const fillOne = database.prepare('INSERT INTO tasks (key, tries, done, aborted) VALUES (?, ?, ?, 0)');
  const add = database.prepare('INSERT OR IGNORE INTO tasks (key, tries, done, aborted) VALUES (?, 0, 0, 0)');
  const next = database
    .prepare(`SELECT id, key FROM tasks WHERE done = 0 AND aborted = 0 AND id > ? ORDER BY id LIMIT ${READ_AHEAD}`)
    .raw();
  const claim = database.prepare('UPDATE tasks SET tries = tries + 1 WHERE id = ?');
  const finish = database.prepare('UPDATE tasks SET done = 1 WHERE id = ?');
  const [begin, commit] = [database.prepare('BEGIN IMMEDIATE'), database.prepare('COMMIT')];
  let ahead: [number, string][] = [];
  let position = 0;
  let last = 0;
  return {
    fill(keys, done) {
      begin.run();
      for (let index = 0; index < keys.length; index++) {
        fillOne.run(keys[index], index < done ? 1 : 0, index < done ? 1 : 0);
      }
      commit.run();
    },
    crawl(tasks, linksOf) {
      begin.run();
      let taken = 0;
      for (; taken < tasks; taken++) {
        if (position === ahead.length) {
          ahead = next.all(last) as [number, string][];
          position = 0;
        }
        const task = ahead[position++];
        if (task === undefined) break;
        last = task[0];
        claim.run(last);
        // The end of one task and the claim of the next are one transaction.
        if (safeSteps) commit.run();
        const links = linksOf(task[1]);
        if (safeSteps) begin.run();
        for (const link of links) add.run(link);
        finish.run(last);
      }
      commit.run();
      return taken;
    },
    counts() {
      const row = database.prepare('SELECT count(*), sum(done), sum(tries) FROM tasks').raw().get();
      const [total, done, tries] = row as [number, number, number];
      return { total, done, tries };
    },
    close: () => {
      database.close();
    },
  };
}
