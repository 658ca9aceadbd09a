// Opening a tracker: its options, what is no tracker's, making one of a pod, the schema, and what is put in at the start.
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import type { Json } from '../../src/core/json.ts';
import { acceptEdits } from '../../src/disk/repair.ts';
import { POD, PodError, ProgressTracker, Tracker } from '../../src/index.ts';
import type { TrackerOptions } from '../../src/tracker/options.ts';
import { fastSystem } from './fast-system.ts';
import { derivedBy, recount } from './recount.ts';
import { codeOf, errorOf, useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();
const NEW = { _tries: 0, _done: false, _aborted: false };

type Data = Record<string, unknown>;

function open<T extends object = Data>(path: string, options: TrackerOptions<T, string> = {}): ProgressTracker<T> {
  return temporary.keep(ProgressTracker.open<T>(path, options));
}

function openPod(path: string, init?: Record<string, Json>): POD {
  return temporary.keep(POD.open(path, init === undefined ? {} : { init }));
}

/** A closed pod. */
function podAt(init: Record<string, Json>): string {
  const path = temporary.path();
  openPod(path, init).close();
  return path;
}

function plainOf(pod: Iterable<readonly [unknown, unknown]>): unknown {
  return JSON.parse(JSON.stringify([...pod]));
}

describe('options', () => {
  it('TP-110: are those of a pod, and the limit of tries', () => {
    const path = temporary.path();
    const tracker = open(path, {
      maxTries: 3,
      gzipped: true,
      fileSize: 7,
      syncAt: 5,
      syncEvery: 0,
      durability: 'power',
    });
    expect([tracker.maxTries, tracker.syncAt, tracker.isWritable, tracker.path]).toEqual([3, 5, true, path]);
    tracker.add('a');
    tracker.close();
    expect(readdirSync(path)).toContain('0.json.gz');
    expect(Tracker).toBe(ProgressTracker);
  });

  it('TP-110: without a limit there is none', () => {
    expect(open(temporary.path()).maxTries).toBe(0);
  });

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '3', null])('refuse %o tries', (maxTries) => {
    const path = temporary.path();
    const bad = maxTries as number;
    const error = errorOf(() => ProgressTracker.open(path, { maxTries: bad }));
    expect([error.code, error.info?.option]).toEqual(['ERR_POD_OPTIONS', 'maxTries']);
    const tracker = open(path, { maxTries: 2 });
    const set = errorOf(() => {
      tracker.maxTries = bad;
    });
    expect([set.code, set.info?.option, tracker.maxTries]).toEqual(['ERR_POD_OPTIONS', 'maxTries', 2]);
  });

  it('refuse what is no option', () => {
    const error = errorOf(() => ProgressTracker.open(temporary.path(), { max_tries: 3 } as never));
    expect([error.code, error.info?.option]).toEqual(['ERR_POD_OPTIONS', 'max_tries']);
  });

  it('TPB-18: the limit of tries is kept on disk', () => {
    const path = temporary.path();
    const tracker = open(path, { maxTries: 2 });
    tracker.add('a', { _tries: 2 });
    expect(tracker.numTodo()).toBe(0);
    tracker.close();
    const again = open(path);
    expect([again.maxTries, again.numTodo(), again.stats().exhausted]).toEqual([2, 0, 1]);
  });

  it('TPB-18: a new limit takes effect at once and is durable at once', () => {
    const path = temporary.path();
    const tracker = open(path, { maxTries: 1, durability: 'exit' });
    tracker.add('a', { _tries: 1 });
    tracker.sync();
    tracker.maxTries = 2;
    expect([...tracker.todoKeys()]).toEqual(['a']);
    const killed = open(temporary.copy(path));
    expect([killed.maxTries, killed.numTodo()]).toEqual([2, 1]);
    tracker.close();
    const again = open(path, { maxTries: 1 });
    expect([again.maxTries, again.numTodo()]).toEqual([1, 0]);
    again.close();
    expect(open(path).maxTries).toBe(1);
  });

  it('TPB-18: opening again with another limit sets it for the one tracker there is', () => {
    const path = temporary.path();
    const tracker = open(path, { maxTries: 1 });
    expect(open(path, { maxTries: 4 })).toBe(tracker);
    expect(tracker.maxTries).toBe(4);
    expect(open(path)).toBe(tracker);
    expect(tracker.maxTries).toBe(4);
  });

  it('TPB-18: a reader may look with another limit and changes nothing', () => {
    const path = temporary.path();
    const tracker = open(path, { maxTries: 1 });
    tracker.add('a', { _tries: 1 });
    tracker.close();
    const before = readFileSync(join(path, 'pod.json'), 'utf8');
    const reader = open(path, { mode: 'r', maxTries: 2 });
    expect([reader.maxTries, [...reader.todoKeys()]]).toEqual([2, ['a']]);
    reader.close();
    expect(readFileSync(join(path, 'pod.json'), 'utf8')).toBe(before);
  });

  it('refuse a new limit in a transaction, which could not take it back', () => {
    const tracker = open(temporary.path(), { maxTries: 1 });
    const change = (): void =>
      tracker.transaction(() => {
        tracker.add('a');
        tracker.maxTries = 5;
      });
    expect(codeOf(change)).toBe('ERR_POD_UNSUPPORTED');
    expect([tracker.maxTries, tracker.size]).toEqual([1, 0]);
  });

  it('leave nothing open when the limit cannot be saved', () => {
    const path = temporary.path();
    open(path, { maxTries: 1 }).close();
    const full = vi.spyOn(fastSystem.fs, 'stage').mockImplementation(() => {
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' });
    });
    try {
      expect(codeOf(() => ProgressTracker.open(path, { maxTries: 2 }))).toBe('ERR_POD_DISK');
    } finally {
      full.mockRestore();
    }
    const tracker = open(path);
    tracker.close();
    expect(tracker.closed).toBe(true);
    expect(tracker.maxTries).toBe(1);
  });

  it('TP-199: what lies on the disk can be read and edited by people', () => {
    const path = temporary.path();
    const tracker = open(path, { maxTries: 3 });
    tracker.add('https://a.example/é', { title: 'A "quoted" one' });
    tracker.markDone('https://a.example/é');
    tracker.close();
    expect(readFileSync(join(path, '0.json'), 'utf8')).toBe(
      '"https://a.example/é"\t{"_tries":0,"_done":true,"_aborted":false,"title":"A \\"quoted\\" one"}\n',
    );
  });
});

