/**
 * Stands in for `src/disk/random.ts`: what is drawn depends on the seed alone, so that a failure can be played again byte by byte.
 */
import { type Random, seededRandom } from '../../src/testing/random.ts';

let source: Random = seededRandom(1);

export function reseed(seed: number): void {
  source = seededRandom(seed);
}

/** Has the shape of the real one. */
export function randomHex(bytes: number): string {
  let text = '';
  while (text.length < bytes * 2) text += source.below(256).toString(16).padStart(2, '0');
  return text;
}

export function newPodId(): string {
  return randomHex(4);
}
