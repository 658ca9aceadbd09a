// Handles of shared pods for one test file, closed after each test however it ends; each behind a socket or in the owner's process.
import { once } from 'node:events';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach } from 'vitest';
import { PodError } from '../../src/core/errors.ts';

interface Closable {
  readonly closed: boolean;
  close(): Promise<void>;
}

/** A temporary folder, and handles that do not outlive their test. */
export function useHandles(): {
  path(name?: string): string;
  keep<H extends Closable>(handle: Promise<H>): Promise<H>;
} {
  const root = mkdtempSync(join(realpathSync(tmpdir()), 'everpod-shared-'));
  const kept: Closable[] = [];
  let paths = 0;
  afterEach(async () => {
    for (const handle of kept.splice(0).reverse()) await handle.close().catch(() => {});
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return {
    path: (name = 'a.pod') => join(root, `${++paths}-${name}`),
    keep: async (opening) => {
      const handle = await opening;
      kept.push(handle);
      return handle;
    },
  };
}

/** The error that a promise is rejected with, which has to be one of ours. */
export async function errorOf(promise: Promise<unknown>): Promise<PodError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PodError) return error;
    throw error;
  }
  throw new Error('It was not rejected.');
}

/** The code of that error. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await errorOf(promise)).code;
}

/** All that an iteration gives. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** A thread that serves a folder, so that handles of the test reach it over the socket. */
export async function ownerThread(
  program: string,
  folder: string,
  kind: 'pod' | 'tracker',
): Promise<() => Promise<void>> {
  const worker = new Worker(program, { workerData: { folder, kind } });
  await once(worker, 'message');
  return async () => {
    worker.postMessage('end');
    await once(worker, 'exit');
  };
}
