// Runs the everpod command: as a child process, and in this process, where coverage sees it.
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { run } from '../../src/cli/run.ts';
import { builtFile } from '../bundle.ts';

/** The command as a program. */
export const MAIN: string = builtFile('src/cli/main.ts');

export interface Answer {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The command as people run it. */
export async function everpodChild(...args: string[]): Promise<Answer> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, err };
}

/** The same command line without a process of its own. */
export function everpod(...args: string[]): Answer {
  const { code, said } = start(args);
  if (typeof code !== 'number') throw new Error('This command takes its time; run it as a process.');
  return { code, ...said };
}

/** The same for commands that may take their time. */
export async function everpodSoon(...args: string[]): Promise<Answer> {
  const { code, said } = start(args);
  return { code: await code, ...said };
}

function start(args: readonly string[]): { code: number | Promise<number>; said: { out: string; err: string } } {
  const said = { out: '', err: '' };
  const code = run(args, {
    out: (words) => {
      said.out += words;
    },
    err: (words) => {
      said.err += words;
    },
  });
  return { code, said };
}
