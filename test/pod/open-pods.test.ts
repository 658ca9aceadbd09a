// Opening: one handle for a folder, what conflicts, what a failed open leaves behind, isolated memory, and init (rule 6).
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { nodeSystem, type System } from '../../src/disk/system.ts';
import type { Json, PodOptions } from '../../src/index.ts';
import { DEFAULT_FILE_SIZE, DEFAULT_SYNC_AT, POD, PodError, ProgressTracker } from '../../src/index.ts';
import { normalizePath, openHandle } from '../../src/pod/open-pods.ts';
import { builtAddress } from '../bundle.ts';
import { codeOf, listing, plain, temporary, thrownBy } from './support.ts';

const { root, path, open } = temporary();

describe('rule 6: one handle per folder in a process', () => {
  it('TP-009, TP-030: by whatever path: as it is, relative, with a slash or dots, through links', () => {
    const at = path();
    const pod = open<number>(at, { init: { a: 1 } });
    const link = path();
    symlinkSync(at, link);
    const above = path();
    symlinkSync(root, above);
    const roads = [
      at,
      `${at}/`,
      relative(process.cwd(), at),
      join(root, 'x', '..', relative(root, at)),
      link,
      `${link}/`,
      join(above, relative(root, at)),
    ];
    for (const road of roads) {
      const other = POD.open<number>(road);
      expect(other).toBe(pod);
      other.set('a', 2);
      expect(pod.get('a')).toBe(2);
    }
    for (const _ of roads) pod.close();
    expect(pod.closed).toBe(false);
    pod.close();
    expect(pod.closed).toBe(true);
  });

  it('TP-009: a path that starts with ~ is below the home folder', () => {
    expect(normalizePath('~/a/../b.pod')).toBe(join(homedir(), 'b.pod'));
    expect(normalizePath('~')).toBe(homedir());
    expect(normalizePath('a~')).toBe(join(process.cwd(), 'a~'));
  });

  it('a folder that is reached through a link before it exists is one folder, too', () => {
    const above = path();
    mkdirSync(above);
    const link = path();
    symlinkSync(above, link);
    const pod = open(join(link, 'deep', 'new.pod'));
    expect(POD.open(join(above, 'deep', 'new.pod'))).toBe(pod);
    pod.close();
  });

  it('the last close closes, a further one does nothing, and the next open starts afresh from the disk', () => {
    const at = path();
    const pod = open<number>(at, { init: { a: 1 } });
    const same = open<number>(at);
    same.close();
    pod.set('b', 2);
    pod.close();
    expect(pod.closed).toBe(true);
    expect(existsSync(join(at, '0.json'))).toBe(true);
    const before = listing(at);
    pod.close();
    pod[Symbol.dispose]();
    expect(listing(at)).toEqual(before);
    const again = open<number>(at);
    expect(again === pod).toBe(false);
    expect([...again]).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });

  it('Symbol.dispose gives a handle back', () => {
    const pod = open(path());
    pod[Symbol.dispose]();
    expect(pod.closed).toBe(true);
  });

  it.each<[string, PodOptions<Json, string>, PodOptions<Json, string>]>([
    ['mode', {}, { mode: 'r' }],
    ['gzipped', {}, { gzipped: true }],
    ['gzipped', { gzipped: true }, { gzipped: false }],
    ['fileSize', {}, { fileSize: 10 }],
    ['fileSize', { fileSize: 10 }, { fileSize: DEFAULT_FILE_SIZE }],
    ['durability', {}, { durability: 'exit' }],
    ['durability', { durability: 'power' }, { durability: 'process' }],
  ])('TP-031: another %s is refused by name, and the handle that is open goes on', (option, first, second) => {
    const at = path();
    const pod = open(at, first);
    const error = thrownBy(() => POD.open(at, second));
    expect(error.code).toBe('ERR_POD_OPTIONS');
    expect(error.info).toEqual({ option });
    expect(error.path).toBe(at);
    expect(error.message).toContain(`"${option}"`);
    pod.set('a', 1);
    pod.close();
    expect(pod.closed).toBe(true);
  });

  it('TP-031: a reader that is open does not become a writer', () => {
    const at = path();
    open(at).close();
    const reader = open(at, { mode: 'r' });
    expect(thrownBy(() => POD.open(at)).info).toEqual({ option: 'mode' });
    expect(POD.open(at, { mode: 'r' })).toBe(reader);
    reader.close();
    expect(reader.closed).toBe(false);
  });

  it('the same options, or none, are no conflict; syncAt may differ, and the newest counts', () => {
    const at = path();
    const pod = open(at, { gzipped: true, fileSize: 7, durability: 'exit', syncAt: 5 });
    expect(POD.open(at, { gzipped: true, fileSize: 7, durability: 'exit', mode: 'w' })).toBe(pod);
    expect(pod.syncAt).toBe(5);
    expect(POD.open(at, { syncAt: 6 }).syncAt).toBe(6);
    pod.close();
    pod.close();
  });

  it('TP-145: a folder is not open as two classes', () => {
    const at = path();
    const pod = open(at);
    const error = thrownBy(() => ProgressTracker.open(at));
    expect(error.code).toBe('ERR_POD_OPTIONS');
    expect(pod.closed).toBe(false);
  });

  it('TP-032: opening again does not read the disk again, nor lose what was not synced', () => {
    const at = path();
    const pod = open<number>(at, { durability: 'exit', syncEvery: 0 });
    pod.set('a', 1);
    const same = POD.open<number>(at);
    expect(same.get('a')).toBe(1);
    expect(same.dirty()).toEqual(new Set(['a']));
    same.close();
  });

  it('the registry hangs on globalThis under a registered symbol, so that two copies of the library share it', async () => {
    const at = path();
    const pod = open<number>(at);
    vi.resetModules();
    const copy = await import('../../src/pod/open-pods.ts');
    expect(copy.openHandle).not.toBe(openHandle);
    const { handle } = copy.openHandle<POD<number>, number, string>(
      at,
      {},
      {
        name: 'PersistentOrderedDict',
        meta: {},
        accepts: (other): other is POD<number> => other instanceof POD,
        make: () => {
          throw new Error('it was opened a second time');
        },
      },
    );
    expect(handle).toBe(pod);
    pod.close();
  });

  it('D26, TPB-19: a folder that was removed and made again is a new one, not what is left in memory of the old', () => {
    for (let round = 0; round < 10; round++) {
      const at = path();
      open<number>(at, { init: { a: 1 } }).close();
      const old = open<number>(at);
      rmSync(at, { recursive: true });
      // Where nothing else is created in between, most file systems give the new folder the number of the old one.
      mkdirSync(at);
      const pod = POD.open<number>(at);
      expect(pod === old).toBe(false);
      expect([...pod]).toEqual([]);
      pod.set('b', 2);
      pod.close();
      expect([...old]).toEqual([['a', 1]]);
      old.close();
      expect([...open<number>(at)]).toEqual([['b', 2]]);
    }
  });

  it('D26: a folder in whose place there is another one just as long says so, and nothing is written there', () => {
    const [a, b] = [path(), path()].map((place, n) => {
      const pod = open<number>(place, { fileSize: 1, syncEvery: 0 });
      pod.set('who', n).sync();
      return pod;
    }) as [POD<number>, POD<number>];
    const away = path();
    const swap = (): void => {
      renameSync(a.path, away);
      renameSync(b.path, a.path);
      renameSync(away, b.path);
    };
    const logs = () => [a, b].map((pod) => listing(pod.path).filter((line) => !line.startsWith('lock')));
    swap();
    const before = logs();
    // Nothing is dirty, so a sync alone looks at nothing.
    for (const pod of [a, b]) pod.sync();
    for (const pod of [a, b]) expect(codeOf(() => pod.compact())).toBe('ERR_POD_DISK');
    expect(codeOf(() => a.close())).toBe('ERR_POD_DISK');
    expect(logs()).toEqual(before);
    b.set('n', 2);
    expect(codeOf(() => b.sync())).toBe('ERR_POD_DISK');
    swap();
    b.sync();
    b.close();
    expect([...open<number>(a.path)]).toEqual([['who', 0]]);
    expect([...open<number>(b.path)]).toEqual([
      ['who', 1],
      ['n', 2],
    ]);
  });

  it('D26, TPB-19: a folder that was moved away says so at the next sync point, and takes it once it is back', () => {
    const at = path();
    const pod = open<number>(at, { init: { a: 1 } });
    pod.sync();
    renameSync(at, `${at}.moved`);
    pod.set('b', 2);
    const error = thrownBy(() => pod.sync());
    expect(error.code).toBe('ERR_POD_DISK');
    expect(error.message).toMatch(/put the folder back/);
    expect(pod.dirty()).toEqual(new Set(['b']));
    renameSync(`${at}.moved`, at);
    pod.sync();
    expect(pod.dirty()).toEqual(new Set());
    pod.close();
    expect([...open<number>(at)]).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });
});

