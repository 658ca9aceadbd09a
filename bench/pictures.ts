/**
 * Takes the pictures in `docs/watching.md` from a real terminal: a run in a temporary folder, watched in tmux.
 *
 *     npx tsx bench/pictures.ts
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const DOCUMENT = fileURLToPath(new URL('../docs/watching.md', import.meta.url));
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const INDEX = new URL('../src/index.ts', import.meta.url).href;
const TSX = import.meta.resolve('tsx');
const SESSION = `everpod-pictures-${process.pid}`;
const COLUMNS = 100;
const ROWS = 30;

/** A run of about two minutes: pages of four hosts that take their time, find others, and fail now and then. */
const PROGRAM = `
import { ProgressTracker } from ${JSON.stringify(INDEX)};
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const tasks = ProgressTracker.open('crawl.pod', { maxTries: 3 });
const url = (n) => 'https://' + ['docs', 'blog', 'shop', 'old'][n % 4] + '.example.org/page/' + n;
let found = 300;
for (let n = 0; n < found; n++) tasks.addIfAbsent(url(n));
tasks.attachProgress();
const inFlight = new Set();
for (const key of tasks.tryKeys()) {
  const work = (async () => {
    const slow = key.includes('//old') ? 8 : 1;
    await sleep(slow * (150 + 400 * Math.random()));
    if (Math.random() < 0.04) return tasks.fail(key, new Error('no answer from ' + key));
    if (found < 1200 && Math.random() < 0.4) tasks.addIfAbsent(url(found++));
    tasks.markDone(key);
  })().finally(() => inFlight.delete(work));
  inFlight.add(work);
  while (inFlight.size >= 8) await Promise.race(inFlight);
}`;

const folder = mkdtempSync(join(tmpdir(), 'everpod-pictures-'));
writeFileSync(join(folder, 'run.mjs'), PROGRAM);
const pictures = new Map<string, string>();
const environment = { ...process.env, NO_COLOR: '1' };
const node = [process.execPath, '--import', TSX];
try {
  tmux('new-session', '-d', '-s', SESSION, '-x', String(COLUMNS), '-y', String(ROWS), '-c', folder);
  tmux('send-keys', '-t', SESSION, ` clear; ${[...node, 'run.mjs'].join(' ')}`, 'Enter');
  await sleep(12_000);
  pictures.set(
    'line',
    capture(SESSION)
      .split('\n')
      .filter((line) => line.includes(' known '))
      .slice(-1)
      .join('\n'),
  );
  const watching = `${SESSION}-top`;
  tmux('new-session', '-d', '-s', watching, '-x', String(COLUMNS), '-y', String(ROWS), '-c', folder);
  tmux('send-keys', '-t', watching, ` exec ${[...node, MAIN, 'top', 'crawl.pod'].join(' ')}`, 'Enter');
  await sleep(25_000);
  pictures.set('top', capture(watching));
  tmux('resize-window', '-t', watching, '-x', '48', '-y', '12');
  await sleep(3_000);
  pictures.set('narrow', capture(watching));
  tmux('resize-window', '-t', watching, '-x', String(COLUMNS), '-y', String(ROWS));
  pictures.set('tail', await everpod('tail', 'crawl.pod', '-n', '6'));
  const pid = JSON.parse(await everpod('top', 'crawl.pod', '--json')).process.pid as number;
  process.kill(pid, 'SIGKILL');
  await sleep(5_000);
  pictures.set('dead', capture(watching).split('\n').slice(0, 7).join('\n'));
  tmux('send-keys', '-t', watching, 'C-c');
} finally {
  for (const session of [SESSION, `${SESSION}-top`]) {
    try {
      tmux('kill-session', '-t', session);
    } catch {
      // It is gone already.
    }
  }
  rmSync(folder, { recursive: true, force: true });
}
let text = readFileSync(DOCUMENT, 'utf8');
for (const [name, picture] of pictures) {
  const clean = picture
    .replaceAll(` on ${hostname()} `, ' on laptop ')
    .replaceAll(` on ${hostname()},`, ' on laptop,')
    .trimEnd();
  const block = new RegExp(`(<!-- picture: ${name} -->\n\`\`\`\n)[^]*?(\`\`\`\n)`);
  text = text.replace(block, (_, start: string, end: string) => `${start}${clean}\n${end}`);
}
writeFileSync(DOCUMENT, text);

function tmux(...args: string[]): string {
  return execFileSync('tmux', args, { encoding: 'utf8', env: environment });
}

function capture(session: string): string {
  return tmux('capture-pane', '-p', '-t', session);
}

async function everpod(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, ['--import', TSX, MAIN, ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    said += part;
  });
  await new Promise((resolve) => child.once('close', resolve));
  return said;
}
