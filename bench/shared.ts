/**
 * `npm run bench -- --shared`: what it costs that several processes use one store: claims per second, and the latency of one update.
 *
 * Each of 1, 4 and 8 processes claims a task and marks it as done, one after the other, until nothing is left; then each adds one to a counter
 * that all share. Everybody takes turns, round by round. Each task must have been handed out once, and the counter must be exact.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { missingPackage, versionsOf } from './install.ts';
import { figure, inFolder, quantile, table } from './measure.ts';
import { SHARED_CONTESTANTS, type SharedContestant } from './peers/shared.ts';
import { sharedRedis } from './peers/shared-redis.ts';
import { CHILDREN } from './processes.ts';
import type { SharedJob, SharedWord } from './shared-child.ts';

const PROCESSES = [1, 4, 8];
/** A step that takes longer than this is taken for hanging. */
const STEP_MS_MAX = 600_000;

export interface SharedSizes {
  readonly tasks: number;
  /** For each process. */
  readonly updates: number;
  readonly rounds: number;
}

/** What one run gave: tasks in a second, and the latencies of updates in microseconds. */
interface Run {
  readonly perSecond: number;
  readonly half: number;
  readonly most: number;
}

interface Row {
  readonly title: string;
  readonly pick: (run: Run) => number;
  readonly isMoreBetter: boolean;
}

const ROWS: readonly Row[] = [
  { title: 'tasks claimed and done in a second', pick: ({ perSecond }) => perSecond, isMoreBetter: true },
  { title: 'one update, p50, µs', pick: ({ half }) => half, isMoreBetter: false },
  { title: 'one update, p99, µs', pick: ({ most }) => most, isMoreBetter: false },
];

/** Measures everybody who works here. Answers the tables as Markdown. */
export async function sharedTable(sizes: SharedSizes, tell: (work: string, who: string) => void): Promise<string> {
  const missing = SHARED_CONTESTANTS.flatMap((each) => {
    const why = missingPackage(each) ?? each.missing?.();
    return why === undefined ? [] : [{ name: each.name, why }];
  });
  const contestants = SHARED_CONTESTANTS.filter(({ name }) => missing.every((other) => other.name !== name));
  const runs = new Map<string, Run[]>();
  for (let round = 1; round <= sizes.rounds; round++) {
    for (const processes of PROCESSES) {
      for (const contestant of contestants) {
        tell(`round ${round} of ${sizes.rounds}: shared by ${processes}`, contestant.name);
        const run = await inFolder((folder) => measure(contestant, folder, processes, sizes));
        const name = `${contestant.id} ${processes}`;
        runs.set(name, [...(runs.get(name) ?? []), run]);
      }
    }
  }
  return textOf(contestants, runs, sizes, missing);
}

async function measure(
  contestant: SharedContestant,
  root: string,
  processes: number,
  { tasks, updates }: SharedSizes,
): Promise<Run> {
  const folder = join(root, 'shared');
  mkdirSync(folder);
  const start = (role: SharedJob['role'], index: number): Child =>
    new Child({ role, contestant: contestant.id, folder, index, tasks, updates });
  const server = contestant.isServed ? start('serve', 0) : undefined;
  const children: Child[] = server === undefined ? [] : [server];
  try {
    await server?.word('ready');
    const fill = start('fill', 0);
    children.push(fill);
    await fill.ended;
    const workers = Array.from({ length: processes }, (_, index) => start('work', index));
    children.push(...workers);
    await Promise.all(workers.map((worker) => worker.word('ready')));
    const drained = await step(workers, 'drained');
    const updated = await step(workers, 'updated');
    for (const worker of workers) worker.go();
    await Promise.all(workers.map(({ ended }) => ended));
    const check = start('check', 0);
    children.push(check);
    const { counts } = await check.word('counted');
    await check.ended;
    server?.go();
    await server?.ended;
    const handedOut = drained.flatMap((word) => word.tasks).sort((a, b) => a - b);
    const wrong = [
      handedOut.length === tasks && handedOut.every((task, index) => task === index) ? '' : 'a task twice, or never',
      counts.done === tasks && counts.tries === tasks && counts.claims === 0 ? '' : JSON.stringify(counts),
      counts.counter === processes * updates ? '' : `a counter at ${counts.counter}`,
    ].filter((what) => what !== '');
    if (wrong.length > 0) throw new Error(`${contestant.name} gave a wrong result: ${wrong.join('; ')}`);
    const times = updated.flatMap((word) => word.times);
    return {
      perSecond: tasks / (Math.max(...drained.map(({ elapsedMs }) => elapsedMs)) / 1000),
      half: quantile(times, 0.5),
      most: quantile(times, 0.99),
    };
  } finally {
    for (const child of children) child.kill();
  }
}

