/** Reads the command line. */
import { parseArgs } from 'node:util';

export const USAGE = `Usage: npm run crawl -- [options] [URL]

Crawls the demo site that comes with it, or a site on the network, or a folder of HTML files. Stop it in any way
(Ctrl-C, kill -9) and give the same command again: it carries on, and no page that is done is fetched twice.

  --site DIR         serve the folder on this machine and crawl it
  --data DIR         where crawls are kept, one folder for each site (default ./crawl-data, or $EVERPOD_CRAWL_DIR)
  --fresh            start again in a new folder beside the old one; nothing is deleted
  --retry-failed     give the pages that used up their tries as many again
  --max-tries N      tries for a page (default 3; 0 means no limit)
  --concurrency N    pages fetched at the same time (default 8)
  --timeout-ms N     how long a page may take (default 5000, for the demo site 1500)
  --json             print the summary as JSON
  --help             print this
`;

export interface Arguments {
  readonly help: boolean;
  readonly url: string | undefined;
  readonly siteFolder: string | undefined;
  readonly dataRoot: string;
  readonly fresh: boolean;
  readonly retryFailed: boolean;
  readonly json: boolean;
  readonly maxTries: number;
  readonly concurrency: number;
  readonly timeoutMs: number;
}

/** What the person at the keyboard can put right. */
export class UsageError extends Error {}

export function readArguments(args: string[], env: NodeJS.ProcessEnv): Arguments {
  const { values, positionals } = parse(args);
  if (positionals.length > 1) throw new UsageError(`One address at a time, please: ${positionals.join(' ')}`);
  const [url] = positionals;
  if (url !== undefined && values.site !== undefined)
    throw new UsageError('Give either an address or --site, not both.');
  const isDemo = url === undefined && values.site === undefined;
  return {
    help: values.help,
    url,
    siteFolder: values.site,
    dataRoot: values.data ?? (env.EVERPOD_CRAWL_DIR || 'crawl-data'),
    fresh: values.fresh,
    retryFailed: values['retry-failed'],
    json: values.json,
    maxTries: integer('max-tries', values['max-tries'], 0),
    concurrency: integer('concurrency', values.concurrency, 1),
    timeoutMs: integer('timeout-ms', values['timeout-ms'] ?? (isDemo ? '1500' : '5000'), 1),
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        site: { type: 'string' },
        data: { type: 'string' },
        fresh: { type: 'boolean', default: false },
        'retry-failed': { type: 'boolean', default: false },
        'max-tries': { type: 'string', default: '3' },
        concurrency: { type: 'string', default: '8' },
        'timeout-ms': { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function integer(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > 1_000_000) {
    throw new UsageError(`--${name} takes a whole number from ${least} on, not ${text}`);
  }
  return value;
}
