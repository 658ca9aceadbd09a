// The world of the model test: a clock that moves when told, fsyncs that end when told, and folds that are due when told.
//
// Files are real ones in a temporary folder. Nothing here plays a power cut, so fsync itself is left out, which makes a run cheap.
import * as fs from 'node:fs';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import { nodeFileSystem } from '../../src/disk/fs.ts';
import type { System } from '../../src/disk/system.ts';
import { openHandle } from '../../src/pod/open-pods.ts';
import type { PodOptions } from '../../src/pod/options.ts';
import { HANDLE_DOOR, PersistentOrderedDict } from '../../src/pod/pod.ts';
import { MemoryLocks } from '../../src/testing/locks.ts';
import { makeMemoryFolder } from '../memory-folder.ts';

export type Pod = PersistentOrderedDict<Json, Key>;

interface Timer {
  readonly at: number;
  readonly task: () => void;
}

/** Each look at the clock takes this long, so that a fold does a shard or two in a slice. */
const LOOK_MS = 3;

export class World {
  readonly root: string = makeMemoryFolder('model');
  readonly system: System;
  readonly #pods: Set<Pod> = new Set();
  #folders: number = 0;
  #nowMs: number = 0;
  #looks: number = 0;
  readonly #timers: Set<Timer> = new Set();
  readonly #fsyncs: (() => void)[] = [];

  /** Says whether a fold is due, which is otherwise a matter of megabytes. */
  readonly foldIsDue: (isDue: boolean) => void;

  constructor(foldIsDue: (isDue: boolean) => void, indexed: boolean = false) {
    this.foldIsDue = foldIsDue;
    foldIsDue(false);
    this.system = {
      fs: {
        ...nodeFileSystem,
        fsync: () => {},
        fdatasync: () => {},
        fsyncFolder: () => {},
        fdatasyncBeside: () => new Promise<void>((resolve) => this.#fsyncs.push(resolve)),
        stage: (path, bytes) => fs.writeFileSync(path, bytes, { flag: 'wx' }),
      },
      locks: new MemoryLocks(),
      clock: {
        now: () => this.#nowMs,
        monotonic: () => this.#nowMs + LOOK_MS * this.#looks++,
        after: (delayMs, task) => {
          const timer: Timer = { at: this.#nowMs + delayMs, task };
          this.#timers.add(timer);
          return () => this.#timers.delete(timer);
        },
      },
      sleep: () => {},
      indexEntries: indexed ? 0 : undefined,
    };
  }

  newFolder(): string {
    return join(this.root, `${this.#folders++}.pod`);
  }

  /** The folder as a kill would leave it: its files as they are now, under another path. */
  copyOf(path: string): string {
    const copy = this.newFolder();
    fs.cpSync(path, copy, { recursive: true });
    return copy;
  }

  open(path: string, options: PodOptions<Json, Key> = {}): Pod {
    const { handle } = openHandle<Pod, Json, Key>(path, options, {
      name: 'PersistentOrderedDict',
      meta: {},
      accepts: (handle): handle is Pod => handle instanceof PersistentOrderedDict,
      make: (engine) => new PersistentOrderedDict<Json, Key>(HANDLE_DOOR, engine),
      system: this.system,
    });
    this.#pods.add(handle);
    return handle;
  }

  /** Moves the clock. Timers that are set meanwhile wait for the next time. */
  tick(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.#timers]) {
      if (timer.at > this.#nowMs || !this.#timers.delete(timer)) continue;
      timer.task();
    }
  }

  /** One turn of the event loop. */
  async turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Ends every fsync that runs beside the program, and those that begin in consequence. */
  async endFsyncs(): Promise<void> {
    do {
      for (const end of this.#fsyncs.splice(0)) end();
      await this.turn();
    } while (this.#fsyncs.length > 0);
  }

  /** Removes everything, also after a run that failed half-way. */
  remove(): void {
    for (const pod of this.#pods) {
      try {
        if (!pod.closed) pod.close();
      } catch {
        // The run failed already, and says why.
      }
    }
    rmSync(this.root, { recursive: true, force: true });
  }
}
