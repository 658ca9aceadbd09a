/**
 * The log's records of outputs: one for each line that belongs to a task which became done in the same batch.
 *
 * `"v"` holds a line of JSON as it stands in the file, `"t"` any other text as a string. The line feed is not part of it.
 */
import { Buffer } from 'node:buffer';

/** How a line is kept: as JSON, or as the text that it is. */
export type OutputFormat = 'json' | 'text';

/** A record of an output; its text is still in the bytes that were read. */
export interface OutputRecord {
  readonly s: number;
  /** Of the file. */
  readonly name: string;
  readonly format: OutputFormat;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** The members of a record, as `LogWriter.add` takes them. */
export function outputMembers(name: string, format: OutputFormat, text: string): string {
  return format === 'json'
    ? `"o":"out","f":"${name}","v":${text}`
    : `"o":"out","f":"${name}","t":${JSON.stringify(text)}`;
}

/** The beginning of a record is never longer: sixteen digits, and a name of a hundred. */
const HEAD_BYTES_MAX = 160;
const HEAD = /^\{"s":(0|[1-9]\d{0,15}),"o":"out","f":"([A-Za-z0-9._-]{1,100})","(v|t)":/;
const BRACE = 0x7d;

/** Takes a line of the log apart, or returns undefined where it is no record of an output. Its checksum was verified. */
export function parseOutput(bytes: Buffer, start: number, end: number): OutputRecord | undefined {
  const head = HEAD.exec(bytes.toString('latin1', start, Math.min(end, start + HEAD_BYTES_MAX)));
  if (head === null || bytes[end - 1] !== BRACE) return undefined;
  return {
    s: Number(head[1]),
    name: head[2] as string,
    format: head[3] === 'v' ? 'json' : 'text',
    bytes,
    start: start + head[0].length,
    end: end - 1,
  };
}

/** The line as it stands in the file, with its line feed. */
export function outputLine({ format, bytes, start, end }: OutputRecord): Buffer {
  const text =
    format === 'json' ? bytes.subarray(start, end) : Buffer.from(JSON.parse(bytes.toString('utf8', start, end)));
  return Buffer.concat([text, LINE_FEED]);
}

const LINE_FEED = Buffer.from('\n');
