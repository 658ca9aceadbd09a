/**
 * Drives the real engine on a disk in memory and looks at every state a power cut or a death could leave after each single write.
 *
 * The oracle knows the states that were written, in order, and which of them must have survived: those of the last sync point
 * after a power cut, those of the last append after a death. What recovery gives back must be one of them and not older, in order, with
 * batches whole; what was reverted must not return; and a recovered state is recovered again, whatever happens meanwhile.
 */

import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import type { Layout } from '../../src/disk/compact.ts';
import { crcText } from '../../src/disk/files.ts';
import { type Manifest, parseManifest } from '../../src/disk/manifest.ts';
import { classify } from '../../src/disk/names.ts';
import { readFolder } from '../../src/disk/reader.ts';
import { bindFolder, type RecoveryReport, recoverFolder } from '../../src/disk/recovery.ts';
import { PodEngine } from '../../src/pod/engine.ts';
import type { Durability } from '../../src/pod/options.ts';
import {
  type CrashBudget,
  type CrashState,
  crashStates,
  type DiskImage,
  dumpImage,
  type FsCall,
  type FsFault,
  imageKey,
  MemoryFileSystem,
  ProcessKilled,
  type Random,
  seededRandom,
  type TestSystem,
  testSystem,
} from '../../src/testing/index.ts';
import { exitTasks } from './enumerator-exit.ts';
import { reseed } from './enumerator-random.ts';

/** The pod's folder on the disk in memory. */
export const PATH = '/pod';

/** How thoroughly states are looked at. */
export interface Effort {
  readonly budget: CrashBudget;
  /** The share of the states that a power cut may leave which are looked at; left out, all. */
  readonly share?: number;
  /** The share of recovered states on which recovery is run again and power fails at each of its steps. */
  readonly secondCrash: number;
  /** The share of steps after which a death is followed by a recovery in which the power fails. */
  readonly deaths: number;
  /** The share of steps after which a reader looks at the folder. */
  readonly readers: number;
}

/** What an exploration is about. */
export interface Setup {
  readonly seed: number;
  readonly level: Durability;
  readonly effort: Effort;
  readonly fileSize?: number;
  readonly gzip?: boolean;
  /** What is on the disk before the first open. */
  readonly image?: DiskImage;
  /** The state of the pod before the first open. */
  readonly before?: string;
  /** The files of the image were written just now and never fsynced. */
  readonly loose?: boolean;
  readonly syncAt?: number;
  /** Some values are done, each with a line of an output; the lines are a part of the state. */
  readonly outputs?: boolean;
  /** Every change has a note in the log that tells what came of it. */
  readonly notes?: boolean;
  /** Asked before every call: how a mutant changes what the code does. */
  readonly intercept?: (call: FsCall, fs: MemoryFileSystem, recovering: boolean) => FsFault | undefined;
}

type Value = { n: number; text?: string; list?: number[]; line?: number };
type Engine = PodEngine<Value, Key>;

/** What one image was recovered to. */
type Outcome = { readonly state: string } | { readonly error: string };

/** Thrown at the first violation, so that the folder is dumped as it was. */
export class Violation extends Error {}

/** How many things were looked at. */
export interface Counts {
  states: number;
  recoveries: number;
  secondCrashes: number;
  reads: number;
  /** Recoveries that took their rows from a saved index. */
  indexed: number;
}

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};

/** The text of everything in a table, in order. */
export function stateOf(table: Table<never, Key> | Table<number, Key> | Table<Value, Key>): string {
  return MemoryFileSystem.lookOn(() => {
    let text = '';
    for (const entry of (table as Table<Value, Key>).entries()) text += `${JSON.stringify(entry.key)}\t${entry.text}\n`;
    return text;
  });
}

/** The output of the pods that have one. */
const OUTPUT = 'lines.jsonl';

/** What a file of lines holds, and what is to come behind it, as a part of a state. */
export function outputText(
  fs: MemoryFileSystem,
  outputs: readonly { name: string; bytes: number; rest: Buffer }[],
  path: string = PATH,
): string {
  return outputs
    .map(({ name, bytes, rest }) => {
      const file = fs.image().get(`${path}/${name}`) ?? new Uint8Array();
      if (file === 'folder' || file.length < bytes) throw new Error(`${name} is too short: ${bytes} bytes are wanted`);
      return `${Buffer.from(file.subarray(0, bytes))}${rest}`;
    })
    .join('');
}

