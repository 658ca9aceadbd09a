import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readArguments, UsageError } from '../../examples/crawl/arguments.ts';
import { dataFolder } from '../../examples/crawl/data-folder.ts';
import { Pace } from '../../examples/crawl/pace.ts';
import { type ProgressCounts, showProgress } from '../../examples/crawl/progress.ts';
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

describe('Pace', () => {
  const signal = new AbortController().signal;

  function paceAt(minimumMs: number) {
    const clock = { nowMs: 1_000, waits: [] as number[] };
    const wait = async (ms: number) => void clock.waits.push(ms);
    return { clock, pace: new Pace(minimumMs, { now: () => clock.nowMs, wait }) };
  }

  it('lines up those who come together', async () => {
    const { clock, pace } = paceAt(0);
    await Promise.all([pace.turn(500, signal), pace.turn(500, signal), pace.turn(500, signal)]);
    expect(clock.waits).toEqual([0, 500, 1_000]);
  });

  it('makes nobody wait who comes late', async () => {
    const { clock, pace } = paceAt(0);
    await pace.turn(500, signal);
    clock.nowMs += 10_000;
    await pace.turn(500, signal);
    await pace.turn(500, signal);
    expect(clock.waits).toEqual([0, 0, 500]);
  });

  it('takes the longer of what the site wants and its own minimum', async () => {
    const { clock, pace } = paceAt(250);
    for (const delayMs of [0, 0, 900, 0]) await pace.turn(delayMs, signal);
    expect(clock.waits).toEqual([0, 250, 500, 1_400]);
  });

  it('does not wait at all when nobody asks for it', async () => {
    const { clock, pace } = paceAt(0);
    await pace.turn(0, signal);
    expect(clock.waits).toEqual([]);
  });

  it('can be called off', async () => {
    const controller = new AbortController();
    const pace = new Pace(0);
    await pace.turn(60_000, controller.signal);
    const second = pace.turn(60_000, controller.signal);
    controller.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('showProgress', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function show(isTTY: boolean, columns?: number) {
    const counts: { -readonly [K in keyof ProgressCounts]: ProgressCounts[K] } = {
      done: 0,
      aborted: 0,
      todo: 1,
      total: 1,
      fetched: 0,
      etaMs: undefined,
    };
    const written: string[] = [];
    const stream = { isTTY, columns, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream;
    return { counts, written, hide: showProgress(() => counts, stream) };
  }

  it('writes plain lines where nobody watches', () => {
    const { counts, written, hide } = show(false);
    vi.advanceTimersByTime(4_000);
    Object.assign(counts, { done: 1, todo: 0, fetched: 1 });
    hide();
    vi.advanceTimersByTime(60_000);
    expect(written).toEqual([
      '0 of 1 done, 1 to do, 0 given up, 0 fetched\n',
      '0 of 1 done, 1 to do, 0 given up, 0 fetched\n',
      '1 of 1 done, 0 to do, 0 given up, 1 fetched\n',
    ]);
  });

  it.each([
    [undefined, ''],
    [9_000, ''],
    [44_400, ', 44 s or more'],
    [600_000, ', 10 min or more'],
    [20_000_000, ', 6 h or more'],
  ])('estimates %s ms as %j', (etaMs, text) => {
    const { counts, written, hide } = show(false);
    counts.etaMs = etaMs;
    hide();
    expect(written).toEqual([`0 of 1 done, 1 to do, 0 given up, 0 fetched${text}\n`]);
  });

  it('draws a bar on a terminal, never wider than the terminal', () => {
    const { counts, written, hide } = show(true, 41);
    vi.advanceTimersByTime(100);
    Object.assign(counts, { done: 1, todo: 2, aborted: 1, total: 4 });
    vi.advanceTimersByTime(100);
    hide();
    expect(written).toEqual([
      '\r\u001B[K[....................] 0 of 1 done, 1 to',
      '\r\u001B[K[##########..........] 1 of 4 done, 2 to',
      '\r\u001B[K[##########..........] 1 of 4 done, 2 to',
      '\n',
    ]);
    expect(written[0]?.length).toBe(4 + 40);
  });
});
