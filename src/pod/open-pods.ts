/**
 * The pods that are open in this process: one handle for each folder, whatever path it was opened by.
 *
 * The registry hangs on `globalThis` under a registered symbol, so that two copies of the library in one process share it.
 */
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import { belowFileError, errorCode, removeQuietly } from '../disk/files.ts';
import { fileIdentity } from '../disk/fs.ts';
import { makeEmptyFolder } from '../disk/make-folder.ts';
import type { FolderMeta } from '../disk/manifest.ts';
import { classify, LOCK_NAME, MANIFEST_NAME } from '../disk/names.ts';
import { nodeSystem, type System } from '../disk/system.ts';
import { PodEngine } from './engine.ts';
import { checkOptions, optionsError, type PodOptions } from './options.ts';

/** What the registry knows of a handle. */
interface OpenPod {
  readonly engine: PodEngine<never, Key>;
  readonly handle: object;
  /** The folder itself, which may have been removed and made again under the same path. */
  readonly folder: string;
}

interface Registry {
  /** Goes up when copies of the library could no longer share handles. */
  readonly version: number;
  readonly pods: Map<string, OpenPod>;
}

const REGISTRY_VERSION = 1;
const REGISTRY_SYMBOL: unique symbol = Symbol.for('everpod.registry') as never;

function registry(): Registry {
  const holder = globalThis as { [REGISTRY_SYMBOL]?: Registry };
  holder[REGISTRY_SYMBOL] ??= { version: REGISTRY_VERSION, pods: new Map() };
  return holder[REGISTRY_SYMBOL];
}

/** How a class of handles is opened. */
export interface HandleKind<H extends object, V, K extends Key> {
  /** Whether a handle that is open already will do. */
  readonly accepts: (handle: object) => handle is H;
  readonly name: string;
  readonly meta: FolderMeta;
  readonly make: (engine: PodEngine<V, K>) => H;
  readonly system?: System;
}

/**
 * Opens a folder, or gives back the handle that is open already.
 *
 * @throws {PodError} see `PersistentOrderedDict.open`
 */
export function openHandle<H extends object, V, K extends Key>(
  path: string,
  options: PodOptions<V, K>,
  kind: HandleKind<H, V, K>,
): { handle: H; engine: PodEngine<V, K> } {
  const system = kind.system ?? nodeSystem;
  const place = normalizePath(path);
  checkOptions(place, options);
  const found = findOpen(system, place);
  // A handle of another copy of the library is of no class of this one: as with another process, the folder's lock keeps a writer out.
  const isForeign = found !== undefined && !(found.engine instanceof PodEngine) && !kind.accepts(found.handle);
  const open = isForeign ? undefined : found;
  if (open !== undefined && options.isolated !== true) {
    requireSameOptions(place, open, options as PodOptions<never, Key>);
    if (!kind.accepts(open.handle)) {
      throw optionsError(
        place,
        'kind',
        `conflicts: it is open as another class than ${kind.name}; close that handle first`,
      );
    }
    open.engine.handles++;
    if (options.syncAt !== undefined) open.engine.syncAt = options.syncAt;
    if (options.syncEvery !== undefined) open.engine.syncEvery = options.syncEvery;
    return { handle: open.handle, engine: open.engine as unknown as PodEngine<V, K> };
  }
  // Beside a handle that is open, memory of one's own can only be read from.
  const effective: PodOptions<V, K> = open === undefined ? options : { ...options, mode: 'r' };
  const traces = tracesOf(system, place);
  const engine = new PodEngine<V, K>(system, place, effective, kind.meta);
  if (engine.isFresh && traces !== undefined) newFolders.set(engine, traces);
  let handle: H;
  try {
    handle = kind.make(engine);
  } catch (error) {
    discardHandle(engine);
    throw error;
  }
  if (options.isolated !== true && !isForeign) {
    const { real, folder } = identify(system, place);
    registry().pods.set(real, { engine: engine as unknown as PodEngine<never, Key>, handle, folder });
  }
  return { handle, engine };
}

/** Lets a second handle share an engine; from now on opening the folder gives this one. */
export function shareHandle<V, K extends Key>(engine: PodEngine<V, K>, handle: object): void {
  engine.handles++;
  for (const [real, open] of registry().pods) {
    if ((open.engine as unknown) === engine) registry().pods.set(real, { ...open, handle });
  }
}

/** Gives one handle back; the last one closes the folder. */
export function releaseHandle<V, K extends Key>(engine: PodEngine<V, K>, beforeRelease?: () => void): void {
  if (engine.closed) return;
  if (engine.handles > 1) {
    engine.handles--;
    return;
  }
  try {
    engine.close(beforeRelease);
  } finally {
    if (engine.closed) {
      for (const [real, open] of registry().pods) {
        if ((open.engine as unknown) === engine) registry().pods.delete(real);
      }
    }
  }
}

