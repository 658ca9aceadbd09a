// `everpod diff` as a command line, run in this process: every kind of difference, for people and for programs.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { POD, ProgressTracker } from '../../src/index.ts';
import fc from '../fast-check.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { everpod } from './everpod.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();
type Pair = [key: string | number | string[], value: unknown];

function pod(entries: readonly Pair[], options: object = {}): string {
  const path = temporary.path();
  POD.open<unknown, never>(path, { init: entries as never, fileSize: 3, ...options }).close();
  return path;
}

/** What `--json` answers: the lines, and the summary. */
function compared(a: string, b: string, ...words: string[]) {
  const { code, out, err } = everpod('diff', a, b, '--json', ...words);
  const lines = out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const summary = lines.pop()?.summary as Record<string, unknown>;
  return { code, err, lines, summary };
}

const BEFORE: readonly Pair[] = [
  ['a', { n: 1, m: [1, 2] }],
  ['b', 'two'],
  ['gone', 0],
  ['c', { x: { y: 1 }, old: true }],
  [7, null],
];
const AFTER: readonly Pair[] = [
  [7, null],
  ['a', { m: [1, 2], n: 1 }],
  ['new', []],
  ['b', 2],
  ['c', { x: { y: 2 }, 'odd name': 'é' }],
];

