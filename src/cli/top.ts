/**
 * `everpod top`: a run on a full screen, looked at again and again, or one picture of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Follower } from '../disk/follower.ts';
import { nodeSystem } from '../disk/system.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { optionsError } from '../pod/options.ts';
import { isColoured } from '../tracker/progress.ts';
import type { Given, Output } from './command.ts';
import { type Picture, RunWatch } from './top-state.ts';
import { renderTop } from './top-view.ts';
import { type Stop, untilSignal } from './until-signal.ts';
import { numberOption } from './words.ts';

const INTERVAL_SECONDS_DEFAULT = 2;
const INTERVAL_SECONDS_MAX = 3_600;
const INTERVAL_SECONDS_MIN = 0.05;
const COLUMNS_DEFAULT = 100;
/** One picture is no screen: it is as long as what there is to say, but lists end somewhere. */
const ROWS_ONCE = 60;
/** In JSON, too, lists are cut; their full lengths stand beside them. */
const LISTED_MAX = 100;

const ENTER = '\u001B[?1049h\u001B[?25l';
const LEAVE = '\u001B[?25h\u001B[?1049l';
/** What a shell says of a process that a signal ended. */
const EXIT_CODES: Readonly<Record<Stop, number>> = {
  SIGINT: 0,
  key: 0,
  'output closed': 0,
  over: 0,
  SIGHUP: 129,
  SIGTERM: 143,
};

/** Watches a tracker's folder until `q` or Ctrl-C; one picture where the output is no terminal. */
export async function runTop({ path, json, options }: Given, { out }: Output): Promise<number> {
  const folder = normalizePath(path);
  const everyMs = 1_000 * intervalOf(folder, options.interval);
  const { clock } = nodeSystem;
  const watch = new RunWatch(new Follower(nodeSystem, folder), clock, everyMs);
  watch.look();
  if (!watch.isTracker) {
    throw optionsError(folder, 'path', 'must be a tracker for this command; this is a pod of other values');
  }
  const { stdout } = process;
  if (stdout.isTTY && options.once !== true && !json) return EXIT_CODES[await onScreen(watch, path, everyMs)];
  // One look tells no rate; a dead process has none.
  if (watch.picture().process.state === 'open') {
    await sleep(everyMs);
    watch.look();
  }
  const picture = watch.picture();
  if (json) out(`${JSON.stringify(asJson(picture))}\n`);
  else {
    const columns = stdout.isTTY ? stdout.columns : COLUMNS_DEFAULT;
    const canvas = { columns, rows: ROWS_ONCE, isColoured: stdout.isTTY && isColoured(), nowMs: clock.now() };
    out(`${renderTop({ ...picture, path }, canvas).join('\n')}\n`);
  }
  return 0;
}

function intervalOf(folder: string, option: string | boolean | undefined): number {
  if (option === undefined) return INTERVAL_SECONDS_DEFAULT;
  const seconds = numberOption(folder, 'interval', String(option), INTERVAL_SECONDS_MAX);
  if (seconds >= INTERVAL_SECONDS_MIN) return seconds;
  throw optionsError(folder, 'interval', `must be at least ${INTERVAL_SECONDS_MIN}`);
}

/** Draws on a screen of its own, which is given back however this ends. */
async function onScreen(watch: RunWatch, path: string, everyMs: number): Promise<Stop> {
  const { stdin, stdout } = process;
  let isOn = true;
  const leave = (): void => {
    if (!isOn) return;
    isOn = false;
    stdout.write(LEAVE);
  };
  const draw = (): void => {
    const { columns, rows } = stdout;
    const canvas = { columns, rows, isColoured: isColoured(), nowMs: nodeSystem.clock.now() };
    const lines = renderTop({ ...watch.picture(), path }, canvas);
    // Each line is cleared before it is written: after one that fills the screen's width, many terminals would clear its last column.
    stdout.write(`\u001B[H${lines.map((line) => `\u001B[K${line}`).join('\r\n')}\u001B[J`);
  };
  stdout.write(ENTER);
  process.on('exit', leave);
  stdout.on('resize', draw);
  const look = (): void => {
    watch.look();
    draw();
  };
  try {
    draw();
    return await untilSignal(everyMs, look, { keyboard: stdin.isTTY ? stdin : undefined });
  } finally {
    stdout.off('resize', draw);
    process.off('exit', leave);
    leave();
  }
}

/** The picture without what only drawing needs. */
function asJson({ curve, flights, hosts, failures, forecast, ...picture }: Picture) {
  return {
    ...picture,
    ...forecast,
    inFlight: flights.length,
    flights: flights.slice(0, LISTED_MAX),
    hosts: hosts.slice(0, LISTED_MAX),
    hostCount: hosts.length,
    failures: failures.slice(0, LISTED_MAX),
    failureKinds: failures.length,
  };
}
