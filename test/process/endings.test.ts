import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Durability, type Ending, POD } from '../../src/index.ts';
import { testSize } from '../size.ts';
import { type Finished, useBench } from './built.ts';

const bench = useBench();

type Entries = readonly (readonly [string, { n: number }])[];

/** What `children/ending.ts` has written after each of its three steps. */
const SYNCED: Entries = [
  ['first', { n: 1 }],
  ['gone', { n: 1 }],
];
const TURNED: Entries = [
  ['first', { n: 2 }],
  ['gone', { n: 1 }],
  ['turn', { n: 1 }],
];
const NOW: Entries = [
  ['first', { n: 3 }],
  ['turn', { n: 1 }],
  ['now', { n: 1 }],
];

const LEVELS: readonly Durability[] = ['exit', 'process', 'power'];

/** The levels that a row of a table is tried at: all of them, but of the small size one, in turn. */
function levelsOf(row: number): readonly Durability[] {
  return testSize === 'small' ? [LEVELS[row % LEVELS.length] as Durability] : LEVELS;
}

/** Rows of a table with the levels that each is tried at. */
function atLevels<R extends object>(rows: readonly R[]): (R & { readonly level: Durability })[] {
  return rows.flatMap((each, row) => levelsOf(row).map((level) => ({ ...each, level })));
}

/** What survives an ending that runs no handler, in the middle of a turn of the event loop (the table of section 4). */
const KILLED_IN_TURN: Record<Durability, Entries> = { exit: SYNCED, process: TURNED, power: NOW };
/** The same when the turn had ended. */
const KILLED_AFTER_TURN: Record<Durability, Entries> = { exit: SYNCED, process: NOW, power: NOW };
/** An ending that runs handlers loses nothing at any level. */
const SAVED: Record<Durability, Entries> = { exit: NOW, process: NOW, power: NOW };

function and(states: Record<Durability, Entries>, ...more: Entries): Record<Durability, Entries> {
  return {
    exit: [...states.exit, ...more],
    process: [...states.process, ...more],
    power: [...states.power, ...more],
  };
}

/** How a process is seen to end, and what the next open says of it. */
interface Expected {
  readonly survives: Record<Durability, Entries>;
  readonly code?: number;
  readonly signal?: NodeJS.Signals;
  readonly ended: Ending;
  readonly how?: string;
  readonly stderr?: RegExp;
  readonly says?: string;
}

function signalled(signal: NodeJS.Signals): Expected {
  return { survives: SAVED, signal, ended: 'signal', how: signal };
}

