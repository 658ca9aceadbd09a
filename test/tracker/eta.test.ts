// The estimate of the time that is left, replayed over whole runs whose end is known: how often the range held it, and how wide it was.
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { type Forecast, ProgressHistory, type ProgressSample } from '../../src/tracker/eta.ts';
import { heldOutGrowing, heldOutShrinking, heldOutStalled } from './eta-held-out.ts';
import { growingRun, latecomingRun, type Run, shrinkingRun, stalledRun } from './eta-runs.ts';

/** The constants of the model were chosen with seeds below 41; three were changed later, when the results of these had been seen. */
const SEEDS = Array.from({ length: 40 }, (_, index) => 1_001 + index);
/** No constant was chosen with any of these. */
const HELD_OUT_SEEDS = Array.from({ length: 60 }, (_, index) => 700_001 + index);
const HITS_MIN = 0.8;
const RATIO_MEDIAN_MAX = 4;
const LOOKS = 400;

interface Verdict {
  looks: number;
  ranges: number;
  hits: number;
  states: Record<string, number>;
  ratios: number[];
}

const figures: string[] = [];
afterAll(() => console.info(figures.join('\n')));

describe('the range, over whole runs from their first tenth on', () => {
  it.each([
    ['shrinking', shrinkingRun, 0.8],
    // As much is found as done for most of the time, and then it must say so.
    ['growing', growingRun, 0.15],
    ['stalled', stalledRun, 0.7],
  ] as const)('%s: holds the truth in four looks of five, and is narrow enough', (name, make, rangesMin) => {
    const verdict = judge(SEEDS.map(make));
    tell(name, verdict);
    expect(verdict.hits / verdict.ranges).toBeGreaterThanOrEqual(HITS_MIN);
    expect(median(verdict.ratios)).toBeLessThanOrEqual(RATIO_MEDIAN_MAX);
    // A model that never answers would be right, too.
    expect(verdict.ranges / verdict.looks).toBeGreaterThanOrEqual(rangesMin);
  });

  it.each([
    ['shrinking', heldOutShrinking, HITS_MIN],
    ['stalled', heldOutStalled, HITS_MIN],
    // The goal is the same, and is missed by far: docs/watching.md says so. It must not become worse.
    ['growing', heldOutGrowing, 0.4],
  ] as const)('held out, %s: holds the truth as often as docs/watching.md says', (name, make, hitsMin) => {
    const verdict = judge(HELD_OUT_SEEDS.map(make));
    tell(`held out, ${name}`, verdict);
    expect(verdict.hits / verdict.ranges).toBeGreaterThanOrEqual(hitsMin);
  });

  it('says of a tree whose failed pages wait for the next pass that nobody knows, nearly always', () => {
    const verdict = judge(SEEDS.map(latecomingRun));
    tell('latecoming', verdict);
    expect(verdict.ranges / verdict.looks).toBeLessThan(0.05);
    expect((verdict.states.growing ?? 0) / verdict.looks).toBeGreaterThan(0.9);
  });

  it.each(['demo-crawl-politely', 'demo-crawl-far', 'held-out-politely', 'held-out-far'])(
    'the recording %s: the same',
    (name) => {
      const file = new URL(`../fixtures/runs/${name}.json`, import.meta.url);
      const rows = JSON.parse(readFileSync(file, 'utf8')) as [number, number, number, number][];
      const samples = rows.map(([atMs, done, known, failing]) => ({ atMs, done, known, failing }));
      const verdict = judge([{ name, samples }]);
      tell(name, verdict);
      expect(verdict.hits / verdict.ranges).toBeGreaterThanOrEqual(HITS_MIN);
      expect(median(verdict.ratios)).toBeLessThanOrEqual(RATIO_MEDIAN_MAX);
      expect(verdict.ranges / verdict.looks).toBeGreaterThanOrEqual(0.4);
    },
  );

  it('says of an outage that the run stands still, in most of its time, and of nothing else', () => {
    let during = 0;
    let saidDuring = 0;
    let saidElsewhere = 0;
    for (const { samples } of SEEDS.map(stalledRun)) {
      const history = new ProgressHistory();
      for (const [index, sample] of samples.entries()) {
        history.add(sample);
        const isStalled = history.forecast(sample).eta.state === 'stalled';
        // Only an outage gives samples a whole second apart in which nothing happened.
        const before = samples[index - 1];
        const inOutage = before?.done === sample.done && before.known === sample.known && sample.atMs > before.atMs;
        if (inOutage) during++;
        if (isStalled) inOutage ? saidDuring++ : saidElsewhere++;
      }
    }
    figures.push(
      `stall: said in ${percent(saidDuring / during)} of the time it lasted, ${saidElsewhere} times elsewhere`,
    );
    expect(saidDuring / during).toBeGreaterThan(0.6);
    expect(saidElsewhere).toBeLessThan(during / 100);
  });
});

