/** Answers requests as the demo site: about 300 pages made in code, with all that goes wrong on a real site. */
import type { RequestListener, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type DemoPage, demoPages, ROBOTS_TXT } from './demo-pages.ts';

export interface DemoSite {
  readonly origin: string;
  readonly pages: ReadonlyMap<string, DemoPage>;
  readonly handle: RequestListener;
}

export interface DemoSiteOptions {
  /** What the site's own absolute links begin with. */
  readonly origin?: string;
  /** Even the fastest server is some way off. */
  readonly latencyMs?: number;
}

export function demoSite({ origin = 'http://demo.everpod.test', latencyMs = 15 }: DemoSiteOptions = {}): DemoSite {
  const pages = demoPages(origin);
  // In memory on purpose: a page that fails once does so again after a restart, as a server that was restarted would.
  const failedOnce = new Set<string>();

  const handle: RequestListener = async (request, response) => {
    const path = request.url ?? '/';
    await sleep(latencyMs);
    if (path === '/robots.txt') return response.writeHead(200, { 'content-type': 'text/plain' }).end(ROBOTS_TXT);
    let answer: Answer = pages.get(path)?.answer ?? { kind: 'status', status: 404 };
    if (answer.kind === 'once') {
      const { failure, afterwards } = answer;
      answer = afterwards;
      if (!failedOnce.has(path)) {
        failedOnce.add(path);
        if (failure === 'reset') return response.destroy();
        answer = { kind: 'status', status: failure };
      }
    }
    return send(response, answer);
  };
  return { origin, pages, handle };
}

async function send(response: ServerResponse, answer: Exclude<Answer, { kind: 'once' }> | Answer): Promise<void> {
  switch (answer.kind) {
    case 'page':
      await sleep(answer.delayMs);
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
      response.end(
        `<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>${answer.title}</title>${answer.head}</head>\n` +
          `<body>\n<h1>${answer.title}</h1>\n${answer.body}\n</body>\n</html>\n`,
      );
      break;
    case 'redirect':
      response.writeHead(answer.status, answer.location === '' ? {} : { location: answer.location }).end();
      break;
    case 'status':
      response.writeHead(answer.status, { 'content-type': 'text/html' }).end(`<h1>${answer.status}</h1>\n`);
      break;
    case 'type':
      response.writeHead(200, { 'content-type': answer.contentType }).end('not a page');
      break;
    case 'huge':
      response.writeHead(200, { 'content-type': 'text/html' }).end(Buffer.alloc(answer.bytes, '<p>much</p>\n'));
      break;
  }
}
