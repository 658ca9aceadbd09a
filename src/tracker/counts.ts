/**
 * The counts of a tracker, and what follows from them: fractions of all tasks, and percentages as texts.
 */
import type { Key } from '../core/key.ts';
import type { PodEngine } from '../pod/engine.ts';
import { type HANDLE_DOOR, PersistentOrderedDict } from '../pod/pod.ts';

/**
 * The pod's class without its static side: a tracker opens with other options and gives back another type, which TypeScript does not
 * allow for a static method of the same name.
 */
const TrackerBase: new <V, K extends Key>(
  door: typeof HANDLE_DOOR,
  engine: PodEngine<V, K>,
) => PersistentOrderedDict<V, K> = PersistentOrderedDict;

/** What is counted; each costs the same at any size. */
export interface Counts {
  readonly done: { readonly size: number };
  readonly aborted: { readonly size: number };
  readonly todo: { readonly size: number };
  readonly tried: number;
}

/** A pod whose entries are counted by their record. */
export abstract class CountedPod<V, K extends Key> extends TrackerBase<V, K> {
  readonly #counts: Counts;

  constructor(door: typeof HANDLE_DOOR, engine: PodEngine<V, K>, counts: Counts) {
    super(door, engine);
    this.#counts = counts;
  }

  numDone(): number {
    return this.#counts.done.size;
  }

  /** Tasks that were handed out at least once. */
  numTried(): number {
    return this.#counts.tried;
  }

  numAborted(): number {
    return this.#counts.aborted.size;
  }

  /** What `todoKeys()` would yield now. */
  numTodo(): number {
    return this.#counts.todo.size;
  }

  numNotDone(): number {
    return this.size - this.numDone();
  }

  numNotTried(): number {
    return this.size - this.numTried();
  }

  numNotAborted(): number {
    return this.size - this.numAborted();
  }

  fractionDone(): number {
    return this.#fraction(this.numDone());
  }

  fractionTried(): number {
    return this.#fraction(this.numTried());
  }

  fractionAborted(): number {
    return this.#fraction(this.numAborted());
  }

  fractionTodo(): number {
    return this.#fraction(this.numTodo());
  }

  fractionNotDone(): number {
    return this.#fraction(this.numNotDone());
  }

  fractionNotTried(): number {
    return this.#fraction(this.numNotTried());
  }

  fractionNotAborted(): number {
    return this.#fraction(this.numNotAborted());
  }

  /** As a text, such as `66.67 %`. */
  percentDone(decimals: number = 2): string {
    return percent(this.fractionDone(), decimals);
  }

  percentTried(decimals: number = 2): string {
    return percent(this.fractionTried(), decimals);
  }

  percentAborted(decimals: number = 2): string {
    return percent(this.fractionAborted(), decimals);
  }

  percentTodo(decimals: number = 2): string {
    return percent(this.fractionTodo(), decimals);
  }

  percentNotDone(decimals: number = 2): string {
    return percent(this.fractionNotDone(), decimals);
  }

  percentNotTried(decimals: number = 2): string {
    return percent(this.fractionNotTried(), decimals);
  }

  percentNotAborted(decimals: number = 2): string {
    return percent(this.fractionNotAborted(), decimals);
  }

  #fraction(count: number): number {
    return this.size === 0 ? 0 : count / this.size;
  }
}

/** A fraction as a text such as `66.67 %`. */
export function percent(fraction: number, decimals: number): string {
  return `${(fraction * 100).toFixed(decimals)} %`;
}
