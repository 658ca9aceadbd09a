// The saved index: taken only where it fits, and then what it gives is what reading everything would have given.
import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import { backUp } from '../../src/disk/backup.ts';
import { closeFolder, compactFolder } from '../../src/disk/compact.ts';
import { readIndex } from '../../src/disk/index-file.ts';
import { IndexWriter } from '../../src/disk/index-writer.ts';
import { INDEX_NAME } from '../../src/disk/names.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import { acceptEdits, repairFolder } from '../../src/disk/repair.ts';
import { restoreFolder } from '../../src/disk/restore.ts';
import {
  type DiskImage,
  type FsyncBeside,
  MemoryFileSystem,
  seededRandom,
  testSystem,
} from '../../src/testing/index.ts';
import { TaskIndex } from '../../src/tracker/task-index.ts';
import { settle } from '../crash/enumerator-explorer.ts';
import fc from '../fast-check.ts';
import { testSeed, testSize } from '../size.ts';
import {
  bytesOf,
  checkedState,
  close,
  fold,
  INDEX_PATH,
  type IndexedPod,
  indexedDisk,
  openImage,
  openOn,
  readOn,
  stateOf,
  truth,
  withFiles,
  writeWhileChanging,
} from './indexed.ts';
import { owner, PATH, thrown } from './support.ts';

/** Whether the index of an image is taken, by writers and readers; what it gives must be the truth in any case. */
function isTaken(image: DiskImage): boolean {
  const expected = truth(image);
  const fs = MemoryFileSystem.fromImage(image);
  const reader = readOn(fs);
  expect(checkedState(reader)).toEqual(expected);
  reader.release();
  expect(fs.openPaths).toEqual([]);
  const pod = openImage(image);
  expect(checkedState(pod)).toEqual(expected);
  expect(reader.fromIndex).toBe(pod.fromIndex);
  return pod.fromIndex;
}

/** Another disk, with this file changed as somebody else's program would. */
function touched(image: DiskImage, name: string, bytes: Uint8Array): DiskImage {
  const fs = MemoryFileSystem.fromImage(image);
  fs.put(`${PATH}/${name}`, bytes);
  return fs.image();
}

/** An index with another footer, and the checksum that belongs to it. */
function withFooter(index: Buffer, change: (footer: Record<string, unknown>) => unknown): Buffer {
  const trailer = index.length - 12;
  const length = index.readInt32LE(trailer);
  const footer = JSON.parse(index.toString('utf8', trailer - length, trailer)) as Record<string, unknown>;
  return sealed(index.subarray(0, trailer - length), JSON.stringify(change(footer)));
}

function sealed(before: Buffer, footer: string, order: number = 0x0102_0304): Buffer {
  const text = Buffer.from(footer);
  const trailer = Buffer.alloc(12);
  trailer.writeInt32LE(text.length, 0);
  trailer.writeInt32LE(order, 4);
  trailer.writeUInt32LE(crc32(Buffer.concat([before, text, trailer.subarray(0, 8)])), 8);
  return Buffer.concat([before, text, trailer]);
}

/** A pod whose index was saved by a fold, with records behind it in the log, killed. */
function killedBehindIndex(): DiskImage {
  const pod = openOn(indexedDisk(8));
  pod.table.set('k1', { n: 'folded' });
  fold(pod);
  pod.table.set('k2', { n: 'behind' });
  pod.table.delete(pod.table.find('k5') as never);
  pod.table.set('new', { n: 'behind' });
  pod.folder.sync();
  return pod.fs.image();
}

