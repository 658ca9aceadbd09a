/** What every child program needs: to speak to the test at once, and to let a turn of the event loop end. */
import { writeSync } from 'node:fs';

/** Says a line to the test. It is in the pipe when this returns, so it survives whatever comes next. */
export function say(line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  for (let done = 0; done < bytes.length; ) done += writeSync(1, bytes, done);
}

/** Lets the current turn of the event loop end. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** The code of an error of the library, with that of the system's error behind it. */
export function describeError(error: unknown): string {
  const { code, cause, message } = error as { code?: unknown; cause?: unknown; message?: unknown };
  let root = cause;
  while ((root as { cause?: unknown } | undefined)?.cause !== undefined) root = (root as { cause: unknown }).cause;
  const system = (root as { code?: unknown } | undefined)?.code;
  return `${String(code ?? message)}${system === undefined ? '' : ` ${String(system)}`}`;
}
