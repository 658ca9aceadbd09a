/**
 * The line that shows a program's own progress: rewritten in place on a terminal, a plain line now and then anywhere else.
 *
 * It is for show only, so nothing that goes wrong with it may reach the program, and it keeps no process alive.
 */
import * as z from 'zod';
import type { Clock } from '../core/clock.ts';
import { checkWith, optionsError } from '../pod/options.ts';
import type { TrackerStats } from './stats.ts';
import { barText, clip, etaText, percentText, printable, rateText, widthOf } from './wording.ts';

/** Where a line can be shown: `process.stderr`, or any stream. */
export interface ProgressStream {
  write(text: string, done?: (error?: Error | null) => void): boolean;
  on?(event: 'error', listener: (error: Error) => void): unknown;
  off?(event: 'error', listener: (error: Error) => void): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly writableNeedDrain?: boolean | undefined;
  readonly destroyed?: boolean | undefined;
}

/** How the line is shown. */
export interface ProgressOptions {
  /** Stands before it; default nothing. */
  label?: string | undefined;
  /** Milliseconds between two lines; default 200 on a terminal, 30,000 elsewhere. */
  everyMs?: number | undefined;
}

/** What the line is made of. */
export interface ProgressSource {
  readonly closed: boolean;
  stats(): TrackerStats;
  /** Tasks that were handed out in this process and came not back; undefined where that is not known. */
  inFlight(): number | undefined;
}

const TERMINAL_EVERY_MS = 200;
const PLAIN_EVERY_MS = 30_000;
const BAR_COLUMNS = 20;
const COLUMNS_DEFAULT = 80;

const schema = z.strictObject({
  label: z.string('must be a text').optional(),
  everyMs: z.number('must be a number of milliseconds').min(10, 'must be at least 10').optional(),
});

/**
 * Checks the stream and the options of the line as a caller gave them.
 *
 * @throws {PodError} `ERR_POD_OPTIONS` naming the option
 */
export function checkProgressOptions(path: string, stream: ProgressStream, options: object): void {
  if (typeof (stream as Partial<ProgressStream> | null)?.write !== 'function') {
    throw optionsError(path, 'stream', 'must be a stream that can be written to, such as process.stderr');
  }
  checkWith(schema, path, options);
}

/** Shows the line until the returned thing is disposed of, the tracker is closed, or the stream breaks. */
export function showProgress(
  source: ProgressSource,
  clock: Clock,
  stream: ProgressStream,
  { label = '', everyMs }: ProgressOptions,
): Disposable {
  const isTerminal = stream.isTTY === true;
  const pauseMs = everyMs ?? (isTerminal ? TERMINAL_EVERY_MS : PLAIN_EVERY_MS);
  let isOver = false;
  let last = '';
  let cancel = (): void => {};

  const give = (text: string, done?: () => void): void => {
    if (stream.destroyed === true) throw new Error('The stream is closed.');
    stream.write(text, done);
  };
  const line = (): string => {
    const columns = isTerminal ? (stream.columns || COLUMNS_DEFAULT) - 1 : Number.POSITIVE_INFINITY;
    // A closed tracker has nothing new to say.
    if (!source.closed) last = progressLine(source.stats(), source.inFlight(), columns, label);
    return isTerminal && isColoured() ? coloured(last) : last;
  };
  const draw = (): void => {
    // Whoever reads slowly gets fewer lines.
    if (stream.writableNeedDrain !== true) give(isTerminal ? `\r\u001B[K${line()}` : `${line()}\n`);
  };
  const tick = (): void => {
    if (isOver) return;
    if (source.closed) {
      end();
      return;
    }
    attempt(draw);
    if (!isOver) cancel = clock.after(pauseMs, tick);
  };
  /** Writes the last line and leaves the cursor on the next one. */
  const end = (): void => {
    if (isOver) return;
    attempt(() => give(isTerminal ? `\r\u001B[K${line()}\n` : `${line()}\n`, forget));
    stop();
  };
  const stop = (): void => {
    isOver = true;
    cancel();
    process.off('exit', end);
  };
  const broken = (): void => stop();
  // A stream tells of a write that failed only after it has called back.
  const forget = (): void => void setImmediate(() => stream.off?.('error', broken));
  const attempt = (work: () => void): void => {
    try {
      work();
    } catch {
      stop();
    }
  };

  stream.on?.('error', broken);
  process.on('exit', end);
  if (isTerminal) tick();
  else cancel = clock.after(pauseMs, tick);
  return { [Symbol.dispose]: end };
}

/**
 * One line of progress: a bar, how much of what is known is done, rate, growth of the frontier, what is left, failures, what is in flight.
 * Where it does not fit, the least important parts go first.
 */
export function progressLine(
  stats: TrackerStats,
  inFlight: number | undefined,
  columns: number,
  label: string = '',
): string {
  const { total, todo, failed, eta, perMinute1, foundPerDone } = stats;
  const settled = total - todo;
  const known = total.toLocaleString('en');
  // The higher the number, the sooner it goes.
  const parts: { readonly text: string; readonly rank: number }[] = [
    { text: printable(label), rank: 4 },
    { text: barText(settled, total, BAR_COLUMNS), rank: 6 },
    { text: `${percentText(settled, total)} of ${known} known`, rank: 0 },
    { text: perMinute1 === undefined ? '' : rateText(perMinute1), rank: 2 },
    { text: todo > 0 && foundPerDone !== undefined && foundPerDone >= 0.05 ? growthText(foundPerDone) : '', rank: 5 },
    { text: etaText(eta), rank: 1 },
    { text: failed === 0 ? '' : `${failed.toLocaleString('en')} failed`, rank: 3 },
    { text: inFlight === undefined || inFlight === 0 ? '' : `${inFlight} in flight`, rank: 7 },
  ].filter(({ text }) => text !== '');
  const join = (): string => parts.map(({ text }) => text).join('  ');
  while (parts.length > 1 && widthOf(join()) > columns) {
    const worst = parts.reduce((a, b) => (b.rank > a.rank ? b : a));
    parts.splice(parts.indexOf(worst), 1);
  }
  return clip(join(), columns);
}

/** How quickly the frontier still grows. */
export function growthText(foundPerDone: number): string {
  return `still finding ${foundPerDone.toFixed(foundPerDone < 1 ? 2 : 1)} a task`;
}

/** Whether whoever looks at the terminal wants colours, and has them. */
export function isColoured(): boolean {
  const { NO_COLOR, TERM } = process.env;
  return (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb';
}

const GREEN = '\u001B[32m';
const RED = '\u001B[31m';
const PLAIN = '\u001B[39m';

function coloured(line: string): string {
  return line
    .replace(/█+/, (bar) => GREEN + bar + PLAIN)
    .replace(/STALLED[^█░]*?(?= {2}|$)|[\d,]+ failed/g, (alarm) => RED + alarm + PLAIN);
}
