/**
 * Damage of every kind to every file of a pod: each bit flipped, each byte the last, each line lost, doubled or swapped, each file missing,
 * another pod's, or an earlier version of itself. What is accepted must be right.
 *
 * An earlier state is right only where nothing intact says that more was durable: the tail of the log, cut, kept in quarantine and
 * reported. What is refused must be left as it was, byte for byte.
 */
import { Buffer } from 'node:buffer';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import { readFolder } from '../../src/disk/reader.ts';
import { bindFolder, type RecoveryReport, recoverFolder } from '../../src/disk/recovery.ts';
import { type DiskImage, dumpImage, imageKey, MemoryFileSystem, testSystem } from '../../src/testing/index.ts';
import { testSize } from '../size.ts';
import { type Damage, makers } from './damage-makers.ts';
import { type DamagePod, damagePods, PATH } from './damage-pods.ts';
import { stateOf } from './enumerator-explorer.ts';

/** Which checks are left out now, to prove that the cases here need them. */
const { switches } = vi.hoisted(() => ({ switches: { noCrc: false, noRot: false, anyShard: false } }));

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));
vi.mock('../../src/disk/random.ts', async () => import('./enumerator-random.ts'));
vi.mock('node:zlib', async (original) => {
  const real = await original<typeof import('node:zlib')>();
  return { ...real, crc32: (...args: Parameters<typeof real.crc32>) => (switches.noCrc ? 0 : real.crc32(...args)) };
});
vi.mock('../../src/disk/log-reader.ts', async (original) => {
  const real = await original<typeof import('../../src/disk/log-reader.ts')>();
  const scanSegment: typeof real.scanSegment = (...args) => {
    const scan = real.scanSegment(...args);
    if (!switches.noRot || scan?.tail.kind !== 'rot') return scan;
    return { ...scan, tail: { kind: 'torn', size: scan.tail.size } };
  };
  return { ...real, scanSegment };
});
vi.mock('../../src/disk/shards.ts', async (original) => {
  const real = await original<typeof import('../../src/disk/shards.ts')>();
  return { ...real, matches: (...args: Parameters<typeof real.matches>) => switches.anyShard || real.matches(...args) };
});

type Verdict = 'refused' | 'right' | 'cut';

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};

function isRefusal(error: unknown): boolean {
  return error instanceof PodError && (error.code === 'ERR_POD_CORRUPT' || error.code === 'ERR_POD_FORMAT');
}

/** What a writer makes of a folder: its state and report, or undefined where it refuses. */
function openForWriting(image: DiskImage): { state: string; report: RecoveryReport; fs: MemoryFileSystem } | undefined {
  const fs = MemoryFileSystem.fromImage(image);
  const system = testSystem({ fs });
  try {
    const recovered = recoverFolder(system, PATH, { fileSize: 2, gzip: false, meta: {}, cacheBytes: 0 });
    const table = new Table<never, Key>(owner, recovered.opened.manifest.fileSize);
    bindFolder(system, PATH, recovered, table);
    return { state: stateOf(table), report: recovered.report, fs };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    if (imageKey(fs.image()) !== imageKey(image)) throw new Error('what was refused was changed');
    return undefined;
  }
}