describe('the forecast', () => {
  it('is early before twenty are done, and finished when nothing is left', () => {
    const history = new ProgressHistory();
    for (let done = 0; done <= 19; done++) history.add(at(done, done, 100));
    expect(history.forecast(at(19, 19, 100)).eta).toEqual({ state: 'early', lowMs: undefined, highMs: undefined });
    expect(history.forecast(at(20, 100, 100)).eta).toEqual({ state: 'finished', lowMs: 0, highMs: 0 });
  });

  it('knows a list by its rate: a narrow range around what is left', () => {
    const { eta, perMinute1, perMinute15, foundPerDone } = steady(300, 1_000, 0);
    expect(perMinute1).toBeCloseTo(60);
    expect(perMinute15).toBeCloseTo(60);
    expect(foundPerDone).toBe(0);
    expect(eta.state).toBe('range');
    expect(eta.lowMs).toBeLessThan(700_000);
    expect(eta.highMs).toBeGreaterThan(700_000);
    expect((eta.highMs as number) / (eta.lowMs as number)).toBeLessThan(2.5);
  });

  it('calls a run growing that finds more than it does, and says what is known takes at least', () => {
    const { eta, foundPerDone } = steady(300, 50, 2);
    expect(foundPerDone).toBeCloseTo(2, 1);
    expect(eta).toMatchObject({ state: 'growing', highMs: undefined });
    expect(eta.lowMs).toBeGreaterThan(200_000);
    expect(eta.lowMs).toBeLessThan(350_000);
  });

  it('calls nothing a stall that the run has lived through before', () => {
    const history = new ProgressHistory();
    let seconds = 0;
    // Every second one, but for 15 seconds after every tenth: politeness, perhaps.
    for (let done = 0; done <= 200; done++) {
      seconds += done % 10 === 0 ? 15 : 1;
      history.add(at(seconds, done, 1_000));
    }
    expect(history.forecast(at(seconds + 20, 200, 1_000)).eta.state).toBe('range');
    expect(history.forecast(at(seconds + 120, 200, 1_000)).eta).toMatchObject({ state: 'stalled', idleMs: 120_000 });
    history.add(at(seconds + 121, 201, 1_000));
    expect(history.forecast(at(seconds + 122, 201, 1_000)).eta.state).toBe('range');
  });

  it('takes what is put back for work, not for a find, and not for a run that goes backwards', () => {
    const history = new ProgressHistory();
    for (let done = 0; done <= 300; done++) history.add(at(done, done, 600));
    for (let back = 1; back <= 100; back++) history.add(at(300, 300 - back, 600));
    const { eta, perMinute1, foundPerDone } = history.forecast(at(301, 200, 600));
    expect(perMinute1).toBeGreaterThan(0);
    expect(foundPerDone).toBe(0);
    expect(eta.state).toBe('range');
    expect(eta.lowMs).toBeLessThan(400_000);
    expect(eta.highMs).toBeGreaterThan(400_000);
  });

  it('keeps little of a long run', () => {
    const history = new ProgressHistory();
    const before = process.memoryUsage().heapUsed;
    for (let done = 0; done < 2_000_000; done++) history.add(at(done / 100, done, 2_000_000));
    expect(history.forecast(at(20_000, 2_000_000 - 1, 2_000_000)).eta.state).toBe('range');
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(50_000_000);
  });
});

function judge(runs: readonly Run[]): Verdict {
  const verdict: Verdict = { looks: 0, ranges: 0, hits: 0, states: {}, ratios: [] };
  for (const { samples } of runs) {
    const last = samples[samples.length - 1] as ProgressSample;
    const history = new ProgressHistory();
    // The run is over when the last task is settled; that somebody looked once more later does not count.
    const endMs = (samples.find(({ done }) => done === last.done) as ProgressSample).atMs;
    let nextMs = endMs / 10;
    for (const sample of samples) {
      history.add(sample);
      if (sample.atMs < nextMs || sample.atMs >= endMs) continue;
      nextMs = Math.max(nextMs + endMs / LOOKS, sample.atMs);
      const { eta } = history.forecast(sample);
      verdict.looks++;
      verdict.states[eta.state] = (verdict.states[eta.state] ?? 0) + 1;
      if (eta.state !== 'range') continue;
      const truthMs = endMs - sample.atMs;
      verdict.ranges++;
      if (eta.lowMs <= truthMs && truthMs <= eta.highMs) verdict.hits++;
      verdict.ratios.push(eta.highMs / eta.lowMs);
    }
  }
  return verdict;
}

function tell(name: string, { looks, ranges, hits, states, ratios }: Verdict): void {
  const others = Object.entries(states).filter(([state]) => state !== 'range');
  figures.push(
    `${name}: ${looks} looks, a range in ${percent(ranges / looks)}, right in ${percent(hits / ranges)} of those, ` +
      `high/low ${median(ratios).toFixed(2)} in the middle; ${others.map(([state, count]) => `${state} ${count}`).join(', ')}`,
  );
}

function steady(done: number, known: number, foundPerDone: number): Forecast {
  const history = new ProgressHistory();
  for (let count = 0; count <= done; count++) history.add(at(count, count, known + foundPerDone * count));
  return history.forecast(at(done, done, known + foundPerDone * done));
}

function at(seconds: number, done: number, known: number): ProgressSample {
  return { atMs: seconds * 1_000, done, known, failing: 0 };
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] as number;
}

function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)} %`;
}
