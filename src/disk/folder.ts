/**
 * A folder that is open for writing: appends, sync points, going back, and what to do when the disk fails (protocol section 4).
 *
 * The words are the protocol's: `s` is the last line appended, `durable` the last one known to be on the disk, `point` the last sync
 * point. Always seq(shard) <= point.s <= durable <= s, and every line after `point` is in the last segment.
 */
import { join } from 'node:path';
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import type { Table } from '../core/table.ts';
import { BatchRecords } from './batch.ts';
import { diskError, hex8 } from './files.ts';
import { type OpenRecords, readFolderState } from './folder-state.ts';
import type { FileStat, FileSystem } from './fs.ts';
import type { HeldLock } from './lock.ts';
import type { ClosingKind } from './log-format.ts';
import { type LogPosition, LogWriter } from './log-writer.ts';
import {
  type FolderMeta,
  isManifestOnDisk,
  type Manifest,
  replaceManifest,
  type SegmentRef,
  type ShardContent,
  shardBytesOf,
} from './manifest.ts';
import { LOCK_NAME, segmentName, shardName } from './names.ts';
import { Notes } from './notes.ts';
import { EMPTY_OUTPUT, type FoundOutput, Outputs } from './outputs.ts';
import type { System } from './system.ts';
import type { Texts, TextsOwner } from './texts.ts';

/** A folder as recovery leaves it. */
export interface OpenedFolder {
  readonly manifest: Manifest;
  readonly log: LogWriter;
  readonly contents: Map<number, ShardContent>;
  readonly open: Map<number, OpenRecords>;
  /** Where values are read from when they are asked for. */
  readonly texts: Texts;
  /** Bytes in the segments before the last. */
  readonly olderLogBytes: number;
  /** What the log's last word says of how a process ended. */
  readonly ending: string | undefined;
  /** Of the shards' files, where they were looked at. */
  readonly stats?: ReadonlyMap<number, FileStat> | undefined;
  /** There is a saved index that fits. */
  readonly isIndexed?: boolean;
  /** The files of outputs, if there are any. */
  readonly outputs?: readonly FoundOutput[];
  /** The notes that count, as JSON texts. */
  readonly notes?: readonly string[];
}

export class Folder<V, K extends Key> implements TextsOwner {
  readonly path: string;
  readonly system: System;
  readonly table: Table<V, K>;
  readonly texts: Texts;
  readonly outputs: Outputs;
  readonly notes: Notes;
  manifest: Manifest;
  log: LogWriter;
  /** What each shard file holds now, which a fold may have made newer than what the manifest lists. */
  readonly contents: Map<number, ShardContent>;
  /** Shards with records that their content does not contain: what a fold has to do. */
  readonly open: Map<number, OpenRecords>;
  /** Of each shard file we read or wrote, to notice that somebody changed it before it is replaced. */
  readonly stats: Map<number, FileStat | 'unknown'> = new Map();
  point: LogPosition;
  durable: number;
  olderLogBytes: number;
  /** Bytes in the log that only carry notes on: folding would not make them fewer. */
  #carriedBytes: number = 0;
  /** There is no saved index that fits, so opening the folder would mean reading all of it. */
  indexDue: boolean;
  /** Set when the disk failed in a way that cannot be worked around: reads go on, nothing is acknowledged. */
  failure: PodError | undefined;
  /** How the process ended, if that is the log's last word. */
  ending: string | undefined;
  readonly #lock: HeldLock;
  #flushUnderWay: Promise<void> | undefined;
  /** Goes up when lines are taken back or the segment is left, so that a flush under way knows that it came to nothing. */
  #cuts: number = 0;

  constructor(system: System, path: string, lock: HeldLock, opened: OpenedFolder, table: Table<V, K>) {
    this.system = system;
    this.path = path;
    this.table = table;
    this.manifest = opened.manifest;
    this.log = opened.log;
    this.contents = opened.contents;
    this.open = opened.open;
    this.olderLogBytes = opened.olderLogBytes;
    this.ending = opened.ending;
    this.point = opened.log.end;
    this.durable = opened.log.end.s;
    this.texts = opened.texts;
    this.texts.owner = this;
    this.#lock = lock;
    const onUndo = (step: () => void): void => table.onUndo(step);
    this.outputs = new Outputs(system.fs, path, opened.outputs ?? [], opened.log.end.s, onUndo);
    this.notes = new Notes(opened.notes ?? [], onUndo);
    this.indexDue = opened.isIndexed !== true;
    for (const [shard, { lines }] of this.contents) {
      const stat = opened.stats?.get(shard);
      if (stat !== undefined) this.stats.set(shard, stat);
      else if (lines > 0) this.rememberStat(shard);
    }
  }

