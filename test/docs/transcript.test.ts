// Holds docs/transcript.md to the programs: the story is played again, and must go as it is told there, but for numbers and moments.
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { playStory } from '../../bench/story.ts';
import { builtFile } from '../bundle.ts';
import { readDocument } from './blocks.ts';
import { withoutNumbers } from './console.ts';

/**
 * What must be the same each time: every command, and every line with its words. Not the same are numbers, units of time, bars, which pages
 * were in flight, had failed and were given up when it was killed, what the machine can tell of the kill, and whether its last append was
 * cut short.
 */
function gist(transcript: string): string {
  const lines = transcript
    .replaceAll(/ It was not killed by the kernel .*| The kernel has killed .*/g, '')
    .replaceAll(/^\d+ bytes? dropped from the log: .*\n/gm, '')
    .replaceAll(/ {2}\d+\/(?:s|min)(?= {2}nothing left)/g, '')
    .replaceAll(/ \(\d+ failed before\)|, \d+ (?:aborted|out of tries)\b/g, '')
    .replaceAll(/(of|in flight,?|has) \d+ kinds?\b/g, '$1 # kinds')
    .replaceAll(/[█░]+/g, '<bar>')
    .replaceAll(/http:\/\/127\.0\.0\.1:8080\/\S*/g, '<page>')
    .split('\n')
    .map((line) =>
      withoutNumbers(line)
        .replaceAll(/# (?:ms|s|min)\b/g, '# s')
        .replaceAll(/#(?:\.#)?\/(?:s|min)/g, '#/s'),
    )
    .map((line) => (/^ +# {2}E/.test(line) ? '  <class>' : line));
  // Of pages in a list, and of reasons that are as frequent, the order is that of the network.
  const isOneOfMany = (line: string): boolean => /^ +# x |^ {2}<page>$|^ {2}<class>$/.test(line);
  const runs: string[][] = [];
  for (const line of lines) {
    const last = runs.at(-1);
    if (last?.[0] !== undefined && isOneOfMany(line) && isOneOfMany(last[0])) last.push(line);
    else runs.push([line]);
  }
  return runs
    .map((run) => [...new Set(run)].sort().join('\n'))
    .join('\n')
    .replaceAll(/#(?:\.#)+/g, '#');
}

it('docs/transcript.md: a crawl that is killed goes on as it is told there', {
  timeout: 300_000,
  retry: 2,
}, async () => {
  const folder = mkdtempSync(path.join(realpathSync(tmpdir()), 'everpod-transcript-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const programs = {
    crawl: [process.execPath, builtFile('examples/crawl.ts')],
    everpod: [process.execPath, builtFile('src/cli/main.ts')],
  };
  expect(gist(await playStory(programs, folder))).toBe(gist(readDocument('docs/transcript.md')));
});

it('the comparison sees another word, another command, and a line more', () => {
  const transcript = readDocument('docs/transcript.md');
  const changes: readonly [string, string][] = [
    ['16 tasks put back', '16 tasks looked at'],
    ['everpod explain', 'everpod get'],
    ['nothing is at work on what is left\n', ''],
    ['8 pages in flight: that try is not counted.\n', ''],
    ['FetchError HTTP_503', 'FetchError HTTP_504'],
  ];
  for (const [words, others] of changes) {
    expect(transcript).toContain(words);
    const isNumber = words.includes('HTTP_503');
    expect(gist(transcript.replace(words, others)) === gist(transcript), words).toBe(isNumber);
  }
});
