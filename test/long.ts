/**
 * `npm run test:long`: every suite at the size `long`. That takes an hour or two, so the run keeps its own state in a tracker: kill it, and the next one
 * carries on with what is left. What was run on other sources counts as not done.
 *
 * Options: `--at-once N` test files run side by side; `--write` puts the table of what is done into `docs/testing.md`, and runs nothing.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { onExit } from 'signal-exit';
import { ProgressTracker } from '../src/index.ts';

const PROJECT = fileURLToPath(new URL('../', import.meta.url));
const STATE = join(PROJECT, 'long-run');
const DOCUMENT = join(PROJECT, 'docs/testing.md');
const [START, END] = ['<!-- long -->', '<!-- /long -->'];
/** Of what a suite said the table has its last lines, which are sums where it has any. */
const SAID_MAX = 4;
const SAID_CHARACTERS_MAX = 160;
/** The name of the task that runs all files which do the same at every size. */
const OTHERS = 'all other test files';

interface Run {
  /** What was run: the hashes of `src`, `test` and the lock file, as git knows them. */
  sources: string;
  commit: string;
  seconds: number;
  passed: number;
  skipped: number;
  /** What the suites said about how much they did. */
  said: string[];
}

/** The part of vitest's JSON report that is looked at. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const { values: options } = parseArgs({
  options: {
    'at-once': { type: 'string', default: String(Math.ceil(availableParallelism() * 1.5)) },
    write: { type: 'boolean' },
  },
});

mkdirSync(STATE, { recursive: true });
using tasks = ProgressTracker.open<Partial<Run>>(join(STATE, 'runs.pod'), { maxDeaths: 0 });
if (options.write === true) writeTable();
else await runAll(Number(options['at-once']));

async function runAll(concurrency: number): Promise<void> {
  const changed = git('status', '--porcelain', '--', 'src', 'test', 'package-lock.json');
  if (changed !== '') throw new Error(`Commit first, so that what is noted as run is what was run:\n${changed}`);
  const sources = git('rev-parse', 'HEAD:src', 'HEAD:test', 'HEAD:package-lock.json').replaceAll('\n', ' ');
  const commit = git('rev-parse', '--short', 'HEAD');

  const files = readdirSync(join(PROJECT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${name.replaceAll('\\', '/')}`)
    .sort();
  const sized = files.filter((file) => hasSizes(join(PROJECT, file)));
  const names = [...sized, OTHERS];
  for (const name of tasks.keys()) if (!names.includes(name)) tasks.delete(name);
  tasks.addManyIfAbsent(names);
  for (const [name, task] of tasks) {
    if (task._done && task.sources !== sources) tasks.markNotDone(name);
    // What took longest the last time begins first, so that the end is not spent waiting for it.
    tasks.setPriority(name, Math.min(10, Math.floor((task.seconds ?? 0) / 300)));
  }

  say(`${tasks.numTodo()} of ${tasks.size} to do, ${concurrency} side by side`);
  for await (const name of tasks.tryKeys({ concurrency })) {
    const chosen = name === OTHERS ? files.filter((file) => !sized.includes(file)) : [name];
    void run(name, chosen, { sources, commit });
  }
  const failed = [...tasks.failedKeys()];
  for (const name of failed) say(`failed: ${name}: ${tasks.get(name)?._error?.message}`);
  say(`${tasks.numDone()} of ${tasks.size} done, ${failed.length} failed`);
  if (failed.length > 0) process.exitCode = 1;
}

/** Runs test files and notes how that ended. Never rejects: the loop waits for the task, not for this. */
async function run(name: string, files: readonly string[], version: Pick<Run, 'sources' | 'commit'>): Promise<void> {
  const place = join(STATE, name.replaceAll(/[^\w.-]/g, '-'));
  const startedMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedMs) / 1000);
  say(`begun: ${name}`);
  try {
    rmSync(`${place}.json`, { force: true });
    const vitest = [join(PROJECT, 'node_modules/vitest/vitest.mjs'), 'run', ...files];
    const child = spawn(
      process.execPath,
      [...vitest, '--reporter=default', '--reporter=json', `--outputFile=${place}.json`],
      {
        cwd: PROJECT,
        env: { ...process.env, EVERPOD_TEST_SIZE: 'long' },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const forget = onExit(() => {
      child.kill();
    });
    const log = createWriteStream(`${place}.log`);
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    const [code] = (await once(child, 'close')) as [number | null];
    forget();
    log.end();
    await once(log, 'close');
    const { passed, skipped, failures } = counts(JSON.parse(readFileSync(`${place}.json`, 'utf8')) as Report);
    if (failures.length > 0 || passed === 0 || code !== 0) {
      throw new Error(failures.join('; ') || `vitest ended with ${code} after ${passed} tests`);
    }
    const said = saidIn(stripVTControlCharacters(readFileSync(`${place}.log`, 'utf8')));
    tasks.markDone(name, { ...version, seconds: seconds(), passed, skipped, said });
    say(`done:  ${name}: ${passed} passed, ${skipped} skipped, ${seconds()} s`);
  } catch (error) {
    tasks.fail(name, error);
    say(`FAILED: ${name} after ${seconds()} s; see ${place}.log`);
  }
}

function counts({ testResults }: Report): { passed: number; skipped: number; failures: string[] } {
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  );
  return {
    passed: tests.filter(({ status }) => status === 'passed').length,
    skipped: tests.filter(({ status }) => status !== 'passed' && status !== 'failed').length,
    failures: [
      ...tests.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
      ...broken.map(({ name, message }) => `${name}: ${message}`),
    ],
  };
}

