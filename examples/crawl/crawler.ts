/** The loop: takes the pages that are left from the tracker, several at a time and no faster than is polite, until nothing is left to do. */
import type { PacedOptions, TaskError } from '../../src/index.ts';
import type { CrawlState } from './crawl-state.ts';
import { FetchError, type FetchResult, fetchPage } from './fetch-page.ts';
import { readPage } from './links.ts';
import { RobotsCache, type RobotsRules } from './robots.ts';
import type { Site } from './site.ts';
import { isSameOrigin, normaliseUrl, originOf } from './urls.ts';

export interface CrawlOptions {
  readonly concurrency: number;
  readonly timeoutMs: number;
  /** Larger pages are left alone. */
  readonly maxBytes: number;
  /** Stops handing out pages; those in flight go on. */
  readonly stop: AbortSignal;
  /** Cuts short what is still in flight. */
  readonly cut: AbortSignal;
}

/** What one run did, as against what the tracker knows of all runs. */
export interface CrawlCounts {
  fetched: number;
}

/** How a site is treated: its own wishes come on top. */
interface Manners {
  /** From the start or the end of one page to the start of the next. */
  readonly delayMs: number;
  /** From a failure to the next try. */
  readonly retryDelayMs: number;
  /** How long nothing is fetched when the site seems to be gone; twice as long each time that it still is. */
  readonly pauseMs: number;
}

/** A server on this machine need not be spared. */
const AT_HOME: Manners = { delayMs: 0, retryDelayMs: 100, pauseMs: 100 };
const ABROAD: Manners = { delayMs: 250, retryDelayMs: 5_000, pauseMs: 30_000 };
/** So many tries in a row fail alike before the site counts as gone. */
const FAILURES_ALIKE = 10;
/** After this many pauses in vain there is no use in waiting any longer. */
const PAUSES_MAX = 4;
/** A server that wants us to come back next year gets another request today. */
const RETRY_AFTER_MS_MAX = 3_600_000;

export class Crawler {
  readonly counts: CrawlCounts = { fetched: 0 };
  readonly #site: Site;
  readonly #state: CrawlState;
  readonly #options: CrawlOptions;
  readonly #robots: RobotsCache;
  readonly #manners: Manners;
  /** Ends the loop from within: the site is gone, or there is a bug. */
  readonly #halt: AbortController = new AbortController();

  constructor(site: Site, state: CrawlState, options: CrawlOptions) {
    this.#site = site;
    this.#state = state;
    this.#options = options;
    this.#robots = new RobotsCache(site.addressOf, options.timeoutMs, options.cut);
    this.#manners = site.isLocal ? AT_HOME : ABROAD;
  }

  /** Whether the crawl ended because nothing could be reached any more. */
  get gaveUp(): boolean {
    return this.#halt.signal.aborted;
  }

