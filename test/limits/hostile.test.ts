// Folders made by somebody who means harm, or by an accident that got the checksums right: refused with a code, changed in nothing.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeSystem } from '../../src/disk/system.ts';
import { type Json, POD, type PodErrorCode } from '../../src/index.ts';
import type { PodEngine } from '../../src/pod/engine.ts';
import { openHandle } from '../../src/pod/open-pods.ts';
import { HANDLE_DOOR } from '../../src/pod/pod.ts';
import { MemoryLocks } from '../../src/testing/index.ts';
import {
  EMPTY_POD,
  HEADER,
  ID,
  listed,
  logText,
  makeFolder,
  manifestText,
  picture,
  temporaryPaths,
  thrownBy,
} from './forge.ts';

const newPath = temporaryPaths();
const CODES: readonly PodErrorCode[] = ['ERR_POD_CORRUPT', 'ERR_POD_FORMAT'];
let cases = 0;

afterEach(() => {
  for (const open of opened.splice(0)) open.close();
});
const opened: { close(): void }[] = [];

/** As `POD.open`; but a reader does not wait before it looks at damage a second time, and no program is started for a lock. */
function openQuickly(folder: string, mode: 'r' | 'w'): { close(): void } {
  const kind = {
    name: 'PersistentOrderedDict',
    meta: {},
    accepts: (other: object): other is POD<Json> => other instanceof POD,
    make: (engine: PodEngine<Json, string>) => new POD(HANDLE_DOOR, engine),
    system: { ...nodeSystem, locks: new MemoryLocks(), sleep: () => {} },
  };
  return openHandle<POD<Json>, Json, string>(folder, { mode }, kind).handle;
}

/** Both modes must refuse, and nothing may have changed. A lock file may stay behind in a folder that is a pod's. */
function expectRefused(files: Readonly<Record<string, string | Buffer>>): void {
  cases++;
  for (const mode of ['r', 'w'] as const) {
    const folder = makeFolder(newPath(), files);
    const before = picture(folder);
    const error = thrownBy(() => {
      opened.push(openQuickly(folder, mode));
      throw new Error(`accepted: ${JSON.stringify(files)}`);
    });
    expect(CODES, error.message).toContain(error.code);
    expect(error.path).toBe(folder);
    rmSync(join(folder, 'lock'), { force: true });
    expect(picture(folder)).toEqual(before);
  }
}

/** One shard of two lines, listed in the manifest. */
const SHARD = '"a"\t1\n"b"\t{"x":[2]}\n';
const POD_BODY = EMPTY_POD.replace('"shards":{}', `"shards":{"0":${listed(SHARD, 2)}}`);
const LOG = ['{"s":1,"o":"set","n":0,"k":"c","v":3}', '{"s":2,"o":"commit","c":1,"y":0}'];

function folderWith(body: string, lines: readonly string[] = LOG, header: string = HEADER): Record<string, string> {
  return { 'pod.json': manifestText(body), 'wal-000001.jsonl': logText(lines, header), '0.json': SHARD };
}

it('opens the folder that all others here are made from', () => {
  const folder = makeFolder(newPath(), folderWith(POD_BODY));
  const pod = POD.open<unknown>(folder);
  opened.push(pod);
  expect([...pod.keys()]).toEqual(['a', 'b', 'c']);
  expect(pod.snapshot('b')).toEqual({ x: [2] });
});

