/**
 * The files in which a reader's rows lie, kept as they were when it looked, whatever the writer does with the folder afterwards.
 *
 * A shard is replaced by a rename or removed, never written to, so whoever has it open has what it was. The log is cut when a writer goes
 * back, so what was read of it stays in memory. No reader asks the folder for anything more: all it sees is of one moment.
 */
import type { Buffer } from 'node:buffer';
import { PodError } from '../core/errors.ts';
import { closeQuietly, errorCode, systemError } from './files.ts';
import type { FileStat, FileSystem, ReadableFiles } from './fs.ts';
import type { LogRecord } from './log-reader.ts';
import { type Manifest, shardBytesOf } from './manifest.ts';
import { Texts } from './texts.ts';

/** Windows renames no file over one that is open: a reader would hold up the writer's folds. */
export const CAN_PIN: boolean = process.platform !== 'win32';

/** A folder of more shards is read whole: a process may not have many more files open than this. */
const FILES_MAX = 10_000;
/** So many more must be possible, because a program that reads a pod has other files to open; of fewer than these, as many again. */
const SPARE_FILES = 256;

/** A part of a log. */
interface Piece {
  /** Where in its file it begins. */
  readonly offset: number;
  readonly bytes: Buffer;
  /** Where in the file the next one begins. */
  end: number;
}

export class PinnedFiles implements ReadableFiles {
  /** What the lines say; to be read as long as the files are not released. */
  readonly texts: Texts;
  readonly #fs: FileSystem;
  readonly #folder: string;
  readonly #descriptors: Map<string, number> = new Map();
  /** Of each log that is kept: a number below zero, in the place of a descriptor. */
  readonly #logNumbers: Map<string, number> = new Map();
  readonly #logs: Piece[][] = [];
  #isReleased: boolean = false;

  constructor(fs: FileSystem, folder: string, { gzip, generation, shards }: Manifest, cacheBytes: number) {
    this.#fs = fs;
    this.#folder = folder;
    this.texts = new Texts(this, folder, cacheBytes);
    this.texts.owner = {
      gzip,
      generation,
      shardBytes: shardBytesOf(shards),
      crcOf: (shard) => shards.get(shard)?.crc,
    };
  }

  /**
   * What a file is, which it is from now on, here; undefined where there is none.
   *
   * @throws the system's error where it cannot be opened, or too many are open
   */
  stat(path: string): FileStat | undefined {
    const known = this.#descriptors.get(path);
    if (known !== undefined) return this.#fs.fstat(known);
    if (this.#descriptors.size === FILES_MAX) throw systemError('EMFILE', 'open', path);
    let fd: number;
    try {
      fd = this.#fs.open(path, 'r');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    this.#descriptors.set(path, fd);
    return this.#fs.fstat(fd);
  }

  /**
   * Keeps what was read of a log. The records of one that has been read stand in the order of the file, and each keeps the bytes it lies in.
   */
  keepLog(path: string, records: readonly LogRecord[]): void {
    const pieces: Piece[] = [];
    for (const record of records) {
      if (record.operation === 'clear') continue;
      const { bytes, offset } = record;
      const last = pieces[pieces.length - 1];
      if (last?.bytes === bytes) continue;
      // A line that one read has cut is in the next one from its beginning.
      if (last !== undefined) last.end = Math.min(last.end, offset);
      pieces.push({ offset, bytes, end: offset + bytes.length });
    }
    this.#logNumbers.set(path, -this.#logs.push(pieces));
  }

  /**
   * Makes sure that the program can still open files of its own.
   *
   * @throws the system's error where it cannot
   */
  leaveRoom(): void {
    const [path] = this.#descriptors.keys();
    if (path === undefined) return;
    const count = Math.min(this.#descriptors.size, SPARE_FILES);
    const spare: number[] = [];
    try {
      while (spare.length < count) spare.push(this.#fs.open(path, 'r'));
    } finally {
      for (const fd of spare) closeQuietly(this.#fs, fd);
    }
  }

  /** Closes everything; nothing more can be read then. */
  release(): void {
    this.#isReleased = true;
    // Before the descriptors are closed, whose numbers may be other files' after that.
    this.texts.retire();
    for (const fd of this.#descriptors.values()) closeQuietly(this.#fs, fd);
    this.#descriptors.clear();
    this.#logs.length = 0;
  }

  // ---- As the texts see it.

  open(path: string): number {
    if (this.#isReleased) {
      throw new PodError('ERR_POD_CLOSED', `${this.#folder} was closed. Open it again with open().`, {
        path: this.#folder,
      });
    }
    const found = this.#descriptors.get(path) ?? this.#logNumbers.get(path);
    if (found === undefined) throw systemError('ENOENT', 'open', path);
    return found;
  }

  /** Nothing: a file stays open until all are released. */
  close(): void {}

  read(fd: number, buffer: Uint8Array, offset: number, length: number, position: number): number {
    if (fd >= 0) return this.#fs.read(fd, buffer, offset, length, position);
    const piece = pieceAt(this.#logs[~fd] ?? [], position);
    if (piece === undefined || position >= piece.end) return 0;
    const from = position - piece.offset;
    const bytes = piece.bytes.subarray(from, Math.min(from + length, piece.end - piece.offset));
    buffer.set(bytes, offset);
    return bytes.length;
  }

  fstat(fd: number): FileStat {
    return this.#fs.fstat(fd);
  }
}

/** The last piece that begins at a place or before it. */
function pieceAt(pieces: readonly Piece[], position: number): Piece | undefined {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pieces[middle] as Piece).offset <= position) low = middle + 1;
    else high = middle;
  }
  return pieces[low - 1];
}