/** The lines that tests printed: vitest puts them between a head and an empty line. */
function saidIn(output: string): string[] {
  return [...output.matchAll(/^stdout \| .*\n((?:.+\n)+)/gm)].flatMap(([, lines = '']) => lines.trimEnd().split('\n'));
}

/** Whether a test file, or what it imports from `test`, asks for the size. */
function hasSizes(file: string, seen: Set<string> = new Set([join(PROJECT, 'test/size.ts')])): boolean {
  if (seen.has(file)) return false;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  if (/\btestSize\b/.test(text)) return true;
  // From the beginning of a line, as tests hold imports in strings, too.
  const statements = text.matchAll(/^(?:import|export|\}).* from '(\.\.?\/[^']+\.ts)'/gm);
  const imports = [...statements].map(([, path = '']) => join(dirname(file), path));
  return imports.filter((path) => path.startsWith(join(PROJECT, 'test'))).some((path) => hasSizes(path, seen));
}

function writeTable(): void {
  const rows = [...tasks]
    .filter(([, task]) => task._done)
    .map(([name, { commit, seconds = 0, passed, skipped, said = [] }]) => {
      const what = said
        .filter((line) => !line.endsWith('plays it again'))
        .slice(-SAID_MAX)
        .map((line) => line.replace(/^# /, '').replaceAll('|', '\\|').slice(0, SAID_CHARACTERS_MAX))
        .join('<br>');
      const title = name === OTHERS ? name : `\`${name}\``;
      return `| ${title} | ${passed} | ${skipped} | ${seconds.toLocaleString('en')} | ${commit} | ${what} |`;
    });
  const table = [
    '| suite | passed | skipped | seconds | version | what it said |',
    '|---|---:|---:|---:|---|---|',
    ...rows,
  ];
  const text = readFileSync(DOCUMENT, 'utf8');
  const [from, to] = [text.indexOf(START), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${DOCUMENT} has no place for the table: ${START} … ${END}`);
  writeFileSync(DOCUMENT, `${text.slice(0, from)}${START}\n\n${table.join('\n')}\n\n${text.slice(to)}`);
}

function git(...words: string[]): string {
  return execFileSync('git', words, { cwd: PROJECT, encoding: 'utf8' }).trim();
}

function say(line: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
}
