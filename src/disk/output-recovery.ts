/**
 * The files of outputs when a folder is opened, and when it is looked at: each must begin with what the manifest lists, and goes on with what
 * the log holds since.
 *
 * Only what the manifest lists is damage when it is missing. Behind it stand lines that the log has too, whole or torn by a power cut; they
 * are written again. Anything else that stands there goes into quarantine before it is cut off.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import { closeQuietly, disk, readRange, writeAll } from './files.ts';
import type { FileSystem } from './fs.ts';
import type { Manifest, OutputContent } from './manifest.ts';
import { stagedOutputName } from './names.ts';
import { type OutputRecord, outputLine } from './output-log.ts';
import { type FoundOutput, tailCrc } from './outputs.ts';

/** A file as it must become. */
interface ExpectedOutput {
  readonly name: string;
  readonly listed: OutputContent;
  /** What the log holds since. */
  readonly rest: Buffer;
  /** Where it lies now; undefined where an empty one has to be made. */
  readonly place: string | undefined;
}

/** What the log holds of each output beyond what the manifest lists. */
export function restOfOutputs(
  manifest: Pick<Manifest, 'outputs'>,
  records: readonly OutputRecord[],
): Map<string, Buffer> {
  const lines = new Map<string, Buffer[]>([...(manifest.outputs ?? [])].map(([name]) => [name, []]));
  for (const record of records) {
    const seq = manifest.outputs?.get(record.name)?.seq ?? Number.POSITIVE_INFINITY;
    if (record.s > seq) lines.get(record.name)?.push(outputLine(record));
  }
  return new Map([...lines].map(([name, each]) => [name, Buffer.concat(each)]));
}

/**
 * Looks for the file of each output. Changes nothing.
 *
 * @throws {PodError} `ERR_POD_CORRUPT` where a file is missing, shorter than what is listed, or ends otherwise there
 */
export function findOutputs(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  records: readonly OutputRecord[],
): ExpectedOutput[] {
  const rests = restOfOutputs(manifest, records);
  return [...(manifest.outputs ?? [])].map(([name, listed]) => {
    const places = [name, stagedOutputName(name, manifest.generation)];
    const place = places.find((each) => beginsAs(fs, folder, each, listed));
    if (place === undefined && (listed.bytes > 0 || isThere(fs, folder, name))) throw damaged(fs, folder, name, listed);
    return { name, listed, rest: rests.get(name) as Buffer, place };
  });
}

/** Whether a file is as long as what is listed, at least, and its end is right there. */
function beginsAs(fs: FileSystem, folder: string, name: string, listed: OutputContent): boolean {
  const path = join(folder, name);
  return disk(folder, `read ${name}`, () => {
    const stat = fs.stat(path);
    if (stat?.isFile !== true || stat.size < listed.bytes) return false;
    const fd = fs.open(path, 'r');
    try {
      return tailCrc(fs, fd, listed.bytes) === listed.tail;
    } finally {
      fs.close(fd);
    }
  });
}

function isThere(fs: FileSystem, folder: string, name: string): boolean {
  return disk(folder, `look at ${name}`, () => fs.stat(join(folder, name))) !== undefined;
}

function damaged(fs: FileSystem, folder: string, name: string, { bytes }: OutputContent): PodError {
  const stat = disk(folder, `look at ${name}`, () => fs.stat(join(folder, name)));
  const why =
    stat === undefined
      ? `which should hold ${bytes} bytes, is missing`
      : stat.size < bytes
        ? `has ${stat.size} bytes and should have ${bytes} at least`
        : 'does not match its checksum';
  return new PodError(
    'ERR_POD_CORRUPT',
    `${folder}: the output ${name} ${why}. Nothing was changed. Put it back as it was; or, if you changed or took it away on purpose, run: ` +
      `everpod accept ${folder}`,
    { path: folder, file: name },
  );
}

/**
 * Makes the files what they must be. The log must be durable by then, because a file never runs ahead of it.
 *
 * @param keep puts bytes that nothing explains into quarantine
 */
export function settleOutputs(
  fs: FileSystem,
  folder: string,
  expected: readonly ExpectedOutput[],
  keep: (name: string, bytes: Uint8Array) => void,
): FoundOutput[] {
  return expected.map((output) => settle(fs, folder, output, keep));
}

function settle(
  fs: FileSystem,
  folder: string,
  { name, listed, rest, place }: ExpectedOutput,
  keep: (name: string, bytes: Uint8Array) => void,
): FoundOutput {
  const path = join(folder, name);
  const bytes = listed.bytes + rest.length;
  const crc = crc32(rest, Number.parseInt(listed.crc, 16));
  disk(folder, `write ${name}`, () => {
    if (place !== undefined && place !== name) fs.rename(join(folder, place), path);
    const fd = fs.open(path, place === undefined ? 'wx' : 'r+');
    try {
      const { size } = fs.fstat(fd);
      const there = readRange(fs, fd, listed.bytes, size - listed.bytes);
      const common = commonLength(there, rest);
      if (common < there.length) {
        keep(`${name}.tail`, there.subarray(common));
        fs.truncate(fd, listed.bytes + common);
      }
      // All of it, also what is there: a failed fsync in the last life may have left pages that look clean and are not.
      if (rest.length > 0) writeAll(fs, fd, rest, listed.bytes);
    } finally {
      closeQuietly(fs, fd);
    }
  });
  return { name, listed, bytes, crc };
}

function commonLength(a: Buffer, b: Buffer): number {
  const length = Math.min(a.length, b.length);
  if (a.compare(b, 0, length, 0, length) === 0) return length;
  let index = 0;
  while (a[index] === b[index]) index++;
  return index;
}

/**
 * Reads what is listed of every output, and what stands behind it.
 *
 * @throws {PodError} `ERR_POD_CORRUPT`
 */
export function checkOutputs(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  records: readonly OutputRecord[],
): void {
  for (const { name, listed, rest, place } of findOutputs(fs, folder, manifest, records)) {
    if (place === undefined) continue;
    disk(folder, `read ${place}`, () => {
      const fd = fs.open(join(folder, place), 'r');
      try {
        if (crcOfRange(fs, fd, listed.bytes) !== Number.parseInt(listed.crc, 16)) {
          throw damaged(fs, folder, name, listed);
        }
        // Beside a writer the file may have more than the log that was read a moment ago.
        const there = readRange(fs, fd, listed.bytes, rest.length);
        if (commonLength(there, rest) < there.length) throw damaged(fs, folder, name, listed);
      } finally {
        closeQuietly(fs, fd);
      }
    });
  }
}

/** Reads are this large. */
const CHUNK_BYTES = 1 << 22;

/** The checksum of the first so many bytes. */
export function crcOfRange(fs: FileSystem, fd: number, length: number, onChunk?: (bytes: Buffer) => void): number {
  let crc = 0;
  for (let at = 0; at < length; at += CHUNK_BYTES) {
    const bytes = readRange(fs, fd, at, Math.min(CHUNK_BYTES, length - at));
    crc = crc32(bytes, crc);
    onChunk?.(bytes);
  }
  return crc;
}
