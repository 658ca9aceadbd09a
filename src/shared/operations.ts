/**
 * What a client may ask of any shared pod: reads, changes, and what is about the pod as a whole.
 */
import { createHash } from 'node:crypto';
import { PodError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { copyKey, type Key } from '../core/key.ts';
import type { PersistentOrderedDict } from '../pod/pod.ts';
import type { ProgressTracker } from '../tracker/tracker.ts';
import type { ClaimDesk } from './claims.ts';
import type { Memory } from './memory.ts';
import type { CursorDesk } from './pages.ts';
import { listAt, type Patch, pathError, placeOf, readPath, type Step } from './path.ts';
import type { Group } from './requests.ts';

export type ServedPod = PersistentOrderedDict<Json, Key>;
export type ServedTracker = ProgressTracker<object, Key>;

/** What an operation works with. */
export interface Context {
  readonly pod: ServedPod;
  readonly tracker: ServedTracker | undefined;
  readonly memory: Memory;
  readonly desk: ClaimDesk | undefined;
  /** Who asks. */
  readonly client: string;
  readonly cursors: CursorDesk;
  /** @throws {PodError} `ERR_POD_UNSUPPORTED` where there is no such operation */
  readonly operationOf: (name: string) => Operation;
  /** Facts and touched entries are told to it. */
  readonly group: Group;
}

/** Says that there is no answer yet: the question is asked again when something has changed. */
export const PARKED: unique symbol = Symbol('parked');

/** A result whose JSON is known already. */
export class JsonText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/**
 * What may be asked. A `read` may be repeated; a `change` takes effect once, and runs in a batch with others; a `control` is about the pod as
 * a whole, runs by itself and may be repeated.
 */
export interface Operation {
  readonly kind: 'read' | 'change' | 'control';
  readonly args: readonly ArgumentKind[];
  /** May stand in a transaction. */
  readonly inTransaction?: boolean;
  readonly run: (context: Context, args: readonly never[]) => unknown;
}

/** What an argument may be. With `?` it may be null or missing. */
export type ArgumentKind =
  | 'key'
  | 'keys'
  | 'value'
  | 'path'
  | 'pairs'
  | 'values'
  | 'count'
  | 'number'
  | 'text'
  | 'object'
  | 'yes'
  | 'operations'
  | 'patch'
  | 'key?'
  | 'object?'
  | 'text?'
  | 'value?'
  | 'count?';

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isStep = (value: unknown): boolean => typeof value === 'string' || isCount(value);
const isPath = (value: unknown): boolean => Array.isArray(value) && value.every(isStep);
/** It throws where it is none, with a reason. */
const isKey = (value: unknown): boolean => copyKey(value) !== undefined;

const CHECKS: Readonly<Record<string, (value: unknown) => boolean>> = {
  key: isKey,
  keys: (value) => Array.isArray(value) && value.every(isKey),
  value: (value) => value !== undefined,
  path: isPath,
  pairs: (value) =>
    Array.isArray(value) && value.every((pair) => Array.isArray(pair) && pair.length === 2 && isKey(pair[0])),
  values: Array.isArray,
  count: isCount,
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  text: (value) => typeof value === 'string',
  object: isObject,
  yes: (value) => typeof value === 'boolean',
  operations: (value) =>
    Array.isArray(value) && value.every((each) => Array.isArray(each) && typeof each[0] === 'string'),
  patch: (value) =>
    Array.isArray(value) && value.every((each) => Array.isArray(each) && isPath(each[0]) && each.length <= 2),
};

/** @throws {PodError} `ERR_POD_UNSUPPORTED` where the arguments are not what the operation takes; `ERR_POD_KEY` */
export function checkArguments(name: string, { args: kinds }: Operation, args: readonly unknown[]): void {
  const fits =
    args.length <= kinds.length &&
    kinds.every((kind, index) => {
      const arg = args[index];
      if (kind.endsWith('?')) return arg == null || CHECKS[kind.slice(0, -1)]?.(arg) === true;
      return CHECKS[kind]?.(arg) === true;
    });
  if (!fits) throw new PodError('ERR_POD_UNSUPPORTED', `The arguments of ${name} are not (${kinds.join(', ')}).`);
}

export function read<A extends readonly unknown[]>(
  args: readonly ArgumentKind[],
  run: (context: Context, args: A) => unknown,
): Operation {
  return { kind: 'read', args, run: run as unknown as Operation['run'] };
}

export function change<A extends readonly unknown[]>(
  args: readonly ArgumentKind[],
  run: (context: Context, args: A) => unknown,
  inTransaction: boolean = true,
): Operation {
  return { kind: 'change', args, run: run as unknown as Operation['run'], inTransaction };
}

function control<A extends readonly unknown[]>(
  args: readonly ArgumentKind[],
  run: (context: Context, args: A) => unknown,
): Operation {
  return { kind: 'control', args, run: run as unknown as Operation['run'] };
}

/** What every pod can do. */
export const POD_OPERATIONS: readonly (readonly [string, Operation])[] = [
  ['get', read(['key'], ({ pod }, [key]: [Key]) => pod.snapshot(key))],
  ['has', read(['key'], ({ pod }, [key]: [Key]) => pod.has(key))],
  ['size', read([], ({ pod }) => pod.size)],
  ['recovery', read([], ({ pod }) => pod.recovery)],
  ['dirty', read([], ({ pod }) => [...pod.dirty()])],
  ['getVersion', read(['key'], ({ pod }, [key]: [Key]) => withVersion(pod.snapshot(key)))],
  ['getIn', read(['key', 'path'], ({ pod }, [key, path]: [Key, Step[]]) => readPath(pod.snapshot(key), path))],
  [
    'page',
    read(
      ['count', 'text', 'yes', 'object?', 'keys', 'count'],
      ({ pod, tracker, cursors }, [cursor, source, withValues, options, after, seen]: PageArguments) =>
        new JsonText(cursors.page({ pod, tracker }, { cursor, source, withValues, options, after, seen })),
    ),
  ],
  ['closePage', read(['count'], ({ cursors }, [cursor]: [number]) => cursors.close(cursor))],

  [
    'set',
    change(['key', 'value'], ({ pod, group }, [key, value]: [Key, Json]) =>
      touchOne(group, key, () => void pod.set(key, value)),
    ),
  ],
  ['delete', change(['key'], ({ pod, group }, [key]: [Key]) => touchOne(group, key, () => pod.delete(key)))],
  ['clear', change([], clear)],
  [
    'getOrInsert',
    change(['key', 'value'], ({ pod, group }, [key, value]: [Key, Json]) => {
      if (!pod.has(key)) touchOne(group, key, () => pod.set(key, value));
      return pod.snapshot(key);
    }),
  ],
  [
    'pop',
    change(['key'], ({ pod, group }, [key]: [Key]) => (pod.has(key) ? touchOne(group, key, () => [pod.pop(key)]) : [])),
  ],
  ['update', change(['pairs'], update)],
  ['markDirty', change(['key'], ({ pod }, [key]: [Key]) => pod.markDirty(key))],
  ['patch', change(['key', 'text', 'patch'], patch)],
  ['setIn', change(['key', 'path', 'value'], setIn)],
  ['deleteIn', change(['key', 'path'], deleteIn)],
  [
    'push',
    change(['key', 'path', 'values'], (context, [key, path, values]: [Key, Step[], Json[]]) =>
      inList(context, key, path, (list) => list.push(...values)),
    ),
  ],
  [
    'popIn',
    change(['key', 'path'], (context, [key, path]: [Key, Step[]]) =>
      inList(context, key, path, (list) => plain(list.pop())),
    ),
  ],
  [
    'splice',
    change(
      ['key', 'path', 'number', 'count?', 'values'],
      (context, args: [Key, Step[], number, number | null, Json[]]) => {
        const [key, path, start, deleteCount, values] = args;
        return inList(context, key, path, (list) =>
          plain(deleteCount === null ? list.splice(start) : list.splice(start, deleteCount, ...values)),
        );
      },
    ),
  ],
  ['increment', change(['key', 'path', 'number'], increment)],
  ['transaction', change(['operations'], transaction, false)],
  ['lock', change([], lock, false)],
  ['unlock', change([], unlock, false)],

  ['sync', control([], ({ pod }) => pod.flush())],
  ['compact', control([], ({ pod }) => pod.compact())],
  [
    'copyTo',
    control(['text', 'object?'], ({ pod }, [path, options]: [string, object | null]) =>
      pod.copyTo(path, options ?? {}).close(),
    ),
  ],
];

type PageArguments = [
  cursor: number,
  source: string,
  withValues: boolean,
  options: { allowAborted?: boolean } | null,
  after: Key[],
  seen: number,
];

function touchOne<R>(group: Group, key: Key, work: () => R): R {
  group.touch(key);
  return work();
}

function clear({ pod, group }: Context): void {
  for (const key of pod.keys()) group.touch(key);
  pod.clear();
}

function update({ pod, group }: Context, [pairs]: [[Key, Json][]]): void {
  for (const [key] of pairs) group.touch(key);
  pod.update(pairs);
}

/** A value and what tells it from any other; for `patch`. */
function withVersion(value: unknown): readonly [version: string, value?: unknown] {
  return value === undefined ? [versionOf(value)] : [versionOf(value), value];
}

/** The content is its own version, so that it means the same to every owner. */
function versionOf(value: unknown): string {
  return value === undefined ? '' : createHash('sha1').update(JSON.stringify(value)).digest('base64');
}

/**
 * Changes a value if it is still the one that the patch was made for. Answers whether it was; where a value was set as a whole, with what is
 * stored, because a schema, or the record of a task, may have made something else of it.
 */
function patch({ pod, group }: Context, [key, version, places]: [Key, string, Patch]): boolean | [Json | undefined] {
  if (versionOf(pod.snapshot(key)) !== version) return false;
  group.touch(key);
  pod.transaction(() => {
    for (const [path, ...value] of places) {
      if (path.length === 0) {
        if (value.length === 0) pod.delete(key);
        else pod.set(key, value[0] as Json);
        continue;
      }
      const { holder, step } = placeOf(pod.get(key), path);
      if (value.length === 0) delete holder[step as never];
      else holder[step as never] = value[0] as never;
    }
  });
  return places.some(([path]) => path.length === 0) ? [pod.snapshot(key)] : true;
}

function setIn({ pod, group }: Context, [key, path, value]: [Key, Step[], Json]): void {
  group.touch(key);
  if (path.length === 0) {
    pod.set(key, value);
    return;
  }
  const { holder, step } = placeOf(requireValue(pod, key), path);
  holder[step as never] = value as never;
}

function deleteIn({ pod, group }: Context, [key, path]: [Key, Step[]]): boolean {
  group.touch(key);
  if (path.length === 0) return pod.delete(key);
  const value = pod.get(key);
  if (readPath(value, path) === undefined) return false;
  const { holder, step } = placeOf(value, path);
  if (Array.isArray(holder)) holder.splice(step as number, 1);
  else delete holder[step];
  return true;
}

function increment({ pod, group }: Context, [key, path, by]: [Key, Step[], number]): number {
  group.touch(key);
  const value = pod.get(key);
  const before = readPath(value, path) ?? 0;
  if (typeof before !== 'number') throw pathError(path, 'it is no number');
  const after = before + by;
  if (path.length === 0) pod.set(key, after);
  else {
    const { holder, step } = placeOf(requireValue(pod, key), path);
    holder[step as never] = after as never;
  }
  return after;
}

function inList<R>({ pod, group }: Context, key: Key, path: readonly Step[], work: (list: Json[]) => R): R {
  group.touch(key);
  return work(listAt(requireValue(pod, key), path) as Json[]);
}

function requireValue(pod: ServedPod, key: Key): Json {
  const value = pod.get(key);
  if (value !== undefined) return value;
  throw new PodError('ERR_POD_UNKNOWN_KEY', `There is no entry ${JSON.stringify(key)} in ${pod.path}.`, { key });
}

/** What a list gave away, as plain data before anything else changes it; `undefined` is no JSON. */
function plain(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

/** Several operations as one: all of them, or none. */
function transaction(context: Context, [operations]: [unknown[][]]): unknown[] {
  const facts = context.group.facts.length;
  try {
    return context.pod.transaction(() =>
      operations.map(([name, ...args]) => {
        const operation = context.operationOf(name as string);
        if (operation.inTransaction !== true) {
          throw new PodError('ERR_POD_UNSUPPORTED', `${name as string} cannot stand in a transaction of a shared pod.`);
        }
        checkArguments(name as string, operation, args);
        return operation.run(context, args as never[]) ?? null;
      }),
    );
  } catch (error) {
    context.group.undoFrom(facts);
    throw error;
  }
}

function lock({ memory, group, client }: Context): unknown {
  if (memory.lockedBy !== undefined) return memory.lockedBy === client ? undefined : PARKED;
  group.note(['lock', client]);
  return undefined;
}

function unlock({ memory, group, client }: Context): void {
  if (memory.lockedBy !== client) {
    throw new PodError(
      'ERR_POD_STALE',
      'The lock is not held by this handle any more: its connection ended meanwhile.',
    );
  }
  group.note(['unlock']);
}
