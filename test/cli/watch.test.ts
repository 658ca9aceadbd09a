// Watching a folder from outside: what tail and top say of a run, of its death, and that neither of them touches anything.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { RunWatch } from '../../src/cli/top-state.ts';
import { Follower } from '../../src/disk/follower.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD, ProgressTracker } from '../../src/index.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { builtAddress } from '../bundle.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { type Answer, everpodChild, MAIN } from './everpod.ts';

const temporary = useTemporary();

function trackerAt(path: string, maxTries: number = 2): ProgressTracker {
  return temporary.keep(ProgressTracker.open(path, { maxTries }));
}

function listing(path: string): string[] {
  return readdirSync(path).map((name) => {
    const { size, mtimeMs, ino } = statSync(join(path, name));
    return `${name} ${size} ${mtimeMs} ${ino}`;
  });
}

describe('tail', () => {
  it('says the last records: number, operation, how the task stands, key, value', async () => {
    const path = temporary.path();
    const tasks = trackerAt(path);
    tasks.add('a');
    for (const key of tasks.tryKeys()) tasks.fail(key, new TypeError('no answer'));
    for (const key of tasks.tryKeys()) tasks.markDone(key, { title: 'x' } as object);
    tasks.add('with space\n');
    tasks.abort('with space\n');
    tasks.sync();
    const { code, out, err } = await everpodChild('tail', path);
    expect({ code, err: err.replace(/\d+ records/, 'N records') }).toEqual({
      code: 0,
      err: 'everpod: the log holds N records; what is older is in the shards, without its history.\n',
    });
    const lines = out.split('\n').filter((line) => line !== '');
    expect(lines.map((line) => line.replace(/^\d+ +/, ''))).toEqual([
      'set    try 1    a  {}',
      'set    try 2    a  TypeError: no answer',
      'set    done     a  {"title":"x"}',
      'set    aborted  "with space\\n"  {}',
    ]);
    expect((await everpodChild('tail', path, '-n', '1')).out).toContain('aborted');
    const rows = (await everpodChild('tail', path, '-n', '2', '--json')).out.trim().split('\n');
    expect(JSON.parse(rows[0] as string)).toMatchObject({
      operation: 'set',
      key: 'a',
      task: 'done',
      value: { title: 'x' },
    });
  });

  it('tells a pod of other values as what it is, and lets nothing through that a terminal obeys', async () => {
    const path = temporary.path();
    const pod = temporary.keep(POD.open(path));
    pod.set('k', '\u009B31m\u202Eevil');
    pod.delete('k');
    pod.set('l', 'x'.repeat(200));
    pod.sync();
    pod.transaction(() => pod.clear());
    pod.sync();
    const { out } = await everpodChild('tail', path);
    expect(out).not.toMatch(/[\u0080-\u009F\u202A-\u202E]/);
    expect(out).toMatch(/set {4}l {2}"x{78}…\n/);
    expect(out).toMatch(/\d+ {2}clear\n$/);
  });

  it('follows with -f until Ctrl-C, and then all is well', async () => {
    const path = temporary.path();
    const tasks = trackerAt(path);
    const child = start('tail', path, '-f');
    await child.said('the log holds');
    tasks.add('later');
    tasks.sync();
    await child.said('later');
    child.process.kill('SIGINT');
    expect(await child.ended).toMatchObject({ code: 0 });
  });

  it('says what is wrong with its options and its path', async () => {
    const path = temporary.path();
    temporary.keep(POD.open(path));
    expect(await everpodChild('tail', path, '-n', 'some')).toMatchObject({ code: 2, out: '' });
    expect((await everpodChild('tail', `${path}x`)).err).toContain('ERR_POD_NOT_FOUND');
  });
});

describe('top', () => {
  it('gives one picture where there is no terminal, of a program at work', async () => {
    const path = temporary.path();
    const tasks = trackerAt(path);
    for (let n = 0; n < 10; n++) tasks.add(`https://h${n % 2}.example/${n}`);
    let done = 0;
    for (const key of tasks.tryKeys()) {
      if (done++ < 5) tasks.markDone(key);
      else if (done === 7) tasks.fail(key, new Error('no answer from 10.0.0.1'));
      if (done === 8) break;
    }
    tasks.abort('https://h1.example/9');
    tasks.sync();
    const { code, out, err } = await everpodChild('top', path, '--interval', '0.1');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(`process ${process.pid}`);
    expect(out).toContain('60 % of 10 known');
    expect(out).toContain('5 done, 4 to do (1 failed before), 1 aborted');
    expect(out).toContain('too early to tell');
    expect(out).toContain('IN FLIGHT 2, age as watched; > is since before it was watched');
    expect(out).toContain('https://h1.example/5');
    expect(out).toMatch(/FAILURES of 1 kind\n +1 {2}E[0-9a-f]{6} {2}Error: no answer from <n>/);
    expect(out).not.toContain('\u001B');
    const json = JSON.parse((await everpodChild('top', path, '--json', '--interval', '0.1')).out);
    expect(json).toMatchObject({ done: 5, todo: 4, failing: 1, aborted: 1, total: 10, inFlight: 2, failureKinds: 1 });
    expect(json.process).toMatchObject({ state: 'open', pid: process.pid });
    expect(json.eta).toEqual({ state: 'early' });
  });

  it('says how the process ended (killed, by a signal, closed), and touches nothing', async () => {
    const path = temporary.path();
    const index = builtAddress('src/index.ts');
    const code = (end: string): string =>
      `import { ProgressTracker } from ${JSON.stringify(index)};
      const tasks = ProgressTracker.open(${JSON.stringify(path)});
      tasks.addManyIfAbsent(['a', 'b']);
      for (const key of tasks.tryKeys()) break;
      tasks.sync();
      ${end}`;
    const endings: [string, RegExp][] = [
      ['process.kill(process.pid, "SIGKILL")', /KILLED .*: process \d+ on /],
      ['process.kill(process.pid, "SIGTERM"); setTimeout(() => {}, 5000)', /ENDED: process \d+ on .* by SIGTERM/],
      ['process.exit(3)', /ENDED: process \d+ on .* by exit 3/],
      ['tasks.close()', /no process has it open; the last one closed it/],
    ];
    for (const [end, words] of endings) {
      spawnSync(process.execPath, ['--input-type=module', '-e', code(end)], { encoding: 'utf8' });
      const before = listing(path);
      const { out } = await everpodChild('top', path);
      expect(listing(path)).toEqual(before);
      expect(out).toMatch(words);
      expect(out).toContain('nothing is at work on what is left');
      expect(out).toContain('HANDED OUT, NO WORD');
    }
  });

  it('refuses a pod of other values, and a time that is none', async () => {
    const path = temporary.path();
    temporary.keep(POD.open(path)).set('a', 1);
    expect((await everpodChild('top', path)).err).toContain('must be a tracker');
    const tasks = temporary.path();
    trackerAt(tasks);
    expect((await everpodChild('top', tasks, '--interval', '0')).err).toContain('at least 0.05');
  });

  it('tells damage and not a stack', async () => {
    const path = temporary.path();
    trackerAt(path).close();
    writeFileSync(join(path, 'pod.json'), 'x');
    const { code, err } = await everpodChild('top', path);
    expect(code).toBe(1);
    expect(err).toContain('ERR_POD_CORRUPT');
  });
});

describe('what top knows', () => {
  it('counts as the tracker itself does, whatever is done to it', () => {
    const path = temporary.path();
    const tasks = trackerAt(path);
    const clock = new ManualClock();
    const watch = new RunWatch(new Follower(nodeSystem, path), clock, 1_000);
    const same = (): void => {
      tasks.sync();
      watch.look();
      const { total, done, todo, failed, exhausted, aborted } = tasks.stats();
      expect(watch.picture()).toMatchObject({ total, done, todo, failed, exhausted, aborted });
      const classes = tasks.errorClasses().map(({ id, count }) => ({ id, count }));
      expect(watch.picture().failures.map(({ id, count }) => ({ id, count }))).toEqual(classes);
    };
    same();
    tasks.addMany(['a', 'b', 'c', 'd', 'e']);
    same();
    for (const key of tasks.tryKeys()) if (key !== 'a') tasks.fail(key, new Error(`key ${key.length}`));
    same();
    for (const key of tasks.tryKeys()) key === 'b' ? tasks.markDone(key) : tasks.fail(key, new TypeError('other'));
    same();
    tasks.abort('d');
    same();
    tasks.maxTries = 5;
    same();
    tasks.retry();
    same();
    tasks.compact();
    tasks.delete('a');
    same();
    tasks.clear();
    same();
  });

  it('measures how long hosts take, from handed out to the word of how it went, and who is in flight', () => {
    const path = temporary.path();
    const tasks = trackerAt(path, 0);
    for (const key of ['https://slow.example/1', 'https://fast.example/1', 'https://slow.example/2', 'no address'])
      tasks.add(key);
    tasks.shouldTry('https://slow.example/2');
    const clock = new ManualClock();
    const watch = new RunWatch(new Follower(nodeSystem, path), clock, 1_000);
    watch.look();
    for (const key of ['https://slow.example/1', 'https://fast.example/1', 'no address']) tasks.shouldTry(key);
    watch.look();
    clock.advance(1_000);
    tasks.markDone('https://fast.example/1');
    tasks.markDone('no address');
    tasks.sync();
    watch.look();
    clock.advance(4_000);
    tasks.fail('https://slow.example/1', 'timeout');
    tasks.sync();
    watch.look();
    const { hosts, flights } = watch.picture();
    expect(hosts).toEqual([
      { host: 'slow.example', count: 1, meanMs: 5_000, longestMs: 5_000 },
      { host: 'fast.example', count: 1, meanMs: 1_000, longestMs: 1_000 },
    ]);
    expect(flights).toEqual([{ key: 'https://slow.example/2', ageMs: 5_000, isOlder: true }]);
  });
});

function start(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let heard = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
    });
  }
  const ended = new Promise<Pick<Answer, 'code'>>((resolve) => child.once('close', (code) => resolve({ code })));
  const said = async (text: string): Promise<void> => {
    for (let tries = 0; !heard.includes(text); tries++) {
      if (tries > 400) throw new Error(`Never said ${text}: ${heard}`);
      await sleep(50);
    }
  };
  return { process: child, ended, said };
}
