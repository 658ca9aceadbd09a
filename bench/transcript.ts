/**
 * Writes `docs/transcript.md`: plays the story with the programs as they are, and takes down what they print.
 *
 *     npm run transcript
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { playStory } from './story.ts';

const path = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));
const node = [process.execPath, '--import', import.meta.resolve('tsx')];
const folder = mkdtempSync(join(tmpdir(), 'everpod-transcript-'));
try {
  const programs = { crawl: [...node, path('examples/crawl.ts')], everpod: [...node, path('src/cli/main.ts')] };
  writeFileSync(path('docs/transcript.md'), await playStory(programs, folder));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