describe('what is there', () => {
  it('TP-022: missing folders are created, readable by their owner alone; reading never creates one', () => {
    const at = join(path(), 'deep', 'down');
    expect(codeOf(() => POD.open(at, { mode: 'r' }))).toBe('ERR_POD_NOT_FOUND');
    expect(existsSync(join(at, '..'))).toBe(false);
    const pod = open(at);
    expect(statSync(at).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(at)) expect([name, statSync(join(at, name)).mode & 0o777]).toEqual([name, 0o600]);
    pod.close();
  });

  it('TP-022: a file is not a folder, and neither is what lies below one', () => {
    const at = path();
    writeFileSync(at, 'text');
    for (const place of [at, join(at, 'below'), join(at, 'deep', 'below')]) {
      for (const mode of ['r', 'w'] as const) {
        const error = thrownBy(() => POD.open(place, { mode }));
        expect([place, mode, error.code]).toEqual([place, mode, 'ERR_POD_NOT_FOLDER']);
        expect(error.path).toBe(place);
      }
    }
    expect(readFileSync(at, 'utf8')).toBe('text');
  });

  it('TP-098: files of other people are left alone', () => {
    const at = path();
    const pod = open<number>(at, { init: { a: 1 } });
    pod.close();
    const foreign = [
      'readme.txt',
      '0.json.bak',
      '0.json~',
      '.0.json.swp',
      '.DS_Store',
      '00.json',
      'x1.json',
      '1.json.gz.old',
    ];
    for (const name of foreign) writeFileSync(join(at, name), name);
    const again = open<number>(at);
    expect([...again]).toEqual([['a', 1]]);
    again.set('b', 2);
    again.compact();
    again.close();
    for (const name of foreign) expect(readFileSync(join(at, name), 'utf8')).toBe(name);
  });

  it('an empty path, or what is no path, is refused', () => {
    for (const bad of ['', 'a\0b', undefined, 5, null]) {
      const error = thrownBy(() => POD.open(bad as string));
      expect(error.code).toBe('ERR_POD_OPTIONS');
      expect(error.info).toEqual({ option: 'path' });
    }
  });

  it('the report of a new folder, a closed one and one that was left says so', () => {
    const at = path();
    const pod = open<number>(at);
    expect(pod.recovery).toMatchObject({
      ended: 'new',
      previous: undefined,
      replayed: 0,
      droppedBytes: 0,
      quarantined: [],
      adopted: false,
    });
    pod.close();
    expect(open<number>(at).recovery).toMatchObject({ ended: 'closed', replayed: 0 });
  });
});

