/**
 * Making a pod's folder, and those above it, durably; and taking back what was made.
 */
import { dirname } from 'node:path';
import { PodError } from '../core/errors.ts';
import { disk, diskError, errorCode } from './files.ts';
import type { FileSystem } from './fs.ts';

/** Creates a folder and those above it, durably. Returns what it made, the topmost first. */
export function makeFolder(fs: FileSystem, path: string): string[] {
  const missing: string[] = [];
  const made: string[] = [];
  let existing = path;
  try {
    for (let stat = fs.stat(existing); stat === undefined; stat = fs.stat(existing)) {
      missing.unshift(existing);
      existing = dirname(existing);
    }
    if (fs.stat(existing)?.isFolder !== true) throw notFolder(path, existing);
    for (const folder of missing) {
      if (tryMakeFolder(fs, folder)) made.push(folder);
      fs.fsyncFolder(dirname(folder));
    }
  } catch (error) {
    for (const folder of made.reverse()) removeFolderQuietly(fs, folder);
    if (errorCode(error) === 'ENOTDIR') throw notFolder(path, path);
    throw diskError(path, 'create the folder', error);
  }
  return made;
}

/** Makes a folder; false where somebody else has made it since we looked. */
function tryMakeFolder(fs: FileSystem, folder: string): boolean {
  try {
    fs.mkdir(folder);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Makes a folder, or takes one that is empty. Returns what removes the folders it made, as far as nothing is in them.
 *
 * @param isVacant whether a folder with these files in it will do
 * @throws {PodError} `ERR_POD_OPTIONS` where the folder holds something, `ERR_POD_NOT_FOLDER`, `ERR_POD_DISK`
 */
export function makeEmptyFolder(
  fs: FileSystem,
  path: string,
  isVacant: (names: readonly string[]) => boolean = (names) => names.length === 0,
): () => void {
  const made = makeFolder(fs, path);
  const undo = (): void => {
    for (const folder of made.reverse()) removeFolderQuietly(fs, folder);
  };
  try {
    if (isVacant(disk(path, 'list the folder', () => fs.readdir(path)))) return undo;
  } catch (error) {
    undo();
    throw error;
  }
  throw new PodError('ERR_POD_OPTIONS', `${path} is not empty; what is written there needs a folder of its own.`, {
    path,
    info: { option: 'path' },
  });
}

function notFolder(path: string, file: string): PodError {
  return new PodError('ERR_POD_NOT_FOLDER', `${path} cannot be a pod: ${file} is a file, and a pod is a folder.`, {
    path,
  });
}

/** Removes a folder, if nothing is in it. */
export function removeFolderQuietly(fs: FileSystem, folder: string): void {
  try {
    fs.rmdir(folder);
  } catch {
    // Somebody put something into it meanwhile: then it is theirs.
  }
}
