import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ProgressTracker } from '../../src/index.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'everpod-retried-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('a task in flight is unfinished although an older try, since taken back, had failed', () => {
  const tasks = ProgressTracker.open(join(folder, 'tasks'), { maxTries: 3 });
  tasks.add('a');
  for (let pass = 0; pass < 3; pass++) for (const key of tasks.tryKeys()) tasks.fail(key, new Error('no'));
  expect(tasks.get('a')?._error?.try).toBe(3);
  tasks.resetTries('a');
  for (const key of tasks.tryKeys()) expect(key).toBe('a'); // handed out, and nothing more is heard of it
  tasks.close();
  const again = ProgressTracker.open(join(folder, 'tasks'));
  expect(again.resume).toMatchObject({ unfinished: 1, unfinishedKeys: ['a'] });
  expect(again.get('a')?._error?.message).toBe('no');
  again.close();
});
