/**
 * Shards: the text of their lines, `JSON(key) TAB JSON(value) LF`, plain or gzipped, and the checks when they are read.
 *
 * Shards are pure data, so that `cut`, `jq`, `grep` and a text editor work on them; what protects them (lines, bytes, crc) is in the
 * manifest and in the log. All three are of the uncompressed text, so gzipping a shard again by hand is no edit.
 */
import { Buffer, constants as bufferLimits, isAscii, isUtf8 } from 'node:buffer';
import { join } from 'node:path';
import { constants, crc32, gunzipSync, gzipSync } from 'node:zlib';
import type { LoadedEntry, TextSource } from '../core/entry.ts';
import { PodError } from '../core/errors.ts';
import { findInexact } from '../core/exact.ts';
import { copyJson } from '../core/json.ts';
import { type Key, parseKey } from '../core/key.ts';
import type { Line, LineLayout } from '../core/line.ts';
import { crcText, findByte, readFile } from './files.ts';
import type { ReadableFiles } from './fs.ts';
import { shardLineFormat, TextInMemory } from './line-formats.ts';
import { NEWLINE } from './log-format.ts';
import type { ShardContent } from './manifest.ts';
import { decodeTastypyKey } from './tastypy.ts';

const TAB = 0x09;

/** The lines, bytes and crc of a shard's text. */
export function describeText(text: Buffer, seq: number): ShardContent {
  let lines = 0;
  for (let at = findByte(text, NEWLINE, 0); at >= 0; at = findByte(text, NEWLINE, at + 1)) lines++;
  // Only a file that was edited by hand ends without a newline; its last line counts like the others.
  if (text.length > 0 && text[text.length - 1] !== NEWLINE) lines++;
  return { lines, bytes: text.length, crc: crcText(text), seq, tastypy: false };
}

/**
 * The text of entries as a shard.
 *
 * @throws {PodError} `ERR_POD_UNSUPPORTED` where it would be longer than a buffer can be (4 GB)
 */
export function encodeShard(
  lines: Iterable<Line>,
  bytesMax: number = bufferLimits.MAX_LENGTH,
): { text: Buffer; lines: number; layout: LineLayout } {
  let buffer = Buffer.allocUnsafe(1 << 16);
  let filled = 0;
  const positions: number[] = [];
  const lengths: number[] = [];
  const checks: number[] = [];
  for (const { keyText: key, text } of lines) {
    const line = `${key}\t${text}\n`;
    const atMost = line.length < 1 << 16 ? line.length * 3 : Buffer.byteLength(line);
    if (filled + atMost > buffer.length) {
      if (filled + atMost > bytesMax) throw shardTooLongError(bytesMax);
      const larger = Buffer.allocUnsafe(Math.max(filled + atMost, Math.min(buffer.length * 2, bytesMax)));
      buffer.copy(larger, 0, 0, filled);
      buffer = larger;
    }
    const length = buffer.write(line, filled, 'utf8') - 1;
    positions.push(filled);
    lengths.push(length);
    checks.push(crc32(buffer.subarray(filled, filled + length)));
    filled += length + 1;
  }
  return { text: buffer.subarray(0, filled), lines: lengths.length, layout: { positions, lengths, checks } };
}

function shardTooLongError(bytesMax: number): PodError {
  return new PodError(
    'ERR_POD_UNSUPPORTED',
    `The entries of one shard are longer than ${bytesMax} bytes together. Nothing is lost, the log has it all; open the pod with a smaller ` +
      'fileSize, so that fewer entries share a file.',
  );
}

/** What is written to the file. Level 1 is three times as fast as 6 and compresses crawl entries 11.6 instead of 13 to 1. */
export function packShard(text: Buffer, gzip: boolean): Buffer {
  return gzip ? gzipSync(text, { level: constants.Z_BEST_SPEED }) : text;
}

/**
 * Reads a shard file's text, or undefined where there is no such file.
 *
 * @param bytesMax the longest text that could be right; a gzip file that unpacks to more is not unpacked (reliability C14)
 * @returns `damaged` where a gzipped file cannot be unpacked
 */
