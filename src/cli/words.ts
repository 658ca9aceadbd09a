/**
 * Words of the command line as values, and values as words: numbers, times, keys, columns.
 */
import { type Key, keyText, parseKey } from '../core/key.ts';
import { optionsError } from '../pod/options.ts';
import { isIsoTime } from '../tracker/options.ts';

/**
 * A number that was given as an option.
 *
 * @throws {PodError} `ERR_POD_OPTIONS`
 */
export function numberOption(path: string, name: string, text: string, max: number): number {
  const number = Number(text);
  if (text.trim() !== '' && number >= 0 && number <= max) return number;
  throw optionsError(path, name, `must be a number from 0 to ${max}`);
}

/** As `numberOption`, whole. */
export function countOption(path: string, name: string, text: string): number {
  const number = numberOption(path, name, text, Number.MAX_SAFE_INTEGER);
  if (Number.isInteger(number)) return number;
  throw optionsError(path, name, 'must be a whole number');
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * A time, as ISO 8601 or as how long ago: `90s`, `15m`, `2h`, `3d`.
 *
 * @throws {PodError} `ERR_POD_OPTIONS`
 */
export function timeOption(path: string, name: string, text: string, nowMs: number): Date {
  const [, amount, unit = ''] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (amount === undefined && isIsoTime(text)) return new Date(text);
  const time = new Date(amount === undefined ? Number.NaN : nowMs - Number(amount) * (UNIT_MS[unit] as number));
  if (!Number.isNaN(time.getTime())) return time;
  throw optionsError(path, name, 'must be how long ago, such as 90s, 15m, 2h or 3d, or a time in ISO 8601');
}

/** The key that a word means: what it is as JSON (a number, a list, a text in quotes) where there is such a key, else the word itself. */
export function findKey(word: string, has: (key: Key) => boolean): Key | undefined {
  try {
    const key = parseKey(word);
    if (has(key)) return key;
  } catch {
    // Not JSON, as most words.
  }
  return has(word) ? word : undefined;
}

/** A key as one word on a line of its own: as it is where that is clear, else as JSON. */
export function keyWord(key: Key): string {
  return typeof key === 'string' && /^[^\s"[\]\p{C}][^\n\t\p{C}]*$/u.test(key) && !isNumeric(key) ? key : keyText(key);
}

/** Somebody else's words, such as an error's message, in a line of ours: nothing that a terminal would obey, and no line of its own. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
}

function isNumeric(text: string): boolean {
  return /^-?\d+$/.test(text);
}

/** A whole number as people read it. */
export function figure(count: number): string {
  return count.toLocaleString('en');
}

/** So many entries, in words. */
export function entries(count: number): string {
  return count === 1 ? '1 entry' : `${figure(count)} entries`;
}

/** Lines with aligned columns; the columns named in `right` are aligned to the right. */
export function columns(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  const pad = (cell: string, at: number): string =>
    right.includes(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0);
  return rows.map((row) => `${row.map(pad).join('  ').trimEnd()}\n`).join('');
}
