// Several processes crawl with one tracker, each of them killed and replaced, the owner most of all; an oracle of diaries judges.
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ProgressTracker } from '../../src/index.ts';
import { type Child, useBench } from '../process/built.ts';
import { testSize } from '../size.ts';
import { ownerOf } from './owner-of.ts';

const bench = useBench();
const { workers, kills, workMs } = {
  small: { workers: 3, kills: 6, workMs: 20 },
  ci: { workers: 6, kills: 30, workMs: 150 },
  long: { workers: 8, kills: 100, workMs: 400 },
}[testSize];

/** A line of a diary: what a process did with a task, and when, on the clock that all processes share. */
interface Note {
  readonly sign: string;
  readonly pid: string;
  readonly key: string;
  readonly atNs: bigint;
}

describe('a crawl by several processes', () => {
  it(`${workers} processes, ${kills} of them killed: exactly all is done, nothing was held by two, nothing acknowledged is lost`, async () => {
    const folder = bench.newPath('crawl');
    const diaries = bench.newPath('diaries');
    mkdirSync(diaries);
    const running = new Map<number, Child>();
    const diedAtNs = new Map<string, bigint>();
    let ended = 0;
    let started = 0;
    const start = (): void => {
      const child = bench.start('sharer', ['crawl', folder, join(diaries, String(++started)), '30000', String(workMs)]);
      running.set(child.pid, child);
      void child.finished.then(({ code, stderr }) => {
        if (code === null) return;
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        running.delete(child.pid);
        ended++;
      });
    };
    ProgressTracker.open(folder, { init: { r: {} } }).close();
    for (let count = 0; count < workers; count++) start();
    let killed = 0;
    let owners = 0;
    while (running.size > 0) {
      await sleep(60 + Math.random() * 120);
      if (killed >= kills || ended > 0) continue;
      const owner = running.get(ownerOf(folder) ?? -1);
      const victim = killed % 2 === 0 ? owner : [...running.values()][Math.floor(Math.random() * running.size)];
      if (victim === undefined) continue;
      if (victim === owner) owners++;
      diedAtNs.set(String(victim.pid), process.hrtime.bigint());
      victim.process.kill('SIGKILL');
      await victim.finished;
      running.delete(victim.pid);
      killed++;
      start();
    }
    const notes = readdirSync(diaries).flatMap((name) => notesIn(readFileSync(join(diaries, name), 'utf8')));
    const tracker = ProgressTracker.open(folder);
    expect([...tracker.doneKeys()].sort()).toEqual(tree().sort());
    expect(tracker.size).toBe(tracker.numDone());
    for (const { sign, key } of notes) if (sign === '!') expect(tracker.done(key)).toBe(true);
    tracker.close();
    expect(heldTwice(notes, diedAtNs)).toEqual([]);
    expect(existsSync(join(folder, 'shared.json'))).toBe(false);
    console.log(`# crawl: ${started} processes, ${killed} killed, ${owners} of them owners, ${notes.length} notes`);
    if (testSize !== 'small') expect(killed).toBe(kills);
  });

  it('the oracle notices a task that two processes had', () => {
    const note = (sign: string, pid: string, atNs: number): Note => ({ sign, pid, key: 'k', atNs: BigInt(atNs) });
    const apart = [note('+', '1', 1), note('-', '1', 2), note('+', '2', 3), note('-', '2', 4)];
    expect(heldTwice(apart, new Map())).toEqual([]);
    expect(heldTwice([note('+', '1', 1), note('-', '1', 3), note('+', '2', 2)], new Map())).toHaveLength(1);
    expect(heldTwice([note('+', '1', 1), note('+', '2', 5)], new Map([['1', 4n]]))).toEqual([]);
    expect(heldTwice([note('+', '1', 1), note('+', '2', 3)], new Map([['1', 4n]]))).toHaveLength(1);
  });
});

/** Tasks that two processes had at a time: from the first word about one to the last, or to the death of who had it. */
function heldTwice(notes: readonly Note[], diedAtNs: ReadonlyMap<string, bigint>): string[] {
  const spans = new Map<string, { pid: string; fromNs: bigint; toNs: bigint }[]>();
  const forever = 2n ** 62n;
  for (const { sign, pid, key, atNs } of [...notes].sort((a, b) => (a.atNs < b.atNs ? -1 : 1))) {
    const ofKey = spans.get(key) ?? [];
    spans.set(key, ofKey);
    if (sign === '+') ofKey.push({ pid, fromNs: atNs, toNs: diedAtNs.get(pid) ?? forever });
    else if (sign === '-') {
      const open = ofKey.findLast((span) => span.pid === pid);
      if (open !== undefined) open.toNs = atNs;
    }
  }
  return [...spans].flatMap(([key, ofKey]) =>
    ofKey.flatMap((span, index) => {
      const before = ofKey[index - 1];
      return before !== undefined && before.toNs > span.fromNs ? [`${key}: ${before.pid} and ${span.pid}`] : [];
    }),
  );
}

/** All pages there are. */
function tree(key: string = 'r'): string[] {
  if (key.split('/').length >= 5) return [key];
  return [key, ...[0, 1, 2, 3].flatMap((child) => tree(`${key}/${child}`))];
}

function notesIn(text: string): Note[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [sign = '', pid = '', key = '', atNs = '0'] = line.split(' ');
      return { sign, pid, key, atNs: BigInt(atNs) };
    });
}
