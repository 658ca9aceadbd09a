/**
 * A resume report in sentences: how the last run ended, as far as that can be known, what it left, and why nothing is left.
 */
import type { Key } from '../core/key.ts';
import type { ResumeReport } from './resume.ts';

/**
 * Says what a program should say when it starts, a sentence or two a line: how the last run ended, what was in flight, what there is to
 * do, and what opening had to mend. What cannot be known is not claimed: a process that was killed leaves no word of who killed it.
 *
 * @param report `tracker.resume`
 * @returns at least one line; the first says how the last run ended
 *
 * @example
 * const tasks = ProgressTracker.open('crawl.pod', { maxTries: 3 });
 * for (const line of describeResume(tasks.resume)) console.error(line);
 */
export function describeResume<K extends Key>(report: ResumeReport<K>): string[] {
  const { ended, nothingLeft } = report;
  if (ended === 'new') return ['Nothing is there yet: the tracker is new.'];
  const lines = [howItEnded(report), ...whatItLeft(report), ...whatWasMended(report)];
  if (nothingLeft !== undefined) lines.push(`Nothing is left to do: ${nothingLeft}`);
  return lines;
}

function howItEnded<K extends Key>(report: ResumeReport<K>): string {
  const { ended, how, previous, lastWrite } = report;
  if (ended === 'closed') return 'The last run ended in good order.';
  if (ended === 'unknown') return 'How the last run ended is not known: this is a look beside it.';
  const who = previous === undefined ? '' : ` (process ${previous.pid} on ${previous.host}, since ${previous.since})`;
  const sign = lastWrite === undefined ? '' : ` Its last sign of life was at ${lastWrite}.`;
  if (ended === 'killed') return `The last run${who} was killed and left no word.${sign}${suspects(report)}`;
  if (ended === 'signal') return `The last run${who} was ended by ${how}, with everything saved.${sign}`;
  if (ended === 'error') {
    return `The last run${who} was ended by an error that nobody caught (${how}), with everything saved.${sign}`;
  }
  return `The last run${who} ended (${how}) without closing, with everything saved.${sign}`;
}

/** Who may have killed it, from what the machine says. */
function suspects<K extends Key>({ restarted, oomKills }: ResumeReport<K>): string {
  if (restarted) return ' The machine was started again since: it may have been a power cut.';
  if (oomKills === undefined) return '';
  if (oomKills > 0) {
    const killed = oomKills === 1 ? '1 process' : `${oomKills} processes`;
    return ` The kernel has killed ${killed} since then for want of memory; it may have been among them.`;
  }
  return ' It was not killed by the kernel for want of memory: kill -9 does this, a native crash, and Node whose heap is full.';
}

function whatItLeft<K extends Key>(report: ResumeReport<K>): string[] {
  const { total, done, todo, aborted, exhausted, failed, unfinished, returned, setAside } = report;
  const counts = [`${done} done`, `${todo} to do`, `${aborted} aborted`];
  if (exhausted > 0) counts.push(`${exhausted} out of tries`);
  if (failed > 0) counts.push(`${failed} with an error`);
  const lines = [`${count(total, 'task')}: ${counts.join(', ')}.`];
  if (unfinished > 0) {
    const parts = [`${returned} to do again`];
    if (setAside > 0) parts.push(`${setAside} set aside, as that was the last try`);
    lines.push(`${count(unfinished, 'task')} in flight, of which nothing more was heard: ${parts.join(', ')}.`);
  }
  return lines;
}

function whatWasMended<K extends Key>(report: ResumeReport<K>): string[] {
  const { replayed, droppedBytes, quarantined, durationMs } = report;
  const lines: string[] = [];
  if (replayed > 0) lines.push(`${count(replayed, 'record')} of the log replayed in ${Math.ceil(durationMs)} ms.`);
  if (droppedBytes > 0)
    lines.push(`${count(droppedBytes, 'byte')} dropped from the log: an append that was cut short.`);
  if (quarantined.length > 0) lines.push(`Kept aside: ${quarantined.join(', ')}.`);
  return lines;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
