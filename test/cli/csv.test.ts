// CSV as everpod has it: every value comes back as it was, no cell is run by a spreadsheet, and CSV of others is read as it stands.
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import {
  Columns,
  CsvReader,
  decodeCell,
  decodeKeyCell,
  encodeCell,
  encodeKeyCell,
  RecordReader,
} from '../../src/cli/csv.ts';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import fc from '../fast-check.ts';

/** What a reader makes of a whole file. */
function readAll(csv: string): [Key, Json][] {
  const records = new RecordReader(1_000_000);
  const reader = new CsvReader();
  const lines = csv.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const entries = lines.flatMap((line) => {
    const cells = records.push(line);
    const entry = cells === undefined ? undefined : reader.read(cells);
    return entry === undefined ? [] : [entry];
  });
  if (records.isOpen) throw new Error('open');
  return entries;
}

function writeAll(entries: readonly (readonly [Key, Json])[]): string {
  const columns = new Columns();
  for (const [, value] of entries) columns.add(value);
  return columns.header() + entries.map(([key, value]) => columns.row(key, value)).join('');
}

/** The cells of one record that is given whole. */
function cells(record: string): string[] | undefined {
  const reader = new RecordReader(1_000_000);
  let found: string[] | undefined;
  for (const line of record.split('\n')) found ??= reader.push(line);
  return found;
}

const AWKWARD = [
  '',
  ' ',
  'null',
  'true',
  'false',
  '0',
  '-0',
  '-5',
  '007',
  '1.10',
  '1e5',
  '12345678901234567890',
  '[]',
  '{}',
  '{"id":12345678901234567890}',
  '[broken',
  '"',
  '""',
  '"a"',
  '=1+1',
  '+1',
  '-x',
  '@SUM(A1)',
  ' =1',
  '\t=1',
  '\r',
  '\n',
  'a\r\nb',
  'a,b',
  'key',
  '$',
  '__proto__',
  'constructor',
  '\ud800',
  '\ufeffx',
  '\0',
  'ü',
  '＝1',
];
const texts = fc.oneof(fc.constantFrom(...AWKWARD), fc.string({ unit: 'binary' }), fc.string(), fc.json());
const json = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 3 },
    texts,
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('json'), { maxLength: 3 }),
    // Own properties only, also that of the name __proto__.
    fc.array(fc.tuple(texts, tie('json')), { maxLength: 4 }).map((pairs) => Object.fromEntries(pairs) as Json),
  ),
})).json;
const key = fc.letrec<{ key: Key }>((tie) => ({
  key: fc.oneof({ maxDepth: 2 }, texts, fc.maxSafeInteger(), fc.array(tie('key'), { maxLength: 3 })),
})).key;

describe('a cell', () => {
  it.each(AWKWARD)('gives the text %j back', (text) => {
    expect(decodeCell(encodeCell(text))).toBe(text);
    expect(decodeKeyCell(encodeKeyCell(text))).toBe(text);
  });

  it('tells apart what looks alike', () => {
    const values: (Json | undefined)[] = [undefined, '', null, 'null', 5, '5', true, 'true', [], '[]', {}, '{}', '"'];
    const written = values.map(encodeCell);
    expect(new Set(written).size).toBe(values.length);
    expect(written.map(decodeCell)).toEqual(values);
    expect(written.slice(0, 6)).toEqual(['', '""', 'null', '"null"', '5', '"5"']);
  });

  it('is read as a text where a number or an object would lose digits', () => {
    for (const cell of ['007', '1.10', '1e5', '12345678901234567890', '-0', '{"id":12345678901234567890}']) {
      expect(decodeCell(cell)).toBe(cell);
      expect(encodeCell(cell)).toBe(cell.startsWith('-') ? JSON.stringify(cell) : cell);
    }
    expect(decodeKeyCell('007')).toBe('007');
    expect(decodeKeyCell('12345678901234567890')).toBe('12345678901234567890');
    expect(decodeKeyCell('17')).toBe(17);
  });

  it('is never a formula: no text begins with what a spreadsheet would run', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const dangerous = /^\s*[=+\-@\t\r＝＋－＠]/;
        for (const start of ['', '=', '+', '-', '@', '\t', ' =', '＝']) {
          expect(encodeCell(start + text)).not.toMatch(dangerous);
          expect(encodeKeyCell(start + text)).not.toMatch(dangerous);
        }
      }),
    );
  });

  it('holds nothing that UTF-8 cannot', () => {
    fc.assert(
      fc.property(json, (value) => Buffer.from(encodeCell(value), 'utf8').toString('utf8') === encodeCell(value)),
    );
  });
});

