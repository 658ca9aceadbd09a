// Lines read when they are asked for: by whichever way, they are those that were written, or the read is refused and the pod goes on.
import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import { compactFolder } from '../../src/disk/compact.ts';
import { nodeFileSystem } from '../../src/disk/fs.ts';
import { Texts } from '../../src/disk/texts.ts';
import { type FsCall, MemoryFileSystem } from '../../src/testing/index.ts';
import {
  bytesOf,
  checkedState,
  close,
  fold,
  type IndexedPod,
  indexedDisk,
  openImage,
  openOn,
  type PodSettings,
  stateOf,
} from './indexed.ts';
import { PATH, thrown } from './support.ts';

const BIG = 1 << 28;

/** Calls of one kind, on files whose names match. */
function countCalls(pod: IndexedPod, name: FsCall['name'], path: RegExp): { count: number } {
  const counted = { count: 0 };
  pod.fs.intercept = (call) => {
    if (call.name === name && path.test(call.path)) counted.count++;
    return undefined;
  };
  return counted;
}

function valueIn(pod: IndexedPod, key: Key): Json | undefined {
  return pod.table.find(key)?.plain;
}

describe('values', () => {
  const settings: readonly PodSettings[] = [
    { cacheBytes: 0 },
    { cacheBytes: 300 },
    { cacheBytes: BIG },
    { cacheBytes: 0, gzip: true },
    { cacheBytes: 300, gzip: true },
    { cacheBytes: BIG, gzip: true },
  ];

  for (const setting of settings) {
    it(`are those that were written, with ${setting.cacheBytes} bytes of cache${setting.gzip ? ', gzipped' : ''}`, () => {
      const text = 'ä\u{1f600}"\\\t\n'.repeat(5);
      const pod = openOn(new MemoryFileSystem(), { ...setting, fileSize: 4 });
      const expected = new Map<Key, Json>();
      const set = (key: Key, value: Json): void => {
        pod.table.set(key, value);
        expected.set(key, value);
      };
      for (let number = 0; number < 30; number++) set(number % 2 === 0 ? `ä\t${number}` : number, { n: number, text });
      pod.folder.sync();
      expect(checkedState(pod)).toEqual([...expected]);
      fold(pod);
      expect(checkedState(pod)).toEqual([...expected]);
      // Some in shards, some in the log.
      for (let number = 0; number < 30; number += 3) set(number % 2 === 0 ? `ä\t${number}` : number, [number]);
      pod.folder.sync();
      expect(checkedState(pod)).toEqual([...expected]);
      compactFolder(pod.folder, { fileSize: 7, gzip: setting.gzip === true });
      expect(checkedState(pod)).toEqual([...expected]);
      close(pod);
      for (const again of settings) expect(checkedState(openImage(pod.fs.image(), again))).toEqual([...expected]);
    });
  }

  it('are read whole where everything fits into the cache, and then once', () => {
    const pod = openOn(indexedDisk(20, { fileSize: 5 }), { cacheBytes: BIG });
    expect(pod.fromIndex).toBe(true);
    const opens = countCalls(pod, 'open', /\.json$/);
    for (let round = 0; round < 3; round++) checkedState(pod);
    expect(opens.count).toBe(4);
  });

  it('in order are read by stretches; one alone is read alone', () => {
    const fs = indexedDisk(2000, { fileSize: 1000 });
    const pod = openOn(fs);
    const reads = countCalls(pod, 'read', /\/\d\.json$/);
    expect(stateOf(pod).length).toBe(2000);
    // The first line of a shard alone, then the rest of it.
    expect(reads.count).toBeLessThan(20);
    const before = reads.count;
    expect(valueIn(pod, 'k1500')).toEqual({ n: 1500 });
    expect(valueIn(pod, 'k3')).toEqual({ n: 3 });
    expect(reads.count - before).toBeLessThan(6);
  });

  it('of a value that is longer than a stretch are whole, also in the middle of others', () => {
    const pod = openOn(new MemoryFileSystem(), { fileSize: 10 });
    const long = 'x'.repeat(600_000);
    for (const key of ['a', 'b', 'c', 'd']) pod.table.set(key, key === 'b' ? long : key);
    close(pod);
    const again = openImage(pod.fs.image());
    expect(checkedState(again).map(([key, value]) => [key, (value as string).length])).toEqual([
      ['a', 1],
      ['b', 600_000],
      ['c', 1],
      ['d', 1],
    ]);
  });

  it('that were taken back by a revert are not what a later record in the same place is read as', () => {
    const pod = openOn(indexedDisk());
    pod.table.set('k1', { n: 'lost' });
    pod.folder.append();
    expect(valueIn(pod, 'k1')).toEqual({ n: 'lost' });
    pod.folder.revert();
    pod.table.set('k2', { n: 'kept' });
    pod.folder.sync();
    stateOf(pod);
    expect([valueIn(pod, 'k1'), valueIn(pod, 'k2')]).toEqual([{ n: 1 }, { n: 'kept' }]);
  });

  it('of keys that tastypy wrote are read as they are meant, also after a read that failed', () => {
    const lines = '"a\\\\"b"\t1\n"c"\t2\n';
    const fs = MemoryFileSystem.fromImage(new Map([[`${PATH}/0.json`, Buffer.from(lines)]]));
    close(openOn(fs, { cacheBytes: BIG }));
    const pod = openOn(fs, { cacheBytes: BIG });
    expect(pod.fromIndex).toBe(true);
    const bytes = bytesOf(fs.image(), '0.json');
    fs.unlink(`${PATH}/0.json`);
    expect(thrown(() => stateOf(pod)).code).toBe('ERR_POD_CORRUPT');
    fs.put(`${PATH}/0.json`, bytes);
    expect(checkedState(pod)).toEqual([
      ['a"b', 1],
      ['c', 2],
    ]);
  });
});

