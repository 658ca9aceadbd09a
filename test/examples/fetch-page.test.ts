import type { RequestListener } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { fetchPage } from '../../examples/crawl/fetch-page.ts';
import { type Server, serve } from '../../examples/crawl/serve.ts';

let server: Server | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function fetchFrom(handle: RequestListener, options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  server = await serve(handle);
  return fetchPage(`${server.origin}/page`, { timeoutMs: 2_000, maxBytes: 1_000, ...options });
}

const html = (body: string | Buffer, type = 'text/html'): RequestListener => {
  return (_, response) => response.writeHead(200, { 'content-type': type }).end(body);
};

describe('fetchPage', () => {
  it('gives the page and its size in bytes', async () => {
    expect(await fetchFrom(html('<p>é</p>', 'text/html; charset=utf-8'))).toEqual({
      kind: 'page',
      status: 200,
      html: '<p>é</p>',
      bytes: 9,
    });
  });

  it.each([
    ['the header', Buffer.from('<p>\xe9', 'latin1'), 'text/html; charset=ISO-8859-1'],
    ['the page', Buffer.from('<meta charset="iso-8859-1"><p>\xe9', 'latin1'), 'text/html'],
    ['nobody', Buffer.from('<p>é'), 'text/html'],
    ['nonsense', Buffer.from('<p>é'), 'text/html; charset=no-such-thing'],
  ])('reads the charset that %s names', async (_, body, type) => {
    expect(await fetchFrom(html(body, type))).toMatchObject({ html: expect.stringMatching(/<p>é$/) });
  });

  it.each([301, 302, 303, 307, 308])('does not follow a %i', async (status) => {
    const result = await fetchFrom((_, response) => response.writeHead(status, { location: '/next' }).end());
    expect(result).toEqual({ kind: 'redirect', status, location: '/next' });
  });

  it.each([400, 401, 403, 404, 410, 451])('sees no hope in a %i', async (status) => {
    const result = await fetchFrom((_, response) => response.writeHead(status).end());
    expect(result).toMatchObject({ kind: 'hopeless', reason: expect.stringMatching(`^${status} [A-Z]`) });
  });

  it.each([
    ['no HTML', html('x', 'application/pdf'), 'not HTML: application/pdf'],
    ['no type', ((_, response) => response.end('x')) satisfies RequestListener, 'not HTML: nothing said'],
    ['a page too big', html('x'.repeat(1_001)), 'more than 1000 bytes'],
    [
      'a redirect to nowhere',
      ((_, response) => response.writeHead(302).end()) satisfies RequestListener,
      '302 Found without a location',
    ],
  ] as [string, RequestListener, string][])('sees no hope in %s', async (_, handle, reason) => {
    expect(await fetchFrom(handle)).toEqual({ kind: 'hopeless', reason });
  });

  it('takes a page of exactly the size allowed', async () => {
    expect(await fetchFrom(html('x'.repeat(1_000)))).toMatchObject({ kind: 'page', bytes: 1_000 });
  });

  it.each([408, 425, 429, 500, 502, 503, 504])('finds a %i worth another try', async (status) => {
    const attempt = fetchFrom((_, response) => response.writeHead(status).end());
    await expect(attempt).rejects.toMatchObject({
      name: 'FetchError',
      code: `HTTP_${status}`,
      retryAfterMs: undefined,
    });
  });

  it('hears how long it is to stay away', async () => {
    const attempt = fetchFrom((_, response) => response.writeHead(429, { 'retry-after': '7' }).end());
    await expect(attempt).rejects.toMatchObject({ code: 'HTTP_429', retryAfterMs: 7_000 });
  });

  it.each([
    ['never answers', (() => {}) as RequestListener],
    [
      'stops half-way',
      ((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).write('<p>')) as RequestListener,
    ],
  ])('gives up on a server that %s', async (_, handle) => {
    await expect(fetchFrom(handle, { timeoutMs: 100 })).rejects.toMatchObject({ name: 'FetchError', code: 'TIMEOUT' });
  });

  it('tells a broken connection by its code', async () => {
    const attempt = fetchFrom((request) => request.socket.destroy());
    await expect(attempt).rejects.toMatchObject({
      name: 'FetchError',
      code: expect.stringMatching(/^(UND_ERR_SOCKET|ECONNRESET)$/),
    });
    await server?.close();
    const address = server?.origin ?? '';
    server = undefined;
    await expect(fetchPage(address, { timeoutMs: 1_000, maxBytes: 1 })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('throws what its signal says when it is cut short', async () => {
    const controller = new AbortController();
    const attempt = fetchFrom(() => controller.abort(), { signal: controller.signal });
    await expect(attempt).rejects.toMatchObject({ name: 'AbortError' });
  });
});
