/**
 * A busy writer whose state is a function of one number. A file beside the folder says, at every moment, which version it has begun and which
 * one it has acknowledged; in between it syncs, folds, compacts, and closes and opens again.
 */
import { openSync, writeSync } from 'node:fs';
import { POD } from '../../../src/index.ts';
import { nextTurn, say } from './say.ts';

const KEYS = 40;

/** What a version changes in the one before it. */
export function applyVersion(
  version: number,
  pod: { set(key: string, value: object): unknown; delete(key: string): unknown },
): void {
  pod.set('version', { version });
  // Deleted and set again now and then, so that the order changes, too.
  if (version % 3 === 0) pod.delete(`k${(version * 7) % KEYS}`);
  pod.set(`k${(version * 11) % KEYS}`, { version, pad: 'x'.repeat(version % 13 === 0 ? 60_000 : 10) });
  pod.set(`k${(version * 17) % KEYS}`, { version });
}

async function writeForEver(folder: string, gzipped: boolean): Promise<never> {
  const options = { fileSize: 7, gzipped, syncEvery: 0 };
  const progress = openSync(`${folder}.progress`, 'w+');
  const note = (place: number, version: number): void => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(version);
    writeSync(progress, bytes, 0, 8, 8 * place);
  };
  let pod = POD.open<object>(folder, options);
  for (let version = 1; ; version++) {
    note(0, version);
    pod.transaction(() => applyVersion(version, pod));
    await nextTurn();
    note(1, version);
    if (version === 20) say('ready');
    if (version % 5 === 0) pod.sync();
    if (version % 17 === 0) await pod.flush();
    if (version % 41 === 0) pod.compact();
    if (version % 29 === 0) {
      pod.close();
      pod = POD.open<object>(folder, options);
    }
  }
}

const [folder, gzipped] = process.argv.slice(2);
if (folder !== undefined && process.argv[1]?.includes('versions')) await writeForEver(folder, gzipped === 'true');
