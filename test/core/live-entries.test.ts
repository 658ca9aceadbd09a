// Entries that exist as objects: a view that somebody holds stays the view of its entry, and a write through one is kept or refused, never lost.
import { afterEach, describe, expect, it } from 'vitest';
import { CleanEntries, type Keepable } from '../../src/core/clean-entries.ts';
import type { Entry, LoadedEntry, TextSource } from '../../src/core/entry.ts';
import { PodError } from '../../src/core/errors.ts';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import { shardLines } from '../../src/core/line.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';

/** The disk of a table: each line is one text, rewritten when the table is told that everything is on the disk. */
class Disk implements TextSource {
  readonly lines: { key: string; text: string }[] = [];
  reads: number = 0;

  keyTextAt(position: number): string {
    return (this.lines[position] as { key: string }).key;
  }

  textAt(position: number): string {
    this.reads++;
    return (this.lines[position] as { text: string }).text;
  }

  put(key: Key, text: string): number {
    return this.lines.push({ key: JSON.stringify(key), text }) - 1;
  }
}

const turns: (() => void)[] = [];
afterEach(() => {
  turns.length = 0;
});

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: (key) => new PodError('ERR_POD_DETACHED', 'detached', { key }),
  located: (error) => error,
  afterTurn: (work) => turns.push(work),
};

type Value = { n: number; list: number[] };

/** A table over a disk, with a cache so small that every entry is let go as soon as it may be. */
class Bench {
  readonly disk: Disk = new Disk();
  readonly table: Table<Value, Key>;

  constructor(entries: number, cacheBytes: number = 0) {
    this.table = new Table<Value, Key>(owner, 1000, { cacheBytes });
    const loaded: LoadedEntry[] = [];
    for (let number = 0; number < entries; number++) {
      const position = this.disk.put(`k${number}`, JSON.stringify({ n: number, list: [number] }));
      loaded.push({ key: `k${number}`, shard: 0, source: this.disk, position, length: 20, check: 0 });
    }
    this.table.load(loaded);
  }

  get(key: Key): Value {
    return (this.table.find(key) as Entry<Value, Key>).value;
  }

  /** Writes what changed, as a sync point does. */
  sync(): void {
    for (const entry of this.table.pending.changed) {
      this.table.rows.setPlace(entry.slot, this.disk, this.disk.put(entry.key, entry.text), 20, 0);
    }
    this.table.appended();
    this.table.synced();
  }

  /** Looks at so many others that whatever may be let go is let go. */
  crowd(): void {
    for (let number = 0; number < 3; number++) for (const entry of this.table.entries()) void entry.plain;
  }

  endTurn(): void {
    for (const work of turns.splice(0)) work();
  }

  /** What the disk would hold after a sync. */
  saved(key: Key): Json {
    this.sync();
    const slot = this.table.rows.find(key as string);
    return JSON.parse(this.disk.textAt(this.table.rows.placeOf(slot).position)) as Json;
  }
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof PodError) return error.code;
    throw error;
  }
  return 'nothing';
}

describe('a view that somebody holds', () => {
  it('is the one that everybody gets, although nothing is kept, and a write through it is saved', () => {
    const bench = new Bench(20);
    const held = bench.get('k3');
    bench.crowd();
    expect(bench.get('k3')).toBe(held);
    bench.crowd();
    held.n = 100;
    expect(bench.get('k3').n).toBe(100);
    bench.crowd();
    expect(bench.get('k3')).toBe(held);
    expect(bench.saved('k3')).toEqual({ n: 100, list: [3] });
    bench.crowd();
    expect(bench.get('k3')).toBe(held);
  });

  it('also where only a part of the value is held', () => {
    const bench = new Bench(20);
    const { list } = bench.get('k3');
    bench.crowd();
    expect(bench.get('k3').list).toBe(list);
    bench.crowd();
    list.push(9);
    expect(bench.get('k3').list).toEqual([3, 9]);
    expect(bench.saved('k3')).toEqual({ n: 3, list: [3, 9] });
  });

  it('is detached by a deletion although its entry was let go', () => {
    const bench = new Bench(20);
    const held = bench.get('k3');
    bench.crowd();
    bench.table.delete(bench.table.find('k3') as Entry<Value, Key>);
    bench.table.set('k3', { n: 1, list: [] });
    expect(codeOf(() => Object.assign(held, { n: 5 }))).toBe('ERR_POD_DETACHED');
    expect(bench.saved('k3')).toEqual({ n: 1, list: [] });
  });
});

