// The channel under attack: whoever breaks its rules is cut off, the owner lives, and everybody else is served.
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeSystem } from '../../src/disk/system.ts';
import { type Json, type Key, POD, type PodError } from '../../src/index.ts';
import { Broker } from '../../src/shared/broker.ts';
import { FrameReader } from '../../src/shared/frames.ts';
import { proofOf } from '../../src/shared/greeting.ts';
import { frameOf, LIMITS, type Limits, PROTOCOL_VERSION, parseFrame } from '../../src/shared/protocol.ts';
import { type Listener, listen } from '../../src/shared/server.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { testSize } from '../process/built.ts';
import { useHandles } from './handles.ts';

const handles = useHandles();
const FRAMES = { small: 4_000, ci: 100_000, long: 1_000_000 }[testSize];
const TOKEN = '5'.repeat(64);
const open: { pod: POD<Json, Key>; broker: Broker; listener: Listener; sockets: Set<Socket> }[] = [];

afterEach(async () => {
  for (const { pod, broker, listener, sockets } of open.splice(0)) {
    for (const socket of sockets) socket.destroy();
    broker.close();
    await listener.close();
    pod.close();
  }
});

/** An owner that listens, with limits that can be reached in a test. */
async function serve(limits: Partial<Limits> = {}): Promise<{
  dial(): Promise<Raw>;
  client(): Promise<Raw>;
  refusals: string[];
  pod: POD<unknown>;
}> {
  const path = handles.path();
  const pod = POD.open<Json, Key>(path, { durability: 'exit' });
  const broker = new Broker(nodeSystem, pod, undefined, { leaseMs: 30_000, maxDeaths: 5 });
  const refusals: string[] = [];
  const socketPath = `${path}/raw.sock`;
  const listener = await listen(broker, socketPath, {
    clock: nodeSystem.clock,
    token: TOKEN,
    limits: { ...LIMITS, ...limits },
    kind: 'pod',
    onRefusal: (error: PodError) => refusals.push(error.message),
  });
  const sockets = new Set<Socket>();
  open.push({ pod, broker, listener, sockets });
  const dial = async (): Promise<Raw> => {
    const raw = new Raw(connect(socketPath));
    sockets.add(raw.socket);
    raw.socket.once('close', () => sockets.delete(raw.socket));
    await raw.frame();
    return raw;
  };
  const client = async (): Promise<Raw> => {
    const raw = await dial();
    raw.greet();
    expect(await raw.frame()).toMatchObject({ resumed: false, hasLock: false });
    return raw;
  };
  return { dial, client, refusals, pod: pod as unknown as POD<unknown> };
}

/** One end of a channel that says whatever it is told to. */
class Raw {
  readonly socket: Socket;
  readonly #reader = new FrameReader(LIMITS.outputBytesMax);
  readonly #frames: unknown[] = [];
  #wake: () => void = () => {};
  closed = false;
  hello: { nonce: string; protocol: number } | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#reader.push(chunk);
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) {
        const value = parseFrame(frame);
        this.hello ??= value as never;
        this.#frames.push(value);
      }
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** The next frame; undefined when it was cut off. */
  async frame(): Promise<unknown> {
    while (this.#frames.length === 0 && !this.closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#frames.shift();
  }

  greet(changes: Record<string, unknown> = {}): void {
    const nonce = randomBytes(16).toString('hex');
    const proof = proofOf(TOKEN, 'client', this.hello?.nonce ?? '', nonce);
    const client = randomBytes(16).toString('hex');
    this.say({ protocol: PROTOCOL_VERSION, nonce, proof, client, pid: process.pid, kind: 'pod', holds: 0, ...changes });
  }

  say(value: unknown): void {
    this.socket.write(frameOf(JSON.stringify(value)));
  }

  async ask(...question: unknown[]): Promise<unknown> {
    this.say([0, question]);
    return ((await this.frame()) as unknown[])?.[0];
  }

  async end(): Promise<void> {
    while (!this.closed) await this.frame();
  }
}

