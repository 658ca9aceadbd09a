/**
 * Small pods with a saved index on a disk in memory, opened and changed on the disk floor, for the tests of the index and of what it is
 * read through.
 */
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableObserver } from '../../src/core/table-owner.ts';
import { closeFolder } from '../../src/disk/compact.ts';
import { Fold } from '../../src/disk/fold.ts';
import type { Folder } from '../../src/disk/folder.ts';
import { IndexWriter } from '../../src/disk/index-writer.ts';
import { INDEX_NAME } from '../../src/disk/names.ts';
import { readFolder } from '../../src/disk/reader.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import {
  type DiskImage,
  MemoryFileSystem,
  seededRandom,
  type TestSystem,
  testSystem,
} from '../../src/testing/index.ts';
import { owner, PATH } from './support.ts';

export const INDEX_PATH: string = `${PATH}/${INDEX_NAME}`;

export interface PodSettings {
  readonly fileSize?: number;
  readonly gzip?: boolean;
  readonly cacheBytes?: number;
  /** Pods with fewer entries get no index. */
  readonly indexEntries?: number;
  readonly observer?: TableObserver<Json, Key>;
}

/** A pod that is open for writing. */
export interface IndexedPod {
  readonly system: TestSystem;
  readonly fs: MemoryFileSystem;
  readonly table: Table<Json, Key>;
  readonly folder: Folder<Json, Key>;
  /** Its rows came from a saved index. */
  readonly fromIndex: boolean;
}

/** Opens the pod on a disk, or makes it. */
export function openOn(
  fs: MemoryFileSystem,
  { fileSize = 3, gzip = false, cacheBytes = 0, indexEntries = 0, observer }: PodSettings = {},
): IndexedPod {
  if (!fs.image().has(PATH)) fs.mkdir(PATH);
  const system = testSystem({ fs, indexEntries });
  const recovered = recoverFolder(system, PATH, { fileSize, gzip, meta: {}, cacheBytes });
  const { manifest } = recovered.opened;
  const table = new Table<Json, Key>(owner, manifest.fileSize, { cacheBytes, seed: 1 });
  if (observer !== undefined) table.observe(observer);
  const folder = bindFolder(system, PATH, recovered, table);
  return { system, fs, table, folder, fromIndex: recovered.rows !== undefined };
}

/** A pod that is open for reading. */
export interface ReadPod {
  readonly table: Table<Json, Key>;
  readonly fromIndex: boolean;
  release(): void;
}

/** Opens the pod on a disk for reading, beside a writer or alone. */
export function readOn(fs: MemoryFileSystem, { cacheBytes = 0 }: PodSettings = {}): ReadPod {
  const { entries, rows, fileSize, release } = readFolder(testSystem({ fs }), PATH, cacheBytes);
  const table = new Table<Json, Key>(owner, fileSize, { cacheBytes, seed: 1 });
  if (rows === undefined) table.load(entries);
  else table.loadRows(rows as never);
  return { table, fromIndex: rows !== undefined, release };
}

/** Opens what a disk holds. The disk itself stays as it is. */
export function openImage(image: DiskImage, settings: PodSettings = {}): IndexedPod {
  return openOn(MemoryFileSystem.fromImage(image), settings);
}

export function close({ folder }: IndexedPod): void {
  folder.sync();
  closeFolder(folder, () => {});
}

/** Folds the log to the end, index included. */
export function fold({ folder }: IndexedPod): void {
  folder.sync();
  const work = new Fold(folder);
  while (!work.step());
}

/** Everything in order, read through the table and from the disk. */
export function stateOf({ table }: { readonly table: Table<Json, Key> }): [Key, Json][] {
  const state: [Key, Json][] = [];
  // One at a time: with no cache an entry is let go when the next one is made.
  for (const { key, plain } of table.entries()) state.push([key, JSON.parse(JSON.stringify(plain)) as Json]);
  return state;
}

/** Everything that can be asked of a table agrees: what is found, listed and counted. */
export function checkedState(pod: { readonly table: Table<Json, Key> }): [Key, Json][] {
  const state = stateOf(pod);
  const { table } = pod;
  const cursor = table.cursor();
  const listed: Key[] = [];
  for (let key = cursor.nextKey(); key !== undefined; key = cursor.nextKey()) listed.push(key);
  const complaints: string[] = [];
  if (JSON.stringify(listed) !== JSON.stringify(state.map(([key]) => key))) complaints.push(`listed ${listed}`);
  if (table.size !== state.length) complaints.push(`counts ${table.size} of ${state.length}`);
  for (const [key, value] of state) {
    const found = table.find(key)?.plain;
    if (JSON.stringify(found) !== JSON.stringify(value)) complaints.push(`${key} is found as ${JSON.stringify(found)}`);
  }
  if (complaints.length > 0) throw new Error(complaints.join('; '));
  return state;
}

