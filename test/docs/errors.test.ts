// Holds docs/errors.md to the code: every code has its paragraph, and every example ends with the error it stands under.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { blocksOf, isRun, ROOT, readDocument, Workshop } from './blocks.ts';

const DOCUMENT = 'docs/errors.md';
const text = readDocument(DOCUMENT);
const headings = [...text.matchAll(/^## (ERR_\w+)$/gm)].map(([, code]) => code as string);
const source = readFileSync(path.join(ROOT, 'src/core/errors.ts'), 'utf8');
const codes = [...source.matchAll(/^ {2}\| '(ERR_\w+)'/gm)].map(([, code]) => code as string);

describe('docs/errors.md', () => {
  it('has one paragraph for each code, and none for anything else', () => {
    expect(codes.length).toBeGreaterThan(10);
    expect([...headings].sort()).toEqual([...codes].sort());
  });

  it.each(headings)('%s: says when, what was changed, and what to do, with an example', (code) => {
    const paragraph = text.slice(text.indexOf(`## ${code}\n`)).split(/\n(?=## )/)[0] as string;
    for (const word of ['**When.**', '**Changed.**', '**What to do.**', '```ts']) expect(paragraph).toContain(word);
  });
});

describe('the examples of docs/errors.md', () => {
  const examples = blocksOf(DOCUMENT).filter(isRun);
  const workshop = new Workshop();
  afterAll(() => workshop.remove());

  it('end with the error they stand under', () => {
    const jobs = examples.map((block) => ({ code: block.heading, file: workshop.write(block) }));
    for (const { code } of jobs) mkdirSync(path.join(workshop.folder, code));
    const driver = path.join(workshop.folder, 'driver.mjs');
    writeFileSync(
      driver,
      `const thrown = {};
       for (const { code, file } of ${JSON.stringify(jobs)}) {
         process.chdir(${JSON.stringify(`${workshop.folder}/`)} + code);
         await import(file).catch((error) => { thrown[code] = error.code ?? String(error); });
       }
       console.log(JSON.stringify(thrown));`,
    );
    const { status, stdout, stderr } = workshop.run(driver);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(jobs.length).toBeGreaterThan(10);
    expect(JSON.parse(stdout)).toEqual(Object.fromEntries(jobs.map(({ code }) => [code, code])));
  });
});
