/**
 * Runs that the estimate was never tuned on: sites of other shapes, sizes and ways to try again than those of `eta-runs.ts`.
 *
 * Nobody who changes a constant of the estimate looks at what it says of these: they are asked once, when the change is made.
 */
import { type Random, seededRandom } from '../../src/testing/index.ts';
import { type Conditions, crawl, type Graph, type Run } from './eta-runs.ts';

const SIZE_MIN = 400;
const SIZE_MAX = 20_000;

/** A site in sections: most links stay in theirs, popular pages are linked to from everywhere. */
export function heldOutShrinking(seed: number): Run {
  const random = seededRandom(seed);
  return crawl(`held out, shrinking ${seed}`, random, sections(random, sizeOf(random)), conditions(random));
}

/** Categories that lead to lists of several pages, and those to items: one link leads to each page. */
export function heldOutGrowing(seed: number): Run {
  const random = seededRandom(seed);
  return crawl(`held out, growing ${seed}`, random, catalogue(random, sizeOf(random)), conditions(random));
}

/** Either of these, and one to three times nothing answers for a while. */
export function heldOutStalled(seed: number): Run {
  const random = seededRandom(seed);
  const size = sizeOf(random);
  const graph = random.chance(0.7) ? sections(random, size) : catalogue(random, size);
  const usual = conditions(random);
  const wholeMs = (graph.length * usual.pageMs) / usual.workers;
  const outages = Array.from({ length: 1 + random.below(3) }, () => ({
    afterDone: Math.floor(graph.length * (0.05 + 0.85 * random.next())),
    ms: wholeMs * (0.03 + 0.2 * random.next()),
  }));
  return crawl(`held out, stalled ${seed}`, random, graph, { ...usual, outages });
}

/** As many small sites as large ones. */
function sizeOf(random: Random): number {
  return Math.round(SIZE_MIN * (SIZE_MAX / SIZE_MIN) ** random.next());
}

function conditions(random: Random): Conditions {
  const pageMs = 60 + random.below(5_000);
  return {
    workers: 1 + random.below(24),
    pageMs,
    drift: 0.6 * random.next(),
    fails: 0.12 * random.next(),
    retries: random.pick(['queue', 'pass', 20 * pageMs]),
  };
}

function sections(random: Random, size: number): Graph {
  const width = 30 + random.below(400);
  const links = 3 + random.below(20);
  return Array.from({ length: size }, (_, page) => {
    const start = page - (page % width);
    return Array.from({ length: 1 + random.below(2 * links) }, () => {
      if (random.chance(0.8)) return Math.min(size - 1, start + random.below(width));
      // The square makes the first pages the popular ones.
      return Math.floor(size * random.next() ** 2);
    });
  });
}

function catalogue(random: Random, size: number): Graph {
  const graph: number[][] = [[]];
  const add = (parent: number): number => {
    const page = graph.length;
    graph.push([]);
    (graph[parent] as number[]).push(page);
    return page;
  };
  const onEachList = 4 + random.below(40);
  const listsMax = 1 + random.below(12);
  const variants = random.below(4);
  const categories = Math.max(3, Math.round(size / (onEachList * (1 + variants) * (listsMax / 2 + 1))));
  for (let category = 0; category < categories && graph.length < size; category++) {
    // Categories in categories: each hangs below one of those that were there before.
    let list = add(category < 8 || random.chance(0.3) ? 0 : random.below(graph.length));
    for (let lists = 1 + random.below(listsMax); lists > 0; lists--) {
      for (let item = 0; item < onEachList; item++) {
        const page = add(list);
        for (let variant = 0; variant < variants; variant++) if (random.chance(0.5)) add(page);
      }
      if (lists > 1) list = add(list);
    }
  }
  return graph;
}
