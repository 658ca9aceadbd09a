/**
 * Outputs tied to done: what was written for a task waits in memory until the task is done, and goes into the log with that very step.
 *
 * A try that fails, a task that is set aside, handed out again or deleted takes what waits along; a transaction that is undone and
 * `revert()` put back what waited then.
 */
import { join } from 'node:path';
import * as z from 'zod';
import type { Entry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { copyJson, type Json } from '../core/json.ts';
import type { Key, KeyIdentity } from '../core/key.ts';
import { isOutputName } from '../disk/names.ts';
import type { OutputFormat } from '../disk/output-log.ts';
import type { PodEngine } from '../pod/engine.ts';
import { checkWith, optionsError } from '../pod/options.ts';
import { DONE } from './task.ts';
import type { TaskIndex, TaskWatcher } from './task-index.ts';

/** How lines are written. */
export interface OutputOptions {
  /** `'json'`: each line is a JSON value. `'text'`: each line is a string, written as it is, such as a line of CSV. Default `'json'`. */
  format?: OutputFormat | undefined;
}

/**
 * A file that holds the lines of each task that is done, once.
 *
 * @typeParam L what a line is made of
 *
 * @example
 * const output = tasks.output<{ url: string; title: string }>('pages.jsonl');
 * output.write(url, { url, title });
 * tasks.markDone(url); // now the line counts, and not before
 */
export interface Output<L, K extends Key> {
  /** Where the file is: in the tracker's folder. */
  readonly path: string;
  /**
   * Writes a line for a task. It counts when the task becomes done; what is written for one that fails, is aborted or handed out again is dropped.
   *
   * @throws {PodError} `ERR_POD_UNKNOWN_KEY`; `ERR_POD_VALUE` where it is no JSON, or no string at format `'text'`; `ERR_POD_UNSUPPORTED`
   *   where the task is done already
   */
  write(key: K, line: L): void;
}

interface Line {
  readonly name: string;
  readonly format: OutputFormat;
  readonly text: string;
}

/** What was written for a task that is not done. */
interface Waiting {
  readonly key: Key;
  readonly lines: Line[];
}

/** All that waits in a tracker. */
export class TaskOutputs<V, K extends Key> implements TaskWatcher<V, K> {
  readonly #engine: PodEngine<V, K>;
  readonly #waiting: Map<KeyIdentity, Waiting> = new Map();

  constructor(engine: PodEngine<V, K>, index: TaskIndex<V, K>) {
    this.#engine = engine;
    index.watch(this);
  }

  /** @throws {PodError} `ERR_POD_OPTIONS` where the name or an option is wrong; `ERR_POD_DISK` */
  open<L>(name: string, options: OutputOptions, find: (key: K) => Entry<V, K>): Output<L, K> {
    const engine = this.#engine;
    engine.requireWritable();
    const format = checkedFormat(engine.path, name, options);
    engine.declareOutput(name);
    return {
      path: join(engine.path, name),
      write: (key, line) => {
        const entry = find(key);
        if ((entry.state & DONE) !== 0) {
          throw new PodError(
            'ERR_POD_UNSUPPORTED',
            `${engine.path}: the task ${JSON.stringify(key)} is done, so nothing more can be written for it. Write first, then mark it as done.`,
            { path: engine.path, key },
          );
        }
        this.#write(entry, { name, format, text: textOf(engine, key, format, line) });
      },
    };
  }

  /** Forgets what waits for a task: its try came to nothing, or a new one begins. */
  drop({ identity }: Entry<V, K>): void {
    this.#take(identity);
  }

  taskChanged(entry: Entry<V, K>): void {
    if ((entry.state & DONE) === 0) return;
    const { outputs } = this.#engine;
    for (const { name, format, text } of this.#take(entry.identity)) outputs.add(name, format, text);
  }

  taskRemoved(entry: Entry<V, K>): void {
    this.#take(entry.identity);
  }

  tasksRebuilt(): void {
    for (const [identity, { key }] of [...this.#waiting]) {
      if (this.#engine.table.find(key) === undefined) this.#take(identity);
    }
  }

  #write({ identity, key }: Entry<V, K>, line: Line): void {
    let waiting = this.#waiting.get(identity);
    if (waiting === undefined) {
      waiting = { key, lines: [] };
      this.#waiting.set(identity, waiting);
    }
    const { lines } = waiting;
    lines.push(line);
    this.#engine.outputs.changed(() => {
      lines.splice(lines.lastIndexOf(line), 1);
    });
  }

  #take(identity: KeyIdentity): readonly Line[] {
    const waiting = this.#waiting.get(identity);
    if (waiting === undefined) return [];
    this.#waiting.delete(identity);
    this.#engine.outputs.changed(() => this.#waiting.set(identity, waiting));
    return waiting.lines;
  }
}

const outputSchema = z.strictObject({ format: z.enum(['json', 'text'], "must be 'json' or 'text'").optional() });

function checkedFormat(path: string, name: string, options: OutputOptions): OutputFormat {
  if (!isOutputName(name)) {
    throw optionsError(
      path,
      'output',
      "must be a plain file name of letters, digits, '.', '_' and '-', and none that the tracker uses itself: the file lies in its folder",
    );
  }
  checkWith(outputSchema, path, options);
  return options.format ?? 'json';
}

function textOf<V, K extends Key>(engine: PodEngine<V, K>, key: K, format: OutputFormat, line: unknown): string {
  try {
    if (format === 'json') return JSON.stringify(copyJson(line) satisfies Json);
    if (typeof line === 'string' && !LONE_SURROGATE.test(line)) return line;
    throw new PodError('ERR_POD_VALUE', "A line of an output of format 'text' must be a string. Nothing was written.");
  } catch (error) {
    throw engine.located(error, key);
  }
}

/** Half a character has no bytes in UTF-8. */
const LONE_SURROGATE = /\p{Surrogate}/u;
