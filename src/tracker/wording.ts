/**
 * Progress in words: durations, ranges, rates, bars and curves as short texts that fit a terminal; pure.
 */
import type { Eta } from './eta.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** The unit in which a duration is read most easily. */
function unitOf(ms: number): readonly [unitMs: number, name: string] {
  if (ms < 2 * MINUTE_MS) return [SECOND_MS, 's'];
  if (ms < 2 * HOUR_MS) return [MINUTE_MS, 'min'];
  return ms < 2 * DAY_MS ? [HOUR_MS, 'h'] : [DAY_MS, 'd'];
}

/** A duration: `40 s`, `12 min`, `3.5 h`, `9 d`. */
export function durationText(ms: number): string {
  const [unitMs, name] = unitOf(ms);
  return `${amount(ms / unitMs)} ${name}`;
}

/** A range of durations, the unit said once where one is enough: `3 to 9 h`, `40 s to 5 min`. */
function rangeText(lowMs: number, highMs: number): string {
  const [unitMs, name] = unitOf(highMs);
  const low = amount(lowMs / unitMs);
  // `0 to 3 h` would hide that the low end is known.
  if (lowMs > 0 && low === '0') return `${durationText(lowMs)} to ${durationText(highMs)}`;
  const high = amount(highMs / unitMs);
  return low === high ? `${high} ${name}` : `${low} to ${high} ${name}`;
}

/** One decimal below ten, where it says something. */
function amount(count: number): string {
  return count >= 9.95 ? String(Math.round(count)) : String(Math.round(count * 10) / 10);
}

/** When a run will be over, or why nobody can say. */
export function etaText(eta: Eta): string {
  switch (eta.state) {
    case 'range':
      return eta.highMs < SECOND_MS ? 'a moment left' : `${rangeText(eta.lowMs, eta.highMs)} left`;
    case 'finished':
      return 'nothing left to do';
    case 'growing':
      return `no end in sight, ${durationText(eta.lowMs)} or more`;
    case 'early':
      return 'too early to tell';
    case 'stalled':
      return `STALLED: nothing done for ${durationText(eta.idleMs)}`;
  }
}

/** A rate in the unit that gives figures to read: `41.3/s`, `12/min`, `3/h`. */
export function rateText(perMinute: number): string {
  if (perMinute >= 120) return `${amount(perMinute / 60)}/s`;
  return perMinute >= 2 || perMinute === 0 ? `${amount(perMinute)}/min` : `${amount(perMinute * 60)}/h`;
}

/** How much of what is known is done, rounded down: 100 % only when all is. */
export function percentText(done: number, known: number): string {
  if (known === 0) return '0 %';
  const tenths = Math.floor((1_000 * done) / known);
  return `${tenths % 10 === 0 || tenths >= 1_000 ? Math.floor(tenths / 10) : tenths / 10} %`;
}

/** A bar of so many columns. */
export function barText(done: number, known: number, columns: number): string {
  const filled = known === 0 ? 0 : Math.floor((done / known) * columns);
  return '█'.repeat(filled) + '░'.repeat(columns - filled);
}

const LEVELS = ' ▁▂▃▄▅▆▇█';

/** Numbers as a curve of one row, from 0 at the bottom to `top`. */
export function sparkline(numbers: readonly number[], top: number): string {
  return numbers
    .map((number) => {
      const level = top <= 0 ? 0 : Math.ceil((number / top) * (LEVELS.length - 1));
      return LEVELS[Math.min(LEVELS.length - 1, Math.max(0, level))];
    })
    .join('');
}

/** What a terminal obeys must not reach it from a key or a message. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '·');
}

/** Characters that take two columns, and those that take none. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]/u;
const NARROW = /^[\x20-\x7e]*$/;

/** How many columns a printable text takes. */
export function widthOf(text: string): number {
  if (NARROW.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += /\p{M}/u.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return width;
}

/** A printable text that takes at most so many columns; what was left out is an ellipsis. */
export function clip(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  if (columns < 1) return '';
  let kept = '';
  let width = 0;
  for (const character of text) {
    const next = widthOf(character);
    if (width + next > columns - 1) break;
    kept += character;
    width += next;
  }
  return `${kept}…`;
}
