/**
 * Follows a folder that another process may be writing, without its lock: after the first look, a look costs what changed since the last one.
 *
 * The log says everything that changes, in whole batches, so the records behind the last batch that was read are applied to the state in
 * memory, across rotations and folds. Where the log does not lead from there to here (it was cut, rewritten, or folded away meanwhile, or a
 * shard changed that no record announced), the folder is read anew. Nothing is created or changed.
 */
import type { Buffer } from 'node:buffer';
import { join } from 'node:path';
import type { LoadedEntry, TextSource } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { type Key, type KeyIdentity, keyIdentity, keyText, parseKey } from '../core/key.ts';
import { disk, readFile, readRange } from './files.ts';
import { groupInto, type ListedSegment } from './folder-state.ts';
import type { FileStat } from './fs.ts';
import { namedOwner } from './lock.ts';
import type { IntentLine } from './log-format.ts';
import { isUnchangedAt, type LogRecord, readHeader, type SegmentScan, scanBehind, scanSegment } from './log-reader.ts';
import type { LogPosition } from './log-writer.ts';
import { type FolderMeta, type Manifest, parseManifest, type SegmentRef } from './manifest.ts';
import { MANIFEST_NAME, segmentName } from './names.ts';
import { readBare, readBesideWriter, requireFolder, untilSteady } from './reader.ts';
import { type Ending, endingOf } from './recovery.ts';
import type { System } from './system.ts';

/** One record of the log, its key and value still unparsed. Short-lived: it keeps the bytes that were read. */
export class FollowedRecord {
  /** Its number in the log. */
  readonly s: number;
  readonly operation: 'set' | 'del' | 'clear';
  readonly #record: LogRecord;

  constructor(record: LogRecord) {
    this.s = record.s;
    this.operation = record.operation;
    this.#record = record;
  }

  /** Undefined for `clear`. */
  get key(): Key | undefined {
    const record = this.#record;
    if (record.operation === 'clear') return undefined;
    return parseKey(record.bytes.toString('utf8', record.keyStart, record.keyEnd));
  }

  /** The JSON text of the value of a `set`. */
  get text(): string | undefined {
    const record = this.#record;
    if (record.operation !== 'set') return undefined;
    // The line ends behind the brace that closes it; a value holds no line feed.
    const newline = record.bytes.indexOf(0x0a, record.valueStart);
    return record.bytes.toString('utf8', record.valueStart, newline - 1);
  }

  get shard(): number {
    return this.#record.operation === 'clear' ? -1 : this.#record.shard;
  }
}

/** What a look found. */
export interface Look {
  /** The state was read anew, so `records` need not tell all that changed. */
  readonly anew: boolean;
  /** The log was cut behind this record since the last look: the program went back to a sync point, or its last append was not finished. */
  readonly wentBackTo: number | undefined;
  /** Records between the last look and the first of `records` were folded away unseen. */
  readonly missed: boolean;
  /** The records behind those that were seen before; at the first look, all that the log holds. */
  readonly records: readonly FollowedRecord[];
}

/** How the process that had the folder last is doing, or how it ended. */
export interface LastProcess {
  /** `open` while it has the folder; `unknown` for one on another machine. */
  readonly state: 'open' | Ending;
  readonly how: string | undefined;
  readonly pid: number | undefined;
  readonly host: string | undefined;
  /** Since when it had the folder. ISO 8601. */
  readonly since: string | undefined;
  /** When the log was last written. ISO 8601. */
  readonly lastWrite: string | undefined;
}

/** The manifest's checksum, id and epoch stand within this: whoever has the same has the same manifest. */
const HEAD_BYTES = 64;
/** Ends of former looks that are remembered, to find out how far a program went back. */
const POSITIONS_MAX = 256;
/** How often a look begins again when the writer changes the list of segments under it. */
const ATTEMPTS_MAX = 3;

/** The log's end as it was read. */
interface Place {
  readonly segment: number;
  readonly end: LogPosition;
}

/**
 * A state that keeps up with its folder.
 *
 * @example
 * const follower = new Follower(nodeSystem, path);
 * follower.look();
 * setInterval(() => {
 *   for (const { operation, key } of follower.look().records) console.log(operation, key);
 * }, 1000);
 */
