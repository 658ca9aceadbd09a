// The circuit breaker and the queue of what is due: pure parts of the paced loop.
import { describe, expect, it } from 'vitest';
import { Breaker } from '../../src/tracker/breaker.ts';
import { DueQueue } from '../../src/tracker/due-queue.ts';
import fc from '../fast-check.ts';

describe('the breaker', () => {
  it('opens when so many of the last tries failed alike, and names them', () => {
    const breaker = new Breaker<string>({ failures: 2, of: 3, pauseMs: 10 });
    expect(breaker.ended('a', 'E1', 100)).toBeUndefined();
    expect(breaker.ended('b', undefined, 100)).toBeUndefined();
    expect(breaker.notBeforeMs()).toBe(Number.NEGATIVE_INFINITY);
    expect(breaker.ended('c', 'E1', 100)).toEqual({
      failure: 'E1',
      hasOpened: true,
      untilMs: 110,
      durationMs: 10,
      tasks: ['a', 'c'],
    });
    expect(breaker.notBeforeMs()).toBe(110);
  });

  it('forgets what lies further back', () => {
    const breaker = new Breaker<string>({ failures: 2, of: 3 });
    breaker.ended('a', 'E1', 0);
    breaker.ended('b', undefined, 0);
    breaker.ended('c', undefined, 0);
    expect(breaker.ended('d', 'E1', 0)).toBeUndefined();
  });

  it('does not open for failures that differ', () => {
    const breaker = new Breaker<string>({ failures: 2 });
    for (let n = 0; n < 50; n++) expect(breaker.ended(`t${n}`, `E${n % 2}`, 0)).toBeUndefined();
  });

  it('lets one task through after the pause, and closes when that does not fail alike', () => {
    const breaker = new Breaker<string>({ failures: 1, pauseMs: 10 });
    breaker.ended('a', 'E1', 0);
    breaker.handedOut('b');
    expect(breaker.notBeforeMs()).toBe(Number.POSITIVE_INFINITY);
    // A second one is not the one that is looked at.
    breaker.handedOut('c');
    expect(breaker.ended('c', undefined, 11)).toBeUndefined();
    expect(breaker.notBeforeMs()).toBe(Number.POSITIVE_INFINITY);
    expect(breaker.ended('b', undefined, 12)).toBeUndefined();
    expect(breaker.notBeforeMs()).toBe(Number.NEGATIVE_INFINITY);
  });

  it('opens for twice as long each time the task that was let through fails alike, up to an hour', () => {
    const breaker = new Breaker<string>({ failures: 1, pauseMs: 1_000 });
    const pauses = [breaker.ended('a', 'E1', 0)?.durationMs];
    for (let n = 0; n < 14; n++) {
      breaker.handedOut('a');
      pauses.push(breaker.ended('a', 'E1', 0)?.durationMs);
    }
    expect(pauses.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(pauses.at(-1)).toBe(3_600_000);
    breaker.handedOut('a');
    breaker.ended('a', undefined, 0);
    expect(breaker.ended('b', 'E1', 0)?.durationMs).toBe(1_000);
  });

  it('names a task that was in flight when it opened and fails of the same cause, without opening again', () => {
    const breaker = new Breaker<string>({ failures: 1, pauseMs: 10 });
    breaker.ended('a', 'E1', 0);
    expect(breaker.ended('late', 'E1', 4)).toEqual({
      failure: 'E1',
      hasOpened: false,
      untilMs: 10,
      durationMs: 10,
      tasks: ['late'],
    });
    expect(breaker.ended('other', 'E2', 4)).toBeUndefined();
    expect(breaker.notBeforeMs()).toBe(10);
  });
});

describe('the queue of what is due', () => {
  it('gives out what a sorted list would', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(50), fc.constant('take' as const))), fc.nat(50), (steps, nowMs) => {
        const queue = new DueQueue<number>();
        let model: number[] = [];
        for (const step of steps) {
          if (step === 'take') {
            const first = Math.min(...model);
            const expected = first <= nowMs ? first : undefined;
            expect(queue.take(nowMs)).toBe(expected);
            if (expected !== undefined) model = model.toSpliced(model.indexOf(expected), 1);
          } else {
            queue.add(step, step);
            model.push(step);
          }
          expect(queue.size).toBe(model.length);
          expect(queue.nextMs).toBe(Math.min(...model));
        }
      }),
    );
  });
});
