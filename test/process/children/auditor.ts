/**
 * Reads a pod again and again beside its writer, some of it only a while after opening, and says the first thing that is wrong. Whatever would
 * change a file throws.
 */
import childProcess from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { type PersistentOrderedDict, POD } from '../../../src/index.ts';
import type { Account } from './bank.ts';
import { say } from './say.ts';

const [folder = '', timesText = '', sumText = '', pauseText = '0'] = process.argv.slice(2);
const pauseMs = Number(pauseText);
const times = Number(timesText);
let openFiles = 0;

forbidChanges();

function forbidChanges(): void {
  const open = fs.openSync;
  fs.openSync = (path, flags, mode) => {
    const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND } = fs.constants;
    const writes = typeof flags === 'number' && (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)) !== 0;
    if (writes || (typeof flags === 'string' && flags !== 'r')) throw new Error(`opened to write: ${String(path)}`);
    const fd = open(path, flags, mode);
    openFiles++;
    return fd;
  };
  const close = fs.closeSync;
  fs.closeSync = (fd) => {
    openFiles--;
    close(fd);
  };
  const changing = {
    fs: fs as unknown as Record<string, unknown>,
    names: [
      ...[
        'writeFileSync',
        'appendFileSync',
        'mkdirSync',
        'renameSync',
        'unlinkSync',
        'rmSync',
        'rmdirSync',
        'copyFileSync',
      ],
      ...[
        'truncateSync',
        'ftruncateSync',
        'linkSync',
        'symlinkSync',
        'chmodSync',
        'utimesSync',
        'futimesSync',
        'writevSync',
      ],
    ],
  };
  for (const name of changing.names) {
    changing.fs[name] = () => {
      throw new Error(`called: ${name}`);
    };
  }
  childProcess.spawnSync = () => {
    throw new Error('started a program');
  };
  syncBuiltinESMExports();
}

function readFloor(): number {
  const bytes = Buffer.alloc(8);
  const fd = fs.openSync(`${folder}.floor`, 'r');
  fs.readSync(fd, bytes, 0, 8, 0);
  fs.closeSync(fd);
  return bytes.readDoubleLE();
}

function audit(pod: PersistentOrderedDict<Account>, floor: number): number {
  let sum = 0;
  let lastBorn = -1;
  let version = -1;
  for (const [key, { amount, born }] of pod) {
    if (key === 'version') version = amount;
    else sum += amount;
    if (born <= lastBorn) throw new Error(`${key} stands behind a younger one`);
    lastBorn = born;
  }
  if (sum !== Number(sumText)) throw new Error(`the sum is ${sum} in version ${version}`);
  if (version < floor) throw new Error(`version ${version} is older than ${floor}, which was synced before`);
  return version;
}

const versions = new Set<number>();
/** How often shards stayed open until the lines in them were read. */
let pinned = 0;

/** A while in which the writer goes on. */
async function pause(filesBefore: number): Promise<void> {
  if (openFiles > filesBefore) pinned++;
  if (pauseMs > 0) await sleep(pauseMs);
}

let kept: PersistentOrderedDict<Account> | undefined;
for (let n = 0; n < times; n++) {
  const floor = readFloor();
  if (n % 3 === 0) {
    kept ??= POD.open<Account>(folder, { mode: 'r' });
    kept.revert();
    await pause(0);
    versions.add(audit(kept, floor));
  } else {
    const before = openFiles;
    const pod = POD.open<Account>(folder, { mode: 'r', isolated: true, cacheSize: n % 3 === 1 ? 0 : 1 << 20 });
    await pause(before);
    versions.add(audit(pod, floor));
    pod.close();
    if (openFiles !== before) throw new Error(`${openFiles - before} files were left open`);
  }
}
say(JSON.stringify({ audits: times, versions: versions.size, pinned }));
