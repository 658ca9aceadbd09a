// Errors that are alike are one class, and retry puts back what it is asked to, and nothing else.
import { describe, expect, it, vi } from 'vitest';
import { errorClassOf, normalizeMessage } from '../../src/tracker/error-classes.ts';
import type { RetryOptions, TrackerOptions } from '../../src/tracker/options.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { clock } from './fast-system.ts';
import { codeOf, errorOf, useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();

function openWith(keys: string, options: TrackerOptions<{ n?: number }, string> = {}): ProgressTracker<{ n?: number }> {
  const tracker = temporary.keep(ProgressTracker.open<{ n?: number }>(temporary.path(), options));
  tracker.addMany(keys.split(' '));
  return tracker;
}

describe('a message without what differs', () => {
  it.each([
    ['HTTP 503 after 1200 ms', 'HTTP <n> after <n> ms'],
    ['GET https://a.example/x?y=1 failed', 'GET <url> failed'],
    ['connect ECONNREFUSED 127.0.0.1:8080', 'connect ECONNREFUSED <n>'],
    [
      'Unexpected token \'<\', "<!doctype "... is not valid JSON',
      'Unexpected token <text>, <text>... is not valid JSON',
    ],
    ['no user 3f2504e0-4f89-11d3-9a0c-0305e82c3301', 'no user <id>'],
    ['object deadbeef01 is gone', 'object <id> is gone'],
    ['  two\n lines\t', 'two lines'],
    ['', ''],
    ['x'.repeat(5_000), 'x'.repeat(200)],
  ])('%s', (message, expected) => {
    expect(normalizeMessage(message)).toBe(expected);
  });

  it('makes one class of errors that are alike, and others of other names and codes', () => {
    const of = (name: string, message: string, code?: string) =>
      errorClassOf({ name, message, at: '', try: 1, ...(code !== undefined && { code }) });
    expect(of('Error', 'HTTP 503')).toBe(of('Error', 'HTTP 502'));
    expect(of('Error', 'HTTP 503')).toMatch(/^E[\da-f]{6}$/);
    const others = [
      of('Error', 'HTTP 503'),
      of('TypeError', 'HTTP 503'),
      of('Error', 'HTTP 503', 'E1'),
      of('Error', 'x'),
    ];
    expect(new Set(others).size).toBe(4);
  });
});

describe('errorClasses', () => {
  it('counts, samples and dates each class, the most frequent first', () => {
    const tracker = openWith('a b c d e f g', { maxTries: 1 });
    for (const key of ['a', 'b', 'c', 'd']) {
      expect(tracker.shouldTry(key)).toBe(true);
      tracker.fail(key, new TypeError(`timeout after ${key.charCodeAt(0)} ms`));
      clock.advance(1_000);
    }
    tracker.fail('e', Object.assign(new Error('refused'), { code: 'ECONN' }));
    tracker.abort('f', 'too large');
    const classes = tracker.errorClasses();
    const at = ['a', 'd'].map((key) => tracker.get(key)?._error?.at);
    expect(classes).toHaveLength(3);
    expect(classes[0]).toEqual({
      id: expect.stringMatching(/^E[\da-f]{6}$/),
      name: 'TypeError',
      code: undefined,
      message: 'timeout after <n> ms',
      count: 4,
      stuck: 4,
      firstAt: at[0],
      lastAt: at[1],
      sample: 'timeout after 97 ms',
      sampleKeys: ['a', 'b', 'c'],
    });
    expect(at[0]).not.toBe(at[1]);
    expect(classes.map(({ count, stuck }) => [count, stuck])).toEqual(
      expect.arrayContaining([
        [1, 0],
        [1, 1],
      ]),
    );
    tracker.markDone('e');
    expect(tracker.errorClasses()).toHaveLength(2);
  });

  it('lives with whatever stands in the place of an error', () => {
    const tracker = openWith('a b');
    (tracker.get('a') as { _error: unknown })._error = {};
    (tracker.get('b') as { _error: unknown })._error = { name: 1, message: [], at: null, try: 'x' };
    expect(tracker.errorClasses()).toMatchObject([{ name: 'Error', message: '', count: 2 }]);
    expect(tracker.retry()).toBe(2);
  });
});

describe('retry', () => {
  /** Failed for good: a and b alike, c otherwise; d used up its tries without a word; e aborted; f done; g new. */
  function failing(): ProgressTracker<{ n?: number }> {
    const tracker = openWith('a b c d e f g', { maxTries: 1 });
    for (const key of ['a', 'b', 'c', 'd', 'f']) tracker.shouldTry(key);
    tracker.fail('a', new Error('HTTP 503'));
    clock.advance(60_000);
    tracker.fail('b', new Error('HTTP 502'));
    tracker.fail('c', new Error('no route'));
    tracker.abort('e', 'too large');
    tracker.markDone('f', { n: 1 });
    return tracker;
  }

  const classOf = (tracker: ReturnType<typeof failing>, key: string): string =>
    tracker.errorClasses().find(({ sampleKeys }) => sampleKeys.includes(key))?.id ?? '';

  it.each<[string, (tracker: ReturnType<typeof failing>) => RetryOptions<string>, string]>([
    ['everything', () => ({}), 'a b c d'],
    ['a class', (tracker) => ({ class: classOf(tracker, 'a') }), 'a b'],
    ['what failed lately', (tracker) => ({ since: tracker.get('b')?._error?.at }), 'b c'],
    ['what failed lately, as a Date', (tracker) => ({ since: new Date(tracker.get('b')?._error?.at ?? '') }), 'b c'],
    ['a class, lately', (tracker) => ({ class: classOf(tracker, 'a'), since: tracker.get('b')?._error?.at }), 'b'],
    ['some keys, of which one is done and one is new', () => ({ keys: ['c', 'd', 'f', 'g'] }), 'c d'],
    ['aborted ones, too', () => ({ allowAborted: true }), 'a b c d e'],
    ['nothing', () => ({ class: 'E000000' }), ''],
  ])('puts back %s', (_name, optionsFor, expected) => {
    const tracker = failing();
    const keys = expected === '' ? [] : expected.split(' ');
    expect(tracker.retry(optionsFor(tracker))).toBe(keys.length);
    expect([...tracker.todoKeys()]).toEqual([...keys, 'g']);
    for (const key of keys) expect(tracker.snapshot(key)).toEqual({ _tries: 0, _done: false, _aborted: false });
    expect(tracker.done('f')).toBe(true);
    expect(tracker.get('f')).toMatchObject({ _tries: 1, n: 1 });
  });

  it('is one loop away from being tried, also after a reopen', () => {
    const tracker = failing();
    tracker.retry();
    const { path } = tracker;
    tracker.close();
    const again = temporary.keep(ProgressTracker.open(path));
    expect([...again.tryKeys()]).toEqual(['a', 'b', 'c', 'd', 'g']);
  });

  it('refuses an unknown key before it changes anything', () => {
    const tracker = failing();
    expect(codeOf(() => tracker.retry({ keys: ['a', 'nobody'] }))).toBe('ERR_POD_UNKNOWN_KEY');
    expect([...tracker.todoKeys()]).toEqual(['g']);
  });

  it.each<[string, object | null]>([
    ['keys', { keys: 'a' }],
    ['class', { class: 7 }],
    ['since', { since: 'yesterday' }],
    // Which Date takes for a day in 2001.
    ['since', { since: '5' }],
    ['since', { since: new Date(Number.NaN) }],
    ['allowAborted', { allowAborted: 1 }],
    ['klass', { klass: 'E1' }],
    ['options', null],
  ])('refuses a wrong option: %s', (option, options) => {
    const error = errorOf(() => failing().retry(options as RetryOptions<string>));
    expect([error.code, error.info]).toEqual(['ERR_POD_OPTIONS', { option }]);
  });

  it('is refused to a reader', () => {
    const { path } = failing();
    const reader = temporary.keep(ProgressTracker.open(temporary.copy(path), { mode: 'r' }));
    expect(codeOf(() => reader.retry())).toBe('ERR_POD_READONLY');
  });
});
