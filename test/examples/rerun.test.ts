import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { CrawlState } from '../../examples/crawl/crawl-state.ts';
import { prepareRerun } from '../../examples/crawl/rerun.ts';
import { builtAddress } from '../bundle.ts';
import { temporaryFolder } from './run-example.ts';

/** Runs a few lines on the state in a process of its own, which then ends without a word. */
function dieAfter(folder: string, lines: string): void {
  const code = `
    import { CrawlState } from ${JSON.stringify(builtAddress('examples/crawl/crawl-state.ts'))};
    const { tasks } = new CrawlState(${JSON.stringify(folder)}, 3);
    ${lines}
    process.kill(process.pid, 'SIGKILL');`;
  const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', code], { encoding: 'utf8' });
  if (signal !== 'SIGKILL') throw new Error(`The child was to be killed, but ended with ${signal}: ${stderr}`);
}

function rerun(folder: string, retryFailed = false) {
  const state = new CrawlState(folder, 3);
  const lines = prepareRerun(state, retryFailed);
  const reasons = [...state.tasks.failedItems()].map(([url, task]) => [url, task._error?.message]);
  const tasks = [...state.tasks].map(([url, { _tries, _error }]) => [url, _tries, _error?.deaths ?? 0]);
  state.close();
  return { lines, tasks, reasons };
}

describe('prepareRerun', () => {
  it('says that a crawl is new', () => {
    expect(rerun(temporaryFolder()).lines).toEqual(['Nothing is there yet: the tracker is new.']);
  });

  it('gives their try back to pages that were in flight', () => {
    const folder = temporaryFolder();
    dieAfter(
      folder,
      `tasks.addMany(['a', 'b', 'c', 'd', 'e']);
       for (const key of tasks.tryKeys({ limit: 4 })) {
         if (key === 'a') tasks.markDone(key);
         if (key === 'b') tasks.fail(key, new Error('busy'));
       }`,
    );
    const { lines, tasks } = rerun(folder);
    expect(lines[0]).toMatch(
      /^The last run \(process \d+ on .+\) was killed and left no word\. Its last sign of life was at 20/,
    );
    expect(lines.slice(1)).toEqual([
      '5 tasks: 1 done, 4 to do, 0 aborted, 1 with an error.',
      '2 tasks in flight, of which nothing more was heard: 2 to do again.',
      expect.stringMatching(/^\d+ records of the log replayed in \d+ ms\.$/),
      '2 pages in flight: that try is not counted.',
    ]);
    expect(tasks).toEqual([
      ['a', 1, 0],
      ['b', 1, 0],
      ['c', 0, 1],
      ['d', 0, 1],
      ['e', 0, 0],
    ]);
    // Nothing happened in between, so nothing is given back twice.
    expect(rerun(folder)).toEqual({
      lines: ['The last run ended in good order.', '5 tasks: 1 done, 4 to do, 0 aborted, 3 with an error.'],
      tasks,
      reasons: [
        ['b', 'busy'],
        ['c', 'the process died (killed) while this task was in flight'],
        ['d', 'the process died (killed) while this task was in flight'],
      ],
    });
  });

  it('sets a page aside that was in flight ten times in a row when the process died, and tries it again if asked to', () => {
    const folder = temporaryFolder();
    let deaths = 0;
    for (let isAside = false; !isAside; deaths++) {
      dieAfter(folder, `tasks.addIfAbsent('deadly'); tasks.tryKeys().next();`);
      const { tasks } = rerun(folder);
      isAside = tasks[0]?.[1] === 1;
    }
    expect(deaths).toBe(10);
    const { lines, reasons } = rerun(folder);
    expect(lines.slice(1)).toEqual([
      '1 task: 0 done, 0 to do, 1 aborted, 1 with an error.',
      'Nothing is left to do: 0 of 1 tasks are done, 1 is aborted.',
    ]);
    expect(reasons).toEqual([['deadly', 'the process died (killed) while this task was in flight']]);
    const again = rerun(folder, true);
    expect(again.lines.at(-1)).toBe('1 failed page may be tried as often again.');
    expect(again.tasks).toEqual([['deadly', 0, 0]]);
  });

  it('starts over with pages that used up their tries, if asked to', () => {
    const folder = temporaryFolder();
    const state = new CrawlState(folder, 3);
    state.tasks.addMany(['done', 'failed', 'twice', 'aborted']);
    for (let pass = 0; pass < 3; pass++) {
      for (const key of state.tasks.tryKeys()) {
        if (key === 'done') state.tasks.markDone(key);
        else if (key === 'aborted') state.tasks.abort(key, 'no hope');
        else state.tasks.fail(key, new Error('busy'));
      }
      if (pass === 1) state.tasks.decrementTries('twice');
    }
    state.close();
    expect(rerun(folder).lines.slice(1)).toEqual([
      '4 tasks: 1 done, 1 to do, 1 aborted, 1 out of tries, 3 with an error.',
    ]);
    const { lines, tasks } = rerun(folder, true);
    expect(lines.at(-1)).toBe('1 failed page may be tried as often again.');
    expect(tasks).toEqual([
      ['done', 1, 0],
      ['failed', 0, 0],
      ['twice', 2, 0],
      ['aborted', 1, 0],
    ]);
  });
});
