/**
 * Draws a picture of a run as lines that fit a screen; pure. What does not fit is counted, not dropped without a word.
 */
import { growthText } from '../tracker/progress.ts';
import {
  barText,
  clip,
  durationText,
  etaText,
  percentText,
  printable,
  rateText,
  sparkline,
  widthOf,
} from '../tracker/wording.ts';
import type { Picture } from './top-state.ts';
import { figure, keyWord } from './words.ts';

/** What there is to draw on. */
export interface Canvas {
  readonly columns: number;
  readonly rows: number;
  readonly isColoured: boolean;
  /** What time it is, for saying how long ago the last write was. */
  readonly nowMs: number;
}

const BOLD = '\u001B[1m';
const RED = '\u001B[31m';
const GREEN = '\u001B[32m';
const YELLOW = '\u001B[33m';
const PLAIN = '\u001B[0m';
/** Too narrow for anything but the first words of each line. */
const COLUMNS_MIN = 20;
const CURVE_LABEL_COLUMNS = 8;

interface Line {
  readonly text: string;
  readonly colour?: string;
}

/** A list with a heading, of which only the first may fit. */
interface Section {
  readonly heading: string;
  readonly rows: readonly string[];
}

/** At most `rows` lines of at most `columns` columns each. */
export function renderTop(picture: Picture, { columns, rows, isColoured, nowMs }: Canvas): string[] {
  const width = Math.max(COLUMNS_MIN, columns);
  const lines: Line[] = [...head(picture, width, nowMs), ...curve(picture, width)];
  const room = Math.max(0, rows - lines.length);
  lines.push(...share(sections(picture, width), room));
  return lines.slice(0, Math.max(1, rows)).map(({ text, colour }) => {
    const clipped = clip(text, width);
    return isColoured && colour !== undefined ? colour + clipped + PLAIN : clipped;
  });
}

function head(picture: Picture, width: number, nowMs: number): Line[] {
  const { path, total, done, todo, failing, exhausted, aborted, forecast, watchedMs, process: last } = picture;
  const { eta, perMinute1, perMinute15, foundPerDone } = forecast;
  const settled = total - todo;
  const isOpen = last.state === 'open';
  const percent = percentText(settled, total);
  const counts = [
    `${figure(done)} done`,
    `${figure(todo)} to do${failing > 0 ? ` (${figure(failing)} failed before)` : ''}`,
    ...(exhausted > 0 ? [`${figure(exhausted)} out of tries`] : []),
    ...(aborted > 0 ? [`${figure(aborted)} aborted`] : []),
  ];
  const watched = `watched for ${durationText(watchedMs)}`;
  const rates = [
    `last minute ${perMinute1 === undefined ? '-' : rateText(perMinute1)}`,
    `15 minutes ${perMinute15 === undefined ? '-' : rateText(perMinute15)}`,
    ...(todo > 0 && foundPerDone !== undefined && foundPerDone >= 0.05 ? [growthText(foundPerDone)] : []),
  ];
  const bar = Math.max(5, Math.min(40, width - 40));
  return [
    { text: `${printable(path)}  ${watched}`, colour: BOLD },
    { text: processText(picture, nowMs), ...(isOpen ? {} : { colour: last.state === 'closed' ? YELLOW : RED }) },
    { text: '' },
    { text: `${barText(settled, total, bar)}  ${percent} of ${figure(total)} known`, colour: GREEN },
    { text: counts.join(', ') },
    { text: rates.join(', ') },
    // A dead process does nothing more; what it would have taken is of no use.
    isOpen || todo === 0
      ? { text: etaText(eta), ...(eta.state === 'stalled' && { colour: RED }) }
      : { text: 'nothing is at work on what is left' },
  ];
}

/** How the process that has the folder is doing, or how it ended. */
function processText({ process: { state, how, pid, host, since, lastWrite } }: Picture, nowMs: number): string {
  const who = pid === undefined ? '' : `process ${pid}${host === undefined ? '' : ` on ${printable(host)}`}`;
  const wrote =
    lastWrite === undefined ? '' : `, last write ${durationText(Math.max(0, nowMs - Date.parse(lastWrite)))} ago`;
  switch (state) {
    case 'open':
      return `${who} is at work since ${since?.slice(0, 19).replace('T', ' ')}${wrote}`;
    case 'closed':
    case 'new':
      return `no process has it open; the last one closed it${wrote}`;
    case 'killed':
      return `KILLED (kill -9, memory, power): ${who}${wrote}`;
    default:
      return `ENDED: ${who === '' ? 'the last process' : who} by ${printable(how ?? state)}${wrote}`;
  }
}

