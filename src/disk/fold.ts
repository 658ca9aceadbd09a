/**
 * Folding: moving the log into the shards it touches, in slices, so that the log stays short and the program is never held up.
 *
 * A slice stages some shards under temporary names, announces their checksums in the log, fsyncs the log, and only then renames: so
 * recovery accepts exactly the old content or an announced one. When nothing is due the manifest lists the new contents and
 * the older segments go (protocol section 4, Fold and Close).
 */
import { join } from 'node:path';
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import { type LineLayout, placeShard, shardLines } from '../core/line.ts';
import { crcText, disk, removeFile } from './files.ts';
import type { Folder } from './folder.ts';
import { IndexWriter, isIndexDue, SLICE_MS } from './index-writer.ts';
import { removeQuietly, type ShardContent } from './manifest.ts';
import { shardName, temporaryName } from './names.ts';
import { encodeShard, packShard } from './shards.ts';

/** The log is folded when it is larger than the shards and this; the ratio 1 writes about 1.6 bytes for each byte changed. */
const LOG_BYTES_MIN = 4 << 20;
const LOG_TO_SHARDS_RATIO = 1;
/** However large the shards are: opening after a death reads the log, and holds its records in memory meanwhile. */
const LOG_BYTES_MAX = 1 << 30;

interface Staged {
  readonly shard: number;
  /** Undefined for a shard that has no entries left. */
  readonly temporary: string | undefined;
  readonly content: ShardContent;
  readonly text: Buffer;
  readonly layout: LineLayout;
}

/** Whether the log has outgrown the shards. */
export function isFoldDue<V, K extends Key>(folder: Folder<V, K>): boolean {
  const bytesMin = folder.system.foldLogBytes ?? LOG_BYTES_MIN;
  if (isIndexDue(folder)) return true;
  return (
    folder.logBytes > bytesMin && folder.logBytes > Math.min(LOG_BYTES_MAX, LOG_TO_SHARDS_RATIO * folder.shardBytes)
  );
}

/** One fold, from its rotation to its manifest; `step` does a slice. */
export class Fold<V, K extends Key> {
  readonly #folder: Folder<V, K>;
  /** The number of the segment that the fold's rotation started; shards with records before its base are due. */
  readonly #segment: number;
  readonly #base: number;
  /** Shards to be done, the next one last. */
  #due: number[] = [];
  #hasFolded: boolean = false;
  #index: IndexWriter<V, K> | undefined;

  constructor(folder: Folder<V, K>) {
    this.#folder = folder;
    if (folder.log.end.s > folder.log.base) folder.rotate();
    this.#segment = folder.log.segment;
    this.#base = folder.log.base;
  }

