/**
 * Writes without end, and says what it is about to do and what is acknowledged: `i 12` before the turn whose last step is the 12th,
 * `a 12` once all 12 must survive.
 */
import { type Durability, POD } from '../../../src/index.ts';
import { nextTurn, say } from './say.ts';
import { type Busy, type Step, turnsOf } from './steps.ts';

const [folder = '', seedText = '', level = '', syncAt = '', syncEvery = '', gzipped = ''] = process.argv.slice(2);
const durability = level as Durability;
const options = {
  durability,
  syncAt: Number(syncAt),
  syncEvery: Number(syncEvery),
  gzipped: gzipped === 'true',
  fileSize: 7,
};

let pod = POD.open<Busy>(folder, options);

function run(step: Step): void {
  switch (step.kind) {
    case 'set':
      pod.set(step.key, step.value);
      break;
    case 'edit': {
      const value = pod.get(step.key);
      if (value === undefined) break;
      // Two writes to one value, which are one change only inside a transaction.
      pod.transaction(() => {
        value.n = step.n;
        value.list.push(step.n);
      });
      break;
    }
    case 'delete':
      pod.delete(step.key);
      break;
    case 'clear':
      pod.clear();
      break;
    case 'transaction':
      pod.transaction(() => {
        for (const inner of step.steps) run(inner);
      });
      break;
    case 'revert':
      pod.revert();
  }
}

let done = 0;
say('ready');
for (const { steps, end } of turnsOf(Number(seedText))) {
  say(`i ${done + steps.length}`);
  const reverts = steps.some(({ kind }) => kind === 'revert');
  if (reverts) {
    // Held, so that nothing moves the sync point to which it goes back.
    pod.hold();
    pod.sync();
    say(`a ${done}`);
  }
  for (const step of steps) {
    if (step.kind === 'revert' && durability === 'process') await nextTurn();
    run(step);
    done++;
    // Going back is made durable too, before anything is appended.
    if (durability === 'power' && !reverts) say(`a ${done}`);
  }
  if (reverts) {
    pod.unhold();
    if (durability !== 'exit') say(`a ${done}`);
  }
  if (end === 'sync') pod.sync();
  else if (end === 'flush') await pod.flush();
  else if (end === 'compact') pod.compact();
  else if (end === 'reopen') {
    pod.close();
    pod = POD.open<Busy>(folder, options);
  } else await nextTurn();
  if (end !== 'turn' || durability !== 'exit') say(`a ${done}`);
}
