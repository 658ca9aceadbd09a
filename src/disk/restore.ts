/**
 * Puts a backup in the place of a pod.
 *
 * Renaming folders would do it in two steps, and a death between them would leave nothing at the path, where a program that is started again
 * would then make a new, empty pod. So nothing is moved: first the files of the old pod are copied beside it, then the backup is written into
 * the folder as a compaction writes (protocol section 4), under names and numbers that the old manifest does not know. The rename of the new
 * `pod.json` is the one step that counts. Whoever opens the folder before it finds the old pod, and afterwards the new one, and tidies up what
 * the other has left. The path, its lock and links to it stay what they are.
 */
import { basename, dirname, join } from 'node:path';
import { PodError } from '../core/errors.ts';
import { freeName, UNFINISHED } from './backup.ts';
import {
  intoVacantFolder,
  isVacant,
  type OnCopyProgress,
  readSource,
  realPlace,
  requireOutside,
  requireWhole,
  shardsOf,
  writeSame,
} from './copy.ts';
import { crcText, disk, readFile, removeFile, removeQuietly } from './files.ts';
import type { FileSystem } from './fs.ts';
import { readHeader } from './log-reader.ts';
import { LogWriter } from './log-writer.ts';
import { type Manifest, NAMED_MAX, parseManifest, replaceManifest, type ShardContent } from './manifest.ts';
import { classify, type FileKind, MANIFEST_NAME } from './names.ts';
import { copyFile, stageOutputs, takeOutputName, unstageOutputs } from './output-copies.ts';
import { newPodId } from './random.ts';
import type { ReadFolder } from './reader.ts';
import { refuseLostManifest } from './recovery.ts';
import { readShardText } from './shards.ts';
import { stageShards, takeName, unstage } from './stage.ts';
import type { System } from './system.ts';

/** What `restoreFolder` did. */
export interface RestoreReport {
  readonly entries: number;
  /** Where the pod lies that was there before; undefined where there was none. */
  readonly before: string | undefined;
}

type NamedFile = { readonly name: string } & FileKind;

/** The folder of the old pod, as it was found under the lock. */
interface OldPod {
  readonly files: readonly NamedFile[];
  /** Of `pod.json`; undefined where there is none. */
  readonly bytes: Buffer | undefined;
  /** Undefined also where it is damaged. */
  readonly manifest: Manifest | undefined;
  /** There is no log and no manifest: tastypy wrote it. */
  readonly isBare: boolean;
}

/** A gzipped shard of unknown content may unpack to this much. */
const TEXT_BYTES_MAX = 1 << 30;

/**
 * Puts a backup, or any other pod, in the place of a pod, which may be damaged; or where there is nothing. The old one is kept beside it, as
 * `PATH.before-restore-2026-11-21T13-05-00Z`.
 *
 * @throws {PodError} `ERR_POD_NOT_FOUND`, `ERR_POD_NOT_FOLDER`, `ERR_POD_CORRUPT` about the backup; `ERR_POD_LOCKED` where a program has the
 *   path open; `ERR_POD_OPTIONS` where one folder lies in the other, or the path holds something else than a pod; `ERR_POD_FORMAT`,
 *   `ERR_POD_DISK`
 */
export function restoreFolder(system: System, backup: string, path: string, onProgress: OnCopyProgress): RestoreReport {
  const { fs } = system;
  requireOutside(fs, backup, path);
  requireOutside(fs, path, backup);
  const source = readSource(system, backup, onProgress);
  const id = source.id ?? newPodId();
  // Beside a link there may be no room, or another disk: the old pod stays beside the folder itself.
  const place = realPlace(fs, path);
  const entries = source.entries.length;
  if (isNothing(fs, place)) {
    intoVacantFolder(system, place, () => writeSame(system, place, source, id, onProgress));
    return { entries, before: undefined };
  }
  requirePod(fs, place);
  const lock = system.locks.acquire(place);
  let isRestored = false;
  try {
    const old = lookAtOld(fs, place);
    const before = keepBeside(system, place, old.files);
    putInPlace(fs, place, { ...source, id }, old, onProgress);
    isRestored = true;
    onProgress('checking', 0, entries);
    requireWhole(system, place, entries);
    return { entries, before };
  } finally {
    lock.release(isRestored ? 'closed' : 'undone');
  }
}

function isNothing(fs: FileSystem, place: string): boolean {
  return disk(place, 'look at the folder', () => {
    const stat = fs.stat(place);
    return stat === undefined || (stat.isFolder && isVacant(fs, place, fs.readdir(place)));
  });
}

