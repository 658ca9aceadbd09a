/**
 * The lines of a folder that is open, read from its files when they are asked for.
 *
 * Files that fit into the cache are read whole; of the others one line is read at a time, or a stretch of them where lines are asked for in
 * order. Every line is checked against the crc that was taken when it was written or first read, or the whole shard that it is in against
 * the one that is listed, so what the disk changes while the folder is open is noticed (reliability C21), whichever way it came.
 */
import { type Buffer, isAscii } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { TextSource } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { closeQuietly, crcText, disk, errorCode, readRange } from './files.ts';
import type { ReadableFiles } from './fs.ts';
import { decode, LOG_LINE, shardLineFormat } from './line-formats.ts';
import { segmentName, shardName, stagedName } from './names.ts';
import { readShardText } from './shards.ts';

/** Lines that are asked for in order are read so many bytes at a time. */
const STRETCH_BYTES = 1 << 18;
/** Files that are kept open; those of readers are kept anyway (`pinned-files.ts`). */
const OPEN_FILES_MAX = 256;
/** A gzipped shard may unpack to this much. */
const TEXT_BYTES_MAX = 0xffff_ffff;

/** What the texts ask of the folder they belong to. */
export interface TextsOwner {
  readonly gzip: boolean;
  readonly generation: number;
  /** Bytes of all shards' texts. */
  readonly shardBytes: number;
  /** The crc of a shard's text as it should be. */
  crcOf(shard: number): string | undefined;
}

/** The text of a whole shard. */
interface WholeText {
  readonly bytes: Buffer;
  readonly isAscii: boolean;
  /** It is what the folder lists, so its lines need not be checked one by one. */
  readonly isSound: boolean;
}

/** Where lines lie in one file. */
interface LineFile extends TextSource {
  readonly name: string;
  readonly shard: number | undefined;
}

export class Texts {
  /** Set as soon as there is a folder; until then texts are at hand, or their files are small in number. */
  owner: TextsOwner = { gzip: false, generation: -1, shardBytes: 0, crcOf: () => undefined };
  readonly #fs: ReadableFiles;
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #shards: Map<number, ShardLines> = new Map();
  readonly #segments: Map<number, SegmentLines> = new Map();
  /** Whole texts of shards; the ones used lately last. */
  readonly #whole: Map<number, WholeText> = new Map();
  #wholeBytes: number = 0;
  #fits: boolean | undefined;
  #isRetired: boolean = false;
  /** Shards that lie under the names they were staged with. */
  readonly #staged: Set<number> = new Set();
  readonly #files: Map<string, number> = new Map();
  #filesMax: number = OPEN_FILES_MAX;
  #stretch: { readonly name: string; readonly start: number; readonly bytes: Buffer } | undefined;
  /** The line that was read last: its key is looked at first, then its value. */
  #last: { readonly name: string; readonly start: number; readonly length: number; readonly text: string } | undefined;
  /** A whole text whose lines are asked for in order, as one string: cutting a line out of it costs a tenth of decoding it. */
  #decoded: { readonly whole: WholeText; readonly text: string } | undefined;

  constructor(fs: ReadableFiles, path: string, bytesMax: number) {
    this.#fs = fs;
    this.#path = path;
    this.#bytesMax = bytesMax;
  }

  /** The lines of a shard as it lies on the disk now. */
  shard(shard: number, tastypy: boolean): ShardLines {
    let lines = this.#shards.get(shard);
    if (lines === undefined) {
      lines = new ShardLines(this, shard);
      this.#shards.set(shard, lines);
    }
    lines.tastypy = tastypy;
    return lines;
  }

  /** The lines of a segment of the log. */
  segment(segment: number): SegmentLines {
    let lines = this.#segments.get(segment);
    if (lines === undefined) {
      lines = new SegmentLines(this, segment);
      this.#segments.set(segment, lines);
    }
    return lines;
  }

  /** Takes a shard's text that was read or written anyway, and from which the checks of its lines were taken. */
  offer(shard: number, bytes: Buffer): void {
    this.#keep(shard, { bytes, isAscii: isAscii(bytes), isSound: true });
  }

