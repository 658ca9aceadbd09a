/**
 * Writes the saved index (`index-file.ts`) while the pod is at work, in slices that hold nobody up.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { TextSource } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { BucketImage } from '../core/key-index.ts';
import { Rows, type RowsImage } from '../core/rows.ts';
import { closeQuietly, disk, removeQuietly, writeAll } from './files.ts';
import type { Folder } from './folder.ts';
import { BYTE_ORDER, INDEX_FORMAT, type IndexFooter } from './index-file.ts';
import type { LogMark } from './log-reader.ts';
import { INDEX_NAME, temporaryName } from './names.ts';
import { type SegmentLines, ShardLines } from './texts.ts';

/** A pod with fewer entries is read whole in less time than a file more is worth. */
const ENTRIES_MIN = 10_000;
/**
 * A slice, of an index or of a fold, ends after the piece in which it passes this time; the fsyncs come on top. While a million entries were
 * loaded, a hundred turns of the event loop took over 12 ms; with 8 ms here it was three hundred, in the same time altogether.
 */
export const SLICE_MS = 4;
/**
 * So much is written before the system is told to put it on the disk, beside the program. Nothing depends on that; but on ext4 an fsync of the log
 * waits for what was written to a new file before it: 55 to 132 ms while the index of five million entries was written.
 */
const FLUSH_BYTES = 2 << 20;
/** Buckets are written so many numbers at a time. */
const PIECE_NUMBERS = 1 << 18;

/** Whether a table is large enough for an index. */
function isWorthwhile<V, K extends Key>({ system, table }: Folder<V, K>): boolean {
  return table.size >= (system.indexEntries ?? ENTRIES_MIN);
}

/** Writes the index in slices. */
export class IndexWriter<V, K extends Key> {
  readonly #folder: Folder<V, K>;
  readonly #image: RowsImage;
  readonly #chunkCount: number;
  readonly #layout: number;
  readonly #begin: LogMark;
  readonly #path: string;
  readonly #fd: number;
  #offset: number = 0;
  #crc: number = 0;
  #chunk: number = 0;
  #bucket: number = 0;
  #isClosed: boolean = false;
  #flushedBytes: number = 0;
  #isFlushing: boolean = false;

  /** Begins at a sync point: every row has a place. */
  constructor(folder: Folder<V, K>) {
    folder.sync();
    this.#folder = folder;
    this.#image = folder.table.rows.image();
    this.#chunkCount = Rows.chunkLengths(this.#image.slotEnd).length;
    this.#layout = folder.table.layout;
    this.#begin = { s: folder.point.s, crc: folder.point.crc };
    this.#path = join(folder.path, temporaryName(INDEX_NAME));
    this.#fd = disk(folder.path, `create ${INDEX_NAME}`, () => folder.fs.open(this.#path, 'wx'));
  }

