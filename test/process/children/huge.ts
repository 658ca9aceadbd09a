/** Fills a pod with values of 16 MB until its files are as large as told, or looks whether all of them are there. */
import { POD } from '../../../src/index.ts';
import { say } from './say.ts';

const [folder = '', what = '', megabytes = '0', gzipped = ''] = process.argv.slice(2);
const VALUE_MEGABYTES = 16;
const count = Math.ceil(Number(megabytes) / VALUE_MEGABYTES);

/** Each value is another text, with more than ASCII in every fourth one. */
function valueAt(n: number): { n: number; text: string } {
  const unit = `${n} ${n % 4 === 3 ? 'äöü €' : 'plain text'} `;
  const bytes = Buffer.byteLength(unit);
  return { n, text: unit.repeat(Math.floor((VALUE_MEGABYTES << 20) / bytes)) };
}

const pod = POD.open<{ n: number; text: string }>(folder, {
  fileSize: 1_000_000,
  syncEvery: 0,
  ...(gzipped === 'gzipped' && { gzipped: true }),
});
const steps: Record<string, () => void> = {
  // One value a batch. The log is not folded, because nothing lets the loop go on before the process is gone.
  fill: () => {
    for (let n = pod.size; n < count; n++) {
      pod.set(`key ${n}`, valueAt(n));
      pod.sync();
    }
    say(`filled ${pod.size}`);
    process.kill(process.pid, 'SIGKILL');
  },
  check: () => {
    let n = 0;
    for (const key of pod.keys()) {
      const value = pod.snapshot(key);
      const expected = valueAt(n);
      if (key !== `key ${n}` || value?.n !== n || value.text !== expected.text) throw new Error(`${key} is wrong`);
      n++;
    }
    say(`checked ${n}, replayed ${pod.recovery.replayed}`);
  },
  compact: () => {
    pod.compact();
    say('compacted');
  },
  revert: () => {
    pod.set('key 0', { n: -1, text: '' });
    pod.revert();
    say('reverted');
  },
  close: () => {
    pod.close();
    say('closed');
  },
};
for (const step of what.split(',')) steps[step]?.();
