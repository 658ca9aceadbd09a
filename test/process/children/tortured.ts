/** Tortures pods and does some damage of its own between a kill and the next look: what the torture is there to find. */
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../../src/cli/run.ts';
import { torture } from '../../../src/cli/torture.ts';
import { POD, Tracker } from '../../../src/index.ts';
import { say } from './say.ts';

const [first = '', path = '', only] = process.argv.slice(2);

/** Each does its damage if there is something to damage, and says whether it did. */
const DAMAGES: Record<string, (folder: string) => boolean> = {
  'a flipped bit in a shard': (folder) => {
    // One that the manifest lists: what a fold was about to add is in the log as well, and would be mended from there.
    const listed = /"(\d+)":\[/.exec(readFileSync(join(folder, 'pod.json'), 'utf8'))?.[1];
    const name = `${listed}.json.gz`;
    if (listed === undefined || !existsSync(join(folder, name))) return false;
    const bytes = readFileSync(join(folder, name));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(join(folder, name), bytes);
    return true;
  },
  'the last batches gone': (folder) => {
    const log = readdirSync(folder)
      .filter((file) => file.startsWith('wal-'))
      .at(-1);
    if (log === undefined) return false;
    const lines = readFileSync(join(folder, log), 'utf8').split('\n');
    const batches = lines.flatMap((line, index) => (/"o":"(commit|sync|mark)"/.test(line) ? [index] : []));
    const keep = batches[batches.length >> 1];
    if (keep === undefined || batches.length < 4) return false;
    truncateSync(join(folder, log), Buffer.byteLength(`${lines.slice(0, keep + 1).join('\n')}\n`));
    return true;
  },
  'one entry more': (folder) => {
    const pod = POD.open(folder);
    pod.set('nobody wrote this', 1);
    pod.close();
    return true;
  },
  'an entry less, then back at the end': (folder) => {
    const pod = POD.open(folder);
    const [key] = pod.keys();
    const value = key === undefined || pod.size < 2 ? undefined : pod.pop(key);
    if (key !== undefined && value !== undefined) pod.set(key, value);
    pod.close();
    return value !== undefined;
  },
  'a claim forgotten': (folder) => {
    const tracker = Tracker.open(folder);
    const key = [...tracker.keys()].find((each) => tracker.tries(each) > 0);
    if (key !== undefined) tracker.decrementTries(key);
    tracker.close();
    return key !== undefined;
  },
};

if (first in DAMAGES) {
  let done = false;
  // After each kill until it is found: one damage alone may hit what was never acknowledged, and rightly passes then.
  const onKilled = (folder: string): void => {
    if (existsSync(join(folder, 'pod.json')) && DAMAGES[first]?.(folder) === true) done = true;
  };
  const { held, findings } = await torture({ path, seconds: 45, seed: 5, only, onKilled });
  say(`${done ? 'damaged' : 'untouched'}, ${held ? 'held' : 'not held'}`);
  for (const finding of findings) say(finding);
} else {
  // A writer of the torture above is this same program.
  process.exitCode = await run(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  });
}