describe('the greeting', () => {
  it('lets in who knows the token, and tells what is served', async () => {
    const { client } = await serve();
    const raw = await client();
    expect(raw.hello).toMatchObject({ everpod: 'shared', protocol: PROTOCOL_VERSION });
    expect(await raw.ask(1, 'size')).toEqual([1, 0, 0]);
  });

  it.each([
    ['a wrong proof', { proof: 'a'.repeat(64) }, 'ERR_POD_PROTOCOL'],
    ['a short proof', { proof: 'a'.repeat(32) }, 'ERR_POD_PROTOCOL'],
    ['K16: another version', { protocol: 99 }, 'ERR_POD_PROTOCOL'],
    ['a client without a name', { client: '' }, 'ERR_POD_PROTOCOL'],
    ['more holds than there can be', { holds: 1e9 }, 'ERR_POD_PROTOCOL'],
    ['another class', { kind: 'tracker' }, 'ERR_POD_OPTIONS'],
  ])('refuses %s, and says why', async (_, changes, code) => {
    const { dial, refusals } = await serve();
    const raw = await dial();
    raw.greet(changes);
    expect(await raw.frame()).toMatchObject({ refused: { code } });
    await raw.end();
    expect(refusals).toHaveLength(code === 'ERR_POD_PROTOCOL' ? 1 : 0);
  });

  it('a recording of it is of no use', async () => {
    const { dial } = await serve();
    const [one, two] = [await dial(), await dial()];
    expect(one.hello?.nonce).not.toBe(two.hello?.nonce);
    const nonce = 'b'.repeat(32);
    two.greet({ nonce, proof: proofOf(TOKEN, 'client', one.hello?.nonce ?? '', nonce) });
    expect(await two.frame()).toMatchObject({ refused: { code: 'ERR_POD_PROTOCOL' } });
  });

  it('K7: whoever does not finish it in time is cut off, byte by byte or silent', async () => {
    const { dial, refusals } = await serve({ greetingMs: 100 });
    const silent = await dial();
    const slow = await dial();
    const bytes = frameOf(JSON.stringify({ protocol: 1 }));
    for (let index = 0; !slow.closed; index++) {
      slow.socket.write(bytes.subarray(index % bytes.length, (index % bytes.length) + 1));
      await sleep(15);
      if (index === bytes.length - 2) break;
    }
    await Promise.all([silent.end(), slow.end()]);
    expect(refusals.join()).toContain('greeting');
  });

  it('K13: more strangers than there may be are turned away', async () => {
    const { dial, client, refusals } = await serve({ strangers: 2 });
    const [one] = [await dial(), await dial()];
    const third = await dial();
    await third.end();
    expect(refusals).toHaveLength(1);
    one.greet();
    await one.frame();
    await client();
  });

  it('K8: another protocol is cut off', async () => {
    const { dial, client } = await serve();
    const raw = await dial();
    raw.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await raw.end();
    expect(await (await client()).ask(1, 'size')).toEqual([1, 0, 0]);
  });
});

