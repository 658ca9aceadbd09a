// Runs in every test file: whatever the tests fed to the library, no prototype of the language may have gained or lost a property.
import { afterAll, expect } from 'vitest';

const WATCHED: ReadonlyMap<string, object> = new Map<string, object>([
  ['Object.prototype', Object.prototype],
  ['Array.prototype', Array.prototype],
  ['Function.prototype', Function.prototype],
  ['String.prototype', String.prototype],
  ['Number.prototype', Number.prototype],
  ['Map.prototype', Map.prototype],
  ['Set.prototype', Set.prototype],
  ['Error.prototype', Error.prototype],
  ['Object', Object],
  ['Array', Array],
]);

/** Own properties of each, and what they are. */
function look(): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const [name, object] of WATCHED) {
    found[name] = Reflect.ownKeys(object).map((key) => {
      const { value, get, set } = Object.getOwnPropertyDescriptor(object, key) ?? {};
      const kind = value === undefined ? `${typeof get} ${typeof set}` : typeof value;
      return `${String(key)}: ${kind}`;
    });
  }
  return found;
}

const before = look();

afterAll(() => {
  expect(look()).toEqual(before);
});
