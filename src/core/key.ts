/**
 * Keys: what may be one, when two are the same, and their text on disk.
 *
 * A key is a string, a safe integer, or an array of keys. `1`, `"1"` and `["1"]` are three keys. The text of a key is its
 * JSON, so equal texts mean equal keys (checklist TP-040, TP-041).
 */
import { PodError } from './errors.ts';
import { DEPTH_MAX } from './json.ts';

/** What an entry is found by. */
export type Key = string | number | readonly Key[];

/** A primitive that is equal for equal keys and different for different ones; what the in-memory index uses. */
export type KeyIdentity = string | number;

/**
 * The identity of a key. Strings stand for themselves, so that the common case costs nothing; only strings that begin with
 * NUL make way for the marks used here.
 *
 * @throws {PodError} `ERR_POD_KEY` where `key` is not a key
 */
export function keyIdentity(key: unknown): KeyIdentity {
  if (typeof key === 'string') return key.charCodeAt(0) === 0 ? `\0s${key}` : key;
  if (typeof key === 'number') {
    if (!Number.isSafeInteger(key)) throw refuse(key, 'a number must be a safe integer');
    return key === 0 ? 0 : key;
  }
  return `\0t${JSON.stringify(copyKey(key))}`;
}

/** A frozen copy of a key, so that nobody can change it behind the index's back. */
export function copyKey(key: unknown, depth: number = 0): Key {
  if (typeof key === 'string') return key;
  if (typeof key === 'number') {
    if (!Number.isSafeInteger(key)) throw refuse(key, 'a number must be a safe integer');
    return key === 0 ? 0 : key;
  }
  if (!Array.isArray(key)) throw refuse(key, 'it must be a string, a safe integer, or an array of those');
  if (depth >= DEPTH_MAX) throw refuse('[…]', `it is nested deeper than ${DEPTH_MAX} levels`);
  return Object.freeze(Array.from(key, (part: unknown) => copyKey(part, depth + 1)));
}

/** The text of a key on disk. */
export function keyText(key: Key): string {
  return JSON.stringify(key);
}

/**
 * The key that a text stands for.
 *
 * @throws {SyntaxError} where the text is not JSON
 * @throws {PodError} `ERR_POD_KEY` where it is, but not a key
 */
export function parseKey(text: string): Key {
  return copyKey(JSON.parse(text));
}

function refuse(key: unknown, why: string): PodError {
  let shown: string;
  try {
    shown =
      typeof key === 'string' || typeof key === 'number' ? String(key) : (JSON.stringify(key) ?? String(typeof key));
  } catch {
    shown = typeof key;
  }
  if (shown.length > 80) shown = `${shown.slice(0, 77)}...`;
  return new PodError('ERR_POD_KEY', `${shown} cannot be a key: ${why}.`, { key });
}
