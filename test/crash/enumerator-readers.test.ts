/**
 * Readers beside a writer: a run of the real engine is recorded, and readers step through it, some steps of the writer between any two of
 * their calls, with short reads. What a reader sees is what some moment between its beginning and its end held; also where it reads the lines
 * only when the writer has gone on.
 */
import { describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import type { FileStat, FileSystem } from '../../src/disk/fs.ts';
import { readFolder } from '../../src/disk/reader.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import { ManualClock, MemoryFileSystem, type Random, seededRandom, testSystem } from '../../src/testing/index.ts';
import { testSeed, testSize } from '../size.ts';
import { type Effort, Explorer, PATH, stateOf } from './enumerator-explorer.ts';
import { walk } from './enumerator-workloads.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));
vi.mock('../../src/disk/random.ts', async () => import('./enumerator-random.ts'));

/** What a file holds, and since when. */
interface Content {
  readonly bytes: Uint8Array;
  readonly mtimeMs: number;
}

/** The folder at one moment: which file each name stands for, and what all files hold. */
interface Moment {
  readonly names: ReadonlyMap<string, number>;
  readonly contents: ReadonlyMap<number, Content>;
  /** What a recovery gives at this moment. */
  readonly state: string;
}

const NOTHING: Effort = {
  budget: { subsetsUpTo: 0, drawn: 0, tears: 0, tornWrites: 0 },
  secondCrash: 0,
  deaths: 0,
  readers: 0,
};

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};

/** Records a random walk, from the first moment at which there is a pod. Those of odd seeds save their indexes. */
async function record(seed: number): Promise<Moment[]> {
  const moments: Moment[] = [];
  const contents = new Map<number, Content>();
  const explorer = new Explorer({ seed, level: 'process', effort: NOTHING });
  explorer.blind = true;
  let last = '';
  explorer.onChange = (fs) => {
    const { intercept, changed } = fs;
    fs.intercept = undefined;
    const names = new Map<string, number>();
    for (const [path, bytes] of fs.image()) {
      if (bytes === 'folder') continue;
      const { ino, mtimeMs } = fs.stat(path) as FileStat;
      names.set(path, ino);
      contents.set(ino, { bytes, mtimeMs });
    }
    fs.intercept = intercept;
    fs.changed = changed;
    if (!names.has(`${PATH}/pod.json`)) return;
    last = recovered(fs);
    moments.push({ names, contents: new Map(contents), state: last });
  };
  const isIndexed = seed % 2 === 1;
  const mix = {
    change: 10,
    transaction: 3,
    turn: 8,
    sync: 5,
    revert: 4,
    timer: 9,
    compact: 2,
    close: isIndexed ? 5 : 1,
  };
  await walk(explorer, mix, isIndexed ? 48 : 24);
  return moments;
}

function recovered(fs: MemoryFileSystem): string {
  const copy = MemoryFileSystem.fromImage(fs.image());
  const system = testSystem({ fs: copy });
  const found = recoverFolder(system, PATH, { fileSize: 3, gzip: false, meta: {} });
  const table = new Table<never, Key>(owner, 3);
  bindFolder(system, PATH, found, table);
  return stateOf(table);
}

/** Shows the recorded moments one after the other: each call may be some steps later than the one before. */
class RecordedFileSystem {
  now: number;
  readonly #moments: readonly Moment[];
  readonly #random: Random;
  readonly #hurry: number;
  readonly #followsNames: boolean;
  readonly #open: Map<number, { readonly path: string; readonly ino: number }> = new Map();
  #opened: number = 10;

  /** @param followsNames what is open is the shard that has the name now, as if it were opened for each read */
  constructor(moments: readonly Moment[], random: Random, hurry: number, followsNames: boolean) {
    this.#followsNames = followsNames;
    this.#moments = moments;
    this.#random = random;
    this.#hurry = hurry;
    this.now = random.below(moments.length);
  }

  get moment(): Moment {
    return this.#moments[this.now] as Moment;
  }

  #step(): Moment {
    if (this.#random.chance(this.#hurry)) {
      this.now = Math.min(this.#moments.length - 1, this.now + 1 + this.#random.below(4));
    }
    return this.moment;
  }

