// Who serves a shared folder, as its note says.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The owner's process; undefined where there is none, or it is just changing. */
export function ownerOf(folder: string): number | undefined {
  try {
    return (JSON.parse(readFileSync(join(folder, 'shared.json'), 'utf8')) as { pid: number }).pid;
  } catch {
    return undefined;
  }
}
