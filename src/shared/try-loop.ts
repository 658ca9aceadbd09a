/**
 * The loop that hands tasks of a shared tracker out; the client's end of it.
 *
 * The word that ends the claim of a task takes the claim of the next one with it, where the program is likely to ask for that at once: where
 * it waits for it already, or asked in the turn of the answer the last time. Nobody else can have a task that was claimed so. So if it is not
 * asked for in the turn in which it came, it is given back as if it had not been claimed, and the next word goes by itself.
 */
import type { Key } from '../core/key.ts';
import { Bell } from './bell.ts';
import type { Caller } from './caller.ts';
import type { SharedLoopOptions } from './shared-options.ts';
import type { Handed, NextClaim, TaskLoop, TokenBook } from './token-book.ts';

let loops = 0;

/**
 * An iteration over claimed tasks. It is no generator, because one that waits cannot be told to end.
 */
export class TryLoop<V, K extends Key, R> implements AsyncIterableIterator<R>, TaskLoop {
  readonly #caller: Caller;
  readonly #tokens: TokenBook;
  readonly #options: SharedLoopOptions;
  readonly #withValues: boolean;
  readonly #what: (key: K, value: V) => R;
  readonly #name: string = `loop ${++loops}`;
  readonly #sinceMs: number;
  /** Claimed and not handed out yet. */
  #claimed: Handed[] = [];
  /** The same, claimed together with a word. */
  #ahead: Handed[] = [];
  /** Handed out, as far as the loop has to see to them: their keys by their tokens. */
  readonly #out: Map<string, Key> = new Map();
  #count: number = 0;
  #ended: boolean = false;
  #asked: boolean = false;
  /** How often `next` was called; and how many of these calls, claims and words wait for an answer. */
  #calls: number = 0;
  #callsUnderWay: number = 0;
  #claimsUnderWay: number = 0;
  #wordsUnderWay: number = 0;
  /** Of those words, the ones that claim the next task. */
  #aheadUnderWay: number = 0;
  /** A word was answered in this turn. */
  #heardWord: boolean = false;
  /** The last time that a word was answered, the program went on in the same turn. */
  #isPrompt: boolean = false;
  /** Rings when the loop has a task less to see to, or one more to hand out. */
  readonly #moved: Bell = new Bell();
  readonly #over: Bell = new Bell();

