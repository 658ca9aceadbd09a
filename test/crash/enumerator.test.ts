/**
 * Every state a power cut or a death can leave, for many workloads at the three levels: nothing acknowledged is lost, and nothing comes
 * back that never was.
 */
import { Buffer } from 'node:buffer';
import { describe, expect, it, vi } from 'vitest';
import type { Durability } from '../../src/pod/options.ts';
import { imageKey } from '../../src/testing/index.ts';
import { testSeed, testSize } from '../size.ts';
import { type Effort, Explorer, PATH, type Setup } from './enumerator-explorer.ts';
import { outputScripts, scripts } from './enumerator-scripts.ts';
import { type Mix, mixes, walk } from './enumerator-workloads.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));
vi.mock('../../src/disk/random.ts', async () => import('./enumerator-random.ts'));

const EFFORT: Effort =
  testSize === 'small'
    ? {
        budget: { subsetsUpTo: 3, drawn: 1, tears: 1, tornWrites: 1 },
        share: 0.25,
        secondCrash: 0.01,
        deaths: 0.02,
        readers: 0.06,
      }
    : { budget: { subsetsUpTo: 4, drawn: 4, tears: 2, tornWrites: 1 }, secondCrash: 0.1, deaths: 0.1, readers: 0.1 };
const SEEDS = { small: 1, ci: 8, long: 130 }[testSize];
const SCRIPT_SEEDS = { small: 1, ci: 3, long: 40 }[testSize];
/** Scripts with an output take long, because every line is a state. */
const OUTPUT_EFFORT: Effort =
  testSize === 'ci'
    ? { budget: { subsetsUpTo: 1, drawn: 1, tears: 1, tornWrites: 1 }, secondCrash: 0, deaths: 0.02, readers: 0.05 }
    : EFFORT;
const STEPS = testSize === 'small' ? 10 : 25;
/** Set it to play a seed that failed again. */
const FIRST = testSeed(1);
const TIMEOUT = { timeout: 3_600_000 };
const levels: readonly Durability[] = ['exit', 'process', 'power'];

/** The rows of a table that are tried at a level: all of them, but of the small size every third, so that each has its turn at one level. */
function rowsAt<R>(level: Durability, rows: readonly R[]): readonly R[] {
  return testSize === 'small' ? rows.filter((_, row) => row % levels.length === levels.indexOf(level)) : rows;
}

interface Counts {
  indexed: number;
  states: number;
  recoveries: number;
  secondCrashes: number;
  reads: number;
}

/** Explores with each seed. */
async function explore(
  counts: Counts,
  make: (seed: number) => Explorer,
  work: (explorer: Explorer) => unknown,
  seeds: number,
): Promise<void> {
  for (let seed = FIRST; seed < FIRST + seeds; seed++) {
    const explorer = make(seed);
    await work(explorer);
    if (explorer.violation !== undefined) throw explorer.violation;
    for (const key of Object.keys(counts) as (keyof Counts)[]) {
      counts[key] += explorer.counts[key];
      total[key] += explorer.counts[key];
    }
  }
}

/** All of them. */
const total: Counts = { states: 0, recoveries: 0, secondCrashes: 0, reads: 0, indexed: 0 };

/** Walks at random with each seed, and prints what was looked at. */
async function walks(
  what: string,
  mix: Mix,
  setup: Omit<Setup, 'seed' | 'effort'>,
  seeds: number = SEEDS,
): Promise<void> {
  const counts: Counts = { states: 0, recoveries: 0, secondCrashes: 0, reads: 0, indexed: 0 };
  const make = (seed: number) => new Explorer({ ...setup, seed, effort: EFFORT });
  await explore(counts, make, (explorer) => walk(explorer, mix, STEPS), seeds);
  console.log(`${what}: seeds ${FIRST} to ${FIRST + seeds - 1}: ${JSON.stringify(counts)}`);
  expect(counts.states).toBeGreaterThan(seeds * 50);
}