describe('a pod and a tracker on one folder', () => {
  it('TPT-23: a plain pod that is open cannot be opened as a tracker', () => {
    const path = temporary.path();
    const pod = openPod(path, { a: 1 });
    const error = errorOf(() => ProgressTracker.open(path));
    expect([error.code, error.info?.option]).toEqual(['ERR_POD_OPTIONS', 'kind']);
    expect(pod.get('a')).toBe(1);
  });

  it.each<[string, Record<string, Json>]>([
    ['numbers', { a: 1 }],
    ['objects without a record', { a: { title: 'x' } }],
    ['records that are not complete', { a: { _tries: 0, _done: false } }],
    ['records of the wrong type', { a: { ...NEW, _done: 'no' } }],
    ['one value that is no task among tasks', { a: NEW, b: null }],
  ])('a pod of %s is refused as a tracker, says what to do, and stays as it is', (_name, init) => {
    const path = podAt(init);
    for (const mode of ['w', 'r', 'w'] as const) {
      const error = errorOf(() => ProgressTracker.open(path, { mode }));
      expect([error.code, error.info?.option]).toEqual(['ERR_POD_OPTIONS', 'kind']);
      expect(error.message).toContain('convertToTracker()');
    }
    const pod = openPod(path);
    expect(plainOf(pod)).toEqual(Object.entries(init));
    expect(pod.recovery.ended).toBe('closed');
  });

  it('a pod whose values are all tasks is a tracker from then on', () => {
    const path = podAt({ a: { ...NEW, _done: true }, b: { ...NEW, n: 1 } });
    const tracker = open(path, { maxTries: 2 });
    expect([...tracker.todoKeys()]).toEqual(['b']);
    tracker.close();
    expect(open(path).maxTries).toBe(2);
  });

  it('an empty pod is one too', () => {
    const tracker = open(podAt({}));
    tracker.add('a');
    expect(tracker.numTodo()).toBe(1);
  });

  it('a tracker that is open is what POD.open gives', () => {
    const path = temporary.path();
    const tracker = open(path);
    expect(openPod(path)).toBe(tracker);
  });

  it('a closed tracker opens as a pod, keeps its limit, and is a tracker again', () => {
    const path = temporary.path();
    const tracker = open(path, { maxTries: 3 });
    tracker.addMany(['a', 'b']);
    tracker.close();
    const pod = openPod(path);
    expect(pod).not.toBeInstanceOf(ProgressTracker);
    expect(plainOf(pod)).toEqual([
      ['a', NEW],
      ['b', NEW],
    ]);
    pod.set('a', { ...NEW, _done: true });
    pod.close();
    const again = open(path);
    expect([again.maxTries, again.numDone(), [...again.todoKeys()]]).toEqual([3, 1, ['b']]);
  });

  it('TP-112: what a pod put into a tracker is not lost when it becomes a task', () => {
    const path = temporary.path();
    open(path, { maxTries: 3 }).close();
    const pod = openPod(path);
    pod.update({ number: 5, text: 'x', none: null, list: [1], object: { n: 1 }, merged: 'y', marked: 7 });
    pod.close();
    const tracker = open(path);
    expect(derivedBy(tracker)).toEqual(recount(tracker as Iterable<readonly [string, unknown]>, 3));
    expect(tracker.numTodo()).toBe(7);
    tracker.update({ merged: { n: 2 } as never });
    tracker.markDone('marked', { n: 3 });
    for (const key of tracker.tryKeys({ limit: 5 })) tracker.fail(key, 'no');
    const tasks = Object.fromEntries([...tracker.keys()].map((key) => [key, tracker.snapshot(key)]));
    const failed = {
      _tries: 1,
      _done: false,
      _aborted: false,
      _error: expect.objectContaining({ message: 'no', try: 1 }),
    };
    expect(tasks).toEqual({
      number: { ...failed, val: 5 },
      text: { ...failed, val: 'x' },
      none: { ...failed, val: null },
      list: { ...failed, val: [1] },
      object: { ...failed, n: 1 },
      merged: { ...NEW, val: 'y', n: 2 },
      marked: { ...NEW, _done: true, val: 7, n: 3 },
    });
    expect(derivedBy(tracker)).toEqual(recount(tracker as Iterable<readonly [string, unknown]>, 3));
  });

  it('TPT-23: a folder of the ancestor that holds no tasks is refused, again and again, and stays a pod', () => {
    const fixture = new URL('../fixtures/tastypy/', import.meta.url);
    const path = temporary.path();
    cpSync(new URL('plain.pod', fixture), path, { recursive: true });
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(errorOf(() => ProgressTracker.open(path)).info?.option).toBe('kind');
    }
    const expected = JSON.parse(readFileSync(new URL('plain.expected.json', fixture), 'utf8')) as { entries: unknown };
    expect(plainOf(openPod(path))).toEqual(expected.entries);
  });
});

