// Saving: what is dirty, sync points and when they come, hold, revert, transactions, and the end of a handle (rules 7 and 8).
import * as fs from 'node:fs';
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Json, Key, PodErrorCode } from '../../src/index.ts';
import { POD } from '../../src/index.ts';
import { codeOf, listing, plain, temporary, thrownBy } from './support.ts';

const { path, open } = temporary();

afterEach(() => {
  vi.useRealTimers();
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What another process would find if this one were killed now. */
function afterKill(pod: { readonly path: string }): unknown[] {
  const copy = path();
  cpSync(pod.path, copy, { recursive: true });
  const other = POD.open<Json, Key>(copy);
  try {
    return plain([...other]);
  } finally {
    other.close();
  }
}

describe('rule 8: dirty', () => {
  it('TP-061: is a new set each time, of the keys that changed since the last sync point, by whatever road', () => {
    const pod = open<{ n: number }, Key>(path(), {
      init: [
        ['a', { n: 1 }],
        [1, { n: 1 }],
        [['t'], { n: 1 }],
        ['d', { n: 1 }],
      ],
    });
    expect(pod.dirty()).toEqual(new Set<Key>(['a', 1, ['t'], 'd']));
    pod.sync();
    expect(pod.dirty()).toEqual(new Set());
    (pod.get(1) as { n: number }).n = 2;
    pod.delete('d');
    pod.set('new', { n: 1 });
    const dirty = pod.dirty();
    expect(dirty).toEqual(new Set<Key>([1, 'd', 'new']));
    dirty.clear();
    expect(pod.dirty().size).toBe(3);
  });

  it('of a key that came and went again is nothing', () => {
    const pod = open<number>(path(), { init: { a: 1 } });
    pod.sync();
    pod.set('b', 2);
    pod.delete('b');
    expect(pod.dirty()).toEqual(new Set());
  });

  it('of a pod that was cleared is everything that was there, also what had been deleted before', () => {
    const pod = open<number>(path(), { init: { a: 1, b: 2, c: 3 } });
    pod.sync();
    pod.delete('a');
    pod.set('d', 4);
    pod.clear();
    expect(pod.dirty()).toEqual(new Set(['a', 'b', 'c']));
    pod.set('e', 5);
    pod.set('a', 6);
    expect(pod.dirty()).toEqual(new Set(['a', 'b', 'c', 'e']));
    pod.revert();
    expect([...pod]).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
  });

  it('TP-060, TPB-07: markDirty and syncKey of an unknown key are refused, and do no harm', () => {
    const at = path();
    const pod = open<Json, Key>(at, { init: [['a', 1]] });
    for (const call of [() => pod.markDirty('never'), () => pod.syncKey('never'), () => pod.markDirty(['never', 1])]) {
      const error = thrownBy(call);
      expect(error.code).toBe('ERR_POD_UNKNOWN_KEY');
      expect(error.path).toBe(at);
      expect(JSON.stringify(error.key)).toContain('never');
      expect(error.message).toContain('never');
    }
    expect(pod.dirty()).toEqual(new Set(['a']));
    pod.sync();
    pod.close();
    expect([...open(at)]).toEqual([['a', 1]]);
  });

  it('TP-060: markDirty marks, and the entry is written again', () => {
    const pod = open<number>(path(), { init: { a: 1, b: 2 } });
    pod.sync();
    pod.markDirty('a');
    expect(pod.dirty()).toEqual(new Set(['a']));
    const { size } = fs.statSync(join(pod.path, log(pod)));
    pod.sync();
    expect(fs.statSync(join(pod.path, log(pod))).size).toBeGreaterThan(size);
  });

  it('TP-062: syncKey makes a sync point for everything', () => {
    const pod = open<number>(path(), { init: { a: 1, b: 2 }, durability: 'exit' });
    pod.syncKey('a');
    expect(pod.dirty()).toEqual(new Set());
    expect(afterKill(pod)).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });
});

/** The segment that is being written. */
function log(pod: { readonly path: string }): string {
  return readdirSync(pod.path)
    .filter((name) => name.startsWith('wal-'))
    .sort()
    .at(-1) as string;
}

describe('rule 8: sync points', () => {
  it('D2, D30, TP-063: sync makes everything durable, and cleans', () => {
    const pod = open<number>(path(), { durability: 'exit', syncEvery: 0 });
    pod.set('a', 1).set('b', 2);
    expect(afterKill(pod)).toEqual([]);
    expect(pod.sync()).toBeUndefined();
    expect(pod.dirty()).toEqual(new Set());
    expect(afterKill(pod)).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });

  it('D11, TP-029, TP-065, TPT-01, TPT-05: a sync point is made when the last of syncAt keys gets dirty, not before', () => {
    const pod = open<Json>(path(), { syncEvery: 0, durability: 'exit' });
    for (let n = 0; n < 999; n++) pod.set(`k${n}`, n);
    pod.set('k0', 'again');
    expect(pod.dirty().size).toBe(999);
    expect(afterKill(pod)).toEqual([]);
    pod.set('last', { deep: {} });
    expect(pod.dirty().size).toBe(0);
    expect(afterKill(pod)).toHaveLength(1000);
  });

  it('syncAt counts changes in place and deletions, too, also of a pod that is cleared', () => {
    const pod = open<{ n: number }>(path(), { syncEvery: 0, syncAt: 2, durability: 'exit' });
    pod.set('a', { n: 1 }).set('b', { n: 1 });
    (pod.get('a') as { n: number }).n = 2;
    expect(pod.dirty().size).toBe(1);
    (pod.get('a') as { n: number }).n = 3;
    expect(pod.dirty().size).toBe(1);
    pod.delete('b');
    expect(pod.dirty().size).toBe(0);
    pod.set('c', { n: 1 });
    expect(pod.dirty().size).toBe(1);
    pod.clear();
    expect(pod.dirty().size).toBe(1); // 'a' was deleted; 'c' had never been synced.
    pod.syncAt = 4;
    for (const key of 'def') pod.set(key, { n: 1 });
    expect(pod.dirty().size).toBe(0);
    pod.set('g', { n: 1 });
    pod.clear();
    expect(pod.dirty().size).toBe(3);
    pod.syncAt = 3;
    pod.update({ h: { n: 1 } });
    expect(pod.dirty().size).toBe(0);
  });

  it('TP-029: syncAt can be read and changed while it is open, to a whole number from 1', () => {
    const pod = open<number>(path(), { syncAt: 10, syncEvery: 0 });
    expect(pod.syncAt).toBe(10);
    for (const bad of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5' as unknown as number]) {
      expect(codeOf(() => (pod.syncAt = bad))).toBe('ERR_POD_OPTIONS');
    }
    expect(pod.syncAt).toBe(10);
    pod.syncAt = 1;
    pod.set('a', 1);
    expect(pod.dirty()).toEqual(new Set());
  });

  it('D11: syncEvery: a sync point is made that long after a change', async () => {
    const pod = open<number>(path(), { syncEvery: 15 });
    pod.set('a', 1);
    await vi.waitFor(() => expect(pod.dirty()).toEqual(new Set()), { timeout: 5000 });
    pod.set('b', 2);
    await vi.waitFor(() => expect(pod.dirty()).toEqual(new Set()), { timeout: 5000 });
    expect(afterKill(pod)).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });

  it('syncEvery counts from the change, also right after a sync point', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const pod = open<number>(path(), { syncEvery: 1000 });
    for (let round = 0; round < 3; round++) {
      pod.sync();
      vi.advanceTimersByTime(10);
      pod.set('a', round);
      await turn();
      vi.advanceTimersByTime(999);
      expect(pod.dirty()).toEqual(new Set(['a']));
      vi.advanceTimersByTime(1);
      await vi.waitFor(() => expect(pod.dirty()).toEqual(new Set()));
    }
  });

  it('syncEvery 0 switches the timer off, and an idle pod has nothing that wakes it', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const pod = open<number>(path(), { syncEvery: 0 });
    pod.set('a', 1);
    pod.sync();
    pod.set('b', 1);
    vi.advanceTimersByTime(1_000_000);
    expect(pod.dirty()).toEqual(new Set(['b']));
    expect(vi.getTimerCount()).toBe(0);
    pod.close();
    const other = open<number>(path(), { syncEvery: 10 });
    other.set('a', 1);
    expect(vi.getTimerCount()).toBe(1);
    other.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('D2, D31, TPB-13: flush is the same promise as sync; what changes meanwhile belongs to the next', async () => {
    const pod = open<Json>(path(), { syncEvery: 0, init: { a: 1, c: 3 } });
    pod.sync();
    pod.markDirty('a');
    const flush = pod.flush();
    expect(flush).toBeInstanceOf(Promise);
    pod.set('a', 2).set('b', { n: 1 });
    pod.delete('c');
    expect(pod.dirty()).toEqual(new Set(['a', 'b', 'c']));
    expect(await flush).toBeUndefined();
    expect(pod.dirty()).toEqual(new Set(['a', 'b', 'c']));
    pod.revert();
    expect([...pod]).toEqual([
      ['a', 1],
      ['c', 3],
    ]);
  });

  it('flushes that overlap, a sync and a close in between, all settle', async () => {
    const pod = open<number>(path(), { syncEvery: 0 });
    const flushes: Promise<void>[] = [];
    for (let n = 0; n < 20; n++) {
      pod.set(`k${n}`, n);
      flushes.push(pod.flush());
      if (n === 7) pod.sync();
      if (n === 9) pod.revert();
      if (n === 12) await flushes[3];
      if (n === 15) pod.compact();
    }
    await Promise.all(flushes);
    expect(pod.dirty()).toEqual(new Set());
    const size = pod.size;
    pod.set('last', 1);
    const last = pod.flush();
    const at = pod.path;
    pod.close();
    await last;
    expect(open<number>(at).size).toBe(size + 1);
  });

  it('D31: flush rejects where sync would throw', async () => {
    const pod = open<number>(path(), { init: { a: 1 } });
    pod.close();
    await expect(pod.flush()).rejects.toMatchObject({ code: 'ERR_POD_CLOSED' });
  });
});

describe('section 4: durability levels', () => {
  it('D10, D32: process: what was changed before the current turn survives a kill', async () => {
    const pod = open<{ n: number }>(path(), { syncEvery: 0 });
    pod.set('a', { n: 1 });
    await turn();
    expect(afterKill(pod)).toEqual([['a', { n: 1 }]]);
    (pod.get('a') as { n: number }).n = 2;
    pod.hold();
    pod.set('b', { n: 1 });
    expect(afterKill(pod)).toEqual([['a', { n: 1 }]]);
    await turn();
    expect(afterKill(pod)).toEqual([
      ['a', { n: 2 }],
      ['b', { n: 1 }],
    ]);
    expect(pod.dirty()).toEqual(new Set(['a', 'b']));
  });

  it('D13: exit: what is dirty does not survive a kill, however many turns go by', async () => {
    const pod = open<number>(path(), { syncEvery: 0, durability: 'exit' });
    pod.set('a', 1);
    pod.sync();
    pod.set('b', 2);
    await turn();
    await turn();
    expect(afterKill(pod)).toEqual([['a', 1]]);
    pod.close();
    expect([...open<number>(pod.path)]).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });

  it('D12: power: what returned is there, and yet dirty until the next sync point, so that revert can go back', () => {
    const pod = open<{ n: number }>(path(), { syncEvery: 0, durability: 'power', init: { a: { n: 1 } } });
    pod.sync();
    (pod.get('a') as { n: number }).n = 2;
    expect(afterKill(pod)).toEqual([['a', { n: 2 }]]);
    pod.transaction(() => pod.set('b', { n: 1 }));
    pod.delete('a');
    expect(afterKill(pod)).toEqual([['b', { n: 1 }]]);
    expect(pod.dirty()).toEqual(new Set(['a', 'b']));
    pod.revert();
    expect(plain([...pod])).toEqual([['a', { n: 1 }]]);
    expect(afterKill(pod)).toEqual([['a', { n: 1 }]]);
  });
});

describe('rule 8: hold', () => {
  it('D32, TP-066, TP-067, TPT-06: suspends automatic sync points, not explicit ones; unhold syncs if it is due', () => {
    const pod = open<number>(path(), { syncAt: 3, syncEvery: 0, durability: 'exit' });
    pod.hold();
    for (const key of 'abcd') pod.set(key, 1);
    expect(pod.dirty().size).toBe(4);
    expect(afterKill(pod)).toEqual([]);
    pod.sync();
    expect(afterKill(pod)).toHaveLength(4);
    for (const key of 'efgh') pod.set(key, 1);
    expect(pod.dirty().size).toBe(4);
    pod.unhold();
    expect(pod.dirty().size).toBe(0);
    pod.set('i', 1).set('j', 1);
    pod.hold();
    pod.unhold();
    expect(pod.dirty().size).toBe(2);
    pod.set('k', 1);
    expect(pod.dirty().size).toBe(0);
  });

  it('D32: nests, and unhold without a hold does nothing', () => {
    const pod = open<number>(path(), { syncAt: 1, syncEvery: 0 });
    pod.unhold();
    pod.hold();
    pod.hold();
    pod.set('a', 1);
    pod.unhold();
    expect(pod.dirty().size).toBe(1);
    pod.unhold();
    expect(pod.dirty().size).toBe(0);
    pod.unhold();
    pod.hold();
    pod.set('b', 1);
    expect(pod.dirty().size).toBe(1);
    pod.unhold();
  });

  it('its Disposable ends it once, also when the pod was closed meanwhile', () => {
    const pod = open<number>(path(), { syncAt: 1, syncEvery: 0 });
    const outer = pod.hold();
    const inner = pod.hold();
    pod.set('a', 1);
    inner[Symbol.dispose]();
    inner[Symbol.dispose]();
    expect(pod.dirty().size).toBe(1);
    outer[Symbol.dispose]();
    expect(pod.dirty().size).toBe(0);
    const last = pod.hold();
    pod.close();
    last[Symbol.dispose]();
    expect(codeOf(() => pod.hold())).toBe('ERR_POD_CLOSED');
    expect(codeOf(() => pod.unhold())).toBe('ERR_POD_CLOSED');
  });

  it('D32: suspends the timer, too, which starts again afterwards', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const pod = open<number>(path(), { syncEvery: 100 });
    pod.set('a', 1);
    pod.hold();
    pod.set('b', 1);
    await turn();
    vi.advanceTimersByTime(1000);
    await turn();
    expect(pod.dirty().size).toBe(2);
    pod.unhold();
    vi.advanceTimersByTime(100);
    await vi.waitFor(() => expect(pod.dirty()).toEqual(new Set()));
  });

  it('holds every handle of the folder, which is one', () => {
    const pod = open<number>(path(), { syncAt: 1, syncEvery: 0 });
    const same = open<number>(pod.path);
    pod.hold();
    same.set('a', 1);
    expect(same.dirty().size).toBe(1);
    same.unhold();
    expect(pod.dirty().size).toBe(0);
  });

  it('does not outlive the handle', () => {
    const pod = open<number>(path(), { syncAt: 1, syncEvery: 0 });
    pod.hold();
    pod.set('a', 1);
    pod.close();
    const again = open<number>(pod.path, { syncAt: 1, syncEvery: 0 });
    expect([...again]).toEqual([['a', 1]]);
    again.set('b', 1);
    expect(again.dirty().size).toBe(0);
  });
});

describe('rule 8: revert', () => {
  it('D33, TP-068: everything changed since the last sync point is as it was, in value, place and number', () => {
    const pod = open<{ n: number }, Key>(path(), {
      fileSize: 2,
      syncEvery: 0,
      init: [
        ['a', { n: 1 }],
        ['b', { n: 2 }],
        ['c', { n: 3 }],
        [4, { n: 4 }],
      ],
    });
    pod.sync();
    const kept = pod.get('c') as { n: number };
    pod.delete('a');
    pod.set('a', { n: 9 });
    (pod.get('b') as { n: number }).n = 9;
    pod.delete(4);
    pod.set('x', { n: 9 });
    pod.revert();
    expect(plain([...pod])).toEqual([
      ['a', { n: 1 }],
      ['b', { n: 2 }],
      ['c', { n: 3 }],
      [4, { n: 4 }],
    ]);
    expect(pod.size).toBe(4);
    expect(pod.dirty()).toEqual(new Set());
    // What had not changed keeps its views.
    expect(pod.get('c')).toBe(kept);
    kept.n = 5;
    expect(pod.dirty()).toEqual(new Set(['c']));
    pod.close();
    expect(plain([...open<Json, Key>(pod.path)])).toEqual([
      ['a', { n: 1 }],
      ['b', { n: 2 }],
      ['c', { n: 5 }],
      [4, { n: 4 }],
    ]);
  });

  it('with nothing changed changes nothing', () => {
    const pod = open<{ n: number }>(path(), { init: { a: { n: 1 } } });
    pod.sync();
    const view = pod.get('a') as { n: number };
    pod.revert();
    expect(pod.get('a')).toBe(view);
    view.n = 2;
    expect(pod.get('a')?.n).toBe(2);
  });

  it('TP-007, TPT-03, TPT-04: of a folder that was damaged meanwhile says so, and memory is as it was', () => {
    for (const damage of ['bad format', '"new"\t1\n"a"\t2']) {
      const pod = open<number>(path(), { fileSize: 2, init: { a: 1, b: 2, c: 3, d: 4 } });
      pod.close();
      const again = open<number>(pod.path);
      again.set('c', 5);
      const shard = join(pod.path, '0.json');
      const text = readFileSync(shard, 'utf8');
      fs.writeFileSync(shard, text.replace('"a"\t1', damage));
      expect(codeOf(() => again.revert())).toBe('ERR_POD_CORRUPT');
      expect([...again]).toEqual([
        ['a', 1],
        ['b', 2],
        ['c', 5],
        ['d', 4],
      ]);
      expect(again.dirty()).toEqual(new Set(['c']));
      fs.writeFileSync(shard, text);
      again.revert();
      expect([...again]).toEqual([
        ['a', 1],
        ['b', 2],
        ['c', 3],
        ['d', 4],
      ]);
    }
  });
});

describe('rule 8: transactions', () => {
  const start = (): POD<Json, Key> => {
    const pod = open<Json, Key>(path(), {
      syncEvery: 0,
      fileSize: 2,
      init: [
        ['a', { n: 1 }],
        ['b', [1]],
        ['c', 3],
      ],
    });
    pod.sync();
    return pod;
  };
  const wreck = (pod: POD<Json, Key>): void => {
    (pod.get('a') as { n: number }).n = 2;
    (pod.get('b') as number[]).push(2);
    pod.delete('c');
    pod.set('c', 'again').set('d', 4);
    pod.clear();
    pod.set('b', 'new').set(['e'], 5);
    pod.pop('b');
    pod.update({ f: { deep: [] } });
    (pod.get('f') as { deep: number[] }).deep.push(1);
  };
  const wanted = [
    ['a', { n: 1 }],
    ['b', [1]],
    ['c', 3],
  ];

  it('D34: gives back what its function returns, and everything it did happened', () => {
    const pod = start();
    expect(pod.transaction(() => pod.set('x', 1).size)).toBe(4);
    expect(pod.transaction(() => undefined)).toBeUndefined();
    pod.transaction(() => wreck(pod));
    expect(plain([...pod])).toEqual([
      [['e'], 5],
      ['f', { deep: [1] }],
    ]);
    pod.close();
    expect(plain([...open<Json, Key>(pod.path)])).toEqual([
      [['e'], 5],
      ['f', { deep: [1] }],
    ]);
  });

  it('D34: that throws throws the same error, and nothing happened: values, order, size, what is dirty', () => {
    const pod = start();
    const thrown = new Error('on purpose');
    let caught: unknown;
    try {
      pod.transaction(() => {
        wreck(pod);
        throw thrown;
      });
    } catch (error) {
      caught = error;
    }
    expect(caught).toBe(thrown);
    expect(plain([...pod])).toEqual(wanted);
    expect(pod.size).toBe(3);
    expect(pod.dirty()).toEqual(new Set());
    pod.set('a', 7);
    expect(pod.dirty()).toEqual(new Set(['a']));
    pod.revert();
    pod.close();
    expect(plain([...open<Json, Key>(pod.path)])).toEqual(wanted);
  });

  it('D34: that throws leaves alone what was changed before it in the same turn', async () => {
    const pod = start();
    pod.set('before', 1);
    (pod.get('a') as { n: number }).n = 5;
    pod.delete('c');
    expect(() =>
      pod.transaction(() => {
        pod.set('before', 2);
        (pod.get('a') as { n: number }).n = 6;
        pod.set('c', 9);
        pod.delete('before');
        throw new Error('on purpose');
      }),
    ).toThrow('on purpose');
    const now = [
      ['a', { n: 5 }],
      ['b', [1]],
      ['before', 1],
    ];
    expect(plain([...pod])).toEqual(now);
    expect(pod.dirty()).toEqual(new Set(['a', 'before', 'c']));
    await turn();
    expect(afterKill(pod)).toEqual(now);
  });

  it('nests: an inner one that throws undoes its own part alone, an outer one everything', () => {
    const pod = start();
    pod.transaction(() => {
      pod.set('x', 1);
      (pod.get('a') as { n: number }).n = 2;
      expect(() =>
        pod.transaction(() => {
          pod.set('y', 1).set('x', 2);
          (pod.get('a') as { n: number }).n = 3;
          throw new Error('inner');
        }),
      ).toThrow('inner');
      expect(pod.has('y')).toBe(false);
      expect(pod.get('x')).toBe(1);
      pod.transaction(() => pod.set('z', 1));
    });
    expect(plain([...pod])).toEqual([
      ['a', { n: 2 }],
      ['b', [1]],
      ['c', 3],
      ['x', 1],
      ['z', 1],
    ]);
    pod.revert();
    expect(() =>
      pod.transaction(() => {
        pod.transaction(() => pod.transaction(() => wreck(pod)));
        throw new Error('outer');
      }),
    ).toThrow('outer');
    expect(plain([...pod])).toEqual(wanted);
    expect(pod.dirty()).toEqual(new Set());
  });

  it('D34: may not return a promise, nor anything that is thenable: refused, and nothing happened', async () => {
    const pod = start();
    for (const change of [
      async () => void pod.set('a', 2),
      () => {
        pod.set('a', 3);
        // biome-ignore lint/suspicious/noThenProperty: what only looks like a promise is refused as well.
        return { then: () => {} };
      },
      () => Promise.resolve(pod.delete('a')),
    ]) {
      const error = thrownBy(() => pod.transaction<unknown>(change));
      expect(error.code).toBe('ERR_POD_UNSUPPORTED');
      expect(error.path).toBe(pod.path);
      expect(error.message).toMatch(/promise/);
      expect(plain([...pod])).toEqual(wanted);
    }
    expect(() => pod.transaction(() => pod.transaction<unknown>(async () => {}))).toThrow();
    await turn();
    expect(plain([...pod])).toEqual(wanted);
  });

  it('D3, D14, D34: is one batch: sync, flush, revert, compact and close wait for its end', async () => {
    const pod = start();
    const codes: PodErrorCode[] = [];
    let flushed: Promise<unknown> | undefined;
    pod.transaction(() => {
      pod.set('x', 1);
      for (const call of [
        () => pod.sync(),
        () => pod.revert(),
        () => pod.compact(),
        () => pod.close(),
        () => pod.syncKey('x'),
      ])
        codes.push(codeOf(call));
      flushed = expect(pod.flush()).rejects.toMatchObject({ code: 'ERR_POD_UNSUPPORTED' });
    });
    await flushed;
    expect(codes).toEqual(Array(5).fill('ERR_POD_UNSUPPORTED'));
    expect(pod.closed).toBe(false);
    expect(pod.get('x')).toBe(1);
  });

  it('D11, D34: makes no automatic sync point inside, and one at its end if it is due', () => {
    const pod = open<number>(path(), { syncEvery: 0, syncAt: 2, durability: 'exit' });
    pod.transaction(() => {
      for (const key of 'abcd') pod.set(key, 1);
      expect(pod.dirty().size).toBe(4);
      const hold = pod.hold();
      hold[Symbol.dispose]();
      expect(pod.dirty().size).toBe(4);
      expect(afterKill(pod)).toEqual([]);
    });
    expect(pod.dirty().size).toBe(0);
  });

  it('a key that is refused, or a value, undoes the transaction if nobody catches it', () => {
    const pod = start();
    expect(codeOf(() => pod.transaction(() => pod.set('x', 1).set('y', Number.NaN)))).toBe('ERR_POD_VALUE');
    expect(codeOf(() => pod.transaction(() => pod.set('x', 1).set(Number.NaN, 1)))).toBe('ERR_POD_KEY');
    expect(plain([...pod])).toEqual(wanted);
    pod.transaction(() => {
      expect(codeOf(() => pod.set('x', Number.NaN))).toBe('ERR_POD_VALUE');
      pod.set('x', 2);
    });
    expect(pod.get('x')).toBe(2);
  });
});

describe('a closed handle', () => {
  it('TP-084: says so by every method, and can be asked what it was', async () => {
    const pod = open<Json>(path(), { init: { a: { n: 1 } } });
    const { recovery } = pod;
    pod.close();
    expect([pod.closed, pod.isWritable, pod.path.length > 0, pod.recovery === recovery]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    const calls: (() => unknown)[] = [
      () => pod.get('a'),
      () => pod.has('a'),
      () => pod.set('a', 1),
      () => pod.delete('a'),
      () => pod.clear(),
      () => pod.pop('a'),
      () => pod.getOrInsert('a', 1),
      () => pod.getOrInsertComputed('a', () => 1),
      () => pod.update({ a: 1 }),
      () => pod.update(),
      () => pod.snapshot('a'),
      () => [...pod.keys()],
      () => [...pod.values()],
      () => [...pod.entries()],
      () => [...pod],
      () => pod.forEach(() => {}),
      () => pod.equals([]),
      () => pod.markDirty('a'),
      () => pod.sync(),
      () => pod.syncKey('a'),
      () => pod.hold(),
      () => pod.unhold(),
      () => pod.revert(),
      () => pod.transaction(() => {}),
      () => pod.compact(),
      () => pod.copyTo(path()),
    ];
    for (const [n, call] of calls.entries()) {
      const error = thrownBy(call);
      expect([n, error.code]).toEqual([n, 'ERR_POD_CLOSED']);
      expect(error.path).toBe(pod.path);
      expect(error.message).toMatch(/open/i);
    }
    await expect(pod.flush()).rejects.toMatchObject({ code: 'ERR_POD_CLOSED' });
  });

  it('D8, D35: its shards are complete, its log is empty, and a second close changes nothing', () => {
    const pod = open<number>(path(), { fileSize: 2, init: { a: 1, b: 2, c: 3 } });
    pod.close();
    const names = readdirSync(pod.path).sort();
    expect(names.filter((name) => !name.startsWith('wal-'))).toEqual(['0.json', '1.json', 'lock', 'pod.json']);
    expect(names.filter((name) => name.startsWith('wal-'))).toHaveLength(1);
    expect(readFileSync(join(pod.path, '0.json'), 'utf8')).toBe('"a"\t1\n"b"\t2\n');
    expect(
      readFileSync(join(pod.path, log(pod)), 'utf8')
        .trimEnd()
        .split('\n'),
    ).toHaveLength(1);
    const before = listing(pod.path);
    pod.close();
    expect(listing(pod.path)).toEqual(before);
    expect(existsSync(join(pod.path, 'quarantine'))).toBe(false);
  });
});