export class Explorer {
  readonly counts: Counts = { states: 0, recoveries: 0, secondCrashes: 0, reads: 0, indexed: 0 };
  readonly trace: string[] = [];
  readonly random: Random;
  engine: Engine | undefined;
  system: TestSystem;
  /** The states that were written, in order; what came before the last open counts as one. */
  versions: string[];
  /** The version that a power cut may not fall behind. */
  acknowledged: number = 0;
  /** The version that a death may not fall behind. */
  appended: number = 0;
  /** The version of the last sync point. */
  point: number = 0;
  /** Stands for a fault that was armed and may still strike. */
  armed: ((call: FsCall) => FsFault | undefined) | undefined;
  /** A fault has struck, and later calls may meet it. */
  struck: boolean = false;
  /** The first violation; the code under test may have swallowed it. */
  violation: Violation | undefined;
  readonly #setup: Setup;
  readonly #outcomes: Map<string, Outcome> = new Map();
  /** The same for images in whose recovery no second crash was played. */
  readonly #recovered: Map<string, string> = new Map();
  /** The last version with each text. */
  #latest: Map<string, number> = new Map();
  /** The acknowledged version when everything was looked at last. */
  #lookedAt: number = -1;
  #flights: number = 0;
  #counter: number = 0;
  #recovering: boolean = false;
  #looking: boolean = false;
  /** Set while nothing was promised yet. */
  quiet: boolean = false;
  /** Set where only the calls matter and nothing is looked at. */
  blind: boolean = false;
  /** Told of every change to the disk. */
  onChange: ((fs: MemoryFileSystem) => void) | undefined;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.random = seededRandom(setup.seed);
    reseed(setup.seed);
    manifests.clear();
    this.versions = [setup.before ?? ''];
    this.#latest.set(this.versions[0] as string, 0);
    const fs = setup.loose === true ? new MemoryFileSystem() : MemoryFileSystem.fromImage(setup.image ?? new Map());
    if (setup.loose === true) writeLoosely(fs, setup.image ?? new Map());
    this.system = this.#systemOf(fs);
    // Nobody promised anything about files that were not fsynced before we were asked to open them.
    this.quiet = setup.loose === true;
  }

  /** Every other walk saves its index, however small it is. */
  get #indexEntries(): number | undefined {
    return this.#setup.seed % 2 === 1 ? 0 : undefined;
  }

  #systemOf(fs: MemoryFileSystem): TestSystem {
    const system = testSystem({ fs, foldLogBytes: 300, indexEntries: this.#indexEntries });
    // So that every slice of a fold is one shard.
    system.clock.readingCostMs = 20;
    return system;
  }

  get fs(): MemoryFileSystem {
    return this.system.fs;
  }

  get live(): Engine {
    if (this.engine === undefined) throw new Error('The pod is not open.');
    return this.engine;
  }

  get table(): Table<Value, Key> {
    return this.live.table;
  }

  // ---- Lives.

  /** Opens the folder, in another layout if one is given. A fault that is armed may strike while it does. */
  open(layout?: Layout): void {
    this.trace.push(layout === undefined ? 'open' : `open as ${JSON.stringify(layout)}`);
    this.engine = undefined;
    this.struck = false;
    this.#flightsVoid = this.#flights;
    const { level, fileSize, gzip, syncAt } = this.#setup;
    const wanted = layout ?? (this.fs.image().has(`${PATH}/pod.json`) ? undefined : { fileSize: fileSize ?? 3, gzip });
    // A flush of the last life may still be under way.
    const openBefore = this.fs.openPaths.length;
    this.#watch();
    this.#recovering = true;
    let engine: Engine;
    try {
      const options = { durability: level, fileSize: wanted?.fileSize, gzipped: wanted?.gzip, syncAt: syncAt ?? 1000 };
      engine = new PodEngine<Value, Key>(this.system, PATH, options, {});
    } catch (error) {
      if (this.violation !== undefined) throw this.violation;
      const interrupted = this.fs.killed;
      if (interrupted) this.#die();
      else if (!this.#isExcused(error)) this.#violated(`opening failed: ${String(error)}`, this.fs.image());
      else if (this.fs.openPaths.length > openBefore) this.#violated(`a failed open left ${this.fs.openPaths} open`);
      else if (this.system.locks.isHeld(PATH)) this.#violated('a failed open left the lock held');
      this.trace.push(`  ${interrupted ? 'killed' : String(error)}`);
      this.armed = undefined;
      this.open(layout);
      return;
    } finally {
      this.#recovering = false;
    }
    if (this.violation !== undefined) throw this.violation;
    this.#hookPoints(engine);
    const state = this.#stateOf(engine);
    this.#judge(state, this.appended, () => 'what the reopened pod holds', this.fs.image());
    this.engine = engine;
    this.quiet = false;
    this.#restart(state);
    if (this.#setup.outputs === true) this.#declareOutput(engine);
    if (this.#setup.notes === true) this.#keepNotes(engine, state);
    this.look();
  }

  /** Everything in a pod: its entries, and the lines of its output. */
  #stateOf(engine: Engine): string {
    return `${stateOf(engine.table)}${outputText(this.fs, engine.outputs.contents())}`;
  }

  /** Writes the line of a value in the step that makes it the value, as a tracker does for a task that is done. */
  #declareOutput(engine: Engine): void {
    let isDeclared = false;
    // A value that comes back has a line that was written before.
    let newest = this.#counter;
    engine.table.observe({
      entryChanged: (entry) => {
        const { line = 0 } = entry.peek() as Value;
        if (!isDeclared || line <= newest) return;
        newest = line;
        engine.outputs.add(OUTPUT, 'json', `{"line":${line}}`);
      },
      entryRemoved: () => {},
      tableRebuilt: () => {},
    });
    this.run('declare the output', () => {
      engine.declareOutput(OUTPUT);
      isDeclared = true;
    });
  }

  /** Takes the notes of the last life over, which must fit what was found, and goes on keeping them. */
  #keepNotes(engine: Engine, state: string): void {
    const { notes, table } = engine;
    try {
      requireNotes(notes.take(), state);
    } catch (error) {
      this.#violated((error as Error).message, this.fs.image());
    }
    notes.keep(() => {
      const told = crcText(Buffer.from(stateOf(table)));
      // A flush of a life that ended may still come back, find its disk gone, and want to write everything anew.
      if (this.engine === engine) this.#noted = told;
      return JSON.stringify([told]);
    });
    notes.renew();
  }

  /** What the last note told. */
  #noted: string = '';

  /** Notes what a change made, and what it was before. */
  #note(): void {
    if (this.#setup.notes !== true) return;
    const { notes, table } = this.live;
    const before = this.#noted;
    this.#noted = crcText(Buffer.from(stateOf(table)));
    notes.add(JSON.stringify([this.#noted, before]));
  }

  /** Whether the pod may throw this now. */
  #isExcused(error: unknown): boolean {
    return isDiskError(error) && (this.armed !== undefined || this.struck);
  }

  /** Whenever the engine says that something is appended or durable it is taken at its word. */
  #hookPoints(engine: Engine): void {
    const { table } = engine;
    const { appended, synced, flushBegan, flushed } = table;
    let begun = 0;
    const reach = (version: number): void => {
      this.acknowledged = Math.max(this.acknowledged, version);
      this.appended = Math.max(this.appended, version);
      this.point = Math.max(this.point, version);
    };
    table.appended = () => {
      appended.call(table);
      if (this.engine === engine) this.appended = this.#version(this.#stateOf(engine));
    };
    table.synced = () => {
      synced.call(table);
      if (this.engine === engine) reach(this.#version(this.#stateOf(engine)));
    };
    table.flushBegan = () => {
      flushBegan.call(table);
      if (this.engine === engine) begun = this.#version(this.#stateOf(engine));
    };
    table.flushed = () => {
      const underWay = table.sinceFlush !== undefined;
      flushed.call(table);
      if (underWay && this.engine === engine) reach(begun);
    };
  }

  #restart(state: string): void {
    this.versions = [state];
    this.#latest = new Map([[state, 0]]);
    this.acknowledged = 0;
    this.appended = 0;
    this.point = 0;
  }

  /** The process dies, now or in the middle of its last call; the machine goes on. */
  kill(): void {
    this.trace.push('kill');
    this.#die();
    this.open();
  }

  #die(): void {
    if (this.engine !== undefined && this.fs.killed) this.#version(this.#stateOf(this.engine));
    this.engine = undefined;
    this.armed = undefined;
    exitTasks.clear();
    this.system = this.#systemOf(this.fs.afterDeath());
  }

  /** The power fails; one of the states it may leave is gone on with. */
  powerCut(): void {
    const states = [...crashStates(this.fs, this.random, this.#setup.effort.budget)];
    const state = this.random.pick(states);
    this.trace.push(`power cut\n${state.describe()}`);
    this.#check(state.image, this.acknowledged, state.describe);
    if (this.engine !== undefined) this.#version(this.#stateOf(this.engine));
    this.engine = undefined;
    this.armed = undefined;
    exitTasks.clear();
    // The state was accepted, so whatever it is, it is old enough.
    this.appended = this.acknowledged;
    this.system = this.#systemOf(MemoryFileSystem.fromImage(state.image));
    this.open();
  }

  /** Closes the folder and opens it again, in another layout if one is given. */
  close(layout?: Layout): void {
    const { live } = this;
    this.run('close', () => live.close());
    if (this.engine !== live || !live.closed) return;
    exitTasks.clear();
    this.look();
    this.open(layout);
  }

  /** The process comes to an end by a signal: everything is synced, nothing is folded. */
  exit(): void {
    const { live } = this;
    let saved = false;
    this.run('exit by SIGTERM', () => {
      exitTasks.run('SIGTERM');
      saved = true;
    });
    if (this.engine !== live) return;
    const hadWritten = saved && this.appended > 0 && !this.struck;
    this.kill();
    if (!hadWritten || this.engine === undefined) return;
    const { ended } = this.live.recovery;
    if (ended !== 'signal') this.#violated(`the end by a signal was reported as "${ended}"`, this.fs.image());
  }

  // ---- Changes.

  value(): Value {
    const n = ++this.#counter;
    const size = this.random.below(4);
    if (this.#setup.outputs === true && this.random.chance(0.5)) return { n, line: n };
    if (size === 0) return { n, text: 'ä'.repeat(this.random.below(60)) };
    return size === 1 ? { n, list: [1, 2] } : { n };
  }

  set(key: Key): void {
    this.#change(`set ${JSON.stringify(key)}`, () => this.table.set(key, this.value()));
  }

  delete(key: Key): void {
    const entry = this.table.find(key);
    if (entry !== undefined) this.#change(`delete ${JSON.stringify(key)}`, () => this.table.delete(entry));
  }

  /** Changes a value in place, through its view. */
  touch(key: Key): void {
    const entry = this.table.find(key);
    if (entry === undefined) return;
    this.#change(`touch ${JSON.stringify(key)}`, () => {
      const value = entry.value;
      if (value.list === undefined) value.n = ++this.#counter;
      else value.list.push(++this.#counter);
    });
  }

  /** Runs a call that changes entries; at level `power` the change is durable when it returns. */
  #change(what: string, work: () => void, isNoted: boolean = this.#inTransaction): void {
    const { live } = this;
    const before = this.#stateOf(live);
    let returned = false;
    this.run(what, () => {
      if (this.#setup.notes === true && !isNoted) {
        live.transaction(() => {
          work();
          this.#note();
        });
      } else work();
      returned = true;
    });
    if (this.#setup.level !== 'power' || this.#inTransaction || !returned || this.engine !== live) return;
    const after = this.#stateOf(live);
    if (after === before) return;
    this.acknowledged = this.#version(after);
    this.appended = this.acknowledged;
    this.look();
  }

  clear(): void {
    this.#change('clear', () => this.table.clear());
  }

  transaction(changes: () => void, fails: boolean = false): void {
    const before = this.#stateOf(this.live);
    const noted = this.#noted;
    const work = (): void => {
      const quiet = this.#inTransaction;
      this.#inTransaction = true;
      try {
        this.live.transaction(() => {
          changes();
          this.#note();
          if (fails) throw new Refusal();
        });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.#noted = noted;
        if (this.#stateOf(this.live) !== before) {
          this.#violated(
            `a transaction that threw left something behind:\n${this.#stateOf(this.live)}\nbefore:\n${before}`,
          );
        }
      } finally {
        this.#inTransaction = quiet;
      }
    };
    this.#change(fails ? 'transaction that fails' : 'transaction', work, true);
  }

  #inTransaction: boolean = false;

  /** The turn of the event loop ends. */
  async endTurn(): Promise<void> {
    this.trace.push('end of turn');
    await settle();
    this.#afterwards(false);
  }

  // ---- Sync points.

  sync(): void {
    this.run('sync', () => {
      this.live.sync();
      if (!this.table.dirty.isEmpty) this.#violated('something is dirty after a sync');
      this.struck = false;
    });
  }

  /** Begins a flush; it ends at once unless the file system holds what runs beside the program. */
  flush(): void {
    this.run('flush', () => {
      const flight = ++this.#flights;
      const fs = this.fs;
      const done = this.live.flush();
      // Where another flush is under way this one begins later, and what it covers is not known here.
      const version = this.table.pending.isEmpty ? this.appended : undefined;
      void done.then(
        () => {
          if (fs !== this.fs || flight <= this.#flightsVoid || version === undefined) return;
          this.trace.push('flush resolves');
          this.acknowledged = Math.max(this.acknowledged, version);
          this.look();
        },
        (error: unknown) => {
          this.trace.push(`flush rejects: ${String(error)}`);
          if (fs === this.fs && !isDiskError(error) && !(error instanceof ProcessKilled)) {
            this.late = `flush rejected with ${String(error)}`;
          }
        },
      );
    });
  }

  /** A violation noticed where nobody could catch it. */
  late: string | undefined;
  /** Flushes up to this one were taken back by a revert. */
  #flightsVoid: number = 0;

  /** Lets what runs beside the program come to its end. */
  async finishFlush(code?: string): Promise<void> {
    this.trace.push(code === undefined ? 'fsync beside ends' : `fsync beside fails with ${code}`);
    for (const beside of [...this.fs.besides]) {
      if (code === undefined) beside.finish();
      else beside.fail(code);
    }
    if (code !== undefined) this.struck = true;
    await settle();
    this.#afterwards(code !== undefined);
  }

  revert(): void {
    const before = this.trace.length;
    let reverted = false;
    // From its first step on, what it takes back may be gone.
    this.acknowledged = Math.min(this.acknowledged, this.point);
    this.appended = Math.min(this.appended, this.point);
    this.run('revert', () => {
      this.live.revert();
      reverted = true;
      const expected = this.versions[this.point] as string;
      const found = this.#stateOf(this.live);
      if (found !== expected) this.#violated(`a revert gave\n${found}\ninstead of\n${expected}`);
      this.#flightsVoid = this.#flights;
      this.versions.length = this.point + 1;
      this.#latest = new Map(this.versions.map((text, index) => [text, index]));
    });
    if (reverted && this.trace.length > before) this.look();
  }

  hold(): void {
    this.run('hold', () => this.live.hold());
  }

  /** Notes in the trace that a fault is ready to strike. */
  arm(what: string): void {
    this.trace.push(`armed: ${what}`);
  }

  /** After a fault: the handle saves everything again, or says that it cannot; then the program is started again. */
  recoverOrRestart(): void {
    this.armed = undefined;
    const { live } = this;
    if (!live.closed) this.sync();
    if (this.engine !== live) return;
    if (this.struck) this.kill();
  }

  compact(layout: Layout): void {
    this.run(`compact ${JSON.stringify(layout)}`, () => this.live.compact(layout));
  }

  /** Runs the next timer: a background sync, a mark, or a slice of a fold. */
  async timer(): Promise<void> {
    this.trace.push('timer');
    try {
      this.system.clock.runNext();
    } catch (error) {
      if (!this.fs.killed) throw error;
    }
    await settle();
    this.#afterwards(this.struck);
  }

  /** Runs one call of the engine; keeps the oracle up to date. */
  run(what: string, work: () => void): void {
    this.trace.push(this.#inTransaction ? `  ${what}` : what);
    if (this.#inTransaction) {
      work();
      return;
    }
    let threw = false;
    try {
      work();
    } catch (error) {
      if (this.violation !== undefined) throw this.violation;
      threw = true;
      if (!this.fs.killed && !this.#isExcused(error)) {
        this.#violated(`${what} threw ${error instanceof Error ? error.stack : String(error)}`, this.fs.image());
      }
      this.trace.push(`  threw ${String(error)}`);
    }
    this.#afterwards(threw);
  }

  #afterwards(threw: boolean): void {
    if (this.violation !== undefined) throw this.violation;
    if (this.late !== undefined) this.#violated(this.late);
    if (this.fs.killed) {
      this.kill();
      return;
    }
    if (this.engine === undefined) return;
    // A call that failed half-way may have left its state on the disk.
    if (threw) this.#version(this.#stateOf(this.engine));
    if (this.acknowledged !== this.#lookedAt) this.look();
  }

  /** The number of a state; a new one if it is not the last. */
  #version(state: string): number {
    if (this.versions[this.versions.length - 1] !== state) {
      this.versions.push(state);
      this.#latest.set(state, this.versions.length - 1);
    }
    return this.versions.length - 1;
  }

  // ---- Looking.

  #watch(): void {
    const { fs } = this;
    fs.intercept = (call) => {
      const fault = this.armed?.(call);
      if (fault?.kind === 'error' || fault?.kind === 'short') this.struck = true;
      return fault ?? this.#setup.intercept?.(call, fs, this.#recovering);
    };
    fs.changed = () => {
      this.onChange?.(fs);
      if (!this.quiet && !this.blind) this.#step();
    };
  }

  /** Looks at everything a power cut could leave now. */
  look(): void {
    this.#lookedAt = this.acknowledged;
    if (this.quiet || this.blind) return;
    this.#lookAt(crashStates(this.fs, this.random, this.#setup.effort.budget));
  }

  #lookAt(states: Iterable<CrashState>): void {
    const { share } = this.#setup.effort;
    for (const { image, describe } of states) {
      if (share === undefined || this.random.chance(share)) this.#check(image, this.acknowledged, describe);
    }
  }

  #step(): void {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const { effort } = this.#setup;
      const latest = this.fs.openOperations().at(-1);
      this.#lookAt(crashStates(this.fs, this.random, effort.budget, latest));
      this.#check(this.fs.image(), this.appended, () => 'the process died');
      if (this.random.chance(effort.deaths)) this.#dieAndLook();
      if (this.random.chance(effort.readers)) this.#read();
    } finally {
      this.#looking = false;
    }
  }

  #check(image: DiskImage, bound: number, describe: () => string): void {
    this.counts.states++;
    const key = imageKey(image);
    let outcome = this.#outcomes.get(key);
    if (outcome === undefined) {
      outcome = this.#recover(image, key);
      this.#outcomes.set(key, outcome);
    }
    if ('error' in outcome) this.#violated(`recovery: ${outcome.error}`, image, describe);
    else this.#judge(outcome.state, bound, describe, image);
  }

  #judge(state: string, bound: number, describe: () => string, image: DiskImage): void {
    const version = this.#latest.get(state);
    if (version !== undefined && version >= bound) return;
    // A call may be under way whose state is not among the versions yet.
    if (this.engine !== undefined && !this.engine.table.inTransaction && this.#stateOf(this.engine) === state) return;
    const verdict =
      version === undefined
        ? 'a state that never was'
        : `version ${version}, older than version ${bound}, which must not be lost`;
    this.#violated(
      `recovered ${verdict}:\n${state}\nwanted, from version ${bound} on:\n${this.versions.slice(bound).join('or\n')}`,
      image,
      describe,
    );
  }

  #recover(image: DiskImage, key: string): Outcome {
    this.counts.recoveries++;
    const { effort } = this.#setup;
    const again = this.random.chance(effort.secondCrash);
    const known = this.#recovered.get(key);
    if (!again && known !== undefined) return { state: known };
    const fs = MemoryFileSystem.fromImage(image);
    const seconds: DiskImage[] = [];
    if (again) {
      fs.changed = () => {
        for (const state of crashStates(fs, this.random, LIGHT, fs.openOperations().at(-1))) seconds.push(state.image);
      };
    }
    try {
      const state = this.#openOnce(fs);
      fs.changed = undefined;
      if (!again) return { state };
      this.counts.secondCrashes += seconds.length;
      for (const state of crashStates(fs, this.random, LIGHT)) seconds.push(state.image);
      for (const second of [...seconds, fs.image()]) {
        const found = this.#recoverOnce(second);
        if (found !== state) {
          return { error: `a second crash changed\n${state}\ninto\n${found}\n${dumpImage(second)}` };
        }
      }
      return { state };
    } catch (error) {
      return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
  }

  /** What recovery alone makes of an image. Most of what a second crash leaves was left by another one before. */
  #recoverOnce(image: DiskImage): string {
    const key = imageKey(image);
    const known = this.#outcomes.get(key);
    if (known !== undefined && 'state' in known) return known.state;
    let state = this.#recovered.get(key);
    if (state === undefined) {
      state = this.#openOnce(MemoryFileSystem.fromImage(image));
      this.#recovered.set(key, state);
    }
    return state;
  }

  /** One recovery: the state, after a look at what it left in the folder. */
  #openOnce(fs: MemoryFileSystem): string {
    fs.intercept = (call) => this.#setup.intercept?.(call, fs, true);
    const system = testSystem({ fs });
    const { fileSize, gzip } = this.#setup;
    const recovered = recoverFolder(system, PATH, { fileSize: fileSize ?? 3, gzip: gzip ?? false, meta: {} });
    const table = new Table<never, Key>(owner, recovered.opened.manifest.fileSize);
    if (recovered.rows !== undefined) this.counts.indexed++;
    const folder = bindFolder(system, PATH, recovered, table);
    requireTidy(fs, recovered.report);
    if (folder.log.end.offset !== fs.stat(`${PATH}/${folder.log.name}`)?.size) throw new Error('the log was not cut');
    const state = `${stateOf(table)}${outputText(fs, folder.outputs.contents())}`;
    if (this.#setup.notes === true) requireNotes(folder.notes.take(), state);
    for (const { name, bytes } of folder.outputs.contents()) {
      if (fs.stat(`${PATH}/${name}`)?.size !== bytes) throw new Error(`${name} was not cut`);
    }
    return state;
  }

  /** The process dies now, and the power fails while the next one recovers. */
  #dieAndLook(): void {
    const fs = this.fs.afterDeath();
    const found: [DiskImage, () => string][] = [];
    fs.changed = () => {
      for (const state of crashStates(fs, this.random, LIGHT, fs.openOperations().at(-1))) {
        found.push([state.image, () => `death, then a power cut while recovering\n${state.describe()}`]);
      }
    };
    let state: string;
    try {
      state = this.#openOnce(fs);
    } catch (error) {
      this.#violated(`recovery after a death: ${String(error)}`, this.fs.image());
    }
    fs.changed = undefined;
    for (const [image, describe] of found) this.#check(image, this.acknowledged, describe);
    this.#judge(state, this.appended, () => 'the process died', this.fs.image());
    this.counts.secondCrashes += found.length;
    // Recovery returned, so what it found is durable.
    for (const after of crashStates(fs, this.random, LIGHT)) {
      const second = this.#recoverAgain(after.image);
      if (second !== state) {
        this.#violated(`death, recovery of\n${state}\nthen a power cut left\n${second}`, after.image, () =>
          after.describe(),
        );
      }
    }
  }

  #recoverAgain(image: DiskImage): string {
    const key = imageKey(image);
    const known = this.#outcomes.get(key) ?? this.#recover(image, key);
    this.#outcomes.set(key, known);
    this.counts.states++;
    return 'state' in known ? known.state : known.error;
  }

  /** A reader beside the writer sees a state that was written, and changes nothing. */
  #read(): void {
    this.counts.reads++;
    const { fs } = this;
    const { intercept, changed } = fs;
    fs.changed = () => this.#violated('a reader changed something', fs.image());
    fs.intercept = undefined;
    try {
      const { entries, outputs } = readFolder(testSystem({ fs }), PATH);
      const table = new Table<never, Key>(owner, 3);
      table.load(entries);
      const state = `${stateOf(table)}${outputText(fs, outputs())}`;
      this.#judge(state, this.appended, () => 'what a reader saw', fs.image());
    } catch (error) {
      if (error instanceof Violation) throw error;
      const early = this.engine === undefined && error instanceof PodError && error.code === 'ERR_POD_NOT_FOUND';
      if (!early) this.#violated(`a reader failed: ${String(error)}`, fs.image());
    } finally {
      fs.intercept = intercept;
      fs.changed = changed;
    }
  }

  #violated(what: string, image?: DiskImage, describe?: () => string): never {
    const parts = [
      what,
      `seed ${this.#setup.seed}, level ${this.#setup.level}`,
      `trace:\n${this.trace.map((line) => `  ${line}`).join('\n')}`,
      describe === undefined ? '' : `crash:\n${describe()}`,
      image === undefined ? '' : dumpImage(image),
    ];
    if (this.violation === undefined) {
      this.violation = new Violation(parts.filter((part) => part !== '').join('\n'));
      // The message says all there is; where the oracle stood says nothing.
      this.violation.stack = this.violation.message;
    }
    throw this.violation;
  }
}

