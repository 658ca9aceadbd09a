import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { parseRobots, RobotsCache } from '../../examples/crawl/robots.ts';

const SITE = 'http://example.test';
const rulesOf = (...lines: string[]) => parseRobots(`${SITE}/robots.txt`, lines.join('\n'));

describe('parseRobots', () => {
  it.each([
    ['/', true],
    ['/private/', false],
    ['/private/drawer.html', false],
    ['/private/window.html', true],
    ['/private', true],
    ['/a.pdf', false],
    ['/a.pdf?x', true],
  ])('%s: %s', (path, expected) => {
    const rules = rulesOf('User-agent: *', 'Disallow: /private/', 'Allow: /private/window.html', 'Disallow: /*.pdf$');
    expect(rules.isAllowed(SITE + path)).toBe(expected);
  });

  it('obeys the group that names this crawler and no other', () => {
    const rules = rulesOf('User-agent: *', 'Disallow: /', '', 'User-agent: everpod-crawl', 'Disallow: /only-this/');
    expect(rules.isAllowed(`${SITE}/page`)).toBe(true);
    expect(rules.isAllowed(`${SITE}/only-this/`)).toBe(false);
  });

  it('reads the delay in seconds', () => {
    expect(rulesOf('User-agent: *', 'Crawl-delay: 1.5').crawlDelayMs).toBe(1500);
    expect(rulesOf('User-agent: *', 'Crawl-delay: often').crawlDelayMs).toBe(0);
    expect(rulesOf('').crawlDelayMs).toBe(0);
  });

  it('allows everything when there is nothing in it', () => {
    expect(rulesOf('').isAllowed(`${SITE}/page`)).toBe(true);
    expect(rulesOf('<!doctype html>', '<p>not found</p>').isAllowed(`${SITE}/page`)).toBe(true);
  });
});

describe('RobotsCache', () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  async function cacheFor(answer: RequestListener, signal = new AbortController().signal) {
    const asked: string[] = [];
    const listening = createServer((request, response) => {
      asked.push(request.url ?? '');
      answer(request, response);
    });
    server = listening;
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
    const origin = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
    return { asked, cache: new RobotsCache((url) => url.replace(SITE, origin), 2_000, signal) };
  }

  it('asks once for all the pages of a host, also when they come at the same time', async () => {
    const { asked, cache } = await cacheFor((_, response) => response.end('User-agent: *\nDisallow: /no\n'));
    const rules = await Promise.all(['/a', '/b', '/no'].map((path) => cache.rulesFor(SITE + path)));
    expect(rules.map((rule, n) => rule.isAllowed(SITE + ['/a', '/b', '/no'][n]))).toEqual([true, true, false]);
    await cache.rulesFor(`${SITE}/later`);
    expect(asked).toEqual(['/robots.txt']);
  });

  it.each([401, 403, 404, 410])('takes %i for "all is allowed"', async (status) => {
    const { cache } = await cacheFor((_, response) => response.writeHead(status).end('User-agent: *\nDisallow: /'));
    expect((await cache.rulesFor(`${SITE}/page`)).isAllowed(`${SITE}/page`)).toBe(true);
  });

  it('allows nothing while the site is in trouble, and asks again later', async () => {
    let status = 503;
    const { asked, cache } = await cacheFor((_, response) => response.writeHead(status).end(''));
    await expect(cache.rulesFor(`${SITE}/page`)).rejects.toMatchObject({
      name: 'FetchError',
      code: 'ROBOTS_UNREACHABLE',
    });
    status = 200;
    expect((await cache.rulesFor(`${SITE}/page`)).isAllowed(`${SITE}/page`)).toBe(true);
    expect(asked).toHaveLength(2);
  });

  it('does not wait for ever', async () => {
    const { cache } = await cacheFor(() => {});
    await expect(cache.rulesFor(`${SITE}/page`)).rejects.toMatchObject({ code: 'ROBOTS_UNREACHABLE' });
  });

  it('is cut short by its signal, which is no failure of the site', async () => {
    const controller = new AbortController();
    const { cache } = await cacheFor(() => controller.abort(), controller.signal);
    await expect(cache.rulesFor(`${SITE}/page`)).rejects.toMatchObject({ name: 'AbortError' });
  });
});
