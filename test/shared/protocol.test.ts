// The channel under attack: whoever breaks its rules is cut off, the owner lives, and everybody else is served.
import { Buffer } from 'node:buffer';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeSystem } from '../../src/disk/system.ts';
import { type Json, type Key, POD, PodError } from '../../src/index.ts';
import { Broker } from '../../src/shared/broker.ts';
import { proofOf } from '../../src/shared/greeting.ts';
import {
  frameOf,
  fromWireError,
  LIMITS,
  type Limits,
  PROTOCOL_VERSION,
  toWireError,
} from '../../src/shared/protocol.ts';
import { type Listener, listen } from '../../src/shared/server.ts';
import { useHandles } from './handles.ts';
import { Raw, TOKEN } from './raw.ts';

const handles = useHandles();
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
async function serve(
  limits: Partial<Limits> = {},
  answersMax?: number,
): Promise<{
  dial(): Promise<Raw>;
  client(): Promise<Raw>;
  refusals: string[];
  pod: POD<unknown>;
}> {
  const path = handles.path();
  const pod = POD.open<Json, Key>(path, { durability: 'exit' });
  const broker = new Broker(nodeSystem, pod, undefined, {
    leaseMs: 30_000,
    maxDeaths: 5,
    ...(answersMax !== undefined && { answersMax }),
  });
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
    ['a list of what is no number', frameOf('[[1,"2"]]')],
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
});

describe('errors', () => {
  /** What arrives of the facts of an error. */
  const arrived = (info: unknown): unknown =>
    fromWireError('/a', JSON.parse(JSON.stringify({ code: 'ERR_POD_DISK', message: 'm', info }))).info;

  it('go over with what a program needs of them', () => {
    const error = new PodError('ERR_POD_OPTIONS', 'wrong', {
      path: '/of/the/owner',
      key: ['a', 1],
      at: '$.x',
      info: { option: 'since', place: { line: 3 }, unknown: undefined },
      cause: new Error('inside'),
    });
    const wire = JSON.parse(JSON.stringify(toWireError(error))) as unknown;
    expect(wire).toEqual({
      code: 'ERR_POD_OPTIONS',
      message: 'wrong',
      key: ['a', 1],
      at: '$.x',
      info: { option: 'since', place: { line: 3 } },
    });
    const back = fromWireError('/mine', wire);
    expect(back).toMatchObject({ code: 'ERR_POD_OPTIONS', path: '/mine', key: ['a', 1], at: '$.x' });
    expect(back.info).toStrictEqual({ option: 'since', place: { line: 3 } });
    expect(back.cause).toBeUndefined();
  });

  it.each<[string, Record<string, unknown>]>([
    ['no JSON', { found: new Map() }],
    ['a function', { found: () => 1 }],
    ['a list', [1] as never],
    ['too long', { text: 'x'.repeat(5000) }],
  ])('facts that are %s stay with the owner, and the error goes over', (_name, info) => {
    const wire = toWireError(new PodError('ERR_POD_DISK', 'm', { info }));
    expect(wire).toEqual({ code: 'ERR_POD_DISK', message: 'm' });
  });

  it('facts that are none, or too long, are left out on arrival', () => {
    for (const info of [null, 5, 'text', [], [{ a: 1 }], { text: 'x'.repeat(5000) }]) {
      expect(arrived(info)).toBeUndefined();
    }
    expect(arrived(undefined)).toBeUndefined();
    expect(arrived({ pid: 5, host: null })).toStrictEqual({ pid: 5, host: null });
  });

  it('no fact reaches a prototype', () => {
    const wire = JSON.parse(
      '{"code":"ERR_POD_DISK","message":"m","info":{"a":1,"__proto__":{"evil":1},"b":[{"__proto__":{"evil":1},"c":"__proto__"}]}}',
    ) as unknown;
    const { info } = fromWireError('/a', wire);
    expect(JSON.stringify(info)).toBe('{"a":1,"b":[{"c":"__proto__"}]}');
    expect((Object.assign({}, info) as { evil?: unknown }).evil).toBeUndefined();
    expect(({} as { evil?: unknown }).evil).toBeUndefined();
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

  it('K11: one that never says which answers it has is cut off, and what it was told is forgotten with others', async () => {
    const { client, refusals, pod } = await serve({}, 1 << 20);
    pod.set('big', 'x'.repeat(100_000));
    const [greedy, good] = [await client(), await client()];
    let number = 0;
    while (!greedy.closed && number < 30) await greedy.ask(++number, 'getOrInsert', 'big', 0);
    expect(number).toBeGreaterThan(11);
    await greedy.end();
    expect(greedy.closed).toBe(true);
    expect(refusals.join()).toContain('which answers it has');
    const thrifty = await client();
    for (number = 1; number <= 30; number++) {
      thrifty.say([
        [0, number - 1],
        [number, 'getOrInsert', 'big', 0],
      ]);
      const [answer] = (await thrifty.frame()) as [unknown[]];
      expect(answer.slice(0, 2)).toEqual([number, 0]);
    }
    expect(await good.ask(1, 'has', 'big')).toEqual([1, 0, true]);
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
