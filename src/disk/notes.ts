/**
 * Notes: what somebody who has the folder open keeps in its log beside the entries, each in one batch with the changes that it belongs to.
 *
 * They are for whoever opens the folder next and finds the log; folding drops them, unless somebody still keeps notes. One note
 * says everything, others say what is new since. What they say is nobody's business here but that it is JSON.
 */
import type { Buffer } from 'node:buffer';
import type { LogWriter } from './log-writer.ts';

/** A record of a note; its text is still in the bytes that were read. */
export interface NoteRecord {
  readonly s: number;
  /** It says everything, so that those before it count no more. */
  readonly isWhole: boolean;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** The beginning of a record is never longer. */
const HEAD_BYTES_MAX = 40;
const HEAD = /^\{"s":(0|[1-9]\d{0,15}),"o":"note","(all|new)":/;
const BRACE = 0x7d;

/** Takes a line of the log apart, or returns undefined where it is no note. Its checksum was verified. */
export function parseNote(bytes: Buffer, start: number, end: number): NoteRecord | undefined {
  const head = HEAD.exec(bytes.toString('latin1', start, Math.min(end, start + HEAD_BYTES_MAX)));
  if (head === null || bytes[end - 1] !== BRACE) return undefined;
  return { s: Number(head[1]), isWhole: head[2] === 'all', bytes, start: start + head[0].length, end: end - 1 };
}

/** The JSON texts of the notes that count, of all that a log holds: the last one that says everything, and those behind it. */
export function notesThatCount(records: readonly NoteRecord[]): string[] {
  const whole = records.findLastIndex(({ isWhole }) => isWhole);
  return records.slice(Math.max(whole, 0)).map(({ bytes, start, end }) => bytes.toString('utf8', start, end));
}

export class Notes {
  /** What the last one kept, until this one is asked for it or has forgotten it. */
  #found: readonly string[];
  /** Gives the JSON text of a note that says everything; undefined where nobody keeps notes. */
  #sayAll: (() => string) | undefined;
  #isAllDue: boolean = false;
  #pending: string[] = [];
  readonly #onUndo: (step: () => void) => void;

  /**
   * @param found the notes that count, of the log as it was found
   * @param onUndo adds a step to what undoes the transaction that is under way
   */
  constructor(found: readonly string[], onUndo: (step: () => void) => void) {
    this.#found = found;
    this.#onUndo = onUndo;
  }

  /** The notes that were found, once. Whoever opens a folder and keeps no notes takes them, too, and they go when it is folded. */
  take(): readonly string[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }

  get areKept(): boolean {
    return this.#sayAll !== undefined;
  }

  get hasPending(): boolean {
    return this.#isAllDue || this.#pending.length > 0;
  }

  /** Keeps notes from now on, or no more. Those that were found count until the first that says everything. */
  keep(sayAll: (() => string) | undefined): void {
    this.#sayAll = sayAll;
    this.#isAllDue = false;
    this.#pending = [];
  }

  /** Adds the JSON text of a note to the next batch, which also has the changes that are pending. */
  add(text: string): void {
    const { length } = this.#pending;
    this.#pending.push(text);
    this.#onUndo(() => {
      this.#pending.length = length;
    });
  }

  /** The next batch is to say everything anew. */
  renew(): void {
    this.#isAllDue = this.areKept;
  }

  /** Adds what is pending to a batch. Returns how many records it took. */
  addPending(log: LogWriter): number {
    if (this.#isAllDue) return this.addAll(log);
    for (const text of this.#pending) log.add(`"o":"note","new":${text}`);
    return this.#pending.length;
  }

  /** Adds the note that says everything, where notes are kept. Returns how many records it took. */
  addAll(log: LogWriter): number {
    if (this.#sayAll !== undefined) {
      log.add(`"o":"note","all":${this.#sayAll()}`);
      return 1;
    }
    // Opening in another layout writes everything anew before anybody could ask.
    this.#found.forEach((text, index) => {
      log.add(`"o":"note","${index === 0 ? 'all' : 'new'}":${text}`);
    });
    return this.#found.length;
  }

  /** Everything is in the log. */
  appended(): void {
    this.#isAllDue = false;
    this.#pending = [];
  }
}
