/**
 * Reads a folder: what the manifest, the log and the shards say together (protocol section 5, steps 1 to 5).
 *
 * The same reading serves recovery, readers beside a live writer, and going back to the last sync point. It changes nothing.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import type { LoadedEntry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { type Key, type KeyIdentity, keyIdentity, parseKey } from '../core/key.ts';
import type { Rows } from '../core/rows.ts';
import { crcText, hex8 } from './files.ts';
import type { FileStat, FileSystem } from './fs.ts';
import { applyToRows, indexedRows, isDisturbed, type SavedIndex, shardsAsIndexed } from './index-file.ts';
import { LOG_LINE, TextInMemory } from './line-formats.ts';
import type { IntentLine } from './log-format.ts';
import {
  foreignError,
  LogMarks,
  type LogRecord,
  loggedLine,
  readHeader,
  rotError,
  type SegmentScan,
  scanSegment,
} from './log-reader.ts';
import type { LogPosition } from './log-writer.ts';
import type { Manifest, SegmentRef, ShardContent } from './manifest.ts';
import { classify, segmentName, shardName, stagedName } from './names.ts';
import type { PinnedFiles } from './pinned-files.ts';
import { firstBadLine, lineError, matches, parseShard, readShardText } from './shards.ts';
import type { Texts } from './texts.ts';

/** A shard's content as it was found on disk. */
export interface FoundShard {
  readonly content: ShardContent;
  /** It lies under the name a compaction staged it with. */
  readonly staged: boolean;
  /** Undefined where it is read again when its entries are asked for. */
  readonly text: Buffer | undefined;
}

/** The records of one shard that its content does not contain yet. */
export interface OpenRecords {
  readonly first: number;
  last: number;
}

export interface ListedSegment {
  readonly segment: number;
  readonly base: number;
  readonly scan: SegmentScan;
}

export interface FolderState {
  readonly manifest: Manifest;
  /** In order; the last is the one that is written. */
  readonly segments: readonly ListedSegment[];
  /** The last segment is not in the manifest: a rescue was cut short, or an older manifest was put back. */
  readonly extended: boolean;
  /** What each shard holds; a shard that a fold emptied is here with no lines. */
  readonly shards: ReadonlyMap<number, Pick<FoundShard, 'content' | 'staged'>>;
  readonly open: ReadonlyMap<number, OpenRecords>;
  /** Files named like shards that are nobody's, by shard number. */
  readonly strangers: readonly number[];
  /** Records that were replayed over the shards. */
  readonly replayed: number;
  /** Everything, as rows, where a saved index fits. */
  readonly rows?: Rows<never, never> | undefined;
  /** Of the shards' files, where they were looked at. */
  readonly stats?: ReadonlyMap<number, FileStat> | undefined;
  /** Everything, in order. */
  entries(): Iterable<LoadedEntry>;
}

/** How far the log is to be read, and how strictly. */
export interface ReadLimits {
  /** Refuse damage in the log (a writer, under the lock); without it the log simply ends there. */
  readonly judge: boolean;
  /** The last line that counts, in the last segment; without it the log counts to its end. */
  readonly until?: LogPosition;
  /** Where entries get their texts from, later; without it they keep what was read in memory. */
  readonly texts?: Texts | undefined;
  /** Used where it fits. */
  readonly saved?: SavedIndex | undefined;
  /** Keeps the files that the rows of a saved index lie in, for a reader, who has nobody that tells when they change. */
  readonly pinned?: PinnedFiles | undefined;
}

/**
 * Reads the folder that a manifest describes.
 *
 * @throws {PodError} `ERR_POD_CORRUPT` where something is missing, or is neither what it was nor what it was to become
 */
