/**
 * Child processes for the measurements: bundled once, so that no measurement pays for compiling, and started one at a time.
 *
 * The bundle lies where everpod's own packages are found, and git looks away; the children run in `bench`, where the peers' packages are.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { HugeJob } from './huge.ts';
import type { Job, Metrics } from './works.ts';

/** Where the programs of the children are, as `.mjs`. */
export const CHILDREN = join(import.meta.dirname, '../node_modules/.cache/everpod-bench');
/** A measurement that takes longer than this is taken for hanging. */
const CHILD_MS_MAX = 3_600_000;
/** 16 MiB for what a child says; it says one line. */
const OUTPUT_BYTES_MAX = 16 << 20;

/** What is used of esbuild, which comes with tsx. */
interface Bundler {
  buildSync(options: Record<string, unknown>): unknown;
}

/** Bundles the program that measures. Classes and functions keep their speed: nothing is wrapped to keep its name. */
export function bundleChild(): void {
  const require = createRequire(import.meta.url);
  const { buildSync } = createRequire(require.resolve('tsx'))('esbuild') as Bundler;
  buildSync({
    absWorkingDir: join(import.meta.dirname, '..'),
    entryPoints: ['bench/child.ts', 'bench/huge-child.ts', 'bench/shared-child.ts', 'bench/profile-child.ts'],
    outdir: CHILDREN,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['signal-exit', 'write-file-atomic'],
    logLevel: 'error',
  });
  if (!existsSync(join(CHILDREN, 'child.mjs'))) throw new Error('The program that measures was not bundled.');
}

/** Runs one measurement. Rejects with what the child said if it failed. */
export function runChild(job: Job): Promise<Metrics> {
  return run('child.mjs', job);
}

/** Runs one phase of a large tracker. */
export function runHugeChild(job: HugeJob): Promise<Metrics> {
  return run('huge-child.mjs', job);
}

/** A table of where the time goes. */
export function runProfileChild(entries: number): Promise<string> {
  return outputOf('profile-child.mjs', String(entries));
}

async function run(program: string, job: object): Promise<Metrics> {
  const stdout = await outputOf(program, JSON.stringify(job));
  const last = stdout.trimEnd().split('\n').at(-1) ?? '';
  // JSON has no word for what is not a number.
  const metrics = Object.entries(JSON.parse(last) as Record<string, number | null>);
  return Object.fromEntries(metrics.map(([name, value]) => [name, value ?? Number.NaN]));
}

async function outputOf(program: string, argument: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(CHILDREN, program), argument], {
    cwd: import.meta.dirname,
    maxBuffer: OUTPUT_BYTES_MAX,
    timeout: CHILD_MS_MAX,
    killSignal: 'SIGKILL',
  }).catch((error: Error & { stderr?: string; signal?: string | null }) => {
    throw new Error(error.stderr?.trim() || `It ended with ${error.signal ?? error.message}.`);
  });
  return stdout;
}