describe('a hostile manifest is refused and nothing is changed', () => {
  const numbers = [
    '-1',
    '-0',
    '1.5',
    '1e3',
    '1e999',
    '-1e999',
    '9007199254740992',
    '18446744073709551616',
    '"1"',
    'null',
    'true',
    '[]',
    '{}',
  ];
  const places: [name: string, from: string, to: (value: string) => string][] = [
    ['format', '"format":1', (value) => `"format":${value}`],
    ['id', `"id":"${ID}"`, (value) => `"id":${value}`],
    ['epoch', '"epoch":3', (value) => `"epoch":${value}`],
    ['gen', '"gen":0', (value) => `"gen":${value}`],
    ['fileSize', '"fileSize":10', (value) => `"fileSize":${value}`],
    ['gzip', '"gzip":false', (value) => `"gzip":${value === 'true' ? '1' : value}`],
    ['meta', '"wal"', (value) => `"meta":${value === '{}' ? '[1]' : value},"wal"`],
    ['meta.maxTries', '"wal"', (value) => `"meta":{"maxTries":${value}},"wal"`],
    ['meta.tracker', '"wal"', (value) => `"meta":{"tracker":${value === 'true' ? '1' : value}},"wal"`],
    ['wal', '[[1,0]]', (value) => value],
    ['a segment', '[[1,0]]', (value) => `[${value}]`],
    ['a segment number', '[[1,0]]', (value) => `[[${value},0]]`],
    ['a base', '[[1,0]]', (value) => `[[1,${value}]]`],
    ['drop', '"drop":{}', (value) => `"drop":${value === '{}' ? '[]' : value}`],
    ['a dropped crc', '"drop":{}', (value) => `"drop":{"5":${value}}`],
    ['shards', /"shards":.*$/.exec(POD_BODY)?.[0] ?? '', (value) => `"shards":${value === '{}' ? '[1]' : value}}`],
    ['a shard', listed(SHARD, 2), (value) => value],
    ['lines', listed(SHARD, 2), (value) => listed(SHARD, 2).replace('[2', `[${value}`)],
    ['bytes', listed(SHARD, 2), (value) => listed(SHARD, 2).replace(/,\d+/, `,${value}`)],
    ['crc', listed(SHARD, 2), (value) => listed(SHARD, 2).replace(/"[0-9a-f]{8}"/, value)],
    ['seq', listed(SHARD, 2), (value) => listed(SHARD, 2).replace(/0\]$/, `${value}]`)],
  ];
  it.each(places)('%s', (_name, from, to) => {
    expect(POD_BODY).toContain(from);
    for (const value of numbers) expectRefused(folderWith(POD_BODY.replace(from, to(value))));
  });

  it('numbers that leave no room to count on', () => {
    for (const [from, to] of [
      ['"epoch":3', '"epoch":9007199254740991'],
      ['"gen":0', '"gen":9007199254740991'],
      ['"gen":0', '"gen":999999999'],
      ['[[1,0]]', '[[999999999,0]]'],
      ['"fileSize":10', '"fileSize":0'],
      ['"fileSize":10', '"fileSize":1000000001'],
    ] as const) {
      expectRefused(folderWith(POD_BODY.replace(from, to)));
    }
    const base = '9007199254740990';
    expectRefused(
      folderWith(EMPTY_POD.replace('[[1,0]]', `[[1,${base}]]`), [], HEADER.replace('"base":0', `"base":${base}`)),
    );
  });

  it('segments out of order, twice, none', () => {
    for (const wal of ['[]', '[[2,0],[1,0]]', '[[1,0],[1,0]]', '[[1,5],[2,4]]', '[[1,0,0]]', '[[1]]']) {
      expectRefused(folderWith(POD_BODY.replace('[[1,0]]', wal)));
    }
  });

  it('shard numbers that are paths or no numbers', () => {
    const names = [
      '../0',
      '/etc/passwd',
      '00',
      '-1',
      '1.0',
      '1e3',
      '',
      ' 0',
      '0.json',
      '1000000000',
      '__proto__',
      'constructor',
      'toString',
      'a',
    ];
    for (const name of names) {
      expectRefused(folderWith(POD_BODY.replace('"0":[', `${JSON.stringify(name)}:[`)));
      expectRefused(folderWith(POD_BODY.replace('"drop":{}', `"drop":{${JSON.stringify(name)}:"00000000"}`)));
    }
  });

  it('members that nobody asked for, at every level', () => {
    for (const member of [
      '"__proto__":{"x":1}',
      '"__proto__":null',
      '"constructor":1',
      '"prototype":{}',
      '"toString":1',
      '"more":1',
      '"":1',
    ]) {
      expectRefused(folderWith(POD_BODY.replace('{"format"', `{${member},"format"`)));
      expectRefused(folderWith(POD_BODY.replace('"wal"', `"meta":{${member}},"wal"`)));
      expectRefused({
        ...folderWith(POD_BODY),
        'pod.json': manifestText(POD_BODY).replace('"pod"', `${member},"pod"`),
      });
      expectRefused({ ...folderWith(POD_BODY), 'pod.json': manifestText(POD_BODY).replace(/\}\n$/, `,${member}}\n`) });
    }
  });

  it('members that are there twice', () => {
    for (const member of [
      '"format":1',
      '"epoch":4',
      '"fileSize":5',
      '"gzip":false',
      '"wal":[[1,0]]',
      '"drop":{}',
      '"shards":{}',
    ]) {
      expectRefused(folderWith(POD_BODY.replace('"id"', `${member},"id"`)));
      expectRefused(folderWith(POD_BODY.replace('"wal"', `${member},"wal"`)));
    }
    expectRefused(folderWith(POD_BODY.replace('"0":[', `"0":${listed('', 0)},"0":[`)));
    expectRefused(folderWith(POD_BODY.replace('"drop":{}', '"drop":{"3":"00000000","3":"11111111"}')));
    expectRefused(folderWith(POD_BODY.replace('"wal"', '"meta":{"tracker":true,"tracker":false},"wal"')));
  });

  it('nested so deeply that a stack would overflow', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    for (const [from, to] of [
      [POD_BODY, deep],
      ['"wal"', `"meta":${deep},"wal"`],
      ['[[1,0]]', deep],
      ['"wal"', `"meta":{"__proto__":${deep}},"wal"`],
      [listed(SHARD, 2), deep],
    ] as const) {
      expectRefused(folderWith(POD_BODY.replace(from, to)));
    }
  });

  it('not JSON, not an object, nothing', () => {
    for (const body of [
      '',
      '{',
      'null',
      '[]',
      '"x"',
      '1',
      'undefined',
      '{"format":1}',
      '{"format":3}',
      '{"format":1e999}',
      `${POD_BODY}x`,
    ]) {
      expectRefused(folderWith(body));
    }
    for (const text of [
      '',
      '\n',
      'x',
      '{}',
      '{"crc":"00000000","pod":{}}',
      '\0'.repeat(100),
      manifestText(POD_BODY).slice(0, -9),
    ]) {
      expectRefused({ ...folderWith(POD_BODY), 'pod.json': text });
    }
    expectRefused({
      ...folderWith(POD_BODY),
      'pod.json': Buffer.concat([Buffer.from(manifestText(POD_BODY)), Buffer.alloc(5)]),
    });
  });

  it('lists what is not there, or not that', () => {
    expectRefused(folderWith(POD_BODY.replace('"0":[', '"1":[')));
    expectRefused(folderWith(POD_BODY.replace('"gzip":false', '"gzip":true')));
    expectRefused(folderWith(POD_BODY.replace('[[1,0]]', '[[2,0]]')));
    expectRefused(folderWith(POD_BODY.replace('[[1,0]]', '[[1,1]]')));
    expectRefused(folderWith(POD_BODY.replace(ID, '00000000')));
    expectRefused(folderWith(POD_BODY.replace('"gen":0', '"gen":1')));
    expectRefused(folderWith(POD_BODY.replace(/0\]\}\}$/, '7]}}')));
  });
});

