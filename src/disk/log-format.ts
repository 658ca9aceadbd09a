/**
 * The log's lines: their text, their kinds, and the chain of checksums that ties each to the one before.
 *
 * A line is `<crc8> <json>\n` with crc = crc32 of the JSON's bytes seeded with the crc of the line before (0 for the header),
 * so a line is valid only behind exactly that predecessor in exactly that segment. `cut -c10- wal-*.jsonl | jq` reads it.
 */
import { Buffer } from 'node:buffer';
import * as z from 'zod';
import { COUNT_MAX } from './manifest.ts';
import { SHARD_MAX } from './names.ts';

/** Where the JSON of a line begins: eight digits and a space. */
export const JSON_OFFSET = 9;

const NEWLINE = 0x0a;
const SPACE = 0x20;

/** The first line of a segment; its own number in the sequence is `base`. */
export interface SegmentHeader {
  readonly wal: number;
  readonly id: string;
  readonly gen: number;
  readonly base: number;
  /** crc of the line with number `base` in the segment before. */
  readonly prev: string;
  /** Random, so that no two segments have lines in common. */
  readonly salt: string;
}

/** What closes a batch. `sync` and `commit` differ for people only; `mark` vouches for what stands before it. */
export type ClosingKind = 'commit' | 'sync' | 'mark';

const count = z.number().int().min(0).max(COUNT_MAX);
const shardNumber = z.number().int().min(0).max(SHARD_MAX);
const crc = z.string().regex(/^[0-9a-f]{8}$/);
const headerSchema = z.strictObject({
  wal: z.number().int().min(1),
  id: crc,
  gen: count,
  base: count,
  prev: crc,
  salt: z.string().regex(/^[0-9a-f]{16}$/),
});
const controlSchema: z.ZodType<ControlLine> = z.discriminatedUnion('o', [
  z.strictObject({ s: count, o: z.enum(['commit', 'sync', 'mark']), c: count, y: count }),
  z.strictObject({ s: count, o: z.literal('clear') }),
  z.strictObject({
    s: count,
    o: z.literal('fold'),
    n: shardNumber,
    lines: count,
    bytes: count,
    crc,
    t: count,
    was: crc.optional(),
  }),
  z.strictObject({ s: count, o: z.literal('end'), how: z.string() }),
]);

/** A fold's announcement that a shard is about to have this content, complete through record `t`; no lines: no shard. */
export interface IntentLine {
  s: number;
  o: 'fold';
  n: number;
  lines: number;
  bytes: number;
  crc: string;
  t: number;
  /** crc of the content that an emptied shard had. */
  was?: string | undefined;
}

/** A line that is neither `set` nor `del`. */
export type ControlLine =
  | { s: number; o: ClosingKind; c: number; y: number }
  | { s: number; o: 'clear' }
  | IntentLine
  | { s: number; o: 'end'; how: string };

export function parseHeader(json: string): SegmentHeader | undefined {
  return parseExactly(headerSchema, json);
}

export function parseControl(json: string): ControlLine | undefined {
  return parseExactly(controlSchema, json);
}

/** What a line says, if it says it as we do: JSON.parse takes the last of two members with one name, and zod leaves some out. */
function parseExactly<T>(schema: z.ZodType<T>, json: string): T | undefined {
  const result = schema.safeParse(parseOrUndefined(json));
  return result.success && JSON.stringify(result.data) === json ? result.data : undefined;
}

function parseOrUndefined(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The crc that a line claims, or -1 where the line has not the form of one. `end` is the place of its newline. */
export function claimedCrc(bytes: Buffer, start: number, end: number): number {
  if (end - start < JSON_OFFSET + 2 || bytes[start + 8] !== SPACE) return -1;
  let value = 0;
  for (let index = start; index < start + 8; index++) {
    const byte = bytes[index] as number;
    let digit: number;
    if (byte >= 0x30 && byte <= 0x39) digit = byte - 0x30;
    else if (byte >= 0x61 && byte <= 0x66) digit = byte - 0x57;
    else return -1;
    value = value * 16 + digit;
  }
  return value;
}

/** Writes eight hexadecimal digits and a space; a table beats `toString(16)` where every record passes. */
export function writeCrc(buffer: Buffer, offset: number, value: number): void {
  for (let index = 7, rest = value; index >= 0; index--, rest >>>= 4) {
    buffer[offset + index] = HEX_DIGITS[rest & 15] as number;
  }
  buffer[offset + 8] = SPACE;
}

const HEX_DIGITS = Buffer.from('0123456789abcdef');

export { NEWLINE };

const SET = Buffer.from(',"o":"set","n":');
const DELETE = Buffer.from(',"o":"del","n":');
const KEY = Buffer.from(',"k":');
const VALUE = Buffer.from(',"v":');
const SEQUENCE = Buffer.from('{"s":');
const BRACE = 0x7d;
const ZERO = 0x30;

/** A `set` or `del` line taken apart without parsing its key and value. Positions are in the buffer. */
export interface DataLine {
  readonly s: number;
  readonly operation: 'set' | 'del';
  readonly shard: number;
  readonly keyStart: number;
  readonly keyEnd: number;
  /** Of a `set`: where the value's text begins. */
  readonly valueStart: number;
  /** Where it ends: before the line's last brace. */
  readonly valueEnd: number;
}

/**
 * Takes a data line apart, or returns undefined where it is none. The checksum was verified, so the line is one of ours, byte
 * for byte; and the JSON of a key cannot contain `,"v":`, because a quote inside a string is escaped and keys hold no objects.
 */
export function parseData(bytes: Buffer, start: number, end: number): DataLine | undefined {
  if (!startsWith(bytes, start, SEQUENCE)) return undefined;
  let at = start + SEQUENCE.length;
  const s = readNumber(bytes, at);
  at = skipDigits(bytes, at);
  const isSet = startsWith(bytes, at, SET);
  if (!isSet && !startsWith(bytes, at, DELETE)) return undefined;
  at += SET.length;
  const shard = readNumber(bytes, at);
  at = skipDigits(bytes, at);
  if (s < 0 || shard < 0 || shard > SHARD_MAX || !startsWith(bytes, at, KEY) || bytes[end - 1] !== BRACE)
    return undefined;
  const keyStart = at + KEY.length;
  if (!isSet) return { s, operation: 'del', shard, keyStart, keyEnd: end - 1, valueStart: end, valueEnd: end };
  const keyEnd = bytes.indexOf(VALUE, keyStart);
  if (keyEnd < 0 || keyEnd >= end) return undefined;
  return { s, operation: 'set', shard, keyStart, keyEnd, valueStart: keyEnd + VALUE.length, valueEnd: end - 1 };
}

function startsWith(bytes: Buffer, at: number, text: Buffer): boolean {
  for (let index = 0; index < text.length; index++) {
    if (bytes[at + index] !== text[index]) return false;
  }
  return true;
}

/** The decimal number at a place, or -1 where there is none. */
function readNumber(bytes: Buffer, at: number): number {
  const end = skipDigits(bytes, at);
  if (end === at || end - at > 16 || (bytes[at] === ZERO && end - at > 1)) return -1;
  let value = 0;
  for (let index = at; index < end; index++) value = value * 10 + (bytes[index] as number) - 0x30;
  return value;
}

function skipDigits(bytes: Buffer, at: number): number {
  let index = at;
  while ((bytes[index] as number) >= 0x30 && (bytes[index] as number) <= 0x39) index++;
  return index;
}
