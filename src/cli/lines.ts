/**
 * Cuts bytes into lines of text with their numbers. Pure.
 */
import { Buffer, constants, isUtf8 } from 'node:buffer';
import { PodError } from '../core/errors.ts';

/** A line without its line feed. */
export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
}

/** What a string can hold. */
export const LINE_BYTES_MAX: number = constants.MAX_STRING_LENGTH;

const LINE_FEED = 0x0a;
const BYTE_ORDER_MARK = '\ufeff';

/**
 * The lines of some bytes, those of a piece at a time. A byte order mark at the very beginning is left out; the last line needs no line feed.
 *
 * @throws {PodError} with a step: `ERR_POD_VALUE` and the line, where one is no UTF-8 or too long; the lines before it were given first
 */
export async function* linesOf(
  pieces: AsyncIterable<Buffer>,
  bytesMax: number = LINE_BYTES_MAX,
): AsyncGenerator<Line[], void, undefined> {
  let number = 0;
  let open: Buffer[] = [];
  let openBytes = 0;
  const lineOf = (end: Buffer): Line => {
    number++;
    const bytes = open.length === 0 ? end : Buffer.concat([...open, end]);
    open = [];
    openBytes = 0;
    if (bytes.length > bytesMax) throw lineError(number, `is longer than ${bytesMax} bytes`);
    if (!isUtf8(bytes)) throw lineError(number, 'is not UTF-8');
    const text = bytes.toString('utf8');
    return { text: number === 1 && text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text, number };
  };
  for await (const piece of pieces) {
    const lines: Line[] = [];
    let refusal: unknown;
    let start = 0;
    try {
      for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, start)) {
        lines.push(lineOf(piece.subarray(start, end)));
        start = end + 1;
      }
      if (start < piece.length) {
        open.push(piece.subarray(start));
        openBytes += piece.length - start;
      }
      if (openBytes > bytesMax) throw lineError(number + 1, `is longer than ${bytesMax} bytes`);
    } catch (error) {
      refusal = error;
    }
    yield lines;
    if (refusal !== undefined) throw refusal;
  }
  if (openBytes > 0) yield [lineOf(Buffer.alloc(0))];
}

/** @returns `ERR_POD_VALUE` about a line; what it says goes on after "line 17" */
export function lineError(line: number, why: string, cause?: unknown): PodError {
  return new PodError('ERR_POD_VALUE', `line ${line} ${why}.`, { line, cause });
}
