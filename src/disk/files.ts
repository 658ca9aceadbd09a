/**
 * Whole-file reads, complete writes, checksums, and the translation of the system's errors into ours.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import type { FileSystem, ReadableFiles } from './fs.ts';

/** A single read or write call takes at most this much; the system's own limit is 2 GiB. */
const CALL_BYTES_MAX = 1 << 30;

/** The checksum as it stands in files: eight hexadecimal digits. */
export function crcText(bytes: Uint8Array, seed: number = 0): string {
  return hex8(crc32(bytes, seed));
}

export function hex8(value: number): string {
  return value.toString(16).padStart(8, '0');
}

/** Reads a file whole, or undefined where it does not exist. */
export function readFile(fs: ReadableFiles, folder: string, name: string): Buffer | undefined {
  const path = join(folder, name);
  return disk(folder, `read ${name}`, () => {
    let fd: number;
    try {
      fd = fs.open(path, 'r');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    try {
      return readRange(fs, fd, 0, fs.fstat(fd).size);
    } finally {
      fs.close(fd);
    }
  });
}

/** Reads `length` bytes from `position`, or as many as there are. */
export function readRange(fs: ReadableFiles, fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafeSlow(length);
  let done = 0;
  while (done < length) {
    const count = fs.read(fd, buffer, done, Math.min(length - done, CALL_BYTES_MAX), position + done);
    if (count === 0) break;
    done += count;
  }
  return done === length ? buffer : buffer.subarray(0, done);
}

/**
 * As `bytes.indexOf`, which in Node 20 answers with a negative number for every place beyond 2 GiB: the rest of a large shard would look
 * like one line.
 */
export function findByte(bytes: Buffer, byte: number, from: number): number {
  if (bytes.length <= INT32_MAX) return bytes.indexOf(byte, from);
  for (let start = from; start < bytes.length; start += INT32_MAX) {
    const found = bytes.subarray(start, start + INT32_MAX).indexOf(byte);
    if (found >= 0) return start + found;
  }
  return -1;
}

const INT32_MAX = 2 ** 31 - 1;

/** Writes all of `bytes` at `position`; a call may take only a part (reliability B1). */
export function writeAll(fs: FileSystem, fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.byteLength) {
    const count = fs.write(fd, bytes, done, Math.min(bytes.byteLength - done, CALL_BYTES_MAX), position + done);
    if (count === 0) throw Object.assign(new Error('ENOSPC: nothing more could be written'), { code: 'ENOSPC' });
    done += count;
  }
}

/** Runs a piece of disk work; whatever the system refuses becomes `ERR_POD_DISK` with the system's error as its cause. */
export function disk<R>(folder: string, what: string, work: () => R): R {
  try {
    return work();
  } catch (error) {
    throw diskError(folder, what, error);
  }
}

export function diskError(folder: string, what: string, cause: unknown): unknown {
  if (cause instanceof PodError || errorCode(cause) === undefined) return cause;
  const code = errorCode(cause);
  const advice: Record<string, string> = {
    ENOSPC: 'The disk is full: free some space and sync again.',
    EDQUOT: 'The disk quota is used up: free some space and sync again.',
    EACCES: 'Permission was denied: check who owns the folder.',
    EPERM: 'Permission was denied: check who owns the folder.',
    EROFS: 'The file system is read-only.',
    EMFILE: 'Too many files are open: close some, or raise the limit.',
    ENFILE: 'Too many files are open on this machine.',
    ELOOP: 'It is a symbolic link, and nothing is written through one: put the file itself in its place.',
    EFBIG: 'The file would become larger than is allowed here.',
  };
  const hint =
    advice[code ?? ''] ?? 'What an open pod has in memory is still there; try again when the system allows it.';
  return new PodError('ERR_POD_DISK', `Could not ${what} in ${folder} (${code}). ${hint}`, {
    path: folder,
    cause,
    info: { systemCode: code },
  });
}

/** What ENOTDIR means for the path of a pod. */
export function belowFileError(path: string, cause: unknown): PodError {
  return new PodError('ERR_POD_NOT_FOLDER', `${path} cannot be a pod: a part of the path is a file, not a folder.`, {
    path,
    cause,
  });
}

/** The `code` of a system error, if it is one. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  return typeof code === 'string' && (syscall !== undefined || /^E[A-Z0-9]+$/.test(code)) ? code : undefined;
}

/** An error as the system's calls throw them. */
export function systemError(code: string, syscall: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path });
}

/** Removes a file that may be gone already. */
export function removeFile(fs: FileSystem, folder: string, name: string): void {
  try {
    fs.unlink(join(folder, name));
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw diskError(folder, `remove ${name}`, error);
  }
}

/** A temporary file that cannot be removed now is removed by the next recovery. */
export function removeQuietly(fs: FileSystem, path: string): void {
  try {
    fs.unlink(path);
  } catch {
    // It may not exist, and the error that brought us here is the one to report.
  }
}

/** For descriptors of which nothing more is expected: the system gives them back even where `close` fails. */
export function closeQuietly(fs: ReadableFiles, fd: number): void {
  try {
    fs.close(fd);
  } catch {
    // See above.
  }
}
