/**
 * A queue by priority: the highest comes out first, in the order of arrival inside one.
 */
interface Lane<T> {
  items: T[];
  /** The first that was not taken. */
  head: number;
}

/** A lane forgets what was taken from it when this much lies before its head. */
const SHIFT_MIN = 1_024;

export class ReadyQueue<T> {
  readonly #lanes: Map<number, Lane<T>> = new Map();
  /** The priorities that have a lane, the highest first. */
  #priorities: number[] = [];

  /** The highest priority that something waits at; `-Infinity` where nothing does. */
  get highest(): number {
    for (const priority of this.#priorities) {
      const { items, head } = this.#lanes.get(priority) as Lane<T>;
      if (head < items.length) return priority;
    }
    return Number.NEGATIVE_INFINITY;
  }

  add(item: T, priority: number): void {
    let lane = this.#lanes.get(priority);
    if (lane === undefined) {
      lane = { items: [], head: 0 };
      this.#lanes.set(priority, lane);
      this.#priorities = [...this.#lanes.keys()].sort((a, b) => b - a);
    }
    lane.items.push(item);
  }

  take(): T | undefined {
    const lane = this.#lanes.get(this.highest);
    if (lane === undefined) return undefined;
    const item = lane.items[lane.head++];
    if (lane.head === lane.items.length || (lane.head > SHIFT_MIN && lane.head * 2 > lane.items.length)) {
      lane.items = lane.items.slice(lane.head);
      lane.head = 0;
    }
    return item;
  }
}