describe('convertToTracker', () => {
  const init = {
    number: 5,
    none: null,
    text: 'x',
    list: [1, { a: 1 }],
    object: { n: 1, _tries: 2 },
    task: { ...NEW, _done: true },
  };
  const converted = [
    ['number', { ...NEW, val: 5 }],
    ['none', { ...NEW, val: null }],
    ['text', { ...NEW, val: 'x' }],
    ['list', { ...NEW, val: [1, { a: 1 }] }],
    ['object', { ...NEW, _tries: 2, n: 1 }],
    ['task', { ...NEW, _done: true }],
  ];

  it('TP-053: makes a task of every value', () => {
    const path = temporary.path();
    const pod = openPod(path, init);
    const tracker = temporary.keep(pod.convertToTracker({ maxTries: 2 }));
    expect(tracker).toBeInstanceOf(ProgressTracker);
    expect(plainOf(tracker)).toEqual(converted);
    expect([tracker.maxTries, tracker.numDone(), tracker.numTried()]).toEqual([2, 1, 1]);
    expect([...tracker.todoKeys()]).toEqual(['number', 'none', 'text', 'list']);
    expect(tracker.dirty().size).toBe(0);
    tracker.close();
    expect(pod.closed).toBe(false);
    pod.close();
    const again = open(path);
    expect([again.maxTries, plainOf(again)]).toEqual([2, converted]);
  });

  it('TP-053: leaves the pod working on the same tasks', () => {
    const path = temporary.path();
    const pod = openPod(path, { a: 1 });
    const tracker = temporary.keep(pod.convertToTracker());
    pod.set('b', { ...NEW, _done: true });
    expect(tracker.numDone()).toBe(1);
    tracker.add('c');
    expect(pod.has('c')).toBe(true);
    expect(open(path)).toBe(tracker);
    expect(openPod(path)).toBe(tracker);
  });

  it('TP-053: is durable when it returns', () => {
    const path = temporary.path();
    openPod(path, init).convertToTracker({ maxTries: 4 });
    const killed = open(temporary.copy(path));
    expect([killed.maxTries, plainOf(killed)]).toEqual([4, converted]);
  });

  it('TP-053: a failing one changes nothing', () => {
    const path = temporary.path();
    const bad = { a: 1, b: { n: 1 }, c: { _tries: 'many' }, d: 2 };
    const pod = openPod(path, bad);
    pod.sync();
    expect(errorOf(() => pod.convertToTracker()).code).toBe('ERR_POD_VALUE');
    expect(plainOf(pod)).toEqual(Object.entries(bad));
    expect(pod.dirty().size).toBe(0);
    expect(openPod(path)).toBe(pod);
    // Nothing is held: what comes next is saved as ever.
    pod.syncAt = 1;
    pod.set('e', 1);
    expect(pod.dirty().size).toBe(0);
    pod.close();
    pod.close();
    expect(errorOf(() => ProgressTracker.open(path)).info?.option).toBe('kind');
  });

  it.each([-1, 1.5, 'x'])('refuses %o tries, and changes nothing', (maxTries) => {
    const pod = openPod(temporary.path(), { a: 1 });
    expect(errorOf(() => pod.convertToTracker({ maxTries: maxTries as number })).info?.option).toBe('maxTries');
    expect(plainOf(pod)).toEqual([['a', 1]]);
  });

  it('a tracker is one already', () => {
    const tracker = open(temporary.path(), { maxTries: 3 });
    expect(tracker.convertToTracker()).toBe(tracker);
    expect(tracker.maxTries).toBe(3);
  });

  it('done twice gives the one tracker, whose counters stay right', () => {
    const pod = openPod(temporary.path(), { a: 1 });
    const first = temporary.keep(pod.convertToTracker({ maxTries: 3 }));
    const second = temporary.keep(pod.convertToTracker());
    second.markDone('a');
    expect([first.numDone(), second.numDone()]).toEqual([1, 1]);
    expect(second).toBe(first);
    expect(first.maxTries).toBe(3);
    pod.close();
    first.close();
    expect(pod.closed).toBe(false);
    second.close();
    expect(pod.closed).toBe(true);
  });

  it('keeps the limit of a folder that was a tracker', () => {
    const path = temporary.path();
    open(path, { maxTries: 3 }).close();
    const pod = openPod(path, { a: 1 });
    expect(temporary.keep(pod.convertToTracker()).maxTries).toBe(3);
  });

  it('is refused in a transaction, with nothing changed even where the refusal is caught', () => {
    const pod = openPod(temporary.path(), { a: 1 });
    pod.transaction(() => {
      expect(codeOf(() => pod.convertToTracker())).toBe('ERR_POD_UNSUPPORTED');
    });
    expect(plainOf(pod)).toEqual([['a', 1]]);
    expect(openPod(pod.path)).toBe(pod);
  });

  it('is refused for a reader and after closing', () => {
    const path = podAt({ a: 1 });
    const reader = temporary.keep(POD.open(path, { mode: 'r' }));
    expect(codeOf(() => reader.convertToTracker())).toBe('ERR_POD_READONLY');
    reader.close();
    expect(codeOf(() => reader.convertToTracker())).toBe('ERR_POD_CLOSED');
  });
});

