/**
 * Recordings of runs to try the estimate on: crawls over graphs, simulated from a seed, with pages that take their time.
 */

import { type Random, seededRandom } from '../../src/testing/index.ts';
import type { ProgressSample } from '../../src/tracker/eta.ts';

/** A run from its start to its end, as samples. */
export interface Run {
  readonly name: string;
  readonly samples: readonly ProgressSample[];
}

/** The pages that each page links to, by number; page 0 is where the crawl begins. */
export type Graph = readonly (readonly number[])[];

const TRIES_MAX = 3;
const FAILS = 0.06;
const FAILS_AGAIN = 0.4;

export interface Conditions {
  /** Pages in flight at once. */
  readonly workers: number;
  /** What a page takes in the middle. */
  readonly pageMs: number;
  /** Nothing ends from a moment, for a while: the network is gone. */
  readonly outages?: readonly { readonly afterDone: number; readonly ms: number }[];
  /** What failed goes to the end of the queue, or waits for the next pass, which is the default, or comes again after so many milliseconds. */
  readonly retries?: 'queue' | 'pass' | number;
  /** How many of the first tries fail; default 0.06. */
  readonly fails?: number;
  /** How the speed wanders: 0 not at all. */
  readonly drift?: number;
}

/** Pages link to any others: most are found soon, and then the frontier shrinks. */
export function shrinkingRun(seed: number): Run {
  const random = seededRandom(seed);
  const size = 1_000 + random.below(5_000);
  const links = 2 + random.below(10);
  const graph = Array.from({ length: size }, () =>
    Array.from({ length: 1 + random.below(2 * links) }, () => random.below(size)),
  );
  return crawl(`shrinking ${seed}: any links, ${links} a page`, random, graph, usualConditions(random));
}

/** A site whose sections go on and on: each page leads to a few that nobody knew, until the deepest level. */
export function growingRun(seed: number): Run {
  const random = seededRandom(seed);
  const graph = tree(random);
  return crawl(`growing ${seed}: ${graph.length} pages`, random, graph, {
    ...usualConditions(random),
    // One link leads to each page, so a page that waits for the next pass would hide all that is below it, and nobody could know how much.
    retries: 'queue',
  });
}

/** As the growing ones, but what failed is tried again when all else is done: whatever lies below it is found then. */
export function latecomingRun(seed: number): Run {
  const random = seededRandom(seed);
  return crawl(`latecoming ${seed}`, random, tree(random), usualConditions(random));
}

/** As the shrinking ones, but the network is gone for a while on the way. */
export function stalledRun(seed: number): Run {
  const random = seededRandom(seed);
  const size = 1_000 + random.below(4_000);
  const graph = Array.from({ length: size }, () =>
    Array.from({ length: 1 + random.below(8) }, () => random.below(size)),
  );
  const usual = usualConditions(random);
  const wholeMs = (size * usual.pageMs) / usual.workers;
  const ms = wholeMs * (0.05 + random.next() * 0.15);
  const afterDone = Math.floor(size * (0.2 + random.next() * 0.5));
  return crawl(`stalled ${seed}: ${Math.round(ms / 1000)} s without network`, random, graph, {
    ...usual,
    outages: [{ afterDone, ms }],
  });
}

/** Each page leads to a few that nobody knew, until there are enough. */
function tree(random: Random): Graph {
  const graph: number[][] = [[]];
  const branching = 1.05 + random.next() * 0.5;
  const pagesMax = 2_000 + random.below(4_000);
  for (let page = 0; page < graph.length && graph.length < pagesMax; page++) {
    const children = page < 20 ? 2 : Math.floor(branching) + (random.chance(branching % 1) ? 1 : 0);
    for (let child = 0; child < children; child++) {
      (graph[page] as number[]).push(graph.length);
      graph.push([]);
    }
  }
  return graph;
}

function usualConditions(random: Random): Conditions {
  return { workers: 1 + random.below(16), pageMs: 100 + random.below(3_000), drift: random.next() * 0.5 };
}

/** Plays a crawl, first found first, and writes a sample down about each second or whenever a page is done. */
export function crawl(name: string, random: Random, graph: Graph, conditions: Conditions): Run {
  const { workers, pageMs, outages = [], retries = 'pass', drift = 0, fails = FAILS } = conditions;
  const outagesLeft = [...outages];
  const known = new Set([0]);
  const queue = [0];
  const flights: { page: number; endMs: number }[] = [];
  const samples: ProgressSample[] = [{ atMs: 0, done: 0, known: 1, failing: 0 }];
  /** What failed in this pass and is tried again in the next. */
  const failing: number[] = [];
  /** How often each page failed. */
  const failures = new Map<number, number>();
  let done = 0;
  /** Of the pages that failed once. */
  let settled = 0;
  let nowMs = 0;
  let slowness = 1;
  /** What comes again after a while, and when. */
  const later: { page: number; atMs: number }[] = [];
  while (queue.length > 0 || flights.length > 0 || failing.length > 0 || later.length > 0) {
    if (queue.length === 0 && flights.length === 0) {
      queue.push(...failing.splice(0));
      if (queue.length === 0) nowMs = Math.max(nowMs, later[0]?.atMs ?? nowMs);
    }
    while ((later[0]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs)
      queue.unshift((later.shift() as { page: number }).page);
    while (flights.length < workers && queue.length > 0) {
      // Most pages are quick and some are not: the logarithm is even.
      flights.push({
        page: queue.shift() as number,
        endMs: nowMs + slowness * pageMs * Math.exp(2 * random.next() - 1),
      });
    }
    flights.sort((a, b) => a.endMs - b.endMs);
    const { page, endMs } = flights.shift() as { page: number; endMs: number };
    nowMs = Math.max(nowMs, endMs);
    const at = outagesLeft.findIndex(({ afterDone }) => afterDone === done);
    if (at >= 0) {
      const outage = outagesLeft.splice(at, 1)[0] as { readonly ms: number };
      // The counts stand still, and somebody goes on looking.
      for (let ms = 1_000; ms < outage.ms; ms += 1_000)
        samples.push({ atMs: nowMs + ms, done, known: known.size, failing: failures.size - settled });
      nowMs += outage.ms;
      for (const flight of flights) flight.endMs += outage.ms;
    }
    const failed = failures.get(page) ?? 0;
    // A few pages never answer and are given up after their tries; some more answer the second time.
    if (failed < TRIES_MAX && random.chance(failed === 0 ? fails : FAILS_AGAIN)) {
      failures.set(page, failed + 1);
      if (failed + 1 < TRIES_MAX) {
        if (retries === 'queue') queue.push(page);
        else if (retries === 'pass') failing.push(page);
        else later.push({ page, atMs: nowMs + retries });
        continue;
      }
    }
    if (failures.has(page)) settled++;
    done++;
    if (done % 50 === 0) slowness = Math.min(2, Math.max(0.5, slowness * Math.exp(drift * (random.next() - 0.5))));
    for (const link of graph[page] ?? []) {
      if (known.has(link)) continue;
      known.add(link);
      queue.push(link);
    }
    samples.push({ atMs: nowMs, done, known: known.size, failing: failures.size - settled });
  }
  return { name, samples };
}
