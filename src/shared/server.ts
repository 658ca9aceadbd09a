/**
 * Lets other processes reach the owner of a shared pod: listens on a socket, greets, and cuts off whoever breaks the rules.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { PodError } from '../core/errors.ts';
import { randomHex } from '../disk/random.ts';
import type { Broker } from './broker.ts';
import { FrameReader } from './frames.ts';
import { type ClientGreeting, helloOf, isProof, parseClientGreeting, proofOf, type Welcome } from './greeting.ts';
import { frameOf, type Limits, parseBye, parseFrame, parseQuestions, protocolError, toWireError } from './protocol.ts';
import type { Session } from './session.ts';

/** Frames of one connection that are looked at before others have their turn. */
const TURN_FRAMES = 64;

/** What a listener needs to know. */
export interface ListenOptions {
  readonly clock: Clock;
  readonly token: string;
  readonly limits: Limits;
  /** What is served. */
  readonly kind: 'pod' | 'tracker';
  /** Told of every connection that was cut off for breaking the rules. */
  readonly onRefusal: (error: PodError) => void;
}

export interface Listener {
  close(): Promise<void>;
}

/** Listens at a path until it is closed. */
export async function listen(broker: Broker, socketPath: string, options: ListenOptions): Promise<Listener> {
  const connections = new Set<Connection>();
  const server = createServer({ pauseOnConnect: false }, (socket) => {
    const strangers = [...connections].filter(({ isStranger }) => isStranger).length;
    if (connections.size >= options.limits.connections || strangers >= options.limits.strangers) {
      socket.destroy();
      options.onRefusal(new PodError('ERR_POD_PROTOCOL', 'There are too many connections to the shared pod.'));
      return;
    }
    const connection = new Connection(broker, socket, options, () => connections.delete(connection));
    connections.add(connection);
  });
  // Where the process has no descriptors left, accepting fails; the next one may succeed.
  server.on('error', () => {});
  await begin(server, socketPath);
  server.unref();
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of connections) connection.end();
      }),
  };
}

