/**
 * Writes a folder as tastypy would have written it: bare shards, keys with doubled backslashes, ASCII, every file full but the last.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import type { Key } from '../core/key.ts';
import { disk } from './files.ts';
import type { FileSystem } from './fs.ts';
import { makeEmptyFolder } from './make-folder.ts';
import { shardName } from './names.ts';
import { packShard } from './shards.ts';
import { asciiJson, encodeTastypyKey } from './tastypy.ts';

/**
 * Writes entries into a folder that is missing or empty. A value that was never changed keeps the very text tastypy gave it.
 *
 * @returns the names of the files
 */
export function exportTastypy(
  fs: FileSystem,
  path: string,
  entries: Iterable<{ readonly key: Key; readonly text: string }>,
  { fileSize, gzip }: { readonly fileSize: number; readonly gzip: boolean },
): string[] {
  makeEmptyFolder(fs, path);
  const files: string[] = [];
  let lines: string[] = [];
  const writeShard = (): void => {
    const name = shardName(files.length, gzip);
    disk(path, `write ${name}`, () =>
      fs.stage(join(path, name), packShard(Buffer.from(lines.join(''), 'latin1'), gzip)),
    );
    files.push(name);
    lines = [];
  };
  for (const { key, text } of entries) {
    lines.push(`${encodeTastypyKey(key)}\t${asciiJson(text)}\n`);
    if (lines.length === fileSize) writeShard();
  }
  if (lines.length > 0) writeShard();
  disk(path, 'fsync the folder', () => fs.fsyncFolder(path));
  return files;
}
