// The folder as the pod leaves it: layout, its change on reopen, compact and copyTo, and shards that people can read.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import type { Json, Key } from '../../src/index.ts';
import { POD } from '../../src/index.ts';
import { codeOf, listing, plain, temporary, thrownBy } from './support.ts';

const { path, open } = temporary();

interface Layout {
  readonly gzipped?: boolean;
  readonly fileSize?: number;
}

/** The shards of a folder that was closed: the lines of each, in order. */
function shards(at: string): string[][] {
  const names = readdirSync(at)
    .filter((name) => /^\d+\.json(\.gz)?$/.test(name))
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  return names.map((name) => {
    const bytes = readFileSync(join(at, name));
    const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
    expect(text.endsWith('\n')).toBe(true);
    return text.slice(0, -1).split('\n');
  });
}

const numbers = (count: number): [string, number][] => Array.from({ length: count }, (_, n) => [`k${n}`, n]);

describe('the folder', () => {
  it('TP-028, TP-090, TP-091, TP-092: shards of fileSize lines, key TAB value, numbered from 0', () => {
    const at = path();
    open<number>(at, { fileSize: 3, init: numbers(7) }).close();
    expect(
      readdirSync(at)
        .filter((name) => /^\d/.test(name))
        .sort(),
    ).toEqual(['0.json', '1.json', '2.json']);
    expect(shards(at)).toEqual([['"k0"\t0', '"k1"\t1', '"k2"\t2'], ['"k3"\t3', '"k4"\t4', '"k5"\t5'], ['"k6"\t6']]);
  });

  it('TP-093, TP-094: keys are plain JSON, whatever is in them, and come back', () => {
    const at = path();
    const keys: Key[] = ['é\tb\\c"d\n', 1, '1', ['a', ['b', 2]], '\u2028', '\\', '\\\\t', ''];
    open<number, Key>(at, { init: keys.map((key, n) => [key, n] as const) }).close();
    expect(shards(at)[0]?.map((line) => line.split('\t')[0])).toEqual(keys.map((key) => JSON.stringify(key)));
    expect([...open<number, Key>(at).keys()]).toEqual(keys);
  });

  it('TP-027, TPT-02, TPB-03: gzipped shards are written, read again by hand and by a reopen, and changed', () => {
    const at = path();
    open<number>(at, { gzipped: true, fileSize: 2, init: numbers(3) }).close();
    expect(shards(at)).toEqual([['"k0"\t0', '"k1"\t1'], ['"k2"\t2']]);
    expect(existsSync(join(at, '0.json'))).toBe(false);
    const pod = open<number>(at);
    expect([...pod]).toEqual(numbers(3));
    pod.set('k1', 9);
    pod.sync();
    pod.revert();
    pod.set('k3', 3);
    pod.close();
    expect([...open<number>(at, { gzipped: true })]).toEqual([
      ['k0', 0],
      ['k1', 9],
      ['k2', 2],
      ['k3', 3],
    ]);
  });

  it.each<[Layout, Layout]>([
    [{ gzipped: true }, { gzipped: false }],
    [{ gzipped: false }, { gzipped: true }],
    [{ fileSize: 2 }, { fileSize: 3 }],
    [{ fileSize: 3 }, { fileSize: 2 }],
    [
      { fileSize: 2, gzipped: true },
      { fileSize: 1000, gzipped: false },
    ],
  ])('TPB-03, TPB-06: %o becomes %o on reopen, keeps every entry in its place, and stays', (first, second) => {
    const at = path();
    const pod = open<number>(at, { ...first, init: numbers(7) });
    pod.delete('k3');
    pod.close();
    const wanted = numbers(7).filter(([key]) => key !== 'k3');
    const changed = open<number>(at, second);
    expect([...changed]).toEqual(wanted);
    changed.set('k7', 7);
    changed.close();
    wanted.push(['k7', 7]);
    const suffix = (second.gzipped ?? first.gzipped) === true ? '.gz' : '';
    const fileSize = second.fileSize ?? first.fileSize ?? 1000;
    const names = readdirSync(at)
      .filter((name) => /^\d/.test(name))
      .sort();
    expect(names).toEqual(Array.from({ length: Math.ceil(wanted.length / fileSize) }, (_, n) => `${n}.json${suffix}`));
    expect(
      shards(at)
        .slice(0, -1)
        .every((lines) => lines.length === fileSize),
    ).toBe(true);
    const again = open<number>(at);
    expect([...again]).toEqual(wanted);
    expect(again.recovery.quarantined).toEqual([]);
  });

  it('TPB-06: the file size is recorded; reopening without one keeps it', () => {
    const at = path();
    open<number>(at, { fileSize: 2, init: numbers(2) }).close();
    const pod = open<number>(at);
    pod.update(numbers(5));
    pod.close();
    expect(shards(at).map((lines) => lines.length)).toEqual([2, 2, 1]);
  });

  it('TP-064: a change rewrites its own shard alone', () => {
    const at = path();
    open<number>(at, { fileSize: 2, init: numbers(6) }).close();
    const of = (name: string): string => listing(at).find((line) => line.startsWith(`${name} `)) as string;
    const before = ['0.json', '1.json', '2.json'].map(of);
    const pod = open<number>(at);
    pod.set('k2', 9);
    pod.close();
    const after = ['0.json', '1.json', '2.json'].map(of);
    expect([after[0] === before[0], after[1] === before[1], after[2] === before[2]]).toEqual([true, false, true]);
  });

  it('D4, TP-095, TPB-16: a hand edit is refused with file and line and never silently dropped', () => {
    const at = path();
    open<number>(at, { fileSize: 3, init: numbers(6) }).close();
    const shard = join(at, '1.json');
    const text = readFileSync(shard, 'utf8');
    const edits: [string, string, number | undefined][] = [
      ['no newline at the end', text.slice(0, -1), undefined],
      ['a blank line', text.replace('\n', '\n\n'), 2],
      ['a line without a tab', text.replace('"k4"\t4', 'bad format'), 2],
      ['an extra line', `${text}"x"\t1\n`, undefined],
      ['another value', text.replace('\t5', '\t6'), undefined],
      ['a value that is not JSON', text.replace('\t5', '\tNaN'), 3],
      ['a line too few', text.slice(text.indexOf('\n') + 1), undefined],
      ['nothing', '', undefined],
    ];
    for (const [name, edited, line] of edits) {
      writeFileSync(shard, edited);
      for (const mode of ['r', 'w'] as const) {
        const error = thrownBy(() => POD.open(at, { mode }));
        expect([name, error.code, error.file, error.line]).toEqual([name, 'ERR_POD_CORRUPT', '1.json', line]);
        expect(error.message).toMatch(/everpod accept/);
      }
      expect([name, readFileSync(shard, 'utf8')]).toEqual([name, edited]);
    }
    rmSync(shard);
    expect(thrownBy(() => POD.open(at)).code).toBe('ERR_POD_CORRUPT');
    writeFileSync(shard, text);
    expect([...open<number>(at)]).toEqual(numbers(6));
  });
});

