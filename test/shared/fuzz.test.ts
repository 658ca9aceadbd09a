// Frames at random against an owner in a process of its own: it lives, it serves others, and what it needs of memory stays where it was.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { frameOf } from '../../src/shared/protocol.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { type Child, useBench } from '../process/built.ts';
import { testSize } from '../size.ts';
import { Raw, TOKEN } from './raw.ts';

const bench = useBench();
const FRAMES = { small: 4_000, ci: 50_000, long: 1_000_000 }[testSize];
const FRAME_BYTES_MAX = 300;
/** What the owner may need more than after the first part of the frames, however many follow. */
const GROWTH_BYTES_MAX = 32 << 20;
/** Connections that say a frame each in every turn. */
const CONNECTIONS = 32;
const TURNS = FRAMES / CONNECTIONS;

const NAMES = 'get set setIn push splice page transaction patch lock unlock hold update'.split(' ');
const PARTS = [
  'a',
  1,
  -1,
  1.5,
  null,
  true,
  [],
  {},
  ['a'],
  [['set', 'a', 1]],
  '__proto__',
  'all',
  [[['a'], 1]],
  2 ** 60,
];

it(`K8: ${FRAMES} fuzzed frames: no crash, bounded memory, and others are served`, async () => {
  const socketPath = bench.newPath('fuzz.sock');
  const owner = bench.start('fuzzed', [bench.newPath(), socketPath, TOKEN, String(FRAME_BYTES_MAX)], {
    nodeFlags: ['--expose-gc'],
  });
  await owner.said('listens');
  const dial = async (): Promise<Raw> => {
    const raw = new Raw(connect(socketPath));
    await raw.frame();
    return raw;
  };
  const client = async (): Promise<Raw> => {
    const raw = await dial();
    raw.greet();
    await raw.frame();
    return raw;
  };
  const { next: random, pick } = seededRandom(20_261_121);
  const say = (raw: Raw): void => {
    const kind = random();
    if (kind < 0.7) {
      const args = Array.from({ length: Math.floor(random() * 6) }, () => pick(PARTS));
      raw.say([Math.floor(random() * 4), [Math.floor(random() * 9), pick(NAMES), ...args]]);
    } else if (kind < 0.9) {
      const bytes = frameOf(JSON.stringify([0, [1, pick(NAMES), pick(PARTS), pick(PARTS)]]));
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      raw.socket.write(bytes);
    } else raw.socket.write(randomBytes(Math.floor(random() * 40)));
  };
  let before = { bytes: 0, refusals: 0 };
  let raws: Raw[] = Array.from({ length: CONNECTIONS }, () => new Raw(connect(socketPath)));
  for (let turn = 0; turn < TURNS; turn++) {
    raws = await Promise.all(raws.map((raw) => (raw.closed ? (random() < 0.8 ? client() : dial()) : raw)));
    for (const raw of raws) say(raw);
    // By the time that somebody new is greeted, the owner has looked at what was said before. An answer would wait for whoever has the lock.
    (await dial()).socket.destroy();
    if (turn === Math.floor(TURNS / 4)) before = await look(owner, 1);
  }
  for (const raw of raws) raw.socket.destroy();
  expect(await (await client()).ask(99, 'has', 'nobody')).toEqual([99, 0, false]);
  const after = await look(owner, 2);
  expect(after.refusals).toBeGreaterThan(FRAMES / 10);
  expect(after.bytes - before.bytes).toBeLessThan(GROWTH_BYTES_MAX);
  owner.process.kill('SIGKILL');
});

/** What the owner says of itself. */
async function look(owner: Child, number: number): Promise<{ bytes: number; refusals: number }> {
  await sleep(50);
  owner.process.kill('SIGUSR2');
  const [bytes = 0, refusals = 0] = (await owner.said(`look ${number}: `)).split(' ').slice(2).map(Number);
  return { bytes, refusals };
}
