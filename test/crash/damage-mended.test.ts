/**
 * `repair` and `accept` on damage of every kind: what is intact is kept, nothing is invented, nothing is deleted, and the pod opens.
 *
 * What is intact is found out here from the bytes alone, with none of the code that repairs.
 */
import { Buffer } from 'node:buffer';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import { acceptEdits, repairFolder, verifyFolder } from '../../src/disk/repair.ts';
import { type DiskImage, dumpImage, imageKey, MemoryFileSystem, testSystem } from '../../src/testing/index.ts';
import { testSize } from '../size.ts';
import { type Damage, isLog, makers } from './damage-makers.ts';
import { type DamagePod, damagePods, PATH } from './damage-pods.ts';
import { stateOf } from './enumerator-explorer.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));
vi.mock('../../src/disk/random.ts', async () => import('./enumerator-random.ts'));

/** Where time is short, one variant in this many; of the flipped bits there are most. */
function everyOf(kind: string): number {
  if (testSize !== 'small') return 1;
  return kind === 'each bit flipped' ? 24 : 8;
}

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};

type Entries = ReadonlyMap<string, string>;

/** The entries of each pod as it was. */
const entriesKnown = new WeakMap<DamagePod, Entries>();

function stateEntries(pod: DamagePod): Entries {
  const entries = entriesKnown.get(pod) ?? entriesOf(pod.state);
  entriesKnown.set(pod, entries);
  return entries;
}

/** The lines of a state, by the text of their keys. */
function entriesOf(lines: string): Entries {
  const entries = new Map<string, string>();
  for (const line of lines.split('\n')) {
    const tab = line.indexOf('\t');
    if (tab >= 0) entries.set(line.slice(0, tab), withoutSpaces(line.slice(tab + 1)));
  }
  return entries;
}

/** As we write it; tastypy puts spaces in, and damage whatever it likes. */
function withoutSpaces(value: string): string {
  return JSON.stringify(JSON.parse(value));
}

function open(fs: MemoryFileSystem): Entries {
  const recovered = recoverFolder(testSystem({ fs }), PATH, { fileSize: 2, gzip: false, meta: {} });
  const table = new Table<never, Key>(owner, recovered.opened.manifest.fileSize);
  bindFolder(testSystem({ fs }), PATH, recovered, table);
  return entriesOf(stateOf(table));
}

function damaged(pod: DamagePod, { path, bytes }: Damage): DiskImage {
  const image = new Map(pod.image);
  if (bytes === undefined) image.delete(path);
  else image.set(path, bytes);
  return image;
}

/** The text of a shard or a log; nothing where it cannot be unpacked. */
function textOf(path: string, bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return '';
  if (!path.includes('.gz')) return Buffer.from(bytes).toString('utf8');
  try {
    return gunzipSync(bytes).toString('utf8');
  } catch {
    return '';
  }
}

function isShard(path: string): boolean {
  return /\/\d+\.json(\.gz)?(\.g\d+)?$|\/\.\d+\.json(\.gz)?\.g\d+$/.test(path);
}

/** What was found in files that are the same in many variants. */
const keysFound = new WeakMap<Uint8Array, ReadonlySet<string>>();

/** The keys that a file says something about, as their texts. */
function keysIn(path: string, bytes: Uint8Array | undefined): ReadonlySet<string> {
  const known = bytes && keysFound.get(bytes);
  if (known !== undefined) return known;
  const keys = new Set<string>();
  if (bytes !== undefined) keysFound.set(bytes, keys);
  for (const line of textOf(path, bytes).split('\n')) {
    if (isLog(path)) {
      const key = keyOfRecord(line);
      if (key !== undefined) keys.add(key);
    } else {
      // A key of tastypy stands there with its backslashes doubled.
      const key = line.slice(0, line.indexOf('\t'));
      keys.add(key).add(key.replaceAll('\\\\', '\\'));
    }
  }
  return keys;
}

/** The key of a line of the log, if it is whole and has one. */
function keyOfRecord(line: string): string | undefined {
  try {
    const { k } = JSON.parse(line.slice(9)) as { k?: unknown };
    return k === undefined ? undefined : JSON.stringify(k);
  } catch {
    return undefined;
  }
}

/** What must still be there: every entry of which the damaged file said nothing, or of which it still says the same. */
function intactEntries(pod: DamagePod, { what, path, before, bytes }: Damage): Entries {
  const intact = new Map<string, string>();
  const touched = new Set(keysIn(path, before));
  for (const key of keysIn(path, bytes)) touched.add(key);
  const now = textOf(path, bytes).split('\n');
  const logged = new Set(
    [...pod.image].flatMap(([other, content]) =>
      isLog(other) && content !== 'folder' ? [...keysIn(other, content)] : [],
    ),
  );
  // The shards of some pods here are the same. Then nothing tells which of manifest and log is the other pod's, and neither the log nor
  // what a compaction staged is believed.
  if (what.startsWith('that of')) {
    for (const key of logged) touched.add(key);
    for (const [other, content] of pod.image) {
      if (other.includes('.g') && content !== 'folder') for (const key of keysIn(other, content)) touched.add(key);
    }
  }
  for (const [key, value] of stateEntries(pod)) {
    const line = `${key}\t${value}`;
    const same =
      isShard(path) &&
      !logged.has(key) &&
      now.slice(0, -1).includes(line) &&
      now.filter((each) => each.startsWith(`${key}\t`)).length === 1;
    if (!touched.has(key) || same) intact.set(key, value);
  }
  return intact;
}