/** What has no file of a pod in it is somebody's folder. */
function requirePod(fs: FileSystem, place: string): void {
  if (disk(place, 'look at the folder', () => fs.stat(place))?.isFolder !== true) {
    throw new PodError('ERR_POD_NOT_FOLDER', `${place} is a file, and a pod is a folder. Nothing was changed.`, {
      path: place,
    });
  }
  if (filesOf(fs, place).some(isPodFile)) return;
  throw new PodError(
    'ERR_POD_OPTIONS',
    `${place} holds files and is no pod; a pod is restored in the place of one, or where nothing is. Nothing was changed.`,
    { path: place, info: { option: 'path' } },
  );
}

function filesOf(fs: FileSystem, place: string): NamedFile[] {
  return disk(place, 'list the folder', () => fs.readdir(place)).map((name) => ({ name, ...classify(name) }));
}

function isPodFile({ name, kind }: NamedFile): boolean {
  return (
    name === MANIFEST_NAME || kind === 'shard' || kind === 'segment' || kind === 'staged' || kind === 'stagedOutput'
  );
}

function lookAtOld(fs: FileSystem, place: string): OldPod {
  const files: NamedFile[] = filesOf(fs, place).filter((file) => isPodFile(file) || file.kind === 'temporary');
  const bytes = readFile(fs, place, MANIFEST_NAME);
  let manifest: Manifest | undefined;
  try {
    manifest = bytes === undefined ? undefined : parseManifest(place, bytes);
  } catch (error) {
    // A damaged pod is the one that is restored most. One of a newer version is not known well enough to be replaced.
    if (!(error instanceof PodError) || error.code !== 'ERR_POD_CORRUPT') throw error;
  }
  // A damaged manifest does not say which files are outputs; they stay where they are then.
  const outputs = [...(manifest?.outputs?.keys() ?? [])].filter(
    (name) => disk(place, `look at ${name}`, () => fs.stat(join(place, name)))?.isFile === true,
  );
  for (const name of outputs) files.push({ name, ...classify(name) });
  return { files, bytes, manifest, isBare: bytes === undefined && !hasLostManifest(fs, place, files) };
}

function hasLostManifest(fs: FileSystem, place: string, files: readonly NamedFile[]): boolean {
  try {
    refuseLostManifest(fs, place, files);
    return false;
  } catch (error) {
    if (error instanceof PodError && error.code === 'ERR_POD_CORRUPT') return true;
    throw error;
  }
}

// ---- The old pod.

/**
 * Copies the files of the old pod into a folder beside it, durably; it gets its name when it is whole. Links would need no room, but until
 * the restore is through, both folders could be opened and written to.
 */
function keepBeside({ fs, clock }: System, place: string, files: readonly NamedFile[]): string {
  const parent = dirname(place);
  const name = freeName(fs, parent, `${basename(place)}.before-restore-`, clock.now());
  const kept = join(parent, name);
  const unfinished = `${kept}${UNFINISHED}`;
  const written: string[] = [];
  try {
    disk(parent, `create ${unfinished}`, () => fs.mkdir(unfinished));
    for (const file of files) {
      if (file.kind === 'temporary') continue;
      if (file.kind === 'other' && file.name !== MANIFEST_NAME) {
        written.push(file.name);
        copyFile(fs, join(place, file.name), unfinished, file.name);
        continue;
      }
      const bytes = readFile(fs, place, file.name);
      if (bytes === undefined) continue;
      written.push(file.name);
      disk(unfinished, `write ${file.name}`, () => fs.stage(join(unfinished, file.name), bytes));
    }
    disk(unfinished, 'fsync the folder', () => fs.fsyncFolder(unfinished));
    disk(parent, `rename ${unfinished}`, () => fs.rename(unfinished, kept));
    disk(parent, 'fsync the folder', () => fs.fsyncFolder(parent));
    return kept;
  } catch (cause) {
    for (const file of written) removeQuietly(fs, join(unfinished, file));
    try {
      fs.rmdir(unfinished);
    } catch {
      // Its name says what it is.
    }
    if (!(cause instanceof PodError)) throw cause;
    throw new PodError(
      'ERR_POD_DISK',
      `${place} could not be kept beside (${(cause as Error).message}). Nothing was changed. If it cannot be read, move it away and give the ` +
        'command again: where nothing is, nothing must be kept.',
      { path: place, cause },
    );
  }
}

// ---- The new pod.

