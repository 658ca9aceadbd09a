#!/usr/bin/env node
/**
 * Starts the `everpod` command with the words it was given.
 */
import { run } from './run.ts';

// Whoever reads our output may have enough of it, as `head` does. Anything else, such as a full disk, is told, and is no word about the pod.
let isRead = true;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  isRead = false;
  if (error.code === 'EPIPE') return;
  process.stderr.write(`everpod: the answer could not be written: ${error.message}\n`);
  process.exit(2);
});
process.stderr.on('error', () => {});

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  drained: () => {
    if (!isRead) return Promise.resolve(false);
    return process.stdout.writableNeedDrain ? untilDrained() : undefined;
  },
  input: () => process.stdin,
  isErrTerminal: process.stderr.isTTY === true,
});

/** Waits for whoever reads the standard output, or for the news that nobody does. */
function untilDrained(): Promise<boolean> {
  return new Promise((resolve) => {
    const events = ['drain', 'error', 'close'] as const;
    const onEvent = (): void => {
      for (const event of events) process.stdout.off(event, onEvent);
      resolve(isRead);
    };
    for (const event of events) process.stdout.on(event, onEvent);
  });
}
