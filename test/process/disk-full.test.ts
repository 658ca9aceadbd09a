import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { type Durability, type PersistentOrderedDict, POD, PodError, type PodOptions } from '../../src/index.ts';
import { useBench } from './built.ts';
import { contentOf } from './tree.ts';

const bench = useBench();
const LEVELS: readonly Durability[] = ['exit', 'process', 'power'];

type Pod = PersistentOrderedDict<string>;

/** The error of a step that must fail, as its code and, where the system refused, the system's. */
function errorOf(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    if (!(error instanceof PodError)) throw error;
    let cause: unknown = error.cause;
    while (cause instanceof PodError) cause = cause.cause;
    const { code } = (cause ?? {}) as { code?: string };
    return code === undefined ? error.code : `${error.code} ${code}`;
  }
  return 'none';
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function entriesOf(pod: Pod): [string, string][] {
  return [...pod];
}

/** What is on the disk, as another process would see it. */
function onDisk(path: string): [string, string][] {
  const reader = POD.open<string>(path, { mode: 'r', isolated: true });
  const entries = entriesOf(reader);
  reader.close();
  return entries;
}

// ---- Small disks.

const mountable = mount(mkdtempSync(join(realpathSync(tmpdir()), 'everpod-mount-')), 'size=1m', true);

function mount(path: string, options: string, onlyToTry: boolean = false): boolean {
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'everpod-test', path]);
  if (!onlyToTry) return status === 0;
  spawnSync('umount', [path]);
  rmdirSync(path);
  return status === 0;
}

