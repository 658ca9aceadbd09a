/**
 * Reading a folder without the lock, beside a writer that may be at work (protocol section 6). Nothing is created or changed.
 */
import { join } from 'node:path';
import type { LoadedEntry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import type { Rows } from '../core/rows.ts';
import { belowFileError, disk, diskError, errorCode, readFile } from './files.ts';
import { type FolderState, type ListedSegment, type ReadLimits, readFolderState } from './folder-state.ts';
import type { FileStat } from './fs.ts';
import { readIndex } from './index-file.ts';
import { isUnchangedAt } from './log-reader.ts';
import { type FolderMeta, type Manifest, parseManifest } from './manifest.ts';
import { classify, MANIFEST_NAME, segmentName } from './names.ts';
import { type OutputSource, outputSources } from './output-copies.ts';
import { CAN_PIN, PinnedFiles } from './pinned-files.ts';
import { readBareFolder, refuseLostManifest } from './recovery.ts';
import type { System } from './system.ts';

/** What a reader sees: the state at some batch boundary that is at least as new as the moment it began to read. */
export interface ReadFolder {
  readonly entries: LoadedEntry[];
  /** In the place of the entries, where a saved index fitted. */
  readonly rows: Rows<never, never> | undefined;
  /** Gives up what the rows are read from. */
  readonly release: () => void;
  /** Which pod it is; a folder of tastypy has no id. */
  readonly id: string | undefined;
  readonly fileSize: number;
  readonly gzip: boolean;
  readonly meta: FolderMeta;
  readonly replayed: number;
  /** What its outputs are, for a copy: only that needs their files. */
  readonly outputs: () => OutputSource[];
  readonly durationMs: number;
}

/** Damage is believed when it looks the same this much later. */
const SECOND_LOOK_MS = 100;
/** A folder that changed while it was looked at is looked at again this much later. */
const NEXT_LOOK_MS = 2;
const GIVE_UP_MS = 10_000;

/**
 * Reads a folder's state.
 *
 * @param cacheBytes with it a saved index is used where it fits: no shard is read then but when its lines are asked for, until `release`, and so
 *   much of their texts is kept. Left out, everything is read and checked
 * @throws {PodError} `ERR_POD_NOT_FOUND`, `ERR_POD_NOT_FOLDER`, `ERR_POD_CORRUPT`, `ERR_POD_FORMAT`, `ERR_POD_DISK`
 */
export function readFolder(system: System, path: string, cacheBytes?: number): ReadFolder {
  const startedMs = system.clock.monotonic();
  requireFolder(system, path);
  const found = untilSteady(system, path, () => tryRead(system, path, cacheBytes));
  return { ...found, durationMs: system.clock.monotonic() - startedMs };
}

/**
 * Looks at a folder that a writer may be changing. Damage is believed when it is still there, and nothing else has changed, a little later.
 * `look` returns undefined where it saw the folder change under it, and is then called again.
 *
 * @throws {PodError} what `look` throws; `ERR_POD_DISK` where the folder does not hold still
 */
export function untilSteady<T extends object | number>(system: System, path: string, look: () => T | undefined): T {
  const { clock } = system;
  const startedMs = clock.monotonic();
  let damage: string | undefined;
  let last: PodError | undefined;
  while (clock.monotonic() - startedMs <= GIVE_UP_MS) {
    const before = fingerprint(system, path);
    try {
      const found = look();
      if (found !== undefined) return found;
    } catch (error) {
      if (!(error instanceof PodError) || (error.code !== 'ERR_POD_CORRUPT' && error.code !== 'ERR_POD_DISK'))
        throw error;
      last = error;
      const seen = `${before}|${error.message}`;
      if (seen === damage) throw error;
      // A writer at work can make us miss a file between two of its steps; real damage stays as it is. What changed while we looked says
      // nothing at all, and waiting long for a writer that never rests would only miss the moments in which it does.
      const hasChanged = fingerprint(system, path) !== before;
      damage = hasChanged ? undefined : seen;
      system.sleep(hasChanged ? NEXT_LOOK_MS : SECOND_LOOK_MS);
    }
  }
  throw new PodError(
    'ERR_POD_DISK',
    `${path} changed too quickly to be read for ${GIVE_UP_MS / 1000} seconds. Try again.${last === undefined ? '' : ` The last look said: ${last.message}`}`,
    { path, ...(last !== undefined && { cause: last }) },
  );
}

/**
 * Makes sure that there is a folder.
 *
 * @throws {PodError} `ERR_POD_NOT_FOUND`; `ERR_POD_NOT_FOLDER` where the path, or a part of it, is a file
 */
export function requireFolder({ fs }: Pick<System, 'fs'>, path: string): void {
  let stat: FileStat | undefined;
  try {
    stat = fs.stat(path);
  } catch (error) {
    throw errorCode(error) === 'ENOTDIR' ? belowFileError(path, error) : diskError(path, 'look at the folder', error);
  }
  if (stat === undefined) {
    throw new PodError('ERR_POD_NOT_FOUND', `There is no pod at ${path}. Reading never creates one; check the path.`, {
      path,
    });
  }
  if (!stat.isFolder) {
    throw new PodError('ERR_POD_NOT_FOLDER', `${path} cannot be a pod: it is a file, and a pod is a folder.`, { path });
  }
}

/**
 * Whether a folder has a manifest; one of tastypy has none.
 *
 * @throws {PodError} as `requireFolder`
 */
export function hasManifest(system: Pick<System, 'fs'>, path: string): boolean {
  requireFolder(system, path);
  return disk(path, `look at ${MANIFEST_NAME}`, () => system.fs.stat(join(path, MANIFEST_NAME))) !== undefined;
}

/** One attempt; undefined where the log was cut while it was being read. */
function tryRead({ fs }: System, path: string, cacheBytes?: number): Omit<ReadFolder, 'durationMs'> | undefined {
  const bytes = readFile(fs, path, MANIFEST_NAME);
  if (bytes === undefined) return readBare(fs, path);
  const manifest = parseManifest(path, bytes);
  const saved = cacheBytes === undefined || !CAN_PIN ? undefined : readIndex(fs, path, manifest);
  const pinned = saved && new PinnedFiles(fs, path, manifest, cacheBytes as number);
  const release = (): void => pinned?.release();
  try {
    const state = readBesideWriter(fs, path, manifest, { saved, pinned });
    if (state === undefined) {
      release();
      return undefined;
    }
    const { id, fileSize, gzip, meta } = manifest;
    const { rows, replayed } = state;
    const lines = state.segments.flatMap(({ scan }) => scan.outputs);
    const outputs = (): OutputSource[] => outputSources(fs, path, manifest, lines);
    return { entries: [...state.entries()], rows, release, id, fileSize, gzip, meta, replayed, outputs };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * What a manifest, the log and the shards say together while a writer may be at work; undefined where the log was cut meanwhile.
 *
 * @param index used where it fits, with what is to keep the files that it points into
 * @throws {PodError} `ERR_POD_CORRUPT`, which is to be believed only when it is still so a little later
 */
export function readBesideWriter(
  fs: System['fs'],
  path: string,
  manifest: Manifest,
  index: Pick<ReadLimits, 'saved' | 'pinned'> = {},
): FolderState | undefined {
  const state = readFolderState(fs, path, manifest, { judge: false, ...index });
  const last = state.segments[state.segments.length - 1] as ListedSegment;
  if (!isUnchangedAt(fs, path, last.segment, last.scan.end)) return undefined;
  if (last.scan.tail.kind === 'rot' || last.scan.tail.kind === 'foreign')
    readFolderState(fs, path, manifest, { judge: true });
  return state;
}

/** A folder without a manifest, which only tastypy can have written. */
export function readBare(fs: System['fs'], path: string): Omit<ReadFolder, 'durationMs'> {
  const files = fs.readdir(path).map((name) => classify(name));
  refuseLostManifest(fs, path, files);
  if (!files.some(({ kind }) => kind === 'shard')) {
    throw new PodError('ERR_POD_NOT_FOUND', `There is no pod at ${path}: the folder has no pod.json and no shards.`, {
      path,
    });
  }
  const { gzip, shards, entries } = readBareFolder(fs, path);
  return {
    entries,
    rows: undefined,
    release: () => {},
    id: undefined,
    fileSize: Math.max(1, shards.get(0)?.lines ?? 1),
    gzip,
    meta: {},
    replayed: 0,
    outputs: () => [],
  };
}

/** What must not have changed for damage to be believed. */
function fingerprint({ fs }: System, path: string): string {
  const bytes = readFile(fs, path, MANIFEST_NAME);
  if (bytes === undefined) return 'none';
  const sizes: (number | undefined)[] = [];
  try {
    const { segments } = parseManifest(path, bytes);
    for (const [segment] of segments) sizes.push(fs.stat(join(path, segmentName(segment)))?.size);
  } catch {
    // The manifest itself is damaged; its bytes are the fingerprint.
  }
  return `${bytes.toString('base64')}|${sizes.join(',')}`;
}