describe('a folder that is damaged or changed', () => {
  it('D27: a shard that was edited while the pod was open is left alone, and close says so', () => {
    const at = path();
    const pod = open<number>(at, { fileSize: 3, init: numbers(6) });
    pod.close();
    const again = POD.open<number>(at);
    const shard = join(at, '1.json');
    const edited = readFileSync(shard, 'utf8').replace('\t5', '\t6');
    writeFileSync(shard, edited);
    again.set('k4', 44);
    const error = thrownBy(() => again.close());
    expect([error.code, error.file]).toEqual(['ERR_POD_CORRUPT', '1.json']);
    expect(error.message).toMatch(/everpod accept/);
    expect(readFileSync(shard, 'utf8')).toBe(edited);
    const logs = readdirSync(at).filter((name) => name.startsWith('wal-'));
    expect(logs.map((name) => readFileSync(join(at, name), 'utf8')).join('')).toContain('44');
    writeFileSync(shard, edited.replace('\t6', '\t5'));
    if (!again.closed) again.close();
    expect(open<number>(at).get('k4')).toBe(44);
  });

  it.each([0, 20])(
    'D5, D6: rot in the last batch is a cut append until an idle pod vouched for it (syncEvery %i)',
    async (syncEvery) => {
      const at = path();
      const pod = open<number>(at, { syncEvery });
      pod.set('first', 1).sync();
      pod.set('last', 4711).sync();
      const log = (folder: string) =>
        join(folder, readdirSync(folder).find((name) => name.startsWith('wal-')) as string);
      const vouched = () => expect(readFileSync(log(at), 'utf8')).toContain('"o":"mark"');
      if (syncEvery > 0) await vi.waitFor(vouched, { timeout: 30_000 });
      else await new Promise((resolve) => setTimeout(resolve, 150));
      const copy = path();
      cpSync(at, copy, { recursive: true });
      writeFileSync(log(copy), readFileSync(log(copy), 'utf8').replace('4711', '4712'));
      if (syncEvery > 0) {
        expect(thrownBy(() => POD.open(copy)).code).toBe('ERR_POD_CORRUPT');
        return;
      }
      const other = open<number>(copy);
      expect([...other]).toEqual([['first', 1]]);
      expect(other.recovery.droppedBytes).toBeGreaterThan(0);
      const kept = readdirSync(join(copy, 'quarantine'), { recursive: true, encoding: 'utf8' });
      expect(kept.length).toBeGreaterThan(0);
    },
  );
});

