/**
 * Asks the owner of a shared pod, whoever that is at the moment: calls in flight when an owner ends are sent again to the next one.
 *
 * States: joining, joined, lost (no owner could be reached; the next call tries again), closed. Calls are numbered; the owner carries out each
 * number once.
 */
import { PodError } from '../core/errors.ts';
import { atExit } from '../disk/exit.ts';
import { readManifest } from '../disk/manifest.ts';
import { randomHex } from '../disk/random.ts';
import { nodeSystem } from '../disk/system.ts';
import { type Joined, join } from './join.ts';
import type { Link } from './link.ts';
import type { OwnerOptions } from './owner.ts';
import { fromWireError, LIMITS } from './protocol.ts';

/** Calls that are sent as one frame. */
const FRAME_CHARACTERS = 1 << 20;
/** The longest delay of a timer. */
const FOREVER_MS = 2 ** 31 - 1;

/** A call that was not answered yet. */
interface Call {
  readonly number: number;
  readonly text: string;
  readonly isChange: boolean;
  readonly underLock: boolean;
  /** It may have reached an owner. */
  sent: boolean;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class Caller {
  readonly path: string;
  /** The tokens of claims on tasks that the program was not handed yet: whoever leaves gives their tries back. */
  readonly unused: Set<string> = new Set();
  readonly #options: OwnerOptions;
  readonly #reconnectMs: number;
  readonly #client: string = randomHex(16);
  /** Of the pod that was joined first: calls must not go into another one that has come to the path. */
  #podId: string | undefined;
  #joined: Joined | undefined;
  #joining: Promise<void> | undefined;
  #closed: boolean = false;
  #last: number = 0;
  /** In the order of their numbers. */
  readonly #calls: Map<number, Call> = new Map();
  /** Calls for which there is no room at the owner yet. */
  #waiting: Call[] = [];
  #unsent: Call[] = [];
  /** Changes that were answered since the last frame, so that the owner need not keep the answers while an earlier call still waits for its own. */
  #answered: number[] = [];
  #flushScheduled: boolean = false;
  #holds: number = 0;
  #hasLock: boolean = false;
  /** The lock was lost and not given back yet. */
  #lostLock: boolean = false;
  readonly #keepAlive: NodeJS.Timeout;
  #heartbeat: NodeJS.Timeout | undefined;
  readonly #stopExit: () => void;

  constructor(path: string, options: OwnerOptions, reconnectMs: number) {
    this.path = path;
    this.#options = options;
    this.#reconnectMs = reconnectMs;
    this.#keepAlive = setInterval(() => {}, FOREVER_MS).unref();
    this.#stopExit = atExit((how) => {
      // Whoever ends on purpose did not die of its tasks.
      if (how !== 'uncaughtException' && how !== 'unhandledRejection') this.#joined?.link.leave(this.unused);
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The process that is the owner at the moment, as far as this handle knows. */
  get ownerPid(): number | undefined {
    return this.#joined?.link.welcome.pid;
  }

  /** Whether this process is the owner. */
  get isOwner(): boolean {
    return this.#joined?.owner !== undefined;
  }

  /** Connects for the first time. Returns what was joined. */
  async open(patienceMs: number): Promise<Joined> {
    try {
      await this.#join(patienceMs);
    } catch (error) {
      this.#finish();
      throw error;
    }
    return this.#joined as Joined;
  }

  /**
   * Asks for an operation.
   *
   * @param args JSON, or undefined for null; `copyJson` has seen every value of the caller's
   */
  ask<R>(operation: string, args: readonly unknown[], isChange: boolean): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw closedError(this.path);
      if (this.#lostLock && operation !== 'unlock') throw lostLockError(this.path);
      const number = ++this.#last;
      const text = JSON.stringify([number, operation, ...args]);
      if (text.length * 3 > LIMITS.frameBytes && Buffer.byteLength(text) > LIMITS.frameBytes - 1024) {
        throw new PodError(
          'ERR_POD_VALUE',
          `The arguments of this call take more than the ${LIMITS.frameBytes} bytes that the channel of a shared pod carries at once. Nothing was changed.`,
          { path: this.path },
        );
      }
      const call: Call = {
        number,
        text,
        isChange,
        underLock: this.#hasLock,
        sent: false,
        resolve: resolve as (result: unknown) => void,
        reject,
      };
      if (this.#calls.size === 0) this.#keepAlive.ref();
      this.#calls.set(number, call);
      if (this.#calls.size > LIMITS.questions / 2) this.#waiting.push(call);
      else this.#send(call);
    });
  }

  /** A hold, the lock: what the owner has to know again when it is another one. */
  noteHold(by: 1 | -1): void {
    this.#holds = Math.max(0, this.#holds + by);
  }

  noteLock(hasLock: boolean): void {
    this.#hasLock = hasLock;
    this.#lostLock = false;
  }

  /** Lets go. The owner, where it is in this process, ends with its last handle. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#joining?.catch(() => {});
    this.#rejectAll(() => closedError(this.path));
    this.#finish();
    this.#joined?.link.leave(this.unused);
    await this.#joined?.owner?.release();
  }

  #finish(): void {
    this.#closed = true;
    clearInterval(this.#keepAlive);
    clearInterval(this.#heartbeat);
    this.#stopExit();
  }

  // ---- Sending.

  #send(call: Call): void {
    this.#unsent.push(call);
    if (this.#joined === undefined) {
      if (this.#joining === undefined) this.#rejoin();
      return;
    }
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    // What is asked in one turn goes as one frame.
    queueMicrotask(() => {
      this.#flushScheduled = false;
      if (this.#joined !== undefined) this.#flush(this.#joined.link);
    });
  }

  #flush(link: Link): void {
    let texts: string[] = [];
    let characters = 0;
    for (const call of this.#unsent) {
      if (characters + call.text.length > FRAME_CHARACTERS && texts.length > 0) {
        link.send(this.#frame(texts));
        texts = [];
        characters = 0;
      }
      call.sent = true;
      texts.push(call.text);
      characters += call.text.length;
    }
    this.#unsent = [];
    if (texts.length > 0) link.send(this.#frame(texts));
  }

  #frame(texts: readonly string[]): string {
    const first = this.#calls.keys().next().value;
    const acked = first === undefined ? this.#last : first - 1;
    const beyond = this.#answered.filter((number) => number > acked);
    this.#answered = [];
    const head = beyond.length === 0 ? String(acked) : `[${[acked, ...beyond].join(',')}]`;
    return `[${[head, ...texts].join(',')}]`;
  }

  // ---- Answers.

  #take(frame: unknown): void {
    for (const answer of frame as unknown[]) {
      const [number, status, body] = answer as [number, number, unknown];
      const call = this.#calls.get(number);
      if (call === undefined) continue;
      this.#calls.delete(number);
      if (call.isChange) this.#answered.push(number);
      if (status === 0) call.resolve(body);
      else call.reject(fromWireError(this.path, body));
    }
    while (this.#waiting.length > 0 && this.#calls.size - this.#waiting.length < LIMITS.questions / 2) {
      this.#send(this.#waiting.shift() as Call);
    }
    if (this.#calls.size === 0) this.#keepAlive.unref();
  }

  #rejectAll(errorOf: (call: Call) => unknown): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#waiting = [];
    this.#unsent = [];
    this.#keepAlive.unref();
    for (const call of calls) call.reject(errorOf(call));
  }

  // ---- Owners come and go.

  #rejoin(): void {
    this.#joining = this.#join(this.#reconnectMs)
      .catch((error: unknown) => {
        // A change that was sent may have been carried out by the owner that is gone.
        this.#rejectAll(({ sent, isChange }) => (sent && isChange ? uncertainError(this.path) : error));
      })
      .finally(() => {
        this.#joining = undefined;
      });
  }

  async #join(patienceMs: number): Promise<void> {
    const identity = { client: this.#client, kind: this.#options.kind, holds: this.#holds };
    const isFirst = this.#last === 0;
    let isCurrent = true;
    const events = {
      onFrame: (frame: unknown) => {
        if (isCurrent) this.#take(frame);
      },
      onEnd: () => {
        if (!isCurrent || this.#closed) return;
        isCurrent = false;
        const owner = this.#joined?.owner;
        this.#joined = undefined;
        clearInterval(this.#heartbeat);
        void owner?.release();
        this.#rejoin();
      },
    };
    const joined = await join(this.path, this.#options, identity, events, patienceMs, this.#podId);
    if (this.#closed) {
      isCurrent = false;
      joined.link.leave(this.unused);
      await joined.owner?.release();
      return;
    }
    this.#joined = joined;
    this.#podId ??= readManifest(nodeSystem.fs, this.path)?.id;
    if (!isFirst) this.#settleOld(joined.link);
    this.#unsent = [...this.#calls.values()].filter((call) => !this.#waiting.includes(call));
    this.#flush(joined.link);
    this.#heartbeat = setInterval(() => joined.link.send(this.#frame([])), joined.link.welcome.leaseMs / 3).unref();
  }

  /** What cannot be asked of the new owner again. */
  #settleOld({ welcome }: Link): void {
    if (this.#hasLock && !welcome.hasLock) {
      this.#lostLock = true;
      this.#hasLock = false;
    }
    for (const call of [...this.#calls.values()]) {
      const error = this.#oldError(call, welcome.resumed);
      if (error === undefined) continue;
      this.#calls.delete(call.number);
      this.#waiting = this.#waiting.filter((other) => other !== call);
      call.reject(error);
    }
    if (this.#calls.size === 0) this.#keepAlive.unref();
  }

  #oldError({ sent, isChange, underLock }: Call, resumed: boolean): PodError | undefined {
    if (underLock && this.#lostLock) return lostLockError(this.path);
    return sent && isChange && !resumed ? uncertainError(this.path) : undefined;
  }
}

function closedError(path: string): PodError {
  return new PodError('ERR_POD_CLOSED', `${path} was closed. Open it again with open().`, { path });
}

function lostLockError(path: string): PodError {
  return new PodError(
    'ERR_POD_STALE',
    `The lock on ${path} was lost, because the connection to the owner was: what was asked under it may have been carried out in part. Call unlock(), and begin again.`,
    { path },
  );
}

function uncertainError(path: string): PodError {
  return new PodError(
    'ERR_POD_UNCERTAIN',
    'The owner of the shared pod ended while it carried this call out, and nobody can say whether it took effect. Look at the entry before you repeat it.',
    { path },
  );
}
