// Keys, values and edits for the model test, chosen to be awkward; and an edit applied to a plain value or to a view of one.
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import fc from '../fast-check.ts';

/** Few enough to meet each other again, and every kind that two entries could be confused by. */
const awkwardKeys: readonly Key[] = [
  'a',
  'b',
  'c',
  '',
  '0',
  '1',
  '__proto__',
  'constructor',
  'toString',
  0,
  1,
  -1,
  Number.MAX_SAFE_INTEGER,
  [],
  ['1'],
  [1],
  ['a', ['b', 2]],
  '["1"]',
  '\0',
  '\0a',
  '\0sa',
  '\0t["1"]',
  'tab\tquote"back\\slash\nline',
  'é漢😀\u2028',
  '\ud800 alone',
];

const awkwardNames: readonly string[] = [
  'a',
  'b',
  '',
  '0',
  '10',
  '2',
  'length',
  '__proto__',
  'constructor',
  'toJSON',
  'é\t"\\\n',
];

export const keyArb: fc.Arbitrary<Key> = fc.constantFrom(...awkwardKeys);

const nameArb = fc.constantFrom(...awkwardNames);

const primitiveArb: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    null,
    true,
    false,
    0,
    -0,
    1,
    1e21,
    5e-324,
    -1.5,
    12345678901,
    '',
    '}',
    '\t\n\\"\0\u2028',
    '\ud800',
    '漢😀',
  ),
  fc.integer(),
  fc.string({ maxLength: 5 }),
);

export const valueArb: fc.Arbitrary<Json> = fc.letrec<{ value: Json; array: Json; object: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    primitiveArb,
    { arbitrary: tie('array'), weight: 2 },
    { arbitrary: tie('object'), weight: 3 },
  ),
  array: fc.array(tie('value'), { maxLength: 4 }),
  object: fc
    .array(fc.tuple(nameArb, tie('value')), { maxLength: 4 })
    .map((members) => Object.fromEntries(members) as Json),
})).value;

/** A place in a value: at each step, which of the objects and arrays below. */
export type Place = readonly number[];

const placeArb = fc.array(fc.nat(5), { maxLength: 3 });

/** One change somewhere below the root of a value. */
export type Edit = { readonly place: Place } & (
  | { readonly kind: 'put'; readonly name: string; readonly value: Json | undefined }
  | { readonly kind: 'define'; readonly name: string; readonly value: Json }
  | { readonly kind: 'assign'; readonly members: Readonly<Record<string, Json>> }
  | { readonly kind: 'remove'; readonly which: number }
  | { readonly kind: 'copy'; readonly from: Place; readonly name: string }
  | { readonly kind: 'swap'; readonly first: number; readonly second: number }
  | { readonly kind: 'push' | 'unshift'; readonly values: readonly Json[] }
  | { readonly kind: 'pop' | 'shift' | 'reverse' | 'sort' | 'sortBy' }
  | { readonly kind: 'splice'; readonly start: number; readonly count: number; readonly values: readonly Json[] }
  | { readonly kind: 'fill'; readonly value: Json; readonly start: number; readonly end: number }
  | { readonly kind: 'copyWithin'; readonly target: number; readonly start: number; readonly end: number }
  | { readonly kind: 'length'; readonly length: number }
);

const index = fc.integer({ min: -3, max: 5 });
const values = fc.array(valueArb, { maxLength: 3 });

export const editArb: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      place: placeArb,
      kind: fc.constant('put' as const),
      name: nameArb,
      value: fc.option(valueArb, { nil: undefined, freq: 8 }),
    }),
  },
  fc.record({ place: placeArb, kind: fc.constant('define' as const), name: nameArb, value: valueArb }),
  fc.record({
    place: placeArb,
    kind: fc.constant('assign' as const),
    members: fc.dictionary(nameArb, valueArb, { maxKeys: 3 }),
  }),
  fc.record({ place: placeArb, kind: fc.constant('remove' as const), which: fc.nat(5) }),
  fc.record({ place: placeArb, kind: fc.constant('copy' as const), from: placeArb, name: nameArb }),
  fc.record({ place: placeArb, kind: fc.constant('swap' as const), first: fc.nat(5), second: fc.nat(5) }),
  fc.record({ place: placeArb, kind: fc.constantFrom('push' as const, 'unshift' as const), values }),
  fc.record({
    place: placeArb,
    kind: fc.constantFrom('pop' as const, 'shift' as const, 'reverse' as const, 'sort' as const, 'sortBy' as const),
  }),
  fc.record({ place: placeArb, kind: fc.constant('splice' as const), start: index, count: index, values }),
  fc.record({ place: placeArb, kind: fc.constant('fill' as const), value: valueArb, start: index, end: index }),
  fc.record({ place: placeArb, kind: fc.constant('copyWithin' as const), target: index, start: index, end: index }),
  fc.record({ place: placeArb, kind: fc.constant('length' as const), length: fc.nat(5) }),
);