const ENDINGS: Record<string, Expected> = {
  'end of the loop': { survives: SAVED, code: 0, ended: 'exit', how: 'exit 0' },
  'exit code set': { survives: SAVED, code: 7, ended: 'exit', how: 'exit 7' },
  close: { survives: SAVED, code: 0, ended: 'closed' },
  throw: { survives: SAVED, code: 1, ended: 'error', how: 'uncaughtException', stderr: /on purpose/ },
  rejection: { survives: SAVED, code: 1, ended: 'error', how: 'unhandledRejection', stderr: /on purpose/ },
  // From Node 22 on it says so.
  'await for ever': {
    survives: SAVED,
    code: 13,
    ended: 'exit',
    how: 'exit 13',
    stderr: /^$|^Warning: Detected unsettled top-level await/,
  },
  'process.exit': { survives: SAVED, code: 3, ended: 'exit', how: 'exit 3' },
  'process.exit in a transaction': { survives: SAVED, code: 4, ended: 'exit', how: 'exit 4' },
  'throw in a transaction': {
    survives: SAVED,
    code: 1,
    ended: 'error',
    how: 'uncaughtException',
    stderr: /on purpose/,
  },
  SIGINT: signalled('SIGINT'),
  SIGTERM: signalled('SIGTERM'),
  SIGHUP: signalled('SIGHUP'),
  SIGQUIT: signalled('SIGQUIT'),
  SIGUSR2: signalled('SIGUSR2'),
  'end of the loop in a hold': { survives: SAVED, code: 0, ended: 'exit', how: 'exit 0' },
  'process.exit in a hold': { survives: SAVED, code: 3, ended: 'exit', how: 'exit 3' },
  'own handler from before the pod was opened': { survives: SAVED, code: 6, ended: 'exit', how: 'exit 6' },
  'own handler that is called once, from before the pod was opened': {
    survives: SAVED,
    code: 6,
    ended: 'exit',
    how: 'exit 6',
  },
  'own handler that lets the process live': {
    survives: {
      exit: [...NOW, ['after', { n: 1 }]],
      process: [...NOW, ['after', { n: 1 }]],
      power: [...NOW, ['after', { n: 1 }], ['later', { n: 1 }]],
    },
    signal: 'SIGKILL',
    ended: 'killed',
    says: 'alive',
  },
  SIGKILL: { survives: KILLED_IN_TURN, signal: 'SIGKILL', ended: 'killed' },
  'SIGTERM, then close in the same turn': { survives: SAVED, signal: 'SIGTERM', ended: 'closed' },
  'SIGTERM, then close and open again in the same turn': {
    ...signalled('SIGTERM'),
    survives: and(SAVED, ['again', { n: 1 }]),
  },
  abort: { survives: KILLED_IN_TURN, signal: 'SIGABRT', ended: 'killed' },
  'own handler that exits later': {
    survives: and(SAVED, ['handler', { n: 1 }], ['later', { n: 1 }]),
    code: 5,
    ended: 'exit',
    how: 'exit 5',
  },
  'own handler that closes and sends the signal again': { survives: SAVED, signal: 'SIGTERM', ended: 'closed' },
  'own handler that closes later and sends the signal again': { survives: SAVED, signal: 'SIGINT', ended: 'closed' },
  'own handler that sends the signal again': signalled('SIGHUP'),
  'own handler that never exits': { survives: KILLED_AFTER_TURN, signal: 'SIGKILL', ended: 'killed', says: 'heard' },
  'own handler of uncaught errors': {
    survives: and(SAVED, ['later', { n: 1 }]),
    code: 0,
    ended: 'exit',
    how: 'exit 0',
    says: 'caught',
  },
  'own exit listener that changes the pod': {
    survives: and(SAVED, ['last', { n: 1 }]),
    code: 0,
    ended: 'exit',
    how: 'exit 0',
  },
  // An exit handler that throws is an uncaught error of the application: Node makes it the end of the process.
  'early throwing signal-exit handler': {
    survives: SAVED,
    code: 1,
    ended: 'error',
    how: 'uncaughtException',
    stderr: /a handler of another library/,
  },
  'late throwing signal-exit handler': {
    survives: SAVED,
    code: 1,
    ended: 'error',
    how: 'uncaughtException',
    stderr: /a handler of another library/,
  },
  'early vetoing signal-exit handler': {
    survives: and(SAVED, ['after', { n: 1 }]),
    code: 0,
    ended: 'exit',
    how: 'exit 0',
    says: 'alive',
  },
  'late vetoing signal-exit handler': {
    survives: and(SAVED, ['after', { n: 1 }]),
    code: 0,
    ended: 'exit',
    how: 'exit 0',
    says: 'alive',
  },
  'vetoed signal, then another': {
    survives: and(SAVED, ['after', { n: 1 }]),
    signal: 'SIGHUP',
    ended: 'signal',
    how: 'SIGHUP',
    says: 'alive',
  },
  'vetoed signal, then SIGKILL': {
    survives: { exit: NOW, process: [...NOW, ['after', { n: 1 }]], power: [...NOW, ['after', { n: 1 }]] },
    signal: 'SIGKILL',
    ended: 'killed',
    says: 'alive',
  },
};

/** What the next process finds. */
function reopen(folder: string): { entries: Entries; ended: Ending; how: string | undefined; pid: number | undefined } {
  const pod = POD.open<{ n: number }>(folder);
  const entries = [...pod].map(([key]) => [key, pod.snapshot(key) as { n: number }] as const);
  const { ended, how, previous } = pod.recovery;
  pod.close();
  return { entries, ended, how, pid: previous?.pid };
}

