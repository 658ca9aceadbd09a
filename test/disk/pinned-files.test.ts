// A reader that takes its rows from the saved index: what it opened stays what it was, whatever the writer does before it reads the lines.
import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { compactFolder } from '../../src/disk/compact.ts';
import { Fold } from '../../src/disk/fold.ts';
import type { FileSystem } from '../../src/disk/fs.ts';
import { PinnedFiles } from '../../src/disk/pinned-files.ts';
import { acceptEdits, repairFolder } from '../../src/disk/repair.ts';
import { type FsCall, type MemoryFileSystem, seededRandom } from '../../src/testing/index.ts';
import { testSize } from '../size.ts';
import {
  bytesOf,
  checkedState,
  close,
  fold,
  INDEX_PATH,
  type IndexedPod,
  indexedDisk,
  openOn,
  type ReadPod,
  readOn,
  stateOf,
  truth,
} from './indexed.ts';
import { PATH, thrown } from './support.ts';

/** How many runs of a writer with readers beside it. */
const SEEDS = { small: 8, ci: 200, long: 2_000 }[testSize];
/** Work falls between every so many calls of a reader. */
const STRIDE = testSize === 'small' ? 3 : 1;

const isShard = (path: string): boolean => /\/\d+\.json(\.gz)?$/.test(path);

/** What is called while something is done. */
function callsIn(fs: MemoryFileSystem, work: () => void): FsCall[] {
  const calls: FsCall[] = [];
  fs.intercept = (call) => {
    calls.push(call);
    return undefined;
  };
  work();
  fs.intercept = undefined;
  return calls;
}

describe('a reader with an index', () => {
  it('opens every shard and reads none, changes nothing, and leaves nothing open', () => {
    const fs = indexedDisk(20);
    const before = fs.image();
    let reader: ReadPod | undefined;
    const calls = callsIn(fs, () => {
      reader = readOn(fs);
    });
    expect(reader?.fromIndex).toBe(true);
    expect(reader?.table.size).toBe(20);
    const opened = calls.filter(({ name, path }) => name === 'open' && isShard(path)).map(({ path }) => path);
    expect(new Set(opened).size).toBe(7);
    expect(calls.filter(({ name, path }) => name === 'read' && isShard(path))).toEqual([]);
    expect(calls.some(({ name, path }) => name === 'read' && path === INDEX_PATH)).toBe(true);
    expect(calls.filter(({ mode }) => mode !== undefined && mode !== 'r')).toEqual([]);
    expect(fs.openPaths.length).toBe(7);
    expect(reader?.table.find('k7')?.plain).toEqual({ n: 7 });
    reader?.release();
    expect(fs.openPaths).toEqual([]);
    expect(fs.image()).toEqual(before);
  });

  it('cannot be read from when it is released, and says so', () => {
    for (const cacheBytes of [0, 1 << 20]) {
      const reader = readOn(indexedDisk(20), { cacheBytes });
      reader.release();
      const error = thrown(() => reader.table.find('k7')?.plain);
      expect(error).toMatchObject({ code: 'ERR_POD_CLOSED', path: PATH });
      expect(error.message).toMatch(/open\(\)/);
    }
  });

  it('finds a line that the disk has changed, and reads the others', () => {
    for (const cacheBytes of [0, 1 << 20]) {
      const fs = indexedDisk(20);
      const reader = readOn(fs, { cacheBytes });
      const shard = Buffer.from(bytesOf(fs.image(), '2.json'));
      shard[shard.indexOf('6}')] = 0x39;
      fs.rot(`${PATH}/2.json`, shard);
      expect(thrown(() => reader.table.find('k6')?.plain)).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '2.json' });
      expect(reader.table.find('k7')?.plain).toEqual({ n: 7 });
    }
  });
});

