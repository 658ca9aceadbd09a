// Kills a real process at its system calls, and fails them, one by one: after each, the folder holds what was acknowledged, and is in a
// state that was written. The calls are counted in a first run, then `strace` strikes at the n-th.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { witnessSteps } from '../../src/cli/torture-check.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { testSeed, testSize } from '../size.ts';
import { useBench } from './built.ts';

const bench = useBench();
const SEED = testSeed(20);
const CALLS = [
  'openat',
  'pwrite64',
  'fsync',
  'fdatasync',
  'rename',
  'unlink',
  'ftruncate',
  'mkdir',
  'pread64',
  'close',
];
const BLOWS = ['signal=KILL', 'error=EIO', 'error=ENOSPC'] as const;
type Blow = (typeof BLOWS)[number];
/** How many points of each scenario are struck; all of them where there are fewer. */
const POINTS = { small: 5, ci: 120, long: Number.POSITIVE_INFINITY }[testSize];
const STEPS_SEED = 77;

/** Why this cannot be done here; undefined where it can. */
function obstacle(): string | undefined {
  if (process.platform !== 'linux') return 'strace is of Linux';
  const { status, error, stderr } = spawnSync('strace', [
    '-f',
    '--seccomp-bpf',
    '-e',
    'trace=mkdir',
    '-o',
    '/dev/null',
    'true',
  ]);
  if (error !== undefined) return `there is no strace here (${error.message})`;
  return status === 0 ? undefined : `strace may not trace here: ${stderr.toString().trim()}`;
}

interface Scenario {
  readonly name: string;
  /** What is there before; nothing where it is left out. */
  readonly template?: string;
  readonly done: number;
  readonly ending: 'close' | 'exit' | 'SIGTERM';
  readonly gzipped?: boolean;
}

interface Point {
  readonly call: string;
  readonly when: string;
  readonly blow: Blow;
}

const counted = { runs: 0, killed: 0, failed: 0, survived: 0 };

