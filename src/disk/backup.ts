/**
 * Backups: the same pod in another folder, by itself or as one of a series of which the oldest go.
 *
 * What is removed must be ours beyond doubt. A backup of a series has a name that is a time, and a receipt that names it and its pod; it is
 * removed only where both agree, where every file in it is one that a backup writes, and where nobody has written to it since. Whatever
 * else lies in the folder of a series is never touched.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { PodError } from '../core/errors.ts';
import { COPY_GENERATION, COPY_SEGMENT } from './compact.ts';
import {
  intoVacantFolder,
  isEmptySegment,
  isLockFile,
  type OnCopyProgress,
  readSource,
  removeCopy,
  requireOutside,
  writeSame,
} from './copy.ts';
import { disk, errorCode, readFile, removeFile } from './files.ts';
import type { FileSystem } from './fs.ts';
import type { HeldLock } from './lock.ts';
import { type Manifest, readManifest } from './manifest.ts';
import { classify, MANIFEST_NAME } from './names.ts';
import { newPodId } from './random.ts';
import type { System } from './system.ts';

const RECEIPT_NAME = 'backup.json';

/** Of the backup that was made, and of older ones. */
export interface BackupReport {
  /** The folder of the backup. */
  readonly path: string;
  readonly entries: number;
  /** Older backups that were removed, by their names. */
  readonly removed: readonly string[];
  /** What looks like an older backup and was left alone, and why. */
  readonly left: readonly { readonly name: string; readonly why: string }[];
}

/**
 * Writes a backup: the same id, entries, order and layout.
 *
 * @param target a folder that is missing or empty
 * @throws {PodError} as `copyFolder`
 */
export function backUp(system: System, path: string, target: string, onProgress: OnCopyProgress): BackupReport {
  requireOutside(system.fs, path, target);
  const source = readSource(system, path, onProgress);
  return intoVacantFolder(system, target, () => {
    writeSame(system, target, source, source.id ?? newPodId(), onProgress);
    return { path: target, entries: source.entries.length, removed: [], left: [] };
  });
}

/**
 * Writes a backup into a folder of backups, under the time as its name, and removes those of the same pod that are older than the newest `keep`.
 *
 * @throws {PodError} as `copyFolder`; `ERR_POD_UNSUPPORTED` where the source is a folder of tastypy; `ERR_POD_DISK` also where the new backup is
 *   whole and an old one could not be removed
 */
export function backUpInSeries(
  system: System,
  path: string,
  series: string,
  keep: number,
  onProgress: OnCopyProgress,
): BackupReport {
  const { fs, clock } = system;
  requireOutside(fs, path, series);
  requireNoPod(fs, series);
  const source = readSource(system, path, onProgress);
  const { id } = source;
  if (id === undefined) {
    throw new PodError(
      'ERR_POD_UNSUPPORTED',
      `${path} is a folder of tastypy and has no id, so its backups could not be told from those of others. Open it for writing once.`,
      { path },
    );
  }
  const name = freeName(fs, series, '', clock.now());
  const target = join(series, name);
  intoVacantFolder(system, target, () => {
    // Before everything else, so that what a kill leaves can be removed by a later backup.
    const receipt = Buffer.from(`${JSON.stringify({ everpod: 'backup', pod: id, name } satisfies Receipt)}\n`);
    disk(target, `write ${RECEIPT_NAME}`, () => fs.stage(join(target, RECEIPT_NAME), receipt));
    writeSame(system, target, source, id, onProgress);
  });
  try {
    return { path: target, entries: source.entries.length, ...prune(system, series, { id, name, keep }) };
  } catch (cause) {
    if (!(cause instanceof PodError) && errorCode(cause) === undefined) throw cause;
    throw new PodError(
      'ERR_POD_DISK',
      `The backup ${target} is whole, but an older one could not be removed: ${(cause as Error).message}`,
      { path: series, cause },
    );
  }
}

