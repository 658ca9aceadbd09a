/** Runs an example as its users do: as a process of its own, in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { onTestFinished } from 'vitest';
import type { Summary } from '../../examples/crawl/summary.ts';
import { builtFile } from '../bundle.ts';

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  /** Resolves once all its output is there. */
  readonly finished: Promise<Finished>;
  /** Resolves when either output holds the text, or when it ends without. */
  said(text: string): Promise<void>;
}

export interface StartOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

export function start(example: string, args: readonly string[], { cwd, env = {} }: StartOptions): Running {
  const child = spawn(process.execPath, [builtFile(`examples/${example}`), ...args], {
    cwd,
    env: { ...process.env, EVERPOD_CRAWL_DIR: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  const listeners = new Set<() => void>();
  const hear = (add: (text: string) => void) => (chunk: string) => {
    add(chunk);
    for (const listener of listeners) listener();
  };
  child.stdout.setEncoding('utf8').on(
    'data',
    hear((text) => (stdout += text)),
  );
  child.stderr.setEncoding('utf8').on(
    'data',
    hear((text) => (stderr += text)),
  );
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  const said = (text: string) =>
    Promise.race([
      finished.then(() => {}),
      new Promise<void>((resolve) => {
        const listener = () => {
          if (!(stdout + stderr).includes(text)) return;
          listeners.delete(listener);
          resolve();
        };
        listeners.add(listener);
        listener();
      }),
    ]);
  // A test that fails half-way leaves nobody behind.
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, finished, said };
}

export function run(example: string, args: readonly string[], options: StartOptions): Promise<Finished> {
  return start(example, args, options).finished;
}

/** Crawls to the end and gives the summary; fails the test if the crawl did. */
export async function crawl(args: readonly string[], options: StartOptions): Promise<Summary> {
  const finished = await run('crawl.ts', ['--json', ...args], options);
  if (finished.code !== 0)
    throw new Error(`The crawl ended with ${finished.code ?? finished.signal}:\n${finished.stderr}`);
  return JSON.parse(finished.stdout);
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(realpathSync(tmpdir()), 'everpod-example-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The entries of a pod that was closed, read from its files without the library. */
export function readShards<V>(podFolder: string): Map<string, V> {
  const entries = new Map<string, V>();
  const shards = readdirSync(podFolder)
    .filter((name) => /^\d+\.json(\.gz)?$/.test(name))
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  for (const shard of shards) {
    const bytes = readFileSync(path.join(podFolder, shard));
    const text = (shard.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
    for (const line of text.split('\n').filter(Boolean)) {
      const [key = '', value = ''] = line.split('\t');
      entries.set(JSON.parse(key), JSON.parse(value));
    }
  }
  return entries;
}
