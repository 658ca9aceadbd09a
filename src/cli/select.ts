/**
 * What `--where` selects: the option as a condition, and the entries of a pod for which it holds.
 */
import type { Entry } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import { engineOf } from '../pod/pod.ts';
import { ProgressTracker } from '../tracker/tracker.ts';
import type { Given } from './command.ts';
import type { AnyPod, AnyTracker } from './open.ts';
import { holds, markPlace, parseWhere, type Where, WhereError } from './where.ts';

/** The option, for the commands that have it. */
export const WHERE_OPTION: readonly [flags: string, summary: string] = [
  '--where <expr>',
  'only those for which this holds, such as \'tries > 2 and error.message ~ "timeout"\'; see docs/transfer.md',
];

/**
 * The condition that was given, if any.
 *
 * @throws {PodError} `ERR_POD_OPTIONS`, with the place in the condition
 */
export function whereOption({ path, options }: Given): Where | undefined {
  if (options.where === undefined) return undefined;
  const text = String(options.where);
  try {
    return parseWhere(text);
  } catch (error) {
    if (!(error instanceof WhereError)) throw error;
    const { message, position } = error;
    throw new PodError(
      'ERR_POD_OPTIONS',
      `${path}: the option "where" ${message}, at character ${position + 1}:\n${markPlace(text, position)}`,
      { path, info: { option: 'where', position } },
    );
  }
}

/** The entries for which a condition holds, in order; all of them where there is none. `onLook` is called for each that is looked at. */
export function* entriesWhere(
  pod: AnyPod,
  where: Where | undefined,
  onLook: () => void = () => {},
): Generator<Entry<Json, Key>, void, undefined> {
  const isTask = (pod as object) instanceof ProgressTracker;
  for (const entry of engineOf(pod).table.entries()) {
    onLook();
    if (where === undefined || holds(where, { key: entry.key, value: entry.peek(), isTask })) yield entry;
  }
}

/** Those of some keys for which a condition holds. */
export function* keysWhere(
  pod: AnyPod | AnyTracker,
  where: Where | undefined,
  keys: Iterable<Key>,
): Generator<Key, void, undefined> {
  const isTask = (pod as object) instanceof ProgressTracker;
  const { table } = engineOf(pod as AnyPod);
  for (const key of keys) {
    const value = where === undefined ? undefined : table.find(key)?.peek();
    if (where === undefined || (value !== undefined && holds(where, { key, value, isTask }))) yield key;
  }
}
