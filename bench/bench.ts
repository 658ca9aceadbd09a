/**
 * `npm run bench`: what everpod costs on this machine, beside other stores and the raw limits, measured in the same run.
 *
 * `-- --entries N` sets the size (default 1,000,000), `-- --rounds N` how often everybody has his turn (default 3), `-- --quick` takes a
 * fiftieth and one round, `-- --write` puts the tables into `docs/performance.md` and `docs/durability.md`.
 *
 * `-- --huge` measures everpod alone as it grows, at `--sizes` (default 100,000 to 20,000,000). `-- --shared` measures what several processes on
 * one store cost, alone; the plain bench does so, too. `-- --steering [TASKS] [ROUNDS]` measures what groups, breaker, priorities, outputs and
 * blame cost. `-- --profile` says where everpod's time goes.
 */
import { readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { durabilityTable } from './durability.ts';
import { HUGE_SIZES, hugeTable } from './huge.ts';
import { installPeers, missingPackage, versionsOf } from './install.ts';
import { CONTESTANTS, type Contestant } from './peers/all.ts';
import { bundleChild, runProfileChild } from './processes.ts';
import { type Report, report } from './report.ts';
import { measureAll, probe } from './rounds.ts';
import { rowsOf } from './rows.ts';
import { type SharedSizes, sharedTable } from './shared.ts';
import type { Sizes } from './works.ts';

const ENTRIES = 1_000_000;
/** Fewer would not fill the batches. */
const ENTRIES_MIN = 2_000;
const ROUNDS = 3;
/** What `statfs` calls a file system in memory, where an fsync costs nothing. */
const TMPFS = 0x01021994;

const { values } = parseArgs({
  options: {
    entries: { type: 'string' },
    quick: { type: 'boolean' },
    rounds: { type: 'string' },
    write: { type: 'boolean' },
    huge: { type: 'boolean' },
    shared: { type: 'boolean' },
    profile: { type: 'boolean' },
    steering: { type: 'boolean' },
    sizes: { type: 'string' },
  },
  // Of --steering: how many tasks, and how many rounds.
  allowPositionals: true,
});
const quick = values.quick === true;
const entries = Number(values.entries ?? (quick ? ENTRIES / 50 : ENTRIES));
if (!Number.isSafeInteger(entries) || entries < ENTRIES_MIN)
  throw new Error(`--entries must be at least ${ENTRIES_MIN}.`);

const rounds = Number(values.rounds ?? (quick ? 1 : ROUNDS));
if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error('--rounds must be at least 1.');

const sizes: Sizes = {
  entries,
  updates: quick ? 10_000 : 100_000,
  singles: quick ? 200 : 1000,
  tasks: quick ? 5_000 : 100_000,
  nextTasks: quick ? 2_000 : 10_000,
};
const sharedSizes: SharedSizes = quick
  ? { tasks: 1_000, updates: 500, rounds: 1 }
  : { tasks: 10_000, updates: 2_000, rounds: ROUNDS };
const words = process.argv.slice(2);
const command = ['npm run bench', ...(words.length > 0 ? ['--', ...words] : [])].join(' ');
const memoryGiB = Math.round(totalmem() / 2 ** 30);
const machine = `Node ${process.version}, ${process.platform} ${release()}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${memoryGiB} GiB`;

let underWay = '';
const loadAtStart = loadavg()[0] ?? 0;

console.log(`${machine}; load average ${loadAtStart.toFixed(1)}\n`);
if (loadAtStart > cpus().length / 2) {
  console.log('This machine is busy with other things: expect times that differ from run to run, and long stalls.\n');
}
if (statfsSync(tmpdir()).type === TMPFS) {
  console.log(`The temporary folder is in memory, where fsync costs nothing; set TMPDIR to a folder on a disk.\n`);
}
if (values.steering === true) {
  await import('./steering.ts');
  process.exit();
}
if (values.profile === true) {
  await profile();
  process.exit();
}
if (values.huge === true) {
  await measureHuge();
  process.exit();
}
installPeers();
bundleChild();
if (values.shared === true) {
  await measureShared();
  process.exit();
}
const contestants = await available();
const configurations = contestants.map(
  (each) => `- ${[each.name, ...versionsOf(each).map((it) => `(${it})`)].join(' ')}: ${each.configuration}.`,
);

const durability = await durabilityTable(quick ? 2000 : 20_000);
console.log(`${durability}\n`);

const samples = await measureAll(contestants, sizes, rounds, progress);
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
const result = report(rowsOf(sizes), contestants, samples);
console.log(`${performanceText(result)}\n`);
await measureShared();

if (values.write === true) {
  const measured = `Measured with \`${command}\` on ${machine}.`;
  replaceBetween('docs/durability.md', 'bench:durability', `${durability}\n\n${measured}`);
  replaceBetween('docs/performance.md', 'bench:performance', performanceText(result));
}

/** everpod alone, under a profiler. */
async function profile(): Promise<void> {
  bundleChild();
  const table = await runProfileChild(entries);
  console.log(table);
  if (values.write === true) {
    const measured = `Measured with \`${command}\` on ${machine}: ${entries.toLocaleString('en')} entries.`;
    replaceBetween('docs/performance.md', 'bench:profile', `${table}\n${measured}`);
  }
}

/** everpod alone, at one size after the other. */
async function measureHuge(): Promise<void> {
  const chosen = values.sizes?.split(',').map(Number) ?? HUGE_SIZES;
  if (!chosen.every((size) => Number.isSafeInteger(size) && size >= ENTRIES_MIN))
    throw new Error(`--sizes must be whole numbers from ${ENTRIES_MIN}, with commas between them.`);
  bundleChild();
  const table = await hugeTable(chosen, (what) => console.error(what));
  console.log(table);
  if (values.write === true) {
    replaceBetween('docs/performance.md', 'bench:huge', `${table}\n\nMeasured with \`${command}\` on ${machine}.`);
  }
}

/** Several processes on one store. */
async function measureShared(): Promise<void> {
  const found = await sharedTable(sharedSizes, progress);
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  console.log(found);
  if (values.write === true) {
    const measured = `Measured with \`${command}\` on ${machine}. Load average at the start: ${loadAtStart.toFixed(1)}.`;
    replaceBetween('docs/performance.md', 'bench:shared', `${found}\n\n${measured}`);
  }
}

/** Everybody who works here; says who does not, and why. */
async function available(): Promise<readonly Contestant[]> {
  const missing = new Map(
    CONTESTANTS.flatMap((each) => {
      const why = missingPackage(each);
      return why === undefined ? [] : [[each.name, why] as const];
    }),
  );
  const installed = CONTESTANTS.filter(({ name }) => !missing.has(name));
  for (const [name, why] of await probe(installed, sizes)) missing.set(name, why);
  for (const [name, why] of missing) console.log(`Without ${name}: ${why}`);
  if (missing.size > 0) console.log('');
  return CONTESTANTS.filter(({ name }) => !missing.has(name));
}

function performanceText({ summary, details, missed }: Report): string {
  const packages = [...new Set(contestants.flatMap(versionsOf))].join(', ') || 'none';
  const runs = rounds === 1 ? 'one run' : `medians of ${rounds} alternating runs, with minimum and maximum`;
  const goalsFor = entries === ENTRIES ? '' : ` The goals are meant for ${ENTRIES.toLocaleString('en')} entries.`;
  return [
    `Measured with \`${command}\` on ${machine}. Packages: ${packages}. ${entries.toLocaleString('en')} entries; ${runs}. Load average at the start: ${loadAtStart.toFixed(1)}.${goalsFor}`,
    `### everpod against the best peer and the raw limit\n\n${summary}`,
    `### Goals that are not met\n\n${missed}`,
    `### Everybody\n\n${details}`,
    `### Configurations\n\n${configurations.join('\n')}`,
  ].join('\n\n');
}

/** On a terminal one line that is overwritten; elsewhere a line for each work. */
function progress(work: string, who: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${work}, ${who}`);
  else if (work !== underWay) process.stderr.write(`${work}\n`);
  underWay = work;
}

function replaceBetween(document: string, marker: string, text: string): void {
  const path = join(import.meta.dirname, '..', document);
  const before = readFileSync(path, 'utf8');
  const [start, end] = [`<!-- ${marker} -->`, `<!-- /${marker} -->`];
  const [from, to] = [before.indexOf(start), before.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${document} has no place for the table.`);
  writeFileSync(path, `${before.slice(0, from)}${start}\n\n${text}\n\n${before.slice(to)}`);
}
