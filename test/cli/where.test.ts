// The conditions of --where: what they mean, what they refuse and where, and that reading and asking agree with a second hand.
import { describe, expect, it } from 'vitest';
import {
  type Comparison,
  holds,
  markPlace,
  matchesGlob,
  type Operand,
  type Path,
  parseWhere,
  type Subject,
  WHERE_CHARS_MAX,
  WHERE_DEPTH_MAX,
  type Where,
  WhereError,
} from '../../src/cli/where.ts';
import type { Json } from '../../src/core/json.ts';
import fc from '../fast-check.ts';
import { priorityOf } from '../tracker/recount.ts';

function ask(text: string, value: Json, key: Subject['key'] = 'k', isTask: boolean = false): boolean {
  return holds(parseWhere(text), { key, value, isTask });
}

function refusal(text: string): WhereError {
  try {
    parseWhere(text);
  } catch (error) {
    if (error instanceof WhereError) return error;
    throw error;
  }
  throw new Error(`${text} was read`);
}

const PAGE: Json = {
  title: 'Home',
  size: 10,
  empty: '',
  zero: 0,
  no: false,
  nothing: null,
  tags: ['a', 'b', 3],
  links: [{ url: 'https://a.example/x.pdf' }],
  'odd name': { 'a.b': 1 },
  key: 'inner',
  done: 'mine',
};

describe('a condition', () => {
  it.each([
    ['title = "Home"', true],
    ["title = 'Home'", true],
    ['title != "Home"', false],
    ['title = "home"', false],
    ['size = 10', true],
    ['size = "10"', false],
    ['size < 10.5 and size <= 10 and size > -1 and size >= 1e1', true],
    ['size < "2"', false],
    ['title < "I" and title > "H"', true],
    ['title ~ "om"', true],
    ['tags ~ "a"', true],
    ['tags ~ 3', true],
    ['tags ~ "3"', false],
    ['size ~ 1', false],
    ['title glob "H*e"', true],
    ['title glob "H"', false],
    ['links[0].url glob "https://*.pdf"', true],
    ['links[1].url exists', false],
    ['links["0"] exists', false],
    ['tags.length exists', false],
    ['["odd name"] exists', 'position 0'],
    ['$["odd name"]["a.b"] = 1', true],
    ['$."odd name"."a.b" = 1', true],
    ['missing = null', false],
    ['missing != 1', true],
    ['missing = missing', false],
    ['missing < 1 or missing >= 1', false],
    ['nothing = null', true],
    ['nothing exists', true],
    ['nothing', false],
    ['no', false],
    ['no = false', true],
    ['zero', true],
    ['empty', true],
    ['missing', false],
    ['not missing exists', true],
    ['not missing and title exists', true],
    ['not (title exists or missing)', false],
    ['missing or title and size = 10', true],
    ['(title or missing) and missing', false],
    ['key = "k"', true],
    ['$.key = "inner"', true],
    ['done = "mine"', true],
    ['__proto__ exists or constructor exists or toString exists or $.__proto__.x exists', false],
    ['title.length exists', false],
    ['title="Home"and(size=10)', true],
    ['"Home" = title', true],
    ['title = "\\u0048ome" and title != "\\n\\t\\\\\\"\\/"', true],
  ])('%s is %s', (text, wanted) => {
    if (typeof wanted === 'string') expect(refusal(text).position).toBe(0);
    else expect(ask(text, PAGE)).toBe(wanted);
  });

  it('knows the record of a task', () => {
    const BROKEN: Json = { _done: 1, _priority: 11 };
    const task: Json = {
      done: 'mine',
      _tries: 3,
      _done: false,
      _aborted: true,
      _priority: -2,
      _error: { name: 'TypeError', message: 'timeout of 5 s', at: '2026-01-02T00:00:00.000Z', try: 3 },
    };
    for (const text of [
      'tries = 3',
      'priority = -2 and priority < 0',
      'not done',
      'aborted',
      'failed = true',
      'error.name = "TypeError" and error.message ~ "timeout" and error.at > "2026-01-01"',
      '$.done = "mine"',
      '_tries = 3',
      'not tries[0] exists',
    ]) {
      expect(ask(text, task, 'k', true), text).toBe(true);
    }
    expect(ask('done', { ...task, _done: true }, 'k', true)).toBe(true);
    expect(ask('failed', { ...task, _done: true }, 'k', true)).toBe(false);
    // What a hand edit left out or broke counts as not there, as for the tracker itself.
    expect(ask('tries = 0 and priority = 0 and not done and not failed and not error exists', BROKEN, 'k', true)).toBe(
      true,
    );
  });

  it('asks for keys of every kind', () => {
    expect(ask('key = 7', 0, 7)).toBe(true);
    expect(ask('key = "7"', 0, 7)).toBe(false);
    expect(ask('key[1] = "b" and key ~ "a" and $ = 0', 0, ['a', 'b'])).toBe(true);
    expect(ask('key glob "*"', 0, 7)).toBe(false);
  });

  it('takes __proto__ for a name like any other', () => {
    const value = JSON.parse('{"__proto__":{"a":1}}') as Json;
    expect(ask('__proto__.a = 1', value)).toBe(true);
    expect(ask('__proto__ exists', {})).toBe(false);
  });
});

