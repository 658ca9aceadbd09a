// One end of a shared pod's channel that says whatever a test tells it to.
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { FrameReader } from '../../src/shared/frames.ts';
import { proofOf } from '../../src/shared/greeting.ts';
import { frameOf, LIMITS, PROTOCOL_VERSION, parseFrame } from '../../src/shared/protocol.ts';

/** The token of the owners in these tests. */
export const TOKEN = '5'.repeat(64);

/** A client that keeps no rule but those that the test keeps. */
export class Raw {
  readonly socket: Socket;
  readonly #reader = new FrameReader(LIMITS.outputBytesMax);
  readonly #frames: unknown[] = [];
  #wake: () => void = () => {};
  closed = false;
  hello: { nonce: string; protocol: number } | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#reader.push(chunk);
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) {
        const value = parseFrame(frame);
        this.hello ??= value as never;
        this.#frames.push(value);
      }
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  /** The next frame; undefined when it was cut off. */
  async frame(): Promise<unknown> {
    while (this.#frames.length === 0 && !this.closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#frames.shift();
  }

  greet(changes: Record<string, unknown> = {}): void {
    const nonce = randomBytes(16).toString('hex');
    const proof = proofOf(TOKEN, 'client', this.hello?.nonce ?? '', nonce);
    const client = randomBytes(16).toString('hex');
    this.say({ protocol: PROTOCOL_VERSION, nonce, proof, client, pid: process.pid, kind: 'pod', holds: 0, ...changes });
  }

  say(value: unknown): void {
    this.socket.write(frameOf(JSON.stringify(value)));
  }

  async ask(...question: unknown[]): Promise<unknown> {
    this.say([0, question]);
    return ((await this.frame()) as unknown[])?.[0];
  }

  async end(): Promise<void> {
    while (!this.closed) await this.frame();
  }
}
