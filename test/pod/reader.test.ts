// Reading only: beside a writer or alone, a reader takes no lock, changes nothing on disk, and refuses every mutator (rule 7).
import { cpSync, mkdirSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Json, Key } from '../../src/index.ts';
import { POD } from '../../src/index.ts';
import { codeOf, listing, plain, temporary, thrownBy } from './support.ts';

const { path, open } = temporary();
const fixtures = join(import.meta.dirname, '../fixtures/tastypy');

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('rule 7: readers', () => {
  it('TP-024, TP-025: create and change nothing, whatever is asked of them', async () => {
    const at = path();
    const pod = open<Json, Key>(at, {
      fileSize: 2,
      init: [
        ['a', { n: 1 }],
        ['b', [1, 2]],
        [3, 'c'],
      ],
    });
    pod.close();
    const before = listing(at);
    const reader = open<Json, Key>(at, { mode: 'r', syncAt: 1, syncEvery: 1 });
    expect(reader.isWritable).toBe(false);
    expect(plain([...reader])).toEqual([
      ['a', { n: 1 }],
      ['b', [1, 2]],
      [3, 'c'],
    ]);
    const object = reader.get('a') as { n: number };
    const list = reader.get('b') as number[];
    const mutators: (() => unknown)[] = [
      () => reader.set('a', 1),
      () => reader.set('new', 1),
      () => reader.delete('a'),
      () => reader.delete('never'),
      () => reader.clear(),
      () => reader.pop('a'),
      () => reader.pop('never', 1),
      () => reader.getOrInsert('new', 1),
      () => reader.getOrInsertComputed('new', () => 1),
      () => reader.update({ a: 1 }),
      () => reader.update(),
      () => reader.markDirty('a'),
      () => reader.sync(),
      () => reader.syncKey('a'),
      () => reader.hold(),
      () => reader.unhold(),
      () => reader.transaction(() => 1),
      () => reader.compact(),
      () => (object.n = 2),
      () => (object.n = 1),
      () => Reflect.deleteProperty(object, 'n'),
      () => Object.assign(object, { m: 1 }),
      () => list.push(3),
      () => list.sort(),
      () => (list.length = 0),
    ];
    for (const [n, mutator] of mutators.entries()) {
      const error = thrownBy(mutator);
      expect([n, error.code]).toEqual([n, 'ERR_POD_READONLY']);
      expect(error.path).toBe(at);
      expect(error.message).toMatch(/mode: 'w'/);
    }
    await expect(reader.flush()).rejects.toMatchObject({ code: 'ERR_POD_READONLY' });
    expect(reader.getOrInsert('a', 1)).toBe(object);
    expect(reader.snapshot('a')).toEqual({ n: 1 });
    expect(plain([...reader])).toEqual([
      ['a', { n: 1 }],
      ['b', [1, 2]],
      [3, 'c'],
    ]);
    expect(reader.dirty()).toEqual(new Set());
    reader.revert();
    await new Promise((resolve) => setTimeout(resolve, 10));
    reader.close();
    expect(listing(at)).toEqual(before);
  });

  it('of nothing find nothing, and leave nothing', () => {
    const at = path();
    const error = thrownBy(() => POD.open(at, { mode: 'r' }));
    expect(error.code).toBe('ERR_POD_NOT_FOUND');
    expect(error.path).toBe(at);
    mkdirSync(at);
    const before = listing(at);
    expect(codeOf(() => POD.open(at, { mode: 'r' }))).toBe('ERR_POD_NOT_FOUND');
    expect(listing(at)).toEqual(before);
    rmSync(at, { recursive: true });
    open(at).close();
    open(at, { mode: 'r' }).close();
  });

  it('beside a writer see what was appended, in whole batches, and the newest after revert()', async () => {
    const at = path();
    const pod = open<{ n: number }>(at, { syncEvery: 0, init: { a: { n: 1 } } });
    await turn();
    const reader = open<{ n: number }>(at, { mode: 'r', isolated: true });
    expect(plain([...reader])).toEqual([['a', { n: 1 }]]);
    const view = reader.get('a');
    (pod.get('a') as { n: number }).n = 2;
    pod.transaction(() => pod.set('b', { n: 1 }).set('c', { n: 1 }));
    reader.revert();
    expect(plain([...reader])).toEqual([['a', { n: 1 }]]);
    await turn();
    reader.revert();
    expect(plain([...reader])).toEqual([
      ['a', { n: 2 }],
      ['b', { n: 1 }],
      ['c', { n: 1 }],
    ]);
    expect(plain(view)).toEqual({ n: 1 });
    pod.compact();
    pod.delete('b');
    pod.revert();
    pod.set('d', { n: 1 });
    pod.sync();
    reader.revert();
    expect([...reader.keys()]).toEqual(['a', 'b', 'c', 'd']);
    pod.close();
    reader.revert();
    expect([...reader.keys()]).toEqual(['a', 'b', 'c', 'd']);
  });

  it('of a folder that was left by a kill see everything, and leave the repair to a writer', async () => {
    const pod = open<number>(path(), { syncEvery: 0, init: { a: 1 } });
    await turn();
    const at = path();
    cpSync(pod.path, at, { recursive: true });
    const before = listing(at);
    const reader = open<number>(at, { mode: 'r' });
    expect([...reader]).toEqual([['a', 1]]);
    expect(reader.recovery.replayed).toBe(1);
    expect(listing(at)).toEqual(before);
    reader.close();
    expect([...open<number>(at)]).toEqual([['a', 1]]);
  });

  it('of a folder of tastypy read it as it is and adopt nothing', () => {
    for (const name of ['plain.pod', 'gz.pod', 'crawl.tracker']) {
      const folder = join(fixtures, name);
      const before = readdirSync(folder);
      const reader = open<Json, Key>(folder, { mode: 'r' });
      expect(reader.size).toBeGreaterThan(50);
      reader.close();
      expect(readdirSync(folder)).toEqual(before);
    }
  });

  it('refuse options that differ from what is on disk, because they change nothing', () => {
    const at = path();
    open(at, { fileSize: 5 }).close();
    for (const [option, value] of [
      ['fileSize', 6],
      ['gzipped', true],
    ] as const) {
      const error = thrownBy(() => POD.open(at, { mode: 'r', [option]: value }));
      expect(error.code).toBe('ERR_POD_OPTIONS');
      expect(error.info).toEqual({ option });
    }
    open(at, { mode: 'r', fileSize: 5, gzipped: false }).close();
  });

  it('can copy what they see', () => {
    const at = path();
    open<number>(at, { init: { a: 1 } }).close();
    const copy = open<number>(at, { mode: 'r' }).copyTo(path());
    expect(copy.isWritable).toBe(true);
    expect([...copy]).toEqual([['a', 1]]);
    copy.close();
  });

  it('do not mind the times of files', () => {
    const at = path();
    open<number>(at, { init: { a: 1 } }).close();
    for (const name of readdirSync(at)) utimesSync(join(at, name), 0, 0);
    expect([...open<number>(at, { mode: 'r' })]).toEqual([['a', 1]]);
  });
});
