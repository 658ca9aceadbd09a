import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Durability, type PersistentOrderedDict, POD } from '../../src/index.ts';
import { testSeed, testSize } from '../size.ts';
import { useBench } from './built.ts';
import { type Busy, play, randomFrom, type Step, turnsOf } from './children/steps.ts';

const bench = useBench();

const KILLS = { small: 24, ci: 1_000, long: 4_000 }[testSize];
/** Loops that run side by side, each in a folder of its own. */
const LOOPS = 2;
const LEVELS: readonly Durability[] = ['process', 'power', 'exit'];
const seed = testSeed(1);

/** What a state is compared by: everything in it, in order; a pad as its letter and length, because it may be long. */
function digest(entries: Iterable<readonly [string, Busy]>): string {
  const parts: string[] = [];
  for (const [key, { n, pad, list, ...rest }] of entries) {
    if (Object.keys(rest).length > 0 || pad !== pad.charAt(0).repeat(pad.length)) throw new Error(`${key} is damaged`);
    parts.push(`${key} ${n} ${pad.charAt(0)}${pad.length} ${list.join()}`);
  }
  return parts.join('\n');
}

/** The steps of a life, one by one, each with the state it leads to. */
function* statesOf(start: ReadonlyMap<string, Busy>, lifeSeed: number): Generator<Map<string, Busy>, never> {
  const state = new Map(start);
  for (const { steps } of turnsOf(lifeSeed)) {
    const before = new Map(state);
    for (const step of steps as Step[]) {
      if (step.kind === 'revert') {
        state.clear();
        for (const [key, value] of before) state.set(key, value);
      } else play(state, step);
      yield state;
    }
  }
  throw new Error('There is always a next turn.');
}

interface Counts {
  kills: number;
  acknowledged: number;
  /** Lives after which more was there than had been acknowledged. */
  survivedMore: number;
  /** Kills in the middle of a fold. */
  folding: number;
  recovered: number;
  torn: number;
  levels: Record<string, number>;
}

async function killLoop(loop: number, kills: number, counts: Counts): Promise<void> {
  const folder = bench.newPath(`loop-${loop}`);
  // Its first life begins with nothing, and may be killed while it makes the folder.
  mkdirSync(folder);
  const random = randomFrom(seed + loop);
  let state = new Map<string, Busy>();
  for (let life = 0; life < kills; life++) {
    const lifeSeed = random(1 << 30);
    const level = LEVELS[random(LEVELS.length)] as Durability;
    const gzipped = random(6) === 0;
    const syncAt = [5, 1_000][random(2)];
    const syncEvery = [0, 3][random(2)];
    let acknowledged = 0;
    let begun = 0;
    const child = bench.start('busy', [folder, lifeSeed, level, syncAt, syncEvery, gzipped].map(String), {
      onLine: (line) => {
        if (line.startsWith('a ')) acknowledged = Number(line.slice(2));
        if (line.startsWith('i ')) begun = Number(line.slice(2));
      },
    });
    // Mostly in the middle of its work, sometimes while it recovers what the one before has left.
    if (random(5) > 0) await child.said('ready');
    else await sleep(random(120));
    await sleep(random(120));
    child.process.kill('SIGKILL');
    const { signal, stderr } = await child.finished;
    expect({ signal, stderr }).toEqual({ signal: 'SIGKILL', stderr: '' });

    if (readdirSync(folder).filter((name) => name.startsWith('wal-')).length > 1) counts.folding++;

    // Mostly the next child recovers, and may be killed at it.
    const found = random(4) === 0 ? recover(folder, counts) : read(folder);
    const where = `loop ${loop}, life ${life}, seed ${seed}, level ${level}, between ${acknowledged} and ${begun}`;
    const place = matchingPlace(found, state, lifeSeed, acknowledged, begun);
    expect(place, `${where}: not a state between these two`).toBeGreaterThanOrEqual(acknowledged);
    state = found;
    counts.kills++;
    counts.acknowledged += acknowledged;
    counts.survivedMore += place > acknowledged ? 1 : 0;
    counts.levels[level] = (counts.levels[level] ?? 0) + 1;
  }
}

function read(folder: string): Map<string, Busy> {
  if (!existsSync(join(folder, 'pod.json'))) return new Map();
  return entriesOf(POD.open<Busy>(folder, { mode: 'r' }));
}

function recover(folder: string, counts: Counts): Map<string, Busy> {
  const pod = POD.open<Busy>(folder);
  // Closed, or new, where it was killed before it had opened the pod, or between closing and opening it again.
  expect(['killed', 'closed', 'new']).toContain(pod.recovery.ended);
  if (pod.recovery.ended === 'killed') counts.recovered++;
  if (pod.recovery.droppedBytes > 0) counts.torn++;
  return entriesOf(pod);
}

function entriesOf(pod: PersistentOrderedDict<Busy>): Map<string, Busy> {
  const entries = new Map([...pod.keys()].map((key) => [key, pod.snapshot(key) as Busy]));
  pod.close();
  return entries;
}

/** After how many steps the state was what was found; -1 where it never was, from the last acknowledged step to the last begun. */
function matchingPlace(
  found: ReadonlyMap<string, Busy>,
  start: ReadonlyMap<string, Busy>,
  lifeSeed: number,
  acknowledged: number,
  begun: number,
): number {
  const wanted = digest(found);
  if (acknowledged === 0 && digest(start) === wanted) return 0;
  let place = 0;
  for (const reached of statesOf(start, lifeSeed)) {
    if (++place > begun) return -1;
    if (place >= acknowledged && digest(reached) === wanted) return place;
  }
  return -1;
}

describe('kill -9 at any moment of a busy writer', () => {
  it('D1, D10, D12, D13, TPB-01: keeps all that was acknowledged, and a prefix of the rest', {
    timeout: 14_400_000,
  }, async () => {
    const counts: Counts = {
      kills: 0,
      acknowledged: 0,
      survivedMore: 0,
      folding: 0,
      recovered: 0,
      torn: 0,
      levels: {},
    };
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: LOOPS }, (_, loop) => killLoop(loop, KILLS / LOOPS, counts)));
    const seconds = (performance.now() - startedMs) / 1000;
    console.info(`kill loop, seed ${seed}: ${JSON.stringify(counts)} in ${seconds.toFixed(1)} s`);
    expect(counts.kills).toBe(KILLS);
    // Else the loop was too gentle to say anything.
    expect(counts.acknowledged).toBeGreaterThan(KILLS);
    expect(counts.survivedMore).toBeGreaterThan(0);
    expect(counts.recovered).toBeGreaterThan(0);
    if (testSize !== 'small') expect(counts.folding).toBeGreaterThan(0);
  });
});
