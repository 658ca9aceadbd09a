/**
 * The data every measurement uses: crawl entries with keys of 70 bytes and values of about 200 bytes of JSON.
 */

/** What a crawler keeps about a page. */
export interface CrawlEntry {
  _tries: number;
  _done: boolean;
  _aborted: boolean;
  depth: number;
  status: number;
  hash: string;
  links: string[];
}

/** A prime; its multiples meet each entry once, far from the one before. */
export const STRIDE = 15_485_863;

/** The key of an entry: 70 bytes. */
export function crawlKey(index: number): string {
  return `https://www.example.com/documentation/section/page-${String(index).padStart(14, '0')}.html`;
}

/** The value of an entry. */
export function crawlEntry(index: number): CrawlEntry {
  const hash = (index * 2_654_435_761).toString(16).padStart(16, '0').slice(0, 16);
  return {
    _tries: 1,
    _done: index % 2 === 0,
    _aborted: false,
    depth: index % 9,
    status: 200,
    hash: `${hash}${hash}`,
    links: [index + 1, index * 2, index * 3].map((page) => `/documentation/page-${page}`),
  };
}
