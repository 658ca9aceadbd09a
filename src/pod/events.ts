/**
 * Events: what happens to a pod, told to listeners of one handle and to the process-wide channels of `node:diagnostics_channel`.
 *
 * Nobody listening costs one look at a channel and one at a map. A listener cannot break what it listens to: what it throws becomes an
 * uncaught exception of its own, later, as with `EventTarget`.
 */
import { type Channel, channel } from 'node:diagnostics_channel';
import { PodError } from '../core/errors.ts';

/** What a pod tells. */
export interface PodEvents {
  /** A sync point was made: every change before it is on the disk. */
  sync: {
    readonly path: string;
    /** How many keys were dirty. */
    readonly keys: number;
    /** How long the program, or with `flush` the promise, waited for the disk. */
    readonly durationMs: number;
  };
  /** Damage was met in the background, where no caller could be told: a shard that somebody else changed is not overwritten. */
  corrupt: { readonly path: string; readonly error: PodError };
}

/** The events of a pod, by name. */
export const POD_EVENTS: readonly (keyof PodEvents)[] = ['sync', 'corrupt'];

/** Channels by the name of the event; kept here, because asking for one by name costs more than telling an event. */
const CHANNELS: Map<string, Channel> = new Map();

function channelOf(name: string): Channel {
  let found = CHANNELS.get(name);
  if (found === undefined) {
    found = channel(`everpod:${name}`);
    CHANNELS.set(name, found);
  }
  return found;
}

/** Listeners by the name of the event. */
export class Listeners<E extends object> {
  readonly #listeners: Map<keyof E, Set<(event: never) => void>> = new Map();

  /**
   * Calls `listener` at every such event until what is returned is disposed of.
   *
   * @param names the events there are
   * @throws {PodError} `ERR_POD_OPTIONS` where there is no such event, or `listener` is no function
   */
  on<N extends keyof E>(names: readonly (keyof E)[], name: N, listener: (event: E[N]) => void): Disposable {
    if (!names.includes(name)) {
      throw new PodError('ERR_POD_OPTIONS', `There is no event "${String(name)}"; there are: ${names.join(', ')}.`);
    }
    if (typeof listener !== 'function') {
      throw new PodError('ERR_POD_OPTIONS', `The listener of "${String(name)}" must be a function.`);
    }
    // A function of its own, so that one listener may be added twice and each be taken away alone.
    const call = (event: E[N]): void => listener(event);
    const there = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, there.add(call));
    return {
      [Symbol.dispose]: () => {
        there.delete(call);
      },
    };
  }

  /** Whether anybody listens. */
  protected has(name: keyof E): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  /** Tells every listener. */
  tell<N extends keyof E>(name: N, event: E[N]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as (event: E[N]) => void)(event);
      } catch (error) {
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }
}

/** Listeners, and the channels. */
export class Events<E extends object> extends Listeners<E> {
  /** Whether anybody would be told. */
  isHeard(name: keyof E & string): boolean {
    return channelOf(name).hasSubscribers || this.has(name);
  }

  /** Tells everybody. `make` is called only where there is somebody. */
  emit<N extends keyof E & string>(name: N, make: () => E[N]): void {
    if (!this.isHeard(name)) return;
    const event = make();
    channelOf(name).publish(event);
    this.tell(name, event);
  }
}
