/**
 * `everpod torture`: finds out whether pods survive `kill -9` on this machine and this disk.
 *
 * Child processes write and say what is safe, and are killed at random moments; what is in the folders afterwards is compared with
 * what they said. The seed decides what is written and when the blows are aimed, not the instant at which they land.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { PodError } from '../core/errors.ts';
import type { FileSystem } from '../disk/fs.ts';
import { makeEmptyFolder } from '../disk/make-folder.ts';
import { nodeSystem } from '../disk/system.ts';
import { type Witness, witnessSteps, witnessTasks } from './torture-check.ts';
import { below, type Numbers, numbersFrom } from './torture-workload.ts';
import type { WriterTask } from './torture-writer.ts';

/** The hidden command that a child runs; its task follows as JSON. */
export const WRITER_COMMAND = 'torture-writer';

export interface TortureOptions {
  /** A folder that is missing or empty. */
  readonly path: string;
  readonly seconds: number;
  readonly seed: number;
  /** The one folder to torture; all of them where it is left out. */
  readonly only?: string | undefined;
  /** Called once the folder is found to be fit. */
  readonly onStart?: (() => void) | undefined;
  /** Called some times a minute. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called between a kill and the next look at the folder; tests of the torture itself do their damage here. */
  readonly onKilled?: ((folder: string, kills: number) => void) | undefined;
}

export interface Progress {
  readonly seconds: number;
  readonly kills: number;
  /** Writes that were said to be safe. */
  readonly acknowledged: number;
  /** Comparisons of a whole folder with what it should hold. */
  readonly looks: number;
}

export interface Verdict extends Progress {
  readonly held: boolean;
  readonly seed: number;
  /** What was lost or wrong. */
  readonly findings: readonly string[];
  /** The folder is kept where something was found. */
  readonly kept: string | undefined;
}

/** One folder, with what is known of it. */
interface Victim {
  readonly name: string;
  readonly folder: string;
  readonly task: Omit<WriterTask, 'habits' | 'done'>;
  readonly witness: Witness;
}

const PROGRESS_MS = 5_000;
/** Kills come at most this long after a writer has opened its folder. */
const LIFE_MS = 400;
/** One writer in this many is read from while it writes. */
const WATCHED = 4;
/** One writer in this many is killed before it says that it has opened its folder, if it gets there. */
const EARLY = 5;
const SIDE_BY_SIDE = 2;

/**
 * Writes, kills and compares until the time is up or something is found.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` where the folder is not empty, `ERR_POD_DISK`
 */
export async function torture(options: TortureOptions): Promise<Verdict> {
  makeEmptyFolder(nodeSystem.fs, options.path);
  options.onStart?.();
  const run = new Torture(options);
  const verdict = await run.run();
  if (verdict.held) removeAll(nodeSystem.fs, options.path);
  return verdict;
}

class Torture {
  readonly #options: TortureOptions;
  readonly #victims: Victim[];
  readonly #findings: string[] = [];
  readonly #startedMs: number = performance.now();
  readonly #children: Set<ChildProcess> = new Set();
  #kills: number = 0;
  #looks: number = 0;

  constructor(options: TortureOptions) {
    this.#options = options;
    const { path, seed, only } = options;
    this.#victims = victims(path, seed).filter(({ name }) => only === undefined || name === only);
  }

