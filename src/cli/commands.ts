/**
 * What each command of `everpod` does, apart from the command line.
 */
import { keyText } from '../core/key.ts';
import { acceptEdits, repairFolder, verifyFolder } from '../disk/repair.ts';
import { sayAtOnce } from '../disk/standard-output.ts';
import { nodeSystem } from '../disk/system.ts';
import { exportTastypy } from '../disk/tastypy-export.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { optionsError } from '../pod/options.ts';
import { engineOf, PersistentOrderedDict } from '../pod/pod.ts';
import { describeProgress, describeVerdict, torture, WRITER_COMMAND } from './torture.ts';
import { type WriterTask, writeForEver } from './torture-writer.ts';

/** Where a command writes. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

export interface CommandOptions {
  readonly path: string;
  readonly json: boolean;
  readonly tastypy: string | undefined;
  readonly minutes: string | undefined;
  readonly seed: string | undefined;
}

/** A command; returns the exit code. */
export type Command = (options: CommandOptions, output: Output) => number | Promise<number>;

export const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['verify', verify],
  ['accept', accept],
  ['repair', repair],
  ['export', exportEntries],
  ['torture', torturePods],
  // Not for people: a child process of `torture`.
  [WRITER_COMMAND, writeUntilKilled],
]);

function verify({ path, json }: CommandOptions, { out }: Output): number {
  const entries = verifyFolder(nodeSystem, normalizePath(path));
  out(json ? `${JSON.stringify({ ok: true, entries })}\n` : `${path}: all is well, ${entries} entries.\n`);
  return 0;
}

function accept({ path, json }: CommandOptions, { out }: Output): number {
  const place = normalizePath(path);
  const accepted = acceptEdits(nodeSystem, place);
  // Opening and closing folds the log in, so that the folder is at rest again.
  if (accepted.length > 0) PersistentOrderedDict.open(place).close();
  if (json) out(`${JSON.stringify({ accepted })}\n`);
  else if (accepted.length === 0) out(`${path}: nothing was edited.\n`);
  else out(`${path}: accepted ${accepted.join(', ')}.\n`);
  return accepted.length > 0 ? 0 : 1;
}

function repair({ path, json }: CommandOptions, { out }: Output): number {
  const place = normalizePath(path);
  const report = repairFolder(nodeSystem, place);
  PersistentOrderedDict.open(place).close();
  if (json) out(`${JSON.stringify(report)}\n`);
  else {
    out(`${path}: kept ${report.entries} entries; ${lost(report.lostLines)}.\n`);
    out(`The files as they were are in ${path}/quarantine (${report.quarantined.length} files).\n`);
  }
  return 0;
}

function lost(lines: number): string {
  if (lines === 0) return 'every line that is still there could be read';
  return lines === 1 ? '1 line could not be read' : `${lines} lines could not be read`;
}

function exportEntries({ path, json, tastypy }: CommandOptions, { out }: Output): number {
  const pod = PersistentOrderedDict.open(path, { mode: 'r' });
  const { layout, table } = engineOf(pod);
  try {
    if (tastypy !== undefined) {
      const files = exportTastypy(nodeSystem.fs, normalizePath(tastypy), table.entries(), layout);
      out(json ? `${JSON.stringify({ files })}\n` : `${tastypy}: ${pod.size} entries in ${files.length} files.\n`);
      return 0;
    }
    for (const { key, text } of table.entries()) out(`[${keyText(key)},${text}]\n`);
    return 0;
  } finally {
    pod.close();
  }
}

async function torturePods({ path, json, minutes, seed }: CommandOptions, { out, err }: Output): Promise<number> {
  const place = normalizePath(path);
  const seconds = 60 * numberOption(place, 'minutes', minutes ?? '1', 7 * 24 * 60);
  const start = numberOption(place, 'seed', seed ?? String(Math.floor(Math.random() * 2 ** 32)), 2 ** 32 - 1);
  err(`everpod torture ${path} for ${seconds} s, seed ${start}: writing, killing, comparing.\n`);
  const verdict = await torture({
    path: place,
    seconds,
    seed: start,
    onProgress: (progress) => err(describeProgress(progress, seconds)),
  });
  out(json ? `${JSON.stringify(verdict)}\n` : describeVerdict(verdict));
  return verdict.held ? 0 : 1;
}

function numberOption(path: string, name: string, text: string, max: number): number {
  const number = Number(text);
  if (text.trim() !== '' && number >= 0 && number <= max) return number;
  throw optionsError(path, name, `must be a number from 0 to ${max}`);
}

function writeUntilKilled({ path: task }: CommandOptions): Promise<never> {
  return writeForEver(JSON.parse(task) as WriterTask, sayAtOnce);
}
