// Holds the README to what it says: its code compiles and runs, its commands work, and nothing public is missing.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/run.ts';
import { POD, ProgressTracker } from '../../src/index.ts';
import { builtAddress } from '../bundle.ts';
import { blocksOf, isRun, ROOT, readDocument, Workshop } from './blocks.ts';

const readme = readDocument('README.md');
const blocks = blocksOf('README.md');
const examples = blocks.filter(isRun);
const commands = blocks.filter(({ language, note }) => language === 'sh' && note.startsWith('run'));

describe('the examples of the README', () => {
  let workshop: Workshop;
  beforeAll(() => {
    workshop = new Workshop();
  });
  afterAll(() => workshop.remove());

  it('run, in their order, and give what they say', () => {
    expect(examples).toHaveLength(4);
    const outputs = examples.map((example) => {
      const site = builtAddress('test/docs/example-site.ts');
      const { status, stdout, stderr } = workshop.run(workshop.write(example), site);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      return stdout;
    });
    // Two of three pages are done; the third failed once, and its try is counted.
    expect(outputs).toEqual([
      '66.67 % of 3 done, 1 to do\n',
      '2 answered; no answer from: https://example.org/b\n',
      'apples 2\npears 2\n',
      '',
    ]);
    const pages = ProgressTracker.open(`${workshop.folder}/crawl.pod`, { mode: 'r' });
    expect(pages.tries('https://example.org/b')).toBe(1);
    expect([...pages.failedKeys()]).toEqual(['https://example.org/b']);
    pages.close();
  });

  it('leave files that the commands can read', () => {
    if (workshop.shell('command -v jq zcat').status !== 0) {
      console.warn('the commands of the README are not run: there is no jq or no zcat here');
      return;
    }
    const outputs = commands.map(({ text }) => {
      const { status, stdout, stderr } = workshop.shell(text);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      return stdout;
    });
    expect(outputs).toHaveLength(2);
    expect(outputs[0]).toContain('0.json\nlock\npod.json\nwal-000002.jsonl\n');
    expect(outputs[0]).toContain('"https://example.org/"\n"https://example.org/a"\n"https://example.org/b"\n');
    expect(outputs[0]).toContain('Home\nA\nnull\n2\n');
    expect(outputs[1]).toBe('Home\nA\nnull\n');
  });
});

describe('the README names', () => {
  it.each([
    ['PersistentOrderedDict', POD.prototype],
    ['ProgressTracker', ProgressTracker.prototype],
  ])('every method of %s', (_, prototype) => {
    // A row with three dots stands for a family of counts, or for the rest of a family of iterators.
    const family = /^(num|fraction|percent)[A-Z]|^aborted(Items|Values)$/;
    const inner = ['constructor', 'writeCopy'];
    const names = Object.getOwnPropertyNames(prototype).filter((name) => !inner.includes(name) && !family.test(name));
    expect(names.filter((name) => !new RegExp(`\`${name}\\b`).test(readme))).toEqual([]);
  });

  it('no method that does not exist', () => {
    const workshop = new Workshop();
    const handle = ProgressTracker.open(`${workshop.folder}/any.pod`);
    const section = readme.slice(readme.indexOf('## The API in brief'), readme.indexOf('## The command'));
    const rows = section.split('\n').filter((line) => line.startsWith('| `'));
    const named = rows.flatMap((row) => [...(row.split(' | ')[0] as string).matchAll(/`([a-z]\w+)[`(]/g)]);
    const missing = named.map(([, name]) => name as string).filter((name) => !(name in handle));
    handle.close();
    workshop.remove();
    expect(named.length).toBeGreaterThan(50);
    expect(missing).toEqual([]);
  });

  it('the commands as the command line knows them, and their options', () => {
    const section = readme.slice(readme.indexOf('## The command'), readme.indexOf('## More'));
    const inReadme = [...section.matchAll(/^\| `([\w-]+) [A-Z]+/gm)].map(([, name]) => name as string);
    const commands = COMMANDS.filter(({ isHidden }) => isHidden !== true);
    expect(inReadme).toEqual(commands.map(({ name }) => name));
    const options = commands.flatMap(({ options: own = [] }) =>
      own.map(([flags]) => /--\w+/.exec(flags)?.[0] ?? flags),
    );
    expect(options.length).toBeGreaterThan(5);
    expect(options.filter((option) => !section.includes(option))).toEqual([]);
    for (const { name, examples } of commands) {
      expect(examples.length, name).toBeGreaterThan(0);
      for (const example of examples) expect(example).toMatch(new RegExp(`^${name} `));
    }
  });

  it('the versions of Node and the options as package.json and the code have them', () => {
    const { engines } = JSON.parse(readFileSync(`${ROOT}/package.json`, 'utf8')) as { engines: { node: string } };
    expect(engines.node).toBe('>=20.19');
    expect(readme).toContain('Node 20.19 or newer, 22 or 24');
    const source = readFileSync(`${ROOT}/src/pod/options.ts`, 'utf8');
    const shape = /interface PodOptions<[^{]*\{([\s\S]*?)\n\}/.exec(source)?.[1] ?? '';
    const options = [...shape.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name as string);
    expect(options).toContain('durability');
    const listed = /^Options, all of them optional: ([\s\S]*?)\n\n/m.exec(readme)?.[1] ?? '';
    expect(options.filter((name) => !listed.includes(`\`${name}\``))).toEqual([]);
  });
});