/** What a writer may do. */
const WORK: Readonly<Record<string, (pod: IndexedPod) => void>> = {
  'a fold': fold,
  'a part of a fold': ({ folder }) => {
    folder.sync();
    const work = new Fold(folder);
    // The shard of `k3`, and that of `k6`; the manifest is as it was.
    work.step();
    work.step();
  },
  'a close': close,
  'a compaction': ({ folder }) => compactFolder(folder, { fileSize: 4, gzip: true }),
  'going back': ({ folder }) => folder.revert(),
  'going back and other changes': (pod) => {
    pod.folder.revert();
    for (let n = 0; n < 9; n++) pod.table.set(`k${n}`, { other: n });
    pod.folder.append();
  },
  'a clear and a fold': (pod) => {
    pod.table.clear();
    fold(pod);
  },
  'an edit that was accepted': (pod) => {
    close(pod);
    pod.fs.put(`${PATH}/0.json`, Buffer.from('"k0"\t"edited"\n'));
    acceptEdits(pod.system, PATH);
  },
  'a repair': (pod) => {
    close(pod);
    pod.fs.put(`${PATH}/0.json`, Buffer.from('"k0"\t"lost\n'));
    repairFolder(pod.system, PATH);
  },
};

/** A pod at work: something is in its log since the index was saved, and something since the last sync point. */
function busyPod(gzip: boolean): IndexedPod {
  const pod = openOn(indexedDisk(20, { gzip }));
  // So that a slice of a fold is one shard.
  pod.system.clock.readingCostMs = 20;
  pod.table.set('k3', { n: 'longer than it was' });
  // Of this shard the lines behind the first one move when it is folded.
  pod.table.set('k6', { n: 'longer than it was' });
  pod.folder.sync();
  pod.table.set('k4', { n: 'appended' });
  pod.table.set('new', { n: 'appended' });
  pod.table.delete(pod.table.find('k5') as never);
  pod.folder.append();
  return pod;
}

describe('what a reader opened stays what it was', () => {
  for (const [what, work] of Object.entries(WORK)) {
    it(`through ${what}`, () => {
      for (const gzip of [false, true]) {
        for (const cacheBytes of [0, 1 << 20]) {
          const pod = busyPod(gzip);
          const expected = checkedState(pod);
          const reader = readOn(pod.fs, { cacheBytes });
          expect(reader.fromIndex).toBe(true);
          work(pod);
          expect(checkedState(reader)).toEqual(expected);
          reader.release();
        }
      }
    });
  }

  it('through anything, one reader among many', () => {
    let late = 0;
    for (let seed = 1; seed <= SEEDS; seed++) late += readersBeside(seed);
    // Else nothing was tried.
    expect(late).toBeGreaterThan(SEEDS);
  });
});

describe('a reader sees what was, or what is, when between two of its calls there is', () => {
  for (const [number, [what, work]] of Object.entries(WORK).entries()) {
    it(what, () => {
      let isOver = false;
      for (let round = 0; !isOver; round++) {
        const before = number + round * STRIDE;
        const pod = busyPod(round % 2 === 1);
        const { fs } = pod;
        const states = [stateOf(pod)];
        const first = fs.calls;
        isOver = true;
        fs.intercept = ({ index }) => {
          if (index < first + before) return undefined;
          fs.intercept = undefined;
          isOver = false;
          work(pod);
          return undefined;
        };
        const reader = readOn(fs);
        fs.intercept = undefined;
        states.push(truth(fs.image()));
        expect(states).toContainEqual(checkedState(reader));
        reader.release();
      }
    });
  }
});

/**
 * Opens readers beside a writer that does everything there is to do, and looks at them later. Throws where one has changed.
 *
 * @returns how many with an index were looked at when the pod held something else
 */
