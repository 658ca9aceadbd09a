/**
 * The lines of shards: their texts, as the rows of a table have them, and where they lie once they are written.
 */
import type { TextSource } from './entry.ts';
import { type Key, keyText } from './key.ts';
import type { Rows } from './rows.ts';

/** One line of a shard. */
export interface Line {
  /** The JSON text of the key. */
  readonly keyText: string;
  /** The JSON text of the value. */
  readonly text: string;
}

/** Where the lines of a shard lie in it, in order. */
export interface LineLayout {
  readonly positions: readonly number[];
  readonly lengths: readonly number[];
  readonly checks: readonly number[];
}

/** The lines of one shard, in order. */
export function* shardLines<V, K extends Key>(rows: Rows<V, K>, shard: number): Generator<Line, void, undefined> {
  for (const slot of rows.shardSlots(shard)) yield lineAt(rows, slot);
}

/** All lines, in order. */
export function* allLines<V, K extends Key>(rows: Rows<V, K>): Generator<Line, void, undefined> {
  for (let slot = rows.nextAlive(0); slot < rows.slotEnd; slot = rows.nextAlive(slot + 1)) yield lineAt(rows, slot);
}

/** Memory is the source where it may differ from the disk; what is clean is taken over as it lies, and not parsed. */
function lineAt<V, K extends Key>(rows: Rows<V, K>, slot: number): Line {
  const live = rows.live(slot);
  if (live?.unsynced === true || live?.touched === true) return { keyText: keyText(live.key), text: live.text };
  return { keyText: rows.keyTextAt(slot), text: rows.textAt(slot) };
}

/** Notes where the lines of a shard lie that was written whole. */
export function placeShard<V, K extends Key>(
  rows: Rows<V, K>,
  shard: number,
  source: TextSource,
  { positions, lengths, checks }: LineLayout,
): void {
  let line = 0;
  for (const slot of rows.shardSlots(shard)) {
    rows.setPlace(slot, source, positions[line] as number, lengths[line] as number, checks[line] as number);
    line++;
  }
}
