// Every command on every kind of folder: its exit code, what it says, the form of its JSON, and that it leaves alone what it must not touch.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { COMMANDS } from '../../src/cli/run.ts';
import { POD, ProgressTracker } from '../../src/index.ts';
import { builtFile } from '../bundle.ts';
import { testSize } from '../size.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { ANSWERS, complaint } from './answers.ts';
import { type Answer, everpodChild, everpodSoon } from './everpod.ts';

/** Readers look twice at damage, a moment later; only beside a writer at work does the moment matter. */
const pace = vi.hoisted(() => ({ isLive: false }));

// Real locks, because one situation has a real writer in another process; no fsync, because hundreds of folders are written.
vi.mock('../../src/disk/system.ts', async (importOriginal) => {
  const { nodeSystem } = await importOriginal<typeof import('../../src/disk/system.ts')>();
  const { fastSystem } = await import('../tracker/fast-system.ts');
  const pause = (ms: number): void => nodeSystem.sleep(pace.isLive ? ms : 0);
  return { nodeSystem: { ...nodeSystem, fs: fastSystem.fs, sleep: pause } };
});

const temporary = useTemporary();
const WRITER = builtFile('test/cli/children/keeps-writing.ts');
const MANY = 10_000;

// ---- The folders.

function closedTracker(path: string): void {
  const tracker = ProgressTracker.open(path, { fileSize: 3, maxTries: 2 });
  tracker.addMany(['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6']);
  tracker.incrementTries('k1');
  tracker.fail('k1', new Error('HTTP 503'));
  tracker.close();
}

/** As a process leaves it that is killed in the middle of an append. */
function tornTracker(path: string): void {
  const from = temporary.path();
  closedTracker(from);
  const tracker = ProgressTracker.open(from);
  tracker.add('late');
  tracker.sync();
  cpSync(from, path, { recursive: true });
  tracker.close();
  const log = readdirSync(path).find((name) => name.startsWith('wal-')) as string;
  appendFileSync(join(path, log), '0bad0bad {"s":');
}

