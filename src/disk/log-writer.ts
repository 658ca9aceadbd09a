/**
 * Writes one log segment: batches of records, appended whole or not at all.
 *
 * The lines of a batch are encoded straight into one buffer and written at explicit offsets. When a write fails the segment is
 * cut back to the end of the last batch; remnants that could not be cut are refused by the chain of checksums.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import { closeQuietly, disk, diskError, errorCode, hex8, removeQuietly, writeAll } from './files.ts';
import type { FileSystem } from './fs.ts';
import { type ClosingKind, JSON_OFFSET, NEWLINE, type SegmentHeader, writeCrc } from './log-format.ts';
import { segmentName } from './names.ts';
import { randomHex } from './random.ts';

/** A place between two batches. */
export interface LogPosition {
  /** The number of the last line before it. */
  readonly s: number;
  readonly offset: number;
  /** The crc of that line. */
  readonly crc: number;
}

/** Encoded lines are written out when they fill this much, so a huge batch needs no huge buffer. */
const BUFFER_BYTES = 1 << 20;

export class LogWriter {
  readonly segment: number;
  readonly base: number;
  /** Behind the last complete batch. */
  end: LogPosition;
  /** The segment could not be cut back, or its fsync failed: nothing may be written or fsynced here any more. */
  broken: boolean = false;
  /** Where in the segment the key and the value of the `set` lie that was added last, as `KEY,"v":VALUE`. */
  linePosition: number = 0;
  lineLength: number = 0;
  /** The crc of those bytes. */
  lineCheck: number = 0;
  readonly #fs: FileSystem;
  readonly #folder: string;
  readonly #fd: number;
  #buffer: Buffer = Buffer.allocUnsafe(1 << 16);
  /** Bytes in the buffer. */
  #filled: number = 0;
  /** Where in the buffer the line begins that was added last. */
  #lineStart: number = 0;
  /** The batch being built. */
  #s: number;
  #crc: number;
  #offset: number;
  #fsyncsUnderWay: number = 0;
  /**
   * What fsyncs beside the program use. The system tells each descriptor once that pages were lost, so with one descriptor for both, a
   * failure that the fsync beside was told of, but we were not yet, would let our own next one succeed.
   */
  #besideFd: number | undefined;
  #retired: boolean = false;
  #closed: boolean = false;

  constructor(fs: FileSystem, folder: string, fd: number, segment: number, base: number, end: LogPosition) {
    this.#fs = fs;
    this.#folder = folder;
    this.#fd = fd;
    this.segment = segment;
    this.base = base;
    this.end = end;
    this.#s = end.s;
    this.#crc = end.crc;
    this.#offset = end.offset;
  }

  /** Creates a segment with its header, written but not fsynced. No manifest may list the name. */
  static create(fs: FileSystem, folder: string, header: Omit<SegmentHeader, 'salt'>): LogWriter {
    const name = segmentName(header.wal);
    return disk(folder, `create ${name}`, () => {
      const fd = openNew(fs, join(folder, name));
      try {
        const line = JSON.stringify({ ...header, salt: randomHex(8) } satisfies SegmentHeader);
        const crc = crc32(line);
        const bytes = Buffer.from(`${hex8(crc)} ${line}\n`);
        writeAll(fs, fd, bytes, 0);
        return new LogWriter(fs, folder, fd, header.wal, header.base, { s: header.base, offset: bytes.length, crc });
      } catch (error) {
        closeQuietly(fs, fd);
        removeQuietly(fs, join(folder, name));
        throw error;
      }
    });
  }

  /** The number of the last line of the batch being built. */
  get s(): number {
    return this.#s;
  }

  get name(): string {
    return segmentName(this.segment);
  }

