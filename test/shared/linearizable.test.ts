// Every entry of a shared pod behaves as if all calls were carried out one at a time, also while its owners are killed.
import { describe, expect, it } from 'vitest';
import { useBench } from '../process/built.ts';
import { testSize } from '../size.ts';
import { workUnderKills } from './killed-owners.ts';
import { isLinearizable, type Observed } from './linearizable.ts';

const bench = useBench();
const { clients, calls, kills } = {
  small: { clients: 3, calls: 150, kills: 3 },
  ci: { clients: 5, calls: 1000, kills: 15 },
  long: { clients: 6, calls: 4000, kills: 50 },
}[testSize];

describe('a history', () => {
  const observed = (
    operation: Observed['operation'],
    argument: number,
    result: Observed['result'],
    calledNs: number,
    answeredNs: number,
  ): Observed => ({
    client: 0,
    operation,
    argument,
    result,
    calledNs: BigInt(calledNs),
    answeredNs: BigInt(answeredNs),
  });

  it('is judged by whether an order explains it', () => {
    const set = observed('set', 1, null, 0, 10);
    expect(isLinearizable([set, observed('get', 0, null, 1, 5), observed('get', 0, 1, 2, 6)])).toBe(true);
    expect(isLinearizable([set, observed('get', 0, 1, 1, 5), observed('get', 0, null, 6, 9)])).toBe(false);
    expect(isLinearizable([set, observed('get', 0, null, 11, 12)])).toBe(false);
    const [first, second] = [observed('increment', 1, 1, 0, 10), observed('increment', 1, 2, 0, 10)];
    expect(isLinearizable([second, first])).toBe(true);
    expect(isLinearizable([first, observed('increment', 1, 1, 5, 20)])).toBe(false);
    expect(isLinearizable([first, observed('delete', 0, false, 11, 12)])).toBe(false);
    expect(isLinearizable([first, observed('increment', 1, 3, 11, 12)])).toBe(false);
  });

  it(`of ${clients} clients with ${calls} calls each, while the owner is killed ${kills} times, is linearizable for each entry`, async () => {
    const folder = bench.newPath('history');
    const { ends, killed } = await workUnderKills(
      folder,
      () => bench.start('everpod', ['serve-pod', folder, '--create']),
      () =>
        Array.from({ length: clients }, (_, index) =>
          bench.start('sharer', ['record', folder, String(calls), String(index + 1)]),
        ),
      kills,
      () => 80 + Math.random() * 150,
    );
    const histories = new Map<string, Observed[]>();
    for (const { code, stderr, lines } of ends) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      for (const line of lines) {
        const { key, calledNs, answeredNs, ...rest } = JSON.parse(line);
        const history = histories.get(key) ?? [];
        histories.set(key, history);
        history.push({ ...rest, calledNs: BigInt(calledNs), answeredNs: BigInt(answeredNs) });
      }
    }
    const lengths = [...histories.values()].map(({ length }) => length);
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(clients * calls);
    for (const [key, history] of histories) expect([key, isLinearizable(history)]).toEqual([key, true]);
    console.log(`# history: ${clients * calls} calls on ${histories.size} entries, the owner killed ${killed} times`);
    expect(killed).toBeGreaterThan(0);
  });
});
