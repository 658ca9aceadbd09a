/**
 * The files of outputs of a folder that is open for writing: lines that belong to tasks which are done.
 *
 * A line goes into the log, in the batch that says that its task is done. The file follows: it gets a line only once the line is behind a
 * sync point, so it never runs ahead of the durable log and going back never touches it. What the manifest lists of a file was fsynced
 * before; whatever the log holds beyond that, recovery writes again. So every line is there once, whatever happened in between.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import { closeQuietly, crcText, disk, hex8, readRange, removeQuietly, writeAll } from './files.ts';
import type { FileSystem } from './fs.ts';
import type { LogWriter } from './log-writer.ts';
import type { OutputContent } from './manifest.ts';
import { type OutputFormat, outputMembers } from './output-log.ts';

/** So much of the end of a file is looked at when it is opened. */
const TAIL_BYTES = 1 << 16;
/** Lines are written out when they fill this much. */
const WRITE_BYTES = 1 << 22;

/** The content of a file that nothing was written to. */
export const EMPTY_OUTPUT: OutputContent = { bytes: 0, crc: '00000000', tail: '00000000', seq: 0 };

/** A file as recovery leaves it. */
export interface FoundOutput {
  readonly name: string;
  /** What the manifest lists. */
  readonly listed: OutputContent;
  /** How much there is, and its checksum; what goes beyond the listed content may not be durable. */
  readonly bytes: number;
  readonly crc: number;
}

interface Line {
  readonly name: string;
  readonly format: OutputFormat;
  readonly text: string;
  /** The number of its record, once there is one. */
  s: number;
}

interface OpenOutput {
  readonly name: string;
  listed: OutputContent;
  bytes: number;
  crc: number;
  fd: number | undefined;
  /** A write failed half-way, so the file may be longer than what counts. */
  isTorn: boolean;
  /** Its fsync failed: what is behind the listed content has to be written again, through another descriptor. */
  isLost: boolean;
}

export class Outputs {
  readonly #fs: FileSystem;
  readonly #folder: string;
  readonly #onUndo: (step: () => void) => void;
  readonly #files: Map<string, OpenOutput>;
  /** Not in the log yet. */
  #pending: Line[] = [];
  /** In the log, behind the sync point. */
  #unsynced: Line[] = [];
  /** Before the sync point, and not in the file because a write failed. */
  #unwritten: Line[] = [];
  /** Records up to this one are in the files, or unwritten. */
  #seq: number;
  /** What takes back each change since the sync point. */
  readonly #undo: (() => void)[] = [];
  /** How many of them are older than the flush that is under way. */
  #undoBeforeFlush: number = 0;

