// Rule 11: the counters and lists are those of the entries after any change by any road.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import { Table } from '../../src/core/table.ts';
import { acceptEdits } from '../../src/disk/repair.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { TaskIndex } from '../../src/tracker/task-index.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import fc from '../fast-check.ts';
import { derivedBy, recount } from './recount.ts';
import { useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();

type Tracker = ProgressTracker<object>;

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
const hostile = fc.constantFrom<unknown>(true, false, 'true', 1, 0, -1, 2.5, 7, null, [], {}, { try: 1 }, undefined);
const task = fc.record(
  { _tries: fc.nat(4), _done: fc.boolean(), _aborted: fc.boolean(), _error: fc.constantFrom({ try: 1 }, { try: 0 }) },
  { requiredKeys: [] },
);

/** One change, by one of the roads that lead to an entry. */
const changeArb: fc.Arbitrary<(tracker: Tracker) => void> = fc.oneof(
  fc.tuple(key, task).map(
    ([k, value]) =>
      (tracker: Tracker) =>
        void tracker.set(k, value as never),
  ),
  fc.tuple(key, task).map(
    ([k, value]) =>
      (tracker: Tracker) =>
        tracker.update({ [k]: value as never }),
  ),
  key.map((k) => (tracker: Tracker) => void tracker.addIfAbsent(k)),
  key.map((k) => (tracker: Tracker) => void tracker.delete(k)),
  key.map((k) => (tracker: Tracker) => void tracker.pop(k)),
  fc
    .constantFrom('markDone', 'markNotDone', 'abort', 'unabort', 'incrementTries', 'decrementTries', 'resetTries')
    .chain((method) => key.map((k) => (tracker: Tracker) => void (tracker.has(k) && tracker[method as 'markDone'](k)))),
  key.map((k) => (tracker: Tracker) => void (tracker.has(k) && tracker.fail(k, new Error('x')))),
  key.map((k) => (tracker: Tracker) => void tracker.shouldTryAdd(k)),
  fc.tuple(key, fc.constantFrom('_tries', '_done', '_aborted', '_error'), hostile).map(
    ([k, name, value]) =>
      (tracker: Tracker) =>
        void Object.assign(tracker.get(k) ?? {}, { [name]: value }),
  ),
  fc.tuple(key, fc.constantFrom('_tries', '_done', '_aborted', '_error')).map(
    ([k, name]) =>
      (tracker: Tracker) =>
        void Reflect.deleteProperty(tracker.get(k) ?? {}, name),
  ),
  fc.nat(3).map((tries) => (tracker: Tracker) => {
    tracker.maxTries = tries;
  }),
  fc.constant((tracker: Tracker) => tracker.clear()),
);

const roadArb = fc.oneof(
  { weight: 12, arbitrary: changeArb.map((change) => ({ road: 'change' as const, changes: [change] })) },
  { weight: 2, arbitrary: fc.constant({ road: 'sync' as const, changes: [] }) },
  { weight: 2, arbitrary: fc.constant({ road: 'revert' as const, changes: [] }) },
  {
    weight: 3,
    arbitrary: fc
      .array(
        changeArb.filter((change) => !change.toString().includes('maxTries')),
        { minLength: 1, maxLength: 6 },
      )
      .chain((changes) => fc.constantFrom('commit' as const, 'roll back' as const).map((road) => ({ road, changes }))),
  },
  { weight: 1, arbitrary: fc.constant({ road: 'reopen' as const, changes: [] }) },
  { weight: 1, arbitrary: fc.constant({ road: 'compact' as const, changes: [] }) },
);

describe('counters and lists', () => {
  it('TPB-17: equal a recount after any change by any road', () => {
    fc.assert(
      fc.property(fc.array(roadArb, { minLength: 1, maxLength: 60, size: 'max' }), (roads) => {
        const path = temporary.path();
        const open = (): Tracker => temporary.keep(ProgressTracker.open(path, { fileSize: 2, durability: 'exit' }));
        let tracker = open();
        for (const { road, changes } of roads) {
          switch (road) {
            case 'sync':
            case 'revert':
            case 'compact':
              tracker[road]();
              break;
            case 'reopen':
              tracker.close();
              tracker = open();
              break;
            case 'commit':
              tracker.transaction(() => {
                for (const change of changes) change(tracker);
              });
              break;
            case 'roll back': {
              const before = JSON.stringify([...tracker]);
              const undo = (): void =>
                tracker.transaction(() => {
                  for (const change of changes) change(tracker);
                  throw new RangeError('roll back');
                });
              expect(undo).toThrow('roll back');
              expect(JSON.stringify([...tracker])).toBe(before);
              break;
            }
            default:
              for (const change of changes) change(tracker);
          }
          expect(derivedBy(tracker)).toEqual(recount(tracker, tracker.maxTries));
        }
        tracker.close();
      }),
      { numRuns: 60 },
    );
  });

  it('equal a recount after compact() moved every task to another place', () => {
    const tracker = temporary.keep(ProgressTracker.open(temporary.path(), { fileSize: 2 }));
    tracker.addMany(['a', 'b', 'c', 'd']);
    tracker.markDone('c');
    tracker.abort('d');
    tracker.delete('a');
    const loop = tracker.todoKeys();
    tracker.compact();
    expect(derivedBy(tracker)).toEqual(recount(tracker, 0));
    tracker.markDone('b');
    tracker.add('e');
    expect(derivedBy(tracker)).toEqual(recount(tracker, 0));
    expect([...loop]).toEqual(['e']);
  });

  it('equal a recount after an edit by hand that was accepted', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path, { maxTries: 2 });
    tracker.addMany(['a', 'b', 'c', 'd', 'e']);
    tracker.markDone('a');
    tracker.close();
    const file = join(path, '0.json');
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    const edited = [
      '"a"\t{"_tries":5,"_done":false,"_aborted":false}',
      '"b"\t{"_tries":0,"_done":true,"_aborted":false,"note":"by hand"}',
      '"c"\t{}',
      '"d"\t{"_tries":"two","_done":"yes","_aborted":1}',
      '"new"\t{"_tries":1,"_done":false,"_aborted":true}',
    ];
    writeFileSync(file, `${edited.join('\n')}\n`);
    expect(acceptEdits(nodeSystem, path)).toEqual(['0.json']);
    const again = temporary.keep(ProgressTracker.open(path));
    expect(derivedBy(again)).toEqual({
      size: 5,
      done: ['"b"'],
      aborted: ['"new"'],
      failed: [],
      todo: ['"c"', '"d"'],
      todoAllowingAborted: ['"c"', '"d"', '"new"'],
      tried: 2,
      tries: 6,
      exhausted: 1,
    });
    // What was not a record becomes one as soon as a method touches it.
    again.incrementTries('c');
    again.incrementTries('d');
    expect(again.snapshot('c')).toEqual({ _tries: 1, _done: false, _aborted: false });
    expect(again.tries('d')).toBe(1);
    expect(derivedBy(again)).toEqual(recount(again, 2));
  });

  it('equal a recount after a kill, read back from the log alone', async () => {
    const path = temporary.path();
    const tracker = temporary.keep(ProgressTracker.open(path, { maxTries: 2 }));
    tracker.addMany(['a', 'b', 'c', 'd']);
    tracker.markDone('b');
    tracker.abort('c', 'no');
    for (const key of tracker.tryKeys({ limit: 1 })) tracker.fail(key, 'x');
    await Promise.resolve();
    const copy = temporary.copy(path);
    expect(readdirSync(copy)).not.toContain('0.json');
    const killed = temporary.keep(ProgressTracker.open(copy));
    expect(derivedBy(killed)).toEqual(derivedBy(tracker));
    expect(derivedBy(killed)).toEqual(recount(tracker, 2));
  });

  it('equal a recount for a reader, and after it looked again', () => {
    const path = temporary.path();
    const tracker = temporary.keep(ProgressTracker.open(path, { maxTries: 1 }));
    tracker.addMany(['a', 'b']);
    tracker.sync();
    const reader = temporary.keep(ProgressTracker.open(path, { mode: 'r', isolated: true }));
    expect(derivedBy(reader)).toEqual(recount(tracker, 1));
    tracker.markDone('a');
    tracker.add('c');
    tracker.delete('b');
    tracker.sync();
    reader.revert();
    expect(derivedBy(reader)).toEqual(recount(tracker, 1));
    expect(reader.numDone()).toBe(1);
  });
});

