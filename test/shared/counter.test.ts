// Counter oracle: clients count while the owner is killed again and again, and the sum is exact.
import { describe, expect, it } from 'vitest';
import { POD } from '../../src/index.ts';
import { useBench } from '../process/built.ts';
import { testSize } from '../size.ts';
import { workUnderKills } from './killed-owners.ts';

const bench = useBench();
const { clients, times, kills } = {
  small: { clients: 3, times: 400, kills: 4 },
  ci: { clients: 8, times: 2000, kills: 15 },
  long: { clients: 8, times: 10_000, kills: 50 },
}[testSize];

describe('increment', () => {
  it(`K2: ${clients} clients count to ${times} each while the owner is killed ${kills} times: the sum is exact`, async () => {
    const folder = bench.newPath('counted');
    const { ends, killed } = await workUnderKills(
      folder,
      () => bench.start('everpod', ['serve-pod', folder, '--create']),
      () => Array.from({ length: clients }, () => bench.start('sharer', ['count', folder, String(times), '4'])),
      kills,
      () => 100 + Math.random() * 200,
    );
    for (const { code, stderr } of ends) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const pod = POD.open<number>(folder);
    expect(pod.get('sum')).toBe(clients * times);
    expect([...pod.keys()]).toEqual(['sum']);
    pod.close();
    console.log(`# counter: ${clients} x ${times}, the owner killed ${killed} times`);
    if (testSize !== 'small') expect(killed).toBe(kills);
  });
});
