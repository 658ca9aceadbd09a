/**
 * A file system in memory that can fail on purpose: at any call, once or for good, and by power cuts that keep any part of what was not
 * fsynced.
 *
 * It stands where Node's stands (`FileSystem`), so the real code runs on it, a thousand times faster than on a disk.
 */
import { systemError } from '../disk/files.ts';
import type { FileStat, FileSystem, OpenMode } from '../disk/fs.ts';
import { MemoryNode, type OpenOperation, type Survival } from './memory-files.ts';

/** The calls that can be intercepted. `stage` is made of several of them, as it is on Node's file system. */
export type FsCallName =
  | 'open'
  | 'close'
  | 'read'
  | 'write'
  | 'truncate'
  | 'fsync'
  | 'fdatasync'
  | 'rename'
  | 'unlink'
  | 'mkdir'
  | 'rmdir'
  | 'fsyncFolder'
  | 'readdir'
  | 'stat'
  | 'fstat'
  | 'realpath';

/** A call that is about to be made. */
export interface FsCall {
  /** Counts the calls of this file system, from 0. */
  readonly index: number;
  readonly name: FsCallName;
  readonly path: string;
  /** Of a rename: the new path. */
  readonly to?: string | undefined;
  /** Of a write. */
  readonly bytes?: Uint8Array | undefined;
  /** Of an open. */
  readonly mode?: OpenMode | undefined;
  /** Of a call on an open file. */
  readonly fd?: number | undefined;
}

/** What happens instead of a call. */
export type FsFault =
  /**
   * It fails with this code and does nothing. The fsync of a file also loses what it should have written; that of a folder does not,
   * because file systems keep folders in a journal, where a later commit takes along what an earlier one could not.
   */
  | { readonly kind: 'error'; readonly code: string }
  /** A write takes this many bytes, a read gives this many. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** It claims to have worked and has done nothing. */
  | { readonly kind: 'lie' }
  /** The process dies before the call: this and every later call throws `ProcessKilled`. */
  | { readonly kind: 'kill' };

/** Thrown by every call after the process was killed; no code under test may catch and forget it, because nothing works any more. */
export class ProcessKilled extends Error {}

/** Files by path, and folders as `'folder'`: what a disk holds after a power cut. */
export type DiskImage = ReadonlyMap<string, Uint8Array | 'folder'>;

/** Which file the content of an image was, so that its inode and its time come back with it. */
const IDENTITIES: WeakMap<Uint8Array, { readonly id: number; readonly mtimeMs: number }> = new WeakMap();

interface OpenFile {
  readonly node: MemoryNode;
  readonly path: string;
  readonly mode: OpenMode;
  /** How many failures of the file this descriptor has been told of. */
  failuresTold: number;
}

/** An fdatasync that runs beside the program. */
export interface FsyncBeside {
  readonly path: string;
  finish(): void;
  fail(code: string): void;
}

/** The file system. Paths are absolute, with forward slashes. */
export class MemoryFileSystem implements FileSystem {
  /** Asked before each call; what it answers happens instead. */
  intercept: ((call: FsCall) => FsFault | undefined) | undefined;
  /** Told after each call that changed something. */
  changed: ((call: FsCall) => void) | undefined;
  /** Whether an fdatasync beside the program waits in `besides` until it is told how it ends. Otherwise it ends at once. */
  holdsBesides: boolean = false;
  readonly besides: Set<FsyncBeside> = new Set();
  calls: number = 0;
  killed: boolean = false;
  #root: MemoryNode = MemoryNode.durableFolder(1, new Map());
  #nodesMade: number = 1;
  #operationsMade: number = 0;
  readonly #open: Map<number, OpenFile> = new Map();
  #descriptorsMade: number = 2;