  async run(): Promise<void> {
    const { tasks } = this.#state;
    tasks.addIfAbsent(this.#site.startUrl);
    const bugs: unknown[] = [];
    const inFlight = new Set<Promise<void>>();
    const pauses = tasks.on('pause', ({ durationMs }) => {
      if (durationMs >= this.#manners.pauseMs * 2 ** PAUSES_MAX) this.#halt.abort();
    });
    for await (const url of tasks.tryKeys(this.#pace())) {
      const visit = this.#visit(url)
        .catch((error: unknown) => {
          bugs.push(error);
          // The loop would wait for ever for word of this page.
          this.#halt.abort();
        })
        .finally(() => inFlight.delete(visit));
      inFlight.add(visit);
    }
    // A loop that was stopped leaves pages in flight.
    await Promise.all(inFlight);
    pauses[Symbol.dispose]();
    if (bugs.length > 0) throw bugs[0];
  }

  #pace(): PacedOptions<string> {
    const { concurrency, stop } = this.#options;
    const { retryDelayMs, pauseMs } = this.#manners;
    return {
      concurrency,
      group: originOf,
      perGroup: concurrency,
      delayMs: (origin) => this.#delayMs(String(origin)),
      retryDelayMs,
      breaker: { failures: FAILURES_ALIKE, pauseMs, counts: isNetworkFailure },
      signal: AbortSignal.any([stop, this.#halt.signal]),
    };
  }

  #delayMs(origin: string): number {
    return Math.max(this.#manners.delayMs, this.#robots.crawlDelayMs(origin));
  }

  async #visit(url: string): Promise<void> {
    const { tasks } = this.#state;
    const { timeoutMs, maxBytes, stop, cut } = this.#options;
    try {
      const rules = await this.#rulesFor(url);
      if (!rules.isAllowed(url)) return tasks.abort(url, 'disallowed by robots.txt');
      const startedAt = performance.now();
      this.counts.fetched += 1;
      const result = await fetchPage(this.#site.addressOf(url), { timeoutMs, maxBytes, signal: cut });
      await this.#record(url, result, Math.round(performance.now() - startedAt));
    } catch (error) {
      if (error instanceof FetchError) this.#fail(url, error);
      // We stopped it ourselves, so it does not count against the page.
      else if (stop.aborted && error instanceof Error && error.name === 'AbortError') tasks.decrementTries(url);
      else throw error;
    }
  }

  /** Asks for the rules of a site before anything else is asked of it: they may say how quickly. */
  async #rulesFor(url: string): Promise<RobotsRules> {
    const { tasks } = this.#state;
    const origin = originOf(url);
    if (this.#robots.knows(origin)) return this.#robots.rulesFor(origin);
    tasks.blockGroup(origin, Date.now() + 2 * this.#options.timeoutMs);
    try {
      return await this.#robots.rulesFor(origin);
    } finally {
      // This page is fetched now, and when it was handed out nobody knew of the pause after it.
      tasks.blockGroup(origin, Date.now() + this.#delayMs(origin));
    }
  }

  /** The tracker remembers why it failed, and hands the page out again later. */
  #fail(url: string, error: FetchError): void {
    const { tasks } = this.#state;
    if (error.retryAfterMs === undefined) {
      tasks.fail(url, error);
      return;
    }
    // Who says when to come back is left alone until then, with all pages.
    const retryAfterMs = Math.min(error.retryAfterMs, RETRY_AFTER_MS_MAX);
    tasks.blockGroup(originOf(url), Date.now() + retryAfterMs);
    // That we ask too often is no fault of the page's, so it has as many tries left as before.
    tasks.fail(url, error, { blame: error.code === 'HTTP_429' ? 'host' : 'task', retryAfterMs });
  }

  async #record(url: string, result: FetchResult, ms: number): Promise<void> {
    const { tasks } = this.#state;
    const fetchedAt = new Date().toISOString();
    if (result.kind === 'hopeless') return tasks.abort(url, result.reason);
    if (result.kind === 'redirect') {
      const { status } = result;
      const redirectedTo = normaliseUrl(result.location, url);
      if (redirectedTo === undefined) return tasks.abort(url, 'redirect to what is no web address');
      await this.#state.saveResult(url, { status, title: '', links: 0, bytes: 0, fetchedAt, ms });
      // Nothing is awaited from here on, or two pages of one loop could miss each other.
      const loop = this.#loopBackTo(url, redirectedTo);
      if (loop.length > 0) return this.#abortLoop(loop);
      this.#addIfOnSite([redirectedTo]);
      return tasks.markDone(url, { redirectedTo });
    }
    const { status, html, bytes } = result;
    const { title, links } = readPage(html, url);
    // First the result, then the tracker's word that it is there: a page that is done always has one.
    await this.#state.saveResult(url, { status, title, links: links.length, bytes, fetchedAt, ms });
    this.#addIfOnSite(links);
    tasks.markDone(url);
  }

  #addIfOnSite(urls: readonly string[]): void {
    this.#state.tasks.addManyIfAbsent(urls.filter((url) => isSameOrigin(url, this.#site.startUrl)));
  }

  /** The pages of a redirect loop that `url` would close by leading to `target`; empty if it closes none. */
  #loopBackTo(url: string, target: string): string[] {
    const chain = [url];
    let next: string | undefined = target;
    while (next !== undefined && !chain.includes(next)) {
      chain.push(next);
      next = this.#state.tasks.get(next)?.redirectedTo;
    }
    return next === url ? chain : [];
  }

  /** The pages before the last were done in good faith. All or none of them, so that a restart finds no half a loop. */
  #abortLoop(loop: readonly string[]): void {
    const { tasks } = this.#state;
    tasks.transaction(() => {
      for (const url of loop) {
        tasks.markNotDone(url);
        tasks.abort(url, 'redirect loop');
      }
    });
  }
}

/** A server that answers is there, whatever it answers; so pages that are broken for good pause nothing. */
function isNetworkFailure({ code }: TaskError): boolean {
  return code?.startsWith('HTTP_') !== true;
}
