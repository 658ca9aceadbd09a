/**
 * Does the numbered steps of `everpod torture` in one short life: opens, appends, syncs, folds, compacts, ends; says what is safe. Where the
 * disk refuses something, it tries again, as a program would.
 */
import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { applyStep, type StepTarget, type StepValue } from '../../../src/cli/torture-workload.ts';
import { nodeSystem } from '../../../src/disk/system.ts';
import { type Durability, type Key, POD, PodError } from '../../../src/index.ts';
import { openHandle } from '../../../src/pod/open-pods.ts';
import { HANDLE_DOOR } from '../../../src/pod/pod.ts';
import { describeError, nextTurn, say } from './say.ts';

const [folder = '', seed = '', done = '', doubt = '', ending = '', durability = 'process', gzipped = ''] =
  process.argv.slice(2);
/** Where errors are made, only what was synced is safe: an append in the background may have failed without a word so far. */
const errorsExpected = doubt === 'errors';
const ATTEMPTS = 3;
let step = Number(done);
let safe = step;

/** Seen in the trace: whatever comes before is Node starting. */
try {
  openSync('everpod-begins-here', 'r');
} catch {
  // It is not there.
}

function persistently<R>(what: string, work: () => R): R {
  for (let attempt = 1; ; attempt++) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof PodError) || error.code !== 'ERR_POD_DISK') throw error;
      say(`${what} failed: ${describeError(error)}`);
      if (attempt === ATTEMPTS) process.exit(9);
    }
  }
}

function saySafe(): void {
  safe = step;
  say(`synced ${safe}`);
}

const pod = persistently(
  'opening',
  () =>
    openHandle<POD<StepValue, Key>, StepValue, Key>(
      folder,
      {
        fileSize: 8,
        syncAt: 1_000_000,
        syncEvery: 0,
        durability: durability as Durability,
        gzipped: gzipped === 'gzipped',
      },
      {
        name: 'PersistentOrderedDict',
        meta: {},
        accepts: (other): other is POD<StepValue, Key> => other instanceof POD,
        make: (engine) => new POD(HANDLE_DOOR, engine),
        system: { ...nodeSystem, foldLogBytes: 2_000 },
      },
    ).handle,
);
const target: StepTarget = {
  get: (key) => pod.get(key),
  set: (key, value) => pod.set(key, value),
  delete: (key) => pod.delete(key),
  clear: () => pod.clear(),
  together: (change) => pod.transaction(change),
  undone: (change) => {
    const givenUp = new Error('given up');
    try {
      pod.transaction(() => {
        change();
        throw givenUp;
      });
    } catch (error) {
      if (error !== givenUp) throw error;
    }
  },
};

async function steps(turns: number, each: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    for (let n = 0; n < each; n++) {
      persistently(`step ${step + 1}`, () => applyStep(target, Number(seed), step + 1));
      step++;
    }
    await nextTurn();
    if (!errorsExpected) saySafe();
  }
}

async function sync(beside: boolean): Promise<void> {
  if (beside) await pod.flush().catch((error: unknown) => say(`flush failed: ${describeError(error)}`));
  persistently('sync', () => pod.sync());
  saySafe();
}

say('open');
await steps(2, 5);
await sync(false);
await steps(1, 20);
await sync(true);
// The fold goes on in slices, between turns.
for (let slice = 0; slice < 6; slice++) await sleep(2);
await steps(2, 5);
persistently('compaction', () => pod.compact());
saySafe();
await steps(1, 12);
if (ending === 'close') {
  persistently('close', () => pod.close());
  saySafe();
} else if (ending === 'SIGKILL') process.kill(process.pid, 'SIGKILL');
else {
  // Not safe before the end: the exit handler saves it, or says by the exit code that it could not.
  say(`ending ${step}`);
  if (ending !== 'exit') {
    process.kill(process.pid, ending);
    setTimeout(() => {}, 10_000);
  }
}
