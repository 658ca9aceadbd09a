// The model: what a pod holds, what of it is dirty, and what each kind of ending leaves, with a plain Map and nothing else.
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import type { Durability } from '../../src/pod/options.ts';

interface Item {
  readonly key: Key;
  readonly value: Json;
}

/** Entries in order, by the text of their key. Values are never changed in place, so a copy of the map is a copy of the state. */
export type State = Map<string, Item>;

/** The changes since some moment. Whatever is in `must` differs; what is in `may` was touched, and is perhaps as it was. */
class Window {
  readonly base: State;
  readonly must: Set<string>;
  readonly may: Set<string>;

  constructor(base: State, must: Iterable<string> = [], may: Iterable<string> = []) {
    this.base = new Map(base);
    this.must = new Set(must);
    this.may = new Set(may);
  }

  copy(): Window {
    return new Window(this.base, this.must, this.may);
  }
}

export interface Settings {
  readonly durability: Durability;
  readonly syncAt: number;
  readonly syncEvery: number;
  readonly cacheSize: number;
}

/** What a transaction that fails goes back to. */
interface Before {
  readonly now: State;
  readonly sincePoint: Window;
  readonly sinceFlush: Window | undefined;
}

export class Model {
  readonly settings: Settings;
  readonly now: State = new Map();
  /** Since the last sync point, which is what `revert` goes back to and `dirty` is about. */
  sincePoint: Window = new Window(new Map());
  /** Since a flush that has not ended began. */
  sinceFlush: Window | undefined;
  /** A flush was begun and not waited for; a sync point may have overtaken it. */
  flushUnderWay: boolean = false;
  /** What a kill leaves. */
  appended: State = new Map();
  holds: number = 0;
  inTransaction: boolean = false;
  /** Views of whole values that were kept, and whether they still belong to an entry. */
  kept: { readonly text: string; readonly view: object; attached: boolean }[] = [];

  constructor(settings: Settings) {
    this.settings = settings;
  }

  /** So few dirty keys make a sync point that one step can make several. */
  get syncsByItself(): boolean {
    return this.settings.syncAt < 1000;
  }

  get size(): number {
    return this.now.size;
  }

  /** The n-th key, counted around. */
  keyAt(which: number): Key | undefined {
    const items = [...this.now.values()];
    return items.length === 0 ? undefined : items[which % items.length]?.key;
  }

  has(key: Key): boolean {
    return this.now.has(JSON.stringify(key));
  }

  get(key: Key): Json | undefined {
    return this.now.get(JSON.stringify(key))?.value;
  }

  // ---- Changes.

  set(key: Key, value: Json): void {
    const text = JSON.stringify(key);
    this.now.set(text, { key, value });
    this.detach(text);
    this.#touched(text, true);
  }

  /** A change in place. One that leaves the value as it was may count as a change or not. */
  edit(key: Key, value: Json): void {
    const text = JSON.stringify(key);
    const changed = JSON.stringify(this.now.get(text)?.value) !== JSON.stringify(value);
    this.now.set(text, { key, value });
    this.#touched(text, changed);
  }

  delete(key: Key): boolean {
    const text = JSON.stringify(key);
    const found = this.now.delete(text);
    if (!found) return false;
    this.detach(text);
    this.#removed(text);
    return true;
  }

  clear(): void {
    for (const text of [...this.now.keys()]) {
      this.now.delete(text);
      this.detach(text);
      this.#removed(text);
    }
  }

  mark(key: Key): void {
    this.#touched(JSON.stringify(key), true);
  }

  #windows(): Window[] {
    return this.sinceFlush === undefined ? [this.sincePoint] : [this.sincePoint, this.sinceFlush];
  }

  #touched(text: string, surely: boolean): void {
    for (const { must, may } of this.#windows()) (surely ? must : may).add(text);
  }

  /** A key that came and went again since is as it was. */
  #removed(text: string): void {
    for (const { base, must, may } of this.#windows()) {
      if (base.has(text)) must.add(text);
      else if (must.delete(text)) may.add(text);
    }
  }

  detach(text?: string): void {
    for (const view of this.kept) if (text === undefined || view.text === text) view.attached = false;
  }

  // ---- Moments.

  /** The turn of the event loop ended. */
  turnEnded(): void {
    if (this.settings.durability !== 'exit') this.appended = new Map(this.now);
  }

  synced(): void {
    this.appended = new Map(this.now);
    this.sincePoint = new Window(this.now);
    this.sinceFlush = undefined;
  }

  flushBegan(): void {
    this.appended = new Map(this.now);
    this.sinceFlush = new Window(this.now);
  }

  flushEnded(): void {
    if (this.sinceFlush === undefined) return;
    this.sincePoint = this.sinceFlush;
    this.sinceFlush = undefined;
  }

  reverted(): void {
    this.#become(this.sincePoint.base);
    this.appended = new Map(this.now);
    this.sincePoint = new Window(this.now);
    this.sinceFlush = undefined;
    this.kept = [];
  }

  /** Another process opened what the last one left. */
  recovered(): void {
    this.#become(this.appended);
    this.sincePoint = new Window(this.now);
    this.sinceFlush = undefined;
    this.kept = [];
    this.holds = 0;
  }

  before(): Before {
    return { now: new Map(this.now), sincePoint: this.sincePoint.copy(), sinceFlush: this.sinceFlush?.copy() };
  }

  undone(before: Before): void {
    this.#become(before.now);
    this.sincePoint = before.sincePoint;
    this.sinceFlush = before.sinceFlush;
    this.kept = [];
  }

  #become(state: State): void {
    const items = [...state];
    this.now.clear();
    for (const [text, item] of items) this.now.set(text, item);
  }
}

/** A state as text, to compare it with another one: keys, values, the order of both. */
export function stateText(state: State): string {
  return [...state.values()].map(({ key, value }) => `${JSON.stringify(key)}\t${JSON.stringify(value)}`).join('\n');
}