  constructor(
    fs: FileSystem,
    folder: string,
    found: readonly FoundOutput[],
    seq: number,
    onUndo: (step: () => void) => void,
  ) {
    this.#fs = fs;
    this.#folder = folder;
    this.#seq = seq;
    this.#onUndo = onUndo;
    this.#files = new Map(
      found.map((file) => [file.name, { ...file, fd: undefined, isTorn: false, isLost: false }] as const),
    );
  }

  // ---- Changes. Each can be taken back, with the transaction it is part of or with everything since the sync point.

  /** Adds a line to the next batch. */
  add(name: string, format: OutputFormat, text: string): void {
    const line: Line = { name, format, text, s: 0 };
    this.#pending.push(line);
    this.changed(() => {
      const place = this.#pending.lastIndexOf(line);
      if (place >= 0) this.#pending.splice(place, 1);
    });
  }

  /** Remembers what takes a change back. */
  changed(undo: () => void): void {
    let isDone = false;
    const step = (): void => {
      if (!isDone) undo();
      isDone = true;
    };
    this.#onUndo(step);
    this.#undo.push(step);
  }

  // ---- Told by the folder, as the table is.

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** Adds the records of what is pending to a batch. Returns how many. */
  addPending(log: LogWriter): number {
    return addRecords(log, this.#pending);
  }

  /** The same for all that is behind the sync point, for a segment that begins there. */
  addUnsynced(log: LogWriter): number {
    return addRecords(log, this.#unsynced) + addRecords(log, this.#pending);
  }

  appended(): void {
    if (this.#pending.length === 0) return;
    for (const line of this.#pending) this.#unsynced.push(line);
    this.#pending = [];
  }

  flushBegan(): void {
    this.#undoBeforeFlush = this.#undo.length;
  }

  flushFailed(): void {
    this.#undoBeforeFlush = 0;
  }

  /** What was appended when the flush began is on the disk: everything up to this record. */
  flushed(s: number): void {
    this.#undo.splice(0, this.#undoBeforeFlush);
    this.#undoBeforeFlush = 0;
    this.#reachPoint(s);
  }

  /** Everything up to this record is on the disk, and that is everything. */
  synced(s: number): void {
    this.#undo.length = 0;
    this.#undoBeforeFlush = 0;
    this.#reachPoint(s);
  }

  #reachPoint(s: number): void {
    this.#seq = s;
    if (this.#unsynced.length > 0) {
      const later = this.#unsynced.findIndex((line) => line.s > s);
      const count = later < 0 ? this.#unsynced.length : later;
      for (const line of this.#unsynced.splice(0, count)) this.#unwritten.push(line);
    }
    try {
      this.#write();
    } catch {
      // The log has the lines. Whoever made the sync point asks with `requireWritten` whether the files have them, too.
    }
  }

  /** Takes back everything since the sync point. No file has anything of it. */
  revert(): void {
    this.#pending = [];
    this.#unsynced = [];
    for (const step of this.#undo.splice(0).reverse()) step();
    this.#undoBeforeFlush = 0;
  }

  // ---- Files.

  /**
   * Makes sure that the files hold every line before the sync point.
   *
   * @throws {PodError} `ERR_POD_DISK`; the log keeps the lines, and the next sync point tries again
   */
  requireWritten(): void {
    this.#write();
  }

  /** Creates the file of a new output. Returns what removes it again. */
  create(name: string): () => void {
    const path = join(this.#folder, name);
    return disk(this.#folder, `create ${name}`, () => {
      const there = this.#fs.stat(path);
      // One that is empty was left by a process that died before its manifest.
      if (there !== undefined && (!there.isFile || there.size > 0)) {
        throw new PodError(
          'ERR_POD_OPTIONS',
          `${path} is there already and is no output of this tracker. Move it away, or choose another name.`,
          { path: this.#folder, file: name, info: { option: 'output' } },
        );
      }
      const fd = this.#fs.open(path, there === undefined ? 'wx' : 'r+');
      const file = { name, listed: EMPTY_OUTPUT, bytes: 0, crc: 0, fd, isTorn: false, isLost: false };
      this.#files.set(name, file);
      return () => {
        closeQuietly(this.#fs, fd);
        this.#files.delete(name);
        if (there === undefined) removeQuietly(this.#fs, path);
      };
    });
  }

  /**
   * Makes every line before the sync point durable in its file, so that the log need not keep them.
   *
   * @returns what the next manifest is to list
   * @throws {PodError} `ERR_POD_DISK`
   */
  checkpoint(): Map<string, OutputContent> {
    this.#write();
    return new Map([...this.#files.values()].map((file) => [file.name, this.#contentOf(file)]));
  }

  /** The manifest lists these contents. */
  listed(contents: ReadonlyMap<string, OutputContent>): void {
    for (const [name, content] of contents) {
      const file = this.#files.get(name);
      if (file !== undefined) file.listed = content;
    }
  }

  release(): void {
    for (const file of this.#files.values()) {
      if (file.fd !== undefined) closeQuietly(this.#fs, file.fd);
      file.fd = undefined;
    }
  }

  /** What a copy of the folder as it is in memory has to hold: how much of each file, and what comes behind it. */
  contents(): { name: string; bytes: number; crc: number; rest: Buffer }[] {
    const lines = [...this.#unwritten, ...this.#unsynced, ...this.#pending];
    return [...this.#files.values()].map(({ name, bytes, crc }) => ({
      name,
      bytes,
      crc,
      rest: Buffer.concat(lines.filter((line) => line.name === name).map(({ text }) => Buffer.from(`${text}\n`))),
    }));
  }

  #write(): void {
    while (this.#unwritten.length > 0) {
      const { name } = this.#unwritten[0] as Line;
      let text = '';
      let count = 0;
      for (const line of this.#unwritten) {
        if (line.name !== name || text.length > WRITE_BYTES) break;
        text += `${line.text}\n`;
        count++;
      }
      this.#append(this.#files.get(name) as OpenOutput, Buffer.from(text));
      this.#unwritten.splice(0, count);
    }
  }

  #append(file: OpenOutput, bytes: Buffer): void {
    disk(this.#folder, `append to ${file.name}`, () => {
      const fd = this.#inPlace(file);
      const { isTorn } = file;
      file.isTorn = true;
      writeAll(this.#fs, fd, bytes, file.bytes);
      // What a failed write has left may reach further than what took its place.
      if (isTorn) this.#fs.truncate(fd, file.bytes + bytes.length);
      file.isTorn = false;
    });
    file.bytes += bytes.length;
    file.crc = crc32(bytes, file.crc);
  }

  #contentOf(file: OpenOutput): OutputContent {
    if (file.bytes === file.listed.bytes) return { ...file.listed, seq: this.#seq };
    return disk(this.#folder, `fsync ${file.name}`, () => {
      if (file.isLost) this.#writeAgain(file);
      const fd = this.#inPlace(file);
      if (file.isTorn) {
        this.#fs.truncate(fd, file.bytes);
        file.isTorn = false;
      }
      try {
        this.#fs.fsync(fd);
      } catch (error) {
        file.isLost = true;
        throw error;
      }
      return { bytes: file.bytes, crc: hex8(file.crc), tail: tailCrc(this.#fs, fd, file.bytes), seq: this.#seq };
    });
  }

  /**
   * After a failed fsync the kernel may call pages clean that never reached the disk. They are written again, and through another
   * descriptor, because this one was told of the failure already (reliability B4).
   */
  #writeAgain(file: OpenOutput): void {
    const path = join(this.#folder, file.name);
    this.#inPlace(file);
    const fd = this.#fs.open(path, 'r+');
    try {
      const { bytes: from, crc } = file.listed;
      const rest = readRange(this.#fs, fd, from, file.bytes - from);
      if (crc32(rest, Number.parseInt(crc, 16)) !== file.crc) {
        throw new PodError(
          'ERR_POD_DISK',
          `What was written to ${path} did not reach the disk. Nothing is lost: close the program and start it again, then the log writes it anew.`,
          { path: this.#folder, file: file.name },
        );
      }
      writeAll(this.#fs, fd, rest, from);
    } catch (error) {
      closeQuietly(this.#fs, fd);
      throw error;
    }
    if (file.fd !== undefined) closeQuietly(this.#fs, file.fd);
    file.fd = fd;
    file.isLost = false;
  }

  /** The file's descriptor, where the file under its name is the one that is open, and as long as what was written. */
  #inPlace(file: OpenOutput): number {
    const path = join(this.#folder, file.name);
    const there = this.#fs.stat(path);
    if (there?.isFile === true && (there.size === file.bytes || (file.isTorn && there.size > file.bytes))) {
      file.fd ??= this.#fs.open(path, 'r+');
      const { dev, ino } = this.#fs.fstat(file.fd);
      if (there.dev === dev && there.ino === ino) return file.fd;
    }
    throw new PodError(
      'ERR_POD_DISK',
      `${path} was moved, removed or changed while it was open. Nothing is lost, because the log keeps what was to be appended to it. Put ` +
        `the file back as it was and sync again; or close the program, and run: everpod accept ${this.#folder}`,
      { path: this.#folder, file: file.name },
    );
  }
}

function addRecords(log: LogWriter, lines: readonly Line[]): number {
  for (const line of lines) line.s = log.add(outputMembers(line.name, line.format, line.text));
  return lines.length;
}

/** The checksum of the end of a file, of which `bytes` count. */
export function tailCrc(fs: FileSystem, fd: number, bytes: number): string {
  const from = Math.max(0, bytes - TAIL_BYTES);
  return crcText(readRange(fs, fd, from, bytes - from));
}
