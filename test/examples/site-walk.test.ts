/**
 * Crawls a folder of HTML files, with kills, and compares it with a walk over the files themselves.
 *
 * EVERPOD_SITE_DIR names a real folder to do it with; EVERPOD_SITE_KILLS says how often to kill (3 otherwise).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { PageResult, PageTask } from '../../examples/crawl/crawl-state.ts';
import type { Task } from '../../src/index.ts';
import { crawl, readShards, start, temporaryFolder } from './run-example.ts';

const ORIGIN = 'http://site.everpod.test';
const KILLS = Number(process.env.EVERPOD_SITE_KILLS ?? 3);

/** A small site on disk whose right answer is known by heart. */
function makeSite(): { folder: string; done: string[]; dead: string[] } {
  const folder = path.join(temporaryFolder(), 'handbook');
  const files = new Map<string, string>();
  const html = (title: string, ...hrefs: string[]) =>
    `<!doctype html><title>${title}</title>${hrefs.map((href) => `<p><a href="${href}">link</a></p>`).join('\n')}`;
  const chapters = Array.from({ length: 8 }, (_, n) => `chapter-${n + 1}`);
  files.set('index.html', html('Home', ...chapters.map((name) => `${name}/`), 'odd', 'picture.png', 'style.css?v=1'));
  for (const chapter of chapters) {
    const sections = Array.from({ length: 20 }, (_, n) => `section-${n + 1}.html`);
    files.set(`${chapter}/index.html`, html(chapter, '../', ...sections));
    for (const [n, section] of sections.entries()) {
      const next = sections[n + 1] ?? 'no-more.html';
      files.set(`${chapter}/${section}`, html(`${chapter}, ${section}`, next, `./${section}#top`, '../index.html'));
    }
  }
  files.set(
    'odd/index.html',
    html('Odd', '100%25.html', 'two%20words.html', 'caf&eacute;.html', 'a&amp;b.html', '../../x'),
  );
  for (const name of ['100%.html', 'two words.html', 'café.html', 'a&b.html'])
    files.set(`odd/${name}`, html(name, './'));
  files.set('odd/not-linked.html', html('Not linked', 'index.html'));
  files.set('picture.png', 'no picture');
  for (const [name, content] of files) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  const done = ['/', '/index.html', '/odd', '/odd/'];
  for (const chapter of chapters) {
    done.push(`/${chapter}/`);
    for (let n = 1; n <= 20; n++) done.push(`/${chapter}/section-${n}.html`);
  }
  done.push('/odd/100%25.html', '/odd/two%20words.html', '/odd/caf%C3%A9.html', '/odd/a&b.html');
  const dead = ['/picture.png', '/style.css?v=1', '/x', ...chapters.map((chapter) => `/${chapter}/no-more.html`)];
  return { folder, done: done.sort(), dead: dead.sort() };
}

/** Breadth first over the files. It shares no code with the crawler: links are found by pattern, answers by looking. */
function walkFolder(folder: string): { done: string[]; dead: string[] } {
  const done: string[] = [];
  const dead: string[] = [];
  const seen = new Set(['/']);
  for (const key of seen) {
    const { pathname } = new URL(key, ORIGIN);
    const wanted = path.join(folder, decodeURIComponent(pathname));
    const isFolder = existsSync(wanted) && statSync(wanted).isDirectory();
    if (isFolder && !pathname.endsWith('/')) {
      done.push(key);
      seen.add(`${pathname}/`);
      continue;
    }
    const file = isFolder ? path.join(wanted, 'index.html') : wanted;
    if (!existsSync(file) || !/\.html?$/.test(file)) {
      dead.push(key);
      continue;
    }
    done.push(key);
    const text = readFileSync(file, 'utf8').replace(/<!--[\s\S]*?-->/g, '');
    for (const [, quoted = ''] of text.matchAll(/<a\s[^>]*?href="([^"]*)"/g)) {
      const url = new URL(quoted.replaceAll('&eacute;', 'é').replaceAll('&amp;', '&'), new URL(key, ORIGIN));
      if (url.origin === ORIGIN) seen.add(url.pathname + url.search);
    }
  }
  return { done: done.sort(), dead: dead.sort() };
}