describe('a hostile log, its checksums right, is refused and nothing is changed', () => {
  const batch = (record: string): string[] => [record, '{"s":2,"o":"commit","c":1,"y":0}'];
  const refuse = (...lines: string[]): void => expectRefused(folderWith(POD_BODY, lines));

  it('a header that is not one', () => {
    const values = ['-1', '1.5', '"1"', 'null', '9007199254740992', '[]', '2'];
    for (const name of ['wal', 'gen', 'base']) {
      for (const value of values) {
        const header = HEADER.replace(new RegExp(`"${name}":\\d+`), `"${name}":${value}`);
        expectRefused(folderWith(POD_BODY, [], header));
      }
    }
    for (const header of [
      HEADER.replace('"wal":1', '"wal":1,"wal":1'),
      HEADER.replace('{', '{"__proto__":1,'),
      HEADER.replace('{', '{"more":1,'),
      HEADER.replace('0123456789abcdef', '../../etc/passwd'),
      'null',
      '[]',
      '{}',
      '"x"',
    ]) {
      expectRefused(folderWith(POD_BODY, [], header));
    }
  });

  it('keys that are none', () => {
    for (const key of [
      'null',
      'true',
      '1.5',
      '{}',
      '{"__proto__":1}',
      '[null]',
      '1e999',
      '9007199254740992',
      'x',
      '"',
      '"a',
      '"a" "b"',
      '',
      '['.repeat(600) + ']'.repeat(600),
    ]) {
      refuse(...batch(`{"s":1,"o":"set","n":0,"k":${key},"v":1}`));
      refuse(...batch(`{"s":1,"o":"del","n":0,"k":${key}}`));
    }
  });

  it('shard numbers that are none, or that no file can have', () => {
    for (const shard of [
      '-1',
      '1.5',
      '"0"',
      'null',
      '1e3',
      '1000000000',
      '9007199254740991',
      '99999999999999999999',
      '../0',
      '',
    ]) {
      refuse(...batch(`{"s":1,"o":"set","n":${shard},"k":"c","v":1}`));
      refuse(...batch(`{"s":1,"o":"del","n":${shard},"k":"a"}`));
      refuse(...batch(`{"s":1,"o":"fold","n":${shard},"lines":1,"bytes":6,"crc":"00000000","t":0}`));
    }
  });

  it('record numbers that do not follow', () => {
    for (const s of ['0', '2', '-1', '"1"', '1e0', '01', '9007199254740992', 'null']) {
      refuse(...batch(`{"s":${s},"o":"set","n":0,"k":"c","v":1}`));
      refuse(LOG[0] ?? '', `{"s":${s === '2' ? 3 : s},"o":"commit","c":1,"y":0}`);
    }
  });

  it('closing lines that do not close', () => {
    for (const rest of [
      '"c":0,"y":0',
      '"c":2,"y":0',
      '"c":-1,"y":0',
      '"c":"1","y":0',
      '"c":1',
      '"y":0',
      '"c":1,"y":-1',
      '"c":1,"y":3',
      '"c":1,"y":9007199254740991',
      '"c":1,"y":1.5',
      '"c":1,"y":0,"z":0',
      '"c":1,"c":1,"y":0',
      '"__proto__":{},"c":1,"y":0',
      '"c":1,"y":0,"__proto__":{}',
      '"c":1, "y":0',
    ]) {
      refuse(LOG[0] ?? '', `{"s":2,"o":"commit",${rest}}`);
    }
    for (const kind of ['"Commit"', '"done"', '"__proto__"', 'null', '1', '["commit"]', '"clear"', '"end"']) {
      refuse(LOG[0] ?? '', `{"s":2,"o":${kind},"c":1,"y":0}`);
    }
  });

  it('records of a kind that this version does not know', () => {
    for (const record of [
      '{"s":1,"o":"move","n":0,"k":"a"}',
      '{"s":1}',
      '{}',
      'null',
      '[]',
      '12',
      '"x"',
      '{"o":"set","s":1,"n":0,"k":"c","v":1}',
      '{"s":1,"o":"set","k":"c","v":1}',
      '{"s":1,"o":"set","n":0,"v":1}',
      '{"s":1,"o":"set","n":0,"k":"c"}',
      '{"s":1,"o":"clear","n":0}',
      '{"s":1,"o":"end"}',
      '{"s":1,"o":"end","how":1}',
      '{"s":1,"o":"end","how":"exit 0","how":"exit 1"}',
      'not JSON at all',
    ]) {
      refuse(...batch(record));
    }
  });

  it('folds of what cannot be', () => {
    const good = '"n":0,"lines":1,"bytes":6,"crc":"00000000","t":1';
    for (const [from, to] of [
      ['"lines":1', '"lines":-1'],
      ['"bytes":6', '"bytes":1.5'],
      ['"crc":"00000000"', '"crc":"../0.json"'],
      ['"t":1', '"t":-1'],
      ['"t":1', '"t":9007199254740992'],
      ['"n":0', '"n":0,"n":1'],
      ['"n":0', '"__proto__":1,"n":0'],
      ['"t":1', '"t":1,"was":1'],
    ] as const) {
      refuse(...batch(`{"s":1,"o":"fold",${good.replace(from, to)}}`));
    }
  });

  it('the same key in two shards', () => {
    refuse(...batch('{"s":1,"o":"set","n":1,"k":"a","v":1}'));
  });
});

