// The packed state of a task, the record that every task gets, and what is kept of whatever was thrown.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  ABORTED,
  DONE,
  FAILED,
  hasTriesLeft,
  isTodo,
  NEW_TASK,
  priorityIn,
  RECORD_NAMES,
  stateOf,
  TRIED,
  TRIES_MAX,
  toTask,
  toTaskError,
  triesIn,
  UNFINISHED,
} from '../../src/tracker/task.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import fc from '../fast-check.ts';
import { codeOf, errorOf, useTemporary } from './temporary.ts';

const temporary = useTemporary();

const AT = '2024-01-01T00:00:00.000Z';

function flags(value: unknown): string[] {
  const state = stateOf(value);
  const names: [string, number][] = [
    ['done', DONE],
    ['aborted', ABORTED],
    ['tried', TRIED],
    ['failed', FAILED],
    ['unfinished', UNFINISHED],
  ];
  return names.filter(([, bit]) => (state & bit) !== 0).map(([name]) => name);
}

describe('stateOf', () => {
  it.each<[string, unknown, string[], number]>([
    ['a new task', NEW_TASK, [], 0],
    ['a try without a word', { _tries: 1, _done: false, _aborted: false }, ['tried', 'unfinished'], 1],
    ['a try that failed', { _tries: 1, _done: false, _aborted: false, _error: { try: 1 } }, ['tried', 'failed'], 1],
    ['a try after a failed one', { _tries: 2, _error: { try: 1 } }, ['tried', 'failed', 'unfinished'], 2],
    ['done', { _tries: 1, _done: true, _aborted: false }, ['done', 'tried'], 1],
    ['done with an old error', { _tries: 3, _done: true, _error: { try: 2 } }, ['done', 'tried'], 3],
    ['aborted', { _tries: 1, _done: false, _aborted: true }, ['aborted', 'tried'], 1],
    ['aborted with a reason', { _tries: 0, _aborted: true, _error: { try: 0 } }, ['aborted', 'failed'], 0],
    ['done and aborted', { _tries: 0, _done: true, _aborted: true }, ['done', 'aborted'], 0],
    ['an error before any try', { _tries: 0, _error: { try: 0 } }, ['failed'], 0],
  ])('reads %s', (_name, value, wanted, tries) => {
    expect(flags(value)).toEqual(wanted);
    expect(triesIn(stateOf(value))).toBe(tries);
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['a number', 5],
    ['a string', 'done'],
    ['an array', [1]],
    ['nothing of the record', { title: 'x' }],
    ['truthy words for flags', { _done: 'true', _aborted: 1 }],
    ['tries as a text', { _tries: '3' }],
    ['tries below zero', { _tries: -2 }],
    ['half a try', { _tries: 0.5 }],
    ['an error of words', { _error: 'boom' }],
    ['an error of null', { _error: null }],
  ])('takes %s for a task that nobody has tried', (_name, value) => {
    expect(stateOf(value)).toBe(0);
  });

  it('counts whole tries only', () => {
    expect(triesIn(stateOf({ _tries: 2.9 }))).toBe(2);
  });

  it('takes an error without a number for one of no try', () => {
    expect(flags({ _tries: 1, _error: { try: '1' } })).toEqual(['tried', 'failed', 'unfinished']);
  });

  it('never gives a negative number, so that -1 can mean that there is none', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), fc.anything(), fc.anything(), (_tries, _done, _aborted, _error) => {
        expect(stateOf({ _tries, _done, _aborted, _error })).toBeGreaterThanOrEqual(0);
      }),
    );
    for (const _tries of [TRIES_MAX, TRIES_MAX + 1, 2 ** 31, Number.MAX_SAFE_INTEGER, Number.MAX_VALUE]) {
      const state = stateOf({ _tries, _done: true, _aborted: true, _error: {} });
      expect(state).toBeGreaterThan(0);
      expect(triesIn(state)).toBe(TRIES_MAX);
    }
  });

  it('packs every part without touching the others', () => {
    fc.assert(
      fc.property(
        fc.nat(TRIES_MAX),
        fc.boolean(),
        fc.boolean(),
        fc.integer({ min: -10, max: 10 }),
        (_tries, _done, _aborted, _priority) => {
          const state = stateOf({ _tries, _done, _aborted, _priority });
          expect(state).toBeGreaterThanOrEqual(0);
          expect(triesIn(state)).toBe(_tries);
          expect(priorityIn(state)).toBe(_priority);
          expect((state & DONE) !== 0).toBe(_done);
          expect((state & ABORTED) !== 0).toBe(_aborted);
          expect((state & TRIED) !== 0).toBe(_tries > 0);
        },
      ),
    );
  });
});

