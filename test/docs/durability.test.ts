// Holds docs/durability.md to the tests: each claim has a test named after it, and no test names a claim that is not there.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, readDocument } from './blocks.ts';

const TITLE = /(?:\b(?:describe|it|test)\b[^'`"\n]*|^\s*|\)\()(['`])((?:TP[BT]?-\d+b?, )*D\d+.*?)\1/gm;
const LEVELS = ['exit', 'process', 'power'];

const claims = [...readDocument('docs/durability.md').matchAll(/^(?:- )?\*\*(D\d+)\.\*\*/gm)].map(
  ([, id]) => id as string,
);
const sources = readdirSync(path.join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => readFileSync(path.join(ROOT, 'test', name), 'utf8'));
const named = new Set(sources.flatMap(claimsOfTitles));

/** The claims that the titles in a source begin with. */
function claimsOfTitles(source: string): string[] {
  return [...source.matchAll(TITLE)].flatMap(([, , title = '']) => {
    const ids = /^((?:TP[BT]?-\d+b?|D\d+)(?:, |(?=:)))+:/.exec(title)?.[0] ?? '';
    return ids.match(/\bD\d+/g) ?? [];
  });
}

describe('docs/durability.md', () => {
  it('has a test for each claim', () => {
    expect(claims.length).toBeGreaterThan(30);
    expect(claims.filter((id) => !named.has(id))).toEqual([]);
  });

  it('has each claim that a test names', () => {
    expect([...named].filter((id) => !claims.includes(id))).toEqual([]);
  });

  it('has a test for each cell of its table of levels', () => {
    const all = sources.join('\n');
    const columns = ['when', 'process death', 'a power cut'];
    const cells = LEVELS.flatMap((level) => columns.map((column) => `'level ${level}, ${column}: `));
    expect(cells.filter((title) => !all.includes(title))).toEqual([]);
  });
});