describe('an index that fits', () => {
  it('is taken after a close, and after a kill with records behind it', () => {
    expect(isTaken(indexedDisk(20).image())).toBe(true);
    const killed = killedBehindIndex();
    expect(isTaken(killed)).toBe(true);
    expect(truth(killed).map(([key]) => key)).toEqual(['k0', 'k1', 'k2', 'k3', 'k4', 'k6', 'k7', 'new']);
  });

  it('opens a pod without reading a shard', () => {
    const { fs } = openImage(indexedDisk(20).image());
    const image = fs.image();
    const watched = MemoryFileSystem.fromImage(image);
    const opened: string[] = [];
    watched.intercept = (call) => {
      if (call.name === 'open') opened.push(call.path);
      return undefined;
    };
    expect(openOn(watched).fromIndex).toBe(true);
    expect(opened.filter((path) => /\/\d+\.json$/.test(path))).toEqual([]);
    expect(opened).toContain(INDEX_PATH);
  });

  it('is there in large pods only, and in small ones neither made nor missed', () => {
    expect(indexedDisk(8, { indexEntries: 9 }).image().has(INDEX_PATH)).toBe(false);
    expect(indexedDisk(9, { indexEntries: 9 }).image().has(INDEX_PATH)).toBe(true);
    // One that is there is taken, however small the pod has become.
    expect(openImage(indexedDisk(8).image(), { indexEntries: 1000 }).fromIndex).toBe(true);
  });

  it('of a pod of any settings', () => {
    for (const gzip of [false, true]) {
      for (const fileSize of [1, 3, 100]) {
        const image = indexedDisk(30, { gzip, fileSize }).image();
        expect(isTaken(image)).toBe(true);
      }
    }
    expect(isTaken(indexedDisk(0).image())).toBe(true);
  });

  it('is good for going on: what is changed behind it is there the next time, with an index or without', () => {
    let fs = indexedDisk(12);
    const random = seededRandom(3);
    for (let round = 0; round < 12; round++) {
      const pod = openOn(MemoryFileSystem.fromImage(fs.image()));
      expect(pod.fromIndex).toBe(true);
      for (let change = 0; change < 5; change++) {
        const key = `k${random.below(20)}`;
        const entry = pod.table.find(key);
        if (entry !== undefined && random.chance(0.4)) pod.table.delete(entry);
        else pod.table.set(key, { round, change });
      }
      pod.folder.sync();
      const expected = stateOf(pod);
      if (round % 3 === 0) close(pod);
      else if (round % 3 === 1) fold(pod);
      fs = pod.fs;
      expect(truth(fs.image())).toEqual(expected);
      expect(isTaken(fs.image())).toBe(true);
    }
  });
});

