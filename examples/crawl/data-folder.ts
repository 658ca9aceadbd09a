/** Decides which folder holds a crawl: the newest one of that site, or the one after it. */
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** `demo`, then `demo-run-2`, `demo-run-3` for each `fresh` start. No crawl is ever overwritten or moved. */
export function dataFolder(root: string, siteName: string, fresh: boolean): string {
  mkdirSync(root, { recursive: true });
  const prefix = `${siteName}-run-`;
  let newest = 0;
  for (const name of readdirSync(root)) {
    const run = name === siteName ? 1 : name.startsWith(prefix) ? Number(name.slice(prefix.length)) : 0;
    if (Number.isSafeInteger(run)) newest = Math.max(newest, run);
  }
  const run = fresh ? newest + 1 : Math.max(newest, 1);
  const folder = path.join(root, run === 1 ? siteName : `${prefix}${run}`);
  mkdirSync(folder, { recursive: true });
  return folder;
}