/** What a reader makes of it. */
function openForReading(image: DiskImage): string | undefined {
  const fs = MemoryFileSystem.fromImage(image);
  try {
    const table = new Table<never, Key>(owner, 2);
    table.load(readFolder(testSystem({ fs }), PATH).entries);
    return stateOf(table);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** Judges what became of a damaged pod; throws where something wrong was accepted. */
function judge(pod: DamagePod, damage: Damage): Verdict {
  const image = new Map(pod.image);
  if (damage.bytes === undefined) image.delete(damage.path);
  else image.set(damage.path, damage.bytes);
  const wrong = (why: string): Error =>
    new Error(`${pod.name}: ${damage.path}: ${damage.what}: ${why}\nwanted\n${pod.state}\n${dumpImage(image)}`);
  let found: ReturnType<typeof openForWriting>;
  try {
    found = openForWriting(image);
  } catch (error) {
    throw wrong(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  // A reader goes the same way for the most part, so a part of the cases will do for it where time is short.
  const read = testSize === 'small' && ++cases % 8 !== 0 ? undefined : openForReading(image);
  if (read !== undefined && !pod.states.has(read)) throw wrong(`a reader accepted\n${read}`);
  if (found === undefined) return 'refused';
  const { state, report, fs } = found;
  if (!pod.states.has(state)) throw wrong(`this was accepted, and never was:\n${state}`);
  if (state === pod.state) return 'right';
  if (damage.strict) throw wrong(`this was accepted, and is older:\n${state}`);
  if (isVouchedFor(damage)) throw wrong(`a later line vouches for more than was accepted:\n${state}`);
  if (report.droppedBytes > 0 && report.quarantined.length === 0) throw wrong('what was dropped was not kept');
  for (const kept of report.quarantined) if (!fs.image().has(`${PATH}/${kept}`)) throw wrong(`${kept} is missing`);
  return 'cut';
}

/** Whether an intact line behind the damage, with its intact predecessor, says that the first damaged line was durable. */
function isVouchedFor({ before, bytes }: Damage): boolean {
  const lines = Buffer.from(before).toString('latin1').split('\n');
  const now = Buffer.from(bytes ?? [])
    .toString('latin1')
    .split('\n');
  const first = lines.findIndex((line, index) => line !== now[index]);
  const lost = numberOf(lines[first] ?? '');
  for (let index = first + 1; index < now.length; index++) {
    const place = lines.indexOf(now[index] as string);
    if (place <= 0 || now[index] === '' || now[index - 1] !== lines[place - 1]) continue;
    // The last piece has no end of line: it may be cut inside its text.
    if (index === now.length - 1) continue;
    const vouched = Number(/"y":(\d+)\}$/.exec(now[index] as string)?.[1] ?? -1);
    if (vouched >= lost) return true;
  }
  return false;
}

function numberOf(line: string): number {
  return Number(/"s":(\d+)/.exec(line)?.[1] ?? Number.POSITIVE_INFINITY);
}

/** So many cases were judged. */
let cases = 0;

let pods: DamagePod[] = [];

beforeAll(async () => {
  pods = await damagePods();
});

describe('D4, D5, D6: what is accepted is right, with', () => {
  let variants = 0;
  for (const [name, maker] of Object.entries(makers)) {
    it(name, { timeout: 7_200_000 }, () => {
      const counts = { refused: 0, right: 0, cut: 0 };
      let variant = 0;
      for (const pod of pods) {
        for (const damage of maker(pod, pods)) {
          // Of the flipped bits there are most; where time is short, another third of each byte's is tried in each byte.
          if (testSize === 'small' && name === 'each bit flipped' && variant++ % 3 !== 0) continue;
          counts[judge(pod, damage)]++;
        }
      }
      variants += counts.refused + counts.right + counts.cut;
      console.log(`damage, ${testSize}: ${name}: ${JSON.stringify(counts)}, wrong: 0`);
      expect(counts.refused + counts.right).toBeGreaterThan(30);
    });
  }

  it('variants enough', () => {
    console.log(`damage, ${testSize}: ${variants} variants, wrongly accepted: 0`);
    expect(variants).toBeGreaterThanOrEqual({ small: 1_000, ci: 100_000, long: 250_000 }[testSize]);
  });

  it('nothing damaged', () => {
    for (const pod of pods) {
      expect(openForWriting(pod.image)?.state).toBe(pod.state);
      expect(openForReading(pod.image)).toBe(pod.state);
    }
  });
});

describe('a check that is left out is missed:', () => {
  /** How many cases are judged wrong when a check is left out. */
  function wrongCases(makerName: string): number {
    let wrong = 0;
    for (const pod of pods.slice(0, 4)) {
      for (const damage of makers[makerName]?.(pod, pods) ?? []) {
        try {
          judge(pod, damage);
        } catch {
          wrong++;
          if (wrong > 3) return wrong;
        }
      }
    }
    return wrong;
  }

  it('the checksums (noCrc)', async () => {
    switches.noCrc = true;
    const real = pods;
    try {
      pods = await damagePods();
      expect(wrongCases('each bit flipped')).toBeGreaterThan(0);
    } finally {
      switches.noCrc = false;
      pods = real;
    }
  });

  it('telling rot from a torn tail (noRot)', () => {
    switches.noRot = true;
    try {
      expect(wrongCases('each bit flipped')).toBeGreaterThan(0);
    } finally {
      switches.noRot = false;
    }
  });

  it('that a shard is the listed one (anyShard)', () => {
    switches.anyShard = true;
    try {
      expect(wrongCases('each line lost, doubled or swapped')).toBeGreaterThan(0);
    } finally {
      switches.anyShard = false;
    }
  });
});

it('gzipped shards are what is compared, not their bytes on disk', () => {
  const gzipped = pods.find(({ name }) => name === 'gzipped, closed') as DamagePod;
  const path = `${PATH}/0.json.gz`;
  const text = gunzipSync(gzipped.image.get(path) as Uint8Array);
  expect(text.toString()).toContain('\t');
});
