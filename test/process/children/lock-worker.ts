/** Opens a pod in the main thread and in a worker, and says who was let in. */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { POD } from '../../../src/index.ts';
import { say } from './say.ts';

function tryToOpen(folder: string): string {
  try {
    return `opened, ${POD.open<number>(folder).recovery.ended}`;
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    return `${code}: ${message}`;
  }
}

if (isMainThread) {
  const [folder = ''] = process.argv.slice(2);
  const pod = POD.open<number>(folder);
  const worker = new Worker(new URL(import.meta.url), { workerData: folder });
  const [whileOpen] = (await once(worker, 'message')) as [string];
  say(whileOpen);
  pod.close();
  worker.postMessage('now');
  const [afterClose] = (await once(worker, 'message')) as [string];
  say(afterClose);
  say(tryToOpen(folder));
  await worker.terminate();
  say(tryToOpen(folder));
} else {
  parentPort?.postMessage(tryToOpen(workerData));
  parentPort?.on('message', () => parentPort?.postMessage(tryToOpen(workerData)));
}
