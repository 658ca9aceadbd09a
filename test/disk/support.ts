/**
 * What the tests of the disk floor share: logs written line by line, folders in memory, and errors as values.
 */
import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { PodError } from '../../src/core/errors.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import { MemoryFileSystem } from '../../src/testing/index.ts';

export const PATH = '/pod';

/** Log lines with their chain of checksums, from the JSON of each; the first one is a header. */
export function logOf(lines: readonly string[]): Buffer {
  let crc = 0;
  const text = lines.map((json) => {
    crc = crc32(json, crc);
    return `${crc.toString(16).padStart(8, '0')} ${json}\n`;
  });
  return Buffer.from(text.join(''));
}

/** A header's JSON. */
export function header(wal: number = 1, base: number = 0, prev: string = '00000000', gen: number = 0): string {
  return `{"wal":${wal},"id":"3f1c9a52","gen":${gen},"base":${base},"prev":"${prev}","salt":"9f2c41d07be8a356"}`;
}

/** A disk that holds these files in the pod's folder. */
export function diskWith(files: Readonly<Record<string, string | Uint8Array>>): MemoryFileSystem {
  const image = Object.entries(files).map(([name, content]): [string, Uint8Array] => [
    `${PATH}/${name}`,
    typeof content === 'string' ? Buffer.from(content) : content,
  ]);
  return MemoryFileSystem.fromImage(new Map<string, Uint8Array | 'folder'>([[PATH, 'folder'], ...image]));
}

export function textOf(fs: MemoryFileSystem, name: string): string | undefined {
  const content = fs.image().get(`${PATH}/${name}`);
  return content === undefined || content === 'folder' ? undefined : Buffer.from(content).toString();
}

/** The error that some code throws. */
export function thrown(code: () => unknown): PodError {
  try {
    code();
  } catch (error) {
    if (error instanceof PodError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown.');
}

export const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};