export function readFolderState(fs: FileSystem, folder: string, manifest: Manifest, limits: ReadLimits): FolderState {
  const { saved } = limits;
  const marks = saved === undefined ? undefined : new LogMarks([saved.begin, saved.end]);
  const { segments, extended } = readSegments(fs, folder, manifest, limits, marks);
  if (marks?.allReached === true) {
    const state = tryIndexed(fs, folder, manifest, { segments, extended }, limits);
    if (state !== undefined) return state;
    // What follows may need the descriptors.
    limits.pinned?.release();
  }
  const last = (segments[segments.length - 1] as ListedSegment).scan.end;
  const intents = groupIntents(segments);
  const keepBytes = limits.texts === undefined ? Number.POSITIVE_INFINITY : KEPT_BYTES_MAX;
  const { shards, strangers } = findShards(fs, folder, manifest, intents, keepBytes);
  for (const [shard, { content }] of shards) {
    if (content.seq > last.s) {
      const file = shardName(shard, manifest.gzip);
      throw corrupt(folder, file, `${file} contains record ${content.seq}, but the log ends at ${last.s}`);
    }
  }
  const replay = new Replay(fs, folder, manifest, shards, limits.texts);
  for (const { segment, scan } of segments) for (const record of scan.records) replay.apply(segment, record);
  return {
    manifest,
    segments,
    extended,
    shards,
    open: replay.open,
    strangers,
    replayed: replay.applied,
    entries: () => replay.entries(),
  };
}

/** The same as `readIndexed`. What an index makes of a folder is never an error: reading everything says what is wrong, if anything is. */
function tryIndexed(...args: Parameters<typeof readIndexed>): FolderState | undefined {
  try {
    return readIndexed(...args);
  } catch {
    return undefined;
  }
}

/** The state by a saved index that the log leads through; undefined where it does not fit after all. */
function readIndexed(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  found: { readonly segments: readonly ListedSegment[]; readonly extended: boolean },
  { saved, pinned, texts = pinned?.texts }: ReadLimits,
): FolderState | undefined {
  if (saved === undefined || texts === undefined) return undefined;
  const since = saved.begin.s;
  if (found.segments.some(({ scan }) => isDisturbed(scan, since))) return undefined;
  // A staged shard would have to be told from the one that lies in its place; those of a compaction that has not ended are nobody's.
  if (fs.readdir(folder).some((name) => isStaged(name, manifest))) return undefined;
  const stats = shardsAsIndexed(pinned ?? fs, folder, manifest, saved);
  if (stats !== undefined) pinned?.leaveRoom();
  const rows = stats && indexedRows<never, never>(saved, texts);
  if (rows === undefined) return undefined;
  const shards = new Map([...manifest.shards].map(([shard, content]) => [shard, { content, staged: false }]));
  const open = new Map<number, OpenRecords>();
  let replayed = 0;
  for (const { segment, scan } of found.segments) {
    pinned?.keepLog(join(folder, segmentName(segment)), scan.records);
    for (const record of scan.records) {
      if (record.operation === 'clear') continue;
      const { s, shard } = record;
      if (s > (manifest.shards.get(shard)?.seq ?? 0)) {
        noteOpen(open, shard, s);
        replayed++;
      }
      if (s > since && !applyToRows(rows, texts, segment, record)) return undefined;
    }
  }
  return { manifest, ...found, shards, open, strangers: [], replayed, rows, stats, entries: () => [] };
}

function isStaged(name: string, { generation }: Manifest): boolean {
  const file = classify(name);
  return file.kind === 'staged' && file.generation === generation;
}

function noteOpen(open: Map<number, OpenRecords>, shard: number, s: number): void {
  const records = open.get(shard);
  if (records === undefined) open.set(shard, { first: s, last: s });
  else records.last = s;
}

function groupIntents(segments: readonly ListedSegment[]): Map<number, IntentLine[]> {
  const groups = new Map<number, IntentLine[]>();
  for (const { scan } of segments) groupInto(groups, scan.intents);
  return groups;
}

/** Adds announcements to those that are known, by shard. */
export function groupInto(groups: Map<number, IntentLine[]>, intents: readonly IntentLine[]): void {
  for (const intent of intents) {
    const group = groups.get(intent.n);
    if (group === undefined) groups.set(intent.n, [intent]);
    else group.push(intent);
  }
}

// ---- The log.

