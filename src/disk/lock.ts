/**
 * One writing process per folder: a lock that the kernel frees when its owner dies, however it dies.
 *
 * Linux: flock(2) on the file `lock`, taken by the `flock` command on a descriptor it inherits; the lock belongs to the open file, so
 * it stays with us when the command ends (reliability F17). macOS: the same lock through the O_EXLOCK flag of open. Elsewhere, or where
 * there is no `flock` command: each claimant puts down a file of its own, `lock.held.*`, that names it, and has the lock if nobody else's
 * file names a process that is alive. No name is used twice, so a dead owner's file is removed without a race.
 */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { PodError } from '../core/errors.ts';
import { diskError, errorCode } from './files.ts';
import { ADDRESS_NAME, LOCK_NAME } from './names.ts';
import { randomHex } from './random.ts';

/** Who holds, or last held, a lock. */
export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  readonly bootId: string;
  /** When the process started, in the kernel's ticks since boot, where the system tells; it tells a reused pid apart. */
  readonly startTicks: string;
  /** In which namespace the pid counts, where the system tells; a pid of another one says nothing here. */
  readonly namespace?: string | undefined;
  /** How many processes the kernel had killed by then, since the machine was started, for want of memory; where the system tells. */
  readonly oomKills?: number | undefined;
  /** ISO 8601. */
  readonly since: string;
}

/**
 * What the next owner is told of us: `closed` nothing, because all is in order; `open` that we had the folder and did not close it; `undone`
 * what we were told, because we changed nothing.
 */
export type LockOutcome = 'closed' | 'open' | 'undone';

export interface HeldLock {
  /** Who holds it now: what the previous owner is compared with. */
  readonly owner: LockOwner;
  /** Who held it before, if that process never closed the folder. */
  readonly previous: LockOwner | undefined;
  /** Whether the lock file is still the one that was locked; somebody may have removed it. */
  isIntact(): boolean;
  /** Frees the lock. */
  release(outcome: LockOutcome): void;
}

/** Takes locks; a seam, so that tests can play other machines. */
export interface Locks {
  /** @throws {PodError} `ERR_POD_LOCKED` with the owner in `info` */
  acquire(folder: string): HeldLock;
}

/**
 * Who is named in a folder's lock, and whether that process may be alive, without touching the lock; undefined where the last owner closed
 * the folder, or there was none. A process on another machine counts as alive.
 */
export function namedOwner(folder: string): { readonly owner: LockOwner; readonly isAlive: boolean } | undefined {
  const owner = readOwner(join(folder, LOCK_NAME));
  return owner && { owner, isAlive: mayBeAlive(owner) };
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
  let owner: LockOwner | undefined;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const lock = tryKernelLock(folder, method);
    // A failed first open removes its lock file; whoever had it open by then holds a lock on nothing, and takes the new file.
    if (lock?.isIntact()) return lock;
    lock?.release('open');
    owner = readOwner(join(folder, LOCK_NAME));
    if (owner !== undefined && mayBeAlive(owner)) break;
    // The owner is about to write its name, or has just closed the folder.
    pause(PAUSE_MS);
  }
  throw lockedError(folder, owner);
}