const why = obstacle();
if (why !== undefined) console.warn(`# skipped: ${why}`);
describe.skipIf(why !== undefined)('D1, D9: at each system call', () => {
  let template = '';
  let templateDone = 0;

  beforeAll(async () => {
    // A folder that a process left in the middle: shards, a log with records, staged files perhaps.
    template = bench.newPath('template');
    const { lines } = await bench.run('stepping', [template, String(STEPS_SEED), '0', '', 'SIGKILL']);
    templateDone = Math.max(...lines.map((line) => Number(/^synced (\d+)$/.exec(line)?.[1] ?? 0)));
    expect(templateDone).toBeGreaterThan(50);
  });

  it.each<[string, () => Scenario]>([
    ['of a first life that ends by closing', () => ({ name: 'first', done: 0, ending: 'close' })],
    [
      'of a life after a kill that ends by exit',
      () => ({ name: 'recovery', template, done: templateDone, ending: 'exit' }),
    ],
    [
      'of a life after a kill that ends by SIGTERM',
      () => ({ name: 'signal', template, done: templateDone, ending: 'SIGTERM' }),
    ],
    ['of a gzipped first life that ends by exit', () => ({ name: 'gzipped', done: 0, ending: 'exit', gzipped: true })],
  ])('%s', async (_name, describeScenario) => {
    const scenario = describeScenario();
    const points = await pointsOf(scenario);
    const random = seededRandom(SEED);
    const chosen = POINTS >= points.length ? points : Array.from({ length: POINTS }, () => random.pick(points));
    const complaints: string[] = [];
    const lanes = Array.from({ length: Math.min(2, cpus().length) }, async () => {
      for (let point = chosen.pop(); point !== undefined; point = chosen.pop()) {
        const complaint = await strike(scenario, point);
        if (complaint !== undefined)
          complaints.push(`${scenario.name}, ${point.call} ${point.when} ${point.blow}: ${complaint}`);
      }
    });
    await Promise.all(lanes);
    expect(complaints).toEqual([]);
  });

  it('prints how many there were', () => {
    const { runs, killed, failed, survived } = counted;
    console.log(
      `# system calls struck: ${runs} (${killed} killed, ${failed} ended with an error, ${survived} went on to the end), seed ${SEED}`,
    );
    expect(runs).toBeGreaterThanOrEqual(4 * Math.min(POINTS, 100));
    expect(killed).toBeGreaterThan(0);
    expect(survived).toBeGreaterThan(0);
  });

  /** Every call that the main thread of an undisturbed life makes once Node has started, with every blow. */
  async function pointsOf(scenario: Scenario): Promise<Point[]> {
    const trace = bench.newPath('trace');
    const folder = prepare(scenario);
    const { code, signal, stderr } = await run(scenario, folder, 'errors', [
      '-e',
      `trace=${CALLS.join(',')}`,
      '-o',
      trace,
    ]);
    expect([code, signal], stderr).toEqual(scenario.ending === 'SIGTERM' ? [null, 'SIGTERM'] : [0, null]);
    const lines = readFileSync(trace, 'utf8').split('\n');
    const main = /^\d+/.exec(lines[0] ?? '')?.[0];
    const counts = new Map<string, number>();
    const points: Point[] = [];
    let begun = false;
    for (const line of lines) {
      const [, pid, call = ''] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
      if (pid !== main) continue;
      counts.set(call, (counts.get(call) ?? 0) + 1);
      begun ||= line.includes('everpod-begins-here');
      if (!begun || (call === 'close' && testSize === 'small')) continue;
      const when = counts.get(call) ?? 0;
      if (call === 'close') {
        // On Linux a close that fails has closed all the same. Strace leaves the call out, and whoever reads from the other end of the pipe
        // that stays open, as Node does when it starts `flock`, waits for ever.
        points.push({ call, when: String(when), blow: 'signal=KILL' });
        continue;
      }
      for (const blow of BLOWS) points.push({ call, when: String(when), blow });
      // Once and for good: from here on, the disk does not work any more.
      if (when % 3 === 0) points.push({ call, when: `${when}+`, blow: 'error=EIO' });
    }
    expect(points.length).toBeGreaterThan(200);
    rmSync(folder, { recursive: true, force: true });
    return points;
  }

  function prepare({ template: from }: Scenario): string {
    const folder = bench.newPath();
    if (from !== undefined) cpSync(from, folder, { recursive: true });
    else mkdirSync(join(folder, '..'), { recursive: true });
    return folder;
  }

  function run({ done, ending, gzipped }: Scenario, folder: string, doubt: string, options: readonly string[]) {
    const args = [
      folder,
      String(STEPS_SEED),
      String(done),
      doubt,
      ending,
      'process',
      gzipped === true ? 'gzipped' : '',
    ];
    return bench.run('stepping', args, { through: ['strace', '-f', '-qq', ...options] });
  }

  /** One life with one blow, and the look at what it left. Returns what is wrong. */
  async function strike(scenario: Scenario, { call, when, blow }: Point): Promise<string | undefined> {
    counted.runs++;
    const folder = prepare(scenario);
    const inject = ['-e', `trace=${call}`, '-e', `inject=${call}:${blow}:when=${when}`, '-o', '/dev/null'];
    const doubt = blow === 'signal=KILL' ? '' : 'errors';
    const { code, signal, lines, stderr } = await run(scenario, folder, doubt, inject);
    const wentOn = code === 0 || (scenario.ending === 'SIGTERM' && signal === 'SIGTERM');
    if (signal === 'SIGKILL') counted.killed++;
    else if (wentOn) counted.survived++;
    else counted.failed++;
    if (signal === 'SIGKILL' && blow !== 'signal=KILL') return `it was killed: ${stderr}`;
    if (code === null && signal !== 'SIGKILL' && !wentOn) return `it died of ${signal}: ${stderr}`;
    const witness = witnessSteps(STEPS_SEED);
    witness.hear(`synced ${scenario.done}`);
    for (const line of lines) witness.hear(line);
    // Who ends well says that everything was saved.
    const last = lines.find((line) => line.startsWith('ending '));
    if (wentOn && last !== undefined) witness.hear(last.replace('ending', 'synced'));
    try {
      // Twice for writing: what the first one mends, the second one must find mended.
      for (const mode of existsSync(join(folder, 'pod.json')) ? (['r', 'w', 'w'] as const) : (['w', 'w'] as const)) {
        const wrong = witness.look(folder, mode);
        if (wrong !== undefined) return wrong;
      }
    } catch (error) {
      return `${String(error)}\n${stderr}`;
    }
    rmSync(folder, { recursive: true, force: true });
    return undefined;
  }
});