  /** A disk that holds exactly this, durably. Folders above a file need not be named. */
  static fromImage(image: DiskImage): MemoryFileSystem {
    const fs = new MemoryFileSystem();
    const contents = new Map<string, Map<string, MemoryNode>>([['', new Map()]]);
    // A path sorts behind the folders above it, so that walking backwards meets what is inside before the folder itself.
    const folders = new Set<string>();
    for (const [path, content] of image) {
      const parts = path.split('/').slice(1, content === 'folder' ? undefined : -1);
      for (let depth = 1; depth <= parts.length; depth++) folders.add(`/${parts.slice(0, depth).join('/')}`);
    }
    for (const folder of folders) contents.set(folder, new Map());
    for (const [path, content] of image) {
      if (content === 'folder') continue;
      // A file that survives keeps its inode and its time; one that somebody put into the image is a new one.
      const known = IDENTITIES.get(content);
      const node = MemoryNode.durableFile(known?.id ?? fs.#nextId(), content);
      node.mtimeMs = known?.mtimeMs ?? 0;
      fs.#nodesMade = Math.max(fs.#nodesMade, node.id);
      fs.#operationsMade = Math.max(fs.#operationsMade, node.mtimeMs);
      contents.get(parentOf(path))?.set(nameOf(path), node);
    }
    for (const folder of [...folders].sort().reverse()) {
      const node = MemoryNode.durableFolder(fs.#nextId(), contents.get(folder) ?? new Map());
      contents.get(parentOf(folder))?.set(nameOf(folder), node);
    }
    fs.#root = MemoryNode.durableFolder(1, contents.get('') ?? new Map());
    return fs;
  }

  /** Changes what a file holds as a failing disk does: its inode, its size and its times say nothing of it, and it is durable. */
  rot(path: string, bytes: Uint8Array): void {
    const node = this.#require(path);
    if (bytes.length !== node.data.length) throw new RangeError('rot does not change how long a file is');
    const { mtimeMs } = node;
    // The same file, so that descriptors that are open read it, too.
    node.perform({ kind: 'write', offset: 0, bytes: new Uint8Array(bytes), ...this.#operation(node) });
    node.persist();
    node.mtimeMs = mtimeMs;
  }

  // ---- Power cuts and deaths.

  /** Every operation whose survival is open, oldest first. */
  openOperations(): OpenOperation[] {
    const found: OpenOperation[] = [];
    const seen = new Set<MemoryNode>();
    const visit = (node: MemoryNode): void => {
      if (seen.has(node)) return;
      seen.add(node);
      for (const operation of node.openOperations) {
        if (operation.status !== 'durable') found.push(operation);
        if ('target' in operation) visit(operation.target);
      }
      for (const child of node.entries.values()) visit(child);
      for (const child of node.entriesAfter(() => false).values()) visit(child);
    };
    visit(this.#root);
    return found.sort((a, b) => a.order - b.order);
  }

  /** What the disk holds when the power fails now and each open operation fares as told. */
  imageAfter(survival: (operation: OpenOperation) => Survival): DiskImage {
    const image = new Map<string, Uint8Array | 'folder'>();
    const visit = (node: MemoryNode, path: string): void => {
      if (!node.isFolder) {
        const bytes = node.bytesAfter(survival);
        IDENTITIES.set(bytes, { id: node.id, mtimeMs: node.mtimeMs });
        image.set(path, bytes);
        return;
      }
      if (path !== '') image.set(path, 'folder');
      for (const [name, child] of node.entriesAfter(survival)) visit(child, `${path}/${name}`);
    };
    visit(this.#root, '');
    return image;
  }

  /** What everybody sees now, durable or not. */
  image(): DiskImage {
    const image = new Map<string, Uint8Array | 'folder'>();
    const visit = (node: MemoryNode, path: string): void => {
      if (!node.isFolder) IDENTITIES.set(node.data, { id: node.id, mtimeMs: node.mtimeMs });
      if (path !== '') image.set(path, node.isFolder ? 'folder' : node.data);
      for (const [name, child] of node.entries) visit(child, `${path}/${name}`);
    };
    visit(this.#root, '');
    return image;
  }

  /** The same files for another process, after this one died: nothing is open, and what was not fsynced still is not. */
  afterDeath(): MemoryFileSystem {
    const copy = new MemoryFileSystem();
    copy.#root = this.#root.clone(new Map());
    copy.#nodesMade = this.#nodesMade;
    copy.#operationsMade = this.#operationsMade;
    return copy;
  }

  /** Descriptors that are open: what a failed open may not leave behind. */
  get openPaths(): string[] {
    return [...this.#open.values()].map(({ path }) => path);
  }

  /** Puts a file there as somebody else's program would, durably. */
  put(path: string, bytes: Uint8Array): void {
    const parent = this.#require(parentOf(path));
    const node = MemoryNode.durableFile(this.#nextId(), bytes);
    parent.perform({ kind: 'link', name: nameOf(path), target: node, ...this.#operation(parent) });
    parent.persist();
  }

  // ---- The calls.

  open(path: string, mode: OpenMode): number {
    if (this.#enter('open', path, { mode }) !== undefined) return -1;
    const parent = this.#require(parentOf(path), path);
    if (!parent.isFolder) throw systemError('ENOTDIR', 'open', path);
    let node = parent.entries.get(nameOf(path));
    if (mode === 'wx') {
      if (node !== undefined) throw systemError('EEXIST', 'open', path);
      node = new MemoryNode(this.#nextId(), false);
      parent.perform({ kind: 'link', name: nameOf(path), target: node, ...this.#operation(parent) });
    }
    if (node === undefined) throw systemError('ENOENT', 'open', path);
    if (node.isFolder) throw systemError('EISDIR', 'open', path);
    const fd = ++this.#descriptorsMade;
    this.#open.set(fd, { node, path, mode, failuresTold: node.failures });
    if (mode === 'wx') this.#tell('open', path);
    return fd;
  }

  close(fd: number): void {
    const { path } = this.#file(fd, 'close');
    // As on Linux, the descriptor is gone even where close fails.
    if (!this.killed) this.#open.delete(fd);
    this.#enter('close', path);
  }

  read(fd: number, buffer: Uint8Array, offset: number, length: number, position: number): number {
    const { node, path } = this.#file(fd, 'read');
    const fault = this.#enter('read', path);
    if (fault?.kind === 'lie') return 0;
    const atMost = fault?.kind === 'short' ? Math.min(fault.bytes, length) : length;
    const bytes = node.data.subarray(position, position + atMost);
    buffer.set(bytes, offset);
    return bytes.length;
  }

  write(fd: number, buffer: Uint8Array, offset: number, length: number, position: number): number {
    const { node, path, mode } = this.#file(fd, 'write');
    if (mode === 'r') throw systemError('EBADF', 'write', path);
    const given = buffer.subarray(offset, offset + length);
    const fault = this.#enter('write', path, { bytes: given, fd });
    if (fault?.kind === 'lie') return length;
    // A copy: `slice` of a Buffer would be a view of the caller's memory.
    const bytes = new Uint8Array(given.subarray(0, fault?.kind === 'short' ? Math.min(fault.bytes, length) : length));
    if (bytes.length === 0) return 0;
    node.perform({ kind: 'write', offset: position, bytes, ...this.#operation(node) });
    this.#tell('write', path);
    return bytes.length;
  }

  truncate(fd: number, size: number): void {
    const { node, path } = this.#file(fd, 'truncate');
    if (this.#enter('truncate', path, { fd }) !== undefined || node.data.length === size) return;
    node.perform({ kind: 'truncate', size, ...this.#operation(node) });
    this.#tell('truncate', path);
  }

  fsync(fd: number): void {
    this.#syncNow(fd, 'fsync');
  }

  fdatasync(fd: number): void {
    this.#syncNow(fd, 'fdatasync');
  }

  #syncNow(fd: number, name: 'fsync' | 'fdatasync'): void {
    const file = this.#file(fd, name);
    let fault: FsFault | undefined;
    try {
      fault = this.#enter(name, file.path, { fd });
    } catch (error) {
      if (!(error instanceof ProcessKilled)) this.#fail(file);
      throw error;
    }
    if (fault === undefined) this.#finishSync(file, name, file.node.openOperations);
  }

  fdatasyncBeside(fd: number): Promise<void> {
    const file = this.#file(fd, 'fdatasync');
    const begun = file.node.openOperations.slice();
    return new Promise((resolve, reject) => {
      const beside: FsyncBeside = {
        path: file.path,
        finish: () => {
          this.besides.delete(beside);
          try {
            this.#finishSync(file, 'fdatasync', begun);
            resolve();
          } catch (error) {
            reject(error);
          }
        },
        fail: (code) => {
          this.besides.delete(beside);
          this.#fail(file);
          reject(systemError(code, 'fdatasync', file.path));
        },
      };
      let fault: FsFault | undefined;
      try {
        fault = this.#enter('fdatasync', file.path, { fd });
      } catch (error) {
        if (!(error instanceof ProcessKilled)) this.#fail(file);
        throw error;
      }
      if (fault !== undefined) resolve();
      else if (this.holdsBesides) this.besides.add(beside);
      else beside.finish();
    });
  }

  /** As Linux since 4.13: a file's failure is told to each descriptor that was open, once; and the pages count as clean. */
  #fail(file: OpenFile): void {
    file.node.lose();
    file.failuresTold = ++file.node.failures;
  }

  #finishSync(file: OpenFile, name: FsCallName, operations: readonly OpenOperation[]): void {
    file.node.persist(operations);
    if (file.failuresTold === file.node.failures) return;
    file.failuresTold = file.node.failures;
    throw systemError('EIO', name, file.path);
  }

  /** The same calls as Node's file system makes underneath, so that each of them can fail. */
  stage(path: string, bytes: Uint8Array): void {
    const temporary = `${path}.${(++this.#operationsMade * 7919) % 4_294_967_296}`;
    let made = false;
    try {
      const fd = this.open(temporary, 'wx');
      made = true;
      let written: number;
      try {
        written = this.write(fd, bytes, 0, bytes.byteLength, 0);
        this.fsync(fd);
      } finally {
        this.close(fd);
      }
      if (written < bytes.byteLength) throw systemError('ENOSPC', 'write', path);
      this.rename(temporary, path);
    } catch (error) {
      try {
        if (made) this.unlink(temporary);
      } catch {
        // The error that brought us here is the one to report.
      }
      throw error;
    }
  }

  rename(from: string, to: string): void {
    if (parentOf(from) !== parentOf(to)) throw systemError('EXDEV', 'rename', from);
    if (this.#enter('rename', from, { to }) !== undefined) return;
    const parent = this.#require(parentOf(from), from);
    const node = parent.entries.get(nameOf(from));
    if (node === undefined) throw systemError('ENOENT', 'rename', from);
    if (from === to) return;
    const names = { from: nameOf(from), name: nameOf(to), target: node };
    parent.perform({ kind: 'rename', ...names, ...this.#operation(parent) });
    this.#tell('rename', from, { to });
  }

  unlink(path: string): void {
    if (this.#enter('unlink', path) !== undefined) return;
    this.#remove(path, 'unlink', false);
  }

  mkdir(path: string): void {
    if (this.#enter('mkdir', path) !== undefined) return;
    const parent = this.#require(parentOf(path), path);
    if (!parent.isFolder) throw systemError('ENOTDIR', 'mkdir', path);
    if (parent.entries.has(nameOf(path))) throw systemError('EEXIST', 'mkdir', path);
    const node = new MemoryNode(this.#nextId(), true);
    parent.perform({ kind: 'link', name: nameOf(path), target: node, ...this.#operation(parent) });
    this.#tell('mkdir', path);
  }

  rmdir(path: string): void {
    if (this.#enter('rmdir', path) !== undefined) return;
    if ((this.#find(path)?.entries.size ?? 0) > 0) throw systemError('ENOTEMPTY', 'rmdir', path);
    this.#remove(path, 'rmdir', true);
  }

  fsyncFolder(path: string): void {
    if (this.#enter('fsyncFolder', path) !== undefined) return;
    this.#require(path).persist();
  }

  readdir(path: string): string[] {
    this.#enter('readdir', path);
    const node = this.#require(path);
    if (!node.isFolder) throw systemError('ENOTDIR', 'readdir', path);
    return [...node.entries.keys()].sort();
  }

  stat(path: string): FileStat | undefined {
    this.#enter('stat', path);
    const node = this.#find(path, 'stat');
    return node && statOf(node);
  }

  fstat(fd: number): FileStat {
    const { node, path } = this.#file(fd, 'fstat');
    this.#enter('fstat', path);
    return statOf(node);
  }

  realpath(path: string): string {
    this.#enter('realpath', path);
    this.#require(path);
    return path;
  }

  // ---- Shared.

  /** Counts a call and asks what happens instead. Returns the fault where the call is to do something else than fail. */
  #enter(name: FsCallName, path: string, details: Partial<FsCall> = {}): FsFault | undefined {
    if (MemoryFileSystem.#isWatched) return undefined;
    if (this.killed) throw new ProcessKilled();
    const fault = this.intercept?.({ index: this.calls++, name, path, ...details });
    if (fault === undefined) return undefined;
    if (fault.kind === 'kill') {
      this.killed = true;
      throw new ProcessKilled();
    }
    if (fault.kind !== 'error') return fault;
    throw systemError(fault.code, name, path);
  }

  static #isWatched: boolean = false;

  /**
   * Runs `work` as somebody who looks on: its calls are not counted, meet no fault, and work in a process that was killed, too. For oracles that
   * want to know what a program holds, some of which lies in files.
   */
  static lookOn<R>(work: () => R): R {
    const before = MemoryFileSystem.#isWatched;
    MemoryFileSystem.#isWatched = true;
    try {
      return work();
    } finally {
      MemoryFileSystem.#isWatched = before;
    }
  }

  #tell(name: FsCallName, path: string, details: Partial<FsCall> = {}): void {
    this.changed?.({ index: this.calls - 1, name, path, ...details });
  }

  #operation(node: MemoryNode): { order: number; node: MemoryNode; status: 'pending' } {
    const order = ++this.#operationsMade;
    node.mtimeMs = order;
    return { order, node, status: 'pending' };
  }

  #nextId(): number {
    return ++this.#nodesMade;
  }

  #find(path: string, call: FsCallName = 'open'): MemoryNode | undefined {
    let node: MemoryNode | undefined = this.#root;
    for (const name of path.split('/')) {
      if (name === '') continue;
      if (node === undefined) return undefined;
      if (!node.isFolder) throw systemError('ENOTDIR', call, path);
      node = node.entries.get(name);
    }
    return node;
  }

  #require(path: string, shown: string = path): MemoryNode {
    const node = this.#find(path);
    if (node === undefined) throw systemError('ENOENT', 'open', shown);
    return node;
  }

  #file(fd: number, call: FsCallName): OpenFile {
    const file = this.#open.get(fd);
    if (file !== undefined) return file;
    if (this.killed) throw new ProcessKilled();
    throw systemError('EBADF', call, `descriptor ${fd}`);
  }

  #remove(path: string, call: 'unlink' | 'rmdir', folder: boolean): void {
    const parent = this.#require(parentOf(path), path);
    const node = parent.entries.get(nameOf(path));
    if (node === undefined) throw systemError('ENOENT', call, path);
    if (node.isFolder !== folder) throw systemError(folder ? 'ENOTDIR' : 'EISDIR', call, path);
    parent.perform({ kind: 'unlink', name: nameOf(path), target: node, ...this.#operation(parent) });
    this.#tell(call, path);
  }
}

function statOf(node: MemoryNode): FileStat {
  const { id, data, mtimeMs, isFolder } = node;
  return { dev: 1, ino: id, size: data.length, mtimeMs, isFile: !isFolder, isFolder };
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