function begin(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(error);
    server.once('error', failed);
    server.listen(socketPath, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/** One client at the other end of a socket. States: stranger, then client, then ended. */
class Connection {
  readonly #broker: Broker;
  readonly #socket: Socket;
  readonly #options: ListenOptions;
  readonly #reader: FrameReader;
  readonly #nonce: string = randomHex(16);
  readonly #onEnd: () => void;
  #session: Session | undefined;
  #ended: boolean = false;
  /** The owner wants no more questions for now, or the client takes no more answers. */
  #isFull: boolean = false;
  #isReading: boolean = false;
  #cancelPatience: (() => void) | undefined;
  #cancelDrain: (() => void) | undefined;

  constructor(broker: Broker, socket: Socket, options: ListenOptions, onEnd: () => void) {
    this.#broker = broker;
    this.#socket = socket;
    this.#options = options;
    this.#onEnd = onEnd;
    this.#reader = new FrameReader(options.limits.greetingBytes);
    socket.unref();
    socket.on('data', (chunk) => {
      this.#reader.push(chunk);
      this.#read();
    });
    socket.on('error', () => this.end());
    socket.on('close', () => this.end());
    socket.on('drain', () => this.#drained());
    this.#waitFor('greeting', options.limits.greetingMs);
    this.#write(JSON.stringify(helloOf(this.#nonce)));
  }

  get isStranger(): boolean {
    return this.#session === undefined;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelPatience?.();
    this.#cancelDrain?.();
    this.#socket.destroy();
    this.#onEnd();
    if (this.#session !== undefined) this.#broker.detach(this.#session, 'died');
  }

  /** Tells why, as far as the other end listens, and ends. */
  #refuse(error: unknown): void {
    if (this.#ended) return;
    const refused = toWireError(error);
    if (error instanceof PodError && error.code === 'ERR_POD_PROTOCOL') this.#options.onRefusal(error);
    this.#socket.write(frameOf(JSON.stringify({ refused: { code: refused.code, message: refused.message } })));
    this.end();
  }

  #read(): void {
    if (this.#isReading) return;
    try {
      for (let count = 0; count < TURN_FRAMES; count++) {
        if (this.#ended || this.#isFull) return;
        const frame = this.#reader.next();
        if (frame === undefined) {
          this.#watchFrame();
          return;
        }
        if (this.#session !== undefined) this.#endPatience();
        this.#take(parseFrame(frame));
      }
    } catch (error) {
      this.#refuse(error);
      return;
    }
    // Others have their turn, timers and signals too.
    this.#isReading = true;
    this.#socket.pause();
    setImmediate(() => {
      this.#isReading = false;
      this.#flow();
      this.#read();
    });
  }

  #take(frame: unknown): void {
    if (this.#session === undefined) {
      this.#greet(parseClientGreeting(frame));
      return;
    }
    const unused = parseBye(frame);
    if (unused !== undefined) {
      const session = this.#session;
      this.#broker.detach(session, 'left', unused);
      this.end();
      return;
    }
    this.#broker.ask(this.#session, parseQuestions(frame));
  }

  #greet(greeting: ClientGreeting): void {
    const { token, limits } = this.#options;
    if (!isProof(greeting.proof, proofOf(token, 'client', this.#nonce, greeting.nonce))) {
      throw protocolError('it does not know the token');
    }
    const outlet = {
      isLocal: false,
      send: (json: string) => this.#write(json),
      pause: () => this.#setFull(true),
      resume: () => this.#setFull(false),
      cut: (error: PodError) => this.#refuse(error),
    };
    requireKind(greeting.kind, this.#options.kind, this.#broker.pod.path);
    const { session, ...welcome } = this.#broker.attach(greeting.client, greeting.pid, greeting.holds, outlet);
    this.#session = session;
    this.#reader.bytesMax = limits.frameBytes;
    this.#endPatience();
    this.#write(
      JSON.stringify({
        proof: proofOf(token, 'owner', this.#nonce, greeting.nonce),
        ...welcome,
        ...welcomeOf(this.#broker, limits),
      }),
    );
  }

  // ---- Patience.

  #waitFor(what: string, durationMs: number): void {
    this.#cancelPatience?.();
    this.#cancelPatience = this.#options.clock.after(durationMs, () =>
      this.#refuse(protocolError(`it took longer than ${durationMs} ms for a ${what}`)),
    );
  }

  #endPatience(): void {
    this.#cancelPatience?.();
    this.#cancelPatience = undefined;
  }

  /** A frame that was begun must be complete in time, however slowly its bytes come. */
  #watchFrame(): void {
    if (this.#session === undefined) return;
    if (!this.#reader.isInside) this.#endPatience();
    else if (this.#cancelPatience === undefined) this.#waitFor('frame', this.#options.limits.frameMs);
  }

  // ---- Flow.

  #write(json: string): void {
    if (this.#ended) return;
    this.#socket.write(frameOf(json));
    const waiting = this.#socket.writableLength;
    const { outputBytes, outputBytesMax, outputMs } = this.#options.limits;
    if (waiting > outputBytesMax) this.#tooSlow();
    else if (waiting > outputBytes) {
      this.#flow();
      this.#cancelDrain ??= this.#options.clock.after(outputMs, () => this.#tooSlow());
    }
  }

  #tooSlow(): void {
    this.#options.onRefusal(protocolError('it does not take its answers'));
    this.end();
  }

  #drained(): void {
    this.#cancelDrain?.();
    this.#cancelDrain = undefined;
    this.#flow();
  }

  #setFull(isFull: boolean): void {
    this.#isFull = isFull;
    this.#flow();
    if (!isFull) this.#read();
  }

  /** Reads, or lets what comes wait in the system's buffers. */
  #flow(): void {
    if (this.#ended) return;
    const isStuck = this.#socket.writableLength > this.#options.limits.outputBytes;
    if (this.#isFull || this.#isReading || isStuck) this.#socket.pause();
    else this.#socket.resume();
  }
}

/** What the owner says of itself. */
export function welcomeOf(broker: Broker, limits: Limits): Omit<Welcome, 'proof' | 'resumed' | 'hasLock'> {
  return {
    leaseMs: broker.leaseMs,
    questions: limits.questions,
    frameBytes: limits.frameBytes,
    pid: process.pid,
  };
}

/** @throws {PodError} `ERR_POD_OPTIONS` where a client wants another class than is served */
export function requireKind(asked: 'pod' | 'tracker', served: 'pod' | 'tracker', path: string): void {
  if (asked === served) return;
  throw new PodError(
    'ERR_POD_OPTIONS',
    `${path} is shared as a ${served}, and was opened as a ${asked}. Open it with ${served === 'pod' ? 'SharedPOD' : 'SharedTracker'} in all processes.`,
    { path, info: { option: 'kind' } },
  );
}
