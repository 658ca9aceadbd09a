import { Buffer } from 'node:buffer';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { shardLines } from '../../src/core/line.ts';
import { Table } from '../../src/core/table.ts';
import {
  describeText,
  encodeShard,
  firstBadLine,
  matches,
  packShard,
  parseShard,
  readShardText,
} from '../../src/disk/shards.ts';
import { diskWith, owner, PATH, thrown } from './support.ts';

function parse(text: string, tastypy: boolean = false): [unknown, unknown][] {
  const lines = parseShard(PATH, '4.json', 4, Buffer.from(text), tastypy);
  return [...lines].map(({ key, source, position, length, check }) => [
    key,
    JSON.parse(source.textAt(position, length, check)),
  ]);
}

describe('the text of a shard', () => {
  it('is one line for each entry, in order', () => {
    const table = new Table<unknown, never>(owner, 1000);
    table.set('b', { ü: [1, null] });
    table.set(['a', 1], '\t\n');
    table.set(7, 0.5);
    const { text, lines } = encodeShard(shardLines(table.rows, 0));
    expect(text.toString()).toBe('"b"\t{"ü":[1,null]}\n["a",1]\t"\\t\\n"\n7\t0.5\n');
    expect(lines).toBe(3);
    expect(parse(text.toString())).toEqual([
      ['b', { ü: [1, null] }],
      [['a', 1], '\t\n'],
      [7, 0.5],
    ]);
    expect(describeText(text, 12)).toEqual({
      lines: 3,
      bytes: text.length,
      crc: expect.any(String),
      seq: 12,
      tastypy: false,
    });
  });

  it('may be larger than any first guess', () => {
    const table = new Table<string, never>(owner, 1000);
    const values = ['x'.repeat(70_000), '€'.repeat(30_000), '', 'y'.repeat(200_000)];
    for (const [index, value] of values.entries()) table.set(index, value);
    const { text } = encodeShard(shardLines(table.rows, 0));
    expect(parse(text.toString()).map(([, value]) => value)).toEqual(values);
  });

  it('is refused where it is too large for one buffer', () => {
    const table = new Table<string, never>(owner, 1000);
    table.set('a', 'x'.repeat(70_000));
    expect(thrown(() => encodeShard(shardLines(table.rows, 0), 1 << 16)).code).toBe('ERR_POD_UNSUPPORTED');
  });

  it('counts a last line without its end', () => {
    expect(describeText(Buffer.from('1\t2\n3\t4'), 0).lines).toBe(2);
    expect(describeText(Buffer.alloc(0), 0)).toMatchObject({ lines: 0, crc: '00000000' });
    expect(parse('1\t2\n3\t4')).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('is compared by length and checksum', () => {
    const text = Buffer.from('"a"\t1\n');
    const content = describeText(text, 3);
    expect(matches(text, content)).toBe(true);
    expect(matches(Buffer.from('"a"\t2\n'), content)).toBe(false);
    expect(matches(Buffer.from('"a"\t1\n\n'), content)).toBe(false);
  });

  it('is read where it is ASCII and where it is not', () => {
    expect(parse('"ab"\t"cd"\n"e"\t1\n')).toEqual([
      ['ab', 'cd'],
      ['e', 1],
    ]);
    expect(parse('"äb"\t"cd"\n"e"\t"ö"\n')).toEqual([
      ['äb', 'cd'],
      ['e', 'ö'],
    ]);
  });
});

describe('a bad line', () => {
  it.each([
    ['has no tab', '"a"\t1\n"b" 2\n"c"\t3\n', 2],
    ['has no tab before the next line does', '"a"\n"b"\t2\n', 1],
    ['has a key that is no JSON', '"a"\t1\n"b\t2\n', 2],
    ['has a key that is no key', '"a"\t1\n1.5\t2\n', 2],
    ['has no key', '\t1\n', 1],
  ])('that %s is named', (_, text, line) => {
    const error = thrown(() => parse(text));
    expect(error).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '4.json', line });
    expect(firstBadLine(Buffer.from(text), false)?.line).toBe(line);
  });

  it('may be bad in its value alone', () => {
    expect(firstBadLine(Buffer.from('"a"\t1\n"b"\t{"x":\n'), false)).toMatchObject({ line: 2 });
    expect(firstBadLine(Buffer.from('"a"\t1\n"b"\t\n'), false)).toMatchObject({ line: 2 });
    expect(firstBadLine(Buffer.from('"a"\t1\n'), false)).toBeUndefined();
  });

  it('may be one that decoding or parsing would change', () => {
    const latin = Buffer.from('"a"\t1\n"b"\t"\xe9"\n', 'latin1');
    expect(firstBadLine(latin, false)).toMatchObject({ line: 2, why: 'it is not UTF-8' });
    expect(firstBadLine(Buffer.from('"é"\t"\ufffd"\n'), false)).toBeUndefined();
    const rounded = Buffer.from('"a"\t12345678901234567168\n"b"\t[12345678901234567890]\n');
    expect(firstBadLine(rounded, false)).toMatchObject({
      line: 2,
      why: 'it has the number 12345678901234567890, which would come back as another one; write it as a text',
    });
  });

  it('may be bad in the dialect of tastypy alone', () => {
    const text = Buffer.from('"q\\""\t1\n');
    expect(firstBadLine(text, false)).toBeUndefined();
    expect(firstBadLine(text, true)).toMatchObject({ line: 1 });
    expect(parse('"q\\\\""\t1\n', true)).toEqual([['q"', 1]]);
  });
});

describe('a shard file', () => {
  const text = Buffer.from('"a"\t1\n');

  it('is read plain or unpacked', () => {
    const fs = diskWith({ '0.json': text, '0.json.gz': packShard(text, true) });
    expect(readShardText(fs, PATH, '0.json', false, 100)).toEqual(text);
    expect(readShardText(fs, PATH, '0.json.gz', true, 100)).toEqual(text);
    expect(readShardText(fs, PATH, '1.json', false, 100)).toBeUndefined();
    expect(readShardText(fs, PATH, '1.json.gz', true, 100)).toBeUndefined();
    expect(packShard(text, false)).toBe(text);
  });

  it('is damaged where it cannot be unpacked, or unpacks to more than it may', () => {
    const fs = diskWith({ '0.json.gz': 'no gzip', '1.json.gz': gzipSync(Buffer.alloc(1_000_000)) });
    expect(readShardText(fs, PATH, '0.json.gz', true, 100)).toBe('damaged');
    expect(readShardText(fs, PATH, '1.json.gz', true, 100)).toBe('damaged');
    expect(readShardText(fs, PATH, '1.json.gz', true, 0)).toBe('damaged');
  });
});
