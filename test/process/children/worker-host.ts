/** Runs `ending.ts` as a worker thread and ends the worker, or everything, in the way it was told to. Opens no pod itself. */
import { Worker } from 'node:worker_threads';
import { say } from './say.ts';

const [folder = '', durability = '', ending = '', then = ''] = process.argv.slice(2);
const worker = new Worker(new URL('./ending.js', import.meta.url), { argv: [folder, durability, ending] });
worker.on('error', (error) => say(`worker error: ${error.message}`));
worker.on('exit', (code) => say(`worker exit ${code}`));
worker.on('message', () => {
  say('waiting');
  if (then === 'terminate') void worker.terminate();
  if (then === 'main exits') process.exit(3);
});