describe('the most tries that are packed', () => {
  it.each([
    ['stats.ts', 'tries'],
    ['options.ts', 'maxTries'],
    ['tracker.ts', 'maxTries'],
    ['../shared/shared-tracker.ts', 'maxTries'],
  ])('are what %s says of %s', (file, name) => {
    const source = readFileSync(new URL(`../../src/tracker/${file}`, import.meta.url), 'utf8');
    const said = [...source.matchAll(/more than ([\d,]{6,})/gi)].map(([, number]) => number);
    expect([name, said]).toEqual([name, [TRIES_MAX.toLocaleString('en-US')]]);
  });

  it('count as so many, as tries and as a limit', () => {
    const tracker = temporary.keep(ProgressTracker.open(temporary.path(), { maxTries: TRIES_MAX + 7 }));
    tracker.add('a', { _tries: TRIES_MAX - 1 } as object);
    expect([tracker.maxTries, tracker.shouldTry('a'), tracker.shouldTry('a')]).toEqual([TRIES_MAX + 7, true, false]);
    tracker.incrementTries('a');
    expect([tracker.tries('a'), tracker.stats().tries]).toEqual([TRIES_MAX + 1, TRIES_MAX]);
  });
});

describe('isTodo', () => {
  const todo = (value: object, maxTries: number, allowAborted: boolean): boolean =>
    isTodo(stateOf(value), maxTries, allowAborted);

  it('TP-127: is not done, with tries left, and not aborted unless that is allowed', () => {
    expect(todo({}, 0, false)).toBe(true);
    expect(todo({ _done: true }, 0, true)).toBe(false);
    expect(todo({ _tries: 2 }, 3, false)).toBe(true);
    expect(todo({ _tries: 3 }, 3, false)).toBe(false);
    expect(todo({ _tries: 4 }, 3, true)).toBe(false);
    expect(todo({ _tries: 1_000_000 }, 0, false)).toBe(true);
    expect(todo({ _aborted: true }, 0, false)).toBe(false);
    expect(todo({ _aborted: true }, 0, true)).toBe(true);
    expect(todo({ _aborted: true, _tries: 1 }, 1, true)).toBe(false);
  });

  it('agrees with hasTriesLeft about the limit', () => {
    expect(hasTriesLeft(stateOf({ _tries: 2 }), 2)).toBe(false);
    expect(hasTriesLeft(stateOf({ _tries: 1 }), 2)).toBe(true);
    expect(hasTriesLeft(stateOf({ _tries: 9 }), 0)).toBe(true);
  });
});

describe('toTask', () => {
  it('TP-111: fills the record up and keeps the rest', () => {
    expect(toTask({ url: 'x' })).toEqual({ _tries: 0, _done: false, _aborted: false, url: 'x' });
    expect(toTask({ _tries: 2, url: 'x' })).toEqual({ _tries: 2, _done: false, _aborted: false, url: 'x' });
    expect(RECORD_NAMES).toEqual(['_tries', '_done', '_aborted', '_error', '_priority']);
  });

  it('gives a complete task back as it is', () => {
    const task = { _tries: 1, _done: true, _aborted: false, url: 'x' };
    expect(toTask(task)).toBe(task);
  });

  it('does not let an undefined part hide the default', () => {
    expect(toTask({ _tries: undefined, _done: undefined, _aborted: undefined, title: undefined })).toEqual(NEW_TASK);
  });

  it('keeps names that mean something to objects', () => {
    const task = toTask(JSON.parse('{"__proto__": {"evil": true}, "constructor": 1}')) as object;
    expect(Object.getPrototypeOf(task)).toBe(Object.prototype);
    expect(JSON.stringify(task)).toBe(
      '{"_tries":0,"_done":false,"_aborted":false,"__proto__":{"evil":true},"constructor":1}',
    );
  });

  it.each([null, undefined, 5, 'x', true, [], [1], Symbol('x'), () => 1])('refuses %o', (value) => {
    const error = errorOf(() => toTask(value));
    expect(error.code).toBe('ERR_POD_VALUE');
    expect(error.at).toBe('$');
  });

  it.each<[string, object, string]>([
    ['a text for tries', { _tries: '1' }, '$._tries'],
    ['tries below zero', { _tries: -1 }, '$._tries'],
    ['half a try', { _tries: 1.5 }, '$._tries'],
    ['no number of tries', { _tries: Number.NaN }, '$._tries'],
    ['no tries at all', { _tries: null }, '$._tries'],
    ['a word for done', { _done: 'yes' }, '$._done'],
    ['a number for aborted', { _aborted: 0 }, '$._aborted'],
  ])('refuses %s', (_name, value, at) => {
    const error = errorOf(() => toTask(value));
    expect(error.code).toBe('ERR_POD_VALUE');
    expect(error.at).toBe(at);
    expect(error.message).toContain(at.slice(2));
  });

  it.each<[string, object]>([
    ['a Date', new Date(0)],
    ['a Map', new Map([['a', 1]])],
    ['a Set', new Set([1])],
    ['a buffer', Buffer.from('x')],
    [
      'an instance of a class',
      new (class Page {
        url = 'x';
      })(),
    ],
    ['an Error', new Error('x')],
    ['an object with a symbol', { [Symbol('x')]: 1 }],
  ])('refuses %s, of which nothing or not all would be kept', (_name, value) => {
    expect(codeOf(() => toTask(value))).toBe('ERR_POD_VALUE');
  });
});

