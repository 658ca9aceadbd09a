/**
 * Crawls the demo site with several processes that share one tracker.
 *
 *     npx tsx examples/workers.ts --workers 4            processes
 *     npx tsx examples/workers.ts --workers 4 --threads  threads of one process
 *
 * Kill any of the processes, the one that owns the folder too: it is started again, and no page is lost or fetched by two at a time. What a
 * worker does is in `work`; the rest starts them and sums up.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { PodError } from '../src/index.ts';
import { SharedTracker } from '../src/shared/index.ts';
import { demoSite } from './crawl/demo-site.ts';
import { FetchError, fetchPage } from './crawl/fetch-page.ts';
import { readPage } from './crawl/links.ts';
import { parseRobots } from './crawl/robots.ts';
import { serve } from './crawl/serve.ts';
import { isSameOrigin } from './crawl/urls.ts';

const THIS_FILE = fileURLToPath(import.meta.url);
const TIMEOUT_MS = 1_000;
const MAX_BYTES = 5_000_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    workers: { type: 'string', default: '4' },
    threads: { type: 'boolean', default: false },
    work: { type: 'string' },
  },
});

if (!isMainThread) await work(workerData.folder, workerData.origin);
else if (values.work === undefined) await crawl(positionals[0], Number(values.workers), values.threads);
else await work(positionals[0] ?? '', values.work);

/** Does what is left to do, together with whoever else does. Pages are kept by their path, as the port is another one each time. */
async function work(folder: string, origin: string): Promise<void> {
  const tasks = await SharedTracker.open<{ title?: string }>(folder, { maxTries: 3 });
  const robots = parseRobots(`${origin}/robots.txt`, await (await fetch(`${origin}/robots.txt`)).text());
  // A pass ends for all of us when nothing is left in it; what failed has its next try in the next one.
  while ((await tasks.numTodo()) > 0) {
    for await (const page of tasks.tryKeys()) {
      const url = new URL(page, origin).href;
      try {
        if (!robots.isAllowed(url)) {
          await tasks.abort(page, 'disallowed by robots.txt');
          continue;
        }
        const found = await fetchPage(url, { timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES });
        if (found.kind === 'hopeless') {
          await tasks.abort(page, found.reason);
          continue;
        }
        const { title, links } =
          found.kind === 'page' ? readPage(found.html, url) : { title: '', links: [new URL(found.location, url).href] };
        const pages = links.filter((link) => isSameOrigin(link, origin)).map((link) => link.slice(origin.length));
        await tasks.addManyIfAbsent(pages);
        await tasks.markDone(page, { title });
      } catch (error) {
        // Somebody else has the page by now, because nothing was heard of us for too long.
        if (error instanceof PodError && error.code === 'ERR_POD_STALE') continue;
        if (!(error instanceof FetchError)) throw error;
        await tasks.fail(page, error);
      }
    }
  }
  await tasks.close();
}

/** Starts the site and the workers, and starts those again that somebody killed. */
async function crawl(given: string | undefined, workers: number, threads: boolean): Promise<void> {
  const folder = path.resolve(given ?? path.join(mkdtempSync(path.join(tmpdir(), 'everpod-workers-')), 'crawl.pod'));
  const site = await serve(demoSite().handle);
  const seed = await SharedTracker.open(folder, { maxTries: 3 });
  await seed.addIfAbsent('/');
  await seed.close();
  console.log(`${workers} ${threads ? 'threads' : 'processes'} crawl ${site.origin} into ${folder}`);
  await Promise.all(
    Array.from({ length: workers }, () => (threads ? runThread(folder, site.origin) : runProcess(folder, site.origin))),
  );
  await site.close();
  const tasks = await SharedTracker.open(folder);
  const { total, done, aborted, exhausted } = await tasks.stats();
  console.log(`${total} pages known: ${done} done, ${aborted} aborted, ${exhausted} failed`);
  await tasks.close();
}

async function runProcess(folder: string, origin: string): Promise<void> {
  for (;;) {
    const args = [...process.execArgv, THIS_FILE, folder, '--work', origin];
    const child: ChildProcess = spawn(process.execPath, args, { stdio: 'inherit' });
    console.log(`started process ${child.pid}`);
    const [code, signal] = await once(child, 'exit');
    if (code === 0) return;
    if (signal === null) throw new Error(`A worker ended with ${code}.`);
    console.log(`process ${child.pid} was killed by ${signal}`);
  }
}

async function runThread(folder: string, origin: string): Promise<void> {
  // tsx, which runs this file, has to be told of each thread.
  const [tsx, here] = [import.meta.resolve('tsx/esm/api'), import.meta.url].map((url) => JSON.stringify(url));
  const program = `import { register } from ${tsx}; register(); await import(${here});`;
  const address = new URL(`data:text/javascript,${encodeURIComponent(program)}`);
  const worker = new Worker(address, { workerData: { folder, origin } });
  const [code] = await once(worker, 'exit');
  if (code !== 0) throw new Error(`A worker ended with ${code}.`);
}
