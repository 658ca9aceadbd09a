#!/usr/bin/env node
/**
 * Starts the `everpod` command with the words it was given.
 */
import { run } from './run.ts';

// Whoever reads our output may have enough of it, as `head` does. Anything else, such as a full disk, is told, and is no word about the pod.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`everpod: the answer could not be written: ${error.message}\n`);
  process.exit(2);
});
process.stderr.on('error', () => {});

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
