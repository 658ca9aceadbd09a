// The table: order and shards, the cursor that keeps its place, what each set of changes knows, transactions, and going back.
import { describe, expect, it } from 'vitest';
import type { Entry, LoadedEntry, TextSource } from '../../src/core/entry.ts';
import { addPlace, PodError } from '../../src/core/errors.ts';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import { shardLines } from '../../src/core/line.ts';
import { Rows } from '../../src/core/rows.ts';
import { Table } from '../../src/core/table.ts';
import type { TableObserver, TableOwner } from '../../src/core/table-owner.ts';
import fc from '../fast-check.ts';

class Owner implements TableOwner {
  before: number = 0;
  after: boolean[] = [];
  refuses: boolean = false;
  checkValue: ((value: unknown, key: Key) => unknown) | undefined;

  beforeChange(): void {
    if (this.refuses) throw new PodError('ERR_POD_READONLY', 'no');
    this.before++;
  }

  afterChange(first: boolean): void {
    this.after.push(first);
  }

  detachedError(key: Key): PodError {
    return new PodError('ERR_POD_DETACHED', 'detached', { key });
  }

  located(error: unknown, key: unknown): unknown {
    return addPlace(error, 'here', key);
  }
}

type T = Table<Json, Key>;

function table(fileSize: number, keys: Iterable<Key> = []): { table: T; owner: Owner } {
  const owner = new Owner();
  const made = new Table<Json, Key>(owner, fileSize);
  for (const key of keys) made.set(key, 0);
  made.appended();
  made.synced();
  return { table: made, owner };
}

const keysOf = (entries: Iterable<Entry<Json, Key>>): Key[] => [...entries].map(({ key }) => key);

const shardKeys = (made: T, shard: number): Key[] =>
  [...made.entries()].filter((entry) => entry.shard === shard).map(({ key }) => key);

/** Entries by shard, and a check that shards never fall along the order and that each finds its own. */
function layout({ ...rest }: { table: T }): Key[][] {
  const { table: made } = rest;
  const shards = made.rows.shardNumbers();
  const listed = shards.map((shard) => shardKeys(made, shard));
  expect(listed.flat()).toEqual(keysOf(made.entries()));
  expect([...shards].sort((a, b) => a - b)).toEqual(shards);
  return listed;
}

function texts(lines: Record<string, string>): TextSource & { reads: number } {
  const values = Object.values(lines);
  return {
    reads: 0,
    keyTextAt: (position) => JSON.stringify(Object.keys(lines)[position]),
    textAt(position) {
      this.reads++;
      return values[position] as string;
    },
  };
}

function loaded(
  lines: Record<string, string>,
  fileSize: number = 2,
): { entries: LoadedEntry[]; source: { reads: number } } {
  const source = texts(lines);
  const entries = Object.keys(lines).map((key, n) => ({
    key,
    shard: Math.floor(n / fileSize),
    source,
    position: n,
    length: 0,
    check: 0,
  }));
  return { entries, source };
}