function readSegments(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  { judge, until }: ReadLimits,
  marks: LogMarks | undefined,
): { segments: ListedSegment[]; extended: boolean } {
  const segments: ListedSegment[] = [];
  const listed = manifest.segments;
  listed.forEach(([segment, base], index) => {
    const next = listed[index + 1];
    if (next === undefined) return;
    const nextHeader = checkedHeader(fs, folder, manifest, next);
    checkedHeader(fs, folder, manifest, [segment, base]);
    const scan = scanSegment(fs, folder, segment, { s: nextHeader.base, crc: nextHeader.prev }, marks);
    if (scan?.reachedUntil !== true) {
      const why = `it should reach record ${nextHeader.base}, where ${segmentName(next[0])} goes on, and does not`;
      throw corrupt(folder, segmentName(segment), `${segmentName(segment)} is damaged: ${why}`);
    }
    segments.push({ segment, base, scan });
  });
  const [segment, base] = listed[listed.length - 1] as SegmentRef;
  checkedHeader(fs, folder, manifest, [segment, base]);
  if (until !== undefined) {
    const scan = scanSegment(fs, folder, segment, { s: until.s, crc: hex8(until.crc) });
    if (scan?.reachedUntil !== true) throw missingSegment(folder, segment);
    segments.push({ segment, base, scan });
    return { segments, extended: false };
  }
  const following = readHeader(fs, folder, segment + 1);
  if (following !== undefined && following.id === manifest.id && following.gen === manifest.generation) {
    const cut = scanSegment(fs, folder, segment, { s: following.base, crc: following.prev }, marks);
    const scan = cut?.reachedUntil === true ? scanSegment(fs, folder, segment + 1, undefined, marks) : undefined;
    if (cut !== undefined && scan !== undefined && scan.batches > 0) {
      segments.push({ segment, base, scan: cut }, { segment: segment + 1, base: following.base, scan });
      return { segments: judge ? judged(folder, segments) : segments, extended: true };
    }
  }
  const scan = scanSegment(fs, folder, segment, undefined, marks);
  if (scan === undefined) throw missingSegment(folder, segment);
  segments.push({ segment, base, scan });
  return { segments: judge ? judged(folder, segments) : segments, extended: false };
}

function judged(folder: string, segments: ListedSegment[]): ListedSegment[] {
  const { segment, scan } = segments[segments.length - 1] as ListedSegment;
  if (scan.tail.kind === 'rot') throw rotError(folder, segment, scan.tail.line);
  if (scan.tail.kind === 'foreign') throw foreignError(folder, segment, scan.tail.line);
  return segments;
}

function checkedHeader(fs: FileSystem, folder: string, manifest: Manifest, [segment, base]: SegmentRef) {
  const header = readHeader(fs, folder, segment);
  if (header === undefined) throw missingSegment(folder, segment);
  const right =
    header.wal === segment && header.id === manifest.id && header.base === base && header.gen === manifest.generation;
  if (right) return header;
  throw corrupt(
    folder,
    segmentName(segment),
    `${segmentName(segment)} is not the one that pod.json lists (another pod's, or an older copy)`,
  );
}

function missingSegment(folder: string, segment: number): PodError {
  const name = segmentName(segment);
  return corrupt(folder, name, `${name}, which pod.json lists, is missing or does not begin as a log segment`);
}

// ---- The shards.

function findShards(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  intents: ReadonlyMap<number, readonly IntentLine[]>,
  keepBytes: number,
): { shards: Map<number, FoundShard>; strangers: number[] } {
  let kept = 0;
  const shards = new Map<number, FoundShard>();
  const strangers: number[] = [];
  const numbers = [...new Set([...manifest.shards.keys(), ...intents.keys()])].sort((a, b) => a - b);
  for (const shard of numbers) {
    const found = findShard(fs, folder, manifest, shard, intents.get(shard) ?? []);
    if (found === 'stranger') strangers.push(shard);
    else if (found !== undefined) {
      kept += found.content.bytes;
      // The first one in any case: there is room for one, as it was read.
      shards.set(shard, kept <= keepBytes || kept === found.content.bytes ? found : { ...found, text: undefined });
    }
  }
  return { shards, strangers };
}

