/**
 * What a command of `everpod` is, where it writes, and how it says that it failed.
 */
import type { PodError } from '../core/errors.ts';

/** Where a command writes: answers to `out`, everything else to `err`. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
  /**
   * Undefined where `out` can take more at once; else when it can, with whether anybody still reads. Left out, it always can. Commands with
   * long answers ask after each piece.
   */
  drained?(): Promise<boolean> | undefined;
  /** The standard input; left out, there is none. */
  readonly input?: () => AsyncIterable<Uint8Array>;
  /** A person reads `err`. */
  readonly isErrTerminal?: boolean;
}

/** What was given on the command line. */
export interface Given {
  readonly path: string;
  /** What follows the path: keys, or another path. */
  readonly words: readonly string[];
  readonly json: boolean;
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
}

/** One command. Its help is made of this. */
export interface Command {
  readonly name: string;
  /** What follows the path: `<key>` for one, `<key...>` for at least one, `[key...]` for any number. */
  readonly words?: '<key>' | '<key...>' | '[key...]';
  /** Where a second path follows: what the two are called in the help. */
  readonly paths?: readonly [first: string, second: string];
  readonly summary: string;
  readonly options?: readonly (readonly [flags: string, summary: string])[];
  /** Command lines without `everpod`. */
  readonly examples: readonly string[];
  /** Not for people. */
  readonly isHidden?: boolean;
  /** Returns the exit code: 0 all is well, 1 the answer is no, 2 it could not be carried out. */
  readonly run: (given: Given, output: Output) => number | Promise<number>;
}

/** Says what went wrong: a sentence for people, and with `--json` an object for programs. */
export function sayError({ code, message, path, file, line }: PodError, json: boolean, { out, err }: Output): void {
  if (json) out(`${JSON.stringify({ error: { code, message, path, file, line } })}\n`);
  err(`everpod: ${code}: ${message}\n`);
}
