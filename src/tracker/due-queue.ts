/**
 * A queue of items by the moment they are due: the earliest comes out first. A binary heap.
 */
interface Due<T> {
  readonly atMs: number;
  readonly item: T;
}

export class DueQueue<T> {
  readonly #heap: Due<T>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** When the first item is due; infinite where there is none. */
  get nextMs(): number {
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  add(atMs: number, item: T): void {
    const heap = this.#heap;
    const due = { atMs, item };
    let at = heap.length;
    while (at > 0) {
      const above = (at - 1) >>> 1;
      const parent = heap[above] as Due<T>;
      if (parent.atMs <= atMs) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = due;
  }

  /** Takes the first item out if it is due. */
  take(nowMs: number): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    const last = heap.pop() as Due<T>;
    if (heap.length > 0) this.#sink(last);
    return first.item;
  }

  #sink(due: Due<T>): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && (heap[below + 1] as Due<T>).atMs < (heap[below] as Due<T>).atMs) below++;
      const child = heap[below] as Due<T>;
      if (child.atMs >= due.atMs) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = due;
  }
}
