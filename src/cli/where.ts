/**
 * The conditions of `--where`: text to a tree, and whether the tree holds for an entry. Pure; nothing is ever run as code.
 *
 * The language is described in docs/transfer.md. Only own properties are looked at, so `__proto__` is a name like any other.
 */
import { equalJson, type Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import { ABORTED, DONE, exactTries, FAILED, priorityIn, stateOf } from '../tracker/task.ts';

export type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>=' | '~';

/** A place in an entry. */
export interface Path {
  readonly kind: 'path';
  /** It began with `$`: what follows is in the value, whatever its name. */
  readonly fromValue: boolean;
  /** Names of properties and numbers of elements. */
  readonly steps: readonly (string | number)[];
}

export type Operand = Path | { readonly kind: 'literal'; readonly value: string | number | boolean | null };

export type Where =
  | { readonly kind: 'or' | 'and'; readonly terms: readonly Where[] }
  | { readonly kind: 'not'; readonly term: Where }
  | { readonly kind: 'compare'; readonly comparison: Comparison; readonly left: Operand; readonly right: Operand }
  | { readonly kind: 'glob'; readonly left: Operand; readonly pattern: string }
  | { readonly kind: 'exists'; readonly path: Path }
  | { readonly kind: 'holds'; readonly path: Path };

/** What a condition is asked about. */
export interface Subject {
  readonly key: Key;
  readonly value: Json;
  /** The value is that of a tracker, so that `done`, `tries` and the like are its record. */
  readonly isTask: boolean;
}

/** A condition that cannot be read, and where: the position is that of the first character that does not fit. */
export class WhereError extends Error {
  readonly position: number;

  constructor(message: string, position: number) {
    super(message);
    this.name = 'WhereError';
    this.position = position;
  }
}

export const WHERE_CHARS_MAX = 10_000;
/** How deep parentheses and `not` may be nested. */
export const WHERE_DEPTH_MAX = 100;

// ---- Reading.

type Token =
  | { readonly kind: 'string'; readonly value: string; readonly start: number; readonly end: number }
  | { readonly kind: 'number'; readonly value: number; readonly start: number; readonly end: number }
  | { readonly kind: 'name' | 'sign'; readonly value: string; readonly start: number; readonly end: number }
  | { readonly kind: 'end'; readonly value: ''; readonly start: number; readonly end: number };

const NAME = /[\p{L}_][\p{L}\p{M}\p{N}_]*/uy;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SIGN = /!=|<=|>=|[=<>~()[\].$]/y;
const SPACE = /\s*/y;
const COMPARISONS: ReadonlySet<string> = new Set(['=', '!=', '<', '<=', '>', '>=', '~']);
const KEYWORDS: ReadonlySet<string> = new Set(['and', 'or', 'not', 'true', 'false', 'null', 'exists', 'glob']);
const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
]);
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f' };

/**
 * Reads a condition.
 *
 * @throws {WhereError}
 */
export function parseWhere(text: string): Where {
  if (text.length > WHERE_CHARS_MAX) {
    throw new WhereError(`is longer than ${WHERE_CHARS_MAX} characters`, WHERE_CHARS_MAX);
  }
  const parser = new Parser(tokensOf(text));
  return parser.whole();
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const match = (pattern: RegExp, start: number): string | undefined => {
    pattern.lastIndex = start;
    return pattern.exec(text)?.[0];
  };
  for (let at = 0; ; ) {
    const start = at + (match(SPACE, at)?.length ?? 0);
    if (start >= text.length) {
      tokens.push({ kind: 'end', value: '', start: text.length, end: text.length });
      return tokens;
    }
    const first = text[start] as string;
    if (first === '"' || first === "'") {
      const { value, end } = stringAt(text, start);
      tokens.push({ kind: 'string', value, start, end });
      at = end;
      continue;
    }
    const name = match(NAME, start);
    const number = name === undefined ? match(NUMBER, start) : undefined;
    const sign = name === undefined && number === undefined ? match(SIGN, start) : undefined;
    const found = name ?? number ?? sign;
    if (found === undefined) throw new WhereError('has a character that means nothing here', start);
    at = start + found.length;
    if (number !== undefined) tokens.push({ kind: 'number', value: Number(number), start, end: at });
    else tokens.push({ kind: name === undefined ? 'sign' : 'name', value: found, start, end: at });
  }
}

function stringAt(text: string, start: number): { value: string; end: number } {
  const quote = text[start];
  let value = '';
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at] as string;
    if (char === quote) return { value, end: at + 1 };
    if (char !== '\\') {
      value += char;
      continue;
    }
    const escaped = text[++at];
    if (escaped === 'u') {
      const digits = /^[\da-fA-F]{4}/.exec(text.slice(at + 1, at + 5))?.[0];
      if (digits === undefined) throw new WhereError('needs four hexadecimal digits after \\u', at + 1);
      value += String.fromCharCode(Number.parseInt(digits, 16));
      at += 4;
    } else if (escaped !== undefined && Object.hasOwn(ESCAPES, escaped)) value += ESCAPES[escaped];
    else if (escaped !== undefined && '\\/"\''.includes(escaped)) value += escaped;
    else throw new WhereError('has a backslash before a character that needs none', at - 1);
  }
  throw new WhereError('has a text whose closing quote is missing', start);
}