function flipByte(file: string): void {
  const bytes = readFileSync(file);
  const at = bytes.indexOf('_tries') + 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

/** A kind of folder, and the words by which a command refuses it where it is to blame. */
interface Situation {
  readonly make: (path: string) => void;
  readonly sentence?: string;
}

const SITUATIONS = {
  'an empty pod': { make: (path) => POD.open(path).close() },
  'an empty tracker': { make: (path) => ProgressTracker.open(path).close() },
  'ten thousand tasks': {
    make: (path) => {
      const tracker = ProgressTracker.open(path, { durability: 'exit' });
      for (let n = 0; n < MANY; n++) tracker.add(`k${n}`);
      tracker.fail('k1', new Error('HTTP 503'));
      tracker.close();
    },
  },
  'a live tracker': { make: () => {}, sentence: 'ERR_POD_LOCKED: ' },
  'a torn end of the log': { make: tornTracker },
  'a flipped byte in a shard': {
    make: (path) => {
      closedTracker(path);
      flipByte(join(path, '0.json'));
    },
    sentence: '0.json does not match its checksum',
  },
  'a missing shard': {
    make: (path) => {
      closedTracker(path);
      rmSync(join(path, '1.json'));
    },
    sentence: '1.json, which pod.json lists, is missing',
  },
  'a broken manifest': {
    make: (path) => {
      closedTracker(path);
      writeFileSync(join(path, 'pod.json'), readFileSync(join(path, 'pod.json')).subarray(0, 40));
    },
    sentence: 'pod.json is damaged',
  },
  'a lost manifest': {
    make: (path) => {
      tornTracker(path);
      rmSync(join(path, 'pod.json'));
    },
    sentence: 'pod.json is missing, but wal-000002.jsonl shows that there was one',
  },
  'no folder': { make: () => {}, sentence: 'ERR_POD_NOT_FOUND: There is no pod at ' },
  'a file': { make: (path) => writeFileSync(path, 'hello'), sentence: 'is a file, and a pod is a folder' },
  'a folder of other files': {
    make: (path) => {
      mkdirSync(path);
      writeFileSync(join(path, 'a.jpg'), 'x');
    },
    sentence: 'ERR_POD_NOT_FOUND: There is no pod at ',
  },
} satisfies Record<string, Situation>;

// ---- What is expected.

interface Expected {
  readonly code: 0 | 1 | 2;
  /** It could not be carried out: standard error has these words, `folder` those of the situation, and JSON has an error. */
  readonly refusal?: string | 'folder';
  readonly changes?: true;
  /** It was carried out, and standard error has these words. */
  readonly note?: string;
}

const ok: Expected = { code: 0 };
/** An answer as any other, and it is no. */
const no: Expected = { code: 1 };
/** The log is shorter than what was asked for. */
const few: Expected = { code: 0, note: 'what is older is in the shards, without its history' };
const does: Expected = { code: 0, changes: true };
/** The folder is damaged. */
const bad: Expected = { code: 1, refusal: 'folder' };
/** The folder is not one that the command works on. */
const not: Expected = { code: 2, refusal: 'folder' };
const pod: Expected = { code: 2, refusal: 'must be a tracker' };
const full: Expected = { code: 2, refusal: 'is not empty' };
/** There is no such key: an answer to who asks, a refusal to who wants it changed. */
const none: Expected = { code: 1, refusal: 'There is no entry "k1"' };
const lost: Expected = { code: 2, refusal: 'There is no entry "k1"' };

type Row = readonly [
  words: readonly string[],
  ...{ [S in keyof typeof SITUATIONS]: Expected }[keyof typeof SITUATIONS][],
];
const KEY = ['k1'];
const SEEDS = temporary.path('seeds.jsonl');
const FROM = ['--from', SEEDS];
const ONCE = ['--once'];
const NOW = ['--seconds', '0'];
/** A second folder: one that is not there yet, or the same again. */
const NEW = ['<new>'];
const SAME = ['<same>'];

/** The columns are the situations above, in their order. */
// biome-ignore format: a table
const MATRIX: Readonly<Record<string, Row>> = {
  //               pod   tracker many  live  torn  flip  shard manif lost  none  file  other
  stats:   [[],    ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  ls:      [[],    ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  get:     [KEY,   none, none,   ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  explain: [KEY,   pod,  none,   ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  errors:  [[],    pod,  ok,     no,   no,   no,   bad,  bad,  bad,  bad,  not,  not,  not],
  export:  [[],    ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  import:  [FROM,  does, does,   does, not,  does, bad,  bad,  bad,  bad,  not,  not,  not],
  tail:    [[],    few,  few,    few,  ok,   few,   bad,  bad,  bad,  bad,  not,  not,  not],
  top:     [ONCE,  pod,  ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  retry:   [[],    pod,  no,     does, not,  does, bad,  bad,  bad,  bad,  not,  not,  not],
  abort:   [KEY,   pod,  lost,   does, not,  does, bad,  bad,  bad,  bad,  not,  not,  not],
  done:    [KEY,   pod,  lost,   does, not,  does, bad,  bad,  bad,  bad,  not,  not,  not],
  reset:   [KEY,   pod,  lost,   does, not,  does, bad,  bad,  bad,  bad,  not,  not,  not],
  compact: [[],    does, does,   does, not,  does, bad,  bad,  bad,  bad,  not,  not,  not],
  verify:  [[],    ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  accept:  [[],    no,   no,     no,   not,  no,   does, bad,  bad,  bad,  not,  not,  not],
  repair:  [[],    does, does,   does, not,  does, does, does, does, does, not,  not,  not],
  torture: [[],    full, full,   full, full, full, full, full, full, full, ok,   not,  full],
  backup:  [NEW,   ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  restore: [NEW,   ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  copy:    [NEW,   ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  diff:    [SAME,  ok,   ok,     ok,   ok,   ok,   bad,  bad,  bad,  bad,  not,  not,  not],
  'serve-pod': [NOW, ok, ok,     ok,   not,  does, bad,  bad,  bad,  bad,  not,  not,  not],
};

const names = Object.keys(SITUATIONS) as (keyof typeof SITUATIONS)[];
const shown = COMMANDS.filter(({ isHidden }) => isHidden !== true).map(({ name }) => name);
/** Torture on a folder that is missing is the one command that takes its time; it has a test of its own. */
const isTortured = (command: string, name: string): boolean => command === 'torture' && name === 'no folder';

// ---- Running.

/** Every file under a path with its bytes; the path may be a file, or nothing. */
function bytesOf(path: string): Record<string, string> {
  if (!existsSync(path)) return {};
  if (statSync(path).isFile()) return { '': readFileSync(path, 'latin1') };
  // The saved index is a copy of the rest, and made anew when the folder is closed.
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name !== 'index.bin')
    .map((entry) => [join(entry.parentPath, entry.name), entry.isFile()] as const);
  return Object.fromEntries(files.map(([file, isFile]) => [file, isFile ? readFileSync(file, 'latin1') : 'a folder']));
}

const templates = new Map<string, string>();

/** A folder of its own for each run, but for the live one, of which there is one. */
function folderFor(name: keyof typeof SITUATIONS): string {
  if (name === 'a live tracker') return live.path;
  const template = templates.get(name) as string;
  const path = temporary.path();
  mkdirSync(join(path, '..'), { recursive: true });
  if (existsSync(template)) cpSync(template, path, { recursive: true });
  return path;
}

/** Every answer is asked for in words and in JSON; of the small size every other cell takes one of the two, in turn. */
function formsOf(command: string, column: number): readonly boolean[] {
  if (testSize !== 'small') return [false, true];
  const place = shown.indexOf(command) + column;
  return place % 2 === 0 ? [place % 4 === 0] : [];
}

function secondFolder(word: string, path: string): string {
  return word === '<new>' ? temporary.path() : word === '<same>' ? path : word;
}

const live = { path: '', child: undefined as ChildProcess | undefined, said: undefined as Promise<string> | undefined };

beforeAll(async () => {
  live.path = temporary.path('live.pod');
  mkdirSync(dirname(SEEDS), { recursive: true });
  writeFileSync(SEEDS, '["new",{"n":1}]\n');
  const child = spawn(process.execPath, [WRITER, live.path], { stdio: ['pipe', 'pipe', 'inherit'] });
  live.child = child;
  const ready = once(child.stdout, 'data');
  for (const name of names) {
    const path = temporary.path(`${name.replaceAll(' ', '-')}.pod`);
    mkdirSync(join(path, '..'), { recursive: true });
    SITUATIONS[name].make(path);
    templates.set(name, path);
  }
  await ready;
  live.said = text(child.stdout);
});

afterAll(() => {
  live.child?.kill('SIGKILL');
});

/** What takes more than two seconds says so, which on a busy machine can be anything. */
const PROGRESS = /^everpod (?:backup|restore|copy): (?:reading .*|[\d,]+ of .* written)\n/gm;

function check(command: string, name: keyof typeof SITUATIONS, path: string, expected: Expected, answer: Answer): void {
  const { code, out } = answer;
  const err = answer.err.replace(PROGRESS, '');
  const what = `${command} on ${name}: code ${code}\n${out.slice(0, 2000)}${err}`;
  expect(code, what).toBe(expected.code);
  expect(`${out}${err}`, what).not.toMatch(/^\s+at \S.*[:(]|\bundefined\b|\[object /m);
  if (expected.refusal === undefined) {
    if (expected.note === undefined) expect(err, what).toBe('');
    else expect(err, what).toMatch(new RegExp(`^everpod: .*${expected.note}\\.\n$`));
    return;
  }
  const situation: Situation = SITUATIONS[name];
  const words = expected.refusal === 'folder' ? (situation.sentence ?? 'no sentence') : expected.refusal;
  // One line, that begins with who speaks and which error it is.
  expect(err, what).toMatch(/^everpod: ERR_POD_[A-Z_]+: .{20,}\n$/);
  expect(err, what).toContain(words);
  expect(err, what).toContain(path);
}

describe('the matrix', () => {
  it('names every command and every situation, and so do the schemas of the answers', () => {
    expect(Object.keys(MATRIX)).toEqual(shown);
    expect(Object.keys(ANSWERS)).toEqual(shown);
    for (const [command, [, ...cells]] of Object.entries(MATRIX)) expect(cells, command).toHaveLength(names.length);
  });

  describe.each(names)('%s', (name) => {
    const column = names.indexOf(name);
    const commands = Object.keys(MATRIX).filter((command) => !isTortured(command, name));

    it.each(commands)('%s', async (command) => {
      const [words, ...cells] = MATRIX[command] as Row;
      const expected = cells[column] as Expected;
      const isLive = name === 'a live tracker';
      pace.isLive = isLive;
      for (const json of formsOf(command, column)) {
        const path = folderFor(name);
        // Beside the writer one run is while it writes. For the other it stands still, so that whatever changes, we did it.
        if (isLive && json) {
          live.child?.kill('SIGSTOP');
          await sleep(20);
        }
        const before = isLive && !json ? undefined : bytesOf(path);
        const answer = await everpodSoon(
          command,
          path,
          ...words.map((word) => secondFolder(word, path)),
          ...(json ? ['--json'] : []),
        );
        const after = isLive && !json ? undefined : bytesOf(path);
        live.child?.kill('SIGCONT');
        check(command, name, path, expected, answer);
        if (json) expect(complaint(command, answer.out, expected.refusal !== undefined)).toBeUndefined();
        else if (expected.refusal !== undefined) expect(answer.out).toBe('');
        if (expected.changes === true) expect(after).not.toEqual(before);
        else expect(after).toEqual(before);
      }
    });
  });

  it('the writer beside which all this happened has lost nothing and noticed nothing', async () => {
    live.child?.stdin?.end();
    const [code] = (await once(live.child as ChildProcess, 'close')) as [number];
    const rounds = Number(await live.said);
    expect(code).toBe(0);
    expect(rounds).toBeGreaterThan(100);
    const tracker = temporary.keep(ProgressTracker.open<{ round?: number }>(live.path, { mode: 'r' }));
    expect(tracker.size).toBe(7);
    // The last five rounds wrote to five different tasks.
    const written = ['k2', 'k3', 'k4', 'k5', 'k6'].map((key) => tracker.snapshot(key)?.round ?? -1);
    expect(written.sort((a, b) => a - b)).toEqual([5, 4, 3, 2, 1].map((back) => rounds - back));
    expect(readdirSync(live.path)).not.toContain('quarantine');
    expect((await everpodSoon('verify', live.path)).code).toBe(0);
  });

  it('torture makes the folder it is given, and removes it where all is well', async () => {
    const runs = [[], ['--json']].map(async (json) => {
      const path = temporary.path();
      const { code, out, err } = await everpodChild('torture', path, '--minutes', '0.01', ...json);
      expect([code, existsSync(path)], out + err).toEqual([0, false]);
      expect(err).toMatch(/^everpod torture .* writing, killing, comparing\.\n/);
      if (json.length > 0) expect(complaint('torture', out, false)).toBeUndefined();
      else expect(out).toMatch(/^Held: /);
    });
    await Promise.all(runs);
  });
});
