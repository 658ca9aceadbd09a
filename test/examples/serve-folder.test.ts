import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Server, serve } from '../../examples/crawl/serve.ts';
import { serveFolder } from '../../examples/crawl/serve-folder.ts';

let folder: string;
let server: Server;

beforeAll(async () => {
  folder = mkdtempSync(path.join(realpathSync(tmpdir()), 'everpod-serve-'));
  const site = path.join(folder, 'site');
  mkdirSync(path.join(site, 'sub'), { recursive: true });
  mkdirSync(path.join(site, 'empty'));
  mkdirSync(path.join(folder, 'site-of-another'));
  writeFileSync(path.join(site, 'index.html'), 'home');
  writeFileSync(path.join(site, 'sub', 'index.html'), 'sub');
  writeFileSync(path.join(site, 'sub', '100% café?.html'), 'odd name');
  writeFileSync(path.join(site, 'data.bin'), 'data');
  writeFileSync(path.join(folder, 'secret.html'), 'secret');
  writeFileSync(path.join(folder, 'site-of-another', 'secret.html'), 'secret');
  symlinkSync(path.join(folder, 'secret.html'), path.join(site, 'link-out.html'));
  symlinkSync(path.join(site, 'sub', 'index.html'), path.join(site, 'link-in.html'));
  server = await serve(serveFolder(site));
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

/** A raw request, since `fetch` would tidy up the path before sending it. */
function request(
  rawPath: string,
  method = 'GET',
): Promise<{ status: number; location: string | undefined; type: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    let text = '';
    connect(Number(new URL(server.origin).port), '127.0.0.1')
      .on('error', reject)
      .on('data', (chunk) => (text += chunk))
      .on('end', () => {
        const [head = '', body = ''] = text.split('\r\n\r\n');
        resolve({
          status: Number(head.split(' ')[1]),
          location: /^location: (.*)$/im.exec(head)?.[1],
          type: /^content-type: (.*)$/im.exec(head)?.[1],
          body,
        });
      })
      .write(`${method} ${rawPath} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  });
}

describe('serveFolder', () => {
  it.each([
    ['/', 'home', 'text/html'],
    ['/index.html', 'home', 'text/html'],
    ['/sub/', 'sub', 'text/html'],
    ['/sub/?page=2', 'sub', 'text/html'],
    ['/sub/100%25%20caf%C3%A9%3F.html', 'odd name', 'text/html'],
    ['/sub/../index.html', 'home', 'text/html'],
    ['/data.bin', 'data', 'application/octet-stream'],
    ['/link-in.html', 'sub', 'text/html'],
  ])('serves %s', async (rawPath, body, type) => {
    expect(await request(rawPath)).toEqual({ status: 200, location: undefined, type, body });
  });

  it.each([
    '/missing.html',
    '/index.html/',
    '/empty/',
    '/../secret.html',
    '/..%2fsecret.html',
    '/%2e%2e/secret.html',
    '/sub/../../secret.html',
    '/../site-of-another/secret.html',
    '/link-out.html',
    '/..%5csecret.html',
  ])('finds nothing at %s', async (rawPath) => {
    const { status, body } = await request(rawPath);
    expect({ status, leaked: body.includes('secret') }).toEqual({ status: 404, leaked: false });
  });

  it.each(['/%', '/%ff', '/a%00b'])('refuses %s', async (rawPath) => {
    expect((await request(rawPath)).status).toBe(400);
  });

  it('sends a folder without its slash to the one with it', async () => {
    expect(await request('/sub')).toMatchObject({ status: 301, location: '/sub/' });
    expect(await request('/sub?page=2')).toMatchObject({ status: 301, location: '/sub/?page=2' });
    expect(await request('//sub')).toMatchObject({ status: 301, location: '/sub/' });
  });

  it('answers HEAD without a body, and nothing that would change anything', async () => {
    expect(await request('/', 'HEAD')).toMatchObject({ status: 200, body: '' });
    expect((await request('/', 'POST')).status).toBe(405);
  });
});
