import { cpSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/disk/repair.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD, PodError } from '../../src/index.ts';
import { testSeed, testSize } from '../size.ts';
import { useBench } from './built.ts';
import { treeOf } from './tree.ts';

const bench = useBench();
const seed = testSeed(1);

/** As in `children/bank.ts`, which cannot be imported: it would run. */
const SUM = 2_400;

describe('readers beside a writer that commits, syncs, folds, goes back, compacts and reopens', () => {
  const { readers, audits } = {
    small: { readers: 2, audits: 150 },
    ci: { readers: 4, audits: 2_000 },
    long: { readers: 8, audits: 4_000 },
  }[testSize];

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])(
    'D1: see only states that were, none older than what was synced (gzipped: %s, with a saved index: %s)',
    { timeout: 3_600_000 },
    async (gzipped, indexed) => {
      const folder = bench.newPath();
      const writer = bench.start('bank', [folder, String(seed), String(gzipped), String(indexed)]);
      await writer.said('ready');
      const ended = await Promise.all(
        Array.from({ length: readers }, () =>
          bench.run('auditor', [folder, String(audits), String(SUM), indexed ? '3' : '0']),
        ),
      );
      writer.process.kill('SIGTERM');
      expect(await writer.finished).toMatchObject({ signal: 'SIGTERM', stderr: '' });
      let versions = 0;
      let late = 0;
      for (const { code, stderr, lines } of ended) {
        expect({ code, stderr }, `seed ${seed}`).toEqual({ code: 0, stderr: '' });
        const said = JSON.parse(lines[0] ?? '') as { audits: number; versions: number; pinned: number };
        expect(said.audits).toBe(audits);
        versions += said.versions;
        late += said.pinned;
      }
      console.info(
        `readers, seed ${seed}: ${readers} x ${audits} audits saw ${versions} versions, ${late} read lines late`,
      );
      // Else the writer stood still and nothing was tried.
      expect(versions).toBeGreaterThan(readers * 10);
      if (indexed) expect(late).toBeGreaterThan(readers * 10);
      else expect(late).toBe(0);
      const pod = POD.open<{ amount: number }>(folder);
      const amounts = [...pod].map(([key, { amount }]) => (key === 'version' ? 0 : amount));
      expect(amounts.reduce((sum, amount) => sum + amount)).toBe(SUM);
      pod.close();
    },
  );
});

describe('verify beside a writer', () => {
  it('finds nothing wrong', { timeout: 3_600_000 }, async () => {
    const folder = bench.newPath();
    const writer = bench.start('bank', [folder, String(seed), 'false']);
    await writer.said('ready');
    const looks = { small: 200, ci: 3_000, long: 12_000 }[testSize];
    for (let n = 0; n < looks; n++) {
      expect(verifyFolder(nodeSystem, folder), `seed ${seed}, look ${n}`).toBeGreaterThan(1);
      await sleep(0);
    }
    writer.process.kill('SIGKILL');
    await writer.finished;
  });
});

describe('a reader', () => {
  const fixtures = fileURLToPath(new URL('../fixtures/tastypy', import.meta.url));

  it.each(['plain.pod', 'gz.pod', 'crawl.tracker'])('changes nothing in a folder of tastypy: %s', (name) => {
    const folder = bench.newPath();
    cpSync(join(fixtures, name), folder, { recursive: true });
    const before = treeOf(folder);
    const pod = POD.open(folder, { mode: 'r' });
    expect(pod.size).toBeGreaterThan(0);
    pod.revert();
    pod.close();
    expect(treeOf(folder)).toEqual(before);
  });

  it.each(['SIGKILL', 'SIGTERM', 'close'])('changes nothing in what a process left: %s', async (ending) => {
    const folder = bench.newPath();
    await bench.run('ending', [folder, 'process', ending]);
    const before = treeOf(folder);
    const pod = POD.open(folder, { mode: 'r' });
    expect([...pod.keys()]).toEqual(ending === 'SIGKILL' ? ['first', 'gone', 'turn'] : ['first', 'turn', 'now']);
    pod.revert();
    expect(() => pod.set('a', {})).toThrow(expect.objectContaining({ code: 'ERR_POD_READONLY' }));
    pod.close();
    expect(treeOf(folder)).toEqual(before);
  });

  it('D5: reads up to an append that was cut short, and leaves it as it is', async () => {
    const folder = bench.newPath();
    await bench.run('ending', [folder, 'process', 'SIGKILL']);
    const log = join(folder, 'wal-000001.jsonl');
    truncateSync(log, statSync(log).size - 3);
    const before = treeOf(folder);
    const pod = POD.open(folder, { mode: 'r' });
    expect([...pod.keys()]).toEqual(['first', 'gone']);
    pod.close();
    expect(treeOf(folder)).toEqual(before);
  });

  it.each(['missing', 'missing/below'])('creates nothing where nothing is: %s', (name) => {
    const folder = bench.newPath(name);
    const parent = join(folder, '..');
    const before = treeOf(parent);
    expect(() => POD.open(folder, { mode: 'r' })).toThrow(PodError);
    expect(() => POD.open(folder, { mode: 'r' })).toThrow(expect.objectContaining({ code: 'ERR_POD_NOT_FOUND' }));
    expect(treeOf(parent)).toEqual(before);
  });
});
