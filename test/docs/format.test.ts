// Holds docs/format.md to the bytes: the worked example is parsed, its checksums are computed, and its folders are opened.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/disk/repair.ts';
import { nodeSystem, type System } from '../../src/disk/system.ts';
import { POD, type PodError } from '../../src/index.ts';
import { openHandle } from '../../src/pod/open-pods.ts';
import { HANDLE_DOOR } from '../../src/pod/pod.ts';
import { blocksOf, readDocument } from './blocks.ts';

/** The files of the example by `stage/name`. */
const files = new Map(
  blocksOf('docs/format.md')
    .filter(({ note }) => note.startsWith('example: '))
    .map(({ note, text }) => [note.slice('example: '.length), text]),
);

function file(name: string): string {
  const text = files.get(name);
  if (text === undefined) throw new Error(`docs/format.md has no example ${name}`);
  return text;
}

const hex = (text: string, seed = 0) => crc32(text, seed).toString(16).padStart(8, '0');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'everpod-format-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Lays a folder out of files of the example. */
function layOut(names: Readonly<Record<string, string>>): string {
  const pod = path.join(folder, 'example.pod');
  mkdirSync(pod);
  for (const [name, text] of Object.entries(names)) writeFileSync(path.join(pod, name), text);
  return pod;
}

const closed = () => ({
  '0.json': file('closed/0.json'),
  'pod.json': file('closed/pod.json'),
  'wal-000002.jsonl': file('closed/wal-000002.jsonl'),
});
const killed = () => ({ ...closed(), 'wal-000002.jsonl': file('killed/wal-000002.jsonl') });
const folding = () => ({ ...closed(), 'wal-000002.jsonl': file('folding/wal-000002.jsonl') });
const folded = () => ({
  '0.json': file('folded/0.json'),
  'pod.json': file('folded/pod.json'),
  'wal-000003.jsonl': file('folded/wal-000003.jsonl'),
});

const before = [
  ['https://a.example/', { tries: 1 }],
  ['b', [1, 2]],
  [7, null],
];
const after = [
  ['https://a.example/', { tries: 2 }],
  [7, null],
  ['c', {}],
];

describe('the worked example of docs/format.md', () => {
  it.each([...files.keys()].filter((name) => name.endsWith('.jsonl')))(
    '%s: every line follows on the one before',
    (name) => {
      let crc = 0;
      let s: number | undefined;
      for (const line of file(name).trimEnd().split('\n')) {
        const [claimed, json] = [line.slice(0, 8), line.slice(9)];
        expect(line[8]).toBe(' ');
        expect(claimed).toBe(hex(json, crc));
        crc = Number.parseInt(claimed, 16);
        const record = JSON.parse(json) as { s?: number; base?: number };
        expect(record.s).toBe(s);
        s = (record.s ?? (record.base as number)) + 1;
      }
    },
  );

  it.each(['closed', 'folded'])('%s/pod.json: its checksum, and those of the shard it lists', (stage) => {
    const text = file(`${stage}/pod.json`);
    const manifest = JSON.parse(text) as {
      crc: string;
      pod: { shards: Record<string, [number, number, string, number]> };
    };
    const body = text.slice(text.indexOf('"pod":') + '"pod":'.length, text.lastIndexOf('}'));
    expect(manifest.crc).toBe(hex(body));
    const shard = file(`${stage}/0.json`);
    const seq = manifest.pod.shards['0']?.[3];
    expect(manifest.pod.shards).toEqual({
      '0': [shard.split('\n').length - 1, Buffer.byteLength(shard), hex(shard), seq],
    });
  });

  it('each segment names the line of the one before that it follows', () => {
    const last = file('folding/wal-000002.jsonl').trimEnd().split('\n').at(-1) as string;
    const header = JSON.parse(file('folded/wal-000003.jsonl').slice(9)) as { base: number; prev: string };
    expect(header.prev).toBe(last.slice(0, 8));
    expect(header.base).toBe((JSON.parse(last.slice(9)) as { s: number }).s);
  });

  it('opens at each stage to what the text says', () => {
    const renamed = { ...folding(), '0.json': file('folded/0.json') };
    for (const [files, entries, replayed] of [
      [closed(), before, 0],
      [killed(), after, 3],
      [folding(), after, 3],
      [renamed, after, 0],
      [folded(), after, 0],
    ] as const) {
      const pod = layOut(files);
      expect(verifyFolder(nodeSystem, pod)).toBe(3);
      const reader = POD.open(pod, { mode: 'r' });
      expect([...reader]).toEqual(entries);
      reader.close();
      const writer = POD.open(pod);
      expect([...writer]).toEqual(entries);
      expect(writer.recovery.replayed).toBe(replayed);
      writer.close();
      rmSync(pod, { recursive: true });
    }
  });

  it('loses the last batch alone when the kill comes in the middle of it', () => {
    const log = killed()['wal-000002.jsonl'];
    const start = log.indexOf('df45e04e');
    for (let end = start + 1; end < log.length; end++) {
      const pod = layOut({ ...killed(), 'wal-000002.jsonl': log.slice(0, end) });
      const reader = POD.open(pod, { mode: 'r' });
      expect([...reader]).toEqual(after.slice(0, 2));
      reader.close();
      rmSync(pod, { recursive: true });
    }
  });

  it('is rot where a line that the mark vouches for is changed', () => {
    const log = killed()['wal-000002.jsonl'].replace('{"tries":2}', '{"tries":3}');
    const pod = layOut({ ...killed(), 'wal-000002.jsonl': log });
    expect(() => POD.open(pod)).toThrow(
      expect.objectContaining({ code: 'ERR_POD_CORRUPT', info: { record: 8 } }) as PodError,
    );
  });
});

