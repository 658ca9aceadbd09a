/**
 * Cuts a stream of bytes into frames; a length is looked at before anything is kept for it.
 */
import { Buffer } from 'node:buffer';
import { protocolError } from './protocol.ts';

const HEAD_BYTES = 4;
const SMALL_BYTES = 4096;

export class FrameReader {
  /** The longest frame that is taken; the greeting's limit at first. */
  bytesMax: number;
  #chunks: Buffer[] = [];
  #bytes: number = 0;
  /** Of the frame that is being read, without its head; -1 while that is not complete. */
  #length: number = -1;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Whether a frame was begun and is not complete. */
  get isInside(): boolean {
    return this.#bytes > 0;
  }

  /** Takes bytes in. Ask `next` until it gives none. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#bytes += chunk.length;
    const last = this.#chunks.at(-1);
    // Whoever sends byte by byte shall not have us keep an object for each.
    if (last !== undefined && last.length + chunk.length <= SMALL_BYTES) {
      this.#chunks[this.#chunks.length - 1] = Buffer.concat([last, chunk]);
    } else this.#chunks.push(chunk);
  }

  /**
   * The next complete frame, if there is one.
   *
   * @throws {PodError} `ERR_POD_PROTOCOL` where a frame is empty or too long; nothing can be read after it
   */
  next(): Buffer | undefined {
    if (this.#length < 0) {
      if (this.#bytes < HEAD_BYTES) return undefined;
      this.#length = this.#take(HEAD_BYTES).readUInt32BE(0);
      if (this.#length === 0) throw protocolError('a frame is empty');
      if (this.#length > this.bytesMax) {
        throw protocolError(`a frame of ${this.#length} bytes is longer than ${this.bytesMax}`);
      }
    }
    if (this.#bytes < this.#length) return undefined;
    const frame = this.#take(this.#length);
    this.#length = -1;
    return frame;
  }

  #take(length: number): Buffer {
    const first = this.#chunks[0] as Buffer;
    this.#bytes -= length;
    if (first.length > length) {
      this.#chunks[0] = first.subarray(length);
      return first.subarray(0, length);
    }
    if (first.length === length) {
      this.#chunks.shift();
      return first;
    }
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const chunk = this.#chunks.shift() as Buffer;
      if (chunk.length > left) this.#chunks.unshift(chunk.subarray(left));
      parts.push(chunk.length > left ? chunk.subarray(0, left) : chunk);
      left -= Math.min(left, chunk.length);
    }
    return Buffer.concat(parts, length);
  }
}
