/**
 * Writing the whole pod anew: compaction in place, and a copy into another folder.
 *
 * New shards are written under staged names, because their final ones are taken by content that still counts. The manifest that lists
 * them is the one step that commits; only then do they take their names (protocol section 4, Compact and copyTo).
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { Table } from '../core/table.ts';
import { crcText, disk } from './files.ts';
import { foldAll } from './fold.ts';
import type { Folder } from './folder.ts';
import type { FileSystem } from './fs.ts';
import { LogWriter } from './log-writer.ts';
import { type FolderMeta, type Manifest, removeQuietly, replaceManifest, type ShardContent } from './manifest.ts';
import { MANIFEST_NAME, shardName, stagedName } from './names.ts';
import { encodeShard, packShard } from './shards.ts';

/** How the shards are laid out. */
export interface Layout {
  readonly fileSize: number;
  readonly gzip: boolean;
}

/**
 * Writes every shard anew, full and without gaps, in a new layout if need be. Needs room for a second copy while it runs.
 *
 * @throws {PodError} `ERR_POD_DISK`; the old content counts then
 */
export function compactFolder<V, K extends Key>(folder: Folder<V, K>, layout: Layout): void {
  folder.sync();
  folder.requireOurs();
  const { fs, path, manifest, table } = folder;
  const generation = manifest.generation + 1;
  const seq = folder.point.s;
  const shards = stageAll(fs, path, table, layout, generation, seq);
  const unstage = (): void => {
    for (const shard of shards.keys()) removeQuietly(fs, join(path, stagedName(shard, layout.gzip, generation)));
  };
  let next: LogWriter | undefined;
  try {
    next = folder.createLastSegment(generation);
    folder.writeManifest({
      generation,
      fileSize: layout.fileSize,
      gzip: layout.gzip,
      segments: [[next.segment, next.base]],
      shards,
      dropped: droppedBy(folder, shards, layout),
    });
  } catch (error) {
    if (folder.failure === undefined) {
      unstage();
      if (next !== undefined) removeQuietly(fs, join(path, next.name));
    }
    next?.retire();
    throw error;
  }
  const oldContents = new Map(folder.contents);
  folder.contents.clear();
  for (const [shard, content] of shards) folder.contents.set(shard, content);
  folder.open.clear();
  folder.stats.clear();
  table.renumberShards(layout.fileSize);
  folder.goOnAlone(next, manifest.segments);
  for (const shard of shards.keys()) takeName(fs, path, shard, layout.gzip, generation);
  for (const shard of oldContents.keys()) {
    if (manifest.gzip !== layout.gzip || !shards.has(shard))
      removeQuietly(fs, join(path, shardName(shard, manifest.gzip)));
  }
  // Also of those that are gone: one that could not be removed is ours, not somebody's edit.
  for (const shard of new Set([...oldContents.keys(), ...shards.keys()])) folder.rememberStat(shard);
}

/**
 * Writes a copy of a table into an existing, empty folder. Until its manifest is there the folder is nobody's.
 *
 * @throws {PodError} `ERR_POD_DISK`; what was written is removed
 */
export function copyTable<V, K extends Key>(
  fs: FileSystem,
  path: string,
  table: Table<V, K>,
  layout: Layout,
  meta: FolderMeta,
): void {
  const shards = stageAll(fs, path, table, layout, 1, 0);
  let log: LogWriter | undefined;
  try {
    const id = randomBytes(4).toString('hex');
    log = LogWriter.create(fs, path, { wal: 1, id, gen: 1, base: 0, prev: '00000000' });
    log.fsync();
    const manifest: Manifest = {
      id,
      epoch: 1,
      generation: 1,
      fileSize: layout.fileSize,
      gzip: layout.gzip,
      meta,
      segments: [[1, 0]],
      dropped: new Map(),
      shards,
    };
    replaceManifest(fs, path, manifest);
  } catch (error) {
    // First what makes it a pod: half a copy must not look like a damaged one.
    removeQuietly(fs, join(path, MANIFEST_NAME));
    for (const shard of shards.keys()) removeQuietly(fs, join(path, stagedName(shard, layout.gzip, 1)));
    if (log !== undefined) removeQuietly(fs, join(path, log.name));
    throw error;
  } finally {
    log?.retire();
  }
  for (const shard of shards.keys()) takeName(fs, path, shard, layout.gzip, 1);
}

/** Puts the folder away: everything in the shards, an empty log, the lock free. What comes in between still has the lock. */
export function closeFolder<V, K extends Key>(folder: Folder<V, K>, beforeRelease: () => void): void {
  foldAll(folder);
  beforeRelease();
  folder.release(true);
}

function stageAll<V, K extends Key>(
  fs: FileSystem,
  path: string,
  table: Table<V, K>,
  layout: Layout,
  generation: number,
  seq: number,
): Map<number, ShardContent> {
  const shards = new Map<number, ShardContent>();
  try {
    let entries: Entry<V, K>[] = [];
    const stage = (): void => {
      const shard = shards.size;
      const { text, lines } = encodeShard(entries);
      const name = stagedName(shard, layout.gzip, generation);
      disk(path, `write ${name}`, () => fs.stage(join(path, name), packShard(text, layout.gzip)));
      shards.set(shard, { lines, bytes: text.length, crc: crcText(text), seq, tastypy: false });
      entries = [];
    };
    for (const entry of table.entries()) {
      entries.push(entry);
      if (entries.length === layout.fileSize) stage();
    }
    if (entries.length > 0) stage();
  } catch (error) {
    for (const shard of shards.keys()) removeQuietly(fs, join(path, stagedName(shard, layout.gzip, generation)));
    throw error;
  }
  return shards;
}

/** The checksums of the shards that end, so that recovery knows their files from a stranger's. */
function droppedBy<V, K extends Key>(
  folder: Folder<V, K>,
  shards: ReadonlyMap<number, ShardContent>,
  layout: Layout,
): Map<number, string> {
  const dropped = new Map<number, string>();
  for (const [shard, { crc, lines }] of folder.contents) {
    const ends = !shards.has(shard) || folder.manifest.gzip !== layout.gzip;
    if (ends && lines > 0) dropped.set(shard, crc);
  }
  return dropped;
}

/** A staged shard counts under either name, so what cannot be renamed now is renamed by the next recovery. */
function takeName(fs: FileSystem, path: string, shard: number, gzip: boolean, generation: number): void {
  try {
    fs.rename(join(path, stagedName(shard, gzip, generation)), join(path, shardName(shard, gzip)));
  } catch {
    // See above.
  }
}
