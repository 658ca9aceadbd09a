/**
 * Makes what the owner remembers outlive it: facts go into a journal before the changes they belong to go into the pod's log.
 *
 * Questions are carried out in groups; a group is one batch of the pod's log, whole or not at all, and one line of the journal, written
 * first. Of the last line the next owner must therefore find out whether its batch made it into the log. It looks at a witness: one entry
 * that the group changed, with checksums of what it was before and after. All lines before the last are true, because a line is written only
 * after the batch of the one before.
 */
import { Buffer } from 'node:buffer';
import { PodError } from '../core/errors.ts';
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import { crcText } from '../disk/files.ts';
import type { FileSystem } from '../disk/fs.ts';
import { RequestJournal } from '../disk/request-journal.ts';
import { type Fact, Memory } from './memory.ts';
import { errorText } from './protocol.ts';

/** One changed entry, and checksums of its text; empty where it was not there. */
type Witness = readonly [key: Key, before: string, after: string];

/** A line of the journal. */
interface Line {
  /** Left out where the pod did not change: then the line is true. */
  readonly w?: Witness;
  readonly f: readonly Fact[];
}

/** What of a pod is looked at. */
export interface Witnessed {
  /** The JSON text of an entry's value as it is now; undefined where there is no such entry. */
  textOf(key: Key): string | undefined;
}

/** The journal is written anew when it is this long, and long for what it says. */
const JOURNAL_BYTES = 1 << 20;
const JOURNAL_RATIO = 4;

/** What a group of questions did. */
export class Group {
  readonly facts: Fact[] = [];
  readonly #pod: Witnessed;
  readonly #memory: Memory;
  readonly #undo: (() => void)[] = [];
  readonly #before: Map<KeyIdentity, { readonly key: Key; readonly crc: string }> = new Map();

  constructor(pod: Witnessed, memory: Memory) {
    this.#pod = pod;
    this.#memory = memory;
  }

  /**
   * Says that an entry is about to be changed. Each is looked at: what was changed first may be changed back, and a line without a witness
   * would be believed.
   */
  touch(key: Key): void {
    const identity = keyIdentity(key);
    if (!this.#before.has(identity)) this.#before.set(identity, { key, crc: crcOf(this.#pod, key) });
  }

  /** The entries that were touched. */
  *touched(): Generator<Key, void, undefined> {
    for (const { key } of this.#before.values()) yield key;
  }

  note(fact: Fact): void {
    this.#undo.push(this.#memory.apply(fact));
    this.facts.push(fact);
  }

  /** Takes every fact back. */
  undo(): void {
    for (const step of this.#undo.splice(0).reverse()) step();
    this.facts.length = 0;
  }

  /** Takes back the facts from the one with this index on. */
  undoFrom(index: number): void {
    for (const step of this.#undo.splice(index).reverse()) step();
    this.facts.length = index;
  }

  line(): string {
    const witness = this.#witness();
    return JSON.stringify({ ...(witness !== undefined && { w: witness }), f: this.facts } satisfies Line);
  }

  #witness(): Witness | undefined {
    for (const { key, crc } of this.#before.values()) {
      const after = crcOf(this.#pod, key);
      if (after !== crc) return [key, crc, after];
    }
    return undefined;
  }
}

export class Requests {
  readonly memory: Memory;
  readonly #fs: FileSystem;
  readonly #folder: string;
  /** Undefined where the pod's level promises nothing about the death of the process. */
  #journal: RequestJournal | undefined;
  #rewriteAtBytes: number = 0;

  private constructor(fs: FileSystem, folder: string, memory: Memory) {
    this.#fs = fs;
    this.#folder = folder;
    this.memory = memory;
  }

  /**
   * Takes over what the last owner left, as far as it is true.
   *
   * @param keeps whether anything is kept for the next owner
   */
  static open(fs: FileSystem, folder: string, pod: Witnessed, keeps: boolean): Requests {
    const requests = new Requests(fs, folder, keeps ? recall(pod, RequestJournal.read(fs, folder)) : new Memory());
    if (keeps) requests.rewrite();
    else RequestJournal.remove(fs, folder);
    return requests;
  }

  /**
   * Keeps what a group did. To be called when all its changes are made and none of them can be in the log yet.
   *
   * @throws {PodError} `ERR_POD_DISK`: nothing of it is kept
   */
  keep(group: Group): void {
    if (this.#journal === undefined || group.facts.length === 0) return;
    this.#journal.append(group.line());
  }

  /** Writes the journal anew where it has grown. Not while a group is kept and its changes are not in the log: its line would have no witness. */
  tidy(): void {
    if (this.#journal === undefined || this.#journal.bytes < this.#rewriteAtBytes) return;
    this.rewrite();
  }

  rewrite(): void {
    const line = JSON.stringify({ f: [...this.memory.facts()] } satisfies Line);
    const old = this.#journal;
    this.#journal = RequestJournal.replace(this.#fs, this.#folder, line);
    old?.close();
    this.#rewriteAtBytes = Math.max(JOURNAL_BYTES, this.#journal.bytes * JOURNAL_RATIO);
  }

  /** @param forgets nobody is left who could ask again */
  close(forgets: boolean): void {
    this.#journal?.close();
    if (this.#journal !== undefined && forgets) RequestJournal.remove(this.#fs, this.#folder);
    this.#journal = undefined;
  }
}

/** The state that the lines of a journal make. */
function recall(pod: Witnessed, lines: readonly string[] | undefined): Memory {
  const memory = new Memory();
  const parsed = (lines ?? []).map((text) => JSON.parse(text) as Line);
  parsed.forEach(({ w, f }, index) => {
    const verdict = index < parsed.length - 1 || w === undefined ? 'true' : verdictOf(pod, w);
    if (verdict === 'false') return;
    for (const fact of f) {
      if (verdict === 'true') memory.apply(fact);
      else if (fact[0] === 'answer') memory.apply(['answer', fact[1], fact[2], uncertainText(fact[2])]);
    }
  });
  return memory;
}

/** Whether the batch of the last line is in the log. Somebody who does not share may have written since; then nobody can say. */
function verdictOf(pod: Witnessed, [key, before, after]: Witness): 'true' | 'false' | 'uncertain' {
  const now = crcOf(pod, key);
  if (now === after) return 'true';
  return now === before ? 'false' : 'uncertain';
}

function uncertainText(number: number): string {
  const { code, message } = uncertainError();
  return errorText(number, { code, message });
}

export function uncertainError(path?: string): PodError {
  return new PodError(
    'ERR_POD_UNCERTAIN',
    'The owner of the shared pod ended while it carried this call out, and nobody can say whether it took effect. Look at the entry before you repeat it.',
    { path },
  );
}

function crcOf(pod: Witnessed, key: Key): string {
  const text = pod.textOf(key);
  return text === undefined ? '' : crcText(Buffer.from(text));
}