describe('what cannot be read as a value', () => {
  const values = [
    'x',
    '',
    '{',
    '{"a":1',
    '1,"x":2',
    '1}',
    'undefined',
    'NaN',
    "'a'",
    '{"a":1}}',
    '[1,]',
    '"\t"',
    `${'['.repeat(513)}${']'.repeat(513)}`,
    `${'[{"a":'.repeat(300_000)}1${'}]'.repeat(300_000)}`,
  ];

  it.each(values.map((value) => [value.length > 30 ? `${value.slice(0, 30)}...` : value, value]))(
    'is refused when it is asked for, in the log and in a shard: %s',
    (_shown, value) => {
      const shard = `"a"\t1\n"c"\t${value}\n`;
      const inLog = folderWith(EMPTY_POD, [
        `{"s":1,"o":"set","n":0,"k":"c","v":${value}}`,
        '{"s":2,"o":"commit","c":1,"y":0}',
      ]);
      const inShard = {
        ...folderWith(EMPTY_POD.replace('"shards":{}', `"shards":{"0":${listed(shard, 2)}}`), []),
        '0.json': shard,
      };
      for (const files of [{ ...inLog, '0.json': undefined }, inShard]) {
        cases++;
        const present = Object.fromEntries(Object.entries(files).filter(([, text]) => text !== undefined)) as Record<
          string,
          string
        >;
        const pod = POD.open<unknown>(makeFolder(newPath(), present));
        opened.push(pod);
        expect(pod.has('c')).toBe(true);
        for (const read of [() => pod.get('c'), () => [...pod.values()], () => pod.snapshot('c')]) {
          const error = thrownBy(read);
          expect(error.code).toBe('ERR_POD_CORRUPT');
          expect(error.key).toBe('c');
          expect(error.path).toBe(pod.path);
        }
        // It can be replaced, and then all is well again.
        pod.set('c', 1);
        expect(pod.get('c')).toBe(1);
      }
    },
  );

  it('is found by a line number where a person edited a shard', () => {
    for (const value of ['x', '', '1 2', `${'['.repeat(513)}${']'.repeat(513)}`]) {
      const folder = makeFolder(newPath(), { ...folderWith(POD_BODY), '0.json': `"a"\t1\n"b"\t${value}\n` });
      const error = thrownBy(() => POD.open(folder));
      expect(error).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '0.json', line: 2 });
    }
  });
});