describe('a failed open leaves nothing behind', () => {
  const good = (at: string): void => {
    const pod = open<number>(at, { init: { a: 1 } });
    expect([...pod]).toEqual([['a', 1]]);
    pod.close();
    expect([...open<number>(at)]).toEqual([['a', 1]]);
  };

  it.each<[string, unknown]>([
    ['an option that is none', { gziped: true }],
    ['an option of the wrong kind', { fileSize: 0 }],
    [
      'a value in init that is not JSON',
      {
        init: [
          ['a', 1],
          ['b', Number.NaN],
        ],
      },
    ],
    ['a key in init that is none', { init: [[1.5, 1]] }],
    ['an init that is not made of pairs', { init: [1] }],
    [
      'an init that throws',
      {
        init: (function* () {
          yield ['a', 1];
          throw new Error('on purpose');
        })(),
      },
    ],
  ])('%s: no folder, no handle, and the next open works', (_, options) => {
    const at = join(path(), 'deep');
    expect(() => POD.open(at, options as PodOptions<Json, string>)).toThrow();
    expect(existsSync(at)).toBe(false);
    good(at);
  });

  it('what was made is removed while the folder is still locked, so that nobody can have opened it in between', () => {
    const at = join(path(), 'deep');
    let isLocked = false;
    const removed: [name: string, locked: boolean][] = [];
    const system: System = {
      ...nodeSystem,
      locks: {
        acquire: (folder) => {
          const lock = nodeSystem.locks.acquire(folder);
          isLocked = true;
          return {
            ...lock,
            release: (outcome) => {
              isLocked = false;
              lock.release(outcome);
            },
          };
        },
      },
      fs: {
        ...nodeSystem.fs,
        unlink: (file) => {
          removed.push([basename(file), isLocked]);
          nodeSystem.fs.unlink(file);
        },
      },
    };
    const refuse = (): never => {
      throw new Error('on purpose');
    };
    const kind = { name: 'POD', meta: {}, accepts: (_: object): _ is POD => true, make: refuse, system };
    expect(() => openHandle<POD, Json, string>(at, {}, kind)).toThrow('on purpose');
    expect(removed).toEqual([
      ['pod.json', true],
      ['wal-000001.jsonl', true],
      ['lock', true],
    ]);
    expect(existsSync(at)).toBe(false);
  });

  it('TP-021: a refused init leaves an existing folder as it was', () => {
    const at = path();
    const pod = open<Json>(at, { init: { a: 1 } });
    pod.close();
    const text = readFileSync(join(at, '0.json'), 'utf8');
    expect(
      codeOf(() =>
        POD.open<Json>(at, {
          init: [
            ['a', 2],
            ['b', undefined as unknown as Json],
          ],
        }),
      ),
    ).toBe('ERR_POD_VALUE');
    expect(readFileSync(join(at, '0.json'), 'utf8')).toBe(text);
    expect([...open(at)]).toEqual([['a', 1]]);
  });

  it('a refused init leaves an open handle as it was, and as often open', () => {
    const at = path();
    const pod = open<Json>(at, { init: { a: 1 } });
    pod.sync();
    expect(
      codeOf(() =>
        POD.open<Json>(at, {
          init: [
            ['a', 2],
            ['b', undefined as unknown as Json],
          ],
        }),
      ),
    ).toBe('ERR_POD_VALUE');
    expect([...pod]).toEqual([['a', 1]]);
    expect(pod.dirty()).toEqual(new Set());
    pod.close();
    expect(pod.closed).toBe(true);
  });

  it('D4, TPB-05: a damaged folder: refused each time, untouched, no lock held; once mended it opens whole', () => {
    const at = path();
    const pod = open<number>(at, { fileSize: 2, init: { a: 1, b: 2, c: 3 } });
    pod.close();
    const shard = join(at, '1.json');
    const text = readFileSync(shard, 'utf8');
    writeFileSync(shard, text.replace('3', '4'));
    const before = listing(at);
    for (let attempt = 0; attempt < 3; attempt++) {
      const error = thrownBy(() => POD.open(at));
      expect(error.code).toBe('ERR_POD_CORRUPT');
      expect(error.file).toBe('1.json');
      expect(error.message).toMatch(/everpod accept .*everpod repair/s);
      expect(thrownBy(() => POD.open(at, { mode: 'r' })).code).toBe('ERR_POD_CORRUPT');
    }
    expect(listing(at).filter((line) => !line.startsWith('lock ') && !line.startsWith('. '))).toEqual(
      before.filter((line) => !line.startsWith('lock ') && !line.startsWith('. ')),
    );
    writeFileSync(shard, text);
    expect([...open<number>(at)]).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
  });

  it('a newer format is refused and untouched', () => {
    const at = path();
    open(at).close();
    const manifest = join(at, 'pod.json');
    const text = readFileSync(manifest, 'utf8').trimEnd();
    const body = text.slice(text.indexOf('"pod":') + 6, -1).replace('"format":1', '"format":99');
    writeFileSync(manifest, `{"crc":"${crc32(body).toString(16).padStart(8, '0')}","pod":${body}}\n`);
    const before = listing(at).filter((line) => !line.startsWith('lock ') && !line.startsWith('. '));
    for (const mode of ['r', 'w'] as const) {
      const error = thrownBy(() => POD.open(at, { mode }));
      expect(error.code).toBe('ERR_POD_FORMAT');
      expect(error.info).toEqual({ found: 99, supported: 2 });
      expect(error.message).toMatch(/Update everpod/);
    }
    expect(listing(at).filter((line) => !line.startsWith('lock ') && !line.startsWith('. '))).toEqual(before);
  });

  it('TPB-08: another process that has it: who, since when, and how to share; then the folder is free again', () => {
    const at = path();
    const child = `
      const { POD } = await import(${JSON.stringify(builtAddress('src/index.ts'))});
      try { POD.open(${JSON.stringify(at)}); } catch (error) {
        console.log(JSON.stringify({ code: error.code, message: error.message, info: error.info, path: error.path }));
        const reader = POD.open(${JSON.stringify(at)}, { mode: 'r' });
        console.log(JSON.stringify([...reader]));
      }`;
    const pod = open<number>(at, { init: { a: 1 } });
    pod.sync();
    const lines = execFileSync(process.execPath, ['--input-type=module', '-e', child], {
      encoding: 'utf8',
    }).split('\n');
    const error = JSON.parse(lines[0] as string) as PodError;
    expect(error.code).toBe('ERR_POD_LOCKED');
    expect(error.info).toMatchObject({
      pid: process.pid,
      host: expect.any(String),
      since: expect.stringMatching(/^\d{4}-/),
    });
    expect(error.message).toContain(String(process.pid));
    expect(error.message).toMatch(/mode: 'r'/);
    expect(error.path).toBe(at);
    expect(JSON.parse(lines[1] as string)).toEqual([['a', 1]]);
    pod.set('b', 2);
    pod.close();
  });
});

