/**
 * Rounds: every work by every contestant, alternating, each in a process of its own; as often as asked.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inFolder } from './measure.ts';
import type { Contestant } from './peers/all.ts';
import { runChild } from './processes.ts';
import type { Job, Metrics, Sizes, WorkName } from './works.ts';

/** In the order in which they run: the first fills the folder that the next ones read, the last may leave it changed. */
const ORDER: readonly WorkName[] = [
  'load',
  'load-power',
  'open',
  'iterate',
  'gets',
  'update',
  'single',
  'crawl-step',
  'crawl-batch',
  'fill',
  'next',
  'next-none',
  'stall',
];

/** What was measured, a value for each round: by contestant, then by metric. */
export type Samples = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;

/** Takes out those that do not work here. Answers why not, by name. */
export async function probe(contestants: readonly Contestant[], sizes: Sizes): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  for (const contestant of contestants) {
    try {
      await inFolder((folder) => runChild(jobOf(contestant, 'probe', folder, sizes)));
    } catch (error) {
      if (contestant.role !== 'peer') throw error;
      failures.set(contestant.name, reasonOf(error));
    }
  }
  return failures;
}

/** Measures everything. A result that is wrong, or a measurement that fails, ends the bench. */
export async function measureAll(
  contestants: readonly Contestant[],
  sizes: Sizes,
  rounds: number,
  tell: (work: string, who: string) => void,
): Promise<Samples> {
  const samples = new Map<string, Map<string, number[]>>();
  const note = (id: string, metrics: Metrics): void => {
    const known = samples.get(id) ?? new Map<string, number[]>();
    samples.set(id, known);
    for (const [name, value] of Object.entries(metrics)) known.set(name, [...(known.get(name) ?? []), value]);
  };
  for (let round = 1; round <= rounds; round++) {
    await inFolder(async (folder) => {
      const empty: Job = { ...jobOf(undefined, 'probe', folder, sizes) };
      note('empty', await runChild(empty));
      for (const work of ORDER) {
        for (const contestant of contestants) {
          if (contestant.skips?.includes(work) === true) continue;
          tell(`round ${round} of ${rounds}: ${work}`, contestant.name);
          note(contestant.id, await measured(contestant, jobOf(contestant, work, folder, sizes)));
        }
      }
    });
  }
  return samples;
}

async function measured(contestant: Contestant, job: Job): Promise<Metrics> {
  try {
    return await runChild(job);
  } catch (error) {
    const what = `${contestant.name} failed in "${job.work}", or gave a wrong result: ${reasonOf(error)}`;
    throw new Error(what, { cause: error });
  }
}

function jobOf(contestant: Contestant | undefined, work: WorkName, root: string, sizes: Sizes): Job {
  const id = contestant?.id ?? 'empty';
  const folder = join(root, id);
  if (work === 'probe') rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const tasks = Math.min(sizes.tasks, contestant?.tasksMax ?? sizes.tasks);
  return { contestant: id, work, folder, everpodFolder: join(root, 'everpod'), sizes: { ...sizes, tasks } };
}

/** The line of a child's last words that says most: the error, not the stack. */
function reasonOf(error: unknown): string {
  const lines = String((error as Error).message).split('\n');
  return (lines.find((line) => /^\s*\w*Error\b/.test(line)) ?? lines[0] ?? '').trim();
}
