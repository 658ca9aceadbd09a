/**
 * Where the folders of tests lie that are about logic and not about a disk: in memory, if the system has a place for files there, because
 * an fsync costs nothing then.
 */
import { accessSync, constants, mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Makes a folder of its own for the caller, who removes it. */
export function makeMemoryFolder(name: string): string {
  return realpathSync(mkdtempSync(join(hasMemoryFiles() ? MEMORY_FILES : tmpdir(), `everpod-${name}-`)));
}

const MEMORY_FILES = '/dev/shm';

function hasMemoryFiles(): boolean {
  try {
    accessSync(MEMORY_FILES, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
