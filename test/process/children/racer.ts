/**
 * Races others for one folder. Whoever gets in creates a file that must not exist, so two at once are noticed, whatever the lock
 * says. A winner closes properly, dies, or leaves a lock as a dead process would.
 */
import { closeSync, existsSync, openSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type LockMethod, systemLocks } from '../../../src/disk/lock.ts';
import { POD } from '../../../src/index.ts';
import { say } from './say.ts';

const [folder = '', method = '', attemptsText = '0', killedAtWinText = '0'] = process.argv.slice(2);
const attempts = Number(attemptsText);
const killedAtWin = Number(killedAtWinText);
const guard = `${folder}.guard`;

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Opens the pod or takes the lock; returns how to give it back. */
function enter(): () => void {
  if (method === 'pod') {
    const pod = POD.open<number>(folder, { syncEvery: 0 });
    pod.set('wins', (pod.get('wins') ?? 0) + 1);
    pod.sync();
    return () => pod.close();
  }
  const lock = systemLocks(method as LockMethod).acquire(folder);
  return () => {
    if (method === 'pidfile' && Math.random() < 0.5) {
      // What a process of another boot has left.
      const text = `pid: 1\nhost: ${hostname()}\nboot id: another\nstart time: ${Math.random()}\nsince: then\n`;
      const name = readdirSync(folder).find((each) => each.startsWith('lock.held.'));
      if (name !== undefined) writeFileSync(join(folder, name), text);
    } else lock.release(Math.random() < 0.5 ? 'closed' : 'open');
  };
}

// Everybody waits until all are there.
say('ready');
while (!existsSync(`${folder}.go`)) sleep(1);

let wins = 0;
let refusals = 0;
let unnamed = 0;
for (let attempt = 0; attempt < attempts; attempt++) {
  let leave: () => void;
  try {
    leave = enter();
  } catch (error) {
    const { code, info } = error as { code?: string; info?: { pid?: number; host?: string; since?: string } };
    if (code !== 'ERR_POD_LOCKED') say(`failed: ${String(error)} ${String((error as Error).cause)}`);
    refusals++;
    if (typeof info?.pid !== 'number' || info.host !== hostname() || info.since === undefined) unnamed++;
    sleep(Math.random() * 4);
    continue;
  }
  try {
    closeSync(openSync(guard, 'wx'));
  } catch {
    say('two holders');
    process.exit(1);
  }
  sleep(Math.random() * 2);
  unlinkSync(guard);
  if (++wins === killedAtWin) {
    say(`killed after ${wins}`);
    process.kill(process.pid, 'SIGKILL');
  }
  leave();
  sleep(Math.random() * 2);
}
say(JSON.stringify({ wins, refusals, unnamed }));
