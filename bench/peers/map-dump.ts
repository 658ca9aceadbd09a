/**
 * A plain `Map` that is written to a file as a whole at each sync: what programs do that keep their state by hand.
 *
 * It is shown, not counted as a peer: nothing is safe before the file is complete.
 */
import { closeSync, existsSync, fdatasyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { CrawlEntry } from '../data.ts';
import type { Peer, Store } from './peer.ts';

/** Lines in one write; the whole would be longer than a string may be. */
const CHUNK = 10_000;
const LINE_FEED = 10;

export function mapDump(): Peer {
  return { openStore: (folder) => store(folder) };
}

function store(folder: string): Store {
  const path = join(folder, 'data.jsonl');
  const map = existsSync(path) ? load(path) : new Map<string, CrawlEntry>();
  return {
    put(keys, values) {
      for (let index = 0; index < keys.length; index++) map.set(keys[index] as string, values[index] as CrawlEntry);
    },
    getEach(keys, visit) {
      for (const key of keys) visit(map.get(key) as CrawlEntry);
    },
    update(keys, change) {
      for (let index = 0; index < keys.length; index++) change(map.get(keys[index] as string) as CrawlEntry, index);
      if (keys.length === 1) dump(path, map); // asked for one that is durable
    },
    sync: () => dump(path, map),
    iterate(visit) {
      for (const [key, value] of map) visit(key, value);
    },
    close() {},
  };
}

function load(path: string): Map<string, CrawlEntry> {
  const map = new Map<string, CrawlEntry>();
  const bytes = readFileSync(path);
  let start = 0;
  for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
    const [key, value] = JSON.parse(bytes.toString('utf8', start, end)) as [string, CrawlEntry];
    map.set(key, value);
    start = end + 1;
  }
  return map;
}

function dump(path: string, map: ReadonlyMap<string, CrawlEntry>): void {
  const fd = openSync(`${path}.new`, 'w');
  let lines: string[] = [];
  for (const pair of map) {
    lines.push(`${JSON.stringify(pair)}\n`);
    if (lines.length < CHUNK) continue;
    writeSync(fd, lines.join(''));
    lines = [];
  }
  if (lines.length > 0) writeSync(fd, lines.join(''));
  fdatasyncSync(fd);
  closeSync(fd);
  renameSync(`${path}.new`, path);
}
