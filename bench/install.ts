/**
 * The packages of the peers: installs them where they are missing, and remembers why one could not be.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MODULES = join(import.meta.dirname, 'node_modules');
/** Reasons by package, for the runs that come later. */
const REASONS = join(MODULES, '.missing.json');
const NPM_MS_MAX = 1_800_000;
/** So much of what npm says is shown. */
const REASON_LINES_MAX = 3;

/** What of `package.json` is read here. */
interface Manifest {
  readonly optionalDependencies: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
}

/** Somebody who needs packages. */
interface Packaged {
  readonly packages: readonly string[];
}

/** Installs what `bench/package.json` names, unless that was tried before. What cannot be had is left out. */
export function installPeers(): void {
  if (existsSync(join(MODULES, '.package-lock.json')) || existsSync(REASONS)) return;
  console.log('Installing the peers into bench/node_modules. An addon may have to be compiled, which takes minutes.\n');
  // Not `npm ci`: a lock file does not name the packages of platforms for which there was nothing to be had when it was written.
  npm(['install', '--no-save'], import.meta.dirname);
  const { optionalDependencies } = readJson<Manifest>(join(import.meta.dirname, 'package.json'));
  const missing = Object.keys(optionalDependencies).filter((name) => !isInstalled(name));
  mkdirSync(MODULES, { recursive: true });
  const reasons = missing.map((name) => [name, reasonFor(name)]);
  if (reasons.length > 0) writeFileSync(REASONS, JSON.stringify(Object.fromEntries(reasons)));
}

/** The version of each package of a contestant that is installed, such as `lmdb 3.5.6`. */
export function versionsOf({ packages }: Packaged): string[] {
  return packages
    .filter(isInstalled)
    .map((name) => `${name} ${readJson<{ version: string }>(join(MODULES, name, 'package.json')).version}`);
}

/** Why a package of a contestant is not there; undefined if all are. */
export function missingPackage({ packages }: Packaged): string | undefined {
  const missing = packages.filter((name) => !isInstalled(name));
  if (missing.length === 0) return undefined;
  const reasons = existsSync(REASONS) ? readJson<Record<string, string>>(REASONS) : {};
  const again = 'Remove bench/node_modules to try again.';
  return `${missing.map((name) => `${name} could not be installed: ${reasons[name] ?? 'npm left it out'}`).join('; ')}. ${again}`;
}

function isInstalled(name: string): boolean {
  return existsSync(join(MODULES, name, 'package.json'));
}

/** npm leaves out an optional package without a word; asked for it alone, it says what is wrong. */
function reasonFor(name: string): string {
  const { optionalDependencies, allowScripts } = readJson<Manifest>(join(import.meta.dirname, 'package.json'));
  const folder = mkdtempSync(join(tmpdir(), 'everpod-bench-'));
  try {
    const dependencies = { [name]: optionalDependencies[name] };
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies, allowScripts }));
    const { status, said } = npm(['install', '--no-package-lock'], folder);
    if (status === 0) return 'npm left it out, and installs it when asked for it alone';
    const lines = said.split('\n').flatMap((line) => /^npm error (?!code|path|A complete)(.+)$/.exec(line)?.[1] ?? []);
    return lines.slice(0, REASON_LINES_MAX).join(' ') || `npm failed with exit code ${status}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function npm(args: readonly string[], cwd: string): { status: number | null; said: string } {
  const { status, stderr, error } = spawnSync('npm', [...args, '--no-audit', '--no-fund'], {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
    timeout: NPM_MS_MAX,
  });
  return { status, said: stderr || String(error ?? '') };
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}
