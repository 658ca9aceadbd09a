/**
 * Reads one log segment: which batches are complete, what they say, and how the segment ends.
 *
 * The values of records are not parsed and not copied: a record keeps its place in the bytes that were read.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import { disk, findByte, readFile, readRange } from './files.ts';
import type { FileSystem } from './fs.ts';
import {
  type ClosingKind,
  claimedCrc,
  type DataLine,
  type IntentLine,
  JSON_OFFSET,
  NEWLINE,
  parseControl,
  parseData,
  parseHeader,
  type SegmentHeader,
} from './log-format.ts';
import type { LogPosition } from './log-writer.ts';
import { segmentName } from './names.ts';
import { type NoteRecord, parseNote } from './notes.ts';
import { type OutputRecord, parseOutput } from './output-log.ts';

/** A record of an accepted batch. */
export type LogRecord = DataRecord | { readonly s: number; readonly operation: 'clear' };

/** One that sets or deletes a key. Positions are in `bytes`, whose first byte lies at `offset` in the file. */
export type DataRecord = DataLine & { readonly bytes: Buffer; readonly offset: number };

/** Where a key and its value lie in a segment. */
interface LoggedLine {
  readonly position: number;
  readonly length: number;
  /** The crc of those bytes. */
  readonly check: number;
}

/** Where in its segment the key and the value of a record lie. */
export function loggedLine({ bytes, offset, keyStart, valueEnd }: DataRecord): LoggedLine {
  const check = crc32(bytes.subarray(keyStart, valueEnd));
  return { position: offset + keyStart, length: valueEnd - keyStart, check };
}

/** The end of a batch: the number of its last line, and that line's crc. */
export interface LogMark {
  readonly s: number;
  readonly crc: number;
}

/** Marks that a scan is to look out for. */
export class LogMarks {
  readonly #wanted: readonly LogMark[];
  readonly #reached: Set<LogMark> = new Set();

  constructor(wanted: readonly LogMark[]) {
    this.#wanted = wanted;
  }

  /** Whether the log led through all of them. */
  get allReached(): boolean {
    return this.#wanted.every((mark) => this.#reached.has(mark));
  }