describe('TaskIndex', () => {
  const owner = {
    beforeChange: () => {},
    afterChange: () => {},
    detachedError: () => new PodError('ERR_POD_DETACHED', 'x'),
    located: (error: unknown) => error,
  };

  it('derives nothing anew for an entry whose state did not change', () => {
    const table = new Table<object, string>(owner, 1_000);
    const index = new TaskIndex(table, 0);
    const entry = table.set('a', { _tries: 1, _done: true, title: 'x' });
    const before = { tried: index.tried, tries: index.tries, done: index.done.size };
    table.set('a', { _tries: 1, _done: true, title: 'y' });
    expect({ tried: index.tried, tries: index.tries, done: index.done.size }).toEqual(before);
    expect(index.done.has(entry.slot)).toBe(true);
  });

  it('finds the first of both kinds when aborted tasks are allowed', () => {
    const table = new Table<object, string>(owner, 1_000);
    const index = new TaskIndex(table, 0);
    const slots = [{ _aborted: true }, {}, { _done: true }, { _aborted: true }].map(
      (value, at) => table.set(`k${at}`, value).slot,
    );
    expect(slots).toEqual([0, 1, 2, 3]);
    expect([0, 1, 2, 3, 4].map((from) => index.nextTodo(from, false))).toEqual([1, 1, -1, -1, -1]);
    expect([0, 1, 2, 3, 4].map((from) => index.nextTodo(from, true))).toEqual([0, 1, 3, 3, -1]);
  });

  it('files everything anew when the limit changes', () => {
    const table = new Table<object, string>(owner, 1_000);
    const index = new TaskIndex(table, 0);
    for (let tries = 0; tries < 5; tries++) table.set(`k${tries}`, { _tries: tries });
    const seen: [number, number, number][] = [];
    for (const maxTries of [0, 1, 3, 9]) {
      index.maxTries = maxTries;
      seen.push([maxTries, index.todo.size, index.exhausted]);
    }
    expect(seen).toEqual([
      [0, 5, 0],
      [1, 1, 4],
      [3, 3, 2],
      [9, 5, 0],
    ]);
  });
});
