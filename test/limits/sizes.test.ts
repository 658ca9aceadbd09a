// The largest of everything: values, keys, numbers of shards, files beyond 512 MB and 2 GB, and gzip files that unpack to more than they say.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { crc32, gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { allLines } from '../../src/core/line.ts';
import { findByte } from '../../src/disk/files.ts';
import { acceptEdits, verifyFolder } from '../../src/disk/repair.ts';
import { encodeShard } from '../../src/disk/shards.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD } from '../../src/index.ts';
import { engineOf } from '../../src/pod/pod.ts';
import { useBench } from '../process/built.ts';
import { testSize } from '../size.ts';
import { EMPTY_POD, logText, makeFolder, manifestText, temporaryPaths, thrownBy } from './forge.ts';

const newPath = temporaryPaths();
const bench = useBench();
const opened: { close(): void }[] = [];
afterEach(() => {
  for (const open of opened.splice(0)) open.close();
});

const MEGABYTE = 1 << 20;
const VALUE_MB = testSize === 'small' ? 16 : 64;
const SHARDS = { small: 300, ci: 20_000, long: 100_000 }[testSize];

/** Why a test that needs this much memory cannot run here; undefined where it can. */
function memoryObstacle(megabytes: number): string | undefined {
  const free = Math.floor(freemem() / MEGABYTE);
  return free >= megabytes ? undefined : `${megabytes} MB of memory are needed and ${free} MB are free`;
}

function open<V>(folder: string, options: { gzipped?: boolean; fileSize?: number } = {}): POD<V> {
  const pod = POD.open<V>(folder, options);
  opened.push(pod);
  return pod;
}

describe(`one value of ${VALUE_MB} MB`, () => {
  const why = memoryObstacle(1500);
  if (why !== undefined) console.warn(`# skipped: a value of ${VALUE_MB} MB: ${why}`);

  it.skipIf(why !== undefined).each(testSize === 'small' ? [false] : [false, true])(
    'is set, changed inside, and comes back (gzipped: %s)',
    (gzipped) => {
      const folder = newPath();
      const text = 'a line of text, äöü €, "quoted"\n'.repeat(Math.ceil((VALUE_MB * MEGABYTE) / 37));
      expect(Buffer.byteLength(text)).toBeGreaterThan((VALUE_MB - 1) * MEGABYTE);
      const first = open<{ text: string; visits: number }>(folder, { gzipped });
      first.set('large', { text, visits: 0 });
      first.set('small', { text: '', visits: 0 });
      first.sync();
      const reader = POD.open<{ text: string; visits: number }>(folder, { isolated: true });
      expect(reader.get('large')?.text === text).toBe(true);
      reader.close();
      const view = first.get('large');
      if (view !== undefined) view.visits = 1;
      first.close();
      const second = open<{ text: string; visits: number }>(folder);
      expect(second.recovery.replayed).toBe(0);
      expect(second.get('large')?.text === text).toBe(true);
      expect(second.get('large')?.visits).toBe(1);
      second.compact();
      expect(second.get('small')).toEqual({ text: '', visits: 0 });
    },
  );
});

describe('a long key', () => {
  it.each([64 << 10, 1 << 20])(
    'of %i characters comes back, from the log and from a shard, as a text and inside an array',
    (length) => {
      const folder = newPath();
      const keys = ['k'.repeat(length), 'é"\n'.repeat(length / 4), ['part', 'k'.repeat(length)]];
      const pod = POD.open<number, (typeof keys)[number]>(folder);
      opened.push(pod);
      for (const [number, key] of keys.entries()) pod.set(key, number);
      pod.sync();
      const reader = POD.open<number, (typeof keys)[number]>(folder, { isolated: true });
      expect([...reader.keys()]).toEqual(keys);
      reader.close();
      pod.close();
      const again = POD.open<number, (typeof keys)[number]>(folder);
      opened.push(again);
      expect([...again]).toEqual(keys.map((key, number) => [key, number]));
      expect(readdirSync(folder).every((name) => name.length < 40)).toBe(true);
    },
  );

  it('is shown short in an error', () => {
    const pod = open<unknown>(newPath());
    const error = thrownBy(() => pod.set('k', Number.NaN));
    expect(error.message.length).toBeLessThan(300);
  });
});

