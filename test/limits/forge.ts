// Makes folders by hand whose checksums are right and whose content is whatever a test wants, as somebody hostile would.
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll } from 'vitest';
import { PodError } from '../../src/index.ts';

/** A temporary folder for one test file; gives out paths in it that nothing uses yet. */
export function temporaryPaths(): (name?: string) => string {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'everpod-limits-')));
  let count = 0;
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return (name = 'pod') => join(root, `${count++}-${name}`);
}

const hex8 = (value: number): string => value.toString(16).padStart(8, '0');

export const ID = 'abcdef01';
/** The manifest of an empty folder, as text. */
export const EMPTY_POD = `{"format":1,"id":"${ID}","epoch":3,"gen":0,"fileSize":10,"gzip":false,"wal":[[1,0]],"drop":{},"shards":{}}`;

/** The bytes of a manifest with this body and the right checksum. */
export function manifestText(body: string): string {
  return `{"crc":"${hex8(crc32(body))}","pod":${body}}\n`;
}

export const HEADER = `{"wal":1,"id":"${ID}","gen":0,"base":0,"prev":"00000000","salt":"0123456789abcdef"}`;

/** A log segment with these lines, each chained to the one before. */
export function logText(lines: readonly string[], header: string = HEADER): string {
  let crc = 0;
  return [header, ...lines]
    .map((line) => {
      crc = crc32(line, crc);
      return `${hex8(crc)} ${line}\n`;
    })
    .join('');
}

/** A shard's entry in a manifest: what the text says it is. */
export function listed(text: string | Buffer, lines: number, seq: number = 0): string {
  const bytes = Buffer.from(text);
  return `[${lines},${bytes.length},"${hex8(crc32(bytes))}",${seq}]`;
}

export function makeFolder(path: string, files: Readonly<Record<string, string | Buffer>>): string {
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

/** Every name below a folder with what it is and what it holds; links are not followed. The lock's text is left out. */
export function picture(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (path: string, name: string): void => {
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) found[name] = `link to ${readlinkSync(path)}`;
    else if (stat.isDirectory()) {
      found[name] = 'folder';
      for (const each of readdirSync(path)) visit(join(path, each), `${name}/${each}`);
    } else if (stat.isFile()) {
      const content = name === './lock' ? 'lock' : createHash('sha1').update(readFileSync(path)).digest('hex');
      found[name] = `file of ${name === './lock' ? 0 : stat.size}, ${content}`;
    } else found[name] = 'special';
  };
  visit(folder, '.');
  return found;
}

/** The `PodError` that `work` throws; anything else is a failure. */
export function thrownBy(work: () => unknown): PodError {
  try {
    work();
  } catch (error) {
    if (error instanceof PodError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
