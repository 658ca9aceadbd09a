/**
 * The process that has the folder: opens it, carries out what clients ask, and lets them find it.
 */
import { PodError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import { randomHex } from '../disk/random.ts';
import { newSocketPath, removeAddress, writeAddress } from '../disk/shared-address.ts';
import { nodeSystem } from '../disk/system.ts';
import type { PodOptions } from '../pod/options.ts';
import { engineOf, PersistentOrderedDict } from '../pod/pod.ts';
import type { TrackerOptions } from '../tracker/options.ts';
import { DEFAULT_MAX_DEATHS, openUnmarked, type ProgressTracker } from '../tracker/tracker.ts';
import { Broker } from './broker.ts';
import type { Identity, Link, LinkEvents } from './link.ts';
import { LIMITS, PROTOCOL_VERSION, parseQuestions } from './protocol.ts';
import { type Listener, listen, requireKind, welcomeOf } from './server.ts';
import type { Outlet } from './session.ts';

/** How a folder is opened by whoever becomes its owner. */
export interface OwnerOptions {
  readonly kind: 'pod' | 'tracker';
  readonly pod: PodOptions<Json, Key>;
  readonly tracker: Pick<TrackerOptions<object, Key>, 'maxTries' | 'maxDeaths' | 'schema'>;
  readonly leaseMs: number;
  /** Whether it may be opened by this process. */
  readonly mayOwn: boolean;
  readonly onRefusal: (error: PodError) => void;
}

export class Owner {
  readonly kind: 'pod' | 'tracker';
  readonly #pod: PersistentOrderedDict<Json, Key>;
  readonly #broker: Broker;
  readonly #token: string = randomHex(32);
  #listener: Listener | undefined;
  #socketPath: string = '';
  /** Called when the owner has ended. */
  readonly #onEnd: () => void;
  /** Handles of this process. */
  #users: number = 0;
  #ending: Promise<void> | undefined;

  private constructor(options: OwnerOptions, pod: PersistentOrderedDict<Json, Key>, broker: Broker, onEnd: () => void) {
    this.kind = options.kind;
    this.#pod = pod;
    this.#broker = broker;
    this.#onEnd = onEnd;
  }

  /**
   * Opens a folder and serves it.
   *
   * @throws {PodError} `ERR_POD_LOCKED` where another process has it; as `PersistentOrderedDict.open`
   */
  static async open(place: string, options: OwnerOptions, onEnd: () => void): Promise<Owner> {
    const { pod, tracker, markDeaths } = openFolder(place, options);
    try {
      const maxDeaths = options.tracker.maxDeaths ?? DEFAULT_MAX_DEATHS;
      const broker = new Broker(nodeSystem, pod, tracker as never, { leaseMs: options.leaseMs, maxDeaths });
      const owner = new Owner(options, pod, broker, onEnd);
      // Where somebody goes on with the tasks that were in flight, they are not those that a process died of.
      if (!broker.isInherited) markDeaths();
      await owner.#serve(options);
      return owner;
    } catch (error) {
      pod.close();
      throw error;
    }
  }

  /** Whether it can still be asked. */
  get isOpen(): boolean {
    return this.#ending === undefined;
  }

  /** What it serves, for whoever has just opened it. */
  get pod(): PersistentOrderedDict<Json, Key> {
    return this.#pod;
  }

  /** Connects a handle of this process. */
  attach(identity: Identity, events: LinkEvents): Link {
    requireKind(identity.kind, this.kind, this.#pod.path);
    let isOpen = true;
    const outlet: Outlet = {
      isLocal: true,
      send: (json) => {
        // As over a socket, nobody is called while he calls; but there is no socket to wait for.
        queueMicrotask(() => {
          if (isOpen) events.onFrame(JSON.parse(json));
        });
      },
      pause: () => {},
      resume: () => {},
      cut: (error) => {
        if (!isOpen) return;
        isOpen = false;
        setImmediate(() => events.onEnd(error));
      },
    };
    const { session, ...welcome } = this.#broker.attach(identity.client, process.pid, identity.holds, outlet);
    return {
      welcome: { ...welcome, ...welcomeOf(this.#broker, LIMITS) },
      send: (json) => {
        if (isOpen) this.#broker.ask(session, parseQuestions(JSON.parse(json)));
      },
      leave: (unused) => {
        if (!isOpen) return;
        isOpen = false;
        this.#broker.detach(session, 'left', unused);
      },
    };
  }

  /** A handle of this process uses the folder, and until it lets go the folder stays open. */
  use(): void {
    this.#users++;
  }

  /** Ends with the last handle of this process; others go on with another owner. */
  async release(): Promise<void> {
    this.#users--;
    if (this.#users > 0) return;
    this.#ending ??= this.#end();
    await this.#ending;
  }

  async #end(): Promise<void> {
    this.#broker.close();
    await this.#listener?.close();
    removeAddress(nodeSystem.fs, this.#pod.path, this.#socketPath);
    try {
      this.#pod.close();
    } finally {
      this.#onEnd();
    }
  }

  async #serve({ kind, onRefusal }: OwnerOptions): Promise<void> {
    const { fs, clock } = nodeSystem;
    const { path } = this.#pod;
    const options = { clock, token: this.#token, limits: LIMITS, kind, onRefusal };
    try {
      this.#socketPath = newSocketPath(fs, path);
      this.#listener = await listen(this.#broker, this.#socketPath, options);
    } catch (error) {
      // Some file systems hold no sockets.
      this.#socketPath = newSocketPath(fs, path, true);
      this.#listener = await listen(this.#broker, this.#socketPath, options).catch(() => {
        throw new PodError('ERR_POD_DISK', `No socket can be made to share ${path}: ${(error as Error).message}`, {
          path,
          cause: error,
        });
      });
    }
    writeAddress(fs, path, {
      protocol: PROTOCOL_VERSION,
      socket: this.#socketPath,
      token: this.#token,
      pid: process.pid,
    });
  }
}

interface Opened {
  readonly pod: PersistentOrderedDict<Json, Key>;
  readonly tracker: ProgressTracker<object, Key> | undefined;
  readonly markDeaths: () => void;
}

/** Opens a folder for itself: a plain `open` in this process is refused as in any other. */
function openFolder(place: string, { kind, pod: options, tracker: tasks }: OwnerOptions): Opened {
  const isolated = { ...options, isolated: true };
  let opened: Opened;
  if (kind === 'tracker') {
    const { tracker, markDeaths } = openUnmarked<object, Key>(place, { ...isolated, ...tasks } as never);
    opened = { pod: tracker as unknown as PersistentOrderedDict<Json, Key>, tracker, markDeaths };
  } else {
    const pod = PersistentOrderedDict.open<Json, Key>(place, isolated);
    if (engineOf(pod).meta.tracker === true) {
      pod.close();
      throw new PodError('ERR_POD_OPTIONS', `${place} is a tracker. Open it with SharedTracker.`, {
        path: place,
        info: { option: 'kind' },
      });
    }
    opened = { pod, tracker: undefined, markDeaths: () => {} };
  }
  if (opened.pod.isWritable) return opened;
  opened.pod.close();
  throw new PodError(
    'ERR_POD_LOCKED',
    `${place} is open in this process as a plain pod. Close that handle first, or share it everywhere.`,
    { path: place, info: { pid: process.pid } },
  );
}