describe("a schema for the user's part", () => {
  const schema = z.strictObject({ depth: z.number().int(), title: z.string().default('none') });
  type Page = z.output<typeof schema>;

  it('is asked about the data alone, and its defaults are kept', () => {
    const path = temporary.path();
    const tracker = open<Page>(path, { schema });
    tracker.add('a', { depth: 1 } as Page);
    tracker.incrementTries('a');
    tracker.fail('a', 'x');
    expect(tracker.snapshot('a')).toMatchObject({ depth: 1, title: 'none', _tries: 1 });
    tracker.close();
    expect(open<Page>(path, { schema }).get('a')?.title).toBe('none');
  });

  it.each<[string, (tracker: ProgressTracker<Page>) => unknown]>([
    ['add', (tracker) => tracker.add('b', { depth: 'deep' } as never)],
    ['addIfAbsent', (tracker) => tracker.addIfAbsent('b', { depth: 1, more: 1 } as never)],
    ['addMany, which adds without data', (tracker) => tracker.addMany(['b'])],
    ['set', (tracker) => tracker.set('a', { ...NEW, depth: 1.5 } as never)],
    ['update of a new task', (tracker) => tracker.update({ b: { title: 'x' } as never })],
    ['update of a task that is there', (tracker) => tracker.update({ a: { depth: 'deep' } as never })],
    ['markDone', (tracker) => tracker.markDone('a', { depth: 'deep' } as never)],
    ['getOrInsert', (tracker) => tracker.getOrInsert('b', { depth: null } as never)],
  ])('refuses what does not fit in %s', (_name, change) => {
    const tracker = open<Page>(temporary.path(), { schema });
    tracker.add('a', { depth: 1, title: 'A' });
    const error = errorOf(() => change(tracker));
    expect(error.code).toBe('ERR_POD_SCHEMA');
    expect(plainOf(tracker)).toEqual([['a', { ...NEW, depth: 1, title: 'A' }]]);
    expect(tracker.numDone()).toBe(0);
  });

  it('TP-099: is asked again when a task from the disk is first read', () => {
    const path = temporary.path();
    const tracker = open(path);
    tracker.add('good', { depth: 1 });
    tracker.add('bad', { depth: 'deep' });
    tracker.add('done', { depth: 'deep', _done: true });
    tracker.close();
    const checked = open<Page>(path, { schema });
    expect(checked.get('good')?.title).toBe('none');
    const error = errorOf(() => checked.get('bad'));
    expect([error.code, error.key, error.at]).toEqual(['ERR_POD_SCHEMA', 'bad', '$.depth']);
    // Counting needs no reading.
    expect([checked.numDone(), checked.numTodo()]).toEqual([1, 2]);
  });

  it('is given a value that is no task under the name it will have', () => {
    const path = temporary.path();
    open(path).close();
    const pod = openPod(path);
    pod.update({ five: 5, none: null });
    pod.close();
    const strict = open<Page>(path, { schema });
    expect([codeOf(() => strict.get('five')), codeOf(() => strict.get('none'))]).toEqual([
      'ERR_POD_SCHEMA',
      'ERR_POD_SCHEMA',
    ]);
    strict.close();
    const loose = open<{ val?: unknown }>(path, { schema: z.object({ val: z.unknown() }) });
    expect([loose.get('five')?.val, loose.get('none')?.val]).toEqual([5, null]);
  });

  it('keeps names that mean something to objects', () => {
    const tracker = open<Data>(temporary.path(), { schema: passThrough });
    tracker.add('a', JSON.parse('{"__proto__":{"x":1},"constructor":2}') as Data);
    expect(JSON.stringify(tracker.snapshot('a'))).toBe(
      '{"__proto__":{"x":1},"constructor":2,"_tries":0,"_done":false,"_aborted":false}',
    );
  });

  it('may not answer with a promise', () => {
    const tracker = open<Data>(temporary.path(), { schema: z.looseObject({}).refine(async () => true) });
    expect(codeOf(() => tracker.add('a', { n: 1 }))).toBe('ERR_POD_SCHEMA');
    expect(tracker.size).toBe(0);
  });

  it('is the same one each time it is given, and conflicts with another', () => {
    const path = temporary.path();
    const tracker = open<Page>(path, { schema });
    expect(open<Page>(path, { schema })).toBe(tracker);
    const other = z.strictObject({ depth: z.number(), title: z.string() });
    expect(errorOf(() => ProgressTracker.open<Page>(path, { schema: other })).info?.option).toBe('schema');
  });

  const passThrough = {
    '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as Data }) },
  } as const;
});