/** A disk with a closed pod of so many entries, `k0`, `k1` and so on, and its saved index. */
export function indexedDisk(entries: number = 8, settings: PodSettings = {}): MemoryFileSystem {
  const pod = openOn(new MemoryFileSystem(), settings);
  for (let number = 0; number < entries; number++) pod.table.set(`k${number}`, { n: number });
  close(pod);
  return pod.fs;
}

/** A disk with some of its files changed, and everything else the same file that it was. */
export function withFiles(image: DiskImage, files: Readonly<Record<string, Uint8Array | undefined>>): DiskImage {
  const changed = new Map(image);
  for (const [name, bytes] of Object.entries(files)) {
    if (bytes === undefined) changed.delete(`${PATH}/${name}`);
    else changed.set(`${PATH}/${name}`, bytes);
  }
  return changed;
}

export function bytesOf(image: DiskImage, name: string): Buffer {
  const content = image.get(`${PATH}/${name}`);
  if (content === undefined || content === 'folder') throw new Error(`${name} is not there`);
  return Buffer.from(content);
}

/** What reading everything gives. */
export function truth(image: DiskImage): [Key, Json][] {
  const pod = openImage(withFiles(image, { [INDEX_NAME]: undefined }));
  if (pod.fromIndex) throw new Error('an index was found where there is none');
  return checkedState(pod);
}

/**
 * Writes an index in slices and changes between them everything that there is to change, then kills the pod or cuts its power, and opens it
 * again. Throws where it does not hold what it held.
 *
 * @returns whether the index was good for something
 */
export function writeWhileChanging(seed: number): boolean {
  const random = seededRandom(seed);
  const cacheBytes = random.pick([0, 1000, 1 << 28]);
  const pod = openOn(indexedDisk(12 + random.below(60)), { cacheBytes });
  const { fs, system, table, folder } = pod;
  let names = 0;
  const change = (): void => {
    const cursor = table.cursor();
    const keys: Key[] = [];
    for (let key = cursor.nextKey(); key !== undefined; key = cursor.nextKey()) keys.push(key);
    const action = random.below(20);
    if (keys.length > 0 && action < 7) table.set(random.pick(keys), { changed: names++ });
    else if (keys.length > 0 && action < 11) table.delete(table.find(random.pick(keys)) as never);
    else if (action < 14) table.set(`n${names++}`, { added: 1 });
    else if (action === 14) for (let more = random.below(100); more > 0; more--) table.set(`n${names++}`, { many: 1 });
    else if (action === 15) folder.append();
    else if (action === 16) folder.sync();
    else if (action === 17) {
      try {
        table.transaction(() => {
          for (const key of keys.slice(0, 8)) table.delete(table.find(key) as never);
          for (let more = 0; more < 90; more++) table.set(`t${names++}`, { undone: 1 });
          throw new RangeError('undone');
        });
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    } else if (action === 18 && random.chance(0.3)) {
      // An fsync fails: everything since the last sync point goes into another segment, and the first is never asked again.
      let armed = true;
      fs.intercept = (call) => {
        if (!armed || call.name !== 'fdatasync') return undefined;
        armed = false;
        return { kind: 'error', code: 'EIO' };
      };
      folder.sync();
      fs.intercept = undefined;
    } else if (action === 19 && random.chance(0.2)) folder.revert();
  };
  system.clock.readingCostMs = 20;
  const writer = new IndexWriter(folder);
  let isDone = false;
  for (let round = 0; round < 40 && !isDone; round++) {
    for (let count = random.below(4); count > 0; count--) change();
    isDone = writer.step();
  }
  for (let count = random.below(10); count > 0; count--) change();
  folder.sync();
  const expected = JSON.stringify(checkedState(pod));
  const image = random.chance(0.5) ? fs.image() : fs.imageAfter((operation) => operation.status === 'pending');
  const again = openImage(image, { cacheBytes: random.pick([0, 1 << 28]) });
  const found = JSON.stringify(checkedState(again));
  if (found !== expected) throw new Error(`found ${found} instead of ${expected}`);
  const read = JSON.stringify(truth(image));
  if (read !== expected) throw new Error(`read ${read} instead of ${expected}`);
  return again.fromIndex;
}