describe('D1, D3, D9: crash states of random walks', () => {
  for (const level of levels) {
    for (const [name, mix] of rowsAt(level, Object.entries(mixes))) {
      it(`in the mix "${name}" at level ${level} are all right`, TIMEOUT, () =>
        walks(`${name}, ${level}`, mix, { level }),
      );
    }
  }

  it('with sync points in the middle of turns are all right', TIMEOUT, () =>
    walks('syncAt 3', { ...mixes.turns, ...mixes.faults }, { level: 'process', syncAt: 3, fileSize: 2 }),
  );

  it('with gzipped shards are all right', TIMEOUT, () =>
    walks('gzipped', { ...mixes.lives, ...mixes.folds }, { level: 'process', gzip: true }),
  );

  for (const level of testSize === 'small' ? (['process'] as const) : levels) {
    it(`with lines of an output, which come and go with their values, at level ${level} are all right`, TIMEOUT, () => {
      const mix = { ...mixes.lives, ...mixes.turns, ...mixes.folds, ...mixes.faults };
      return walks(`outputs, ${level}`, mix, { level, outputs: true });
    });
  }

  for (const level of testSize === 'small' ? (['process'] as const) : levels) {
    it(
      `with notes, which come and go with the changes that they belong to, at level ${level} are all right`,
      TIMEOUT,
      () => {
        const mix = { ...mixes.lives, ...mixes.turns, ...mixes.folds, ...mixes.faults };
        return walks(`notes, ${level}`, mix, { level, notes: true });
      },
    );
  }

  for (const loose of [false, true]) {
    it(`of a folder that tastypy wrote ${loose ? 'just now' : 'once'} are all right`, TIMEOUT, () => {
      const shards: [string, string][] = [
        [`${PATH}/0.json`, '"a"\t{"n":1}\n"q\\\\"x\\\\\\\\"\t{"n":2}\n'],
        [`${PATH}/1.json`, '7\t{"n":3}\n'],
      ];
      const image = new Map(shards.map(([path, text]) => [path, Buffer.from(text)]));
      const before = '"a"\t{"n":1}\n"q\\"x\\\\"\t{"n":2}\n7\t{"n":3}\n';
      const mix = { ...mixes.lives, ...mixes.folds };
      return walks(`adopted, ${loose ? 'loose' : 'durable'}`, mix, {
        level: 'process',
        fileSize: 2,
        image,
        loose,
        before,
      });
    });
  }
});

describe('D1, D9: crash states of scripts', () => {
  for (const level of levels) {
    it(`at level ${level} are all right`, TIMEOUT, async () => {
      const counts: Counts = { states: 0, recoveries: 0, secondCrashes: 0, reads: 0, indexed: 0 };
      const make = (seed: number) => new Explorer({ seed, level, effort: EFFORT });
      for (const script of rowsAt(level, Object.values(scripts))) await explore(counts, make, script, SCRIPT_SEEDS);
      console.log(`scripts, ${level}: seeds ${FIRST} to ${FIRST + SCRIPT_SEEDS - 1}: ${JSON.stringify(counts)}`);
      expect(counts.states).toBeGreaterThan(1000);
    });
  }
});

describe('D1, D9: crash states of scripts with an output', () => {
  for (const level of levels) {
    it(`at level ${level} are all right`, TIMEOUT, async () => {
      const counts: Counts = { states: 0, recoveries: 0, secondCrashes: 0, reads: 0, indexed: 0 };
      const make = (seed: number) => new Explorer({ seed, level, effort: OUTPUT_EFFORT, outputs: true });
      const all = testSize !== 'long' ? outputScripts : { ...outputScripts, ...scripts };
      for (const script of rowsAt(level, Object.values(all))) await explore(counts, make, script, SCRIPT_SEEDS);
      console.log(
        `scripts, outputs, ${level}: seeds ${FIRST} to ${FIRST + SCRIPT_SEEDS - 1}: ${JSON.stringify(counts)}`,
      );
      expect(counts.states).toBeGreaterThan(500);
    });
  }
});

it('a seed gives the same disk again, byte by byte', async () => {
  const played: string[] = [];
  for (let time = 0; time < 2; time++) {
    const explorer = new Explorer({ seed: 3, level: 'process', effort: { ...EFFORT, share: 0.1 } });
    await walk(explorer, { ...mixes.lives, ...mixes.folds }, 5);
    played.push(JSON.stringify([explorer.counts, explorer.trace, imageKey(explorer.fs.image())]));
  }
  expect(played[1]).toBe(played[0]);
});

it('crash states enough', () => {
  const { states, recoveries, secondCrashes } = total;
  console.log(
    `crash states, ${testSize}: ${states}, of which ${recoveries} differ, and ${secondCrashes} of a second crash in the recovery of one: ${JSON.stringify(total)}`,
  );
  expect(states + secondCrashes).toBeGreaterThanOrEqual({ small: 10_000, ci: 1_000_000, long: 10_000_000 }[testSize]);
});
