/**
 * The tables: everpod against the best peer, the raw limit and the goals; then every figure with its spread.
 */
import { figure, quantile, table } from './measure.ts';
import type { Contestant } from './peers/all.ts';
import type { Samples } from './rounds.ts';
import type { Row } from './rows.ts';

export interface Report {
  /** One line for each work: the ratios, the goals, and whether they are met. */
  readonly summary: string;
  /** The medians of everybody, with minimum and maximum. */
  readonly details: string;
  /** A list of the goals that are not met. */
  readonly missed: string;
}

interface Verdict {
  readonly text: string;
  /** What is missed, if a goal is. */
  readonly missed?: string;
}

const NONE: Verdict = { text: '–' };

export function report(rows: readonly Row[], contestants: readonly Contestant[], samples: Samples): Report {
  const shown = withRssOverEmpty(samples);
  const summary: string[][] = [];
  const missed: string[] = [];
  for (const row of rows) {
    const own = median(shown, 'everpod', row);
    const peer = bestPeer(row, contestants, shown);
    const limit =
      row.limitMetric === undefined
        ? median(shown, 'limit', row)
        : median(shown, 'everpod', { ...row, metric: row.limitMetric });
    const verdicts = [againstPeers(row, own, peer), againstLimit(row, own, limit), absolute(row, own)];
    summary.push([
      `${row.title}, ${row.unit}`,
      figure(own),
      peer === undefined ? '–' : `${figure(peer.value)} (${peer.name})`,
      (verdicts[0] as Verdict).text,
      figure(limit),
      [verdicts[1], verdicts[2]]
        .flatMap((verdict) => (verdict === NONE || verdict === undefined ? [] : verdict.text))
        .join('; ') || '–',
    ]);
    for (const verdict of verdicts) if (verdict.missed !== undefined) missed.push(`- ${row.title}: ${verdict.missed}`);
  }
  const head = ['work', 'everpod', 'best peer', 'against the best peer', 'raw limit', 'against the raw limit'];
  return {
    summary: table(head, summary),
    details: table(
      ['work', ...contestants.map(({ name }) => name)],
      rows.map((row) => detail(row, contestants, shown)),
    ),
    missed: missed.length === 0 ? 'Every goal is met in this run.' : missed.join('\n'),
  };
}

function detail(row: Row, contestants: readonly Contestant[], samples: Samples): string[] {
  return [`${row.title}, ${row.unit}`, ...contestants.map(({ id }) => spread(values(samples, id, row)))];
}

function spread(found: readonly number[]): string {
  if (found.length === 0) return '–';
  const middle = figure(middleOf(found));
  return found.length === 1 ? middle : `${middle} (${figure(Math.min(...found))}–${figure(Math.max(...found))})`;
}

function againstPeers(row: Row, own: number, peer: { name: string; value: number } | undefined): Verdict {
  if (peer === undefined) return NONE;
  const ratio = peer.value / own;
  const text = `${figure(ratio)} ×`;
  const goal = row.betterThanPeers;
  if (goal === undefined) return { text };
  const wanted = goal === 1 ? 'better' : `${goal} × better`;
  const met = goal === 1 ? ratio > 1 : ratio >= goal;
  if (met) return { text: `${text}, goal ${wanted}: met` };
  return { text: `${text}, goal ${wanted}: **not met**`, missed: `${text} of ${peer.name}; the goal is ${wanted}.` };
}

function againstLimit(row: Row, own: number, limit: number): Verdict {
  if (!Number.isFinite(limit)) return NONE;
  const ratio = own / limit;
  const text = `${figure(ratio)} ×`;
  const goal = row.withinLimit;
  if (goal === undefined) return { text };
  if (ratio <= goal) return { text: `${text}, goal ${goal} ×: met` };
  return {
    text: `${text}, goal ${goal} ×: **not met**`,
    missed: `${text} the raw limit; the goal is at most ${goal} ×.`,
  };
}

function absolute({ atMost }: Row, own: number): Verdict {
  if (atMost === undefined) return NONE;
  const value = atMost.of?.(own) ?? own;
  const text = `${figure(value)} ${atMost.unit}`;
  const wanted = `under ${atMost.value} ${atMost.unit}`;
  if (value < atMost.value) return { text: `${text}, goal ${wanted}: met` };
  return { text: `${text}, goal ${wanted}: **not met**`, missed: `${text}; the goal is ${wanted}.` };
}

function bestPeer(
  row: Row,
  contestants: readonly Contestant[],
  samples: Samples,
): { name: string; value: number } | undefined {
  return contestants
    .filter(({ id, role }) => role === 'peer' && row.peers?.includes(id) !== false)
    .map(({ id, name }) => ({ name, value: median(samples, id, row) }))
    .filter(({ value }) => Number.isFinite(value))
    .sort((a, b) => a.value - b.value)[0];
}

function median(samples: Samples, id: string, row: Row): number {
  return middleOf(values(samples, id, row));
}

function middleOf(found: readonly number[]): number {
  return found.length === 0 ? Number.NaN : quantile(found, 0.5);
}

function values(samples: Samples, id: string, { metric, scale = 1 }: Row): number[] {
  return (samples.get(id)?.get(metric) ?? []).filter(Number.isFinite).map((value) => value * scale);
}

/** The memory of a process that opened nothing is taken off, round by round. */
function withRssOverEmpty(samples: Samples): Samples {
  const empty = samples.get('empty')?.get('rss') ?? [];
  return new Map(
    [...samples].map(([id, metrics]) => {
      const rss = metrics.get('rss');
      if (rss === undefined) return [id, metrics];
      const over = rss.map((value, round) => value - (empty[round] ?? Number.NaN));
      return [id, new Map([...metrics, ['rss', over]])];
    }),
  );
}
