/**
 * One measurement in a process of its own: reads the job from its argument, writes the metrics to standard output as JSON.
 */
import { CONTESTANTS } from './peers/all.ts';
import { type Job, type Metrics, WORKS } from './works.ts';

const job = JSON.parse(process.argv[2] ?? '') as Job;
const contestant = CONTESTANTS.find(({ id }) => id === job.contestant);

// Without a contestant: how large a process is that has opened nothing.
const metrics: Metrics =
  contestant === undefined ? { rss: process.memoryUsage().rss } : await WORKS[job.work](contestant.make(), job);
process.stdout.write(`${JSON.stringify(metrics)}\n`);
