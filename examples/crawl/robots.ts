/** Asks a site's robots.txt what may be fetched and how often, once for each host. */
import robotsParser from 'robots-parser';
import { FetchError, USER_AGENT } from './fetch-page.ts';
import { readBody } from './read-body.ts';

export interface RobotsRules {
  isAllowed(url: string): boolean;
  /** How long the site wants us to wait from one request to the next. */
  readonly crawlDelayMs: number;
}

/** As much as RFC 9309 obliges a crawler to read. */
const MAX_BYTES = 500 * 1024;

/** The package's types describe an ES module, but it is a CommonJS one: what is imported is the function itself. */
const parse = robotsParser as unknown as typeof robotsParser.default;

const ALLOW_ALL: RobotsRules = { isAllowed: () => true, crawlDelayMs: 0 };

export function parseRobots(robotsUrl: string, text: string): RobotsRules {
  const robots = parse(robotsUrl, text);
  return {
    // The parser has no opinion, `undefined`, about other hosts; those are out of scope before anyone asks here.
    isAllowed: (url) => robots.isAllowed(url, USER_AGENT) ?? true,
    crawlDelayMs: (robots.getCrawlDelay(USER_AGENT) ?? 0) * 1000,
  };
}

export class RobotsCache {
  readonly #addressOf: (url: string) => string;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;
  /** By the address of the file. */
  readonly #rules = new Map<string, Promise<RobotsRules>>();
  /** What has been answered, by the site's origin. */
  readonly #known = new Map<string, RobotsRules>();

  constructor(addressOf: (url: string) => string, timeoutMs: number, signal: AbortSignal) {
    this.#addressOf = addressOf;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
  }

  /** Whether the rules of the site at this origin are here. */
  knows(origin: string): boolean {
    return this.#known.has(origin);
  }

  /** What is known of a site's wish; 0 before it was asked. */
  crawlDelayMs(origin: string): number {
    return this.#known.get(origin)?.crawlDelayMs ?? 0;
  }

  /** Rejects with a `FetchError` while the site cannot say what it allows: then nothing may be fetched yet. */
  rulesFor(url: string): Promise<RobotsRules> {
    const robotsUrl = new URL('/robots.txt', url).href;
    let rules = this.#rules.get(robotsUrl);
    if (rules === undefined) {
      // The promise is kept, not the answer, so that eight workers starting at once send one request.
      rules = this.#fetchRules(robotsUrl);
      this.#rules.set(robotsUrl, rules);
      // A failure is not remembered: the next page asks again.
      rules.then(
        (answer) => this.#known.set(new URL(robotsUrl).origin, answer),
        () => this.#rules.delete(robotsUrl),
      );
    }
    return rules;
  }

  async #fetchRules(robotsUrl: string): Promise<RobotsRules> {
    let response: Response;
    let text: string;
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(this.#timeoutMs), this.#signal]);
      const headers = { 'user-agent': USER_AGENT };
      response = await fetch(this.#addressOf(robotsUrl), { headers, signal });
      text = (await readBody(response, MAX_BYTES)).bytes.toString();
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new FetchError('ROBOTS_UNREACHABLE', 'robots.txt could not be fetched', { cause: error });
    }
    // RFC 9309: a site in trouble allows nothing, a site without the file allows everything.
    if (response.status >= 500) {
      throw new FetchError('ROBOTS_UNREACHABLE', `robots.txt answered ${response.status}`);
    }
    return response.ok ? parseRobots(robotsUrl, text) : ALLOW_ALL;
  }
}
