// backup, restore and copy as command lines, run in this process: what they answer, what they write, what they refuse and leave alone.
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { POD, ProgressTracker } from '../../src/index.ts';
import { clock, fastSystem } from '../tracker/fast-system.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { type Answer, everpod } from './everpod.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();
const FIXTURES = fileURLToPath(new URL('../fixtures/tastypy/', import.meta.url));

/** Eight entries in shards of three with a gap, and changes that are in the log: what a killed process leaves. */
function killedPod(gzipped: boolean = false): string {
  const path = temporary.path('made.pod');
  const init = Array.from({ length: 9 }, (_, n): [string, unknown] => [`k${n}`, { n, text: `é "${n}"\t\\` }]);
  POD.open<unknown>(path, { init, fileSize: 3, gzipped }).close();
  const pod = temporary.keep(POD.open<unknown>(path));
  for (const key of ['k3', 'k4', 'k5']) pod.delete(key);
  pod.set('k1', 'changed');
  pod.set('k9', 'new');
  pod.sync();
  const copy = temporary.copy(path);
  pod.close();
  return copy;
}

function entriesOf(path: string): [unknown, unknown][] {
  const pod = POD.open<unknown>(path, { mode: 'r' });
  const entries = JSON.parse(JSON.stringify([...pod])) as [unknown, unknown][];
  pod.close();
  return entries;
}

