/**
 * `npm run bench -- --huge`: what a tracker of everpod costs as it grows, up to twenty million tasks: built, opened, crawled on, folded and verified.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { figure, inFolder } from './measure.ts';
import { runHugeChild } from './processes.ts';

/** The sizes that are measured where none are given. */
export const HUGE_SIZES: readonly number[] = [100_000, 1_000_000, 5_000_000, 20_000_000];

export type HugePhase = 'build' | 'open' | 'crawl' | 'verify';
const PHASES: readonly HugePhase[] = ['build', 'open', 'crawl', 'verify'];

/** What a child process is told. */
export interface HugeJob {
  readonly phase: HugePhase;
  readonly folder: string;
  readonly entries: number;
}

const MEGABYTES = 1e-6;

const ROWS: readonly (readonly [metric: string, title: string, scale?: number])[] = [
  ['buildUs', 'add one task, everything synced and folded meanwhile, µs'],
  ['stallMs', 'longest stall of the event loop meanwhile, ms'],
  ['buildRss', 'memory of that process at its end, MB', MEGABYTES],
  ['bytes', 'on disk, MB', MEGABYTES],
  ['openMs', 'open to first value, ms'],
  ['openRss', 'memory after that, over an empty process, MB', MEGABYTES],
  ['rssAnEntry', 'the same for one task, bytes'],
  ['getUs', 'random value, µs'],
  ['hasUs', '`has` of an unknown key, µs'],
  ['addUs', '`addIfAbsent` of a known key, µs'],
  ['nextUs', 'next task, and mark it done, µs'],
  ['updateUs', 'one random nested update, µs'],
  ['syncMs', 'the sync after 10,000 of those, ms'],
  ['foldMs', 'close: fold, and save the index, ms'],
  ['verifyMs', 'verify everything, ms'],
  ['verifyRss', 'memory of that process, MB', MEGABYTES],
];

/** The table, a column for each size. */
export async function hugeTable(sizes: readonly number[], tell: (what: string) => void): Promise<string> {
  const columns: Record<string, number>[] = [];
  for (const entries of sizes) {
    columns.push(
      await inFolder(async (root) => {
        const folder = join(root, 'huge.pod');
        mkdirSync(folder);
        const metrics: Record<string, number> = {};
        for (const phase of PHASES) {
          tell(`${phase} ${entries.toLocaleString('en')}`);
          Object.assign(metrics, await runHugeChild({ phase, folder, entries }));
        }
        rmSync(folder, { recursive: true });
        return metrics;
      }),
    );
  }
  const head = ['', ...sizes.map((entries) => `${entries.toLocaleString('en')} tasks`)];
  const rows = ROWS.map(([metric, title, scale = 1]) => [
    title,
    ...columns.map((column) => figure((column[metric] ?? Number.NaN) * scale)),
  ]);
  return [head, head.map((_, at) => (at === 0 ? '---' : '---:')), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}
