// Counter oracle: clients count while the owner is killed again and again, and the sum is exact.
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { POD } from '../../src/index.ts';
import { type Child, testSize, useBench } from '../process/built.ts';
import { ownerOf } from './owner-of.ts';

const bench = useBench();
const { clients, times, kills } = {
  small: { clients: 3, times: 400, kills: 4 },
  ci: { clients: 8, times: 2000, kills: 15 },
  long: { clients: 8, times: 10_000, kills: 50 },
}[testSize];

describe('increment', () => {
  it(`K2: ${clients} clients count to ${times} each while the owner is killed ${kills} times: the sum is exact`, async () => {
    const folder = bench.newPath('counted');
    const owners = new Map<number, Child>();
    const stand = (): void => {
      const owner = bench.start('everpod', ['serve-pod', folder, '--create']);
      owners.set(owner.pid, owner);
    };
    stand();
    stand();
    const counting = Array.from({ length: clients }, () =>
      bench.start('sharer', ['count', folder, String(times), '4']),
    );
    let killed = 0;
    let isOver = false;
    const all = Promise.all(counting.map(({ finished }) => finished)).finally(() => {
      isOver = true;
    });
    while (killed < kills && !isOver) {
      await sleep(100 + Math.random() * 200);
      const owner = owners.get(ownerOf(folder) ?? -1);
      if (owner === undefined) continue;
      owner.process.kill('SIGKILL');
      await owner.finished;
      owners.delete(owner.pid);
      killed++;
      stand();
    }
    const ends = await all;
    for (const { code, stderr } of ends) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const owner of owners.values()) owner.process.kill('SIGTERM');
    await Promise.all([...owners.values()].map(({ finished }) => finished));
    const pod = POD.open<number>(folder);
    expect(pod.get('sum')).toBe(clients * times);
    expect([...pod.keys()]).toEqual(['sum']);
    pod.close();
    console.log(`# counter: ${clients} x ${times}, the owner killed ${killed} times`);
    if (testSize !== 'small') expect(killed).toBe(kills);
  });
});
