/**
 * The commands for folders that may be damaged: verify, accept, repair, and torture, which tries to damage some.
 */
import { acceptEdits, repairFolder, verifyFolder } from '../disk/repair.ts';
import { sayAtOnce } from '../disk/standard-output.ts';
import { nodeSystem } from '../disk/system.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { PersistentOrderedDict } from '../pod/pod.ts';
import type { Command, Given, Output } from './command.ts';
import { describeProgress, describeVerdict, torture, WRITER_COMMAND } from './torture.ts';
import { type WriterTask, writeForEver } from './torture-writer.ts';
import { entries, numberOption } from './words.ts';

const MINUTES_MAX = 7 * 24 * 60;

export const MENDING: readonly Command[] = [
  {
    name: 'verify',
    summary: 'read everything and check it; exit code 1 where something is wrong',
    examples: ['verify crawl.pod'],
    run: ({ path, json }, { out }) => {
      const count = verifyFolder(nodeSystem, normalizePath(path));
      out(json ? `${JSON.stringify({ ok: true, entries: count })}\n` : `${path}: all is well, ${entries(count)}.\n`);
      return 0;
    },
  },
  {
    name: 'accept',
    summary: 'take over what was edited in the shard files by hand; exit code 1 where nothing was',
    examples: ['accept crawl.pod'],
    run: ({ path, json }, { out }) => {
      const place = normalizePath(path);
      const accepted = acceptEdits(nodeSystem, place);
      // Opening and closing folds the log in, so that the folder is at rest again.
      if (accepted.length > 0) PersistentOrderedDict.open(place).close();
      if (json) out(`${JSON.stringify({ accepted })}\n`);
      else if (accepted.length === 0) out(`${path}: nothing was edited.\n`);
      else out(`${path}: accepted ${accepted.join(', ')}.\n`);
      return accepted.length > 0 ? 0 : 1;
    },
  },
  {
    name: 'repair',
    summary: 'salvage every line that can be read; the files as they were go into PATH/quarantine',
    examples: ['repair crawl.pod'],
    run: ({ path, json }, { out }) => {
      const place = normalizePath(path);
      const report = repairFolder(nodeSystem, place);
      PersistentOrderedDict.open(place).close();
      if (json) out(`${JSON.stringify(report)}\n`);
      else {
        out(`${path}: kept ${entries(report.entries)}; ${lost(report.lostLines)}.\n`);
        out(`The files as they were are in ${path}/quarantine (${report.quarantined.length} files).\n`);
        if (report.lostSettings) {
          out(
            'pod.json could not be read. Where this was a tracker, ProgressTracker.open makes it one again; give maxTries.\n',
          );
        }
      }
      return 0;
    },
  },
  {
    name: 'torture',
    summary:
      'find out whether pods survive kill -9 on this disk; child processes write and are killed at random moments; what is left is ' +
      'compared; PATH must be missing or empty, and is kept if anything is wrong; exit code 1 where a pod did not survive',
    options: [
      ['--minutes <n>', 'how long it goes on (1)'],
      ['--seed <n>', 'repeat what a torture with this seed wrote'],
    ],
    examples: ['torture /mnt/disk/try --minutes 10'],
    run: torturePods,
  },
  {
    name: WRITER_COMMAND,
    summary: 'a child process of torture',
    examples: [],
    isHidden: true,
    run: ({ path: task }) => writeForEver(JSON.parse(task) as WriterTask, sayAtOnce),
  },
];

function lost(lines: number): string {
  if (lines === 0) return 'every line that is still there could be read';
  return lines === 1 ? '1 line could not be read' : `${lines} lines could not be read`;
}

async function torturePods({ path, json, options }: Given, { out, err }: Output): Promise<number> {
  const place = normalizePath(path);
  const { minutes = '1', seed = String(Math.floor(Math.random() * 2 ** 32)) } = options;
  const seconds = 60 * numberOption(place, 'minutes', String(minutes), MINUTES_MAX);
  const start = numberOption(place, 'seed', String(seed), 2 ** 32 - 1);
  const verdict = await torture({
    path: place,
    seconds,
    seed: start,
    onStart: () => err(`everpod torture ${path} for ${seconds} s, seed ${start}: writing, killing, comparing.\n`),
    onProgress: (progress) => err(describeProgress(progress, seconds)),
  });
  out(json ? `${JSON.stringify(verdict)}\n` : describeVerdict(verdict));
  return verdict.held ? 0 : 1;
}
