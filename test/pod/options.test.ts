// The options: what each may be, and the schema that checks values on their way in and when they are first read.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Json, PodOptions, StandardSchema } from '../../src/index.ts';
import { POD } from '../../src/index.ts';
import { codeOf, plain, temporary, thrownBy } from './support.ts';

const { path, open } = temporary();

describe('options', () => {
  it.each<[option: string, wrong: unknown[]]>([
    ['mode', ['', 'rw', 'a', 'W', null, 1]],
    ['init', ['text', 5, null, true]],
    ['gzipped', ['yes', 1, null]],
    ['fileSize', [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', 1_000_000_001]],
    ['syncAt', [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]],
    ['syncEvery', [-1, 1.5, Number.NaN, 2 ** 31]],
    ['durability', ['', 'none', true]],
    ['schema', [{}, null, 5, () => true]],
    ['isolated', [0, 'no']],
    ['gziped', [true]],
    ['file_size', [5]],
  ])('TP-023: a wrong %s is refused by name before anything is touched', (option, wrong) => {
    const at = path();
    for (const value of wrong) {
      const error = thrownBy(() => POD.open(at, { [option]: value } as PodOptions<Json, string>));
      expect([value, error.code, error.info]).toEqual([value, 'ERR_POD_OPTIONS', { option }]);
      expect(error.message).toContain(`"${option}"`);
      expect(error.path).toBe(at);
    }
    const pod = open(at);
    expect(pod.recovery.ended).toBe('new');
    expect(() => pod.copyTo(path(), { [option]: wrong[0] } as PodOptions<Json, string>)).toThrow(`"${option}"`);
  });

  it('what is undefined is not given', () => {
    const options = {
      mode: undefined,
      init: undefined,
      gzipped: undefined,
      fileSize: undefined,
      syncAt: undefined,
      syncEvery: undefined,
    };
    const pod = open(path(), { ...options, durability: undefined, schema: undefined, isolated: undefined });
    expect(pod.syncAt).toBe(1000);
    expect(pod.isWritable).toBe(true);
  });

  it('options that are none at all are refused', () => {
    for (const options of [null, 5, 'r']) {
      expect(codeOf(() => POD.open(path(), options as unknown as PodOptions<Json, string>))).toBe('ERR_POD_OPTIONS');
    }
  });
});

describe('schema', () => {
  const schema = z.object({ n: z.number().int(), tag: z.string().default('none') });
  type Row = z.infer<typeof schema>;
  const as = (value: unknown): Row => value as Row;

  it('is checked by everything that sets a value; what does not fit changes nothing', () => {
    const pod = open<Row>(path(), { schema, init: { a: { n: 1, tag: 'x' } } });
    pod.sync();
    const calls: (() => unknown)[] = [
      () => pod.set('a', as({ n: 1.5 })),
      () => pod.set('b', as({ n: 'one' })),
      () => pod.getOrInsert('b', as({})),
      () => pod.getOrInsertComputed('b', () => as(null)),
      () => pod.update({ b: as([]) }),
    ];
    for (const call of calls) {
      const error = thrownBy(call);
      expect(error.code).toBe('ERR_POD_SCHEMA');
      expect(['a', 'b']).toContain(error.key);
      expect(error.path).toBe(pod.path);
      expect(error.message).toMatch(/does not fit the schema/);
      expect(error.cause).toBeInstanceOf(Array);
    }
    expect(thrownBy(() => pod.set('a', as({ n: 1.5 }))).at).toBe('$.n');
    expect(plain([...pod])).toEqual([['a', { n: 1, tag: 'x' }]]);
    expect(pod.dirty()).toEqual(new Set());
  });

  it('what it gives back is kept, in memory and on disk', () => {
    const pod = open<Row>(path(), { schema });
    pod.set('a', as({ n: 1 }));
    pod.set('b', as({ n: 2, tag: 'y', more: true }));
    expect(plain([...pod])).toEqual([
      ['a', { n: 1, tag: 'none' }],
      ['b', { n: 2, tag: 'y' }],
    ]);
    pod.close();
    expect(plain([...open<Json>(pod.path)])).toEqual([
      ['a', { n: 1, tag: 'none' }],
      ['b', { n: 2, tag: 'y' }],
    ]);
  });

  it('is checked when a value is first read, by every way of reading it, and not before', () => {
    const at = path();
    open<Json>(at, { init: { good: { n: 1 }, bad: { n: 'one' } } }).close();
    const pod = open<Row>(at, { schema });
    expect([...pod.keys()]).toEqual(['good', 'bad']);
    expect(pod.has('bad')).toBe(true);
    expect(plain(pod.get('good'))).toEqual({ n: 1, tag: 'none' });
    const reads = [
      () => pod.get('bad'),
      () => pod.get('bad'),
      () => pod.snapshot('bad'),
      () => [...pod.values()],
      () => pod.getOrInsert('bad', { n: 1, tag: '' }),
      () => pod.pop('bad'),
    ];
    for (const read of reads) {
      const error = thrownBy(read);
      expect([error.code, error.key, error.at]).toEqual(['ERR_POD_SCHEMA', 'bad', '$.n']);
    }
    expect(pod.size).toBe(2);
    expect(pod.dirty()).toEqual(new Set());
    pod.set('bad', { n: 2, tag: '' });
    pod.close();
    expect(plain([...open<Json>(at)])).toEqual([
      ['good', { n: 1 }],
      ['bad', { n: 2, tag: '' }],
    ]);
  });

  it('must answer at once', () => {
    const slow: StandardSchema<number> = {
      '~standard': { version: 1, vendor: 'test', validate: (value) => Promise.resolve({ value: value as number }) },
    };
    const pod = open<number>(path(), { schema: slow });
    const error = thrownBy(() => pod.set('a', 1));
    expect(error.code).toBe('ERR_POD_SCHEMA');
    expect(error.message).toMatch(/promise/);
    expect(pod.size).toBe(0);
    const pod2 = open<number>(path(), { schema: z.number().refine(async () => true) });
    expect(() => pod2.set('a', 1)).toThrow();
    expect(pod2.size).toBe(0);
  });

  it('with a check of zod that throws leaves no rejection behind that nobody handles', async () => {
    const fail = (): never => {
      throw new Error('on purpose');
    };
    const rejections: unknown[] = [];
    const note = (error: unknown): void => void rejections.push(error);
    process.prependListener('unhandledRejection', note);
    const pod = open<number>(path(), { schema: z.number().refine(fail) });
    expect(codeOf(() => pod.set('a', 1))).toBe('ERR_POD_SCHEMA');
    expect(pod.size).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off('unhandledRejection', note);
    expect(rejections).toEqual([]);
  });

  it('cannot let in what JSON cannot give back', () => {
    const pod = open<Date>(path(), { schema: z.coerce.date() });
    const error = thrownBy(() => pod.set('a', new Date(0)));
    expect(error.code).toBe('ERR_POD_VALUE');
    expect(error.message).toMatch(/Date/);
    expect(pod.size).toBe(0);
  });

  it('that throws by itself throws through, and nothing is changed', () => {
    const pod = open<number>(path(), {
      schema: {
        '~standard': {
          version: 1,
          vendor: 'test',
          validate: () => {
            throw new RangeError('on purpose');
          },
        },
      },
    });
    expect(() => pod.set('a', 1)).toThrow(RangeError);
    expect(pod.size).toBe(0);
  });

  it('is one for all handles of a folder', () => {
    const at = path();
    const pod = open<Row>(at, { schema });
    expect(POD.open<Row>(at, { schema })).toBe(pod);
    expect(thrownBy(() => POD.open<Row>(at, { schema: z.object({ n: z.number(), tag: z.string() }) })).info).toEqual({
      option: 'schema',
    });
    expect(POD.open<Row>(at)).toBe(pod);
    pod.close();
    pod.close();
  });

  it('that is refused by init makes the open fail, and leaves what was there', () => {
    const at = path();
    open<Row>(at, { init: { a: { n: 1, tag: '' } } }).close();
    const text = readFileSync(join(at, '0.json'), 'utf8');
    expect(codeOf(() => POD.open<Row>(at, { schema, init: { a: { n: 2, tag: '' }, b: as({}) } }))).toBe(
      'ERR_POD_SCHEMA',
    );
    expect(readFileSync(join(at, '0.json'), 'utf8')).toBe(text);
  });

  it('names the place also below arrays, keys and objects that stand for a key', () => {
    const deep = z.object({ list: z.array(z.object({ 'a b': z.number() })) });
    const pod = open<z.infer<typeof deep>>(path(), { schema: deep });
    expect(thrownBy(() => pod.set('a', { list: [{ 'a b': 1 }, { 'a b': 'x' as unknown as number }] })).at).toContain(
      '1',
    );
    const odd: StandardSchema<number> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: () => ({ issues: [{ message: 'no', path: [{ key: 'x' }] }] }),
      },
    };
    expect(thrownBy(() => open<number>(path(), { schema: odd }).set('a', 1)).at).toBe('$.x');
    const silent: StandardSchema<number> = {
      '~standard': { version: 1, vendor: 'test', validate: () => ({ issues: [] }) },
    };
    expect(codeOf(() => open<number>(path(), { schema: silent }).set('a', 1))).toBe('ERR_POD_SCHEMA');
  });

  it('does not see what is written below a view, until it is read again from disk', () => {
    const pod = open<Row>(path(), { schema, init: { a: { n: 1, tag: '' } } });
    (pod.get('a') as { n: unknown }).n = 'one';
    pod.close();
    expect(codeOf(() => open<Row>(pod.path, { schema }).get('a'))).toBe('ERR_POD_SCHEMA');
  });
});
