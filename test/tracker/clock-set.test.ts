// Somebody sets the wall clock while a loop runs: nothing waits longer for that, and nothing comes before its time.
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PacedOptions } from '../../src/tracker/options.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { clock } from './fast-system.ts';
import { useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();
const HOUR_MS = 3_600_000;
let over = new AbortController();

afterEach(async () => {
  over.abort();
  over = new AbortController();
  await turn();
});

function open(...keys: string[]): ProgressTracker {
  const tracker = temporary.keep(ProgressTracker.open(temporary.path()));
  tracker.addMany(keys);
  return tracker;
}

/** Begins a loop. Returns what asks for all that it hands out until it waits. */
function begin(tracker: ProgressTracker, options: Partial<PacedOptions<string>>): () => Promise<string[]> {
  const keys: string[] = [];
  const { signal } = over;
  void (async () => {
    for await (const key of tracker.tryKeys({ concurrency: 4, signal, ...options })) keys.push(key);
  })();
  return async () => {
    await turn();
    await turn();
    return keys.splice(0);
  };
}

/** Something comes after so long, and not a millisecond before. */
async function comesAfter(durationMs: number, keys: string[], handedOut: () => Promise<string[]>): Promise<void> {
  expect(await handedOut()).toEqual([]);
  clock.advance(durationMs - 1);
  expect(await handedOut()).toEqual([]);
  clock.advance(1);
  expect(await handedOut()).toEqual(keys);
}

describe.each([
  ['back', -HOUR_MS],
  ['forward', HOUR_MS],
])('with a wall clock that is set %s by an hour', (_, byMs) => {
  it('delayMs is kept', async () => {
    const tracker = open('a', 'b');
    const handedOut = begin(tracker, { delayMs: 1_000, group: () => 'all' });
    expect(await handedOut()).toEqual(['a']);
    tracker.markDone('a');
    clock.setWallClock(byMs);
    await comesAfter(1_000, ['b'], handedOut);
  });

  it('retryDelayMs is kept', async () => {
    const tracker = open('a');
    const handedOut = begin(tracker, { retryDelayMs: 1_000 });
    expect(await handedOut()).toEqual(['a']);
    tracker.fail('a', new Error('no'));
    clock.setWallClock(byMs);
    await comesAfter(1_000, ['a'], handedOut);
  });

  it('retryAfterMs is kept, by a loop that is at work', async () => {
    const tracker = open('a');
    const handedOut = begin(tracker, {});
    expect(await handedOut()).toEqual(['a']);
    tracker.fail('a', new Error('no'), { retryAfterMs: 1_000 });
    clock.setWallClock(byMs);
    await comesAfter(1_000, ['a'], handedOut);
  });

  it('retryAfterMs is kept, by a loop that begins later', async () => {
    const tracker = open('a');
    tracker.fail('a', new Error('no'), { retryAfterMs: 1_000 });
    clock.setWallClock(byMs);
    await comesAfter(1_000, ['a'], begin(tracker, {}));
  });

  it('retryAfterMs is kept, by a loop that does not wait', () => {
    const tracker = open('a');
    tracker.fail('a', new Error('no'), { retryAfterMs: 1_000 });
    clock.setWallClock(byMs);
    clock.advance(999);
    expect([...tracker.tryKeys()]).toEqual([]);
    clock.advance(1);
    expect([...tracker.tryKeys()]).toEqual(['a']);
  });

  it('retryAfterMs is kept for what a loop has found in the folder', async () => {
    const before = open('a');
    before.fail('a', new Error('no'), { retryAfterMs: 1_000 });
    before.close();
    const handedOut = begin(temporary.keep(ProgressTracker.open(before.path)), {});
    expect(await handedOut()).toEqual([]);
    clock.setWallClock(byMs);
    await comesAfter(1_000, ['a'], handedOut);
  });

  it('the last failure counts, also where its record looks like the one before', async () => {
    const tracker = open('a');
    const handedOut = begin(tracker, {});
    for (let n = 0; n < 3; n++) {
      expect(await handedOut()).toEqual(n === 0 ? ['a'] : []);
      tracker.fail('a', new Error('no'), { retryAfterMs: 1_000 });
      clock.setWallClock(byMs);
      await comesAfter(1_000, ['a'], handedOut);
      clock.setWallClock(-byMs - 1_000);
    }
  });

  it('a pause of the breaker is kept, and what it gave back comes after it', async () => {
    const tracker = open('a', 'b');
    const handedOut = begin(tracker, { concurrency: 1, breaker: { failures: 1, pauseMs: 1_000 } });
    expect(await handedOut()).toEqual(['a']);
    tracker.fail('a', new Error('no network'));
    clock.setWallClock(byMs);
    await comesAfter(1_000, ['a'], handedOut);
  });

  it('a blocked group stays so for as long as was said', async () => {
    const tracker = open('a');
    tracker.blockGroup('all', clock.now() + 1_000);
    clock.setWallClock(byMs);
    await comesAfter(1_000, ['a'], begin(tracker, { group: () => 'all' }));
  });
});

it('what was put off in an earlier run waits no longer than it was put off for, where the clock was set back since', async () => {
  const before = open('a');
  before.fail('a', new Error('no'), { retryAfterMs: 1_000 });
  before.close();
  clock.setWallClock(-HOUR_MS);
  await comesAfter(1_000, ['a'], begin(temporary.keep(ProgressTracker.open(before.path)), {}));
});

it('what is due stays due where the clock is set back before it is handed out, also over a compaction', async () => {
  const tracker = open('a', 'b');
  const handedOut = begin(tracker, { concurrency: 1 });
  expect(await handedOut()).toEqual(['a']);
  tracker.fail('b', new Error('no'), { retryAfterMs: 1_000 });
  clock.setWallClock(-HOUR_MS);
  clock.advance(1_000);
  await tracker.compact();
  tracker.markDone('a');
  expect(await handedOut()).toEqual(['b']);
});

it('the record of a task says its moment by the wall clock', () => {
  const tracker = open('a');
  tracker.fail('a', new Error('no'), { retryAfterMs: 1_000 });
  expect(tracker.snapshot('a')?._error?.retryAt).toBe(new Date(clock.now() + 1_000).toISOString());
});