describe('an index does not fit, and everything is read,', () => {
  const image = killedBehindIndex();
  const index = bytesOf(image, INDEX_NAME);
  const withIndex = (bytes: Uint8Array): DiskImage => withFiles(image, { [INDEX_NAME]: bytes });

  it('as control: where nothing is changed it does fit', () => {
    expect(isTaken(withIndex(index))).toBe(true);
    expect(isTaken(withIndex(withFooter(index, (footer) => footer)))).toBe(true);
  });

  it('where any bit of it is another one, or it is cut anywhere', () => {
    const expected = truth(image);
    const { manifest } = openImage(image).folder;
    const fs = MemoryFileSystem.fromImage(image);
    expect(readIndex(fs, PATH, manifest)).toBeDefined();
    let count = 0;
    const check = (bytes: Uint8Array): void => {
      fs.put(INDEX_PATH, bytes);
      if (readIndex(fs, PATH, manifest) !== undefined) throw new Error('a damaged index was taken');
      // Of some, the pod as well.
      if (count++ % 500 !== 0) return;
      const pod = openImage(fs.image());
      expect([pod.fromIndex, checkedState(pod)]).toEqual([false, expected]);
    };
    for (let bit = 0; bit < index.length * 8; bit++) {
      const flipped = Buffer.from(index);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      check(flipped);
    }
    for (let length = 0; length < index.length; length++) check(index.subarray(0, length));
    for (const zeros of [1, 12, 512]) check(Buffer.concat([index, Buffer.alloc(zeros)]));
    check(Buffer.alloc(index.length));
    expect(count).toBeGreaterThan(index.length * 9);
  });

  it('where it is of another pod, generation, version or machine, or says nothing that can be read', () => {
    const before = index.subarray(0, index.length - 12 - index.readInt32LE(index.length - 12));
    const text = index.toString('utf8', before.length, index.length - 12);
    const changes: Record<string, Buffer> = {
      pod: withFooter(index, (footer) => ({ ...footer, id: 'ffffffff' })),
      generation: withFooter(index, (footer) => ({ ...footer, gen: 1 })),
      version: withFooter(index, (footer) => ({ ...footer, format: 2 })),
      'more than is known': withFooter(index, (footer) => ({ ...footer, more: 1 })),
      machine: sealed(before, text, 0x0403_0201),
      'no JSON': sealed(before, '{'),
      'too many rows': withFooter(index, (footer) => ({ ...footer, slotEnd: 1000 })),
      'too few rows': withFooter(index, (footer) => ({ ...footer, slotEnd: 2 })),
      'too many buckets': withFooter(index, (footer) => ({ ...footer, buckets: 1000 })),
      'no sources': withFooter(index, (footer) => ({ ...footer, sources: [] })),
    };
    for (const [what, bytes] of Object.entries(changes))
      expect([what, isTaken(withIndex(bytes))]).toEqual([what, false]);
    const other = bytesOf(indexedDisk(8).image(), INDEX_NAME);
    expect(isTaken(withIndex(other))).toBe(false);
    expect(isTaken(withFiles(image, { [INDEX_NAME]: undefined }))).toBe(false);
  });

  it('where the log does not lead through both of its marks', () => {
    type Mark = { s: number; crc: number };
    const mark = (name: string, change: (mark: Mark) => Mark): Buffer =>
      withFooter(index, (footer) => ({ ...footer, [name]: change(footer[name] as Mark) }));
    for (const name of ['begin', 'end']) {
      expect(isTaken(withIndex(mark(name, ({ s, crc }) => ({ s, crc: crc ^ 1 }))))).toBe(false);
      expect(isTaken(withIndex(mark(name, ({ s, crc }) => ({ s: s + 1, crc }))))).toBe(false);
      expect(isTaken(withIndex(mark(name, ({ crc }) => ({ s: 0, crc }))))).toBe(false);
    }
  });

  it('where there is a fold or a clear in the log behind it', () => {
    const folded = openOn(MemoryFileSystem.fromImage(image));
    folded.folder.appendIntents([`"o":"fold","n":0,"lines":1,"bytes":1,"crc":"00000000","t":${folded.folder.point.s}`]);
    expect(isTaken(folded.fs.image())).toBe(false);
    const cleared = openOn(MemoryFileSystem.fromImage(image));
    cleared.table.clear();
    cleared.table.set('after', 1);
    cleared.folder.sync();
    expect(isTaken(cleared.fs.image())).toBe(false);
    expect(truth(cleared.fs.image())).toEqual([['after', 1]]);
  });

  it('where a shard was touched: another file, another time, another size, or gone', () => {
    const shard = bytesOf(image, '1.json');
    expect(isTaken(touched(image, '1.json', shard))).toBe(false);
    const rewritten = MemoryFileSystem.fromImage(image);
    const fd = rewritten.open(`${PATH}/1.json`, 'r+');
    rewritten.write(fd, shard, 0, shard.length, 0);
    rewritten.close(fd);
    expect(isTaken(rewritten.image())).toBe(false);
    for (const bytes of [Buffer.concat([shard, Buffer.from('"z"\t1\n')]), shard.subarray(0, -1)]) {
      expect(thrown(() => openImage(touched(image, '1.json', bytes))).code).toBe('ERR_POD_CORRUPT');
    }
    const gone = MemoryFileSystem.fromImage(image);
    gone.unlink(`${PATH}/1.json`);
    expect(thrown(() => openOn(gone)).code).toBe('ERR_POD_CORRUPT');
  });

  it('each of size, time, inode and device for itself', () => {
    for (const member of [6, 7, 8, 9]) {
      const bytes = withFooter(index, (footer) => {
        const shards = structuredClone(footer.shards) as number[][];
        const shard = shards[1] as number[];
        shard[member] = (shard[member] as number) + 1;
        return { ...footer, shards };
      });
      expect([member, isTaken(withIndex(bytes))]).toEqual([member, false]);
    }
  });

  it('where a shard is not listed as it was', () => {
    const listed: [number, unknown][] = [
      [1, 2],
      [2, 1],
      [3, '00000000'],
      [4, 0],
      [5, true],
    ];
    for (const [member, value] of listed) {
      const bytes = withFooter(index, (footer) => {
        const shards = structuredClone(footer.shards) as unknown[][];
        (shards[0] as unknown[])[member] = value;
        return { ...footer, shards };
      });
      expect([member, isTaken(withIndex(bytes))]).toEqual([member, false]);
    }
    expect(isTaken(withIndex(withFooter(index, (footer) => ({ ...footer, shards: [] }))))).toBe(false);
  });

  it('where a record behind it does not fit in', () => {
    // As if the rows ended in a later shard than the log's new key goes to.
    const pod = openOn(MemoryFileSystem.fromImage(image));
    expect(pod.fromIndex).toBe(true);
    const before = index.subarray(0, index.length - 12 - index.readInt32LE(index.length - 12));
    const text = index.toString('utf8', before.length, index.length - 12);
    const rows = Buffer.from(before);
    // The last row's shard: seven numbers a row, at the end.
    expect(rows.readInt32LE(rows.length - 28)).toBe(2);
    rows.writeInt32LE(9, rows.length - 28);
    expect(isTaken(withIndex(sealed(rows, text)))).toBe(false);
  });

  it('where a staged shard lies beside', () => {
    expect(isTaken(touched(image, '.7.json.g0', Buffer.from('x')))).toBe(false);
    // One of a compaction that is under way, or that a death has cut short, is nobody's.
    expect(isTaken(touched(image, '.7.json.g1', Buffer.from('x')))).toBe(true);
  });
});

