// Holds docs/coming-from-tastypy.md to its list: every row is there once, and every test that it names exists.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, readDocument } from './blocks.ts';

/** The numbers of the features and of the known troubles of tastypy, as ranges; 69b is a row of its own. */
const FEATURES = '1-12 20-32 40-53 60-69 69b 70 80-84 90-101 110-145 150-156 160-180 190-199'.split(' ');
const TROUBLES = ['1-21'];

const rows = readDocument('docs/coming-from-tastypy.md')
  .split('\n')
  .flatMap((line) => {
    const cells = /^\| (TPB?-\d+b?) \| (.+) \| (.+) \| (.+) \|$/.exec(line);
    return cells === null ? [] : [{ id: cells[1] as string, here: cells[3] as string, tests: cells[4] as string }];
  });

describe('docs/coming-from-tastypy.md', () => {
  it('has every row once', () => {
    const expected = [...idsIn(FEATURES, 'TP-', 3), ...idsIn(TROUBLES, 'TPB-', 2)];
    expect(expected).toHaveLength(142 + 21);
    expect(rows.map(({ id }) => id)).toEqual(expected);
  });

  it('calls nothing coming', () => {
    expect(rows.filter(({ here }) => here.includes('coming')).map(({ id }) => id)).toEqual([]);
  });

  it('names tests that exist', () => {
    const named = rows.flatMap(({ id, tests }) =>
      [...tests.matchAll(/`([^`]+)` “([^”]+)”/g)].map(([, file, name]) => ({
        id,
        file: file as string,
        name: name as string,
      })),
    );
    expect(named.length).toBeGreaterThan(20);
    const wrong = named.filter(({ file, name }) => {
      const place = path.join(ROOT, 'test', file);
      return !existsSync(place) || !readFileSync(place, 'utf8').includes(name);
    });
    expect(wrong).toEqual([]);
  });
});

function idsIn(ranges: readonly string[], prefix: string, digits: number): string[] {
  return ranges.flatMap((range) => {
    const [, first, suffix = '', last = first] = /^(\d+)(b)?(?:-(\d+))?$/.exec(range) ?? [];
    const ids: string[] = [];
    for (let id = Number(first); id <= Number(last); id++)
      ids.push(`${prefix}${String(id).padStart(digits, '0')}${suffix}`);
    return ids;
  });
}
