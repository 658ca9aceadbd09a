/**
 * Writes shards under staged names, and gives them their own names once a manifest lists them.
 *
 * A staged shard is nobody's until then, and counts under either name afterwards (protocol section 4, Compact and copyTo).
 */
import { join } from 'node:path';
import type { Line, LineLayout } from '../core/line.ts';
import { crcText, disk } from './files.ts';
import type { FileSystem } from './fs.ts';
import { removeQuietly, type ShardContent } from './manifest.ts';
import { shardName, stagedName } from './names.ts';
import { encodeShard, packShard } from './shards.ts';

/** The lines of one shard, in order. */
export type ShardLines = readonly [shard: number, lines: readonly Line[]];

/** Lines in full shards without gaps. */
export function* fullShards(lines: Iterable<Line>, fileSize: number): Generator<ShardLines, void, undefined> {
  let shard = 0;
  let held: Line[] = [];
  for (const line of lines) {
    held.push(line);
    if (held.length < fileSize) continue;
    yield [shard++, held];
    held = [];
  }
  if (held.length > 0) yield [shard, held];
}

/**
 * Writes shards under the names of a generation, durably.
 *
 * @param onStaged told after each shard how many entries are written, and where its lines lie
 * @throws {PodError} `ERR_POD_DISK`; what was written is removed
 */
export function stageShards(
  fs: FileSystem,
  path: string,
  shards: Iterable<ShardLines>,
  { gzip, generation, seq }: { readonly gzip: boolean; readonly generation: number; readonly seq: number },
  onStaged?: (entries: number, shard: number, layout: LineLayout) => void,
): Map<number, ShardContent> {
  const contents = new Map<number, ShardContent>();
  let entries = 0;
  try {
    for (const [shard, held] of shards) {
      const { text, lines, layout } = encodeShard(held);
      const name = stagedName(shard, gzip, generation);
      disk(path, `write ${name}`, () => fs.stage(join(path, name), packShard(text, gzip)));
      contents.set(shard, { lines, bytes: text.length, crc: crcText(text), seq, tastypy: false });
      entries += lines;
      onStaged?.(entries, shard, layout);
    }
  } catch (error) {
    unstage(fs, path, contents.keys(), gzip, generation);
    throw error;
  }
  return contents;
}

/** Removes staged shards that nothing lists. */
export function unstage(
  fs: FileSystem,
  path: string,
  shards: Iterable<number>,
  gzip: boolean,
  generation: number,
): void {
  for (const shard of shards) removeQuietly(fs, join(path, stagedName(shard, gzip, generation)));
}

/** A staged shard counts under either name, so what cannot be renamed now is renamed by the next recovery. Returns whether it was. */
export function takeName(fs: FileSystem, path: string, shard: number, gzip: boolean, generation: number): boolean {
  try {
    fs.rename(join(path, stagedName(shard, gzip, generation)), join(path, shardName(shard, gzip)));
    return true;
  } catch {
    return false;
  }
}
