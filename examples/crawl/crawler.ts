/** The loop: takes the pages that are left from the tracker, a few at a time, until nothing is left to do. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CrawlState } from './crawl-state.ts';
import { FetchError, type FetchResult, fetchPage } from './fetch-page.ts';
import { readPage } from './links.ts';
import { Pace } from './pace.ts';
import { RobotsCache } from './robots.ts';
import type { Site } from './site.ts';
import { isSameOrigin, normaliseUrl } from './urls.ts';

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
  passes: number;
}

const MAX_PAUSE_MS = 60_000;

export class Crawler {
  readonly counts: CrawlCounts = { fetched: 0, passes: 0 };
  readonly #site: Site;
  readonly #state: CrawlState;
  readonly #options: CrawlOptions;
  readonly #robots: RobotsCache;
  readonly #pace: Pace;
  /** How many pages this pass still has to hand out, those included that it found itself. */
  #waiting = 0;
  /** The longest that a server asked us to stay away during this pass. */
  #askedPauseMs = 0;

  constructor(site: Site, state: CrawlState, options: CrawlOptions) {
    this.#site = site;
    this.#state = state;
    this.#options = options;
    this.#robots = new RobotsCache(site.addressOf, options.timeoutMs, options.cut);
    this.#pace = new Pace(site.isLocal ? 0 : 250);
  }

  async run(): Promise<void> {
    const { tasks } = this.#state;
    tasks.addIfAbsent(this.#site.startUrl);
    // A pass hands out each page once. What failed in it is for the next pass, until it is done or has used up its tries.
    while (!this.#options.stop.aborted && tasks.numTodo() > 0) {
      if (this.counts.passes > 0) await this.#pauseBetweenPasses();
      await this.#pass();
      this.counts.passes += 1;
    }
  }

  async #pass(): Promise<void> {
    const { tasks } = this.#state;
    const { concurrency, stop } = this.#options;
    const inFlight = new Set<Promise<void>>();
    this.#waiting = tasks.numTodo();
    this.#askedPauseMs = 0;
    for (const url of tasks.tryKeys({ signal: stop })) {
      this.#waiting -= 1;
      const visit = this.#visit(url).finally(() => inFlight.delete(visit));
      inFlight.add(visit);
      // The iterator ends when it has nothing to hand out, but a page in flight may be about to add more: wait for it.
      while (inFlight.size >= concurrency || (inFlight.size > 0 && this.#waiting <= 0)) await Promise.race(inFlight);
    }
    await Promise.all(inFlight);
  }

  async #visit(url: string): Promise<void> {
    const { tasks } = this.#state;
    const { timeoutMs, maxBytes, stop, cut } = this.#options;
    try {
      const rules = await this.#robots.rulesFor(url);
      if (!rules.isAllowed(url)) return tasks.abort(url, 'disallowed by robots.txt');
      await this.#pace.turn(rules.crawlDelayMs, stop);
      const startedAt = performance.now();
      this.counts.fetched += 1;
      const result = await fetchPage(this.#site.addressOf(url), { timeoutMs, maxBytes, signal: cut });
      await this.#record(url, result, Math.round(performance.now() - startedAt));
    } catch (error) {
      if (error instanceof FetchError) {
        // The try stays counted, and the tracker remembers why it failed.
        tasks.fail(url, error);
        this.#askedPauseMs = Math.max(this.#askedPauseMs, error.retryAfterMs ?? 0);
      } else if (stop.aborted && error instanceof Error && error.name === 'AbortError') {
        // We stopped it ourselves, so it does not count against the page.
        tasks.decrementTries(url);
      } else {
        throw error;
      }
    }
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
    this.#waiting += this.#state.tasks.addManyIfAbsent(urls.filter((url) => isSameOrigin(url, this.#site.startUrl)));
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

  async #pauseBetweenPasses(): Promise<void> {
    const usualMs = this.#site.isLocal ? 100 : 2_000 * 2 ** (this.counts.passes - 1);
    const pauseMs = Math.min(Math.max(usualMs, this.#askedPauseMs), MAX_PAUSE_MS);
    // A stop ends the pause, and the loop with it.
    await sleep(pauseMs, undefined, { signal: this.#options.stop }).catch(() => {});
  }
}