describe('more views than one turn keeps', () => {
  const MANY = 20_050;

  it('are all found again in the next turn; writes through those that were let go are kept or refused', () => {
    const bench = new Bench(MANY);
    const held: Value[] = [];
    for (let number = 0; number < MANY; number++) held.push(bench.get(`k${number}`));
    // The first ones are still their entries'; the last of the many were let go for good.
    expect(bench.get('k0')).toBe(held[0]);
    const strays = held
      .map((view, number) => [view, number] as const)
      .filter(([view, n]) => bench.get(`k${n}`) !== view);
    expect(strays.length).toBeGreaterThan(0);
    expect(strays.length).toBeLessThan(100);
    bench.endTurn();
    const outcomes = new Map<string, number>();
    for (const [view, number] of strays) {
      const outcome = codeOf(() => {
        view.n = -number;
      });
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      // Kept and seen by everybody, or refused and not seen by anybody.
      expect(bench.get(`k${number}`).n).toBe(outcome === 'nothing' ? -number : number);
    }
    expect([...outcomes.keys()].every((code) => code === 'nothing' || code === 'ERR_POD_DETACHED')).toBe(true);
    const [view, number] = strays[0] as (typeof strays)[0];
    expect(bench.saved(`k${number}`)).toEqual({ n: bench.get(`k${number}`).n, list: view.list.slice() });
  });

  it('one that was let go is taken back while nobody else has the entry, and then it is the entry’s again', () => {
    const bench = new Bench(MANY);
    const held: Value[] = [];
    for (let number = 0; number < MANY; number++) held.push(bench.get(`k${number}`));
    const stray = (): number => {
      for (let slot = MANY - 1; slot >= 0; slot--) if (bench.table.rows.live(slot) === undefined) return slot;
      throw new Error('every entry was kept');
    };
    const number = stray();
    (held[number] as Value).n = 5;
    expect(bench.get(`k${number}`)).toBe(held[number]);
    expect(bench.saved(`k${number}`)).toEqual({ n: 5, list: [number] });
    // Changed and saved by somebody else meanwhile: what the old view shows is not what a write would change.
    const other = stray();
    bench.table.set(`k${other}`, { n: 0, list: [] });
    bench.sync();
    bench.crowd();
    expect(codeOf(() => Object.assign(held[other] as Value, { n: 6 }))).toBe('ERR_POD_DETACHED');
    expect(bench.saved(`k${other}`)).toEqual({ n: 0, list: [] });
    // The same value again is no other value.
    const third = stray();
    bench.table.set(`k${third}`, { n: 0, list: [] });
    bench.table.set(`k${third}`, { n: third, list: [third] });
    bench.sync();
    bench.crowd();
    const outcome = codeOf(() => (held[third] as Value).list.push(7));
    expect(bench.saved(`k${third}`)).toEqual({ n: third, list: outcome === 'nothing' ? [third, 7] : [third] });
  });
});

