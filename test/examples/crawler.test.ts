import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CrawlState, type PageResult } from '../../examples/crawl/crawl-state.ts';
import { Crawler } from '../../examples/crawl/crawler.ts';
import { serve } from '../../examples/crawl/serve.ts';
import { openSite } from '../../examples/crawl/site.ts';
import { temporaryFolder } from './run-example.ts';

type Answer = (response: ServerResponse) => unknown;

const page =
  (...hrefs: string[]): Answer =>
  (response) =>
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end(`<title>page</title>${hrefs.map((href) => `<a href="${href}">x</a>`).join('')}`);
const redirect =
  (location: string): Answer =>
  (response) =>
    response.writeHead(302, { location }).end();
const status =
  (code: number): Answer =>
  (response) =>
    response.writeHead(code).end();

/** A crawler in this process, of a server that answers as told. */
async function setUp(answers: Record<string, Answer>, { concurrency = 4, maxTries = 3 } = {}) {
  const requests: string[] = [];
  const server = await serve((request, response) => {
    const path = request.url ?? '';
    requests.push(path);
    (answers[path] ?? status(404))(response);
  });
  const site = await openSite({ url: `${server.origin}/`, siteFolder: undefined });
  const state = new CrawlState(temporaryFolder(), maxTries);
  onTestFinished(async () => {
    state.close();
    await server.close();
  });
  const stop = new AbortController();
  const cut = new AbortController();
  const options = { concurrency, timeoutMs: 5_000, maxBytes: 10_000, stop: stop.signal, cut: cut.signal };
  const crawler = new Crawler(site, state, options);
  const restart = async (): Promise<Crawler> => {
    const another = new Crawler(site, state, options);
    await another.run();
    return another;
  };
  const paths = (urls: Iterable<string>) => [...urls].map((url) => url.slice(server.origin.length)).sort();
  return { crawler, state, requests, stop, cut, paths, restart, origin: server.origin };
}

