import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readArguments, UsageError } from '../../examples/crawl/arguments.ts';
import { dataFolder } from '../../examples/crawl/data-folder.ts';
import { openSite } from '../../examples/crawl/site.ts';
import { temporaryFolder } from './run-example.ts';

describe('readArguments', () => {
  it('knows what is meant when nothing is said', () => {
    expect(readArguments([], {})).toEqual({
      help: false,
      url: undefined,
      siteFolder: undefined,
      dataRoot: 'crawl-data',
      fresh: false,
      retryFailed: false,
      json: false,
      maxTries: 3,
      concurrency: 8,
      timeoutMs: 1_500,
    });
    expect(readArguments(['http://example.test/'], {}).timeoutMs).toBe(5_000);
  });

  it('takes the folder from the option, or else from the environment', () => {
    const env = { EVERPOD_CRAWL_DIR: 'from-environment' };
    expect(readArguments([], env).dataRoot).toBe('from-environment');
    expect(readArguments(['--data', 'from-option'], env).dataRoot).toBe('from-option');
    expect(readArguments([], { EVERPOD_CRAWL_DIR: '' }).dataRoot).toBe('crawl-data');
  });

  it.each([
    [['--max-tries', 'many'], '--max-tries'],
    [['--max-tries=-1'], '--max-tries'],
    [['--concurrency', '0'], '--concurrency'],
    [['--timeout-ms', '1e3'], '--timeout-ms'],
    [['--no-such-option'], '--no-such-option'],
    [['http://example.test/', '--site', '.'], '--site'],
    [['http://a.test/', 'http://b.test/'], 'http://b.test/'],
  ])('refuses %j', (args, said) => {
    const read = () => readArguments(args, {});
    expect(read).toThrow(UsageError);
    expect(read).toThrow(said);
  });
});

describe('openSite', () => {
  it.each([
    [{ url: 'ftp://example.test/', siteFolder: undefined }, 'ftp://example.test/'],
    [{ url: 'no address', siteFolder: undefined }, 'no address'],
    [{ url: undefined, siteFolder: 'no-such-folder' }, 'no-such-folder'],
  ])('refuses %j', async (args, said) => {
    const error = await openSite(args).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toContain(said);
  });

  it.each([
    ['https://Example.test', 'https-example.test', false],
    ['http://example.test:8080/docs/', 'http-example.test_8080', false],
    ['http://127.0.0.1:8080/', 'http-127.0.0.1_8080', true],
    ['http://[::1]/', 'http-___1_', true],
  ])('gives %s a folder and a pace', async (url, name, isLocal) => {
    expect(await openSite({ url, siteFolder: undefined })).toMatchObject({ name, isLocal });
  });

  it('keeps two folders of one name apart, and one folder together', async () => {
    const root = temporaryFolder();
    const names: string[] = [];
    for (const folder of ['a/html', 'b/html', 'a/../b/html/']) {
      mkdirSync(path.join(root, folder), { recursive: true });
      const site = await openSite({ url: undefined, siteFolder: path.join(root, folder) });
      names.push(site.name);
      await site.close();
    }
    expect(names[0]).toMatch(/^html-[0-9a-f]{8}$/);
    expect(names[1]).not.toBe(names[0]);
    expect(names[2]).toBe(names[1]);
  });
});

describe('dataFolder', () => {
  it('takes the newest folder of the site, or a new one beside it', () => {
    const root = path.join(temporaryFolder(), 'not', 'there', 'yet');
    const folder = (name: string, fresh = false) => path.basename(dataFolder(root, name, fresh));
    expect(folder('demo')).toBe('demo');
    expect(folder('demo')).toBe('demo');
    expect(folder('demo', true)).toBe('demo-run-2');
    expect(folder('demo')).toBe('demo-run-2');
    for (let run = 3; run <= 10; run++) folder('demo', true);
    // By number: as text, 9 would come after 10.
    expect(folder('demo')).toBe('demo-run-10');
    expect(folder('other')).toBe('other');
    expect(readdirSync(root)).toHaveLength(11);
  });

  it('is not taken in by what is not a run', () => {
    const root = temporaryFolder();
    for (const name of ['demo-run-', 'demo-run-x', 'demo-run-1e3.5', 'demo-2', 'demonstration'])
      mkdirSync(path.join(root, name));
    expect(path.basename(dataFolder(root, 'demo', true))).toBe('demo');
  });
});
