/**
 * The entries that are kept although the disk has them, because somebody may ask for them again: as many as fit, the ones asked for
 * lately first (second chance, as pages are replaced in an operating system).
 */

/** What is known of an entry that may be let go. */
export interface Keepable {
  readonly slot: number;
  readonly touched: boolean;
  readonly unsynced: boolean;
  readonly pins: number;
  weight: number;
  used: boolean;
}

export class CleanEntries<E extends Keepable> {
  /** What the entries together may weigh. */
  bytesMax: number;
  #bytes: number = 0;
  #queue: E[] = [];
  #head: number = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** There are so many already that one nobody asked for is not worth keeping: a bulk load would only feed the garbage collector. */
  get isBusy(): boolean {
    return this.#bytes > this.bytesMax / 2;
  }

  add(entry: E, weight: number): void {
    if (entry.weight > 0) return;
    entry.weight = weight;
    this.#bytes += weight;
    this.#queue.push(entry);
  }

  /** Lets entries go until the rest fits. One that must stay now is forgotten here; whoever frees it adds it again. */
  sweep(letGo: (entry: E) => void): void {
    while (this.#bytes > this.bytesMax && this.#head < this.#queue.length) {
      const entry = this.#queue[this.#head++] as E;
      const { weight } = entry;
      this.#bytes -= weight;
      entry.weight = 0;
      if (entry.slot < 0 || entry.unsynced || entry.touched || entry.pins > 0) continue;
      if (entry.used) {
        entry.used = false;
        this.add(entry, weight);
      } else letGo(entry);
    }
    if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
  }
}
