// everpod top on a real terminal: the screen that it takes is given back however it ends, and every picture fits the terminal as it is.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ProgressTracker } from '../../src/index.ts';
import { widthOf } from '../../src/tracker/wording.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { MAIN } from './everpod.ts';

const temporary = useTemporary();
const TERMINAL = fileURLToPath(new URL('terminal.py', import.meta.url));
const ENTER = '\u001B[?1049h\u001B[?25l';
const LEAVE = '\u001B[?25h\u001B[?1049l';

interface Step {
  /** Keys. */
  readonly type?: string;
  readonly resize?: readonly [columns: number, rows: number];
  readonly signal?: NodeJS.Signals;
  /** A file to write nonsense into. */
  readonly damage?: string;
  /** Then waits until so many whole pictures more were drawn. */
  readonly pictures?: number;
}

interface Session {
  readonly shown: string;
  /** Before, after each step, and at the end: whether the terminal works line by line, echoes keys, and turns Ctrl-C into a signal. */
  readonly modes: readonly (readonly [boolean, boolean, boolean])[];
  readonly ended: number | null;
}

const USUAL = [true, true, true];
const RAW = [false, false, false];

/** Runs `everpod` in a terminal of its own. */
function inTerminal(args: readonly string[], size: readonly [number, number], steps: readonly Step[]): Session {
  const [columns, rows] = size;
  const env = { NO_COLOR: '', TERM: 'xterm-256color' };
  const plan = { command: [process.execPath, MAIN, ...args], env, columns, rows, steps };
  const { stdout, stderr, status } = spawnSync('python3', [TERMINAL], {
    input: JSON.stringify(plan),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  const session = JSON.parse(stdout) as Session;
  return { ...session, shown: Buffer.from(session.shown, 'base64').toString() };
}

/** The pictures that were drawn, as lines, without colours. */
function picturesIn(shown: string): string[][] {
  return shown
    .split('\u001B[H')
    .slice(1)
    .filter((picture) => picture.includes('\u001B[J'))
    .map((picture) => (picture.split('\u001B[J')[0] as string).split(/\r*\n/).map(stripVTControlCharacters));
}

/** A run with more to say than a small terminal can show. */
function runWithMuch(): string {
  const path = temporary.path();
  const tasks = temporary.keep(ProgressTracker.open(path, { maxTries: 2 }));
  for (let n = 0; n < 40; n++) tasks.add(`https://host-${n % 5}.example/a/rather/long/path/${n}`);
  let count = 0;
  for (const key of tasks.tryKeys()) {
    if (count++ % 3 === 0)
      tasks.fail(key, new Error(`no answer of the kind that was looked for, ${'x'.repeat(count)}`));
    else if (count % 3 === 0) tasks.markDone(key);
  }
  tasks.sync();
  return path;
}

const { status, error } = spawnSync('python3', ['-c', 'import pty, os; os.waitstatus_to_exitcode']);
const why = error !== undefined ? 'there is no python3 here' : status === 0 ? undefined : 'this python3 has no pty';
if (why !== undefined) console.warn(`# skipped: everpod top on a real terminal: ${why}`);
describe.skipIf(why !== undefined)('the screen of everpod top', () => {
  it.each<[string, Step, number]>([
    ['q', { type: 'q' }, 0],
    ['Ctrl-C', { type: '\u0003' }, 0],
    ['SIGINT from elsewhere', { signal: 'SIGINT' }, 0],
    ['SIGTERM', { signal: 'SIGTERM' }, 143],
    ['SIGHUP', { signal: 'SIGHUP' }, 129],
  ])('is given back at %s', (_, ending, code) => {
    const path = runWithMuch();
    const steps = [{ pictures: 2 }, ending];
    const { shown, modes, ended } = inTerminal(['top', path, '--interval', '0.1'], [80, 24], steps);
    expect(ended).toBe(code);
    // Nothing is shown outside of the screen that it takes, which is left once, with the cursor shown.
    expect(shown.startsWith(ENTER)).toBe(true);
    expect(shown.endsWith(LEAVE)).toBe(true);
    expect(shown.split(ENTER)).toHaveLength(2);
    expect(shown.split(LEAVE)).toHaveLength(2);
    expect(modes[0]).toEqual(USUAL);
    expect(modes[1]).toEqual(RAW);
    expect(modes.at(-1)).toEqual(USUAL);
  });

  it('is given back when the folder is damaged while it watches, and the error stands below', () => {
    const path = runWithMuch();
    const steps = [{ pictures: 2 }, { damage: join(path, 'pod.json') }];
    const { shown, modes, ended } = inTerminal(['top', path, '--interval', '0.1'], [80, 24], steps);
    const [, after = ''] = shown.split(LEAVE);
    expect(ended).toBe(1);
    expect(after).toContain('ERR_POD_CORRUPT');
    expect(modes.at(-1)).toEqual(USUAL);
  });

  it('is redrawn to fit at once when the terminal becomes another size', () => {
    const sizes: readonly [number, number][] = [
      [100, 30],
      [46, 12],
      [20, 5],
      [132, 40],
    ];
    const steps: Step[] = sizes.map((resize) => ({ resize, pictures: 1 }));
    // Of its own accord it would not draw a second picture in this time.
    const { shown, ended } = inTerminal(
      ['top', runWithMuch(), '--interval', '60'],
      [100, 30],
      [...steps, { type: 'q' }],
    );
    expect(ended).toBe(0);
    const pictures = picturesIn(shown);
    let at = 0;
    for (const [columns, rows] of sizes) {
      const fits = (lines: readonly string[]): boolean =>
        lines.length <= rows && lines.every((line) => widthOf(line) <= columns);
      while (at < pictures.length && !fits(pictures[at] as string[])) at++;
      expect(at, `there is a picture for ${columns} x ${rows}`).toBeLessThan(pictures.length);
    }
    expect(pictures.at(-1)?.join('\n')).toContain('/a/rather/long/path/1');
    expect(pictures.length).toBeGreaterThanOrEqual(sizes.length);
  });

  it.each<[number, number]>([
    [20, 5],
    [40, 24],
    [24, 1],
  ])('says the most important things on a terminal of %i columns and %i rows, and no line wraps', (columns, rows) => {
    const steps = [{ pictures: 2 }, { type: 'q' }];
    const { shown } = inTerminal(['top', runWithMuch(), '--interval', '0.1'], [columns, rows], steps);
    for (const picture of picturesIn(shown)) {
      expect(picture.length).toBeLessThanOrEqual(rows);
      for (const line of picture) expect(widthOf(line)).toBeLessThanOrEqual(columns);
      if (rows > 4) expect(picture.join('\n')).toMatch(/\d %/);
    }
  });
});
