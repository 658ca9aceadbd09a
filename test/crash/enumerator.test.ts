/**
 * Every state a power cut or a death can leave of random walks, at the three levels: nothing acknowledged is lost, and nothing comes
 * back that never was. `enumerator-scripts.test.ts` does the same for scripts.
 */
import { Buffer } from 'node:buffer';
import { describe, expect, it, vi } from 'vitest';
import { imageKey } from '../../src/testing/index.ts';
import { testSize } from '../size.ts';
import { Explorer, PATH, type Setup } from './enumerator-explorer.ts';
import { EFFORT, levels, rowsAt, Tally, TIMEOUT } from './enumerator-runs.ts';
import { type Mix, mixes, walk } from './enumerator-workloads.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));
vi.mock('../../src/disk/random.ts', async () => import('./enumerator-random.ts'));

const SEEDS = { small: 1, ci: 8, long: 24 }[testSize];
const STEPS = testSize === 'small' ? 10 : 25;
const tally = new Tally();

/** Walks at random with each seed. */
async function walks(what: string, mix: Mix, setup: Omit<Setup, 'seed' | 'effort'>): Promise<void> {
  const make = (seed: number): Explorer => new Explorer({ ...setup, seed, effort: EFFORT });
  const states = await tally.explore(what, SEEDS, make, [(explorer) => walk(explorer, mix, STEPS)]);
  expect(states).toBeGreaterThan(SEEDS * 50);
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
    for (const [title, what] of [
      ['lines of an output, which come and go with their values', 'outputs'],
      ['notes, which come and go with the changes that they belong to', 'notes'],
    ] as const) {
      it(`with ${title}, at level ${level} are all right`, TIMEOUT, () => {
        const mix = { ...mixes.lives, ...mixes.turns, ...mixes.folds, ...mixes.faults };
        return walks(`${what}, ${level}`, mix, { level, [what]: true });
      });
    }
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
  tally.requireStates('random walks', { small: 2_000, ci: 500_000, long: 1_500_000 }[testSize]);
});
