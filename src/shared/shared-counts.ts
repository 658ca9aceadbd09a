/**
 * The counts and the lists of a shared tracker.
 */
import type { Key } from '../core/key.ts';
import { percent } from '../tracker/counts.ts';
import { pagesOf } from './remote-pages.ts';
import { SharedBase } from './shared-base.ts';

/** What the owner counts. */
type Counts = readonly [total: number, done: number, tried: number, aborted: number, todo: number];

export abstract class SharedCounts<V, K extends Key, O> extends SharedBase<V, K, O> {
  async *abortedKeys(): AsyncIterableIterator<K> {
    for await (const [key] of pagesOf<V, K>(this.caller, 'aborted', false)) yield key;
  }

  abortedItems(): AsyncIterableIterator<[K, V]> {
    return pagesOf<V, K>(this.caller, 'aborted', true);
  }

  async *abortedValues(): AsyncIterableIterator<V> {
    for await (const [, task] of this.abortedItems()) yield task;
  }

  async *doneKeys(): AsyncIterableIterator<K> {
    for await (const [key] of pagesOf<V, K>(this.caller, 'done', false)) yield key;
  }

  doneItems(): AsyncIterableIterator<[K, V]> {
    return pagesOf<V, K>(this.caller, 'done', true);
  }

  async *doneValues(): AsyncIterableIterator<V> {
    for await (const [, task] of this.doneItems()) yield task;
  }

  async *failedKeys(): AsyncIterableIterator<K> {
    for await (const [key] of pagesOf<V, K>(this.caller, 'failed', false)) yield key;
  }

  failedItems(): AsyncIterableIterator<[K, V]> {
    return pagesOf<V, K>(this.caller, 'failed', true);
  }

  numDone(): Promise<number> {
    return this.#count(([, done]) => done);
  }

  numTried(): Promise<number> {
    return this.#count(([, , tried]) => tried);
  }

  numAborted(): Promise<number> {
    return this.#count(([, , , aborted]) => aborted);
  }

  numTodo(): Promise<number> {
    return this.#count(([, , , , todo]) => todo);
  }

  numNotDone(): Promise<number> {
    return this.#count(([total, done]) => total - done);
  }

  numNotTried(): Promise<number> {
    return this.#count(([total, , tried]) => total - tried);
  }

  numNotAborted(): Promise<number> {
    return this.#count(([total, , , aborted]) => total - aborted);
  }

  fractionDone(): Promise<number> {
    return this.#fraction(([, done]) => done);
  }

  fractionTried(): Promise<number> {
    return this.#fraction(([, , tried]) => tried);
  }

  fractionAborted(): Promise<number> {
    return this.#fraction(([, , , aborted]) => aborted);
  }

  fractionTodo(): Promise<number> {
    return this.#fraction(([, , , , todo]) => todo);
  }

  fractionNotDone(): Promise<number> {
    return this.#fraction(([total, done]) => total - done);
  }

  fractionNotTried(): Promise<number> {
    return this.#fraction(([total, , tried]) => total - tried);
  }

  fractionNotAborted(): Promise<number> {
    return this.#fraction(([total, , , aborted]) => total - aborted);
  }

  async percentDone(decimals: number = 2): Promise<string> {
    return percent(await this.fractionDone(), decimals);
  }

  async percentTried(decimals: number = 2): Promise<string> {
    return percent(await this.fractionTried(), decimals);
  }

  async percentAborted(decimals: number = 2): Promise<string> {
    return percent(await this.fractionAborted(), decimals);
  }

  async percentTodo(decimals: number = 2): Promise<string> {
    return percent(await this.fractionTodo(), decimals);
  }

  async percentNotDone(decimals: number = 2): Promise<string> {
    return percent(await this.fractionNotDone(), decimals);
  }

  async percentNotTried(decimals: number = 2): Promise<string> {
    return percent(await this.fractionNotTried(), decimals);
  }

  async percentNotAborted(decimals: number = 2): Promise<string> {
    return percent(await this.fractionNotAborted(), decimals);
  }

  async #count(pick: (counts: Counts) => number): Promise<number> {
    return pick(await this.read<Counts>('counts'));
  }

  /** Of all tasks; 0 where there are none. */
  async #fraction(pick: (counts: Counts) => number): Promise<number> {
    const counts = await this.read<Counts>('counts');
    return counts[0] === 0 ? 0 : pick(counts) / counts[0];
  }
}
