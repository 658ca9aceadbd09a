import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeFileSystem } from '../../src/disk/fs.ts';
import { systemLocks } from '../../src/disk/lock.ts';
import { recoverFolder } from '../../src/disk/recovery.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD, PodError } from '../../src/index.ts';
import { testSize } from '../size.ts';
import { type Child, useBench } from './built.ts';

const bench = useBench();

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly info: { readonly pid?: number; readonly host?: string; readonly since?: string };
}

/** What a process hears that may not have the lock. */
async function refusal(child: Child): Promise<Refusal> {
  return JSON.parse(await child.said('{'));
}

async function holder(folder: string, method = '', through: readonly string[] = []): Promise<Child> {
  const child = bench.start('holder', [folder, method], { through });
  await child.said('held');
  return child;
}

async function kill(child: Child): Promise<void> {
  child.process.kill('SIGKILL');
  await child.finished;
}

/** Runs a step that must throw an error of the library, and gives it back. */
function refused(step: () => unknown): PodError {
  try {
    step();
  } catch (error) {
    if (error instanceof PodError) return error;
    throw error;
  }
  throw new Error('It was let in.');
}

describe.concurrent('a folder that a process has open', () => {
  it('is refused to a second one, with who has it and what to do', async () => {
    const folder = bench.newPath();
    const startedMs = Date.now();
    const first = await holder(folder);
    const { code, message, info } = await refusal(bench.start('holder', [folder]));
    expect(code).toBe('ERR_POD_LOCKED');
    expect(info).toMatchObject({ pid: first.pid, host: hostname() });
    const sinceMs = Date.parse(info.since ?? '');
    expect(sinceMs).toBeGreaterThanOrEqual(startedMs);
    expect(sinceMs).toBeLessThanOrEqual(Date.now());
    expect(message).toContain(`process ${first.pid} on ${hostname()}, since ${info.since}`);
    expect(message).toContain("mode: 'r'");
    await kill(first);
  });

  it('can be read meanwhile', async () => {
    const folder = bench.newPath();
    const first = await holder(folder);
    const reader = POD.open<number>(folder, { mode: 'r' });
    expect([...reader]).toEqual([['held', first.pid]]);
    reader.close();
    await kill(first);
  });

  it('D29: is free the moment its owner is killed, again and again', { timeout: 3_600_000 }, async () => {
    const folder = bench.newPath();
    for (let round = 0; round < { small: 3, ci: 50, long: 250 }[testSize]; round++) {
      const owner = await holder(folder);
      await kill(owner);
      const pod = POD.open<number>(folder);
      expect([...pod]).toEqual([['held', owner.pid]]);
      expect(pod.recovery).toMatchObject({ ended: 'killed', previous: { pid: owner.pid, host: hostname() } });
      pod.close();
    }
  });

  it('D29: is not kept by a child that lives on after its parent was killed', async () => {
    const folder = bench.newPath();
    const host = bench.start('orphan-host', [folder]);
    const child = Number((await host.said('child ')).slice('child '.length));
    try {
      await kill(host);
      expect(process.kill(child, 0)).toBe(true);
      const pod = POD.open<number>(folder);
      expect(pod.get('held')).toBe(1);
      pod.close();
    } finally {
      process.kill(child, 'SIGKILL');
    }
  });

  it('stays with an owner that is stopped', async () => {
    const folder = bench.newPath();
    const first = await holder(folder);
    first.process.kill('SIGSTOP');
    expect(await refusal(bench.start('holder', [folder]))).toMatchObject({
      code: 'ERR_POD_LOCKED',
      info: { pid: first.pid },
    });
    first.process.kill('SIGCONT');
    expect(await refusal(bench.start('holder', [folder]))).toMatchObject({ code: 'ERR_POD_LOCKED' });
    await kill(first);
  });

  it('D28: is refused to another thread, which is told that it is the same process', async () => {
    const { lines } = await bench.run('lock-worker', [bench.newPath()]);
    const [whileOpen, afterClose, whileWorker, afterWorker] = lines;
    expect(whileOpen).toMatch(/^ERR_POD_LOCKED: .*this process itself \(pid \d+: another thread/);
    expect(afterClose).toBe('opened, closed');
    expect(whileWorker).toMatch(/^ERR_POD_LOCKED: .*this process itself \(pid \d+: another thread/);
    expect(afterWorker).toBe('opened, killed'); // The worker was terminated without a word.
  });

  it('is never written by two copies of the library', async () => {
    bench.copyBuilt('copy');
    const folder = bench.newPath();
    const copies = [bench.built('src/index.js'), bench.built('src/index.js', 'copy')];
    const { lines } = await bench.run('two-copies', [folder, ...copies]);
    expect(lines).toEqual([
      'different: true',
      'opened, n = 1',
      'ERR_POD_LOCKED',
      'read, n = 1',
      // Closed by the first, it is open to the second.
      'opened, n = 2',
      'ERR_POD_LOCKED',
    ]);
  });
});

const hasPidNamespaces = spawnSync('unshare', ['-pf', '--mount-proc', 'true']).status === 0;
if (!hasPidNamespaces) console.warn('Containers are not tested: unshare may not make a pid namespace here.');
describe.skipIf(!hasPidNamespaces).each(['', 'pidfile'])('two containers on one folder (method "%s")', (method) => {
  const through = ['unshare', '-pf', '--mount-proc', '--kill-child'];

  it('keep each other out, although both are process 1 of the same host', async () => {
    const folder = bench.newPath();
    mkdirSync(folder);
    const first = await holder(folder, method, through);
    const second = await refusal(bench.start('holder', [folder, method], { through }));
    expect(second).toMatchObject({ code: 'ERR_POD_LOCKED', info: { pid: 1, host: hostname() } });
    expect(second.message).toContain(`process 1 on ${hostname()}`);
    expect(await refusal(bench.start('holder', [folder, method]))).toMatchObject({ code: 'ERR_POD_LOCKED' });
    await kill(first);
  });
});

describe('a race for one folder', () => {
  const racers = testSize === 'small' ? 20 : 50;

  async function race(method: string, attempts: number, killedAtWin: number): Promise<{ wins: number; lost: number }> {
    const folder = bench.newPath('race');
    if (method !== 'pod') mkdirSync(folder);
    const args = [folder, method, String(attempts), String(killedAtWin)];
    const children = Array.from({ length: racers }, () => bench.start('racer', args));
    await Promise.all(children.map((child) => child.said('ready')));
    writeFileSync(`${folder}.go`, '');
    let wins = 0;
    let lost = 0;
    for (const child of children) {
      const { lines, signal, code, stderr } = await child.finished;
      const last = lines.at(-1) ?? '';
      if (killedAtWin > 0 && last.startsWith('killed')) {
        expect(signal).toBe('SIGKILL');
        wins += killedAtWin;
        continue;
      }
      expect({ code, stderr, said: lines.slice(0, -1) }).toEqual({ code: 0, stderr: '', said: ['ready'] });
      const counts = JSON.parse(last) as { wins: number; refusals: number; unnamed: number };
      expect(counts.wins + counts.refusals).toBe(attempts);
      expect(counts.unnamed).toBe(0); // Every refusal says who has it.
      wins += counts.wins;
      lost += counts.refusals;
    }
    return { wins, lost };
  }

  const rounds = { small: 1, ci: 5, long: 25 }[testSize];

  it('for a pod that does not exist yet never has two winners', { timeout: 3_600_000 }, async () => {
    for (let round = 0; round < rounds; round++) {
      const { wins, lost } = await race('pod', 4, 0);
      expect(wins).toBeGreaterThan(0);
      expect(lost).toBeGreaterThan(0);
    }
  });

  it.each(['flock', 'pidfile'])(
    'of locks never has two holders, whether they let go or die (%s)',
    { timeout: 3_600_000 },
    async (method) => {
      for (let round = 0; round < rounds; round++) {
        const { wins, lost } = await race(method, 12, 2);
        expect(wins).toBeGreaterThan(0);
        expect(lost).toBeGreaterThan(0);
      }
    },
  );

  it('for making the folder is lost without an error', () => {
    const folder = bench.newPath();
    const fs = {
      ...nodeFileSystem,
      // Somebody else is faster, each time.
      mkdir: (path: string) => {
        mkdirSync(path);
        nodeFileSystem.mkdir(path);
      },
    };
    const path = join(folder, 'below');
    const { opened, lock } = recoverFolder({ ...nodeSystem, fs }, path, { fileSize: 10, gzip: false, meta: {} });
    opened.log.retire();
    lock.release('closed');
    expect(readdirSync(path)).toContain('pod.json');
  });
});

describe('what lies in the lock file', () => {
  const dead = spawnSync('true').pid;

  it.each([
    [
      'a dead process',
      `pid: ${dead}\nhost: ${hostname()}\nboot id: x\nstart time: 1\nsince: 2020-01-01T00:00:00.000Z\n`,
    ],
    [
      'a process of another host',
      'pid: 1\nhost: elsewhere\nboot id: x\nstart time: 1\nsince: 2020-01-01T00:00:00.000Z\n',
    ],
    ['this process', `pid: ${process.pid}\nhost: ${hostname()}\nboot id: x\nstart time: 1\nsince: 2020\n`],
    ['nonsense', '\0\xff{"pid": 1}\n\n'],
    ['a great deal', 'pid: 7\n'.repeat(100_000)],
  ])('never blocks: %s', (_name, text) => {
    const folder = bench.newPath();
    POD.open<number>(folder).set('a', 1).close();
    writeFileSync(join(folder, 'lock'), text);
    const pod = POD.open<number>(folder);
    expect([...pod]).toEqual([['a', 1]]);
    const { pid } = pod.recovery.previous ?? {};
    const named = /^pid: (\d+)/.exec(text)?.[1];
    expect(pid).toBe(named === undefined ? undefined : Number(named));
    const now = readFileSync(join(folder, 'lock'), 'utf8');
    expect(now).toContain(`pid: ${process.pid}\nhost: ${hostname()}\n`);
    expect(now.length).toBeLessThan(400);
    pod.close();
    expect(readFileSync(join(folder, 'lock'), 'utf8')).toBe('');
  });
});

describe('where the kernel gives no lock (method pidfile)', () => {
  const locks = systemLocks('pidfile');

  function newFolder(): string {
    const folder = bench.newPath();
    mkdirSync(folder);
    return folder;
  }

  /** Puts down what an owner would have, with some of its lines replaced. */
  async function leaveBehind(folder: string, lines: Readonly<Record<string, string>>): Promise<void> {
    const owner = await holder(folder, 'pidfile');
    const name = readdirSync(folder).find((each) => each.startsWith('lock.held.')) ?? '';
    let text = readFileSync(join(folder, name), 'utf8');
    for (const [field, value] of Object.entries(lines)) {
      const changed = text.replace(new RegExp(`^${field}: .*$`, 'm'), `${field}: ${value}`);
      expect(changed).not.toBe(text);
      text = changed;
    }
    await kill(owner);
    writeFileSync(join(folder, name), text);
  }

  it('an owner that is alive has it', async () => {
    const folder = newFolder();
    const owner = await holder(folder, 'pidfile');
    const { code, info } = refused(() => locks.acquire(folder));
    expect({ code, info }).toMatchObject({ code: 'ERR_POD_LOCKED', info: { pid: owner.pid, host: hostname() } });
    await kill(owner);
  });

  it('an owner that was killed does not', async () => {
    const folder = newFolder();
    const owner = await holder(folder, 'pidfile');
    await kill(owner);
    const lock = locks.acquire(folder);
    expect(lock.previous?.pid).toBe(owner.pid);
    lock.release('closed');
    expect(readdirSync(folder)).toEqual(['lock']);
    expect(readFileSync(join(folder, 'lock'), 'utf8')).toBe('');
  });

  it('a zombie does not', async () => {
    const folder = newFolder();
    // The shell becomes a program that never reaps its children.
    const script = '"$@" & exec sleep 1000';
    const program = [process.execPath, bench.built('test/process/children/holder.js'), folder, 'pidfile'];
    const parent = spawn('sh', ['-c', script, 'sh', ...program], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [said] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(/^held by (\d+)/.exec(said.toString())?.[1]);
      process.kill(pid, 'SIGKILL');
      await expect.poll(() => readFileSync(`/proc/${pid}/stat`, 'latin1')).toMatch(/\) Z /);
      const lock = locks.acquire(folder);
      expect(lock.previous?.pid).toBe(pid);
      lock.release('closed');
    } finally {
      parent.kill('SIGKILL');
    }
  });

  it('an owner on another host has it: nobody here can tell whether it is alive', async () => {
    const folder = newFolder();
    await leaveBehind(folder, { host: 'elsewhere' });
    const { code, message } = refused(() => locks.acquire(folder));
    expect(code).toBe('ERR_POD_LOCKED');
    expect(message).toContain('on elsewhere, since');
  });

  it('an owner in a pid namespace we cannot see into has it', async () => {
    const folder = newFolder();
    await leaveBehind(folder, { 'pid namespace': 'pid:[1]' });
    expect(refused(() => locks.acquire(folder)).code).toBe('ERR_POD_LOCKED');
  });

  it('an owner of another boot does not, even if its pid is in use', async () => {
    const folder = newFolder();
    await leaveBehind(folder, { 'boot id': 'another', pid: '1' });
    locks.acquire(folder).release('closed');
  });

  it('an owner whose pid was given to another process does not', async () => {
    const folder = newFolder();
    await leaveBehind(folder, { pid: String(process.pid) });
    locks.acquire(folder).release('closed');
  });

  it('a file that a power cut emptied does not', () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'lock.held.0123456789abcdef'), '');
    locks.acquire(folder).release('open');
    expect(readdirSync(folder)).toEqual(['lock']);
  });

  it('another thread of this process does, and is told so', () => {
    const folder = newFolder();
    const lock = locks.acquire(folder);
    expect(lock.isIntact()).toBe(true);
    const error = refused(() => locks.acquire(folder));
    expect(error.message).toContain(`this process itself (pid ${process.pid}: another thread`);
    lock.release('open');
    expect(locks.acquire(folder).previous?.pid).toBe(process.pid);
  });

  it('an owner whose file was removed by hand knows it', () => {
    const folder = newFolder();
    const lock = locks.acquire(folder);
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
    expect(lock.isIntact()).toBe(false);
  });
});
