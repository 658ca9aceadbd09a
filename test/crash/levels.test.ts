/**
 * The table of levels, as far as a file system in memory tells: when something is written and fsynced, and the worst that a power cut may
 * leave, which is nothing that was not fsynced.
 */
import { describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import { PodEngine } from '../../src/pod/engine.ts';
import type { Durability, PodOptions } from '../../src/pod/options.ts';
import { MemoryFileSystem, type TestSystem, testSystem } from '../../src/testing/index.ts';
import { exitTasks } from './enumerator-exit.ts';
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

interface Watched {
  readonly engine: PodEngine<number, Key>;
  readonly system: TestSystem;
  /** The calls since it was asked last that bring bytes to the disk, as `write` and `fsync`. */
  calls(): string[];
  /** How many keys a power cut would lose now. */
  lostKeys(): number;
}

function watched(options: PodOptions<number, Key>): Watched {
  const system = testSystem();
  const engine = new PodEngine<number, Key>(system, PATH, { fileSize: 3, ...options }, {});
  let seen: string[] = [];
  system.fs.intercept = ({ name }) => {
    if (name === 'write') seen.push('write');
    if (name === 'fsync' || name === 'fdatasync') seen.push('fsync');
    return undefined;
  };
  return {
    engine,
    system,
    calls: () => {
      const calls = seen;
      seen = [];
      return calls;
    },
    lostKeys: () => {
      const left = new Set(recovered(MemoryFileSystem.fromImage(system.fs.imageAfter(() => false))).split('\n'));
      return stateOf(engine.table)
        .split('\n')
        .filter((line) => !left.has(line)).length;
    },
  };
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

describe('the table of levels: changes leave the process', () => {
  it('level exit, when: at sync points', async () => {
    const { engine, calls } = watched({ durability: 'exit', syncEvery: 0 });
    engine.table.set('a', 1);
    expect(calls()).toEqual([]);
    await settle();
    expect(calls()).toEqual([]);
    engine.sync();
    expect(calls()).toEqual(['write', 'fsync']);
  });

  it('level process, when: at the end of every turn; fsync at sync points', async () => {
    const { engine, calls } = watched({ durability: 'process', syncEvery: 0 });
    engine.table.set('a', 1);
    engine.table.set('b', 1);
    expect(calls()).toEqual([]);
    await settle();
    expect(calls()).toEqual(['write']);
    engine.sync();
    expect(calls()).toContain('fsync');
  });

  it('level power, when: appended and fsynced before the mutating call returns', async () => {
    const { engine, calls } = watched({ durability: 'power', syncEvery: 0 });
    engine.table.set('a', 1);
    expect(calls()).toEqual(['write', 'fsync']);
    await settle();
    expect(calls()).toEqual([]);
  });
});

describe('level process, with the defaults', () => {
  it('D11: a power cut never loses 1000 changed keys or more', async () => {
    const { engine, lostKeys } = watched({});
    const lost: number[] = [];
    for (let n = 1; n <= 3_000; n++) {
      engine.table.set(n, n);
      if (n % 1000 === 999 || n % 1000 === 0) lost.push(lostKeys());
      if (n % 700 === 0) await settle();
    }
    expect(lost).toEqual([999, 0, 999, 0, 999, 0]);
  });

  it('D11: a power cut loses the changes of one second', async () => {
    const { engine, system, lostKeys } = watched({});
    engine.table.set('a', 1);
    await settle();
    system.clock.advance(999);
    await settle();
    expect(lostKeys()).toBe(1);
    system.clock.advance(1);
    await settle();
    expect(lostKeys()).toBe(0);
  });

  it('D11: in a program that computes without an await, syncAt alone makes sync points', () => {
    const { engine, lostKeys } = watched({});
    for (let n = 1; n <= 1_500; n++) engine.table.set(n, n);
    expect(lostKeys()).toBe(500);
  });
});

describe.each<Durability>(['exit', 'process', 'power'])('the end of the process at level %s', (level) => {
  it('D21: appends to the log and fsyncs it', () => {
    const { engine, system, calls, lostKeys } = watched({ durability: level, syncEvery: 0 });
    engine.table.set('a', 1);
    engine.table.set('b', 1);
    calls();
    const files = new Set<string>();
    const { intercept } = system.fs;
    system.fs.intercept = (call) => {
      if (call.name === 'write') files.add(call.path);
      return intercept?.(call);
    };
    exitTasks.run('SIGTERM');
    expect(calls().at(-1)).toBe('fsync');
    expect(lostKeys()).toBe(0);
    expect([...files]).toEqual([`${PATH}/wal-000001.jsonl`]);
    exitTasks.clear();
  });
});

describe('a hold', () => {
  /** Changes one key until the log is ten times as long as what makes a fold due. */
  async function outgrow(engine: PodEngine<number, Key>): Promise<void> {
    for (let n = 0; n < 200; n++) {
      engine.table.set('a', n);
      await settle();
    }
  }

  it.each([
    { held: true, folds: 'nothing' },
    { held: false, folds: 'shards' },
  ])('D32: suspends folding (held: $held)', async ({ held, folds }) => {
    const system = testSystem({ foldLogBytes: 300 });
    const engine = new PodEngine<number, Key>(system, PATH, { fileSize: 3, syncAt: 5, syncEvery: 100 }, {});
    engine.table.set('a', 0);
    engine.sync();
    if (held) engine.hold();
    await outgrow(engine);
    engine.sync(); // Otherwise there would be no occasion to fold.
    // The shard cannot be there before its fold.
    for (let n = 0; n < 50; n++) {
      system.clock.advance(100);
      await settle();
    }
    const shards = system.fs.readdir(PATH).filter((name) => /^\d+\.json$/.test(name));
    expect(shards.length > 0 ? 'shards' : 'nothing').toBe(folds);
    if (!held) return;
    engine.unhold();
    engine.table.set('b', 1);
    engine.sync();
    for (let n = 0; n < 50; n++) {
      system.clock.advance(100);
      await settle();
    }
    expect(system.fs.readdir(PATH)).toContain('0.json');
  });

  it('D32: sync, flush, close and the end of the process work as ever', async () => {
    const { engine, system, lostKeys } = watched({ durability: 'exit', syncAt: 1, syncEvery: 0 });
    engine.hold();
    engine.table.set('a', 1);
    expect(lostKeys()).toBe(1);
    engine.sync();
    expect(lostKeys()).toBe(0);
    engine.table.set('b', 1);
    expect(lostKeys()).toBe(1);
    await engine.flush();
    expect(lostKeys()).toBe(0);
    engine.table.set('c', 1);
    exitTasks.run('SIGTERM');
    expect(lostKeys()).toBe(0);
    engine.table.set('d', 1);
    engine.close();
    const left = recovered(MemoryFileSystem.fromImage(system.fs.imageAfter(() => false)));
    expect(left).toBe('"a"\t1\n"b"\t1\n"c"\t1\n"d"\t1\n');
    exitTasks.clear();
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