/** The content of one shard: the listed one or an announced one, the latest first; never anything else. */
function findShard(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  shard: number,
  intents: readonly IntentLine[],
): FoundShard | 'stranger' | undefined {
  const listed = manifest.shards.get(shard);
  const announced = intents
    .filter(({ lines }) => lines > 0)
    .map(({ lines, bytes, crc, t }) => ({ lines, bytes, crc, seq: t, tastypy: false }));
  const candidates = [...announced, ...(listed === undefined ? [] : [listed])].sort((a, b) => b.seq - a.seq);
  const bytesMax = Math.max(0, ...candidates.map(({ bytes }) => bytes));
  const file = shardName(shard, manifest.gzip);
  const text = readShardText(fs, folder, file, manifest.gzip, bytesMax);
  if (text !== undefined && text !== 'damaged') {
    const content = candidates.find((candidate) => matches(text, candidate));
    if (content !== undefined) return { content, staged: false, text };
  }
  if (listed !== undefined) {
    const name = stagedName(shard, manifest.gzip, manifest.generation);
    const staged = readShardText(fs, folder, name, manifest.gzip, listed.bytes);
    if (staged !== undefined && staged !== 'damaged' && matches(staged, listed)) {
      return { content: listed, staged: true, text: staged };
    }
  }
  const emptied = intents.filter(({ lines }) => lines === 0).sort((a, b) => b.t - a.t)[0];
  const leftover =
    text !== undefined &&
    text !== 'damaged' &&
    [manifest.dropped.get(shard), ...intents.map(({ was }) => was)].includes(crcText(text));
  if (emptied !== undefined && (text === undefined || (listed === undefined && leftover))) {
    return {
      content: { lines: 0, bytes: 0, crc: '00000000', seq: emptied.t, tastypy: false },
      staged: false,
      text: EMPTY,
    };
  }
  if (listed === undefined) return text === undefined || leftover ? undefined : 'stranger';
  if (text === undefined) throw corrupt(folder, file, `${file}, which pod.json lists, is missing`);
  const bad = text === 'damaged' ? undefined : firstBadLine(text, listed.tastypy);
  if (bad !== undefined) throw lineError(folder, file, bad.line, bad.why, bad.cause);
  const why =
    text === 'damaged'
      ? 'it cannot be unpacked'
      : 'it is neither what was written last nor what was about to be written';
  throw new PodError(
    'ERR_POD_CORRUPT',
    `${folder}: ${file} does not match its checksum (${why}). Nothing was changed. If you edited it on purpose, run: everpod accept ` +
      `${folder}; otherwise restore it from a backup, or run: everpod repair ${folder}`,
    { path: folder, file },
  );
}

const EMPTY: Buffer = Buffer.alloc(0);

function corrupt(folder: string, file: string, what: string): PodError {
  return new PodError(
    'ERR_POD_CORRUPT',
    `${folder}: ${what}. Nothing was changed. Restore it from a backup, or run: everpod repair ${folder}`,
    { path: folder, file },
  );
}

// ---- Replay.

/** Texts of shards that are kept between checking them and taking their entries, where the entries themselves do not need them later. */
const KEPT_BYTES_MAX = 1 << 28;

/** Applies the log's records over the shards: for each shard only those that its content does not contain. */
class Replay {
  readonly open: Map<number, OpenRecords> = new Map();
  applied: number = 0;
  readonly #fs: FileSystem;
  readonly #folder: string;
  readonly #manifest: Manifest;
  readonly #found: ReadonlyMap<number, FoundShard>;
  /** The entries of the shards that records change. */
  readonly #changed: Map<number, Map<KeyIdentity, LoadedEntry>> = new Map();
  readonly #texts: Texts | undefined;
  readonly #sources: Map<Buffer, TextInMemory> = new Map();

