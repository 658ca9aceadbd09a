/**
 * Iterates over the entries of a shared pod in pages; the client's end of it.
 */
import type { Key } from '../core/key.ts';
import type { Caller } from './caller.ts';

/** The place is found again by the last keys, should the owner become another one; a few, as some may be gone by then. */
const MARKS = 8;

/** Which entries; see `pages.ts`. */
export type ListName = 'all' | 'todo' | 'done' | 'aborted' | 'failed';

interface ListOptions {
  readonly allowAborted?: boolean | undefined;
  readonly limit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The entries of a list, in order, live: what is appended meanwhile is visited. Without `withValues` the values are undefined. */
export async function* pagesOf<V, K extends Key>(
  caller: Caller,
  list: ListName,
  withValues: boolean,
  options: ListOptions = {},
): AsyncGenerator<[K, V], void, undefined> {
  const { allowAborted = false, limit = Number.POSITIVE_INFINITY, signal } = options;
  let cursor = 0;
  let after: K[] = [];
  let seen = 0;
  let given = 0;
  try {
    do {
      const [next, entries] = await caller.ask<[number, [K, V][]]>(
        'page',
        [cursor, list, withValues, { allowAborted }, after, seen],
        false,
      );
      cursor = next;
      seen += entries.length;
      if (entries.length > 0) after = entries.slice(-MARKS).map(([key]) => key);
      for (const entry of entries) {
        if (given >= limit || signal?.aborted === true) return;
        given++;
        yield entry;
      }
    } while (cursor !== 0);
  } finally {
    if (cursor !== 0 && !caller.closed) await caller.ask('closePage', [cursor], false).catch(() => {});
  }
}
