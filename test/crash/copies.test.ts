/**
 * A fault, a death and a power cut at each single call of a backup, a copy and a restore: the source stays what it is, a backup is whole or none,
 * and at the path of a restore is the old pod or the new one.
 */
import { describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import { backUp, backUpInSeries } from '../../src/disk/backup.ts';
import { copyFolder } from '../../src/disk/copy.ts';
import type { HeldLock } from '../../src/disk/lock.ts';
import { readFolder } from '../../src/disk/reader.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import { restoreFolder } from '../../src/disk/restore.ts';
import { PodEngine } from '../../src/pod/engine.ts';
import {
  type FsCall,
  type FsFault,
  MemoryFileSystem,
  MemoryLocks,
  ProcessKilled,
  seededRandom,
  type TestSystem,
  testSystem,
} from '../../src/testing/index.ts';
import { testSize } from '../size.ts';
import { exitTasks } from './enumerator-exit.ts';
import { settle, stateOf } from './enumerator-explorer.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));

const SOURCE = '/data/source';
const OLD = '/data/old';
type Value = { n: number; key: string };
const quietly = (): void => {};

/** Locks that leave a file, as the real ones do. */
class FileLocks extends MemoryLocks {
  readonly #fs: MemoryFileSystem;

  constructor(fs: MemoryFileSystem) {
    super();
    this.#fs = fs;
  }

  override acquire(folder: string): HeldLock {
    const lock = super.acquire(folder);
    this.#fs.put(`${folder}/lock`, new Uint8Array());
    return lock;
  }
}

function systemOn(fs: MemoryFileSystem): TestSystem {
  return testSystem({ fs, locks: new FileLocks(fs), foldLogBytes: 300 });
}

/** A pod of a process that died: shards, and changes that are only in the log. */
async function leavePod(system: TestSystem, path: string, salt: number, fileSize: number): Promise<string> {
  exitTasks.clear();
  const engine = new PodEngine<Value, Key>(system, path, { fileSize, durability: 'process' }, { maxTries: salt });
  const set = (...keys: string[]): void => {
    for (const key of keys) engine.table.set(key, { n: salt, key });
  };
  set('a', 'b', 'c', 'd', 'e', 'f', 'g');
  engine.compact();
  set('h', 'a');
  engine.table.delete(engine.table.find('d') as never);
  await settle();
  engine.sync();
  exitTasks.clear();
  return stateOf(engine.table);
}

interface Work {
  /** Makes the disk that it begins with. */
  readonly prepare?: (system: TestSystem) => void;
  readonly run: (system: TestSystem) => void;
  /** Looks at what another process, or the next start of the machine, finds. */
  readonly look: (found: MemoryFileSystem, pods: Pods, hasReturned: boolean) => void;
  /** It fails cleanly: nothing new is left. */
  readonly leavesNothing: boolean;
}

interface Pods {
  readonly source: string;
  readonly old: string;
}

interface World {
  /** The disk before the work; each try has a clone of it. */
  readonly fs: MemoryFileSystem;
  readonly pods: Pods;
}

async function worldOf({ prepare }: Work): Promise<World> {
  const fs = new MemoryFileSystem();
  const made = systemOn(fs);
  const pods = { source: await leavePod(made, SOURCE, 1, 3), old: await leavePod(made, OLD, 2, 2) };
  prepare?.(systemOn(fs));
  return { fs, pods };
}

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};

/** What the next process finds, and what is certain of it. */
function recovered(fs: MemoryFileSystem, path: string): { state: string; ended: string; quarantined: number } {
  const system = testSystem({ fs });
  const found = recoverFolder(system, path, { fileSize: 3, gzip: false, meta: {} });
  const table = new Table<never, Key>(owner, found.opened.manifest.fileSize);
  bindFolder(system, path, found, table);
  return { state: stateOf(table), ended: found.report.ended, quarantined: found.report.quarantined.length };
}

function isPod(fs: MemoryFileSystem, path: string): boolean {
  try {
    readFolder(testSystem({ fs }), path);
    return true;
  } catch (error) {
    expect((error as PodError).code).toMatch(/^ERR_POD_(NOT_FOUND|CORRUPT)$/);
    return false;
  }
}

