/**
 * How two JSON values differ, place by place, and which of some places are out of order.
 */
import { equalJson, type Json, memberPath } from './json.ts';

/** A place inside a value at which two values differ. */
export interface Difference {
  /** The place, such as `$.links[3]`; `$` is the value itself. */
  readonly at: string;
  /** What is there in the first value; left out where nothing is. */
  readonly from?: Json;
  /** What is there in the second value; left out where nothing is. */
  readonly to?: Json;
}

/**
 * The places at which two values differ, as deep inside as they do. Values are equal as in `equalJson`, so the order of properties is no
 * difference; lists are compared place by place.
 */
export function* differences(from: Json, to: Json, at: string = '$'): Generator<Difference, void, undefined> {
  if (equalJson(from, to)) return;
  if (Array.isArray(from) && Array.isArray(to)) {
    for (let index = 0; index < Math.max(from.length, to.length); index++) {
      yield* memberDifferences(from, to, index, `${at}[${index}]`);
    }
  } else if (isObject(from) && isObject(to)) {
    for (const name of new Set([...Object.keys(to), ...Object.keys(from)])) {
      yield* memberDifferences(from, to, name, `${at}${memberPath(name)}`);
    }
  } else yield { at, from, to };
}

function* memberDifferences(
  from: object,
  to: object,
  name: string | number,
  at: string,
): Generator<Difference, void, undefined> {
  const [isBefore, isAfter] = [Object.hasOwn(from, name), Object.hasOwn(to, name)];
  const [before, after] = [Reflect.get(from, name) as Json, Reflect.get(to, name) as Json];
  if (isBefore && isAfter) yield* differences(before, after, at);
  else if (isBefore) yield { at, from: before };
  else yield { at, to: after };
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Which of some distinct numbers must move so that the others stand in ascending order, as few as possible.
 *
 * @returns the indexes of those that move
 */
export function outOfOrder(numbers: readonly number[]): Set<number> {
  // The longest ascending row stays: `ends[n]` is the index of the lowest number that a row of n + 1 can end with.
  const ends: number[] = [];
  const before: number[] = [];
  numbers.forEach((number, index) => {
    let low = 0;
    for (let high = ends.length; low < high; ) {
      const middle = (low + high) >> 1;
      if ((numbers[ends[middle] as number] as number) < number) low = middle + 1;
      else high = middle;
    }
    before[index] = ends[low - 1] ?? -1;
    ends[low] = index;
  });
  const moved = new Set(numbers.keys());
  for (let index = ends.at(-1) ?? -1; index >= 0; index = before[index] as number) moved.delete(index);
  return moved;
}
