import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { foreignError, isUnchangedAt, readHeader, rotError, scanSegment } from '../../src/disk/log-reader.ts';
import { diskWith, header, logOf, PATH } from './support.ts';

const NAME = 'wal-000001.jsonl';

function scan(log: string | Uint8Array, until?: { s: number; crc: string }) {
  return scanSegment(diskWith({ [NAME]: log }), PATH, 1, until);
}

const set = (s: number, key: string): string => `{"s":${s},"o":"set","n":0,"k":"${key}","v":${s}}`;
const commit = (s: number, c: number, y: number): string => `{"s":${s},"o":"commit","c":${c},"y":${y}}`;
/** Two batches, the second of which says that the first was durable, and a mark that says it of both. */
const whole = [header(), set(1, 'a'), set(2, 'b'), commit(3, 2, 0), set(4, 'c'), commit(5, 1, 3)];
const marked = [...whole, '{"s":6,"o":"mark","c":0,"y":5}'];

/** A log with one byte of a line changed. */
function damaged(lines: readonly string[], line: number, at: number = 12): Buffer {
  const log = logOf(lines);
  let start = 0;
  for (let count = 0; count < line; count++) start = log.indexOf(0x0a, start) + 1;
  log[start + at] = (log[start + at] as number) ^ 1;
  return log;
}

describe('the example of the description', () => {
  const example = `6993b6f0 {"wal":17,"id":"3f1c9a52","gen":1,"base":1201,"prev":"5d0f0a3c","salt":"9f2c41d07be8a356"}
831cd6ff {"s":1202,"o":"set","n":0,"k":"https://a.example/","v":{"tries":2}}
cdbea4e6 {"s":1203,"o":"del","n":0,"k":"b"}
5f130041 {"s":1204,"o":"commit","c":2,"y":1201}
cb60fa75 {"s":1205,"o":"sync","c":0,"y":1201}
840c80f5 {"s":1206,"o":"fold","n":0,"lines":2,"bytes":40,"crc":"e2416f86","t":1205}
124dc64a {"s":1207,"o":"fold","n":4,"lines":0,"bytes":0,"crc":"00000000","t":1205,"was":"01aa22bb"}
14f0aea2 {"s":1208,"o":"sync","c":2,"y":1205}
bf1214aa {"s":1209,"o":"clear"}
f88da73a {"s":1210,"o":"commit","c":1,"y":1208}
81a2025e {"s":1211,"o":"mark","c":0,"y":1210}
`;

  it('is read as it is meant', () => {
    const found = scanSegment(diskWith({ 'wal-000017.jsonl': example }), PATH, 17);
    expect(found?.header).toMatchObject({ wal: 17, gen: 1, base: 1201 });
    expect(found?.records.map(({ s, operation }) => [s, operation])).toEqual([
      [1202, 'set'],
      [1203, 'del'],
      [1209, 'clear'],
    ]);
    expect(found?.intents.map(({ n, lines }) => [n, lines])).toEqual([
      [0, 2],
      [4, 0],
    ]);
    expect(found?.end).toEqual({ s: 1211, offset: example.length, crc: 0x81a2025e });
    expect(found).toMatchObject({ vouched: 1210, batches: 4, tail: { kind: 'clean' }, reachedUntil: false });
  });
});

describe('a segment', () => {
  it('is none without a header', () => {
    expect(scanSegment(diskWith({}), PATH, 1)).toBeUndefined();
    expect(readHeader(diskWith({}), PATH, 1)).toBeUndefined();
    for (const log of ['', 'x', 'x\n', logOf(['{"wal":1}']), damaged(whole, 0), logOf(whole).subarray(0, 40)]) {
      expect(scan(log)).toBeUndefined();
      expect(readHeader(diskWith({ [NAME]: log }), PATH, 1)).toBeUndefined();
    }
    const folder = diskWith({ [`${NAME}/x`]: '' });
    expect(scanSegment(folder, PATH, 1)).toBeUndefined();
    expect(readHeader(folder, PATH, 1)).toBeUndefined();
  });

  it('may hold its header alone', () => {
    const log = logOf([header(1, 7)]);
    expect(readHeader(diskWith({ [NAME]: log }), PATH, 1)?.base).toBe(7);
    expect(scan(log)).toMatchObject({
      end: { s: 7, offset: log.length },
      records: [],
      vouched: 7,
      unvouchedOffset: log.length,
      batches: 0,
      tail: { kind: 'clean' },
    });
  });

  it('says where what nothing vouches for begins', () => {
    const offsets = [1, 4, 6].map((count) => logOf(marked.slice(0, count)).length);
    expect(scan(logOf(whole.slice(0, 4)))?.unvouchedOffset).toBe(offsets[0]);
    expect(scan(logOf(whole))?.unvouchedOffset).toBe(offsets[1]);
    expect(scan(logOf(marked))?.unvouchedOffset).toBe(offsets[2]);
  });

  it('is read as far as it is asked for', () => {
    const log = logOf(marked);
    const third = log.toString().split('\n')[3] as string;
    const until = { s: 3, crc: third.slice(0, 8) };
    expect(scan(log, until)).toMatchObject({ end: { s: 3 }, reachedUntil: true, tail: { kind: 'clean' } });
    expect(scan(log, { ...until, crc: '00000000' })).toMatchObject({ end: { s: 6 }, reachedUntil: false });
    const first = log.toString().split('\n')[0] as string;
    expect(scan(log, { s: 0, crc: first.slice(0, 8) })).toMatchObject({ end: { s: 0 }, reachedUntil: true });
  });

  it('keeps how the process said that it ended, until something follows', () => {
    const ended = [...whole, '{"s":6,"o":"end","how":"SIGTERM"}', '{"s":7,"o":"sync","c":1,"y":5}'];
    expect(scan(logOf(ended))?.ending).toBe('SIGTERM');
    expect(scan(logOf([...ended, '{"s":8,"o":"mark","c":0,"y":7}']))?.ending).toBe('SIGTERM');
    expect(scan(logOf([...ended, set(8, 'a'), commit(9, 1, 7)]))?.ending).toBeUndefined();
  });

  it('may have lines longer than what is read at once', () => {
    const long = `{"s":1,"o":"set","n":0,"k":"a","v":"${'x'.repeat(3_000_000)}"}`;
    const found = scan(logOf([header(), long, set(2, 'b'), commit(3, 2, 0)]));
    expect(found).toMatchObject({ end: { s: 3 }, tail: { kind: 'clean' } });
    expect(found?.records.map(({ s }) => s)).toEqual([1, 2]);
  });
});

