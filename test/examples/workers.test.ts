// The crawl by several processes, one of which is killed, and by threads.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ProgressTracker } from '../../src/index.ts';
import { ownerOf } from '../shared/owner-of.ts';
import { run, start, temporaryFolder } from './run-example.ts';

/** What the site comes to when it is walked from its first page, whoever walks. */
const END = '294 pages known: 277 done, 14 aborted, 3 failed\n';

describe('workers.ts', () => {
  it('crawls the site with processes, and starts the owner again that is killed', async () => {
    const cwd = temporaryFolder();
    const folder = path.join(cwd, 'crawl.pod');
    const running = start('workers.ts', [folder, '--workers', '2'], { cwd });
    await running.said('started process');
    let owner: number | undefined;
    while (owner === undefined || owner === running.child.pid) {
      await sleep(20);
      owner = ownerOf(folder);
    }
    await sleep(300);
    process.kill(owner, 'SIGKILL');
    const { code, stdout, stderr } = await running.finished;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`process ${owner} was killed by SIGKILL`);
    expect(stdout.endsWith(END)).toBe(true);
    const tasks = ProgressTracker.open(folder, { mode: 'r' });
    expect(tasks.numDone()).toBe(277);
    tasks.close();
  });

  it('crawls it with threads', async () => {
    const cwd = temporaryFolder();
    const { code, stdout, stderr } = await run('workers.ts', ['crawl.pod', '--workers', '2', '--threads'], { cwd });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.endsWith(END)).toBe(true);
  });
});
