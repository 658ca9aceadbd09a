/**
 * One process of the measurement of stores that several processes use: serves, fills, works, or looks at what came of it.
 *
 * It says `ready`, and does each step when it is told to.
 */
import { once } from 'node:events';
import { crawlKey } from './data.ts';
import { timeEach } from './measure.ts';
import { SHARED_CONTESTANTS, type SharedCounts } from './peers/shared.ts';

/** What such a process is told as its argument. */
export interface SharedJob {
  readonly role: 'serve' | 'fill' | 'work' | 'check';
  readonly contestant: string;
  readonly folder: string;
  /** The number of the worker, from 0. */
  readonly index: number;
  readonly tasks: number;
  readonly updates: number;
}

/** What it says when it has done what it was told. */
export type SharedWord =
  | { readonly what: 'ready' }
  /** The numbers of the tasks that it did, and how long it worked. */
  | { readonly what: 'drained'; readonly tasks: readonly number[]; readonly elapsedMs: number }
  /** The time of each update, in microseconds. */
  | { readonly what: 'updated'; readonly times: readonly number[] }
  | { readonly what: 'counted'; readonly counts: SharedCounts };

/** Updates at the beginning whose times do not count. */
const WARM_UP = 100;

const { role, contestant, folder, index, tasks, updates } = JSON.parse(process.argv[2] ?? '') as SharedJob;
const peer = SHARED_CONTESTANTS.find(({ id }) => id === contestant)?.make();
if (peer === undefined) throw new Error(`There is no contestant ${contestant}.`);
// Whoever started it is gone, so nobody waits for it.
process.on('disconnect', () => process.exit());

if (role === 'serve') {
  const stop = await peer.serve?.(folder);
  await told();
  await stop?.();
} else if (role === 'fill') {
  await peer.fill(
    folder,
    Array.from({ length: tasks }, (_, task) => crawlKey(task)),
  );
} else {
  const worker = await peer.connect(folder, index);
  if (role === 'check') say({ what: 'counted', counts: await worker.counts() });
  else {
    await told();
    const startedMs = performance.now();
    const keys: string[] = [];
    await worker.drain((key) => keys.push(key));
    const elapsedMs = performance.now() - startedMs;
    say({ what: 'drained', tasks: keys.map(numberOf), elapsedMs });
    await once(process, 'message');
    const times = await timeEach(updates, () => worker.increment());
    say({ what: 'updated', times: times.slice(WARM_UP) });
    await once(process, 'message');
  }
  await worker.close();
}
process.disconnect();

/** Says that it may begin, and waits until it is told to. */
async function told(): Promise<void> {
  const go = once(process, 'message');
  say({ what: 'ready' });
  await go;
}

function say(word: SharedWord): void {
  process.send?.(word);
}

function numberOf(key: string): number {
  return Number(/(\d+)\.html$/.exec(key)?.[1]);
}
