// A process that has a tracker open and goes on writing to it until its standard input ends; then it says how often it wrote, and closes.
import { setTimeout as sleep } from 'node:timers/promises';
import { ProgressTracker } from '../../../src/tracker/tracker.ts';

const [path = ''] = process.argv.slice(2);
const tracker = ProgressTracker.open<{ round?: number }>(path, { fileSize: 3, maxTries: 2 });
tracker.addMany(['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6']);
tracker.incrementTries('k1');
tracker.fail('k1', new Error('HTTP 503'));
tracker.sync();

let isOver = false;
process.stdin.on('end', () => {
  isOver = true;
});
process.stdin.resume();
process.stdout.write('ready\n');

let round = 0;
for (; !isOver; round++) {
  tracker.update([[`k${2 + (round % 5)}`, { round }]]);
  if (round % 100 === 0) tracker.sync();
  await sleep(1);
}
process.stdout.write(`${round}\n`);
tracker.close();
