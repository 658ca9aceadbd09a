/** A follower beside a real writing process that commits, folds, goes back, compacts and opens again, stopped at any moment. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { Follower } from '../../src/disk/follower.ts';
import { readFolder } from '../../src/disk/reader.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { testSeed, testSize } from '../size.ts';
import { stop, useBench } from './built.ts';

const bench = useBench();
const seed = testSeed(1);
const STOPS = { small: 60, ci: 1_000, long: 5_000 }[testSize];
/** As in `children/bank.ts`. */
const SUM = 2_400;

it.each([false, true])(
  'sees only whole batches, and what a fresh reader sees (gzipped: %s)',
  { timeout: 3_600_000 },
  async (gzipped) => {
    const folder = bench.newPath();
    const writer = bench.start('bank', [folder, String(seed), String(gzipped)]);
    await writer.said('ready');
    const follower = new Follower(nodeSystem, folder);
    let anew = 0;
    let looks = 0;
    const versions = new Set<number>();
    for (let round = 0; round < STOPS; round++) {
      // Looks at a writer that runs.
      for (let n = 0; n < 5; n++) {
        looks++;
        if (follower.look().anew) anew++;
        let sum = 0;
        for (const { key, source, position, length, check } of follower.entries()) {
          const { amount } = JSON.parse(source.textAt(position, length, check)) as { amount: number };
          if (key === 'version') versions.add(amount);
          else sum += amount;
        }
        expect(sum, `seed ${seed}`).toBe(SUM);
        await sleep(2);
      }
      await stop(writer);
      follower.look();
      const seen = [...follower.entries()].map(({ key, source, position, length, check }) => [
        key,
        source.textAt(position, length, check),
      ]);
      const fresh = readFolder(nodeSystem, folder).entries.map(({ key, source, position, length, check }) => [
        key,
        source.textAt(position, length, check),
      ]);
      expect(seen, `seed ${seed}`).toEqual(fresh);
      expect(follower.lastProcess().pid ?? writer.pid).toBe(writer.pid);
      writer.process.kill('SIGCONT');
    }
    writer.process.kill('SIGKILL');
    await writer.finished;
    follower.look();
    expect(['killed', 'closed']).toContain(follower.lastProcess().state);
    console.info(`follower, seed ${seed}: ${looks} looks, ${anew} anew, ${versions.size} versions`);
    expect(versions.size).toBeGreaterThan(STOPS / 4);
    expect(anew).toBeLessThan(looks);
  },
);
