/**
 * Seeded randomness: the same seed gives the same run on every machine, so that a failure can be played again.
 */

/** A source of numbers that look random and depend on the seed alone. */
export interface Random {
  readonly seed: number;
  /** A number from 0 up to 1, exclusive. */
  next(): number;
  /** A whole number from 0 up to `end`, exclusive. */
  below(end: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  /** One of the items, which must not be empty. */
  pick<T>(items: readonly T[]): T;
}

/**
 * Makes a source from a seed (mulberry32: small, fast, and even enough for choosing test steps; not for secrets).
 *
 * @example
 * const random = seededRandom(7);
 * random.pick(['set', 'delete', 'clear']);
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (end: number): number => Math.floor(next() * end);
  return {
    seed,
    next,
    below,
    chance: (probability) => next() < probability,
    pick: (items) => {
      if (items.length === 0) throw new RangeError('There is nothing to pick from.');
      return items[below(items.length)] as (typeof items)[number];
    },
  };
}