  #keep(shard: number, whole: WholeText): void {
    const { length } = whole.bytes;
    if (length > this.#bytesMax) return;
    this.#dropWhole(shard);
    this.#whole.set(shard, whole);
    this.#wholeBytes += length;
    for (const other of this.#whole.keys()) {
      if (this.#wholeBytes <= this.#bytesMax) return;
      this.#dropWhole(other);
    }
  }

  /** Whether a shard lies under the name it was staged with, because it could not take its own. */
  noteName(shard: number, isStaged: boolean): void {
    if (isStaged) this.#staged.add(shard);
    else this.#staged.delete(shard);
  }

  /** A shard's file is another one now, or the log was cut: nothing of it that was read counts any more. */
  forget(shard?: number): void {
    this.#last = undefined;
    this.#stretch = undefined;
    this.#decoded = undefined;
    this.#fits = undefined;
    if (shard === undefined) {
      this.#closeAll();
      this.#whole.clear();
      this.#wholeBytes = 0;
      return;
    }
    this.#staged.delete(shard);
    this.#dropWhole(shard);
    this.#closeFile(shardName(shard, false));
  }

  /** A segment is removed: as long as it is open, the room that it takes is not free. */
  forgetSegment(segment: number): void {
    this.#closeFile(segmentName(segment));
    this.#segments.delete(segment);
  }

  /** The folder is given up: no file stays open from now on, whoever still reads. */
  retire(): void {
    this.#isRetired = true;
    this.#closeAll();
  }

  #closeAll(): void {
    for (const name of [...this.#files.keys()]) this.#closeFile(name);
  }

  /**
   * The text of one line.
   *
   * @throws {PodError} `ERR_POD_DISK`; `ERR_POD_CORRUPT` where it is not what it was
   */
  text(file: LineFile, position: number, length: number, check: number): string {
    const last = this.#last;
    if (last !== undefined && last.start === position && last.name === file.name && last.length === length) {
      return last.text;
    }
    const whole = file.shard === undefined ? undefined : this.#wholeText(file.shard);
    const text =
      whole?.isSound === true && position + length <= whole.bytes.length
        ? this.#cut(whole, file, position, length)
        : this.#checkedText(whole, file, position, length, check);
    this.#last = { name: file.name, start: position, length, text };
    return text;
  }

  #cut(whole: WholeText, { name }: LineFile, position: number, length: number): string {
    const end = position + length;
    if (!whole.isAscii) return whole.bytes.toString('utf8', position, end);
    if (this.#decoded?.whole !== whole) {
      const last = this.#last;
      // The line behind the one before it: most likely more of them will follow.
      if (last?.name !== name || last.start + last.length + 1 !== position) {
        return whole.bytes.toString('latin1', position, end);
      }
      this.#decoded = { whole, text: whole.bytes.toString('latin1') };
    }
    return this.#decoded.text.slice(position, end);
  }

  #checkedText(whole: WholeText | undefined, file: LineFile, position: number, length: number, check: number): string {
    const line = whole?.bytes.subarray(position, position + length) ?? this.#read(file, position, length);
    if (line.length !== length || crc32(line) !== check) {
      // What was read is not kept, so that the next read sees what lies there then: somebody may have put the right file back.
      if (file.shard !== undefined) this.forget(file.shard);
      this.#closeFile(file.name);
      this.#stretch = undefined;
      throw this.#changed(file, position);
    }
    return decode(line);
  }

  #read(file: LineFile, position: number, length: number): Buffer {
    const { name } = file;
    const stretch = this.#stretch;
    if (stretch?.name === name && position >= stretch.start) {
      const from = position - stretch.start;
      if (from + length <= stretch.bytes.length) return stretch.bytes.subarray(from, from + length);
    }
    const last = this.#last;
    const follows = last?.name === name && position > last.start && position - last.start < STRETCH_BYTES / 4;
    return disk(this.#path, `read ${name}`, () => {
      try {
        const fd = this.#open(file);
        if (!follows) return readRange(this.#fs, fd, position, length);
        const bytes = readRange(this.#fs, fd, position, Math.max(STRETCH_BYTES, length));
        this.#stretch = { name, start: position, bytes };
        return bytes.subarray(0, length);
      } finally {
        if (this.#isRetired) this.#closeAll();
      }
    });
  }

  /** A shard's whole text, where it is at hand or should be. */
  #wholeText(shard: number): WholeText | undefined {
    const known = this.#whole.get(shard);
    if (known !== undefined) {
      if (this.#wholeBytes > this.#bytesMax / 2) {
        this.#whole.delete(shard);
        this.#whole.set(shard, known);
      }
      return known;
    }
    const { gzip } = this.owner;
    if (!gzip && !this.#allFits()) return undefined;
    const text = readShardText(this.#fs, this.#path, this.#nameOf(shard), gzip, TEXT_BYTES_MAX);
    if (text === undefined || text === 'damaged') throw this.#changed({ name: shardName(shard, gzip), shard }, 0);
    const whole = { bytes: text, isAscii: isAscii(text), isSound: crcText(text) === this.owner.crcOf(shard) };
    this.#keep(shard, whole);
    return whole;
  }

  /** Whether the texts of all shards fit into the cache; asked once for each time a shard is written. */
  #allFits(): boolean {
    this.#fits ??= this.owner.shardBytes <= this.#bytesMax;
    return this.#fits;
  }

  /** After a compaction a shard can lie under the name it was staged with. To look for it each time would cost more than to read a line. */
  #nameOf(shard: number): string {
    const { gzip, generation } = this.owner;
    return this.#staged.has(shard) ? stagedName(shard, gzip, generation) : shardName(shard, gzip);
  }

