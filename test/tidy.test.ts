// Holds the layout of the project to its own rules: floors, cycles, headers, file length, and what may not be written.
//
// Each rule is a function from files to complaints, so it is first shown a planted violation and then the real tree.
import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** Text by path; paths are relative to the root of the project and use forward slashes. */
type Files = ReadonlyMap<string, string>;

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** A file may import its own floor and lower ones. */
const floors: Readonly<Record<string, number>> = {
  core: 1,
  disk: 2,
  pod: 3,
  tracker: 3,
  dict: 3,
  objects: 3,
  prevalence: 3,
  shared: 4,
  stores: 4,
  cli: 5,
  dashboard: 5,
  'index.ts': 5,
};

/** The test kit stands beside the floors: it sees these folders and nothing in the product may lean on it. */
const testingMayImport = ['core', 'disk', 'testing'];

/** What only src/disk may touch, so that every byte on its way to the disk passes one place. */
const diskOnly = ['node:fs', 'node:fs/promises', 'node:zlib', 'write-file-atomic', 'signal-exit'];

/** A file that needs more than one screen of scrolling per idea has more than one job; 600 lines is where we say so. */
const linesMax = 600;

describe('floors', () => {
  it('notices an import of a higher floor', () => {
    const planted = new Map([
      ['src/disk/wal.ts', "import { POD } from '../pod/pod.ts';"],
      ['src/pod/pod.ts', "export type { Channel } from '../shared/channel.ts';"],
      ['src/shared/channel.ts', "const main = await import('../cli/main.ts');"],
      ['src/stores/redis.ts', "import '../index.ts';"],
      ['src/cli/main.ts', "let pod: import('../testing/clock.ts').Clock;"],
      ['src/testing/clock.ts', "import {\n  type Task,\n} from '../tracker/task.ts';"],
      ['src/helpers/text.ts', ''],
      ['src/pod/deep.ts', "import { build } from '../../bench/bench.ts';"],
    ]);
    expect(floorComplaints(planted)).toHaveLength(planted.size);
  });

  it('notices what the core and everything above the disk may not import', () => {
    const planted = new Map([
      ['src/core/key.ts', "import { isDeepStrictEqual } from 'node:util';"],
      ['src/core/codec.ts', "import { z } from 'zod';"],
      ['src/pod/pod.ts', "import * as fs from 'fs';"],
      ['src/tracker/tracker.ts', "import { readFile } from 'node:fs/promises';"],
      ['src/cli/main.ts', "const { gzipSync } = process.getBuiltinModule('zlib');"],
      ['src/stores/directory.ts', "import writeFileAtomic from 'write-file-atomic';"],
      ['src/shared/broker.ts', "import { onExit } from 'signal-exit/signals';"],
    ]);
    expect(floorComplaints(planted)).toHaveLength(planted.size);
  });

  it('allows the own floor, lower floors, and an import that is only spoken of', () => {
    const allowed = new Map([
      ['src/core/key.ts', "/** Example:\n * import { POD } from 'everpod';\n */\nimport { fail } from './errors.ts';"],
      ['src/disk/wal.ts', "import fs from 'node:fs';\nimport { key } from '../core/key.ts';"],
      ['src/tracker/tracker.ts', "import { POD } from '../pod/pod.ts';\nimport { z } from 'zod';"],
      ['src/cli/main.ts', "import process from 'node:process';\nimport { POD } from '../index.ts';"],
      ['src/testing/clock.ts', "import type { Clock } from '../core/clock.ts';"],
    ]);
    expect(floorComplaints(allowed)).toEqual([]);
  });

  it('hold in src', () => {
    expect(floorComplaints(sources())).toEqual([]);
  });
});

describe('cycles', () => {
  it('notices a circle, also one of types', () => {
    const planted = new Map([
      ['src/core/a.ts', "import { b } from './b.ts';"],
      ['src/core/b.ts', "import type { C } from './c.ts';"],
      ['src/core/c.ts', "export { a } from './a.ts';"],
      ['src/core/d.ts', "import { a } from './a.ts';"],
    ]);
    expect(cycleComplaints(planted)).toEqual(['src/core/a.ts > src/core/b.ts > src/core/c.ts > src/core/a.ts']);
  });

  it('allows two ways to one file', () => {
    const allowed = new Map([
      ['src/core/a.ts', "import './b.ts';\nimport './c.ts';"],
      ['src/core/b.ts', "import './d.ts';"],
      ['src/core/c.ts', "import './d.ts';"],
      ['src/core/d.ts', ''],
    ]);
    expect(cycleComplaints(allowed)).toEqual([]);
  });

  it('are absent from src', () => {
    expect(cycleComplaints(sources())).toEqual([]);
  });
});