/** The last note must be about the state that was found, there is one as soon as there is anything, and each follows from the one before. */
function requireNotes(notes: readonly string[], state: string): void {
  if (notes.length === 0 && state === '') return;
  let told = '';
  notes.forEach((text, index) => {
    const [after, before] = JSON.parse(text) as [string, string?];
    if (index === 0 ? before !== undefined : before !== told) throw new Error(`a note is missing before ${text}`);
    told = after;
  });
  const wanted = crcText(Buffer.from(state));
  if (told !== wanted) throw new Error(`the last of ${notes.length} notes tells of ${told}, instead of ${wanted}`);
}

function writeLoosely(fs: MemoryFileSystem, image: DiskImage): void {
  fs.mkdir(PATH);
  fs.fsyncFolder('/');
  for (const [path, bytes] of image) {
    if (bytes === 'folder') continue;
    const fd = fs.open(path, 'wx');
    fs.write(fd, bytes, 0, bytes.length, 0);
    fs.close(fd);
  }
}

/** For what is looked at inside of what is looked at. */
const LIGHT: CrashBudget = { subsetsUpTo: 3, drawn: 2, tears: 1, tornWrites: 1 };

class Refusal extends Error {}

/** Whether an error says, in our words, that the disk refused. */
function isDiskError(error: unknown): boolean {
  return error instanceof PodError && error.code === 'ERR_POD_DISK';
}

