/**
 * What the enumerator lets the engine do: random walks drawn from a seed, and scripts for the combinations that random walks seldom hit.
 */
import type { FsCall, FsFault } from '../../src/testing/index.ts';
import type { Explorer } from './enumerator-explorer.ts';

/** How often a random walk takes each kind of step; what is left out is never taken. */
export type Mix = Readonly<Partial<Record<Step, number>>>;

type Step =
  | 'change'
  | 'transaction'
  | 'clear'
  | 'turn'
  | 'sync'
  | 'flush'
  | 'finish'
  | 'revert'
  | 'timer'
  | 'hold'
  | 'compact'
  | 'close'
  | 'exit'
  | 'kill'
  | 'killLater'
  | 'powerCut'
  | 'fault';

export const mixes: Readonly<Record<string, Mix>> = {
  turns: { change: 14, transaction: 4, clear: 1, turn: 8, sync: 4, flush: 3, finish: 2, revert: 2, timer: 6, hold: 1 },
  lives: {
    change: 12,
    transaction: 3,
    turn: 6,
    sync: 3,
    timer: 4,
    compact: 1,
    close: 2,
    exit: 1,
    kill: 2,
    killLater: 3,
    powerCut: 2,
  },
  folds: {
    change: 14,
    clear: 1,
    turn: 5,
    sync: 6,
    timer: 14,
    revert: 3,
    compact: 1,
    close: 2,
    killLater: 2,
    powerCut: 1,
  },
  faults: {
    change: 12,
    transaction: 2,
    turn: 5,
    sync: 4,
    flush: 3,
    finish: 3,
    revert: 3,
    timer: 6,
    compact: 1,
    close: 1,
    kill: 1,
    killLater: 1,
    powerCut: 1,
    fault: 8,
  },
};

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 1, ['h', 2], 'ü"\\\u0000', 'k', 'l'] as const;

/** Takes steps at random. */
export async function walk(explorer: Explorer, mix: Mix, steps: number): Promise<void> {
  const { random } = explorer;
  explorer.open();
  const all = (Object.keys(mix) as Step[]).flatMap((step) => Array.from({ length: mix[step] ?? 0 }, () => step));
  for (let count = 0; count < steps; count++) {
    // To wait would end the turn.
    const taken = take(explorer, random.pick(all));
    if (taken !== undefined) await taken;
    if (explorer.struck && random.chance(0.4)) explorer.recoverOrRestart();
  }
  await explorer.finishFlush();
  explorer.recoverOrRestart();
  explorer.close();
}

function take(explorer: Explorer, step: Step): Promise<void> | undefined {
  const { random } = explorer;
  const layout = () => ({ fileSize: 2 + random.below(3), gzip: random.chance(0.3) });
  switch (step) {
    case 'change':
      for (let count = 1 + random.below(4); count > 0; count--) change(explorer);
      break;
    case 'transaction':
      explorer.transaction(() => {
        for (let count = 1 + random.below(4); count > 0; count--) change(explorer);
      }, random.chance(0.25));
      break;
    case 'clear':
      explorer.clear();
      break;
    case 'turn':
      return explorer.endTurn();
    case 'sync':
      explorer.sync();
      break;
    case 'flush':
      explorer.fs.holdsBesides = random.chance(0.6);
      explorer.flush();
      break;
    case 'finish':
      return explorer.finishFlush();
    case 'revert':
      explorer.revert();
      break;
    case 'timer':
      return explorer.timer();
    case 'hold':
      explorer.hold();
      break;
    case 'compact':
      explorer.compact(layout());
      break;
    case 'close':
      explorer.close(random.chance(0.3) ? layout() : undefined);
      break;
    case 'exit':
      explorer.exit();
      break;
    case 'kill':
      explorer.kill();
      break;
    case 'killLater':
      explorer.arm(`death in ${armDeath(explorer)} calls`);
      break;
    case 'powerCut':
      explorer.powerCut();
      break;
    case 'fault':
      return fault(explorer);
    default:
      throw new Error(step satisfies never);
  }
  return undefined;
}

function change(explorer: Explorer): void {
  const { random } = explorer;
  const key = random.pick(KEYS);
  switch (random.below(6)) {
    case 0:
      explorer.delete(key);
      break;
    case 1:
      // To the end, in the same batch.
      explorer.delete(key);
      if (explorer.engine !== undefined) explorer.set(key);
      break;
    case 2:
      explorer.touch(key);
      break;
    default:
      explorer.set(key);
  }
}

function armDeath(explorer: Explorer): number {
  const calls = 1 + explorer.random.below(30);
  let left = calls;
  explorer.armed = () => (--left <= 0 ? { kind: 'kill' } : undefined);
  return calls;
}

/** Lets one call, or from then on every call of its kind, go wrong. */
function fault(explorer: Explorer): Promise<void> | undefined {
  const { random, fs } = explorer;
  if (fs.besides.size > 0 && random.chance(0.5)) return explorer.finishFlush('EIO');
  const kind = random.pick([
    'write',
    'short write',
    'fsync',
    'fsync',
    'fsync',
    'cut',
    'folder',
    'name',
    'any',
  ] as const);
  const persistent = random.chance(0.25);
  const skip = random.below(3);
  explorer.arm(`${persistent ? 'persistent ' : ''}fault: ${kind}, after ${skip}`);
  explorer.armed = faultOf(kind, skip, persistent, () => {
    explorer.armed = undefined;
  });
  return undefined;
}

const FAULTS: Readonly<Record<string, { readonly calls: readonly string[]; readonly fault: FsFault }>> = {
  write: { calls: ['write'], fault: { kind: 'error', code: 'ENOSPC' } },
  'short write': { calls: ['write'], fault: { kind: 'short', bytes: 20 } },
  fsync: { calls: ['fsync', 'fdatasync'], fault: { kind: 'error', code: 'EIO' } },
  cut: { calls: ['write', 'truncate'], fault: { kind: 'error', code: 'EIO' } },
  folder: { calls: ['fsyncFolder'], fault: { kind: 'error', code: 'EIO' } },
  name: { calls: ['rename', 'unlink', 'open'], fault: { kind: 'error', code: 'EMFILE' } },
  any: {
    calls: [
      'open',
      'write',
      'truncate',
      'fsync',
      'fdatasync',
      'rename',
      'unlink',
      'fsyncFolder',
      'stat',
      'fstat',
      'readdir',
      'read',
    ],
    fault: { kind: 'error', code: 'EIO' },
  },
};

/** A fault that lets `skip` calls of its kind pass. One that is not persistent strikes twice if it is about cutting, else once. */
function faultOf(
  kind: string,
  skip: number,
  persistent: boolean,
  spent: () => void,
): (call: FsCall) => FsFault | undefined {
  const { calls, fault: what } = FAULTS[kind] as (typeof FAULTS)[string];
  let left = skip;
  let strikes = persistent ? Number.POSITIVE_INFINITY : kind === 'cut' ? 2 : 1;
  return (call) => {
    if (!calls.includes(call.name)) return undefined;
    if (left-- > 0) return undefined;
    if (--strikes <= 0) spent();
    return what;
  };
}