/** Every file in a folder with its bytes. */
function filesOf(path: string): Record<string, string> {
  const names = readdirSync(path, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  return Object.fromEntries(
    names.map(({ parentPath, name }) => [join(parentPath, name), readFileSync(join(parentPath, name), 'latin1')]),
  );
}

function manifestOf(path: string): { id: string; fileSize: number; gzip: boolean; meta?: object } {
  return (JSON.parse(readFileSync(join(path, 'pod.json'), 'utf8')) as { pod: never }).pod;
}

function done({ code, out, err }: Answer): string {
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out;
}

function refused({ code, err }: Answer, word: string | RegExp): void {
  expect(code).toBe(2);
  expect(err).toMatch(word);
}

describe('backup', () => {
  it.each([false, true])('writes the same pod and leaves the first as it is (gzipped: %s)', (gzipped) => {
    const path = killedPod(gzipped);
    const before = filesOf(path);
    const target = temporary.path();
    expect(done(everpod('backup', path, target))).toBe(`${target}: a backup of 7 entries.\n`);
    expect(filesOf(path)).toEqual(before);
    expect(entriesOf(target)).toEqual(entriesOf(path));
    const { id, fileSize, gzip } = manifestOf(target);
    expect({ id, fileSize, gzip }).toEqual({ id: manifestOf(path).id, fileSize: 3, gzip: gzipped });
    // The gap stays where it was, and a file that nothing changed is the same file.
    const end = gzipped ? '.json.gz' : '.json';
    expect(readdirSync(target).sort()).toEqual([`0${end}`, `2${end}`, `3${end}`, 'pod.json', 'wal-000001.jsonl']);
    expect(readFileSync(join(target, `2${end}`)).equals(readFileSync(join(path, `2${end}`)))).toBe(true);
    expect(done(everpod('verify', target))).toContain('7 entries');
  });

  it('keeps what a tracker is, and can be opened as one', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path, { maxTries: 4 });
    tracker.addMany(['a', 'b']);
    tracker.markDone('a');
    const target = temporary.path();
    // Beside the program that has it open.
    tracker.sync();
    done(everpod('backup', path, target));
    tracker.close();
    const copy = temporary.keep(ProgressTracker.open(target, { mode: 'r' }));
    expect([copy.maxTries, copy.done('a'), copy.done('b')]).toEqual([4, true, false]);
  });

  it('answers in JSON', () => {
    const target = temporary.path();
    const out = done(everpod('backup', killedPod(), target, '--json'));
    expect(JSON.parse(out)).toEqual({ path: target, entries: 7, removed: [], left: [] });
  });

  it('takes an empty folder, and the folder behind a link', () => {
    const path = killedPod();
    const real = temporary.path();
    mkdirSync(real, { recursive: true });
    const link = temporary.path('link');
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(real, link);
    done(everpod('backup', path, link));
    expect(entriesOf(real)).toEqual(entriesOf(path));
    expect(everpod('backup', path, real).code).toBe(2);
  });

  it('refuses a folder that holds something, and touches nothing in it', () => {
    const path = killedPod();
    const target = temporary.path();
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, 'notes.txt'), 'mine');
    refused(everpod('backup', path, target), /ERR_POD_OPTIONS.*not empty/);
    expect(filesOf(target)).toEqual({ [join(target, 'notes.txt')]: 'mine' });
    refused(everpod('backup', path, join(target, 'notes.txt')), 'ERR_POD_NOT_FOLDER');
    refused(everpod('backup', path, join(target, 'notes.txt', 'below')), 'ERR_POD_NOT_FOLDER');
  });

  it.each(['backup', 'copy'])('%s: refuses the pod itself and what lies in it, by whatever path', (command) => {
    const path = killedPod();
    const before = filesOf(path);
    const link = temporary.path('link');
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(path, link);
    for (const target of [
      path,
      `${path}/`,
      link,
      join(path, 'inside'),
      join(link, 'a', 'b'),
      join(path, '..', basename(path)),
    ]) {
      refused(everpod(command, path, target), /ERR_POD_OPTIONS.*(same folder|lies in it)/);
      if (command === 'backup') refused(everpod(command, path, target, '--keep', '2'), /(same folder|lies in it)/);
    }
    expect(filesOf(path)).toEqual(before);
    // Beside it, with a name that begins like it, is not in it.
    done(everpod(command, path, `${path}-copy`));
  });

  it.each(['backup', 'copy'])(
    '%s: refuses a damaged pod, one that is missing and what is none, and leaves nothing',
    (command) => {
      const path = killedPod();
      appendFileSync(join(path, '0.json'), '"x"\t1\n');
      const target = temporary.path();
      const answer = everpod(command, path, target);
      expect(answer.code).toBe(1);
      expect(answer.err).toMatch(/ERR_POD_CORRUPT.*0\.json/);
      refused(everpod(command, temporary.path(), target), 'ERR_POD_NOT_FOUND');
      const empty = temporary.path();
      mkdirSync(empty, { recursive: true });
      refused(everpod(command, empty, target), 'ERR_POD_NOT_FOUND');
      refused(everpod(command, join(path, 'pod.json'), target), 'ERR_POD_NOT_FOLDER');
      expect(existsSync(target)).toBe(false);
    },
  );

  it('takes over a folder of tastypy, without changing it', () => {
    const path = temporary.path();
    cpSync(join(FIXTURES, 'plain.pod'), path, { recursive: true });
    const before = filesOf(path);
    const target = temporary.path();
    done(everpod('backup', path, target));
    expect(filesOf(path)).toEqual(before);
    expect(entriesOf(target)).toEqual(entriesOf(path));
    refused(everpod('backup', path, temporary.path(), '--keep', '2'), 'ERR_POD_UNSUPPORTED');
  });

  it('says on standard error what takes long', () => {
    const cost = clock.readingCostMs;
    clock.readingCostMs = 1_500;
    const answer = everpod('backup', killedPod(), temporary.path());
    clock.readingCostMs = cost;
    expect(answer.code).toBe(0);
    expect(answer.err).toMatch(/^everpod backup: \d of 7 entries written\n/);
  });
});

