import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NEW_TASK, POD, PodError, ProgressTracker } from '../../src/index.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'everpod-rows-'));
  path = join(folder, 'pod');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function refusal(open: () => unknown): PodError {
  try {
    open();
  } catch (error) {
    if (error instanceof PodError) return error;
    throw error;
  }
  throw new Error('It was not refused.');
}

function fill(count: number, options: Parameters<typeof POD.open>[1] = {}): void {
  const pod = POD.open<number>(path, options as { fileSize?: number; gzipped?: boolean });
  for (let index = 0; index < count; index++) pod.set(`k${index}`, index);
  pod.close();
}

it('TP-003: a task that nobody has tried has the record of NEW_TASK, fresh each time', () => {
  const tasks = ProgressTracker.open(path);
  tasks.addMany(['a', 'b']);
  expect(tasks.snapshot('a')).toEqual({ ...NEW_TASK });
  tasks.markDone('a');
  expect(tasks.snapshot('b')).toEqual({ _tries: 0, _done: false, _aborted: false });
  expect(Object.isFrozen(NEW_TASK)).toBe(true);
  tasks.close();
});

it('TP-020: every option has a name, and an unknown one is refused by name', () => {
  const pod = POD.open<number>(path, {
    mode: 'w',
    init: { a: 1 },
    gzipped: false,
    fileSize: 10,
    syncAt: 5,
    isolated: false,
  });
  expect(pod.get('a')).toBe(1);
  pod.close();
  const error = refusal(() => POD.open(path, { file_size: 10 } as object));
  expect(error.code).toBe('ERR_POD_OPTIONS');
  expect(error.message).toContain('file_size');
});

it("TP-023: the mode is 'w' unless given, without a word on any output; nothing but 'r' and 'w' is one", () => {
  const pod = POD.open(path);
  expect(pod.isWritable).toBe(true);
  pod.close();
  for (const mode of ['', 'rw', 'a', 'R', null]) {
    expect(refusal(() => POD.open(path, { mode } as object))).toMatchObject({
      code: 'ERR_POD_OPTIONS',
      info: { option: 'mode' },
    });
  }
});

it('TP-025: isWritable says whether the handle may change anything', () => {
  fill(1);
  const reader = POD.open(path, { mode: 'r' });
  expect(reader.isWritable).toBe(false);
  reader.close();
  const writer = POD.open(path);
  expect(writer.isWritable).toBe(true);
  writer.close();
});

it('TP-027, TPB-03: a gzipped pod opens again, with the option, without it, and is converted when the other one is asked for', () => {
  fill(25, { gzipped: true, fileSize: 10 });
  expect(readdirSync(path).filter((name) => /^\d/.test(name))).toEqual(['0.json.gz', '1.json.gz', '2.json.gz']);
  for (const options of [{ gzipped: true }, {}, { gzipped: false }]) {
    const pod = POD.open<number>(path, options);
    expect([...pod.values()]).toEqual(Array.from({ length: 25 }, (_, index) => index));
    pod.set('k0', 0);
    pod.close();
  }
  // Never both kinds at once.
  expect(readdirSync(path).filter((name) => /^\d/.test(name))).toEqual(['0.json', '1.json', '2.json']);
});

it('TP-028, TPB-06: fileSize is kept on disk, and another one rewrites the folder instead of breaking it', () => {
  fill(25, { fileSize: 10 });
  const lines = (name: string): number => readFileSync(join(path, name), 'utf8').split('\n').length - 1;
  let pod = POD.open<number>(path);
  for (let index = 25; index < 31; index++) pod.set(`k${index}`, index);
  pod.close();
  expect(['0.json', '1.json', '2.json', '3.json'].map(lines)).toEqual([10, 10, 10, 1]);
  pod = POD.open<number>(path, { fileSize: 4 });
  pod.close();
  expect(readdirSync(path).filter((name) => /^\d+\.json$/.test(name))).toHaveLength(8);
  pod = POD.open<number>(path);
  expect([...pod.keys()]).toEqual(Array.from({ length: 31 }, (_, index) => `k${index}`));
  pod.close();
});

it('TP-064, TPB-15: a change writes its own record, not the file of a thousand entries it is in', () => {
  const pod = POD.open<{ n: number; text: string }>(path);
  for (let index = 0; index < 1000; index++) pod.set(`k${index}`, { n: index, text: 'x'.repeat(100) });
  pod.close();
  const again = POD.open<{ n: number; text: string }>(path);
  const shard = statSync(join(path, '0.json'));
  const log = readdirSync(path).find((name) => name.startsWith('wal-')) as string;
  const before = statSync(join(path, log)).size;
  (again.get('k500') as { n: number }).n = -1;
  again.sync();
  const grown = statSync(join(path, log)).size - before;
  expect(grown).toBeGreaterThan(100);
  expect(grown).toBeLessThan(1000);
  expect(statSync(join(path, '0.json'))).toMatchObject({ ino: shard.ino, mtimeMs: shard.mtimeMs, size: shard.size });
  again.close();
});

it('TP-096: a gap, a short shard before the last, and a line that cannot be read are refused with the file', () => {
  const write = (name: string, lines: number[]): void =>
    writeFileSync(join(folder, name), lines.map((n) => `"k${n}"\t${n}\n`).join(''));
  write('0.json', [0, 1]);
  write('2.json', [4, 5]);
  expect(refusal(() => POD.open(folder))).toMatchObject({
    code: 'ERR_POD_CORRUPT',
    message: expect.stringContaining('1.json is missing'),
  });
  write('1.json', [2]);
  expect(refusal(() => POD.open(folder))).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '1.json' });
  write('1.json', [2, 3]);
  writeFileSync(join(folder, '2.json'), '"k4"\t4\n"k5"\tNaN\n');
  expect(refusal(() => POD.open(folder))).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '2.json', line: 2 });
  expect(existsSync(join(folder, 'pod.json'))).toBe(false);
  write('2.json', [4, 5]);
  const pod = POD.open<number>(folder);
  expect([...pod]).toEqual([0, 1, 2, 3, 4, 5].map((n) => [`k${n}`, n]));
  pod.close();
});

it('TPB-16: a last line without its newline keeps its last character, and foreign names are nobody’s shard', () => {
  writeFileSync(join(folder, '0.json'), '"a"\t12\n"b"\t34');
  for (const name of ['0.json.bak', '0.json~', 'x1.json', 'readme.txt']) writeFileSync(join(folder, name), 'not ours');
  let pod = POD.open<number>(folder);
  expect([...pod]).toEqual([['a', 12], ['b', 34]]); // biome-ignore format: two pairs
  pod.set('c', 5);
  pod.close();
  pod = POD.open<number>(folder);
  expect([...pod.values()]).toEqual([12, 34, 5]);
  pod.close();
  for (const name of ['0.json.bak', '0.json~', 'x1.json', 'readme.txt']) {
    expect(readFileSync(join(folder, name), 'utf8')).toBe('not ours');
  }
});

it('a shard that was gzipped again by hand is no edit', () => {
  fill(20, { gzipped: true });
  const file = join(path, '0.json.gz');
  writeFileSync(file, gzipSync(gunzipSync(readFileSync(file)), { level: 9 }));
  const pod = POD.open<number>(path);
  expect(pod.size).toBe(20);
  pod.close();
});