describe('isolated', () => {
  it('TPB-04: beside a handle it has memory of its own, from the disk, and only reads', () => {
    const at = path();
    const pod = open<number>(at, { init: { a: 1, b: 2 } });
    pod.sync();
    const own = open<number>(at, { isolated: true });
    expect(own === pod).toBe(false);
    expect([...own]).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
    expect(own.isWritable).toBe(false);
    pod.set('a', 3);
    expect(own.get('a')).toBe(1);
    expect(codeOf(() => own.set('a', 4))).toBe('ERR_POD_READONLY');
    own.close();
    expect(pod.closed).toBe(false);
    pod.close();
    expect([...open<number>(at)]).toEqual([
      ['a', 3],
      ['b', 2],
    ]);
  });

  it('where no other handle is open it writes, keeps others from writing, and is nobody else’s', () => {
    const at = path();
    const own = open<number>(at, { isolated: true, init: { a: 1 } });
    expect(own.isWritable).toBe(true);
    const error = thrownBy(() => POD.open(at));
    expect(error.code).toBe('ERR_POD_LOCKED');
    expect(error.message).toContain('this process');
    const reader = open<number>(at, { mode: 'r' });
    expect(reader === own).toBe(false);
    own.set('b', 2);
    own.close();
    expect(open<number>(at, { mode: 'r' })).toBe(reader);
    reader.revert();
    expect([...reader]).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
    reader.close();
  });

  it('each isolated handle is one of its own', () => {
    const at = path();
    open(at).close();
    const first = open(at, { isolated: true, mode: 'r' });
    const second = open(at, { isolated: true, mode: 'r' });
    expect(first === second).toBe(false);
    first.close();
    expect(second.closed).toBe(false);
  });
});

