// What must compile and what must not; checked by tsc, never run.
import { z } from 'zod';
import {
  type Json,
  type Key,
  PersistentOrderedDict,
  POD,
  PodError,
  type PodErrorCode,
  type PodOptions,
  ProgressTracker,
} from '../../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

interface Page {
  title: string;
  links: string[];
  seen?: boolean;
}

// ---- Opening.

const pages = POD.open<Page>('pages.pod');
same<typeof pages, PersistentOrderedDict<Page, string>>(true);
same<ReturnType<typeof POD.open<number, Key>>, PersistentOrderedDict<number, Key>>(true);
const anything = POD.open('anything.pod');
same<typeof anything, PersistentOrderedDict<Json, string>>(true);
const inferred = POD.open('inferred.pod', { init: { a: 1, b: 2 } });
same<ReturnType<typeof inferred.get>, number | undefined>(true);
const checked = POD.open('checked.pod', { schema: z.object({ n: z.number() }) });
same<ReturnType<typeof checked.get>, { n: number } | undefined>(true);

POD.open<Page>('pages.pod', {
  mode: 'r',
  gzipped: true,
  fileSize: 10,
  syncAt: 1,
  syncEvery: 0,
  durability: 'power',
  isolated: true,
});
POD.open<Page>('pages.pod', { mode: undefined, init: undefined });
POD.open<number, Key>('keys.pod', {
  init: [
    ['a', 1],
    [1, 2],
    [['t', [1]], 3],
  ],
});
POD.open<number>('pairs.pod', { init: new Map([['a', 1]]) });
POD.open<number>('pod.pod', { init: POD.open<number>('other.pod') });
// @ts-expect-error a path is a string
POD.open(5);
// @ts-expect-error there is no such mode
POD.open('a.pod', { mode: 'rw' });
// @ts-expect-error there is no such level
POD.open('a.pod', { durability: 'none' });
// @ts-expect-error there is no such option
POD.open('a.pod', { gziped: true });
// @ts-expect-error a file size is a number
POD.open('a.pod', { fileSize: '10' });
// @ts-expect-error the values are pages
POD.open<Page>('a.pod', { init: { a: 1 } });
// @ts-expect-error the schema is of another type
POD.open<Page>('a.pod', { schema: z.number() });
// @ts-expect-error a date is no key
POD.open<number, Date>('a.pod');
// @ts-expect-error a boolean is no key
POD.open<number, boolean>('a.pod');
// @ts-expect-error options may not be null
POD.open('a.pod', null);
// @ts-expect-error a handle is made by open alone
new PersistentOrderedDict('a.pod');

const options: PodOptions<Page, string> = { syncAt: 5 };
same<PodOptions<Page, string>['mode'], 'r' | 'w' | undefined>(true);
POD.open('pages.pod', options);

POD.open<string, number>('numbers.pod', { init: [[1, 'a']] });
// @ts-expect-error an object has texts for keys, and these are numbers
POD.open<string, number>('numbers.pod', { init: { 1: 'a' } });
// @ts-expect-error and these are lists
POD.open<string, [string, number]>('lists.pod').update({ 1: 'a' });
POD.open<string, string | number>('both.pod').update({ a: 'a' });

// ---- Entries.

same<ReturnType<typeof pages.get>, Page | undefined>(true);
same<ReturnType<typeof pages.snapshot>, Page | undefined>(true);
pages.get('a')?.links.push('b');
pages.set('a', { title: 'A', links: [] }).set('b', { title: 'B', links: [], seen: true });
const size: number = pages.size;
const has: boolean = pages.has('a') && pages.delete('a');
const popped: Page | undefined = pages.pop('a');
const withDefault: Page | null = pages.pop('a', null);
const withNumber: Page | number = pages.pop('a', 5);
same<ReturnType<typeof pages.getOrInsert>, Page>(true);
const made: Page = pages.getOrInsertComputed('abc', (key) => ({ title: key.toUpperCase(), links: [] }));
pages.update({ a: { title: '', links: [] } }, [['b', { title: '', links: [] }]], pages, new Map<string, Page>());
const equal: boolean = pages.equals([['a', { title: '', links: [] }]]);
// @ts-expect-error perhaps there is no such entry
pages.get('a').title;
// @ts-expect-error links are missing
pages.set('a', { title: 'A' });
// @ts-expect-error keys are strings here
pages.get(1);
// @ts-expect-error keys are strings here
pages.set(['a'], { title: 'A', links: [] });
// @ts-expect-error the values are pages
pages.getOrInsert('a', 5);
// @ts-expect-error the values are pages
pages.update({ a: 1 });
// @ts-expect-error size is read only
pages.size = 5;
// @ts-expect-error the path is read only
pages.path = 'elsewhere';