describe('headers', () => {
  it('notices a file that does not start by saying its job', () => {
    const planted = new Map([
      ['src/core/none.ts', 'export const a = 1;'],
      ['src/core/late.ts', "import './b.ts';\n// Keeps the order of the keys by place."],
      ['src/core/short.ts', '/** Helpers. */'],
      ['src/core/unfinished.ts', '// keys and their texts'],
      ['src/core/directive.ts', '// biome-ignore-all lint: this one is known to be fine.'],
    ]);
    expect(headerComplaints(planted)).toHaveLength(planted.size);
  });

  it('allows both kinds of comment and a shebang', () => {
    const allowed = new Map([
      ['src/core/block.ts', '/**\n * Turns a key into one line of text\n * and back. More follows here\n */'],
      ['src/core/lines.ts', '// Turns a key into text, `1.json` included.\n'],
      ['src/cli/main.ts', '#!/usr/bin/env node\n/* Runs the everpod command: one verb, one function. */'],
    ]);
    expect(headerComplaints(allowed)).toEqual([]);
  });

  it('stand over every file in src', () => {
    expect(headerComplaints(sources())).toEqual([]);
  });
});

describe('size and exports', () => {
  it('notices a file over the limit', () => {
    expect(lengthComplaints(new Map([['src/core/a.ts', 'a;\n'.repeat(linesMax + 1)]]))).toHaveLength(1);
    expect(lengthComplaints(new Map([['src/core/a.ts', 'a;\n'.repeat(linesMax)]]))).toEqual([]);
  });

  it('holds in src', () => {
    expect(lengthComplaints(sources())).toEqual([]);
  });

  it('notices a star in the public surface', () => {
    const planted = "export { POD } from './pod/pod.ts';\nexport * from './core/key.ts';\nexport * as t from './t.ts';";
    expect(starComplaints(new Map([['src/index.ts', planted]]))).toHaveLength(2);
  });

  it('names every export of src/index.ts', () => {
    expect(starComplaints(sources())).toEqual([]);
  });
});

describe('words', () => {
  // The planted words are put together here, so that this file does not hold them itself.
  it('notices unfinished work', () => {
    const marks = ['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'];
    expect(markComplaints(new Map([['src/core/a.ts', marks.join('\n')]]))).toHaveLength(marks.length);
    expect(markComplaints(new Map([['a.ts', 'for (const key of todoKeys()) mkdtemp("XXXXXX");']]))).toEqual([]);
  });

  it('notices tests left out without a word', () => {
    const dot = '.';
    const planted = [`it${dot}only('a')`, `describe${dot}skip('a')`, `it${dot}skipIf(windows)('a')`, `ctx${dot}skip()`];
    expect(skipComplaints(new Map([['test/a.test.ts', planted.join('\n')]]))).toHaveLength(planted.length);
    const chained = `it${dot}concurrent${dot}only('a')`;
    expect(skipComplaints(new Map([['test/a.test.ts', chained]]))).toHaveLength(1);
  });

  it('allows a skip that prints its reason, but never a lone test', () => {
    const dot = '.';
    const reasoned = `console.warn('no flock here');\n  it${dot}skip('a')`;
    expect(skipComplaints(new Map([['test/a.test.ts', reasoned]]))).toEqual([]);
    const lone = `console.warn('hurry');\nit${dot}only('a')`;
    expect(skipComplaints(new Map([['test/a.test.ts', lone]]))).toHaveLength(1);
  });

  it('notices paths of one machine', () => {
    const slash = '/';
    const planted = [`see ${slash}work/notes.md`, `'${slash}root/x'`, `file:${slash}${slash}${slash}work/a`];
    expect(pathComplaints(new Map([['README.md', planted.join('\n')]]))).toHaveLength(planted.length);
    const allowed = 'https://example.org/work/1 and ./root/a and homework/2';
    expect(pathComplaints(new Map([['README.md', allowed]]))).toEqual([]);
  });

  it('notices a test with a size or a seed of its own', () => {
    const planted = [
      `const long = process.env${'.'}EVERPOD_TEST_SIZE === 'long';`,
      `const seed = Number(process.env${'.'}EVERPOD_TEST_SEED ?? Date.now());`,
      `import fc from ${"'"}fast-check';`,
    ];
    expect(sizeComplaints(new Map([['test/a.test.ts', planted.join('\n')]]))).toHaveLength(planted.length);
  });

  it('are absent from every text file of the project', () => {
    const files = texts();
    expect(files.has('package.json')).toBe(true); // else the listing is broken and the rest says nothing
    const complaints = [markComplaints, skipComplaints, pathComplaints, sizeComplaints].flatMap((rule) => rule(files));
    expect(complaints).toEqual([]);
  });
});