describe('an index of another moment', () => {
  it('an earlier one is brought up to date as long as the log leads on from it, and is left alone afterwards', () => {
    const pod = openOn(indexedDisk(8));
    const early = bytesOf(pod.fs.image(), INDEX_NAME);
    pod.table.set('k1', { n: 'later' });
    pod.folder.sync();
    expect(isTaken(pod.fs.image())).toBe(true);
    fold(pod);
    expect(isTaken(pod.fs.image())).toBe(true);
    expect(isTaken(withFiles(pod.fs.image(), { [INDEX_NAME]: early }))).toBe(false);
    close(pod);
    expect(isTaken(withFiles(pod.fs.image(), { [INDEX_NAME]: early }))).toBe(false);
  });

  it('a later one is left alone by the folder as it was before', () => {
    const pod = openOn(indexedDisk(8));
    const earlier = pod.fs.image();
    pod.table.set('k1', { n: 'later' });
    fold(pod);
    const folded = bytesOf(pod.fs.image(), INDEX_NAME);
    expect(isTaken(withFiles(earlier, { [INDEX_NAME]: folded }))).toBe(false);
    pod.table.set('k2', { n: 'later' });
    close(pod);
    expect(isTaken(withFiles(earlier, { [INDEX_NAME]: bytesOf(pod.fs.image(), INDEX_NAME) }))).toBe(false);
  });

  it('one of a history that was taken back is left alone by the one that was written instead', () => {
    const pod = openOn(indexedDisk(8));
    const base = pod.fs.image();
    const write = (value: string): DiskImage => {
      const line = openOn(MemoryFileSystem.fromImage(base));
      line.table.set('k1', { n: value });
      const writer = new IndexWriter(line.folder);
      while (!writer.step());
      return line.fs.image();
    };
    const [one, other] = [write('one'), write('two')];
    expect(isTaken(one)).toBe(true);
    expect(isTaken(withFiles(one, { [INDEX_NAME]: bytesOf(other, INDEX_NAME) }))).toBe(false);
  });
});

describe('a folder that was copied', () => {
  it('gets an index that fits it again, and no other file is touched for that', () => {
    const image = indexedDisk(20).image();
    // The copies of the files are other files, at another time.
    const copy = new MemoryFileSystem();
    copy.mkdir(PATH);
    for (const [path, content] of image) if (content !== 'folder') copy.put(path, content);
    const before = copy.image();
    const pod = openOn(copy);
    expect(pod.fromIndex).toBe(false);
    fold(pod);
    expect(isTaken(copy.image())).toBe(true);
    const changed = [...copy.image()].filter(([path, content]) => {
      const then = before.get(path);
      return content !== 'folder' && !(then instanceof Uint8Array && Buffer.compare(then, content) === 0);
    });
    expect(changed.map(([path]) => path)).toEqual([INDEX_PATH]);
  });
});