describe('names of the language are ordinary keys', () => {
  const names = [
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    '__defineGetter__',
    'valueOf',
    '',
  ];

  it('as keys, as members at every depth, and after a reopen; nothing else has them', () => {
    const folder = newPath();
    const pod = POD.open<Record<string, unknown>>(folder, { fileSize: 3 });
    const value = (): Record<string, unknown> =>
      JSON.parse(
        `{${names.map((name) => `${JSON.stringify(name)}:{"polluted":{"__proto__":{"polluted":1}}}`).join(',')}}`,
      ) as Record<string, unknown>;
    for (const name of names) pod.set(name, value());
    for (const name of names) {
      const view = pod.get(name) as Record<string, Record<string, unknown>>;
      for (const inner of names) {
        if (view[inner] !== undefined) view[inner].changed = 1;
      }
    }
    const before = JSON.stringify([...pod.keys()].map((key) => [key, pod.snapshot(key)]));
    pod.close();
    const again = POD.open<Record<string, unknown>>(folder);
    opened.push(again);
    expect(JSON.stringify([...again.keys()].map((key) => [key, again.snapshot(key)]))).toBe(before);
    expect(before.match(/"changed":1/g)).toHaveLength(names.length ** 2);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(({} as Record<string, unknown>).changed).toBeUndefined();
    expect(Object.getPrototypeOf(again.snapshot('__proto__'))).toBe(Object.prototype);
  });
});

it('prints how many there were', () => {
  console.log(`# hostile folders: ${cases}`);
  expect(cases).toBeGreaterThan(500);
});
