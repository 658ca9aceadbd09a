// Real processes that share a folder: they find each other, and each of them may end in any way.
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { POD } from '../../src/index.ts';
import { SharedPOD } from '../../src/shared/index.ts';
import { useBench } from '../process/built.ts';
import { all, codeOf, useHandles } from './handles.ts';

const bench = useBench();
const handles = useHandles();

describe('processes that share a folder', () => {
  it('TP-173, TP-180: five, each with its share of 25 numbers, which are then read in order', async () => {
    const folder = bench.newPath('squares');
    const shared = await handles.keep(SharedPOD.open<number, number>(folder));
    await shared.update(Array.from({ length: 25 }, (_, key) => [key, 0] as const));
    const five = [0, 1, 2, 3, 4].map((residue) => bench.run('sharer', ['square', folder, String(residue)]));
    for (const { code, stderr, lines } of await Promise.all(five)) {
      expect({ code, stderr, lines }).toEqual({ code: 0, stderr: '', lines: ['client'] });
    }
    expect(await all(shared.entries())).toEqual(Array.from({ length: 25 }, (_, key) => [key, key * key]));
  });

  it('K1, TP-161: of those that open at one moment, exactly one is the owner, and all are served', async () => {
    const folder = bench.newPath('race');
    const racers = Array.from({ length: 5 }, () => bench.start('sharer', ['stay', folder]));
    const roles = await Promise.all(racers.map(async (racer) => racer.said('').then(() => racer.lines[0])));
    expect(roles.sort()).toEqual(['client', 'client', 'client', 'client', 'owner']);
    const shared = await handles.keep(SharedPOD.open<number>(folder));
    expect(await shared.get('sum')).toBe(5);
    for (const racer of racers) racer.process.kill('SIGKILL');
    await Promise.all(racers.map(({ finished }) => finished));
    expect(await shared.get('sum')).toBe(5);
    expect(shared.isOwner).toBe(true);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'TP-174, TPB-10: an owner that %s ends has saved everything',
    async (signal) => {
      const folder = bench.newPath('signal');
      const owner = bench.start('sharer', ['stay', folder]);
      await owner.said('owner');
      owner.process.kill(signal);
      expect((await owner.finished).signal).toBe(signal);
      const pod = POD.open<number>(folder);
      expect([pod.get('sum'), pod.recovery.how]).toEqual([1, signal]);
      pod.close();
    },
  );

  it('K4: a note and a socket that a killed owner left are nobody', async () => {
    const folder = bench.newPath('stale');
    const owner = bench.start('sharer', ['stay', folder]);
    await owner.said('owner');
    owner.process.kill('SIGKILL');
    await owner.finished;
    expect(existsSync(join(folder, 'shared.json'))).toBe(true);
    const shared = await handles.keep(SharedPOD.open<number>(folder));
    expect([await shared.get('sum'), shared.isOwner]).toEqual([1, true]);
    await shared.close();
    expect(existsSync(join(folder, 'shared.json'))).toBe(false);
  });

  it('a copy of a folder leads nobody to the owner of the original, although the note is in it', async () => {
    const folder = bench.newPath('original');
    const owner = bench.start('sharer', ['stay', folder]);
    await owner.said('owner');
    const copy = bench.newPath('copy');
    cpSync(folder, copy, { recursive: true, filter: (name) => !name.endsWith('.sock') });
    expect(existsSync(join(copy, 'shared.json'))).toBe(true);
    const shared = await handles.keep(SharedPOD.open<number>(copy));
    expect([await shared.get('sum'), shared.isOwner]).toEqual([1, true]);
    await shared.set('sum', 100);
    const original = await handles.keep(SharedPOD.open<number>(folder));
    expect([await original.get('sum'), original.isOwner]).toEqual([1, false]);
  });

  it.each(['moved', 'removed', 'replaced'] as const)(
    'a folder that was %s before its owner died is not made anew, and no other one takes its place',
    async (how) => {
      const folder = bench.newPath('place');
      const owner = bench.start('sharer', ['stay', folder]);
      await owner.said('owner');
      const shared = await handles.keep(SharedPOD.open<number>(folder));
      expect([await shared.get('sum'), shared.isOwner]).toEqual([1, false]);
      const elsewhere = bench.newPath('elsewhere');
      if (how === 'removed') rmSync(folder, { recursive: true });
      else renameSync(folder, elsewhere);
      if (how === 'replaced') POD.open<number>(folder, { init: [['sum', 7]] }).close();
      owner.process.kill('SIGKILL');
      await owner.finished;
      expect(await codeOf(shared.get('sum'))).toBe('ERR_POD_DISK');
      expect(await codeOf(shared.set('sum', 8))).toBe('ERR_POD_DISK');
      expect(existsSync(folder)).toBe(how === 'replaced');
      if (how === 'removed') return;
      if (how === 'replaced') expect([...POD.open<number>(folder, { mode: 'r' })]).toEqual([['sum', 7]]);
      rmSync(folder, { recursive: true, force: true });
      renameSync(elsewhere, folder);
      await shared.set('sum', 2);
      expect([await shared.get('sum'), shared.isOwner]).toEqual([2, true]);
    },
  );
});
