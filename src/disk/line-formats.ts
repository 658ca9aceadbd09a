/**
 * How a key and its value lie in a line: in a shard, in a shard that tastypy wrote, and in a `set` record of the log.
 */
import { type Buffer, isAscii } from 'node:buffer';
import type { TextSource } from '../core/entry.ts';
import { keyText } from '../core/key.ts';
import { decodeTastypyKey } from './tastypy.ts';

export interface LineFormat {
  /** The JSON text of the key, as we write it. */
  keyText(line: string): string;
  /** The JSON text of the value. */
  valueText(line: string): string;
}

/** `KEY TAB VALUE`. */
const SHARD_LINE: LineFormat = {
  keyText: (line) => line.slice(0, line.indexOf('\t')),
  valueText: (line) => line.slice(line.indexOf('\t') + 1),
};

const TASTYPY_LINE: LineFormat = {
  keyText: (line) => keyText(decodeTastypyKey(SHARD_LINE.keyText(line))),
  valueText: SHARD_LINE.valueText,
};

/** Inside a key every quote has a backslash before it. */
const VALUE = ',"v":';

/** What a log's `set` record says: `KEY,"v":VALUE`. */
export const LOG_LINE: LineFormat = {
  keyText: (line) => line.slice(0, line.indexOf(VALUE)),
  valueText: (line) => line.slice(line.indexOf(VALUE) + VALUE.length),
};

export function shardLineFormat(tastypy: boolean): LineFormat {
  return tastypy ? TASTYPY_LINE : SHARD_LINE;
}

/** Decoding Latin-1 is several times as fast as UTF-8, and the test runs at 21 GB/s (docs/performance, lines). */
export function decode(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');
}

/** Lines in memory; keys and values are cut out of them when they are asked for. */
export class TextInMemory implements TextSource {
  readonly #bytes: Buffer;
  readonly #format: LineFormat;
  /** Where in the file the bytes begin. */
  readonly #offset: number;

  constructor(bytes: Buffer, format: LineFormat, offset: number = 0) {
    this.#bytes = bytes;
    this.#format = format;
    this.#offset = offset;
  }

  keyTextAt(position: number, length: number): string {
    return this.#format.keyText(this.#line(position, length));
  }

  textAt(position: number, length: number): string {
    return this.#format.valueText(this.#line(position, length));
  }

  #line(position: number, length: number): string {
    const from = position - this.#offset;
    return decode(this.#bytes.subarray(from, from + length));
  }
}
