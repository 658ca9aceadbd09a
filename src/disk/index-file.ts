/**
 * The saved index, `index.bin`: the rows of a large pod, so that opening it reads the manifest, this file and the log, and no shard.
 *
 * It is a copy of what the shards and the log say, and never counts against them. It fits when its checksum is right, when the log leads through the
 * batches between which it was taken, and when every shard is listed as it was then and its file has not been touched since; otherwise
 * it is left alone and everything is read. It is written while the pod is at work, so it may show some rows later than others: what
 * changed while it was written is in the log behind its first mark, and applying that twice does no harm (Mohan et al., ARIES,
 * 1992, fuzzy checkpoints). So buckets come before rows (`Rows.image`). Nothing waits for it to be durable, because a torn one is recognised.
 */
import type { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import * as z from 'zod';
import { type Key, type KeyIdentity, keyIdentity, parseKey } from '../core/key.ts';
import type { BucketImage } from '../core/key-index.ts';
import { Rows } from '../core/rows.ts';
import { readFile } from './files.ts';
import type { FileStat, FileSystem } from './fs.ts';
import { type DataRecord, type LogMark, loggedLine, type SegmentScan } from './log-reader.ts';
import type { Manifest } from './manifest.ts';
import { INDEX_NAME, shardName } from './names.ts';
import type { Texts } from './texts.ts';

export const INDEX_FORMAT = 1;
/** Read as it was written only on a machine with the same order of bytes. */
export const BYTE_ORDER = 0x0102_0304;
/** The footer's length, the byte order, and the crc of all before it. */
const TRAILER_BYTES = 12;

/** A shard as the footer lists it: lines, bytes, crc and sequence as in the manifest; then what the file was: size, time, inode, device. */
type IndexedShard = [
  shard: number,
  lines: number,
  bytes: number,
  crc: string,
  seq: number,
  tastypy: boolean,
  size: number,
  mtimeMs: number,
  ino: number,
  dev: number,
];

/** What the file says at its end of what is before it. */
export interface IndexFooter {
  format: typeof INDEX_FORMAT;
  id: string;
  gen: number;
  begin: LogMark;
  end: LogMark;
  /** Of the hashes. */
  seed: number;
  slotEnd: number;
  buckets: number;
  /** Numbers of shards, with `true` where the keys are tastypy's; complements of numbers of segments. */
  sources: [number: number, tastypy: boolean][];
  shards: IndexedShard[];
}

const count = z.number().int().min(0);
const mark = z.strictObject({ s: count, crc: z.number().int() });
const footerSchema: z.ZodType<IndexFooter> = z.strictObject({
  format: z.literal(INDEX_FORMAT),
  id: z.string(),
  gen: count,
  begin: mark,
  end: mark,
  seed: z.number(),
  slotEnd: count,
  buckets: count,
  sources: z.array(z.tuple([z.number().int(), z.boolean()])),
  // There is one for each shard, so each is looked at once only: when it is compared with what there is (`shardsAsIndexed`).
  shards: z.custom<IndexedShard[]>((rows) => Array.isArray(rows) && rows.every(Array.isArray)),
});

/** A saved index whose checksum is right. */
export interface SavedIndex {
  /** The batches between which it was taken, which the log must lead through. */
  readonly begin: LogMark;
  readonly end: LogMark;
  readonly footer: IndexFooter;
  readonly bytes: Buffer;
}

/** Reads the saved index; undefined where there is none, or it is damaged, or belongs to another state of the folder. */
export function readIndex(fs: FileSystem, folder: string, manifest: Manifest): SavedIndex | undefined {
  let bytes: Buffer | undefined;
  try {
    if (fs.stat(join(folder, INDEX_NAME))?.isFile !== true) return undefined;
    bytes = readFile(fs, folder, INDEX_NAME);
  } catch {
    return undefined;
  }
  if (bytes === undefined || bytes.length < TRAILER_BYTES) return undefined;
  const trailer = bytes.length - TRAILER_BYTES;
  const length = bytes.readInt32LE(trailer);
  if (bytes.readInt32LE(trailer + 4) !== BYTE_ORDER || length < 0 || length > trailer) return undefined;
  if (crc32(bytes.subarray(0, trailer + 8)) !== bytes.readUInt32LE(trailer + 8)) return undefined;
  const footer = parseFooter(bytes.toString('utf8', trailer - length, trailer));
  if (footer === undefined) return undefined;
  if (footer.id !== manifest.id || footer.gen !== manifest.generation) return undefined;
  return { begin: footer.begin, end: footer.end, footer, bytes: bytes.subarray(0, trailer - length) };
}

/** The checksum says that it is ours; it may still be of another version. */
function parseFooter(text: string): IndexFooter | undefined {
  try {
    return footerSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Whether every shard is listed as it was when the index was written, and its file has not been touched since. */
export function shardsAsIndexed(
  fs: Pick<FileSystem, 'stat'>,
  folder: string,
  manifest: Manifest,
  { footer }: SavedIndex,
): ReadonlyMap<number, FileStat> | undefined {
  if (footer.shards.length !== manifest.shards.size) return undefined;
  const stats = new Map<number, FileStat>();
  for (const [shard, lines, bytes, crc, seq, tastypy, size, mtimeMs, ino, dev] of footer.shards) {
    const listed = manifest.shards.get(shard);
    if (listed === undefined || listed.lines !== lines || listed.bytes !== bytes || listed.crc !== crc)
      return undefined;
    if (listed.seq !== seq || listed.tastypy !== tastypy) return undefined;
    const stat = fs.stat(join(folder, shardName(shard, manifest.gzip)));
    if (stat === undefined || stat.size !== size || stat.mtimeMs !== mtimeMs || stat.ino !== ino || stat.dev !== dev) {
      return undefined;
    }
    stats.set(shard, stat);
  }
  return stats;
}

/** Whether a fold or a `clear` in the log says that lines do not lie where they lay when the index was written. */
export function isDisturbed({ intents, records }: SegmentScan, since: number): boolean {
  return intents.some(({ s }) => s > since) || records.some(({ operation }) => operation === 'clear');
}

/** The rows of a saved index; undefined where they do not hold together. */
export function indexedRows<V, K extends Key>({ footer, bytes }: SavedIndex, texts: Texts): Rows<V, K> | undefined {
  const numbers = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  // Counts that cannot be are not worth looking for.
  if (footer.slotEnd > numbers.length || footer.buckets > numbers.length) return undefined;
  let at = 0;
  const buckets: BucketImage[] = [];
  for (let bucket = 0; bucket < footer.buckets; bucket++) {
    const depth = numbers[at] as number;
    const length = numbers[at + 1] as number;
    buckets.push({ depth, cells: numbers.subarray(at + 2, at + 2 + length) });
    at += 2 + length;
  }
  const chunks: Int32Array[] = [];
  for (const length of Rows.chunkLengths(footer.slotEnd)) {
    chunks.push(numbers.subarray(at, at + length));
    at += length;
  }
  if (at !== numbers.length) return undefined;
  const sources = footer.sources.map(([number, tastypy]) =>
    number < 0 ? texts.segment(~number) : texts.shard(number, tastypy),
  );
  const { seed, slotEnd } = footer;
  const chunkAt = (number: number): Int32Array => chunks[number] as Int32Array;
  return Rows.from({ seed, slotEnd, buckets, sources, chunkAt }, footer.begin.s === footer.end.s);
}

/** Undefined where the text is no key; who reads everything says where. */
function identityIn(text: string): KeyIdentity | undefined {
  try {
    return keyIdentity(parseKey(text));
  } catch {
    return undefined;
  }
}

/**
 * Applies one record behind the index to its rows. Returns false where it does not fit in, which only means that the shards have to be read.
 */
export function applyToRows<V, K extends Key>(
  rows: Rows<V, K>,
  texts: Texts,
  segment: number,
  record: DataRecord,
): boolean {
  const { bytes, keyStart, keyEnd, shard } = record;
  const identity = identityIn(bytes.toString('utf8', keyStart, keyEnd));
  if (identity === undefined) return false;
  let slot = rows.find(identity);
  if (slot >= 0 && rows.shardOf(slot) !== shard) return false;
  if (record.operation === 'del') {
    if (slot >= 0) rows.kill(slot, identity);
    return true;
  }
  if (slot < 0) {
    // A new key goes to the end; anywhere else it would have to go between rows that are there.
    if (shard < rows.tail) return false;
    slot = rows.push(identity, shard, rows.slotEnd);
  }
  const { position, length, check } = loggedLine(record);
  rows.setPlace(slot, texts.segment(segment), position, length, check);
  rows.setState(slot, -1);
  return true;
}
