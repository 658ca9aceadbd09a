/**
 * The rows of a table as they were at its last sync point, made of what the disk holds and of what the table still knows.
 *
 * All that can fail is reading, and all reading happens here, beside the table: it is not touched until the rows are complete.
 */
import type { ChangeSet } from './changes.ts';
import { type Entry, type LoadedEntry, parseValue } from './entry.ts';
import type { Json } from './json.ts';
import { type Key, type KeyIdentity, keyIdentity } from './key.ts';
import type { Rows } from './rows.ts';

/** What is made. */
export interface RowsAtSyncPoint<V, K extends Key> {
  readonly rows: Rows<V, K>;
  /** The entries that exist as objects and did not change since, with the slots they are to have. */
  readonly kept: readonly (readonly [entry: Entry<V, K>, slot: number])[];
}

/**
 * Files what was on the disk at the last sync point.
 *
 * @param before the rows as they are now
 * @param dirty what changed since
 */
export function rowsAtSyncPoint<V, K extends Key>(
  loaded: Iterable<LoadedEntry>,
  before: Rows<V, K>,
  { cleared, deletedBefore, deleted, changed, since }: ChangeSet<Entry<V, K>, K>,
  make: {
    /** Empty; filled here. */
    readonly rows: Rows<V, K>;
    /** The number of an entry that is new to the table. */
    nextNumber(): number;
    /** What the observer derives from a value, where there is one. */
    readonly stateOf: ((value: Json) => number) | undefined;
  },
): RowsAtSyncPoint<V, K> {
  const { rows, stateOf } = make;
  const gone = new Map<KeyIdentity, number>();
  for (const entry of [...deletedBefore, ...deleted.values()]) gone.set(entry.identity, entry.number);
  const then = (cleared as Rows<V, K> | undefined) ?? before;
  const kept: (readonly [Entry<V, K>, number])[] = [];
  for (const item of loaded) {
    const identity = keyIdentity(item.key);
    const old = gone.has(identity) ? -1 : then.find(identity);
    const oldNumber = gone.get(identity) ?? (old < 0 ? since : then.numberOf(old));
    const slot = rows.pushLoaded(item, identity, oldNumber < since ? oldNumber : make.nextNumber());
    const isOld = old >= 0 && then === before && oldNumber < since;
    const entry = isOld ? before.live(old) : undefined;
    // What has changed is kept as an object, so what is none has not.
    if (isOld && (entry === undefined || !changed.has(entry))) {
      rows.setState(slot, before.stateOf(old));
      if (entry !== undefined) kept.push([entry, slot]);
    } else if (stateOf !== undefined) {
      const { key, source, position, length, check } = item;
      rows.setState(slot, stateOf(parseValue(source.textAt(position, length, check), key)));
    }
  }
  return { rows, kept };
}
