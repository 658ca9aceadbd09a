/**
 * One writing process per folder: a lock that the kernel frees when its owner dies, however it dies.
 *
 * Linux: flock(2) on the file `lock`, taken by the `flock` command on a descriptor it inherits; the lock belongs to the open file, so
 * it stays with us when the command ends (reliability F17). macOS: the same lock through the O_EXLOCK flag of open. Elsewhere, or where
 * there is no `flock` command: a file `lock.held` that names its owner, with a check whether the owner is alive.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { PodError } from '../core/errors.ts';
import { diskError, errorCode } from './files.ts';
import { LOCK_NAME } from './names.ts';

/** Who holds, or last held, a lock. */
export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  readonly bootId: string;
  /** When the process started, in the kernel's ticks since boot, where the system tells; it tells a reused pid apart. */
  readonly startTicks: string;
  /** ISO 8601. */
  readonly since: string;
}

export interface HeldLock {
  /** Who held it before, if that process never closed the folder. */
  readonly previous: LockOwner | undefined;
  /** Frees the lock. `closed` says that the folder was closed properly. */
  release(closed: boolean): void;
}

/** Takes locks; a seam, so that tests can play other machines. */
export interface Locks {
  /** @throws {PodError} `ERR_POD_LOCKED` with the owner in `info` */
  acquire(folder: string): HeldLock;
}

/** How a lock can be taken. */
export type LockMethod = 'flock' | 'exlock' | 'pidfile';

/** Absolute paths only: a `flock` found through PATH could be anything (reliability E9). */
const FLOCK_COMMANDS = ['/usr/bin/flock', '/bin/flock', '/usr/local/bin/flock'];
/** `O_EXLOCK | O_NONBLOCK` of macOS, which Node does not name. */
const DARWIN_EXLOCK = 0x20 | 0x04;

/** The system's locks. `method` is chosen by the platform unless given. */
export function systemLocks(method: LockMethod = chooseMethod()): Locks {
  return { acquire: (folder) => (method === 'pidfile' ? acquireByPidFile(folder) : acquireByKernel(folder, method)) };
}

function chooseMethod(): LockMethod {
  if (process.platform === 'darwin') return 'exlock';
  return process.platform === 'linux' && FLOCK_COMMANDS.some((path) => fs.existsSync(path)) ? 'flock' : 'pidfile';
}

function acquireByKernel(folder: string, method: 'flock' | 'exlock'): HeldLock {
  const path = join(folder, LOCK_NAME);
  const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW;
  let fd: number;
  try {
    fd = fs.openSync(path, method === 'exlock' ? flags | DARWIN_EXLOCK : flags, 0o600);
  } catch (error) {
    if (method === 'exlock' && errorCode(error) === 'EAGAIN') throw lockedError(folder, readOwner(path));
    throw diskError(folder, 'open the lock', error);
  }
  try {
    if (method === 'flock' && !flock(folder, fd)) throw lockedError(folder, readOwner(path));
    const previous = readOwner(path);
    writeOwner(fd);
    return {
      previous,
      release: (closed) => {
        try {
          // An empty file says that the last owner closed the folder; what a dead owner left says who it was.
          if (closed) fs.ftruncateSync(fd, 0);
        } finally {
          fs.closeSync(fd);
        }
      },
    };
  } catch (error) {
    fs.closeSync(fd);
    throw diskError(folder, 'take the lock', error);
  }
}

/** Locks an open file through the `flock` command; false where somebody else has it. */
function flock(folder: string, fd: number): boolean {
  const command = FLOCK_COMMANDS.find((path) => fs.existsSync(path)) ?? 'flock';
  const { status, error, stderr } = spawnSync(command, ['-n', '-x', '3'], { stdio: ['ignore', 'ignore', 'pipe', fd] });
  if (status === 0) return true;
  if (status === 1) return false;
  throw new PodError('ERR_POD_DISK', `Could not lock ${folder}: ${error?.message ?? stderr.toString().trim()}`, {
    path: folder,
    cause: error,
  });
}

