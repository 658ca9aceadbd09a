// Links, pipes and folders under every name that everpod uses in a folder: nothing outside is ever written, nothing hangs, and what is
// refused is refused with a sentence. Also: world-writable folders and every umask.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemLocks } from '../../src/disk/lock.ts';
import { repairFolder } from '../../src/disk/repair.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD, type PodErrorCode } from '../../src/index.ts';
import { picture, temporaryPaths, thrownBy } from './forge.ts';

const newPath = temporaryPaths();
const VICTIM = 'not ours';
const opened: { close(): void }[] = [];

afterEach(() => {
  for (const open of opened.splice(0)) open.close();
});

/** A folder and a file outside that must stay as they are. */
function outside(): { folder: string; file: string; expectUntouched: () => void } {
  const folder = newPath('outside');
  mkdirSync(folder);
  const file = join(folder, 'victim');
  writeFileSync(file, VICTIM);
  return {
    folder,
    file,
    expectUntouched: () => {
      expect(readdirSync(folder)).toEqual(['victim']);
      expect(readFileSync(file, 'utf8')).toBe(VICTIM);
    },
  };
}

/** A pod that was not closed: shards, a log with records, and an unfinished append at its end. */
function crashedPod(gzipped = false): string {
  const folder = newPath();
  const first = POD.open<number>(folder, { fileSize: 2, gzipped });
  for (let n = 0; n < 6; n++) first.set(`key ${n}`, n);
  first.close();
  const second = POD.open<number>(folder);
  second.set('key 0', 100);
  second.set('new', 1);
  second.sync();
  const copy = newPath();
  mkdirSync(copy);
  for (const name of readdirSync(folder))
    if (name !== 'lock') writeFileSync(join(copy, name), readFileSync(join(folder, name)));
  second.close();
  const log = readdirSync(copy).find((name) => name.startsWith('wal-')) ?? '';
  writeFileSync(join(copy, log), 'deadbeef {"s":99,"o":"se', { flag: 'a' });
  return copy;
}

/** Opens, changes, compacts and closes; gives back the code of what was thrown. */
function use(folder: string): PodErrorCode | undefined {
  try {
    const pod = POD.open<number>(folder);
    opened.push(pod);
    pod.set('key 1', 200);
    pod.sync();
    pod.compact();
    pod.set('key 2', 300);
    pod.close();
    return undefined;
  } catch (error) {
    return thrownBy(() => {
      throw error;
    }).code;
  }
}

/** The names in a folder in use, and what is to become of a link in their place. */
const NAMES: [name: string, verdict: 'refused' | 'replaced'][] = [
  ['lock', 'refused'],
  ['quarantine', 'refused'],
  ['pod.json', 'replaced'],
  ['0.json', 'replaced'],
  ['wal-000002.jsonl', 'refused'],
  ['wal-000003.jsonl', 'replaced'],
  ['wal-000004.jsonl', 'replaced'],
  ['.0.json.g1', 'replaced'],
  ['.3.json.g1', 'replaced'],
  ['.0.json.g1.0123456789abcdef.tmp', 'replaced'],
  ['.pod.json.0123456789abcdef.tmp', 'replaced'],
  ['.1.json.g1.123456', 'replaced'],
  ['9.json', 'replaced'],
];

describe('a link to a file outside, in the place of', () => {
  it.each(NAMES)('%s is %s', (name, verdict) => {
    const folder = crashedPod();
    const { file, folder: elsewhere, expectUntouched } = outside();
    const path = join(folder, name);
    const own = lstatSync(path, { throwIfNoEntry: false }) === undefined ? undefined : readFileSync(path);
    rmSync(path, { force: true });
    // What was there lies behind the link, so that its content is as good as before.
    if (own !== undefined) writeFileSync(file, own);
    symlinkSync(name === 'quarantine' ? elsewhere : file, path);
    const code = use(folder);
    expect(code).toBe(verdict === 'refused' ? 'ERR_POD_DISK' : undefined);
    if (own === undefined) expectUntouched();
    else expect(readFileSync(file)).toEqual(own);
    if (verdict === 'refused') {
      const error = thrownBy(() => POD.open(folder));
      expect(error.message).toContain('symbolic link');
      expect(lstatSync(path).isSymbolicLink()).toBe(true);
      // Nothing is lost: with the link gone, it all comes back.
      rmSync(path);
      if (own !== undefined) writeFileSync(path, own);
      expect(use(folder)).toBeUndefined();
    }
    const pod = POD.open<number>(folder);
    opened.push(pod);
    expect(Object.fromEntries(pod)).toEqual({
      'key 0': 100,
      'key 1': 200,
      'key 2': 300,
      'key 3': 3,
      'key 4': 4,
      'key 5': 5,
      new: 1,
    });
  });
});

describe('a link to a file that does not exist, in the place of', () => {
  it.each(NAMES)('%s: nothing is created behind it', (name) => {
    const folder = crashedPod();
    const { folder: elsewhere, expectUntouched } = outside();
    const path = join(folder, name);
    rmSync(path, { force: true });
    symlinkSync(join(elsewhere, 'created'), path);
    use(folder);
    expectUntouched();
  });
});

describe('every link at once, in a folder that is new', () => {
  it.each(['flock', 'pidfile'] as const)('with the lock taken by %s', (method) => {
    const folder = newPath();
    mkdirSync(folder);
    const { file, expectUntouched } = outside();
    for (const name of ['lock', 'pod.json', 'wal-000001.jsonl', '.0.json.g1', 'index.bin'])
      symlinkSync(file, join(folder, name));
    expect(thrownBy(() => systemLocks(method).acquire(folder))).toMatchObject({ code: 'ERR_POD_DISK' });
    expectUntouched();
    rmSync(join(folder, 'lock'));
    expect(use(folder)).toBe('ERR_POD_CORRUPT');
    expectUntouched();
    rmSync(join(folder, 'pod.json'));
    use(folder);
    expectUntouched();
  });
});

