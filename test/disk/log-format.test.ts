import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { claimedCrc, parseControl, parseData, parseHeader, writeCrc } from '../../src/disk/log-format.ts';
import { header } from './support.ts';

function data(json: string) {
  const bytes = Buffer.from(json);
  return parseData(bytes, 0, bytes.length);
}

describe('a data line', () => {
  it('is taken apart without being parsed', () => {
    const json = '{"s":1202,"o":"set","n":7,"k":["a",1],"v":{"k":",\\"v\\":"}}';
    const line = data(json);
    expect(line).toMatchObject({ s: 1202, operation: 'set', shard: 7 });
    expect(json.slice(line?.keyStart, line?.keyEnd)).toBe('["a",1]');
    expect(json.slice(line?.valueStart, -1)).toBe('{"k":",\\"v\\":"}');
  });

  it('of a deletion has a key and no value', () => {
    const json = '{"s":3,"o":"del","n":0,"k":"b\\"c"}';
    const line = data(json);
    expect(line).toMatchObject({ s: 3, operation: 'del', shard: 0, valueStart: json.length });
    expect(json.slice(line?.keyStart, line?.keyEnd)).toBe('"b\\"c"');
  });

  it('may hold what looks like its own parts inside a key', () => {
    const key = JSON.stringify('","v":"');
    const json = `{"s":3,"o":"set","n":0,"k":${key},"v":1}`;
    const line = data(json);
    expect(json.slice(line?.keyStart, line?.keyEnd)).toBe(key);
  });

  it.each([
    '{"s":3,"o":"clear"}',
    '{"s":,"o":"set","n":0,"k":"a","v":1}',
    '{"s":3,"o":"set","n":,"k":"a","v":1}',
    '{"s":3,"o":"set","n":0,"x":"a","v":1}',
    '{"s":3,"o":"set","n":0,"k":"a"}',
    '{"s":12345678901234567,"o":"set","n":0,"k":"a","v":1}',
    '{"t":3,"o":"set","n":0,"k":"a","v":1}',
    '',
  ])('is not %s', (json) => {
    expect(data(json)).toBeUndefined();
  });
});

describe('other lines', () => {
  it.each([
    '{"s":1204,"o":"commit","c":2,"y":1201}',
    '{"s":1205,"o":"sync","c":0,"y":1201}',
    '{"s":1211,"o":"mark","c":0,"y":1210}',
    '{"s":1209,"o":"clear"}',
    '{"s":1206,"o":"fold","n":0,"lines":2,"bytes":40,"crc":"e2416f86","t":1205}',
    '{"s":1207,"o":"fold","n":4,"lines":0,"bytes":0,"crc":"00000000","t":1205,"was":"01aa22bb"}',
    '{"s":1212,"o":"end","how":"SIGTERM"}',
  ])('are read: %s', (json) => {
    expect(parseControl(json)).toEqual(JSON.parse(json));
  });

  it.each([
    'x',
    '{"s":1,"o":"commit"}',
    '{"s":1,"o":"other"}',
    '{"s":-1,"o":"clear"}',
    '{"s":1,"o":"clear","more":1}',
    '{"s":1,"o":"fold","n":0,"lines":2,"bytes":40,"crc":"nothex!!","t":1}',
  ])('are refused: %s', (json) => {
    expect(parseControl(json)).toBeUndefined();
  });

  it('include the header', () => {
    expect(parseHeader(header(17, 1201))).toMatchObject({ wal: 17, base: 1201, id: '3f1c9a52' });
    expect(parseHeader('{"wal":17}')).toBeUndefined();
    expect(parseHeader('')).toBeUndefined();
  });
});

describe('the checksum of a line', () => {
  it('is written and read as eight digits and a space', () => {
    for (const value of [0, 1, 0xdeadbeef, 0xffffffff, 0x0a0b0c0d]) {
      const line = Buffer.from('         {}');
      writeCrc(line, 0, value);
      expect(line.toString()).toBe(`${value.toString(16).padStart(8, '0')} {}`);
      expect(claimedCrc(line, 0, line.length)).toBe(value);
    }
  });

  it.each(['0123456g {}', '0123456A {}', '01234567-{}', '0123456 {}', '01234567 {', ''])('is not in "%s"', (line) => {
    expect(claimedCrc(Buffer.from(line), 0, line.length)).toBe(-1);
  });
});