describe('shards', () => {
  it('are filled in order; a new key goes to the highest, or the next where that is full', () => {
    const { table: t } = table(2, [...'abcde']);
    expect(layout({ table: t })).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    t.delete(t.find('a') as Entry<Json, Key>);
    t.set('f', 0);
    t.set('g', 0);
    expect(layout({ table: t })).toEqual([['b'], ['c', 'd'], ['e', 'f'], ['g']]);
    t.delete(t.find('g') as Entry<Json, Key>);
    t.delete(t.find('e') as Entry<Json, Key>);
    t.set('h', 0);
    expect(layout({ table: t })).toEqual([['b'], ['c', 'd'], ['f', 'h']]);
    for (const key of 'bcdfh') t.delete(t.find(key) as Entry<Json, Key>);
    expect(t.rows.shardNumbers()).toEqual([]);
    t.set('i', 0);
    expect(t.rows.shardNumbers()).toEqual([0]);
    t.clear();
    t.set('j', 0);
    expect(layout({ table: t })).toEqual([['j']]);
  });

  it('agree with the order after any changes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.tuple(fc.constantFrom('set', 'set', 'delete', 'renumber', 'fail'), fc.nat(12)), { maxLength: 60 }),
        (fileSize, steps) => {
          const { table: t } = table(fileSize);
          const wanted = new Map<Key, true>();
          for (const [step, key] of steps) {
            if (step === 'set') {
              t.set(key, key);
              wanted.set(key, true);
            } else if (step === 'delete') {
              const entry = t.find(key);
              if (entry !== undefined) t.delete(entry);
              expect(wanted.delete(key)).toBe(entry !== undefined);
            } else if (step === 'renumber') t.renumberShards(fileSize);
            else {
              expect(() =>
                t.transaction(() => {
                  for (const entry of [...t.entries()].slice(0, key)) t.delete(entry);
                  for (let n = 0; n < key; n++) t.set(n, 'again');
                  throw new RangeError('on purpose');
                }),
              ).toThrow(RangeError);
            }
            expect(layout({ table: t }).flat()).toEqual([...wanted.keys()]);
            expect(t.size).toBe(wanted.size);
            // Only the highest shard may take more, so none can hold too many.
            for (const shard of t.rows.shardNumbers()) expect(shardKeys(t, shard).length).toBeLessThanOrEqual(fileSize);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are numbered afresh by a compaction', () => {
    const { table: t } = table(2, [...'abcdef']);
    t.delete(t.find('a') as Entry<Json, Key>);
    t.delete(t.find('d') as Entry<Json, Key>);
    t.renumberShards(3);
    expect(layout({ table: t })).toEqual([['b', 'c', 'e'], ['f']]);
    t.set('g', 0);
    expect(layout({ table: t })).toEqual([
      ['b', 'c', 'e'],
      ['f', 'g'],
    ]);
    expect([...shardLines(t.rows, 9)]).toEqual([]);
  });
});

describe('the cursor', () => {
  it('keeps its place while slots are packed, also with a pick of its own', () => {
    const count = 6000;
    const { table: t } = table(
      100,
      Array.from({ length: count }, (_, n) => n),
    );
    const seen: Key[] = [];
    const picked: Key[] = [];
    const even = t.cursor((slot) => {
      for (let at = slot; at < t.slotEnd; at++)
        if (((t.entryAt(at)?.key as number | undefined) ?? 1) % 2 === 0) return at;
      return -1;
    });
    for (let entry = even.next(); entry !== undefined; entry = even.next()) {
      picked.push(entry.key);
      if (entry.key === 500)
        for (const other of [...t.entries()]) if ((other.key as number) % 10 !== 0) t.delete(other);
    }
    expect(t.slotEnd).toBeLessThan(count);
    for (const { key } of t.entries()) seen.push(key);
    expect(seen).toEqual(Array.from({ length: 600 }, (_, n) => n * 10));
    expect(picked).toEqual([
      ...Array.from({ length: 251 }, (_, n) => n * 2),
      ...seen.filter((key) => (key as number) > 500),
    ]);
    expect(even.next()).toBeUndefined();
  });

  it('visits what a Map visits, under any changes in the loop', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('set', 'delete', 'readd', 'clear'), fc.nat(8)), { maxLength: 20 }),
        (steps) => {
          const { table: t } = table(3, [0, 1, 2, 3, 4]);
          const map = new Map([0, 1, 2, 3, 4].map((key) => [key, 0]));
          const mine = t.cursor();
          const wanted = map.keys();
          for (const [step, key] of steps) {
            const entry = mine.next();
            const want = wanted.next();
            expect(entry?.key).toBe(want.value);
            if (want.done) return;
            const found = t.find(key);
            if (step === 'clear') {
              t.clear();
              map.clear();
            }
            if (step === 'delete' || step === 'readd') {
              if (found !== undefined) t.delete(found);
              map.delete(key);
            }
            if (step === 'set' || step === 'readd') {
              t.set(key, 1);
              map.set(key, 1);
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('what changed', () => {
  it('asks before each change, and says afterwards whether it is the first since the last append', () => {
    const { table: t, owner } = table(10, ['a']);
    owner.after.length = 0;
    owner.before = 0;
    t.set('a', { n: 1 });
    (t.find('a')?.value as { n: number }).n = 2;
    t.set('a', 3);
    t.set('b', 1);
    t.appended();
    t.set('b', 2);
    t.mark(t.find('b') as Entry<Json, Key>);
    t.delete(t.find('b') as Entry<Json, Key>);
    expect(owner.after).toEqual([true, false, false, true, true, false, false]);
    expect(owner.before).toBe(7);
    owner.refuses = true;
    for (const change of [
      () => t.set('a', 1),
      () => t.delete(t.find('a') as Entry<Json, Key>),
      () => t.clear(),
      () => t.mark(t.find('a') as Entry<Json, Key>),
    ]) {
      expect(change).toThrow('no');
    }
    expect(keysOf(t.entries())).toEqual(['a']);
  });

  it('is kept apart for the last append, the last sync point, and a flush that is under way', () => {
    const { table: t } = table(10, ['a', 'b', 'c']);
    const seen = (): Key[][] =>
      [t.pending, t.dirty, t.sinceFlush].map((changes) => (changes === undefined ? ['none'] : [...changes.keys()]));
    t.set('a', 1);
    t.delete(t.find('b') as Entry<Json, Key>);
    expect(seen()).toEqual([['b', 'a'], ['b', 'a'], ['none']]);
    t.appended();
    t.flushBegan();
    expect(seen()).toEqual([[], ['b', 'a'], []]);
    t.set('c', 1);
    t.set('d', 1);
    expect(seen()).toEqual([
      ['c', 'd'],
      ['b', 'a', 'c', 'd'],
      ['c', 'd'],
    ]);
    t.delete(t.find('d') as Entry<Json, Key>);
    t.flushed();
    expect(seen()).toEqual([['c'], ['c'], ['none']]);
    t.flushBegan();
    t.set('e', 1);
    t.flushFailed();
    expect(seen()).toEqual([['c', 'e'], ['c', 'e'], ['none']]);
    t.flushed();
    expect(seen()[1]).toEqual(['c', 'e']);
    t.synced();
    expect(seen()[1]).toEqual([]);
  });

  it('in a transaction that fails is as it was before, in every set', () => {
    const { table: t } = table(2, ['a', 'b', 'c', 'd']);
    t.set('a', 1);
    t.delete(t.find('d') as Entry<Json, Key>);
    t.appended();
    t.flushBegan();
    t.set('b', 1);
    const state = (): unknown =>
      [t.pending, t.dirty, t.sinceFlush].map((changes) => [...(changes?.keys() ?? [])].sort());
    const before = state();
    const order = keysOf(t.entries());
    expect(() =>
      t.transaction(() => {
        t.set('c', 2);
        t.delete(t.find('a') as Entry<Json, Key>);
        t.delete(t.find('b') as Entry<Json, Key>);
        t.set('d', 2);
        t.set('b', 3);
        t.clear();
        t.set('x', 1);
        t.mark(t.find('x') as Entry<Json, Key>);
        throw new RangeError('on purpose');
      }),
    ).toThrow(RangeError);
    expect(state()).toEqual(before);
    expect(keysOf(t.entries())).toEqual(order);
    expect([t.find('a')?.plain, t.find('b')?.plain, t.find('c')?.plain]).toEqual([1, 1, 0]);
    expect(t.inTransaction).toBe(false);
  });

  it('a process that ends in a transaction leaves nothing of it', () => {
    const { table: t } = table(2, ['a']);
    t.transaction(() => {
      t.set('b', 1);
      t.transaction(() => t.set('a', 2));
      t.abandonTransactions();
      expect(t.inTransaction).toBe(false);
      expect([...t.pending.keys()]).toEqual([]);
      expect([keysOf(t.entries()), t.find('a')?.plain]).toEqual([['a'], 0]);
    });
    t.abandonTransactions();
    expect(keysOf(t.entries())).toEqual(['a']);
  });
});

describe('loading', () => {
  it('parses a value when somebody asks for it, and not before; an unread value is written as it was read', () => {
    const { table: t } = table(2);
    const { entries, source } = loaded({ a: '{"n": 1}', b: '[ 1 ]', c: '"text"' });
    t.load(entries);
    expect(source.reads).toBe(0);
    expect([keysOf(t.entries()), t.size, t.dirty.isEmpty]).toEqual([['a', 'b', 'c'], 3, true]);
    expect(t.find('b')?.peek()).toEqual([1]);
    expect(t.find('a')?.value).toEqual({ n: 1 });
    expect([t.find('a')?.text, t.find('b')?.text]).toEqual(['{"n": 1}', '[ 1 ]']);
    (t.find('a')?.value as { n: number }).n = 2;
    expect(t.find('a')?.text).toBe('{"n":2}');
    t.set('d', 1);
    expect(layout({ table: t })).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
  });

  it('TP-097: a key that is there twice is refused, with both places', () => {
    for (const [shards, where] of [
      [[0, 0], /twice in shard 0/],
      [[0, 3], /shard 0 .*shard 3/],
    ] as const) {
      const { table: t } = table(2);
      const { entries } = loaded({ a: '1' });
      const twice = shards.map((shard) => ({ ...(entries[0] as LoadedEntry), shard }));
      expect(() => t.load(twice)).toThrow(
        expect.objectContaining({ code: 'ERR_POD_CORRUPT', message: expect.stringMatching(where), key: 'a' }),
      );
    }
  });

  it('a text that is no value is told when it is read, with its key, and can be replaced', () => {
    const { table: t } = table(2);
    t.load(loaded({ a: '{"n":', b: '['.repeat(600) + ']'.repeat(600), c: '1' }).entries);
    for (const key of ['a', 'b']) {
      for (const read of [() => t.find(key)?.value, () => t.find(key)?.plain, () => t.find(key)?.peek()]) {
        expect(read).toThrow(expect.objectContaining({ code: 'ERR_POD_CORRUPT', key }));
      }
      t.set(key, 1);
      expect(t.find(key)?.value).toBe(1);
    }
  });

  it('a schema sees what is read, once, and what it gives back is kept', () => {
    const { table: t, owner } = table(2);
    const seen: unknown[] = [];
    owner.checkValue = (value, key) => {
      seen.push(key);
      if (value === 'bad') throw new PodError('ERR_POD_SCHEMA', 'no');
      return { was: value };
    };
    t.load(loaded({ a: '1', b: '"bad"' }).entries);
    expect([t.find('a')?.value, t.find('a')?.value, seen]).toEqual([{ was: 1 }, { was: 1 }, ['a']]);
    expect(() => t.find('b')?.value).toThrow('no');
    expect(() => t.find('b')?.value).toThrow('no');
    t.set('c', 5);
    expect(t.find('c')?.plain).toEqual({ was: 5 });
    expect(() => t.set('c', 'bad')).toThrow('no');
  });

  it('going back keeps what had not changed, with its views and numbers, and lets the rest go', () => {
    const { table: t } = table(2);
    const lines = { a: '{"n":1}', b: '{"n":2}', c: '{"n":3}', d: '4' };
    t.load(loaded(lines).entries);
    const [a, b] = [t.find('a')?.value as { n: number }, t.find('b')?.value as { n: number }];
    const c = t.find('c') as Entry<Json, Key>;
    const cursor = t.cursor();
    expect([cursor.next()?.key, cursor.next()?.key]).toEqual(['a', 'b']);
    b.n = 9;
    t.delete(t.find('d') as Entry<Json, Key>);
    t.set('d', 5);
    t.set('x', 1);
    t.restore(loaded(lines).entries)();
    expect(JSON.stringify([...t.entries()].map((entry) => [entry.key, entry.plain]))).toBe(
      '[["a",{"n":1}],["b",{"n":2}],["c",{"n":3}],["d",4]]',
    );
    expect([t.find('a')?.value === a, t.find('c') === c, t.dirty.isEmpty, t.pending.isEmpty]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(() => (b.n = 7)).toThrow('detached');
    expect([cursor.next()?.key, cursor.next()?.key, cursor.next()]).toEqual(['c', 'd', undefined]);
    t.delete(t.find('a') as Entry<Json, Key>);
    t.clear();
    t.restore(loaded(lines).entries)();
    const numbers = [...t.entries()].map(({ number }) => number);
    expect([...numbers].sort((x, y) => x - y)).toEqual(numbers);
  });

  it('what is put in the place of everything detaches every view', () => {
    const { table: t } = table(2);
    t.load(loaded({ a: '{"n":1}' }).entries);
    const view = t.find('a')?.value as { n: number };
    t.replaceAll(loaded({ a: '{"n":1}', b: '2' }).entries);
    expect(keysOf(t.entries())).toEqual(['a', 'b']);
    expect(() => (view.n = 2)).toThrow('detached');
  });

  it('saved rows in the place of everything get numbers that nothing had before', () => {
    const rows = (): Rows<Json, Key> => {
      const made = new Rows<Json, Key>(1);
      for (const [n, item] of loaded({ a: '1', b: '2' }).entries.entries())
        made.pushLoaded(item, item.key as string, n);
      return made;
    };
    const { table: t } = table(2);
    t.loadRows(rows());
    const numbers = (): number[] => [...t.entries()].map(({ number }) => number);
    expect(numbers()).toEqual([0, 1]);
    const old = t.find('a') as Entry<Json, Key>;
    t.replaceRows(rows());
    expect(numbers()).toEqual([2, 3]);
    expect(t.current(old)).toBeUndefined();
    t.replaceAll(loaded({ a: '1' }).entries);
    expect(numbers()).toEqual([4]);
  });

  it('nothing changes where what is to be put in the place of everything cannot be read', () => {
    const { table: t } = table(2);
    t.load(loaded({ a: '{"n":1}' }).entries);
    const view = t.find('a')?.value as { n: number };
    let rebuilt = 0;
    t.observe({
      entryChanged: () => {},
      entryRemoved: () => {},
      tableRebuilt: () => void rebuilt++,
      stateOf: (value) => (value as { n: number }).n,
    });
    expect(() => t.replaceAll(loaded({ a: '{"n":2}', b: '{' }).entries)).toThrow(PodError);
    expect([keysOf(t.entries()), view.n, rebuilt]).toEqual([['a'], 1, 1]);
    view.n = 3;
    expect(t.find('a')?.plain).toEqual({ n: 3 });
  });
});

describe('the observer', () => {
  it('is told of every change by whatever road, so that what it derives agrees with the entries', () => {
    const op = fc.tuple(
      fc.constantFrom('set', 'view', 'delete', 'clear', 'fail', 'commit', 'sync', 'restore', 'renumber'),
      fc.nat(6),
      fc.nat(3),
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 50 }), (steps) => {
        const { table: t } = table(2);
        let sum = 0;
        const parts = new Map<Entry<{ n: number }, Key>, number>();
        const derive = (entry: Entry<{ n: number }, Key>): void => {
          const { n } = entry.plain as { n: number };
          sum += n - (parts.get(entry) ?? 0);
          parts.set(entry, n);
        };
        const observed = t as unknown as Table<{ n: number }, Key>;
        const observer: TableObserver<{ n: number }, Key> = {
          entryChanged: derive,
          entryRemoved: (entry) => {
            sum -= parts.get(entry) ?? 0;
            parts.delete(entry);
          },
          tableRebuilt: () => {
            sum = 0;
            parts.clear();
            for (const entry of observed.entries()) derive(entry);
          },
        };
        observed.observe(observer);
        let point: Record<string, string> = {};
        const change = (step: string, key: number, n: number): void => {
          const entry = t.find(String(key));
          if (step === 'set') t.set(String(key), { n });
          if (step === 'view' && entry !== undefined) (entry.value as { n: number }).n = n;
          if (step === 'delete' && entry !== undefined) t.delete(entry);
          if (step === 'clear' && n === 0) t.clear();
        };
        for (const [step, key, n] of steps) {
          if (step === 'fail' || step === 'commit') {
            const run = (): void =>
              t.transaction(() => {
                for (const inner of ['set', 'view', 'delete', 'clear', 'set', 'view'])
                  change(inner, (key + inner.length) % 7, n);
                if (step === 'fail') throw new RangeError('on purpose');
              });
            if (step === 'fail') expect(run).toThrow(RangeError);
            else run();
          } else if (step === 'sync') {
            t.appended();
            t.synced();
            point = Object.fromEntries([...t.entries()].map((entry) => [entry.key, JSON.stringify(entry.plain)]));
          } else if (step === 'renumber') t.renumberShards(2);
          else if (step === 'restore') {
            // Names that look like numbers would be put in order by an object.
            t.restore(loaded(Object.fromEntries(Object.entries(point))).entries)();
          } else change(step, key, n);
          const wanted = [...t.entries()].reduce((total, entry) => total + (entry.plain as { n: number }).n, 0);
          expect([sum, parts.size]).toEqual([wanted, t.size]);
        }
      }),
      { numRuns: 500 },
    );
  });
});