describe('an index is stale after', () => {
  /** The index from before, in the folder as some work leaves it. */
  function isTakenAfter(work: (fs: MemoryFileSystem) => void): boolean {
    const image = killedBehindIndex();
    const fs = MemoryFileSystem.fromImage(image);
    work(fs);
    return isTaken(withFiles(fs.image(), { [INDEX_NAME]: bytesOf(image, INDEX_NAME) }));
  }
  const systemOn = (fs: MemoryFileSystem) => testSystem({ fs, indexEntries: 0 });

  it('a compaction', () => {
    expect(
      isTakenAfter((fs) => {
        const pod = openOn(fs);
        compactFolder(pod.folder, { fileSize: 2, gzip: false });
        expect(checkedState(pod).length).toBe(8);
      }),
    ).toBe(false);
  });

  it('a fold', () => {
    expect(isTakenAfter((fs) => fold(openOn(fs)))).toBe(false);
  });

  it('edits that were accepted', () => {
    expect(
      isTakenAfter((fs) => {
        const text = bytesOf(fs.image(), '0.json').toString().replace('"k0"\t{"n":0}', '"k0"\t{"n":7}');
        fs.put(`${PATH}/0.json`, Buffer.from(text));
        expect(acceptEdits(systemOn(fs), PATH)).toEqual(['0.json']);
        expect(truth(fs.image())[0]).toEqual(['k0', { n: 7 }]);
      }),
    ).toBe(false);
  });

  it('a repair', () => {
    expect(
      isTakenAfter((fs) => {
        const text = bytesOf(fs.image(), '0.json').toString().replace('"k0"\t{"n":0}', '"k0"x{"n":7}');
        fs.put(`${PATH}/0.json`, Buffer.from(text));
        repairFolder(systemOn(fs), PATH);
        expect(truth(fs.image()).map(([key]) => key)).not.toContain('k0');
      }),
    ).toBe(false);
  });

  it('a restored backup of an earlier state', () => {
    const fs = MemoryFileSystem.fromImage(killedBehindIndex());
    backUp(systemOn(fs), PATH, '/backup', () => {});
    expect([...fs.image().keys()].filter((path) => path.startsWith('/backup') && path.endsWith(INDEX_NAME))).toEqual(
      [],
    );
    const pod = openOn(fs);
    pod.table.set('k0', { n: 'after the backup' });
    close(pod);
    const late = bytesOf(fs.image(), INDEX_NAME);
    restoreFolder(systemOn(fs), '/backup', PATH, () => {});
    const restored = fs.image();
    expect(truth(restored)[0]).toEqual(['k0', { n: 0 }]);
    expect(isTaken(restored)).toBe(false);
    expect(isTaken(withFiles(restored, { [INDEX_NAME]: late }))).toBe(false);
  });

  it('nothing that a revert takes back: what is left behind it counts', () => {
    const fs = MemoryFileSystem.fromImage(killedBehindIndex());
    const pod = openOn(fs);
    pod.table.set('k0', { n: 'lost' });
    pod.table.delete(pod.table.find('k1') as never);
    pod.folder.append();
    pod.folder.revert();
    pod.table.set('k3', { n: 'kept' });
    pod.folder.sync();
    expect(isTaken(fs.image())).toBe(true);
    expect(truth(fs.image()).slice(0, 2)).toEqual([
      ['k0', { n: 0 }],
      ['k1', { n: 'folded' }],
    ]);
  });
});