describe('backup --keep', () => {
  function backUp(path: string, series: string, keep: number): string {
    clock.advance(60_000);
    const { out, code } = everpod('backup', path, series, '--keep', String(keep), '--json');
    expect(code).toBe(0);
    return basename((JSON.parse(out) as { path: string }).path);
  }

  it('names backups by the time, and removes all but the newest', () => {
    const path = killedPod();
    const series = temporary.path();
    const names = Array.from({ length: 4 }, () => backUp(path, series, 2));
    expect(readdirSync(series)).toEqual(names.slice(2));
    expect(names[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$/);
    for (const name of names.slice(2)) expect(entriesOf(join(series, name))).toEqual(entriesOf(path));
    expect(names.at(-1)).toBe(`${new Date(clock.now()).toISOString().slice(0, 19).replaceAll(':', '-')}Z`);
    // Two in one second.
    const out = done(everpod('backup', path, series, '--keep', '2'));
    expect(out).toContain(`${names[3]}-2: a backup of 7 entries.\nRemoved: ${names[2]}.\n`);
  });

  it('never removes the one that was just made, whatever the clock says', () => {
    const path = killedPod();
    const series = temporary.path();
    const [late = ''] = [backUp(path, series, 3)];
    const early = vi.spyOn(fastSystem.clock, 'now').mockReturnValue(0);
    const { out } = everpod('backup', path, series, '--keep', '1', '--json');
    early.mockRestore();
    expect(JSON.parse(out)).toMatchObject({ path: join(series, '1970-01-01T00-00-00Z'), removed: [late] });
    expect(readdirSync(series)).toEqual(['1970-01-01T00-00-00Z']);
  });

  it('removes what a kill left of the first step of one, the beginning of its receipt', () => {
    const path = killedPod();
    const series = temporary.path();
    const whole = backUp(path, series, 2);
    const beginnings = ['.backup.json.0123456789abcdef.tmp', '.backup.json.0123456789abcdef.tmp.3051478093'];
    const leave = (name: string, ...files: string[]): void => {
      mkdirSync(join(series, name));
      for (const file of files) writeFileSync(join(series, name, file), '');
    };
    leave('2001-01-01T00-00-00Z', beginnings[0] as string);
    leave('2002-02-02T00-00-00Z', 'lock', beginnings[1] as string);
    leave('2003-03-03T00-00-00Z', beginnings[0] as string, '0.json');
    leave('2004-04-04T00-00-00Z', 'lock');
    leave('monday', beginnings[0] as string);
    const next = backUp(path, series, 2);
    expect(readdirSync(series)).toEqual(['2003-03-03T00-00-00Z', '2004-04-04T00-00-00Z', whole, next, 'monday']);
  });

  it('never removes what it did not make, or what somebody has changed', () => {
    const path = killedPod();
    const series = temporary.path();
    const names = Array.from({ length: 5 }, () => backUp(path, series, 9));
    const [written = '', noted = '', renamed = '', linked = '', read = ''] = names;
    const pod = POD.open<unknown>(join(series, written));
    pod.set('mine', 1);
    pod.close();
    writeFileSync(join(series, noted, 'notes.txt'), 'mine');
    renameSync(join(series, renamed), join(series, '2001-01-01T00-00-00Z'));
    const elsewhere = temporary.path();
    mkdirSync(dirname(elsewhere), { recursive: true });
    renameSync(join(series, linked), elsewhere);
    symlinkSync(elsewhere, join(series, linked));
    // Opened to look, in the mode that is the default, and nothing was written.
    POD.open(join(series, read)).close();
    const other = killedPod();
    const others = backUp(other, series, 9);
    mkdirSync(join(series, '2002-02-02T00-00-00Z'));
    POD.open(join(series, '2003-03-03T00-00-00Z'), { init: [['a', 1]] }).close();
    mkdirSync(join(series, 'monday'));
    writeFileSync(join(series, '2004-04-04T00-00-00Z'), 'a file');
    const before = readdirSync(series);

    clock.advance(60_000);
    const answer = everpod('backup', path, series, '--keep', '1');
    expect(answer.code).toBe(0);
    expect(answer.err).toBe(
      `everpod backup: ${written} was left alone: it was written to.\n` +
        `everpod backup: ${noted} was left alone: it holds notes.txt, which no backup wrote.\n`,
    );
    expect(answer.out).toMatch(new RegExp(`Removed: ${read}\\.\n$`));
    const after = readdirSync(series);
    expect(before.filter((name) => !after.includes(name))).toEqual([read]);
    expect(after).toContain(others);
    expect(entriesOf(join(series, written)).at(-1)).toEqual(['mine', 1]);
    expect(existsSync(join(elsewhere, 'pod.json'))).toBe(true);
  });

  it('leaves one alone that a program has open', () => {
    const path = killedPod();
    const series = temporary.path();
    const name = backUp(path, series, 1);
    const pod = temporary.keep(POD.open(join(series, name)));
    clock.advance(60_000);
    const answer = everpod('backup', path, series, '--keep', '1');
    expect(answer).toMatchObject({ code: 0, err: `everpod backup: ${name} was left alone: a program has it open.\n` });
    expect(pod.size).toBe(7);
  });

  it('removes what a backup that was killed has left', () => {
    const path = killedPod();
    const series = temporary.path();
    const name = backUp(path, series, 3);
    rmSync(join(series, name, 'pod.json'));
    renameSync(join(series, name, '0.json'), join(series, name, '.0.json.g1'));
    const next = backUp(path, series, 3);
    expect(readdirSync(series)).toEqual([next]);
  });

  it('refuses a number that is none, a pod for the folder, and a damaged source before anything is removed', () => {
    const path = killedPod();
    const series = temporary.path();
    for (const keep of ['0', '-1', 'x', '1.5'])
      refused(everpod('backup', path, series, '--keep', keep), /"keep" must be/);
    refused(everpod('backup', path, killedPod(), '--keep', '3'), /is a pod/);
    const name = backUp(path, series, 1);
    appendFileSync(join(path, '0.json'), 'x');
    expect(everpod('backup', path, series, '--keep', '1').code).toBe(1);
    expect(readdirSync(series)).toEqual([name]);
  });
});

describe('restore', () => {
  function beside(path: string): string[] {
    return readdirSync(dirname(path))
      .filter((name) => name.startsWith(`${basename(path)}.`))
      .map((name) => join(dirname(path), name));
  }

  function pod(entries: [string, unknown][], options: object = {}): string {
    const path = temporary.path();
    POD.open<unknown>(path, { init: entries, fileSize: 2, ...options }).close();
    return path;
  }

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])('puts the backup in the place of a pod and keeps that one beside it (gzipped: %s, then %s)', (before, after) => {
    const backup = killedPod(after);
    const old = Array.from({ length: 11 }, (_, n): [string, unknown] => [`old${n}`, n]);
    const path = pod(old, { gzipped: before });
    mkdirSync(join(path, 'quarantine'));
    writeFileSync(join(path, 'notes.txt'), 'mine');
    const source = filesOf(backup);
    const out = done(everpod('restore', backup, path));
    const [kept = '', ...more] = beside(path);
    expect(more).toEqual([]);
    expect(basename(kept)).toMatch(/\.before-restore-[\d-]+T[\d-]+Z$/);
    expect(out).toBe(`${path}: restored, 7 entries.\nWhat was there before is in ${kept}.\n`);
    expect(entriesOf(path)).toEqual(entriesOf(backup));
    expect(entriesOf(kept)).toEqual(old);
    expect(filesOf(backup)).toEqual(source);
    expect(manifestOf(path)).toMatchObject({ id: manifestOf(backup).id, fileSize: 3, gzip: after });
    // What is nobody's stays, and nothing else is left over.
    const end = after ? '.json.gz' : '.json';
    expect(readdirSync(path).filter((name) => name !== 'lock')).toEqual([
      `0${end}`,
      `2${end}`,
      `3${end}`,
      'notes.txt',
      'pod.json',
      'quarantine',
      expect.stringMatching(/^wal-/),
    ]);
    const opened = POD.open<unknown>(path);
    expect(opened.recovery).toMatchObject({ ended: 'closed', quarantined: [], droppedBytes: 0 });
    opened.set('more', 1);
    opened.close();
    expect(entriesOf(path)).toHaveLength(8);
    expect(entriesOf(kept)).toEqual(old);
  });

  it.each(['pod.json', '0.json', 'wal-000002.jsonl'])('heals a pod whose %s is damaged, or gone', (file) => {
    const backup = killedPod();
    for (const harm of [(at: string) => writeFileSync(at, 'x\n'), (at: string) => rmSync(at)]) {
      const path = pod([
        ['a', 1],
        ['b', 2],
        ['c', 3],
      ]);
      harm(join(path, file));
      expect(everpod('verify', path).code).not.toBe(0);
      const harmed = readdirSync(path).filter((name) => name !== 'lock');
      done(everpod('restore', backup, path));
      expect(entriesOf(path)).toEqual(entriesOf(backup));
      expect(readdirSync(beside(path)[0] as string)).toEqual(harmed);
    }
  });

  it('fills a folder that is missing or empty', () => {
    const backup = killedPod();
    const missing = temporary.path();
    expect(done(everpod('restore', backup, missing))).toBe(`${missing}: restored, 7 entries.\n`);
    expect(entriesOf(missing)).toEqual(entriesOf(backup));
    const empty = temporary.path();
    mkdirSync(empty, { recursive: true });
    done(everpod('restore', backup, empty));
    expect([...beside(missing), ...beside(empty)]).toEqual([]);
  });

  it('keeps a link what it is, and the old pod beside the folder itself', () => {
    const backup = killedPod();
    const path = pod([['a', 1]]);
    const link = temporary.path('link');
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(path, link);
    done(everpod('restore', backup, link));
    expect(entriesOf(link)).toEqual(entriesOf(backup));
    expect(entriesOf(path)).toEqual(entriesOf(backup));
    expect(beside(link)).toEqual([]);
    expect(entriesOf(beside(path)[0] as string)).toEqual([['a', 1]]);
  });

  it('puts a pod in the place of a folder of tastypy, and such a folder in the place of a pod', () => {
    const bare = temporary.path();
    cpSync(join(FIXTURES, 'plain.pod'), bare, { recursive: true });
    const entries = entriesOf(bare);
    const path = pod([['a', 1]]);
    done(everpod('restore', bare, path));
    expect(entriesOf(path)).toEqual(entries);
    done(everpod('restore', killedPod(), bare));
    expect(entriesOf(bare)).toHaveLength(7);
    expect(entriesOf(beside(bare)[0] as string)).toEqual(entries);
  });

  it('can be done twice, and taken back', () => {
    const backup = killedPod();
    const path = pod([['a', 1]]);
    done(everpod('restore', backup, path));
    const [kept = ''] = beside(path);
    done(everpod('restore', kept, path));
    expect(entriesOf(path)).toEqual([['a', 1]]);
    expect(beside(path)).toHaveLength(2);
  });

  it('refuses a backup that is damaged or none, and changes nothing', () => {
    const path = pod([['a', 1]]);
    const before = filesOf(dirname(path));
    const damaged = killedPod();
    appendFileSync(join(damaged, '2.json'), 'x');
    expect(everpod('restore', damaged, path)).toMatchObject({ code: 1, err: expect.stringContaining('2.json') });
    const lost = killedPod();
    rmSync(join(lost, 'pod.json'));
    expect(everpod('restore', lost, path).code).toBe(1);
    refused(everpod('restore', temporary.path(), path), 'ERR_POD_NOT_FOUND');
    refused(everpod('restore', path, path), 'same folder');
    refused(everpod('restore', path, join(path, 'inside')), 'lies in it');
    refused(everpod('restore', join(path, 'inside'), path), /lies in it|NOT_FOUND/);
    expect(filesOf(dirname(path))).toEqual(before);
  });

  it('refuses a path that is no pod, and one that is open', () => {
    const backup = killedPod();
    const folder = temporary.path();
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'notes.txt'), 'mine');
    refused(everpod('restore', backup, folder), /ERR_POD_OPTIONS.*no pod/);
    refused(everpod('restore', backup, join(folder, 'notes.txt')), 'ERR_POD_NOT_FOLDER');
    expect(readdirSync(folder)).toEqual(['notes.txt']);
    const path = pod([['a', 1]]);
    const open = POD.open<unknown>(path);
    refused(everpod('restore', backup, path), 'ERR_POD_LOCKED');
    open.close();
    expect(entriesOf(path)).toEqual([['a', 1]]);
    expect(beside(path)).toEqual([]);
  });
});

