import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { PageResult, PageTask } from '../../examples/crawl/crawl-state.ts';
import { type DemoSite, demoSite } from '../../examples/crawl/demo-site.ts';
import { POD, ProgressTracker } from '../../src/index.ts';
import { walkDemoSite } from './demo-walk.ts';
import { crawl, type Running, start, temporaryFolder } from './run-example.ts';

interface LoggedSite {
  readonly site: DemoSite;
  readonly startUrl: string;
  /** Every request since the server began, in order. */
  readonly requests: string[];
}

/** The demo site on a server that outlives every crawl of it, so that its log can be believed. */
async function serveDemoSite(): Promise<LoggedSite> {
  const requests: string[] = [];
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const site = demoSite({ origin });
  server.on('request', (request, response) => {
    requests.push(request.url ?? '');
    return site.handle(request, response);
  });
  return { site, startUrl: `${origin}/`, requests };
}

/** What is on disk after a crawl ended in whatever way. */
function readCrawl(cwd: string, origin: string) {
  const folder = path.join(cwd, 'crawl-data', `http-${new URL(origin).host.replace(':', '_')}`);
  const tasks = ProgressTracker.open<PageTask>(path.join(folder, 'tasks.pod'), { mode: 'r' });
  const pages = POD.open<PageResult>(path.join(folder, 'pages.pod'), { mode: 'r' });
  const done = [...tasks.doneKeys()];
  const withoutResult = done.filter((url) => !pages.has(url));
  const aborted = [...tasks.abortedKeys()];
  const tries = new Map([...tasks].map(([url, task]) => [url, task._tries]));
  tasks.close();
  pages.close();
  const toPaths = (urls: string[]) => urls.map((url) => url.slice(origin.length)).sort();
  return { done: toPaths(done), aborted: toPaths(aborted), withoutResult, tries };
}

async function killAfter(running: Running, signal: NodeJS.Signals, ms: number) {
  await running.said('Crawling');
  await sleep(ms);
  running.child.kill(signal);
  return running.finished;
}

describe('a crawl that is killed', () => {
  it('comes to the same end as one that was not, and fetches nothing again that was done', async () => {
    const { site, startUrl, requests } = await serveDemoSite();
    const walk = walkDemoSite(site.pages);
    const cwd = temporaryFolder();
    const args = ['--timeout-ms', '1500', startUrl];

    let kills = 0;
    const doneBefore = new Set<string>();
    const doneAtKill: number[] = [];
    // Seven moments, each at random in a part of its own: the first while the site is still being discovered.
    for (let part = 0; part < 7; part++) {
      const ms = Math.round((part + Math.random()) * 60);
      const killed = await killAfter(start('crawl.ts', args, { cwd }), 'SIGKILL', ms);
      if (killed.signal !== 'SIGKILL') break;
      kills += 1;
      const after = readCrawl(cwd, site.origin);
      expect(after.withoutResult, `killed after ${ms} ms`).toEqual([]);
      // What was done stays done, unless it turned out to be a part of a redirect loop.
      const lost = [...doneBefore].filter((key) => !after.done.includes(key) && !after.aborted.includes(key));
      expect(lost, `killed after ${ms} ms`).toEqual([]);
      for (const key of [...after.done, ...after.aborted]) doneBefore.add(key);
      doneAtKill.push(after.done.length);
      // Requests that were on their way when it died are not the next run's.
      await sleep(50);
      requests.push('---');
    }
    const summary = await crawl(args, { cwd });
    console.log(`${kills} kills, with ${doneAtKill.join(', ')} pages done; ${summary.fetched} fetched by the last run`);
    expect(kills).toBeGreaterThanOrEqual(3);

    const end = readCrawl(cwd, site.origin);
    expect(end.done).toEqual(walk.done);
    expect(end.aborted).toEqual([...walk.aborted.keys()].sort());
    expect(end.withoutResult).toEqual([]);
    expect(summary.todo).toBe(0);

    // By the server's own log: what the last run found done it did not ask for.
    const askedLast = requests.slice(requests.lastIndexOf('---') + 1).filter((key) => key !== '/robots.txt');
    expect(askedLast.filter((key) => doneBefore.has(key))).toEqual([]);
    expect(askedLast).toHaveLength(summary.fetched);
    expect(askedLast.length).toBeGreaterThan(0);
  });

  it.each([
    ['SIGINT', 200],
    ['SIGTERM', 350],
  ] as const)('saves and ends as the shell expects on %s, then carries on', async (signal, ms) => {
    const { site, startUrl, requests } = await serveDemoSite();
    const walk = walkDemoSite(site.pages);
    const cwd = temporaryFolder();
    const args = ['--timeout-ms', '1500', startUrl];

    const stopped = await killAfter(start('crawl.ts', args, { cwd }), signal, ms);
    expect({ code: stopped.code, signal: stopped.signal }).toEqual({ code: null, signal });
    expect(stopped.stdout).toContain(`${signal}: finishing what is in flight`);
    expect(stopped.stdout).toMatch(
      new RegExp(`Stopped by ${signal}: the same command again does the \\d+ that are left`),
    );
    const after = readCrawl(cwd, site.origin);
    expect(after.withoutResult).toEqual([]);
    // A page that was in flight and did not come back in time has its try back.
    const asked = new Set(requests.map((key) => site.origin + key));
    const triedTooOften = [...after.tries].filter(([url, tries]) => tries > 0 && !asked.has(url));
    expect(triedTooOften.filter(([url]) => !after.aborted.includes(url.slice(site.origin.length)))).toEqual([]);

    const asked1 = requests.length;
    const summary = await crawl(args, { cwd });
    const end = readCrawl(cwd, site.origin);
    expect(end.done).toEqual(walk.done);
    expect(end.aborted).toEqual([...walk.aborted.keys()].sort());
    const again = requests.slice(asked1).filter((key) => after.done.includes(key));
    expect(again).toEqual([]);
    expect(summary.todo).toBe(0);
  });

  it('ends at once at the second signal, and still loses nothing', async () => {
    const { site, startUrl, requests } = await serveDemoSite();
    const cwd = temporaryFolder();
    // The page that never answers keeps the first signal waiting for its two seconds.
    const running = start('crawl.ts', ['--timeout-ms', '60000', startUrl], { cwd });
    await running.said('Crawling');
    while (!requests.includes('/trouble/never-answers.html')) await sleep(10);
    running.child.kill('SIGINT');
    await running.said('finishing what is in flight');
    running.child.kill('SIGINT');
    const ended = await running.finished;
    expect({ code: ended.code, signal: ended.signal }).toEqual({ code: null, signal: 'SIGINT' });
    expect(ended.stdout).not.toContain('Kept in');
    const before = readCrawl(cwd, site.origin);
    expect(before.withoutResult).toEqual([]);
    expect(before.done.length).toBeGreaterThan(0);

    const asked = requests.length;
    await crawl(['--timeout-ms', '1500', startUrl], { cwd });
    expect(readCrawl(cwd, site.origin).done).toEqual(walkDemoSite(site.pages).done);
    expect(requests.slice(asked).filter((key) => before.done.includes(key))).toEqual([]);
  });
});