describe('many shards', () => {
  it(`${SHARDS} of one entry each: written, opened, read, changed in one place, compacted into few`, () => {
    const folder = newPath();
    const first = open<number>(folder, { fileSize: 1 });
    first.transaction(() => {
      for (let n = 0; n < SHARDS; n++) first.set(`key ${n}`, n);
    });
    first.close();
    const isShard = (name: string): boolean => /^\d+\.json$/.test(name);
    expect(readdirSync(folder).filter(isShard)).toHaveLength(SHARDS);
    const second = open<number>(folder);
    expect(second.size).toBe(SHARDS);
    let n = 0;
    for (const [key, value] of second) {
      if (key !== `key ${n}` || value !== n) throw new Error(`${key} is ${value}`);
      n++;
    }
    second.set('key 7', -7);
    second.delete('key 8');
    const untouched = statSync(join(folder, '9.json')).mtimeMs;
    second.close();
    expect(readFileSync(join(folder, '7.json'), 'utf8')).toBe('"key 7"\t-7\n');
    expect(readdirSync(folder)).not.toContain('8.json');
    expect(statSync(join(folder, '9.json')).mtimeMs).toBe(untouched);
    const third = open<number>(folder, { fileSize: 1000 });
    expect(third.size).toBe(SHARDS - 1);
    expect(third.get('key 7')).toBe(-7);
    expect(readdirSync(folder).filter(isShard)).toHaveLength(Math.ceil((SHARDS - 1) / 1000));
    third.close();
    console.log(`# shards in one folder: ${SHARDS}`);
  });
});

describe('a gzip file that unpacks to 1 GB', () => {
  /** 1 GB of newlines in 1 MB: gzip files can be put one behind the other. */
  const bomb = (parts: number = 16): Buffer => Buffer.concat(Array.from({ length: parts }, () => part));
  const part = gzipSync(Buffer.alloc(64 * MEGABYTE, '\n'), { level: 9 });

  it('in the place of a shard is refused without being unpacked, and so it is beside the log', () => {
    const folder = newPath();
    const pod = open<number>(folder, { gzipped: true, fileSize: 2 });
    for (let n = 0; n < 6; n++) pod.set(`key ${n}`, n);
    pod.close();
    writeFileSync(join(folder, '1.json.gz'), bomb());
    const before = process.memoryUsage.rss();
    for (const mode of ['r', 'w'] as const) {
      expect(thrownBy(() => opened.push(POD.open(folder, { mode })))).toMatchObject({
        code: 'ERR_POD_CORRUPT',
        file: '1.json.gz',
      });
    }
    expect(thrownBy(() => verifyFolder(nodeSystem, folder)).code).toBe('ERR_POD_CORRUPT');
    expect(process.memoryUsage.rss() - before).toBeLessThan(300 * MEGABYTE);
  });

  const why = memoryObstacle(4000);
  if (why !== undefined) console.warn(`# skipped: unpacking 1 GB on purpose: ${why}`);
  it.skipIf(why !== undefined)(
    'and a byte more is refused in a folder that no manifest describes, and by accept',
    () => {
      const more = Buffer.concat([bomb(), gzipSync('\n')]);
      const bare = newPath();
      mkdirSync(bare);
      writeFileSync(join(bare, '0.json.gz'), more);
      expect(thrownBy(() => POD.open(bare)).code).toBe('ERR_POD_CORRUPT');
      expect(readdirSync(bare)).toEqual(['0.json.gz']);
      // It is the same reading, so of the small size once is enough.
      if (testSize === 'small') return;
      const folder = newPath();
      const pod = open<number>(folder, { gzipped: true });
      pod.set('key', 1);
      pod.close();
      writeFileSync(join(folder, '0.json.gz'), more);
      expect(thrownBy(() => acceptEdits(nodeSystem, folder)).code).toBe('ERR_POD_CORRUPT');
      expect(readFileSync(join(folder, '0.json.gz')).equals(more)).toBe(true);
    },
  );

  it('that claims to be what the manifest lists has to be that', () => {
    // The manifest lists 1 GB of newlines, or less of the small size, checksum and all; they are no lines of a shard.
    const parts = testSize === 'small' ? 3 : 16;
    const text = gunzipSync(part);
    let crc = 0;
    for (let times = 0; times < parts; times++) crc = crc32(text, crc);
    const entry = `[1,${parts * text.length},"${crc.toString(16).padStart(8, '0')}",0]`;
    const folder = makeFolder(newPath(), {
      'pod.json': manifestText(
        EMPTY_POD.replace('"gzip":false', '"gzip":true').replace('"shards":{}', `"shards":{"0":${entry}}`),
      ),
      'wal-000001.jsonl': logText([]),
      '0.json.gz': bomb(parts),
    });
    expect(thrownBy(() => POD.open(folder)).code).toBe('ERR_POD_CORRUPT');
  });
});

