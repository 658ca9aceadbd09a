/**
 * The manifest, `pod.json`: the one list of what counts in the folder, and how it is replaced.
 *
 * ```
 * {"crc":"8eccba19","pod":{"format":1,…,"shards":{
 * "0":[3,50,"0a4ff572",1180],
 * "4":[1,11,"01aa22bb",1201]}}}
 * ```
 * The checksum covers the bytes after `"pod":` up to the last brace. The format is described in `docs/format.md`.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import * as z from 'zod';
import { PodError } from '../core/errors.ts';
import { crcText, disk, readFile, removeQuietly } from './files.ts';
import type { FileSystem } from './fs.ts';
import { isOutputName, MANIFEST_NAME, temporaryName } from './names.ts';

/** The newest format this version reads. What has no outputs is written in the first one, which every version reads. */
const FORMAT = 2;

/** No record and no epoch gets this far; a number beyond could not be counted up from. */
export const COUNT_MAX: number = 2 ** 52;
/** File names hold nine digits for a segment's number and for a generation; this leaves room to go on. */
export const NAMED_MAX = 500_000_000;

/** What the manifest or a log record says about the content of one shard. */
export interface ShardContent {
  readonly lines: number;
  /** Of the uncompressed text. */
  readonly bytes: number;
  /** Of the uncompressed text. */
  readonly crc: string;
  /** The highest record that the content contains. */
  readonly seq: number;
  /** Keys are written as tastypy did, with every backslash doubled. */
  readonly tastypy: boolean;
}

/** Bytes of all shards' texts. */
export function shardBytesOf(shards: ReadonlyMap<number, ShardContent>): number {
  let sum = 0;
  for (const { bytes } of shards.values()) sum += bytes;
  return sum;
}

/** What the manifest says about a file of outputs: its beginning, to which the log holds what came since. */
export interface OutputContent {
  readonly bytes: number;
  /** Of these bytes. */
  readonly crc: string;
  /** Of the last of them, at most 65,536. */
  readonly tail: string;
  /** The highest record that they contain. */
  readonly seq: number;
}

/** One log segment: its number and the number of the record before its first. */
export type SegmentRef = readonly [segment: number, base: number];

/** Facts about the entries that belong to the folder as a whole. */
export interface FolderMeta {
  /** Entries are tasks. */
  readonly tracker?: boolean | undefined;
  readonly maxTries?: number | undefined;
}

export interface Manifest {
  readonly id: string;
  /** Goes up with each write of the manifest. */
  readonly epoch: number;
  /** Goes up with each compaction. */
  readonly generation: number;
  readonly fileSize: number;
  readonly gzip: boolean;
  readonly meta: FolderMeta;
  /** Ascending; the last one is being written. */
  readonly segments: readonly SegmentRef[];
  /** Checksums of the shards that the last compaction gave up. */
  readonly dropped: ReadonlyMap<number, string>;
  readonly shards: ReadonlyMap<number, ShardContent>;
  /** The files of outputs, by name. */
  readonly outputs?: ReadonlyMap<string, OutputContent> | undefined;
}

const count = z.number().int().min(0).max(COUNT_MAX);
const SHARD_NUMBER = /^(0|[1-9]\d{0,8})$/;
const HEX8 = /^[0-9a-f]{8}$/;
const crc = z.string().regex(HEX8);
/** All but the list of shards. */
const schema = z.strictObject({
  format: z.literal([1, FORMAT]),
  id: z.string().regex(HEX8),
  epoch: count,
  gen: z.number().int().min(0).max(NAMED_MAX),
  fileSize: z.number().int().min(1).max(1_000_000_000),
  gzip: z.boolean(),
  meta: z.strictObject({ tracker: z.boolean().optional(), maxTries: count.optional() }).optional(),
  wal: z.array(z.tuple([z.number().int().min(1).max(NAMED_MAX), count])).min(1),
  drop: z.record(z.string().regex(SHARD_NUMBER), crc),
  out: z.record(z.string().refine(isOutputName), z.tuple([count, crc, crc, count])).optional(),
});

