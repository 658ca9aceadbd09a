/**
 * Where the owner of a shared pod listens: a note in the pod's folder that says so, and a safe place for the socket.
 *
 * Only the user of the folder can read the note or reach the socket; its token keeps out whoever learns of the socket all the same.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import * as nodeFs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { PodError } from '../core/errors.ts';
import { disk, diskError, readFile, removeQuietly, writeAll } from './files.ts';
import { type FileSystem, fileIdentity } from './fs.ts';
import { ADDRESS_NAME, isSocketName, newSocketName, temporaryName } from './names.ts';
import { randomHex } from './random.ts';

/** The systems' limits are 108 bytes (Linux) and 104 (macOS), with a NUL at the end (reliability F19). */
const SOCKET_PATH_BYTES_MAX = 100;

/** What the note says. */
export interface Address {
  readonly protocol: number;
  /** The path of a Unix socket, or of a named pipe. */
  readonly socket: string;
  /** 32 random bytes, hexadecimal. */
  readonly token: string;
  readonly pid: number;
  /** The folder that it was put into: a copy of the note leads nobody from the copy of a folder to the owner of the original. */
  readonly folder: string;
}

const addressSchema = z.object({
  protocol: z.number().int(),
  socket: z.string().min(1).max(4096),
  token: z.string().regex(/^[0-9a-f]{64}$/),
  pid: z.number().int().positive(),
  folder: z.string(),
});

/** The note of a folder; undefined where there is none that can be read, or one of another folder. */
export function readAddress(fs: FileSystem, folder: string): Address | undefined {
  try {
    const text = readFile(fs, folder, ADDRESS_NAME)?.toString('utf8');
    const address = text === undefined ? undefined : addressSchema.safeParse(JSON.parse(text)).data;
    return address?.folder === identityOf(fs, folder) ? address : undefined;
  } catch {
    return undefined; // Another one is written soon, or nobody listens.
  }
}

/** Puts the note down, whole from the moment it can be seen. Whoever does must hold the folder's lock. */
export function writeAddress(fs: FileSystem, folder: string, address: Omit<Address, 'folder'>): void {
  disk(folder, `write ${ADDRESS_NAME}`, () => {
    const temporary = join(folder, temporaryName('0.json'));
    const fd = fs.open(temporary, 'wx');
    try {
      try {
        const note: Address = { ...address, folder: identityOf(fs, folder) };
        writeAll(fs, fd, Buffer.from(`${JSON.stringify(note)}\n`), 0);
      } finally {
        fs.close(fd);
      }
      fs.rename(temporary, join(folder, ADDRESS_NAME));
    } catch (error) {
      removeQuietly(fs, temporary);
      throw error;
    }
  });
}

function identityOf(fs: FileSystem, folder: string): string {
  const stat = fs.stat(folder);
  return stat === undefined ? 'missing' : fileIdentity(stat);
}

/** Takes note and socket away. Whoever does must hold the folder's lock. */
export function removeAddress(fs: FileSystem, folder: string, socket: string): void {
  removeQuietly(fs, join(folder, ADDRESS_NAME));
  removeSocket(fs, socket);
}

/** Takes a socket away that nobody listens to any more. A pipe of Windows goes by itself. */
function removeSocket(fs: FileSystem, socket: string): void {
  if (process.platform !== 'win32') removeQuietly(fs, socket);
}

/**
 * A name to listen under, with nothing there: in the folder where that fits, else in a short folder that only this user can enter.
 *
 * @throws {PodError} `ERR_POD_DISK` where that folder is not safe
 */
export function newSocketPath(fs: FileSystem, folder: string, shared: boolean = false): string {
  if (process.platform === 'win32') {
    return `\\\\.\\pipe\\everpod-${createHash('sha256').update(folder).digest('hex').slice(0, 16)}-${randomHex(8)}`;
  }
  // Whoever has the lock is the only owner, so these are of owners that are gone.
  for (const name of disk(folder, 'list the folder', () => fs.readdir(folder))) {
    if (isSocketName(name)) removeSocket(fs, join(folder, name));
  }
  const inside = join(folder, newSocketName());
  if (!shared && Buffer.byteLength(inside) <= SOCKET_PATH_BYTES_MAX) return inside;
  const place = privateFolder();
  return join(place, `${randomHex(8)}.sock`);
}

/**
 * A short folder of this user's own. Anybody can make a folder in the system's temporary one, so it must be ours, no link, and closed to
 * others (reliability K5).
 */
function privateFolder(): string {
  const uid = process.getuid?.() ?? 0;
  const runtime = process.env.XDG_RUNTIME_DIR;
  const bases = [...(runtime === undefined ? [] : [runtime]), tmpdir(), '/tmp'];
  let refused: unknown;
  for (const base of bases) {
    const place = join(base, `everpod-${uid}`);
    if (Buffer.byteLength(place) + 24 > SOCKET_PATH_BYTES_MAX) continue;
    try {
      nodeFs.mkdirSync(place, { mode: 0o700 });
    } catch (error) {
      refused = error;
    }
    const stat = nodeFs.lstatSync(place, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (stat.isDirectory() && stat.uid === uid && (stat.mode & 0o077) === 0) return place;
    throw new PodError(
      'ERR_POD_DISK',
      `${place} is not a folder that only this user can enter, so no socket is put there. Remove it, or set XDG_RUNTIME_DIR.`,
      { path: place },
    );
  }
  throw diskError(bases[0] ?? '/tmp', 'make a folder for the socket', refused);
}
