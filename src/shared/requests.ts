/**
 * Makes what the owner remembers outlive it: the facts of a group of questions go into the pod's log, in one batch with the changes that
 * they belong to, so the next owner finds neither without the other.
 *
 * They are kept for clients that outlive the owner, and nobody outlives the machine: the facts of another start of it count for nobody.
 */
import * as z from 'zod';
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import { bootMark, isThisBoot } from '../disk/boot.ts';
import type { Notes } from '../disk/notes.ts';
import { type Fact, Memory } from './memory.ts';

/** Everything is said anew when what is new has become this long, and long for what there is: the next owner has to read it. */
const NEW_CHARACTERS = 1 << 20;
const NEW_RATIO = 4;

/** What a group of questions did. */
export class Group {
  readonly facts: Fact[] = [];
  readonly #memory: Memory;
  readonly #undo: (() => void)[] = [];
  readonly #touched: Map<KeyIdentity, Key> = new Map();

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** Says that an entry is about to be changed. */
  touch(key: Key): void {
    this.#touched.set(keyIdentity(key), key);
  }

  /** The entries that were touched. */
  touched(): Iterable<Key> {
    return this.#touched.values();
  }

  note(fact: Fact): void {
    this.#undo.push(this.#memory.apply(fact));
    this.facts.push(fact);
  }

  /** Takes every fact back. */
  undo(): void {
    this.undoFrom(0);
  }

  /** Takes back the facts from the one with this index on. */
  undoFrom(index: number): void {
    for (const step of this.#undo.splice(index).reverse()) step();
    this.facts.length = index;
  }
}

export class Requests {
  readonly memory: Memory;
  /** Undefined where the pod's level promises nothing about the death of the process. */
  readonly #notes: Notes | undefined;
  /** The notes do not say all that there is, so the next one has to. */
  #isBehind: boolean = true;
  #newCharacters: number = 0;
  #allCharacters: number = 0;

  /**
   * Takes over what the last owner left.
   *
   * @param notes those of the pod; left out, nothing is kept for the next owner
   */
  constructor(notes: Notes | undefined) {
    this.memory = (notes && recall(notes.take())) ?? new Memory();
    this.#notes = notes;
    notes?.keep(() => this.#all());
  }

  /** Keeps what a group did, in the batch that has its changes. To be called in the transaction that makes them. */
  keep({ facts }: Group): void {
    if (this.#notes === undefined || facts.length === 0) return;
    const text = JSON.stringify(facts);
    this.#newCharacters += text.length;
    this.#notes.add(text);
    if (this.#isBehind || this.#newCharacters > Math.max(NEW_CHARACTERS, NEW_RATIO * this.#allCharacters)) this.renew();
  }

  /** What was kept of a group is not so any more. */
  renew(): void {
    this.#notes?.renew();
  }

  /** Makes a fact so that can wait for the next group. */
  noteLater(fact: Fact): void {
    this.memory.apply(fact);
    this.#isBehind = true;
  }

  /** @param forgets nobody is left who could ask again */
  close(forgets: boolean): void {
    if (forgets) this.#notes?.keep(undefined);
  }

  #all(): string {
    const text = JSON.stringify({ boot: bootMark(), facts: [...this.memory.facts()] } satisfies WholeNote);
    this.#isBehind = false;
    this.#newCharacters = 0;
    this.#allCharacters = text.length;
    return text;
  }
}

/** The note that says everything; the others are lists of facts alone. */
interface WholeNote {
  readonly boot: string;
  readonly facts: readonly Fact[];
}

const keySchema: z.ZodType<Key> = z.lazy(() => z.union([z.string(), z.int(), z.array(keySchema).readonly()]));
const factsSchema = z.array(
  z.union([
    z.tuple([z.literal('join'), z.string(), z.int()]),
    z.tuple([z.literal('gone'), z.string()]),
    z.tuple([z.literal('answer'), z.string(), z.int(), z.string()]),
    z.tuple([z.literal('claim'), z.string(), z.string(), keySchema]),
    z.tuple([z.literal('end'), z.string()]),
    z.tuple([z.literal('lock'), z.string()]),
    z.tuple([z.literal('unlock')]),
  ]),
);
const wholeSchema = z.strictObject({ boot: z.string(), facts: factsSchema });

/** The state that notes make; undefined where they are of another start of the machine, or not of ours: who asks again is told that nobody knows. */
function recall(texts: readonly string[]): Memory | undefined {
  const [first, ...later] = texts;
  const whole = first === undefined ? undefined : wholeSchema.safeParse(parse(first)).data;
  if (whole === undefined || !isThisBoot(whole.boot)) return undefined;
  const memory = new Memory();
  for (const fact of whole.facts) memory.apply(fact);
  for (const text of later) {
    const facts = factsSchema.safeParse(parse(text)).data;
    if (facts === undefined) return undefined;
    for (const fact of facts) memory.apply(fact);
  }
  return memory;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