describe('the files that are open', () => {
  it('are few, however many shards are read, and none is left when the pod is closed', () => {
    const fs = indexedDisk(900, { fileSize: 3 });
    const pod = openOn(fs);
    expect(stateOf(pod).length).toBe(900);
    expect(fs.openPaths.length).toBeLessThanOrEqual(256 + 2);
    expect(fs.openPaths.length).toBeGreaterThan(10);
    close(pod);
    expect(fs.openPaths).toEqual([]);
    // Who still holds an entry can read it, and leaves nothing open either.
    expect(stateOf(pod).length).toBe(900);
    expect(fs.openPaths).toEqual([]);
  });

  it('are not those that a fold, a compaction or a deletion has removed, which would keep their room', () => {
    const fs = indexedDisk(9);
    const pod = openOn(fs);
    const readAll = (): void => {
      stateOf(pod);
      const there = new Set(fs.image().keys());
      expect(fs.openPaths.filter((path) => !there.has(path))).toEqual([]);
    };
    for (let round = 0; round < 4; round++) {
      for (const key of ['k0', 'k4', 'k8']) pod.table.set(key, { n: round });
      pod.folder.sync();
      readAll();
      fold(pod);
      // What was read from the log before is closed at once, not when the next file is read.
      expect(fs.openPaths.filter((path) => !fs.image().has(path))).toEqual([]);
      readAll();
    }
    for (const key of ['k0', 'k1', 'k2']) pod.table.delete(pod.table.find(key) as never);
    fold(pod);
    readAll();
    compactFolder(pod.folder, { fileSize: 4, gzip: false });
    readAll();
    close(pod);
    expect(fs.openPaths).toEqual([]);
  });

  it('are not left open by an open that fails after it has read lines', () => {
    const pod = openOn(indexedDisk(9));
    pod.table.set('k1', { n: 'behind the index' });
    pod.folder.sync();
    const image = pod.fs.image();
    let failures = 0;
    for (let at = 0; ; at++) {
      const fs = MemoryFileSystem.fromImage(image);
      let calls = 0;
      fs.intercept = () => (calls++ === at ? { kind: 'error', code: 'EIO' } : undefined);
      try {
        openOn(fs);
      } catch {
        failures++;
        expect(fs.openPaths).toEqual([]);
      }
      if (calls <= at) break;
    }
    expect(failures).toBeGreaterThan(5);
  });

  it('are not left open by a failed read', () => {
    const fs = indexedDisk(9);
    const pod = openOn(fs);
    const before = fs.openPaths.length;
    fs.intercept = (call) => (call.name === 'open' ? { kind: 'error', code: 'EMFILE' } : undefined);
    for (let round = 0; round < 5; round++) expect(thrown(() => valueIn(pod, 'k1')).code).toBe('ERR_POD_DISK');
    fs.intercept = undefined;
    expect(fs.openPaths.length).toBe(before);
  });

  it('are let go where the system gives no more of them, half of them for the rest of the program', () => {
    const fs = indexedDisk(40, { fileSize: 2 });
    const expected = checkedState(openImage(fs.image()));
    const pod = openOn(fs, { fileSize: 2, cacheBytes: 0 });
    const before = fs.openPaths.length;
    fs.intercept = ({ name }) =>
      name === 'open' && fs.openPaths.length >= before + 8 ? { kind: 'error', code: 'EMFILE' } : undefined;
    expect(checkedState(pod)).toEqual(expected);
    expect(fs.openPaths.length).toBe(before + 4);
    fs.intercept = undefined;
    close(pod);
    expect(fs.openPaths).toEqual([]);
  });
});