describe('D5: an append that was cut short', () => {
  const end = logOf(whole.slice(0, 4)).length;

  it('ends the log at the batch before, wherever it was cut', () => {
    const log = logOf(whole);
    for (let size = end + 1; size < log.length; size++) {
      expect(scan(log.subarray(0, size))).toMatchObject({ end: { s: 3, offset: end }, tail: { kind: 'torn', size } });
    }
  });

  it('ends it where the batch has no closing line, or zeros follow', () => {
    expect(scan(logOf(whole.slice(0, 5)))).toMatchObject({ end: { s: 3 }, tail: { kind: 'torn' } });
    const zeros = Buffer.concat([logOf(whole), Buffer.alloc(700)]);
    expect(scan(zeros)).toMatchObject({ end: { s: 5 }, tail: { kind: 'torn', size: zeros.length } });
  });

  it('D6: is what a damaged line is that nothing vouches for', () => {
    expect(scan(damaged(whole, 4))).toMatchObject({ end: { s: 3 }, tail: { kind: 'torn' } });
    expect(scan(damaged(whole, 5))).toMatchObject({ end: { s: 3 }, tail: { kind: 'torn' } });
    expect(scan(damaged(marked, 6))).toMatchObject({ end: { s: 5 }, tail: { kind: 'torn' } });
  });
});

describe('D4: rot', () => {
  it('is a damaged line that a later one calls durable', () => {
    // The line behind the damaged one does not follow on it either, so the one that vouches is two lines on or more.
    expect(scan(damaged(whole, 1))).toMatchObject({ end: { s: 0 }, tail: { kind: 'rot', line: 1 } });
    expect(scan(damaged(whole, 2))).toMatchObject({ end: { s: 0 }, tail: { kind: 'rot', line: 2 } });
    expect(scan(damaged(whole, 3))).toMatchObject({ end: { s: 0 }, tail: { kind: 'rot', line: 3 } });
    const more = [...marked, set(7, 'd'), commit(8, 1, 6)];
    expect(scan(damaged(more, 4))).toMatchObject({ end: { s: 3 }, tail: { kind: 'rot', line: 4 } });
  });

  it('is not hidden by what looks like no line at all', () => {
    const log = logOf(whole);
    const start = logOf(whole.slice(0, 1)).length;
    log.fill(0, start, start + 30);
    expect(scan(log)).toMatchObject({ end: { s: 0 }, tail: { kind: 'rot' } });
  });

  it('has an error that names file and record', () => {
    expect(rotError(PATH, 3, 42)).toMatchObject({
      code: 'ERR_POD_CORRUPT',
      file: 'wal-000003.jsonl',
      info: { record: 42 },
    });
  });
});

describe('a line with a right checksum that is none of ours', () => {
  it.each([
    ['a number that does not follow', set(7, 'x')],
    ['a number that does not follow, closing', commit(9, 0, 3)],
    ['an unknown operation', '{"s":6,"o":"merge"}'],
    ['a count that is wrong', commit(6, 3, 5)],
    ['a durable number from the future', commit(6, 0, 99)],
  ])('is foreign: %s', (_, line) => {
    expect(scan(logOf([...whole, line]))).toMatchObject({ end: { s: 5 }, tail: { kind: 'foreign', line: 6 } });
  });

  it('has an error that names file and record', () => {
    expect(foreignError(PATH, 3, 42)).toMatchObject({ file: 'wal-000003.jsonl', info: { record: 42 } });
  });
});

describe('looking again at where a log ended', () => {
  it('tells whether it is still the same line', () => {
    const log = logOf(marked);
    const found = scan(log);
    const end = found?.end ?? { s: 0, offset: 0, crc: 0 };
    const look = (bytes: Uint8Array): boolean => isUnchangedAt(diskWith({ [NAME]: bytes }), PATH, 1, end);
    expect(look(log)).toBe(true);
    expect(look(logOf([...marked, set(7, 'd'), commit(8, 1, 6)]))).toBe(true);
    expect(look(log.subarray(0, -1))).toBe(false);
    expect(look(logOf(whole))).toBe(false);
    expect(look(logOf([...whole, '{"s":6,"o":"mark","c":0,"y":4}']))).toBe(false);
    expect(isUnchangedAt(diskWith({}), PATH, 1, end)).toBe(false);
    const alone = logOf([header()]);
    const start = scan(alone)?.end ?? end;
    expect(isUnchangedAt(diskWith({ [NAME]: alone }), PATH, 1, start)).toBe(true);
  });
});
