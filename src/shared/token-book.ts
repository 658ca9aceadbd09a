/**
 * The claims that a handle of a shared tracker has on tasks that were handed out to it, and the words that end them.
 *
 * A word takes the claim of the loop's next task with it where the loop is about to ask for that: one question, one batch of the log, one
 * round trip.
 */
import { PodError } from '../core/errors.ts';
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import type { Caller } from './caller.ts';

/** What says how a task went. */
export type Word = 'markDone' | 'fail' | 'abort';

/** A task as the owner hands it out. */
export type Handed = readonly [token: string, key: Key, value?: unknown];

/** What a word says of the next task that is to be claimed with it. */
export type NextClaim = readonly [loop: string, sinceMs: number, allowAborted: boolean, withValues: boolean];

/** The loop that handed a task out. */
export interface TaskLoop {
  /** A word about one of its tasks is about to be asked. Returns what to claim with it, or undefined where it goes by itself. */
  wordAsked(): NextClaim | undefined;
  /** The loop has a task less to see to. */
  taskEnded(token: string): void;
  /** The claim of a task was lost. */
  taskLost(token: string): void;
  /**
   * The word was answered, or refused.
   *
   * @param next what was claimed with it; null where nothing was there to claim, undefined where nothing was asked for
   */
  wordAnswered(next: Handed | null | undefined): void;
}

interface Held {
  readonly token: string;
  /** Undefined where the program named the task itself (`shouldTry`). */
  readonly loop: TaskLoop | undefined;
}

export class TokenBook {
  readonly #held: Map<KeyIdentity, Held> = new Map();

  keep(key: Key, token: string, loop?: TaskLoop): void {
    this.#held.set(keyIdentity(key), { token, loop });
  }

  /** The task is no more in this handle's hands. */
  drop(key: Key, token: string): void {
    const identity = keyIdentity(key);
    const held = this.#held.get(identity);
    if (held?.token !== token) return;
    this.#held.delete(identity);
    held.loop?.taskEnded(token);
  }

  /** Says how a task went. A claim that was lost is remembered, so that another word about the task is known for a late one. */
  async say<R>(caller: Caller, word: Word, key: Key, args: readonly unknown[]): Promise<R> {
    const held = this.#held.get(keyIdentity(key));
    const given = [key, ...args, held?.token ?? null];
    if (held === undefined) return await caller.ask<R>(word, given, true);
    const { token, loop } = held;
    const nextClaim = loop?.wordAsked();
    let next: Handed | null | undefined = nextClaim === undefined ? undefined : null;
    try {
      let result: R;
      if (nextClaim === undefined) result = await caller.ask<R>(word, given, true);
      else [result, next] = await caller.ask<[R, Handed | null]>('wordAndClaim', [word, given, ...nextClaim], true);
      this.drop(key, token);
      return (result ?? undefined) as R; // JSON has no undefined.
    } catch (error) {
      // Of a lock that was lost no key is named.
      if (error instanceof PodError && error.code === 'ERR_POD_STALE' && error.key !== undefined) loop?.taskLost(token);
      throw error;
    } finally {
      loop?.wordAnswered(next);
    }
  }
}
