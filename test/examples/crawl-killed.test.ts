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
  /** Makes the page that never answers break the connection instead, to save the time of waiting for it. */
  hurry(): void;
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
  let isInAHurry = false;
  server.on('request', (request, response) => {
    requests.push(request.url ?? '');
    if (isInAHurry && request.url === '/trouble/never-answers.html') return request.socket.destroy();
    return site.handle(request, response);
  });
  const hurry = () => {
    isInAHurry = true;
  };
  return { site, startUrl: `${origin}/`, requests, hurry };
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

/** Lets it run until it has sent so many requests more, or has ended. */
async function killAfter(running: Running, signal: NodeJS.Signals, requests: readonly string[], count: number) {
  const wanted = requests.length + count;
  const { child } = running;
  while (requests.length < wanted && child.exitCode === null && child.signalCode === null) await sleep(1);
  child.kill(signal);
  return running.finished;
}

describe('a crawl that is killed', () => {
  it('comes to the same end as one that was not, and fetches nothing again that was done', {
    timeout: 120_000,
  }, async () => {
    const { site, startUrl, requests, hurry } = await serveDemoSite();
    const walk = walkDemoSite(site.pages);
    const cwd = temporaryFolder();
    const args = ['--timeout-ms', '1500', startUrl];

    const counts: number[] = [];
    const doneBefore = new Set<string>();
    const doneAtKill: number[] = [];
    // Six moments, counted in requests, so that a slow machine makes no difference. The first is while the site is still
    // being discovered.
    for (let part = 0; part < 6; part++) {
      const count = 1 + Math.floor(Math.random() * 10 * (part + 1));
      const killed = await killAfter(start('crawl.ts', args, { cwd }), 'SIGKILL', requests, count);
      if (killed.signal !== 'SIGKILL') break;
      counts.push(count);
      const after = readCrawl(cwd, site.origin);
      expect(after.withoutResult, `killed after ${count} requests`).toEqual([]);
      // What was done stays done, unless it turned out to be a part of a redirect loop.
      const lost = [...doneBefore].filter((key) => !after.done.includes(key) && !after.aborted.includes(key));
      expect(lost, `killed after ${count} requests`).toEqual([]);
      for (const key of [...after.done, ...after.aborted]) doneBefore.add(key);
      doneAtKill.push(after.done.length);
      // Requests that were on their way when it died are not the next run's.
      await sleep(50);
      requests.push('---');
    }
    hurry();
    const summary = await crawl(args, { cwd });
    console.log(`killed after ${counts.join(', ')} requests, with ${doneAtKill.join(', ')} pages done`);
    expect(counts).toHaveLength(6);

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
    ['SIGINT', 40],
    ['SIGTERM', 120],
  ] as const)(
    'saves and ends as the shell expects on %s, then carries on',
    { timeout: 120_000 },
    async (signal, count) => {
      const { site, startUrl, requests, hurry } = await serveDemoSite();
      const walk = walkDemoSite(site.pages);
      const cwd = temporaryFolder();
      // With so long a timeout, what does not come back in the time of grace is cut short, and has not failed.
      const patient = start('crawl.ts', ['--timeout-ms', '60000', startUrl], { cwd });

      const stopped = await killAfter(patient, signal, requests, count);
      expect({ code: stopped.code, signal: stopped.signal }).toEqual({ code: null, signal });
      expect(stopped.stdout).toContain(`${signal}: finishing what is in flight`);
      expect(stopped.stdout).toMatch(
        new RegExp(`Stopped by ${signal}: the same command again does the \\d+ that are left`),
      );
      const after = readCrawl(cwd, site.origin);
      expect(after.withoutResult).toEqual([]);
      // A page that was in flight and did not come back in time has its try back.
      const times = (url: string) => requests.filter((key) => site.origin + key === url).length;
      const settled = new Set([...after.done, ...after.aborted].map((key) => site.origin + key));
      const counted = [...after.tries].filter(([url, tries]) => !settled.has(url) && tries > 0);
      expect(counted.filter(([url, tries]) => tries > times(url))).toEqual([]);
      expect(after.tries.get(`${site.origin}/trouble/never-answers.html`) ?? 0).toBe(0);

      const asked = requests.length;
      hurry();
      const summary = await crawl(['--timeout-ms', '1500', startUrl], { cwd });
      const end = readCrawl(cwd, site.origin);
      expect(end.done).toEqual(walk.done);
      expect(end.aborted).toEqual([...walk.aborted.keys()].sort());
      const again = requests.slice(asked).filter((key) => after.done.includes(key));
      expect(again).toEqual([]);
      expect(summary.todo).toBe(0);
    },
  );

  it('ends at once at the second signal, and still loses nothing', { timeout: 120_000 }, async () => {
    const { site, startUrl, requests, hurry } = await serveDemoSite();
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
    hurry();
    await crawl(['--timeout-ms', '1500', startUrl], { cwd });
    expect(readCrawl(cwd, site.origin).done).toEqual(walkDemoSite(site.pages).done);
    expect(requests.slice(asked).filter((key) => before.done.includes(key))).toEqual([]);
  });
});