describe('D4: rot in a shard that an index vouches for', () => {
  it('is found when the line is read, with the file; nothing wrong is taken in, and the rest can be read', () => {
    const image = indexedDisk(9).image();
    const lines = bytesOf(image, '1.json');
    for (let at = 0; at < lines.length; at++) {
      const fs = MemoryFileSystem.fromImage(image);
      const rotten = Buffer.from(lines);
      rotten[at] = (rotten[at] as number) ^ 1;
      fs.rot(`${PATH}/1.json`, rotten);
      const pod = openOn(fs);
      // Nothing that the system tells of the file has changed.
      expect(pod.fromIndex).toBe(true);
      let refused = 0;
      for (let number = 0; number < 9; number++) {
        try {
          expect(pod.table.find(`k${number}`)?.plain).toEqual({ n: number });
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '1.json' });
          refused++;
        }
      }
      // The ends of lines are not part of them; they are found when all is read.
      expect(refused).toBe(lines[at] === 0x0a ? 0 : 1);
      expect(thrown(() => openImage(withFiles(fs.image(), { [INDEX_NAME]: undefined }))).code).toBe('ERR_POD_CORRUPT');
    }
  });

  it('is not folded into a shard that looks right, and a record behind the index is not applied to a rotten line', () => {
    const image = killedBehindIndex();
    const fs = MemoryFileSystem.fromImage(image);
    const rotten = bytesOf(image, '0.json');
    const at = rotten.indexOf('"k2"') + 2;
    rotten[at] = 0x39;
    fs.rot(`${PATH}/0.json`, rotten);
    // The record of k2 cannot be matched with its row, so everything is read, and then it is refused.
    expect(thrown(() => openOn(fs)).code).toBe('ERR_POD_CORRUPT');
  });
});

