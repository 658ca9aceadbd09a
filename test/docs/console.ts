/**
 * Blocks of a shell's dialogue in the documents: commands after a `$`, and below each what it prints on both of its outputs.
 */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { type Block, ROOT } from './blocks.ts';

/** Where the documents say that the examples are run. */
const HOME = '/home/me';
/** What no command prints. */
const BORDER = '\u0001';

/** The commands of a block. */
export function commandsIn({ text: dialogue }: Block): string[] {
  return dialogue.split('\n').flatMap((line) => (line.startsWith('$ ') ? [line.slice(2)] : []));
}

/** Runs the commands of a block in one shell, in a folder, with `bin` before the other places of commands; what each of them prints. */
export async function printed(
  block: Block,
  folder: string,
  bin: string,
): Promise<{ readonly command: string; readonly output: string }[]> {
  const commands = commandsIn(block);
  // The border must not change what `$?` is for the next command.
  const script = commands.map((command) => `${command}\n(code=$?; printf '${BORDER}'; exit $code)\n`).join('');
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, NO_COLOR: '1' };
  const shell = spawn('bash', ['-c', `exec 2>&1\n${script}`], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const outputs = (await text(shell.stdout)).replaceAll(folder, HOME).split(BORDER);
  if (outputs.length !== commands.length + 1)
    throw new Error(`${ROOT}${block.document}:${block.line}: ${outputs.join('')}`);
  return commands.map((command, index) => ({ command, output: outputs[index] as string }));
}

/** The text with `#` for every number, and for what our files have in their names so that no two are the same; one of a thing or many. */
export function withoutNumbers(words: string): string {
  return words.replace(/\b[0-9a-f]{8}\b|\d[\d,]*/g, '#').replace(/\b(kill|write|comparison)s?\b/g, '$1s');
}

/** A section of a document, from its heading to the next of the same level. */
export function sectionOf(document: string, heading: string): string {
  const from = document.indexOf(`\n## ${heading}\n`);
  if (from < 0) throw new Error(`There is no section ${heading}.`);
  const next = document.indexOf('\n## ', from + 1);
  return document.slice(from, next < 0 ? undefined : next);
}
