// Lines that an editor, damage or another library wrote, and that decoding or parsing would change without a word: accepting and adopting
// refuse them, repairing counts what is no UTF-8 as lost.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseManifest, replaceManifest } from '../../src/disk/manifest.ts';
import { acceptEdits, repairFolder } from '../../src/disk/repair.ts';
import { describeText } from '../../src/disk/shards.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { type Json, type Key, POD } from '../../src/index.ts';
import { thrown } from './support.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'everpod-foreign-'));
  path = join(folder, 'pod');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const INEXACT =
  'it has the number 12345678901234567890, which would come back as another one; write it as a text. Nothing was changed. ';

function entries(): [Key, Json][] {
  using pod = POD.open<Json, Key>(path, { mode: 'r' });
  return [...pod.keys()].map((key) => [key, pod.snapshot(key) as Json]);
}

function make(init: readonly (readonly [Key, Json])[], gzipped: boolean = false): void {
  POD.open<Json, Key>(path, { init, gzipped }).close();
}

/** Saves the first shard as an editor does that knows nothing but Latin-1. */
function saveInLatin1(name: string = '0.json'): Buffer {
  const file = join(path, name);
  const before = readFileSync(file);
  const text = name.endsWith('.gz') ? gunzipSync(before) : before;
  const saved = Buffer.from(text.toString('utf8'), 'latin1');
  const after = name.endsWith('.gz') ? gzipSync(saved) : saved;
  writeFileSync(file, after);
  return after;
}

function edit(from: string, to: string): void {
  const file = join(path, '0.json');
  const before = readFileSync(file, 'utf8');
  expect(before).toContain(from);
  writeFileSync(file, before.replace(from, to));
}

describe('accept', () => {
  it.each([
    [
      'a key',
      [
        ['b', 'x'],
        ['café', 1],
      ] as [Key, Json][],
    ],
    [
      'a value',
      [
        ['b', 'x'],
        ['c', { text: ['crème'] }],
      ] as [Key, Json][],
    ],
  ])('refuses a line that is no UTF-8 in %s, and changes nothing', (_, init) => {
    for (const gzipped of [false, true]) {
      rmSync(path, { recursive: true, force: true });
      make(init, gzipped);
      const name = gzipped ? '0.json.gz' : '0.json';
      const saved = saveInLatin1(name);
      const error = thrown(() => acceptEdits(nodeSystem, path));
      expect(error).toMatchObject({ code: 'ERR_POD_CORRUPT', file: name, line: 2 });
      expect(error.message).toContain(`${join(path, name)} line 2: it is not UTF-8. Nothing was changed. If`);
      expect(readFileSync(join(path, name))).toEqual(saved);
      // Whoever opens it is told the same.
      expect(thrown(() => POD.open(path)).message).toBe(error.message);
    }
  });

  it('takes over what is UTF-8', () => {
    make([['b', 'x']]);
    edit('"x"', '"crème 😀 \ufffd"');
    expect(acceptEdits(nodeSystem, path)).toEqual(['0.json']);
    expect(entries()).toEqual([['b', 'crème 😀 \ufffd']]);
  });

  it('looks at no shard that its checksum vouches for', () => {
    make([['café', 1]]);
    // As an everpod that did not look would have accepted it.
    const content = describeText(saveInLatin1(), 0);
    const manifest = parseManifest(path, readFileSync(join(path, 'pod.json')));
    replaceManifest(nodeSystem.fs, path, { ...manifest, shards: new Map([[0, content]]), epoch: manifest.epoch + 1 });
    expect(acceptEdits(nodeSystem, path)).toEqual([]);
    expect(entries()).toEqual([['caf\ufffd', 1]]);
    expect(repairFolder(nodeSystem, path)).toMatchObject({ entries: 1, lostLines: 0 });
  });

  it('refuses a whole number that would come back as another one, and takes over what comes back', () => {
    make([
      ['a', 1],
      ['b', { id: 2 }],
    ]);
    edit('{"id":2}', '{"id":[12345678901234567890]}');
    const error = thrown(() => acceptEdits(nodeSystem, path));
    expect(error).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '0.json', line: 2 });
    expect(error.message).toContain(INEXACT);
    edit('[12345678901234567890]', '["12345678901234567890",9007199254740992,0.1,0.30000000000000000001]');
    expect(acceptEdits(nodeSystem, path)).toEqual(['0.json']);
    expect(entries()[1]).toEqual(['b', { id: ['12345678901234567890', 9007199254740992, 0.1, 0.3] }]);
  });

  it('says once that nothing was changed', () => {
    make([['a', { n: 1 }]]);
    edit('1}', '1e400}');
    const { message } = thrown(() => acceptEdits(nodeSystem, path));
    expect(message).toContain(
      'line 1: The value cannot be kept: at $.n, Infinity is not a JSON number. Nothing was changed. If',
    );
    expect(message.match(/Nothing was changed/g)).toHaveLength(1);
  });
});

