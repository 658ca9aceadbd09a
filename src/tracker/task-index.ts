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
    this.tried = 0;
    this.tries = 0;
    this.exhausted = 0;
    const table = this.#table;
    const length = (table.slotEnd + 31) >>> 5;
    // A word of each set at a time: ten million tasks are filed in a tenth of a second, where adding them one by one takes two.
    const words = this.#sets.map(() => new Uint32Array(length));
    for (let slot = table.nextSlot(0); slot < table.slotEnd; slot = table.nextSlot(slot + 1)) {
      let state = table.stateOf(slot);
      if (state < 0) {
        state = stateOf(table.peekAt(slot));
        table.setState(slot, state);
      }
      this.#count(state, 1);
      const members = this.#membership(state);
      for (let set = 0, rest = members; rest !== 0; set++, rest >>>= 1) {
        if ((rest & 1) === 0) continue;
        const list = words[set] as Uint32Array;
        list[slot >>> 5] = (list[slot >>> 5] as number) | (1 << (slot & 31));
      }
    }
    for (const [index, set] of this.#sets.entries()) set.assign(words[index] as Uint32Array);
    for (const watcher of this.#watchers) watcher.tasksRebuilt();
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
      (open && (state & ABORTED) === 0 ? 16 : 0) |
      (open && (state & ABORTED) !== 0 ? 32 : 0)
    );
  }

  /** Puts a slot into the sets its state belongs to; -1 takes it out of all. */
  #file(slot: number, state: number): void {
    const members = state < 0 ? 0 : this.#membership(state);
    for (let set = 0; set < this.#sets.length; set++) {
      const each = this.#sets[set] as SlotSet;
      if ((members & (1 << set)) !== 0) each.add(slot);
      else each.delete(slot);
    }
  }
}
