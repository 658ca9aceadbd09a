/** A follower sees, after each look, exactly what a fresh reader sees, whatever the writer did in between; and looking again is cheap. */
import { appendFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Key } from '../../src/core/key.ts';
import { Follower, type Look } from '../../src/disk/follower.ts';
import { readFolder } from '../../src/disk/reader.ts';
import { acceptEdits } from '../../src/disk/repair.ts';
import type { System } from '../../src/disk/system.ts';
import { type Random, seededRandom } from '../../src/testing/index.ts';
import { type Pod, World } from '../property/model-world.ts';
import { testSeed, testSize } from '../size.ts';
import { thrown } from './support.ts';

const SEED = testSeed(1);
const RUNS = { small: 15, ci: 200, long: 1_000 }[testSize];
const STEPS = 60;

const worlds: World[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.remove();
});

/** A world whose pods fold after a few hundred bytes. */
function newWorld(): World {
  const world = new World(() => {});
  Object.assign(world.system, { foldLogBytes: 600 });
  worlds.push(world);
  return world;
}

function followed(follower: Follower): [Key, string, number][] {
  return [...follower.entries()].map(({ key, shard, source, position, length, check }) => [
    key,
    source.textAt(position, length, check),
    shard,
  ]);
}

function fresh(system: System, path: string): [Key, string, number][] {
  return readFolder(system, path).entries.map(({ key, shard, source, position, length, check }) => [
    key,
    source.textAt(position, length, check),
    shard,
  ]);
}

describe('a follower', () => {
  it('equals a fresh reader after each look, whatever was done in between', { timeout: 600_000 }, async () => {
    const count = { looks: 0, anew: 0, wentBack: 0, unseenFolds: 0 };
    for (let run = 0; run < RUNS; run++) {
      const seed = SEED + run;
      const random = seededRandom(seed);
      const world = newWorld();
      const path = world.newFolder();
      const options = { fileSize: 1 + random.below(5), gzipped: random.chance(0.3) };
      let pod = world.open(path, options);
      const follower = new Follower(world.system, path);
      const did: string[] = [];
      for (let step = 0; step < STEPS; step++) {
        pod = await change(world, pod, random, path, did, () => {
          if (follower.look().wentBackTo !== undefined) count.wentBack++;
        });
        if (random.chance(0.4)) continue;
        const look = follower.look();
        count.looks++;
        if (look.anew) count.anew++;
        if (look.wentBackTo !== undefined) count.wentBack++;
        if (look.missed) count.unseenFolds++;
        const how = `seed ${seed}: ${did.join(' ')}`;
        expect(followed(follower), how).toEqual(fresh(world.system, path));
        expect(follower.meta, how).toEqual(readFolder(world.system, path).meta);
      }
      world.remove();
    }
    console.info(`follower, seed ${SEED}: ${JSON.stringify(count)}`);
    // Else it was not tried: it follows most of the time, and it meets what it cannot follow.
    expect(count.anew).toBeLessThan(count.looks / 2);
    expect(count.wentBack).toBeGreaterThan(0);
    expect(count.unseenFolds).toBeGreaterThan(0);
  });

  it('gives the records since the last look, in order, and none twice', () => {
    const world = newWorld();
    const path = world.newFolder();
    const pod = world.open(path);
    pod.set('a', 1);
    pod.sync();
    const follower = new Follower(world.system, path);
    expect(told(follower.look())).toEqual(['set a 1']);
    expect(told(follower.look())).toEqual([]);
    pod.set('b', { x: [2, '}'] });
    pod.delete('a');
    pod.sync();
    expect(told(follower.look())).toEqual(['del a', 'set b {"x":[2,"}"]}']);
    pod.clear();
    pod.sync();
    expect(told(follower.look())).toEqual(['clear']);
  });

  it('counts no batch that is not complete', () => {
    const world = newWorld();
    const path = world.newFolder();
    const pod = world.open(path);
    pod.set('a', 1);
    pod.sync();
    const copy = world.copyOf(path);
    const follower = new Follower(world.system, copy);
    follower.look();
    pod.transaction(() => {
      pod.set('b', 2);
      pod.set('c', 3);
    });
    pod.sync();
    const log = 'wal-000001.jsonl';
    const before = readFileSync(join(copy, log)).length;
    const all = readFileSync(join(path, log));
    // The batch arrives byte by byte.
    for (let length = before; length <= all.length; length++) {
      writeFileSync(join(copy, log), all.subarray(0, length));
      const look = follower.look();
      expect(look.anew).toBe(false);
      expect(told(look)).toEqual(length === all.length ? ['set b 2', 'set c 3'] : []);
    }
  });

  it('says how far the program went back, and what it did instead', async () => {
    const world = newWorld();
    const path = world.newFolder();
    const pod = world.open(path);
    pod.set('a', 1);
    pod.sync();
    const follower = new Follower(world.system, path);
    follower.look();
    pod.hold();
    pod.transaction(() => pod.set('b', 2));
    await world.turn();
    expect(told(follower.look())).toEqual(['set b 2']);
    pod.revert();
    pod.transaction(() => pod.set('c', 3));
    await world.turn();
    const look = follower.look();
    expect(look).toMatchObject({ anew: true, wentBackTo: 2, missed: false });
    expect(told(look)).toEqual(['set c 3']);
    pod.unhold();
  });

  it('notices a shard that was edited and accepted, which no record tells', () => {
    const world = newWorld();
    const path = world.newFolder();
    const pod = world.open(path);
    pod.set('a', 1);
    pod.close();
    const follower = new Follower(world.system, path);
    follower.look();
    writeFileSync(join(path, '0.json'), '"a"\t17\n');
    expect(acceptEdits(world.system, path)).toEqual(['0.json']);
    expect(follower.look().anew).toBe(true);
    expect(followed(follower)).toEqual([['a', '17', 0]]);
  });

  it('reads a hundredth of the folder when a hundredth of it changed', () => {
    const world = newWorld();
    Object.assign(world.system, { foldLogBytes: 1 << 24 });
    const path = world.newFolder();
    const pod = world.open(path);
    for (let n = 0; n < 20_000; n++) pod.set(n, 'x'.repeat(50));
    pod.compact();
    let bytes = 0;
    const { fs } = world.system;
    const counting: System = {
      ...world.system,
      fs: {
        ...fs,
        read: (fd, buffer, offset, length, position) => {
          const count = fs.read(fd, buffer, offset, length, position);
          bytes += count;
          return count;
        },
      },
    };
    const follower = new Follower(counting, path);
    follower.look();
    const whole = bytes;
    bytes = 0;
    follower.look();
    expect(bytes).toBeLessThan(2_000);
    bytes = 0;
    for (let n = 0; n < 200; n++) pod.set(n, 'y'.repeat(50));
    pod.sync();
    expect(follower.look().records).toHaveLength(200);
    expect(bytes).toBeGreaterThan(200 * 50);
    expect(bytes).toBeLessThan(whole / 40);
  });

  it('tells damage as a fresh reader does, and goes on when it is mended', () => {
    const world = newWorld();
    const path = world.newFolder();
    const pod = world.open(path);
    pod.set('a', 1);
    pod.sync();
    const follower = new Follower(world.system, path);
    follower.look();
    const manifest = readFileSync(join(path, 'pod.json'));
    appendFileSync(join(path, 'pod.json'), 'x');
    truncateSync(join(path, 'pod.json'), 20);
    expect(thrown(() => follower.look()).code).toBe('ERR_POD_CORRUPT');
    writeFileSync(join(path, 'pod.json'), manifest);
    expect(follower.look().anew).toBe(true);
    expect(followed(follower)).toEqual([['a', '1', 0]]);
    pod.close();
    rmSync(path, { recursive: true });
    expect(thrown(() => follower.look()).code).toBe('ERR_POD_NOT_FOUND');
  });
});