  /** Only the calls that a reader may make. */
  asFileSystem(): FileSystem {
    const statOf = (ino: number): FileStat => {
      const { bytes, mtimeMs } = this.moment.contents.get(ino) as Content;
      return { dev: 1, ino, size: bytes.length, mtimeMs, isFile: true, isFolder: false };
    };
    const inoOf = (fd: number): number => {
      const { path, ino } = this.#open.get(fd) as { path: string; ino: number };
      return this.#followsNames && /\/\d+\.json(\.gz)?$/.test(path) ? (this.moment.names.get(path) ?? ino) : ino;
    };
    const calls: Partial<FileSystem> = {
      open: (path) => {
        const ino = this.#step().names.get(path);
        if (ino === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT', syscall: 'open' });
        this.#open.set(++this.#opened, { path, ino });
        return this.#opened;
      },
      close: (fd) => void this.#open.delete(fd),
      read: (fd, buffer, offset, length, position) => {
        this.#step();
        const { bytes } = this.moment.contents.get(inoOf(fd)) as Content;
        const part = bytes.subarray(position, position + Math.min(length, 48 + this.#random.below(400)));
        buffer.set(part, offset);
        return part.length;
      },
      stat: (path) => {
        this.#step();
        if (path === PATH) return { dev: 1, ino: 1, size: 0, mtimeMs: 0, isFile: false, isFolder: true };
        const ino = this.moment.names.get(path);
        return ino === undefined ? undefined : statOf(ino);
      },
      fstat: (fd) => statOf(inoOf(fd)),
      readdir: () => [...this.#step().names.keys()].map((path) => path.slice(PATH.length + 1)),
    };
    return calls as FileSystem;
  }

  /** The writer does so much more. */
  goOn(steps: number): void {
    this.now = Math.min(this.#moments.length - 1, this.now + steps);
  }

  get leftOpen(): number {
    return this.#open.size;
  }
}

interface Counts {
  readers: number;
  /** How often something was missing or unknown, and was explained by a second look. */
  secondLooks: number;
  /** How many took their rows from a saved index. */
  indexed: number;
  /** How many of those read lines when there was another state already. */
  late: number;
}

/** Lets a reader run through a recording; says what is wrong with what it saw. */
function readOnce(
  moments: readonly Moment[],
  random: Random,
  hurry: number,
  counts: Counts,
  followsNames: boolean = false,
): string | undefined {
  const recorded = new RecordedFileSystem(moments, random, hurry, followsNames);
  const from = recorded.now;
  const clock = new ManualClock();
  const system = {
    ...testSystem({ clock }),
    fs: recorded.asFileSystem(),
    // The writer goes on while the reader waits.
    sleep: (durationMs: number) => {
      clock.advance(durationMs);
      counts.secondLooks++;
      recorded.goOn(3);
    },
  };
  const table = new Table<never, Key>(owner, 3, { cacheBytes: 0 });
  // Lines one by one, or shards whole and kept; or everything at once, as copies are read.
  const cacheBytes = random.pick([0, 1 << 20, undefined]);
  let to = from;
  let seen: string;
  try {
    const { entries, rows, release } = readFolder(system, PATH, cacheBytes);
    to = recorded.now;
    if (rows === undefined) table.load(entries);
    else {
      counts.indexed++;
      table.loadRows(rows);
      recorded.goOn(random.below(60));
    }
    seen = stateOf(table);
    if (rows !== undefined && recorded.moment.state !== seen) counts.late++;
    release();
  } catch (error) {
    return `steps ${from} to ${to}, read until ${recorded.now}: ${String(error)}`;
  }
  if (recorded.leftOpen > 0) return 'a reader left files open';
  if (moments.slice(from, to + 1).some(({ state }) => state === seen)) return undefined;
  return `steps ${from} to ${to}: a state that no moment of these held:\n${seen}`;
}

const SEEDS = { small: 3, ci: 20, long: 200 }[testSize];
const FIRST = testSeed(1);

describe('a reader beside a writer', () => {
  it('sees what some moment held while it read', { timeout: 3_600_000 }, async () => {
    const counts: Counts = { readers: 0, secondLooks: 0, indexed: 0, late: 0 };
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const moments = await record(seed);
      const random = seededRandom(seed);
      for (let count = 0; count < 600; count++) {
        counts.readers++;
        const complaint = readOnce(moments, random, random.pick([0.02, 0.05, 0.2, 0.5, 0.9]), counts);
        expect(complaint, `seed ${seed}, reader ${count}`).toBeUndefined();
      }
    }
    console.log(`readers: seeds ${FIRST} to ${FIRST + SEEDS - 1}: ${JSON.stringify(counts)}`);
    // Without second looks so many readers would have failed.
    expect(counts.secondLooks).toBeGreaterThan(10);
    expect(counts.late).toBeGreaterThan(20);
  });

  it('would be found out if it read lines from what lies under the names of the shards by then', async () => {
    const counts: Counts = { readers: 0, secondLooks: 0, indexed: 0, late: 0 };
    const moments = await record(1);
    const random = seededRandom(1);
    let found = 0;
    for (let count = 0; count < 300; count++) if (readOnce(moments, random, 0.05, counts, true) !== undefined) found++;
    expect(found).toBeGreaterThan(0);
  });
});
