/**
 * A busy writer whose every step keeps three promises: the amounts add up to the same sum, entries stand in the order they were born in, and
 * the version at a sync point is never lower than what the file beside the folder says.
 */
import { openSync, writeSync } from 'node:fs';
import { POD } from '../../../src/index.ts';
import { openIndexed } from './open-indexed.ts';
import { nextTurn, say } from './say.ts';
import { randomFrom } from './steps.ts';

/** One account. */
export interface Account {
  amount: number;
  born: number;
  pad?: string;
}

export const ACCOUNTS = 24;
export const SUM = ACCOUNTS * 100;
/** Under this key, which is the first, `amount` is the version and no money. */
export const VERSION = 'version';

const [folder = '', seed = '', gzipped = '', indexed = ''] = process.argv.slice(2);
const random = randomFrom(Number(seed));
const options = { fileSize: 5, gzipped: gzipped === 'true', syncEvery: 0 };
const open = (): POD<Account> => (indexed === 'true' ? openIndexed(folder, options) : POD.open(folder, options));
let pod = open();
const floor = openSync(`${folder}.floor`, 'w+');
let born = 0;

function noteFloor(): void {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(pod.get(VERSION)?.amount ?? 0);
  writeSync(floor, bytes, 0, 8, 0);
}

/** Moves money between accounts; some close and open again at the end of the row. */
function move(): void {
  pod.transaction(() => {
    const version = pod.get(VERSION);
    if (version !== undefined) version.amount++;
    for (let moves = 1 + random(4); moves > 0; moves--) {
      const from = `account ${random(ACCOUNTS)}`;
      const to = `account ${random(ACCOUNTS)}`;
      const amount = random(50);
      const [giver, taker] = [pod.get(from), pod.get(to)];
      if (giver === undefined || taker === undefined) throw new Error('An account is missing.');
      giver.amount -= amount;
      taker.amount += amount;
      if (random(4) > 0) continue;
      const rest = giver.amount;
      pod.delete(from);
      pod.set(from, { amount: rest, born: born++, pad: 'x'.repeat(random(3) === 0 ? 40_000 : 10) });
    }
  });
}

pod.transaction(() => {
  pod.set(VERSION, { amount: 0, born: born++ });
  for (let n = 0; n < ACCOUNTS; n++) pod.set(`account ${n}`, { amount: 100, born: born++ });
});
pod.sync();
noteFloor();
say('ready');
for (;;) {
  for (let turns = random(6); turns > 0; turns--) {
    move();
    if (random(3) > 0) await nextTurn();
  }
  switch (random(12)) {
    case 0: {
      // What is taken back may have been read; what was synced before it stays.
      pod.hold();
      pod.sync();
      noteFloor();
      const before = born;
      move();
      await nextTurn();
      move();
      pod.revert();
      born = before;
      pod.unhold();
      break;
    }
    case 1:
      pod.compact();
      break;
    case 2:
      pod.close();
      pod = open();
      break;
    case 3:
      await pod.flush();
      break;
    default:
      pod.sync();
  }
  if (pod.dirty().size === 0) noteFloor();
  await nextTurn();
}
