/**
 * The index of a tracker's tasks: which are to do, done, aborted or failing, and how many; derived from the entries whenever one
 * changes, by whatever road, so that it cannot drift (rule 11).
 */

import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { Table, TableObserver } from '../core/table.ts';
import { SlotSet } from './slot-set.ts';
import { ABORTED, DONE, FAILED, hasTriesLeft, stateOf, TRIED, triesIn, UNFINISHED } from './task.ts';

/** Is told of changes of tasks' states. */
export interface TaskWatcher<V, K extends Key> {
  /** A task is new, or its state has changed. */
  taskChanged(entry: Entry<V, K>): void;
  taskRemoved(entry: Entry<V, K>): void;
  /** Many changed at once: look at all that matter. */
  tasksRebuilt(): void;
}

export class TaskIndex<V, K extends Key> implements TableObserver<V, K> {
  readonly done: SlotSet = new SlotSet();
  readonly aborted: SlotSet = new SlotSet();
  readonly failed: SlotSet = new SlotSet();
  /** Not done, tries left, not aborted. */
  readonly todo: SlotSet = new SlotSet();
  /** The same, but aborted. */
  readonly todoAborted: SlotSet = new SlotSet();
  readonly unfinished: SlotSet = new SlotSet();
  tried: number = 0;
  /** The sum of all tries. */
  tries: number = 0;
  /** Not done and not aborted, with every try used up. */
  exhausted: number = 0;
  readonly #table: Table<V, K>;
  readonly #watchers: Set<TaskWatcher<V, K>> = new Set();
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
    this.tableRebuilt();
  }

  /** How many tasks there are. */
  get size(): number {
    return this.#table.size;
  }

  /** The first task to do at or after a slot, or -1. */
  nextTodo(slot: number, allowAborted: boolean): number {
    const next = this.todo.next(slot);
    if (!allowAborted) return next;
    const aborted = this.todoAborted.next(slot);
    return next < 0 || (aborted >= 0 && aborted < next) ? aborted : next;
  }

  watch(watcher: TaskWatcher<V, K>): void {
    this.#watchers.add(watcher);
  }

  unwatch(watcher: TaskWatcher<V, K>): void {
    this.#watchers.delete(watcher);
  }

  entryChanged(entry: Entry<V, K>): void {
    const state = stateOf(entry.peek());
    if (state === entry.state) return;
    this.#count(entry.state, -1);
    entry.state = state;
    this.#count(state, 1);
    this.#file(entry.slot, state);
    for (const watcher of this.#watchers) watcher.taskChanged(entry);
  }

  entryRemoved(entry: Entry<V, K>): void {
    this.#count(entry.state, -1);
    this.#file(entry.slot, -1);
    entry.state = -1;
    for (const watcher of this.#watchers) watcher.taskRemoved(entry);
  }

  tableRebuilt(): void {
    for (const set of [this.done, this.aborted, this.failed, this.todo, this.todoAborted, this.unfinished]) set.clear();
    this.tried = 0;
    this.tries = 0;
    this.exhausted = 0;
    for (const entry of this.#table.entries()) {
      if (entry.state < 0) entry.state = stateOf(entry.peek());
      this.#count(entry.state, 1);
      this.#file(entry.slot, entry.state);
    }
    for (const watcher of this.#watchers) watcher.tasksRebuilt();
  }

  #count(state: number, by: 1 | -1): void {
    if (state < 0) return;
    if ((state & TRIED) !== 0) this.tried += by;
    this.tries += by * triesIn(state);
    if ((state & (DONE | ABORTED)) === 0 && !hasTriesLeft(state, this.#maxTries)) this.exhausted += by;
  }

  /** Puts a slot into the sets its state belongs to; -1 takes it out of all. */
  #file(slot: number, state: number): void {
    const there = state >= 0;
    const open = there && (state & DONE) === 0 && hasTriesLeft(state, this.#maxTries);
    put(this.done, slot, there && (state & DONE) !== 0);
    put(this.aborted, slot, there && (state & ABORTED) !== 0);
    put(this.failed, slot, there && (state & FAILED) !== 0);
    put(this.unfinished, slot, there && (state & UNFINISHED) !== 0);
    put(this.todo, slot, open && (state & ABORTED) === 0);
    put(this.todoAborted, slot, open && (state & ABORTED) !== 0);
  }
}

function put(set: SlotSet, slot: number, member: boolean): void {
  if (member) set.add(slot);
  else set.delete(slot);
}