  pass({ s, crc }: LogMark): void {
    for (const mark of this.#wanted) if (mark.s === s && mark.crc === crc) this.#reached.add(mark);
  }
}

/** How a segment ends behind its last complete batch. */
export type LogTail =
  | { readonly kind: 'clean' }
  /** Something that no later line vouches for: an append that was cut short. */
  | { readonly kind: 'torn'; readonly size: number }
  /** A damaged line that a later, intact one had called durable. */
  | { readonly kind: 'rot'; readonly size: number; readonly line: number }
  /** A line that is whole, and says what no everpod of this format writes. */
  | { readonly kind: 'foreign'; readonly size: number; readonly line: number };

export interface SegmentScan {
  readonly header: SegmentHeader;
  readonly headerCrc: number;
  /** Behind the last complete batch, or behind the header. */
  readonly end: LogPosition;
  readonly records: readonly LogRecord[];
  readonly intents: readonly IntentLine[];
  readonly outputs: readonly OutputRecord[];
  readonly notes: readonly NoteRecord[];
  /** The highest `y` of the accepted lines: everything up to it was known to be durable. */
  readonly vouched: number;
  /** Where the first batch that goes beyond `vouched` begins. */
  readonly unvouchedOffset: number;
  /** How the process that wrote last said it ended, if its last record says so. */
  readonly ending: string | undefined;
  /** Complete batches with records, marks not counted. */
  readonly batches: number;
  readonly tail: LogTail;
  /** The scan ended where it was told to. */
  readonly reachedUntil: boolean;
}

/** Reads are this large; a longer line makes one larger read. */
const CHUNK_BYTES = 1 << 20;
const CHUNK_BYTES_MIN = 1 << 9;

/**
 * Scans a segment from its beginning.
 *
 * @param until stop behind the batch whose last line has this number and crc
 * @param marks told of each batch's end
 * @returns undefined where there is no file or its header is not one
 */
export function scanSegment(
  fs: FileSystem,
  folder: string,
  segment: number,
  until?: { readonly s: number; readonly crc: string },
  marks?: LogMarks,
): SegmentScan | undefined {
  const name = segmentName(segment);
  const path = join(folder, name);
  return disk(folder, `read ${name}`, () => {
    if (fs.stat(path)?.isFile !== true) return undefined;
    const fd = fs.open(path, 'r');
    try {
      return new Scan(fs, fd, until, marks).run();
    } finally {
      fs.close(fd);
    }
  });
}

/**
 * Scans what was appended to a segment behind a batch that was read before.
 *
 * @param from the end of that batch
 * @param until as in `scanSegment`
 * @returns undefined where there is no such segment any more
 */
export function scanBehind(
  fs: FileSystem,
  folder: string,
  segment: number,
  from: LogPosition,
  until?: { readonly s: number; readonly crc: string },
): SegmentScan | undefined {
  const header = readHeader(fs, folder, segment);
  if (header === undefined) return undefined;
  const name = segmentName(segment);
  return disk(folder, `read ${name}`, () => {
    const fd = fs.open(join(folder, name), 'r');
    try {
      return new Scan(fs, fd, until).runFrom(header, from);
    } finally {
      fs.close(fd);
    }
  });
}

/** The header of a segment; undefined where there is no file or it does not begin with one. */
export function readHeader(fs: FileSystem, folder: string, segment: number): SegmentHeader | undefined {
  const path = join(folder, segmentName(segment));
  return disk(folder, `read ${segmentName(segment)}`, () => {
    if (fs.stat(path)?.isFile !== true) return undefined;
    const fd = fs.open(path, 'r');
    try {
      const bytes = readRange(fs, fd, 0, CLOSING_LINE_BYTES_MAX);
      const end = findByte(bytes, NEWLINE, 0);
      const claimed = end < 0 ? -1 : claimedCrc(bytes, 0, end);
      if (claimed < 0 || crc32(bytes.subarray(JSON_OFFSET, end)) !== claimed) return undefined;
      return parseHeader(bytes.toString('utf8', JSON_OFFSET, end));
    } finally {
      fs.close(fd);
    }
  });
}

/**
 * Whether the last line before `position` is still the one that was read there; a writer that went back to its last sync point
 * may have cut the log and written something else in its place.
 */
export function isUnchangedAt(fs: FileSystem, folder: string, segment: number, position: LogPosition): boolean {
  const path = join(folder, segmentName(segment));
  return disk(folder, `read ${segmentName(segment)}`, () => {
    if (fs.stat(path)?.isFile !== true) return false;
    const fd = fs.open(path, 'r');
    try {
      const from = Math.max(0, position.offset - CLOSING_LINE_BYTES_MAX);
      const bytes = readRange(fs, fd, from, position.offset - from);
      if (bytes.length !== position.offset - from || bytes[bytes.length - 1] !== NEWLINE) return false;
      const start = bytes.length < 2 ? 0 : bytes.lastIndexOf(NEWLINE, bytes.length - 2) + 1;
      return claimedCrc(bytes, start, bytes.length - 1) === position.crc;
    } finally {
      fs.close(fd);
    }
  });
}

/** Lines that end a batch, and headers, are shorter than this. */
const CLOSING_LINE_BYTES_MAX = 256;

/** A record as `salvageSegment` gives it out. */
export type SalvagedRecord =
  | { readonly s: number; readonly operation: 'clear' }
  | {
      readonly s: number;
      readonly operation: 'set' | 'del';
      readonly shard: number;
      readonly key: string;
      readonly value: string;
    };

/**
 * Reads what is intact in a damaged segment: every line that is valid behind the line before it, up to the last one that closes a batch.
 * Only for repairing; nothing here decides what counts.
 */
export function salvageSegment(
  fs: FileSystem,
  folder: string,
  segment: number,
): { records: SalvagedRecord[]; outputs: OutputRecord[]; lostLines: number } {
  const bytes = readFile(fs, folder, segmentName(segment)) ?? Buffer.alloc(0);
  const records: SalvagedRecord[] = [];
  let batch: SalvagedRecord[] = [];
  const outputs: OutputRecord[] = [];
  let batchOutputs: OutputRecord[] = [];
  let count = 0;
  let lostLines = 0;
  let previous = 0;
  for (let start = 0; start < bytes.length; ) {
    const newline = findByte(bytes, NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    const claimed = claimedCrc(bytes, start, end);
    const valid = newline >= 0 && claimed >= 0 && crc32(bytes.subarray(start + JSON_OFFSET, end), previous) === claimed;
    const data = valid ? parseData(bytes, start + JSON_OFFSET, end) : undefined;
    const output = valid && data === undefined ? parseOutput(bytes, start + JSON_OFFSET, end) : undefined;
    const isOther = valid && data === undefined && output === undefined;
    const isNote = isOther && parseNote(bytes, start + JSON_OFFSET, end) !== undefined;
    const control = isOther && !isNote ? parseControl(bytes.toString('utf8', start + JSON_OFFSET, end)) : undefined;
    if (data !== undefined) {
      const { s, operation, shard, keyStart, keyEnd, valueStart } = data;
      const value = operation === 'set' ? bytes.toString('utf8', valueStart, end - 1) : '';
      batch.push({ s, operation, shard, key: bytes.toString('utf8', keyStart, keyEnd), value });
      count++;
    } else if (output !== undefined) {
      batchOutputs.push(output);
      count++;
    } else if (isNote) {
      // It is about who used the folder, and not about what is in it.
      count++;
    } else if (control !== undefined && 'y' in control) {
      // A batch that lost a line is not whole, but each of its lines is what was written: better kept than lost.
      if (control.c !== count) lostLines += Math.max(0, control.c - count);
      records.push(...batch);
      outputs.push(...batchOutputs);
      batch = [];
      batchOutputs = [];
      count = 0;
    } else if (control !== undefined) {
      if (control.o === 'clear') batch.push({ s: control.s, operation: 'clear' });
      count++;
    } else if (start > 0) {
      lostLines++;
    }
    previous = claimed < 0 ? previous : claimed;
    start = end + 1;
  }
  return { records, outputs, lostLines };
}

class Scan {
  readonly #fs: FileSystem;
  readonly #fd: number;
  readonly #until: { readonly s: number; readonly crc: string } | undefined;
  readonly #marks: LogMarks | undefined;
  #chunk: Buffer = Buffer.alloc(0);
  /** The offset in the file of the chunk's first byte. */
  #chunkOffset: number = 0;
  /** The place in the chunk that is read next. */
  #at: number = 0;
  readonly #records: LogRecord[] = [];
  readonly #intents: IntentLine[] = [];
  readonly #outputs: OutputRecord[] = [];
  readonly #notes: NoteRecord[] = [];
  readonly #batch: LogRecord[] = [];
  readonly #batchIntents: IntentLine[] = [];
  readonly #batchOutputs: OutputRecord[] = [];
  readonly #batchNotes: NoteRecord[] = [];
  #batchEnding: string | undefined;
  #batchCount: number = 0;
  #ending: string | undefined;
  #batches: number = 0;
  #vouched: number = 0;
  /** Accepted batches that no `y` vouches for so far: the number of their last line and where they begin, ascending. */
  readonly #unvouched: { readonly s: number; readonly offset: number }[] = [];

  constructor(
    fs: FileSystem,
    fd: number,
    until: { readonly s: number; readonly crc: string } | undefined,
    marks?: LogMarks,
  ) {
    this.#marks = marks;
    this.#fs = fs;
    this.#fd = fd;
    this.#until = until;
  }

  run(): SegmentScan | undefined {
    const headerEnd = this.#lineEnd();
    const headerCrc = headerEnd < 0 ? -1 : this.#validCrc(headerEnd, 0);
    if (headerCrc < 0) return undefined;
    const header = parseHeader(this.#json(headerEnd));
    if (header === undefined) return undefined;
    this.#at = headerEnd + 1;
    this.#vouched = header.base;
    return this.#follow(header, headerCrc, { s: header.base, offset: this.#chunkOffset + this.#at, crc: headerCrc });
  }

  /** As `run`, but behind a batch that is known already. */
  runFrom(header: SegmentHeader, from: LogPosition): SegmentScan {
    this.#chunkOffset = from.offset;
    this.#vouched = header.base;
    return this.#follow(header, -1, from);
  }

  /** Reads on behind a place between two batches. */
  #follow(header: SegmentHeader, headerCrc: number, from: LogPosition): SegmentScan {
    let end = from;
    let { s, crc } = from;
    let tail: LogTail = { kind: 'clean' };
    this.#marks?.pass(end);
    let reachedUntil = this.#isUntil(end);
    while (!reachedUntil) {
      const lineEnd = this.#lineEnd();
      if (lineEnd < 0 && this.#at === this.#chunk.length) break;
      const next = lineEnd < 0 ? -1 : this.#validCrc(lineEnd, crc);
      const closing = next < 0 ? 'bad' : this.#take(lineEnd, s + 1);
      if (closing === 'bad') {
        // An append that was cut short has no right checksum; what has one was meant.
        tail =
          next < 0 ? this.#judge(end, s + 1) : { kind: 'foreign', size: this.#fs.fstat(this.#fd).size, line: s + 1 };
        return this.#result(header, headerCrc, end, tail, false);
      }
      s++;
      crc = next;
      this.#at = lineEnd + 1;
      if (closing === undefined) continue;
      this.#unvouched.push({ s, offset: end.offset });
      this.#vouch(closing);
      end = { s, offset: this.#chunkOffset + this.#at, crc };
      this.#marks?.pass(end);
      reachedUntil = this.#isUntil(end);
    }
    if (!reachedUntil && s !== end.s) tail = this.#judge(end, s + 1);
    return this.#result(header, headerCrc, end, tail, reachedUntil);
  }

  #isUntil(end: LogPosition): boolean {
    const until = this.#until;
    return until !== undefined && until.s === end.s && Number.parseInt(until.crc, 16) === end.crc;
  }

  /** Takes a valid line in. Returns the `y` of a line that closes a batch, or `bad` where the line is not what it should be. */
  #take(lineEnd: number, s: number): number | 'bad' | undefined {
    const data = parseData(this.#chunk, this.#at + JSON_OFFSET, lineEnd);
    if (data !== undefined) {
      if (data.s !== s) return 'bad';
      this.#batch.push({ ...data, bytes: this.#chunk, offset: this.#chunkOffset });
      this.#batchCount++;
      return undefined;
    }
    const output = parseOutput(this.#chunk, this.#at + JSON_OFFSET, lineEnd);
    if (output !== undefined) {
      if (output.s !== s) return 'bad';
      this.#batchOutputs.push(output);
      this.#batchCount++;
      return undefined;
    }
    const note = parseNote(this.#chunk, this.#at + JSON_OFFSET, lineEnd);
    if (note !== undefined) {
      if (note.s !== s) return 'bad';
      this.#batchNotes.push(note);
      this.#batchCount++;
      return undefined;
    }
    const line = parseControl(this.#json(lineEnd));
    if (line === undefined || line.s !== s) return 'bad';
    switch (line.o) {
      case 'clear':
        this.#batch.push({ s, operation: 'clear' });
        break;
      case 'fold':
        this.#batchIntents.push(line);
        break;
      case 'end':
        this.#batchEnding = line.how;
        break;
      default:
        return line.c === this.#batchCount && line.y <= s ? this.#acceptBatch(line.o, line.y) : 'bad';
    }
    this.#batchCount++;
    return undefined;
  }

  #acceptBatch(kind: ClosingKind, durable: number): number {
    for (const record of this.#batch) this.#records.push(record);
    for (const intent of this.#batchIntents) this.#intents.push(intent);
    for (const output of this.#batchOutputs) this.#outputs.push(output);
    for (const note of this.#batchNotes) this.#notes.push(note);
    if (kind !== 'mark') {
      this.#ending = this.#batchEnding;
      this.#batches++;
    }
    this.#batch.length = 0;
    this.#batchIntents.length = 0;
    this.#batchOutputs.length = 0;
    this.#batchNotes.length = 0;
    this.#batchEnding = undefined;
    this.#batchCount = 0;
    return durable;
  }

  #vouch(durable: number): void {
    this.#vouched = Math.max(this.#vouched, durable);
    const keep = this.#unvouched.findIndex((batch) => batch.s > this.#vouched);
    this.#unvouched.splice(0, keep < 0 ? this.#unvouched.length : keep);
  }

  /**
   * The line numbered `s` is bad, or the batch it would belong to is not closed. If a later line that is valid behind its own
   * predecessor knew it to be durable, this is rot; otherwise an append that never finished.
   */
  #judge(end: LogPosition, s: number): LogTail {
    const size = this.#fs.fstat(this.#fd).size;
    // Lines between the last batch and the bad one are intact but unfinished; they count as part of the same damage.
    const first = Math.min(end.s + 1, s);
    let previous = -1;
    for (let lineEnd = this.#lineEnd(); lineEnd >= 0; lineEnd = this.#lineEnd()) {
      const claimed = claimedCrc(this.#chunk, this.#at, lineEnd);
      if (claimed >= 0 && previous >= 0 && this.#validCrc(lineEnd, previous) >= 0) {
        const line = parseControl(this.#json(lineEnd));
        if (line !== undefined && 'y' in line && line.y >= first) return { kind: 'rot', size, line: s };
      }
      previous = claimed;
      this.#at = lineEnd + 1;
    }
    return { kind: 'torn', size };
  }

  #result(
    header: SegmentHeader,
    headerCrc: number,
    end: LogPosition,
    tail: LogTail,
    reachedUntil: boolean,
  ): SegmentScan {
    return {
      header,
      headerCrc,
      end,
      records: this.#records,
      intents: this.#intents,
      outputs: this.#outputs,
      notes: this.#notes,
      vouched: this.#vouched,
      unvouchedOffset: this.#unvouched[0]?.offset ?? end.offset,
      ending: this.#ending,
      batches: this.#batches,
      tail,
      reachedUntil,
    };
  }

  /** The crc of the line from `#at` to `lineEnd`, or -1 where it does not follow on `seed`. */
  #validCrc(lineEnd: number, seed: number): number {
    const claimed = claimedCrc(this.#chunk, this.#at, lineEnd);
    if (claimed < 0) return -1;
    return crc32(this.#chunk.subarray(this.#at + JSON_OFFSET, lineEnd), seed) === claimed ? claimed : -1;
  }

  #json(lineEnd: number): string {
    return this.#chunk.toString('utf8', this.#at + JSON_OFFSET, lineEnd);
  }

  /** The place of the newline that ends the line at `#at`, reading on as needed; -1 at the end of the file. */
  #lineEnd(): number {
    let from = this.#at;
    for (;;) {
      const found = findByte(this.#chunk, NEWLINE, from);
      if (found >= 0) return found;
      from = this.#chunk.length;
      const rest = this.#chunk.length - this.#at;
      // Records keep the chunk they lie in, so each read takes a new one and carries the unfinished line over. Most logs are short:
      // a chunk is no larger than what is left of the file, and may be too small only where a writer appends meanwhile.
      const position = this.#chunkOffset + this.#chunk.length;
      const left = Math.max(this.#fs.fstat(this.#fd).size - position, CHUNK_BYTES_MIN);
      const larger = Buffer.allocUnsafeSlow(Math.max(rest + Math.min(left, CHUNK_BYTES), rest * 2));
      this.#chunk.copy(larger, 0, this.#at);
      const count = this.#fs.read(this.#fd, larger, rest, larger.length - rest, position);
      this.#chunkOffset += this.#at;
      this.#at = 0;
      this.#chunk = larger.subarray(0, rest + count);
      if (count === 0) return -1;
      from = rest;
    }
  }
}

/** The error for a log with a line that nothing explains. */
export function foreignError(folder: string, segment: number, line: number): PodError {
  const file = segmentName(segment);
  return new PodError(
    'ERR_POD_CORRUPT',
    `${folder}: record ${line} in ${file} is whole, but says what this version of everpod does not know. Nothing was changed. Was it ` +
      `written by a newer version? Then update everpod. Otherwise run: everpod repair ${folder}`,
    { path: folder, file, info: { record: line } },
  );
}

/** The error for a log that lost something it had acknowledged. */
export function rotError(folder: string, segment: number, line: number): PodError {
  const file = segmentName(segment);
  return new PodError(
    'ERR_POD_CORRUPT',
    `${folder}: record ${line} in ${file} is damaged, and later records say that it was durable. Nothing was changed. ` +
      `Restore the folder from a backup, or run: everpod repair ${folder}`,
    { path: folder, file, info: { record: line } },
  );
}
