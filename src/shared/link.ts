/**
 * A client's end of the channel to the owner of a shared pod, over a socket.
 */
import { connect, type Socket } from 'node:net';
import { PodError } from '../core/errors.ts';
import { randomHex } from '../disk/random.ts';
import type { Address } from '../disk/shared-address.ts';
import { FrameReader } from './frames.ts';
import { isProof, parseHello, parseWelcome, proofOf, type Welcome } from './greeting.ts';
import { byeText, frameOf, LIMITS, PROTOCOL_VERSION, parseFrame, protocolError } from './protocol.ts';

/** A connection that is made: the two ends have greeted each other. */
export interface Link {
  readonly welcome: Welcome;
  send(json: string): void;
  /**
   * Ends it on purpose; nothing more is told.
   *
   * @param unused the tokens of claims on tasks that were never begun
   */
  leave(unused: ReadonlySet<string>): void;
}

/** Who connects. */
export interface Identity {
  readonly client: string;
  readonly kind: 'pod' | 'tracker';
  readonly holds: number;
}

/** What is told of a connection. */
export interface LinkEvents {
  readonly onFrame: (frame: unknown) => void;
  /** It ended without `leave`. */
  readonly onEnd: (error: PodError) => void;
}

/** An answer may be longer than a question. */
const ANSWER_BYTES_MAX = 2 * LIMITS.outputBytesMax;

/**
 * Connects to an owner.
 *
 * @returns undefined where nobody listens there
 * @throws {PodError} `ERR_POD_PROTOCOL`, `ERR_POD_OPTIONS`: connecting again would not help
 */
export function connectTo(address: Address, identity: Identity, events: LinkEvents): Promise<Link | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(address.socket);
    const end = new ClientEnd(socket, address, identity, events, (outcome) => {
      if (outcome instanceof PodError) reject(outcome);
      else resolve(outcome);
    });
    socket.on('data', (chunk) => end.take(chunk));
    socket.on('error', () => end.ended());
    socket.on('close', () => end.ended());
    socket.setTimeout(LIMITS.greetingMs, () => end.timedOut());
  });
}

/** States: awaiting the owner's greeting, awaiting its welcome, open, ended. */
class ClientEnd implements Link {
  readonly #socket: Socket;
  readonly #reader: FrameReader = new FrameReader(LIMITS.greetingBytes);
  readonly #address: Address;
  readonly #identity: Identity;
  readonly #events: LinkEvents;
  readonly #settle: (outcome: Link | undefined | PodError) => void;
  readonly #nonce: string = randomHex(16);
  #ownerNonce: string | undefined;
  #welcome: Welcome | undefined;
  #ended: boolean = false;

  constructor(
    socket: Socket,
    address: Address,
    identity: Identity,
    events: LinkEvents,
    settle: (outcome: Link | undefined | PodError) => void,
  ) {
    this.#socket = socket;
    this.#address = address;
    this.#identity = identity;
    this.#events = events;
    this.#settle = settle;
  }

  get welcome(): Welcome {
    return this.#welcome as Welcome;
  }

  send(json: string): void {
    if (!this.#ended) this.#socket.write(frameOf(json));
  }

  leave(unused: ReadonlySet<string>): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.end(frameOf(byeText(unused)));
    // It is gone soon; until then the program may be over.
    this.#socket.unref();
  }

  timedOut(): void {
    if (this.#welcome === undefined) this.ended();
  }

  ended(): void {
    if (this.#ended) return;
    this.#end(new PodError('ERR_POD_DISCONNECTED', 'The connection to the owner of the shared pod ended.'));
  }

  take(chunk: Buffer): void {
    this.#reader.push(chunk);
    try {
      for (let frame = this.#reader.next(); frame !== undefined && !this.#ended; frame = this.#reader.next()) {
        this.#takeFrame(parseFrame(frame));
      }
    } catch (error) {
      this.#end(error as PodError);
    }
  }

  #takeFrame(frame: unknown): void {
    if (this.#welcome !== undefined) {
      // A refusal: the connection ends, and why is of no use to whoever connects again.
      if (Array.isArray(frame)) this.#events.onFrame(frame);
      return;
    }
    const { token } = this.#address;
    if (this.#ownerNonce === undefined) {
      const { nonce } = parseHello(frame);
      this.#ownerNonce = nonce;
      const proof = proofOf(token, 'client', nonce, this.#nonce);
      this.send(
        JSON.stringify({ protocol: PROTOCOL_VERSION, nonce: this.#nonce, proof, pid: process.pid, ...this.#identity }),
      );
      return;
    }
    const welcome = parseWelcome(frame);
    if (!isProof(welcome.proof ?? '', proofOf(token, 'owner', this.#ownerNonce, this.#nonce))) {
      throw protocolError('it does not know the token');
    }
    this.#welcome = welcome;
    this.#reader.bytesMax = ANSWER_BYTES_MAX;
    this.#socket.setTimeout(0);
    this.#socket.unref();
    this.#settle(this);
  }

  #end(error: PodError): void {
    this.#ended = true;
    this.#socket.destroy();
    if (this.#welcome !== undefined) this.#events.onEnd(error);
    // An owner that ends in the middle of a greeting is one that nobody can reach; the next one may be there soon.
    else this.#settle(error.code === 'ERR_POD_DISCONNECTED' ? undefined : error);
  }
}
