import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PageResult, PageTask } from '../../examples/crawl/crawl-state.ts';
import { demoSite } from '../../examples/crawl/demo-site.ts';
import type { Task } from '../../src/index.ts';
import { walkDemoSite } from './demo-walk.ts';
import { crawl, readShards, run, start, temporaryFolder } from './run-example.ts';

const site = demoSite();
const walk = walkDemoSite(site.pages);
const toPath = (url: string) => url.slice(site.origin.length);

describe('the demo site', () => {
  it('has about 300 pages, and of each kind of trouble at least one', () => {
    expect(site.pages.size).toBeGreaterThan(290);
    const kinds = new Set([...site.pages.values()].map((page) => page.answer.kind));
    expect([...kinds].sort()).toEqual(['hang', 'huge', 'once', 'page', 'redirect', 'status', 'type']);
    expect(new Set(walk.aborted.values()).size).toBe(8);
    expect([...walk.failed.values()].sort()).toEqual(['HTTP_500', 'HTTP_503', 'TIMEOUT']);
    // What nothing but a link not to be followed leads to.
    const unreachable = [...site.pages.keys()].filter(
      (key) => !walk.done.includes(key) && !walk.aborted.has(key) && !walk.failed.has(key),
    );
    expect(unreachable.sort()).toEqual(['/odd/in-a-comment.html', '/odd/in-a-script.html', '/odd/nofollow.html']);
  });
});

describe('crawl.ts on the demo site', () => {
  it('does every page that can be done, once, over any number of runs', { timeout: 120_000 }, async () => {
    const cwd = temporaryFolder();

    const first = await crawl([], { cwd });
    const folder = path.join(cwd, 'crawl-data', 'demo');
    expect(path.resolve(cwd, first.folder)).toBe(folder);
    const tasks = readShards<Task<PageTask>>(path.join(folder, 'tasks.pod'));
    const pages = readShards<PageResult>(path.join(folder, 'pages.pod'));
    const settled = [...tasks];

    const done = settled.filter(([, task]) => task._done);
    expect(done.map(([url]) => toPath(url)).sort()).toEqual(walk.done);
    expect(
      new Map(settled.filter(([, task]) => task._aborted).map(([url, task]) => [toPath(url), task._error?.message])),
    ).toEqual(walk.aborted);
    const failed = settled.filter(([, task]) => !task._done && !task._aborted);
    expect(new Map(failed.map(([url, task]) => [toPath(url), task._error?.code]))).toEqual(walk.failed);
    expect(failed.map(([, task]) => task._tries)).toEqual([3, 3, 3]);

    // Only what failed was asked for more than once.
    const twice = settled.filter(([, task]) => task._tries === 2).map(([url]) => toPath(url));
    const onces = [...site.pages].filter(([, page]) => page.answer.kind === 'once').map(([key]) => key);
    expect(twice.sort()).toEqual(onces.sort());
    expect(settled.filter(([, task]) => task._tries === 1)).toHaveLength(tasks.size - onces.length - 3);

    // Every page that is done has its result, and the redirects say where to.
    expect(done.filter(([url]) => !pages.has(url))).toEqual([]);
    expect(pages.get(`${site.origin}/topics/kites/07.html`)).toMatchObject({ status: 200, title: 'kites 7', links: 5 });
    const redirected = done.filter(([, task]) => task.redirectedTo !== undefined);
    expect(redirected.map(([url]) => toPath(url)).sort()).toEqual(walk.redirects);
    expect(tasks.get(`${site.origin}/moved/for-now.html`)?.redirectedTo).toBe(
      `${site.origin}/moved/relative-home.html`,
    );

    expect(first).toMatchObject({
      pages: tasks.size,
      done: walk.done.length,
      redirects: walk.redirects.length,
      todo: 0,
      tries: tasks.size + onces.length + 2 * 3,
      fetched: tasks.size + onces.length + 2 * 3 - 2, // all but the two that robots.txt forbids
      stoppedBy: null,
      movedTo: null,
    });
    expect(first.failed.map(({ count }) => count)).toEqual([1, 1, 1]);
    expect(first.aborted.reduce((sum, { count }) => sum + count, 0)).toBe(walk.aborted.size);

    // Nothing is left to do, so nothing is done.
    const files = ['0.json', 'pod.json'].map((name) => path.join(folder, 'pages.pod', name));
    const before = files.map((file) => readFileSync(file, 'utf8'));
    const second = await run('crawl.ts', [], { cwd });
    expect(second).toMatchObject({ code: 0, signal: null });
    expect(second.stdout).toContain('0 fetched in this one');
    expect(second.stdout).toContain('Nothing is left to do: 3 pages used up their 3 tries. --retry-failed');
    expect(readFileSync(files[0] ?? '', 'utf8')).toBe(before[0]);

    // Another three tries for the three, and for no other.
    const third = await crawl(['--retry-failed'], { cwd });
    expect(third).toMatchObject({ fetched: 9, done: walk.done.length, todo: 0, pages: tasks.size });
    expect(readShards(path.join(folder, 'tasks.pod')).size).toBe(tasks.size);
  });

  it('starts afresh in a new folder, and carries on with the newest', { timeout: 120_000 }, async () => {
    const cwd = temporaryFolder();
    const env = { EVERPOD_CRAWL_DIR: path.join(cwd, 'elsewhere') };
    // No tries are wasted on pages that fail by design.
    const args = ['--max-tries', '1'];
    const first = await crawl(args, { cwd, env });
    const second = await crawl([...args, '--fresh'], { cwd, env });
    const third = await crawl(args, { cwd, env });
    expect([first, second, third].map(({ folder }) => path.relative(cwd, folder))).toEqual([
      path.join('elsewhere', 'demo'),
      path.join('elsewhere', 'demo-run-2'),
      path.join('elsewhere', 'demo-run-2'),
    ]);
    expect(second.fetched).toBe(first.fetched);
    expect(third.fetched).toBe(0);
    expect(existsSync(path.join(cwd, 'crawl-data'))).toBe(false);
    expect(readdirSync(path.join(cwd, 'elsewhere')).sort()).toEqual(['demo', 'demo-run-2']);
  });

  it('refuses what it does not understand, and leaves nothing behind', async () => {
    const cwd = temporaryFolder();
    const { code, stdout, stderr } = await run('crawl.ts', ['--max-tries', 'many'], { cwd });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe('--max-tries takes a whole number from 0 on, not many\n');
    expect(readdirSync(cwd)).toEqual([]);
  });

  it('says who is crawling already, and leaves that one alone', { timeout: 120_000 }, async () => {
    const cwd = temporaryFolder();
    const first = start('crawl.ts', ['--json', '--max-tries', '1'], { cwd });
    await first.said('Crawling');
    const { code, stdout, stderr } = await run('crawl.ts', [], { cwd });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(`open for writing in process ${first.child.pid}`);
    expect(stderr).not.toContain('    at ');
    const finished = await first.finished;
    expect(finished.code).toBe(0);
    expect(JSON.parse(finished.stdout)).toMatchObject({ todo: 0 });
  });

  it('says what it can do', async () => {
    const { code, stdout } = await run('crawl.ts', ['--help'], { cwd: temporaryFolder() });
    expect(code).toBe(0);
    expect(stdout).toContain('npm run crawl -- [options] [URL]');
  });
});