describe('a read that fails', () => {
  for (const [code, call] of [
    ['EIO', 'read'],
    ['EMFILE', 'open'],
    ['EACCES', 'open'],
  ] as const) {
    for (const setting of [{ cacheBytes: 0 }, { cacheBytes: BIG }, { cacheBytes: 0, gzip: true }]) {
      it(`with ${code} from ${call} is told, and the pod goes on (${JSON.stringify(setting)})`, () => {
        const fs = indexedDisk(9, setting);
        const pod = openOn(fs, setting);
        const expected = checkedState(openImage(fs.image()));
        pod.table.set('new', 1);
        expected.push(['new', 1]);
        fs.intercept = ({ name, path }) =>
          name === call && /\/\.?\d+\.json(?!l)/.test(path) ? { kind: 'error', code } : undefined;
        expect(thrown(() => valueIn(pod, 'k1')).code).toBe('ERR_POD_DISK');
        expect(thrown(() => stateOf(pod)).code).toBe('ERR_POD_DISK');
        // Nothing that need not be read is refused.
        pod.table.set('newer', 2);
        expected.push(['newer', 2]);
        pod.folder.sync();
        fs.intercept = undefined;
        expect(checkedState(pod)).toEqual(expected);
        close(pod);
        expect(checkedState(openImage(fs.image()))).toEqual(expected);
      });
    }
  }

  it('in a revert, at whichever call, leaves what was there before or what was to be there', () => {
    let failures = 0;
    for (let at = 0; ; at++) {
      const fs = indexedDisk(8);
      const pod = openOn(fs);
      pod.table.set('k1', { n: 'synced' });
      pod.table.set('x', { n: 'synced' });
      pod.folder.sync();
      const point = JSON.stringify(checkedState(pod));
      pod.table.set('k2', { n: 'lost' });
      pod.table.delete(pod.table.find('k4') as never);
      pod.table.set('y', { n: 'lost' });
      pod.folder.append();
      const before = JSON.stringify(checkedState(pod));
      let calls = 0;
      fs.intercept = () => (calls++ === at ? { kind: 'error', code: 'EIO' } : undefined);
      try {
        pod.folder.revert();
      } catch {
        failures++;
      }
      fs.intercept = undefined;
      const struck = calls > at;
      expect([point, before]).toContain(JSON.stringify(checkedState(pod)));
      pod.table.set('later', 1);
      pod.folder.sync();
      const expected = checkedState(pod);
      close(pod);
      expect(checkedState(openImage(fs.image()))).toEqual(expected);
      if (!struck) break;
    }
    expect(failures).toBeGreaterThan(20);
  });
});

describe('a line that is changed on the disk while the pod is open', () => {
  for (const setting of [{ cacheBytes: 0 }, { cacheBytes: 0, gzip: true }]) {
    it(`D4: is refused when it is read, with its file, and the others are not (${JSON.stringify(setting)})`, () => {
      const fs = indexedDisk(9, setting);
      const pod = openOn(fs, setting);
      const name = setting.gzip === true ? '1.json.gz' : '1.json';
      const original = bytesOf(fs.image(), name);
      pod.table.set('k3', { n: 'new' });
      const changed = Buffer.from(original);
      changed[changed.length - 3] = (changed[changed.length - 3] as number) ^ 1;
      fs.rot(`${PATH}/${name}`, changed);
      const error = thrown(() => stateOf(pod));
      expect([error.code, error.file]).toEqual(['ERR_POD_CORRUPT', name]);
      expect(error.message).toContain('everpod repair');
      expect([valueIn(pod, 'k1'), valueIn(pod, 'k7')]).toEqual([{ n: 1 }, { n: 7 }]);
      // A fold of the damaged shard would make the damage look right.
      expect(thrown(() => fold(pod)).code).toBe('ERR_POD_CORRUPT');
      expect(bytesOf(fs.image(), name).equals(changed)).toBe(true);
      fs.rot(`${PATH}/${name}`, original);
      expect(valueIn(pod, 'k5')).toEqual({ n: 5 });
      close(pod);
      expect(checkedState(openImage(fs.image())).map(([key]) => key)).toEqual(
        [0, 1, 2, 3, 4, 5, 6, 7, 8].map((number) => `k${number}`),
      );
    });
  }

  it('is refused in the log as well, with the segment', () => {
    const pod = openOn(indexedDisk());
    pod.table.set('k1', { n: 'in the log' });
    pod.folder.sync();
    stateOf(pod);
    const { name } = pod.folder.log;
    const log = bytesOf(pod.fs.image(), name);
    const at = log.indexOf('in the log');
    log[at] = 0x49;
    pod.folder.texts.forget();
    pod.fs.rot(`${PATH}/${name}`, log);
    const error = thrown(() => valueIn(pod, 'k1'));
    expect([error.code, error.file]).toEqual(['ERR_POD_CORRUPT', name]);
  });

  it('is not taken for another line that is as long', () => {
    const pod = openOn(indexedDisk(3));
    const text = bytesOf(pod.fs.image(), '0.json').toString();
    const [first, second, third] = text.split('\n') as [string, string, string];
    pod.fs.rot(`${PATH}/0.json`, Buffer.from(`${second}\n${first}\n${third}\n`));
    expect(thrown(() => valueIn(pod, 'k0')).code).toBe('ERR_POD_CORRUPT');
    expect(valueIn(pod, 'k2')).toEqual({ n: 2 });
  });
});

it('Texts read from the real file system, too', () => {
  const texts = new Texts(nodeFileSystem, import.meta.dirname, 0);
  expect(thrown(() => texts.segment(1).textAt(0, 10, 0)).code).toBe('ERR_POD_DISK');
  texts.retire();
});