export function readShardText(
  fs: ReadableFiles,
  folder: string,
  name: string,
  gzip: boolean,
  bytesMax: number,
): Buffer | 'damaged' | undefined {
  const bytes = readFile(fs, folder, name);
  if (bytes === undefined || !gzip) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: Math.max(1, bytesMax) });
  } catch {
    return 'damaged';
  }
}

/** Whether a text is the announced content. */
export function matches(text: Buffer, content: ShardContent): boolean {
  return text.length === content.bytes && crcText(text) === content.crc;
}

/**
 * Cuts a shard's text into entries.
 *
 * @throws {PodError} `ERR_POD_CORRUPT` with file and line where a line does not have the form of one
 */
export function* parseShard(
  folder: string,
  file: string,
  shard: number,
  text: Buffer,
  tastypy: boolean,
  source: TextSource = new TextInMemory(text, shardLineFormat(tastypy)),
): Generator<LoadedEntry, void, undefined> {
  const textOf = isAscii(text) ? 'latin1' : 'utf8';
  let line = 0;
  for (let start = 0; start < text.length; ) {
    line++;
    const newline = findByte(text, NEWLINE, start);
    const end = newline < 0 ? text.length : newline;
    const tab = findByte(text, TAB, start);
    if (tab < 0 || tab > end) throw lineError(folder, file, line, 'there is no tab between key and value');
    let key: Key;
    try {
      const keyIn = text.toString(textOf, start, tab);
      key = tastypy ? decodeTastypyKey(keyIn) : parseKeyText(keyIn);
    } catch (error) {
      throw lineError(folder, file, line, 'the key cannot be read', error);
    }
    const check = crc32(text.subarray(start, end));
    yield { key, shard, source, position: start, length: end - start, check };
    start = end + 1;
  }
}

/** Most keys are strings without escapes: their text between the quotes is the key. */
function parseKeyText(text: string): Key {
  if (text.charCodeAt(0) === 0x22 && text.indexOf('\\') < 0 && text.length >= 2) {
    // A copy of its own: a slice would keep the whole line alive.
    return JSON.parse(text) as string;
  }
  return parseKey(text);
}

/**
 * The first line of a text that cannot be a line of a shard, from 1, and why; undefined where all could be.
 *
 * For texts that no checksum vouches for: nobody knows who wrote them, so what decoding and parsing would change without a word is bad, too.
 */
export function firstBadLine(
  text: Buffer,
  tastypy: boolean,
): { line: number; why: string; cause: unknown } | undefined {
  const lines = parseShard('', '', 0, text, tastypy);
  for (let line = 1; ; line++) {
    try {
      const next = lines.next();
      if (next.done === true) return undefined;
      const { source, position, length, check } = next.value;
      if (!isUtf8(text.subarray(position, position + length))) {
        return { line, why: 'it is not UTF-8', cause: undefined };
      }
      const value = source.textAt(position, length, check);
      copyJson(JSON.parse(value));
      const inexact = findInexact(value);
      if (inexact !== undefined) {
        const why = `it has the number ${inexact}, which would come back as another one; write it as a text`;
        return { line, why, cause: undefined };
      }
    } catch (error) {
      const known = error instanceof PodError ? error.info?.why : undefined;
      const cause = error instanceof PodError && error.cause !== undefined ? error.cause : error;
      const why = typeof known === 'string' ? known : cause instanceof Error ? cause.message : String(cause);
      // Whoever says it goes on with what was not changed.
      return { line, why: why.replace(/(\. Nothing was changed)?\.$/, ''), cause };
    }
  }
}

export function lineError(folder: string, file: string, line: number, why: string, cause?: unknown): PodError {
  return new PodError(
    'ERR_POD_CORRUPT',
    `${join(folder, file)} line ${line}: ${why}. Nothing was changed. If the file was edited on purpose, mend the line and run: ` +
      `everpod accept ${folder}; to salvage every line that can be read, run: everpod repair ${folder}`,
    { path: folder, file, line, cause, info: { why } },
  );
}
