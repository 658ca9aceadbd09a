/** What is crawled: where it starts, under which keys it is remembered, and where it really is today. */
import { createHash } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { type Arguments, UsageError } from './arguments.ts';
import { demoSite } from './demo-site.ts';
import { type Server, serve } from './serve.ts';
import { serveFolder } from './serve-folder.ts';
import { normaliseUrl } from './urls.ts';

export interface Site {
  /** Names the folder that holds the state. */
  readonly name: string;
  readonly startUrl: string;
  /** Seen by a person: what is crawled. */
  readonly label: string;
  /** A server on this machine need not be spared; a stranger's is asked more slowly. */
  readonly isLocal: boolean;
  /** The address to fetch for a key. */
  addressOf(url: string): string;
  close(): Promise<void>;
}

export async function openSite({ url, siteFolder }: Pick<Arguments, 'url' | 'siteFolder'>): Promise<Site> {
  if (url !== undefined) return openLiveSite(url);
  return siteFolder === undefined ? openDemoSite() : openFolderSite(siteFolder);
}

/** The site that comes with the example. */
async function openDemoSite(): Promise<Site> {
  const site = demoSite();
  return servedSite('demo', 'the demo site', site.origin, await serve(site.handle));
}

/** A folder of HTML files. */
async function openFolderSite(folder: string): Promise<Site> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`Not a folder: ${folder}`);
  const root = realpathSync(folder);
  // Two folders called `html` are two sites.
  const hash = createHash('sha256').update(root).digest('hex').slice(0, 8);
  const server = await serve(serveFolder(root));
  return servedSite(`${path.basename(root)}-${hash}`, root, 'http://site.everpod.test', server);
}

/** A site on the network. */
function openLiveSite(address: string): Site {
  const startUrl = normaliseUrl(address);
  if (startUrl === undefined) throw new UsageError(`Not an http or https address: ${address}`);
  const { protocol, host, hostname } = new URL(startUrl);
  return {
    name: `${protocol.slice(0, -1)}-${host.replace(/[^a-z0-9.-]/g, '_')}`,
    startUrl,
    label: startUrl,
    isLocal: ['127.0.0.1', '[::1]', 'localhost'].includes(hostname),
    addressOf: (url) => url,
    close: () => Promise.resolve(),
  };
}

/**
 * The port of a served site is another one in each run, and a key must be the same in all of them. So the keys have a
 * made-up origin, which becomes the real one only at the moment of fetching.
 */
function servedSite(name: string, label: string, origin: string, server: Server): Site {
  return {
    name,
    startUrl: `${origin}/`,
    label,
    isLocal: true,
    addressOf: (url) => (url.startsWith(`${origin}/`) ? server.origin + url.slice(origin.length) : url),
    close: () => server.close(),
  };
}
