/**
 * The seam to the file system: every call the library makes goes through one of these few functions.
 *
 * All of them are synchronous, because state must be written in exit handlers and renames must not overtake each other;
 * only the fsync of the log may run beside the program (reliability F9). Errors are Node's, with their `code`.
 */
import * as fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { isRandomName, temporaryName } from './names.ts';

/** What is asked about a file. */
export interface FileStat {
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
  readonly isFile: boolean;
  readonly isFolder: boolean;
}

/** Tells a file or folder from any other that is there at the same time: moved, it stays the same, and a copy is another. */
export function fileIdentity({ dev, ino }: FileStat): string {
  return `${dev}:${ino}`;
}

/** How a file is opened: `r` to read, `r+` to read and write what exists, `wx` to create what must not exist. */
export type OpenMode = 'r' | 'r+' | 'wx';

/** The file system as the library sees it. Implemented by Node's, and by ones that fail on purpose. */
export interface FileSystem {
  open(path: string, mode: OpenMode): number;
  close(fd: number): void;
  /** Bytes read, which may be fewer than asked for; 0 at the end of the file. */
  read(fd: number, buffer: Uint8Array, offset: number, length: number, position: number): number;
  /** Bytes written, which may be fewer than given. */
  write(fd: number, buffer: Uint8Array, offset: number, length: number, position: number): number;
  truncate(fd: number, size: number): void;
  fsync(fd: number): void;
  fdatasync(fd: number): void;
  /** The one call that does not block: an fdatasync beside the program. */
  fdatasyncBeside(fd: number): Promise<void>;
  /** Writes a whole new file, durable when it returns. The path must not exist; on an error nothing may be left there. */
  stage(path: string, bytes: Uint8Array): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  /** Creates one folder, readable by its owner alone. */
  mkdir(path: string): void;
  rmdir(path: string): void;
  /** Makes creations, renames and removals in a folder durable. */
  fsyncFolder(path: string): void;
  readdir(path: string): string[];
  /** Follows links; undefined where there is nothing. ENOTDIR where what should be a folder on the way is a file. */
  stat(path: string): FileStat | undefined;
  /** Of an open file. */
  fstat(fd: number): FileStat;
  realpath(path: string): string;
}

/** What reading the lines of files asks of it. */
export type ReadableFiles = Pick<FileSystem, 'open' | 'close' | 'read' | 'fstat'>;

/** Node's file system. */
export const nodeFileSystem: FileSystem = {
  open: openFile,
  close: (fd) => fs.closeSync(fd),
  read: (fd, buffer, offset, length, position) => fs.readSync(fd, buffer, offset, length, position),
  write: (fd, buffer, offset, length, position) => fs.writeSync(fd, buffer, offset, length, position),
  truncate: (fd, size) => fs.ftruncateSync(fd, size),
  fsync: (fd) => fs.fsyncSync(fd),
  fdatasync: (fd) => fs.fdatasyncSync(fd),
  fdatasyncBeside: (fd) =>
    new Promise((resolve, reject) => {
      fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
    }),
  stage: stageFile,
  rename: (from, to) => freeingBeside(to, () => fs.renameSync(from, to)),
  unlink: (path) => freeingBeside(path, () => fs.unlinkSync(path)),
  mkdir: (path) => {
    fs.mkdirSync(path, { mode: 0o700 });
    fs.chmodSync(path, 0o700); // Whatever the umask left of it.
  },
  rmdir: (path) => fs.rmdirSync(path),
  fsyncFolder,
  readdir: (path) => fs.readdirSync(path),
  stat: statFile,
  fstat: (fd) => toFileStat(fs.fstatSync(fd)),
  realpath: (path) => fs.realpathSync(path),
};

/** Freeing less than this takes no time worth a second thought. */
const LARGE_BYTES = 4 << 20;

/**
 * Runs `work`, which takes the name from the file at `path`, and lets the system free a large one beside the program: whoever gives it up last waits for that,
 * 31 to 47 ms for a log of 150 MB on ext4. So it is kept open until the name is gone, and closed by a thread of Node's.
 */