const keyed = POD.open<number, Key>('keyed.pod');
keyed
  .set(1, 1)
  .set('1', 1)
  .set(['1', [2, ['x']]], 1);
const tuples = POD.open<number, readonly [string, number]>('tuples.pod');
tuples.set(['a', 1], 1);
same<ReturnType<typeof tuples.dirty>, Set<readonly [string, number]>>(true);
// @ts-expect-error a key of this pod is a pair
tuples.set(['a', 'b'], 1);
// @ts-expect-error a key of this pod is a pair
tuples.get('a');
// @ts-expect-error nothing but strings, numbers and arrays of them
keyed.set({ a: 1 }, 1);
// @ts-expect-error null is no key
keyed.get(null);

// ---- Iteration.

for (const [key, page] of pages) {
  same<typeof key, string>(true);
  same<typeof page, Page>(true);
}
same<ReturnType<typeof pages.keys>, IterableIterator<string>>(true);
same<ReturnType<typeof pages.values>, IterableIterator<Page>>(true);
same<ReturnType<typeof pages.entries>, IterableIterator<[string, Page]>>(true);
const map: Map<string, Page> = new Map(pages);
pages.forEach((page, key, pod) => {
  same<[typeof page, typeof key], [Page, string]>(true);
  pod.set(key, page);
});

// ---- Saving.

same<ReturnType<typeof pages.dirty>, Set<string>>(true);
same<ReturnType<typeof pages.sync>, void>(true);
same<ReturnType<typeof pages.flush>, Promise<void>>(true);
const hold: Disposable = pages.hold();
pages.syncAt = 5;
// @ts-expect-error syncAt is a number
pages.syncAt = '5';
// @ts-expect-error keys are strings here
pages.markDirty(1);
same<string, ReturnType<typeof transacted>>(true);
function transacted() {
  return pages.transaction(() => 'done');
}
const nothing: undefined = pages.transaction(() => undefined);
pages.transaction(() => {
  pages.clear();
});
// @ts-expect-error the result is a number
const wrong: string = pages.transaction(() => 5);
const copy: PersistentOrderedDict<Page, string> = pages.copyTo('copy.pod', { gzipped: true });
// @ts-expect-error the values of the copy are the same
pages.copyTo('copy.pod', { init: { a: 1 } });
const ended: 'new' | 'unknown' | 'closed' | 'exit' | 'signal' | 'error' | 'killed' = pages.recovery.ended;
// @ts-expect-error the report is read only
pages.recovery.replayed = 0;
const disposable: Disposable = pages;

// ---- Trackers: what the record lacks is filled up, and a copy or a conversion keeps the type of the data.

const tasks = ProgressTracker.open<{ depth: number }>('any.pod');
tasks.set('a', { depth: 1 });
tasks.update({ a: { depth: 2 } }, [['b', { _done: true }]]);
// @ts-expect-error depth is a number
tasks.set('a', { depth: 'deep' });
const firstOfCopy: string | undefined = [...tasks.copyTo('other.pod').tryKeys()][0];
const title: string | undefined = POD.open<Page>('any.pod').convertToTracker().get('a')?.title;
const val: number | undefined = POD.open<number>('any.pod').convertToTracker().get('a')?.val;

// ---- Errors.

const error = new PodError('ERR_POD_VALUE', 'why', { key: 'a', at: '$.x' });
const code: PodErrorCode = error.code;
const cause: unknown = error.cause;
// @ts-expect-error there is no such code
new PodError('ERR_POD_WHATEVER', 'why');
// @ts-expect-error the code is read only
error.code = 'ERR_POD_KEY';

export const used = [
  firstOfCopy,
  title,
  val,
  size,
  has,
  popped,
  withDefault,
  withNumber,
  made,
  equal,
  map,
  hold,
  nothing,
  wrong,
  copy,
  ended,
  disposable,
  code,
  cause,
];