describe('repair', () => {
  it('counts a line that is no UTF-8 as lost, and keeps its bytes', () => {
    make([
      ['café', 'x'],
      ['b', 'crème'],
      ['c', 'é'.normalize('NFD')],
      ['d', 1],
    ]);
    const file = join(path, '0.json');
    const text = readFileSync(file);
    const lines = text.toString('utf8').split('\n').slice(0, -1);
    const saved = Buffer.concat(lines.map((line, n) => Buffer.from(`${line}\n`, n < 2 ? 'latin1' : 'utf8')));
    writeFileSync(file, saved);
    const report = repairFolder(nodeSystem, path);
    expect(report).toMatchObject({ entries: 2, lostLines: 2, lostSettings: false });
    expect(entries()).toEqual([
      ['c', 'é'.normalize('NFD')],
      ['d', 1],
    ]);
    const kept = report.quarantined.find((name) => name.startsWith('quarantine/0.json.')) as string;
    expect(readFileSync(join(path, kept))).toEqual(saved);
  });

  it('invents no key where a bit of one was flipped', () => {
    make([
      ['café', 1],
      ['b', 2],
    ]);
    const file = join(path, '0.json');
    const bytes = readFileSync(file);
    const at = bytes.indexOf(0xa9);
    bytes[at] = 0xa9 ^ 0x40;
    writeFileSync(file, bytes);
    expect(repairFolder(nodeSystem, path)).toMatchObject({ entries: 1, lostLines: 1 });
    expect(entries()).toEqual([['b', 2]]);
  });

  it('reads the other keys of a folder of tastypy as tastypy wrote them', () => {
    mkdirSync(path);
    writeFileSync(join(path, '0.json'), Buffer.from('"a\\\\\\\\b"\t1\n"café"\t2\n"q\\\\""\t3\n', 'latin1'));
    expect(repairFolder(nodeSystem, path)).toMatchObject({ entries: 2, lostLines: 1 });
    expect(entries()).toEqual([
      ['a\\b', 1],
      ['q"', 3],
    ]);
  });
});

describe('adopting a folder of tastypy', () => {
  it.each([
    [
      'a line that is no UTF-8',
      Buffer.from('"b"\t1\n"café"\t"crème"\n', 'latin1'),
      'it is not UTF-8. Nothing was changed. ',
    ],
    ['a number that would come back as another one', '"b"\t1\n"a"\t{"id": 12345678901234567890}\n', INEXACT],
  ])('refuses %s, and touches nothing', (_, content, why) => {
    mkdirSync(path);
    const file = join(path, '0.json');
    writeFileSync(file, content);
    for (const mode of ['w', 'r'] as const) {
      const error = thrown(() => POD.open(path, { mode }));
      expect(error).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '0.json', line: 2 });
      expect(error.message).toContain(`${file} line 2: ${why}Mend the line`);
    }
    expect(readdirSync(path)).toEqual(['0.json']);
    expect(readFileSync(file)).toEqual(Buffer.from(content));
  });

  it('says once that nothing was changed', () => {
    mkdirSync(path);
    writeFileSync(join(path, '0.json'), '"a"\t1e400\n');
    expect(thrown(() => POD.open(path)).message.match(/Nothing was changed/g)).toHaveLength(1);
  });
});