if (!mountable) console.warn('Full disks are not tested: only root may mount a tmpfs, and not in every container.');
describe.skipIf(!mountable)('on a small disk', () => {
  const mounts: string[] = [];
  const pods: Pod[] = [];

  function newDisk(options: string): string {
    const path = bench.newPath('disk');
    mkdirSync(path);
    expect(mount(path, options)).toBe(true);
    mounts.push(path);
    return path;
  }

  /** Opens a pod that is closed after the test, whatever happens. */
  function open(path: string, options: PodOptions<string, string> = {}): Pod {
    const pod = POD.open<string>(path, { syncEvery: 0, ...options });
    pods.push(pod);
    return pod;
  }

  afterEach(() => {
    for (const path of mounts) rmSync(join(path, 'ballast'), { force: true });
    for (const pod of pods.splice(0)) {
      try {
        pod.close();
      } catch {
        // What it had to say was said in the test.
      }
    }
    for (const path of mounts.splice(0)) spawnSync('umount', ['-l', path]);
  });

  /** Fills the disk to the last byte, or leaves some room. */
  function fill(disk: string, leftBytes: number = 0): void {
    const fd = openSync(join(disk, 'ballast'), 'w');
    let size = 0;
    for (let step = 1 << 16; step >= 1; step >>= 4) {
      const bytes = Buffer.alloc(step);
      try {
        for (;;) size += writeSync(fd, bytes, 0, step, size);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ENOSPC') throw error;
      }
    }
    ftruncateSync(fd, Math.max(0, statSync(join(disk, 'ballast')).size - leftBytes));
    closeSync(fd);
  }

  function free(disk: string): void {
    rmSync(join(disk, 'ballast'));
  }

  const text = (letter: string): string => letter.repeat(6_000);

  function reopened(path: string): [string, string][] {
    const pod = open(path);
    const entries = entriesOf(pod);
    pod.close();
    return entries;
  }

  it('D24: at level power, a set that cannot be saved throws, stays dirty, and is saved later', () => {
    const disk = newDisk('size=1m');
    const pod = open(join(disk, 'pod'), { durability: 'power' });
    pod.set('a', text('a'));
    fill(disk);
    expect(errorOf(() => pod.set('b', text('b')))).toBe('ERR_POD_DISK ENOSPC');
    expect([...pod.dirty()]).toEqual(['a', 'b']);
    expect(onDisk(pod.path)).toEqual([['a', text('a')]]);
    expect(errorOf(() => pod.delete('a'))).toBe('ERR_POD_DISK ENOSPC');
    expect(onDisk(pod.path)).toEqual([['a', text('a')]]);
    free(disk);
    pod.set('c', text('c'));
    const all = [
      ['b', text('b')],
      ['c', text('c')],
    ];
    expect(onDisk(pod.path)).toEqual(all);
    pod.close();
    expect(reopened(pod.path)).toEqual(all);
  });

  it('D24: at level process, the next change hears of what could not be appended, before it is made', async () => {
    const disk = newDisk('size=1m');
    const pod = open(join(disk, 'pod'));
    pod.set('a', text('a'));
    await nextTurn();
    fill(disk);
    pod.set('b', text('b'));
    await nextTurn();
    expect(errorOf(() => pod.set('c', text('c')))).toBe('ERR_POD_DISK ENOSPC');
    expect([...pod.keys()]).toEqual(['a', 'b']);
    expect(onDisk(pod.path)).toEqual([['a', text('a')]]);
    free(disk);
    pod.set('c', text('c'));
    await nextTurn();
    expect(onDisk(pod.path)).toEqual(entriesOf(pod));
    pod.close();
    expect(reopened(pod.path).map(([key]) => key)).toEqual(['a', 'b', 'c']);
  });

  it.each(LEVELS)('D3, D24: a transaction is whole or absent on the disk, at level %s', async (durability) => {
    const disk = newDisk('size=1m');
    const pod = open(join(disk, 'pod'), { durability });
    pod.set('a', text('a'));
    pod.sync();
    fill(disk, 8_192);
    const heard = errorOf(() =>
      pod.transaction(() => {
        pod.delete('a');
        for (const letter of 'bcdef') pod.set(letter, text(letter));
      }),
    );
    expect(heard).toBe(durability === 'power' ? 'ERR_POD_DISK ENOSPC' : 'none');
    await nextTurn();
    expect(onDisk(pod.path)).toEqual([['a', text('a')]]);
    expect(errorOf(() => pod.sync())).toBe('ERR_POD_DISK ENOSPC');
    expect(onDisk(pod.path)).toEqual([['a', text('a')]]);
    expect([...pod.keys()]).toEqual([...'bcdef']);
    free(disk);
    pod.sync();
    expect(onDisk(pod.path)).toEqual(entriesOf(pod));
  });

  it.each(LEVELS)('D24: sync and flush fail, lose nothing, and work again, at level %s', async (durability) => {
    const disk = newDisk('size=1m');
    const pod = open(join(disk, 'pod'), { durability });
    pod.set('a', text('a'));
    pod.sync();
    fill(disk);
    errorOf(() => pod.set('b', text('b')));
    expect(errorOf(() => pod.sync())).toBe('ERR_POD_DISK ENOSPC');
    const failed = await pod.flush().catch((error: unknown) => error);
    expect(
      errorOf(() => {
        throw failed;
      }),
    ).toBe('ERR_POD_DISK ENOSPC');
    expect([...pod.dirty()]).toEqual(['b']);
    expect(onDisk(pod.path)).toEqual([['a', text('a')]]);
    free(disk);
    await pod.flush();
    expect(pod.dirty().size).toBe(0);
    expect(onDisk(pod.path)).toEqual(entriesOf(pod));
  });

  it('D24, D33: revert goes back to the last sync point on a full disk', () => {
    const disk = newDisk('size=1m');
    const pod = open(join(disk, 'pod'));
    pod.set('a', text('a'));
    pod.sync();
    fill(disk);
    pod.set('b', text('b'));
    pod.delete('a');
    expect(errorOf(() => pod.sync())).toBe('ERR_POD_DISK ENOSPC');
    pod.revert();
    expect(entriesOf(pod)).toEqual([['a', text('a')]]);
    expect(pod.dirty().size).toBe(0);
    expect(onDisk(pod.path)).toEqual([['a', text('a')]]);
    // There is still room in the log's last page.
    pod.set('c', 'small').sync();
    expect(onDisk(pod.path)).toEqual(entriesOf(pod));
  });

  it('a fold that finds no room is put off, and nothing is lost', async () => {
    const disk = newDisk('size=16m');
    const pod = open(join(disk, 'pod'), { fileSize: 4 });
    const large = (n: number): string => String.fromCharCode(97 + (n % 26)).repeat(300_000);
    for (let n = 0; n < 16; n++) pod.set(`key ${n % 4}`, large(n)).sync(); // 4.8 MB of log for 1.2 MB of entries
    fill(disk);
    expect(readdirSync(pod.path).filter((name) => /^\d+\.json$/.test(name))).toEqual([]);
    for (let turns = 0; turns < 20; turns++) await nextTurn();
    expect(readdirSync(pod.path).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect(onDisk(pod.path)).toEqual(entriesOf(pod));
    free(disk);
    pod.set('key 0', large(20)).sync();
    expect(onDisk(pod.path)).toEqual(entriesOf(pod));
    const entries = entriesOf(pod);
    pod.close();
    expect(readdirSync(pod.path)).toContain('0.json');
    expect(reopened(pod.path)).toEqual(entries);
  });

  it('D24, D35: close keeps the pod open where the last changes cannot be saved', () => {
    const disk = newDisk('size=1m');
    const pod = open(join(disk, 'pod'), { durability: 'exit' });
    pod.set('a', text('a'));
    pod.sync();
    fill(disk);
    pod.set('b', text('b'));
    expect(errorOf(() => pod.close())).toBe('ERR_POD_DISK ENOSPC');
    expect(pod.closed).toBe(false);
    expect([...pod.keys()]).toEqual(['a', 'b']);
    free(disk);
    pod.close();
    expect(pod.closed).toBe(true);
    expect(reopened(pod.path).map(([key]) => key)).toEqual(['a', 'b']);
  });

  // With room for a part of the shard, the system writes that part and says so only in its count.
  it.each([0, 4_096])('close leaves everything in the log where there is room for %i bytes of the shards', (left) => {
    const disk = newDisk('size=1m');
    const path = join(disk, 'pod');
    open(path).set('a', text('z')).close();
    const pod = open(path);
    pod.set('a', text('a'));
    pod.sync();
    fill(disk, left);
    expect(errorOf(() => pod.close())).toBe('ERR_POD_DISK ENOSPC');
    expect(pod.closed).toBe(true);
    expect(onDisk(path)).toEqual([['a', text('a')]]);
    free(disk);
    expect(reopened(path)).toEqual([['a', text('a')]]);
  });

  it('compact changes nothing where there is no room', () => {
    const disk = newDisk('size=1m');
    const path = join(disk, 'pod');
    const first = open(path, { fileSize: 2 });
    for (const letter of 'abcdefgh') first.set(letter, text(letter));
    first.close();
    const pod = open(path);
    for (const letter of 'bcdf') pod.delete(letter);
    pod.sync();
    // Room for one of the two new shards.
    fill(disk, 16_384);
    const before = contentOf(path);
    expect(errorOf(() => pod.compact())).toBe('ERR_POD_DISK ENOSPC');
    expect(contentOf(path)).toEqual(before);
    expect([...pod.keys()]).toEqual([...'aegh']);
    free(disk);
    pod.compact();
    expect(readdirSync(path).filter((name) => /^\d+\.json$/.test(name))).toEqual(['0.json', '1.json']);
    pod.close();
    expect(reopened(path).map(([key]) => key)).toEqual([...'aegh']);
  });

  it('copyTo leaves nothing behind where there is no room', () => {
    const disk = newDisk('size=1m');
    const pod = open(bench.newPath(), { fileSize: 2 });
    for (const letter of 'abcdefgh') pod.set(letter, text(letter));
    fill(disk, 32_768);
    const target = join(disk, 'copy');
    expect(errorOf(() => pod.copyTo(target))).toBe('ERR_POD_DISK ENOSPC');
    expect(readdirSync(disk)).toEqual(['ballast']);
    free(disk);
    const copy = pod.copyTo(target);
    pods.push(copy);
    expect(entriesOf(copy)).toEqual(entriesOf(pod));
  });

  it.each([0, 4_096, 8_192, 12_288])('a first open leaves nothing behind where there is room for %i bytes', (left) => {
    const disk = newDisk('size=1m');
    fill(disk, left);
    const path = join(disk, 'below', 'pod');
    const heard = errorOf(() => open(path));
    // Folders need no room on a tmpfs; the lock, the log and the list of what counts take a page each.
    expect(heard).toBe(left < 12_288 ? 'ERR_POD_DISK ENOSPC' : 'none');
    if (heard !== 'none') expect(readdirSync(disk)).toEqual(['ballast']);
    free(disk);
    expect(entriesOf(open(path))).toEqual([]);
  });

  it('recovery of an append that was cut short needs room, and changes nothing where there is none', async () => {
    const disk = newDisk('size=1m');
    const path = join(disk, 'pod');
    await bench.run('ending', [path, 'process', 'SIGKILL']);
    const log = join(path, 'wal-000001.jsonl');
    truncateSync(log, statSync(log).size - 3);
    fill(disk);
    const before = contentOf(path);
    expect(errorOf(() => open(path))).toBe('ERR_POD_DISK ENOSPC');
    expect(contentOf(path)).toEqual(before);
    expect(onDisk(path).map(([key]) => key)).toEqual(['first', 'gone']);
    free(disk);
    const pod = open(path);
    expect([...pod.keys()]).toEqual(['first', 'gone']);
    expect(pod.recovery).toMatchObject({ ended: 'killed', droppedBytes: expect.any(Number) });
    expect(pod.recovery.droppedBytes).toBeGreaterThan(0);
    expect(pod.recovery.quarantined).toHaveLength(1);
  });

  it('recovery of a whole log needs no room', async () => {
    const disk = newDisk('size=1m');
    const path = join(disk, 'pod');
    await bench.run('ending', [path, 'process', 'SIGTERM']);
    fill(disk);
    const pod = open(path);
    expect([...pod.keys()]).toEqual(['first', 'turn', 'now']);
    expect(pod.recovery).toMatchObject({ ended: 'signal', how: 'SIGTERM' });
  });

  it('D20, D24: a program that ends cannot save, says so, and ends with an error', async () => {
    const disk = newDisk('size=1m');
    const path = join(disk, 'pod');
    const child = bench.start('ending', [path, 'exit', 'many dirty keys']);
    await child.said('many');
    fill(disk);
    child.process.kill('SIGTERM');
    const { code, signal, stderr } = await child.finished;
    expect({ code, signal }).toEqual({ code: 143, signal: null });
    expect(stderr).toMatch(/ERR_POD_DISK/);
    expect(stderr).toMatch(/The disk is full/);
    expect(onDisk(path).map(([key]) => key)).toEqual(['first', 'gone']);
  });

  it('without inodes, what needs a new file fails and what does not goes on', () => {
    const disk = newDisk('size=4m,nr_inodes=20');
    const path = join(disk, 'pod');
    const pod = open(path, { fileSize: 2 });
    for (const letter of 'abc') pod.set(letter, text(letter));
    pod.sync();
    let stuffed = 0;
    const stuff = (): number => {
      try {
        for (;;) writeFileSync(join(disk, `stuffing ${stuffed++}`), '');
      } catch (error) {
        expect((error as { code?: string }).code).toBe('ENOSPC');
      }
      return stuffed;
    };
    stuff();
    pod.set('d', text('d'));
    pod.sync();
    const before = contentOf(path);
    expect(errorOf(() => pod.compact())).toBe('ERR_POD_DISK ENOSPC');
    expect(errorOf(() => open(join(disk, 'another')))).toBe('ERR_POD_DISK ENOSPC');
    expect(contentOf(path)).toEqual(before);
    expect(errorOf(() => pod.close())).toBe('ERR_POD_DISK ENOSPC');
    expect(onDisk(path).map(([key]) => key)).toEqual([...'abcd']);
    for (let n = 0; n < stuffed; n++) rmSync(join(disk, `stuffing ${n}`), { force: true });
    expect(reopened(path).map(([key]) => key)).toEqual([...'abcd']);
  });

  it('that was mounted read-only, a pod can be read and not be written', () => {
    const disk = newDisk('size=1m');
    const path = join(disk, 'pod');
    const first = open(path);
    first.set('a', text('a'));
    first.close();
    const before = contentOf(disk);
    expect(spawnSync('mount', ['-o', 'remount,ro', disk]).status).toBe(0);
    expect(errorOf(() => open(path))).toBe('ERR_POD_DISK EROFS');
    expect(errorOf(() => open(join(disk, 'another')))).toBe('ERR_POD_DISK EROFS');
    expect(onDisk(path)).toEqual([['a', text('a')]]);
    expect(contentOf(disk)).toEqual(before);
    expect(spawnSync('mount', ['-o', 'remount,rw', disk]).status).toBe(0);
    expect(reopened(path)).toEqual([['a', text('a')]]);
  });
});

// ---- Limits of the process and of its user.

const canLimit = spawnSync('prlimit', ['--nofile=64', 'true']).status === 0;
if (!canLimit) console.warn('Limits of a process are not tested: there is no prlimit command here.');
describe.skipIf(!canLimit)('within limits', () => {
  it('D24: of a file size, a sync fails and the process lives; it goes on when the limit is lifted', async () => {
    const folder = bench.newPath();
    const child = bench.start('limited', ['fileSize', folder], { through: ['prlimit', '--fsize=20000:unlimited'] });
    await child.said('limited');
    expect(child.lines).toEqual([
      'small: ok',
      'large: ERR_POD_DISK EFBIG',
      'large again: ERR_POD_DISK EFBIG',
      'in memory: 2, dirty: large',
      'limited',
    ]);
    expect(onDisk(folder).map(([key]) => key)).toEqual(['small']);
    expect(spawnSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited']).status).toBe(0);
    expect(await child.said('synced')).toBe('synced, dirty: 0');
    expect(await child.finished).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(onDisk(folder).map(([key, value]) => [key, value.length])).toEqual([
      ['small', 1_000],
      ['large', 100_000],
    ]);
  });

  it('of open files, a pod that is open goes on, and the rest waits for a free one', async () => {
    const folder = bench.newPath();
    const other = bench.newPath();
    const through = ['prlimit', '--nofile=64'];
    const { lines, code, stderr } = await bench.run('limited', ['files', folder, other], { through });
    expect({ lines, code, stderr }).toEqual({
      lines: [
        'set: ok',
        'sync: ok',
        'open another: ERR_POD_DISK EMFILE',
        // Nothing was made, so nothing is there to be read.
        'read another: ERR_POD_NOT_FOUND',
        'compact: ERR_POD_DISK EMFILE',
        'copy: ERR_POD_DISK EMFILE',
        'set again: ok',
        'open another: ok',
        'compact: ok',
        'close: ok',
      ],
      code: 0,
      stderr: '',
    });
    expect(existsSync(`${other}-copy`)).toBe(false);
    expect(reopen(folder)).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });

  function reopen(folder: string): unknown[] {
    const pod = POD.open(folder);
    const entries = [...pod];
    pod.close();
    return entries;
  }
});

const NOBODY = 65534;
const setpriv = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
const signalExit = import.meta.resolve('signal-exit');
const canBeNobody =
  spawnSync(setpriv[0] as string, [...setpriv.slice(1), process.execPath, '-e', `import('${signalExit}')`]).status ===
  0;
if (!canBeNobody)
  console.warn('Missing permissions are not tested: this needs root, setpriv, and a project others may read.');
describe.skipIf(!canBeNobody)('without permission', () => {
  /** The folder of the programs is ours alone otherwise. */
  function letOthersIn(): void {
    chmodSync(dirname(bench.built('.')), 0o755);
  }

  async function asNobody(folder: string): Promise<readonly string[]> {
    letOthersIn();
    const { lines, code, stderr } = await bench.run('limited', ['open', folder], { through: setpriv });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return lines;
  }

  function podOfRoot(): string {
    const folder = bench.newPath();
    const pod = POD.open<number>(folder);
    pod.set('a', 1);
    pod.close();
    return folder;
  }

  it('another user can neither write nor read a pod', async () => {
    const folder = podOfRoot();
    const before = contentOf(folder);
    expect(await asNobody(folder)).toEqual(['write: ERR_POD_DISK EACCES', 'read: ERR_POD_DISK EACCES']);
    expect(contentOf(folder)).toEqual(before);
  });

  it('another user who may read can read, and changes nothing', async () => {
    const folder = podOfRoot();
    chmodSync(folder, 0o755);
    for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o644);
    const before = contentOf(folder);
    expect(await asNobody(folder)).toEqual(['write: ERR_POD_DISK EACCES', 'size 1', 'read: ok']);
    expect(contentOf(folder)).toEqual(before);
  });

  it('a pod cannot be made in a folder of somebody else', async () => {
    const folder = join(bench.newPath(), 'pod');
    mkdirSync(dirname(folder), 0o755);
    expect(await asNobody(folder)).toEqual(['write: ERR_POD_DISK EACCES', 'read: ERR_POD_NOT_FOUND']);
    expect(readdirSync(dirname(folder))).toEqual([]);
  });
});

// ---- What is there is not a pod, or not a whole one.

describe('what cannot be opened says why and stays as it is', () => {
  /** A closed pod of two shards. */
  function closedPod(place: string, gzipped: boolean = false): string {
    const folder = join(place, 'pod');
    const pod = POD.open<string>(folder, { fileSize: 2, gzipped });
    for (const letter of 'abc') pod.set(letter, letter.repeat(100));
    pod.close();
    return folder;
  }

  function change(file: string, edit: (text: string) => string): void {
    const before = readFileSync(file, 'latin1');
    const after = edit(before);
    expect(after).not.toBe(before);
    writeFileSync(file, after, 'latin1');
  }

  /** Each makes something and gives back the path to open. */
  const found: Record<string, { make: (place: string) => string; code: string; file?: string }> = {
    'a file': {
      code: 'ERR_POD_NOT_FOLDER',
      make: (place) => {
        const path = join(place, 'file');
        writeFileSync(path, 'not a pod');
        return path;
      },
    },
    'a path below a file': {
      code: 'ERR_POD_NOT_FOLDER',
      make: (place) => {
        const path = join(place, 'file');
        writeFileSync(path, 'not a pod');
        return join(path, 'below', 'pod');
      },
    },
    'a newer format': {
      code: 'ERR_POD_FORMAT',
      file: 'pod.json',
      make: (place) => {
        const folder = closedPod(place);
        change(join(folder, 'pod.json'), (text) => {
          const body = text.trimEnd().slice('{"crc":"01234567","pod":'.length, -1).replace('"format":1', '"format":3');
          return `{"crc":"${crc32(body).toString(16).padStart(8, '0')}","pod":${body}}\n`;
        });
        return folder;
      },
    },
    'a manifest with one changed letter': {
      code: 'ERR_POD_CORRUPT',
      file: 'pod.json',
      make: (place) => {
        const folder = closedPod(place);
        change(join(folder, 'pod.json'), (text) => text.replace('"fileSize":2', '"fileSize":3'));
        return folder;
      },
    },
    'half a manifest': {
      code: 'ERR_POD_CORRUPT',
      file: 'pod.json',
      make: (place) => {
        const folder = closedPod(place);
        change(join(folder, 'pod.json'), (text) => text.slice(0, text.length / 2));
        return folder;
      },
    },
    'an empty manifest': {
      code: 'ERR_POD_CORRUPT',
      file: 'pod.json',
      make: (place) => {
        const folder = closedPod(place);
        change(join(folder, 'pod.json'), () => '');
        return folder;
      },
    },
    'a missing manifest': {
      code: 'ERR_POD_CORRUPT',
      file: 'pod.json',
      make: (place) => {
        const folder = closedPod(place);
        rmSync(join(folder, 'pod.json'));
        return folder;
      },
    },
    'a missing shard': {
      code: 'ERR_POD_CORRUPT',
      file: '1.json',
      make: (place) => {
        const folder = closedPod(place);
        rmSync(join(folder, '1.json'));
        return folder;
      },
    },
    'a shard that was edited': {
      code: 'ERR_POD_CORRUPT',
      file: '0.json',
      make: (place) => {
        const folder = closedPod(place);
        change(join(folder, '0.json'), (text) => text.replace('bbb', 'xyz'));
        return folder;
      },
    },
    'a gzipped shard that was cut short': {
      code: 'ERR_POD_CORRUPT',
      file: '0.json.gz',
      make: (place) => {
        const folder = closedPod(place, true);
        change(join(folder, '0.json.gz'), (text) => text.slice(0, -5));
        return folder;
      },
    },
    'a gzipped shard of another content': {
      code: 'ERR_POD_CORRUPT',
      file: '0.json.gz',
      make: (place) => {
        const folder = closedPod(place, true);
        cpSync(join(folder, '1.json.gz'), join(folder, '0.json.gz'));
        return folder;
      },
    },
    'a missing log': {
      code: 'ERR_POD_CORRUPT',
      make: (place) => {
        const folder = closedPod(place);
        for (const name of readdirSync(folder)) if (name.startsWith('wal-')) rmSync(join(folder, name));
        return folder;
      },
    },
  };

  const modes = ['r', 'w'] as const;
  it.each(Object.keys(found).flatMap((name) => modes.map((mode) => ({ name, mode }))))(
    '$name, mode $mode',
    ({ name, mode }) => {
      const { make, code, file } = found[name] as (typeof found)[string];
      const place = bench.newPath('place');
      mkdirSync(place);
      const path = make(place);
      const before = contentOf(place);
      let error: unknown;
      try {
        POD.open(path, { mode });
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(PodError);
      expect((error as PodError).code).toBe(code);
      expect((error as PodError).path).toBe(path);
      if (file !== undefined) expect((error as PodError).file).toBe(file);
      expect(contentOf(place)).toEqual(before);
      // Nothing is held: it says the same again.
      expect(() => POD.open(path, { mode })).toThrow((error as PodError).message);
    },
  );

  it('a missing folder, mode r', () => {
    const path = bench.newPath();
    expect(errorOf(() => POD.open(path, { mode: 'r' }))).toBe('ERR_POD_NOT_FOUND');
    expect(existsSync(path)).toBe(false);
  });

  it('an empty folder, mode r', () => {
    const path = bench.newPath();
    mkdirSync(path);
    expect(errorOf(() => POD.open(path, { mode: 'r' }))).toBe('ERR_POD_NOT_FOUND');
    expect(readdirSync(path)).toEqual([]);
  });
});