describe('toTaskError', () => {
  class HttpError extends Error {
    override readonly name = 'HttpError';
    readonly code: unknown;
    constructor(message: string, code: unknown) {
      super(message);
      this.code = code;
    }
  }
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const hostile = {
    get name(): string {
      throw new Error('not even the name');
    },
  };
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();

  it.each<[string, unknown, { name: string; message: string; code?: string }]>([
    ['an Error', new Error('boom'), { name: 'Error', message: 'boom' }],
    ['a TypeError', new TypeError('no'), { name: 'TypeError', message: 'no' }],
    ['an error of its own class', new HttpError('gone', 410), { name: 'HttpError', message: 'gone', code: '410' }],
    ['an error with a code of words', new HttpError('x', 'E_X'), { name: 'HttpError', message: 'x', code: 'E_X' }],
    ['an error with a code that is none', new HttpError('x', { a: 1 }), { name: 'HttpError', message: 'x' }],
    [
      'what fetch throws',
      new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }) }),
      { name: 'TypeError', message: 'fetch failed', code: 'ECONNREFUSED' },
    ],
    ['a cause of words', new Error('x', { cause: 'because' }), { name: 'Error', message: 'x' }],
    ['a timeout', new DOMException('slow', 'TimeoutError'), { name: 'TimeoutError', message: 'slow', code: '23' }],
    ['several errors', new AggregateError([new Error('a')], 'two'), { name: 'AggregateError', message: 'two' }],
    ['words', 'not found', { name: 'Fallback', message: 'not found' }],
    ['no words', '', { name: 'Fallback', message: '' }],
    ['a number', 404, { name: 'Fallback', message: '404' }],
    ['nothing', undefined, { name: 'Fallback', message: '' }],
    ['null', null, { name: 'Fallback', message: 'null' }],
    ['a bigint', 10n, { name: 'Fallback', message: '10' }],
    ['a symbol', Symbol('s'), { name: 'Fallback', message: 'Symbol(s)' }],
    ['an object', { status: 500 }, { name: 'Fallback', message: '{"status":500}' }],
    ['an object like an error', { name: 'X', message: 'm', code: 1 }, { name: 'X', message: 'm', code: '1' }],
    ['an object without a prototype', Object.create(null), { name: 'Fallback', message: '{}' }],
    ['a name that is no text', { name: 5, message: 'm' }, { name: 'Fallback', message: 'm' }],
    ['a circle', cyclic, { name: 'Fallback', message: '[object Object]' }],
    ['a bigint inside', { big: 1n }, { name: 'Fallback', message: '[object Object]' }],
    ['an object that has no JSON', { toJSON: () => undefined }, { name: 'Fallback', message: '[object Object]' }],
    ['an object that throws when it is looked at', hostile, { name: 'Fallback', message: '' }],
    ['a proxy without a target', revoked.proxy, { name: 'Fallback', message: '' }],
  ])('keeps what it can of %s', (_name, thrown, wanted) => {
    const kept = toTaskError(thrown, AT, 2, 'Fallback');
    expect(kept).toStrictEqual({ ...wanted, at: AT, try: 2 });
    // What is kept is what a reopen gives back.
    expect(JSON.parse(JSON.stringify(kept))).toStrictEqual(kept);
  });

  it('makes JSON of anything', () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withTypedArray: true }), (thrown) => {
        const kept = toTaskError(thrown, AT, 1, 'Error');
        expect(typeof kept.message).toBe('string');
        expect(JSON.parse(JSON.stringify(kept))).toStrictEqual(kept);
      }),
    );
  });
});
