/**
 * What a person asks for when a folder was edited or damaged: look at it, accept an edit, salvage what is intact.
 *
 * Nothing is ever deleted here: whatever is not taken over lies in `quarantine/` afterwards.
 */
import { Buffer, isAscii, isUtf8 } from 'node:buffer';
import { join } from 'node:path';
import { constants, gunzipSync } from 'node:zlib';
import type { LoadedEntry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { copyJson } from '../core/json.ts';
import { type Key, type KeyIdentity, keyIdentity, keyText, parseKey } from '../core/key.ts';
import { Rows } from '../core/rows.ts';
import { crcText, disk, findByte, readFile, removeFile } from './files.ts';
import { readFolderState } from './folder-state.ts';
import type { FileSystem } from './fs.ts';
import { NEWLINE, type SegmentHeader } from './log-format.ts';
import { readHeader, type SalvagedRecord, salvageSegment } from './log-reader.ts';
import { LogWriter } from './log-writer.ts';
import { type Manifest, readManifest, replaceManifest, type ShardContent } from './manifest.ts';
import { classify, type FileKind, MANIFEST_NAME, shardName, stagedName } from './names.ts';
import type { OutputRecord } from './output-log.ts';
import { checkOutputs } from './output-recovery.ts';
import { acceptOutputs, salvageOutputs } from './output-repair.ts';
import { newPodId } from './random.ts';
import { hasManifest, readFolder, requireFolder, untilSteady } from './reader.ts';
import { quarantine, refuseLostManifest } from './recovery.ts';
import { describeText, firstBadLine, lineError, matches, packShard, readShardText } from './shards.ts';
import type { System } from './system.ts';
import { decodeTastypyKey } from './tastypy.ts';
import { Texts } from './texts.ts';

/** What `repairFolder` did. */
export interface RepairReport {
  readonly entries: number;
  /** Lines of shards, and stretches of the log, that could not be read. */
  readonly lostLines: number;
  /** pod.json was damaged or missing, and with it what it says: whether this is a tracker, its `maxTries`, the size of the shards. */
  readonly lostSettings: boolean;
  /** What went into quarantine: the files as they were. */
  readonly quarantined: readonly string[];
}

/** The largest text a gzipped shard may unpack to when nothing says how large it should be. */
const TEXT_BYTES_MAX = 1 << 30;

/**
 * Reads the whole folder and every value in it, and says nothing if all is well. A writer may be at work.
 *
 * @returns how many entries there are
 * @throws {PodError} what is wrong
 */
export function verifyFolder(system: System, path: string): number {
  // A folder of tastypy has no manifest yet; reading it checks every line.
  if (!hasManifest(system, path)) return readFolder(system, path).entries.length;
  return untilSteady(system, path, () => verifyEntries(system.fs, path));
}

function verifyEntries(fs: FileSystem, path: string): number {
  const manifest = requireManifest(fs, path);
  const texts = new Texts(fs, path, VERIFY_CACHE_BYTES);
  try {
    const { gzip, generation } = manifest;
    texts.owner = { gzip, generation, shardBytes: Number.POSITIVE_INFINITY, crcOf: () => undefined };
    const state = readFolderState(fs, path, manifest, { judge: true, texts });
    const entries = checkEntries(path, state.entries());
    const lines = state.segments.flatMap(({ scan }) => scan.outputs);
    checkOutputs(fs, path, manifest, lines);
    return entries;
  } finally {
    texts.retire();
  }
}

/**
 * Looks at every key and every value.
 *
 * @returns how many entries there are
 * @throws {PodError} `ERR_POD_CORRUPT` where a key is there twice or a value cannot be read
 */
export function checkEntries(path: string, entries: Iterable<LoadedEntry>): number {
  const seen = new Rows<unknown, Key>(0);
  for (const { key, shard, source, position, length, check } of entries) {
    const identity = keyIdentity(key);
    const other = seen.find(identity);
    if (other >= 0) {
      throw new PodError(
        'ERR_POD_CORRUPT',
        `${path}: the key ${keyText(key)} is in shard ${seen.shardOf(other)} and again in shard ${shard}.`,
        { path, key },
      );
    }
    seen.setPlace(seen.push(identity, shard, seen.slotEnd), source, position, length, check);
    try {
      copyJson(JSON.parse(source.textAt(position, length, check)));
    } catch (cause) {
      throw new PodError(
        'ERR_POD_CORRUPT',
        `${path}: the value of ${keyText(key)} in shard ${shard} cannot be read: ${(cause as Error).message}`,
        { path, key, cause },
      );
    }
  }
  return seen.size;
}

/** What is kept of the texts while a folder is verified. */
const VERIFY_CACHE_BYTES = 1 << 26;

/**
 * Takes over what a person edited in the shards by hand: each shard that differs is listed as it is now, if every line of it can be read.
 * Where the log holds a newer value for a key, the log wins.
 *
 * @returns the files that were accepted
 * @throws {PodError} `ERR_POD_CORRUPT` with file and line where a line cannot be read, or where the damage is elsewhere; nothing was changed
 */
export function acceptEdits(system: System, path: string): string[] {
  const { fs } = system;
  requireFolder(system, path);
  requireManifest(fs, path);
  const lock = system.locks.acquire(path);
  try {
    const manifest = requireManifest(fs, path);
    const shards = new Map(manifest.shards);
    const dropped = new Map(manifest.dropped);
    const accepted: string[] = [];
    for (const [shard, listed] of manifest.shards) {
      const file = shardName(shard, manifest.gzip);
      const text = readShardText(fs, path, file, manifest.gzip, TEXT_BYTES_MAX);
      if (text === undefined || text === 'damaged' || matches(text, listed)) continue;
      const bad = firstBadLine(text, listed.tastypy);
      if (bad !== undefined) throw lineError(path, file, bad.line, bad.why, bad.cause);
      const content = describeText(text, listed.seq);
      if (content.lines > 0) shards.set(shard, { ...content, tastypy: listed.tastypy });
      else {
        // No lines, no shard: the empty file is what a compaction would have given up, and recovery removes it.
        shards.delete(shard);
        dropped.set(shard, content.crc);
      }
      accepted.push(file);
    }
    const edited: Manifest = { ...manifest, shards, dropped, epoch: manifest.epoch + 1 };
    // Read all of it as it would be, so that a key in two shards, or damage elsewhere, is found before anything is changed.
    const seen = new Set<KeyIdentity>();
    const state = readFolderState(fs, path, edited, { judge: true });
    for (const { key } of state.entries()) {
      if (seen.has(keyIdentity(key))) {
        throw new PodError('ERR_POD_CORRUPT', `${path}: the key ${keyText(key)} is there twice. Nothing was changed.`, {
          path,
          key,
        });
      }
      seen.add(keyIdentity(key));
    }
    const outputs = acceptOutputs(
      fs,
      path,
      manifest,
      state.segments.flatMap(({ scan }) => scan.outputs),
    );
    if (accepted.length + outputs.accepted.length === 0) return [];
    const next: Manifest = { ...edited, outputs: outputs.contents };
    outputs.keep((name, bytes) => quarantine(fs, path, name, bytes));
    for (const file of accepted) {
      disk(path, `fsync ${file}`, () => {
        const fd = fs.open(join(path, file), 'r');
        try {
          fs.fsync(fd);
        } finally {
          fs.close(fd);
        }
      });
    }
    replaceManifest(fs, path, next);
    return [...accepted, ...outputs.accepted];
  } finally {
    lock.release('undone');
  }
}

/**
 * Salvages a damaged folder: every shard line that can be read and every complete batch of the log is kept, the files as they were go
 * into `quarantine/`, and the folder is written anew.
 *
 * @throws {PodError} `ERR_POD_LOCKED`, `ERR_POD_NOT_FOUND`, `ERR_POD_DISK`
 */
export function repairFolder(system: System, path: string): RepairReport {
  const { fs } = system;
  requireFolder(system, path);
  // Looked at before the lock is taken, whose file would be the one thing of ours in a folder that is no pod.
  requireSomething(fs, path);
  const lock = system.locks.acquire(path);
  try {
    const files = requireSomething(fs, path);
    const salvage = new Salvage(fs, path, files);
    return salvage.writeAnew();
  } finally {
    lock.release('undone');
  }
}

/** The files of a folder in which there is something to salvage. */
function requireSomething(fs: FileSystem, path: string): NamedFile[] {
  const files = namedFiles(fs, path);
  if (!files.some(({ kind }) => kind === 'shard' || kind === 'segment' || kind === 'staged')) throw notFound(path);
  return files;
}

function requireManifest(fs: FileSystem, path: string): Manifest {
  const manifest = readManifest(fs, path);
  if (manifest !== undefined) return manifest;
  refuseLostManifest(fs, path, namedFiles(fs, path));
  throw notFound(path);
}

function notFound(path: string): PodError {
  return new PodError('ERR_POD_NOT_FOUND', `There is no pod at ${path}.`, { path });
}

function namedFiles(fs: FileSystem, path: string): NamedFile[] {
  return disk(path, 'list the folder', () => fs.readdir(path)).map((name) => ({ name, ...classify(name) }));
}

type NamedFile = { readonly name: string } & FileKind;
type ShardFile = Extract<NamedFile, { readonly kind: 'shard' | 'staged' }>;

/** Everything that can still be read in a folder. */
class Salvage {
  readonly #fs: FileSystem;
  readonly #path: string;
  readonly #files: readonly NamedFile[];
  /** The segments of the log, in order. */
  readonly #headers: readonly { readonly segment: number; readonly header: SegmentHeader | undefined }[];
  readonly #logGeneration: number;
  readonly #manifest: Manifest | undefined;
  readonly #gzip: boolean;
  /** Lines, by key, with the shard they were in: the order of a pod is that of its shards and their lines. */
  readonly #lines: Map<KeyIdentity, { key: Key; shard: number; value: string }> = new Map();
  readonly #outputs: OutputRecord[] = [];
  #lostLines: number = 0;

  constructor(fs: FileSystem, path: string, files: readonly NamedFile[]) {
    this.#fs = fs;
    this.#path = path;
    this.#files = files;
    this.#headers = files
      .filter((file) => file.kind === 'segment')
      .sort((a, b) => a.segment - b.segment)
      .map(({ segment }) => ({ segment, header: readHeader(fs, path, segment) }));
    this.#logGeneration = Math.max(0, ...this.#headers.map(({ header }) => header?.gen ?? 0));
    this.#manifest = this.#readManifest();
    const shards = files.filter((file) => file.kind === 'shard');
    this.#gzip = this.#manifest?.gzip ?? shards.some(({ gzip }) => gzip);
    const seqs = this.#salvageShards();
    this.#salvageLog(seqs);
  }

  #readManifest(): Manifest | undefined {
    try {
      const manifest = readManifest(this.#fs, this.#path);
      return manifest === undefined || this.#isForeign(manifest) || this.#isStale(manifest) ? undefined : manifest;
    } catch (error) {
      if (error instanceof PodError && error.code === 'ERR_POD_CORRUPT') return undefined;
      throw error;
    }
  }

  /** Whether a manifest is another pod's: neither a segment of the log nor a shard in the folder is one that it knows. */
  #isForeign(manifest: Manifest): boolean {
    const headers = this.#headers.filter(({ header }) => header !== undefined);
    if (headers.length === 0 || headers.some(({ header }) => header?.id === manifest.id)) return false;
    return ![...manifest.shards].some(([shard, listed]) =>
      this.#filesOf(shard).some(({ name, gzip }) => {
        const text = readShardText(this.#fs, this.#path, name, gzip, TEXT_BYTES_MAX);
        return text !== undefined && text !== 'damaged' && matches(text, listed);
      }),
    );
  }

  /** Whether a manifest was put back from before a compaction: the log that it lists went with the old shards. */
  #isStale({ generation, segments }: Manifest): boolean {
    const isThere = (segment: number): boolean => this.#headers.some((header) => header.segment === segment);
    return this.#logGeneration > generation && !segments.every(([segment]) => isThere(segment));
  }

  /** The files that hold, or held, a shard. */
  #filesOf(shard: number): ShardFile[] {
    return this.#files.filter((file): file is ShardFile & NamedFile => {
      return (file.kind === 'shard' || file.kind === 'staged') && file.shard === shard;
    });
  }

  /** Takes the lines of every shard in. Returns, for each, the record through which its content is known to be complete. */
  #salvageShards(): Map<number, number> {
    const seqs = new Map<number, number>();
    const numbers = new Set(this.#manifest?.shards.keys());
    for (const file of this.#files) if (file.kind === 'shard' || file.kind === 'staged') numbers.add(file.shard);
    const damaged: (() => void)[] = [];
    for (const shard of [...numbers].sort((a, b) => a - b)) {
      const listed = this.#manifest?.shards.get(shard);
      const text = this.#shardText(shard, listed);
      if (text === undefined) {
        this.#lostLines += listed?.lines ?? 0;
        continue;
      }
      // What a shard that is not the listed one contains is not known, so the log is applied from the listed record on.
      seqs.set(shard, listed?.seq ?? 0);
      if (listed === undefined || matches(text, listed)) this.#takeLines(shard, text, listed, 'newer');
      else damaged.push(() => this.#takeLines(shard, text, listed, 'only new'));
    }
    // Damage can make one key of another, and it must not replace what is intact.
    for (const take of damaged) take();
    return seqs;
  }

  /** The text of a shard: the listed one where it is there, else the likeliest. */
  #shardText(shard: number, listed: ShardContent | undefined): Buffer | undefined {
    const files = this.#filesOf(shard).sort((a, b) => this.#unlikeliness(a) - this.#unlikeliness(b));
    const texts = files
      .map(({ name, gzip }) => readShardText(this.#fs, this.#path, name, gzip, TEXT_BYTES_MAX))
      .filter((text) => text !== undefined && text !== 'damaged');
    const found = texts.find((text) => listed !== undefined && matches(text, listed)) ?? texts[0];
    if (found !== undefined) return found;
    for (const { name, gzip } of files) {
      const bytes = gzip ? readFile(this.#fs, this.#path, name) : undefined;
      const part = bytes === undefined ? undefined : unpackIntactPart(bytes);
      if (part !== undefined) return part;
    }
    return undefined;
  }

  /**
   * What is still staged for the generation that counts is newer than what has its name. Where no manifest says which one counts, the
   * log's does: it is begun when all shards of its generation are staged.
   */
  #unlikeliness(file: ShardFile): number {
    const generation = this.#manifest?.generation ?? this.#logGeneration;
    if (file.kind === 'staged' && file.generation === generation) return 0;
    if (file.kind === 'shard') return file.gzip === this.#gzip ? 1 : 2;
    return 3;
  }

  #takeLines(shard: number, text: Buffer, listed: ShardContent | undefined, which: 'newer' | 'only new'): void {
    const tastypy = listed?.tastypy ?? (this.#manifest === undefined && this.#looksLikeTastypy(text));
    // What a checksum vouches for is kept as it is read. Elsewhere bytes that are no UTF-8 would be read as a key that was never there.
    const isVouched = which === 'newer' && listed !== undefined;
    let taken = 0;
    let refused = 0;
    for (const bytes of linesOf(text)) {
      const line = bytes.toString('utf8');
      if (line === '') continue;
      const tab = line.indexOf('\t');
      try {
        if (tab < 0) throw new SyntaxError('There is no tab.');
        if (!isVouched && !isUtf8(bytes)) throw new SyntaxError('It is not UTF-8.');
        const key = tastypy ? decodeTastypyKey(line.slice(0, tab)) : parseKey(line.slice(0, tab));
        if (which === 'newer' || !this.#lines.has(keyIdentity(key))) this.#takeIn(key, shard, line.slice(tab + 1));
        taken++;
      } catch {
        refused++;
      }
    }
    // Of a file that was cut, the lines behind the cut are lost too. Where every line is whole, it may be newer than what is listed.
    const isWhole = refused === 0 && text.at(-1) === NEWLINE;
    this.#lostLines += isWhole ? 0 : Math.max(refused, (listed?.lines ?? 0) - taken);
  }

  /**
   * Whether a shard that no manifest describes has its keys as tastypy writes them: in ASCII, and in a folder that we never wrote to. In
   * one that we did, a shard that was folded since is ours, and only an escape that we never write tells the other kind. A line that is
   * lost, as it is no UTF-8, says nothing about the others.
   */
  #looksLikeTastypy(text: Buffer): boolean {
    if (!isAscii(text)) for (const bytes of linesOf(text)) if (!isAscii(bytes) && isUtf8(bytes)) return false;
    if (!this.#files.some(({ kind, name }) => kind === 'segment' || name === MANIFEST_NAME)) return true;
    for (const bytes of linesOf(text)) {
      const key = bytes.toString('latin1', 0, Math.max(0, bytes.indexOf(TAB)));
      if (/\\\\(u[0-9a-f]{4}|"(?!$))/.test(key)) return true;
    }
    return false;
  }

  #takeIn(key: Key, shard: number, value: string): void {
    const plain = copyJson(JSON.parse(value));
    const identity = keyIdentity(key);
    const known = this.#lines.get(identity);
    const text = JSON.stringify(plain);
    if (known === undefined) this.#lines.set(identity, { key, shard, value: text });
    else known.value = text;
  }

  #salvageLog(seqs: ReadonlyMap<number, number>): void {
    const segments = this.#segments();
    segments.forEach(({ segment }, index) => {
      // After a failed fsync the next segment goes on before the end of this one, and what stands beyond counts no more.
      const until = segments[index + 1]?.base ?? Number.POSITIVE_INFINITY;
      const { records, outputs, lostLines } = salvageSegment(this.#fs, this.#path, segment);
      for (const output of outputs) if (output.s <= until) this.#outputs.push(output);
      this.#lostLines += lostLines;
      for (const record of records) if (record.s <= until) this.#applyRecord(record, seqs);
    });
  }

  #applyRecord(record: SalvagedRecord, seqs: ReadonlyMap<number, number>): void {
    if (record.operation === 'clear') {
      for (const [identity, { shard }] of this.#lines) {
        if (record.s > (seqs.get(shard) ?? 0)) this.#lines.delete(identity);
      }
      return;
    }
    if (record.s <= (seqs.get(record.shard) ?? 0)) return;
    try {
      const key = parseKey(record.key);
      if (record.operation === 'del') this.#lines.delete(keyIdentity(key));
      else this.#takeIn(key, record.shard, record.value);
    } catch {
      this.#lostLines++; // Its checksum is right, and yet it is none of ours.
    }
  }

  /** The log: what the manifest lists and what goes on from there; without a manifest, all of the newest generation. */
  #segments(): { segment: number; base: number | undefined }[] {
    const manifest = this.#manifest;
    const listed = new Map(manifest?.segments);
    const last = Math.max(...listed.keys());
    return this.#headers
      .filter(({ segment, header }) => {
        if (manifest === undefined) return header === undefined || header.gen === this.#logGeneration;
        if (header !== undefined && header.id !== manifest.id) return false;
        return listed.has(segment) || (segment > last && header?.gen === manifest.generation);
      })
      .map(({ segment, header }) => ({ segment, base: listed.get(segment) ?? header?.base }));
  }

  /** Puts the files as they are into quarantine and writes what was salvaged. */
  writeAnew(): RepairReport {
    const fs = this.#fs;
    const path = this.#path;
    const replaced = this.#files.filter(
      ({ kind, name }) => kind === 'shard' || kind === 'segment' || kind === 'staged' || name === MANIFEST_NAME,
    );
    const quarantined = replaced.map(({ name }) =>
      quarantine(fs, path, name, readFile(fs, path, name) ?? new Uint8Array()),
    );
    const outputs = salvageOutputs(fs, path, this.#manifest, this.#outputs, (name, bytes) => {
      quarantined.push(quarantine(fs, path, name, bytes));
    });
    const generation = this.#nextGeneration();
    const fileSize = this.#manifest?.fileSize ?? 1000;
    const shards = this.#stageShards(generation, fileSize);
    const segment = 1 + Math.max(0, ...this.#files.map((file) => (file.kind === 'segment' ? file.segment : 0)));
    const id = this.#manifest?.id ?? newPodId();
    const log = LogWriter.create(fs, path, { wal: segment, id, gen: generation, base: 0, prev: '00000000' });
    log.fsync();
    log.retire();
    replaceManifest(fs, path, {
      id,
      epoch: (this.#manifest?.epoch ?? 0) + 1,
      generation,
      fileSize,
      gzip: this.#gzip,
      meta: this.#manifest?.meta ?? {},
      segments: [[segment, 0]],
      dropped: new Map(),
      shards,
      outputs,
    });
    for (const { name, kind } of replaced) if (kind !== 'other') removeFile(fs, path, name);
    for (const shard of shards.keys()) {
      const staged = stagedName(shard, this.#gzip, generation);
      disk(path, `rename ${staged}`, () => fs.rename(join(path, staged), join(path, shardName(shard, this.#gzip))));
    }
    fs.fsyncFolder(path);
    // A folder of tastypy has neither a log nor a manifest to lose.
    const lostSettings =
      this.#manifest === undefined &&
      this.#files.some(({ kind, name }) => kind === 'segment' || name === MANIFEST_NAME);
    return { entries: this.#lines.size, lostLines: this.#lostLines, lostSettings, quarantined };
  }

  /** Above every generation that a file in the folder may come from. */
  #nextGeneration(): number {
    const staged = this.#files.map((file) => (file.kind === 'staged' ? file.generation : 0));
    return 1 + Math.max(this.#manifest?.generation ?? 0, ...staged);
  }

  #stageShards(generation: number, fileSize: number): Map<number, ShardContent> {
    const shards = new Map<number, ShardContent>();
    const ordered = [...this.#lines.values()].sort((a, b) => a.shard - b.shard);
    for (let from = 0; from < ordered.length; from += fileSize) {
      const lines = ordered.slice(from, from + fileSize);
      const text = Buffer.from(lines.map(({ key, value }) => `${keyText(key)}\t${value}\n`).join(''), 'utf8');
      const name = stagedName(shards.size, this.#gzip, generation);
      disk(this.#path, `write ${name}`, () => this.#fs.stage(join(this.#path, name), packShard(text, this.#gzip)));
      shards.set(shards.size, { lines: lines.length, bytes: text.length, crc: crcText(text), seq: 0, tastypy: false });
    }
    return shards;
  }
}

/** The lines of a text, which may be longer than a string can be. */
function* linesOf(text: Buffer): Generator<Buffer, void, undefined> {
  for (let start = 0, end = 0; start < text.length; start = end + 1) {
    const newline = findByte(text, NEWLINE, start);
    end = newline < 0 ? text.length : newline;
    yield text.subarray(start, end);
  }
}

const TAB = 0x09;

/** What can be unpacked of a damaged gzip file: the longest beginning of it that unpacks without an error. */
function unpackIntactPart(bytes: Buffer): Buffer | undefined {
  const unpack = (length: number): Buffer | undefined => {
    try {
      const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: TEXT_BYTES_MAX };
      return gunzipSync(bytes.subarray(0, length), options);
    } catch {
      return undefined;
    }
  };
  let part: Buffer | undefined;
  let good = 0;
  for (let bad = bytes.length + 1; bad - good > 1; ) {
    const length = Math.floor((good + bad) / 2);
    const unpacked = unpack(length);
    if (unpacked === undefined) bad = length;
    else {
      part = unpacked;
      good = length;
    }
  }
  return part;
}
