/**
 * The rows of the tables: what each metric is called, its unit, and the goal that the project has set itself for it.
 */
import type { Sizes } from './works.ts';

export interface Row {
  readonly metric: string;
  readonly title: string;
  readonly unit: string;
  /** From what was measured to the unit of the row. */
  readonly scale?: number;
  /** So many times better than the best peer. */
  readonly betterThanPeers?: number;
  /** Only these are peers in this row. */
  readonly peers?: readonly string[];
  /** At most so many times the raw limit. */
  readonly withinLimit?: number;
  /** What stands in for the raw limit: another metric of the same contestant. */
  readonly limitMetric?: string;
  /** At most so much, in the unit of the row, or in another one that is computed from it. */
  readonly atMost?: { readonly value: number; readonly unit: string; readonly of?: (value: number) => number };
}

const MICROSECONDS = 1000;
const MEGABYTES = 1e-6;

/** A margin for "the same cost": what two runs of one program differ by. */
const SAME = 1.2;

export function rowsOf({ entries, updates, tasks }: Sizes): readonly Row[] {
  const each = MICROSECONDS / entries;
  const count = (value: number): string => value.toLocaleString('en');
  return [
    { metric: 'load', title: 'bulk load, then sync', unit: 'ms', betterThanPeers: 3, withinLimit: 1.5 },
    { metric: 'loadPower', title: 'bulk load, fsynced every 1,000', unit: 'ms' },
    { metric: 'warm', title: 'random get, warm', unit: 'µs each', scale: each, betterThanPeers: 2, withinLimit: 1.5 },
    {
      metric: 'firstTouch',
      title: 'random get, first touch',
      unit: 'µs each',
      scale: each,
      betterThanPeers: 1,
      withinLimit: 1.5,
    },
    {
      metric: 'update',
      title: `${count(updates)} small nested updates, then sync`,
      unit: 'ms',
      betterThanPeers: 2,
      withinLimit: 1.5,
    },
    {
      metric: 'single',
      title: 'one small update made durable (`power`), p50',
      unit: 'µs',
      betterThanPeers: 1,
      withinLimit: 1.3,
    },
    { metric: 'single99', title: 'the same, p99', unit: 'µs' },
    {
      metric: 'crawlStep',
      title: `crawl loop, ${count(tasks)} tasks, each step safe from kill -9`,
      unit: 'µs a task',
      betterThanPeers: 3,
    },
    {
      metric: 'crawlBatch',
      title: `crawl loop, ${count(tasks)} tasks, synced every 1,000`,
      unit: 'µs a task',
      betterThanPeers: 4,
    },
    {
      metric: 'next',
      title: `next task with ${count(entries)} done before it (limit: with none)`,
      unit: 'µs',
      limitMetric: 'nextNone',
      withinLimit: SAME,
    },
    { metric: 'open', title: 'open to first get', unit: 'ms', betterThanPeers: 1, peers: ['lmdb', 'lmdb-text'] },
    {
      metric: 'iterate',
      title: 'open and iterate everything once',
      unit: 'ms',
      betterThanPeers: 1,
      withinLimit: 1.5,
    },
    {
      metric: 'rss',
      title: 'memory after opening: RSS over an empty process',
      unit: 'MB',
      scale: MEGABYTES,
      betterThanPeers: 1,
      atMost: { value: 64, unit: 'bytes an entry', of: (megabytes) => megabytes / MEGABYTES / entries },
    },
    {
      metric: 'stall',
      title: 'longest event-loop stall while loading, syncing and folding',
      unit: 'ms',
      atMost: { value: 25, unit: 'ms' },
    },
    { metric: 'diskBytes', title: 'on disk after loading', unit: 'MB', scale: MEGABYTES },
    { metric: 'loadAmplification', title: 'bytes written for each byte loaded', unit: '×' },
    { metric: 'updateAmplification', title: 'bytes written for each byte of a changed entry', unit: '×' },
  ];
}
