/**
 * The files of outputs where a person repairs a folder or accepts what was edited: the files are taken as they are, and nothing that the
 * log holds is written into one that was changed.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { closeQuietly, disk, hex8, readRange, writeAll } from './files.ts';
import type { FileSystem } from './fs.ts';
import { NEWLINE } from './log-format.ts';
import type { Manifest, OutputContent } from './manifest.ts';
import { stagedOutputName } from './names.ts';
import type { OutputRecord } from './output-log.ts';
import { crcOfRange, restOfOutputs } from './output-recovery.ts';
import { EMPTY_OUTPUT, tailCrc } from './outputs.ts';

/** Puts bytes into quarantine. */
type Keep = (name: string, bytes: Uint8Array) => void;

/** Outputs with the files as they are now. */
interface AcceptedOutputs {
  /** For the manifest. */
  readonly contents: Map<string, OutputContent>;
  /** The files that are not what was listed. */
  readonly accepted: string[];
  /** Puts the lines into quarantine that are in the log alone, because they belong behind what is not there any more. */
  readonly keep: (quarantine: Keep) => void;
}

/**
 * Looks at the outputs as a person left them. What was edited is made durable, and its last line is ended where it is not.
 *
 * @throws {PodError} `ERR_POD_DISK`
 */
export function acceptOutputs(
  fs: FileSystem,
  folder: string,
  manifest: Manifest,
  records: readonly OutputRecord[],
): AcceptedOutputs {
  const rests = restOfOutputs(manifest, records);
  const last = Math.max(0, ...records.map(({ s }) => s));
  const contents = new Map(manifest.outputs);
  const accepted: string[] = [];
  for (const [name, listed] of manifest.outputs ?? []) {
    // One that is staged still is as it was written.
    if (isListed(fs, folder, name, listed) || isStaged(fs, folder, manifest, name)) continue;
    endLastLine(fs, folder, name);
    contents.set(name, { ...(measure(fs, folder, name) ?? EMPTY_OUTPUT), seq: Math.max(last, listed.seq) });
    accepted.push(name);
  }
  return {
    contents,
    accepted,
    keep: (quarantine) => {
      for (const name of accepted) {
        const rest = rests.get(name) ?? Buffer.alloc(0);
        if (rest.length > 0) quarantine(`${name}.lines`, rest);
      }
    },
  };
}

/**
 * The outputs of a folder that is written anew, with an empty log. A file that begins as it should gets what the log holds; of one that does
 * not, both stay: the file where it is, and those lines in quarantine.
 *
 * @returns what the new manifest lists
 */
export function salvageOutputs(
  fs: FileSystem,
  folder: string,
  manifest: Manifest | undefined,
  records: readonly OutputRecord[],
  keep: Keep,
): Map<string, OutputContent> {
  // Without a manifest nobody knows where in their files the lines of the log belong.
  const known = manifest ?? { outputs: new Map(records.map(({ name }) => [name, EMPTY_OUTPUT])) };
  const rests = restOfOutputs(known, records);
  const contents = new Map<string, OutputContent>();
  for (const [name, listed] of known.outputs ?? []) {
    if (manifest !== undefined && isStaged(fs, folder, manifest, name) && !isListed(fs, folder, name, listed)) {
      const staged = stagedOutputName(name, manifest.generation);
      disk(folder, `rename ${staged}`, () => fs.rename(join(folder, staged), join(folder, name)));
    }
    const rest = rests.get(name) ?? Buffer.alloc(0);
    const isWhole = manifest !== undefined && isListed(fs, folder, name, listed);
    if (isWhole) append(fs, folder, name, listed.bytes, rest, keep);
    else if (rest.length > 0) keep(`${name}.lines`, rest);
    contents.set(name, { ...(measure(fs, folder, name) ?? EMPTY_OUTPUT), seq: 0 });
  }
  return contents;
}

/** Whether a file begins with what is listed; where nothing is, none need be there. */
function isListed(fs: FileSystem, folder: string, name: string, { bytes, crc }: OutputContent): boolean {
  const path = join(folder, name);
  const stat = disk(folder, `look at ${name}`, () => fs.stat(path));
  if (stat === undefined) return bytes === 0;
  if (!stat.isFile || stat.size < bytes) return false;
  return withFile(fs, folder, name, (fd) => hex8(crcOfRange(fs, fd, bytes)) === crc);
}

function isStaged(fs: FileSystem, folder: string, manifest: Manifest, name: string): boolean {
  const listed = manifest.outputs?.get(name) ?? EMPTY_OUTPUT;
  const staged = stagedOutputName(name, manifest.generation);
  return (
    disk(folder, `look at ${staged}`, () => fs.stat(join(folder, staged))) !== undefined &&
    isListed(fs, folder, staged, listed)
  );
}

/** What is appended later must not become a part of a line that was cut. */
function endLastLine(fs: FileSystem, folder: string, name: string): void {
  const path = join(folder, name);
  disk(folder, `append to ${name}`, () => {
    const size = fs.stat(path)?.size ?? 0;
    if (size === 0) return;
    const fd = fs.open(path, 'r+');
    try {
      if (readRange(fs, fd, size - 1, 1)[0] !== NEWLINE) writeAll(fs, fd, Buffer.from('\n'), size);
    } finally {
      closeQuietly(fs, fd);
    }
  });
}

/** All of a file, made durable; undefined where there is none. */
function measure(fs: FileSystem, folder: string, name: string): Omit<OutputContent, 'seq'> | undefined {
  if (disk(folder, `look at ${name}`, () => fs.stat(join(folder, name)))?.isFile !== true) return undefined;
  return withFile(fs, folder, name, (fd) => {
    fs.fsync(fd);
    const { size } = fs.fstat(fd);
    return { bytes: size, crc: hex8(crcOfRange(fs, fd, size)), tail: tailCrc(fs, fd, size) };
  });
}

function withFile<R>(fs: FileSystem, folder: string, name: string, look: (fd: number) => R): R {
  return disk(folder, `read ${name}`, () => {
    const fd = fs.open(join(folder, name), 'r');
    try {
      return look(fd);
    } finally {
      closeQuietly(fs, fd);
    }
  });
}

/** Puts what the log holds in its place, and what stands there instead into quarantine. */
function append(fs: FileSystem, folder: string, name: string, at: number, rest: Buffer, keep: Keep): void {
  disk(folder, `append to ${name}`, () => {
    const path = join(folder, name);
    const fd = fs.open(path, fs.stat(path) === undefined ? 'wx' : 'r+');
    try {
      const { size } = fs.fstat(fd);
      const there = readRange(fs, fd, at, size - at);
      if (!rest.subarray(0, there.length).equals(there)) keep(`${name}.tail`, there);
      fs.truncate(fd, at);
      writeAll(fs, fd, rest, at);
    } finally {
      closeQuietly(fs, fd);
    }
  });
}