  /** Adds a `set` record to the batch, and says in the members above where it lies. Returns its number. */
  addSet(shard: number, key: string, value: string): number {
    const before = `"o":"set","n":${shard},"k":`;
    const s = this.add(`${before}${key},"v":${value}`);
    // The record's JSON begins with `{"s":1,`, and a brace and a newline follow the value.
    const from = this.#lineStart + JSON_OFFSET + 6 + String(s).length + before.length;
    const to = this.#filled - 2;
    this.linePosition = this.#offset + from;
    this.lineLength = to - from;
    this.lineCheck = crc32(this.#buffer.subarray(from, to));
    return s;
  }

  /** Adds a record to the batch. `members` is the text of its JSON object's members after `"s"`. Returns its number. */
  add(members: string): number {
    const s = this.#s + 1;
    const json = `{"s":${s},${members}}`;
    this.#reserve(json);
    const start = this.#filled + JSON_OFFSET;
    const length = this.#buffer.write(json, start, 'utf8');
    const crc = crc32(this.#buffer.subarray(start, start + length), this.#crc);
    writeCrc(this.#buffer, this.#filled, crc);
    this.#lineStart = this.#filled;
    this.#buffer[start + length] = NEWLINE;
    this.#filled = start + length + 1;
    this.#s = s;
    this.#crc = crc;
    return s;
  }

  /**
   * Closes the batch and writes it out. On an error nothing of it counts, and the writer is as it was before the batch.
   *
   * @throws {PodError} `ERR_POD_DISK`
   */
  close(kind: ClosingKind, count: number, durable: number): void {
    try {
      this.add(`"o":"${kind}","c":${count},"y":${durable}`);
      this.#writeOut();
    } catch (error) {
      this.abandon();
      throw error;
    }
    this.end = { s: this.#s, offset: this.#offset, crc: this.#crc };
  }

  /** Gives up the batch being built. */
  abandon(): void {
    const written = this.#offset > this.end.offset || this.#filled > 0;
    this.#filled = 0;
    this.#s = this.end.s;
    this.#crc = this.end.crc;
    this.#offset = this.end.offset;
    if (!written) return;
    try {
      this.#fs.truncate(this.#fd, this.end.offset);
    } catch {
      // The error that brought us here is the one to report; this one means that the segment must be left behind.
      this.broken = true;
    }
  }

  /** Takes back everything behind `position`; the caller fsyncs before the next append. */
  truncate(position: LogPosition): void {
    disk(this.#folder, `truncate ${this.name}`, () => this.#fs.truncate(this.#fd, position.offset));
    this.end = position;
    this.#s = position.s;
    this.#crc = position.crc;
    this.#offset = position.offset;
  }

  /** Whether the file under the segment's name is this one, and as long as what was written. */
  isInPlace(): boolean {
    return disk(this.#folder, `look at ${this.name}`, () => {
      const there = this.#fs.stat(join(this.#folder, this.name));
      if (there?.isFile !== true || there.size !== this.end.offset) return false;
      const { dev, ino } = this.#fs.fstat(this.#fd);
      return there.dev === dev && there.ino === ino;
    });
  }

  /** After a failure the kernel may call lost pages clean, so a descriptor whose fsync failed is never fsynced again. */
  fdatasync(): void {
    this.#refuseBroken();
    try {
      this.#fs.fdatasync(this.#fd);
    } catch (error) {
      this.broken = true;
      throw diskError(this.#folder, `fsync ${this.name}`, error);
    }
  }

  fsync(): void {
    this.#refuseBroken();
    try {
      this.#fs.fsync(this.#fd);
    } catch (error) {
      this.broken = true;
      throw diskError(this.#folder, `fsync ${this.name}`, error);
    }
  }

  async fdatasyncBeside(): Promise<void> {
    this.#refuseBroken();
    this.#besideFd ??= disk(this.#folder, `open ${this.name}`, () =>
      this.#fs.open(join(this.#folder, this.name), 'r+'),
    );
    this.#fsyncsUnderWay++;
    try {
      await this.#fs.fdatasyncBeside(this.#besideFd);
    } catch (error) {
      this.broken = true;
      throw diskError(this.#folder, `fsync ${this.name}`, error);
    } finally {
      this.#fsyncsUnderWay--;
      if (this.#retired) this.retire();
    }
  }

  /** Closes the descriptors, as soon as no fsync uses them. What was fsynced is on the disk whatever `close` says, so it is not asked. */
  retire(): void {
    this.#retired = true;
    if (this.#fsyncsUnderWay > 0 || this.#closed) return;
    this.#closed = true;
    closeQuietly(this.#fs, this.#fd);
    if (this.#besideFd !== undefined) closeQuietly(this.#fs, this.#besideFd);
  }

  #refuseBroken(): void {
    if (this.broken) {
      throw new PodError('ERR_POD_DISK', `${this.name} in ${this.#folder} could not be fsynced before.`, {
        path: this.#folder,
      });
    }
  }

  #reserve(json: string): void {
    // One UTF-16 unit is at most three bytes of UTF-8; counting exactly pays only for large lines.
    const atMost = json.length < 1 << 20 ? json.length * 3 : Buffer.byteLength(json);
    const needed = atMost + JSON_OFFSET + 1;
    if (this.#filled > 0 && this.#filled + needed > BUFFER_BYTES) this.#writeOut();
    if (this.#filled + needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(
      Math.max(this.#filled + needed, Math.min(BUFFER_BYTES, this.#buffer.length * 2)),
    );
    this.#buffer.copy(larger, 0, 0, this.#filled);
    this.#buffer = larger;
  }

  #writeOut(): void {
    const bytes = this.#buffer.subarray(0, this.#filled);
    disk(this.#folder, `append to ${this.name}`, () => writeAll(this.#fs, this.#fd, bytes, this.#offset));
    this.#offset += this.#filled;
    this.#filled = 0;
    if (this.#buffer.length > BUFFER_BYTES) this.#buffer = Buffer.allocUnsafe(1 << 16);
  }
}

/** Creates a file. One that is there already was left by an attempt that failed while the disk did, and could not be removed then. */
function openNew(fs: FileSystem, path: string): number {
  try {
    return fs.open(path, 'wx');
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    fs.unlink(path);
    return fs.open(path, 'wx');
  }
}
