// Temporary folders for the tracker's and the command's tests, and a tidy end for whatever a failed test left open.
import { cpSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import { PodError } from '../../src/core/errors.ts';

interface Closable {
  readonly closed: boolean;
  close(): void;
}

export interface Temporary {
  /** A path that nothing uses yet. */
  path(name?: string): string;
  /** A copy of a folder as it lies, which is what a killed process leaves. */
  copy(path: string): string;
  /** Closes a handle after the test, however the test ends. */
  keep<H extends Closable>(handle: H): H;
}

/** Makes a folder for the calling file, removed after its tests. */
export function useTemporary(): Temporary {
  const root = mkdtempSync(join(realpathSync(tmpdir()), 'everpod-tracker-'));
  const kept = new Set<Closable>();
  let paths = 0;
  const path = (name = 'a.pod'): string => join(root, `${++paths}`, name);
  afterEach(() => {
    for (const handle of kept) while (!handle.closed) handle.close();
    kept.clear();
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return {
    path,
    copy: (from) => {
      const to = path();
      cpSync(from, to, { recursive: true });
      return to;
    },
    keep: (handle) => {
      kept.add(handle);
      return handle;
    },
  };
}

/** The code of the error that `work` throws. */
export function codeOf(work: () => unknown): string {
  return errorOf(work).code;
}

/** The error that `work` throws, which has to be one of ours. */
export function errorOf(work: () => unknown): PodError {
  try {
    work();
  } catch (error) {
    if (error instanceof PodError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown.');
}