/** All workers do the next step at the same time. */
function step<W extends SharedWord['what']>(
  workers: readonly Child[],
  what: W,
): Promise<Extract<SharedWord, { what: W }>[]> {
  for (const worker of workers) worker.go();
  return Promise.all(workers.map((worker) => worker.word(what)));
}

/** A process that was started. */
class Child {
  /** Resolves when it has ended well. */
  readonly ended: Promise<void>;
  readonly #process: ChildProcess;
  readonly #role: string;
  readonly #words: SharedWord[] = [];
  #wake: () => void = () => {};

  constructor(job: SharedJob) {
    this.#role = job.role;
    this.#process = fork(join(CHILDREN, 'shared-child.mjs'), [JSON.stringify(job)], {
      cwd: import.meta.dirname,
      execArgv: [],
      serialization: 'advanced',
    });
    this.#process.on('message', (word) => {
      this.#words.push(word as SharedWord);
      this.#wake();
    });
    this.ended = new Promise((resolve, reject) => {
      this.#process.on('exit', (code, signal) => {
        if (code === 0) resolve();
        else reject(new Error(`${job.contestant}: the process that was to ${job.role} ended with ${signal ?? code}.`));
      });
    });
    this.ended.catch(() => {});
  }

  go(): void {
    this.#process.send('go');
  }

  /** Ends it, whatever it does. One that serves may have started a server, and ends that when nobody is connected to it any more. */
  kill(): void {
    if (this.#role !== 'serve') this.#process.kill('SIGKILL');
    else if (this.#process.connected) this.#process.disconnect();
  }

  /** Waits until it says this. */
  async word<W extends SharedWord['what']>(what: W): Promise<Extract<SharedWord, { what: W }>> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.#role} hangs: it did not say "${what}".`)), STEP_MS_MAX);
    });
    try {
      for (;;) {
        const word = this.#words.shift();
        if (word?.what === what) return word as Extract<SharedWord, { what: W }>;
        const next = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        // Its end without having said it is a failure, also a good end.
        const ended = this.ended.then(() => Promise.reject(new Error(`${this.#role} ended before "${what}".`)));
        await Promise.race([next, ended, tooLate]);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

function textOf(
  contestants: readonly SharedContestant[],
  runs: ReadonlyMap<string, readonly Run[]>,
  { tasks, updates, rounds }: SharedSizes,
  missing: readonly { readonly name: string; readonly why: string }[],
): string {
  const own = contestants.filter(({ id }) => id.startsWith('everpod'));
  const peers = contestants.filter((each) => !own.includes(each));
  const rows = ROWS.flatMap((row) =>
    PROCESSES.map((processes) => {
      const of = ({ id }: SharedContestant): number[] => (runs.get(`${id} ${processes}`) ?? []).map(row.pick);
      const medians = (some: readonly SharedContestant[]): { name: string; value: number }[] =>
        some
          .map((each) => ({ name: each.name, value: quantile(of(each), 0.5) }))
          .sort((a, b) => (row.isMoreBetter ? b.value - a.value : a.value - b.value));
      const [mine, best] = [medians(own.slice(0, 1))[0], medians(peers)[0]];
      const against = mine === undefined || best === undefined ? '–' : ratio(row, mine.value, best);
      const title = `${row.title}, ${processes} ${processes === 1 ? 'process' : 'processes'}`;
      return [title, ...contestants.map((each) => spread(of(each))), against];
    }),
  );
  const head = ['', ...contestants.map(({ name }) => name), 'everpod against the best peer'];
  const versions = [
    ...new Set(contestants.flatMap(versionsOf)),
    ...(contestants.some(({ id }) => id === 'redis') ? [sharedRedis.version()] : []),
  ];
  const count = (value: number): string => value.toLocaleString('en');
  return [
    table(head, rows),
    [
      `${count(tasks)} tasks; ${count(updates)} updates by each process; ${rounds === 1 ? 'one run' : `medians of ${rounds} alternating rounds, with minimum and maximum`}. Packages: ${versions.join(', ') || 'none'}.`,
      ...missing.map(({ name, why }) => `Without ${name}: ${why}`),
    ].join(' '),
    contestants.map(({ name, configuration }) => `- ${name}: ${configuration}.`).join('\n'),
  ].join('\n\n');
}

function ratio({ isMoreBetter }: Row, own: number, best: { readonly name: string; readonly value: number }): string {
  const times = isMoreBetter ? own / best.value : best.value / own;
  return `${figure(times)} × of ${best.name}${times > 1 ? '' : ': **not ahead**'}`;
}

function spread(found: readonly number[]): string {
  const middle = figure(quantile(found, 0.5));
  return found.length === 1 ? middle : `${middle} (${figure(Math.min(...found))}–${figure(Math.max(...found))})`;
}
