/**
 * What `everpod top` knows of a run: counts, rates, tasks in flight, slow hosts and failures, gathered by following the folder.
 */
import type { Clock } from '../core/clock.ts';
import { type Key, type KeyIdentity, keyIdentity } from '../core/key.ts';
import type { FollowedRecord, Follower, LastProcess } from '../disk/follower.ts';
import { errorClassOf, errorOf, normalizeMessage } from '../tracker/error-classes.ts';
import { type Forecast, ProgressHistory } from '../tracker/eta.ts';
import { ABORTED, DONE, FAILED, hasTriesLeft, isTodo, stateOf, triesIn, UNFINISHED } from '../tracker/task.ts';

/** A task that was handed out, and no word of it since. */
export interface Flight {
  readonly key: Key;
  /** For how long, as watched. */
  readonly ageMs: number;
  /** It was in flight already when watching began, so it is older than that. */
  readonly isOlder: boolean;
}

/** How long tasks of one host take, from being handed out to the word of how it went. */
export interface Host {
  readonly host: string;
  readonly count: number;
  readonly meanMs: number;
  readonly longestMs: number;
}

/** Failures that are alike. */
export interface FailureClass {
  readonly id: string;
  readonly count: number;
  readonly text: string;
}

/** One moment of a run, as it is drawn and as `--json` prints it. */
export interface Picture {
  readonly path: string;
  /** For how long it has been watched. */
  readonly watchedMs: number;
  /** Between two looks: ages and durations are no finer than this. */
  readonly everyMs: number;
  readonly process: LastProcess;
  readonly total: number;
  readonly done: number;
  readonly todo: number;
  /** To do, and failed before. */
  readonly failing: number;
  /** Not done, with an error. */
  readonly failed: number;
  readonly exhausted: number;
  readonly aborted: number;
  readonly forecast: Forecast;
  /** Found and settled over the time that was watched, evenly. */
  readonly curve: readonly { readonly atMs: number; readonly known: number; readonly settled: number }[];
  /** The oldest first. */
  readonly flights: readonly Flight[];
  /** The slowest first. */
  readonly hosts: readonly Host[];
  /** The most frequent first. */
  readonly failures: readonly FailureClass[];
}

/** What is remembered of a task. */
interface Known {
  readonly key: Key;
  readonly state: number;
  /** The class of its error, where it has failed. */
  readonly failure: string | undefined;
}

interface Counts {
  done: number;
  todo: number;
  failing: number;
  failed: number;
  exhausted: number;
  aborted: number;
}

const CURVE_POINTS_MAX = 240;

/** Follows a tracker's folder. */
export class RunWatch {
  readonly #follower: Follower;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #everyMs: number;
  readonly #tasks: Map<KeyIdentity, Known> = new Map();
  readonly #counts: Counts = { done: 0, todo: 0, failing: 0, failed: 0, exhausted: 0, aborted: 0 };
  readonly #failures: Map<string, { count: number; readonly text: string }> = new Map();
  readonly #flights: Map<KeyIdentity, { readonly key: Key; readonly sinceMs: number; readonly isOlder: boolean }> =
    new Map();
  readonly #hosts: Map<string, { count: number; sumMs: number; longestMs: number }> = new Map();
  readonly #history: ProgressHistory = new ProgressHistory();
  #curve: { atMs: number; known: number; settled: number }[] = [];
  #curveEveryMs: number = 0;
  #maxTries: number = 0;
  #isFirst: boolean = true;

  /** @param everyMs how often it will be looked */
  constructor(follower: Follower, clock: Clock, everyMs: number) {
    this.#everyMs = everyMs;
    this.#follower = follower;
    this.#clock = clock;
    this.#startedMs = clock.monotonic();
  }

  /** Whether the folder holds tasks; known after the first look. */
  get isTracker(): boolean {
    return this.#follower.meta.tracker === true;
  }

