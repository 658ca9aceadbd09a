/**
 * CSV as everpod writes and reads it: cells that say what they are, and records as RFC 4180 has them. Pure.
 *
 * The rules are described in docs/transfer.md. An empty cell is a property that is not there. A cell that is JSON (`null`, `true`, a list, an
 * object, a text in quotes, a number as JSON writes it) is that. Everything else is a text as it stands. So a text is written as JSON
 * exactly where it would be read as something else, or where a spreadsheet would run it as a formula.
 */
import { findInexact } from '../core/exact.ts';
import { isTooDeep, type Json, setOwn } from '../core/json.ts';
import { copyKey, type Key, keyText } from '../core/key.ts';
import { keyWord } from './words.ts';

/** The column of keys. */
const KEY_COLUMN = 'key';
/** The column of values that are no objects. */
const VALUE_COLUMN = '$';

/** What is wrong with a CSV; whoever reads it knows the line. */
export class CsvError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CsvError';
  }
}

// ---- Cells.

/** The cell of a value; undefined, for a property that is not there, has an empty one. */
export function encodeCell(value: Json | undefined): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') return JSON.stringify(value);
  return isSafeText(value) && decodeCell(value) === value ? value : JSON.stringify(value);
}

/** The value of a cell; undefined where it is empty. */
export function decodeCell(cell: string): Json | undefined {
  if (cell === '') return undefined;
  if (!/^["[{\d\-tfn]/.test(cell) || /\s$/.test(cell) || isTooDeep(cell)) return cell;
  try {
    const value = JSON.parse(cell) as Json;
    // 007, 1.10 and the digits of a long id are no numbers: as a number they would not come back as they are.
    const isExact = typeof value === 'number' ? JSON.stringify(value) === cell : findInexact(cell) === undefined;
    return isExact ? value : cell;
  } catch {
    return cell;
  }
}

/** The cell of a key: as `ls` prints it, but for what a spreadsheet would run. */
export function encodeKeyCell(key: Key): string {
  const word = keyWord(key);
  return typeof key === 'string' && !isSafeText(word) ? keyText(key) : word;
}

/**
 * The key of a cell.
 *
 * @throws {CsvError} where it is empty
 */
export function decodeKeyCell(cell: string): Key {
  if (cell === '') throw new CsvError('has no key');
  if (!/^(?:["[]|-?\d+$)/.test(cell)) return cell;
  try {
    const key = copyKey(JSON.parse(cell));
    return typeof key === 'number' && String(key) !== cell ? cell : key;
  } catch {
    return cell;
  }
}

/** Whether a text can stand in a cell as it is: a spreadsheet takes it for no formula, and UTF-8 and other readers lose nothing of it. */
function isSafeText(text: string): boolean {
  return !/^\s*[=+\-@\t\r＝＋－＠]/.test(text) && !/(?![\t\n\r])[\p{Cs}\p{Cc}\ufeff]/u.test(text);
}

// ---- Columns.

/** The names of the columns of some values, in the order in which they are met. */
export class Columns {
  readonly #names: Set<string> = new Set();
  #hasOthers: boolean = false;

  /** How many there are, that of keys not counted. */
  get size(): number {
    return this.#names.size + (this.#hasOthers ? 1 : 0);
  }

  add(value: Json): void {
    if (isObject(value)) for (const name of Object.keys(value)) this.#names.add(name);
    else this.#hasOthers = true;
  }

  header(): string {
    const names = [...this.#names].map((name) => {
      const isPlain = name !== '' && name !== KEY_COLUMN && name !== VALUE_COLUMN && !name.startsWith('"');
      return isPlain && isSafeText(name) ? name : JSON.stringify(name);
    });
    return record([KEY_COLUMN, ...(this.#hasOthers ? [VALUE_COLUMN] : []), ...names]);
  }

  row(key: Key, value: Json): string {
    const cells = [encodeKeyCell(key)];
    if (this.#hasOthers) cells.push(isObject(value) ? '' : encodeCell(value));
    for (const name of this.#names) {
      cells.push(isObject(value) && Object.hasOwn(value, name) ? encodeCell(value[name]) : '');
    }
    return record(cells);
  }
}

/** Reads records as entries; the first one names the columns. */
export class CsvReader {
  #columns: readonly (string | typeof KEY | typeof VALUE)[] | undefined;

  /**
   * The entry of a record; undefined for the first one.
   *
   * @throws {CsvError}
   */
  read(cells: readonly string[]): [Key, Json] | undefined {
    if (this.#columns === undefined) {
      this.#columns = columnsOf(cells);
      return undefined;
    }
    const columns = this.#columns;
    if (cells.length !== columns.length) {
      throw new CsvError(`has ${cells.length} cells, and there are ${columns.length} columns`);
    }
    let key: Key | undefined;
    let whole: Json | undefined;
    const members: Record<string, Json> = {};
    let count = 0;
    for (const [at, column] of columns.entries()) {
      const cell = cells[at] as string;
      if (column === KEY) {
        key = decodeKeyCell(cell);
        continue;
      }
      const value = decodeCell(cell);
      if (value === undefined) continue;
      if (column === VALUE) whole = value;
      else {
        setOwn(members, column, value);
        count++;
      }
    }
    if (whole !== undefined && count > 0) {
      throw new CsvError(`has a whole value in the column ${VALUE_COLUMN}, and properties in others`);
    }
    return [key as Key, whole === undefined ? members : whole];
  }
}

const KEY = Symbol('key');
const VALUE = Symbol('value');

function columnsOf(cells: readonly string[]): (string | typeof KEY | typeof VALUE)[] {
  const columns = cells.map((cell) => {
    if (cell === KEY_COLUMN) return KEY;
    if (cell === VALUE_COLUMN) return VALUE;
    if (cell === '') throw new CsvError('has a column without a name');
    const name = cell.startsWith('"') ? decodeCell(cell) : cell;
    return typeof name === 'string' ? name : cell;
  });
  for (const [at, column] of columns.entries()) {
    if (columns.indexOf(column) < at) throw new CsvError(`names the column ${cells[at]} twice`);
  }
  if (!columns.includes(KEY)) {
    throw new CsvError(`names no column "${KEY_COLUMN}"; the first line of a CSV must name the columns, and that one`);
  }
  return columns;
}

function isObject(value: Json): value is { readonly [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// ---- Records.

/** A record as one line of text; a cell with a line break in it spreads it over several. */
function record(cells: readonly string[]): string {
  return `${cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(',')}\r\n`;
}

/** Puts lines together to records and cuts those into cells. */
export class RecordReader {
  #cells: string[] = [];
  /** The cell in quotes that goes on in the next line. */
  #open: string[] | undefined;
  #openChars: number = 0;
  readonly #charsMax: number;

  /** @param charsMax how long a cell that goes over several lines may be */
  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  /** Whether a record has begun and not ended. */
  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /**
   * Takes a line, without its line feed. Returns the cells where the record ends with it; none for an empty line between records.
   *
   * @throws {CsvError}
   */
  push(line: string): string[] | undefined {
    let at = 0;
    if (this.#open === undefined) {
      if (line === '' || line === '\r') return undefined;
    } else {
      at = this.#quoted(line, 0);
      if (at < 0) return undefined;
      if (at > line.length) return this.#finish();
    }
    for (;;) {
      if (line[at] === '"') {
        this.#open = [];
        at = this.#quoted(line, at + 1);
        if (at < 0) return undefined;
      } else {
        const comma = line.indexOf(',', at);
        const cell = comma < 0 ? line.slice(at).replace(/\r$/, '') : line.slice(at, comma);
        if (cell.includes('"')) throw new CsvError('has a quote inside a cell that is not in quotes');
        if (cell.includes('\r')) throw new CsvError('has a carriage return in a cell that is not in quotes');
        this.#cells.push(cell);
        at = comma < 0 ? line.length + 1 : comma + 1;
      }
      if (at > line.length) return this.#finish();
    }
  }

  /** Reads on in a cell in quotes. Returns where the next cell begins, a place behind the line where there is none, -1 where it is still open. */
  #quoted(line: string, start: number): number {
    const open = this.#open as string[];
    for (let from = start; ; ) {
      const quote = line.indexOf('"', from);
      if (quote < 0) {
        open.push(line.slice(from), '\n');
        this.#openChars += line.length + 1;
        if (this.#openChars > this.#charsMax)
          throw new CsvError(`has a cell of more than ${this.#charsMax} characters`);
        return -1;
      }
      open.push(line.slice(from, quote));
      if (line[quote + 1] === '"') {
        open.push('"');
        from = quote + 2;
        continue;
      }
      this.#cells.push(open.join(''));
      this.#open = undefined;
      this.#openChars = 0;
      const rest = line[quote + 1];
      if (rest === ',') return quote + 2;
      if (rest === undefined || (rest === '\r' && quote + 2 === line.length)) return line.length + 1;
      throw new CsvError('has something between the end of a cell in quotes and the next comma');
    }
  }

  #finish(): string[] {
    const cells = this.#cells;
    this.#cells = [];
    return cells;
  }
}