  constructor(
    caller: Caller,
    tokens: TokenBook,
    options: SharedLoopOptions,
    withValues: boolean,
    nowMs: number,
    what: (key: K, value: V) => R,
  ) {
    this.#caller = caller;
    this.#tokens = tokens;
    this.#options = options;
    this.#withValues = withValues;
    this.#sinceMs = nowMs;
    this.#what = what;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<R, undefined>> {
    if (this.#heardWord || this.#wordsUnderWay > 0) this.#isPrompt = true;
    this.#calls++;
    this.#callsUnderWay++;
    try {
      while (this.#mustWait && !this.#isOver) await this.#moved.until(undefined, this.#options.signal);
      const isThere = !this.#isOver && (this.#ahead.length + this.#claimed.length > 0 || (await this.#claim()));
      return isThere ? { value: this.#handOut(), done: false } : await this.return();
    } finally {
      this.#callsUnderWay--;
    }
  }

  /** Ends the loop. What it had claimed and not handed out is as if it had not been claimed. */
  async return(): Promise<IteratorResult<R, undefined>> {
    if (!this.#ended) {
      this.#ended = true;
      this.#over.ring();
      this.#moved.ring();
      while (this.#aheadUnderWay > 0) await this.#moved.until();
      const passed = this.#options.concurrency === undefined ? this.#letGo() : [];
      const unused = this.#takeUnused();
      if (this.#asked && !this.#caller.closed) {
        await this.#caller.ask('leave', [this.#name, passed, unused], true).finally(() => this.#forget(unused));
      }
    }
    return { value: undefined, done: true };
  }

  // ---- Words about its tasks.

  wordAsked(): NextClaim | undefined {
    this.#wordsUnderWay++;
    const { limit = Number.POSITIVE_INFINITY, allowAborted = false, prefetch = 1 } = this.#options;
    const isLikely = this.#isPrompt || this.#callsUnderWay > 0;
    // Whoever claims several at once saves the round trips so.
    const isAlone = prefetch === 1 && this.#claimsUnderWay === 0 && this.#claimed.length === 0;
    const isRoom = this.#count + this.#ahead.length + this.#aheadUnderWay < limit;
    if (!isLikely || !isAlone || !isRoom || this.#isOver) return undefined;
    this.#aheadUnderWay++;
    return [this.#name, this.#sinceMs, allowAborted, this.#withValues];
  }

  taskEnded(token: string): void {
    this.#out.delete(token);
    this.#moved.ring();
  }

  taskLost(token: string): void {
    // A loop without `concurrency` lets it go with its next step.
    if (this.#options.concurrency !== undefined) this.taskEnded(token);
  }

  wordAnswered(next: Handed | null | undefined): void {
    this.#wordsUnderWay--;
    if (next !== undefined) this.#aheadUnderWay--;
    if (next != null) {
      this.#ahead.push(next);
      this.#caller.unused.add(next[0]);
    }
    this.#moved.ring();
    this.#heardWord = true;
    const calls = this.#calls;
    setImmediate(() => {
      this.#heardWord = false;
      if (this.#calls === calls && this.#callsUnderWay === 0) this.#isPrompt = false;
      if (this.#ahead.length > 0 && !this.#ended) this.#giveBack(this.#ahead.splice(0));
    });
  }

  // ---- Inside.

  get #isOver(): boolean {
    const { limit = Number.POSITIVE_INFINITY, signal } = this.#options;
    return this.#ended || this.#count >= limit || signal?.aborted === true;
  }

  /** Whether nothing can be handed out or claimed before something moves. */
  get #mustWait(): boolean {
    if (this.#ahead.length > 0) return false;
    return this.#aheadUnderWay > 0 || this.#out.size >= (this.#options.concurrency ?? Number.POSITIVE_INFINITY);
  }

  #handOut(): R {
    const handed = (this.#ahead.shift() ?? this.#claimed.shift()) as Handed;
    const [token, key, value] = handed;
    this.#caller.unused.delete(token);
    this.#tokens.keep(key, token, this);
    this.#out.set(token, key);
    this.#count++;
    return this.#what(key as K, value as V);
  }

  /** Asks for tasks; false where there are none any more. */
  async #claim(): Promise<boolean> {
    const { limit = Number.POSITIVE_INFINITY, signal, concurrency } = this.#options;
    const { allowAborted = false, prefetch = 1 } = this.#options;
    const passed = concurrency === undefined ? this.#letGo() : [];
    const room = Math.min(prefetch, limit - this.#count, (concurrency ?? prefetch) - this.#out.size || prefetch);
    this.#asked = true;
    const args = [this.#name, this.#sinceMs, Math.max(1, room), allowAborted, this.#withValues, passed];
    this.#claimsUnderWay++;
    const asking = this.#caller.ask<Handed[] | null>('claim', args, true).finally(() => {
      this.#claimsUnderWay--;
    });
    const handed = await this.#over.until(asking, signal);
    if (handed === undefined) {
      // Nobody waits for it any more, so what still comes is given back.
      asking.then(
        (late) => this.#giveBack(late ?? []),
        () => {},
      );
      return false;
    }
    if (handed === null) {
      this.#ended = true; // The owner knows.
      return false;
    }
    for (const [token] of handed) this.#caller.unused.add(token);
    this.#claimed.push(...handed);
    return true;
  }

  /** Gives tasks back that were not handed out. */
  #giveBack(tasks: readonly Handed[]): void {
    if (tasks.length === 0) return;
    const tokens = tasks.map(([token]) => token);
    for (const token of tokens) this.#caller.unused.add(token);
    // Where the handle is closed, these go with its good-bye, and only then this promise is heard.
    const forget = (): void => this.#forget(tokens);
    this.#caller.ask('release', ['unused', tokens], true).then(forget, forget);
  }

  /** The tokens of what was claimed and not handed out; nor will it be. */
  #takeUnused(): string[] {
    return [...this.#ahead.splice(0), ...this.#claimed.splice(0)].map(([token]) => token);
  }

  /** The owner has heard that these were not used. */
  #forget(tokens: readonly string[]): void {
    for (const token of tokens) this.#caller.unused.delete(token);
  }

  /** The loop has gone on from what it handed out. Returns the tokens of what nobody spoke about. */
  #letGo(): string[] {
    const out = [...this.#out];
    for (const [token, key] of out) this.#tokens.drop(key, token);
    this.#out.clear();
    return out.map(([token]) => token);
  }
}
