// A set of changes is the difference between a table now and then: compared with one that is worked out from two pictures.
import { describe, expect, it } from 'vitest';
import { ChangeSet, type Cleared, type Numbered } from '../../src/core/changes.ts';
import { keyIdentity } from '../../src/core/key.ts';
import fc from '../fast-check.ts';

interface Item extends Numbered<string> {
  readonly key: string;
}

/** What a table that held these was, when it was cleared. */
function cleared(items: readonly Item[]): Cleared<string> {
  const before = (number: number): Item[] => items.filter((item) => item.number < number);
  return {
    countBefore: (number) => before(number).length,
    keysBefore: (number) => before(number).map(({ identity, key }) => [identity, key] as const),
  };
}

describe('a set of changes', () => {
  it('names exactly the keys that came, went, were set, or were moved to the end', () => {
    const step = fc.tuple(
      fc.constantFrom('set' as const, 'set' as const, 'delete' as const, 'clear' as const, 'copy' as const),
      fc.constantFrom(...'abcdef'),
    );
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom(...'abcd')), fc.array(step, { maxLength: 25 }), (start, steps) => {
        let number = 0;
        const now = new Map<string, Item>();
        const add = (key: string): Item => {
          const item = { key, identity: keyIdentity(key), number: number++ };
          now.set(key, item);
          return item;
        };
        for (const key of start) add(key);
        const then = new Map(now);
        let changes = new ChangeSet<Item, string>(number);
        const written = new Set<string>();
        expect([changes.isEmpty, changes.size, [...changes.keys()]]).toEqual([true, 0, []]);
        for (const [op, key] of steps) {
          if (op === 'set') {
            changes.entryChanged(now.get(key) ?? add(key));
            written.add(key);
          } else if (op === 'delete') {
            const item = now.get(key);
            if (item === undefined) continue;
            now.delete(key);
            changes.entryDeleted(item);
            written.delete(key);
          } else if (op === 'clear') {
            const all = [...now.values()];
            now.clear();
            changes.tableCleared(cleared(all));
            written.clear();
          } else changes = changes.copy();
          const wanted = new Set<string>(written);
          for (const known of then.keys()) if (now.get(known) !== then.get(known)) wanted.add(known);
          expect(new Set(changes.keys())).toEqual(wanted);
          expect(changes.size).toBeGreaterThanOrEqual(wanted.size);
          if (wanted.size === 0 && changes.cleared === undefined)
            expect([changes.isEmpty, changes.size]).toEqual([true, 0]);
          const added = changes.added();
          expect(added).toEqual([...now.values()].filter((item) => item.number >= changes.since));
          expect(new Set(changes.updated())).toEqual(
            new Set([...written].map((name) => now.get(name) as Item).filter((item) => item.number < changes.since)),
          );
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('what was put back behind a later one is added in the order of its number', () => {
    const changes = new ChangeSet<Item, string>(0);
    const [first, second] = ['a', 'b'].map((key, number) => ({ key, identity: key, number })) as [Item, Item];
    changes.entryChanged(second);
    changes.entryChanged(first);
    expect(changes.added()).toEqual([first, second]);
  });

  it('assign takes another one over whole', () => {
    const one = new ChangeSet<Item, string>(1);
    const other = new ChangeSet<Item, string>(1);
    const item: Item = { key: 'a', identity: 'a', number: 0 };
    other.tableCleared(cleared([item]));
    one.entryChanged({ key: 'b', identity: 'b', number: 1 });
    one.assign(other);
    expect([[...one.keys()], one.size, one.isEmpty]).toEqual([['a'], 1, false]);
    one.assign(new ChangeSet<Item, string>(1));
    expect([[...one.keys()], one.size, one.isEmpty]).toEqual([[], 0, true]);
  });
});