  async run(): Promise<Verdict> {
    const { onProgress } = this.#options;
    const timer = setInterval(() => onProgress?.(this.#progress()), PROGRESS_MS);
    const onExit = (): void => {
      for (const child of this.#children) child.kill('SIGKILL');
    };
    process.on('exit', onExit);
    try {
      const lanes = Array.from({ length: Math.min(SIDE_BY_SIDE, this.#victims.length) }, (_, lane) =>
        this.#lane(numbersFrom(this.#options.seed + lane)),
      );
      await Promise.all(lanes);
    } finally {
      clearInterval(timer);
      onExit();
      process.off('exit', onExit);
    }
    const held = this.#findings.length === 0;
    const { seed, path } = this.#options;
    return { held, seed, ...this.#progress(), findings: this.#findings, kept: held ? undefined : path };
  }

  #progress(): Progress {
    let acknowledged = 0;
    for (const { witness } of this.#victims) acknowledged += witness.acknowledged;
    const seconds = Math.round((performance.now() - this.#startedMs) / 1000);
    return { seconds, kills: this.#kills, acknowledged, looks: this.#looks };
  }

  get #isOver(): boolean {
    return this.#findings.length > 0 || performance.now() - this.#startedMs > this.#options.seconds * 1000;
  }

  async #lane(numbers: Numbers): Promise<void> {
    do {
      const victim = this.#victims.shift() as Victim;
      try {
        await this.#round(victim, numbers);
      } finally {
        this.#victims.push(victim);
      }
    } while (!this.#isOver);
  }

  /** One life of a writer, its death, and the look at what it left. */
  async #round(victim: Victim, numbers: Numbers): Promise<void> {
    const end = await this.#killWriter(victim, numbers);
    if (end !== undefined) {
      this.#findings.push(`${victim.name}: a writer ended by itself: ${end}`);
      return;
    }
    this.#kills++;
    this.#options.onKilled?.(victim.folder, this.#kills);
    // A reader first, because it changes nothing: what is wrong is left as it was found.
    const isNew =
      victim.witness.acknowledged === 0 && nodeSystem.fs.stat(join(victim.folder, 'pod.json')) === undefined;
    if (!isNew) this.#look(victim, 'r');
    if (below(numbers, 2) === 0 && this.#findings.length === 0) this.#look(victim, 'w');
  }

  #look({ name, folder, witness }: Victim, mode: 'r' | 'w'): void {
    this.#looks++;
    try {
      const wrong = witness.look(folder, mode);
      if (wrong !== undefined) this.#findings.push(`${name}: ${wrong}`);
    } catch (error) {
      if (!(error instanceof PodError)) throw error;
      this.#findings.push(`${name}: ${error.code}: ${error.message}`);
    }
  }

  /** Returns how the writer ended where it was not our kill that ended it. */
  #killWriter(victim: Victim, numbers: Numbers): Promise<string | undefined> {
    const { witness } = victim;
    const task: WriterTask = { ...victim.task, habits: below(numbers, 2 ** 31), done: witness.done };
    const [entry = ''] = process.argv.slice(1);
    const child = spawn(process.execPath, [...process.execArgv, entry, WRITER_COMMAND, JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    let killed = false;
    let timer: NodeJS.Timeout | undefined;
    const killAfter = (delayMs: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        killed = true;
        if (watched && opened) this.#look(victim, 'r');
        child.kill('SIGKILL');
      }, delayMs);
    };
    let unfinished = '';
    let complaint = '';
    let opened = false;
    const early = below(numbers, EARLY) === 0;
    const watched = below(numbers, WATCHED) === 0 && witness.canWatch;
    const lifeMs = numbers() ** 2 * LIFE_MS;
    if (early) killAfter(lifeMs);
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (unfinished + chunk).split('\n');
      unfinished = lines.pop() ?? '';
      for (const line of lines) {
        witness.hear(line);
        if (opened || line !== 'open') continue;
        opened = true;
        if (!early) killAfter(lifeMs);
      }
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      complaint += chunk;
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        clearTimeout(timer);
        this.#children.delete(child);
        resolve(
          killed && signal === 'SIGKILL' ? undefined : `${signal ?? `exit code ${code}`} ${complaint.trim()}`.trim(),
        );
      });
    });
  }
}

/** The folders: every level, plain and gzipped, folds small and large, pods and a tracker. */
function victims(path: string, seed: number): Victim[] {
  const often = 64 << 10;
  const pod = (
    name: string,
    number: number,
    foldLogBytes: number | undefined,
    options: WriterTask['options'],
  ): Victim => {
    const folder = join(path, name);
    const podSeed = (seed + number * 0x1000003) >>> 0;
    return {
      name,
      folder,
      task: { kind: 'pod', folder, against: 'kill', seed: podSeed, foldLogBytes, options },
      witness: witnessSteps(podSeed),
    };
  };
  const tasks = join(path, 'tracker');
  return [
    pod('process', 1, undefined, { durability: 'process', fileSize: 50, syncAt: 200, syncEvery: 20 }),
    pod('power', 2, often, { durability: 'power', fileSize: 20 }),
    pod('gzipped', 3, often, { durability: 'process', fileSize: 7, gzipped: true, syncEvery: 0 }),
    {
      name: 'tracker',
      folder: tasks,
      task: {
        kind: 'tracker',
        folder: tasks,
        against: 'kill',
        seed,
        foldLogBytes: undefined,
        options: { durability: 'process', fileSize: 30, syncAt: 50 },
      },
      witness: witnessTasks(),
    },
    pod('exit', 4, often, { durability: 'exit', fileSize: 30, syncAt: 1_000_000, syncEvery: 0 }),
  ];
}

function removeAll(fs: FileSystem, folder: string): void {
  for (const name of fs.readdir(folder)) {
    const path = join(folder, name);
    if (fs.stat(path)?.isFolder === true) removeAll(fs, path);
    else fs.unlink(path);
  }
  fs.rmdir(folder);
}

/** The verdict in words. */
export function describeVerdict({ held, kills, acknowledged, looks, seconds, findings, kept, seed }: Verdict): string {
  const numbers = `${count(kills, 'kill')}, ${count(acknowledged, 'acknowledged write')}, ${count(looks, 'comparison')} in ${seconds} s`;
  if (held) return `Held: ${numbers}; nothing lost, nothing wrong. Seed ${seed}.\n`;
  const found = findings.map((finding) => `- ${finding}\n`).join('');
  return `Not held, after ${numbers}:\n${found}The folder is kept as evidence: ${kept}. Seed ${seed}.\n`;
}

export function describeProgress({ seconds, kills, acknowledged }: Progress, secondsMax: number): string {
  return `${seconds} s of ${secondsMax} s: ${count(kills, 'kill')}, ${count(acknowledged, 'acknowledged write')}, nothing wrong so far\n`;
}

function count(number: number, what: string): string {
  return `${number.toLocaleString('en-US')} ${what}${number === 1 ? '' : 's'}`;
}