/** What JSON text gives back: the plain value that a pod has to hold. */
export function plainCopy(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}

type Members = Record<string, unknown>;

function isContainer(value: unknown): value is Members | unknown[] {
  return typeof value === 'object' && value !== null;
}

function at(root: unknown, place: Place): Members | unknown[] {
  let here = root as Members | unknown[];
  for (const step of place) {
    const below = Object.values(here).filter(isContainer);
    if (below.length === 0) break;
    here = below[step % below.length] as Members | unknown[];
  }
  return here;
}

/**
 * Applies an edit. Plain values and views take the same way through it, but for two things: a plain value has to be told to copy what
 * is put into it, and that `__proto__` is a name like any other.
 *
 * @returns what the language's own operation returned, as JSON text, so that the two can be compared
 */
export function applyEdit(root: Json, edit: Edit, plain: boolean): string | undefined {
  const here = at(root, edit.place);
  const given = (value: unknown): unknown => (plain ? plainCopy(value) : value);
  if (Array.isArray(here)) return applyToArray(root, here, edit, given);
  const put = (name: string, value: unknown): void => {
    if (plain) Object.defineProperty(here, name, { value, writable: true, enumerable: true, configurable: true });
    else here[name] = value;
  };
  switch (edit.kind) {
    case 'put':
      if (edit.value === undefined && plain) delete here[edit.name];
      else if (edit.value === undefined) here[edit.name] = undefined;
      else put(edit.name, given(edit.value));
      return undefined;
    case 'define':
      Object.defineProperty(here, edit.name, {
        value: given(edit.value),
        writable: true,
        enumerable: true,
        configurable: true,
      });
      return undefined;
    case 'assign':
      if (plain) for (const [name, value] of Object.entries(edit.members)) put(name, given(value));
      else Object.assign(here, edit.members);
      return undefined;
    case 'remove': {
      const names = Object.keys(here);
      if (names.length > 0) delete here[names[edit.which % names.length] as string];
      return undefined;
    }
    case 'copy':
      put(edit.name, given(at(root, edit.from)));
      return undefined;
    case 'swap': {
      const names = Object.keys(here);
      if (names.length < 2) return undefined;
      const first = names[edit.first % names.length] as string;
      const second = names[edit.second % names.length] as string;
      const [a, b] = [here[first], here[second]];
      put(first, given(b));
      put(second, given(a));
      return undefined;
    }
    default:
      return undefined;
  }
}

function applyToArray(root: Json, here: unknown[], edit: Edit, given: (value: unknown) => unknown): string | undefined {
  const text = (result: unknown): string | undefined => JSON.stringify(result);
  switch (edit.kind) {
    case 'put':
    case 'define':
      if (edit.value === undefined) return undefined;
      here[edit.name.length % (here.length + 1)] = given(edit.value);
      return undefined;
    case 'assign':
      Object.values(edit.members).forEach((value, offset) => {
        if (offset <= here.length) here[offset] = given(value);
      });
      return undefined;
    case 'remove':
      return here.length === 0 ? undefined : text(here.splice(edit.which % here.length, 1));
    case 'copy':
      return text(here.push(given(at(root, edit.from))));
    case 'swap': {
      if (here.length < 2) return undefined;
      const first = edit.first % here.length;
      const second = edit.second % here.length;
      const [a, b] = [here[first], here[second]];
      here[first] = given(b);
      here[second] = given(a);
      return undefined;
    }
    case 'push':
      return text(here.push(...edit.values.map(given)));
    case 'unshift':
      return text(here.unshift(...edit.values.map(given)));
    case 'pop':
      return text(here.pop());
    case 'shift':
      return text(here.shift());
    case 'reverse':
      return text(here.reverse());
    case 'sort':
      return text(here.sort());
    case 'sortBy':
      return text(here.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)));
    case 'splice':
      return text(here.splice(edit.start, edit.count, ...edit.values.map(given)));
    case 'fill':
      return text(here.fill(given(edit.value), edit.start, edit.end));
    case 'copyWithin':
      return text(here.copyWithin(edit.target, edit.start, edit.end));
    case 'length':
      here.length = Math.min(edit.length, here.length);
      return undefined;
  }
}
