/**
 * Serves a pod of level `exit` over a socket, with small frames and a token that the test knows. On SIGUSR2 it says how much memory it needs after
 * a collection of garbage, and how often it cut somebody off. To be started with `--expose-gc`.
 */

import { nodeSystem } from '../../../src/disk/system.ts';
import { type Json, type Key, POD } from '../../../src/index.ts';
import { Broker } from '../../../src/shared/broker.ts';
import { LIMITS } from '../../../src/shared/protocol.ts';
import { listen } from '../../../src/shared/server.ts';
import { say } from './say.ts';

const [folder = '', socketPath = '', token = '', frameBytes = ''] = process.argv.slice(2);
const pod = POD.open<Json, Key>(folder, { durability: 'exit' });
const broker = new Broker(nodeSystem, pod, undefined, { leaseMs: 30_000, maxDeaths: 5 });
let refusals = 0;
await listen(broker, socketPath, {
  clock: nodeSystem.clock,
  token,
  limits: { ...LIMITS, strangers: 1024, frameBytes: Number(frameBytes) },
  kind: 'pod',
  onRefusal: () => {
    refusals++;
  },
});
let looks = 0;
process.on('SIGUSR2', () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  say(`look ${++looks}: ${heapUsed + external} ${refusals}`);
});
setInterval(() => {}, 60_000);
say('listens');