function readersBeside(seed: number): number {
  const random = seededRandom(seed);
  const gzip = random.chance(0.3);
  let pod = openOn(indexedDisk(12 + random.below(20), { gzip }));
  const { fs } = pod;
  const readers: { readonly reader: ReadPod; readonly expected: string }[] = [];
  let late = 0;
  const check = (): void => {
    const [next] = readers.splice(random.below(readers.length), 1);
    if (next === undefined) return;
    const { reader, expected } = next;
    const found = JSON.stringify(checkedState(reader));
    if (found !== expected) throw new Error(`seed ${seed}: a reader holds ${found} instead of ${expected}`);
    if (reader.fromIndex && expected !== JSON.stringify(stateOf(pod))) late++;
    reader.release();
  };
  for (let step = 0; step < 80; step++) {
    const keys = stateOf(pod).map(([key]) => key);
    const action = random.below(24);
    if (action < 6) pod.table.set(random.pick(keys), { step });
    else if (action < 8) pod.table.delete(pod.table.find(random.pick(keys)) as never);
    else if (action < 11) pod.table.set(`n${step}`, { step });
    else if (action < 13) pod.folder.sync();
    else if (action === 13) pod.folder.revert();
    else if (action === 14) fold(pod);
    else if (action === 15 && random.chance(0.4)) compactFolder(pod.folder, { fileSize: 2 + random.below(3), gzip });
    else if (action === 16) {
      close(pod);
      pod = openOn(fs);
    } else if (action < 21) {
      pod.folder.append();
      const expected = JSON.stringify(stateOf(pod));
      readers.push({ reader: readOn(fs, { cacheBytes: random.pick([0, 1 << 20]) }), expected });
    } else check();
  }
  while (readers.length > 0) check();
  close(pod);
  if (fs.openPaths.length > 0) throw new Error(`seed ${seed}: ${fs.openPaths} are left open`);
  return late;
}

describe('where files cannot stay open', () => {
  /** Reads a pod where a process may have so many files open. */
  function readWith(filesMax: number, fs: MemoryFileSystem): ReadPod {
    fs.intercept = ({ name }) =>
      name === 'open' && fs.openPaths.length >= filesMax ? { kind: 'error', code: 'EMFILE' } : undefined;
    return readOn(fs);
  }

  it('everything is read, and nothing is left open', () => {
    const fs = indexedDisk(20);
    const expected = truth(fs.image());
    for (let filesMax = 1; filesMax < 14; filesMax++) {
      const reader = readWith(filesMax, fs);
      expect(reader.fromIndex).toBe(false);
      expect(fs.openPaths).toEqual([]);
      expect(checkedState(reader)).toEqual(expected);
    }
    const reader = readWith(14, fs);
    expect(reader.fromIndex).toBe(true);
    reader.release();
  });

  it('everything is read, also where the program could open no other files beside them', () => {
    const fs = indexedDisk(300, { fileSize: 1 });
    for (const [filesMax, fromIndex] of [
      [310, false],
      [555, false],
      [556, true],
    ] as const) {
      const reader = readWith(filesMax, fs);
      expect([filesMax, reader.fromIndex, reader.table.size]).toEqual([filesMax, fromIndex, 300]);
      expect(fs.openPaths.length).toBe(fromIndex ? 300 : 0);
      reader.release();
    }
  });

  it('no more than 10,000 are kept', () => {
    let opened = 0;
    const fs = { open: () => ++opened, fstat: () => ({}), close: () => void opened-- } as unknown as FileSystem;
    const { manifest } = openOn(indexedDisk()).folder;
    const pinned = new PinnedFiles(fs, PATH, manifest, 0);
    for (let shard = 0; shard < 10_000; shard++) pinned.stat(`${PATH}/${shard}.json`);
    // Twice the same is one file.
    pinned.stat(`${PATH}/7.json`);
    expect(opened).toBe(10_000);
    expect(() => pinned.stat(`${PATH}/10000.json`)).toThrow(expect.objectContaining({ code: 'EMFILE' }));
    pinned.release();
    expect(opened).toBe(0);
  });

  it('any failing call means that everything is read, or an error that says what failed', () => {
    const fs = indexedDisk(8);
    const expected = truth(fs.image());
    const calls = callsIn(fs, () => readOn(fs).release()).length;
    let read = 0;
    for (let failing = 0; failing < calls; failing++) {
      const first = fs.calls;
      fs.intercept = ({ index }) => (index === first + failing ? { kind: 'error', code: 'EIO' } : undefined);
      try {
        const reader = readOn(fs);
        fs.intercept = undefined;
        expect(checkedState(reader)).toEqual(expected);
        reader.release();
        read++;
      } catch (error) {
        expect(error).toMatchObject({ name: 'PodError', code: 'ERR_POD_DISK' });
      }
      expect(fs.openPaths).toEqual([]);
    }
    expect(read).toBeGreaterThan(calls / 2);
  });
});
