/**
 * What each command of `everpod` does, apart from the command line.
 */
import { keyText } from '../core/key.ts';
import { acceptEdits, repairFolder, verifyFolder } from '../disk/repair.ts';
import { nodeSystem } from '../disk/system.ts';
import { exportTastypy } from '../disk/tastypy-export.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { engineOf, PersistentOrderedDict } from '../pod/pod.ts';

/** Where a command writes. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

export interface CommandOptions {
  readonly path: string;
  readonly json: boolean;
  readonly tastypy: string | undefined;
}

/** A command; returns the exit code. */
export type Command = (options: CommandOptions, output: Output) => number;

export const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['verify', verify],
  ['accept', accept],
  ['repair', repair],
  ['export', exportEntries],
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
    out(`${path}: kept ${report.entries} entries; ${report.lostLines} lines could not be read.\n`);
    out(`The files as they were are in ${path}/quarantine (${report.quarantined.length} files).\n`);
  }
  return 0;
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
