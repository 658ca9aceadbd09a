/**
 * The commands that keep a pod somewhere else, and compare: backup, restore, copy, diff.
 */
import { basename, dirname, join } from 'node:path';
import { type BackupReport, backUp, backUpInSeries } from '../disk/backup.ts';
import { copyFolder, type OnCopyProgress } from '../disk/copy.ts';
import { restoreFolder } from '../disk/restore.ts';
import { nodeSystem } from '../disk/system.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { checkOptions, optionsError } from '../pod/options.ts';
import type { Command, Given, Output } from './command.ts';
import { diffPods } from './diff.ts';
import { countOption, entries, figure } from './words.ts';

export const KEEPING: readonly Command[] = [
  {
    name: 'backup',
    paths: ['path', 'dest'],
    summary:
      'write the same pod into a folder that is missing or empty, also while a program writes to it: same id, entries, order and layout, as it was ' +
      'at one moment; then read it back',
    options: [
      [
        '--keep <n>',
        'make it a folder in DEST, named by the time, and remove all but the newest n that earlier backups of this pod made there and nobody changed',
      ],
    ],
    examples: ['backup crawl.pod /mnt/disk/crawl.pod', 'backup crawl.pod /mnt/disk/crawl-backups --keep 7'],
    run: makeBackup,
  },
  {
    name: 'restore',
    paths: ['backup', 'path'],
    summary:
      'put a backup in the place of a pod that no program has open; what was there is kept beside it, as PATH.before-restore- and the time',
    examples: ['restore /mnt/disk/crawl-backups/2026-11-21T13-05-00Z crawl.pod'],
    run: ({ path, words: [target = ''], json }, output) => {
      const place = normalizePath(target);
      const report = restoreFolder(nodeSystem, normalizePath(path), place, progressOf('restore', output));
      if (json) output.out(`${JSON.stringify(report)}\n`);
      else {
        output.out(`${target}: restored, ${entries(report.entries)}.\n`);
        if (report.before !== undefined) {
          output.out(`What was there before is in ${join(dirname(target), basename(report.before))}.\n`);
        }
      }
      return 0;
    },
  },
  {
    name: 'copy',
    paths: ['path', 'dest'],
    summary:
      'write a pod of its own into a folder that is missing or empty, also while a program writes to the first: a new id, full files without ' +
      'gaps, another layout if asked; see backup for one that stays the same pod',
    options: [
      ['--gzip', 'gzip the files of the copy'],
      ['--no-gzip', 'leave them plain'],
      ['--file-size <n>', 'entries in one file'],
    ],
    examples: ['copy crawl.pod archive.pod --gzip', 'copy crawl.pod small.pod --file-size 100'],
    run: makeCopy,
  },
  {
    name: 'diff',
    paths: ['path', 'other'],
    summary:
      'what was added (+), removed (-), changed (~) or moved (>) on the way from PATH to OTHER, in the order of OTHER; the order of the properties ' +
      'of an object is no difference; exit code 1 where there is any',
    options: [
      ['--keys-only', 'not what differs in the values'],
      ['--limit <n>', 'at most so many entries; what was left out is said on standard error'],
    ],
    examples: ['diff yesterday.pod crawl.pod', 'diff yesterday.pod crawl.pod --json --limit 10'],
    run: diffPods,
  },
];

function makeBackup({ path, words: [target = ''], json, options }: Given, output: Output): number {
  const [from, to] = [normalizePath(path), normalizePath(target)];
  const onProgress = progressOf('backup', output);
  const report =
    options.keep === undefined
      ? backUp(nodeSystem, from, to, onProgress)
      : backUpInSeries(nodeSystem, from, to, keepOption(from, String(options.keep)), onProgress);
  if (json) output.out(`${JSON.stringify(report)}\n`);
  else describeBackup(report, options.keep === undefined ? target : join(target, basename(report.path)), output);
  return 0;
}

function keepOption(path: string, text: string): number {
  const keep = countOption(path, 'keep', text);
  if (keep >= 1) return keep;
  throw optionsError(path, 'keep', 'must be at least 1: the backup that is made now');
}

function describeBackup({ entries: count, removed, left }: BackupReport, shown: string, { out, err }: Output): void {
  out(`${shown}: a backup of ${entries(count)}.\n`);
  if (removed.length > 0) out(`Removed: ${removed.join(', ')}.\n`);
  for (const { name, why } of left) err(`everpod backup: ${name} was left alone: ${why}.\n`);
}

function makeCopy({ path, words: [target = ''], json, options }: Given, output: Output): number {
  const [from, to] = [normalizePath(path), normalizePath(target)];
  const gzip = options.gzip as boolean | undefined;
  const fileSize =
    options.fileSize === undefined ? undefined : countOption(from, 'file-size', String(options.fileSize));
  checkOptions(from, { fileSize });
  const count = copyFolder(nodeSystem, from, to, { gzip, fileSize }, progressOf('copy', output));
  if (json) output.out(`${JSON.stringify({ path: to, entries: count })}\n`);
  else output.out(`${target}: a copy of ${entries(count)}.\n`);
  return 0;
}

/** Less than this is read in a moment. */
const LARGE_BYTES = 100_000_000;
const PROGRESS_MS = 2_000;

/** Says on standard error what takes long. */
function progressOf(name: string, { err }: Output): OnCopyProgress {
  const { clock } = nodeSystem;
  let saidMs = clock.monotonic();
  return (step, done, total) => {
    const nowMs = clock.monotonic();
    if (step === 'reading' ? total < LARGE_BYTES : nowMs - saidMs < PROGRESS_MS) return;
    saidMs = nowMs;
    const words = {
      reading: `reading ${figure(Math.round(total / 1_000_000))} MB`,
      writing: `${figure(done)} of ${entries(total)} written`,
      checking: `reading ${entries(total)} back`,
    };
    err(`everpod ${name}: ${words[step]}\n`);
  };
}
