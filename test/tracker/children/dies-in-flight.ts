// Takes the first task and ends with it in flight: killed, by an error nobody catches, by a signal, or by coming to its end.
import { ProgressTracker } from '../../../src/index.ts';

const [path = '', way] = process.argv.slice(2);
const tracker = ProgressTracker.open(path);
tracker.addMany(['deadly', 'later']);
tracker.tryKeys().next();
setImmediate(() => {
  if (way === 'error') throw new Error('nobody catches this');
  if (way === 'exit') process.exit(0);
  process.kill(process.pid, way === 'kill' ? 'SIGKILL' : 'SIGTERM');
  setInterval(() => {}, 1_000);
});