function told({ records }: Look): string[] {
  return records.map(({ operation, key, text }) =>
    [operation, key, text].filter((part) => part !== undefined).join(' '),
  );
}

/** One step of a writer. */
async function change(
  world: World,
  pod: Pod,
  random: Random,
  path: string,
  did: string[],
  peek: () => void,
): Promise<Pod> {
  const key = random.chance(0.5) ? `k${random.below(12)}` : random.below(12);
  const step = random.below(16);
  did.push(String(step));
  switch (step) {
    case 0:
      pod.delete(key);
      break;
    case 1:
      pod.clear();
      break;
    case 2:
      pod.compact();
      break;
    case 3:
      pod.close();
      return world.open(path, {});
    case 4:
      // What is taken back may have been seen.
      pod.hold();
      pod.sync();
      pod.transaction(() => pod.set(key, 'taken back'));
      if (random.chance(0.5)) pod.transaction(() => pod.delete(key));
      await world.turn();
      did.push('r');
      if (random.chance(0.5)) peek();
      pod.revert();
      pod.unhold();
      break;
    case 5:
    case 6:
      world.tick(50);
      await world.turn();
      break;
    case 7:
      await world.endFsyncs();
      break;
    case 8:
      pod.delete(key);
      pod.set(key, 'again');
      break;
    default:
      for (let n = 1 + random.below(4); n > 0; n--) {
        pod.set(random.chance(0.5) ? `k${random.below(12)}` : random.below(12), {
          n: random.below(1_000),
          pad: 'é'.repeat(random.below(40)),
        });
      }
  }
  if (random.chance(0.3)) pod.sync();
  else await world.turn();
  return pod;
}
