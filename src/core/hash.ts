/**
 * The hash of a key's identity: what the index of keys files an entry under.
 */
import type { KeyIdentity } from './key.ts';

/**
 * 32 bits. Equal identities have equal hashes; unequal ones may, so a find is always verified against the key itself.
 *
 * @param seed makes the hashes of one pod differ from those of another, so that keys cannot be chosen beforehand to collide
 */
export function hashIdentity(identity: KeyIdentity, seed: number): number {
  let hash = seed | 0;
  if (typeof identity === 'number') {
    hash = step(hash ^ 0x4e, identity | 0);
    hash = step(hash, Math.floor(identity / 2 ** 32) | 0);
  } else {
    for (let index = 0; index < identity.length; index++) hash = step(hash, identity.charCodeAt(index));
  }
  // The directory takes the upper bits and a bucket the lower ones, so all must depend on every character.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) | 0;
}

function step(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x5bd1e995);
  return mixed ^ (mixed >>> 15);
}
