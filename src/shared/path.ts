/**
 * Walks a path inside a value, along own properties only, and changes what is at its end.
 */
import { PodError } from '../core/errors.ts';
import { type Json, memberPath } from '../core/json.ts';

/** A step into a value: a property's name, or a place in a list. */
export type Step = string | number;

/** A list or an object that may be changed. */
type Container = Record<Step, unknown> | unknown[];

/** Where a path ends: what holds the end, and the last step. */
interface Place {
  readonly holder: Container;
  readonly step: Step;
}

/** What is at a path; undefined where nothing is. */
export function readPath(root: unknown, path: readonly Step[]): unknown {
  let value = root;
  for (const step of path) {
    if (!hasStep(value, step)) return undefined;
    value = (value as Container)[step as never];
  }
  return value;
}

/**
 * The place of a path's end, which may be missing in its holder.
 *
 * @throws {PodError} `ERR_POD_VALUE` where there is no holder
 */
export function placeOf(root: unknown, path: readonly Step[]): Place {
  const holder = readPath(root, path.slice(0, -1));
  const step = path.at(-1) as Step;
  const fits = Array.isArray(holder)
    ? isIndex(step) && step <= holder.length
    : typeof step === 'string' && typeof holder === 'object' && holder !== null;
  if (!fits) throw pathError(path, Array.isArray(holder) ? 'the list has no such place' : 'nothing holds it');
  return { holder: holder as Container, step };
}

/**
 * The list at a path.
 *
 * @throws {PodError} `ERR_POD_VALUE`
 */
export function listAt(root: unknown, path: readonly Step[]): unknown[] {
  const value = readPath(root, path);
  if (Array.isArray(value)) return value;
  throw pathError(path, 'it is no list');
}

export function pathError(path: readonly Step[], why: string): PodError {
  const at = pathText(path);
  return new PodError('ERR_POD_VALUE', `At ${at}, ${why}. Nothing was changed.`, { at });
}

function pathText(path: readonly Step[]): string {
  return path.reduce<string>((text, step) => text + (typeof step === 'number' ? `[${step}]` : memberPath(step)), '$');
}

/** Properties that are inherited are not there: nothing leads to `constructor` (reliability K10). */
function hasStep(value: unknown, step: Step): boolean {
  if (Array.isArray(value)) return isIndex(step) && step < value.length;
  return typeof value === 'object' && value !== null && typeof step === 'string' && Object.hasOwn(value, step);
}

function isIndex(step: Step): step is number {
  return Number.isSafeInteger(step) && (step as number) >= 0;
}

/** One place at which a value becomes another: a path, and what is there then; without it the place goes away. */
export type Patch = readonly (readonly [path: readonly Step[], value?: Json])[];

/**
 * What makes one value of another, to the order of properties. Objects are changed member by member, anything else as a whole, lists too: two
 * people who change a list mean the list.
 */
export function patchBetween(from: Json, to: Json): Patch {
  const patch: (readonly [readonly Step[], Json?])[] = [];
  collect(from, to, [], patch);
  return patch;
}

function collect(from: Json, to: Json, path: readonly Step[], patch: (readonly [readonly Step[], Json?])[]): void {
  if (JSON.stringify(from) === JSON.stringify(to)) return;
  if (!isObject(from) || !isObject(to) || !keepsOrder(from, to)) {
    patch.push([path, to]);
    return;
  }
  for (const name of Object.keys(from)) if (!Object.hasOwn(to, name)) patch.push([[...path, name]]);
  for (const [name, value] of Object.entries(to)) {
    if (Object.hasOwn(from, name)) collect(from[name] as Json, value, [...path, name], patch);
    else patch.push([[...path, name], value]);
  }
}

/** Whether changing members gives the order of `to`: what stays keeps its place, and what is new comes behind it. */
function keepsOrder(from: object, to: object): boolean {
  const names = Object.keys(to);
  const staying = Object.keys(from).filter((name) => Object.hasOwn(to, name));
  return staying.every((name, index) => name === names[index]);
}

function isObject(value: Json): value is { [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
