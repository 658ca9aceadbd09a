/**
 * Every state a power cut or a death can leave, for many workloads at the three levels: nothing acknowledged is lost, and nothing comes
 * back that never was.
 */
import { Buffer } from 'node:buffer';
import { describe, expect, it, vi } from 'vitest';
import type { Durability } from '../../src/pod/options.ts';
import { type Effort, Explorer, PATH } from './enumerator-explorer.ts';
import { scripts } from './enumerator-scripts.ts';
import { mixes, walk } from './enumerator-workloads.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));

const size = process.env.EVERPOD_TEST_SIZE ?? 'small';
const EFFORT: Effort = {
  budget: { subsetsUpTo: 4, drawn: 4, tears: 2, tornWrites: 1 },
  secondCrash: 0.05,
  deaths: 0.05,
  readers: 0.1,
};
const THOROUGH: Effort = { ...EFFORT, secondCrash: 0.2, deaths: 0.5 };
const SEEDS = size === 'long' ? 400 : size === 'ci' ? 20 : 2;
const STEPS = size === 'small' ? 16 : 25;
/** Set it to play a seed that failed again. */
const FIRST = Number(process.env.EVERPOD_TEST_SEED ?? '1');
const levels: readonly Durability[] = ['exit', 'process', 'power'];

/** Explores with each seed, and prints what was looked at. */
async function explore(
  what: string,
  make: (seed: number) => Explorer,
  work: (explorer: Explorer) => unknown,
  seeds: number,
) {
  const counts = { states: 0, recoveries: 0, secondCrashes: 0, reads: 0 };
  for (let seed = FIRST; seed < FIRST + seeds; seed++) {
    const explorer = make(seed);
    await work(explorer);
    if (explorer.violation !== undefined) throw explorer.violation;
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += explorer.counts[key];
  }
  console.log(`${what}: seeds ${FIRST} to ${FIRST + seeds - 1}: ${JSON.stringify(counts)}`);
  return counts;
}

describe('crash states of random walks', () => {
  for (const level of levels) {
    for (const [name, mix] of Object.entries(mixes)) {
      it(`in the mix "${name}" at level ${level} are all right`, async () => {
        const make = (seed: number) => new Explorer({ seed, level, effort: EFFORT });
        const counts = await explore(`${name}, ${level}`, make, (explorer) => walk(explorer, mix, STEPS), SEEDS);
        expect(counts.states).toBeGreaterThan(SEEDS * 50);
      });
    }
  }

  it('with sync points in the middle of turns are all right', async () => {
    const make = (seed: number) => new Explorer({ seed, level: 'process', effort: EFFORT, syncAt: 3, fileSize: 2 });
    const mix = { ...mixes.turns, ...mixes.faults };
    const counts = await explore('syncAt 3', make, (explorer) => walk(explorer, mix, STEPS), SEEDS);
    expect(counts.states).toBeGreaterThan(SEEDS * 50);
  });

  it('with gzipped shards are all right', async () => {
    const make = (seed: number) => new Explorer({ seed, level: 'process', effort: EFFORT, gzip: true });
    const mix = { ...mixes.lives, ...mixes.folds };
    const counts = await explore('gzip', make, (explorer) => walk(explorer, mix, STEPS), SEEDS);
    expect(counts.states).toBeGreaterThan(SEEDS * 50);
  });

  it('of a folder that tastypy wrote are all right', async () => {
    const shards: [string, string][] = [
      [`${PATH}/0.json`, '"a"\t{"n": 1}\n"q\\\\"x\\\\\\\\"\t{"n": 2}\n'],
      [`${PATH}/1.json`, '7\t{"n": 3}\n'],
    ];
    const image = new Map(shards.map(([path, text]) => [path, Buffer.from(text)]));
    const before = '"a"\t{"n": 1}\n"q\\"x\\\\"\t{"n": 2}\n7\t{"n": 3}\n';
    const make = (seed: number) => new Explorer({ seed, level: 'process', effort: EFFORT, image, before });
    const work = (explorer: Explorer) => walk(explorer, seedOf(explorer) % 2 === 0 ? LIVES : FOLDS, STEPS);
    const counts = await explore('adopted', make, work, 2 * SEEDS);
    expect(counts.states).toBeGreaterThan(SEEDS * 50);
  });
});

const LIVES = mixes.lives as (typeof mixes)[string];
const FOLDS = mixes.folds as (typeof mixes)[string];

function seedOf(explorer: Explorer): number {
  return explorer.random.seed;
}

describe('crash states of scripts', () => {
  for (const level of levels) {
    it(`at level ${level} are all right`, async () => {
      let states = 0;
      for (const [name, script] of Object.entries(scripts)) {
        const make = (seed: number) => new Explorer({ seed, level, effort: size === 'small' ? EFFORT : THOROUGH });
        const seeds = size === 'small' ? 1 : size === 'ci' ? 4 : 40;
        states += (await explore(`${name}, ${level}`, make, script, seeds)).states;
      }
      expect(states).toBeGreaterThan(2000);
    });
  }
});
