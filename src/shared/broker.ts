/**
 * The owner of a shared pod: carries out what clients ask, one question at a time, in batches.
 *
 * Questions are taken from the clients in turn, so that a flood from one keeps nobody waiting. What was taken together is one group: one
 * transaction of the pod, one append to its log, and only then the answers. So an answer is as safe as a change of
 * a local pod is at the end of its turn, and costs a fraction of it.
 */
import { PodError } from '../core/errors.ts';
import type { System } from '../disk/system.ts';
import { engineOf } from '../pod/pod.ts';
import { ClaimDesk } from './claims.ts';
import { ADDS_WORK, CONTROLS, WAITS } from './controls.ts';
import type { Fact } from './memory.ts';
import { operationOf } from './operation-table.ts';
import {
  type Context,
  checkArguments,
  JsonText,
  type Operation,
  PARKED,
  type ServedPod,
  type ServedTracker,
} from './operations.ts';
import {
  answerText,
  errorText,
  LIMITS,
  protocolError,
  type Question,
  type Questions,
  toWireError,
} from './protocol.ts';
import { Group, Requests } from './requests.ts';
import { type Outlet, Session } from './session.ts';

/** Questions in one group, and how many of them may be of one client. */
const GROUP_QUESTIONS = 512;
const TURN_QUESTIONS = 64;
/** Answers that are sent as one frame. */
const FRAME_CHARACTERS = 1 << 20;
/** How often leases are looked at: so often in the time of one, but at least every second. */
const TICKS_A_LEASE = 4;
const TICK_MS_MAX = 1000;
/** A moment that is further away is looked at again by then. */
const DUE_MS_MAX = 60_000;
/** What a client was told is remembered for this long after it went, of so many clients, and so much. */
const REMEMBER_MS = 600_000;
const ABSENT_MAX = LIMITS.connections;
const ABSENT_CHARACTERS_MAX = LIMITS.outputBytesMax;
/** What one client was told and did not say that it has. Nobody who keeps the rules comes near, because its calls in flight are limited. */
const ANSWERS_CHARACTERS_MAX = 2 * LIMITS.outputBytesMax;

/** A question with who asks it. */
interface Asked {
  readonly session: Session;
  readonly question: Question;
  readonly operation: Operation;
}

export interface BrokerOptions {
  readonly leaseMs: number;
  readonly maxDeaths: number;
  /** What a client may be told without saying that it has it, in characters. */
  readonly answersMax?: number;
}

/** A client that is known and not connected. */
interface Absent {
  /** On the lease clock: when it went, or when we took over from the owner that it was connected to. */
  readonly sinceMs: number;
  /** It may still come back to its claims and its lock. */
  readonly mayReturn: boolean;
}

export class Broker {
  readonly pod: ServedPod;
  readonly leaseMs: number;
  readonly #answersMax: number;
  readonly #system: System;
  readonly #tracker: ServedTracker | undefined;
  readonly #requests: Requests;
  readonly #desk: ClaimDesk | undefined;
  readonly #sessions: Map<string, Session> = new Map();
  readonly #absent: Map<string, Absent> = new Map();
  #turn: number = 0;
  #scheduled: boolean = false;
  #closed: boolean = false;
  /** Something changed, so that a question that waits may have its answer now. */
  #mayWake: boolean = false;
  /** The last append failed: until it is made up for, the log is behind what was answered. */
  #isBehind: boolean = false;
  /** Goes on while the process is awake: a machine that sleeps ends no lease. */
  #leaseNowMs: number = 0;
  #tickedMs: number;
  #cancelTick: () => void = () => {};
  #cancelDue: (() => void) | undefined;

  constructor(system: System, pod: ServedPod, tracker: ServedTracker | undefined, options: BrokerOptions) {
    this.#system = system;
    this.pod = pod;
    this.#tracker = tracker;
    this.leaseMs = options.leaseMs;
    this.#answersMax = options.answersMax ?? ANSWERS_CHARACTERS_MAX;
    const { durability, notes } = engineOf(pod);
    this.#requests = new Requests(durability === 'exit' ? undefined : notes);
    const { memory } = this.#requests;
    if (tracker !== undefined) this.#desk = new ClaimDesk(tracker, memory, system.clock, options.maxDeaths);
    this.#tickedMs = system.clock.monotonic();
    for (const client of memory.clients.keys()) this.#absent.set(client, { sinceMs: 0, mayReturn: true });
    this.#tick();
  }