function checkEnding(finished: Finished, folder: string, level: Durability, expected: Expected): void {
  expect(finished.lines).toEqual(expect.arrayContaining(['synced', 'turned', 'now']));
  if (expected.says !== undefined) expect(finished.lines).toContain(expected.says);
  expect({ code: finished.code, signal: finished.signal }, finished.stderr).toEqual({
    code: expected.code ?? null,
    signal: expected.signal ?? null,
  });
  if (expected.stderr !== undefined) expect(finished.stderr).toMatch(expected.stderr);
  else if (expected.signal !== 'SIGABRT') expect(finished.stderr).toBe('');
  const { pid, ...found } = reopen(folder);
  const wanted = { entries: expected.survives[level], ended: expected.ended, how: expected.how };
  // A comparison place by place takes seconds where there are many entries.
  if (JSON.stringify(found) !== JSON.stringify(wanted)) expect(found).toEqual(wanted);
  expect(pid !== undefined).toBe(expected.ended !== 'closed');
}

const matrix = atLevels(Object.keys(ENDINGS).map((ending) => ({ ending })));

describe.concurrent('D10, D12, D13, D15, D16, D17, D18, D23, TP-080, TP-081, TP-082, TP-083: a process that ends by', () => {
  it.each(matrix)('$ending, at level $level', async ({ ending, level }) => {
    const folder = bench.newPath();
    const finished = await bench.run('ending', [folder, level, ending]);
    checkEnding(finished, folder, level, ENDINGS[ending] as Expected);
  });

  it.each(levelsOf(0))('heap exhaustion, at level %s', async (level) => {
    const folder = bench.newPath();
    const nodeFlags = ['--max-old-space-size=32'];
    const finished = await bench.run('ending', [folder, level, 'heap exhaustion'], { nodeFlags });
    checkEnding(finished, folder, level, { survives: KILLED_IN_TURN, signal: 'SIGABRT', ended: 'killed' });
    expect(finished.stderr).toMatch(/out of memory/);
  });
});

describe.concurrent('D17: a signal from outside', () => {
  const others = ['SIGALRM', 'SIGVTALRM', 'SIGXCPU', 'SIGPWR', 'SIGSTKFLT', 'SIGUSR2', 'SIGQUIT'] as const;

  it.each(others)('saves everything and is what the process dies of: %s', async (signal) => {
    const folder = bench.newPath();
    const child = bench.start('ending', [folder, 'exit', 'wait']);
    await child.said('now');
    child.process.kill(signal);
    const { stderr, ...finished } = await child.finished;
    expect(stderr).toBe('');
    expect(finished).toMatchObject({ code: null, signal });
    expect(reopen(folder)).toMatchObject({ entries: NOW, ended: 'signal', how: signal });
  });

  it.each([
    { signal: 'SIGINT', status: 130 },
    { signal: 'SIGTERM', status: 143 },
  ])('is the status that a shell sees: $signal, $status', async ({ signal, status }) => {
    const folder = bench.newPath();
    const through = ['sh', '-c', '"$@"; echo "status $?"', 'sh'];
    const { lines } = await bench.run('ending', [folder, 'process', signal], { through });
    expect(lines.at(-1)).toBe(`status ${status}`);
    expect(reopen(folder)).toMatchObject({ entries: NOW, ended: 'signal', how: signal });
  });
});

describe.concurrent('the table of levels', () => {
  async function leftByKill(level: Durability): Promise<Entries> {
    const folder = bench.newPath();
    expect((await bench.run('ending', [folder, level, 'SIGKILL'])).signal).toBe('SIGKILL');
    return reopen(folder).entries;
  }

  it('level exit, process death: loses what changed since the last sync point', async () => {
    expect(await leftByKill('exit')).toEqual(SYNCED);
  });

  it('level process, process death: loses what changed in the current turn', async () => {
    expect(await leftByKill('process')).toEqual(TURNED);
  });

  it('level power, process death: loses nothing that returned', async () => {
    expect(await leftByKill('power')).toEqual(NOW);
  });
});