function bytesOfResults(cwd: string): number {
  const root = path.join(cwd, 'crawl-data');
  let bytes = 0;
  for (const site of existsSync(root) ? readdirSync(root) : []) {
    const folder = path.join(root, site, 'pages.pod');
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      // It may be gone between the two calls.
      bytes += statSync(path.join(folder, name), { throwIfNoEntry: false })?.size ?? 0;
    }
  }
  return bytes;
}

/** Crawls to the end through the kills, and gives what the files then say. */
async function crawlWithKills(folder: string, kills: number, pageCount: number) {
  const cwd = temporaryFolder();
  const args = ['--site', folder];
  const moments: number[] = [];
  // Moments are counted in bytes of results, some 280 a page, so that the kills spread over the crawl on any machine.
  const bytesPerKill = (280 * pageCount) / kills;
  while (moments.length < kills) {
    const { child, finished, said } = start('crawl.ts', args, { cwd });
    await said('Crawling');
    const wanted = bytesOfResults(cwd) + Math.random() * 1.5 * bytesPerKill;
    while (child.exitCode === null && bytesOfResults(cwd) < wanted) await sleep(1);
    child.kill('SIGKILL');
    if ((await finished).signal !== 'SIGKILL') break;
    moments.push(bytesOfResults(cwd));
  }
  const summary = await crawl(args, { cwd });
  const rerun = await crawl(args, { cwd });
  const podPath = (name: string) => path.resolve(cwd, summary.folder, name);
  const tasks = readShards<Task<PageTask>>(podPath('tasks.pod'));
  const pages = readShards<PageResult>(podPath('pages.pod'));
  const paths = (isWanted: (task: Task<PageTask>) => boolean) =>
    [...tasks]
      .filter(([, task]) => isWanted(task))
      .map(([url]) => url.slice(ORIGIN.length))
      .sort();
  return {
    moments,
    summary,
    rerun,
    done: paths((task) => task._done),
    aborted: paths((task) => task._aborted),
    withoutResult: paths((task) => task._done).filter((key) => !pages.has(ORIGIN + key)),
  };
}

describe('crawl.ts --site', () => {
  it('finds in a folder what a walk over its files finds, whatever kills it', { timeout: 120_000 }, async () => {
    const { folder, done, dead } = makeSite();
    // The walk is itself measured against a site that is known.
    expect(walkFolder(folder)).toEqual({ done, dead });

    const crawled = await crawlWithKills(folder, KILLS, done.length);
    console.log(`killed at ${crawled.moments.join(', ')} bytes; ${crawled.summary.fetched} fetched by the last run`);
    expect(crawled.moments.length).toBeGreaterThan(0);
    expect(crawled.done).toEqual(done);
    expect(crawled.aborted).toEqual(dead);
    expect(crawled.withoutResult).toEqual([]);
    expect(crawled.rerun.fetched).toBe(0);
  });

  const real = process.env.EVERPOD_SITE_DIR;
  if (real === undefined) console.warn('EVERPOD_SITE_DIR is not set: no real folder is crawled');
  it.skipIf(real === undefined)('does the same with a real folder', { timeout: 600_000 }, async () => {
    const expected = walkFolder(real ?? '');
    const crawled = await crawlWithKills(real ?? '', KILLS, expected.done.length);
    const { summary } = crawled;
    console.log(
      `${expected.done.length} pages by the walk, ${crawled.done.length} by the crawl; ` +
        `${crawled.moments.length} kills at ${crawled.moments.join(', ')} bytes; ` +
        `last run: ${summary.fetched} fetched, ${summary.pagesPerSecond} a second`,
    );
    expect(crawled.done).toEqual(expected.done);
    expect(crawled.aborted).toEqual(expected.dead);
    expect(crawled.withoutResult).toEqual([]);
    expect(crawled.rerun.fetched).toBe(0);
  });
});
