/**
 * One entry: a key with its value, its place in the order, and its views.
 */
import { PodError } from './errors.ts';
import { DEPTH_MAX, isTooDeep, type Json } from './json.ts';
import { type Key, type KeyIdentity, keyIdentity } from './key.ts';
import { TrackedValue } from './track.ts';

/** Where the text of a value lies that was not parsed yet. */
export interface TextSource {
  /** The JSON text at a position this source handed out. */
  textAt(position: number): string;
}

/** An entry as it was found on disk. */
export interface LoadedEntry {
  readonly key: Key;
  readonly shard: number;
  readonly source: TextSource;
  readonly position: number;
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
  number: number;
  /** Index in the table's slots, or -1 when it is not in the table. */
  slot: number = -1;
  /** The shard it lies in on disk. */
  shard: number;
  /** It is in the table's set of changes since the last append already, so a further change has nothing to note. */
  touched: boolean = false;
  /** What the observer derived from the value, or -1; kept here so that moving entries about needs no second look at them. */
  state: number = -1;
  readonly #home: EntryHome<V, K>;
  /** The text the value was read from, as long as it is still the value's text. */
  #source: TextSource | undefined;
  #position: number = 0;

  constructor(home: EntryHome<V, K>, key: K, identity: KeyIdentity, shard: number, number: number, root: unknown) {
    super(root);
    this.#home = home;
    this.key = key;
    this.identity = identity;
    this.shard = shard;
    this.number = number;
  }

  /** An entry whose value is parsed when somebody asks for it. */
  static unread<V, K extends Key>(home: EntryHome<V, K>, loaded: LoadedEntry, number: number): Entry<V, K> {
    const key = loaded.key as K;
    const entry = new Entry<V, K>(home, key, keyIdentity(key), loaded.shard, number, UNREAD);
    entry.#source = loaded.source;
    entry.#position = loaded.position;
    return entry;
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

  /** The value's JSON text. */
  get text(): string {
    return this.#source === undefined ? JSON.stringify(this.root) : this.#source.textAt(this.#position);
  }

  /** The value alone, without the copy a view would need; for looking at many entries once. */
  peek(): Json {
    return this.root === UNREAD ? this.#parse() : (this.root as Json);
  }

  /** Puts another plain value in place. */
  replace(root: unknown): void {
    this.#source = undefined;
    this.replaceRoot(root);
  }

  #read(): void {
    this.root = this.#home.checked(this.#parse(), this.key);
  }

  /** The checksums were right, so what cannot be read here was never written by us. */
  #parse(): Json {
    const text = (this.#source as TextSource).textAt(this.#position);
    try {
      if (isTooDeep(text)) throw new SyntaxError(`it is nested deeper than ${DEPTH_MAX} levels`);
      return JSON.parse(text) as Json;
    } catch (cause) {
      throw this.located(
        new PodError(
          'ERR_POD_CORRUPT',
          `The value of ${JSON.stringify(this.key)} cannot be read: ${(cause as Error).message}. Set or delete it, or restore a backup.`,
          { cause },
        ),
      );
    }
  }

  protected override requireChangeable(): void {
    if (this.slot < 0) throw this.detachedError();
    this.#home.owner.beforeChange();
  }

  protected override beforeChange(): void {
    if (this.slot < 0) throw this.detachedError();
    this.#home.entryWillChange(this);
    this.#source = undefined;
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