/** A copy is whole, or it is no pod. */
function lookAtCopy(path: string) {
  return (fs: MemoryFileSystem, { source, old }: Pods, hasReturned: boolean): void => {
    if (hasReturned || isPod(fs, path)) expect(recovered(fs, path).state).toBe(source);
    // Nor does it look like one that is damaged.
    else expect(fs.stat(`${path}/pod.json`)).toBeUndefined();
    expect(recovered(fs, SOURCE).state).toBe(source);
    expect(recovered(fs, OLD).state).toBe(old);
  };
}

const SERIES = '/backups/2023-11-14T22-13-20Z';

const works: Readonly<Record<string, Work>> = {
  'a backup': {
    run: (system) => void backUp(system, SOURCE, '/far/away/backup', quietly),
    look: lookAtCopy('/far/away/backup'),
    leavesNothing: true,
  },
  'a copy in another layout': {
    run: (system) => void copyFolder(system, SOURCE, '/copy', { gzip: true, fileSize: 2 }, quietly),
    look: lookAtCopy('/copy'),
    leavesNothing: true,
  },
  'a backup over what a dead one left': {
    prepare: (system) => {
      let renames = 0;
      system.fs.intercept = ({ name }) => (name === 'rename' && ++renames > 2 ? { kind: 'kill' } : undefined);
      expect(() => backUp(system, SOURCE, '/backup', quietly)).toThrow(ProcessKilled);
    },
    run: (system) => void backUp(system, SOURCE, '/backup', quietly),
    look: lookAtCopy('/backup'),
    leavesNothing: false,
  },
  'a backup in a series': {
    prepare: (system) => {
      for (let n = 0; n < 2; n++) backUpInSeries(system, SOURCE, '/backups', 5, quietly);
    },
    run: (system) => void backUpInSeries(system, SOURCE, '/backups', 2, quietly),
    look: (fs, pods, hasReturned) => {
      const names = fs.readdir('/backups');
      const whole = names.filter((name) => isPod(fs, `/backups/${name}`));
      // Never fewer than asked for, and what is there is right.
      expect(whole.length).toBeGreaterThanOrEqual(2);
      for (const name of whole) expect(recovered(fs, `/backups/${name}`).state).toBe(pods.source);
      // An old one that could not be looked at is left alone.
      if (hasReturned) expect(whole).toContain('2023-11-14T22-13-20Z-3');
      expect(recovered(fs, SOURCE).state).toBe(pods.source);
    },
    leavesNothing: false,
  },
  'a restore in the place of a pod': restoreWork(() => {}),
  'a restore of a pod in another layout': restoreWork((system) => {
    copyFolder(system, SOURCE, '/gzipped', { gzip: true, fileSize: 2 }, quietly);
  }, '/gzipped'),
  'a restore in the place of a folder of tastypy': restoreWork((system) => {
    const { fs } = system;
    const lines = readFolder(system, OLD).entries.map(
      ({ key, source, position, length, check }) =>
        `${JSON.stringify(key)}\t${source.textAt(position, length, check)}\n`,
    );
    for (const name of fs.readdir(OLD)) fs.unlink(`${OLD}/${name}`);
    fs.put(`${OLD}/0.json`, Buffer.from(lines.slice(0, 6).join('')));
    fs.put(`${OLD}/1.json`, Buffer.from(lines.slice(6).join('')));
  }),
  'a restore in the place of a pod whose compaction was cut short': restoreWork((system) => {
    let isListed = false;
    system.fs.intercept = ({ name, to }) => {
      if (isListed && name === 'rename') return { kind: 'kill' };
      isListed ||= name === 'rename' && to?.endsWith('/pod.json') === true;
      return undefined;
    };
    new PodEngine<Value, Key>(system, OLD, {}, {}).compact();
    expect(system.fs.killed).toBe(true);
  }),
  'a restore where nothing is': {
    run: (system) => void restoreFolder(system, SOURCE, '/data/new', quietly),
    look: lookAtCopy('/data/new'),
    leavesNothing: true,
  },
};

