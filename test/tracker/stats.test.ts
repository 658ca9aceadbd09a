// Rates over a clock that stands still until it is told to move, and the estimate that follows from them.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/testing/clock.ts';
import { estimate, RateMeter } from '../../src/tracker/stats.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
/** The rates ask for no more than they are given; what is left matters to the forecast alone. */
const NOTHING_LEFT = { todo: { size: 0 }, failed: { size: 0 }, aborted: { size: 0 }, exhausted: 0 };

describe('RateMeter', () => {
  it('knows nothing until two moments can be compared', () => {
    const clock = new ManualClock();
    const meter = new RateMeter(clock, NOTHING_LEFT);
    expect(meter.rates(5, 10)).toBeUndefined();
    meter.sample(5, 10);
    expect(meter.rates(5, 10)).toBeUndefined();
    clock.advance(SECOND - 1);
    expect(meter.rates(6, 10)).toBeUndefined();
    clock.advance(1);
    expect(meter.rates(6, 10)).toEqual({ donePerMinute: 60, addedPerMinute: 0 });
  });

  it('counts from the first sample, not from zero', () => {
    const clock = new ManualClock();
    const meter = new RateMeter(clock, NOTHING_LEFT);
    meter.sample(1_000, 5_000);
    clock.advance(2 * MINUTE);
    expect(meter.rates(1_030, 5_010)).toEqual({ donePerMinute: 15, addedPerMinute: 5 });
  });

  it('looks back fifteen minutes and no further', () => {
    const clock = new ManualClock();
    const meter = new RateMeter(clock, NOTHING_LEFT);
    meter.sample(0, 0);
    // Ten minutes at 100 a minute, then twenty at 10 a minute.
    for (let minute = 1; minute <= 30; minute++) {
      clock.advance(MINUTE);
      meter.sample(minute <= 10 ? 100 * minute : 1_000 + 10 * (minute - 10), 0);
    }
    expect(meter.rates(1_200, 0)?.donePerMinute).toBe(10);
  });

  it('says that nothing was done lately where nothing was', () => {
    const clock = new ManualClock();
    const meter = new RateMeter(clock, NOTHING_LEFT);
    meter.sample(0, 0);
    clock.advance(10 * SECOND);
    meter.sample(100, 200);
    clock.advance(60 * MINUTE);
    expect(meter.rates(100, 200)).toEqual({ donePerMinute: 0, addedPerMinute: 0 });
  });

  it('takes a pause for what it is: the window reaches into it', () => {
    const clock = new ManualClock();
    const meter = new RateMeter(clock, NOTHING_LEFT);
    meter.sample(0, 0);
    clock.advance(60 * MINUTE);
    meter.sample(30, 0);
    expect(meter.rates(30, 0)?.donePerMinute).toBe(2);
  });

  it('samples at most once a second', () => {
    const clock = new ManualClock();
    const meter = new RateMeter(clock, NOTHING_LEFT);
    meter.sample(0, 0);
    clock.advance(500);
    // Would make the rate 0 if it became the first one to compare with.
    meter.sample(50, 0);
    clock.advance(500);
    expect(meter.rates(50, 0)?.donePerMinute).toBe(50 * 60);
  });

  it('goes below zero where tasks are taken away', () => {
    const clock = new ManualClock();
    const meter = new RateMeter(clock, NOTHING_LEFT);
    meter.sample(10, 10);
    clock.advance(MINUTE);
    expect(meter.rates(4, 5)).toEqual({ donePerMinute: -6, addedPerMinute: -5 });
  });
});

describe('estimate', () => {
  it('is zero where nothing is left, whatever the rates are', () => {
    expect(estimate(0, 0, 100)).toEqual({ low: 0, high: 0 });
  });

  it('is unknown while nothing gets done', () => {
    expect(estimate(10, 0, 0)).toBeUndefined();
    expect(estimate(10, -1, 0)).toBeUndefined();
  });

  it('reaches from nothing more being added to things going on as now', () => {
    expect(estimate(100, 10, 0)).toEqual({ low: 10 * MINUTE, high: 10 * MINUTE });
    expect(estimate(100, 10, 5)).toEqual({ low: 10 * MINUTE, high: 20 * MINUTE });
  });

  it('has no upper end while more is added than done', () => {
    expect(estimate(100, 10, 10)).toEqual({ low: 10 * MINUTE, high: undefined });
    expect(estimate(100, 10, 11)).toEqual({ low: 10 * MINUTE, high: undefined });
  });

  it('does not take removals for work', () => {
    expect(estimate(100, 10, -50)).toEqual({ low: 10 * MINUTE, high: 10 * MINUTE });
  });
});
