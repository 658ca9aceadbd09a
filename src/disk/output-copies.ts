/**
 * The files of outputs in a copy of a folder: written under staged names, and given their own once a manifest lists them, as shards are.
 */
import type { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import { closeQuietly, disk, hex8, writeAll } from './files.ts';
import type { FileSystem } from './fs.ts';
import { type Manifest, type OutputContent, removeQuietly } from './manifest.ts';
import { stagedOutputName } from './names.ts';
import type { OutputRecord } from './output-log.ts';
import { crcOfRange, findOutputs } from './output-recovery.ts';
import { tailCrc } from './outputs.ts';

/** What a copy of an output is made of: the beginning of a file, which never changes while it grows, and what comes behind it. */
export interface OutputSource {
  readonly name: string;
  /** The path of the file. */
  readonly from: string;
  readonly bytes: number;
  /** Of these bytes. */
  readonly crc: number;
  readonly rest: Buffer;
}

/**
 * What the outputs of a folder are, for a reader.
 *
 * @throws {PodError} `ERR_POD_CORRUPT`
 */
export function outputSources(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  records: readonly OutputRecord[],
): OutputSource[] {
  return findOutputs(fs, folder, manifest, records).map(({ name, listed: { bytes, crc }, rest, place }) => ({
    name,
    from: join(folder, place ?? name),
    bytes,
    crc: Number.parseInt(crc, 16),
    rest,
  }));
}

/**
 * Writes copies under staged names, durably.
 *
 * @returns what the manifest is to list, with records counted from `seq`
 * @throws {PodError} `ERR_POD_CORRUPT` where a file is not what it should be, `ERR_POD_DISK`; what was written is removed
 */
export function stageOutputs(
  fs: FileSystem,
  folder: string,
  sources: readonly OutputSource[],
  generation: number,
): Map<string, OutputContent> {
  const contents = new Map<string, OutputContent>();
  try {
    for (const source of sources) contents.set(source.name, stage(fs, folder, source, generation));
    return contents;
  } catch (error) {
    unstageOutputs(fs, folder, contents.keys(), generation);
    throw error;
  }
}

function stage(fs: FileSystem, folder: string, source: OutputSource, generation: number): OutputContent {
  const path = join(folder, stagedOutputName(source.name, generation));
  return disk(folder, `write ${source.name}`, () => {
    const fd = fs.open(path, 'wx');
    try {
      const crc = copyBeginning(fs, source, fd);
      writeAll(fs, fd, source.rest, source.bytes);
      fs.fsync(fd);
      const bytes = source.bytes + source.rest.length;
      return { bytes, crc: hex8(crc32(source.rest, crc)), tail: tailCrc(fs, fd, bytes), seq: 0 };
    } catch (error) {
      removeQuietly(fs, path);
      throw error;
    } finally {
      closeQuietly(fs, fd);
    }
  });
}

/** Copies what is in the file already. Returns its checksum, which must be the right one. */
function copyBeginning(fs: FileSystem, { from, bytes, crc }: OutputSource, to: number): number {
  if (bytes === 0) return 0;
  const fd = fs.open(from, 'r');
  try {
    let done = 0;
    const found = crcOfRange(fs, fd, bytes, (chunk) => {
      writeAll(fs, to, chunk, done);
      done += chunk.length;
    });
    if (found === crc) return crc;
    throw new PodError('ERR_POD_CORRUPT', `${from} does not match its checksum, so it was not copied.`, { file: from });
  } finally {
    closeQuietly(fs, fd);
  }
}

/** Removes staged outputs that nothing lists. */
export function unstageOutputs(fs: FileSystem, folder: string, names: Iterable<string>, generation: number): void {
  for (const name of names) removeQuietly(fs, join(folder, stagedOutputName(name, generation)));
}

/** A staged output counts under either name, so what cannot be renamed now is renamed by the next recovery. */
export function takeOutputName(fs: FileSystem, folder: string, name: string, generation: number): void {
  try {
    fs.rename(join(folder, stagedOutputName(name, generation)), join(folder, name));
  } catch {
    // See above.
  }
}

/** Copies a file as it is, durably, however large it is. */
export function copyFile(fs: FileSystem, from: string, folder: string, name: string): void {
  disk(folder, `write ${name}`, () => {
    const source = fs.open(from, 'r');
    try {
      const target = fs.open(join(folder, name), 'wx');
      try {
        let done = 0;
        crcOfRange(fs, source, fs.fstat(source).size, (chunk) => {
          writeAll(fs, target, chunk, done);
          done += chunk.length;
        });
        fs.fsync(target);
      } finally {
        closeQuietly(fs, target);
      }
    } finally {
      closeQuietly(fs, source);
    }
  });
}
