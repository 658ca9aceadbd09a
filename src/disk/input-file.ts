/**
 * Reads a file or a stream that is no part of a pod, such as what is to be imported: piece by piece, unpacked where it is gzipped.
 */
import { Buffer } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { PodError } from '../core/errors.ts';
import { errorCode } from './files.ts';

/** How much is asked for at a time. */
const PIECE_BYTES = 1 << 20;

/**
 * The bytes of a file, or of a stream. Whether they are gzipped is told by their first two, whatever the name says.
 *
 * @param name what it is called in errors
 * @throws {PodError} with a step: `ERR_POD_DISK` where it cannot be read, `ERR_POD_VALUE` where it is gzipped and damaged or cut off
 */
export async function* readInput(
  source: string | AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Buffer, void, undefined> {
  try {
    yield* unpacked(typeof source === 'string' ? createReadStream(source, { highWaterMark: PIECE_BYTES }) : source);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('Z_') === true) {
      throw new PodError('ERR_POD_VALUE', `${name} is gzipped, and is damaged or cut off: ${message}.`, {
        file: name,
        cause: error,
      });
    }
    if (errorCode(error) === undefined) throw error;
    throw new PodError('ERR_POD_DISK', `${name} could not be read: ${message}.`, {
      file: name,
      cause: error,
      info: { systemCode: code },
    });
  }
}

async function* unpacked(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, undefined> {
  const pieces = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 2) {
    const { done, value } = await pieces.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  const whole = async function* (): AsyncGenerator<Buffer, void, undefined> {
    try {
      yield head;
      for (let next = await pieces.next(); next.done !== true; next = await pieces.next())
        yield Buffer.from(next.value);
    } finally {
      await pieces.return?.();
    }
  };
  if (head[0] !== 0x1f || head[1] !== 0x8b) {
    yield* whole();
    return;
  }
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES });
  // Errors of either end arrive where the result is read.
  pipeline(Readable.from(whole()), gunzip, () => {});
  yield* gunzip as AsyncIterable<Buffer>;
}