describe('Crawler', () => {
  it('calls a page done only when its result is on disk', async () => {
    const { crawler, state, paths } = await setUp({
      '/': page('/a', '/moved'),
      '/a': page(),
      '/moved': redirect('/b'),
      '/b': page(),
    });
    const { tasks } = state;
    const save = state.saveResult.bind(state);
    const saved: string[] = [];
    state.saveResult = async (url: string, result: PageResult) => {
      await sleep(20);
      expect(tasks.done(url)).toBe(false);
      await save(url, result);
      saved.push(url);
    };
    await crawler.run();
    expect(paths(tasks.doneKeys())).toEqual(['/', '/a', '/b', '/moved']);
    expect(paths(saved)).toEqual(['/', '/a', '/b', '/moved']);
  });

  it('keeps as many requests in flight as it may, and never more', async () => {
    let inFlight = 0;
    let most = 0;
    const slowly =
      (answer: Answer): Answer =>
      async (response) => {
        inFlight += 1;
        most = Math.max(most, inFlight);
        await sleep(100);
        inFlight -= 1;
        answer(response);
      };
    const names = Array.from({ length: 12 }, (_, n) => `/${n}`);
    const answers: Record<string, Answer> = { '/': page(...names) };
    for (const name of names) answers[name] = slowly(page());
    const { crawler, state } = await setUp(answers, { concurrency: 4 });
    await crawler.run();
    expect(state.tasks.numDone()).toBe(13);
    expect(most).toBe(4);
    expect(crawler.counts).toEqual({ fetched: 13 });
  });

  it('tries again what failed, and only that', async () => {
    const busy = new Set(['/a', '/b']);
    const atFirst =
      (path: string, code: number): Answer =>
      (response) =>
        busy.delete(path) ? status(code)(response) : page('/behind')(response);
    const { crawler, state, requests } = await setUp({
      '/': page('/a', '/b', '/c', '/gone'),
      '/a': atFirst('/a', 500),
      '/b': atFirst('/b', 429),
      '/c': status(503),
      '/gone': status(410),
      '/behind': page(),
    });
    await crawler.run();
    const { done, aborted, todo, exhausted } = state.tasks.stats();
    expect({ done, aborted, todo, exhausted }).toEqual({ done: 4, aborted: 1, todo: 0, exhausted: 1 });
    const counts = Object.fromEntries(['/', '/a', '/b', '/c', '/gone', '/behind'].map((path) => [path, 0]));
    for (const path of requests) if (path in counts) counts[path] = (counts[path] ?? 0) + 1;
    expect(counts).toEqual({ '/': 1, '/a': 2, '/b': 2, '/c': 3, '/gone': 1, '/behind': 1 });
  });

  it('notices a redirect loop whose pages come back at the same moment', async () => {
    const waiting: (() => void)[] = [];
    const together =
      (location: string): Answer =>
      (response) => {
        waiting.push(() => redirect(location)(response));
        if (waiting.length === 3) for (const answer of waiting) answer();
      };
    const { crawler, state, paths, requests } = await setUp({
      '/': page('/1', '/2', '/3', '/into'),
      '/1': together('/2'),
      '/2': together('/3'),
      '/3': together('/1'),
      '/into': redirect('/1'),
    });
    await crawler.run();
    expect(paths(state.tasks.abortedKeys())).toEqual(['/1', '/2', '/3']);
    expect(paths(state.tasks.doneKeys())).toEqual(['/', '/into']);
    expect(requests.filter((path) => /\d/.test(path)).sort()).toEqual(['/1', '/2', '/3']);
  });

  it('fetches nothing while robots.txt cannot be had, and goes on when it can', async () => {
    let down = true;
    const { crawler, state, requests, paths } = await setUp({
      '/robots.txt': (response) => {
        if (!down) return response.end('User-agent: *\nDisallow: /private/\n');
        down = false;
        return status(500)(response);
      },
      '/': page('/a', '/private/b'),
      '/a': page(),
      '/private/b': page(),
    });
    await crawler.run();
    expect(requests).toEqual(['/robots.txt', '/robots.txt', '/', '/a']);
    expect(paths(state.tasks.doneKeys())).toEqual(['/', '/a']);
    expect(paths(state.tasks.abortedKeys())).toEqual(['/private/b']);
    expect([...state.tasks].map(([, task]) => task._tries)).toEqual([2, 1, 1]);
  });

  it('asks for the rules before it fetches several pages at a time, and keeps to the pause that they ask for', async () => {
    let toldAt = 0;
    let lastAt = 0;
    const timed: Answer = (response) => {
      lastAt = performance.now();
      page()(response);
    };
    const { crawler, state, requests, origin } = await setUp({
      '/robots.txt': async (response) => {
        await sleep(100);
        toldAt = performance.now();
        response.end('User-agent: *\nCrawl-delay: 0.2\n');
      },
      '/': page(),
      '/a': timed,
      '/b': timed,
      '/c': timed,
    });
    // As after a restart: there is more than one page to begin with.
    state.tasks.addMany(['/', '/a', '/b', '/c'].map((path) => origin + path));
    await crawler.run();
    expect(state.tasks.numDone()).toBe(4);
    expect(requests.filter((path) => path === '/robots.txt')).toHaveLength(1);
    expect(requests[0]).toBe('/robots.txt');
    // The first page is fetched when the rules are known, and each of the other three a fifth of a second after the one before.
    expect(lastAt - toldAt).toBeGreaterThan(590);
  });

  it('leaves a site alone for as long as it asks, with all its pages, and blames no page for it', async () => {
    let busyAt = 0;
    const afterwards: number[] = [];
    const later: Answer = (response) => {
      if (busyAt > 0) afterwards.push(performance.now() - busyAt);
      page()(response);
    };
    const { crawler, state, origin } = await setUp(
      {
        '/': page('/busy', '/a', '/b'),
        '/busy': (response) => {
          if (busyAt > 0) return later(response);
          busyAt = performance.now();
          return response.writeHead(429, { 'retry-after': '1' }).end();
        },
        '/a': later,
        '/b': later,
      },
      { concurrency: 1 },
    );
    await crawler.run();
    expect(state.tasks.numDone()).toBe(4);
    expect(afterwards).toHaveLength(3);
    for (const ms of afterwards) expect(ms).toBeGreaterThan(900);
    expect(state.tasks.get(`${origin}/busy`)).toMatchObject({ _tries: 1, _done: true });
  });

  it('stops when nothing can be reached any more, and uses up no tries on that', async () => {
    const names = Array.from({ length: 30 }, (_, n) => `/${n}`);
    const answers: Record<string, Answer> = { '/': page(...names) };
    let isDown = true;
    for (const name of names) answers[name] = (response) => (isDown ? response.destroy() : page()(response));
    const { crawler, state, restart } = await setUp(answers);
    await crawler.run();
    expect(crawler.gaveUp).toBe(true);
    const { done, todo, exhausted } = state.tasks.stats();
    expect({ done, todo, exhausted }).toEqual({ done: 1, todo: 30, exhausted: 0 });
    expect(state.tasks.errorClasses()).toMatchObject([{ count: expect.any(Number), code: expect.any(String) }]);
    isDown = false;
    const second = await restart();
    expect(second.gaveUp).toBe(false);
    expect(state.tasks.numDone()).toBe(31);
  });

  it('does not take broken pages for a site that is gone', async () => {
    const names = Array.from({ length: 30 }, (_, n) => `/${n}`);
    const answers: Record<string, Answer> = { '/': page(...names) };
    for (const name of names) answers[name] = status(500);
    const { crawler, state } = await setUp(answers, { maxTries: 2 });
    await crawler.run();
    expect(crawler.gaveUp).toBe(false);
    expect(state.tasks.stats()).toMatchObject({ done: 1, todo: 0, exhausted: 30 });
  });

  it('lets what is in flight finish when it is stopped, and begins nothing new', async () => {
    const { crawler, state, requests, stop, paths } = await setUp(
      {
        '/': page('/a', '/b', '/c', '/d'),
        '/a': async (response) => {
          stop.abort();
          await sleep(50);
          page('/e')(response);
        },
        '/b': page(),
        '/c': page(),
        '/d': page(),
      },
      { concurrency: 1 },
    );
    await crawler.run();
    expect(paths(state.tasks.doneKeys())).toEqual(['/', '/a']);
    expect(paths(state.tasks.todoKeys())).toEqual(['/b', '/c', '/d', '/e']);
    expect([...state.tasks.todoValues()].map((task) => task._tries)).toEqual([0, 0, 0, 0]);
    expect(requests).toEqual(['/robots.txt', '/', '/a']);
  });

  it('gives a page its try back that it cut short', async () => {
    const { crawler, state, origin, stop, cut } = await setUp({
      '/': page('/never'),
      '/never': () => {
        stop.abort();
        cut.abort();
      },
    });
    await crawler.run();
    expect(state.tasks.get(`${origin}/never`)).toEqual({ _tries: 0, _done: false, _aborted: false });
  });

  it('leaves other sites alone, also when a redirect leads there', async () => {
    const other: string[] = [];
    const elsewhere = await serve((request, response) => {
      other.push(request.url ?? '');
      response.end();
    });
    onTestFinished(() => elsewhere.close());
    const { crawler, state, origin } = await setUp({
      '/': page(`${elsewhere.origin}/linked`, '/out'),
      '/out': redirect(`${elsewhere.origin}/moved`),
    });
    await crawler.run();
    expect([...state.tasks.keys()]).toEqual([`${origin}/`, `${origin}/out`]);
    expect(state.tasks.get(`${origin}/out`)).toMatchObject({ _done: true, redirectedTo: `${elsewhere.origin}/moved` });
    expect(other).toEqual([]);
  });

  it('does not take an error of its own for one of the page', async () => {
    const { crawler, state } = await setUp({ '/': page() });
    state.saveResult = () => Promise.reject(new RangeError('a bug'));
    await expect(crawler.run()).rejects.toThrow('a bug');
    expect([...state.tasks.failedKeys()]).toEqual([]);
  });
});
