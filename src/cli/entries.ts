/**
 * Makes entries of the lines of a file, JSON Lines or CSV. Pure.
 */
import { findInexact } from '../core/exact.ts';
import { isTooDeep, type Json } from '../core/json.ts';
import { copyKey, type Key } from '../core/key.ts';
import { CsvError, CsvReader, RecordReader } from './csv.ts';
import { LINE_BYTES_MAX, type Line, lineError } from './lines.ts';

/** An entry as it was read. */
export interface LineEntry {
  readonly key: Key;
  readonly value: Json;
  /** The line on which it begins. */
  readonly line: number;
}

/** Makes entries of lines; one may take several lines. */
export interface EntryReader {
  /** @throws {PodError} `ERR_POD_VALUE` with the line */
  read(line: Line): LineEntry | undefined;
  /** Complains where the last entry is not complete. */
  end(): void;
}

/** Each line is an entry: `[key, value]`, or an object of `key` and `value`; empty lines are none. */
export function jsonEntries(): EntryReader {
  return {
    read: ({ text, number }) => {
      if (text.trim() === '') return undefined;
      // What holds key and value is one level more than the value.
      if (isTooDeep(text.trim().slice(1, -1))) throw lineError(number, 'is nested too deeply');
      let parsed: unknown;
      try {
        parsed = JSON.parse(text);
      } catch (cause) {
        throw lineError(number, `is not JSON: ${(cause as Error).message.replace(/\.$/, '')}`, cause);
      }
      const inexact = findInexact(text);
      if (inexact !== undefined) {
        throw lineError(number, `has the number ${inexact}, which would come back as another one; write it as a text`);
      }
      return { ...entryOf(parsed, number), line: number };
    },
    end: () => {},
  };
}

function entryOf(parsed: unknown, line: number): { key: Key; value: Json } {
  let pair: readonly unknown[] = [];
  if (Array.isArray(parsed)) pair = parsed;
  else if (typeof parsed === 'object' && parsed !== null) {
    const names = Object.keys(parsed);
    if (names.length === 2 && names.includes('key') && names.includes('value')) {
      const { key, value } = parsed as { key: unknown; value: unknown };
      pair = [key, value];
    }
  }
  if (pair.length !== 2) throw lineError(line, 'is no entry, such as ["key", "value"] or {"key": "a", "value": 1}');
  try {
    return { key: copyKey(pair[0]), value: pair[1] as Json };
  } catch (error) {
    throw lineError(line, `has no key: ${(error as Error).message.replace(/\.$/, '')}`, error);
  }
}

/** The first line names the columns. */
export function csvEntries(): EntryReader {
  const records = new RecordReader(LINE_BYTES_MAX);
  const reader = new CsvReader();
  let start = 0;
  const complaint = (error: unknown, line: number): unknown =>
    error instanceof CsvError ? lineError(line, error.message, error) : error;
  return {
    read: ({ text, number }) => {
      if (!records.isOpen) start = number;
      try {
        const cells = records.push(text);
        const entry = cells === undefined ? undefined : reader.read(cells);
        return entry === undefined ? undefined : { key: entry[0], value: entry[1], line: start };
      } catch (error) {
        throw complaint(error, start);
      }
    },
    end: () => {
      if (records.isOpen) throw lineError(start, 'begins a cell in quotes that never ends');
    },
  };
}
