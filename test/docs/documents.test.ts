// Holds all documents together: their code compiles, their links lead somewhere, and the architecture names every file.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, ROOT, readDocument, typeErrors } from './blocks.ts';

const documents = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  ...readdirSync(path.join(ROOT, 'docs')).map((name) => `docs/${name}`),
];

describe('the documents', () => {
  it('hold code that compiles', () => {
    expect(typeErrors(documents.flatMap(blocksOf))).toEqual([]);
  });

  it.each(documents)('%s: has links that lead somewhere', (document) => {
    const links = [...readDocument(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link as string);
    const broken = links.filter((link) => !/^https:/.test(link) && !leadsSomewhere(document, link));
    expect(broken).toEqual([]);
  });

  it('docs/durability.md: numbers its claims without a gap', () => {
    const claims = [...readDocument('docs/durability.md').matchAll(/^(?:- )?\*\*D(\d+)\.\*\*/gm)]
      .map(([, n]) => Number(n))
      .sort((a, b) => a - b);
    expect(claims).toEqual(claims.map((_, index) => index + 1));
    expect(claims.length).toBeGreaterThan(20);
  });
});

describe('ARCHITECTURE.md', () => {
  const text = readDocument('ARCHITECTURE.md');
  // The test kit is named as a whole.
  const files = readdirSync(path.join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.ts') && !/(^|\/)index\.ts$/.test(name) && !name.startsWith('testing/'));

  it('says the job of every file', () => {
    const rows = [...text.matchAll(/^\| `([\w/-]+\.ts)` \| .+ \|$/gm)].map(([, name]) => name as string);
    const floors = (name: string) => ['', 'core/', 'disk/'].map((folder) => folder + name);
    const missing = files.filter((file) => !rows.some((row) => floors(row).includes(file)));
    const gone = rows.filter((row) => !floors(row).some((name) => files.includes(name)));
    expect({ missing, gone }).toEqual({ missing: [], gone: [] });
  });

  it('names no file that does not exist', () => {
    const named = [...text.matchAll(/`((?:core|disk|pod|tracker|shared|cli)\/[\w-]+\.ts)`/g)].map(
      ([, name]) => name as string,
    );
    expect(named.filter((name) => !files.includes(name))).toEqual([]);
  });
});

function leadsSomewhere(document: string, link: string): boolean {
  const [target = '', anchor] = link.split('#');
  const file = target === '' ? document : path.posix.join(path.posix.dirname(document), target);
  if (!existsSync(path.join(ROOT, file))) return false;
  if (anchor === undefined) return true;
  const headings = [...readDocument(file).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading as string);
  return headings.some((heading) => anchorOf(heading) === anchor);
}

/** As the usual renderers make it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}
