/**
 * The records that a batch has of a set of changes; and what is noted once the batch is written: where the lines lie now, and which shards
 * a fold has to write.
 */
import type { ChangeSet } from '../core/changes.ts';
import type { Entry, TextSource } from '../core/entry.ts';
import { type Key, keyText } from '../core/key.ts';
import type { Rows } from '../core/rows.ts';
import type { OpenRecords } from './folder-state.ts';
import type { LogWriter } from './log-writer.ts';

/** A record, and for a `set` the entry and where its line lies. */
interface Note<V, K extends Key> {
  readonly shard: number;
  readonly s: number;
  readonly entry: Entry<V, K> | undefined;
  readonly position: number;
  readonly length: number;
  readonly check: number;
}

export class BatchRecords<V, K extends Key> {
  readonly #log: LogWriter;
  readonly #notes: Note<V, K>[] = [];

  constructor(log: LogWriter) {
    this.#log = log;
  }

  /**
   * Adds a set of changes: first what is gone, then what has another value, then what is new, in order. Returns how many records it took.
   *
   * @param shards those that have entries, and so lose them where everything was cleared
   */
  add(changes: ChangeSet<Entry<V, K>, K>, shards: () => Iterable<number>): number {
    let count = 0;
    if (changes.cleared !== undefined) {
      const s = this.#log.add('"o":"clear"');
      for (const shard of shards()) this.#note(shard, s);
      count++;
    }
    for (const { key, shard } of changes.deleted.values()) {
      this.#note(shard, this.#log.add(`"o":"del","n":${shard},"k":${keyText(key)}`));
      count++;
    }
    for (const entry of changes.updated()) {
      this.#addSet(entry);
      count++;
    }
    for (const entry of changes.added()) {
      this.#addSet(entry);
      count++;
    }
    return count;
  }

  /** The batch is written, into the segment that `source` reads. */
  written(rows: Rows<V, K>, source: TextSource, open: Map<number, OpenRecords>): void {
    let last: OpenRecords | undefined;
    let lastShard = -1;
    for (const { shard, s, entry, position, length, check } of this.#notes) {
      if (entry !== undefined && entry.slot >= 0) rows.setPlace(entry.slot, source, position, length, check);
      if (last === undefined || shard !== lastShard) {
        last = open.get(shard);
        lastShard = shard;
      }
      if (last === undefined) {
        last = { first: s, last: s };
        open.set(shard, last);
      } else last.last = s;
    }
  }

  #addSet(entry: Entry<V, K>): void {
    const log = this.#log;
    const { shard } = entry;
    const s = log.addSet(shard, keyText(entry.key), entry.text);
    const { linePosition: position, lineLength: length, lineCheck: check } = log;
    this.#notes.push({ shard, s, entry, position, length, check });
  }

  #note(shard: number, s: number): void {
    this.#notes.push({ shard, s, entry: undefined, position: 0, length: 0, check: 0 });
  }
}