// ---- The rules -----------------------------------------------------------------------------------------------------

function floorComplaints(files: Files): string[] {
  const complaints: string[] = [];
  for (const [path, text] of files) {
    const place = placeOf(path);
    if (place === undefined || !(place === 'testing' || place in floors)) {
      complaints.push(`${path}: has no floor; name its folder in test/tidy.test.ts`);
      continue;
    }
    for (const specifier of importsOf(text)) {
      const complaint = specifier.startsWith('.')
        ? innerComplaint(place, placeOf(resolve(path, specifier)))
        : outerComplaint(place, specifier);
      if (complaint !== undefined) complaints.push(`${path}: imports ${specifier}, but ${complaint}`);
    }
  }
  return complaints;
}

/** What is wrong with an import of `target` from `place`, both inside the project. */
function innerComplaint(place: string, target: string | undefined): string | undefined {
  if (target === undefined) return 'that is outside src';
  if (place === 'testing') return testingMayImport.includes(target) ? undefined : 'testing may use core and disk only';
  if (target === 'testing') return 'the product may not lean on its test kit';
  const from = floors[place] ?? 0;
  const to = floors[target];
  if (to === undefined) return `${target} has no floor`;
  return to > from ? `${target} is on floor ${to}, above ${place} on floor ${from}` : undefined;
}

/** What is wrong with an import of a package or of a part of Node from `place`. */
function outerComplaint(place: string, specifier: string): string | undefined {
  if (place === 'core') return 'core is pure: nothing of Node, no package';
  if (place === 'disk') return undefined;
  const name = builtinModules.includes(specifier) ? `node:${specifier}` : specifier;
  const guarded = diskOnly.some((one) => name === one || name.startsWith(`${one}/`));
  return guarded ? 'only src/disk may' : undefined;
}

/** One complaint for each circle, written from its first file back to that file. An import of types counts too. */
function cycleComplaints(files: Files): string[] {
  const complaints: string[] = [];
  const finished = new Set<string>();
  const trail: string[] = [];

  function visit(path: string): void {
    const start = trail.indexOf(path);
    if (start >= 0) complaints.push([...trail.slice(start), path].join(' > '));
    if (start >= 0 || finished.has(path)) return;
    trail.push(path);
    for (const specifier of importsOf(files.get(path) ?? '')) {
      const target = resolve(path, specifier);
      if (specifier.startsWith('.') && files.has(target)) visit(target);
    }
    trail.pop();
    finished.add(path);
  }

  for (const path of files.keys()) visit(path);
  return complaints;
}

function headerComplaints(files: Files): string[] {
  const complaints: string[] = [];
  for (const [path, text] of files) {
    const sentence = firstSentence(text);
    const saysJob = sentence !== undefined && sentence.split(' ').length >= 4 && !/^(biome-|@ts-)/.test(sentence);
    if (!saysJob) complaints.push(`${path}: must start with a comment whose first sentence says its job`);
  }
  return complaints;
}

function lengthComplaints(files: Files): string[] {
  return [...files].flatMap(([path, text]) => {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    return lines > linesMax ? [`${path}: ${lines} lines, over ${linesMax}; it has more than one job, split it`] : [];
  });
}

function starComplaints(files: Files): string[] {
  const index = files.get('src/index.ts') ?? '';
  return [...index.matchAll(/^\s*export\s+(?:type\s+)?\*.*$/gm)].map((match) => `src/index.ts: ${match[0].trim()}`);
}

function markComplaints(files: Files): string[] {
  return matchingLines(files, /\b(?:TO[D]O|FIX[M]E|XX[X])\b/, () => 'finish it, or open an issue and say nothing here');
}