describe('what cannot be read', () => {
  it.each([
    ['', 0],
    ['  ', 2],
    ['tries >> 3', 7],
    ['tries >', 7],
    ['tries 3', 6],
    ['tries-1 > 2', 5],
    ['"a"', 3],
    ['3 and a', 2],
    ['a = "b', 4],
    ['a = "\\x"', 5],
    ['a = "\\u12"', 7],
    ['(a', 2],
    ['a)', 1],
    ['a and', 5],
    ['and', 0],
    ['not', 3],
    ['a..b', 2],
    ['a[', 2],
    ['a[-1]', 2],
    ['a[1.5]', 2],
    ['a[b]', 2],
    ['a["b"', 5],
    ['a glob b', 7],
    ['a glob', 6],
    ['a = b = c', 6],
    ['a; b', 1],
    ['a && b', 2],
    ['a = 01', 5],
    ['true', 4],
    ['a AND b', 2],
    ['"x" exists', 4],
  ])('%j is refused at %i', (text, position) => {
    expect(refusal(text).position).toBe(position);
  });

  it('is refused where it is too deep or too long, and never overflows', () => {
    expect(parseWhere(`${'('.repeat(WHERE_DEPTH_MAX)}a${')'.repeat(WHERE_DEPTH_MAX)}`)).toEqual(parseWhere('a'));
    expect(refusal(`${'('.repeat(WHERE_DEPTH_MAX + 1)}a${')'.repeat(WHERE_DEPTH_MAX + 1)}`).message).toContain(
      'deeper',
    );
    expect(refusal('not '.repeat(WHERE_DEPTH_MAX + 1)).message).toContain('deeper');
    expect(refusal('('.repeat(WHERE_CHARS_MAX)).message).toContain('deeper');
    expect(refusal('a'.repeat(WHERE_CHARS_MAX + 1)).message).toContain('longer');
    // Side by side is not deep.
    expect(parseWhere(Array(900).fill('(not a)').join(' or ')).kind).toBe('or');
  });

  it('never fails in another way', () => {
    const words = fc.constantFrom(
      'a',
      'and',
      'or',
      'not',
      '(',
      ')',
      '=',
      '~',
      '"x"',
      '1',
      '.',
      '[',
      ']',
      '$',
      'glob',
      'exists',
      ' ',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(words).map((all) => all.join(' ')),
        ),
        (text) => {
          try {
            parseWhere(text);
          } catch (error) {
            expect(error).toBeInstanceOf(WhereError);
            expect((error as WhereError).position).toBeLessThanOrEqual(text.length);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('has its place marked', () => {
    expect(markPlace('a >> 3', 3)).toBe('  a >> 3\n     ^');
    expect(markPlace('a\n>> 3', 3)).toBe('  a >> 3\n     ^');
    const [line = '', mark = ''] = markPlace(`${'x'.repeat(200)}!${'y'.repeat(200)}`, 200).split('\n');
    expect(line[mark.indexOf('^')]).toBe('!');
    expect(line.length).toBeLessThan(100);
  });
});

describe('a pattern', () => {
  it.each([
    ['*', '', true],
    ['?', '', false],
    ['?', '😀', true],
    ['a*b*c', 'aXbYbZc', true],
    ['a*b*c', 'aXbYbZ', false],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['\\', '\\', true],
    ['.+', 'ab', false],
    ['a\nb*', 'a\nbc\nd', true],
  ])('%j and %j: %s', (pattern, text, wanted) => {
    expect(matchesGlob(pattern, text)).toBe(wanted);
  });

  it('takes no more time than pattern times text', () => {
    expect(matchesGlob(`${'*a'.repeat(500)}b`, 'a'.repeat(20_000))).toBe(false);
  }, 20_000);
});

// ---- A second hand: conditions made at random, written down and asked in other ways than the product does.

const names = fc.constantFrom('a', 'b', 'key', 'done', 'tries', 'error', 'name', '__proto__', 'and', 'odd name', '');
const steps = fc.array(fc.oneof(names, fc.nat({ max: 2 })), { maxLength: 3 });
const path: fc.Arbitrary<Path> = fc.oneof(
  steps.map((all) => ({ kind: 'path' as const, fromValue: true, steps: all })),
  fc
    .tuple(
      fc.constantFrom('a', 'b', 'key', 'done', 'aborted', 'failed', 'tries', 'priority', 'error', '__proto__'),
      steps,
    )
    .map(([first, rest]) => ({ kind: 'path' as const, fromValue: false, steps: [first, ...rest] })),
);
const scalars = fc.oneof(
  fc.constantFrom('', 'a', 'ab', 'b*', '"\\', '\n'),
  fc.string({ unit: 'binary', maxLength: 3 }),
  fc.integer({ min: -2, max: 3 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
  fc.boolean(),
  fc.constant(null),
);
const operand: fc.Arbitrary<Operand> = fc.oneof(
  { weight: 2, arbitrary: path },
  scalars.map((value) => ({ kind: 'literal' as const, value })),
);
const comparison = fc.constantFrom<Comparison>('=', '!=', '<', '<=', '>', '>=', '~');
const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '\\', '\n'), maxLength: 6 });
const where = fc.letrec<{ where: Where }>((tie) => ({
  where: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    path.map((each): Where => ({ kind: 'holds', path: each })),
    path.map((each): Where => ({ kind: 'exists', path: each })),
    fc
      .tuple(comparison, operand, operand)
      .map(([each, left, right]): Where => ({ kind: 'compare', comparison: each, left, right })),
    fc.tuple(operand, pattern).map(([left, each]): Where => ({ kind: 'glob', left, pattern: each })),
    tie('where').map((term): Where => ({ kind: 'not', term })),
    fc
      .tuple(fc.constantFrom('and' as const, 'or' as const), fc.array(tie('where'), { minLength: 2, maxLength: 3 }))
      .map(([kind, terms]): Where => ({ kind, terms })),
  ),
})).where;
const value = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    scalars,
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .array(
        fc.tuple(fc.oneof(names, fc.constantFrom('_done', '_tries', '_aborted', '_error', '_priority')), tie('value')),
        {
          maxLength: 5,
        },
      )
      .map((pairs) => Object.fromEntries(pairs) as Json),
  ),
})).value;

