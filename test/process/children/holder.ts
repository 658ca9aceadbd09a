/** Takes a folder's lock, by opening a pod or directly, says how that went, and holds it until it is killed. */

import { type LockMethod, systemLocks } from '../../../src/disk/lock.ts';
import { POD } from '../../../src/index.ts';
import { say } from './say.ts';

const [folder = '', method = ''] = process.argv.slice(2);
try {
  if (method === '') POD.open<number>(folder).set('held', process.pid).sync();
  else systemLocks(method as LockMethod).acquire(folder);
  say(`held by ${process.pid}`);
  setInterval(() => {}, 1_000);
} catch (error) {
  const { code, message, info } = error as { code?: string; message?: string; info?: unknown };
  say(JSON.stringify({ code, message, info }));
}
