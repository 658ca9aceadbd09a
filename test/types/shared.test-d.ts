// What must compile and what must not of shared pods; checked by tsc, never run.
import { type Key, POD, ProgressTracker } from '../../src/index.ts';
import {
  type AsyncPod,
  type AsyncTracker,
  type RemotePod,
  type RemoteTracker,
  SharedPOD,
  SharedTracker,
} from '../../src/shared/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

interface Page {
  title: string;
  links: string[];
}

// ---- Local and shared ones are what the interfaces say, through `await`.

const localPod: AsyncPod<Page> = POD.open<Page>('a.pod');
const localNumbers: AsyncPod<number, Key> = POD.open<number, Key>('a.pod');
const localTracker: AsyncTracker<Page> = ProgressTracker.open<Page>('a.pod');
const sharedPod: AsyncPod<Page> = await SharedPOD.open<Page>('a.pod');
const sharedTracker: AsyncTracker<Page> = await SharedTracker.open<Page>('a.pod');
const remotePod: RemotePod<Page> = await SharedPOD.open<Page>('a.pod');
const remoteTracker: RemoteTracker<Page> = await SharedTracker.open<Page>('a.pod');

async function visitAll(pod: AsyncPod<Page>): Promise<number> {
  for await (const [key, page] of pod.entries()) {
    same<typeof key, string>(true);
    same<typeof page, Page>(true);
  }
  const page = await pod.get('a');
  same<typeof page, Page | undefined>(true);
  return await pod.size;
}
await Promise.all([visitAll(localPod), visitAll(sharedPod)]);

async function crawl(tasks: AsyncTracker<Page>): Promise<void> {
  for await (const url of tasks.tryKeys({ limit: 10 })) {
    await tasks.addManyIfAbsent(['b']);
    await tasks.markDone(url, { title: url });
  }
}
await Promise.all([crawl(localTracker), crawl(sharedTracker)]);
const tellDone: Disposable = sharedTracker.on('done', ({ key }) => same<typeof key, string>(true));
tellDone[Symbol.dispose]();
same<Awaited<typeof sharedTracker.resume>['todo'], number>(true);
await localNumbers.set(['a', 1], 2);

// ---- What only shared ones have.

const edited = await remotePod.edit('a', (page) => {
  page?.links.push('b');
});
same<typeof edited, Page | undefined>(true);
await remotePod.in('a', 'links').push('c');
await remotePod.transaction([
  ['set', 'a', { title: '', links: [] }],
  ['increment', 'a', ['n'], 1],
]);
await remoteTracker.transaction([
  ['add', 'a', { title: '', links: [] }],
  ['delete', 'b'],
]);

// @ts-expect-error: no such operation
await remotePod.transaction([['sync']]);
// @ts-expect-error: the value is no page
await remotePod.set('a', 1);
// @ts-expect-error: the key is no string
await remoteTracker.markDone(1);
// @ts-expect-error: shared pods are always open for writing
await SharedPOD.open('a.pod', { mode: 'r' });
// @ts-expect-error: a local pod has no edit
await localPod.edit('a', () => {});