describe('bytes beyond 2 GiB', () => {
  const why = memoryObstacle(4000);
  if (why !== undefined) console.warn(`# skipped: a buffer of 2 GiB: ${why}`);

  it.skipIf(why !== undefined)('are searched like all others', () => {
    const bytes = Buffer.alloc(2 ** 31 + 1000);
    const places = [5, 2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 999];
    for (const place of places) bytes[place] = 10;
    const found: number[] = [];
    for (let at = findByte(bytes, 10, 0); at >= 0; at = findByte(bytes, 10, at + 1)) found.push(at);
    expect(found).toEqual(places);
  });

  it('a shard that would be longer than a buffer can be is refused with the way out', () => {
    const pod = open<string>(newPath());
    for (let n = 0; n < 100; n++) pod.set(`key ${n}`, 'x'.repeat(2000));
    const { table } = engineOf(pod);
    expect(encodeShard(allLines(table.rows), 250_000).lines).toBe(100);
    const error = thrownBy(() => encodeShard(allLines(table.rows), 150_000));
    expect(error.code).toBe('ERR_POD_UNSUPPORTED');
    expect(error.message).toContain('fileSize');
  });
});

describe('files of more than 512 MB and more than 2 GB', () => {
  const why = testSize === 'long' ? memoryObstacle(12_000) : 'only in EVERPOD_TEST_SIZE=long';
  if (why !== undefined) console.warn(`# skipped: files of more than 512 MB and 2 GB: ${why}`);

  it.skipIf(why !== undefined).each([600, 2300])(
    'a log and a shard of %i MB, plain and gzipped: killed, replayed, gone back, folded, compacted',
    async (megabytes) => {
      const folder = newPath('huge');
      const nodeFlags = ['--max-old-space-size=10000'];
      const huge = async (...args: string[]): Promise<string> => {
        const { lines, stderr } = await bench.run('huge', [folder, ...args], { nodeFlags });
        return [...lines, stderr].join(' ').trim();
      };
      const largest = (): number => Math.max(...readdirSync(folder).map((name) => statSync(join(folder, name)).size));
      const count = Math.ceil(megabytes / 16);
      expect(await huge('fill', String(megabytes))).toBe(`filled ${count}`);
      expect(largest()).toBeGreaterThan(megabytes * 1_000_000);
      const checked = (replayed: number): string => `checked ${count}, replayed ${replayed}`;
      expect(await huge('check,revert,check,close')).toBe(`${checked(count)} reverted ${checked(count)} closed`);
      expect(readdirSync(folder)).toContain('0.json');
      expect(largest()).toBeGreaterThan(megabytes * 1_000_000);
      expect(await huge('check,compact,check,close')).toBe(`${checked(0)} compacted ${checked(0)} closed`);
      expect(await huge('check,close', '0', 'gzipped')).toBe(`${checked(0)} closed`);
      expect(readdirSync(folder)).toContain('0.json.gz');
      expect(await huge('check,close', '0', 'gzipped')).toBe(`${checked(0)} closed`);
      rmSync(folder, { recursive: true, force: true });
      console.log(`# log and shard of ${megabytes} MB: ${count} values of 16 MB, all as they were`);
    },
  );
});