function printed(each: Where): string {
  switch (each.kind) {
    case 'and':
    case 'or':
      return each.terms.map((term) => `(${printed(term)})`).join(` ${each.kind} `);
    case 'not':
      return `not (${printed(each.term)})`;
    case 'exists':
      return `${printedOperand(each.path)} exists`;
    case 'holds':
      return printedOperand(each.path);
    case 'glob':
      return `${printedOperand(each.left)} glob ${JSON.stringify(each.pattern)}`;
    case 'compare':
      return `${printedOperand(each.left)}${each.comparison}${printedOperand(each.right)}`;
  }
}

function printedOperand(each: Operand): string {
  if (each.kind === 'literal') return JSON.stringify(each.value);
  const [first, ...rest] = each.steps;
  const step = (one: string | number): string => `[${JSON.stringify(one)}]`;
  return each.fromValue ? `$${each.steps.map(step).join('')}` : `${String(first)}${rest.map(step).join('')}`;
}

/** The same questions asked through texts and regular expressions; undefined stands for what is not there. */
function secondHand(each: Where, subject: Subject): boolean {
  const get = (one: Operand): Json | undefined => (one.kind === 'literal' ? one.value : at(one, subject));
  if ('terms' in each) {
    const count = each.terms.filter((term) => secondHand(term, subject)).length;
    return each.kind === 'and' ? count === each.terms.length : count > 0;
  }
  if (each.kind === 'not') return secondHand(each.term, subject) === false;
  if (each.kind === 'exists') return at(each.path, subject) !== undefined;
  if (each.kind === 'holds') return ![undefined, null, false].includes(at(each.path, subject) as undefined);
  if (each.kind === 'glob') {
    const text = get(each.left);
    const source = each.pattern.replace(/\\(\*|\?|a|b|\n|\\)|\\$|\*|\?/g, (all, escaped: string | undefined) => {
      if (escaped !== undefined || all === '\\')
        return `\\x${(escaped ?? all).charCodeAt(0).toString(16).padStart(2, '0')}`;
      return all === '*' ? '[^]*' : '[^]';
    });
    return typeof text === 'string' && new RegExp(`^${source}$`, 'u').test(text);
  }
  const [left, right] = [get(each.left), get(each.right)];
  const same = (x: unknown, y: unknown): boolean => x !== undefined && y !== undefined && sorted(x) === sorted(y);
  if (each.comparison === '=') return same(left, right);
  if (each.comparison === '!=') return !same(left, right);
  if (each.comparison === '~') {
    if (Array.isArray(left)) return left.filter((one) => same(one, right)).length > 0;
    return typeof left === 'string' && typeof right === 'string' && left.split(right).length > (right === '' ? -1 : 1);
  }
  if (typeof left !== typeof right || (typeof left !== 'number' && typeof left !== 'string')) return false;
  const [low, high] = each.comparison.startsWith('<') ? [left, right as string] : [right as string, left];
  return low < high || (each.comparison.endsWith('=') && low === high);
}