/** Lets everything run that is due in this turn of the event loop. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 12; round++) await Promise.resolve();
}

/** Manifests that were read, by their text: many images hold the same one. */
const manifests = new Map<string, Manifest>();

function manifestOf(bytes: Uint8Array): Manifest {
  const text = Buffer.from(bytes).toString('latin1');
  let manifest = manifests.get(text);
  if (manifest === undefined) {
    manifest = parseManifest(PATH, Buffer.from(bytes));
    manifests.set(text, manifest);
  }
  return manifest;
}

/** Recovery leaves listed files and nothing else. */
function requireTidy(fs: MemoryFileSystem, report: RecoveryReport): void {
  const image = fs.image();
  const bytes = image.get(`${PATH}/pod.json`);
  if (bytes === undefined || bytes === 'folder') throw new Error('there is no pod.json after recovery');
  const manifest = manifestOf(bytes);
  const segments = new Set(manifest.segments.map(([segment]) => segment));
  for (const name of fs.readdir(PATH)) {
    const file = classify(name);
    const listed =
      name === 'pod.json' ||
      name === 'quarantine' ||
      file.kind === 'index' ||
      manifest.outputs?.has(name) === true ||
      // Made before the manifest that lists it, and taken when somebody asks for it again.
      (name === OUTPUT && fs.stat(`${PATH}/${name}`)?.size === 0) ||
      (file.kind === 'segment' && segments.delete(file.segment)) ||
      (file.kind === 'shard' && file.gzip === manifest.gzip);
    if (!listed) throw new Error(`recovery left ${name}`);
  }
  if (segments.size > 0) throw new Error('a listed segment is missing');
  if (report.droppedBytes > 0 && report.quarantined.length === 0) throw new Error('dropped bytes were not kept');
  for (const kept of report.quarantined) if (!image.has(`${PATH}/${kept}`)) throw new Error(`${kept} is missing`);
}