/** The lock; undefined where somebody else has it. */
function tryKernelLock(folder: string, method: 'flock' | 'exlock'): HeldLock | undefined {
  const path = join(folder, LOCK_NAME);
  const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW;
  const isNew = !fs.existsSync(path);
  let fd: number;
  try {
    fd = fs.openSync(path, method === 'exlock' ? flags | DARWIN_EXLOCK : flags, 0o600);
  } catch (error) {
    if (method === 'exlock' && errorCode(error) === 'EAGAIN') return undefined;
    throw diskError(folder, 'open the lock', error);
  }
  try {
    if (!grantOwner(fd).isFile())
      throw Object.assign(new Error(`${path} is not a file`), { code: 'EINVAL', syscall: 'open' });
    if (method === 'flock' && !flock(folder, fd)) {
      fs.closeSync(fd);
      return undefined;
    }
    const previous = readOwner(path);
    const owner = thisProcess();
    const isIntact = (): boolean => isSameFile(fs.fstatSync(fd), path);
    if (isIntact()) writeOwner(fd, owner, isNew ? path : undefined);
    return {
      owner,
      previous,
      isIntact,
      release: (outcome) => {
        try {
          if (outcome !== 'open') writeText(fd, textAfter(outcome, previous));
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

/** Writes who we are. Where there is no room for it, `created` is removed again, while it is held. */
function writeOwner(fd: number, owner: LockOwner, created: string | undefined): void {
  try {
    writeText(fd, ownerText(owner));
  } catch (error) {
    if (created !== undefined) fs.rmSync(created, { force: true });
    throw error;
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
  let rival: Claim | undefined;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    try {
      const mine = putDownClaim(folder);
      const other = otherClaim(folder, mine);
      if (other === undefined) return holdClaim(folder, mine);
      fs.rmSync(join(folder, mine), { force: true });
      // Another claimant may have seen our file and gone back too; one that stays has the lock.
      if (other.name === rival?.name) break;
      rival = other;
    } catch (error) {
      // Whoever has the lock clears unfinished claims away, ours perhaps.
      if (errorCode(error) !== 'ENOENT') throw diskError(folder, 'take the lock', error);
    }
    pause(Math.random() * PAUSE_MS);
  }
  throw lockedError(folder, rival?.owner);
}

/**
 * About a second in all: on a machine that is very busy an owner may take that long between taking the lock and writing its name, and a refusal
 * should say whose it is. After that, others race for it all the time.
 */
const ATTEMPTS_MAX = 66;
const PAUSE_MS = 15;

/** A file that names a claimant. */
interface Claim {
  readonly name: string;
  readonly owner: LockOwner;
}

/** Puts down a file that names this process, complete from the moment it can be seen. Returns its name. */
function putDownClaim(folder: string): string {
  const name = `${LOCK_NAME}.held.${randomHex(8)}`;
  const unfinished = join(folder, `.${name}.tmp`);
  try {
    fs.writeFileSync(unfinished, ownerText(thisProcess()), { mode: 0o600, flag: 'wx' });
    fs.renameSync(unfinished, join(folder, name));
  } catch (error) {
    fs.rmSync(unfinished, { force: true });
    throw error;
  }
  return name;
}

/** A claim of somebody else who may be alive. Those of the dead are removed. */
function otherClaim(folder: string, mine: string): Claim | undefined {
  for (const name of fs.readdirSync(folder)) {
    if (name === mine || !/^lock\.held\.[0-9a-f]{16}$/.test(name)) continue;
    const owner = readOwner(join(folder, name));
    if (owner !== undefined && mayBeAlive(owner)) return { name, owner };
    // Nobody, too, is dead: only a power cut leaves a file without its content.
    fs.rmSync(join(folder, name), { force: true });
  }
  return undefined;
}

function holdClaim(folder: string, mine: string): HeldLock {
  const path = join(folder, mine);
  try {
    for (const name of fs.readdirSync(folder)) {
      if (/^\.lock\.held\.[0-9a-f]{16}\.tmp$/.test(name)) fs.rmSync(join(folder, name), { force: true });
    }
    const notes = join(folder, LOCK_NAME);
    const previous = readOwner(notes);
    const owner = thisProcess();
    writeNotes(notes, ownerText(owner));
    const held = fs.statSync(path);
    return {
      owner,
      previous,
      isIntact: () => isSameFile(held, path),
      release: (outcome) => {
        try {
          if (outcome !== 'open') writeNotes(notes, textAfter(outcome, previous));
        } finally {
          fs.rmSync(path, { force: true });
        }
      },
    };
  } catch (error) {
    fs.rmSync(path, { force: true });
    throw error;
  }
}

/** Follows no link that somebody put there. */
function writeNotes(path: string, text: string): void {
  const { O_WRONLY, O_CREAT, O_NOFOLLOW = 0 } = fs.constants as typeof fs.constants & { O_NOFOLLOW?: number };
  const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    grantOwner(fd);
    writeText(fd, text);
  } finally {
    fs.closeSync(fd);
  }
}

/** Gives the owner what the umask may have taken. Returns what is known of the file. */
function grantOwner(fd: number): fs.Stats {
  const stat = fs.fstatSync(fd);
  if ((stat.mode & 0o600) !== 0o600) fs.fchmodSync(fd, 0o600);
  return stat;
}

function isSameFile(held: fs.Stats, path: string): boolean {
  const now = fs.statSync(path, { throwIfNoEntry: false });
  return now !== undefined && now.dev === held.dev && now.ino === held.ino;
}

/** An owner on another machine, or in a pid namespace we cannot see into, counts as alive. */
function mayBeAlive(owner: LockOwner): boolean {
  const here = thisProcess();
  if (owner.host !== here.host) return true;
  if (owner.bootId !== here.bootId) return false;
  if ((owner.namespace ?? '') !== (here.namespace ?? '')) return true;
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

/** Tells one start of the machine from another; empty where the system does not tell. */
export function bootIdentity(): string {
  try {
    return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return ''; // Only Linux tells; elsewhere a stale lock is recognised by its process alone.
  }
}

function thisProcess(): LockOwner {
  const bootId = bootIdentity();
  const startTicks = startTicksOf(process.pid) ?? '';
  const since = new Date().toISOString();
  const namespace = pidNamespace();
  return { pid: process.pid, host: hostname(), bootId, startTicks, namespace, oomKills: oomKillsSinceBoot(), since };
}

/** The kernel's own count, which it keeps for the whole machine; what killers outside the kernel do is not in it. */
function oomKillsSinceBoot(): number | undefined {
  try {
    const count = /^oom_kill (\d+)$/m.exec(fs.readFileSync('/proc/vmstat', 'latin1'))?.[1];
    return count === undefined ? undefined : Number(count);
  } catch {
    return undefined; // Only Linux counts, from 4.13 on.
  }
}

/** What has happened to the machine between two owners of a folder, from what each of them saw. */
export function meanwhile(
  previous: LockOwner | undefined,
  now: LockOwner,
): { readonly restarted: boolean; readonly oomKills: number | undefined } {
  const nothing = { restarted: false, oomKills: undefined };
  if (previous === undefined || previous.bootId === '' || now.bootId === '') return nothing;
  if (previous.bootId !== now.bootId) return { ...nothing, restarted: previous.host === now.host };
  const [before, after] = [previous.oomKills, now.oomKills];
  return before === undefined || after === undefined || after < before
    ? nothing
    : { ...nothing, oomKills: after - before };
}

function pidNamespace(): string | undefined {
  try {
    return fs.readlinkSync('/proc/self/ns/pid');
  } catch {
    return undefined; // Only Linux has them.
  }
}

function isThisProcess(owner: LockOwner): boolean {
  const { pid, host, startTicks, namespace } = thisProcess();
  return owner.pid === pid && owner.host === host && owner.startTicks === startTicks && owner.namespace === namespace;
}

function pause(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}

function ownerText({ pid, host, bootId, startTicks, namespace, oomKills, since }: LockOwner): string {
  const place = namespace === undefined ? '' : `pid namespace: ${namespace}\n`;
  const kills = oomKills === undefined ? '' : `oom kills: ${oomKills}\n`;
  return `pid: ${pid}\nhost: ${host}\nboot id: ${bootId}\nstart time: ${startTicks}\n${place}${kills}since: ${since}\n`;
}

/** An empty file says that the last owner closed the folder. */
function textAfter(outcome: 'closed' | 'undone', previous: LockOwner | undefined): string {
  return outcome === 'closed' || previous === undefined ? '' : ownerText(previous);
}

/** Written over what is there before that is cut off, which needs no room on a full disk. */
function writeText(fd: number, text: string): void {
  const length = text === '' ? 0 : fs.writeSync(fd, text, 0);
  fs.ftruncateSync(fd, length);
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
  const oomKills = fields.get('oom kills');
  return {
    pid,
    host: fields.get('host') ?? '',
    bootId: fields.get('boot id') ?? '',
    startTicks: fields.get('start time') ?? '',
    namespace: fields.get('pid namespace'),
    oomKills: oomKills !== undefined && /^\d{1,15}$/.test(oomKills) ? Number(oomKills) : undefined,
    since: fields.get('since') ?? '',
  };
}

function adviceFor(folder: string): string {
  return fs.existsSync(join(folder, ADDRESS_NAME))
    ? "It is served to other processes: join them with SharedPOD.open or SharedTracker.open of 'everpod/shared', or read it with mode: 'r'."
    : "Open it with mode: 'r' to read beside the writer, or close it there first. Processes that must all write share it: see 'everpod/shared'.";
}

function lockedError(folder: string, owner: LockOwner | undefined): PodError {
  const who =
    owner === undefined
      ? 'another process'
      : isThisProcess(owner)
        ? `this process itself (pid ${owner.pid}: another thread, or a second copy of everpod), since ${owner.since}`
        : `process ${owner.pid} on ${owner.host}, since ${owner.since}`;
  return new PodError(
    'ERR_POD_LOCKED',
    `${folder} is open for writing in ${who}. Only one process can write to a folder. ${adviceFor(folder)}`,
    { path: folder, info: { ...owner } },
  );
}
