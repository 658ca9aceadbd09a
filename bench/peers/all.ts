/**
 * Everything that is measured: its name, its packages, how it is configured, and how it is made.
 */

import type { WorkName } from '../works.ts';
import { betterSqlite3 } from './better-sqlite3.ts';
import { classicLevel } from './classic-level.ts';
import { crawlee } from './crawlee.ts';
import { everpod } from './everpod.ts';
import { limit } from './limit.ts';
import { lmdb } from './lmdb.ts';
import { mapDump } from './map-dump.ts';
import type { Peer } from './peer.ts';

/** The best of the peers is what everpod is compared with; what is only shown keeps less than was asked. */
export type Role = 'everpod' | 'peer' | 'shown' | 'limit';

export interface Contestant {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** What must be installed for it. */
  readonly packages: readonly string[];
  /** Its configuration, in one line. */
  readonly configuration: string;
  /** So many tasks at most in a crawl loop, where more would take hours. The result is a time for each task. */
  readonly tasksMax?: number;
  /** What it cannot do, or not in a time that anybody would wait for. */
  readonly skips?: readonly WorkName[];
  make(): Peer;
}

export const CONTESTANTS: readonly Contestant[] = [
  {
    id: 'everpod',
    name: 'everpod',
    role: 'everpod',
    packages: [],
    configuration:
      'durability `process` with sync points by hand, `power` with a transaction for each batch; each step: `process`; every 1,000: `exit` and `sync()`; `cacheSize` 1 GiB; event-loop stall: the defaults',
    make: everpod,
  },
  {
    id: 'lmdb',
    name: 'lmdb',
    role: 'peer',
    packages: ['lmdb'],
    configuration:
      'MessagePack with shared structures, `transactionSync` for each batch; process: `noSync`, sync = fdatasync; power: `overlappingSync: false`',
    make: () => lmdb('msgpack'),
  },
  {
    id: 'lmdb-text',
    name: 'lmdb text',
    role: 'peer',
    packages: ['lmdb'],
    configuration: 'the same with JSON text as values (`encoding: "string"`)',
    make: () => lmdb('text'),
  },
  {
    id: 'better-sqlite3',
    name: 'better-sqlite3',
    role: 'peer',
    packages: ['better-sqlite3'],
    configuration:
      'WAL, exclusive locking, prepared statements, a transaction for each batch, `WITHOUT ROWID`, cache 256 MiB, mmap 8 GiB, checkpoint at 16,384 pages; process: `synchronous=OFF`, sync = fdatasync of both files; power: `synchronous=FULL`',
    make: betterSqlite3,
  },
  {
    id: 'classic-level',
    name: 'classic-level',
    role: 'peer',
    packages: ['classic-level'],
    configuration:
      'values as JSON, `batch()`, `getSync()`, cache 256 MiB, write buffer 64 MiB, snappy; process: `sync: false`, power: `sync: true`',
    make: classicLevel,
  },
  {
    id: 'crawlee',
    name: 'Crawlee',
    role: 'peer',
    packages: ['@crawlee/core', '@crawlee/memory-storage'],
    configuration:
      '`RequestQueue` on `MemoryStorage` with `persistStorage`; at most 1,000 tasks; counts no tries, never fsyncs',
    tasksMax: 1000,
    skips: [
      'load',
      'load-power',
      'open',
      'iterate',
      'gets',
      'update',
      'single',
      'stall',
      'crawl-batch',
      'fill',
      'next',
      'next-none',
    ],
    make: crawlee,
  },
  {
    id: 'map',
    name: 'Map + dump',
    role: 'shown',
    packages: [],
    configuration:
      'a plain `Map`, written as JSON lines to a new file, fdatasync and rename at each sync; nothing is safe before; not counted as a peer',
    skips: ['load-power', 'stall', 'crawl-step', 'crawl-batch', 'fill', 'next', 'next-none'],
    make: mapDump,
  },
  {
    id: 'limit',
    name: 'raw limit',
    role: 'limit',
    packages: [],
    configuration:
      '`Map`, `JSON.stringify` and `JSON.parse`, one append for each batch or step, fdatasync; no checksums, no recovery',
    skips: ['fill', 'next', 'next-none'],
    make: limit,
  },
];