export class Follower {
  readonly path: string;
  readonly #system: System;
  #shards: Map<number, Map<KeyIdentity, LoadedEntry>> = new Map();
  #manifest: Manifest | undefined;
  #head: Buffer | undefined;
  #place: Place | undefined;
  /** The last segment is not in the manifest; see step 3 of recovery in docs/format.md. */
  #isExtended: boolean = false;
  #intents: Map<number, IntentLine[]> = new Map();
  #ending: string | undefined;
  /** The ends of former looks, oldest first. */
  readonly #places: Place[] = [];
  #bareMeta: FolderMeta = {};

  constructor(system: System, path: string) {
    this.#system = system;
    this.path = path;
  }

  /** Facts about the folder as a whole, as of the last look. */
  get meta(): FolderMeta {
    return this.#manifest?.meta ?? this.#bareMeta;
  }

  /** How many entries there were at the last look. */
  get size(): number {
    let size = 0;
    for (const entries of this.#shards.values()) size += entries.size;
    return size;
  }

  /** All entries, in the order of the pod, as of the last look. */
  *entries(): Generator<LoadedEntry, void, undefined> {
    for (const shard of [...this.#shards.keys()].sort((a, b) => a - b)) {
      yield* (this.#shards.get(shard) as Map<KeyIdentity, LoadedEntry>).values();
    }
  }

  /**
   * Looks what has changed.
   *
   * @throws {PodError} as `readFolder`; what was followed so far stays, and the next look begins anew
   */
  look(): Look {
    const before = this.#place;
    if (before !== undefined) {
      const look = this.#tryFollow();
      if (look !== undefined) return look;
    }
    // Until it has been read, nothing that is known can be built upon.
    this.#place = undefined;
    return this.#readAnew(before);
  }

  /** How the process that had the folder last is doing, as of now; the lock is not touched. */
  lastProcess(): LastProcess {
    const named = namedOwner(this.path);
    const stat = this.#place && this.#statSegment(this.#place.segment);
    const lastWrite = stat === undefined ? undefined : new Date(stat.mtimeMs).toISOString();
    const { ended, how } = endingOf(this.#ending, named !== undefined);
    const isOpen = named?.isAlive === true && this.#ending === undefined;
    const { pid, host, since } = named?.owner ?? {};
    return isOpen
      ? { state: 'open', how: undefined, pid, host, since, lastWrite }
      : { state: ended, how, pid, host, since, lastWrite };
  }

  #statSegment(segment: number): FileStat | undefined {
    const name = segmentName(segment);
    return disk(this.path, `look at ${name}`, () => this.#system.fs.stat(join(this.path, name)));
  }

  // ---- Reading anew.

  #readAnew(before: Place | undefined): Look {
    const { fs } = this.#system;
    requireFolder(this.#system, this.path);
    const found = untilSteady(this.#system, this.path, () => {
      const bytes = readFile(fs, this.path, MANIFEST_NAME);
      if (bytes === undefined) return { entries: readBare(fs, this.path).entries };
      const manifest = parseManifest(this.path, bytes);
      const state = readBesideWriter(fs, this.path, manifest);
      return state && { entries: state.entries(), manifest, head: bytes.subarray(0, HEAD_BYTES), state };
    });
    const idBefore = this.#manifest?.id;
    this.#take(found.entries);
    this.#manifest = found.manifest;
    this.#head = found.head;
    this.#intents = new Map();
    this.#ending = undefined;
    if (found.state === undefined)
      return { anew: true, wentBackTo: undefined, missed: before !== undefined, records: [] };
    const { segments, extended } = found.state;
    const last = segments[segments.length - 1] as ListedSegment;
    this.#isExtended = extended;
    for (const { scan } of segments) this.#note(scan);
    const records = segments.flatMap(({ scan }) => scan.records).map((record) => new FollowedRecord(record));
    const isSame = before !== undefined && idBefore === found.manifest.id;
    const kept = isSame ? this.#lastKept(segments) : undefined;
    this.#reach({ segment: last.segment, end: last.scan.end });
    if (before === undefined) return { anew: true, wentBackTo: undefined, missed: false, records };
    const since = kept?.end.s ?? (isSame ? before.end.s : -1);
    return {
      anew: true,
      wentBackTo: kept !== undefined && kept.end.s < before.end.s ? kept.end.s : undefined,
      missed: kept === undefined && (segments[0] as ListedSegment).base !== since,
      records: records.filter(({ s }) => s > since),
    };
  }

  /** The end of the latest look that the log still leads through. Later ones are forgotten. */
  #lastKept(segments: readonly ListedSegment[]): Place | undefined {
    for (let place = this.#places.pop(); place !== undefined; place = this.#places.pop()) {
      const { segment, end } = place;
      const listed = segments.find((each) => each.segment === segment);
      if (listed === undefined || listed.scan.end.s < end.s) continue;
      if (isUnchangedAt(this.#system.fs, this.path, segment, end)) return place;
    }
    return undefined;
  }

  #take(entries: Iterable<LoadedEntry>): void {
    this.#shards = new Map();
    for (const entry of entries) this.#entriesOf(entry.shard).set(keyIdentity(entry.key), entry);
  }

  // ---- Following.

  /** Undefined where the log does not surely lead from the last look to now. */
  #tryFollow(): Look | undefined {
    try {
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        const look = this.#follow();
        if (look !== 'again') return look;
      }
      return undefined;
    } catch (error) {
      // A file that went away between two steps, or real damage: reading anew tells which.
      if (error instanceof PodError || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  #follow(): Look | 'again' | undefined {
    const { fs } = this.#system;
    const head = this.#readHead();
    const known = this.#manifest as Manifest;
    if (head === undefined || this.#head === undefined) return undefined;
    let manifest = known;
    let newHead = this.#head;
    if (!head.equals(this.#head)) {
      const bytes = readFile(fs, this.path, MANIFEST_NAME);
      if (bytes === undefined) return undefined;
      manifest = parseManifest(this.path, bytes);
      newHead = bytes.subarray(0, HEAD_BYTES);
      if (manifest.id !== known.id || manifest.generation !== known.generation) return undefined;
    }
    const isExtended = this.#isExtended && manifest === known;
    const scans = this.#scanOn(manifest, isExtended);
    if (scans === undefined) return undefined;
    const { segment, scan: last } = scans[scans.length - 1] as { segment: number; scan: SegmentScan };
    if (last.tail.kind === 'rot' || last.tail.kind === 'foreign') return undefined;
    if (!isUnchangedAt(fs, this.path, segment, last.end)) return undefined;
    if (!isExtended && this.#hasBatches(segment + 1, manifest)) {
      // The writer has gone on to the next segment meanwhile, or wants to and could not say so.
      return this.#readHead()?.equals(newHead) === true ? undefined : 'again';
    }
    for (const { scan } of scans) this.#note(scan);
    if (manifest !== known && !this.#explains(known, manifest)) return undefined;

    this.#manifest = manifest;
    this.#head = newHead;
    this.#isExtended = isExtended;
    const records = scans.flatMap(({ scan }) => scan.records).map((record) => new FollowedRecord(record));
    for (const record of records) this.#apply(record);
    this.#reach({ segment, end: last.end });
    return { anew: false, wentBackTo: undefined, missed: false, records };
  }

  /** What stands in the log behind the last look, segment by segment; undefined where it does not go on from there. */
  #scanOn(manifest: Manifest, isExtended: boolean): { segment: number; scan: SegmentScan }[] | undefined {
    const { fs } = this.#system;
    const { segment, end } = this.#place as Place;
    if (isExtended) {
      const scan = scanBehind(fs, this.path, segment, end);
      return scan && [{ segment, scan }];
    }
    const listed = manifest.segments;
    const scans: { segment: number; scan: SegmentScan }[] = [];
    let at = listed.findIndex(([number]) => number === segment);
    // A fold has removed the segment; that is well if the first one that is left goes on exactly where the last look ended.
    if (at < 0) {
      const header = readHeader(fs, this.path, (listed[0] as SegmentRef)[0]);
      if (header?.base !== end.s || Number.parseInt(header.prev, 16) !== end.crc) return undefined;
      at = 0;
    }
    for (; at < listed.length; at++) {
      const [number, base] = listed[at] as SegmentRef;
      const next = listed[at + 1];
      const nextHeader = next && readHeader(fs, this.path, next[0]);
      if (next !== undefined && (nextHeader === undefined || nextHeader.base !== next[1])) return undefined;
      const until = nextHeader && { s: nextHeader.base, crc: nextHeader.prev };
      const scan =
        number === segment ? scanBehind(fs, this.path, number, end, until) : scanSegment(fs, this.path, number, until);
      if (scan === undefined || (until !== undefined && !scan.reachedUntil)) return undefined;
      const { header } = scan;
      if (header.id !== manifest.id || header.gen !== manifest.generation || header.base !== base) return undefined;
      scans.push({ segment: number, scan });
    }
    return scans;
  }

  /** Whether there is a segment of this pod with a complete batch. */
  #hasBatches(segment: number, { id, generation }: Manifest): boolean {
    const { fs } = this.#system;
    const header = readHeader(fs, this.path, segment);
    if (header === undefined || header.id !== id || header.gen !== generation) return false;
    return (scanSegment(fs, this.path, segment)?.batches ?? 0) > 0;
  }

  /** Whether all shards that one manifest lists differently from the other were announced in the log. */
  #explains(before: Manifest, after: Manifest): boolean {
    for (const [shard, { lines, bytes, crc, seq, tastypy }] of after.shards) {
      const old = before.shards.get(shard);
      const isSame = old?.crc === crc && old.bytes === bytes && old.lines === lines && old.seq === seq;
      if (isSame && old.tastypy === tastypy) continue;
      const intents = this.#intents.get(shard) ?? [];
      if (!intents.some((each) => each.t === seq && each.crc === crc && each.bytes === bytes)) return false;
    }
    for (const shard of before.shards.keys()) {
      if (after.shards.has(shard)) continue;
      if (!(this.#intents.get(shard) ?? []).some(({ lines }) => lines === 0)) return false;
    }
    // What is listed now needs no announcement any more.
    for (const [shard, intents] of this.#intents) {
      const seq = after.shards.get(shard)?.seq ?? -1;
      const open = intents.filter(({ t }) => t > seq);
      if (open.length > 0) this.#intents.set(shard, open);
      else this.#intents.delete(shard);
    }
    return true;
  }

  /** Remembers what a scan says beside its records. */
  #note(scan: SegmentScan): void {
    if (scan.batches > 0) this.#ending = scan.ending;
    groupInto(this.#intents, scan.intents);
  }

  #apply(record: FollowedRecord): void {
    if (record.operation === 'clear') {
      for (const entries of this.#shards.values()) entries.clear();
      return;
    }
    const key = record.key as Key;
    const { shard, text } = record;
    const entries = this.#entriesOf(shard);
    if (text === undefined) entries.delete(keyIdentity(key));
    // A copy of the text, so that the bytes that were read can go.
    else
      entries.set(keyIdentity(key), { key, shard, source: new OwnText(key, text), position: 0, length: 0, check: 0 });
  }

  #entriesOf(shard: number): Map<KeyIdentity, LoadedEntry> {
    let entries = this.#shards.get(shard);
    if (entries === undefined) {
      entries = new Map();
      this.#shards.set(shard, entries);
    }
    return entries;
  }

  #reach(place: Place): void {
    this.#place = place;
    const last = this.#places[this.#places.length - 1];
    if (last?.end.s === place.end.s && last.segment === place.segment) return;
    this.#places.push(place);
    if (this.#places.length > POSITIONS_MAX) this.#places.shift();
  }

  /** The first bytes of the manifest; undefined where there is none. */
  #readHead(): Buffer | undefined {
    const { fs } = this.#system;
    const path = join(this.path, MANIFEST_NAME);
    return disk(this.path, `read ${MANIFEST_NAME}`, () => {
      if (fs.stat(path)?.isFile !== true) return undefined;
      const fd = fs.open(path, 'r');
      try {
        return readRange(fs, fd, 0, HEAD_BYTES);
      } finally {
        fs.close(fd);
      }
    });
  }
}

/** The texts of one entry. */
class OwnText implements TextSource {
  readonly #key: Key;
  readonly #text: string;

  constructor(key: Key, text: string) {
    this.#key = key;
    this.#text = text;
  }

  keyTextAt(): string {
    return keyText(this.#key);
  }

  textAt(): string {
    return this.#text;
  }
}
