// What the tests of the pod share: a temporary folder for each file, the error a call throws, and a look at a folder's files.
import { mkdtempSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import { PodError, type PodErrorCode } from '../../src/index.ts';
import type { PodOptions } from '../../src/pod/options.ts';
import { PersistentOrderedDict } from '../../src/pod/pod.ts';

export interface Temporary {
  readonly root: string;
  /** The path of a folder that does not exist yet. */
  path(): string;
  /** Opens a pod that is closed after the test, whatever becomes of it. */
  open<V = Json, K extends Key = string>(path: string, options?: PodOptions<V, K>): PersistentOrderedDict<V, K>;
}

/** A temporary folder for one test file. */
export function temporary(): Temporary {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'everpod-pod-')));
  const opened = new Set<{ close(): void; readonly closed: boolean }>();
  let count = 0;
  afterEach(() => {
    for (const pod of opened) while (!pod.closed) pod.close();
    opened.clear();
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return {
    root,
    path: () => join(root, `${count++}.pod`),
    open: <V = Json, K extends Key = string>(path: string, options: PodOptions<V, K> = {}) => {
      const pod = PersistentOrderedDict.open<V, K>(path, options);
      opened.add(pod);
      return pod;
    },
  };
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

export function codeOf(work: () => unknown): PodErrorCode {
  return thrownBy(work).code;
}

/** Every file and folder below a folder, with its size and the time of its last change. */
export function listing(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return ['.', ...names].map((name) => {
    const stat = statSync(join(folder, name), { bigint: true });
    return `${name} ${stat.isDirectory() ? 'folder' : stat.size} ${stat.mtimeNs} ${stat.ino}`;
  });
}

/** What `JSON.parse` would give of a value: the plain form that a view is compared with. */
export function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