/** Gives back a handle that its caller never got; a folder that was made for it goes again. */
export function discardHandle<V, K extends Key>(engine: PodEngine<V, K>): void {
  const traces = newFolders.get(engine);
  releaseHandle(engine, traces?.removeFiles);
  if (engine.closed) traces?.removeFolders();
}

/** What removes the traces of a first open. */
interface Traces {
  /** To be called while the folder is locked: whoever waits for the lock sees that its file is gone, and begins anew. */
  readonly removeFiles: () => void;
  readonly removeFolders: () => void;
}

const newFolders: WeakMap<object, Traces> = new WeakMap();

/** Looks at what is there before a folder is made. */
function tracesOf({ fs }: System, place: string): Traces | undefined {
  const missing: string[] = [];
  const names = new Set<string>();
  try {
    if (fs.stat(join(place, MANIFEST_NAME)) !== undefined) return undefined;
    for (let folder = place; fs.stat(folder) === undefined; folder = dirname(folder)) missing.push(folder);
    if (missing.length === 0) for (const name of fs.readdir(place)) names.add(name);
  } catch {
    return undefined; // Opening it says what is wrong.
  }
  return {
    removeFiles: () => {
      try {
        const ours = fs.readdir(place).filter((name) => !names.has(name) && isOurs(name));
        // The manifest first: a log without one is nobody's. The lock last.
        ours.sort((a, b) => removalRank(a) - removalRank(b));
        for (const name of ours) removeQuietly(fs, join(place, name));
      } catch {
        // What stays is an empty pod.
      }
    },
    removeFolders: () => {
      try {
        for (const folder of missing) fs.rmdir(folder);
      } catch {
        // Somebody put something into it meanwhile: then it is theirs.
      }
    },
  };
}

function isOurs(name: string): boolean {
  return name === MANIFEST_NAME || name.startsWith(LOCK_NAME) || classify(name).kind !== 'other';
}

function removalRank(name: string): number {
  if (name === MANIFEST_NAME) return 0;
  return name.startsWith(LOCK_NAME) ? 2 : 1;
}

/** An absolute path; `~` is the home folder, as in the ancestor (checklist TP-009). */
export function normalizePath(path: string): string {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new PodError(
      'ERR_POD_OPTIONS',
      'The path of a pod must be a string that is not empty and has no NUL in it.',
      {
        info: { option: 'path' },
      },
    );
  }
  if (path === '~' || path.startsWith('~/')) return join(homedir(), path.slice(1));
  return resolve(path);
}

/** Makes the folder for a copy; it must be missing or empty. */
export function copyTarget(path: string, options: object): { fs: System['fs']; target: string; undo: () => void } {
  const target = normalizePath(path);
  checkOptions(target, options);
  const { fs } = nodeSystem;
  const undo = makeEmptyFolder(fs, target);
  return { fs, target, undo };
}

function findOpen(system: System, place: string): OpenPod | undefined {
  const { real, folder } = identify(system, place);
  const open = registry().pods.get(real);
  if (open === undefined || open.engine.closed) return undefined;
  // A file system gives the number of a folder that was removed to the next one, so the files must be the handle's, too.
  return open.folder === folder && open.engine.isInPlace ? open : undefined;
}

/** The real path of a folder and what tells it from another one under the same path. */
function identify({ fs }: System, place: string): { real: string; folder: string } {
  try {
    const stat = fs.stat(place);
    if (stat !== undefined) return { real: fs.realpath(place), folder: fileIdentity(stat) };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    if (errorCode(error) === 'ENOTDIR') throw belowFileError(place, error);
  }
  return { real: place, folder: 'missing' };
}

function requireSameOptions(path: string, { engine }: OpenPod, options: PodOptions<never, Key>): void {
  const { layout, durability } = engine;
  const mode = engine.isWritable ? 'w' : 'r';
  const checks: [name: string, now: unknown, asked: unknown][] = [
    ['mode', mode, options.mode ?? 'w'],
    ['gzipped', layout.gzip, options.gzipped ?? layout.gzip],
    ['fileSize', layout.fileSize, options.fileSize ?? layout.fileSize],
    ['durability', durability, options.durability ?? durability],
  ];
  for (const [name, now, asked] of checks) {
    if (now !== asked)
      throw optionsError(path, name, `conflicts: it is open with ${String(now)}, and ${String(asked)} was asked for`);
  }
  if (options.schema !== undefined && options.schema !== engine.schema) {
    throw optionsError(path, 'schema', 'conflicts: it is open with another one');
  }
}
