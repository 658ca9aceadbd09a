/**
 * What stands around a table: the one who owns it, and the one who derives something from its entries.
 */
import type { Entry } from './entry.ts';
import type { PodError } from './errors.ts';
import type { Json } from './json.ts';
import type { Key } from './key.ts';

/** What a table asks of the one who owns it. */
export interface TableOwner {
  /** Called before each change; throws where nothing may be changed now. */
  beforeChange(): void;
  /** Called after each change. `first` says that this entry had not been changed since the last append. */
  afterChange(first: boolean): void;
  /** What is thrown when a detached view is written to. */
  detachedError(key: Key): PodError;
  /** Adds the pod, and the key it is about, to an error of code that knows neither. */
  located(error: unknown, key: unknown): unknown;
  /** Checks a value against the schema on its way in and when it is first read; throws, or gives back what to keep. */
  checkValue?: ((value: unknown, key: Key) => unknown) | undefined;
  /** Calls `work` when the present turn of the event loop is over. */
  afterTurn?(work: () => void): void;
}

/** Is told of every change to any entry, by whatever road; counters and indexes are derived from it. */
export interface TableObserver<V, K extends Key> {
  /** The entry is new, or has another value. */
  entryChanged(entry: Entry<V, K>): void;
  /** The entry is leaving. */
  entryRemoved(entry: Entry<V, K>): void;
  /** Slots were renumbered, or everything was replaced: derive all anew. `onlySlots`: no entry has another value than before. */
  tableRebuilt(onlySlots: boolean): void;
  /** What it would set as the state of an entry with this value. */
  stateOf?(value: Json): number;
}

/** How a table keeps its entries. */
export interface TableOptions {
  /** What the clean entries that are kept may weigh. */
  readonly cacheBytes?: number;
  /** Makes the hashes of its keys differ from those of other tables. */
  readonly seed?: number;
}
