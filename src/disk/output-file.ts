/**
 * Writes a file that is no part of a pod, such as an export: beside its name first, and whole or not at all.
 */
import { basename, dirname, join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import { atExit } from './exit.ts';
import { closeQuietly, errorCode, removeQuietly, writeAll } from './files.ts';
import type { FileSystem } from './fs.ts';
import { MANIFEST_NAME, temporaryName } from './names.ts';

export interface OutputOptions {
  readonly gzip: boolean;
  /** A folder in which nothing may be written. */
  readonly pod: string;
}

/**
 * Writes texts, as UTF-8, into a file that has its name only when it is complete and on the disk. What was there under the name stays until
 * then. Where the process is ended by a signal, the unfinished file is removed; where it is killed, it stays under a name that begins with
 * `.export.`. The texts are taken one at a time, as the disk takes them.
 *
 * @param path an absolute path of a file, or a link to one, which stays a link; or nothing yet
 * @throws {PodError} `ERR_POD_DISK`; `ERR_POD_OPTIONS` where there is something else at the path, or its folder is that of a pod
 */
export async function writeOutputFile(
  fs: FileSystem,
  path: string,
  texts: Iterable<string>,
  { gzip, pod }: OutputOptions,
): Promise<void> {
  try {
    const target = targetOf(fs, path, pod);
    const temporary = join(dirname(target), temporaryName('export'));
    // Before there is anything to remove, so that no signal comes between.
    const stop = atExit(() => removeQuietly(fs, temporary));
    try {
      await writeDurably(fs, temporary, texts, gzip);
      fs.rename(temporary, target);
      fs.fsyncFolder(dirname(target));
    } catch (error) {
      removeQuietly(fs, temporary);
      throw error;
    } finally {
      stop();
    }
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    throw new PodError('ERR_POD_DISK', `${path} could not be written: ${(error as Error).message}.`, {
      file: path,
      cause: error,
      info: { systemCode: errorCode(error) },
    });
  }
}

async function writeDurably(fs: FileSystem, path: string, texts: Iterable<string>, gzip: boolean): Promise<void> {
  const fd = fs.open(path, 'wx');
  try {
    const sink = sinkOf(fs, fd);
    await (gzip ? pipeline(Readable.from(texts), createGzip(), sink) : pipeline(Readable.from(texts), sink));
    fs.fsync(fd);
  } catch (error) {
    closeQuietly(fs, fd);
    throw error;
  }
  fs.close(fd);
}

/** The file itself: a rename would put a file in the place of a link, of a pipe, or of a device. */
function targetOf(fs: FileSystem, path: string, pod: string): string {
  const stat = fs.stat(path);
  if (stat !== undefined && !stat.isFile) {
    const what = stat.isFolder ? 'is a folder' : 'is no ordinary file; write to the standard output and redirect it';
    throw new PodError('ERR_POD_OPTIONS', `${path} ${what}.`, { file: path, info: { option: 'out' } });
  }
  const target = stat === undefined ? join(fs.realpath(dirname(path)), basename(path)) : fs.realpath(path);
  const folder = dirname(target);
  // A pod has a manifest, but for one of tastypy.
  if (folder === fs.realpath(pod) || fs.stat(join(folder, MANIFEST_NAME)) !== undefined) {
    throw new PodError('ERR_POD_OPTIONS', `${path} would be in the folder of a pod, among its files.`, {
      file: path,
      info: { option: 'out' },
    });
  }
  return target;
}

function sinkOf(fs: FileSystem, fd: number): Writable {
  let position = 0;
  return new Writable({
    write: (bytes: Uint8Array, _encoding, done) => {
      try {
        writeAll(fs, fd, bytes, position);
        position += bytes.byteLength;
      } catch (error) {
        done(error as Error);
        return;
      }
      // Signals and timers get their turn between two pieces.
      setImmediate(done);
    },
  });
}
