/**
 * How much the tests do, and which random programs they draw: `EVERPOD_TEST_SIZE` and `EVERPOD_TEST_SEED`, which nothing else reads.
 */

/** `small` in `npm test`, `ci` in `npm run check`, `long` in `npm run test:long`. */
export type TestSize = 'small' | 'ci' | 'long';

export const testSize: TestSize = readSize(process.env.EVERPOD_TEST_SIZE);

/** The seed of `EVERPOD_TEST_SEED`, if there is one. */
const asked = readSeed(process.env.EVERPOD_TEST_SEED);
let fromClock: number | undefined;

/**
 * The seed of a random test. A change is judged by the same programs each time, so `small` and `ci` have a fixed one; `long` looks for what
 * these do not find and takes one from the clock, the same for all of a test file, which is printed.
 */
export function testSeed(fixed: number): number {
  if (asked !== undefined) return asked;
  if (testSize !== 'long') return fixed;
  if (fromClock === undefined) {
    fromClock = Date.now() % 2 ** 31;
    console.info(`seed ${fromClock}; EVERPOD_TEST_SEED=${fromClock} plays it again`);
  }
  return fromClock;
}

function readSize(text: string | undefined): TestSize {
  if (text === undefined || text === '' || text === 'small') return 'small';
  if (text === 'ci' || text === 'long') return text;
  throw new Error(`EVERPOD_TEST_SIZE is ${text}; it can be small, ci or long.`);
}

function readSeed(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const seed = Number(text);
  if (Number.isSafeInteger(seed)) return seed;
  throw new Error(`EVERPOD_TEST_SEED is ${text}; it is a whole number.`);
}