describe('an index that is written in slices while the program goes on', () => {
  it('gives what the pod holds at the end, whatever happened meanwhile', { timeout: 600_000 }, () => {
    const rounds = { small: 30, ci: 3_000, long: 12_000 }[testSize];
    let taken = 0;
    const first = testSeed(1);
    for (let seed = first; seed < first + rounds; seed++) {
      try {
        if (writeWhileChanging(seed)) taken++;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    // Most of them are good for something; the others were left alone.
    expect(taken).toBeGreaterThan(rounds / 4);
  });

  describe('and put on the disk beside it in pieces', () => {
    /** A writer whose first piece is on its way to the disk. */
    function flushing(): {
      pod: IndexedPod;
      writer: Pick<IndexWriter<never, Key>, 'step' | 'abandon'>;
      beside: FsyncBeside;
    } {
      const pod = openOn(indexedDisk());
      Object.assign(pod.system, { indexFlushBytes: 1 });
      pod.fs.holdsBesides = true;
      const writer = new IndexWriter(pod.folder);
      expect(writer.step()).toBe(false);
      return { pod, writer, beside: [...pod.fs.besides][0] as FsyncBeside };
    }

    it('waits until a piece is there, whether that succeeds or not', async () => {
      for (const ends of [(beside: FsyncBeside) => beside.finish(), (beside: FsyncBeside) => beside.fail('EIO')]) {
        const { pod, writer, beside } = flushing();
        const size = (): number | undefined => pod.fs.stat(beside.path)?.size;
        const before = size();
        expect(writer.step()).toBe(false);
        expect(size()).toBe(before);
        ends(beside);
        await settle();
        pod.fs.holdsBesides = false;
        while (!writer.step()) await settle();
        expect(pod.fs.openPaths).not.toContain(beside.path);
        expect(checkedState(openImage(pod.fs.image()))).toEqual(checkedState(pod));
      }
    });

    it('keeps its file open until then where it is given up', async () => {
      const { pod, writer, beside } = flushing();
      writer.abandon();
      const open = pod.fs.openPaths.length;
      beside.finish();
      await settle();
      expect(pod.fs.openPaths.length).toBe(open - 1);
      expect(openImage(pod.fs.image()).fromIndex).toBe(true);
    });

    it('does neither when it is closed', () => {
      const pod = openOn(indexedDisk());
      Object.assign(pod.system, { indexFlushBytes: 1 });
      pod.fs.holdsBesides = true;
      const writer = new IndexWriter(pod.folder);
      while (!writer.step(true));
      expect(pod.fs.besides.size).toBe(0);
      expect(openImage(pod.fs.image()).fromIndex).toBe(true);
    });
  });

  it('a deletion between its slices stays one', () => {
    const pod = openOn(indexedDisk());
    pod.system.clock.readingCostMs = 20;
    const writer = new IndexWriter(pod.folder);
    expect(writer.step()).toBe(false);
    pod.table.delete(pod.table.find('k4') as never);
    while (!writer.step());
    const again = openImage(pod.fs.image());
    expect(again.fromIndex).toBe(true);
    expect(checkedState(again).map(([key]) => key)).toEqual(['k0', 'k1', 'k2', 'k3', 'k5', 'k6', 'k7']);
  });

  it('rows that lay in a segment whose fsync failed are no reason not to open', () => {
    for (const steps of [1, 2]) {
      const pod = openOn(indexedDisk());
      pod.system.clock.readingCostMs = 20;
      const writer = new IndexWriter(pod.folder);
      pod.table.set('k4', { n: 'new' });
      pod.folder.append();
      for (let step = 0; step < steps; step++) expect(writer.step()).toBe(false);
      pod.fs.intercept = (call) => {
        if (call.name !== 'fdatasync') return undefined;
        pod.fs.intercept = undefined;
        return { kind: 'error', code: 'EIO' };
      };
      while (!writer.step());
      const expected = checkedState(pod);
      const image = pod.fs.imageAfter((operation) => operation.status === 'pending');
      expect(checkedState(openImage(image))).toEqual(expected);
    }
  });

  it('is given up when rows move, and leaves nothing behind then or when the disk fails', () => {
    const names = (pod: IndexedPod): string[] =>
      [...pod.fs.image().keys()].filter((path) => path.includes(INDEX_NAME)).map((path) => path.slice(PATH.length + 1));
    const moves: ((pod: IndexedPod) => void)[] = [
      (pod) => compactFolder(pod.folder, { fileSize: 2, gzip: false }),
      (pod) => pod.table.clear(),
      (pod) => pod.folder.revert(),
    ];
    for (const move of moves) {
      const pod = openOn(indexedDisk());
      const before = bytesOf(pod.fs.image(), INDEX_NAME);
      pod.system.clock.readingCostMs = 20;
      const writer = new IndexWriter(pod.folder);
      writer.step();
      move(pod);
      expect(writer.step()).toBe(true);
      expect(names(pod)).toEqual([INDEX_NAME]);
      expect(bytesOf(pod.fs.image(), INDEX_NAME).equals(before)).toBe(true);
    }
    for (const call of ['open', 'write', 'close', 'rename'] as const) {
      const pod = openOn(indexedDisk());
      const open = pod.fs.openPaths.length;
      const closed: string[] = [];
      pod.fs.intercept = ({ name, path }) => {
        if (!path.includes(INDEX_NAME)) return undefined;
        if (name === 'close') closed.push(path);
        return name === call ? { kind: 'error', code: 'ENOSPC' } : undefined;
      };
      expect(
        thrown(() => {
          const writer = new IndexWriter(pod.folder);
          while (!writer.step());
        }).code,
      ).toBe('ERR_POD_DISK');
      pod.fs.intercept = undefined;
      expect(names(pod)).toEqual([INDEX_NAME]);
      expect(pod.fs.openPaths.length).toBe(open);
      // A descriptor is closed once: its number may be another file's by then.
      expect(closed.length).toBe(call === 'open' ? 0 : 1);
      pod.table.set('k1', 'goes on');
      close(pod);
      expect(isTaken(pod.fs.image())).toBe(true);
    }
  });
});

describe('the states of tasks', () => {
  type Record = { _done?: boolean; _tries?: number };

  /** One life of the pod; its tasks are counted where `tracks` says so. */
  function live(
    fs: MemoryFileSystem,
    tracks: boolean,
    work: (table: Table<Record, Key>, index: TaskIndex<Record, Key> | undefined) => void,
    ends: 'closed' | 'killed' = 'closed',
  ): void {
    const system = testSystem({ fs, indexEntries: 0 });
    const recovered = recoverFolder(system, PATH, { fileSize: 3, gzip: false, meta: {}, cacheBytes: 0 });
    const table = new Table<Record, Key>(owner, 3, { cacheBytes: 0, seed: 1 });
    const folder = bindFolder(system, PATH, recovered, table);
    const index = tracks ? new TaskIndex(table, 3) : undefined;
    work(table, index);
    folder.sync();
    if (ends === 'closed') closeFolder(folder, () => {});
  }

  function made(): MemoryFileSystem {
    const fs = new MemoryFileSystem();
    fs.mkdir(PATH);
    live(fs, true, (table) => {
      for (let number = 0; number < 9; number++) table.set(`k${number}`, { _tries: 0, _done: number < 2 });
    });
    return fs;
  }

  it('are saved, so that opening a tracker reads no task', () => {
    const fs = made();
    const opened: string[] = [];
    fs.intercept = (call) => {
      if (call.name === 'open') opened.push(call.path);
      return undefined;
    };
    live(fs, true, (_, index) => {
      expect([index?.done.size, index?.todo.size]).toEqual([2, 7]);
      expect(opened.filter((path) => /\/\d+\.json$/.test(path))).toEqual([]);
    });
  });

  it('are those of the values after changes by a program that counts no tasks, closed or killed', () => {
    for (const ends of ['closed', 'killed'] as const) {
      const fs = made();
      live(
        fs,
        false,
        (table) => {
          table.set('k3', { _tries: 1, _done: true });
          (table.find('k4')?.value as Record)._done = true;
          table.delete(table.find('k0') as never);
          table.set('k0', { _tries: 1 });
          expect(() =>
            table.transaction(() => {
              table.set('k5', { _done: true });
              throw new Error('no');
            }),
          ).toThrow('no');
        },
        ends,
      );
      const next = ends === 'closed' ? fs : MemoryFileSystem.fromImage(fs.image());
      live(next, true, (_, index) => {
        expect([index?.done.size, index?.todo.size, index?.tries]).toEqual([3, 6, 2]);
      });
    }
  });

  it('survive going back without a look at the tasks that did not change', () => {
    const fs = made();
    const system = testSystem({ fs, indexEntries: 0 });
    const recovered = recoverFolder(system, PATH, { fileSize: 3, gzip: false, meta: {}, cacheBytes: 0 });
    const table = new Table<Record, Key>(owner, 3, { cacheBytes: 0, seed: 1 });
    const folder = bindFolder(system, PATH, recovered, table);
    const index = new TaskIndex(table, 3);
    table.set('k3', { _tries: 1, _done: true });
    table.delete(table.find('k1') as never);
    table.set('k9', {});
    folder.append();
    folder.revert();
    expect([index.done.size, index.todo.size, index.tries]).toEqual([2, 7, 0]);
    table.set('k4', { _tries: 2, _done: true });
    table.clear();
    folder.revert();
    expect([index.done.size, index.todo.size, index.tries]).toEqual([2, 7, 0]);
  });
});

describe('the bytes of an index', () => {
  it('are never believed beyond what they hold, whatever somebody made of them', { timeout: 120_000 }, () => {
    const image = indexedDisk(8).image();
    const index = bytesOf(image, INDEX_NAME);
    const before = index.subarray(0, index.length - 12 - index.readInt32LE(index.length - 12));
    const text = index.toString('utf8', before.length, index.length - 12);
    const place = fc.nat(before.length / 4 - 1);
    const value = fc.oneof(fc.integer(), fc.nat(40), fc.constantFrom(-1, 0x7fff_ffff));
    fc.assert(
      fc.property(fc.array(fc.tuple(place, value), { minLength: 1, maxLength: 3 }), (changes) => {
        const forged = Buffer.from(before);
        for (const [at, number] of changes) {
          // Where a bucket of ours has an empty place it stays: a search through a full bucket has no end.
          if (forged.readInt32LE(at * 4) !== 0) forged.writeInt32LE(number, at * 4);
        }
        const bytes = sealed(forged, text);
        // It opens, by itself or by reading everything, and what is read of it is checked line by line.
        const pod = openImage(withFiles(image, { [INDEX_NAME]: bytes }));
        for (let number = 0; number < 8; number++) {
          try {
            const found = pod.table.find(`k${number}`)?.plain;
            if (found !== undefined) expect(found).toEqual({ n: number });
          } catch (error) {
            expect(error).toMatchObject({ name: 'PodError' });
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});
