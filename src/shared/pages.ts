/**
 * Gives the entries of a pod out in pages, live as a local iteration is; the owner's end of it.
 */
import { randomInt } from 'node:crypto';
import { PodError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import type { PersistentOrderedDict } from '../pod/pod.ts';
import type { ProgressTracker } from '../tracker/tracker.ts';

/** A page is full with so many entries, or so much text. */
const PAGE_ENTRIES = 1000;
const PAGE_CHARACTERS = 256 << 10;
/** Iterations of one client that are under way at a time; the oldest is forgotten first, and found again by where it was. */
const CURSORS_MAX = 64;

interface Source {
  readonly pod: PersistentOrderedDict<Json, Key>;
  readonly tracker: ProgressTracker<object, Key> | undefined;
}

/** What is asked for. */
interface PageRequest {
  /** The number that the page before gave; 0 for the first page, or where the owner is another one now. */
  readonly cursor: number;
  /** Which entries: `all`, or those of a tracker that are `todo`, `done`, `aborted`, `failed`. */
  readonly source: string;
  readonly withValues: boolean;
  readonly options: { readonly allowAborted?: boolean } | null;
  /** The last keys that were given, the newest last, to find the place again. */
  readonly after: readonly Key[];
  /** How many were given, where none of those is there any more. */
  readonly seen: number;
}

/** The iterations of one client. */
export class CursorDesk {
  readonly #cursors: Map<number, Iterator<Key>> = new Map();
  /** Begins somewhere, so that no number means anything to another owner. */
  #last: number = randomInt(2 ** 40);

  /** The text of `[cursor, [[key, value?], ...]]`; the cursor is 0 when that was all. */
  page(from: Source, request: PageRequest): string {
    const cursor = this.#find(from, request);
    const keys = this.#cursors.get(cursor) as Iterator<Key>;
    const texts: string[] = [];
    let characters = 0;
    while (texts.length < PAGE_ENTRIES && characters < PAGE_CHARACTERS) {
      const { value: key, done } = keys.next();
      if (done === true) {
        this.#cursors.delete(cursor);
        return `[0,[${texts.join(',')}]]`;
      }
      const value = request.withValues ? from.pod.snapshot(key) : undefined;
      const text =
        value === undefined ? `[${JSON.stringify(key)}]` : `[${JSON.stringify(key)},${JSON.stringify(value)}]`;
      texts.push(text);
      characters += text.length;
    }
    return `[${cursor},[${texts.join(',')}]]`;
  }

  close(cursor: number): void {
    this.#cursors.delete(cursor);
  }

  #find(from: Source, { cursor, source, options, after, seen }: PageRequest): number {
    if (this.#cursors.has(cursor)) return cursor;
    const first = this.#cursors.keys().next().value;
    if (this.#cursors.size >= CURSORS_MAX && first !== undefined) this.#cursors.delete(first);
    const keys = keysOf(from, source, options ?? {});
    this.#cursors.set(
      ++this.#last,
      after.length === 0 ? keys : behind(from, () => keysOf(from, source, options ?? {}), after, seen),
    );
    return this.#last;
  }
}

function keysOf({ pod, tracker }: Source, source: string, options: { allowAborted?: boolean }): Iterator<Key> {
  if (source === 'all') return pod.keys();
  if (tracker === undefined) throw new PodError('ERR_POD_UNSUPPORTED', 'Only a tracker has such a list.');
  switch (source) {
    case 'todo':
      return tracker.todoKeys(options);
    case 'done':
      return tracker.doneKeys();
    case 'aborted':
      return tracker.abortedKeys();
    case 'failed':
      return tracker.failedKeys();
    default:
      throw new PodError('ERR_POD_UNSUPPORTED', 'There is no such list.');
  }
}

/**
 * An iteration from where another one was. All keys are in one order, so the newest of `after` that is still there marks the place, whether
 * or not it is still in the list.
 */
function behind({ pod }: Source, keysOfList: () => Iterator<Key>, after: readonly Key[], seen: number): Iterator<Key> {
  const mark = after.findLast((key) => pod.has(key));
  const passed = new Set<KeyIdentity>();
  if (mark === undefined) {
    const keys = keysOfList();
    for (let count = 0; count < seen; count++) keys.next();
    return keys;
  }
  const identity = keyIdentity(mark);
  for (const key of pod.keys()) {
    const each = keyIdentity(key);
    passed.add(each);
    if (each === identity) break;
  }
  const keys = keysOfList();
  return (function* () {
    for (let next = keys.next(); next.done !== true; next = keys.next()) {
      if (!passed.has(keyIdentity(next.value))) yield next.value;
    }
  })();
}
