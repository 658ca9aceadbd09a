import { describe, expect, it } from 'vitest';
import { classify, segmentName, shardName, stagedName, temporaryName } from '../../src/disk/names.ts';

describe('names', () => {
  it('are built from numbers', () => {
    expect([shardName(0, false), shardName(12, true)]).toEqual(['0.json', '12.json.gz']);
    expect([stagedName(3, false, 2), stagedName(3, true, 10)]).toEqual(['.3.json.g2', '.3.json.gz.g10']);
    expect([segmentName(1), segmentName(1_234_567)]).toEqual(['wal-000001.jsonl', 'wal-1234567.jsonl']);
    expect(temporaryName('pod.json')).toMatch(/^\.pod\.json\.[0-9a-f]{16}\.tmp$/);
    expect(temporaryName('pod.json')).not.toBe(temporaryName('pod.json'));
  });

  it.each([
    ['0.json', { kind: 'shard', shard: 0, gzip: false }],
    ['120.json.gz', { kind: 'shard', shard: 120, gzip: true }],
    ['.0.json.g3', { kind: 'staged', shard: 0, gzip: false, generation: 3 }],
    ['.7.json.gz.g12', { kind: 'staged', shard: 7, gzip: true, generation: 12 }],
    ['wal-000017.jsonl', { kind: 'segment', segment: 17 }],
    ['wal-1000000.jsonl', { kind: 'segment', segment: 1_000_000 }],
    ['.pod.json.0123456789abcdef.tmp', { kind: 'temporary' }],
    ['.0.json.0123456789abcdef.tmp', { kind: 'temporary' }],
    ['.0.json.gz.0123456789abcdef.tmp.4083456711', { kind: 'temporary' }],
    ['.index.bin.0123456789abcdef.tmp', { kind: 'temporary' }],
    // What an atomic write of a staged shard leaves when the process dies in it.
    ['.0.json.g3.4083456711', { kind: 'temporary' }],
    ['.12.json.gz.g1.1', { kind: 'temporary' }],
  ])('of %s are known', (name, expected) => {
    expect(classify(name)).toEqual(expected);
  });

  it.each([
    'pod.json',
    'lock',
    'quarantine',
    '00.json',
    '-1.json',
    '0.json~',
    '0.json.bak',
    'x0.json',
    '0.jsonl',
    'wal-17.jsonl',
    'wal-0000017.jsonl',
    '.0.json.g',
    '.pod.json.0123456789ABCDEF.tmp',
    '.notes.0123456789abcdef.tmp',
    '.0.json.swp',
    '9999999999.json',
  ])("of %s are nobody's", (name) => {
    expect(classify(name)).toEqual({ kind: 'other' });
  });
});