describe('init', () => {
  it('is merged in after loading, as update() does it', () => {
    const path = temporary.path();
    const tracker = open(path, { init: { a: { n: 1 } } as never });
    tracker.markDone('a');
    tracker.close();
    const again = open(path, {
      init: [
        ['a', { n: 2 }],
        ['b', {}],
      ] as never,
    });
    expect(plainOf(again)).toEqual([
      ['a', { ...NEW, _done: true, n: 2 }],
      ['b', NEW],
    ]);
  });

  it('leaves nothing open and nothing changed where it is refused', () => {
    const path = temporary.path();
    open(path, { init: { a: {} } as never }).close();
    const bad = { a: { n: 1 }, b: { _done: 'x' } } as never;
    expect(codeOf(() => ProgressTracker.open(path, { init: bad }))).toBe('ERR_POD_VALUE');
    const tracker = open(path);
    expect(plainOf(tracker)).toEqual([['a', NEW]]);
    tracker.close();
    expect(tracker.closed).toBe(true);
  });
});

describe('a folder of tastypy that holds no tasks', () => {
  it('is refused and stays as it was, to the last file', () => {
    const path = temporary.path();
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, '0.json'), '"a"\t{"n":1}\n"b"\t[2]\n');
    expect(codeOf(() => ProgressTracker.open(path))).toBe('ERR_POD_OPTIONS');
    expect(readdirSync(path)).toEqual(['0.json']);
    expect(readFileSync(join(path, '0.json'), 'utf8')).toBe('"a"\t{"n":1}\n"b"\t[2]\n');
    expect(codeOf(() => ProgressTracker.open(path, { mode: 'r' }))).toBe('ERR_POD_OPTIONS');
    expect(readdirSync(path)).toEqual(['0.json']);
    const pod = POD.open<Json>(path);
    expect([...pod.keys()]).toEqual(['a', 'b']);
    pod.close();
  });
});

