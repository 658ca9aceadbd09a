// SharedPOD: every method gives what a local pod gives, in the owner's process and over the socket.
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { Json, Key } from '../../src/index.ts';
import { POD } from '../../src/index.ts';
import { SharedPOD, SharedTracker } from '../../src/shared/index.ts';
import { useBench } from '../process/built.ts';
import { all, codeOf, errorOf, ownerThread, useHandles } from './handles.ts';

const bench = useBench();
const handles = useHandles();

/** Handles in the owner's process, and handles that reach an owner in another thread over the socket. */
const PLACES = ['in the owner', 'over the socket'] as const;

async function open<V = Json, K extends Key = string>(
  place: (typeof PLACES)[number],
  path: string,
): Promise<SharedPOD<V, K>> {
  if (place === 'over the socket' && !existsSync(path)) {
    const end = await ownerThread(bench.built('test/process/children/serving-thread.js'), path, 'pod');
    await handles.keep(Promise.resolve({ closed: false, close: end }));
  }
  const pod = await handles.keep(SharedPOD.open<V, K>(path));
  expect(pod.isOwner).toBe(place === 'in the owner');
  return pod;
}

describe.each(PLACES)('a shared pod %s', (place) => {
  it('TP-163, TP-167: has the methods of a local pod, each with a promise', async () => {
    const pod = await open<Json, Key>(place, handles.path());
    await pod.set('a', { n: 1 });
    await pod.set(1, 'one');
    await pod.set(['x', 2], [1, 2]);
    expect([await pod.size, await pod.has('a'), await pod.has('b'), await pod.get('b')]).toEqual([
      3,
      true,
      false,
      undefined,
    ]);
    expect(await all(pod.keys())).toEqual(['a', 1, ['x', 2]]);
    expect(await all(pod.values())).toEqual([{ n: 1 }, 'one', [1, 2]]);
    expect(await all(pod)).toEqual(await all(pod.entries()));
    expect(await pod.getOrInsert('a', 0)).toEqual({ n: 1 });
    expect(await pod.getOrInsertComputed('c', (key) => `made for ${String(key)}`)).toBe('made for c');
    expect(await pod.pop('c')).toBe('made for c');
    expect([await pod.pop('c'), await pod.pop('c', null)]).toEqual([undefined, null]);
    await pod.update({ d: 1 }, [
      ['d', 2],
      [1, 'uno'],
    ]);
    expect(
      await pod.equals([
        ['a', { n: 1 }],
        [1, 'uno'],
        [
          ['x', 2],
          [1, 2],
        ],
        ['d', 2],
      ]),
    ).toBe(true);
    expect(await pod.equals([['a', { n: 1 }]])).toBe(false);
    expect([await pod.delete('d'), await pod.delete('d')]).toEqual([true, false]);
    const visited: unknown[] = [];
    await pod.forEach((value, key) => {
      visited.push([key, value]);
    });
    expect(visited).toEqual([
      ['a', { n: 1 }],
      [1, 'uno'],
      [
        ['x', 2],
        [1, 2],
      ],
    ]);
    expect((await pod.dirty()).size).toBeGreaterThan(0);
    await pod.sync();
    expect(await pod.dirty()).toEqual(new Set());
    await pod.markDirty('a');
    expect(await pod.dirty()).toEqual(new Set(['a']));
    await pod.syncKey(1);
    expect(await pod.dirty()).toEqual(new Set());
    await pod.compact();
    await pod.clear();
    expect(await pod.size).toBe(0);
  });

  it('TP-170: reads are copies', async () => {
    const pod = await open<{ l: number[] }>(place, handles.path());
    const mine = { l: [1] };
    await pod.set('a', mine);
    mine.l.push(2);
    (await pod.get('a'))?.l.push(3);
    expect(await pod.get('a')).toEqual({ l: [1] });
    const late = { l: [7] };
    const setting = pod.set('b', late);
    late.l.push(8);
    await setting;
    expect(await pod.get('b')).toEqual({ l: [7] });
  });

  it('TP-171: what one handle changed is there for all, synced or not', async () => {
    const path = handles.path();
    const [one, two] = [await open<number>(place, path), await open<number>(place, path)];
    await one.hold();
    await one.set('a', 1);
    expect(await two.get('a')).toBe(1);
    await one.unhold();
  });

  it('TPT-13: changes inside an entry are made where it is', async () => {
    const pod = await open<Json>(place, handles.path());
    await pod.set('a', { list: [1], map: { n: 1 }, gone: true });
    expect(await pod.in('a', 'list').push(2, 3)).toBe(3);
    await pod.in('a', 'map', 'm').set({ deep: [] });
    expect(await pod.in('a', 'map', 'n').increment(4)).toBe(5);
    expect(await pod.in('a', 'map', 'new').increment()).toBe(1);
    expect([await pod.in('a', 'gone').delete(), await pod.in('a', 'gone').delete()]).toEqual([true, false]);
    expect(await pod.in('a', 'list').splice(0, 1, 8, 9)).toEqual([1]);
    expect(await pod.in('a', 'list').pop()).toBe(3);
    expect(await pod.in('a', 'list', 0).delete()).toBe(true);
    expect(await pod.get('a')).toEqual({ list: [9, 2], map: { n: 5, m: { deep: [] }, new: 1 } });
    expect([await pod.in('a', 'list', 1).get(), await pod.in('a', 'no').get()]).toEqual([2, undefined]);
    await pod.in('b').increment();
    expect(await pod.get('b')).toBe(1);
  });

  it('K10: leads nowhere but to own properties', async () => {
    const pod = await open<Json>(place, handles.path());
    await pod.set('a', { l: [] });
    expect(await pod.in('a', 'constructor', 'constructor').get()).toBeUndefined();
    expect(await pod.in('a', 'l', 'length').get()).toBeUndefined();
    expect(await codeOf(pod.in('a', 'constructor', 'prototype', 'x').set(1))).toBe('ERR_POD_VALUE');
    expect(await codeOf(pod.in('a', '__proto__', 'x').set(1))).toBe('ERR_POD_VALUE');
    await pod.in('a', '__proto__').set({ mine: true });
    expect(await pod.in('a', '__proto__', 'mine').get()).toBe(true);
    expect(({} as Record<string, unknown>).mine).toBeUndefined();
    expect(await codeOf(pod.in('a', 'l').increment())).toBe('ERR_POD_VALUE');
    expect(await codeOf(pod.in('a', 'l', 5).set(1))).toBe('ERR_POD_VALUE');
    expect(await codeOf(pod.in('x', 'y').set(1))).toBe('ERR_POD_UNKNOWN_KEY');
  });

  it('K19: edits are retried until nobody came between', async () => {
    const path = handles.path();
    const pods = [
      await open<{ n: number; at?: number }>(place, path),
      await open<{ n: number; at?: number }>(place, path),
    ];
    const [pod] = pods as [SharedPOD<{ n: number }>];
    expect(await pod.edit('a', () => undefined)).toBeUndefined();
    await pod.edit('a', (value = { n: 0 }) => value);
    const one = async (index: number): Promise<void> => {
      await pods[index % 2]?.edit('a', (value) => {
        if (value !== undefined) value.n++;
      });
    };
    await Promise.all(Array.from({ length: 40 }, (_, index) => one(index)));
    expect(await pod.get('a')).toEqual({ n: 40 });
    expect(await codeOf(pod.edit('a', () => new Date() as never))).toBe('ERR_POD_VALUE');
  });

  it('D7: an edit stores what it gives back, to the order of properties', async () => {
    const pod = await open<Json>(place, handles.path());
    const edits: [before: Json, after: Json][] = [
      [
        { z: 1, y: 2, x: 3 },
        { x: 3, y: 2, z: 1 },
      ],
      [
        { z: 1, y: 2 },
        { new: 0, z: 1, y: 3 },
      ],
      [
        { z: 1, gone: 0, y: 2 },
        { y: 2, z: 1 },
      ],
      [
        { a: 1, deep: { z: [{ b: 1, a: 2 }], y: 1 } },
        { a: 2, deep: { y: 1, z: [{ a: 2, b: 1 }] } },
      ],
      [{ text: 1 }, { 7: 'a number comes first', text: 1 }],
      [
        [1, { b: 1, a: 2 }],
        [1, { a: 2, b: 1 }],
      ],
      [{ a: 1 }, 'another kind of value'],
    ];
    for (const [before, after] of edits) {
      await pod.set('a', before);
      const returned = await pod.edit('a', () => after);
      expect([before, JSON.stringify(returned)]).toEqual([before, JSON.stringify(after)]);
      expect(JSON.stringify(await pod.get('a'))).toBe(JSON.stringify(after));
    }
  });

  it('an edit of what is not there yet gives back what was made of it', async () => {
    const pod = await open<Json>(place, handles.path());
    expect(await pod.edit('a', () => ({ b: 1, a: [] }))).toEqual({ b: 1, a: [] });
    expect(await pod.edit('a', () => null)).toBeNull();
    expect(await pod.get('a')).toBeNull();
    const tasks = await handles.keep(SharedTracker.open<{ n: number }>(handles.path('b.pod')));
    const task = await tasks.edit('a', () => ({ n: 1 }) as never);
    expect(task).toEqual({ n: 1, _tries: 0, _done: false, _aborted: false });
    expect(task).toEqual(await tasks.get('a'));
  });

  it('carries out all operations of a transaction, or none', async () => {
    const pod = await open<Json>(place, handles.path());
    const done = await pod
      .transaction([
        ['set', 'a', { n: 1 }],
        ['increment', 'a', ['n'], 2],
        ['push', 'list', [], [1]],
      ])
      .catch((error: unknown) => (error as { code: string }).code);
    expect([done, await pod.size]).toEqual(['ERR_POD_UNKNOWN_KEY', 0]);
    expect(
      await pod.transaction([
        ['set', 'a', { n: 1 }],
        ['increment', 'a', ['n'], 2],
        ['delete', 'a'],
        ['set', 'b', 1],
      ]),
    ).toEqual([null, 3, true, null]);
    expect(await all(pod.entries())).toEqual([['b', 1]]);
    expect(await codeOf(pod.transaction([['lock'] as never]))).toBe('ERR_POD_UNSUPPORTED');
  });

  it('TP-166: the lock keeps everybody else waiting, and is given back when the work throws', async () => {
    const path = handles.path();
    const [one, two] = [await open<number>(place, path), await open<number>(place, path)];
    await one.set('n', 0);
    await one.lock();
    let isSeen = false;
    const seeing = two.get('n').then((value) => {
      isSeen = true;
      return value;
    });
    await sleep(30);
    await one.set('n', 1);
    expect(isSeen).toBe(false);
    await one.unlock();
    expect(await seeing).toBe(1);
    await expect(one.locked(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    expect(await two.locked(() => two.get('n'))).toBe(1);
    expect(await codeOf(two.unlock())).toBe('ERR_POD_STALE');
  });

  it('TP-166: the lock dies with its connection', async () => {
    const path = handles.path();
    const [one, two] = [await open<number>(place, path), await open<number>(place, path)];
    await one.lock();
    const waiting = two.set('a', 1);
    await one.close();
    await waiting;
    expect(await two.get('a')).toBe(1);
  });

  it('TPT-14: two writers of 200 locked additions each give 400', async () => {
    const path = handles.path();
    const pods = [await open<number>(place, path), await open<number>(place, path)];
    await pods[0]?.set('n', 0);
    await Promise.all(
      pods.map(async (pod) => {
        for (let count = 0; count < 200; count++) {
          await pod.locked(async () => {
            await pod.set('n', ((await pod.get('n')) ?? 0) + 1);
          });
        }
      }),
    );
    expect(await pods[0]?.get('n')).toBe(400);
  });

  it('TPT-16: what two insert under the lock does not interleave', async () => {
    const path = handles.path();
    const pods = [await open<number>(place, path), await open<number>(place, path)];
    await Promise.all(
      pods.map((pod, who) =>
        pod.locked(async () => {
          for (let n = 0; n < 10; n++) await pod.set(`${who}-${n}`, n);
        }),
      ),
    );
    const order = (await all((pods[0] as SharedPOD<number>).keys())).map((key) => key[0]).join('');
    expect(['0'.repeat(10) + '1'.repeat(10), '1'.repeat(10) + '0'.repeat(10)]).toContain(order);
  });

  it('TP-164, TP-168, TP-169, TPT-15: iterates in pages, in order, and sees what is appended', async () => {
    const pod = await open<number>(place, handles.path());
    const pairs = Array.from({ length: 2500 }, (_, n) => [`k${n}`, n] as const);
    await pod.update(pairs);
    expect(await all(pod.entries())).toEqual(pairs);
    expect(await all(pod.keys())).toEqual(pairs.map(([key]) => key));
    expect(await all(pod.values())).toEqual(pairs.map(([, value]) => value));
    const seen: string[] = [];
    for await (const key of pod.keys()) {
      seen.push(key);
      if (key === 'k0') {
        await pod.delete('k2400');
        await pod.set('late', 1);
      }
    }
    expect(seen).toEqual([...pairs.map(([key]) => key).filter((key) => key !== 'k2400'), 'late']);
  });

  it('K15: an error has its code, its key and its sentence, and nothing of the inside', async () => {
    const pod = await open<Json>(place, handles.path());
    const error = await errorOf(pod.markDirty('nobody'));
    expect(error).toMatchObject({ code: 'ERR_POD_UNKNOWN_KEY', key: 'nobody', path: pod.path });
    expect(error.cause).toBeUndefined();
    expect(await codeOf(pod.set('a', Number.NaN))).toBe('ERR_POD_VALUE');
    expect(await codeOf(Promise.resolve().then(() => pod.get(1.5 as never)))).toBe('ERR_POD_KEY');
  });

  it('goes back to the last sync point, for everybody', async () => {
    const path = handles.path();
    const [one, two] = [await open<number>(place, path), await open<number>(place, path)];
    await one.hold();
    await one.set('a', 1);
    await one.sync();
    await two.set('a', 2);
    await two.revert();
    expect(await one.get('a')).toBe(1);
  });

  it('TP-172: a closed handle says so, and closing again does nothing', async () => {
    const path = handles.path();
    const pod = await open<number>(place, path);
    await pod.set('a', 1);
    await pod.close();
    await pod.close();
    expect(pod.closed).toBe(true);
    expect(await codeOf(pod.get('a'))).toBe('ERR_POD_CLOSED');
  });
});

describe('sharing a folder', () => {
  it('TPT-12, TP-162: what the last handle closes is a plain pod again, whole', async () => {
    const path = handles.path();
    const [one, two] = [await open<number>('in the owner', path), await open<number>('in the owner', path)];
    await one.hold();
    await one.set('a', 1);
    await one.close();
    expect(await two.get('a')).toBe(1);
    await two.close();
    expect(readdirSync(path).filter((name) => name.startsWith('shared'))).toEqual([]);
    const pod = POD.open<number>(path);
    expect([...pod]).toEqual([['a', 1]]);
    expect(pod.recovery.ended).toBe('closed');
    pod.close();
  });

  it('a plain open of a served folder says how to join', async () => {
    const path = handles.path();
    const shared = await open('in the owner', path);
    let message = '';
    try {
      POD.open(path);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain('SharedPOD.open');
    const reader = POD.open(path, { mode: 'r' });
    expect(reader.size).toBe(0);
    reader.close();
    await shared.close();
    POD.open(path).close();
  });

  it('is refused while a plain pod has the folder, at once where that is in this process', async () => {
    const path = handles.path();
    const pod = POD.open(path);
    const error = await errorOf(SharedPOD.open(path));
    expect(error.code).toBe('ERR_POD_LOCKED');
    expect(error.message).toContain('plain pod');
    pod.close();
    await (await SharedPOD.open(path)).close();
  });

  it('refuses another class, and options that are none', async () => {
    const path = handles.path();
    await open('in the owner', path);
    expect(await codeOf(SharedTracker.open(path))).toBe('ERR_POD_OPTIONS');
    expect(await codeOf(SharedPOD.open(handles.path(), { mode: 'r' } as never))).toBe('ERR_POD_OPTIONS');
    expect(await codeOf(SharedPOD.open(handles.path(), { leaseMs: 1 }))).toBe('ERR_POD_OPTIONS');
    expect(await codeOf(SharedPOD.open(handles.path(), { colour: 1 } as never))).toBe('ERR_POD_OPTIONS');
    const nobody = SharedPOD.open(handles.path(), { mayOwn: false, joinTimeoutMs: 0 });
    expect(await codeOf(nobody)).toBe('ERR_POD_DISCONNECTED');
    const tracker = handles.path();
    await (await SharedTracker.open(tracker)).close();
    expect(await codeOf(SharedPOD.open(tracker))).toBe('ERR_POD_OPTIONS');
  });

  it('TP-160: puts init in where it makes the owner, and only there', async () => {
    const path = handles.path();
    const one = await handles.keep(SharedPOD.open<number>(path, { init: { a: 1 } }));
    await one.set('a', 2);
    const two = await handles.keep(SharedPOD.open<number>(path, { init: { a: 1 } }));
    expect(await two.get('a')).toBe(2);
  });

  it('K5, K6: listens where only this user can come, also when the path is long', async () => {
    const path = join(handles.path('long'), 'x'.repeat(60), 'y'.repeat(60));
    const end = await ownerThread(bench.built('test/process/children/serving-thread.js'), path, 'pod');
    expect(readdirSync(path).some((name) => name.endsWith('.sock'))).toBe(false);
    expect(statSync(join(path, 'shared.json')).mode & 0o777).toBe(0o600);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    const pod = await handles.keep(SharedPOD.open<number>(path));
    expect(pod.isOwner).toBe(false);
    await pod.set('a', 1);
    await end();
    expect(await pod.get('a')).toBe(1);
    expect(pod.isOwner).toBe(true);
  });

  it('K5: another user gets neither at the note nor at the socket, also where the folder is open to all', async (context) => {
    if (process.getuid?.() !== 0) {
      console.log('# not checked: only root can act as another user');
      return context.skip();
    }
    const path = handles.path();
    const pod = await open<number>('in the owner', path);
    await pod.set('a', 1);
    const { socket } = JSON.parse(readFileSync(join(path, 'shared.json'), 'utf8')) as { socket: string };
    for (const folder of [dirname(path), path]) chmodSync(folder, 0o755);
    const stranger = `
      const say = (error) => console.log(error?.code ?? 'let in');
      require('node:fs').readFile(process.argv[1] + '/shared.json', say);
      require('node:net').connect(process.argv[2], say).on('error', say);
      setTimeout(() => process.exit(), 5000).unref();`;
    const args = ['-e', stranger, path, socket];
    const { stdout } = await promisify(execFile)(process.execPath, args, { uid: 65_534, gid: 65_534, cwd: '/' });
    expect(stdout.trim().split('\n')).toEqual(['EACCES', 'EACCES']);
    expect(await pod.get('a')).toBe(1);
  });

  it('a thousand calls at once are answered in their order', async () => {
    const path = handles.path();
    const pod = await open<number[]>('over the socket', path);
    await pod.set('a', []);
    const lengths = await Promise.all(Array.from({ length: 3000 }, (_, n) => pod.in('a').push(n)));
    expect(lengths).toEqual(Array.from({ length: 3000 }, (_, n) => n + 1));
    expect(await pod.get('a')).toEqual(Array.from({ length: 3000 }, (_, n) => n));
  });

  it('refuses what is too large for the channel, and loses nothing', async () => {
    const pod = await open<string>('over the socket', handles.path());
    expect(await codeOf(pod.set('a', 'x'.repeat(17 << 20)))).toBe('ERR_POD_VALUE');
    await pod.set('b', 'y'.repeat(9 << 20));
    expect((await pod.get('b'))?.length).toBe(9 << 20);
    expect(await pod.has('a')).toBe(false);
  });
});