/** A test may be left out only where the three lines before it, or its own, print why. */
function skipComplaints(files: Files): string[] {
  const tests = new Map([...files].filter(([path]) => /\.tsx?$/.test(path)));
  const left = /\b(?:it|test|describe|suite|bench|ctx|context|task|t)(?:\.\w+)*\.(skip|skipIf|runIf|todo|only)\b/;
  return matchingLines(tests, left, (match, lines, index) => {
    if (match[1] === 'only') return 'the other tests would not run';
    const printed = /\bconsole\.\w+\(|\bstd(?:out|err)\.write\(/.test(
      lines.slice(Math.max(0, index - 3), index + 1).join('\n'),
    );
    return printed ? undefined : 'print the reason in one of the three lines before';
  });
}

/** The size, the seed, and fast-check with it, come from one place. */
function sizeComplaints(files: Files): string[] {
  const places = /^test\/(?:size|fast-check)\.ts$/;
  const others = new Map([...files].filter(([path]) => path.endsWith('.ts') && !places.test(path)));
  const own = /\benv\.EVERPOD_TEST_(?:SIZE|SEED)\b|\bfrom 'fast-check'/;
  return matchingLines(others, own, () => 'take it from test/size.ts or test/fast-check.ts');
}

function pathComplaints(files: Files): string[] {
  return matchingLines(files, /(?<![\w.\-})\]*$])\/(?:work|root)\//, () => 'a path of one machine');
}

// ---- Reading -------------------------------------------------------------------------------------------------------

/** Every line with a match for which `judge` has a complaint. */
function matchingLines(
  files: Files,
  pattern: RegExp,
  judge: (match: RegExpExecArray, lines: readonly string[], index: number) => string | undefined,
): string[] {
  const complaints: string[] = [];
  for (const [path, text] of files) {
    const lines = text.split('\n');
    for (const [index, line] of lines.entries()) {
      const match = pattern.exec(line);
      const complaint = match === null ? undefined : judge(match, lines, index);
      if (complaint !== undefined) complaints.push(`${path}:${index + 1}: ${line.trim()}: ${complaint}`);
    }
  }
  return complaints;
}

/** The folder under src that a file belongs to, or the file itself if it lies in src; undefined outside src. */
function placeOf(path: string): string | undefined {
  const [top, place] = path.split('/');
  return top === 'src' ? place : undefined;
}

function resolve(importer: string, specifier: string): string {
  return posix.join(posix.dirname(importer), specifier);
}

/** The specifiers of all imports and re-exports, dynamic and type-only ones too. Statements must start their line. */
function importsOf(text: string): string[] {
  const statements = /^[ \t]*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/gm;
  const bare = /^[ \t]*import\s*['"]([^'"]+)['"]/gm;
  const calls = /\b(?:import|require|getBuiltinModule)\s*\(\s*['"`]([^'"`]+)['"`]/g;
  return [statements, bare, calls].flatMap((form) => [...text.matchAll(form)].map((match) => match[1] ?? ''));
}

/** The first sentence of the comment that opens a file, on one line; undefined if there is none. */
function firstSentence(text: string): string | undefined {
  const body = text.replace(/^#!.*\n/, '');
  const block = /^\/\*([\s\S]*?)\*\//.exec(body)?.[1];
  const lines = /^(?:\/\/.*(?:\n|$))+/.exec(body)?.[0];
  const comment = (block ?? lines)
    ?.replace(/^[ \t]*(?:\/\/|\*+)?/gm, '')
    .replace(/\s+/g, ' ')
    .trim();
  return comment === undefined ? undefined : /^.*?\.(?= |$)/.exec(comment)?.[0];
}

function sources(): Files {
  return new Map([...texts()].filter(([path]) => path.startsWith('src/') && path.endsWith('.ts')));
}

let read: Files | undefined;

/** Every text file that is, or on the next commit could be, under version control; fixtures and the lock are data. */
function texts(): Files {
  if (read !== undefined) return read;
  const data = /^(?:test\/fixtures\/|examples\/site\/|package-lock\.json$)/;
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const isFile = (path: string) => lstatSync(join(root, path), { throwIfNoEntry: false })?.isFile() === true;
  const paths = listed.split('\0').filter((path) => path !== '' && !data.test(path) && isFile(path));
  const pairs = paths.map((path) => [path, readFileSync(join(root, path), 'utf8')] as const);
  read = new Map(pairs.filter(([, text]) => !text.includes('\0')));
  return read;
}