describe.concurrent('saving at the end', () => {
  it.each(['end of the loop', 'process.exit', 'throw', 'SIGTERM'])(
    'D21: appends to the log and rewrites no shard: %s',
    async (ending) => {
      const folder = bench.newPath();
      POD.open<{ n: number }>(folder, { init: { first: { n: 0 }, gone: { n: 0 } } }).close();
      const shards = () =>
        readdirSync(folder)
          .filter((name) => /^\d+\.json$/.test(name))
          .map((name) => {
            const { ino, mtimeNs, size } = statSync(join(folder, name), { bigint: true });
            return { name, ino, mtimeNs, size };
          });
      const before = shards();
      expect(before).not.toEqual([]);
      await bench.run('ending', [folder, 'exit', ending]);
      expect(shards()).toEqual(before);
      expect(reopen(folder).entries).toEqual(NOW);
    },
  );
});

describe('D19: a second signal while the first is worked on', () => {
  const many: Entries = Array.from({ length: 60_000 }, (_, n) => [`many ${n}`, { n }] as const);

  it.each(levelsOf(1))('loses nothing 10 ms later, at level %s', async (level) => {
    const folder = bench.newPath();
    const child = bench.start('ending', [folder, level, 'many dirty keys']);
    await child.said('many');
    child.process.kill('SIGINT');
    await sleep(10);
    child.process.kill('SIGINT');
    checkEnding(await child.finished, folder, level, { ...signalled('SIGINT'), survives: and(SAVED, ...many) });
  });

  it('D19, TPB-21: loses nothing at any moment', { timeout: 3_600_000 }, async () => {
    const rounds = { small: 3, ci: 60, long: 300 }[testSize];
    for (let round = 0; round < rounds; round++) {
      const folder = bench.newPath();
      const child = bench.start('ending', [folder, 'exit', 'wait']);
      await child.said('now');
      // In steps of less than a tenth of a millisecond, until it is gone: the gap to be hit is between two calls.
      while (child.process.exitCode === null && child.process.signalCode === null) {
        for (let n = 0; n < 200; n++) child.process.kill(n % 2 === 0 ? 'SIGINT' : 'SIGTERM');
        await sleep(0);
      }
      const finished = await child.finished;
      expect(['SIGINT', 'SIGTERM']).toContain(finished.signal);
      const { entries, ended } = reopen(folder);
      expect({ entries, ended }).toEqual({ entries: NOW, ended: 'signal' });
    }
  });
});

describe.concurrent('D23: a process that only opened the pod', () => {
  it.each([
    { before: 'close', ending: 'end of the loop', ended: 'exit', how: 'exit 0' },
    { before: 'close', ending: 'SIGTERM', ended: 'signal', how: 'SIGTERM' },
    { before: 'close', ending: 'SIGKILL', ended: 'killed', how: undefined },
    { before: 'SIGTERM', ending: 'end of the loop', ended: 'exit', how: 'exit 0' },
    { before: 'SIGTERM', ending: 'SIGKILL', ended: 'killed', how: undefined },
    { before: 'throw', ending: 'SIGINT', ended: 'signal', how: 'SIGINT' },
  ])('is what the next one hears of: $ending after $before', async ({ before, ending, ended, how }) => {
    const folder = bench.newPath();
    await bench.run('ending', [folder, 'process', before]);
    const idle = bench.start('idle', [folder, ending]);
    const { lines } = await idle.finished;
    const opened = { close: 'closed', SIGTERM: 'signal', throw: 'error' }[before];
    expect(lines).toEqual([`opened ${opened}`]);
    expect(reopen(folder)).toEqual({ entries: NOW, ended, how, pid: idle.pid });
  });
});

