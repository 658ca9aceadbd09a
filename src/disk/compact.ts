/**
 * Writing the whole pod anew: compaction in place, and a copy of what is in memory into another folder.
 *
 * New shards are written under staged names, because their final ones are taken by content that still counts. The manifest that lists
 * them is the one step that commits; only then do they take their names (protocol section 4, Compact and copyTo).
 */
import { join } from 'node:path';
import type { Key } from '../core/key.ts';
import { allLines, type LineLayout, placeShard } from '../core/line.ts';
import type { Table } from '../core/table.ts';
import { foldAll } from './fold.ts';
import type { Folder } from './folder.ts';
import type { FileSystem } from './fs.ts';
import { saveIndex } from './index-writer.ts';
import { LogWriter } from './log-writer.ts';
import { type FolderMeta, type Manifest, removeQuietly, replaceManifest, type ShardContent } from './manifest.ts';
import { MANIFEST_NAME, shardName } from './names.ts';
import { type OutputSource, stageOutputs, takeOutputName, unstageOutputs } from './output-copies.ts';
import { newPodId } from './random.ts';
import { fullShards, type ShardLines, stageShards, takeName, unstage } from './stage.ts';

/** What a copy says of itself as a whole. */
export interface CopyFacts extends Layout {
  readonly id: string;
  readonly meta: FolderMeta;
  readonly outputs?: readonly OutputSource[];
}

/** The generation of a copy. It is not 0, so that without its manifest a copy is not taken for a folder that was never finished. */
export const COPY_GENERATION = 1;
/** The one segment of a copy. */
export const COPY_SEGMENT = 1;

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
  const { fileSize, gzip } = layout;
  const layouts = new Map<number, LineLayout>();
  const shards = stageShards(
    fs,
    path,
    fullShards(allLines(table.rows), fileSize),
    { gzip, generation, seq },
    (_, shard, lines) => layouts.set(shard, lines),
  );
  let next: LogWriter | undefined;
  try {
    next = folder.createLastSegment(generation);
    folder.writeManifest({
      generation,
      fileSize,
      gzip,
      segments: [[next.segment, next.base]],
      shards,
      dropped: droppedBy(folder, shards, layout),
    });
  } catch (error) {
    if (folder.failure === undefined) {
      unstage(fs, path, shards.keys(), gzip, generation);
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
  table.renumberShards(fileSize);
  folder.goOnAlone(next, manifest.segments);
  folder.indexDue = true;
  folder.texts.forget();
  for (const shard of shards.keys()) {
    folder.texts.noteName(shard, !takeName(fs, path, shard, gzip, generation));
  }
  for (const [shard, layout] of layouts) placeShard(table.rows, shard, folder.texts.shard(shard, false), layout);
  for (const shard of oldContents.keys()) {
    if (manifest.gzip !== gzip || !shards.has(shard)) removeQuietly(fs, join(path, shardName(shard, manifest.gzip)));
  }
  // Also of those that are gone: one that could not be removed is ours, not somebody's edit.
  for (const shard of new Set([...oldContents.keys(), ...shards.keys()])) folder.rememberStat(shard);
}

/**
 * Writes a copy of a table into an existing, empty folder, as a pod of its own. Until its manifest is there the folder is nobody's.
 *
 * @throws {PodError} `ERR_POD_DISK`; what was written is removed
 */
export function copyTable<V, K extends Key>(
  fs: FileSystem,
  path: string,
  table: Table<V, K>,
  layout: Layout,
  meta: FolderMeta,
  outputs: readonly OutputSource[] = [],
): void {
  writeCopy(fs, path, fullShards(allLines(table.rows), layout.fileSize), { id: newPodId(), ...layout, meta, outputs });
}

/**
 * The same for shards, whatever they come from.
 *
 * @param onStaged told after each shard how many entries are written
 */
export function writeCopy(
  fs: FileSystem,
  path: string,
  lines: Iterable<ShardLines>,
  { id, fileSize, gzip, meta, outputs = [] }: CopyFacts,
  onStaged?: (entries: number) => void,
): void {
  const generation = COPY_GENERATION;
  const shards = stageShards(fs, path, lines, { gzip, generation, seq: 0 }, onStaged);
  let log: LogWriter | undefined;
  try {
    const staged = stageOutputs(fs, path, outputs, generation);
    log = LogWriter.create(fs, path, { wal: COPY_SEGMENT, id, gen: generation, base: 0, prev: '00000000' });
    log.fsync();
    const manifest: Manifest = {
      id,
      epoch: 1,
      generation,
      fileSize,
      gzip,
      meta,
      segments: [[COPY_SEGMENT, 0]],
      dropped: new Map(),
      shards,
      outputs: staged,
    };
    replaceManifest(fs, path, manifest);
  } catch (error) {
    // First what makes it a pod, durably: half a copy must not look like a damaged one.
    removeQuietly(fs, join(path, MANIFEST_NAME));
    fsyncQuietly(fs, path);
    unstage(fs, path, shards.keys(), gzip, generation);
    unstageOutputs(
      fs,
      path,
      outputs.map(({ name }) => name),
      generation,
    );
    if (log !== undefined) removeQuietly(fs, join(path, log.name));
    throw error;
  } finally {
    log?.retire();
  }
  for (const shard of shards.keys()) takeName(fs, path, shard, gzip, generation);
  for (const { name } of outputs) takeOutputName(fs, path, name, generation);
}

function fsyncQuietly(fs: FileSystem, path: string): void {
  try {
    fs.fsyncFolder(path);
  } catch {
    // The error that brought us here is the one to report.
  }
}

/** Puts the folder away: everything in the shards, an empty log, the lock free. What comes in between still has the lock. */
export function closeFolder<V, K extends Key>(folder: Folder<V, K>, beforeRelease: () => void): void {
  foldAll(folder);
  saveIndex(folder);
  beforeRelease();
  folder.release(true);
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
