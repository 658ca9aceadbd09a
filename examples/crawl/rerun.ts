/** Looks at what an earlier run left behind, says so, and makes it ready to carry on. */
import type { CrawlState } from './crawl-state.ts';

export function prepareRerun({ tasks }: CrawlState, retryFailed: boolean): string[] {
  const lines: string[] = [];
  if (retryFailed) {
    let count = 0;
    for (const [url, task] of tasks) {
      if (task._done || task._aborted || tasks.shouldDo(url)) continue;
      tasks.resetTries(url);
      count += 1;
    }
    lines.push(`${count} pages that had used up their tries get as many again.`);
  }
  return lines;
}
