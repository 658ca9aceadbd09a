/** What a crawl keeps on disk: the tasks with their progress, and the result of each page. */
import path from 'node:path';
import { POD, ProgressTracker } from '../../src/index.ts';

/** Kept with each task, beside what the tracker keeps itself. */
export interface PageTask {
  /** Where the page sent us; it is then done without a body. */
  redirectedTo?: string;
}

export interface PageResult {
  status: number;
  title: string;
  links: number;
  bytes: number;
  fetchedAt: string;
  ms: number;
}

/**
 * A page that was in flight this often in a row when the process died is set aside: it may be what kills it. With eight pages in flight seven
 * of them are innocent, and this is a program that people are invited to kill, so it takes more than the library's five.
 */
const MAX_DEATHS = 10;

export class CrawlState {
  readonly folder: string;
  readonly tasks: ProgressTracker<PageTask>;
  readonly pages: POD<PageResult>;

  constructor(folder: string, maxTries: number) {
    this.folder = folder;
    this.tasks = ProgressTracker.open<PageTask>(path.join(folder, 'tasks.pod'), {
      maxTries,
      maxDeaths: MAX_DEATHS,
    });
    this.pages = POD.open<PageResult>(path.join(folder, 'pages.pod'));
  }

  /** Resolves when the result is on disk. Two pods are two files: only waiting puts one before the other for sure. */
  async saveResult(url: string, result: PageResult): Promise<void> {
    this.pages.set(url, result);
    await this.pages.flush();
  }

  close(): void {
    // The results first, for the same reason.
    this.pages.close();
    this.tasks.close();
  }
}