  /**
   * Looks what has changed.
   *
   * @throws {PodError} as the follower
   */
  look(): void {
    const { anew, records } = this.#follower.look();
    const maxTries = this.#follower.meta.maxTries ?? 0;
    if (maxTries !== this.#maxTries) {
      // The counts follow from it, so they are taken back while it is as it was.
      for (const known of this.#tasks.values()) this.#count(known, -1);
      this.#maxTries = maxTries;
      for (const known of this.#tasks.values()) this.#count(known, 1);
    }
    if (anew) this.#rebuild();
    else for (const record of records) this.#apply(record);
    this.#isFirst = false;
    this.#sample();
  }

  /** What is known now. */
  picture(): Picture {
    const nowMs = this.#clock.monotonic();
    const watchedMs = nowMs - this.#startedMs;
    const flights = [...this.#flights.values()].map(({ key, sinceMs, isOlder }) => ({
      key,
      ageMs: nowMs - sinceMs,
      isOlder,
    }));
    const hosts = [...this.#hosts].map(([host, { count, sumMs, longestMs }]) => ({
      host,
      count,
      meanMs: sumMs / count,
      longestMs,
    }));
    return {
      path: this.#follower.path,
      watchedMs,
      everyMs: this.#everyMs,
      process: this.#follower.lastProcess(),
      total: this.#tasks.size,
      ...this.#counts,
      forecast: this.#history.forecast(this.#now()),
      curve: this.#curve,
      flights: flights.sort((a, b) => b.ageMs - a.ageMs),
      hosts: hosts.sort((a, b) => b.meanMs - a.meanMs),
      failures: [...this.#failures]
        .filter(([, { count }]) => count > 0)
        .map(([id, { count, text }]) => ({ id, count, text }))
        .sort((a, b) => b.count - a.count || (a.id < b.id ? -1 : 1)),
    };
  }

  #now() {
    const known = this.#tasks.size;
    const { todo, failing } = this.#counts;
    return { atMs: this.#clock.monotonic(), done: known - todo, known, failing };
  }

  #sample(): void {
    const now = this.#now();
    this.#history.add(now);
    const last = this.#curve[this.#curve.length - 1];
    if (last !== undefined && now.atMs - last.atMs < this.#curveEveryMs) return;
    this.#curve.push({ atMs: now.atMs - this.#startedMs, known: now.known, settled: now.done });
    if (this.#curve.length <= CURVE_POINTS_MAX) return;
    this.#curve = this.#curve.filter((_, index) => index % 2 === 0);
    this.#curveEveryMs = (this.#curve[1]?.atMs ?? 0) - (this.#curve[0]?.atMs ?? 0);
  }

  /** Takes the whole state, which may differ from what was known in anything. */
  #rebuild(): void {
    const gone = new Set(this.#tasks.keys());
    for (const { key, source, position, length, check } of this.#follower.entries()) {
      gone.delete(keyIdentity(key));
      this.#set(key, JSON.parse(source.textAt(position, length, check)));
    }
    for (const identity of gone) this.#remove(identity);
  }

  #apply({ operation, key, text }: FollowedRecord): void {
    if (operation === 'clear') for (const identity of [...this.#tasks.keys()]) this.#remove(identity);
    else if (text === undefined) this.#remove(keyIdentity(key));
    else this.#set(key as Key, JSON.parse(text));
  }

  #set(key: Key, value: unknown): void {
    const identity = keyIdentity(key);
    const before = this.#tasks.get(identity);
    if (before !== undefined) this.#count(before, -1);
    const state = stateOf(value);
    const known: Known = { key, state, failure: (state & FAILED) === 0 ? undefined : this.#classOf(value) };
    this.#tasks.set(identity, known);
    this.#count(known, 1);
    this.#fly(identity, key, before?.state ?? 0, state);
  }

  #remove(identity: KeyIdentity): void {
    const known = this.#tasks.get(identity);
    if (known === undefined) return;
    this.#count(known, -1);
    this.#tasks.delete(identity);
    this.#flights.delete(identity);
  }

  /** Notes that a task was handed out, or that there is word of it. */
  #fly(identity: KeyIdentity, key: Key, before: number, state: number): void {
    const nowMs = this.#clock.monotonic();
    const flight = this.#flights.get(identity);
    if ((state & UNFINISHED) !== 0) {
      // Handed out again without a word in between: the flight before is over, however it went.
      if (flight === undefined || triesIn(state) !== triesIn(before)) {
        this.#flights.set(identity, { key, sinceMs: nowMs, isOlder: this.#isFirst });
      }
      return;
    }
    if (flight === undefined) return;
    this.#flights.delete(identity);
    if (flight.isOlder) return;
    const ms = nowMs - flight.sinceMs;
    const host = hostOf(key);
    if (host === undefined) return;
    const known = this.#hosts.get(host);
    if (known === undefined) this.#hosts.set(host, { count: 1, sumMs: ms, longestMs: ms });
    else {
      known.count++;
      known.sumMs += ms;
      known.longestMs = Math.max(known.longestMs, ms);
    }
  }

  #count({ state, failure }: Known, by: 1 | -1): void {
    const counts = this.#counts;
    const todo = isTodo(state, this.#maxTries, false);
    if ((state & DONE) !== 0) counts.done += by;
    if ((state & ABORTED) !== 0) counts.aborted += by;
    if ((state & FAILED) !== 0) counts.failed += by;
    if (todo) counts.todo += by;
    if (todo && (state & FAILED) !== 0) counts.failing += by;
    if ((state & (DONE | ABORTED)) === 0 && !hasTriesLeft(state, this.#maxTries)) counts.exhausted += by;
    const known = failure === undefined ? undefined : this.#failures.get(failure);
    if (known === undefined) return;
    known.count += by;
  }

  /** The id of the class of a task's error; the class is made where it is new. */
  #classOf(value: unknown): string | undefined {
    const error = errorOf(value);
    if (error === undefined) return undefined;
    const id = errorClassOf(error);
    if (!this.#failures.has(id)) {
      const { name, code, message } = error;
      const text = `${name}${code === undefined ? '' : ` ${code}`}: ${normalizeMessage(message)}`;
      this.#failures.set(id, { count: 0, text });
    }
    return id;
  }
}

/** The host of a key that is an address. */
function hostOf(key: Key): string | undefined {
  const text =
    typeof key === 'string' ? key : Array.isArray(key) ? key.find((part) => typeof part === 'string') : undefined;
  if (typeof text !== 'string' || !/^[a-z][a-z\d+.-]*:\/\//i.test(text)) return undefined;
  return URL.canParse(text) ? new URL(text).host || undefined : undefined;
}
