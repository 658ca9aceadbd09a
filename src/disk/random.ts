/**
 * What is drawn at random, in one place: the id of a pod, the salt of a segment, names that nobody can plant, tokens that nobody can guess.
 */
import { randomBytes } from 'node:crypto';

/** So many random bytes, hexadecimal. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** The id of a new pod. */
export function newPodId(): string {
  return randomHex(4);
}