  get fs(): FileSystem {
    return this.system.fs;
  }

  get gzip(): boolean {
    return this.manifest.gzip;
  }

  get generation(): number {
    return this.manifest.generation;
  }

  /** Bytes in the log since the last fold ended, but for the notes that it took along. */
  get logBytes(): number {
    return this.olderLogBytes + this.log.end.offset - this.#carriedBytes;
  }

  /** Bytes of all shards' texts. */
  get shardBytes(): number {
    return shardBytesOf(this.contents);
  }

  /** The crc of a shard's text, as it was read or written last. */
  crcOf(shard: number): string | undefined {
    return this.contents.get(shard)?.crc;
  }

  // ---- Appending.

  /**
   * Appends what changed since the last append as one batch. It is safe from the death of the process when this returns.
   *
   * @throws {PodError} `ERR_POD_DISK`; the changes stay pending
   */
  append(kind: ClosingKind = 'commit', ending?: string): void {
    this.#requireWorking();
    const { pending } = this.table;
    if (pending.isEmpty && !this.outputs.hasPending && !this.notes.hasPending && ending === undefined) return;
    if (this.log.broken) {
      this.rescue();
      if (ending === undefined) return;
    }
    const records = new BatchRecords<V, K>(this.log);
    const written = this.#batch(kind, (log) => {
      let count = records.add(this.table.pending, this.#shards);
      count += this.outputs.addPending(log) + this.notes.addPending(log);
      if (ending !== undefined) {
        log.add(`"o":"end","how":${JSON.stringify(ending)}`);
        count++;
      }
      return count;
    });
    if (!written) return;
    this.ending = ending;
    records.written(this.table.rows, this.texts.segment(this.log.segment), this.open);
    this.table.appended();
    this.outputs.appended();
    this.notes.appended();
  }

  /** Takes the last word of a process back that lives on after all, or that was another one's. */
  withdrawEnding(): void {
    if (this.ending === undefined || this.failure !== undefined) return;
    this.#batch('sync', () => 0);
    this.sync();
  }

  /**
   * Announces shards that are about to be replaced, durably, as a sync point of its own: going back must not cut it off.
   *
   * @param intents the members of each `fold` record
   */
  appendIntents(intents: readonly string[]): void {
    this.sync();
    for (let attempt = 0; attempt < 2; attempt++) {
      const written = this.#batch('sync', (log) => {
        for (const intent of intents) log.add(intent);
        return intents.length;
      });
      if (!written) continue;
      try {
        this.log.fdatasync();
      } catch (error) {
        this.rescue(error);
        continue;
      }
      this.#reachPoint(this.log.end);
      return;
    }
    throw this.fail(new PodError('ERR_POD_DISK', 'The log could not be written twice in a row.', { path: this.path }));
  }

  /**
   * Writes one batch; whatever goes wrong, nothing of it counts. Returns false where the segment had to be left behind: what is dirty
   * was written to the next one then, and the batch is not to be repeated (it would be there twice).
   */
  #batch(kind: ClosingKind, build: (log: LogWriter) => number): boolean {
    const { log } = this;
    try {
      const count = build(log);
      log.close(kind, count, this.durable);
    } catch (error) {
      log.abandon();
      if (log.broken) {
        this.rescue(error);
        return false;
      }
      throw error instanceof RangeError
        ? new PodError(
            'ERR_POD_VALUE',
            'A value has become too long to be written as one line of JSON (about 512 MB).',
            {
              path: this.path,
              cause: error,
            },
          )
        : error;
    }
    this.ending = undefined;
    return true;
  }

  /** Every shard that has entries, in a file or in the log. */
  readonly #shards = (): Set<number> => new Set([...this.contents.keys(), ...this.open.keys()]);

  /** Lets a later line vouch for the last acknowledged batch. Not fsynced; written by an idle pod. */
  mark(): void {
    if (this.failure !== undefined || this.log.broken || !this.table.pending.isEmpty) return;
    if (this.log.end.s !== this.durable || this.log.end.s === this.log.base) return;
    this.log.close('mark', 0, this.durable);
  }

  /** Appends what is pending and waits until it is on the disk; the sync point stays where it is. */
  persist(): void {
    this.append();
    this.#requireWorking();
    if (this.log.end.s <= this.durable) return;
    this.requireOurs();
    try {
      this.log.fdatasync();
    } catch (error) {
      this.rescue(error);
    }
    this.durable = Math.max(this.durable, this.log.end.s);
  }

  // ---- Sync points.

  /**
   * Makes a sync point: everything in memory is on the disk when it returns.
   *
   * @throws {PodError} `ERR_POD_DISK`; everything stays dirty
   */
  sync(ending?: string): void {
    this.append('sync', ending);
    this.#requireWorking();
    if (this.log.broken) this.rescue();
    if (this.log.end.s > this.durable) {
      this.requireOurs();
      try {
        this.log.fdatasync();
      } catch (error) {
        this.rescue(error);
      }
    }
    this.#reachPoint(this.log.end);
    this.outputs.requireWritten();
  }

  #reachPoint(position: LogPosition): void {
    this.durable = Math.max(this.durable, position.s);
    this.point = position;
    this.table.synced();
    this.outputs.synced(position.s);
  }

  /** As `sync`, with the wait for the disk beside the program. Changes made meanwhile belong to the next sync point. */
  async flush(): Promise<void> {
    while (this.#flushUnderWay !== undefined) await this.#flushUnderWay.catch(() => undefined);
    this.append('sync');
    this.#requireWorking();
    if (this.log.broken || this.log.end.s <= this.durable) {
      this.sync();
      return;
    }
    this.requireOurs();
    this.#flushUnderWay = this.#finishFlush(this.log, this.log.end, this.#cuts);
    try {
      await this.#flushUnderWay;
    } finally {
      this.#flushUnderWay = undefined;
    }
    this.outputs.requireWritten();
  }

  async #finishFlush(log: LogWriter, position: LogPosition, cuts: number): Promise<void> {
    this.table.flushBegan();
    this.outputs.flushBegan();
    try {
      await log.fdatasyncBeside();
    } catch (error) {
      this.table.flushFailed();
      this.outputs.flushFailed();
      this.#requireWorking();
      // Left behind or cut meanwhile: what it was about is durable elsewhere, or was taken back.
      if (log !== this.log || cuts !== this.#cuts) return;
      if (!log.broken) throw error;
      this.rescue(error);
      return;
    }
    this.#requireWorking();
    if (log !== this.log || cuts !== this.#cuts || position.s <= this.point.s) return;
    this.durable = Math.max(this.durable, position.s);
    this.point = position;
    this.table.flushed();
    this.outputs.flushed(position.s);
  }

  // ---- Going back.

  /** Takes back everything after the last sync point, on disk and in memory. */
  revert(): void {
    this.#requireWorking();
    const state = readFolderState(this.fs, this.path, this.manifest, {
      judge: false,
      until: this.point,
      texts: this.texts,
    });
    const goBack = this.table.restore(state.entries());
    const cut = this.log.end.s > this.point.s;
    if (cut) {
      this.#cuts++;
      this.log.truncate(this.point);
      this.texts.forget();
      this.durable = Math.min(this.durable, this.point.s);
      this.#forgetRecordsBehind(this.point);
    }
    this.outputs.revert();
    goBack();
    // What they say of changes that are taken back is not in the log any more, or must not get there.
    this.notes.renew();
    if (!cut) return;
    try {
      // Before the next append: otherwise old durable lines and new ones could be mixed by a power cut.
      this.log.fsync();
    } catch (error) {
      this.rescue(error);
    }
  }

  /** Records behind a position are not in the log any more: their numbers go to others. */
  #forgetRecordsBehind({ s }: LogPosition): void {
    for (const [shard, records] of this.open) {
      if (records.first > s) this.open.delete(shard);
      else records.last = Math.min(records.last, s);
    }
  }

  // ---- Segments and the manifest.

  /** Starts the next segment. What was written before must be whole before anything is written after it. */
  rotate(): void {
    this.sync();
    this.requireOurs();
    const next = this.#createSegment(this.log.segment + 1, this.log.end, this.manifest.generation);
    try {
      next.fsync();
      this.writeManifest({ segments: [...this.manifest.segments, [next.segment, next.base]] });
    } catch (error) {
      this.#discard(next);
      throw error;
    }
    this.olderLogBytes += this.log.end.offset;
    this.#goOnIn(next);
  }

  /** Creates a segment that goes on where `position` is in the one before. */
  #createSegment(segment: number, position: LogPosition, gen: number): LogWriter {
    const { id } = this.manifest;
    return LogWriter.create(this.fs, this.path, { wal: segment, id, gen, base: position.s, prev: hex8(position.crc) });
  }

  /** A new segment that will be the only one, with its header and the notes on the disk. */
  createLastSegment(generation: number): LogWriter {
    const next = this.#createSegment(this.log.segment + 1, this.log.end, generation);
    try {
      const count = this.notes.addAll(next);
      if (count > 0) next.close('commit', count, next.base);
      next.fsync();
    } catch (error) {
      this.#discard(next);
      throw error;
    }
    return next;
  }

  /** Moves over to a segment that the manifest lists alone, and removes the older ones. */
  goOnAlone(next: LogWriter, older: readonly SegmentRef[]): void {
    this.#goOnIn(next);
    this.olderLogBytes = 0;
    this.#carriedBytes = next.end.offset;
    this.removeSegments(older);
  }

  /**
   * Takes the notes along before the segments go that hold them. As a sync point, so that going back does not cut them off; and not
   * when a segment begins, because one with a batch in it counts although no manifest lists it.
   */
  carryNotes(): void {
    this.#carriedBytes = 0;
    if (!this.notes.areKept) return;
    const { log } = this;
    const before = log.end.offset;
    this.notes.renew();
    this.sync();
    this.#carriedBytes = this.log.end.offset - (this.log === log ? before : 0);
  }

  removeSegments(segments: readonly SegmentRef[]): void {
    for (const [segment] of segments) {
      if (segment === this.log.segment) continue;
      this.texts.forgetSegment(segment);
      this.quietly(() => this.fs.unlink(join(this.path, segmentName(segment))));
    }
  }

  /** A file that is nobody's any more and cannot be removed now is removed by the next recovery. */
  quietly(work: () => void): void {
    try {
      work();
    } catch {
      // See above.
    }
  }

  #goOnIn(next: LogWriter): void {
    this.#cuts++;
    this.log.retire();
    this.log = next;
    this.ending = undefined;
    this.point = next.end;
    this.durable = Math.max(this.durable, next.end.s);
  }

  #discard(segment: LogWriter): void {
    // Once a manifest that may come back names it, a file must stay; then the handle has failed already.
    if (this.failure === undefined) this.quietly(() => this.fs.unlink(join(this.path, segment.name)));
    segment.retire();
  }

  /** Replaces the manifest by one with these changes. If the disk fails half-way, nobody knows which one a power cut leaves. */
  writeManifest(changes: Partial<Manifest>): void {
    this.#requireWorking();
    this.#requireLocked();
    // Lines of outputs leave the log with the segments that hold them.
    const isShorter = (changes.segments?.[0]?.[0] ?? 0) > (this.manifest.segments[0]?.[0] ?? 0);
    const outputs =
      isShorter && this.manifest.outputs !== undefined ? this.outputs.checkpoint() : this.manifest.outputs;
    const manifest: Manifest = { ...this.manifest, outputs, ...changes, epoch: this.manifest.epoch + 1 };
    try {
      replaceManifest(this.fs, this.path, manifest);
    } catch (error) {
      if (isManifestOnDisk(this.fs, this.path, manifest)) throw this.fail(error);
      throw error;
    }
    this.manifest = manifest;
    this.outputs.listed(manifest.outputs ?? new Map());
  }

  /** Makes a file for an output, unless there is one. Its name is in the manifest before anything is written to it. */
  declareOutput(name: string): void {
    if (this.manifest.outputs?.has(name) === true) return;
    this.requireOurs();
    const undo = this.outputs.create(name);
    try {
      this.writeManifest({ outputs: new Map([...(this.manifest.outputs ?? []), [name, EMPTY_OUTPUT]]) });
    } catch (error) {
      // Where the manifest may be there, what it names stays.
      if (this.failure === undefined) undo();
      throw error;
    }
  }

  setMeta(meta: FolderMeta): void {
    this.writeManifest({ meta: { ...this.manifest.meta, ...meta } });
  }

  // ---- When the disk fails.

  /**
   * The log's fsync or truncation failed. The kernel calls the lost pages clean, so that descriptor is never fsynced again: everything
   * since the last sync point is written from memory into a new segment (reliability B4).
   */
  rescue(cause?: unknown): void {
    this.#cuts++;
    const { log, point } = this;
    let next: LogWriter | undefined;
    try {
      next = this.#createSegment(log.segment + 1, point, this.manifest.generation);
      const records = new BatchRecords<V, K>(next);
      let count = records.add(this.table.dirty, this.#shards);
      count += this.outputs.addUnsynced(next) + this.notes.addAll(next);
      if (count > 0) next.close('sync', count, point.s);
      next.fsync();
      this.writeManifest({ segments: [...this.manifest.segments, [next.segment, point.s]] });
      // With their old numbers, which are higher than the new ones can be, a fold would take shards for such as have nothing to write.
      this.#forgetRecordsBehind(point);
      records.written(this.table.rows, this.texts.segment(next.segment), this.open);
    } catch (error) {
      if (next !== undefined) this.#discard(next);
      throw this.fail(cause ?? error);
    }
    this.olderLogBytes += point.offset;
    log.retire();
    this.log = next;
    this.ending = undefined;
    // The numbers go back: what was durable beyond the sync point is counted anew.
    this.durable = next.end.s;
    this.table.appended();
    this.outputs.appended();
    this.notes.appended();
    this.#reachPoint(next.end);
  }

  fail(cause: unknown): PodError {
    const error = diskError(this.path, 'write', cause);
    this.failure ??= new PodError(
      'ERR_POD_DISK',
      `The disk under ${this.path} failed and the failure could not be worked around. What is in memory can be read; nothing more can ` +
        'be saved through this handle. Mend the disk, then start the program again.',
      { path: this.path, cause: error, ...(error instanceof PodError && error.info && { info: error.info }) },
    );
    return this.failure;
  }

  #requireWorking(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  /** Looked at before anything is acknowledged, and before a shard is replaced. */
  requireOurs(): void {
    this.requireInPlace();
    this.#requireLocked();
  }

  /** Without its lock file another process may own the folder by now; whatever we wrote would mix with what it writes. */
  #requireLocked(): void {
    if (this.#lock.isIntact()) return;
    this.failure ??= new PodError(
      'ERR_POD_DISK',
      `The file "lock" in ${this.path} was removed or replaced while the pod was open, so another process may be writing there. Nothing more ` +
        'is saved through this handle; what is in memory can be read. See that no other program has the folder, then start this one again.',
      { path: this.path, file: LOCK_NAME },
    );
    throw this.failure;
  }

  /** A folder that was moved, removed or replaced while it is open would swallow everything that is written to it. */
  requireInPlace(): void {
    if (this.log.isInPlace()) return;
    throw new PodError(
      'ERR_POD_DISK',
      `${join(this.path, this.log.name)} was moved, removed or changed while it was open. Nothing is lost in memory; put the folder back ` +
        'and sync again.',
      { path: this.path, file: this.log.name },
    );
  }

  /** Remembers a shard file as it is now. */
  rememberStat(shard: number): void {
    let stat: FileStat | 'unknown' | undefined = 'unknown';
    // The shard is in place; that it cannot be looked at now is no reason to call it failed.
    this.quietly(() => {
      stat = this.fs.stat(join(this.path, shardName(shard, this.manifest.gzip)));
    });
    if (stat === undefined) this.stats.delete(shard);
    else this.stats.set(shard, stat);
  }

  /** Frees the folder for others. `closed` says that everything was folded and nothing is left to do. */
  release(closed: boolean): void {
    this.#cuts++;
    this.texts.retire();
    this.log.retire();
    this.outputs.release();
    this.#lock.release(closed && this.failure === undefined ? 'closed' : 'open');
  }
}