describe('compact', () => {
  it('fills the gaps, keeps the order, and the pod goes on', () => {
    const at = path();
    const pod = open<number>(at, { fileSize: 3, init: numbers(9) });
    pod.close();
    const again = open<number>(at);
    for (const key of ['k0', 'k3', 'k4', 'k5', 'k8']) again.delete(key);
    again.set('k0', 10);
    const view = again.keys();
    view.next();
    again.compact();
    expect(again.dirty()).toEqual(new Set());
    const wanted = [
      ['k1', 1],
      ['k2', 2],
      ['k6', 6],
      ['k7', 7],
      ['k0', 10],
    ];
    expect([...again]).toEqual(wanted);
    expect([...view]).toEqual(['k2', 'k6', 'k7', 'k0']);
    expect(shards(at).map((lines) => lines.length)).toEqual([3, 2]);
    again.set('k9', 9);
    again.close();
    expect(shards(at).map((lines) => lines.length)).toEqual([3, 3]);
    expect([...open<number>(at)]).toEqual([...wanted, ['k9', 9]]);
  });

  it('of an empty pod, and twice, does no harm', () => {
    const at = path();
    const pod = open<number>(at);
    pod.compact();
    pod.set('a', 1);
    pod.compact();
    pod.compact();
    pod.clear();
    pod.compact();
    pod.close();
    expect(shards(at)).toEqual([]);
    expect([...open<number>(at)]).toEqual([]);
  });

  it('keeps views attached', () => {
    const pod = open<{ n: number }>(path(), { init: { a: { n: 1 } } });
    const view = pod.get('a') as { n: number };
    pod.compact();
    view.n = 2;
    expect(pod.dirty()).toEqual(new Set(['a']));
    expect(pod.get('a')).toBe(view);
  });

  it('works while held, as sync does', () => {
    const pod = open<number>(path(), { init: { a: 1 } });
    pod.hold();
    pod.compact();
    expect(pod.dirty()).toEqual(new Set());
    pod.unhold();
  });
});

describe('copyTo', () => {
  it('writes a copy and opens it; the two go their own ways', () => {
    const pod = open<Json, Key>(path(), {
      fileSize: 2,
      gzipped: true,
      init: [
        ['a', { n: 1 }],
        [1, [2]],
        [['t'], null],
      ],
    });
    pod.delete(1);
    (pod.get('a') as { n: number }).n = 5;
    const copy = pod.copyTo(path());
    expect(copy.equals(pod)).toBe(true);
    expect(copy.dirty()).toEqual(new Set());
    copy.set('b', 1);
    pod.set('c', 1);
    copy.close();
    expect(plain([...open<Json, Key>(copy.path)])).toEqual([
      ['a', { n: 5 }],
      [['t'], null],
      ['b', 1],
    ]);
    expect(pod.has('b')).toBe(false);
    expect(shards(copy.path).map((lines) => lines.length)).toEqual([2, 1]);
    expect(existsSync(join(copy.path, '0.json.gz'))).toBe(true);
    expect(pod.dirty().size).toBeGreaterThan(0);
  });

  it('takes other options', () => {
    const pod = open<number>(path(), { init: numbers(5) });
    const at = path();
    const copy = pod.copyTo(at, { fileSize: 2, gzipped: true, mode: 'r' });
    expect(copy.isWritable).toBe(false);
    copy.close();
    expect(shards(at).map((lines) => lines.length)).toEqual([2, 2, 1]);
    const other = pod.copyTo(path(), { init: { k0: 9, z: 1 }, syncAt: 7 });
    expect([other.get('k0'), other.get('z'), other.syncAt, pod.has('z')]).toEqual([9, 1, 7, false]);
    other.close();
  });

  it('goes into a folder that is missing or empty, and no other', () => {
    const pod = open<number>(path(), { init: { a: 1 } });
    const empty = path();
    mkdirSync(empty);
    pod.copyTo(empty).close();
    const deep = join(path(), 'x', 'y');
    pod.copyTo(deep).close();
    expect([...open<number>(deep)]).toEqual([['a', 1]]);
    const full = path();
    mkdirSync(full);
    writeFileSync(join(full, 'mine.txt'), 'mine');
    const file = path();
    writeFileSync(file, 'text');
    for (const [target, code] of [
      [empty, 'ERR_POD_OPTIONS'],
      [full, 'ERR_POD_OPTIONS'],
      [pod.path, 'ERR_POD_OPTIONS'],
      [file, 'ERR_POD_NOT_FOLDER'],
    ] as const) {
      const error = thrownBy(() => pod.copyTo(target));
      expect([target, error.code]).toEqual([target, code]);
      expect(error.path).toBe(target);
    }
    expect(readdirSync(full)).toEqual(['mine.txt']);
    expect([...pod]).toEqual([['a', 1]]);
  });

  it('a folder that is copied by other means is a pod of its own', () => {
    const pod = open<number>(path(), { init: { a: 1 } });
    pod.sync();
    const at = path();
    cpSync(pod.path, at, { recursive: true });
    const copy = open<number>(at);
    copy.set('b', 2);
    copy.close();
    expect([...pod]).toEqual([['a', 1]]);
    expect([...open<number>(at)]).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
    expect(codeOf(() => pod.get(null as unknown as string))).toBe('ERR_POD_KEY');
  });
});
