// Whether a history of concurrent operations on one entry could have happened one at a time, each between its call and its answer.

/** One operation on an entry, as a client saw it. */
export interface Observed {
  readonly client: number;
  readonly operation: 'get' | 'set' | 'increment' | 'delete';
  /** What was set, or added. */
  readonly argument: number;
  /** What was answered; null where nothing was there. */
  readonly result: number | boolean | null;
  readonly calledNs: bigint;
  readonly answeredNs: bigint;
}

/** What an operation makes of a value, and what it answers. */
function step(
  value: number | null,
  { operation, argument }: Observed,
): { value: number | null; result: Observed['result'] } {
  switch (operation) {
    case 'get':
      return { value, result: value };
    case 'set':
      return { value: argument, result: null };
    case 'increment':
      return { value: (value ?? 0) + argument, result: (value ?? 0) + argument };
    case 'delete':
      return { value: null, result: value !== null };
  }
}

/**
 * Searches for an order (Wing and Gong, with the memory of Lowe): the next operation is one that was called before any that is left was
 * answered; where its answer is not what the value gives, another one is tried.
 */
export function isLinearizable(history: readonly Observed[]): boolean {
  const left = [...history].sort((a, b) => (a.calledNs < b.calledNs ? -1 : 1));
  const dead = new Set<string>();
  const taken = new Uint8Array(left.length);
  const search = (value: number | null, count: number): boolean => {
    if (count === left.length) return true;
    const state = `${value}:${taken.join('')}`;
    if (dead.has(state)) return false;
    let firstAnswerNs: bigint | undefined;
    for (const [index, each] of left.entries()) {
      if (taken[index] === 0 && (firstAnswerNs === undefined || each.answeredNs < firstAnswerNs)) {
        firstAnswerNs = each.answeredNs;
      }
    }
    for (const [index, each] of left.entries()) {
      if (taken[index] === 1) continue;
      if (each.calledNs > (firstAnswerNs as bigint)) break;
      const next = step(value, each);
      if (next.result !== each.result) continue;
      taken[index] = 1;
      if (search(next.value, count + 1)) return true;
      taken[index] = 0;
    }
    dead.add(state);
    return false;
  };
  return search(null, 0);
}