describe('frames', () => {
  it.each([
    ['no length', Buffer.alloc(4)],
    ['a huge length', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['no JSON', frameOf('{"a":')],
    ['no questions', frameOf('{"a":1}')],
    ['no number', frameOf('[[1,"size"]]')],
    ['a negative number', frameOf('[-1]')],
    ['a question that is none', frameOf('[0,"size"]')],
    ['K9: deep nesting', frameOf(`[0,[1,"set","a",${'['.repeat(600)}${']'.repeat(600)}]]`)],
    ['very deep nesting', frameOf('['.repeat(4_000_000))],
  ])('K7: %s: it is cut off, and others are served', async (_, bytes) => {
    const { client, refusals } = await serve();
    const [bad, good] = [await client(), await client()];
    bad.socket.write(bytes);
    await bad.end();
    expect(refusals).toHaveLength(1);
    expect(await good.ask(1, 'size')).toEqual([1, 0, 0]);
  });

  it('K7: one that does not end in time is cut off, and one in many pieces is not', async () => {
    const { client, refusals } = await serve({ frameMs: 150 });
    const [slow, piecewise] = [await client(), await client()];
    slow.socket.write(Buffer.from([0, 0, 1]));
    const bytes = frameOf('[0,[1,"size"]]');
    for (const byte of bytes) piecewise.socket.write(Buffer.from([byte]));
    expect(await piecewise.frame()).toEqual([[1, 0, 0]]);
    await slow.end();
    expect(refusals).toHaveLength(1);
    // It is patient with who is busy, as long as each frame ends.
    for (let number = 2; number < 30; number++) {
      const both = Buffer.concat([frameOf(`[0,[${number},"size"]]`), Buffer.from([0])]);
      piecewise.socket.write(number === 2 ? both : Buffer.concat([both.subarray(1)]));
      await sleep(10);
    }
    expect(piecewise.closed).toBe(false);
  });

  it('K9: what is not in the table is not carried out', async () => {
    const { client, pod } = await serve();
    const raw = await client();
    let number = 0;
    for (const name of ['__proto__', 'constructor', 'toString', 'eval', 'close', '', 'hasOwnProperty', 'engine']) {
      expect(await raw.ask(++number, name)).toMatchObject([number, 1, { code: 'ERR_POD_UNSUPPORTED' }]);
    }
    const wrong = [
      ['set'],
      ['set', 'a'],
      ['get', 1.5],
      ['get', { a: 1 }],
      ['size', 1],
      ['setIn', 'a', ['x', -1], 1],
      ['setIn', 'a', [{}], 1],
      ['increment', 'a', [], 'one'],
      ['transaction', [['set']]],
      ['transaction', [['sync']]],
      ['transaction', [['transaction', []]]],
      ['page', 0, 'everything', true, null, [], 0],
      ['setMaxTries', -1],
      ['claim', 'loop', 0, 1, false, false, []],
    ];
    for (const question of wrong) expect(((await raw.ask(++number, ...question)) as unknown[])[1]).toBe(1);
    expect(pod.size).toBe(0);
  });

  it('a name such as __proto__ is a key like any other', async () => {
    const { client, pod } = await serve();
    const raw = await client();
    raw.socket.write(frameOf('[0,[1,"set","__proto__",{"__proto__":{"a":1}}]]'));
    expect(await raw.frame()).toEqual([[1, 0]]);
    expect(JSON.stringify(pod.snapshot('__proto__'))).toBe('{"__proto__":{"a":1}}');
    expect(({} as Record<string, unknown>).a).toBeUndefined();
  });

  it(`K8: ${FRAMES} fuzzed frames: no crash, and others are served`, async () => {
    const { client, dial, refusals } = await serve({ strangers: 1024, frameBytes: 300 });
    const { next: random, pick } = seededRandom(20_261_121);
    const names = [
      'get',
      'set',
      'setIn',
      'push',
      'splice',
      'page',
      'transaction',
      'patch',
      'lock',
      'unlock',
      'hold',
      'update',
    ];
    const parts = [
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
    let before = 0;
    let raw = await client();
    for (let count = 0; count < FRAMES; count++) {
      if (raw.closed) raw = random() < 0.5 ? await client() : await dial();
      const kind = random();
      if (kind < 0.7) {
        const args = Array.from({ length: Math.floor(random() * 6) }, () => pick(parts));
        raw.say([Math.floor(random() * 4), [Math.floor(random() * 9), pick(names), ...args]]);
      } else if (kind < 0.9) {
        const bytes = frameOf(JSON.stringify([0, [1, pick(names), pick(parts), pick(parts)]]));
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
        raw.socket.write(bytes);
      } else raw.socket.write(randomBytes(Math.floor(random() * 40)));
      if (count % 4 === 0) await new Promise(setImmediate);
      if (count === Math.floor(FRAMES / 4)) before = process.memoryUsage().rss;
    }
    raw.socket.destroy();
    for (const { sockets } of open) for (const socket of sockets) socket.destroy();
    expect(await (await client()).ask(99, 'has', 'nobody')).toEqual([99, 0, false]);
    expect(refusals.length).toBeGreaterThan(FRAMES / 400);
    expect(process.memoryUsage().rss - before).toBeLessThan(300 << 20);
  });
});

describe('floods', () => {
  it('K12: one client that asks without end keeps nobody waiting, and is answered', async () => {
    const { client } = await serve();
    const [flood, good] = [await client(), await client()];
    const frame = frameOf(`[0,${Array.from({ length: 2000 }, (_, n) => `[${n + 1},"set","k${n}",${n}]`).join(',')}]`);
    for (let count = 0; count < 10; count++) flood.socket.write(frame);
    let slowestMs = 0;
    for (let number = 1; number <= 20; number++) {
      const startedMs = performance.now();
      expect(await good.ask(number, 'has', 'nobody')).toEqual([number, 0, false]);
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
    }
    expect(slowestMs).toBeLessThan(2000);
    expect(flood.closed).toBe(false);
  });

  it('K11: one that takes no answers is cut off, and its answers are not kept', async () => {
    const { client, refusals, pod } = await serve({ outputBytes: 1 << 20, outputBytesMax: 64 << 20, outputMs: 200 });
    pod.set('big', 'x'.repeat(200_000));
    const [deaf, good] = [await client(), await client()];
    deaf.socket.pause();
    for (let number = 1; number <= 300; number++) deaf.say([0, [number, 'get', 'big']]);
    for (let waited = 0; refusals.length === 0 && waited < 500; waited++) await sleep(10);
    expect(refusals.join()).toContain('does not take its answers');
    expect(await good.ask(1, 'has', 'big')).toEqual([1, 0, true]);
  });
});