function sorted(json: unknown): string {
  return JSON.stringify(json, (_, one: unknown) =>
    typeof one === 'object' && one !== null && !Array.isArray(one) ? ['object', Object.entries(one).sort()] : one,
  );
}

function at({ fromValue, steps: all }: Path, { key, value: whole, isTask }: Subject): Json | undefined {
  const own = (one: unknown, name: string): Json | undefined =>
    new Map(typeof one === 'object' && one !== null && !Array.isArray(one) ? Object.entries(one) : []).get(
      name,
    ) as Json;
  let place: Json | undefined = whole;
  let rest = all;
  if (!fromValue) {
    const tries = own(whole, '_tries');
    const error = own(whole, '_error');
    const record: Record<string, Json | undefined> = {
      done: own(whole, '_done') === true,
      aborted: own(whole, '_aborted') === true,
      tries: typeof tries === 'number' && tries > 0 ? Math.floor(tries) : 0,
      priority: priorityOf(whole),
      failed: own(whole, '_done') !== true && typeof error === 'object' && error !== null,
      error,
    };
    const first = all[0] as string;
    if (first === 'key') [place, rest] = [key, all.slice(1)];
    else if (isTask && first in record && Object.hasOwn(record, first)) [place, rest] = [record[first], all.slice(1)];
  }
  for (const step of rest) {
    if (typeof step === 'string') place = own(place, step);
    else place = Array.isArray(place) ? (place as Json[])[step] : undefined;
  }
  return place;
}

describe('conditions made at random', () => {
  it('are the same when they are written down and read again', () => {
    fc.assert(
      fc.property(where, (each) => {
        expect(parseWhere(printed(each))).toEqual(each);
      }),
      { numRuns: 500 },
    );
  });

  it('hold where a second way of asking says so', () => {
    let held = 0;
    const count = 3000;
    fc.assert(
      fc.property(
        where,
        value,
        fc.oneof(
          scalars.filter((one) => typeof one === 'string'),
          fc.nat(),
          fc.constant(['a', 'b']),
        ),
        fc.boolean(),
        (each, whole, key, isTask) => {
          const subject: Subject = { key: key as Subject['key'], value: whole, isTask };
          const answer = holds(each, subject);
          if (answer) held++;
          expect(answer).toBe(secondHand(each, subject));
        },
      ),
      { numRuns: count },
    );
    // Else the conditions would be too dull to say anything.
    expect(held).toBeGreaterThan(count / 10);
    expect(held).toBeLessThan((count * 9) / 10);
  }, 30_000);
});
