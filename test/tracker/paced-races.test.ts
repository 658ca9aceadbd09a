// Moments of the paced loop that seldom come, found by killing real processes: a clock that moves on while it is read, a refund in flight.
import { expect, it, vi } from 'vitest';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { clock } from './fast-system.ts';
import { useTemporary } from './temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({ nodeSystem: (await import('./fast-system.ts')).fastSystem }));

const temporary = useTemporary();

async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

it('a task whose moment comes between two looks at the clock is handed out all the same', async () => {
  const began = clock.monotonic();
  let reads = 0;
  const ticking = vi.spyOn(clock, 'monotonic').mockImplementation(() => began + reads++);
  for (let delayMs = 1; delayMs <= 12; delayMs++) {
    const tasks = temporary.keep(ProgressTracker.open(temporary.path()));
    tasks.addMany(['a', 'b']);
    const loop = tasks.tryKeys({ concurrency: 2, group: () => 'one', delayMs });
    tasks.markDone((await loop.next()).value as string);
    let found: unknown;
    void loop.next().then(({ value }) => {
      found = value;
    });
    await turns();
    reads += 1_000;
    clock.advance(1_000);
    await turns();
    expect(found, `with a delay of ${delayMs} ms`).toBe('b');
    tasks.close();
  }
  ticking.mockRestore();
});

it('a try that is given back while the task is in flight again does not end the one that is under way', async () => {
  const tasks = temporary.keep(ProgressTracker.open(temporary.path()));
  tasks.addMany(['a', 'b', 'c']);
  const groupOf = (): string => 'one';
  const pace = { concurrency: 3, group: groupOf, retryDelayMs: 0, breaker: { failures: 2, pauseMs: 10 } };
  const loop = tasks.tryKeys({ ...pace, perGroup: 2 });
  const next = async (): Promise<string> => (await loop.next()).value as string;
  expect([await next(), await next()]).toEqual(['a', 'b']);
  tasks.fail('a', new Error('down'));
  // It comes again at once, before the breaker has seen a second failure.
  const third = await next();
  expect(third).toBe('a');
  tasks.fail('b', new Error('down'));
  const waiting = loop.next();
  await turns();
  // Both failures are refunded; the second try of "a" is under way, and counted.
  expect([tasks.tries('a'), tasks.tries('b')]).toEqual([1, 0]);
  expect(tasks.snapshot('a')?._error).toMatchObject({ try: 0, blame: 'environment' });
  tasks.markDone('a');
  clock.advance(20);
  await waiting;
  void loop.return?.();
});