  #open(file: LineFile): number {
    const known = this.#files.get(file.name);
    if (known !== undefined) return known;
    const name = file.shard === undefined ? file.name : this.#nameOf(file.shard);
    const fd = this.#openAt(join(this.#path, name));
    this.#files.set(file.name, fd);
    this.#closeBeyond(this.#filesMax);
    return fd;
  }

  #openAt(path: string): number {
    try {
      return this.#fs.open(path, 'r');
    } catch (error) {
      if (errorCode(error) !== 'EMFILE' || this.#files.size === 0) throw error;
      // The program needs some, too, so from now on only half as many are kept.
      this.#filesMax = Math.max(1, this.#files.size >> 1);
      this.#closeBeyond(this.#filesMax - 1);
      return this.#fs.open(path, 'r');
    }
  }

  /** Closes the files that were opened first. */
  #closeBeyond(count: number): void {
    for (const name of this.#files.keys()) {
      if (this.#files.size <= count) break;
      this.#closeFile(name);
    }
  }

  #closeFile(name: string): void {
    const fd = this.#files.get(name);
    if (fd === undefined) return;
    this.#files.delete(name);
    closeQuietly(this.#fs, fd);
  }

  #dropWhole(shard: number): void {
    const whole = this.#whole.get(shard);
    if (whole === undefined) return;
    this.#wholeBytes -= whole.bytes.length;
    this.#whole.delete(shard);
    if (this.#decoded?.whole === whole) this.#decoded = undefined;
  }

  #changed({ name, shard }: Pick<LineFile, 'name' | 'shard'>, position: number): PodError {
    const file = shard === undefined ? name : shardName(shard, this.owner.gzip);
    return new PodError(
      'ERR_POD_CORRUPT',
      `${join(this.#path, file)}: the line at byte ${position} is not what it was when the pod was opened or last written. Nothing was changed. ` +
        `If the file was edited on purpose, close the program and run: everpod accept ${this.#path}; otherwise restore it from a backup, or ` +
        `run: everpod repair ${this.#path}`,
      { path: this.#path, file },
    );
  }
}

/** The lines of one shard. */
export class ShardLines implements LineFile {
  readonly name: string;
  readonly shard: number;
  /** Keys are written as tastypy did. */
  tastypy: boolean = false;
  readonly #texts: Texts;

  constructor(texts: Texts, shard: number) {
    this.#texts = texts;
    this.shard = shard;
    this.name = shardName(shard, false);
  }

  keyTextAt(position: number, length: number, check: number): string {
    return shardLineFormat(this.tastypy).keyText(this.#texts.text(this, position, length, check));
  }

  textAt(position: number, length: number, check: number): string {
    return shardLineFormat(this.tastypy).valueText(this.#texts.text(this, position, length, check));
  }
}

/** The lines of one segment of the log. */
export class SegmentLines implements LineFile {
  readonly name: string;
  readonly segment: number;
  readonly shard: undefined;
  readonly #texts: Texts;

  constructor(texts: Texts, segment: number) {
    this.#texts = texts;
    this.segment = segment;
    this.name = segmentName(segment);
  }

  keyTextAt(position: number, length: number, check: number): string {
    return LOG_LINE.keyText(this.#texts.text(this, position, length, check));
  }

  textAt(position: number, length: number, check: number): string {
    return LOG_LINE.valueText(this.#texts.text(this, position, length, check));
  }
}