  /** Whether somebody is known who was connected to the last owner and is still alive. */
  get isInherited(): boolean {
    return [...this.#requests.memory.clients.values()].some(({ pid }) => isAlive(pid));
  }

  /** Who is connected. */
  get sessions(): ReadonlyMap<string, Session> {
    return this.#sessions;
  }

  // ---- Clients come and go.

  /** A client has come, or come back. What it asked before under the same name is still known, unless `resumed` says otherwise. */
  attach(
    client: string,
    pid: number,
    holds: number,
    outlet: Outlet,
  ): { session: Session; resumed: boolean; hasLock: boolean } {
    this.#requireOpen();
    const { memory } = this.#requests;
    const old = this.#sessions.get(client);
    if (old !== undefined) {
      this.#sessions.delete(client);
      while (old.holds > 0) this.#unhold(old);
      old.outlet.cut(new PodError('ERR_POD_DISCONNECTED', 'The same handle connected again.'));
    }
    const resumed = memory.clients.has(client);
    if (!resumed) this.#noteSession(['join', client, pid], outlet);
    this.#absent.delete(client);
    const session = new Session(client, outlet, this.#leaseNowMs);
    this.#sessions.set(client, session);
    for (let count = 0; count < holds; count++) this.#hold(session);
    return { session, resumed, hasLock: memory.lockedBy === client };
  }

  /**
   * A client has gone.
   *
   * @param how `left` on purpose, or `died`
   * @param unused the tokens of its claims on tasks that it never began
   */
  detach(session: Session, how: 'left' | 'died', unused: ReadonlySet<unknown> = new Set()): void {
    if (this.#closed || this.#sessions.get(session.client) !== session) return;
    this.#sessions.delete(session.client);
    while (session.holds > 0) this.#unhold(session);
    this.#giveUp(session.client, how, unused);
    if (how === 'left') this.#forget(session.client, session.outlet);
    else {
      this.#absent.set(session.client, { sinceMs: this.#leaseNowMs, mayReturn: false });
      this.#forgetSurplus();
    }
  }

  /** Takes questions in. */
  ask(session: Session, { acked, beyond, questions }: Questions): void {
    session.heardMs = this.#leaseNowMs;
    const { memory } = this.#requests;
    memory.acknowledge(session.client, acked, beyond);
    if ((memory.clients.get(session.client)?.answers.characters ?? 0) > this.#answersMax) {
      session.outlet.cut(protocolError('it does not say which answers it has'));
      this.detach(session, 'died');
      return;
    }
    if (questions.length === 0) {
      session.outlet.send('[]'); // It wants to know whether we are there.
      return;
    }
    session.queue = session.queue.length === 0 ? [...questions] : [...session.queue, ...questions];
    this.#regulate(session);
    this.#schedule();
  }

  /** Ends everything; the pod stays open. What was not answered yet is asked again, of the next owner. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelTick();
    this.#cancelDue?.();
    for (const { outlet } of [...this.#sessions.values()]) {
      outlet.cut(new PodError('ERR_POD_DISCONNECTED', 'The owner of the shared pod closes.'));
    }
    const isAnybodyLeft = this.#sessions.size > 0 || [...this.#requests.memory.clients.values()].some(isElsewhere);
    this.#sessions.clear();
    this.#requests.close(!isAnybodyLeft);
  }

  // ---- Carrying out.

  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#closed) this.#run();
    });
  }

  #run(): void {
    const asked = this.#take();
    let group: Asked[] = [];
    for (const each of asked) {
      if (each.operation.kind !== 'control') {
        group.push(each);
        continue;
      }
      this.#carryOut(group);
      group = [];
      this.#control(each);
    }
    this.#carryOut(group);
    if (this.#mayWake) this.#wake();
    for (const session of this.#sessions.values()) {
      this.#deliver(session);
      this.#regulate(session);
    }
    this.#watchDue();
    if ([...this.#sessions.values()].some((session) => this.#isServed(session) && session.queue.length > 0)) {
      this.#schedule();
    }
  }

  /** Some questions of each client, each time beginning with another one. */
  #take(): Asked[] {
    const sessions = [...this.#sessions.values()];
    const asked: Asked[] = [];
    this.#turn++;
    for (let index = 0; index < sessions.length && asked.length < GROUP_QUESTIONS; index++) {
      const session = sessions[(index + this.#turn) % sessions.length] as Session;
      if (!this.#isServed(session)) continue;
      const { answers } = this.#requests.memory.clients.get(session.client) ?? {};
      const questions = session.queue.slice(0, TURN_QUESTIONS);
      let taken = 0;
      for (const question of questions) {
        taken++;
        const known = answers?.get(question.number);
        if (known !== undefined) {
          this.#answer(session, known);
          continue;
        }
        const operation = this.#operationOf(session, question);
        if (operation === undefined) continue;
        asked.push({ session, question, operation });
        // What follows may be another's turn: it is looked at when this one has been carried out.
        if (question.operation === 'lock' || question.operation === 'unlock') break;
      }
      session.queue = session.queue.slice(taken);
    }
    return asked;
  }

  #operationOf(session: Session, question: Question): Operation | undefined {
    try {
      const operation = CONTROLS.get(question.operation) ?? operationOf(question.operation);
      checkArguments(question.operation, operation, question.args);
      return operation;
    } catch (error) {
      this.#answer(session, errorText(question.number, toWireError(error)));
      return undefined;
    }
  }

  /** While somebody has the lock, nobody else is served. */
  #isServed(session: Session): boolean {
    const { lockedBy } = this.#requests.memory;
    return lockedBy === undefined || lockedBy === session.client;
  }

  #carryOut(asked: readonly Asked[]): void {
    if (asked.length === 0) return;
    const group = new Group(this.#requests.memory);
    const answers: (string | undefined)[] = [];
    const perform = (): void => {
      for (const each of asked) answers.push(this.#perform(group, each));
      this.#desk?.settleChanged(group, group.touched());
      this.#requests.keep(group);
    };
    const changes = asked.some(({ operation }) => operation.kind === 'change');
    let failure: unknown;
    try {
      if (changes) this.#change(perform);
      else perform();
    } catch (error) {
      group.undo();
      this.#requests.renew();
      this.#desk?.changed();
      failure = error;
    }
    if (failure === undefined && changes) failure = this.#append();
    asked.forEach(({ session, question, operation }, index) => {
      const text = answers[index];
      if (failure !== undefined && (operation.kind === 'change' || text === undefined)) {
        this.#answer(session, errorText(question.number, toWireError(failure)));
      } else if (text === undefined) session.parked.set(question.number, question);
      else this.#answer(session, text);
    });
    if (changes) this.#mayWake = true;
  }

  /** Changes the pod as one batch of its log. */
  #change(work: () => void): void {
    // Nothing more is promised while what was promised last is not in the log.
    if (this.#isBehind) engineOf(this.pod).appendNow();
    this.#isBehind = false;
    this.pod.transaction(work);
  }

  /** Writes out what was changed. Returns what went wrong. */
  #append(): unknown {
    try {
      engineOf(this.pod).appendNow();
      return undefined;
    } catch (error) {
      this.#isBehind = true;
      return error;
    }
  }

  /** The text of the answer; undefined where there is none yet. */
  #perform(group: Group, { session, question, operation }: Asked): string | undefined {
    const { number, args } = question;
    const facts = group.facts.length;
    try {
      const result = operation.run(this.#contextOf(session, group), args as never[]);
      if (result === PARKED) return undefined;
      let text = answerText(number, result instanceof JsonText ? result.text : JSON.stringify(result));
      if (text.length > LIMITS.outputBytesMax) text = errorText(number, toWireError(tooLong(text.length)));
      if (operation.kind === 'change') {
        group.note(['answer', session.client, number, text]);
        if (ADDS_WORK.has(question.operation)) this.#desk?.changed();
      }
      return text;
    } catch (error) {
      group.undoFrom(facts);
      return errorText(number, toWireError(error));
    }
  }

  #contextOf(session: Session, group: Group): Context {
    return {
      pod: this.pod,
      tracker: this.#tracker,
      memory: this.#requests.memory,
      desk: this.#desk,
      client: session.client,
      cursors: session.cursors,
      operationOf,
      group,
    };
  }

  /** What is about the pod as a whole; a promise is answered when it is settled, and keeps nobody waiting. */
  #control({ session, question, operation }: Asked): void {
    const { number, args } = question;
    const settle = (text: string): void => {
      if (this.#closed || this.#sessions.get(session.client) !== session) return;
      this.#answer(session, text);
      this.#deliver(session);
    };
    const fail = (error: unknown): void => settle(errorText(number, toWireError(error)));
    try {
      // Noted first: if the owner dies in between, the next one begins at a sync point of its own, and there is nothing left to go back from.
      if (question.operation === 'revert') {
        this.#apart((group) => group.note(['answer', session.client, number, answerText(number, undefined)]));
      }
      const control = { broker: this, session, hold: () => this.#hold(session), unhold: () => this.#unhold(session) };
      const context = Object.assign(this.#contextOf(session, new Group(this.#requests.memory)), control);
      const result = operation.run(context, args as never[]);
      if (result instanceof Promise) {
        session.parked.set(number, question);
        result.then(() => settle(answerText(number, undefined)), fail).finally(() => session.parked.delete(number));
      } else settle(answerText(number, JSON.stringify(result)));
    } catch (error) {
      fail(error);
    }
    if (question.operation === 'revert') {
      // What was cut off the log may have been said of claims and answers that are as they were.
      this.#append();
      this.#desk?.changed();
      this.#mayWake = true;
    }
  }

  /** Does something that nobody asked for, as a group of its own. */
  #apart(work: (group: Group) => void): void {
    const group = new Group(this.#requests.memory);
    try {
      this.#change(() => {
        work(group);
        this.#requests.keep(group);
      });
    } catch {
      // The disk refuses. What follows from it is true all the same, and is said when the disk works again.
      group.undo();
      work(group);
      this.#requests.renew();
    }
    this.#append();
    this.#mayWake = true;
  }

  // ---- What waits.

  #wake(): void {
    this.#mayWake = false;
    let isAnybodyAwake = false;
    for (const session of this.#sessions.values()) {
      if (!this.#isServed(session)) continue;
      const again = [...session.parked.values()].filter(({ operation }) => WAITS.has(operation));
      for (const { number } of again) session.parked.delete(number);
      if (again.length > 0) session.queue = [...again, ...session.queue];
      isAnybodyAwake ||= again.length > 0;
    }
    if (isAnybodyAwake) this.#schedule();
  }

  /** A task that was put off comes again at a moment. */
  #watchDue(): void {
    this.#cancelDue?.();
    this.#cancelDue = undefined;
    const dueMs = this.#desk?.nextDueMs ?? Number.POSITIVE_INFINITY;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#system;
    this.#cancelDue = clock.after(Math.min(Math.max(dueMs - clock.monotonic(), 1), DUE_MS_MAX), () => {
      this.#wake();
      this.#watchDue();
    });
  }

