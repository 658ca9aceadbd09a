/** Everything there is to know of a folder's files, so that two looks at it can be compared. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One line for each file and folder: its name, mode, owner and content. */
export function contentOf(path: string): string[] {
  return linesOf(path, false);
}

/** The same with inodes and times, which tell whether anything was written at all. */
export function treeOf(path: string): string[] {
  return linesOf(path, true);
}

function linesOf(path: string, withTimes: boolean): string[] {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return [`${path} missing`];
  const content = stat.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
  const times = withTimes ? ` ${stat.ino} ${stat.mtimeNs}` : '';
  const line = `${path} ${stat.mode.toString(8)} ${stat.uid} ${content}${times}`;
  if (!stat.isDirectory()) return [line];
  const names = readdirSync(path).sort();
  return [line, ...names.flatMap((name) => linesOf(join(path, name), withTimes))];
}