  /** Does a slice of the work. Returns whether the fold is finished. */
  step(): boolean {
    const folder = this.#folder;
    if (this.#index !== undefined) return this.#index.step();
    // Listed once for many slices: of a hundred thousand shards each slice takes a handful.
    if (this.#due.length === 0) this.#due = [...folder.open.keys()].filter((shard) => this.#isDue(shard)).reverse();
    if (this.#due.length > 0) {
      const { clock } = folder.system;
      const deadline = clock.monotonic() + SLICE_MS;
      this.#hasFolded = true;
      foldShards(
        folder,
        this.#takeDue(() => clock.monotonic() < deadline),
      );
      return false;
    }
    this.#commit();
    folder.indexDue = true;
    if (!isIndexDue(folder)) return true;
    this.#index = new IndexWriter(folder);
    return false;
  }

  /** Lists the new contents, after which the older segments can go. */
  #commit(): void {
    const folder = this.#folder;
    const { segments, dropped } = folder.manifest;
    const older = segments.filter(([segment]) => segment < this.#segment);
    // It began because the index was due, and nothing had been written since the last fold.
    if (older.length === 0 && dropped.size === 0 && !this.#hasFolded) return;
    folder.carryNotes();
    folder.writeManifest({
      segments: segments.filter(([segment]) => segment >= this.#segment),
      shards: listedContents(folder),
      dropped: new Map(),
    });
    forgetEmptied(folder);
    folder.olderLogBytes = 0;
    folder.removeSegments(older);
  }

  #isDue(shard: number): boolean {
    const records = this.#folder.open.get(shard);
    return records !== undefined && records.first <= this.#base;
  }

  /** One shard that is due, and more while there is time. */
  *#takeDue(hasTime: () => boolean): Generator<number, void, undefined> {
    for (let shard = this.#due.pop(); shard !== undefined; shard = this.#due.pop()) {
      // A rescue counts records anew, so what was due may not be any more.
      if (!this.#isDue(shard)) continue;
      yield shard;
      if (!hasTime()) return;
    }
  }

  /** Gives it up where it is; what was folded stays folded. */
  abandon(): void {
    this.#index?.abandon();
  }
}

/** Moves everything into the shards and leaves an empty log: what `close` does. */
export function foldAll<V, K extends Key>(folder: Folder<V, K>): void {
  folder.sync();
  const { segments } = folder.manifest;
  if (folder.open.size === 0 && segments.length === 1 && folder.log.end.s === folder.log.base) return;
  foldShards(folder, [...folder.open.keys()]);
  const next = folder.createLastSegment(folder.manifest.generation);
  try {
    folder.writeManifest({ segments: [[next.segment, next.base]], shards: listedContents(folder), dropped: new Map() });
  } catch (error) {
    if (folder.failure === undefined) removeQuietly(folder.fs, join(folder.path, next.name));
    next.retire();
    throw error;
  }
  forgetEmptied(folder);
  folder.goOnAlone(next, segments);
  folder.indexDue = true;
}

/** Stages shards, announces them, and puts them in place. */
function foldShards<V, K extends Key>(folder: Folder<V, K>, shards: Iterable<number>): void {
  // Memory is the source, so it must be what the disk has: a shard never runs ahead of a durable log.
  folder.sync();
  // A sync with nothing to do looks at nothing, and these shards would go into whatever folder is there now.
  folder.requireOurs();
  const staged: Staged[] = [];
  try {
    for (const shard of shards) {
      // What is clean is copied from the file, so it is looked at before as well as after.
      requireUntouched(folder, shard);
      staged.push(stage(folder, shard));
    }
    if (staged.length === 0) return;
    announce(folder, staged);
    for (const { shard } of staged) requireUntouched(folder, shard);
  } catch (error) {
    for (const { temporary } of staged) if (temporary !== undefined) removeQuietly(folder.fs, temporary);
    throw error;
  }
  staged.forEach((item, index) => {
    try {
      install(folder, item);
    } catch (error) {
      for (const { temporary } of staged.slice(index)) if (temporary !== undefined) removeQuietly(folder.fs, temporary);
      throw error;
    }
  });
}

function stage<V, K extends Key>(folder: Folder<V, K>, shard: number): Staged {
  const { fs, path, manifest, table, point } = folder;
  const { text, lines, layout } = encodeShard(shardLines(table.rows, shard));
  const seq = point.s;
  if (lines === 0) {
    const content = { lines: 0, bytes: 0, crc: '00000000', seq, tastypy: false };
    return { shard, temporary: undefined, content, text, layout };
  }
  const temporary = join(path, temporaryName(shardName(shard, manifest.gzip)));
  disk(path, `write shard ${shard}`, () => fs.stage(temporary, packShard(text, manifest.gzip)));
  const content = { lines, bytes: text.length, crc: crcText(text), seq, tastypy: false };
  return { shard, temporary, content, text, layout };
}

/** Writes the intents and makes them durable: without them a shard could be on the disk that nobody can explain. */
function announce<V, K extends Key>(folder: Folder<V, K>, staged: readonly Staged[]): void {
  folder.appendIntents(
    staged.map(({ shard, content: { lines, bytes, crc, seq } }) => {
      const was = lines === 0 ? folder.contents.get(shard)?.crc : undefined;
      const rest = was === undefined ? '' : `,"was":"${was}"`;
      return `"o":"fold","n":${shard},"lines":${lines},"bytes":${bytes},"crc":"${crc}","t":${seq}${rest}`;
    }),
  );
}

/** Somebody's edit must not be overwritten (reliability C21): our data stays in the log, and both versions are kept. */
function requireUntouched<V, K extends Key>(folder: Folder<V, K>, shard: number): void {
  const file = shardName(shard, folder.manifest.gzip);
  const then = folder.stats.get(shard);
  if (then === 'unknown') return;
  const now = disk(folder.path, `look at ${file}`, () => folder.fs.stat(join(folder.path, file)));
  const same =
    now === undefined || then === undefined
      ? now === then
      : now.dev === then.dev && now.ino === then.ino && now.size === then.size && now.mtimeMs === then.mtimeMs;
  if (same) return;
  throw new PodError(
    'ERR_POD_CORRUPT',
    `${join(folder.path, file)} was changed by somebody else while the pod was open. It was not overwritten, and nothing is lost: what the ` +
      `pod holds is in its log. Close the program, then run: everpod accept ${folder.path}`,
    { path: folder.path, file },
  );
}

function install<V, K extends Key>(folder: Folder<V, K>, { shard, temporary, content, text, layout }: Staged): void {
  const { fs, path, manifest } = folder;
  const file = shardName(shard, manifest.gzip);
  disk(path, `put ${file} in place`, () => {
    if (temporary !== undefined) fs.rename(temporary, join(path, file));
    else if (folder.contents.get(shard) !== undefined && folder.stats.has(shard)) removeFile(fs, path, file);
  });
  folder.contents.set(shard, content);
  folder.open.delete(shard);
  folder.texts.forget(shard);
  folder.texts.offer(shard, text);
  placeShard(folder.table.rows, shard, folder.texts.shard(shard, false), layout);
  folder.rememberStat(shard);
}

/** The contents as a manifest lists them. */
function listedContents<V, K extends Key>(folder: Folder<V, K>): Map<number, ShardContent> {
  return new Map([...folder.contents].filter(([, { lines }]) => lines > 0));
}

/** Once the manifest no longer lists it and the log that emptied it is gone, an empty shard is nothing at all. */
function forgetEmptied<V, K extends Key>(folder: Folder<V, K>): void {
  for (const [shard, { lines }] of folder.contents) if (lines === 0) folder.contents.delete(shard);
}
