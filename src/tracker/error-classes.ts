/**
 * Failures that are alike as one class: what differs from task to task in a message (numbers, addresses, ids, quoted words) is left out.
 */
import { Buffer } from 'node:buffer';
import type { Key } from '../core/key.ts';
import { crcText } from '../disk/files.ts';
import type { TaskError } from './task.ts';

/** All failed tasks whose errors are alike. */
export interface ErrorClass<K extends Key = Key> {
  /** `E` and six hexadecimal digits; the same in every run for errors that are alike. */
  readonly id: string;
  /** The error's class, such as `TypeError`. */
  readonly name: string;
  readonly code: string | undefined;
  /** The message, with `<n>`, `<url>`, `<id>`, `<text>` in the place of what differs. */
  readonly message: string;
  /** How many tasks have it. */
  readonly count: number;
  /** How many of those have no tries left, or are aborted: nothing will try them again by itself. */
  readonly stuck: number;
  /** When it was first and last met. ISO 8601. */
  readonly firstAt: string;
  readonly lastAt: string;
  /** One message as it was. */
  readonly sample: string;
  /** The first three tasks that have it. */
  readonly sampleKeys: readonly K[];
}

const SAMPLE_KEYS_MAX = 3;
const MESSAGE_CHARS_MAX = 200;

/** In this order: an address is taken before the numbers in it. */
const DIFFERENCES: readonly (readonly [pattern: RegExp, place: string])[] = [
  [/\b[a-z][a-z\d+.-]*:\/\/[^\s"'<>)\]]+/gi, '<url>'],
  [/"[^"\n]*"|'[^'\n]*'|`[^`\n]*`/g, '<text>'],
  [/\b[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}\b/gi, '<id>'],
  [/\b(?=[a-f]*\d)[\da-f]{8,}\b/gi, '<id>'],
  [/-?\d+(?:[.,:]\d+)*/g, '<n>'],
];

/** A message without what differs between errors that are alike. */
export function normalizeMessage(message: string): string {
  let text = message.slice(0, 10 * MESSAGE_CHARS_MAX);
  for (const [pattern, place] of DIFFERENCES) text = text.replace(pattern, place);
  return text.replace(/\s+/g, ' ').trim().slice(0, MESSAGE_CHARS_MAX);
}

/** What a task says of its failure; whoever edits tasks by hand may have left anything there. */
export function errorOf(task: unknown): TaskError | undefined {
  const { _error: error } = task as { _error?: unknown };
  if (typeof error !== 'object' || error === null) return undefined;
  const { name, message, code, at, blame, try: tryNumber } = error as Partial<Record<keyof TaskError, unknown>>;
  return {
    name: typeof name === 'string' ? name : 'Error',
    message: typeof message === 'string' ? message : '',
    ...(typeof code === 'string' && { code }),
    at: typeof at === 'string' ? at : '',
    try: typeof tryNumber === 'number' ? tryNumber : 0,
    ...((blame === 'host' || blame === 'environment') && { blame }),
  };
}

/** The id of an error's class. */
export function errorClassOf({ name, code, message }: TaskError): string {
  return `E${crcText(Buffer.from(JSON.stringify([name, code ?? '', normalizeMessage(message)]), 'utf8')).slice(0, 6)}`;
}

/** Sorts errors into classes, one at a time. */
export class ErrorClasses<K extends Key> {
  readonly #classes: Map<string, { -readonly [P in keyof ErrorClass<K>]: ErrorClass<K>[P] } & { sampleKeys: K[] }> =
    new Map();

  add(key: K, error: TaskError, isStuck: boolean): void {
    const { name, code, message, at } = error;
    const id = errorClassOf(error);
    const known = this.#classes.get(id);
    if (known === undefined) {
      this.#classes.set(id, {
        id,
        name,
        code,
        message: normalizeMessage(message),
        count: 1,
        stuck: isStuck ? 1 : 0,
        firstAt: at,
        lastAt: at,
        sample: message,
        sampleKeys: [key],
      });
      return;
    }
    known.count++;
    if (isStuck) known.stuck++;
    if (at < known.firstAt) known.firstAt = at;
    if (at > known.lastAt) known.lastAt = at;
    if (known.sampleKeys.length < SAMPLE_KEYS_MAX) known.sampleKeys.push(key);
  }

  /** The most frequent first. */
  list(): ErrorClass<K>[] {
    return [...this.#classes.values()].sort((a, b) => b.count - a.count || (a.id < b.id ? -1 : 1));
  }
}