/** Whether a line of a shard has a value, written in whatever way: damage can put a space into JSON, or write a number as 236e01. */
function linesSay(text: string, value: string): boolean {
  return text.split('\n').some((line) => {
    try {
      return withoutSpaces(line.slice(line.indexOf('\t') + 1)) === value;
    } catch {
      return false;
    }
  });
}

function mend(pod: DamagePod, damage: Damage): 'mended' | 'nothing left' | 'newer' {
  const image = damaged(pod, damage);
  const fs = MemoryFileSystem.fromImage(image);
  const system = testSystem({ fs });
  let entries: number;
  try {
    ({ entries } = repairFolder(system, PATH));
  } catch (error) {
    if (!(error instanceof PodError)) throw error;
    expect(imageKey(fs.image())).toBe(imageKey(image));
    // A manifest that says that a newer version wrote it is believed.
    if (error.code === 'ERR_POD_FORMAT') return 'newer';
    expect(error.code).toBe('ERR_POD_NOT_FOUND');
    expect([...image.keys()].filter((path) => isShard(path) || isLog(path))).toEqual([]);
    return 'nothing left';
  }
  const kept = [...fs.image()].flatMap(([path, content]) => (content === 'folder' ? [] : [{ path, content }]));
  for (const [path, content] of image) {
    if (content === 'folder' || path.endsWith('/lock')) continue;
    if (!kept.some((other) => Buffer.compare(other.content, content) === 0)) throw new Error(`${path} was deleted`);
  }
  expect(verifyFolder(system, PATH)).toBe(entries);
  const found = open(fs);
  expect(found.size).toBe(entries);
  for (const [key, value] of intactEntries(pod, damage)) {
    if (found.get(key) !== value) throw new Error(`${key} was ${value} and is now ${found.get(key)}`);
  }
  const everything = [...image]
    .map(([path, content]) => (content === 'folder' ? '' : textOf(path, content)))
    .join('\n');
  for (const [key, value] of found) {
    if (damage.path.includes('.gz')) continue; // It may unpack to anything that happens to parse.
    if (!everything.includes(value) && !linesSay(everything, value))
      throw new Error(`${key} is now ${value}, which no file says`);
  }
  return 'mended';
}

function accept(pod: DamagePod, damage: Damage): 'accepted' | 'refused' | 'nothing to accept' {
  const image = damaged(pod, damage);
  const fs = MemoryFileSystem.fromImage(image);
  const system = testSystem({ fs });
  let accepted: string[];
  try {
    accepted = acceptEdits(system, PATH);
  } catch (error) {
    if (!(error instanceof PodError)) throw error;
    expect(['ERR_POD_CORRUPT', 'ERR_POD_FORMAT', 'ERR_POD_NOT_FOUND']).toContain(error.code);
    expect(imageKey(fs.image())).toBe(imageKey(image));
    return 'refused';
  }
  if (accepted.length === 0) {
    expect(imageKey(fs.image())).toBe(imageKey(image));
    return 'nothing to accept';
  }
  verifyFolder(system, PATH);
  const found = open(fs);
  // Where the log was harmed in the middle of a fold, what was announced there is accepted as well, and nothing is known of it.
  const others = accepted.map((name) => `${PATH}/${name}`).filter((path) => path !== damage.path);
  const unknown = new Set(others.flatMap((path) => [...keysIn(path, image.get(path) as Uint8Array)]));
  for (const [key, value] of intactEntries(pod, damage)) {
    if (unknown.has(key)) continue;
    if (found.get(key) !== value) throw new Error(`${key} was ${value} and is now ${found.get(key)}`);
  }
  return 'accepted';
}

let pods: DamagePod[] = [];

beforeAll(async () => {
  pods = await damagePods();
});

const works = { repair: mend, accept };

describe.each(Object.keys(works) as (keyof typeof works)[])('%s, with', (name) => {
  for (const [kind, maker] of Object.entries(makers)) {
    it(kind, { timeout: 7_200_000 }, () => {
      const counts: Record<string, number> = {};
      let variant = 0;
      for (const pod of pods) {
        for (const damage of maker(pod, pods)) {
          if (variant++ % everyOf(kind) !== 0) continue;
          try {
            const outcome = works[name](pod, damage);
            counts[outcome] = (counts[outcome] ?? 0) + 1;
          } catch (error) {
            throw new Error(
              `${pod.name}: ${damage.path}: ${damage.what}: ${String(error)}\nwas\n${pod.state}\n${dumpImage(damaged(pod, damage))}`,
              { cause: error },
            );
          }
        }
      }
      console.log(`${name}, ${testSize}: ${kind}: ${JSON.stringify(counts)}`);
      expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(5);
    });
  }
});
