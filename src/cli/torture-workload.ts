/**
 * What the processes of `everpod torture` write: numbered steps, each a pure function of the seed and of the state before it, so that
 * whoever knows the seed knows the state after every step without having seen it.
 *
 * A step is one change, or one transaction of several: whatever stands between two steps is a state that was never written.
 */
import { equalJson } from '../core/json.ts';
import { type Key, type KeyIdentity, keyIdentity, keyText } from '../core/key.ts';

/** The value of every entry; its members are there to be changed in place. */
export interface StepValue {
  /** The step that changed it last. */
  n: number;
  text: string;
  list: number[];
  deep: Record<string, number>;
}

/** What steps are done to: a pod, or the model of one. */
export interface StepTarget {
  get(key: Key): StepValue | undefined;
  set(key: Key, value: StepValue): unknown;
  delete(key: Key): unknown;
  clear(): void;
  /** Runs changes as one transaction. */
  together(change: () => void): void;
  /** Runs changes as one transaction that is given up at its end. */
  undone(change: () => void): void;
}

/** How many different keys there are. */
const KEYS = 400;
const TEXT_LENGTH_MAX = 600;
const LIST_LENGTH_MAX = 20;

/** Numbers from 0 up to 1, exclusive, that look random and depend on the seed alone (mulberry32). */
export type Numbers = () => number;

export function numbersFrom(seed: number): Numbers {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A whole number from 0 up to `end`, exclusive. */
export function below(numbers: Numbers, end: number): number {
  return Math.floor(numbers() * end);
}

/** Does step `n`. */
export function applyStep(target: StepTarget, seed: number, n: number): void {
  const numbers = numbersFrom(Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(n, 0xc2b2ae35));
  const kind = numbers();
  const several = (): void => {
    for (let left = 2 + below(numbers, 7); left > 0; left--) changeOne(target, n, numbers);
  };
  if (kind < 0.9) changeOne(target, n, numbers);
  else if (kind < 0.97) target.together(several);
  else if (kind < 0.9997) target.undone(several);
  else target.clear();
}

function changeOne(target: StepTarget, n: number, numbers: Numbers): void {
  const key = keyNumbered(below(numbers, KEYS));
  const value = target.get(key);
  const kind = numbers();
  if (value === undefined || kind < 0.5) target.set(key, newValue(n, numbers));
  else if (kind < 0.63) target.delete(key);
  else if (kind < 0.75) value.n = n;
  else if (kind < 0.9) {
    if (value.list.length < LIST_LENGTH_MAX) value.list.push(n);
    else value.list = [n];
  } else {
    const name = `member ${below(numbers, 5)}`;
    if (value.deep[name] === undefined) value.deep[name] = n;
    else delete value.deep[name];
  }
}

/** Keys of all kinds; `1`, `"1"` and `["1"]` are three. */
function keyNumbered(number: number): Key {
  if (number % 10 === 0) return number;
  if (number % 10 === 1) return [String(number - 1)];
  return number % 10 === 2 ? String(number - 2) : `key ${number}`;
}

function newValue(n: number, numbers: Numbers): StepValue {
  const text = 'a line of text, \u00e9\u4e16\ud83c\udf0d "quoted"\n'
    .repeat(20)
    .slice(0, below(numbers, TEXT_LENGTH_MAX));
  return { n, text, list: [n], deep: { 'member 0': n } };
}

/** What a pod should hold after a number of steps. */
export class Model {
  /** The last step that was done. */
  step: number = 0;
  readonly #seed: number;
  readonly #entries: Map<KeyIdentity, { readonly key: Key; value: StepValue }> = new Map();
  readonly #target: StepTarget;

  constructor(seed: number) {
    this.#seed = seed;
    const entries = this.#entries;
    this.#target = {
      get: (key) => entries.get(keyIdentity(key))?.value,
      set: (key, value) => {
        const identity = keyIdentity(key);
        const found = entries.get(identity);
        if (found === undefined) entries.set(identity, { key, value });
        else found.value = value;
      },
      delete: (key) => entries.delete(keyIdentity(key)),
      clear: () => entries.clear(),
      together: (change) => change(),
      undone: () => {},
    };
  }

  advance(): void {
    this.step++;
    applyStep(this.#target, this.#seed, this.step);
  }

  /**
   * The first difference to what was found; undefined where there is none. `hint` is where the difference was one step earlier: it mostly
   * still is there, and looking there first makes a search over thousands of steps a matter of a second.
   */
  difference(found: Found, hint: { at: number } = { at: 0 }): string | undefined {
    const suspect = found[hint.at];
    if (suspect !== undefined) {
      const value = this.#entries.get(keyIdentity(suspect[0]))?.value;
      if (value === undefined || !equalJson(suspect[1], value)) return differenceText(suspect, value);
    }
    let index = 0;
    for (const { key, value } of this.#entries.values()) {
      hint.at = index;
      const entry = found[index++];
      if (entry === undefined) return `${keyText(key)} is missing`;
      if (keyText(entry[0]) !== keyText(key)) return `${keyText(entry[0])} stands where ${keyText(key)} should`;
      if (!equalJson(entry[1], value)) return differenceText(entry, value);
    }
    const more = found[index];
    return more === undefined ? undefined : differenceText(more, undefined);
  }
}

/** What a folder was found to hold, in its order. */
export type Found = readonly (readonly [Key, unknown])[];

function differenceText([key, value]: Found[number], expected: StepValue | undefined): string {
  if (expected === undefined) return `${keyText(key)} is there and should not be`;
  return `${keyText(key)} is ${shown(value)} instead of ${shown(expected)}`;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 200)}...` : text;
}
