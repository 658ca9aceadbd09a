/**
 * Crawlee's request queue with its storage on the local disk, a file for each request: for the crawl loop only.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Peer, requirePeer, type TaskQueue } from './peer.ts';

interface Request {
  readonly url: string;
}

interface RequestQueue {
  addRequests(requests: readonly { url: string }[]): Promise<unknown>;
  fetchNextRequest(): Promise<Request | null>;
  markRequestHandled(request: Request): Promise<unknown>;
}

interface Core {
  readonly Configuration: new (options: object) => object;
  readonly RequestQueue: { open(name: string, options: object): Promise<RequestQueue> };
}

interface Storage {
  readonly MemoryStorage: new (options: object) => { teardown(): Promise<void> };
}

export function crawlee(): Peer {
  const core = requirePeer<Core>('@crawlee/core');
  const { MemoryStorage } = requirePeer<Storage>('@crawlee/memory-storage');
  return {
    openQueue: async (folder) => {
      const storageClient = new MemoryStorage({ localDataDirectory: folder, persistStorage: true });
      const config = new core.Configuration({ purgeOnStart: false });
      const queue = await core.RequestQueue.open('tasks', { storageClient, config });
      return taskQueue(queue, join(folder, 'request_queues/tasks'), () => storageClient.teardown());
    },
  };
}

/** A claim is a lock that is written to the request's file; it counts no try. So what is done is taken for tried once. */
function taskQueue(queue: RequestQueue, folder: string, close: () => Promise<void>): TaskQueue {
  return {
    async fill(keys, done) {
      await queue.addRequests(keys.map((url) => ({ url })));
      for (let index = 0; index < done; index++) {
        const request = await queue.fetchNextRequest();
        if (request !== null) await queue.markRequestHandled(request);
      }
    },
    async crawl(tasks, linksOf) {
      let taken = 0;
      for (; taken < tasks; taken++) {
        const request = await queue.fetchNextRequest();
        if (request === null) break;
        await queue.addRequests(linksOf(request.url).map((url) => ({ url })));
        await queue.markRequestHandled(request);
      }
      return taken;
    },
    // Opened again, the queue itself takes all requests for pending in its counts; the files know better.
    counts() {
      const files = readdirSync(folder).filter((name) => name.endsWith('.json') && name !== '__metadata__.json');
      const requests = files.map(
        (name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as { orderNo?: unknown },
      );
      const done = requests.filter(({ orderNo }) => orderNo === null || orderNo === undefined).length;
      return { total: files.length, done, tries: done };
    },
    close,
  };
}
