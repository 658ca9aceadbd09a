/** Walks the demo site by its page table, without HTTP and without HTML, to know what a crawl must come to. */
import type { DemoPage } from '../../examples/crawl/demo-pages.ts';

export interface DemoWalk {
  readonly done: readonly string[];
  readonly redirects: readonly string[];
  /** Path and what is expected to be said about it. */
  readonly aborted: ReadonlyMap<string, string>;
  readonly failed: ReadonlyMap<string, string>;
}

export function walkDemoSite(pages: ReadonlyMap<string, DemoPage>): DemoWalk {
  const done: string[] = [];
  const redirects: string[] = [];
  const aborted = new Map<string, string>();
  const failed = new Map<string, string>();
  const seen = new Set(['/']);
  for (const path of seen) {
    const page = pages.get(path);
    const answer = page?.answer.kind === 'once' ? page.answer.afterwards : page?.answer;
    if (path.startsWith('/private/') && path !== '/private/window.html') aborted.set(path, 'disallowed by robots.txt');
    else if (answer === undefined) aborted.set(path, '404 Not Found');
    else if (answer.kind === 'hang') failed.set(path, 'TIMEOUT');
    else if (answer.kind === 'type') aborted.set(path, `not HTML: ${answer.contentType}`);
    else if (answer.kind === 'huge') aborted.set(path, 'more than 5000000 bytes');
    else if (answer.kind === 'status' && answer.status >= 500) failed.set(path, `HTTP_${answer.status}`);
    else if (answer.kind === 'status') aborted.set(path, answer.status === 410 ? '410 Gone' : '403 Forbidden');
    else if (answer.kind === 'redirect' && answer.location === '') aborted.set(path, '302 Found without a location');
    else if (isInLoop(pages, path)) aborted.set(path, 'redirect loop');
    else {
      done.push(path);
      if (answer.kind === 'redirect') redirects.push(path);
    }
    // A set that grows while it is walked is a queue without repeats.
    const mayBeRead = done.at(-1) === path || aborted.get(path) === 'redirect loop';
    if (mayBeRead) for (const next of page?.leadsTo ?? []) seen.add(next);
  }
  return { done: done.sort(), redirects: redirects.sort(), aborted, failed };
}

function isInLoop(pages: ReadonlyMap<string, DemoPage>, path: string): boolean {
  let next: string | undefined = path;
  for (let steps = 0; steps < 10; steps++) {
    const page: DemoPage | undefined = next === undefined ? undefined : pages.get(next);
    next = page?.answer.kind === 'redirect' ? page.leadsTo[0] : undefined;
    if (next === path) return true;
  }
  return false;
}
