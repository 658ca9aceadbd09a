/**
 * A walk over what is to do: higher priorities first, in order inside one, live, each task once.
 *
 * There is one place in the order for each priority, so a step costs the same however many tasks there are. A task that gets another priority
 * meanwhile is told to the walk: it is neither passed over nor visited twice.
 */
import type { Entry } from '../core/entry.ts';
import type { Key } from '../core/key.ts';
import type { Table } from '../core/table.ts';
import { isTodo, priorityIn } from './task.ts';
import type { TaskIndex } from './task-index.ts';

/** How far the walk is in one priority. */
interface Level<V, K extends Key> {
  readonly cursor: { next(): Entry<V, K> | undefined };
  /** Everything up to this insertion number was passed. */
  passed: number;
  /** Came from another priority, and stand before the place where the walk is; in order. */
  readonly late: Entry<V, K>[];
}

export class TodoCursor<V, K extends Key> {
  readonly #table: Table<V, K>;
  readonly #index: TaskIndex<V, K>;
  readonly #allowAborted: boolean;
  readonly #levels: Map<number, Level<V, K>> = new Map();
  /** Visited already in another priority, and standing behind the place where the walk is. */
  readonly #visited: Set<Entry<V, K>> = new Set();

  constructor(table: Table<V, K>, index: TaskIndex<V, K>, allowAborted: boolean) {
    this.#table = table;
    this.#index = index;
    this.#allowAborted = allowAborted;
    index.track(this);
  }

  /**
   * The next task.
   *
   * @param above only of a higher priority than this
   */
  next(above: number = Number.NEGATIVE_INFINITY): Entry<V, K> | undefined {
    for (const priority of this.#index.priorities) {
      if (priority <= above) return undefined;
      const entry = this.#nextIn(this.#level(priority), priority);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** A task has another priority than before. */
  moved(entry: Entry<V, K>, from: number, to: number): void {
    const before = this.#level(from);
    const after = this.#level(to);
    const late = before.late.indexOf(entry);
    if (late >= 0) before.late.splice(late, 1);
    const isVisited = this.#visited.delete(entry) || (late < 0 && entry.number <= before.passed);
    const isPassed = entry.number <= after.passed;
    if (isVisited && !isPassed) this.#visited.add(entry);
    if (!isVisited && isPassed) {
      const place = after.late.findIndex(({ number }) => number > entry.number);
      after.late.splice(place < 0 ? after.late.length : place, 0, entry);
    }
  }

  /** Everything was replaced, so nobody knows any more which task had which priority: the walk begins anew. */
  restart(): void {
    this.#levels.clear();
    this.#visited.clear();
  }

  #level(priority: number): Level<V, K> {
    let level = this.#levels.get(priority);
    if (level === undefined) {
      const cursor = this.#table.cursor((slot) => this.#index.nextTodo(slot, this.#allowAborted, priority));
      level = { cursor, passed: -1, late: [] };
      this.#levels.set(priority, level);
    }
    return level;
  }

  #nextIn(level: Level<V, K>, priority: number): Entry<V, K> | undefined {
    while (level.late.length > 0) {
      const entry = level.late.shift() as Entry<V, K>;
      const { slot, state } = entry;
      if (slot >= 0 && priorityIn(state) === priority && isTodo(state, this.#index.maxTries, this.#allowAborted))
        return entry;
    }
    for (;;) {
      const entry = level.cursor.next();
      if (entry === undefined) {
        level.passed = this.#lastNumber();
        return undefined;
      }
      level.passed = entry.number;
      if (this.#visited.size === 0 || !this.#visited.delete(entry)) return entry;
    }
  }

  #lastNumber(): number {
    for (let slot = this.#table.slotEnd - 1; slot >= 0; slot--) {
      const entry = this.#table.entryAt(slot);
      if (entry !== undefined) return entry.number;
    }
    return -1;
  }
}
