/**
 * What is said over the channel of a shared pod: versions, limits, and the shapes of questions and answers.
 *
 * A frame is four bytes of length (big endian) and so many bytes of JSON. First the two ends greet each other (`greeting.ts`). Then the
 * client sends `[acked, question, ...]`: every answer up to the number `acked` has arrived, or, where `acked` is a list, every answer up to its
 * first number, and those with the others; a question is `[number, operation, ...arguments]`.
 * The owner sends `[answer, ...]`: `[number, 0, result]`, or `[number, 1, error]`.
 * Who leaves on purpose says `["bye", token, ...]`, with the claims that it has and never began.
 */
import { Buffer } from 'node:buffer';
import { PodError, type PodErrorCode } from '../core/errors.ts';
import { copyJson, DEPTH_MAX } from '../core/json.ts';

/** Goes up when the two ends could no longer understand each other. */
export const PROTOCOL_VERSION = 1;

/** How much one end takes from the other. */
export interface Limits {
  /** The longest frame. */
  readonly frameBytes: number;
  /** The longest frame before the greeting is over. */
  readonly greetingBytes: number;
  /** A greeting takes at most this long. */
  readonly greetingMs: number;
  /** A frame that was begun is complete within this time. */
  readonly frameMs: number;
  /** Questions of one client that wait for their answer; more are not read. */
  readonly questions: number;
  /** Bytes that wait to be sent to one client; with more, nothing is read from it any more. */
  readonly outputBytes: number;
  /** With so many it is cut off. */
  readonly outputBytesMax: number;
  /** And when it takes nothing of what waits for so long. */
  readonly outputMs: number;
  readonly connections: number;
  /** Of those, how many have not greeted yet. */
  readonly strangers: number;
}

export const LIMITS: Limits = {
  frameBytes: 16 << 20,
  greetingBytes: 4096,
  greetingMs: 5000,
  frameMs: 30_000,
  questions: 1024,
  outputBytes: 16 << 20,
  outputBytesMax: 64 << 20,
  outputMs: 30_000,
  connections: 1024,
  strangers: 64,
};

/** Values are nested this deep at most, and stand a few levels deep in their frame. */
const FRAME_DEPTH_MAX = DEPTH_MAX + 16;

/** The facts of an error take at most this much as JSON; they are a few words and numbers. */
const INFO_CHARACTERS_MAX = 4096;

/** An error as it goes over the channel: what a caller needs, and nothing of the inside. */
export interface WireError {
  readonly code: PodErrorCode;
  readonly message: string;
  readonly key?: unknown;
  readonly at?: string | undefined;
  readonly info?: Readonly<Record<string, unknown>> | undefined;
}

/** One question, taken apart. */
export interface Question {
  readonly number: number;
  readonly operation: string;
  readonly args: readonly unknown[];
}

/** A client's frame, taken apart. */
export interface Questions {
  /** Every answer up to this number has arrived. */
  readonly acked: number;
  /** And these, beyond it. */
  readonly beyond: readonly number[];
  readonly questions: readonly Question[];
}

export function frameOf(json: string): Buffer {
  const length = Buffer.byteLength(json);
  const frame = Buffer.allocUnsafe(4 + length);
  frame.writeUInt32BE(length, 0);
  frame.write(json, 4);
  return frame;
}

/**
 * The value in a frame's bytes. The depth is looked at first, because a parser spends memory for every level.
 *
 * @throws {PodError} `ERR_POD_PROTOCOL`
 */
export function parseFrame(bytes: Buffer): unknown {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (inString) {
      if (byte === BACKSLASH) index++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > FRAME_DEPTH_MAX) throw protocolError('a frame is nested too deeply');
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
  }
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw protocolError('a frame is not JSON');
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * A client's frame.
 *
 * @throws {PodError} `ERR_POD_PROTOCOL`
 */
export function parseQuestions(frame: unknown): Questions {
  if (!Array.isArray(frame)) throw protocolError('a frame of questions is a list');
  const [acked, ...beyond]: unknown[] = Array.isArray(frame[0]) ? frame[0] : [frame[0]];
  if (!isCount(acked) || !beyond.every(isCount)) throw protocolError('a frame of questions begins with a number');
  const questions = frame.slice(1).map((question: unknown): Question => {
    if (!Array.isArray(question) || !isCount(question[0]) || typeof question[1] !== 'string') {
      throw protocolError('a question is a number, an operation, and its arguments');
    }
    return { number: question[0], operation: question[1], args: question.slice(2) };
  });
  return { acked, beyond, questions };
}

export function byeText(unused: Iterable<string>): string {
  return JSON.stringify(['bye', ...unused]);
}

/** The tokens in a frame that says good-bye; undefined where it says something else. */
export function parseBye(frame: unknown): ReadonlySet<unknown> | undefined {
  return Array.isArray(frame) && frame[0] === 'bye' ? new Set(frame.slice(1)) : undefined;
}

/** A number of a question: from 0, where 0 is none. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The text of an answer. */
export function answerText(number: number, result: string | undefined): string {
  return result === undefined ? `[${number},0]` : `[${number},0,${result}]`;
}

export function errorText(number: number, error: WireError): string {
  return `[${number},1,${JSON.stringify(error)}]`;
}

/** What of an error goes over the channel: no stack, no cause. One that is not ours says nothing of itself (reliability K15). */
export function toWireError(error: unknown): WireError {
  if (!(error instanceof PodError)) {
    return {
      code: 'ERR_POD_UNSUPPORTED',
      message: 'The owner of the shared pod could not do this; its error is its own.',
    };
  }
  const { code, message, key, at } = error;
  const info = plainInfo(error.info);
  return {
    code,
    message,
    ...(key !== undefined && { key }),
    ...(at !== undefined && { at }),
    ...(info !== undefined && { info }),
  };
}

/** And back. */
export function fromWireError(path: string, wire: unknown): PodError {
  const { code, message, key, at, info } = (
    typeof wire === 'object' && wire !== null ? wire : {}
  ) as Partial<WireError>;
  if (typeof code !== 'string' || typeof message !== 'string')
    return protocolError('an error has a code and a message');
  return new PodError(code, message, { path, key, at, info: plainInfo(info) });
}

/**
 * The facts of an error as plain data of our own; undefined where they are no object of JSON or too long, because the error counts for more
 * than its facts. A member named `__proto__` is left out: whoever copies the facts with `Object.assign` would give the copy another prototype.
 */
function plainInfo(info: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof info !== 'object' || info === null || Array.isArray(info)) return undefined;
  try {
    const text = JSON.stringify(copyJson(info));
    if (text.length > INFO_CHARACTERS_MAX) return undefined;
    return JSON.parse(text, (name, member: unknown) => (name === '__proto__' ? undefined : member)) as Record<
      string,
      unknown
    >;
  } catch {
    return undefined;
  }
}

export function protocolError(what: string): PodError {
  return new PodError('ERR_POD_PROTOCOL', `The other end of a shared pod's channel breaks its rules: ${what}.`);
}
