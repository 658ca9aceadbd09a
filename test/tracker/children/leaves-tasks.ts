// A process that leaves tasks in every state, two of them in flight, and ends as it is told.
import { setTimeout as sleep } from 'node:timers/promises';
import { ProgressTracker } from '../../../src/tracker/tracker.ts';

const [path = '', ending = ''] = process.argv.slice(2);
const tracker = ProgressTracker.open(path, { maxTries: 2, fileSize: 3 });
tracker.addMany(['done', 'aborted', 'exhausted', 'failed', 'in flight 1', 'in flight 2', 'new 1', 'new 2']);
tracker.markDone('done');
tracker.abort('aborted');
for (const key of ['exhausted', 'exhausted', 'failed']) tracker.incrementTries(key);
tracker.fail('failed', new Error('404'));
// A claim is in the log before it is handed out; what came before it is there too.
let inFlight = 0;
for (const key of tracker.tryKeys()) {
  if (key === 'failed') {
    tracker.decrementTries(key);
    continue;
  }
  if (++inFlight === 2) break;
}

switch (ending) {
  case 'close':
    tracker.close();
    break;
  case 'kill':
    process.kill(process.pid, 'SIGKILL');
    break;
  case 'exit':
    process.exit(3);
    break;
  case 'error':
    setImmediate(() => {
      throw new Error('nobody catches this');
    });
    break;
  case 'full heap':
    fillHeap([]);
    break;
  case 'signal':
    process.kill(process.pid, 'SIGTERM');
    await sleep(10_000);
    break;
  default:
    throw new Error(`unknown ending ${ending}`);
}

function fillHeap(hoard: unknown[]): void {
  while (hoard.length < 1e9) hoard.push(new Array(1000).fill('memory'));
}
