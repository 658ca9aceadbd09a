/** The column of the power cut in the table of levels: the worst that one may leave, which is nothing that was not fsynced. */
import { describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table, type TableOwner } from '../../src/core/table.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import { PodEngine } from '../../src/pod/engine.ts';
import type { Durability } from '../../src/pod/options.ts';
import { MemoryFileSystem, testSystem } from '../../src/testing/index.ts';
import { settle, stateOf } from './enumerator-explorer.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));

const PATH = '/data/pod';

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};

/** What the next process finds. */
function recovered(fs: MemoryFileSystem): string {
  const system = testSystem({ fs });
  const found = recoverFolder(system, PATH, { fileSize: 3, gzip: false, meta: {} });
  const table = new Table<never, Key>(owner, found.opened.manifest.fileSize);
  bindFolder(system, PATH, found, table);
  return stateOf(table);
}

/** A pod with one change before a sync point, one in a turn that has ended, and one in the current turn. */
async function lostByPowerCut(level: Durability): Promise<string[]> {
  const fs = new MemoryFileSystem();
  const options = { durability: level, fileSize: 3, syncEvery: 0 };
  const engine = new PodEngine<number, Key>(testSystem({ fs }), PATH, options, {});
  for (const key of ['synced', 'turned', 'now']) {
    engine.table.set(key, 1);
    if (key === 'synced') engine.sync();
    if (key !== 'now') await settle();
  }
  const left = recovered(MemoryFileSystem.fromImage(fs.imageAfter(() => false)));
  return ['synced', 'turned', 'now'].filter((key) => !left.includes(`"${key}"`));
}

describe('the table of levels', () => {
  it('level exit, a power cut: loses what changed since the last sync point', async () => {
    expect(await lostByPowerCut('exit')).toEqual(['turned', 'now']);
  });

  it('level process, a power cut: loses what changed since the last sync point', async () => {
    expect(await lostByPowerCut('process')).toEqual(['turned', 'now']);
  });

  it('level power, a power cut: loses nothing that returned', async () => {
    expect(await lostByPowerCut('power')).toEqual([]);
  });
});

describe.each<Durability>(['exit', 'process', 'power'])('at level %s', (level) => {
  it('D2: what sync or flush acknowledged survives a power cut', async () => {
    const fs = new MemoryFileSystem();
    const options = { durability: level, fileSize: 3, syncEvery: 0 };
    const engine = new PodEngine<{ n: number }, Key>(testSystem({ fs }), PATH, options, {});
    const left = () => recovered(MemoryFileSystem.fromImage(fs.imageAfter(() => false)));
    engine.table.set('by sync', { n: 1 });
    engine.sync();
    expect(left()).toBe(stateOf(engine.table));
    engine.table.set('by flush', { n: 1 });
    await engine.flush();
    expect(left()).toBe(stateOf(engine.table));
  });
});

describe('level power', () => {
  it('D12: each change costs one fsync, and a transaction one for all its changes', () => {
    const fs = new MemoryFileSystem();
    const options = { durability: 'power', fileSize: 3, syncEvery: 0 } as const;
    const engine = new PodEngine<number, Key>(testSystem({ fs }), PATH, options, {});
    let fsyncs = 0;
    fs.intercept = (call) => {
      if (call.name === 'fsync' || call.name === 'fdatasync') fsyncs++;
      return undefined;
    };
    engine.table.set('a', 1);
    engine.table.set('b', 1);
    expect(fsyncs).toBe(2);
    engine.transaction(() => {
      for (const key of ['c', 'd', 'e']) engine.table.set(key, 1);
    });
    expect(fsyncs).toBe(3);
  });
});