function acquireByPidFile(folder: string): HeldLock {
  const path = join(folder, `${LOCK_NAME}.held`);
  for (let attempt = 0; attempt < PIDFILE_ATTEMPTS; attempt++) {
    let fd: number;
    try {
      fd = fs.openSync(path, 'wx', 0o600);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw diskError(folder, 'create the lock', error);
      const owner = readOwner(path);
      if (owner === undefined || mayBeAlive(owner)) throw lockedError(folder, owner);
      takeAway(path, owner);
      continue;
    }
    writeOwner(fd);
    fs.closeSync(fd);
    const notes = join(folder, LOCK_NAME);
    const previous = readOwner(notes);
    fs.writeFileSync(notes, ownerText(thisProcess()), { mode: 0o600 });
    return {
      previous,
      release: (closed) => {
        if (closed) fs.writeFileSync(notes, '');
        fs.unlinkSync(path);
      },
    };
  }
  throw lockedError(folder, readOwner(path));
}

/** Each attempt either takes the lock or removes one dead owner's; more means that others race for it. */
const PIDFILE_ATTEMPTS = 10;

/** Removes a dead owner's file. Renamed first and looked at again, so that a new owner's file is never removed in its place. */
function takeAway(path: string, dead: LockOwner): void {
  const aside = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    fs.renameSync(path, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  const moved = readOwner(aside);
  if (moved?.pid === dead.pid && moved.startTicks === dead.startTicks) fs.unlinkSync(aside);
  else fs.renameSync(aside, path);
}

/** An owner on another machine, or in a pid namespace we cannot see into, counts as alive. */
function mayBeAlive(owner: LockOwner): boolean {
  const here = thisProcess();
  if (owner.host !== here.host) return true;
  if (owner.bootId !== here.bootId) return false;
  const ticks = startTicksOf(owner.pid);
  if (ticks !== undefined) return ticks !== 'dead' && (owner.startTicks === '' || ticks === owner.startTicks);
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) !== 'ESRCH';
  }
}

/** When a process started; `dead` for one that is gone or only waits to be reaped; undefined where the system does not tell. */
function startTicksOf(pid: number): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? 'dead' : (fields[19] ?? '');
  } catch {
    return 'dead';
  }
}

function thisProcess(): LockOwner {
  let bootId = '';
  try {
    bootId = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    // Only Linux tells; elsewhere a stale lock is recognised by its process alone.
  }
  const ticks = startTicksOf(process.pid);
  return { pid: process.pid, host: hostname(), bootId, startTicks: ticks ?? '', since: new Date().toISOString() };
}

function ownerText({ pid, host, bootId, startTicks, since }: LockOwner): string {
  return `pid: ${pid}\nhost: ${host}\nboot id: ${bootId}\nstart time: ${startTicks}\nsince: ${since}\n`;
}

function writeOwner(fd: number): void {
  fs.ftruncateSync(fd, 0);
  fs.writeSync(fd, ownerText(thisProcess()), 0);
}

function readOwner(path: string): LockOwner | undefined {
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const fields = new Map(text.split('\n').map((line) => line.split(': ', 2) as [string, string | undefined]));
  const pid = Number(fields.get('pid'));
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  return {
    pid,
    host: fields.get('host') ?? '',
    bootId: fields.get('boot id') ?? '',
    startTicks: fields.get('start time') ?? '',
    since: fields.get('since') ?? '',
  };
}

function lockedError(folder: string, owner: LockOwner | undefined): PodError {
  const who =
    owner === undefined
      ? 'another process'
      : owner.pid === process.pid && owner.host === hostname()
        ? `this process itself (pid ${owner.pid}: another thread, or a second copy of everpod), since ${owner.since}`
        : `process ${owner.pid} on ${owner.host}, since ${owner.since}`;
  return new PodError(
    'ERR_POD_LOCKED',
    `${folder} is open for writing in ${who}. Only one process can write to a folder. ` +
      `Open it with mode: 'r' to read beside the writer, or close it there first.`,
    { path: folder, info: { ...owner } },
  );
}