/** Found against done over the time that was watched, on one scale. */
function curve({ curve: points, watchedMs }: Picture, width: number): Line[] {
  if (points.length < 2) return [];
  const columns = Math.min(60, width - CURVE_LABEL_COLUMNS - 12);
  if (columns < 10) return [];
  const top = Math.max(...points.map(({ known }) => known));
  const at = (column: number): Picture['curve'][number] => {
    const ms = ((column + 1) / columns) * watchedMs;
    let found = points[0] as Picture['curve'][number];
    for (const point of points) if (point.atMs <= ms) found = point;
    return found;
  };
  const row = (name: string, value: (point: Picture['curve'][number]) => number): Line => {
    const numbers = Array.from({ length: columns }, (_, column) => value(at(column)));
    return {
      text: `${name.padEnd(CURVE_LABEL_COLUMNS)}${sparkline(numbers, top)} ${figure(numbers[columns - 1] ?? 0)}`,
    };
  };
  return [{ text: '' }, row('found', ({ known }) => known), row('settled', ({ settled }) => settled)];
}

function sections({ flights, failures, hosts, everyMs, process: last }: Picture, width: number): Section[] {
  const all: Section[] = [];
  // What begins and ends between two looks takes less than that, and more is not known.
  const coarse = (ms: number): string => (ms < everyMs ? `<${durationText(everyMs)}` : durationText(ms));
  const older = flights.some(({ isOlder }) => isOlder) ? '; > is since before it was watched' : '';
  const heading =
    last.state === 'open'
      ? `IN FLIGHT ${flights.length}, age as watched${older}`
      : `HANDED OUT, NO WORD ${flights.length}`;
  if (flights.length > 0) {
    const rows = flights.map(({ key, ageMs, isOlder }) =>
      last.state === 'open'
        ? `${`${isOlder ? `>${durationText(ageMs)}` : coarse(ageMs)}`.padStart(8)}  ${printable(keyWord(key))}`
        : `  ${printable(keyWord(key))}`,
    );
    all.push({ heading, rows });
  }
  if (failures.length > 0) {
    const count = Math.max(...failures.map((each) => figure(each.count).length));
    const rows = failures.map(
      (each) => `${figure(each.count).padStart(count + 2)}  ${each.id}  ${printable(each.text)}`,
    );
    all.push({ heading: `FAILURES ${failures.length === 1 ? 'of 1 kind' : `of ${failures.length} kinds`}`, rows });
  }
  if (hosts.length > 0) {
    const name = Math.min(Math.max(...hosts.map(({ host }) => widthOf(host))), Math.max(10, width - 45));
    const rows = hosts.map(
      ({ host, count, meanMs, longestMs }) =>
        `  ${clip(printable(host), name).padEnd(name)}  ${coarse(meanMs)} a task, longest ${coarse(longestMs)}, ${figure(count)} seen`,
    );
    all.push({ heading: 'SLOWEST HOSTS, from handed out to the word of how it went', rows });
  }
  return all;
}

/** Gives each section as many rows as fit: in turn one each, so that none takes the room of another that has little. */
function share(all: readonly Section[], room: number): Line[] {
  // A section costs an empty line, its heading and at least one row.
  const isTight = Math.floor(room / 3) < all.length;
  const shown = all.slice(0, Math.floor((isTight ? room - 1 : room) / 3));
  const hidden = all
    .slice(shown.length)
    .map(({ heading }) => /^[A-Z]+(?:,? [A-Z]+\b)*/.exec(heading)?.[0].toLowerCase());
  const given = shown.map(() => 0);
  let left = room - 2 * shown.length - (isTight ? 1 : 0);
  for (let isFull = false; left > 0 && !isFull; ) {
    isFull = true;
    for (const [index, { rows }] of shown.entries()) {
      if (left === 0 || (given[index] as number) >= rows.length) continue;
      given[index] = (given[index] as number) + 1;
      left--;
      isFull = false;
    }
  }
  const lists = shown.flatMap(({ heading, rows }, index) => {
    const count = given[index] as number;
    const more = rows.length - count;
    const title = more > 0 ? `${heading} (${figure(count)} of ${figure(rows.length)} shown)` : heading;
    return [{ text: '' }, { text: title, colour: BOLD }, ...rows.slice(0, count).map((text) => ({ text }))];
  });
  return isTight && room > 0 ? [...lists, { text: `no room for: ${hidden.join(', ')}` }] : lists;
}
