// Clients of a shared folder at work while its owners are killed, one after the other.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Child, Finished } from '../process/built.ts';
import { ownerOf } from './owner-of.ts';

/**
 * Two owners stand ready, and each one that is killed is replaced, until the clients are done or there were enough kills.
 *
 * @param stand starts one more process that may own the folder
 * @param clients starts those whose end is waited for
 * @param pauseMs from one kill to the next
 */
export async function workUnderKills(
  folder: string,
  stand: () => Child,
  clients: () => readonly Child[],
  kills: number,
  pauseMs: () => number,
): Promise<{ ends: Finished[]; killed: number }> {
  const owners = new Map<number, Child>();
  const standOneMore = (): void => {
    const owner = stand();
    owners.set(owner.pid, owner);
  };
  standOneMore();
  standOneMore();
  let isOver = false;
  const all = Promise.all(clients().map(({ finished }) => finished)).finally(() => {
    isOver = true;
  });
  let killed = 0;
  while (killed < kills && !isOver) {
    await sleep(pauseMs());
    const owner = owners.get(ownerOf(folder) ?? -1);
    if (owner === undefined) continue;
    owner.process.kill('SIGKILL');
    await owner.finished;
    owners.delete(owner.pid);
    killed++;
    standOneMore();
  }
  const ends = await all;
  for (const owner of owners.values()) owner.process.kill('SIGTERM');
  await Promise.all([...owners.values()].map(({ finished }) => finished));
  return { ends, killed };
}
