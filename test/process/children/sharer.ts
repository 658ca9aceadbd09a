// A process that shares a folder and does one kind of work with it, until it is done or killed.
import { appendFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SharedPOD, SharedTracker } from '../../../src/shared/index.ts';
import { seededRandom } from '../../../src/testing/random.ts';

const [, , work = '', folder = '', ...rest] = process.argv;

const works: Readonly<Record<string, () => Promise<void>>> = {
  // Adds one, so many times, never as the owner; several calls are under way at a time.
  count: async () => {
    const [times = '0', lanes = '1'] = rest;
    const pod = await SharedPOD.open<number>(folder, { mayOwn: false, joinTimeoutMs: 60_000 });
    let left = Number(times);
    const lane = async (): Promise<void> => {
      while (left-- > 0) await pod.in('sum').increment();
    };
    await Promise.all(Array.from({ length: Number(lanes) }, lane));
    console.log('counted');
    await pod.close();
  },
  // Does tasks, and writes down in a file of its own what it had and when: `+` begun, `-` worked, `!` told to be done, `?` stale.
  crawl: async () => {
    const [diary = '', lease = '30000', workMs = '1'] = rest;
    const tasks = await SharedTracker.open<{ by?: number }>(folder, { leaseMs: Number(lease), maxDeaths: 0 });
    console.log('ready');
    const note = (text: string): void => appendFileSync(diary, `${text} ${process.hrtime.bigint()}\n`);
    for await (const key of tasks.tryKeys()) {
      note(`+ ${process.pid} ${key}`);
      await sleep(Math.random() * Number(workMs));
      const depth = key.split('/').length;
      if (depth < 5) await tasks.addManyIfAbsent(Array.from({ length: 4 }, (_, child) => `${key}/${child}`));
      note(`- ${process.pid} ${key}`);
      try {
        await tasks.markDone(key, { by: process.pid });
        note(`! ${process.pid} ${key}`);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_POD_STALE') throw error;
        note(`? ${process.pid} ${key}`);
      }
    }
    await tasks.close();
    console.log('finished');
  },
  // Its share of the numbers from 0 to 24, squared.
  square: async () => {
    const [residue = '0'] = rest;
    const pod = await SharedPOD.open<number, number>(folder);
    for (let key = Number(residue); key < 25; key += 5) await pod.set(key, key * key);
    console.log(pod.isOwner ? 'owner' : 'client');
    await pod.close();
  },
  // Counts once, and stays until it is ended.
  stay: async () => {
    const pod = await SharedPOD.open<number>(folder);
    await pod.in('sum').increment();
    console.log(pod.isOwner ? 'owner' : 'client');
    await sleep(60_000);
  },
  // Calls at random, two at a time, and says of each call when it was made and answered, and with what.
  record: async () => {
    const [calls = '0', client = '0'] = rest;
    const pod = await SharedPOD.open<number>(folder, { mayOwn: false, joinTimeoutMs: 60_000 });
    const random = seededRandom(Number(client));
    const lines: string[] = [];
    let left = Number(calls);
    const lane = async (): Promise<void> => {
      while (left-- > 0) {
        const key = `k${random.below(3 + Number(calls) / 40)}`;
        const operation = random.pick(['get', 'get', 'set', 'increment', 'increment', 'delete'] as const);
        const argument = random.below(5);
        const calledNs = process.hrtime.bigint();
        const result =
          operation === 'get'
            ? ((await pod.get(key)) ?? null)
            : operation === 'set'
              ? await pod.set(key, argument).then(() => null)
              : operation === 'increment'
                ? await pod.in(key).increment(argument)
                : await pod.delete(key);
        const answeredNs = process.hrtime.bigint();
        const times = { calledNs: String(calledNs), answeredNs: String(answeredNs) };
        lines.push(JSON.stringify({ client: Number(client), key, operation, argument, result, ...times }));
        await sleep(random.below(4));
      }
    };
    await Promise.all([lane(), lane()]);
    console.log(lines.join('\n'));
    await pod.close();
  },
  // Claims several tasks at once, begins one of them, and ends.
  quit: async () => {
    const tasks = await SharedTracker.open(folder, { mayOwn: false });
    const { value: key } = await tasks.tryKeys({ prefetch: 5 }).next();
    console.log(`has ${key}`);
    process.exit(0);
  },
  // Does two tasks, and stops in the turn in which it hears that the second one is done.
  block: async () => {
    const tasks = await SharedTracker.open(folder, { mayOwn: false });
    let done = 0;
    for await (const key of tasks.tryKeys()) {
      await tasks.markDone(key);
      if (++done < 2) continue;
      writeSync(1, 'blocked\n');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    }
  },
  // Claims a task and keeps it; should it come to itself again after it was stopped, it says how that ends.
  hang: async () => {
    const tasks = await SharedTracker.open(folder, { leaseMs: 500 });
    for await (const key of tasks.tryKeys()) {
      // Before the word: whoever hears it stops us at once.
      let lastMs = performance.now();
      console.log(`has ${key}`);
      while (performance.now() - lastMs < 600) {
        lastMs = performance.now();
        await sleep(20);
      }
      await tasks.markDone(key).catch((error: { code: string }) => console.log(error.code));
      process.exit(0);
    }
  },
};

await works[work]?.();
