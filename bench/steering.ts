/**
 * What it costs to steer a loop: groups, a breaker, priorities, outputs, blame, and tasks that are marked after a death, each beside the same
 * work without it. `npm run bench -- --steering [TASKS] [ROUNDS]`; the variants take turns, and the median of their rounds is printed. Processor
 * time is measured, of the program and of the system for it, because these differences are small beside what other programs do to a clock.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProgressTracker } from '../src/index.ts';

const [TASKS = 100_000, ROUNDS = 5] = process.argv
  .slice(2)
  .filter((word) => /^\d+$/.test(word))
  .map(Number);
/** Tasks that are in flight at a death. */
const IN_FLIGHT = 1_000;

const root = mkdtempSync(join(tmpdir(), 'everpod-steering-'));
let folders = 0;

type Tasks = ProgressTracker<object>;

/** Keys as a crawl has them, each of a host of its own. */
const keys = Array.from(
  { length: TASKS },
  (_, index) => `https://host-${index}.example/pages/of/the/site/${index}.html`,
);
const hostOf = (key: string): string => key.slice(8, key.indexOf('/', 8));
const line = { title: 'A page of the site', status: 200, links: ['a', 'b', 'c'] };

function newFolder(): string {
  return join(root, String(folders++));
}

/** A tracker with every task to do, all of it on the disk. */
function filled(priorityOf: (index: number) => number = () => 0): Tasks {
  const tasks = ProgressTracker.open<object>(newFolder());
  keys.forEach((key, index) => {
    tasks.addIfAbsent(key, undefined, { priority: priorityOf(index) });
  });
  tasks.sync();
  return tasks;
}

/** The processor time of this process so far. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Times the work, without what comes before and after it. Milliseconds. */
async function timed(tasks: Tasks, work: () => unknown): Promise<number> {
  const began = processorMs();
  await work();
  tasks.sync();
  const durationMs = processorMs() - began;
  const { path } = tasks;
  tasks.close();
  rmSync(path, { recursive: true });
  return durationMs;
}

async function paced(tasks: Tasks, options: object): Promise<void> {
  let taken = 0;
  for await (const key of tasks.tryKeys({ concurrency: 100, ...options })) {
    taken++;
    queueMicrotask(() => tasks.markDone(key));
  }
  if (taken !== TASKS) throw new Error(`${taken} of ${TASKS} tasks were handed out.`);
}

/** What a process leaves that died with tasks in flight, or that closed; opened with a limit of deaths. */
function opened(ending: 'died' | 'closed'): Promise<number> {
  const tasks = filled();
  for (const _ of tasks.tryKeys({ limit: IN_FLIGHT }));
  const path = newFolder();
  if (ending === 'died') cpSync(tasks.path, path, { recursive: true });
  tasks.close();
  if (ending === 'closed') cpSync(tasks.path, path, { recursive: true });
  rmSync(tasks.path, { recursive: true });
  const began = processorMs();
  const again = ProgressTracker.open<object>(path);
  const durationMs = processorMs() - began;
  again.close();
  rmSync(path, { recursive: true });
  return Promise.resolve(durationMs);
}

interface Variant {
  readonly name: string;
  /** The variant that it is compared with. */
  readonly beside?: string;
  readonly run: () => Promise<number>;
}

const handOut = (tasks: Tasks): void => {
  for (const key of tasks.tryKeys()) tasks.markDone(key);
};
const failAll = (tasks: Tasks, options: object): void => {
  const error = new Error('HTTP 429');
  for (const key of tasks.tryKeys()) tasks.fail(key, error, options);
};

const variants: readonly Variant[] = [
  {
    name: 'tryKeys, markDone',
    run: () => {
      const tasks = filled();
      return timed(tasks, () => handOut(tasks));
    },
  },
  {
    name: 'with priorities, 21 of them',
    beside: 'tryKeys, markDone',
    run: () => {
      const tasks = filled((index) => (index % 21) - 10);
      return timed(tasks, () => handOut(tasks));
    },
  },
  {
    name: 'with a line of output each',
    beside: 'tryKeys, markDone',
    run: () => {
      const tasks = filled();
      const output = tasks.output('lines.jsonl');
      return timed(tasks, () => {
        for (const key of tasks.tryKeys()) {
          output.write(key, line);
          tasks.markDone(key);
        }
      });
    },
  },
  {
    name: 'tryKeys, fail',
    run: () => {
      const tasks = filled();
      return timed(tasks, () => failAll(tasks, {}));
    },
  },
  {
    name: 'fail with blame, so that the try is given back',
    beside: 'tryKeys, fail',
    run: () => {
      const tasks = filled();
      return timed(tasks, () => failAll(tasks, { blame: 'host' }));
    },
  },
  {
    name: 'paced, concurrency 100',
    run: () => {
      const tasks = filled();
      return timed(tasks, () => paced(tasks, {}));
    },
  },
  {
    name: `paced, ${TASKS.toLocaleString('en')} groups`,
    beside: 'paced, concurrency 100',
    run: () => {
      const tasks = filled();
      return timed(tasks, () => paced(tasks, { group: hostOf, perGroup: 1 }));
    },
  },
  {
    name: 'paced, breaker',
    beside: 'paced, concurrency 100',
    run: () => {
      const tasks = filled();
      return timed(tasks, () => paced(tasks, { breaker: { failures: 10 } }));
    },
  },
  { name: 'open', run: () => opened('closed') },
  { name: `open after a death, ${IN_FLIGHT} in flight`, beside: 'open', run: () => opened('died') },
];

const times = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const { name, run } of variants) {
    process.stderr.write(`round ${round + 1} of ${ROUNDS}: ${name}\n`);
    times.get(name)?.push(await run());
  }
}
rmSync(root, { recursive: true, force: true });

function median(name: string): number {
  return (times.get(name) as number[]).toSorted((a, b) => a - b)[ROUNDS >> 1] as number;
}

console.log(
  `| ${TASKS.toLocaleString('en')} tasks | µs for a task | spread | beside the same without |\n|---|---|---|---|`,
);
for (const { name, beside } of variants) {
  const micros = (ms: number): string => ((ms * 1000) / TASKS).toFixed(2);
  const all = times.get(name) as number[];
  const ratio = beside === undefined ? '' : `${(median(name) / median(beside)).toFixed(2)} x`;
  console.log(
    `| ${name} | ${micros(median(name))} | ${micros(Math.min(...all))} to ${micros(Math.max(...all))} | ${ratio} |`,
  );
}