function freeingBeside(path: string, work: () => void): void {
  const fd = openLarge(path);
  try {
    work();
  } finally {
    // What it could tell is of no use to anybody: the name is gone, and so is the descriptor.
    if (fd !== undefined) fs.close(fd, () => {});
  }
}

function openLarge(path: string): number | undefined {
  // Windows renames nothing over a file that is open.
  if (process.platform === 'win32') return undefined;
  try {
    const stat = fs.lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined || !stat.isFile() || stat.size < LARGE_BYTES) return undefined;
    return fs.openSync(path, fs.constants.O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined; // Then it is freed in its place.
  }
}

/**
 * Nothing is ever written through a link that somebody put in a folder: `r+` does not follow one, and `wx` refuses whatever is there. Reading
 * does not wait for the other end of a pipe.
 */
function openFile(path: string, mode: OpenMode): number {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = fs.constants;
  if (mode === 'r') return fs.openSync(path, O_RDONLY | O_NONBLOCK);
  if (mode === 'r+') return fs.openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  const fd = fs.openSync(path, O_RDWR | O_CREAT | O_EXCL, 0o600);
  fs.fchmodSync(fd, 0o600); // Whatever the umask left of it.
  return fd;
}

/** Not with `throwIfNoEntry: false`: from Node 22 on that keeps quiet about ENOTDIR, too, and a path below a file would be called missing. */
function statFile(path: string): FileStat | undefined {
  try {
    return toFileStat(fs.statSync(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

// Windows has neither.
const { O_NOFOLLOW = 0, O_NONBLOCK = 0 } = fs.constants as Partial<typeof fs.constants>;

/** The system writes at most 2 GiB in one call. */
const SINGLE_WRITE_BYTES_MAX = 1 << 30;

/**
 * write-file-atomic creates, writes and fsyncs the file, but it calls write once and ignores the count, so that a full disk
 * leaves a short file and no error (reliability F1). Hence the size check. It also follows a link at the path, overwrites, and uses
 * temporary names that can be predicted (F3). Hence the fresh random name that it writes under, from which a rename then goes past any link.
 */
function stageFile(path: string, bytes: Uint8Array): void {
  if (isRandomName(path)) {
    writeWhole(path, bytes);
    return;
  }
  const temporary = join(dirname(path), temporaryName(basename(path).replace(/^\.|\.g\d+$/g, '')));
  try {
    writeWhole(temporary, bytes);
    fs.renameSync(temporary, path);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

function writeWhole(path: string, bytes: Uint8Array): void {
  if (bytes.byteLength > SINGLE_WRITE_BYTES_MAX) {
    stageInParts(path, bytes);
    return;
  }
  writeFileAtomic.sync(path, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), {
    mode: 0o600,
    fsync: true,
  });
  const { size } = fs.statSync(path);
  if (size === bytes.byteLength) return;
  fs.unlinkSync(path);
  throw Object.assign(new Error(`ENOSPC: only ${size} of ${bytes.byteLength} bytes were written, write '${path}'`), {
    code: 'ENOSPC',
    syscall: 'write',
    path,
  });
}

function stageInParts(path: string, bytes: Uint8Array): void {
  const fd = openFile(path, 'wx');
  try {
    for (let done = 0; done < bytes.byteLength; ) {
      done += fs.writeSync(fd, bytes, done, Math.min(bytes.byteLength - done, SINGLE_WRITE_BYTES_MAX), done);
    }
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  } catch (error) {
    fs.unlinkSync(path);
    throw error;
  }
}

function fsyncFolder(path: string): void {
  // Windows cannot open a folder to fsync it; there a rename is as durable as the file system makes it.
  if (process.platform === 'win32') return;
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function toFileStat(stat: fs.Stats): FileStat {
  return {
    dev: stat.dev,
    ino: stat.ino,
    size: stat.size,
    mtimeMs: stat.mtimeMs,
    isFile: stat.isFile(),
    isFolder: stat.isDirectory(),
  };
}
