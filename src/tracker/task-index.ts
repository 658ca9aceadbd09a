/**
 * The index of a tracker's tasks: which are to do, done, aborted or failing, and how many; derived from the entries whenever one
 * changes, by whatever road, so that it cannot drift (rule 11).
 */

import type { Entry } from '../core/entry.ts';
import type { Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import type { Table } from '../core/table.ts';
import type { TableObserver } from '../core/table-owner.ts';
import { SlotSet } from './slot-set.ts';
import { ABORTED, DONE, FAILED, hasTriesLeft, priorityIn, stateOf, TRIED, triesIn, UNFINISHED } from './task.ts';

/** Is told of changes of tasks' states. */
export interface TaskWatcher<V, K extends Key> {
  /** A task is new, or its state has changed. */
  taskChanged(entry: Entry<V, K>): void;
  taskRemoved(entry: Entry<V, K>): void;
  /** Many changed at once: look at all that matter. */
  tasksRebuilt(): void;
  /** A task has another priority. */
  taskMoved?(entry: Entry<V, K>): void;
}

/** A walk over tasks by priority. */
interface MovedListener<V, K extends Key> {
  moved(entry: Entry<V, K>, from: number, to: number): void;
  restart(): void;
}

/** What is to do of one priority. */
interface Level {
  readonly todo: SlotSet;
  readonly todoAborted: SlotSet;
}

/** The bits of two of the sets in a membership. */
const TODO_SET = 16;
const TODO_ABORTED_SET = 32;
/** What there is where nobody uses priorities. */
const NO_PRIORITIES: readonly number[] = [0];

export class TaskIndex<V, K extends Key> implements TableObserver<V, K> {
  readonly done: SlotSet = new SlotSet();
  readonly aborted: SlotSet = new SlotSet();
  readonly failed: SlotSet = new SlotSet();
  /** Not done, tries left, not aborted. */
  readonly todo: SlotSet = new SlotSet();
  /** The same, but aborted. */
  readonly todoAborted: SlotSet = new SlotSet();
  readonly unfinished: SlotSet = new SlotSet();
  readonly #sets: readonly SlotSet[] = [
    this.done,
    this.aborted,
    this.failed,
    this.unfinished,
    this.todo,
    this.todoAborted,
  ];
  tried: number = 0;
  /** The sum of all tries. */
  tries: number = 0;
  /** Not done and not aborted, with every try used up. */
  exhausted: number = 0;
  readonly #table: Table<V, K>;
  readonly #watchers: Set<TaskWatcher<V, K>> = new Set();
  /** By priority, the highest first; empty until a task has one. */
  #levels: Map<number, Level> = new Map();
  #priorities: readonly number[] = NO_PRIORITIES;
  /** Nobody says that a walk is over, so it is not kept alive here. */
  readonly #walks: Set<WeakRef<MovedListener<V, K>>> = new Set();
  #maxTries: number;

  constructor(table: Table<V, K>, maxTries: number) {
    this.#table = table;
    this.#maxTries = maxTries;
    table.observe(this);
  }

  get maxTries(): number {
    return this.#maxTries;
  }

  set maxTries(maxTries: number) {
    this.#maxTries = maxTries;
    this.tableRebuilt(true);
  }

  /** How many tasks there are. */
  get size(): number {
    return this.#table.size;
  }

  /** The priorities that tasks have or had, the highest first. */
  get priorities(): readonly number[] {
    return this.#priorities;
  }

  /** The first task to do at or after a slot, or -1; of one priority, or of any. */
  nextTodo(slot: number, allowAborted: boolean, priority?: number): number {
    const { todo, todoAborted } = (priority === undefined ? undefined : this.#levels.get(priority)) ?? this;
    const next = todo.next(slot);
    if (!allowAborted) return next;
    const aborted = todoAborted.next(slot);
    return next < 0 || (aborted >= 0 && aborted < next) ? aborted : next;
  }

  watch(watcher: TaskWatcher<V, K>): void {
    this.#watchers.add(watcher);
  }

  unwatch(watcher: TaskWatcher<V, K>): void {
    this.#watchers.delete(watcher);
  }

  stateOf(value: Json): number {
    return stateOf(value);
  }

  entryChanged(entry: Entry<V, K>): void {
    const state = stateOf(entry.peek());
    const before = entry.state;
    if (state === before) return;
    this.#count(entry.state, -1);
    entry.state = state;
    this.#count(state, 1);
    this.#file(entry.slot, state);
    if (before >= 0 && priorityIn(before) !== priorityIn(state))
      this.#move(entry, priorityIn(before), priorityIn(state));
    for (const watcher of this.#watchers) watcher.taskChanged(entry);
  }

  entryRemoved(entry: Entry<V, K>): void {
    this.#count(entry.state, -1);
    this.#file(entry.slot, -1);
    entry.state = -1;
    for (const watcher of this.#watchers) watcher.taskRemoved(entry);
  }

  tableRebuilt(onlySlots: boolean): void {
    const hadPriorities = this.#levels.size > 0;
    this.#levels.clear();
    this.#priorities = NO_PRIORITIES;
    this.tried = 0;
    this.tries = 0;
    this.exhausted = 0;
    const table = this.#table;
    const length = (table.slotEnd + 31) >>> 5;
    // A word of each set at a time: ten million tasks are filed in a tenth of a second, where adding them one by one takes two.
    const prior: number[] = [];
    const words = this.#sets.map(() => new Uint32Array(length));
    table.rows.visitStates((slot, known) => {
      let state = known;
      if (state < 0) {
        state = stateOf(table.peekAt(slot));
        table.setState(slot, state);
      }
      this.#count(state, 1);
      if (priorityIn(state) !== 0) prior.push(slot);
      const members = this.#membership(state);
      for (let set = 0, rest = members; rest !== 0; set++, rest >>>= 1) {
        if ((rest & 1) === 0) continue;
        const list = words[set] as Uint32Array;
        list[slot >>> 5] = (list[slot >>> 5] as number) | (1 << (slot & 31));
      }
    });
    for (const [index, set] of this.#sets.entries()) set.assign(words[index] as Uint32Array);
    // Rare, and so one by one; the first of them makes the levels of all.
    for (const slot of prior) this.#file(slot, table.stateOf(slot));
    for (const slot of prior) {
      this.#levels.get(0)?.todo.delete(slot);
      this.#levels.get(0)?.todoAborted.delete(slot);
    }
    // A walk knows its tasks by themselves, so new slots are nothing to it; that there are other priorities it was not told.
    if (!onlySlots && (hadPriorities || this.#levels.size > 0)) for (const walk of this.#walks) walk.deref()?.restart();
    for (const watcher of this.#watchers) watcher.tasksRebuilt();
  }

  /** Tells a walk of tasks that get another priority, as long as somebody has it. */
  track(walk: MovedListener<V, K>): void {
    this.#walks.add(new WeakRef(walk));
    if (this.#walks.size > this.#walksMax) this.#forgetWalks();
  }

  #walksMax: number = 64;

  #forgetWalks(): void {
    for (const walk of this.#walks) if (walk.deref() === undefined) this.#walks.delete(walk);
    this.#walksMax = Math.max(64, this.#walks.size * 2);
  }

  #move(entry: Entry<V, K>, from: number, to: number): void {
    this.#levels.get(from)?.todo.delete(entry.slot);
    this.#levels.get(from)?.todoAborted.delete(entry.slot);
    for (const walk of this.#walks) walk.deref()?.moved(entry, from, to);
    for (const watcher of this.#watchers) watcher.taskMoved?.(entry);
  }

  /** The level of a priority; undefined as long as nobody uses any. */
  #level(priority: number): Level | undefined {
    const known = this.#levels.get(priority);
    if (known !== undefined || (priority === 0 && this.#levels.size === 0)) return known;
    if (this.#levels.size === 0)
      this.#levels.set(0, { todo: copyOf(this.todo), todoAborted: copyOf(this.todoAborted) });
    const level = this.#levels.get(priority) ?? { todo: new SlotSet(), todoAborted: new SlotSet() };
    this.#levels.set(priority, level);
    this.#priorities = [...this.#levels.keys()].sort((a, b) => b - a);
    return level;
  }

  #count(state: number, by: 1 | -1): void {
    if (state < 0) return;
    if ((state & TRIED) !== 0) this.tried += by;
    this.tries += by * triesIn(state);
    if ((state & (DONE | ABORTED)) === 0 && !hasTriesLeft(state, this.#maxTries)) this.exhausted += by;
  }

  /** The sets that a state belongs to, a bit for each of `#sets`. */
  #membership(state: number): number {
    const open = (state & DONE) === 0 && hasTriesLeft(state, this.#maxTries);
    return (
      ((state & DONE) !== 0 ? 1 : 0) |
      ((state & ABORTED) !== 0 ? 2 : 0) |
      ((state & FAILED) !== 0 ? 4 : 0) |
      ((state & UNFINISHED) !== 0 ? 8 : 0) |
      (open && (state & ABORTED) === 0 ? TODO_SET : 0) |
      (open && (state & ABORTED) !== 0 ? TODO_ABORTED_SET : 0)
    );
  }

  /** Puts a slot into the sets its state belongs to; -1 takes it out of all. */
  #file(slot: number, state: number): void {
    const there = state >= 0;
    const members = there ? this.#membership(state) : 0;
    // Before the task is put anywhere, because the first level is made of what is there.
    const level = there ? this.#level(priorityIn(state)) : undefined;
    for (let set = 0; set < this.#sets.length; set++) {
      put(this.#sets[set] as SlotSet, slot, (members & (1 << set)) !== 0);
    }
    if (this.#levels.size === 0) return;
    if (there) {
      put((level as Level).todo, slot, (members & TODO_SET) !== 0);
      put((level as Level).todoAborted, slot, (members & TODO_ABORTED_SET) !== 0);
      return;
    }
    for (const each of this.#levels.values()) {
      each.todo.delete(slot);
      each.todoAborted.delete(slot);
    }
  }
}

function copyOf(set: SlotSet): SlotSet {
  const copy = new SlotSet();
  for (let slot = set.next(0); slot >= 0; slot = set.next(slot + 1)) copy.add(slot);
  return copy;
}

function put(set: SlotSet, slot: number, member: boolean): void {
  if (member) set.add(slot);
  else set.delete(slot);
}
