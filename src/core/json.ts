/**
 * JSON values: the type, and the copy that every value takes on its way in.
 *
 * The copy is what makes memory equal disk (rule 3): whatever JSON text would lose or change is refused here, at the line
 * that wrote it, so nothing can fail or change later when the value is written.
 */
import { PodError } from './errors.ts';

/** What a pod can hold. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** A JSON object or array as it is held in memory: ours alone, changed only through views. */
export type Container = Record<string, unknown> | unknown[];

/**
 * The deepest nesting of a value. `JSON.stringify` overflows the stack at some 4,000 levels and `JSON.parse` does not, so
 * without a limit a file could be read that can never be written again (reliability F12).
 */
export const DEPTH_MAX = 512;

/** Longest single string; JSON text is limited to about 2^29 characters, and an escape can take six for one. */
const STRING_LENGTH_MAX = 89_000_000;

/**
 * A deep plain copy of `value`.
 *
 * `undefined` properties are dropped and `-0` becomes `0`, as JSON does. Property order is kept.
 *
 * @param value anything
 * @param depth how deep the place is where the copy will be put; a top-level value is at 0
 * @throws {PodError} `ERR_POD_VALUE` with the path inside the value, for anything that JSON text cannot give back
 */
export function copyJson(value: unknown, depth: number = 0): Json {
  // The path is only needed when something is refused, so the fast copy does not carry one: a second, slower walk finds it.
  try {
    return copy(value, depth);
  } catch (error) {
    if (error !== REFUSED) throw error;
    throw explainRefusal(value, depth);
  }
}

/** Whether JSON text is nested deeper than a value may be. Says nothing about text that is no JSON. */
export function isTooDeep(text: string): boolean {
  // Most values are short, and each level takes two characters.
  if (text.length <= 2 * DEPTH_MAX) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      if (++depth > DEPTH_MAX) return true;
    } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) depth--;
    else if (code === QUOTE) at = endOfString(text, at);
  }
  return false;
}

const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;
const CLOSE_ARRAY = 0x5d;
const CLOSE_OBJECT = 0x7d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Where the string that begins at `start` ends; the end of the text where it does not. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  return text.length;
}

/** Sets a property even where the name is `__proto__`, which plain assignment would take for the prototype. */
export function setOwn(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
  } else {
    target[name] = value;
  }
}

/** Whether two JSON values are equal: same types, same members, arrays in the same order, objects in any order. */
export function equalJson(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, index) => equalJson(item, b[index]));
  }
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every(
    (name) => Object.hasOwn(b, name) && equalJson(Reflect.get(a, name) as unknown, Reflect.get(b, name) as unknown),
  );
}

/** Thrown by the fast copy; never leaves this file. */
const REFUSED = Symbol('refused');

function copy(value: unknown, depth: number): Json {
  switch (typeof value) {
    case 'string':
      if (value.length > STRING_LENGTH_MAX) throw REFUSED;
      return value;
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isFinite(value)) throw REFUSED;
      return value === 0 ? 0 : value;
    case 'object':
      if (value === null) return null;
      return Array.isArray(value) ? copyArray(value, depth) : copyObject(value, depth);
    default:
      throw REFUSED;
  }
}

function copyArray(value: readonly unknown[], depth: number): Json {
  if (depth >= DEPTH_MAX || !isPlainArray(value)) throw REFUSED;
  const length = value.length;
  const result: Json[] = [];
  for (let index = 0; index < length; index++) result.push(copy(value[index], depth + 1));
  return result;
}

function copyObject(value: object, depth: number): Json {
  if (depth >= DEPTH_MAX || !isPlainObject(value)) throw REFUSED;
  const result: Record<string, Json> = {};
  for (const name of Object.keys(value)) {
    const member = (value as Record<string, unknown>)[name];
    if (member === undefined) continue;
    setOwn(result, name, copy(member, depth + 1));
  }
  return result;
}

/** An array with nothing but its elements: JSON text has no place for further properties. */
function isPlainArray(value: readonly unknown[]): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Array.prototype && !isForeignPrototype(prototype, 'Array')) return false;
  return Object.keys(value).length === value.length && Object.getOwnPropertySymbols(value).length === 0;
}

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null && !isForeignPrototype(prototype, 'Object')) return false;
  return Object.getOwnPropertySymbols(value).length === 0;
}

/** `Object.prototype` or `Array.prototype` of another realm (a vm context, a worker's message). */
function isForeignPrototype(prototype: unknown, name: 'Object' | 'Array'): boolean {
  if (typeof prototype !== 'object' || prototype === null) return false;
  if (!Object.hasOwn(prototype, 'constructor')) return false;
  const maker = (prototype as { constructor: unknown }).constructor;
  if (typeof maker !== 'function' || maker.name !== name) return false;
  // Only the built-in constructors are native code; a user's `class Object {}` is not.
  return Function.prototype.toString.call(maker).includes('[native code]');
}

/** Walks like `copy`, with a path, and says what stands in the way and where. */
function explainRefusal(root: unknown, depth: number): PodError {
  const ancestors = new Set<object>();
  const find = (value: unknown, path: string, level: number): [string, string] | undefined => {
    const reason = refusalOf(value, level, ancestors);
    if (reason !== undefined) return [path, reason];
    if (typeof value !== 'object' || value === null) return undefined;
    ancestors.add(value);
    for (const name of Object.keys(value)) {
      const member = (value as Record<string, unknown>)[name];
      if (member === undefined && !Array.isArray(value)) continue;
      const found = find(member, Array.isArray(value) ? `${path}[${name}]` : `${path}${memberPath(name)}`, level + 1);
      if (found !== undefined) return found;
    }
    ancestors.delete(value);
    return undefined;
  };
  const [at, reason] = find(root, '$', depth) ?? ['$', 'it changed while it was being copied'];
  return new PodError('ERR_POD_VALUE', `The value cannot be kept: at ${at}, ${reason}. Nothing was changed.`, { at });
}

/** How a path inside a value goes on to a member: `.name`, or `["odd name"]`. */
export function memberPath(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
}

function refusalOf(value: unknown, depth: number, ancestors: ReadonlySet<object>): string | undefined {
  switch (typeof value) {
    case 'string':
      return value.length > STRING_LENGTH_MAX
        ? `a string of ${value.length} characters is longer than the ${STRING_LENGTH_MAX} allowed`
        : undefined;
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : `${value} is not a JSON number`;
    case 'undefined':
      return 'undefined is not a JSON value (use null, or leave the property out)';
    case 'object':
      return value === null ? undefined : objectRefusal(value, depth, ancestors);
    default:
      return `a ${typeof value} is not a JSON value`;
  }
}

function objectRefusal(value: object, depth: number, ancestors: ReadonlySet<object>): string | undefined {
  if (ancestors.has(value)) return 'the value contains itself (a cycle)';
  if (depth >= DEPTH_MAX) return `the value is nested deeper than ${DEPTH_MAX} levels`;
  if (Object.getOwnPropertySymbols(value).length > 0) return 'a property named by a symbol has no place in JSON';
  if (Array.isArray(value)) {
    // An array that is mostly holes may be as long as four billion elements, so nothing is done for each of them.
    for (let index = 0; index < value.length; index++) {
      if (!Object.hasOwn(value, index)) return `the array has a hole at ${index}`;
    }
    if (isPlainArray(value)) return undefined;
    return 'an array with further properties or of a class of its own is not plain JSON';
  }
  if (isPlainObject(value)) return undefined;
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return `an instance of ${typeof name === 'string' && name !== '' ? name : 'a class'} is not plain JSON (convert it first)`;
}