describe.concurrent('D20: a flush that fails at the end', () => {
  const LOST = /wal-000001\.jsonl was moved, removed or changed/;

  it.each([
    { ending: 'failing flush, end of the loop', level: 'exit', code: 1 },
    { ending: 'failing flush, end of the loop', level: 'process', code: 1 },
    { ending: 'failing flush, process.exit', level: 'exit', code: 1 },
    { ending: 'failing flush, process.exit', level: 'process', code: 1 },
    { ending: 'failing flush, SIGTERM', level: 'exit', code: 143 },
    { ending: 'failing flush, SIGTERM', level: 'process', code: 143 },
    { ending: 'failing flush, end of the loop', level: 'power', code: 1 },
  ])('is heard of: $ending, at level $level', async ({ ending, level, code }) => {
    const folder = bench.newPath();
    const finished = await bench.run('ending', [folder, level, ending]);
    expect({ code: finished.code, signal: finished.signal }).toEqual({ code, signal: null });
    expect(finished.stderr).toMatch(LOST);
    renameSync(join(folder, 'moved-away'), join(folder, 'wal-000001.jsonl'));
    expect(reopen(folder).entries).toEqual(NOW);
  });

  it.each(LEVELS)(
    'and so is a lock file that was removed: nothing is acknowledged without it, at level %s',
    async (level) => {
      const folder = bench.newPath();
      const finished = await bench.run('ending', [folder, level, 'lost lock']);
      expect(finished.lines.at(-1)).toBe('refused: ERR_POD_DISK lock');
      expect(finished.code).toBe(1);
      expect(finished.stderr).toMatch(/The file "lock" in .* was removed or replaced/);
      // Nobody else was there, so what was written can be read.
      expect(reopen(folder).entries).toEqual([...NOW, ['after', { n: 1 }]]);
    },
  );

  it('D20: of two pods is one AggregateError of both', async () => {
    const folder = bench.newPath();
    const finished = await bench.run('ending', [folder, 'exit', 'two failing flushes']);
    expect(finished.code).toBe(1);
    expect(finished.stderr).toMatch(/AggregateError/);
    for (const path of [`${folder}/wal-`, `${folder}-second/wal-`]) expect(finished.stderr).toContain(path);
  });

  it('does not keep another pod from being saved', async () => {
    const folder = bench.newPath();
    const finished = await bench.run('ending', [folder, 'exit', 'failing flush beside a healthy pod']);
    expect(finished.code).toBe(1);
    expect(finished.stderr).toMatch(LOST);
    expect(reopen(`${folder}-healthy`)).toMatchObject({ entries: [['healthy', 1]], ended: 'exit' });
  });
});