  constructor(
    fs: FileSystem,
    folder: string,
    manifest: Manifest,
    found: ReadonlyMap<number, FoundShard>,
    texts: Texts | undefined,
  ) {
    this.#fs = fs;
    this.#folder = folder;
    this.#manifest = manifest;
    this.#found = found;
    this.#texts = texts;
  }

  apply(segment: number, record: LogRecord): void {
    if (record.operation === 'clear') {
      for (const shard of new Set([...this.#found.keys(), ...this.#changed.keys()])) {
        if (this.#counts(shard, record.s)) this.#changed.set(shard, new Map());
      }
      return;
    }
    const { s, shard, bytes } = record;
    if (!this.#counts(shard, s)) return;
    const key = this.#key(s, bytes.toString('utf8', record.keyStart, record.keyEnd));
    const entries = this.#shardEntries(shard);
    if (record.operation === 'del') {
      entries.delete(keyIdentity(key));
      return;
    }
    entries.set(keyIdentity(key), {
      key,
      shard,
      source: this.#texts?.segment(segment) ?? this.#source(bytes, record.offset),
      ...loggedLine(record),
    });
  }

  *entries(): Generator<LoadedEntry, void, undefined> {
    const numbers = new Set([...this.#found.keys(), ...this.#changed.keys()]);
    for (const shard of [...numbers].sort((a, b) => a - b)) {
      const changed = this.#changed.get(shard);
      if (changed !== undefined) yield* changed.values();
      else yield* this.#parse(shard);
    }
  }

  #key(s: number, text: string): Key {
    try {
      return parseKey(text);
    } catch (cause) {
      throw new PodError(
        'ERR_POD_CORRUPT',
        `${this.#folder}: the key in record ${s} of the log cannot be read. Nothing was changed. Restore the folder from a backup, or run: ` +
          `everpod repair ${this.#folder}`,
        { path: this.#folder, cause, info: { record: s } },
      );
    }
  }

  #counts(shard: number, s: number): boolean {
    if (s <= (this.#found.get(shard)?.content.seq ?? 0)) return false;
    noteOpen(this.open, shard, s);
    this.applied++;
    return true;
  }

  #shardEntries(shard: number): Map<KeyIdentity, LoadedEntry> {
    let entries = this.#changed.get(shard);
    if (entries === undefined) {
      entries = new Map();
      for (const entry of this.#parse(shard)) {
        const identity = keyIdentity(entry.key);
        if (entries.has(identity)) {
          const file = shardName(shard, this.#manifest.gzip);
          throw corrupt(this.#folder, file, `the key ${JSON.stringify(entry.key)} is twice in ${file}`);
        }
        entries.set(identity, entry);
      }
      this.#changed.set(shard, entries);
    }
    return entries;
  }

  #parse(shard: number): Iterable<LoadedEntry> {
    const found = this.#found.get(shard);
    if (found === undefined) return [];
    const { content, staged } = found;
    const text = found.text ?? this.#readAgain(shard, content, staged);
    const source = this.#texts?.shard(shard, content.tastypy);
    this.#texts?.offer(shard, text);
    return parseShard(this.#folder, shardName(shard, this.#manifest.gzip), shard, text, content.tastypy, source);
  }

  /** A shard that was checked a moment ago. */
  #readAgain(shard: number, content: ShardContent, staged: boolean): Buffer {
    const { gzip, generation } = this.#manifest;
    const file = shardName(shard, gzip);
    for (const name of staged ? [stagedName(shard, gzip, generation), file] : [file]) {
      const text = readShardText(this.#fs, this.#folder, name, gzip, content.bytes);
      if (text !== undefined && text !== 'damaged' && matches(text, content)) return text;
    }
    throw corrupt(this.#folder, file, `${file} was changed while the folder was being opened`);
  }

  #source(bytes: Buffer, offset: number): TextInMemory {
    let source = this.#sources.get(bytes);
    if (source === undefined) {
      source = new TextInMemory(bytes, LOG_LINE, offset);
      this.#sources.set(bytes, source);
    }
    return source;
  }
}
