/** Looks at what an earlier run left behind, says so, and makes it ready to carry on. */
import { describeResume } from '../../src/index.ts';
import { count } from './count.ts';
import type { CrawlState } from './crawl-state.ts';

/** Returns what there is to say, line by line. */
export function prepareRerun(state: CrawlState, retryFailed: boolean): string[] {
  const { resume } = state.tasks;
  const lines = describeResume(resume);
  if (resume.ended === 'new') return lines;
  const givenBack = giveBackTries(state);
  if (givenBack > 0) lines.push(`${count(givenBack, 'page')} in flight: that try is not counted.`);
  if (retryFailed) lines.push(`${count(retryStuck(state), 'failed page')} may be tried as often again.`);
  return lines;
}

/**
 * The tracker counts a try before it hands a page out. That the process died meanwhile is hardly the page's fault, so it gets the try back;
 * how often a page is excused is up to the tracker, which counts the deaths and sets a page aside that saw too many.
 */
function giveBackTries({ tasks }: CrawlState): number {
  const innocent = tasks.resume.unfinishedKeys.filter((url) => tasks.has(url) && !tasks.aborted(url));
  // As one step, so that dying in the middle of it gives no try back twice.
  tasks.transaction(() => {
    for (const url of innocent) tasks.decrementTries(url);
  });
  return innocent.length;
}

/** Pages that used up their tries, and those that were set aside because the process died; not those that were given up for good. */
function retryStuck({ tasks }: CrawlState): number {
  const keys = [...tasks.failedItems()]
    .filter(([url, task]) => (task._aborted ? task._error?.deaths !== undefined : !tasks.shouldDo(url)))
    .map(([url]) => url);
  return tasks.retry({ keys, allowAborted: true });
}