describe('hostile values in a folder', () => {
  it('open and count as what is not there', () => {
    const path = temporary.path();
    const tracker = open(path, { maxTries: 2 });
    tracker.addMany(['a']);
    tracker.close();
    const hostile: Json[] = [
      { _tries: -5, _done: true, _aborted: 0 },
      { _tries: 1_000_000, _done: 'true', _aborted: 'true', _error: 'x' },
      { _tries: { valueOf: 3 }, _done: [], _aborted: {}, _error: [] },
      { _tries: null, _done: null, _aborted: null, _error: null },
      { _tries: 0.999 },
      { _error: { try: { a: 1 }, name: 5 } },
      {},
      [],
      'text',
      0,
      null,
    ];
    const lines = hostile.map((value, line) => `"k${line}"\t${JSON.stringify(value)}\n`);
    writeFileSync(join(path, '0.json'), [...lines, '"__proto__"\t{"__proto__":{"_done":true}}\n'].join(''));
    expect(errorOf(() => ProgressTracker.open(path))).toBeInstanceOf(PodError);
    expect(acceptEdits(fastSystem, path)).toEqual(['0.json']);
    const again = open(path);
    const entries = again as Iterable<readonly [string, unknown]>;
    expect(derivedBy(again)).toEqual(recount(entries, 2));
    expect([...again.doneKeys()]).toEqual(['k0']);
    expect([...again.failedKeys()]).toEqual(['k2', 'k5']);
    for (const key of again.tryKeys()) again.markDone(key);
    expect(derivedBy(again)).toEqual(recount(entries, 2));
    expect(again.numTodo()).toBe(0);
    expect(again.numDone()).toBe(again.size - 1);
  });
});
