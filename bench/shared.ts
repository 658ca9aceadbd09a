/**
 * What sharing a folder costs: claims per second, and the latency of one update, with 1, 4 and 8 processes.
 *
 *     npx tsx bench/shared.ts [TASKS]
 *
 * Each process claims a task and marks it as done, one after the other, as a crawl does; then each adds one to a counter of its own, one
 * after the other. The owner is a process that does nothing else. Level `process`: what was answered survives `kill -9`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SharedTracker } from '../src/shared/index.ts';

const UPDATES = 2_000;
const [, , first = '20000', role = '', folder = '', index = ''] = process.argv;

if (role === 'work') await work();
else await measure(Number(first));

/** What one process does; it says what came of it. */
async function work(): Promise<void> {
  const tasks = await SharedTracker.open<{ n?: number }>(folder, { mayOwn: false });
  process.send?.('ready');
  await once(process, 'message');
  const startedMs = performance.now();
  let done = 0;
  for await (const key of tasks.tryKeys()) {
    await tasks.markDone(key);
    done++;
  }
  const claimsMs = performance.now() - startedMs;
  const mine = `counter ${index}`;
  const latenciesMs: number[] = [];
  for (let count = 0; count < UPDATES; count++) {
    const beforeMs = performance.now();
    await tasks.in(mine, 'n').increment();
    latenciesMs.push(performance.now() - beforeMs);
  }
  latenciesMs.sort((a, b) => a - b);
  const [half, most] = [0.5, 0.99].map((part) => latenciesMs[Math.floor(part * UPDATES)]);
  await tasks.close();
  process.send?.({ done, claimsMs, half, most });
}

interface Result {
  readonly done: number;
  readonly claimsMs: number;
  readonly half: number;
  readonly most: number;
}

async function measure(count: number): Promise<void> {
  console.log('processes | tasks claimed and done per second | one update, median | 99 of 100');
  for (const processes of [1, 4, 8]) {
    const root = mkdtempSync(join(tmpdir(), 'everpod-bench-shared-'));
    const path = join(root, 'a.pod');
    const owner = await SharedTracker.open<{ n?: number }>(path);
    await owner.addManyIfAbsent(
      Array.from({ length: count }, (_, n) => `https://example.org/some/longer/path/of/a/page/${n}`),
    );
    // Aborted, so that nobody is given them to do.
    for (let index = 0; index < processes; index++) {
      await owner.transaction([['set', `counter ${index}`, { _tries: 0, _done: false, _aborted: true, n: 0 }]]);
    }
    const children = Array.from({ length: processes }, (_, index) => start(path, index));
    await Promise.all(children.map((child) => once(child, 'message')));
    const results = children.map(async (child) => {
      child.send('go');
      const [result] = await once(child, 'message');
      return result as Result;
    });
    const found = await Promise.all(results);
    const done = found.reduce((sum, each) => sum + each.done, 0);
    const seconds = Math.max(...found.map(({ claimsMs }) => claimsMs)) / 1000;
    const worst = (pick: (each: Result) => number): string => `${Math.max(...found.map(pick)).toFixed(3)} ms`;
    console.log(
      `${processes} | ${Math.round(done / seconds)} | ${worst(({ half }) => half)} | ${worst(({ most }) => most)}`,
    );
    await Promise.all(children.map((child) => (child.exitCode === null ? once(child, 'exit') : undefined)));
    await owner.close();
    rmSync(root, { recursive: true });
  }
}

function start(path: string, index: number): ChildProcess {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), first, 'work', path, String(index)];
  return spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}
