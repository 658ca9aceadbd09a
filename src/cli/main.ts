#!/usr/bin/env node
/**
 * Starts the `everpod` command with the words it was given.
 */
import { run } from './run.ts';

// Whoever reads our output may have enough of it, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
