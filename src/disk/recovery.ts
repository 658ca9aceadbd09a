/**
 * Opening a folder for writing: creating it, adopting one that tastypy wrote, or recovering what the last process left
 * (protocol sections 4 and 5). A failed open leaves nothing behind that was not there before.
 */
import { dirname, join } from 'node:path';
import type { LoadedEntry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import type { Rows } from '../core/rows.ts';
import type { Table } from '../core/table.ts';
import { closeQuietly, crcText, disk, diskError, readFile, readRange, removeFile, writeAll } from './files.ts';
import { Folder, type OpenedFolder } from './folder.ts';
import { type FolderState, type ListedSegment, readFolderState } from './folder-state.ts';
import type { FileSystem } from './fs.ts';
import { readIndex } from './index-file.ts';
import { type HeldLock, meanwhile } from './lock.ts';
import { JSON_OFFSET } from './log-format.ts';
import { readHeader, scanSegment } from './log-reader.ts';
import { LogWriter } from './log-writer.ts';
import { makeFolder, removeFolderQuietly } from './make-folder.ts';
import {
  type FolderMeta,
  type Manifest,
  parseManifest,
  removeQuietly,
  replaceManifest,
  type ShardContent,
  shardBytesOf,
} from './manifest.ts';
import {
  classify,
  type FileKind,
  LOCK_NAME,
  MANIFEST_NAME,
  QUARANTINE_NAME,
  segmentName,
  shardName,
  stagedName,
} from './names.ts';
import { notesThatCount } from './notes.ts';
import { findOutputs, settleOutputs } from './output-recovery.ts';
import type { FoundOutput } from './outputs.ts';
import { newPodId, randomHex } from './random.ts';
import { describeText, firstBadLine, parseShard, readShardText } from './shards.ts';
import type { System } from './system.ts';
import { Texts } from './texts.ts';

/** How the process that had the folder before us ended. */
export type Ending =
  /** There was none: the folder is new. */
  | 'new'
  /** The folder was opened for reading, which takes no lock: whoever had it may be at work still. */
  | 'unknown'
  /** It closed the folder. */
  | 'closed'
  /** It came to its end without closing; `how` says with which exit code. */
  | 'exit'
  /** A signal ended it; `how` names the signal. */
  | 'signal'
  /** An error that nobody caught ended it. */
  | 'error'
  /** It left no word: SIGKILL, out of memory, a native crash, a power cut. */
  | 'killed';

/** What opening a folder found and did. */
export interface RecoveryReport {
  readonly ended: Ending;
  /** In the words of the process that ended: `SIGTERM`, `exit 1`, `uncaughtException`. */
  readonly how: string | undefined;
  /** Who had the folder before, if that process did not close it. */
  readonly previous: { readonly pid: number; readonly host: string; readonly since: string } | undefined;
  /** The last sign of life of that process: when its log was last written. ISO 8601. */
  readonly lastWrite: string | undefined;
  /**
   * The machine was started again since that process took the folder (or is another one of the same name), so that a power cut or a restart
   * may have ended it.
   */
  readonly restarted: boolean;
  /**
   * How many processes the kernel has killed on this machine since then for want of memory. Where it is 0, that process was not among them;
   * where it is more, it may have been. Undefined where the system does not tell: not Linux, or another start of the machine.
   */
  readonly oomKills: number | undefined;
  /** Log records that were applied over the shards. */
  readonly replayed: number;
  /** Bytes of an unfinished append that were cut off the log; they are in quarantine. */
  readonly droppedBytes: number;
  /** Files that were put into `quarantine/`. */
  readonly quarantined: readonly string[];
  /** The folder was written by tastypy and has been adopted. */
  readonly adopted: boolean;
  readonly durationMs: number;
}

/** What a folder is created with; an existing one keeps what it has. */
export interface CreateOptions {
  readonly fileSize: number;
  readonly gzip: boolean;
  readonly meta: FolderMeta;
  /** What is kept of the files' texts. */
  readonly cacheBytes?: number;
}

/** A folder that is ours, with what it held. */
export interface Recovered {
  readonly opened: OpenedFolder;
  readonly lock: HeldLock;
  readonly entries: Iterable<LoadedEntry>;
  /** In the place of the entries, where a saved index fitted. */
  readonly rows?: Rows<never, never> | undefined;
  readonly report: RecoveryReport;
}

/**
 * Opens a folder for writing, creating it where there is none.
 *
 * @throws {PodError} `ERR_POD_LOCKED`, `ERR_POD_NOT_FOLDER`, `ERR_POD_CORRUPT`, `ERR_POD_FORMAT`, `ERR_POD_DISK`
 */
export function recoverFolder(system: System, path: string, create: CreateOptions): Recovered {
  const { fs, clock } = system;
  const startedMs = clock.monotonic();
  const texts = new Texts(fs, path, create.cacheBytes ?? Number.POSITIVE_INFINITY);
  const made = makeFolder(fs, path);
  let hadLock = true;
  let lock: HeldLock | undefined;
  try {
    hadLock = fs.stat(join(path, LOCK_NAME)) !== undefined;
    lock = system.locks.acquire(path);
    const found = openLocked(fs, path, create, lock, texts);
    const report = { ...found.report, durationMs: clock.monotonic() - startedMs };
    return { opened: found.opened, entries: found.entries, rows: found.rows, lock, report };
  } catch (error) {
    texts.retire();
    // Removed while it is held, so that whoever waits for it notices that it is gone.
    if (!hadLock && lock !== undefined && isSurelyMissing(fs, join(path, MANIFEST_NAME))) {
      removeQuietly(fs, join(path, LOCK_NAME));
    }
    lock?.release('undone');
    for (const folder of made.reverse()) removeFolderQuietly(fs, folder);
    throw diskError(path, 'open the folder', error);
  }
}

/** Binds what was recovered to the table that holds it. */
export function bindFolder<V, K extends Key>(
  system: System,
  path: string,
  { opened, lock, entries, rows }: Recovered,
  table: Table<V, K>,
): Folder<V, K> {
  try {
    // Rows know nothing of what a caller says its keys and values are.
    if (rows !== undefined) table.loadRows(rows as unknown as Rows<V, K>);
    else table.load(entries);
    return new Folder(system, path, lock, opened, table);
  } catch (error) {
    opened.texts.retire();
    opened.log.retire();
    lock.release('undone');
    throw error;
  }
}

type Opened = Omit<Recovered, 'lock'>;

function openLocked(fs: FileSystem, path: string, create: CreateOptions, lock: HeldLock, texts: Texts): Opened {
  const bytes = readFile(fs, path, MANIFEST_NAME);
  if (bytes !== undefined) return recover(fs, path, parseManifest(path, bytes), lock, texts);
  const names = disk(path, 'list the folder', () => fs.readdir(path)).map((name) => ({ name, ...classify(name) }));
  refuseLostManifest(fs, path, names);
  const shards = names.filter((file) => file.kind === 'shard');
  for (const file of names) {
    if (file.kind === 'temporary' || file.kind === 'segment' || file.kind === 'staged') removeFile(fs, path, file.name);
  }
  if (shards.length > 0) return adopt(fs, path, create, texts);
  return createFresh(fs, path, create, texts);
}

// ---- A new folder.

function createFresh(fs: FileSystem, path: string, { fileSize, gzip, meta }: CreateOptions, texts: Texts): Opened {
  const manifest: Manifest = {
    id: newPodId(),
    epoch: 1,
    generation: 0,
    fileSize,
    gzip,
    meta,
    segments: [[1, 0]],
    dropped: new Map(),
    shards: new Map(),
  };
  return { ...begin(fs, path, manifest, texts), entries: [], report: emptyReport('new', false) };
}

/** Writes the first segment and the first manifest. */
function begin(fs: FileSystem, path: string, manifest: Manifest, texts: Texts): { opened: OpenedFolder } {
  const { id, generation: gen } = manifest;
  const log = LogWriter.create(fs, path, { wal: 1, id, gen, base: 0, prev: '00000000' });
  try {
    log.fsync();
    replaceManifest(fs, path, manifest);
  } catch (error) {
    log.retire();
    takeBack(fs, path, log.name);
    throw error;
  }
  return {
    opened: {
      manifest,
      log,
      contents: new Map(manifest.shards),
      open: new Map(),
      texts,
      olderLogBytes: 0,
      ending: undefined,
    },
  };
}

/** Removes the first manifest and then the log it lists: the log may only go when no power cut can bring the manifest back. */
function takeBack(fs: FileSystem, path: string, logName: string): void {
  try {
    if (fs.stat(join(path, MANIFEST_NAME)) !== undefined) {
      fs.unlink(join(path, MANIFEST_NAME));
      fs.fsyncFolder(path);
    }
    fs.unlink(join(path, logName));
  } catch {
    // A log without a record and without a manifest is nobody's; the next open removes it.
  }
}

function emptyReport(ended: Ending, adopted: boolean): RecoveryReport {
  return {
    ended,
    how: undefined,
    previous: undefined,
    lastWrite: undefined,
    restarted: false,
    oomKills: undefined,
    replayed: 0,
    droppedBytes: 0,
    quarantined: [],
    adopted,
    durationMs: 0,
  };
}

/** Refuses a folder without a manifest whose log shows that there was one. */
export function refuseLostManifest(fs: FileSystem, path: string, files: readonly FileKind[]): void {
  for (const file of files) {
    if (file.kind !== 'segment') continue;
    if (file.segment === 1 && isUnfinishedBeginning(fs, path)) continue;
    throw new PodError(
      'ERR_POD_CORRUPT',
      `${path}: pod.json is missing, but ${segmentName(file.segment)} shows that there was one. Nothing was changed. Restore it from a ` +
        `backup, or run: everpod repair ${path}`,
      { path, file: MANIFEST_NAME },
    );
  }
}

/**
 * Only the very first open leaves a first segment and no manifest: a header of generation 0, whole or in pieces, and nothing behind it,
 * because appending starts after the manifest. A longer file whose header cannot be read is a damaged log, not a leftover.
 */
function isUnfinishedBeginning(fs: FileSystem, path: string): boolean {
  const size = fs.stat(join(path, segmentName(1)))?.size ?? 0;
  const header = readHeader(fs, path, 1);
  if (header === undefined) return size <= FIRST_HEADER_BYTES;
  const end = scanSegment(fs, path, 1)?.end;
  return header.gen === 0 && end?.s === header.base && end.offset === size;
}

/** Every first header is this long: all its numbers have one digit, and the rest is of fixed length. */
const FIRST_HEADER_BYTES: number =
  JSON_OFFSET + '{"wal":1,"id":"00000000","gen":0,"base":0,"prev":"00000000","salt":"0000000000000000"}\n'.length;

// ---- A folder that tastypy wrote.

/** The shards of a bare folder, checked whole, described as they lie (checklist TP-091, TP-096, TP-097). */
export function readBareFolder(
  fs: FileSystem,
  path: string,
  texts?: Texts,
): { gzip: boolean; shards: Map<number, ShardContent>; entries: LoadedEntry[] } {
  const files = fs.readdir(path).map((name) => ({ name, ...classify(name) }));
  const found = files.filter((file) => file.kind === 'shard').sort((a, b) => a.shard - b.shard);
  const gzip = found[0]?.gzip ?? false;
  const shards = new Map<number, ShardContent>();
  const entries: LoadedEntry[] = [];
  const seen = new Map<string, string>();
  let full: number | undefined;
  found.forEach((file, index) => {
    const refuse = (why: string): PodError =>
      new PodError('ERR_POD_CORRUPT', `${path} looks like a folder of tastypy, but ${why}. Nothing was changed.`, {
        path,
        file: file.name,
      });
    if (file.gzip !== gzip) throw refuse('it holds both gzipped and plain shards');
    if (file.shard !== index) throw refuse(`${shardName(index, gzip)} is missing`);
    const text = readShardText(fs, path, file.name, gzip, BARE_BYTES_MAX);
    if (text === undefined || text === 'damaged') throw refuse(`${file.name} cannot be unpacked`);
    const content = describeText(text, 0);
    if (full !== undefined && content.lines > full)
      throw refuse(`${file.name} has more lines than the shards before it`);
    if (index + 1 < found.length) {
      full ??= content.lines;
      if (content.lines !== full) throw refuse(`${file.name} has ${content.lines} lines instead of ${full}`);
    }
    const bad = firstBadLine(text, true);
    if (bad !== undefined) {
      throw new PodError(
        'ERR_POD_CORRUPT',
        `${join(path, file.name)} line ${bad.line}: ${bad.why}. Nothing was changed. Mend the line, or salvage every line that can be ` +
          `read with: everpod repair ${path}`,
        { path, file: file.name, line: bad.line, cause: bad.cause },
      );
    }
    texts?.offer(index, text);
    for (const entry of parseShard(path, file.name, index, text, true, texts?.shard(index, true))) {
      const identity = JSON.stringify(entry.key);
      if (seen.has(identity)) throw refuse(`key ${identity} is in ${seen.get(identity)} and again in ${file.name}`);
      seen.set(identity, file.name);
      entries.push(entry);
    }
    shards.set(index, { ...content, tastypy: text.includes(BACKSLASH) });
  });
  return { gzip, shards, entries };
}

const BACKSLASH = 0x5c;
/** A gzipped shard of unknown origin may unpack to this much. */
const BARE_BYTES_MAX = 1 << 30;

function adopt(fs: FileSystem, path: string, create: CreateOptions, texts: Texts): Opened {
  const { gzip, shards, entries } = readBareFolder(fs, path, texts);
  const first = shards.get(0)?.lines ?? 0;
  for (const shard of shards.keys()) {
    // What is about to be listed must be on the disk as it lies; nothing is rewritten.
    disk(path, `fsync ${shardName(shard, gzip)}`, () => {
      const fd = fs.open(join(path, shardName(shard, gzip)), 'r');
      try {
        fs.fsync(fd);
      } finally {
        fs.close(fd);
      }
    });
  }
  // And so must the folder itself, which somebody may have made a moment ago.
  disk(path, 'fsync the folder above', () => fs.fsyncFolder(dirname(path)));
  const manifest: Manifest = {
    id: newPodId(),
    epoch: 1,
    generation: 0,
    fileSize: shards.size > 1 ? first : Math.max(first, create.fileSize),
    gzip,
    meta: create.meta,
    segments: [[1, 0]],
    dropped: new Map(),
    shards,
  };
  return { ...begin(fs, path, manifest, texts), entries, report: emptyReport('closed', true) };
}

// ---- Recovery.

function recover(
  fs: FileSystem,
  path: string,
  manifest: Manifest,
  { previous, owner }: HeldLock,
  texts: Texts,
): Opened {
  texts.owner = {
    gzip: manifest.gzip,
    generation: manifest.generation,
    shardBytes: shardBytesOf(manifest.shards),
    // A fold may have made a shard newer than what the manifest lists, so here each line is checked.
    crcOf: () => undefined,
  };
  const saved = readIndex(fs, path, manifest);
  const state = readFolderState(fs, path, manifest, { judge: true, texts, saved });
  const last = state.segments[state.segments.length - 1] as ListedSegment;
  const logStat = fs.stat(join(path, segmentName(last.segment)));
  const lines = state.segments.flatMap(({ scan }) => scan.outputs);
  const expected = findOutputs(fs, path, manifest, lines);
  // Before anything is renamed or removed: the manifest we just read may not be durable yet.
  disk(path, 'fsync the folder', () => fs.fsyncFolder(path));
  const quarantined: string[] = [];
  const droppedBytes = last.scan.tail.kind === 'clean' ? 0 : last.scan.tail.size - last.scan.end.offset;
  const fd = disk(path, 'open the log', () => fs.open(join(path, segmentName(last.segment)), 'r+'));
  let current = manifest;
  let outputs: FoundOutput[] = [];
  try {
    if (droppedBytes > 0) {
      const tail = disk(path, 'read the log', () => readRange(fs, fd, last.scan.end.offset, droppedBytes));
      quarantined.push(quarantine(fs, path, `${segmentName(last.segment)}.tail`, tail));
    }
    // Also where it holds no record: it may have been cut by a process that died before its fsync.
    settleLog(fs, path, fd, last);
    if (state.extended) {
      for (const { segment } of state.segments.slice(0, -1)) fsyncFile(fs, path, segmentName(segment));
      const segments = state.segments.map(({ segment, base }) => [segment, base] as const);
      current = { ...manifest, segments, epoch: manifest.epoch + 1 };
      replaceManifest(fs, path, current);
    }
    outputs = settleOutputs(fs, path, expected, (name, bytes) => quarantined.push(quarantine(fs, path, name, bytes)));
    tidy(fs, path, current, state, quarantined);
  } catch (error) {
    closeQuietly(fs, fd);
    throw error;
  }
  const log = new LogWriter(fs, path, fd, last.segment, last.base, last.scan.end);
  const contents = new Map([...state.shards].map(([shard, { content }]) => [shard, content]));
  const olderLogBytes = state.segments.slice(0, -1).reduce((bytes, { scan }) => bytes + scan.end.offset, 0);
  return {
    opened: {
      manifest: current,
      log,
      contents,
      open: new Map(state.open),
      texts,
      olderLogBytes,
      ending: last.scan.ending,
      stats: state.stats,
      isIndexed: state.rows !== undefined,
      outputs,
      notes: notesThatCount(state.segments.flatMap(({ scan }) => scan.notes)),
    },
    rows: state.rows,
    entries: state.entries(),
    report: {
      ...endingOf(last.scan.ending, previous !== undefined),
      previous: previous && { pid: previous.pid, host: previous.host, since: previous.since },
      lastWrite: previous === undefined || logStat === undefined ? undefined : new Date(logStat.mtimeMs).toISOString(),
      ...meanwhile(previous, owner),
      replayed: state.replayed,
      droppedBytes,
      quarantined,
      adopted: false,
      durationMs: 0,
    },
  };
}

/**
 * Cuts the unfinished tail off and makes what is left durable. The lines that nothing vouches for are written again, same bytes in the
 * same place: a failed fsync may have left their pages marked clean although they never reached the disk.
 */
function settleLog(fs: FileSystem, path: string, fd: number, { segment, scan }: ListedSegment): void {
  disk(path, `settle ${segmentName(segment)}`, () => {
    fs.truncate(fd, scan.end.offset);
    const from = scan.unvouchedOffset;
    for (let at = from; at < scan.end.offset; at += REWRITE_BYTES) {
      writeAll(fs, fd, readRange(fs, fd, at, Math.min(REWRITE_BYTES, scan.end.offset - at)), at);
    }
    fs.fsync(fd);
  });
}

const REWRITE_BYTES = 1 << 22;

function fsyncFile(fs: FileSystem, path: string, name: string): void {
  disk(path, `fsync ${name}`, () => {
    const fd = fs.open(join(path, name), 'r+');
    try {
      fs.fsync(fd);
    } finally {
      fs.close(fd);
    }
  });
}

/** Gives staged shards their names, removes what is nobody's and was ours, and puts what we do not know into quarantine. */
function tidy(fs: FileSystem, path: string, manifest: Manifest, state: FolderState, quarantined: string[]): void {
  for (const [shard, { staged }] of state.shards) {
    if (!staged) continue;
    const from = stagedName(shard, manifest.gzip, manifest.generation);
    disk(path, `rename ${from}`, () => fs.rename(join(path, from), join(path, shardName(shard, manifest.gzip))));
  }
  const segments = new Set(manifest.segments.map(([segment]) => segment));
  for (const name of disk(path, 'list the folder', () => fs.readdir(path))) {
    const file = classify(name);
    switch (file.kind) {
      case 'temporary':
      case 'staged':
      case 'stagedOutput':
        removeFile(fs, path, name);
        break;
      case 'segment':
        if (!segments.has(file.segment)) tidySegment(fs, path, manifest, file.segment, quarantined);
        break;
      case 'shard':
        if (!isListed(manifest, state, file.shard, file.gzip)) tidyShard(fs, path, state, name, file, quarantined);
        break;
      default:
        break;
    }
  }
}

function isListed(manifest: Manifest, state: FolderState, shard: number, gzip: boolean): boolean {
  const found = state.shards.get(shard);
  return gzip === manifest.gzip && found !== undefined && found.content.lines > 0;
}

function tidySegment(fs: FileSystem, path: string, manifest: Manifest, segment: number, quarantined: string[]): void {
  const name = segmentName(segment);
  const scan = scanSegment(fs, path, segment);
  const first = manifest.segments[0]?.[0] ?? 0;
  const isLeftover = segment < first || scan === undefined || scan.end.s === scan.header.base;
  if (!isLeftover) quarantined.push(quarantine(fs, path, name, readFile(fs, path, name) ?? new Uint8Array()));
  removeFile(fs, path, name);
}

function tidyShard(
  fs: FileSystem,
  path: string,
  state: FolderState,
  name: string,
  { shard, gzip }: { shard: number; gzip: boolean },
  quarantined: string[],
): void {
  const known = new Set<string | undefined>([state.manifest.dropped.get(shard)]);
  for (const { scan } of state.segments)
    for (const intent of scan.intents) if (intent.n === shard) known.add(intent.was);
  const text = readShardText(fs, path, name, gzip, BARE_BYTES_MAX);
  const isLeftover = text !== undefined && text !== 'damaged' && known.has(crcText(text));
  if (!isLeftover) quarantined.push(quarantine(fs, path, name, readFile(fs, path, name) ?? new Uint8Array()));
  removeFile(fs, path, name);
}

/** Copies bytes into `quarantine/`, where nothing is ever removed. Returns the file's name there. */
export function quarantine(fs: FileSystem, path: string, name: string, bytes: Uint8Array): string {
  const folder = join(path, QUARANTINE_NAME);
  return disk(path, `put ${name} into quarantine`, () => {
    const kept = `${name}.${randomHex(4)}`;
    const isNew = fs.stat(folder) === undefined;
    try {
      if (isNew) {
        fs.mkdir(folder);
        fs.fsyncFolder(path);
      } else if (fs.realpath(folder) !== join(fs.realpath(path), QUARANTINE_NAME)) {
        throw Object.assign(new Error(`ELOOP: a symbolic link, open '${folder}'`), { code: 'ELOOP', syscall: 'open' });
      }
      fs.stage(join(folder, kept), bytes);
      fs.fsyncFolder(folder);
    } catch (error) {
      // It only goes where nothing is in it.
      if (isNew) removeFolderQuietly(fs, folder);
      throw error;
    }
    return `${QUARANTINE_NAME}/${kept}`;
  });
}

/** How a process ended, from the log's last word and whether its name is still in the lock. */
export function endingOf(how: string | undefined, isNamed: boolean): { ended: Ending; how: string | undefined } {
  if (how !== undefined) {
    if (how.startsWith('SIG')) return { ended: 'signal', how };
    return { ended: how.startsWith('exit') ? 'exit' : 'error', how };
  }
  return { ended: isNamed ? 'killed' : 'closed', how: undefined };
}

/** A file that cannot be looked at may be there. */
function isSurelyMissing(fs: FileSystem, path: string): boolean {
  try {
    return fs.stat(path) === undefined;
  } catch {
    return false;
  }
}