/**
 * The manifest of a folder; undefined where there is none.
 *
 * @throws {PodError} as `parseManifest`
 */
export function readManifest(fs: FileSystem, folder: string): Manifest | undefined {
  const bytes = readFile(fs, folder, MANIFEST_NAME);
  return bytes && parseManifest(folder, bytes);
}

/**
 * Reads a manifest's bytes.
 *
 * @throws {PodError} `ERR_POD_CORRUPT` where they are damaged, `ERR_POD_FORMAT` where a newer version wrote them
 */
export function parseManifest(folder: string, bytes: Buffer): Manifest {
  const corrupt = (why: string, cause?: unknown): PodError =>
    new PodError(
      'ERR_POD_CORRUPT',
      `${folder}: pod.json is damaged (${why}). Nothing was changed. Restore it from a backup, or run: everpod repair ${folder}`,
      { path: folder, file: MANIFEST_NAME, cause },
    );
  let text: string;
  try {
    text = bytes.toString('utf8').trimEnd();
  } catch (error) {
    throw corrupt('it is too long', error);
  }
  const head = /^\{"crc":"([0-9a-f]{8})","pod":/.exec(text);
  if (head === null || !text.endsWith('}')) throw corrupt('it does not look like one');
  const body = text.slice(head[0].length, -1);
  if (crcText(Buffer.from(body, 'utf8')) !== head[1]) throw corrupt('its checksum does not match');
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch (error) {
    throw corrupt('it is not JSON', error);
  }
  const format = (parsed as { format?: unknown } | null)?.format;
  if (typeof format === 'number' && format > FORMAT) {
    throw new PodError(
      'ERR_POD_FORMAT',
      `${folder} was written in format ${format}; this version of everpod reads up to ${FORMAT}. Update everpod. Nothing was changed.`,
      { path: folder, file: MANIFEST_NAME, info: { found: format, supported: FORMAT } },
    );
  }
  const { shards: rows, ...rest } = Object(parsed) as { shards?: unknown };
  const result = schema.safeParse(rest);
  if (!result.success) throw corrupt(result.error.issues[0]?.message ?? 'unexpected content', result.error);
  const shards = toShards(rows);
  if (shards === undefined) throw corrupt('its list of shards is not one');
  // JSON.parse takes the last of two members with one name, and zod leaves `__proto__` out: what was not written by us is refused.
  if (body.includes('"__proto__"') || JSON.stringify(parsed) !== body.replaceAll('\n', '')) {
    throw corrupt('it is not in the form that everpod writes');
  }
  const pod = result.data;
  pod.wal.forEach(([segment, base], index) => {
    const before = pod.wal[index - 1];
    if (before !== undefined && (segment <= before[0] || base < before[1]))
      throw corrupt('its log segments are out of order');
  });
  return {
    id: pod.id,
    epoch: pod.epoch,
    generation: pod.gen,
    fileSize: pod.fileSize,
    gzip: pod.gzip,
    meta: pod.meta ?? {},
    segments: pod.wal,
    dropped: new Map(Object.entries(pod.drop).map(([shard, checksum]) => [Number(shard), checksum])),
    shards,
    ...(pod.out !== undefined && { outputs: new Map(Object.entries(pod.out).map(toOutput)) }),
  };
}

/**
 * The list of shards, or undefined where it is not one. Checked by hand because it grows with the pod: a manifest of 20,000 shards
 * takes 110 ms to read where zod checks it too, 62 ms so.
 */
function toShards(rows: unknown): Map<number, ShardContent> | undefined {
  if (typeof rows !== 'object' || rows === null || Array.isArray(rows)) return undefined;
  const shards = new Map<number, ShardContent>();
  for (const [shard, row] of Object.entries(rows as Record<string, unknown>)) {
    const content = SHARD_NUMBER.test(shard) ? toShard(row) : undefined;
    if (content === undefined) return undefined;
    shards.set(Number(shard), content);
  }
  return shards;
}

/**
 * `[lines, bytes, crc, seq]`; behind it perhaps the size of a gzipped file, which this version neither writes nor needs, and `"t"` where
 * tastypy wrote the keys.
 */
function toShard(row: unknown): ShardContent | undefined {
  if (!Array.isArray(row)) return undefined;
  const [lines, bytes, checksum, seq, ...more] = row as unknown[];
  if (!isCount(lines) || !isCount(bytes) || !isCount(seq)) return undefined;
  if (typeof checksum !== 'string' || !HEX8.test(checksum)) return undefined;
  const tastypy = more.at(-1) === 't';
  if (tastypy) more.pop();
  if (more.length > 1 || !more.every(isCount)) return undefined;
  return { lines, bytes, crc: checksum, seq, tastypy };
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= COUNT_MAX;
}

function toOutput([name, [bytes, crcOfAll, tail, seq]]: [string, [number, string, string, number]]): [
  string,
  OutputContent,
] {
  return [name, { bytes, crc: crcOfAll, tail, seq }];
}

/** The bytes of a manifest: one shard a line, so that people and `diff` can read it. */
function encodeManifest(manifest: Manifest): Buffer {
  const { id, epoch, generation, fileSize, gzip, meta, segments, dropped, shards } = manifest;
  const outputs = [...(manifest.outputs ?? [])].map(([name, { bytes, crc: all, tail, seq }]) => [
    name,
    [bytes, all, tail, seq],
  ]);
  const head = {
    format: outputs.length > 0 ? FORMAT : 1,
    id,
    epoch,
    gen: generation,
    fileSize,
    gzip,
    ...(Object.keys(meta).length > 0 && { meta }),
    wal: segments,
    drop: Object.fromEntries(dropped),
    ...(outputs.length > 0 && { out: Object.fromEntries(outputs) }),
  };
  const lines = [...shards]
    .sort(([a], [b]) => a - b)
    .map(([shard, content]) => {
      const { lines: lineCount, bytes, crc: checksum, seq, tastypy } = content;
      return `"${shard}":${JSON.stringify(tastypy ? [lineCount, bytes, checksum, seq, 't'] : [lineCount, bytes, checksum, seq])}`;
    });
  const body = `${JSON.stringify(head).slice(0, -1)},"shards":{${lines.length > 0 ? '\n' : ''}${lines.join(',\n')}}}`;
  return Buffer.from(`{"crc":"${crcText(Buffer.from(body, 'utf8'))}","pod":${body}}\n`, 'utf8');
}

/**
 * Operation M of the protocol: replaces the manifest. When it returns, the new list is durable, and only then may anything
 * that the old list needed be removed.
 */
export function replaceManifest(fs: FileSystem, folder: string, manifest: Manifest): void {
  disk(folder, 'replace pod.json', () => {
    const temporary = join(folder, temporaryName(MANIFEST_NAME));
    try {
      fs.stage(temporary, encodeManifest(manifest));
      // What the new manifest names must exist durably before the manifest does.
      fs.fsyncFolder(folder);
      fs.rename(temporary, join(folder, MANIFEST_NAME));
    } catch (error) {
      removeQuietly(fs, temporary);
      throw error;
    }
    fs.fsyncFolder(folder);
  });
}

/** Whether a manifest whose replacing failed half-way is on the disk after all, as far as anybody can tell. */
export function isManifestOnDisk(fs: FileSystem, folder: string, manifest: Manifest): boolean {
  try {
    const fd = fs.open(join(folder, MANIFEST_NAME), 'r');
    try {
      const head = new Uint8Array(256);
      const count = fs.read(fd, head, 0, head.length, 0);
      return Buffer.from(head.subarray(0, count)).toString('latin1').includes(`"epoch":${manifest.epoch},`);
    } finally {
      fs.close(fd);
    }
  } catch {
    return true; // Not knowing is as bad as knowing that it is there.
  }
}

export { removeQuietly };