  // ---- Leases.

  #tick(): void {
    const tickMs = Math.min(TICK_MS_MAX, this.leaseMs / TICKS_A_LEASE);
    this.#cancelTick = this.#system.clock.after(tickMs, () => {
      const nowMs = this.#system.clock.monotonic();
      // More than that was no time in which anybody could have let hear of himself: the machine slept, or this process was stopped.
      this.#leaseNowMs += Math.min(nowMs - this.#tickedMs, 2 * tickMs);
      this.#tickedMs = nowMs;
      this.#endLeases();
      this.#tick();
    });
  }

  #endLeases(): void {
    for (const session of [...this.#sessions.values()]) {
      if (session.outlet.isLocal || this.#leaseNowMs - session.heardMs <= this.leaseMs) continue;
      session.outlet.cut(
        new PodError('ERR_POD_DISCONNECTED', `Nothing was heard of this handle for ${this.leaseMs} ms.`),
      );
      this.detach(session, 'died');
    }
    const { clients } = this.#requests.memory;
    for (const [client, { sinceMs, mayReturn }] of [...this.#absent]) {
      const isGone = !isAlive(clients.get(client)?.pid ?? 0);
      if (mayReturn && (isGone || this.#leaseNowMs - sinceMs > this.leaseMs)) {
        this.#giveUp(client, 'died');
        this.#absent.set(client, { sinceMs, mayReturn: false });
      }
      if (isGone || this.#leaseNowMs - sinceMs > REMEMBER_MS) this.#forget(client);
    }
    if (this.#mayWake) this.#wake();
  }

  /** Ends the claims, the loops and the lock of a client. */
  #giveUp(client: string, how: 'left' | 'died', unused: ReadonlySet<unknown> = new Set()): void {
    const { memory } = this.#requests;
    this.#desk?.leaveAll(`${client} `);
    const claims = memory.claimsOf(client);
    if (claims.length > 0 || memory.lockedBy === client) {
      this.#apart((group) => {
        for (const claim of claims) this.#desk?.release(group, claim, unused.has(claim.token) ? 'unused' : how);
        if (memory.lockedBy === client) group.note(['unlock']);
      });
    }
    this.#mayWake = true;
    this.#schedule();
  }

  /** Whoever comes again and again under new names is remembered for the last of them. */
  #forgetSurplus(): void {
    const { clients } = this.#requests.memory;
    const charactersOf = (client: string): number => clients.get(client)?.answers.characters ?? 0;
    let characters = 0;
    for (const client of this.#absent.keys()) characters += charactersOf(client);
    // In the order in which they went.
    for (const [client, { mayReturn }] of this.#absent) {
      if (this.#absent.size <= ABSENT_MAX && characters <= ABSENT_CHARACTERS_MAX) return;
      if (mayReturn) continue;
      characters -= charactersOf(client);
      this.#forget(client);
    }
  }

  #forget(client: string, outlet?: Outlet): void {
    this.#absent.delete(client);
    if (this.#requests.memory.clients.has(client)) this.#noteSession(['gone', client], outlet);
  }

  /**
   * A handle of this process asks no other owner, so that it is there need not be in the log before it has asked for a change; and a pod of which
   * nobody wanted anything stays as it is.
   */
  #noteSession(fact: Fact, outlet: Outlet | undefined): void {
    if (outlet?.isLocal === true) this.#requests.noteLater(fact);
    else this.#apart((group) => group.note(fact));
  }

  #hold(session: Session): void {
    this.pod.hold();
    session.holds++;
  }

  #unhold(session: Session): void {
    if (session.holds === 0) return;
    session.holds--;
    this.pod.unhold();
  }

  // ---- Answers.

  #answer(session: Session, text: string): void {
    session.answers.push(text);
    session.answersLength += text.length;
    if (session.answersLength > FRAME_CHARACTERS) this.#deliver(session);
  }

  #deliver(session: Session): void {
    if (session.answers.length === 0) return;
    const json = `[${session.answers.join(',')}]`;
    session.answers = [];
    session.answersLength = 0;
    session.outlet.send(json);
  }

  /** Stops listening to a client that asks faster than it can be answered. */
  #regulate(session: Session): void {
    const waiting = session.queue.length + session.parked.size;
    if (!session.isPaused && waiting > LIMITS.questions) {
      session.isPaused = true;
      session.outlet.pause();
    } else if (session.isPaused && waiting <= LIMITS.questions / 2) {
      session.isPaused = false;
      session.outlet.resume();
    }
  }

  #requireOpen(): void {
    if (this.#closed) throw new PodError('ERR_POD_DISCONNECTED', 'The owner of the shared pod closes.');
  }
}

function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isElsewhere({ pid }: { readonly pid: number }): boolean {
  return pid !== process.pid && isAlive(pid);
}

function tooLong(length: number): PodError {
  return new PodError(
    'ERR_POD_VALUE',
    `The answer of ${length} characters is longer than the channel of a shared pod takes. What was asked for has been done.`,
  );
}
