// Drawing a picture of a run: what it says, and that it fits whatever screen there is.
import { describe, expect, it } from 'vitest';
import type { Picture } from '../../src/cli/top-state.ts';
import { type Canvas, renderTop } from '../../src/cli/top-view.ts';
import { widthOf } from '../../src/tracker/wording.ts';

const NOW = Date.parse('2030-01-01T12:00:00Z');
const CANVAS: Canvas = { columns: 80, rows: 40, isColoured: false, nowMs: NOW };

function pictureOf(changes: Partial<Picture> = {}): Picture {
  return {
    path: 'crawl.pod',
    watchedMs: 600_000,
    everyMs: 2_000,
    process: {
      state: 'open',
      how: undefined,
      pid: 17,
      host: 'here',
      since: '2030-01-01T11:00:00.000Z',
      lastWrite: '2030-01-01T11:59:57.000Z',
    },
    total: 1_000,
    done: 600,
    todo: 380,
    failing: 12,
    failed: 20,
    exhausted: 15,
    aborted: 5,
    forecast: {
      perMinute1: 240,
      perMinute15: 90,
      foundPerDone: 1.42,
      eta: { state: 'range', lowMs: 3 * 3_600_000, highMs: 9 * 3_600_000 },
    },
    curve: Array.from({ length: 50 }, (_, n) => ({ atMs: 12_000 * n, known: 500 + 10 * n, settled: 12 * n })),
    flights: Array.from({ length: 30 }, (_, n) => ({
      key: `https://h.example/${n}`,
      ageMs: 40_000 - n,
      isOlder: n < 2,
    })),
    hosts: Array.from({ length: 30 }, (_, n) => ({
      host: `h${n}.example`,
      count: 3,
      meanMs: 9_000,
      longestMs: 12_000,
    })),
    failures: [{ id: 'E000001', count: 20, text: 'Error: no answer' }],
    ...changes,
  };
}

describe('a picture of a run', () => {
  it('says everything there is to know', () => {
    const text = renderTop(pictureOf(), CANVAS).join('\n');
    expect(text).toContain('crawl.pod  watched for 10 min');
    expect(text).toContain('process 17 on here is at work since 2030-01-01 11:00:00, last write 3 s ago');
    expect(text).toContain('62 % of 1,000 known');
    expect(text).toContain('600 done, 380 to do (12 failed before), 15 out of tries, 5 aborted');
    expect(text).toContain('last minute 4/s, 15 minutes 90/min, still finding 1.4 a task');
    expect(text).toContain('3 to 9 h left');
    expect(text).toMatch(/found {3}[▁▂▃▄▅▆▇█]{60} 990/);
    expect(text).toMatch(/settled [ ▁▂▃▄▅▆▇█]{60} 588/);
    expect(text).toContain('  >40 s  https://h.example/0');
    expect(text).toContain('20  E000001  Error: no answer');
    expect(text).toMatch(/h0\.example {2,}9 s a task, longest 12 s, 3 seen/);
  });

  it('counts what does not fit', () => {
    const lines = renderTop(pictureOf(), { ...CANVAS, rows: 30 });
    expect(lines).toHaveLength(30);
    const text = lines.join('\n');
    const [, shown, all] = /IN FLIGHT 30.*\((\d+) of (\d+) shown\)/.exec(text) ?? [];
    expect(Number(all)).toBe(30);
    expect(lines.filter((line) => line.includes('https://'))).toHaveLength(Number(shown));
    expect(renderTop(pictureOf(), { ...CANVAS, rows: 16 }).join('\n')).toContain(
      'no room for: failures, slowest hosts',
    );
  });

  it('fits any screen, with any text, in columns and in rows', () => {
    const nasty = pictureOf({
      path: '漢字'.repeat(40),
      flights: [{ key: `https://例え.example/${'あ'.repeat(90)}`, ageMs: 1, isOlder: false }],
      failures: [{ id: 'E000001', count: 2, text: `\u001B[2J\u0007${'e\u0301'.repeat(300)}` }],
    });
    for (const picture of [pictureOf(), nasty]) {
      for (let columns = 20; columns < 140; columns += 7) {
        for (let rows = 1; rows < 45; rows += 3) {
          const lines = renderTop(picture, { ...CANVAS, columns, rows });
          expect(lines.length).toBeLessThanOrEqual(rows);
          for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns);
          expect(lines.join('')).not.toMatch(/\p{Cc}/u);
        }
      }
    }
  });

  it('is coloured only where it is asked to be, and each line for itself', () => {
    const lines = renderTop(pictureOf(), { ...CANVAS, isColoured: true });
    expect(lines.some((line) => line.startsWith('\u001B['))).toBe(true);
    for (const line of lines) expect(line.includes('\u001B[')).toBe(line.endsWith('\u001B[0m'));
  });

  it.each([
    [{ state: 'stalled', idleMs: 240_000, lowMs: undefined, highMs: undefined }, 'STALLED: nothing done for 4 min'],
    [{ state: 'growing', lowMs: 1_500_000, highMs: undefined }, 'no end in sight, 25 min or more'],
    [{ state: 'early', lowMs: undefined, highMs: undefined }, 'too early to tell'],
    [{ state: 'range', lowMs: 40_000, highMs: 7 * 60_000 }, '0.7 to 7 min left'],
    [{ state: 'range', lowMs: 1_000, highMs: 9 * 3_600_000 }, '1 s to 9 h left'],
  ] as const)('says of %j: %s', (eta, words) => {
    const forecast = { ...pictureOf().forecast, eta };
    expect(renderTop(pictureOf({ forecast }), CANVAS)).toContain(words);
  });

  it('promises nothing of a dead process', () => {
    const last = { ...pictureOf().process, state: 'killed' as const };
    const text = renderTop(pictureOf({ process: last }), CANVAS).join('\n');
    expect(text).toContain('KILLED (kill -9, memory, power): process 17 on here, last write 3 s ago');
    expect(text).toContain('nothing is at work on what is left');
    expect(text).toContain('HANDED OUT, NO WORD 30');
    expect(text).not.toContain('3 to 9 h');
  });
});
