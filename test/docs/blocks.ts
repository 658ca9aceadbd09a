/**
 * The code in the documents: found, type-checked and run as its readers would, with `everpod` standing for the bundled sources.
 *
 * A block of `ts` is run unless the comment in the line before says `<!-- not run: why -->`. All of them are type-checked.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as TypeScript from 'typescript';
import { builtAddress, transpiled } from '../bundle.ts';

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));

/** One fenced block of a document. */
export interface Block {
  readonly document: string;
  /** The line of its fence, from 1. */
  readonly line: number;
  readonly language: string;
  /** What the comment in the line before the fence says; empty where there is none. */
  readonly note: string;
  /** The heading it stands under. */
  readonly heading: string;
  readonly text: string;
}

export function readDocument(name: string): string {
  return readFileSync(path.join(ROOT, name), 'utf8');
}

export function blocksOf(document: string): Block[] {
  const blocks: Block[] = [];
  let heading = '';
  let open: { line: number; language: string; note: string; lines: string[] } | undefined;
  let before = '';
  for (const [index, line] of readDocument(document).split('\n').entries()) {
    const fence = /^```(\w*)$/.exec(line);
    if (open !== undefined) {
      if (fence === null) open.lines.push(line);
      else {
        const { lines, ...rest } = open;
        blocks.push({ document, heading, ...rest, text: lines.map((one) => `${one}\n`).join('') });
        open = undefined;
      }
    } else if (fence !== null) {
      const note = /^<!-- (.*) -->$/.exec(before)?.[1] ?? '';
      open = { line: index + 1, language: fence[1] ?? '', note, lines: [] };
    } else {
      heading = /^#+ (.*)$/.exec(line)?.[1] ?? heading;
    }
    before = line;
  }
  return blocks;
}

export function isRun(block: Block): boolean {
  return block.language === 'ts' && !block.note.startsWith('not run');
}

/** What the compiler says about the blocks of `ts`, with the project's own settings. */
export function typeErrors(blocks: readonly Block[]): string[] {
  // It is large, and most who read a document do not need it.
  const ts = createRequire(import.meta.url)('typescript') as typeof TypeScript;
  const configFile = path.join(ROOT, 'tsconfig.json');
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(configFile, ts.sys.readFile).config,
    ts.sys,
    ROOT,
  );
  const host = ts.createCompilerHost({ ...options, noUnusedLocals: false });
  const texts = new Map<string, { block: Block; text: string }>();
  for (const block of blocks) {
    if (block.language !== 'ts') continue;
    const file = path.join(ROOT, 'test/docs', `${path.basename(block.document, '.md')}-line-${block.line}.ts`);
    texts.set(file, { block, text: sourceText(block.text) });
  }
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (file) => texts.get(file)?.text ?? readFile(file);
  host.fileExists = (file) => texts.has(file) || fileExists(file);
  host.getSourceFile = (file, target, ...rest) => {
    const known = texts.get(file);
    return known === undefined ? getSourceFile(file, target, ...rest) : ts.createSourceFile(file, known.text, target);
  };
  const program = ts.createProgram([...texts.keys()], { ...options, noUnusedLocals: false }, host);
  return [...texts.keys()].flatMap((file) => {
    const source = program.getSourceFile(file);
    const { block } = texts.get(file) as { block: Block };
    return ts.getPreEmitDiagnostics(program, source).map(({ start = 0, messageText }) => {
      const line = block.line + 1 + (source?.getLineAndCharacterOfPosition(start).line ?? 0);
      return `${block.document}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
  });
}

function sourceText(text: string): string {
  return text
    .replaceAll("from 'everpod'", "from '../../src/index.ts'")
    .replaceAll("from 'everpod/shared'", "from '../../src/shared/index.ts'");
}

/** A temporary folder in which blocks run one after the other. */
export class Workshop {
  readonly folder: string = mkdtempSync(path.join(tmpdir(), 'everpod-docs-'));

  /** Writes a block so that it can be run. Returns the file. */
  write(block: Block): string {
    const file = path.join(this.folder, `line-${block.line}.mjs`);
    const text = block.text.replaceAll(
      /from '(everpod\/shared|everpod|zod)'/g,
      (_, name: string) => `from '${addressOf(name)}'`,
    );
    writeFileSync(file, transpiled(text));
    return file;
  }

  /** Runs a file as a program of its own. */
  run(file: string, ...imports: readonly string[]): { status: number | null; stdout: string; stderr: string } {
    const loaders = imports.flatMap((address) => ['--import', address]);
    return spawnSync(process.execPath, [...loaders, file], { cwd: this.folder, encoding: 'utf8' });
  }

  shell(text: string): { status: number | null; stdout: string; stderr: string } {
    return spawnSync('bash', ['-e', '-o', 'pipefail', '-c', text], { cwd: this.folder, encoding: 'utf8' });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** As an address, because a name would be looked for from the folder the block runs in. */
function addressOf(name: string): string {
  if (name === 'everpod/shared') return builtAddress('src/shared/index.ts');
  if (name === 'everpod') return builtAddress('src/index.ts');
  return pathToFileURL(createRequire(import.meta.url).resolve(name)).href;
}
