/**
 * A set of slots that finds the next member from any place in the same few steps, however many slots lie between.
 *
 * A tree of bits, 32 to a word: a bit on one level says that the word below it is not empty. Ten million slots are five levels, 1.3 MB.
 */
const BITS = 5;
const WORD = 1 << BITS;

export class SlotSet {
  /** How many members there are. */
  size: number = 0;
  /** `#levels[0]` holds a bit for each slot; the last level is one word. */
  #levels: Uint32Array[] = [new Uint32Array(1)];

  has(slot: number): boolean {
    const words = this.#levels[0] as Uint32Array;
    return ((words[slot >>> BITS] ?? 0) & (1 << (slot & (WORD - 1)))) !== 0;
  }

  add(slot: number): void {
    if (this.has(slot)) return;
    this.#grow(slot);
    this.size++;
    let index = slot;
    for (const words of this.#levels) {
      const word = index >>> BITS;
      const before = words[word] as number;
      words[word] = before | (1 << (index & (WORD - 1)));
      // The levels above know already that this word is not empty.
      if (before !== 0) return;
      index = word;
    }
  }

  delete(slot: number): void {
    if (!this.has(slot)) return;
    this.size--;
    let index = slot;
    for (const words of this.#levels) {
      const word = index >>> BITS;
      const after = (words[word] as number) & ~(1 << (index & (WORD - 1)));
      words[word] = after;
      if (after !== 0) return;
      index = word;
    }
  }

  clear(): void {
    this.size = 0;
    this.#levels = [new Uint32Array(1)];
  }

  /** Makes the members those whose bits are set: 32 slots a word. */
  assign(words: Uint32Array): void {
    this.size = 0;
    for (const word of words) this.size += countBits(word);
    this.#levels = [words.length === 0 ? new Uint32Array(1) : words];
    for (let below = this.#levels[0] as Uint32Array; below.length > 1; ) {
      const level = new Uint32Array(Math.ceil(below.length / WORD));
      for (let index = 0; index < below.length; index++) {
        if (below[index] !== 0) level[index >>> BITS] = (level[index >>> BITS] as number) | (1 << (index & (WORD - 1)));
      }
      this.#levels.push(level);
      below = level;
    }
  }

  /** The first member at or after a slot, or -1. */
  next(from: number): number {
    let level = 0;
    let index = from;
    for (;;) {
      const words = this.#levels[level];
      if (words === undefined) return -1;
      const word = index >>> BITS;
      const rest = word < words.length ? (words[word] as number) & (-1 << (index & (WORD - 1))) : 0;
      if (rest !== 0) {
        index = word * WORD + lowestBit(rest);
        break;
      }
      // Nothing more in this word: ask the level above for the next word that is not empty.
      index = word + 1;
      level++;
    }
    while (level > 0) {
      level--;
      index = index * WORD + lowestBit((this.#levels[level] as Uint32Array)[index] as number);
    }
    return index;
  }

  #grow(slot: number): void {
    const words = this.#levels[0] as Uint32Array;
    if (slot >>> BITS < words.length) return;
    let length = Math.max((slot >>> BITS) + 1, words.length * 2);
    const levels: Uint32Array[] = [];
    for (let level = 0; level === 0 || (levels[level - 1] as Uint32Array).length > 1; level++) {
      const larger = new Uint32Array(length);
      const old = this.#levels[level];
      if (old !== undefined) larger.set(old);
      // A new top must know of what the old top held.
      else
        (this.#levels[level - 1] as Uint32Array).forEach((word, index) => {
          if (word !== 0) larger[index >>> BITS] = (larger[index >>> BITS] as number) | (1 << (index & (WORD - 1)));
        });
      levels.push(larger);
      this.#levels[level] ??= larger;
      length = Math.ceil(length / WORD);
    }
    this.#levels = levels;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** How many bits of a word are set (Warren, Hacker's Delight, section 5-1). */
function countBits(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
