/**
 * Copies a pod into another folder, whether or not a program has it open: read as a reader does, written under the lock of the new folder,
 * read back.
 *
 * The manifest comes last, so that until then the new folder is no pod; and what a copy that was killed has left is known by its
 * names, and makes way for the next one.
 */
import { dirname, join, relative, sep } from 'node:path';
import type { LoadedEntry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { keyText } from '../core/key.ts';
import type { Line } from '../core/line.ts';
import { COPY_GENERATION, COPY_SEGMENT, type CopyFacts, writeCopy } from './compact.ts';
import { belowFileError, disk, diskError, errorCode, removeFile, removeQuietly } from './files.ts';
import type { FileSystem } from './fs.ts';
import type { HeldLock } from './lock.ts';
import { scanSegment } from './log-reader.ts';
import { makeEmptyFolder } from './make-folder.ts';
import { classify, LOCK_NAME, MANIFEST_NAME } from './names.ts';
import { newPodId } from './random.ts';
import { type ReadFolder, readFolder, requireFolder } from './reader.ts';
import { checkEntries, verifyFolder } from './repair.ts';
import { fullShards, type ShardLines } from './stage.ts';
import type { System } from './system.ts';

/** What a long copy is at. Bytes are counted while it reads, entries after that. */
export type CopyStep = 'reading' | 'writing' | 'checking';

/** Told now and then how far a copy has got. */
export type OnCopyProgress = (step: CopyStep, done: number, total: number) => void;

/** What is different in the copy. */
export interface CopyChanges {
  readonly gzip?: boolean | undefined;
  readonly fileSize?: number | undefined;
}

/**
 * Writes a copy with an id of its own, full and without gaps, perhaps in another layout.
 *
 * @returns how many entries there are
 * @throws {PodError} `ERR_POD_OPTIONS` where the target holds something or lies in the source; `ERR_POD_CORRUPT` where the source is damaged;
 *   `ERR_POD_NOT_FOUND`, `ERR_POD_NOT_FOLDER`, `ERR_POD_LOCKED`, `ERR_POD_DISK`
 */
export function copyFolder(
  system: System,
  path: string,
  target: string,
  { gzip, fileSize }: CopyChanges,
  onProgress: OnCopyProgress,
): number {
  requireOutside(system.fs, path, target);
  const source = readSource(system, path, onProgress);
  const layout = { gzip: gzip ?? source.gzip, fileSize: fileSize ?? source.fileSize };
  const shards = fullShards(linesOf(source.entries), layout.fileSize);
  return intoVacantFolder(system, target, () => {
    writeChecked(
      system,
      target,
      shards,
      { id: newPodId(), meta: source.meta, outputs: source.outputs(), ...layout },
      source,
      onProgress,
    );
    return source.entries.length;
  });
}

/** Writes what was read, as it lies, and reads it back. */
export function writeSame(
  system: System,
  target: string,
  source: ReadFolder,
  id: string,
  onProgress: OnCopyProgress,
): void {
  const { fileSize, gzip, meta, outputs } = source;
  writeChecked(
    system,
    target,
    shardsOf(source.entries),
    { id, fileSize, gzip, meta, outputs: outputs() },
    source,
    onProgress,
  );
}

function writeChecked(
  system: System,
  target: string,
  shards: Iterable<ShardLines>,
  facts: CopyFacts,
  { entries: { length: total } }: ReadFolder,
  onProgress: OnCopyProgress,
): void {
  const { fs } = system;
  writeCopy(fs, target, shards, facts, (done) => onProgress('writing', done, total));
  // The shards have taken their names; they count without this, but a listing after a power cut is easier to read with it.
  disk(target, 'fsync the folder', () => fs.fsyncFolder(target));
  // And the name of the folder, which somebody may have made a moment ago.
  disk(target, 'fsync the folder above', () => fs.fsyncFolder(dirname(realPlace(fs, target))));
  onProgress('checking', 0, total);
  requireWhole(system, target, total);
}

/** @throws {PodError} `ERR_POD_CORRUPT` where what was written is not what can be read */
export function requireWhole(system: System, target: string, entries: number): void {
  const found = verifyFolder(system, target);
  if (found === entries) return;
  throw new PodError('ERR_POD_CORRUPT', `${target} was written with ${entries} entries and holds ${found}.`, {
    path: target,
  });
}

/**
 * Reads a pod as it is now, beside a writer if need be, and checks every key and value of it.
 *
 * @throws {PodError} as `readFolder`
 */
export function readSource(system: System, path: string, onProgress: OnCopyProgress): ReadFolder {
  const { fs } = system;
  requireFolder(system, path);
  const names = disk(path, 'list the folder', () => fs.readdir(path));
  const sizes = names
    .filter((name) => !['other', 'index'].includes(classify(name).kind))
    .map((name) => disk(path, `look at ${name}`, () => fs.stat(join(path, name)))?.size ?? 0);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  onProgress('reading', 0, bytes);
  const source = readFolder(system, path);
  checkEntries(path, source.entries);
  return source;
}

function* linesOf(entries: Iterable<LoadedEntry>): Generator<Line, void, undefined> {
  for (const { key, source, position, length, check } of entries) {
    yield { keyText: keyText(key), text: source.textAt(position, length, check) };
  }
}

/** Entries by the shards that they lie in. */
export function* shardsOf(entries: readonly LoadedEntry[]): Generator<ShardLines, void, undefined> {
  for (let from = 0, to = 0; from < entries.length; from = to) {
    const { shard } = entries[from] as LoadedEntry;
    while (to < entries.length && entries[to]?.shard === shard) to++;
    yield [shard, [...linesOf(entries.slice(from, to))]];
  }
}

// ---- The folder that is written to.

/**
 * Lets `work` fill a folder that is missing, empty, or left by a copy that was killed. It is locked meanwhile: nobody opens half a copy, and of two
 * copies one is refused. When `work` fails, nothing of it stays.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` where the folder holds something, `ERR_POD_LOCKED`, `ERR_POD_DISK`; what `work` throws
 */
export function intoVacantFolder<R>(system: System, path: string, work: () => R): R {
  const { fs } = system;
  const vacant = (names: readonly string[]): boolean => isVacant(fs, path, names);
  // Before the lock is put there, because somebody's folder is not to be touched; and again under it.
  const undo = makeEmptyFolder(fs, path, vacant);
  let lock: HeldLock | undefined;
  let isDone = false;
  try {
    lock = system.locks.acquire(path);
    makeEmptyFolder(fs, path, vacant);
    if (disk(path, 'list the folder', () => fs.readdir(path)).some((name) => !isLockFile(name))) removeCopy(fs, path);
    const result = work();
    isDone = true;
    return result;
  } catch (error) {
    try {
      if (lock !== undefined) removeCopy(fs, path);
    } catch {
      // The error that brought us here is the one to report.
    }
    throw diskError(path, 'write the folder', error);
  } finally {
    // A pod that nobody has opened yet has no lock file. It is removed while it is held: whoever waits for it sees that it is gone.
    if (lock !== undefined) removeQuietly(fs, join(path, LOCK_NAME));
    lock?.release('undone');
    if (!isDone) undo();
  }
}

/** Whether a folder holds nothing, or nothing but what a copy that was killed leaves. */
export function isVacant(fs: FileSystem, path: string, names: readonly string[]): boolean {
  const files = names.filter((name) => !isLockFile(name));
  // Without the lock file, which is put down first and goes last, nobody was killed here.
  return files.length === 0 || (names.includes(LOCK_NAME) && files.every((name) => isUnfinished(fs, path, name)));
}

/** What is there before the manifest, and counts for nobody without one. */
function isUnfinished(fs: FileSystem, path: string, name: string): boolean {
  const file = classify(name);
  if (file.kind === 'temporary') return true;
  if (file.kind === 'staged' || file.kind === 'stagedOutput') return file.generation === COPY_GENERATION;
  return file.kind === 'segment' && file.segment === COPY_SEGMENT && isEmptySegment(fs, path);
}

/** Whether the one segment of a copy is as it was written: a header, and nothing behind it. */
export function isEmptySegment(fs: FileSystem, path: string): boolean {
  const scan = scanSegment(fs, path, COPY_SEGMENT);
  return scan?.header.gen === COPY_GENERATION && scan.end.s === scan.header.base && scan.tail.kind === 'clean';
}

export function isLockFile(name: string): boolean {
  return /^\.?lock(\.held\.[0-9a-f]{16}(\.tmp)?)?$/.test(name);
}

/**
 * Removes what a copy consists of, and all else but the lock. The manifest goes first, so that nobody takes the rest for a damaged pod; the
 * segment goes last, because shards alone look like a folder of tastypy. In between the folder is fsynced, or a power cut could turn the order
 * around.
 *
 * @param last further names that go in the end
 */
export function removeCopy(fs: FileSystem, path: string, last: readonly string[] = []): void {
  removeFile(fs, path, MANIFEST_NAME);
  disk(path, 'fsync the folder', () => fs.fsyncFolder(path));
  const names = disk(path, 'list the folder', () => fs.readdir(path)).filter((name) => !isLockFile(name));
  const isLast = (name: string): boolean => classify(name).kind === 'segment' || last.includes(name);
  for (const name of names) if (!isLast(name)) removeFile(fs, path, name);
  disk(path, 'fsync the folder', () => fs.fsyncFolder(path));
  for (const name of names) if (isLast(name)) removeFile(fs, path, name);
}

// ---- Places.

/**
 * @throws {PodError} `ERR_POD_OPTIONS` where the target is the folder itself, by whatever path, or lies in it
 */
export function requireOutside(fs: FileSystem, path: string, target: string): void {
  const way = relative(realPlace(fs, path), realPlace(fs, target));
  if (way !== '' && (way === '..' || way.startsWith(`..${sep}`) || /^([A-Za-z]:|[\\/])/.test(way))) return;
  const why = way === '' ? 'is the same folder' : 'lies in it';
  throw new PodError('ERR_POD_OPTIONS', `${target} cannot be written from ${path}: it ${why}. Nothing was changed.`, {
    path: target,
    info: { option: 'path' },
  });
}

/**
 * A path without links, as far as it exists.
 *
 * @throws {PodError} `ERR_POD_NOT_FOLDER` where a part of it is a file, `ERR_POD_DISK`
 */
export function realPlace(fs: FileSystem, path: string): string {
  try {
    let existing = path;
    while (fs.stat(existing) === undefined && dirname(existing) !== existing) existing = dirname(existing);
    return join(fs.realpath(existing), relative(existing, path));
  } catch (error) {
    throw errorCode(error) === 'ENOTDIR' ? belowFileError(path, error) : diskError(path, 'look at the folder', error);
  }
}
