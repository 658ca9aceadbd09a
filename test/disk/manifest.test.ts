import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { crcText } from '../../src/disk/files.ts';
import { type Manifest, parseManifest, replaceManifest } from '../../src/disk/manifest.ts';
import { diskWith, PATH, textOf, thrown } from './support.ts';

/** The example of the format's description, byte for byte. */
const EXAMPLE = `{"crc":"8eccba19","pod":{"format":1,"id":"3f1c9a52","epoch":7,"gen":1,"fileSize":1000,"gzip":false,"wal":[[17,1201]],"drop":{},"shards":{
"0":[3,50,"0a4ff572",1180],
"4":[1,11,"01aa22bb",1201]}}}
`;

const manifest: Manifest = {
  id: '3f1c9a52',
  epoch: 7,
  generation: 1,
  fileSize: 1000,
  gzip: false,
  meta: {},
  segments: [[17, 1201]],
  dropped: new Map(),
  shards: new Map([
    [4, { lines: 1, bytes: 11, crc: '01aa22bb', seq: 1201, tastypy: false }],
    [0, { lines: 3, bytes: 50, crc: '0a4ff572', seq: 1180, tastypy: false }],
  ]),
};

/** A manifest with this body and the checksum that belongs to it. */
function sealed(body: string): Buffer {
  return Buffer.from(`{"crc":"${crcText(Buffer.from(body))}","pod":${body}}\n`);
}

function body(changes: Record<string, unknown> = {}): string {
  const whole = { format: 1, id: '3f1c9a52', epoch: 7, gen: 1, fileSize: 10, gzip: false, wal: [[1, 0]], drop: {} };
  return JSON.stringify({ ...whole, shards: {}, ...changes });
}

/** The text that is written for a manifest. */
function written(one: Manifest): string {
  const fs = diskWith({});
  replaceManifest(fs, PATH, one);
  return textOf(fs, 'pod.json') ?? '';
}

describe('the manifest', () => {
  it('is written as its description shows it', () => {
    expect(written(manifest)).toBe(EXAMPLE);
  });

  it('is read as its description shows it', () => {
    const read = parseManifest(PATH, Buffer.from(EXAMPLE));
    expect(read).toEqual(manifest);
  });

  it('keeps what it does not always hold', () => {
    const rare: Manifest = {
      ...manifest,
      meta: { tracker: true, maxTries: 3 },
      dropped: new Map([[7, 'deadbeef']]),
      shards: new Map([[0, { lines: 1, bytes: 9, crc: '00000001', seq: 3, tastypy: true }]]),
      segments: [
        [1, 0],
        [2, 40],
      ],
    };
    expect(parseManifest(PATH, Buffer.from(written(rare)))).toEqual(rare);
  });

  it('takes a file size behind the sequence, as gzipped pods may have it', () => {
    const shards = { 0: [1, 9, '00000001', 3, 55], 1: [1, 9, '00000001', 3, 55, 't'] };
    const read = parseManifest(PATH, sealed(body({ shards })));
    expect(read.shards.get(0)).toEqual({ lines: 1, bytes: 9, crc: '00000001', seq: 3, tastypy: false });
    expect(read.shards.get(1)?.tastypy).toBe(true);
  });

  it.each([
    ['is empty', Buffer.alloc(0)],
    ['is something else', Buffer.from('{"entries":{}}')],
    ['is cut', Buffer.from(EXAMPLE).subarray(0, -4)],
    ['has another checksum', Buffer.from(EXAMPLE.replace('"epoch":7', '"epoch":8'))],
    ['is not JSON', sealed('{"format":1')],
    ['lacks a member', sealed('{"format":1}')],
    ['has a member too many', sealed(body({ more: 1 }))],
    ['lists no segment', sealed(body({ wal: [] }))],
    [
      'lists segments out of order',
      sealed(
        body({
          wal: [
            [2, 0],
            [1, 5],
          ],
        }),
      ),
    ],
    [
      'lists segments whose records go back',
      sealed(
        body({
          wal: [
            [1, 5],
            [2, 4],
          ],
        }),
      ),
    ],
    ['names a shard that is no number', sealed(body({ shards: { x: [1, 1, '00000001', 1] } }))],
    ['has no list of shards', sealed(body({ shards: null }))],
    ['has a list of shards that is an array', sealed(body({ shards: [[1, 1, '00000001', 1]] }))],
    ...[
      null,
      {},
      [],
      [1, 1, '00000001'],
      [-1, 1, '00000001', 1],
      [1, 1.5, '00000001', 1],
      [1, 1, '00000001', 2 ** 53],
      ['1', 1, '00000001', 1],
      [1, 1, '0000001', 1],
      [1, 1, '0000000A', 1],
      [1, 1, 1, 1],
      [1, 1, '00000001', 1, 'T'],
      [1, 1, '00000001', 1, -5],
      [1, 1, '00000001', 1, 't', 5],
      [1, 1, '00000001', 1, 't', 't'],
      [1, 1, '00000001', 1, 5, 5],
      [1, 1, '00000001', 1, 5, 5, 't'],
    ].map((row): [string, Buffer] => [`says ${JSON.stringify(row)} of a shard`, sealed(body({ shards: { 0: row } }))]),
    ['is null', sealed('null')],
    ['is a number', sealed('5')],
  ])('is refused where it %s', (_, bytes) => {
    const error = thrown(() => parseManifest(PATH, bytes));
    expect(error.code).toBe('ERR_POD_CORRUPT');
    expect(error.file).toBe('pod.json');
    expect(error.message).toContain('everpod repair');
  });

  it('of a newer version is refused with a word about the version', () => {
    const error = thrown(() => parseManifest(PATH, sealed(body({ format: 3, news: true }))));
    expect(error.code).toBe('ERR_POD_FORMAT');
    expect(error.info).toEqual({ found: 3, supported: 2 });
  });
});

describe('replacing the manifest', () => {
  it('fsyncs the new one and the folder before the rename, and the folder after it', () => {
    const fs = diskWith({ 'pod.json': 'old' });
    const calls: string[] = [];
    fs.intercept = ({ name, path, to }) => {
      const what = (to ?? path).replace(/[0-9a-f]{16}/, 'RANDOM').replace(/\.\d+$/, '');
      if (['write', 'fsync', 'rename', 'fsyncFolder'].includes(name)) calls.push(`${name} ${what}`);
      return undefined;
    };
    replaceManifest(fs, PATH, manifest);
    expect(calls).toEqual([
      'write /pod/.pod.json.RANDOM.tmp',
      'fsync /pod/.pod.json.RANDOM.tmp',
      'rename /pod/.pod.json.RANDOM.tmp',
      'fsyncFolder /pod',
      'rename /pod/pod.json',
      'fsyncFolder /pod',
    ]);
    expect(fs.openOperations()).toEqual([]);
    expect(textOf(fs, 'pod.json')).toBe(EXAMPLE);
  });

  it('leaves the old one and nothing else where it fails before the rename', () => {
    const fs = diskWith({ 'pod.json': 'old' });
    fs.intercept = ({ name }) => (name === 'fsyncFolder' ? { kind: 'error', code: 'EIO' } : undefined);
    const error = thrown(() => replaceManifest(fs, PATH, manifest));
    expect(error.code).toBe('ERR_POD_DISK');
    fs.intercept = undefined;
    expect(fs.readdir(PATH)).toEqual(['pod.json']);
    expect(textOf(fs, 'pod.json')).toBe('old');
  });
});