  /**
   * Does a slice of the work. Returns whether it is done, or has become pointless.
   *
   * @param isAlone nobody else wants the disk meanwhile, and nothing can happen beside the program
   * @throws {PodError} `ERR_POD_DISK`; nothing is left behind then
   */
  step(isAlone: boolean = false): boolean {
    if (this.#isFlushing) return false;
    const { system } = this.#folder;
    const { clock } = system;
    const deadline = clock.monotonic() + SLICE_MS;
    try {
      do {
        if (this.#isOvertaken()) {
          this.abandon();
          return true;
        }
        // In this order: see `Rows.image`.
        if (this.#bucket < this.#image.buckets.length) this.#writeBuckets();
        else if (this.#chunk < this.#chunkCount) this.#writeChunk();
        else {
          this.#finish();
          return true;
        }
        if (!isAlone && this.#offset - this.#flushedBytes >= (system.indexFlushBytes ?? FLUSH_BYTES)) {
          this.#flush();
          return false;
        }
      } while (clock.monotonic() < deadline);
      return false;
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  abandon(): void {
    // A descriptor that is in use is closed when it is not.
    if (!this.#isClosed && !this.#isFlushing) closeQuietly(this.#folder.fs, this.#fd);
    this.#isClosed = true;
    removeQuietly(this.#folder.fs, this.#path);
  }

  #flush(): void {
    const { fs } = this.#folder;
    this.#isFlushing = true;
    this.#flushedBytes = this.#offset;
    const ended = (): void => {
      this.#isFlushing = false;
      if (this.#isClosed) closeQuietly(fs, this.#fd);
    };
    // An index need not be on the disk, so an error says nothing that its checksum would not.
    void fs.fdatasyncBeside(this.#fd).then(ended, ended);
  }

  /** Rows have moved, so what is written and what is not do not belong together. */
  #isOvertaken(): boolean {
    return this.#folder.table.layout !== this.#layout;
  }

  #writeChunk(): void {
    this.#write(bytesOf(this.#image.chunkAt(this.#chunk++)));
  }

  #writeBuckets(): void {
    const { buckets } = this.#image;
    const numbers = new Int32Array(PIECE_NUMBERS);
    let filled = 0;
    for (; this.#bucket < buckets.length; this.#bucket++) {
      const { depth, cells } = buckets[this.#bucket] as BucketImage;
      if (cells.length + 2 > numbers.length) {
        // Many keys with one hash: larger than any piece.
        if (filled > 0) break;
        this.#write(bytesOf(Int32Array.of(depth, cells.length)));
        this.#write(bytesOf(cells));
        continue;
      }
      if (filled + cells.length + 2 > numbers.length) break;
      numbers[filled++] = depth;
      numbers[filled++] = cells.length;
      numbers.set(cells, filled);
      filled += cells.length;
    }
    this.#write(bytesOf(numbers.subarray(0, filled)));
  }

  #finish(): void {
    const folder = this.#folder;
    // What the file shows must be in the log before the file can be found.
    folder.sync();
    if (this.#isOvertaken()) {
      this.abandon();
      return;
    }
    const { id, generation } = folder.manifest;
    const shards: IndexFooter['shards'] = [];
    for (const [shard, { lines, bytes, crc, seq, tastypy }] of folder.contents) {
      const stat = folder.stats.get(shard);
      if (lines === 0 || stat === undefined || stat === 'unknown') continue;
      shards.push([shard, lines, bytes, crc, seq, tastypy, stat.size, stat.mtimeMs, stat.ino, stat.dev]);
    }
    const footer: IndexFooter = {
      format: INDEX_FORMAT,
      id,
      gen: generation,
      begin: this.#begin,
      end: { s: folder.point.s, crc: folder.point.crc },
      seed: this.#image.seed,
      slotEnd: this.#image.slotEnd,
      buckets: this.#image.buckets.length,
      sources: this.#image.sources.map((source) => describeSource(source)),
      shards,
    };
    const text = Buffer.from(JSON.stringify(footer));
    this.#write(text);
    this.#write(bytesOf(Int32Array.of(text.length, BYTE_ORDER)));
    this.#write(bytesOf(Int32Array.of(this.#crc | 0)));
    const { fs, path } = folder;
    disk(path, `put ${INDEX_NAME} in place`, () => {
      // Even where it fails, the descriptor is gone, and its number may be somebody else's.
      this.#isClosed = true;
      fs.close(this.#fd);
      fs.rename(this.#path, join(path, INDEX_NAME));
    });
    folder.indexDue = false;
  }

  #write(bytes: Buffer): void {
    const { fs, path } = this.#folder;
    disk(path, `write ${INDEX_NAME}`, () => writeAll(fs, this.#fd, bytes, this.#offset));
    this.#offset += bytes.length;
    this.#crc = crc32(bytes, this.#crc);
  }
}

/** Writes the index in one go where one is due; without one, opening takes longer and nothing else. */
export function saveIndex<V, K extends Key>(folder: Folder<V, K>): void {
  if (!folder.indexDue) return;
  folder.quietly(() => {
    if (!isWorthwhile(folder)) {
      folder.indexDue = false;
      return;
    }
    const writer = new IndexWriter(folder);
    while (!writer.step(true));
  });
}

/** Whether an index is to be written when the folder is folded the next time. */
export function isIndexDue<V, K extends Key>(folder: Folder<V, K>): boolean {
  return folder.indexDue && isWorthwhile(folder);
}

function bytesOf(numbers: Int32Array): Buffer {
  return Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

function describeSource(source: TextSource): [number, boolean] {
  if (source instanceof ShardLines) return [source.shard, source.tastypy];
  return [~(source as SegmentLines).segment, false];
}
