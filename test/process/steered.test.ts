/**
 * kill -9 at random moments of a paced loop with groups, a breaker and an output: nothing of a group overlaps or hurries, tries that were given
 * back stay given back, and the output holds the lines of each task that is done, once.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ProgressTracker } from '../../src/index.ts';
import { testSeed, testSize } from '../size.ts';
import { useBench } from './built.ts';
import { randomFrom } from './children/steps.ts';

const bench = useBench();
const seed = testSeed(1);
const KILLS = { small: 6, ci: 100, long: 500 }[testSize];
/** So many tasks that they last longer than the kills. */
const TASKS = KILLS * 60;
const DELAY_MS = 4;

interface Counts {
  kills: number;
  starts: number;
  done: number;
  refunds: number;
  refundsLooked: number;
  lines: number;
}

/** What one life of the child says, checked as it comes. */
class Life {
  readonly done: Set<string> = new Set();
  /** The tries of tasks whose last word was that their try was given back. */
  readonly refunded: Map<string, number> = new Map();
  readonly #inFlight: Map<string, string> = new Map();
  readonly #lastMs: Map<string, number> = new Map();
  readonly #counts: Counts;

  constructor(counts: Counts) {
    this.#counts = counts;
  }

  take(line: string): void {
    const [what, key = '', number = ''] = line.split(' ');
    const group = key.split(':')[0] as string;
    if (what === 'start') {
      expect(this.#inFlight.get(group), `${key} began while another of its group was in flight`).toBeUndefined();
      const waitedMs = Number(number) - (this.#lastMs.get(group) ?? 0);
      expect(waitedMs, `${key} began too early`).toBeGreaterThanOrEqual(DELAY_MS);
      this.#inFlight.set(group, key);
      expect(this.#inFlight.size).toBeLessThanOrEqual(4);
      this.#lastMs.set(group, Number(number));
      this.refunded.delete(key);
      this.#counts.starts++;
    } else if (what === 'end') {
      expect(this.#inFlight.get(group)).toBe(key);
      this.#inFlight.delete(group);
      this.#lastMs.set(group, Number(number));
    } else if (what === 'done') this.done.add(key);
    else if (what === 'refunded') {
      this.refunded.set(key, Number(number));
      this.#counts.refunds++;
    }
  }
}

/** Opens what a life has left, as the next one would, and compares. */
function look(folder: string, life: Life, doneBefore: ReadonlySet<string>, counts: Counts): Set<string> {
  // First without a change: opening it for writing marks what was in flight.
  requireRefunds(ProgressTracker.open<object>(folder, { mode: 'r' }), life, counts);
  const tasks = ProgressTracker.open<object>(folder, { maxDeaths: 0 });
  const done = new Set(tasks.doneKeys());
  for (const key of [...life.done, ...doneBefore]) expect(done, `${key} was done`).toContain(key);
  tasks.close();
  const lines = readFileSync(join(folder, 'lines.jsonl'), 'utf8').split('\n').slice(0, -1);
  const parts = new Map<string, number[]>();
  for (const line of lines) {
    const [key, part, count] = JSON.parse(line) as [string, number, number];
    expect(done, `${line} is of a task that is not done`).toContain(key);
    const known = parts.get(key) ?? [];
    parts.set(key, known);
    known.push(part);
    expect(known.length).toBeLessThanOrEqual(count);
  }
  for (const key of done) {
    const count = 1 + (Number(key.split(':')[1]) % 3);
    expect(parts.get(key), `the lines of ${key}`).toEqual(Array.from({ length: count }, (_, part) => part));
  }
  counts.lines = lines.length;
  counts.done = done.size;
  return done;
}

function requireRefunds(tasks: ProgressTracker<object>, life: Life, counts: Counts): void {
  for (const [key, tries] of life.refunded) {
    const { _tries, _error } = tasks.snapshot(key) ?? {};
    // One that was claimed again, and not said before the kill, has that try, and nothing else.
    const isClaimed = _error?.try !== _tries;
    expect({ _tries, blame: _error?.blame }).toEqual({ _tries: isClaimed ? tries + 1 : tries, blame: 'environment' });
    counts.refundsLooked++;
  }
  tasks.close();
}

describe('kill -9 of a paced loop at any moment', () => {
  it('keeps groups apart, gives back what it gave back, and has each line once', { timeout: 7_200_000 }, async () => {
    const folder = bench.newPath('steered');
    const random = randomFrom(seed);
    const counts: Counts = { kills: 0, starts: 0, done: 0, refunds: 0, refundsLooked: 0, lines: 0 };
    let done: Set<string> = new Set();
    for (let kill = 0; kill < KILLS; kill++) {
      const life = new Life(counts);
      let wrong: unknown;
      const child = bench.start('steered', [folder, String(random(1 << 30)), String(TASKS)], {
        onLine: (line) => {
          try {
            life.take(line);
          } catch (error) {
            wrong ??= error;
          }
        },
      });
      await child.said('ready');
      await sleep(40 + random(250));
      child.process.kill('SIGKILL');
      const { signal, stderr } = await child.finished;
      expect(wrong).toBeUndefined();
      expect({ signal, stderr }).toEqual({ signal: 'SIGKILL', stderr: '' });
      done = look(folder, life, done, counts);
      counts.kills++;
    }
    console.log(`steered: seed ${seed}: ${JSON.stringify(counts)}`);
    expect(counts.done).toBeGreaterThan(KILLS);
    expect(counts.refundsLooked).toBeGreaterThan(0);
    // The last life is left alone, and comes to its end.
    const folderOfFew = bench.newPath('few');
    const few = await bench.start('steered', [folderOfFew, String(seed), '20']).finished;
    expect(few.code).toBe(0);
    expect(look(folderOfFew, new Life(counts), new Set(), counts).size).toBe(20);
  });
});
