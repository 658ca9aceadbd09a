/**
 * Real child processes for the tests: the bundled programs in `children/`, each test file with a copy of its own in a temporary folder.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, inject } from 'vitest';

/** How a child ended, and everything it said. */
export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly lines: readonly string[];
  readonly stderr: string;
}

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** What it has said so far, a line each. */
  readonly lines: readonly string[];
  /** Resolves once it is gone and all its output is here. */
  readonly finished: Promise<Finished>;
  /** Resolves with the first line that begins so; rejects where it ends without. */
  said(start: string): Promise<string>;
}

export interface StartOptions {
  /** A command that runs node, such as `unshare`, with its arguments. */
  readonly through?: readonly string[];
  readonly nodeFlags?: readonly string[];
  /** Which copy of the library to run on. */
  readonly copy?: string;
  readonly onLine?: (line: string) => void;
}

/** A temporary folder for one test file, with the bundled programs in it. */
export interface Bench {
  /** A path in it that nothing uses yet. */
  newPath(name?: string): string;
  /** Where a bundled file lies: `src/index.js`, `test/process/children/ending.js`. */
  built(file: string, copy?: string): string;
  /** Makes a second copy of everything that is bundled. */
  copyBuilt(copy: string): void;
  start(program: string, args: readonly string[], options?: StartOptions): Child;
  /** Starts a program and waits for its end. */
  run(program: string, args: readonly string[], options?: StartOptions): Promise<Finished>;
}

/** Prepares the folder before the tests of the calling file, and removes it, and every child still alive, after them. */
export function useBench(): Bench {
  let root = '';
  let paths = 0;
  const children = new Set<ChildProcess>();

  beforeAll(() => {
    root = mkdtempSync(join(realpathSync(tmpdir()), 'everpod-process-'));
    copyOf(inject('built'), join(root, 'built'));
  });
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(root, { recursive: true, force: true });
  });

  const bench: Bench = {
    newPath: (name = 'pod') => join(root, `${name}-${++paths}`),
    built: (file, copy = 'built') => join(root, copy, file),
    copyBuilt: (copy) => copyOf(join(root, 'built'), join(root, copy)),
    start: (program, args, options = {}) => {
      const { through = [], nodeFlags = [], copy, onLine } = options;
      const file = bench.built(`test/process/children/${program}.js`, copy);
      const [command = '', ...rest] = [...through, process.execPath, ...nodeFlags, file, ...args];
      const child = spawn(command, rest, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
      children.add(child);
      child.once('close', () => children.delete(child));
      return watch(child, onLine);
    },
    run: (program, args, options) => bench.start(program, args, options).finished,
  };
  return bench;
}

/** Stops a child. A thread in the middle of a system call, or without a processor, stops later than it is told to, so all are waited for. */
export async function stop({ process: child, pid }: Child): Promise<void> {
  child.kill('SIGSTOP');
  if (process.platform !== 'linux') await sleep(100);
  else while (isAtWork(pid)) await sleep(1);
}

function isAtWork(pid: number): boolean {
  try {
    const threads = readdirSync(`/proc/${pid}/task`).map((id) =>
      readFileSync(`/proc/${pid}/task/${id}/stat`, 'latin1'),
    );
    return threads.some((stat) => !/^\d+ \(.*\) [TZX]/s.test(stat));
  } catch {
    // It is gone, or a thread of it went while it was looked at: the process lives as long as its first thread does.
    return existsSync(`/proc/${pid}`);
  }
}

function copyOf(from: string, to: string): void {
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
}

function watch(child: ChildProcess, onLine: ((line: string) => void) | undefined): Child {
  const lines: string[] = [];
  const waiting = new Set<(gone?: string) => void>();
  let unfinished = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (unfinished + chunk).split('\n');
    unfinished = parts.pop() ?? '';
    for (const line of parts) {
      lines.push(line);
      onLine?.(line);
    }
    for (const look of waiting) look();
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      for (const look of waiting) look(`It ended with ${code ?? signal}:\n${stderr}`);
      resolve({ code, signal, lines, stderr });
    });
  });
  const said = (start: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (gone?: string): void => {
        const line = lines.find((each) => each.startsWith(start));
        if (line === undefined && gone === undefined) return;
        waiting.delete(look);
        if (line !== undefined) resolve(line);
        else reject(new Error(`The child never said "${start}". ${gone}`));
      };
      waiting.add(look);
      look();
    });
  return { process: child, pid: child.pid ?? -1, lines, finished, said };
}