describe('a file', () => {
  it('gives every key and every value back', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, json), { maxLength: 8 }), (entries) => {
        // Not toStrictEqual, which takes a property that is called `constructor` for the class.
        expect(isDeepStrictEqual(readAll(writeAll(entries)), entries)).toBe(true);
      }),
    );
  });

  it('looks as RFC 4180 has it', () => {
    const csv = writeAll([
      ['a', { title: 'x, "y"', n: 1, note: 'two\nlines' }],
      [7, { n: null, deep: { b: [1] } }],
      ['c', 'no object'],
    ]);
    expect(csv).toBe(
      'key,$,title,n,note,deep\r\na,,"x, ""y""",1,"two\nlines",\r\n7,,,null,,"{""b"":[1]}"\r\nc,no object,,,,\r\n',
    );
  });

  it('has a column for a property that is called as the column of keys is', () => {
    const entries: [Key, Json][] = [['a', { key: 1, $: 2, '': 3, __proto__x: 4, '"key"': 5, '=x': 6 }]];
    expect(writeAll(entries)).toMatch(/^key,"""key""","""\$""","""""",__proto__x,"""\\""key\\""""","""=x"""\r\n/);
    expect(readAll(writeAll(entries))).toEqual(entries);
  });

  it('of somebody else is read with its key in any column, with either line end, and with empty lines', () => {
    expect(readAll('title,key\nA,https://a.example/\n\n"B ""b""",17\n')).toEqual([
      ['https://a.example/', { title: 'A' }],
      [17, { title: 'B "b"' }],
    ]);
  });

  it.each([
    ['no column of keys', 'a,b\n', 'names no column "key"'],
    ['a column twice', 'key,a,a\n', 'names the column a twice'],
    ['a column twice, once in quotes', 'key,a,"""a"""\n', 'names the column "a" twice'],
    ['two columns of keys', 'key,key\n', 'names the column key twice'],
    ['a column without a name', 'key,\n', 'without a name'],
    ['a row that is too short', 'key,a\nx\n', 'has 1 cells, and there are 2 columns'],
    ['a row that is too long', 'key,a\nx,1,2\n', 'has 3 cells, and there are 2 columns'],
    ['a row without a key', 'key,a\n,1\n', 'has no key'],
    ['a value and properties', 'key,$,a\nx,1,2\n', 'and properties in others'],
    ['a quote in the middle', 'key,a\nx,a"b\n', 'quote inside a cell'],
    ['something behind a quote', 'key,a\nx,"a"b\n', 'between the end of a cell'],
    ['a carriage return that ends no line', 'key,a\rx,1\n', 'carriage return'],
  ])('with %s is refused', (_, csv, message) => {
    expect(() => readAll(csv)).toThrow(message);
  });
});

describe('a record', () => {
  it('ends where its last quote is closed', () => {
    expect(cells('a,"b\nc\r\n""d""",\r')).toEqual(['a', 'b\nc\r\n"d"', '']);
    expect(cells('"a","b"')).toEqual(['a', 'b']);
    expect(cells('"",')).toEqual(['', '']);
    const reader = new RecordReader(100);
    expect([reader.push('a,"b'), reader.isOpen]).toEqual([undefined, true]);
    expect([reader.push('c"'), reader.isOpen]).toEqual([['a', 'b\nc'], false]);
    expect(reader.push('next')).toEqual(['next']);
  });

  it('is refused where a quote that nobody closed would swallow the file', () => {
    const reader = new RecordReader(20);
    reader.push('"0123456789');
    expect(() => reader.push('0123456789')).toThrow('more than 20 characters');
  });
});