function restoreWork(prepare: (system: TestSystem) => void, backup: string = SOURCE): Work {
  return {
    prepare,
    run: (system) => void restoreFolder(system, backup, OLD, quietly),
    look: (fs, { source, old }, hasReturned) => {
      const kept = fs.readdir('/data').filter((name) => /^old\.before-restore-[\dTZ-]+$/.test(name));
      // A reader looks first, because the opening below tidies up.
      const read = readFolder(testSystem({ fs }), OLD);
      const { state, quarantined } = recovered(fs, OLD);
      expect(quarantined).toBe(0);
      expect(hasReturned ? [source] : [old, source]).toContain(state);
      expect(read.entries.length).toBe(state.split('\n').length - 1);
      if (state === source) expect(kept).toHaveLength(1);
      // What has the name is whole.
      for (const name of kept) expect(recovered(fs, `/data/${name}`).state).toBe(old);
      expect(recovered(fs, SOURCE).state).toBe(source);
    },
    leavesNothing: false,
  };
}

/** How many random power cuts are tried at each call, and at which calls: at all, or at every second, in turn. */
const { randomImages, step } = {
  small: { randomImages: 1, step: 10 },
  ci: { randomImages: 2, step: 1 },
  long: { randomImages: 6, step: 1 },
}[testSize];

type Mode = 'once' | 'for good' | 'disk full' | 'death';

function faultFor({ name }: FsCall, mode: Mode): FsFault {
  if (mode === 'death') return { kind: 'kill' };
  if (name === 'write' || name === 'mkdir') return { kind: 'error', code: 'ENOSPC' };
  if (name === 'open') return { kind: 'error', code: 'EMFILE' };
  if (name === 'rename' || name === 'unlink' || name === 'rmdir') return { kind: 'error', code: 'EROFS' };
  return { kind: 'error', code: 'EIO' };
}

function countCalls(work: Work, world: World): number {
  const fs = world.fs.afterDeath();
  const before = fs.calls;
  fs.intercept = () => undefined;
  work.run(systemOn(fs));
  return fs.calls - before;
}

function strike(work: Work, world: World, at: number, mode: Mode): string {
  const { pods } = world;
  const fs = world.fs.afterDeath();
  const system = systemOn(fs);
  const first = fs.calls + at;
  const before = new Set(fs.image().keys());
  let struck = 'nothing';
  fs.intercept = (call) => {
    const hits = mode === 'for good' || mode === 'disk full' ? call.index >= first : call.index === first;
    if (!hits || (mode === 'disk full' && call.name !== 'write')) return undefined;
    struck = `${call.name} ${call.path}`;
    return faultFor(call, mode);
  };
  let error: unknown;
  try {
    work.run(system);
  } catch (thrown) {
    error = thrown;
  }
  fs.intercept = undefined;
  try {
    if (mode === 'death') expect(error === undefined || error instanceof ProcessKilled).toBe(true);
    else if (error !== undefined) {
      // A fault of the second that a look at another process's work needs can also be taken for damage, and is then said as that.
      expect((error as PodError).code).toMatch(/^ERR_POD_(DISK|CORRUPT)$/);
      expect(fs.openPaths).toEqual([]);
      for (const path of [SOURCE, OLD, '/backup', '/copy', SERIES]) expect(system.locks.isHeld(path)).toBe(false);
      if (work.leavesNothing && mode !== 'for good') {
        expect([...fs.image().keys()].filter((path) => !before.has(path))).toEqual([]);
      }
    }
    const random = seededRandom(at + 1);
    const images = [() => false, ...Array.from({ length: randomImages }, () => () => random.chance(0.5))];
    const hasReturned = error === undefined;
    work.look(fs.afterDeath(), pods, hasReturned);
    for (const survives of images) {
      work.look(MemoryFileSystem.fromImage(fs.imageAfter(survives)), pods, hasReturned);
    }
  } catch (cause) {
    throw new Error(`${mode}, call ${at}, ${struck}, met as ${String(error)}: ${String(cause)}`, { cause });
  }
  return struck;
}

describe('a fault, a death or a power cut', () => {
  for (const [name, work] of Object.entries(works)) {
    it(`during ${name}`, { timeout: 600_000 }, async () => {
      const world = await worldOf(work);
      const calls = countCalls(work, world);
      expect(calls).toBeGreaterThan(20);
      for (const [turn, mode] of (['once', 'for good', 'disk full', 'death'] as const).entries()) {
        for (let at = turn % step; at < calls; at += step)
          expect(strike(work, world, at, mode)).not.toBe(mode === 'disk full' ? '' : 'nothing');
      }
    });
  }
});
