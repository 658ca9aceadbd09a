// Holds docs/command-line.md to the command: a section for each, with its options, and examples that print what they are said to print.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/run.ts';
import { complaint } from '../cli/answers.ts';
import { useBench } from '../process/built.ts';
import { blocksOf, isRun, readDocument, Workshop } from './blocks.ts';
import { commandsIn, printed, sectionOf, withoutNumbers } from './console.ts';

const DOCUMENT = 'docs/command-line.md';
const document = readDocument(DOCUMENT);
const blocks = blocksOf(DOCUMENT);
const commands = COMMANDS.filter(({ isHidden }) => isHidden !== true);
const consoles = (name: string) => blocks.filter(({ language, heading }) => language === 'console' && heading === name);

describe(DOCUMENT, () => {
  it('has a section for each command, and none for anything else', () => {
    const headings = [...document.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading as string);
    expect(headings).toEqual(['For all commands', ...commands.map(({ name }) => name)]);
  });

  it.each(commands)(
    '$name: has all its options and no other, its exit codes, and examples of both forms',
    (command) => {
      const { name, options = [] } = command;
      const section = sectionOf(document, name);
      for (const word of ['**Options:** ', '**Exit code:** 0', '**With `--json`:** ']) expect(section).toContain(word);
      const said = /\*\*Options:\*\* ([\s\S]*?)\n\n/.exec(section)?.[1] ?? '';
      const flags = [...said.matchAll(/`(--[\w-]+)/g)].map(([, flag]) => flag as string);
      expect([...new Set(flags)].sort()).toEqual(options.map(([each]) => /--[\w-]+/.exec(each)?.[0]).sort());
      const shown = consoles(name).flatMap(commandsIn);
      expect(shown.filter((line) => line.startsWith(`everpod ${name} `)).length).toBeGreaterThan(1);
      expect(shown.some((line) => line.includes(' --json'))).toBe(true);
    },
  );

  it('tells a number that differs from another word', () => {
    expect(withoutNumbers('3 of 1,000 in a.0a1b2c3d')).toBe('# of # in a.#');
    expect(withoutNumbers('kept 3 lines')).not.toBe(withoutNumbers('kept 3 files'));
  });
});

describe(`the examples of ${DOCUMENT}`, () => {
  const bench = useBench();
  const workshop = new Workshop();
  const built = path.join(workshop.folder, 'built');
  afterAll(() => workshop.remove());

  beforeAll(() => {
    const programs = blocks.filter(isRun);
    expect(programs).toHaveLength(1);
    for (const program of programs)
      expect(workshop.run(workshop.write(program))).toMatchObject({ status: 0, stderr: '' });
    mkdirSync(built);
    for (const pod of ['crawl.pod', 'stock.pod'])
      cpSync(path.join(workshop.folder, pod), path.join(built, pod), { recursive: true });
    const everpod = path.join(workshop.folder, 'everpod');
    const main = bench.built('test/process/children/everpod.js');
    writeFileSync(everpod, `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
    chmodSync(everpod, 0o755);
  });

  it.concurrent.each(commands.map(({ name }) => name))('%s', async (name) => {
    const folder = path.join(workshop.folder, `of-${name}`);
    cpSync(built, folder, { recursive: true });
    for (const block of consoles(name)) {
      const found = await printed(block, folder, workshop.folder);
      const same = block.note === 'numbers differ' ? withoutNumbers : (text: string) => text;
      expect(same(found.map(({ command, output }) => `$ ${command}\n${output}`).join(''))).toBe(same(block.text));
      for (const { command, output } of found) {
        const [, tool = ''] = /^everpod (\w+) .*--json/.exec(command) ?? [];
        if (tool !== '') expect(complaint(tool, output, output.startsWith('{"error"')), command).toBeUndefined();
      }
    }
  });

  it('need nothing but a shell and sed', () => {
    const tools = blocks
      .filter(({ language }) => language === 'console')
      .flatMap(commandsIn)
      .map((line) => line.split(' ')[0]);
    expect([...new Set(tools)].sort()).toEqual(['echo', 'everpod', 'sed']);
    expect(spawnSync('sh', ['-c', 'command -v sed bash']).status).toBe(0);
  });
});
