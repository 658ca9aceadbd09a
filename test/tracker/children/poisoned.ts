// A crawl of which one page kills the process, each time it is tried; started again and again until it gets through.
import { ProgressTracker } from '../../../src/index.ts';

const [path = '', maxDeaths] = process.argv.slice(2);
const tracker = ProgressTracker.open(path, { maxDeaths: Number(maxDeaths) });
tracker.addManyIfAbsent(['before', 'poison', 'after']);
for await (const key of tracker.tryKeys({ concurrency: 1 })) {
  if (key === 'poison') process.kill(process.pid, 'SIGKILL');
  tracker.markDone(key);
}
tracker.close();
