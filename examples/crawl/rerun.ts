/** Looks at what an earlier run left behind, says so, and makes it ready to carry on. */
import { describeResume } from '../../src/index.ts';
import { count } from './count.ts';
import type { CrawlState } from './crawl-state.ts';

/** A page that was in flight this often when the process died may be what kills it: from then on, such tries count. */
const MAX_INTERRUPTIONS = 5;

/** Returns what there is to say, line by line. */
export function prepareRerun(state: CrawlState, retryFailed: boolean): string[] {
  const { resume } = state.tasks;
  const lines = describeResume(resume);
  if (resume.ended === 'new') return lines;
  const givenBack = giveBackTries(state);
  if (givenBack > 0) lines.push(`${count(givenBack, 'page')} in flight: that try is not counted.`);
  if (retryFailed) lines.push(`${count(resetExhausted(state), 'failed page')} may be tried as often again.`);
  return lines;
}

/**
 * The tracker counts a try before it hands a page out. That the process died meanwhile is hardly the page's fault, so it
 * gets the try back. But one of these pages may be what killed it: they go to the end, where they stop nobody.
 */
function giveBackTries({ tasks }: CrawlState): number {
  let givenBack = 0;
  // As one step, so that dying in the middle of it neither loses a page nor gives a try back twice.
  tasks.transaction(() => {
    for (const url of tasks.resume.unfinishedKeys) {
      if (!tasks.has(url)) continue;
      const interruptions = (tasks.get(url)?.interruptions ?? 0) + 1;
      const isExcused = interruptions <= MAX_INTERRUPTIONS;
      if (isExcused) tasks.decrementTries(url);
      // Order is that of insertion, and only a new entry goes to the end.
      const task = tasks.pop(url);
      if (task !== undefined) tasks.set(url, { ...task, interruptions });
      if (isExcused) givenBack += 1;
      else tasks.fail(url, new Error('the process died while fetching it'));
    }
  });
  return givenBack;
}

function resetExhausted({ tasks }: CrawlState): number {
  let count = 0;
  for (const [url, task] of tasks.failedItems()) {
    if (task._aborted || tasks.shouldDo(url)) continue;
    tasks.resetTries(url);
    delete task.interruptions;
    count += 1;
  }
  return count;
}
