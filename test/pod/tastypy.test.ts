// Folders that the original tastypy wrote: they open with everything in its place, are written on, and come back.
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Json, Key } from '../../src/index.ts';
import { POD } from '../../src/index.ts';
import { listing, plain, temporary, thrownBy } from './support.ts';

const { path, open } = temporary();
const fixtures = join(import.meta.dirname, '../fixtures/tastypy');

interface Expected {
  readonly meta: { readonly file_size: number };
  readonly entries: [Key, Json][];
}

function fixture(name: string): { at: string; expected: Expected } {
  const at = path();
  cpSync(join(fixtures, name), at, { recursive: true });
  const file = join(fixtures, name.replace(/\.[a-z]+$/, '.expected.json'));
  return { at, expected: JSON.parse(readFileSync(file, 'utf8')) as Expected };
}

const names = ['plain.pod', 'gz.pod', 'crawl.tracker'];

describe('TP-090 to TP-096: a folder of tastypy', () => {
  it.each(names)('%s opens with equal entries in equal order, and nothing of it is rewritten', (name) => {
    const { at, expected } = fixture(name);
    const files = readdirSync(at);
    const bytes = files.map((file) => readFileSync(join(at, file)));
    const pod = open<Json, Key>(at);
    expect(plain([...pod])).toEqual(expected.entries);
    expect(pod.size).toBe(expected.entries.length);
    expect(pod.recovery).toMatchObject({ ended: 'closed', adopted: true, quarantined: [], droppedBytes: 0 });
    expect(pod.dirty()).toEqual(new Set());
    for (const [key, value] of expected.entries) expect(pod.snapshot(key)).toEqual(value);
    pod.close();
    expect(files.map((file) => readFileSync(join(at, file)))).toEqual(bytes);
  });

  it.each(names)('%s is written on, closed, and comes back equal, again and again', (name) => {
    const { at, expected } = fixture(name);
    const wanted = new Map(expected.entries.map(([key, value]) => [JSON.stringify(key), [key, value] as [Key, Json]]));
    const change = (pod: POD<Json, Key>, round: number): void => {
      const keys = [...pod.keys()];
      for (let n = round; n < keys.length; n += 37) {
        const key = keys[n] as Key;
        if (n % 3 === 0) {
          pod.delete(key);
          wanted.delete(JSON.stringify(key));
        } else {
          pod.set(key, { round, 'é\\\t"': [n] });
          wanted.set(JSON.stringify(key), [key, { round, 'é\\\t"': [n] }]);
        }
      }
      for (const key of [`new\\${round}\t"é`, ['t', round], round + 1_000_000] as Key[]) {
        pod.set(key, round);
        wanted.set(JSON.stringify(key), [key, round]);
      }
    };
    for (let round = 0; round < 4; round++) {
      const pod = open<Json, Key>(at, round === 2 ? { gzipped: name !== 'gz.pod' } : {});
      expect(plain([...pod])).toEqual([...wanted.values()]);
      change(pod, round);
      if (round === 1) pod.compact();
      expect(plain([...pod])).toEqual([...wanted.values()]);
      pod.close();
    }
    const last = open<Json, Key>(at);
    expect(plain([...last])).toEqual([...wanted.values()]);
    expect(last.recovery).toMatchObject({ adopted: false, quarantined: [] });
  });

  it.each(names)('%s keeps its file size, so that the last shard is filled up', (name) => {
    const { at, expected } = fixture(name);
    const pod = open<Json, Key>(at);
    const { file_size: fileSize } = expected.meta;
    for (let n = 0; n < fileSize; n++) pod.set(['new', n], n);
    pod.close();
    const count = readdirSync(at).filter((file) => /^\d/.test(file)).length;
    expect(count).toBe(Math.ceil((expected.entries.length + fileSize) / fileSize));
  });

  it('TP-007, TP-096: a gap, a short file, a mangled line: refused with the file, and nothing is touched', () => {
    const cases: [string, (at: string) => void, string][] = [
      ['a file is missing', (at) => rmSync(join(at, '1.json')), '2.json'],
      ['the first file is missing', (at) => rmSync(join(at, '0.json')), '1.json'],
      ['a line too many', (at) => edit(at, '0.json', (text) => `${text}"extra"\t1\n`), '1.json'],
      ['a line too few', (at) => edit(at, '1.json', (text) => text.slice(text.indexOf('\n') + 1)), '1.json'],
      ['a mangled line', (at) => edit(at, '1.json', (text) => text.replace(/^.*\n/, 'bad format\n')), '1.json'],
      ['a value that is not JSON', (at) => edit(at, '2.json', (text) => text.replace(/\t.*\n/, '\tNaN\n')), '2.json'],
      [
        'a last file with more lines than those before it',
        (at) =>
          edit(at, '2.json', (text) => text + Array.from({ length: 2_000 }, (_, n) => `${n + 10 ** 9}\t1\n`).join('')),
        '2.json',
      ],
      ['both kinds of file', (at) => renameSync(join(at, '1.json'), join(at, '1.json.gz')), '1.json.gz'],
    ];
    for (const [name, damage, file] of cases) {
      const { at } = fixture('plain.pod');
      damage(at);
      const before = listing(at).filter((line) => !line.startsWith('. '));
      for (const mode of ['r', 'w'] as const) {
        const error = thrownBy(() => POD.open(at, { mode }));
        expect([name, mode, error.code, error.file]).toEqual([name, mode, 'ERR_POD_CORRUPT', file]);
      }
      expect(listing(at).filter((line) => !line.startsWith('. '))).toEqual(before);
    }
  });

  it('TP-097: a key that is there twice is refused, not silently dropped', () => {
    const { at } = fixture('plain.pod');
    edit(at, '2.json', (text) => text.replace(/^[^\t]*\t/, '0\t'));
    const error = thrownBy(() => POD.open(at));
    expect(error.code).toBe('ERR_POD_CORRUPT');
    expect(error.message).toContain('0.json');
    expect(error.message).toContain('2.json');
  });

  it('TP-095: a last line without a newline is whole', () => {
    const { at, expected } = fixture('plain.pod');
    edit(at, '2.json', (text) => text.slice(0, -1));
    const pod = open<Json, Key>(at);
    expect(plain([...pod])).toEqual(expected.entries);
    pod.set('more', 1);
    pod.close();
    expect(plain([...open<Json, Key>(at)])).toEqual([...expected.entries, ['more', 1]]);
  });
});

function edit(at: string, file: string, change: (text: string) => string): void {
  const text = readFileSync(join(at, file), 'utf8');
  const changed = change(text);
  expect(changed).not.toBe(text);
  writeFileSync(join(at, file), changed);
}
