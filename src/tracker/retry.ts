/**
 * Which tasks `retry` puts back: one rule for doing it and for saying beforehand how many it would be.
 */
import { errorClassOf, errorOf } from './error-classes.ts';
import type { RetryOptions } from './options.ts';
import { ABORTED, DONE, FAILED, hasTriesLeft } from './task.ts';

/** Whether a task has failed, or used up its tries without a word of how they went. */
export function isStuck(state: number, maxTries: number): boolean {
  return (state & FAILED) !== 0 || ((state & DONE) === 0 && !hasTriesLeft(state, maxTries));
}

/** The conditions of `retry` as a question about a stuck task. */
export function retryFilter({
  allowAborted = false,
  class: wanted,
  since,
}: Omit<RetryOptions, 'keys'>): (state: number, task: () => unknown) => boolean {
  const sinceAt = since === undefined ? undefined : new Date(since).toISOString();
  return (state, task) => {
    if ((state & ABORTED) !== 0 && !allowAborted) return false;
    if (wanted === undefined && sinceAt === undefined) return true;
    const error = errorOf(task());
    if (error === undefined) return false;
    return (wanted === undefined || errorClassOf(error) === wanted) && (sinceAt === undefined || error.at >= sinceAt);
  };
}