describe('init', () => {
  it('TP-026: overrides what is stored, keeps the places of what was there, and is dirty', () => {
    const at = path();
    open<Json>(at, { init: { a: 1, b: 2 } }).close();
    const pod = open<Json>(at, {
      init: new Map<string, Json>([
        ['c', 3],
        ['a', 'new'],
      ]),
    });
    expect([...pod]).toEqual([
      ['a', 'new'],
      ['b', 2],
      ['c', 3],
    ]);
    expect(pod.dirty()).toEqual(new Set(['c', 'a']));
  });

  it('is put into a handle that is open, too', () => {
    const at = path();
    const pod = open<Json>(at, { init: { a: 1 } });
    open<Json>(at, { init: { a: 2, b: 3 } });
    expect([...pod]).toEqual([
      ['a', 2],
      ['b', 3],
    ]);
  });

  it('is refused by a reader', () => {
    const at = path();
    open(at).close();
    const before = listing(at);
    expect(codeOf(() => POD.open<Json>(at, { mode: 'r', init: { a: 1 } }))).toBe('ERR_POD_READONLY');
    expect(listing(at)).toEqual(before);
    expect(plain([...open(at)])).toEqual([]);
  });
});

describe('TP-001: the defaults', () => {
  it('are exported, and are what a new pod has', () => {
    expect([DEFAULT_FILE_SIZE, DEFAULT_SYNC_AT]).toEqual([1000, 1000]);
    const pod = open(path());
    expect(pod.syncAt).toBe(1000);
    expect(pod.isWritable).toBe(true);
    pod.close();
    expect(JSON.parse(readFileSync(join(pod.path, 'pod.json'), 'utf8'))).toMatchObject({ pod: { fileSize: 1000 } });
  });
});

describe('TP-005: every failure is a PodError', () => {
  it('with a code, and an Error', () => {
    const error = thrownBy(() => POD.open(''));
    expect(error).toBeInstanceOf(PodError);
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe('PodError');
  });
});
