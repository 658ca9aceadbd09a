/**
 * One entry: a key with its value, its place in the order, and its views. It exists only while somebody needs it; what is always there is
 * its row (`rows.ts`).
 */
import { PodError } from './errors.ts';
import { DEPTH_MAX, isTooDeep, type Json } from './json.ts';
import type { Key, KeyIdentity } from './key.ts';
import { TrackedValue } from './track.ts';

/** Where lines lie: a text in memory, or a file that is read when it is asked for. */
export interface TextSource {
  /** The JSON text of the key in the line at a position. `check` is the crc of the line's bytes, where the source wants one. */
  keyTextAt(position: number, length: number, check: number): string;
  /** The JSON text of the value in the line at a position. */
  textAt(position: number, length: number, check: number): string;
}

/** An entry as it was found on disk. */
export interface LoadedEntry {
  readonly key: Key;
  readonly shard: number;
  readonly source: TextSource;
  /** Where its line begins, with the text of its key, and how long it is, up to the end of its value. */
  readonly position: number;
  readonly length: number;
  readonly check: number;
}

/** What an entry tells the table it is in. */
export interface EntryHome<V, K extends Key> {
  readonly owner: {
    /** Throws where nothing may be changed now. */
    beforeChange(): void;
    detachedError(key: Key): PodError;
    located(error: unknown, key: unknown): unknown;
  };
  entryWillChange(entry: Entry<V, K>): void;
  entryDidChange(entry: Entry<V, K>): void;
  /** The JSON text of an entry's value, from where its line lies. */
  textOf(entry: Entry<V, K>): string;
  /** The slot of an entry, also of one that was let go; -1 where it is not in the table. */
  slotOf(entry: Entry<V, K>): number;
  shardOf(slot: number): number;
  stateOf(slot: number): number;
  setState(slot: number, state: number): void;
  /** Takes an entry back that had been let go while somebody held a view of it; throws where its value is another one by now. */
  takeBack(entry: Entry<V, K>): void;
  /** A value from disk, checked against the schema. */
  checked(value: unknown, key: Key): unknown;
}

/** Stands for a value whose text was not parsed yet. */
const UNREAD = Symbol('unread');

/** One key with its value, its place, and its views. */
export class Entry<V, K extends Key> extends TrackedValue {
  readonly key: K;
  readonly identity: KeyIdentity;
  /** Insertion number: higher means later; never given twice. */
  readonly number: number;
  /** Its row, or -1 when it is not in the table, or was let go. */
  slot: number = -1;
  /** It was let go to save memory: the table may have made another entry for the row since. */
  adrift: boolean = false;
  /** It is in the table's set of changes since the last append already, so a further change has nothing to note. */
  touched: boolean = false;
  /** It differs from the last sync point, so the table keeps it. */
  unsynced: boolean = false;
  /** How many keep it from being let go, because they know it by this object. */
  pins: number = 0;
  /** What it weighs among the clean entries that the table keeps; 0 where it is not among them. */
  weight: number = 0;
  /** Somebody asked for it since it was last thought of letting it go. */
  used: boolean = false;
  #lastShard: number = 0;
  readonly #home: EntryHome<V, K>;

  constructor(home: EntryHome<V, K>, key: K, identity: KeyIdentity, number: number, root: unknown = UNREAD) {
    super(root);
    this.#home = home;
    this.key = key;
    this.identity = identity;
    this.number = number;
  }

  /** The shard it lies in on disk, or lay in when it was deleted. */
  get shard(): number {
    return this.slot < 0 ? this.#lastShard : this.#home.shardOf(this.slot);
  }

  /** It is no longer in the table. */
  leave(lastShard: number): void {
    this.#lastShard = lastShard;
    this.slot = -1;
  }

  /** What the observer derived from the value, or -1. */
  get state(): number {
    const slot = this.#home.slotOf(this);
    return slot < 0 ? -1 : this.#home.stateOf(slot);
  }

  set state(state: number) {
    if (this.slot >= 0) this.#home.setState(this.slot, state);
  }

  /** The value as a caller may see it. */
  get value(): V {
    if (this.root === UNREAD) this.#read();
    return this.view() as V;
  }

  /** The plain value itself. Only for code that reads it at once and keeps nothing of it. */
  get plain(): Json {
    if (this.root === UNREAD) this.#read();
    return this.root as Json;
  }

  /** The value's JSON text: of a clean value as it lies on the disk, of any other from memory, whatever the disk has become. */
  get text(): string {
    return this.root === UNREAD || !this.unsynced ? this.#home.textOf(this) : JSON.stringify(this.root);
  }

  /** The value alone, without the copy a view would need; for looking at many entries once. */
  peek(): Json {
    return this.root === UNREAD ? this.#parse() : (this.root as Json);
  }

  /** Puts another plain value in place. */
  replace(root: unknown): void {
    this.replaceRoot(root);
  }

  #read(): void {
    this.root = this.#home.checked(this.#parse(), this.key);
  }

  #parse(): Json {
    try {
      return parseValue(this.#home.textOf(this), this.key);
    } catch (error) {
      throw this.located(error);
    }
  }

  protected override requireChangeable(): void {
    this.#requireAttached();
    this.#home.owner.beforeChange();
  }

  protected override beforeChange(): void {
    this.#requireAttached();
    this.#home.entryWillChange(this);
  }

  #requireAttached(): void {
    if (this.adrift) this.#home.takeBack(this);
    if (this.slot < 0) throw this.detachedError();
  }

  protected override afterChange(): void {
    this.#home.entryDidChange(this);
  }

  protected override detachedError(): PodError {
    return this.#home.owner.detachedError(this.key);
  }

  protected override located(error: unknown): unknown {
    return this.#home.owner.located(error, this.key);
  }
}

/**
 * The value that a text stands for.
 *
 * @throws {PodError} `ERR_POD_CORRUPT`: the checksums were right, so what cannot be read was never written by us
 */
export function parseValue(text: string, key: Key): Json {
  try {
    if (isTooDeep(text)) throw new SyntaxError(`it is nested deeper than ${DEPTH_MAX} levels`);
    return JSON.parse(text) as Json;
  } catch (cause) {
    throw new PodError(
      'ERR_POD_CORRUPT',
      `The value of ${JSON.stringify(key)} cannot be read: ${(cause as Error).message}. Set or delete it, or restore a backup.`,
      { cause },
    );
  }
}

/** A key that is there twice, with the shards it was found in. */
export function duplicateError(key: Key, first: number, second: number): PodError {
  const where = first === second ? `twice in shard ${first}` : `in shard ${first} and again in shard ${second}`;
  return new PodError(
    'ERR_POD_CORRUPT',
    `The key ${JSON.stringify(key)} is ${where}. Nothing was changed. Remove one of the two lines.`,
    {
      key,
    },
  );
}
