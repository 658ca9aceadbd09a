/**
 * The programs that the tests start as child processes, bundled with the library: a process that has to transpile its sources first takes
 * several times as long to start. They are bundled once for the whole run, and kept for the next one as long as no source changes.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { inject } from 'vitest';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder of the bundled programs. */
    readonly built: string;
  }
}

const PROJECT = fileURLToPath(new URL('../', import.meta.url));
const CACHE = join(PROJECT, 'node_modules/.cache/everpod-tests');
/** What the programs are made of. */
const SOURCES = /^(?:src|examples)\/.*\.ts$|^test\/[\w-]+\/children\/.*\.ts$|^test\/docs\/example-site\.ts$/;
/** What is started, or imported by a program that a test writes. */
const ENTRIES =
  /^src\/(?:index|shared\/index|cli\/main)\.ts$|^examples\/[\w-]+\.ts$|^examples\/crawl\/crawl-state\.ts$|^test\/[\w-]+\/children\/.*\.ts$|^test\/docs\/example-site\.ts$/;
/** What the library and an application must have in common stays outside, as in real life; so does what only the examples need. */
const EXTERNAL = ['commander', 'signal-exit', 'write-file-atomic', 'htmlparser2', 'robots-parser'];

const DAY_MS = 86_400_000;

/** Called once before all tests. */
export default function setUp(project: TestProject): void {
  project.provide('built', bundle());
}

/** Where the program made of a source file lies: `src/cli/main.ts`, or its address. */
export function builtFile(source: string | URL): string {
  const path = source instanceof URL ? relative(PROJECT, fileURLToPath(source)) : source;
  return join(inject('built'), path.replace(/\.ts$/, '.js'));
}

/** The same as an address to import it from. */
export function builtAddress(source: string | URL): string {
  return pathToFileURL(builtFile(source)).href;
}

/** A program that a test wrote or read somewhere, as JavaScript. */
export function transpiled(text: string): string {
  return bundler().transformSync(text, { loader: 'ts', format: 'esm', target: 'node20' }).code;
}

/** Bundles everything, unless that was done before; returns the folder. */
function bundle(): string {
  const files = ['src', 'examples', 'test'].flatMap((top) =>
    readdirSync(join(PROJECT, top), { recursive: true, encoding: 'utf8' }).map((name) => join(top, name)),
  );
  const sources = files.filter((file) => SOURCES.test(file)).sort();
  const hash = createHash('sha256');
  for (const file of [...sources, 'test/bundle.ts', 'package-lock.json']) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(PROJECT, file)))
      .update('\0');
  }
  const target = join(CACHE, hash.digest('hex').slice(0, 16));
  if (existsSync(target)) return target;
  // What was bundled of other sources serves nobody any more, unless another run of the tests is at work.
  mkdirSync(CACHE, { recursive: true });
  const others = readdirSync(CACHE).map((name) => join(CACHE, name));
  const made = mkdtempSync(join(CACHE, 'new-'));
  bundler().buildSync({
    absWorkingDir: PROJECT,
    entryPoints: sources.filter((file) => ENTRIES.test(file)),
    outbase: PROJECT,
    outdir: made,
    bundle: true,
    splitting: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: EXTERNAL,
    // A program that is only imported still runs.
    ignoreAnnotations: true,
    logLevel: 'error',
  });
  // Some programs are started as another user.
  chmodSync(made, 0o755);
  writeFileSync(join(made, 'package.json'), '{"type":"module"}\n');
  symlinkSync(join(PROJECT, 'node_modules'), join(made, 'node_modules'));
  try {
    renameSync(made, target);
  } catch (error) {
    // Another run was quicker and has made the same.
    rmSync(made, { recursive: true });
    if (!existsSync(target)) throw error;
  }
  for (const other of others.filter(isOld)) rmSync(other, { recursive: true, force: true });
  return target;
}

/** Whether no run of the tests can still be at work with it. */
function isOld(folder: string): boolean {
  const stat = statSync(folder, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > DAY_MS;
}

/** What the tests need of esbuild, which comes with tsx. */
interface Bundler {
  buildSync(options: Record<string, unknown>): unknown;
  transformSync(text: string, options: Record<string, unknown>): { readonly code: string };
}

function bundler(): Bundler {
  const require = createRequire(import.meta.url);
  return createRequire(require.resolve('tsx'))('esbuild') as Bundler;
}