/** `or` binds least, then `and`, then `not`. */
class Parser {
  readonly #tokens: readonly Token[];
  #at: number = 0;
  #depth: number = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): Where {
    const where = this.#or();
    if (this.#token.kind !== 'end') throw this.#unexpected('"and", "or" or the end');
    return where;
  }

  get #token(): Token {
    return this.#tokens[this.#at] as Token;
  }

  #or(): Where {
    return this.#chain('or', () => this.#chain('and', () => this.#not()));
  }

  #chain(kind: 'or' | 'and', next: () => Where): Where {
    const terms = [next()];
    while (this.#take('name', kind)) terms.push(next());
    return terms.length === 1 ? (terms[0] as Where) : { kind, terms };
  }

  #not(): Where {
    if (this.#take('name', 'not')) return this.#deeper(() => ({ kind: 'not', term: this.#not() }));
    if (!this.#take('sign', '(')) return this.#condition();
    const inner = this.#deeper(() => this.#or());
    if (!this.#take('sign', ')')) throw this.#unexpected('")"');
    return inner;
  }

  #deeper(read: () => Where): Where {
    if (++this.#depth > WHERE_DEPTH_MAX) {
      throw new WhereError(`is nested deeper than ${WHERE_DEPTH_MAX} levels`, this.#token.start);
    }
    const where = read();
    this.#depth--;
    return where;
  }

  #condition(): Where {
    const left = this.#operand();
    const { kind, value } = this.#token;
    if (kind === 'sign' && COMPARISONS.has(value)) {
      this.#at++;
      return { kind: 'compare', comparison: value as Comparison, left, right: this.#operand() };
    }
    if (this.#take('name', 'glob')) {
      const pattern = this.#token;
      if (pattern.kind !== 'string') throw this.#unexpected('a pattern in quotes');
      this.#at++;
      return { kind: 'glob', left, pattern: pattern.value };
    }
    if (left.kind === 'path') return { kind: this.#take('name', 'exists') ? 'exists' : 'holds', path: left };
    // A lone literal would hold always or never, and is most likely half a comparison.
    throw this.#unexpected('a comparison, such as = or ~,');
  }

  #operand(): Operand {
    const token = this.#token;
    if (token.kind === 'string' || token.kind === 'number') {
      this.#at++;
      return { kind: 'literal', value: token.value };
    }
    if (token.kind === 'name') {
      const constant = CONSTANTS.get(token.value);
      if (constant !== undefined) {
        this.#at++;
        return { kind: 'literal', value: constant };
      }
      if (KEYWORDS.has(token.value)) throw this.#unexpected('a name, a text or a number');
      this.#at++;
      return { kind: 'path', fromValue: false, steps: [token.value, ...this.#steps()] };
    }
    if (this.#take('sign', '$')) return { kind: 'path', fromValue: true, steps: this.#steps() };
    throw this.#unexpected('a name, a text or a number');
  }

  #steps(): (string | number)[] {
    const steps: (string | number)[] = [];
    for (;;) {
      if (this.#take('sign', '.')) {
        const { kind, value } = this.#token;
        if (kind !== 'name' && kind !== 'string') throw this.#unexpected('the name of a property');
        steps.push(value);
        this.#at++;
      } else if (this.#take('sign', '[')) {
        const { kind, value } = this.#token;
        const isIndex = kind === 'number' && Number.isSafeInteger(value) && value >= 0;
        if (kind !== 'string' && !isIndex) throw this.#unexpected('the number of an element, or a name in quotes');
        steps.push(value as string | number);
        this.#at++;
        if (!this.#take('sign', ']')) throw this.#unexpected('"]"');
      } else return steps;
    }
  }

  #take(kind: Token['kind'], value: string): boolean {
    const token = this.#token;
    if (token.kind !== kind || token.value !== value) return false;
    this.#at++;
    return true;
  }

  #unexpected(wanted: string): WhereError {
    const found = this.#token.kind === 'end' ? 'ends' : 'goes on otherwise';
    return new WhereError(`${found} where ${wanted} should be`, this.#token.start);
  }
}

/** The line of a condition that an error is about, with a mark under the place; long ones are cut to what is around it. */
export function markPlace(text: string, position: number): string {
  const before = text.slice(0, position);
  const start = before.length > 50 ? position - 47 : 0;
  const shown = `${start > 0 ? '...' : ''}${text.slice(start, position + 30)}${text.length > position + 30 ? '...' : ''}`;
  const column = position - start + (start > 0 ? 3 : 0);
  return `  ${shown.replace(/\p{C}/gu, ' ')}\n  ${' '.repeat(column)}^`;
}

// ---- Asking.

/** Stands for what is not there; it equals nothing, not even itself. */
const MISSING = Symbol('missing');

type Found = unknown;

/** Whether a condition holds for an entry. */
export function holds(where: Where, subject: Subject): boolean {
  switch (where.kind) {
    case 'or':
      return where.terms.some((term) => holds(term, subject));
    case 'and':
      return where.terms.every((term) => holds(term, subject));
    case 'not':
      return !holds(where.term, subject);
    case 'exists':
      return find(where.path, subject) !== MISSING;
    case 'holds': {
      const found = find(where.path, subject);
      return found !== MISSING && found !== false && found !== null;
    }
    case 'glob': {
      const found = operandValue(where.left, subject);
      return typeof found === 'string' && matchesGlob(where.pattern, found);
    }
    case 'compare':
      return compare(where.comparison, operandValue(where.left, subject), operandValue(where.right, subject));
  }
}

function compare(comparison: Comparison, left: Found, right: Found): boolean {
  switch (comparison) {
    case '=':
      return isEqual(left, right);
    case '!=':
      return !isEqual(left, right);
    case '~':
      if (Array.isArray(left)) return left.some((element) => isEqual(element, right));
      return typeof left === 'string' && typeof right === 'string' && left.includes(right);
  }
  const order = orderOf(left, right);
  if (order === undefined) return false;
  if (comparison === '<') return order < 0;
  if (comparison === '<=') return order <= 0;
  return comparison === '>' ? order > 0 : order >= 0;
}

function isEqual(left: Found, right: Found): boolean {
  return left !== MISSING && right !== MISSING && equalJson(left, right);
}

/** Numbers and texts have an order among themselves, everything else has none. */
function orderOf(left: Found, right: Found): number | undefined {
  if (typeof left === 'number' && typeof right === 'number') return left - right;
  if (typeof left !== 'string' || typeof right !== 'string') return undefined;
  return left < right ? -1 : left > right ? 1 : 0;
}

function operandValue(operand: Operand, subject: Subject): Found {
  return operand.kind === 'literal' ? operand.value : find(operand, subject);
}

function find({ fromValue, steps }: Path, { key, value, isTask }: Subject): Found {
  const [first, ...rest] = steps;
  if (fromValue || typeof first !== 'string') return follow(value, steps);
  if (first === 'key') return follow(key, rest);
  if (isTask) {
    const state = stateOf(value);
    switch (first) {
      case 'done':
        return follow((state & DONE) !== 0, rest);
      case 'aborted':
        return follow((state & ABORTED) !== 0, rest);
      case 'failed':
        return follow((state & FAILED) !== 0, rest);
      case 'tries':
        return follow(
          exactTries(state, () => value),
          rest,
        );
      case 'priority':
        return follow(priorityIn(state), rest);
      case 'error':
        return follow(value, ['_error', ...rest]);
    }
  }
  return follow(value, steps);
}

function follow(from: unknown, steps: readonly (string | number)[]): Found {
  let place = from;
  for (const step of steps) {
    if (typeof place !== 'object' || place === null) return MISSING;
    // A number is the place of an element, a name that of a property: an array has no `length` here, and an object no `[0]`.
    if (Array.isArray(place) !== (typeof step === 'number') || !Object.hasOwn(place, step)) return MISSING;
    place = (place as Record<string | number, unknown>)[step];
  }
  return place;
}

/**
 * Whether a whole text fits a pattern: `*` stands for any characters, `?` for one, a backslash takes the meaning from what follows.
 * Goes back to the last `*` only, so its time is at most the product of the two lengths.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const parts = globParts(pattern);
  const chars = Array.from(text);
  let part = 0;
  let star = -1;
  let starAt = 0;
  for (let at = 0; at < chars.length; ) {
    const wanted = parts[part];
    if (wanted === ANY_NUMBER) {
      star = part++;
      starAt = at;
    } else if (wanted !== undefined && (wanted === ANY_ONE || wanted === chars[at])) {
      part++;
      at++;
    } else if (star >= 0) {
      part = star + 1;
      at = ++starAt;
    } else return false;
  }
  while (parts[part] === ANY_NUMBER) part++;
  return part === parts.length;
}

const ANY_NUMBER = Symbol('*');
const ANY_ONE = Symbol('?');

function globParts(pattern: string): (string | symbol)[] {
  const parts: (string | symbol)[] = [];
  let isEscaped = false;
  for (const char of pattern) {
    if (isEscaped) parts.push(char);
    else if (char === '*') parts.push(ANY_NUMBER);
    else if (char === '?') parts.push(ANY_ONE);
    else if (char !== '\\') parts.push(char);
    isEscaped = !isEscaped && char === '\\';
  }
  if (isEscaped) parts.push('\\');
  return parts;
}
