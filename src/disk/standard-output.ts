/**
 * Writes to the standard output at once, for those who must have said something before they do the next thing.
 *
 * `process.stdout.write` keeps what a full pipe does not take, and a process that is killed then never said it.
 */
import { Buffer } from 'node:buffer';
import { writeSync } from 'node:fs';
import { errorCode } from './files.ts';

const STANDARD_OUTPUT = 1;
/** How long to leave whoever reads at the other end. */
const PAUSE_MS = 1;

/** Returns when the other end of the pipe has the whole line. */
export function sayAtOnce(line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(STANDARD_OUTPUT, bytes, done);
    } catch (error) {
      if (errorCode(error) !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
  }
}
