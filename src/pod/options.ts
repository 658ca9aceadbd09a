/**
 * The options a pod is opened with: their types, their defaults, their checks.
 */
import * as z from 'zod';
import { PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';

/** What survives what; see `docs/durability.md`. */
export type Durability = 'exit' | 'process' | 'power';

/** The shape of the Standard Schema, which zod, valibot and arktype have; see https://standardschema.dev. */
export interface StandardSchema<Output> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

/** What a Standard Schema answers. */
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/**
 * Pairs of keys and values, or an object whose own properties are pairs. An object has texts for keys, so it is none for a pod whose keys are
 * all numbers or lists.
 */
export type Entries<V, K extends Key> =
  | Iterable<readonly [K, V]>
  | (Readonly<Record<string, V>> & ([Extract<K, string>] extends [never] ? never : unknown));

/** How a pod is opened. Every option may be left out. */
export interface PodOptions<V, K extends Key> {
  /**
   * `'w'` (default) reads and writes, and locks the folder; `'r'` only reads, beside a writer if need be, and changes nothing. A
   * reader of a large pod keeps its shards open until `close()`.
   */
  mode?: 'r' | 'w' | undefined;
  /** Put in with `update()` after loading, so it overrides what is stored. */
  init?: Entries<V, K> | undefined;
  /** Gzip the shards. Default: as on disk, else `false`. Another value than on disk rewrites the folder. */
  gzipped?: boolean | undefined;
  /** Entries in one shard file. Default: as on disk, else 1000. Another value than on disk rewrites the folder. */
  fileSize?: number | undefined;
  /** A sync point is made when this many keys are dirty. Default 1000. */
  syncAt?: number | undefined;
  /** A sync point is made this many milliseconds after a change; 0 switches the timer off. Default 1000. */
  syncEvery?: number | undefined;
  /**
   * How much is kept in memory of what the disk has too, in bytes: texts of files, and besides about as much of parsed values. Default 256 MiB. What
   * has not been synced is in memory whatever it takes.
   */
  cacheSize?: number | undefined;
  /** Default `'process'`: what was changed before the current turn of the event loop survives `kill -9`. */
  durability?: Durability | undefined;
  /**
   * Checks values when they are set and when they are first read; must answer synchronously. What it gives back is kept. As it sees its own
   * results again after a reopen, a transform must leave those as they are: trimming and defaults do, adding one does not.
   */
  schema?: StandardSchema<V> | undefined;
  /** Memory of its own beside the handle others share; read-only unless no other handle is open. */
  isolated?: boolean | undefined;
}

/** What is kept in memory of what the disk has, in bytes. */
export const DEFAULT_CACHE_SIZE: number = 256 * 1024 * 1024;
/** Entries in one shard, unless something else is said or on disk. */
export const DEFAULT_FILE_SIZE = 1000;
/** Dirty keys that make a sync point. */
export const DEFAULT_SYNC_AT = 1000;
/** Milliseconds from a change to a sync point. */
export const DEFAULT_SYNC_EVERY = 1000;

const optionsSchema = z.strictObject({
  mode: z.enum(['r', 'w'], "must be 'r' or 'w'").optional(),
  init: z
    .custom<object>((value) => typeof value === 'object' && value !== null, 'must be pairs or an object')
    .optional(),
  gzipped: z.boolean('must be true or false').optional(),
  fileSize: wholeNumber(1, 1_000_000_000).optional(),
  cacheSize: wholeNumber(0, Number.MAX_SAFE_INTEGER).optional(),
  syncAt: wholeNumber(1, Number.MAX_SAFE_INTEGER).optional(),
  syncEvery: wholeNumber(0, 2_147_483_647).optional(),
  durability: z.enum(['exit', 'process', 'power'], "must be 'exit', 'process' or 'power'").optional(),
  schema: z
    .custom<object>(
      (value) => (typeof value === 'object' || typeof value === 'function') && value !== null && '~standard' in value,
      'must be a Standard Schema (zod, valibot, arktype)',
    )
    .optional(),
  isolated: z.boolean('must be true or false').optional(),
  maxTries: wholeNumber(0, Number.MAX_SAFE_INTEGER).optional(),
});

/** A check for a whole number that says what it should have been. */
export function wholeNumber(min: number, max: number): z.ZodNumber {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.number(message).int(message).min(min, message).max(max, message);
}

/**
 * Checks options as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkOptions(path: string, options: object): void {
  checkWith(optionsSchema, path, options);
}

/** As `checkOptions`, with a schema. */
export function checkWith(schema: z.ZodType, path: string, options: object): void {
  const result = schema.safeParse(options);
  if (result.success) return;
  const issue = result.error.issues[0];
  const option = issue?.code === 'unrecognized_keys' ? issue.keys[0] : String(issue?.path[0] ?? 'options');
  const why = issue?.code === 'unrecognized_keys' ? 'is not an option' : (issue?.message ?? 'is wrong');
  throw optionsError(path, option ?? 'options', why);
}

/** `ERR_POD_OPTIONS` about one option. */
export function optionsError(path: string, option: string, why: string): PodError {
  return new PodError('ERR_POD_OPTIONS', `${path}: the option "${option}" ${why}.`, { path, info: { option } });
}

/**
 * Pairs, from whatever they were given as. Own properties only, so that `__proto__` is a key like any other.
 *
 * @throws {PodError} `ERR_POD_VALUE` where it is neither pairs nor an object
 */
export function* pairs<V, K extends Key>(source: Entries<V, K>): Generator<readonly [K, V], void, undefined> {
  if (typeof source !== 'object' || source === null) throw pairsError();
  if (!(Symbol.iterator in source)) {
    for (const [key, value] of Object.entries(source)) yield [key as K, value as V];
    return;
  }
  for (const pair of source as Iterable<readonly [K, V]>) {
    if (typeof pair !== 'object' || pair === null || !(Symbol.iterator in pair)) throw pairsError();
    yield pair;
  }
}

function pairsError(): PodError {
  return new PodError(
    'ERR_POD_VALUE',
    'Entries are given as pairs, such as [["key", value]] or a Map, or as an object with a property for each key.',
  );
}

/**
 * A schema as a function that gives back what to keep.
 *
 * @throws {PodError} from that function: `ERR_POD_SCHEMA`
 */
export function schemaCheck<V>(path: string, schema: StandardSchema<V>): (value: unknown, key: Key) => unknown {
  return (value, key) => {
    const result = schema['~standard'].validate(value);
    if (result instanceof Promise) {
      // zod answers so where a check throws, and nobody waits for this promise: its rejection would end the process.
      result.catch(() => {});
      throw new PodError(
        'ERR_POD_SCHEMA',
        `${path}: the schema answers with a promise; a pod needs one that answers at once. (With zod, a check that throws does so, too.)`,
        { path, key },
      );
    }
    if (result.issues === undefined) return result.value;
    const [issue] = result.issues;
    const at = (issue?.path ?? []).map((part) => `.${String(typeof part === 'object' ? part.key : part)}`).join('');
    throw new PodError(
      'ERR_POD_SCHEMA',
      `${path}: the value of ${JSON.stringify(key)} does not fit the schema: at $${at}, ${issue?.message ?? 'it is refused'}.`,
      { path, key, at: `$${at}`, cause: result.issues },
    );
  };
}