/** A series beside the files of a pod would be taken for a part of it, by people at least. */
function requireNoPod(fs: FileSystem, series: string): void {
  if (disk(series, 'look at the folder', () => fs.stat(join(series, MANIFEST_NAME))) === undefined) return;
  throw new PodError('ERR_POD_OPTIONS', `${series} is a pod; a series of backups needs a folder of its own.`, {
    path: series,
    info: { option: 'path' },
  });
}

// ---- Names that are times.

/** Ends the name of a folder that is being written. */
export const UNFINISHED = '.unfinished';

/** A name for something made now that nothing in the folder has: `2026-11-21T13-05-00Z`, in the same second `2026-11-21T13-05-00Z-2`. */
export function freeName(fs: FileSystem, folder: string, prefix: string, nowMs: number): string {
  const time = `${new Date(nowMs).toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
  for (let number = 1; ; number++) {
    const name = `${prefix}${time}${number === 1 ? '' : `-${number}`}`;
    // One that a killed process left half-written has the name of what it was to become.
    const isTaken = [name, `${name}${UNFINISHED}`].some(
      (each) => disk(folder, `look at ${each}`, () => fs.stat(join(folder, each))) !== undefined,
    );
    if (!isTaken) return name;
  }
}

/** What orders names by their time; undefined where a name is none of ours. */
function timeOfName(name: string): { readonly time: string; readonly number: number } | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-([2-9]|[1-9]\d{1,8}))?$/.exec(name);
  return match === null ? undefined : { time: match[1] as string, number: Number(match[2] ?? 1) };
}

function newestFirst(a: string, b: string): number {
  const [left, right] = [timeOfName(a), timeOfName(b)];
  if (left === undefined || right === undefined) return 0;
  if (left.time !== right.time) return left.time < right.time ? 1 : -1;
  return right.number - left.number;
}

// ---- Old backups.

interface Receipt {
  readonly everpod: 'backup';
  /** The id of the pod. */
  readonly pod: string;
  /** The name of the folder it was written for; a copy of that folder has another one. */
  readonly name: string;
}

/** What a folder with a time for its name is. */
type Finding =
  /** Not a backup of this pod. */
  | { readonly kind: 'foreign' }
  /** A backup that is as it was written. */
  | { readonly kind: 'whole' }
  /** What a backup, or the removal of one, left when it was killed. */
  | { readonly kind: 'unfinished' }
  /** A backup that somebody has changed. */
  | { readonly kind: 'changed'; readonly why: string };

function prune(
  system: System,
  series: string,
  made: { readonly id: string; readonly name: string; readonly keep: number },
): Pick<BackupReport, 'removed' | 'left'> {
  const { fs } = system;
  const removed: string[] = [];
  const left: { name: string; why: string }[] = [];
  const whole: string[] = [];
  const leave = (name: string, why: string): void => void left.push({ name, why });
  const remove = (name: string): void => {
    const why = tryRemove(system, series, name, made.id);
    if (why === undefined) removed.push(name);
    else leave(name, why);
  };
  for (const name of disk(series, 'list the folder', () => fs.readdir(series))) {
    // The one that was just made stays whatever the clock says.
    if (name === made.name || timeOfName(name) === undefined) continue;
    const found = lookAt(fs, series, name, made.id);
    if (found.kind === 'whole') whole.push(name);
    else if (found.kind === 'unfinished') remove(name);
    else if (found.kind === 'changed') leave(name, found.why);
  }
  for (const name of whole.sort(newestFirst).slice(made.keep - 1)) remove(name);
  return { removed, left };
}

/** Removes a backup under its lock. Returns why it was left alone instead. */
function tryRemove(system: System, series: string, name: string, id: string): string | undefined {
  const { fs } = system;
  const path = join(series, name);
  let lock: HeldLock;
  try {
    lock = system.locks.acquire(path);
  } catch (error) {
    if (error instanceof PodError && error.code === 'ERR_POD_LOCKED') return 'a program has it open';
    throw error;
  }
  try {
    // Somebody may have had it open when we looked.
    const found = lookAt(fs, series, name, id);
    if (found.kind === 'changed') return found.why;
    if (found.kind === 'foreign') return 'it has changed while it was looked at';
    removeCopy(fs, path, [RECEIPT_NAME]);
    for (const file of fs.readdir(path)) if (isLockFile(file)) removeFile(fs, path, file);
  } finally {
    lock.release('undone');
  }
  disk(series, `remove ${name}`, () => {
    // Without the kernel's locks, letting go of one puts its file down again.
    for (const file of fs.readdir(path)) if (isLockFile(file)) removeFile(fs, path, file);
    fs.rmdir(path);
    fs.fsyncFolder(series);
  });
  return undefined;
}

function lookAt(fs: FileSystem, series: string, name: string, id: string): Finding {
  const path = join(series, name);
  try {
    const hasReceipt = isReceiptOf(fs, path, name, id);
    if (!hasReceipt && !isBarelyBegun(fs, path)) return { kind: 'foreign' };
    // A link to a folder elsewhere is not the folder that was made here.
    if (fs.realpath(path) !== join(fs.realpath(series), name)) return { kind: 'foreign' };
    return hasReceipt ? judge(fs, path, id) : { kind: 'unfinished' };
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return { kind: 'foreign' };
    return { kind: 'changed', why: `it cannot be read: ${(error as Error).message}` };
  }
}

function isReceiptOf(fs: FileSystem, path: string, name: string, id: string): boolean {
  if (fs.stat(path)?.isFolder !== true || fs.stat(join(path, RECEIPT_NAME))?.isFile !== true) return false;
  try {
    const { everpod, pod, name: written } = JSON.parse(String(readFile(fs, path, RECEIPT_NAME))) as Partial<Receipt>;
    return everpod === 'backup' && pod === id && written === name;
  } catch {
    return false;
  }
}

/** Whether a folder holds the beginning of a receipt and nothing else: a kill in the very first step of a backup leaves that. */
function isBarelyBegun(fs: FileSystem, path: string): boolean {
  const files = fs.readdir(path).filter((name) => !isLockFile(name));
  const isReceipt = (name: string): boolean =>
    name.startsWith(`.${RECEIPT_NAME}.`) &&
    classify(name).kind === 'temporary' &&
    fs.stat(join(path, name))?.isFile === true;
  return files.length > 0 && files.every(isReceipt);
}

function judge(fs: FileSystem, path: string, id: string): Finding {
  const manifest = readManifest(fs, path);
  if (manifest !== undefined && !isAsWritten(fs, path, manifest, id)) {
    return { kind: 'changed', why: 'it was written to' };
  }
  const stranger = fs.readdir(path).find((name) => !isOfBackup(fs, path, name, manifest));
  if (stranger !== undefined) return { kind: 'changed', why: `it holds ${stranger}, which no backup wrote` };
  return { kind: manifest === undefined ? 'unfinished' : 'whole' };
}

function isAsWritten(fs: FileSystem, path: string, manifest: Manifest, podId: string): boolean {
  const { id, epoch, generation, segments } = manifest;
  const isFirst = id === podId && epoch === 1 && generation === COPY_GENERATION && segments.length === 1;
  return isFirst && isEmptySegment(fs, path);
}

/** Whether a backup writes such a file; where there is a manifest, only the shards that it lists are. */
function isOfBackup(fs: FileSystem, path: string, name: string, manifest: Manifest | undefined): boolean {
  if (fs.stat(join(path, name))?.isFile !== true) return false;
  if (name === MANIFEST_NAME || name === RECEIPT_NAME || isLockFile(name)) return true;
  const file = classify(name);
  if (file.kind === 'shard') {
    return manifest === undefined || (manifest.gzip === file.gzip && manifest.shards.has(file.shard));
  }
  if (file.kind === 'segment') return file.segment === COPY_SEGMENT;
  if (file.kind === 'other') return manifest?.outputs?.has(name) === true;
  return true;
}