describe('an entry', () => {
  it('is not let go while it differs from the disk, also through a flush that is under way', () => {
    const bench = new Bench(20);
    const entry = bench.table.find('k3') as Entry<Value, Key>;
    bench.table.set('k3', { n: 1, list: [] });
    bench.crowd();
    expect(bench.table.rows.live(3)).toBe(entry);
    bench.table.rows.setPlace(3, bench.disk, bench.disk.put('k3', entry.text), 20, 0);
    bench.table.appended();
    bench.table.flushBegan();
    bench.table.set('k3', { n: 2, list: [] });
    bench.table.flushed();
    bench.crowd();
    expect(bench.table.rows.live(3)).toBe(entry);
    expect(entry.plain).toEqual({ n: 2, list: [] });
    expect(bench.saved('k3')).toEqual({ n: 2, list: [] });
    bench.crowd();
    expect(bench.table.rows.live(3)).toBeUndefined();
  });

  it('that is pinned is the same object until it is let go', () => {
    const bench = new Bench(20);
    const entry = bench.table.find('k3') as Entry<Value, Key>;
    entry.pins++;
    bench.crowd();
    expect(bench.table.find('k3')).toBe(entry);
    entry.pins--;
    void bench.table.find('k3');
    bench.crowd();
    expect(bench.table.rows.live(3)).toBeUndefined();
    expect(bench.table.current(entry)?.key).toBe('k3');
  });

  it('that was let go can be edited, deleted and marked; one whose place somebody else has taken cannot', () => {
    const bench = new Bench(20);
    const letGo = (key: Key): Entry<Value, Key> => {
      const entry = bench.table.find(key) as Entry<Value, Key>;
      bench.crowd();
      expect(entry.adrift).toBe(true);
      return entry;
    };
    bench.table.edit(letGo('k1'), { n: 50, list: [] });
    expect(bench.saved('k1')).toEqual({ n: 50, list: [] });
    bench.table.delete(letGo('k2'));
    expect(bench.table.has('k2')).toBe(false);
    bench.table.mark(letGo('k4'));
    expect([...bench.table.dirty.keys()].sort()).toEqual(['k2', 'k4']);
    bench.table.setState((bench.table.find('k6') as Entry<Value, Key>).slot, 7);
    expect(letGo('k6').state).toBe(7);
    const old = letGo('k5');
    const now = bench.table.find('k5') as Entry<Value, Key>;
    expect(now).not.toBe(old);
    expect(codeOf(() => bench.table.delete(old))).toBe('ERR_POD_DETACHED');
    expect(bench.table.current(old)).toBe(now);
  });

  it('is not let go inside a transaction, which undoes what it did whatever was looked at meanwhile', () => {
    const bench = new Bench(50);
    expect(() =>
      bench.table.transaction(() => {
        bench.get('k3').n = 100;
        bench.table.delete(bench.table.find('k4') as Entry<Value, Key>);
        bench.crowd();
        bench.get('k3').list.push(8);
        throw new Error('no');
      }),
    ).toThrow('no');
    bench.crowd();
    expect(bench.get('k3')).toEqual({ n: 3, list: [3] });
    expect(bench.get('k4')).toEqual({ n: 4, list: [4] });
    expect([...bench.table.entries()].length).toBe(50);
    expect(bench.table.dirty.isEmpty).toBe(true);
  });

  it('is written from the disk as it lies while it is clean, and from memory while it is not', () => {
    const bench = new Bench(3);
    bench.table.set('k1', { n: 9, list: [] });
    const reads = bench.disk.reads;
    const texts = [...shardLines(bench.table.rows, 0)].map(({ text }) => text);
    expect(texts).toEqual(['{"n":0,"list":[0]}', '{"n":9,"list":[]}', '{"n":2,"list":[2]}']);
    expect(bench.disk.reads - reads).toBe(2);
  });
});

describe('CleanEntries', () => {
  const made = (slot: number): Keepable => ({
    slot,
    touched: false,
    unsynced: false,
    pins: 0,
    weight: 0,
    used: false,
  });

  it('lets go what was not asked for lately, as much as must be, and nothing that must stay', () => {
    const clean = new CleanEntries<Keepable>(100);
    const entries = Array.from({ length: 10 }, (_, slot) => made(slot));
    for (const entry of entries) clean.add(entry, 30);
    const [first, second, third] = entries as [Keepable, Keepable, Keepable];
    first.used = true;
    Object.assign(second, { pins: 1 });
    Object.assign(third, { unsynced: true });
    const gone: Keepable[] = [];
    clean.sweep((entry) => gone.push(entry));
    expect(gone.map(({ slot }) => slot)).toEqual([3, 4, 5, 6, 7]);
    expect(first).toMatchObject({ used: false, weight: 30 });
    expect([second.weight, third.weight]).toEqual([0, 0]);
    clean.bytesMax = 0;
    clean.sweep((entry) => gone.push(entry));
    expect(gone.map(({ slot }) => slot)).toEqual([3, 4, 5, 6, 7, 8, 9, 0]);
  });

  it('counts an entry once, and forgets the places of those that are gone', () => {
    const clean = new CleanEntries<Keepable>(0);
    let gone = 0;
    for (let round = 0; round < 5000; round++) {
      const entry = made(round);
      clean.add(entry, 10);
      clean.add(entry, 10);
      clean.sweep(() => gone++);
    }
    expect(gone).toBe(5000);
  });
});
