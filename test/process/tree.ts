/** Everything there is to know of a folder's files, so that two looks at it can be compared. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One line for each file and folder: name, kind and mode, owner, time of the last change, and content. */
export function treeOf(path: string): string[] {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return [`${path} missing`];
  const content = stat.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
  const line = `${path} ${stat.mode.toString(8)} ${stat.uid} ${stat.ino} ${stat.mtimeNs} ${content}`;
  if (!stat.isDirectory()) return [line];
  return [
    line,
    ...readdirSync(path)
      .sort()
      .flatMap((name) => treeOf(join(path, name))),
  ];
}