describe('copy', () => {
  it('writes a pod of its own, full and without gaps', () => {
    const path = killedPod();
    const target = temporary.path();
    expect(done(everpod('copy', path, target))).toBe(`${target}: a copy of 7 entries.\n`);
    expect(entriesOf(target)).toEqual(entriesOf(path));
    expect(readdirSync(target)).toEqual(['0.json', '1.json', '2.json', 'pod.json', 'wal-000001.jsonl']);
    expect(manifestOf(target).id).not.toBe(manifestOf(path).id);
  });

  it.each([
    [false, ['--gzip', '--file-size', '5'], { fileSize: 5, gzip: true }, ['0.json.gz', '1.json.gz']],
    [true, ['--no-gzip'], { fileSize: 3, gzip: false }, ['0.json', '1.json', '2.json']],
    [true, [], { fileSize: 3, gzip: true }, ['0.json.gz', '1.json.gz', '2.json.gz']],
  ])('in another layout (gzipped: %s, %j)', (gzipped, words, layout, files) => {
    const path = killedPod(gzipped);
    const target = temporary.path();
    expect(JSON.parse(done(everpod('copy', path, target, '--json', ...words)))).toEqual({ path: target, entries: 7 });
    expect(manifestOf(target)).toMatchObject(layout);
    expect(readdirSync(target).filter((name) => /^\d/.test(name))).toEqual(files);
    expect(entriesOf(target)).toEqual(entriesOf(path));
  });

  it('refuses a size that is none', () => {
    for (const size of ['0', '1.5', 'x', '2000000000']) {
      refused(everpod('copy', killedPod(), temporary.path(), '--file-size', size), /ERR_POD_OPTIONS/);
    }
  });
});
