/**
 * What the tests of the enumerator have in common: how much they look at, and how they count it.
 */
import { expect } from 'vitest';
import type { Durability } from '../../src/pod/options.ts';
import { testSeed, testSize } from '../size.ts';
import type { Counts, Effort, Explorer } from './enumerator-explorer.ts';

export const EFFORT: Effort =
  testSize === 'small'
    ? {
        budget: { subsetsUpTo: 3, drawn: 1, tears: 1, tornWrites: 1 },
        share: 0.25,
        secondCrash: 0.01,
        deaths: 0.02,
        readers: 0.06,
      }
    : { budget: { subsetsUpTo: 4, drawn: 4, tears: 2, tornWrites: 1 }, secondCrash: 0.1, deaths: 0.1, readers: 0.1 };
/** Set it to play a seed that failed again. */
const FIRST = testSeed(1);
export const TIMEOUT: { timeout: number } = { timeout: 3_600_000 };
export const levels: readonly Durability[] = ['exit', 'process', 'power'];

/** The rows of a table that are tried at a level: all of them, but of the small size every third, so that each has its turn at one level. */
export function rowsAt<R>(level: Durability, rows: readonly R[]): readonly R[] {
  return testSize === 'small' ? rows.filter((_, row) => row % levels.length === levels.indexOf(level)) : rows;
}

/** What all explorations of a test file looked at. */
export class Tally {
  readonly #total: Counts = emptyCounts();

  /** Explores with so many seeds, and prints what was looked at. Returns how many states. */
  async explore(
    what: string,
    seeds: number,
    make: (seed: number) => Explorer,
    works: readonly ((explorer: Explorer) => unknown)[],
  ): Promise<number> {
    const counts = emptyCounts();
    for (const work of works) {
      for (let seed = FIRST; seed < FIRST + seeds; seed++) {
        const explorer = make(seed);
        await work(explorer);
        if (explorer.violation !== undefined) throw explorer.violation;
        for (const key of Object.keys(counts) as (keyof Counts)[]) {
          counts[key] += explorer.counts[key];
          this.#total[key] += explorer.counts[key];
        }
      }
    }
    console.log(`${what}: seeds ${FIRST} to ${FIRST + seeds - 1}: ${JSON.stringify(counts)}`);
    return counts.states;
  }

  /** Prints the sum, which must be at least this. */
  requireStates(what: string, atLeast: number): void {
    const { states, recoveries, secondCrashes } = this.#total;
    console.log(
      `crash states of ${what}, ${testSize}: ${states}, of which ${recoveries} differ, and ${secondCrashes} of a second crash in the recovery of one: ${JSON.stringify(this.#total)}`,
    );
    expect(states + secondCrashes).toBeGreaterThanOrEqual(atLeast);
  }
}

function emptyCounts(): Counts {
  return { states: 0, recoveries: 0, secondCrashes: 0, reads: 0, indexed: 0 };
}
