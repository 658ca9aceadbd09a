/**
 * What the busy writer of the kill loop does, as a function of a seed, and what the pod holds after it: the writer does the steps, the test
 * knows what they must have led to.
 */

/** A value of the kill loop. `pad` is one letter many times over, to fill the log. */
export interface Busy {
  n: number;
  pad: string;
  list: number[];
}

/** One change that is there whole or not at all. */
export type Step =
  | { readonly kind: 'set'; readonly key: string; readonly value: Busy }
  | { readonly kind: 'edit'; readonly key: string; readonly n: number }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'clear' }
  | { readonly kind: 'transaction'; readonly steps: readonly Step[] }
  /** Goes back to where the turn began, which was a sync point. */
  | { readonly kind: 'revert' };

/** What follows the steps of a turn. */
export type TurnEnd = 'turn' | 'sync' | 'flush' | 'compact' | 'reopen';

export interface Turn {
  readonly steps: readonly Step[];
  readonly end: TurnEnd;
}

/** Mulberry32: small, and the same everywhere. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** All turns of one life, without end. */
export function* turnsOf(seed: number): Generator<Turn, never> {
  const random = randomFrom(seed);
  const key = (): string => `key ${random(60)}`;
  let n = 0;
  const change = (): Step => {
    const choice = random(10);
    n++;
    if (choice < 5) {
      const pad = 'abcdefgh'.charAt(random(8)).repeat(random(3) === 0 ? 20_000 + random(60_000) : random(300));
      return { kind: 'set', key: key(), value: { n, pad, list: [] } };
    }
    if (choice < 8) return { kind: 'edit', key: key(), n };
    return { kind: 'delete', key: key() };
  };
  for (;;) {
    const steps: Step[] = [];
    for (let left = 1 + random(8); left > 0; left--) {
      const choice = random(40);
      if (choice < 6) steps.push({ kind: 'transaction', steps: Array.from({ length: 2 + random(6) }, change) });
      else if (choice === 6) steps.push({ kind: 'clear' });
      else steps.push(change());
    }
    if (random(10) === 0) steps.push({ kind: 'revert' });
    const choice = random(100);
    const end =
      choice < 60 ? 'turn' : choice < 85 ? 'sync' : choice < 95 ? 'flush' : choice < 98 ? 'compact' : 'reopen';
    yield { steps, end };
  }
}

/** What a step leads to, in a plain `Map`, which keeps the order of a pod. */
export function play(state: Map<string, Busy>, step: Step): void {
  switch (step.kind) {
    case 'set':
      state.set(step.key, step.value);
      break;
    case 'edit': {
      const value = state.get(step.key);
      if (value !== undefined) state.set(step.key, { ...value, n: step.n, list: [...value.list, step.n] });
      break;
    }
    case 'delete':
      state.delete(step.key);
      break;
    case 'clear':
      state.clear();
      break;
    case 'transaction':
      for (const inner of step.steps) play(state, inner);
      break;
    case 'revert':
      throw new Error('Whoever plays the turns knows what it goes back to.');
  }
}
