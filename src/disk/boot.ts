/**
 * Which start of the machine this is.
 */
import { uptime } from 'node:os';
import { bootIdentity } from './lock.ts';

/** Two guesses at when the machine was started, in minutes, may differ by this much. */
const MINUTES_SLACK = 2;

/** This start of the machine; where the system does not tell, about when it was. */
export function bootMark(): string {
  return bootIdentity() || `started about minute ${Math.round((Date.now() / 1000 - uptime()) / 60)}`;
}

export function isThisBoot(mark: string): boolean {
  const now = bootMark();
  const [then, here] = [mark, now].map((each) => /^started about minute (\d+)$/.exec(each)?.[1]);
  if (then === undefined || here === undefined) return mark === now;
  return Math.abs(Number(then) - Number(here)) <= MINUTES_SLACK;
}
