// Looking at a folder beside a writer: damage is believed when it stays, and a folder that never rests is not called damaged.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import { untilSteady } from '../../src/disk/reader.ts';
import { clock, fastSystem } from '../tracker/fast-system.ts';
import { useTemporary } from '../tracker/temporary.ts';

const temporary = useTemporary();
const folder = temporary.path();

beforeAll(() => mkdirSync(folder, { recursive: true }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const damage = (): PodError => new PodError('ERR_POD_CORRUPT', '0.json does not match its checksum', { path: folder });

/** Looks, and says what came of it, how often it looked, and how long that took. */
function looks(look: (count: number) => number | undefined): { outcome: unknown; count: number; ms: number } {
  const startedMs = clock.now();
  let count = 0;
  let outcome: unknown;
  try {
    outcome = untilSteady(fastSystem, folder, () => look(++count));
  } catch (error) {
    outcome = error;
  }
  return { outcome, count, ms: clock.now() - startedMs };
}

describe('a folder that is looked at', () => {
  const change = (to: unknown): void => writeFileSync(join(folder, 'pod.json'), String(to));

  it('is damaged when it is so twice, and nothing has changed meanwhile', () => {
    change('still');
    const { outcome, count, ms } = looks(() => {
      throw damage();
    });
    expect(outcome).toMatchObject({ code: 'ERR_POD_CORRUPT' });
    expect([count, ms]).toEqual([2, 100]);
  });

  it('is not damaged when it changes all the time: it could not be read, and the last look is told', () => {
    const { outcome, count } = looks((n) => {
      change(n);
      throw damage();
    });
    expect(outcome).toMatchObject({ code: 'ERR_POD_DISK', cause: { code: 'ERR_POD_CORRUPT' } });
    expect((outcome as PodError).message).toMatch(/changed too quickly .* The last look said: 0\.json does not match/);
    expect(count).toBeGreaterThan(1_000);
  });

  it('is read in the first moment in which it rests', () => {
    const { outcome, count, ms } = looks((n) => {
      if (n === 20) return 7;
      change(n);
      throw damage();
    });
    expect([outcome, count]).toEqual([7, 20]);
    expect(ms).toBeLessThan(100);
  });

  it('is damaged when it stays so after it has come to rest', () => {
    const { outcome, count } = looks((n) => {
      if (n < 5) change(n);
      throw damage();
    });
    expect(outcome).toMatchObject({ code: 'ERR_POD_CORRUPT' });
    expect(count).toBe(6);
  });

  it('does not try again what is no damage', () => {
    const error = new PodError('ERR_POD_FORMAT', 'a newer version wrote it');
    const { outcome, count } = looks(() => {
      throw error;
    });
    expect([outcome, count]).toEqual([error, 1]);
  });
});