describe('the costs in docs/format.md', () => {
  it('are those of the code', () => {
    const { system, fsyncs } = counting();
    const open = (options: object = {}) => {
      const { handle } = openHandle<POD<number>, number, string>(
        path.join(folder, 'made', 'costs.pod'),
        { syncEvery: 0, ...options },
        {
          name: 'PersistentOrderedDict',
          meta: {},
          accepts: (other): other is POD<number> => other instanceof POD,
          make: (engine) => new POD<number>(HANDLE_DOOR, engine),
          system,
        },
      );
      return handle;
    };
    let pod = open({ fileSize: 2 });
    const measured: Record<string, number> = { 'opening a new folder': fsyncs() - 2 }; // two folders were created
    for (const key of ['a', 'b', 'c']) pod.set(key, 1);
    pod.sync();
    measured['a sync point'] = fsyncs();
    pod.sync();
    expect(fsyncs()).toBe(0);
    pod.set('a', 2);
    pod.revert();
    expect(fsyncs()).toBe(0);
    pod.close();
    measured.closing = fsyncs() - 2; // two shards were written
    pod = open();
    measured['opening a folder that was closed'] = fsyncs();
    pod.close();
    expect(fsyncs()).toBe(0);
    pod = open({ durability: 'power' });
    fsyncs();
    pod.set('a', 3);
    measured['one change at level `power`'] = fsyncs();
    pod.revert();
    measured['`revert()` of something that was appended'] = fsyncs();
    pod.compact();
    measured['`compact()`'] = fsyncs() - 2;
    pod.close();
    const rows = readDocument('docs/format.md').matchAll(/^\| ([^|]+) \| (?:`m` \+ )?(\d)(?:[,;] [^|]*)? \|$/gm);
    const written = Object.fromEntries([...rows].map(([, name, count]) => [name, Number(count)]));
    expect(written).toMatchObject(measured);
  });
});

/** The real system, and how many fsyncs it made since the last time one asked. */
function counting(): { system: System; fsyncs: () => number } {
  let count = 0;
  const { fs } = nodeSystem;
  const system: System = {
    ...nodeSystem,
    fs: {
      ...fs,
      stage: (name, bytes) => {
        count++;
        fs.stage(name, bytes);
      },
      fsync: (fd) => {
        count++;
        fs.fsync(fd);
      },
      fdatasync: (fd) => {
        count++;
        fs.fdatasync(fd);
      },
      fsyncFolder: (name) => {
        count++;
        fs.fsyncFolder(name);
      },
    },
  };
  return {
    system,
    fsyncs: () => {
      const made = count;
      count = 0;
      return made;
    },
  };
}