function putInPlace(
  fs: FileSystem,
  place: string,
  source: ReadFolder & { readonly id: string },
  old: OldPod,
  onProgress: OnCopyProgress,
): void {
  const { id, gzip, fileSize, meta } = source;
  const outputs = source.outputs();
  if (old.isBare) {
    // Nobody's in a folder without a manifest, and it would stand in the way.
    for (const { name, kind } of old.files) if (kind !== 'shard') removeFile(fs, place, name);
  }
  const { generation, segment } = nextNumbers(fs, place, old);
  const seq = 0;
  const total = source.entries.length;
  const shards = stageShards(fs, place, shardsOf(source.entries), { gzip, generation, seq }, (done) =>
    onProgress('writing', done, total),
  );
  let log: LogWriter | undefined;
  try {
    const dropped = droppedBy(fs, place, old.files, shards, gzip);
    const staged = stageOutputs(fs, place, outputs, generation);
    log = LogWriter.create(fs, place, { wal: segment, id, gen: generation, base: 0, prev: '00000000' });
    log.fsync();
    replaceManifest(fs, place, {
      id,
      epoch: (old.manifest?.epoch ?? 0) + 1,
      generation,
      fileSize,
      gzip,
      meta,
      segments: [[segment, 0]],
      dropped,
      shards,
      outputs: staged,
    });
  } catch (error) {
    // Where the new manifest may be there, what it lists stays; where it is not, the next opening of the old pod removes it.
    if (isUnchanged(fs, place, old.bytes)) {
      unstage(fs, place, shards.keys(), gzip, generation);
      unstageOutputs(
        fs,
        place,
        outputs.map(({ name }) => name),
        generation,
      );
      if (log !== undefined) removeQuietly(fs, join(place, log.name));
    }
    throw error;
  } finally {
    log?.retire();
  }
  for (const shard of shards.keys()) takeName(fs, place, shard, gzip, generation);
  for (const { name } of outputs) takeOutputName(fs, place, name, generation);
  const newOutputs = new Set(outputs.map(({ name }) => name));
  for (const file of old.files) {
    const isReplaced =
      newOutputs.has(file.name) ||
      file.name === MANIFEST_NAME ||
      (file.kind === 'shard' && file.gzip === gzip && shards.has(file.shard));
    if (!isReplaced) removeQuietly(fs, join(place, file.name));
  }
  disk(place, 'fsync the folder', () => fs.fsyncFolder(place));
}

/**
 * A generation and a segment that no file in the folder belongs to. A folder of tastypy must be one until the manifest is there, so it gets
 * the numbers of a beginning.
 */
function nextNumbers(fs: FileSystem, place: string, old: OldPod): { generation: number; segment: number } {
  if (old.isBare) return { generation: 0, segment: 1 };
  const generations = [old.manifest?.generation ?? 0];
  const segments = (old.manifest?.segments ?? []).map(([segment]) => segment);
  for (const file of old.files) {
    if (file.kind === 'staged' || file.kind === 'stagedOutput') generations.push(file.generation);
    if (file.kind !== 'segment') continue;
    segments.push(file.segment);
    generations.push(readHeader(fs, place, file.segment)?.gen ?? 0);
  }
  // A file that somebody planted may have a number that leaves no room.
  const highest = (numbers: readonly number[]): number => Math.max(0, ...numbers.filter((each) => each < NAMED_MAX));
  return { generation: 1 + highest(generations), segment: 1 + highest(segments) };
}

/** The checksums of shards that end, so that recovery knows their files from a stranger's. */
function droppedBy(
  fs: FileSystem,
  place: string,
  files: readonly NamedFile[],
  shards: ReadonlyMap<number, ShardContent>,
  gzip: boolean,
): Map<number, string> {
  const dropped = new Map<number, string>();
  for (const file of files) {
    if (file.kind !== 'shard' || (shards.has(file.shard) && file.gzip === gzip)) continue;
    const text = readShardText(fs, place, file.name, file.gzip, TEXT_BYTES_MAX);
    if (text !== undefined && text !== 'damaged') dropped.set(file.shard, crcText(text));
  }
  return dropped;
}

/** Whether `pod.json` is surely what it was. */
function isUnchanged(fs: FileSystem, place: string, bytes: Buffer | undefined): boolean {
  try {
    const now = readFile(fs, place, MANIFEST_NAME);
    return bytes === undefined ? now === undefined : now?.equals(bytes) === true;
  } catch {
    return false;
  }
}
