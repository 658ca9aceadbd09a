// A thread that is the owner of a shared folder until it is told to end.
import { parentPort, workerData } from 'node:worker_threads';
import { SharedPOD, SharedTracker } from '../../../src/shared/index.ts';

const { folder, kind } = workerData as { folder: string; kind: 'pod' | 'tracker' };
const shared = kind === 'tracker' ? await SharedTracker.open(folder) : await SharedPOD.open(folder);
parentPort?.once('message', () => {
  void shared.close().then(() => process.exit(0));
});
parentPort?.postMessage(shared.isOwner);