const hasPidNamespaces = spawnSync('unshare', ['-pf', '--mount-proc', 'true']).status === 0;
if (!hasPidNamespaces) console.warn('Process 1 is not tested: unshare may not make a pid namespace here.');
describe.skipIf(!hasPidNamespaces).concurrent('D22: process 1 of a container', () => {
  const through = ['unshare', '-pf', '--mount-proc'];

  it.each(atLevels((['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => ({ signal }))))(
    'that is sent $signal from outside, at level $level',
    async ({ signal, level }) => {
      const folder = bench.newPath();
      const child = bench.start('ending', [folder, level, 'wait'], { through });
      await child.said('now');
      const [inner = 0] = childrenOf(child.pid);
      process.kill(inner, signal);
      const code = 128 + constants.signals[signal];
      checkEnding(await child.finished, folder, level, { survives: SAVED, code, ended: 'signal', how: signal });
      expect(readFileSync(join(folder, 'lock'), 'utf8')).toBe('');
    },
  );

  it.each([
    { ending: 'end of the loop', expected: ENDINGS['end of the loop'] },
    { ending: 'process.exit', expected: ENDINGS['process.exit'] },
    { ending: 'own handler that exits later', expected: ENDINGS['own handler that exits later'] },
    { ending: 'late vetoing signal-exit handler', expected: ENDINGS['late vetoing signal-exit handler'] },
    {
      ending: 'vetoed signal, then another',
      expected: { ...(ENDINGS['vetoed signal, then another'] as Expected), signal: undefined, code: 129 },
    },
  ])('that ends by: $ending', async ({ ending, expected }) => {
    const folder = bench.newPath();
    const finished = await bench.run('ending', [folder, 'exit', ending], { through });
    checkEnding(finished, folder, 'exit', expected as Expected);
  });
});

/** The processes that a process has started. */
function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number);
}

describe.concurrent('D28, TPB-09: a worker thread', () => {
  it.each(
    atLevels([
      { ending: 'end of the loop', says: 'worker exit 0', ended: 'exit', how: 'exit 0' },
      { ending: 'throw', says: 'worker error: on purpose', ended: 'error', how: 'uncaughtException' },
      { ending: 'process.exit', says: 'worker exit 3', ended: 'exit', how: 'exit 3' },
      { ending: 'process.exit in a transaction', says: 'worker exit 4', ended: 'exit', how: 'exit 4' },
    ]),
  )('that ends by $ending loses nothing, at level $level', async ({ ending, says, ended, how, level }) => {
    const folder = bench.newPath();
    const finished = await bench.run('worker-host', [folder, level, ending]);
    checkEnding(finished, folder, level, { survives: SAVED, code: 0, ended: ended as Ending, how, says });
  });

  it.each(levelsOf(0))('that is terminated ends as if killed, at level %s', async (level) => {
    const folder = bench.newPath();
    const finished = await bench.run('worker-host', [folder, level, 'wait', 'terminate']);
    checkEnding(finished, folder, level, { survives: KILLED_AFTER_TURN, code: 0, ended: 'killed', says: 'waiting' });
  });

  it.each(levelsOf(1))('ends as if killed where the main thread exits, at level %s', async (level) => {
    const folder = bench.newPath();
    const finished = await bench.run('worker-host', [folder, level, 'wait', 'main exits']);
    checkEnding(finished, folder, level, { survives: KILLED_AFTER_TURN, code: 3, ended: 'killed', says: 'waiting' });
  });

  it.each(levelsOf(2))('ends as if killed where a signal ends the process, at level %s', async (level) => {
    const folder = bench.newPath();
    const host = bench.start('worker-host', [folder, level, 'wait']);
    await host.said('waiting');
    host.process.kill('SIGTERM');
    const expected = { survives: KILLED_AFTER_TURN, signal: 'SIGTERM', ended: 'killed', says: 'waiting' } as const;
    checkEnding(await host.finished, folder, level, expected);
  });

  it('whose flush fails at the end tells its parent', async () => {
    const finished = await bench.run('worker-host', [bench.newPath(), 'exit', 'failing flush, end of the loop']);
    expect(finished.lines.filter((line) => line.startsWith('worker'))).toEqual([
      expect.stringMatching(/^worker error: .*wal-000001\.jsonl was moved/),
      'worker exit 1',
    ]);
  });
});

describe.concurrent('D29, TPB-09: a child of the process', () => {
  it.each(
    atLevels(['process.exit', 'SIGTERM'].flatMap((ending) => ['fork', 'cluster'].map((kind) => ({ kind, ending })))),
  )('does not touch its pod: $kind, $ending, at level $level', async ({ kind, ending, level }) => {
    const folder = bench.newPath();
    const host = bench.start('fork-host', [folder, level, kind, ending]);
    const finished = await host.finished;
    expect(finished).toEqual({
      code: 0,
      signal: null,
      lines: ['ERR_POD_LOCKED, reads 1', `child ended with ${ending === 'process.exit' ? 0 : ending}`],
      stderr: '',
    });
    const entries = ['before', 'during', 'after'].map((key) => [key, 1]);
    expect(reopen(folder)).toEqual({ entries, ended: 'exit', how: 'exit 0', pid: host.pid });
    const { entries: own, how } = reopen(`${folder}-own`);
    expect({ own, how }).toEqual({ own: [['own', 1]], how: ending === 'process.exit' ? 'exit 0' : ending });
  });
});
