/**
 * Damage of every kind to every file of a pod, one file at a time: each bit flipped, each byte the last, each line lost, doubled or swapped,
 * stretches of bytes changed, each file missing, another pod's, or an earlier version of itself.
 */
import { Buffer } from 'node:buffer';
import { seededRandom } from '../../src/testing/index.ts';
import { testSeed, testSize } from '../size.ts';
import type { DamagePod } from './damage-pods.ts';

/** Random stretches for each pod. */
const STRETCHES = { small: 40, ci: 3_000, long: 15_000 }[testSize];
/** Set it to play other stretches. */
const SEED = testSeed(1);

/** One thing that happened to one file. */
export interface Damage {
  readonly what: string;
  readonly path: string;
  /** What is there now; undefined where the file is gone. */
  readonly bytes: Uint8Array | undefined;
  /** The file as it was, so that it is known which lines are intact. */
  readonly before: Uint8Array;
  /** Nothing may be lost: the file is a listed one, or every line of the log is intact. */
  readonly strict: boolean;
}

export type Maker = (pod: DamagePod, others: readonly DamagePod[]) => Generator<Damage, void, undefined>;

function* files(pod: DamagePod): Generator<[path: string, bytes: Uint8Array], void, undefined> {
  for (const [path, bytes] of pod.image) if (bytes !== 'folder') yield [path, bytes];
}

export const makers: Readonly<Record<string, Maker>> = {
  *'each bit flipped'(pod) {
    for (const [path, before] of files(pod)) {
      for (let bit = 0; bit < before.length * 8; bit += isThorough(pod) ? 1 : 37) {
        const bytes = Uint8Array.from(before);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
        yield { what: `bit ${bit & 7} of byte ${bit >> 3} flipped`, path, bytes, before, strict: !isLog(path) };
      }
    }
  },
  *'cut at each byte'(pod) {
    for (const [path, before] of files(pod)) {
      for (let size = 0; size < before.length; size += isThorough(pod) ? 1 : 5) {
        yield { what: `cut at ${size}`, path, bytes: before.slice(0, size), before, strict: !isLog(path) };
      }
    }
  },
  *'each byte and all behind it zero'(pod) {
    for (const [path, before] of files(pod)) {
      for (let from = 0; from < before.length; from += isThorough(pod) ? 1 : 5) {
        const bytes = Uint8Array.from(before).fill(0, from);
        yield { what: `zeros from ${from}`, path, bytes, before, strict: !isLog(path) };
      }
    }
  },
  *'each line lost, doubled or swapped'(pod) {
    for (const [path, before] of files(pod)) {
      if (path.endsWith('.gz')) continue;
      const lines = Buffer.from(before)
        .toString('latin1')
        .split(/(?<=\n)/);
      for (let index = 0; index < lines.length; index++) {
        const [line, next] = [lines[index] as string, lines[index + 1]];
        const variants: [string, string[]][] = [
          ['lost', lines.toSpliced(index, 1)],
          ['doubled', lines.toSpliced(index, 0, line)],
        ];
        if (next !== undefined) variants.push(['swapped with the next', lines.toSpliced(index, 2, next, line)]);
        for (const [what, now] of variants) {
          const bytes = Buffer.from(now.join(''), 'latin1');
          yield { what: `line ${index + 1} ${what}`, path, bytes, before, strict: !isLog(path) };
        }
      }
    }
  },
  *'each file missing'(pod) {
    for (const [path, before] of files(pod)) yield { what: 'missing', path, bytes: undefined, before, strict: true };
  },
  *"each file another pod's"(pod, others) {
    for (const [path, before] of files(pod)) {
      for (const other of others) {
        const bytes = other.image.get(path);
        if (other === pod || bytes === undefined || bytes === 'folder') continue;
        if (Buffer.compare(bytes, before) === 0) continue;
        yield { what: `that of "${other.name}"`, path, bytes, before, strict: true };
      }
    }
  },
  *'each file an earlier version of itself'(pod) {
    for (const [path, before] of files(pod)) {
      for (const [index, bytes] of (pod.older.get(path) ?? []).entries()) {
        yield { what: `version ${index}`, path, bytes, before, strict: !isLog(path) };
      }
    }
  },
  *'a stretch overwritten, taken out, put in or copied'(pod) {
    const random = seededRandom(SEED + pod.image.size);
    const all = [...files(pod)].filter(([, { length }]) => length > 0);
    for (let count = STRETCHES; count > 0; count--) {
      const [path, before] = all[random.below(all.length)] as (typeof all)[number];
      const from = random.below(before.length);
      const length = 1 + random.below(Math.min(64, before.length - from));
      const stretch = Buffer.from(Array.from({ length }, () => random.below(256)));
      const source = random.below(before.length);
      const copy = before.slice(source, source + length);
      const [what, put, skip] = (
        [
          ['overwritten', stretch, length],
          ['taken out', Buffer.alloc(0), length],
          ['put in', stretch, 0],
          [`overwritten with what is at ${source}`, copy, copy.length],
          [`put in from ${source}`, copy, 0],
        ] as const
      )[random.below(5)] as readonly [string, Uint8Array, number];
      const bytes = Buffer.concat([before.subarray(0, from), put, before.subarray(from + skip)]);
      if (Buffer.compare(bytes, before) === 0) continue;
      yield { what: `${length} bytes at ${from} ${what}`, path, bytes, before, strict: !isLog(path) };
    }
  },
  *'each file that is gone, come back'(pod) {
    for (const [path, versions] of pod.older) {
      if (pod.image.has(path)) continue;
      for (const [index, bytes] of versions.entries()) {
        yield { what: `version ${index} came back`, path, bytes, before: new Uint8Array(0), strict: true };
      }
    }
  },
};

/** Two pods are damaged at every place, the others at some, where time is short. */
function isThorough({ name }: DamagePod): boolean {
  return testSize !== 'small' || name.endsWith('marked');
}

export function isLog(path: string): boolean {
  return path.includes('/wal-');
}
