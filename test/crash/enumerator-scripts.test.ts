/**
 * The same as `enumerator.test.ts` for scripts, which are combinations that random walks seldom hit; and for scripts with an output.
 */
import { describe, expect, it, vi } from 'vitest';
import { testSize } from '../size.ts';
import { type Effort, Explorer } from './enumerator-explorer.ts';
import { EFFORT, levels, rowsAt, Tally, TIMEOUT } from './enumerator-runs.ts';
import { outputScripts, scripts } from './enumerator-scripts.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));
vi.mock('../../src/disk/random.ts', async () => import('./enumerator-random.ts'));

const SEEDS = { small: 1, ci: 3, long: 12 }[testSize];
/** Scripts with an output take long, because every line is a state. */
const OUTPUT_EFFORT: Effort =
  testSize === 'small'
    ? EFFORT
    : { budget: { subsetsUpTo: 1, drawn: 1, tears: 1, tornWrites: 1 }, secondCrash: 0, deaths: 0.02, readers: 0.05 };
const tally = new Tally();

describe('D1, D9: crash states of scripts', () => {
  for (const level of levels) {
    it(`at level ${level} are all right`, TIMEOUT, async () => {
      const make = (seed: number): Explorer => new Explorer({ seed, level, effort: EFFORT });
      const states = await tally.explore(`scripts, ${level}`, SEEDS, make, rowsAt(level, Object.values(scripts)));
      expect(states).toBeGreaterThan(1000);
    });
  }
});

describe('D1, D9: crash states of scripts with an output', () => {
  for (const level of levels) {
    it(`at level ${level} are all right`, TIMEOUT, async () => {
      const make = (seed: number): Explorer => new Explorer({ seed, level, effort: OUTPUT_EFFORT, outputs: true });
      const all = testSize === 'long' ? { ...outputScripts, ...scripts } : outputScripts;
      const states = await tally.explore(`outputs, ${level}`, SEEDS, make, rowsAt(level, Object.values(all)));
      expect(states).toBeGreaterThan(500);
    });
  }
});

it('crash states enough', () => {
  tally.requireStates('scripts', { small: 8_000, ci: 500_000, long: 2_000_000 }[testSize]);
});
