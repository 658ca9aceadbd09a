/**
 * What the owner of a shared pod must remember beside the pod: who asked what and was told what, who has claimed what, who has the lock.
 *
 * It is a state made of facts, so that the next owner makes the same state of the facts in the log's notes.
 */
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';

/** One thing that became so. */
export type Fact =
  | readonly ['join', client: string, pid: number]
  | readonly ['gone', client: string]
  /** The question was carried out; the text is that of its answer. */
  | readonly ['answer', client: string, number: number, text: string]
  | readonly ['claim', token: string, client: string, key: Key]
  | readonly ['end', token: string]
  | readonly ['lock', client: string]
  | readonly ['unlock'];

/** A task that somebody works on. */
export interface Claim {
  readonly token: string;
  readonly client: string;
  readonly key: Key;
}

/** Answers that a client may ask for again, by the number of the question. */
export class Answers extends Map<number, string> {
  /** How long they are together. */
  characters: number = 0;

  override set(number: number, text: string): this {
    this.delete(number);
    this.characters += text.length;
    return super.set(number, text);
  }

  override delete(number: number): boolean {
    this.characters -= this.get(number)?.length ?? 0;
    return super.delete(number);
  }
}

/** What is known of a client. */
export interface KnownClient {
  readonly pid: number;
  readonly answers: Answers;
}

export class Memory {
  readonly clients: Map<string, KnownClient> = new Map();
  readonly claims: Map<string, Claim> = new Map();
  readonly #byKey: Map<KeyIdentity, Claim> = new Map();
  /** Who has the lock. */
  lockedBy: string | undefined;

  claimOf(key: Key): Claim | undefined {
    return this.claims.size === 0 ? undefined : this.#byKey.get(keyIdentity(key));
  }

  claimsOf(client: string): Claim[] {
    return [...this.claims.values()].filter((claim) => claim.client === client);
  }

  /** Makes a fact so. Returns what undoes it. */
  apply(fact: Fact): () => void {
    switch (fact[0]) {
      case 'join':
        return put(this.clients, fact[1], {
          pid: fact[2],
          answers: this.clients.get(fact[1])?.answers ?? new Answers(),
        });
      case 'gone':
        return put(this.clients, fact[1], undefined);
      case 'answer': {
        const answers = this.clients.get(fact[1])?.answers;
        return answers === undefined ? () => {} : put(answers, fact[2], fact[3]);
      }
      case 'claim': {
        const claim: Claim = { token: fact[1], client: fact[2], key: fact[3] };
        return both(put(this.claims, claim.token, claim), put(this.#byKey, keyIdentity(claim.key), claim));
      }
      case 'end': {
        const claim = this.claims.get(fact[1]);
        if (claim === undefined) return () => {};
        return both(put(this.claims, claim.token, undefined), put(this.#byKey, keyIdentity(claim.key), undefined));
      }
      default: {
        const before = this.lockedBy;
        this.lockedBy = fact[0] === 'lock' ? fact[1] : undefined;
        return () => {
          this.lockedBy = before;
        };
      }
    }
  }

  /** Forgets the answers that a client has: all up to a number, and some beyond it. */
  acknowledge(client: string, upTo: number, beyond: readonly number[] = []): void {
    const answers = this.clients.get(client)?.answers;
    if (answers === undefined) return;
    for (const number of beyond) answers.delete(number);
    // In the order in which they were given, which is nearly that of their numbers: those behind are forgotten a little later.
    for (const number of answers.keys()) {
      if (number > upTo) break;
      answers.delete(number);
    }
  }

  /** The facts that make this state. */
  *facts(): Generator<Fact, void, undefined> {
    for (const [client, { pid, answers }] of this.clients) {
      yield ['join', client, pid];
      for (const [number, text] of answers) yield ['answer', client, number, text];
    }
    for (const { token, client, key } of this.claims.values()) yield ['claim', token, client, key];
    if (this.lockedBy !== undefined) yield ['lock', this.lockedBy];
  }
}

/** Sets or removes a member. Returns what puts back what was there. */
function put<K, V>(map: Map<K, V>, key: K, value: V | undefined): () => void {
  const before = map.get(key);
  if (value === undefined) map.delete(key);
  else map.set(key, value);
  return () => {
    if (before === undefined) map.delete(key);
    else map.set(key, before);
  };
}

function both(first: () => void, second: () => void): () => void {
  return () => {
    first();
    second();
  };
}