describe('a copy and a repair', () => {
  it('a copy goes into no folder with anything in it, and so past no link', () => {
    const pod = POD.open<number>(newPath(), { init: { a: 1 } });
    opened.push(pod);
    const target = newPath();
    mkdirSync(target);
    const { file, expectUntouched } = outside();
    symlinkSync(file, join(target, '.0.json.g1'));
    expect(thrownBy(() => pod.copyTo(target)).code).toBe('ERR_POD_OPTIONS');
    expectUntouched();
  });

  it('a repair writes through no link', () => {
    for (const name of ['.0.json.g1', '.1.json.g1', 'wal-000004.jsonl', '1.json', 'quarantine']) {
      const folder = crashedPod();
      const { file, folder: elsewhere, expectUntouched } = outside();
      rmSync(join(folder, name), { force: true });
      symlinkSync(name === 'quarantine' ? elsewhere : file, join(folder, name));
      try {
        repairFolder(nodeSystem, folder);
      } catch (error) {
        expect((error as { code?: unknown }).code).toBe('ERR_POD_DISK');
      }
      expectUntouched();
    }
  });
});

describe('a link to the folder itself', () => {
  it('is the folder', () => {
    const folder = newPath();
    const pod = POD.open<number>(folder, { init: { a: 1 } });
    opened.push(pod);
    const link = newPath('link');
    symlinkSync(folder, link);
    expect(POD.open(link)).toBe(pod);
    pod.close();
  });
});

describe('pipes and folders in the place of files', () => {
  const files = [
    'lock',
    'pod.json',
    '0.json',
    'wal-000002.jsonl',
    'wal-000004.jsonl',
    '9.json',
    '.0.json.g1',
    '.pod.json.0123456789abcdef.tmp',
  ];

  it.each(files)('%s as a pipe: nothing waits for its other end', (name) => {
    const folder = crashedPod();
    rmSync(join(folder, name), { force: true });
    if (spawnSync('mkfifo', [join(folder, name)]).status !== 0) {
      console.warn('# skipped: a pipe cannot be made here (mkfifo)');
      return;
    }
    for (const mode of ['r', 'w'] as const) {
      try {
        const pod = POD.open(folder, { mode });
        opened.push(pod);
        pod.close();
      } catch (error) {
        expect(['ERR_POD_DISK', 'ERR_POD_CORRUPT']).toContain((error as { code?: unknown }).code);
      }
    }
  });

  it.each(files)('%s as a folder: refused, and what is in it stays', (name) => {
    const folder = crashedPod();
    rmSync(join(folder, name), { force: true });
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'mine'), VICTIM);
    const code = use(folder);
    if (code !== undefined) expect(['ERR_POD_DISK', 'ERR_POD_CORRUPT']).toContain(code);
    expect(readFileSync(join(folder, name, 'mine'), 'utf8')).toBe(VICTIM);
  });
});

describe('who may read and write', () => {
  const modes = (folder: string): Record<string, string> => {
    const found: Record<string, string> = {};
    for (const name of ['.', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })]) {
      found[name] = (statSync(join(folder, name)).mode & 0o777).toString(8);
    }
    return found;
  };

  it.each([0o000, 0o022, 0o077, 0o277, 0o777])('with umask %o: folders for the owner alone, and files too', (umask) => {
    const root = newPath('parent');
    mkdirSync(root);
    const folder = join(root, 'above', 'pod');
    const before = process.umask(umask);
    try {
      const pod = POD.open<number>(folder, { fileSize: 2 });
      for (let n = 0; n < 5; n++) pod.set(`key ${n}`, n);
      pod.sync();
      pod.compact();
      pod.set('more', 1);
      pod.close();
    } finally {
      process.umask(before);
    }
    const damaged = crashedPod();
    const again = process.umask(umask);
    try {
      POD.open(damaged).close(); // puts the unfinished append into quarantine
    } finally {
      process.umask(again);
    }
    const found = { ...modes(folder), above: modes(join(root, 'above'))['.'] };
    for (const [name, mode] of Object.entries(found))
      expect([name, mode]).toEqual([name, name === '.' || name === 'above' ? '700' : '600']);
    const quarantined = modes(join(damaged, 'quarantine'));
    for (const [name, mode] of Object.entries(quarantined))
      expect([name, mode]).toEqual([name, name === '.' ? '700' : '600']);
  });

  it('a folder that all may write to is used as it is; its files are for the owner alone', () => {
    const folder = newPath();
    mkdirSync(folder);
    chmodSync(folder, 0o777);
    const pod = POD.open<number>(folder, { init: { a: 1 } });
    pod.compact();
    pod.close();
    expect(modes(folder)).toMatchObject({ '.': '777', 'pod.json': '600', '0.json': '600', lock: '600' });
  });
});

it('leaves what it was told to leave: a picture before and after a refusal', () => {
  const folder = crashedPod();
  const { folder: elsewhere } = outside();
  symlinkSync(elsewhere, join(folder, 'quarantine'));
  const before = picture(folder);
  expect(use(folder)).toBe('ERR_POD_DISK');
  rmSync(join(folder, 'lock'), { force: true });
  expect(picture(folder)).toEqual(before);
  renameSync(folder, `${folder}-moved`);
});