describe('diff', () => {
  it('tells what was added, removed, changed and moved, in the order of the second', () => {
    const [a, b] = [pod(BEFORE), pod(AFTER)];
    const { code, out, err } = everpod('diff', a, b);
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(out).toBe(
      [
        '> 7',
        '+ new',
        '~ b',
        '    $: "two" -> 2',
        '~ c',
        '    $.x.y: 1 -> 2',
        '    $["odd name"]: added "é"',
        '    $.old: removed true',
        '- gone',
        `${a} and ${b}: 1 added, 1 removed, 2 changed, 1 moved, 1 the same\n`,
      ].join('\n'),
    );
  });

  it('answers in JSON, a line each', () => {
    const { code, lines, summary } = compared(pod(BEFORE), pod(AFTER));
    expect(code).toBe(1);
    expect(lines).toEqual([
      { key: 7, change: 'moved' },
      { key: 'new', change: 'added' },
      { key: 'b', change: 'changed', places: [{ at: '$', from: 'two', to: 2 }] },
      {
        key: 'c',
        change: 'changed',
        places: [
          { at: '$.x.y', from: 1, to: 2 },
          { at: '$["odd name"]', to: 'é' },
          { at: '$.old', from: true },
        ],
      },
      { key: 'gone', change: 'removed' },
    ]);
    expect(summary).toEqual({ added: 1, removed: 1, changed: 2, moved: 1, same: 1 });
  });

  it('says that an entry moved, too, where its value changed', () => {
    const [a, b] = [
      pod([
        ['x', 1],
        ['a', 1],
        ['b', 1],
      ]),
      pod([
        ['a', 1],
        ['b', 1],
        ['x', 2],
      ]),
    ];
    expect(everpod('diff', a, b).out).toMatch(/^~ x \(moved\)\n {4}\$: 1 -> 2\n.*1 changed, 1 moved, 2 the same\n$/);
    expect(compared(a, b).lines).toEqual([
      { key: 'x', change: 'changed', moved: true, places: [{ at: '$', from: 1, to: 2 }] },
    ]);
  });

  it('finds equal what equals() does: layout and the order of properties are no difference', () => {
    const [a, b] = [
      pod([
        ['a', { x: 1, y: [2] }],
        ['b', 1],
      ]),
      pod(
        [
          ['a', { y: [2], x: 1 }],
          ['b', 1],
        ],
        { fileSize: 1, gzipped: true },
      ),
    ];
    expect(everpod('diff', a, b)).toEqual({ code: 0, out: `${a} and ${b} are equal, 2 entries.\n`, err: '' });
    expect(compared(a, b)).toMatchObject({ code: 0, lines: [], summary: { same: 2, changed: 0 } });
    expect(everpod('diff', a, a).code).toBe(0);
    expect(everpod('diff', pod([]), pod([])).code).toBe(0);
  });

  it('tells keys of different kinds apart', () => {
    const { lines } = compared(
      pod([['1', 0]]),
      pod([
        [1, 0],
        [['1'], 0],
      ]),
    );
    expect(lines).toEqual([
      { key: 1, change: 'added' },
      { key: ['1'], change: 'added' },
      { key: '1', change: 'removed' },
    ]);
  });

  it('--keys-only and --limit leave out, and the counts stay', () => {
    const [a, b] = [pod(BEFORE), pod(AFTER)];
    const answer = everpod('diff', a, b, '--keys-only', '--limit', '3');
    expect(answer.code).toBe(1);
    expect(answer.out).toBe(`> 7\n+ new\n~ b\n${a} and ${b}: 1 added, 1 removed, 2 changed, 1 moved, 1 the same\n`);
    expect(answer.err).toBe('everpod: 3 of 5 differences; --limit left the others out.\n');
    const { lines, summary } = compared(a, b, '--keys-only', '--limit', '0');
    expect([lines, summary.changed]).toEqual([[], 2]);
    expect(everpod('diff', a, b, '--limit', 'x').code).toBe(2);
  });

  it('shows ten places of a value and the beginning of a long text', () => {
    const long = (word: string): object =>
      Object.fromEntries(Array.from({ length: 13 }, (_, n) => [`p${n}`, word.repeat(99)]));
    const { out } = everpod('diff', pod([['a', long('x')]]), pod([['a', long('y')]]));
    expect(out.match(/^ {4}\$\.p\d+: "x{59}… -> "y{59}…$/gm)).toHaveLength(10);
    expect(out).toContain('    and 3 more\n');
  });

  it('counts the states of tasks', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path, { maxTries: 2 });
    tracker.addMany(['a', 'b', 'c']);
    tracker.sync();
    const before = temporary.path();
    expect(everpod('backup', path, before).code).toBe(0);
    tracker.markDone('a');
    tracker.fail('b', new Error('no'));
    tracker.add('d');
    tracker.close();
    const { out } = everpod('diff', before, path);
    expect(out).toMatch(/^total +3 +-> +4 +\+1$/m);
    expect(out).toMatch(/^done +0 +-> +1 +\+1$/m);
    expect(out).toMatch(/^todo +3 +-> +3 +0$/m);
    const { summary } = compared(before, path);
    expect(summary.tasks).toMatchObject({
      from: { total: 3, done: 0, failed: 0 },
      to: { total: 4, done: 1, failed: 1 },
    });
  });

  it('tells a tracker from a pod, and another number of tries', () => {
    const make = (maxTries: number): string => {
      const path = temporary.path();
      ProgressTracker.open(path, { maxTries }).close();
      return path;
    };
    const [two, three, plain] = [make(2), make(3), pod([])];
    const answer = everpod('diff', two, three);
    expect(answer.code).toBe(1);
    expect(answer.out).toContain('maxTries: 2 -> 3\n');
    expect(compared(two, plain)).toMatchObject({
      code: 1,
      summary: {
        facts: [
          { at: 'kind', from: 'tracker', to: 'pod' },
          { at: 'maxTries', from: 2 },
        ],
      },
    });
  });

  it('refuses what is damaged or missing', () => {
    const [a, b] = [pod(BEFORE), pod(AFTER)];
    expect(everpod('diff', a, temporary.path())).toMatchObject({ code: 2, out: '' });
    expect(everpod('diff', temporary.path(), a)).toMatchObject({ code: 2, out: '' });
    appendFileSync(join(b, '0.json'), 'x');
    expect(everpod('diff', a, b)).toMatchObject({ code: 1, out: '', err: expect.stringContaining('ERR_POD_CORRUPT') });
  });

  it('counts so that the differences, applied to the first, give the second', () => {
    const map = fc
      .uniqueArray(fc.constantFrom(...'abcdefgh'), { maxLength: 8 })
      .chain((keys) => fc.tuple(...keys.map((key) => fc.tuple(fc.constant(key), fc.nat(2)))));
    fc.assert(
      fc.property(map, map, (before, after) => {
        const [a, b] = [pod(before as unknown as Pair[]), pod(after as unknown as Pair[])];
        const { lines, summary, code } = compared(a, b);
        expect(code === 0).toBe(JSON.stringify(before) === JSON.stringify(after));
        const named = (...changes: string[]): unknown[] =>
          lines.filter(({ change }) => changes.includes(String(change))).map(({ key }) => key);
        const had = new Map(before);
        const has = new Map(after);
        expect(named('added')).toEqual([...has.keys()].filter((key) => !had.has(key)));
        expect(named('removed')).toEqual([...had.keys()].filter((key) => !has.has(key)));
        expect(named('changed')).toEqual(
          [...has].filter(([key, n]) => had.has(key) && had.get(key) !== n).map(([key]) => key),
        );
        // What did not move stands in the same order in both.
        const moved = new Set(
          lines.filter(({ change, moved: too }) => change === 'moved' || too === true).map(({ key }) => key),
        );
        const stays = (key: string): boolean => had.has(key) && has.has(key) && !moved.has(key);
        expect([...had.keys()].filter(stays)).toEqual([...has.keys()].filter(stays));
        expect(summary.moved).toBe(moved.size);
      }),
      { numRuns: 60 },
    );
  });
});
