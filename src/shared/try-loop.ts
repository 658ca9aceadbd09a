/**
 * The loop that hands tasks of a shared tracker out; the client's end of it.
 */
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import type { Caller } from './caller.ts';
import type { SharedLoopOptions } from './shared-options.ts';

/** A task as it was handed out. */
type Handed<V, K extends Key> = readonly [token: string, key: K, value?: V];

/** The claims of a handle: which token belongs to which task. */
export class TokenBook {
  readonly #tokens: Map<KeyIdentity, string> = new Map();
  readonly #waiting: Set<() => void> = new Set();

  /** The token of a task that was handed out to this handle. One that was lost stays, so that a late word about the task is known for one. */
  tokenOf(key: Key): string | undefined {
    return this.#tokens.get(keyIdentity(key));
  }

  keep(key: Key, token: string): void {
    this.#tokens.set(keyIdentity(key), token);
  }

  /** The task is no more in this handle's hands. */
  drop(key: Key, token: string): void {
    if (this.tokenOf(key) !== token) return;
    this.#tokens.delete(keyIdentity(key));
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Resolves when a token is dropped. */
  dropped(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

let loops = 0;

/**
 * An iteration over claimed tasks. It is no generator, because one that waits cannot be told to end.
 */
export class TryLoop<V, K extends Key, R> implements AsyncIterableIterator<R> {
  readonly #caller: Caller;
  readonly #tokens: TokenBook;
  readonly #options: SharedLoopOptions;
  readonly #withValues: boolean;
  readonly #what: (key: K, value: V) => R;
  readonly #name: string = `loop ${++loops}`;
  readonly #sinceMs: number;
  /** Claimed and not handed out yet. */
  #claimed: Handed<V, K>[] = [];
  /** Handed out, as far as the loop has to see to them. */
  #out: Handed<V, K>[] = [];
  #count: number = 0;
  #ended: boolean = false;
  #asked: boolean = false;
  #wake: () => void = () => {};

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
    const { limit = Number.POSITIVE_INFINITY, signal, concurrency } = this.#options;
    this.#out = this.#out.filter(([token, key]) => this.#tokens.tokenOf(key) === token);
    while (concurrency !== undefined && this.#out.length >= concurrency && !this.#isOver(limit, signal)) {
      await this.#tokens.dropped(signal);
      this.#out = this.#out.filter(([token, key]) => this.#tokens.tokenOf(key) === token);
    }
    if (this.#isOver(limit, signal)) return await this.return();
    if (this.#claimed.length === 0 && !(await this.#claim(limit, signal, concurrency))) return await this.return();
    const handed = this.#claimed.shift() as Handed<V, K>;
    const [token, key, value] = handed;
    this.#tokens.keep(key, token);
    this.#out.push(handed);
    this.#count++;
    return { value: this.#what(key, value as V), done: false };
  }

  /** Ends the loop. What it had claimed and not handed out is as if it had not been claimed. */
  async return(): Promise<IteratorResult<R, undefined>> {
    if (!this.#ended) {
      this.#ended = true;
      this.#wake();
      const passed = this.#options.concurrency === undefined ? this.#letGo() : [];
      const unused = this.#claimed.map(([token]) => token);
      this.#claimed = [];
      if (this.#asked && !this.#caller.closed) await this.#caller.ask('leave', [this.#name, passed, unused], true);
    }
    return { value: undefined, done: true };
  }

  #isOver(limit: number, signal: AbortSignal | undefined): boolean {
    return this.#ended || this.#count >= limit || signal?.aborted === true;
  }

  /** Asks for tasks; false where there are none any more. */
  async #claim(limit: number, signal: AbortSignal | undefined, concurrency: number | undefined): Promise<boolean> {
    const { allowAborted = false, prefetch = 1 } = this.#options;
    const passed = concurrency === undefined ? this.#letGo() : [];
    const room = Math.min(prefetch, limit - this.#count, (concurrency ?? prefetch) - this.#out.length || prefetch);
    this.#asked = true;
    const args = [this.#name, this.#sinceMs, Math.max(1, room), allowAborted, this.#withValues, passed];
    const asking = this.#caller.ask<Handed<V, K>[] | null>('claim', args, true);
    const handed = await this.#unlessEnded(asking, signal);
    if (handed === undefined) {
      // Nobody waits for it any more, so what still comes is given back.
      asking.then(
        (late) => this.#caller.ask('release', ['unused', (late ?? []).map(([token]) => token)], true).catch(() => {}),
        () => {},
      );
      return false;
    }
    if (handed === null) {
      this.#ended = true; // The owner knows.
      return false;
    }
    this.#claimed = handed;
    return true;
  }

  /** Undefined where the loop was ended meanwhile. */
  async #unlessEnded<T>(asking: Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> {
    const ended = new Promise<undefined>((resolve) => {
      this.#wake = () => resolve(undefined);
      signal?.addEventListener('abort', this.#wake, { once: true });
    });
    try {
      return await Promise.race([asking, ended]);
    } finally {
      signal?.removeEventListener('abort', this.#wake);
    }
  }

  /** The loop has gone on from what it handed out. Returns the tokens of what nobody spoke about. */
  #letGo(): string[] {
    const tokens = this.#out.map(([token, key]) => {
      this.#tokens.drop(key, token);
      return token;
    });
    this.#out = [];
    return tokens;
  }
}
