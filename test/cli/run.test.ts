// Every command line of everpod, run in this process: what it answers and what it leaves in the folder.
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { POD, ProgressTracker } from '../../src/index.ts';
import { clock, fastSystem } from '../tracker/fast-system.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { everpod } from './everpod.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();
const FIXTURES = fileURLToPath(new URL('../fixtures/tastypy/', import.meta.url));

type Entries = [string, unknown][];

function entriesOf(count: number): Entries {
  return Array.from({ length: count }, (_, n) => [`k${n}`, { n, text: `é "${n}"\t\\` }]);
}

/** A pod that was closed: everything in shards of three. */
function closedPod(entries: Entries = entriesOf(8), gzipped: boolean = false): string {
  const path = temporary.path();
  POD.open<unknown>(path, { init: entries, fileSize: 3, gzipped }).close();
  return path;
}

/** A pod whose process was killed: six entries in shards, a change, a deletion and two additions in the log. */
function killedPod(gzipped: boolean = false): { path: string; entries: Entries } {
  const path = closedPod(entriesOf(6), gzipped);
  const pod = temporary.keep(POD.open<unknown>(path));
  pod.set('k1', 'changed');
  pod.delete('k2');
  pod.sync();
  pod.update([
    ['k6', 'six'],
    ['k7', 'seven'],
  ]);
  pod.sync();
  const copy = temporary.copy(path);
  pod.close();
  return { path: copy, entries: JSON.parse(JSON.stringify([...pod_(path)])) as Entries };
}

function pod_(path: string): Entries {
  const pod = temporary.keep(POD.open<unknown>(path, { mode: 'r' }));
  const entries = JSON.parse(JSON.stringify([...pod])) as Entries;
  pod.close();
  return entries;
}

/** What export prints. */
function exported(path: string): Entries {
  const { code, out, err } = everpod('export', path);
  expect([code, err]).toEqual([0, '']);
  return out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as [string, unknown]);
}

/** Every file under a folder with its bytes, but for the lock. */
function filesOf(path: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(path, { recursive: true, withFileTypes: true })) {
    const file = join(name.parentPath, name.name);
    if (name.isFile() && name.name !== 'lock')
      files[file.slice(path.length + 1)] = readFileSync(file).toString('base64');
  }
  return files;
}

function edit(path: string, file: string, change: (text: string) => string): void {
  const text = readFileSync(join(path, file), 'utf8');
  const edited = change(text);
  expect(edited).not.toBe(text);
  writeFileSync(join(path, file), edited);
}

/** The bytes of every file in quarantine. */
function quarantined(path: string): Buffer[] {
  const folder = join(path, 'quarantine');
  return existsSync(folder) ? readdirSync(folder).map((name) => readFileSync(join(folder, name))) : [];
}

describe('usage', () => {
  it.each<[string, string[]]>([
    ['no command', []],
    ['an unknown command', ['wipe', 'a.pod']],
    ['no path', ['verify']],
    ['two paths', ['verify', 'a.pod', 'b.pod']],
    ['an unknown option', ['verify', 'a.pod', '--force']],
    ['an option without its value', ['export', 'a.pod', '--tastypy']],
    ['a path of nothing', ['verify', '']],
  ])('refuses %s with exit code 2', (_name, args) => {
    const { code, out, err } = everpod(...args);
    expect(code).toBe(2);
    expect(out + err).toContain('everpod');
    expect(existsSync('a.pod')).toBe(false);
  });

  it('refuses an option that belongs to another command', () => {
    const path = closedPod();
    for (const command of ['verify', 'accept', 'repair']) {
      const { code, out, err } = everpod(command, path, '--tastypy', temporary.path('back'));
      expect([code, out]).toEqual([2, '']);
      expect(err).toContain('--tastypy');
    }
  });

  it.each(['--version', '-V'])('answers %s with the version of the package', (option) => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(everpod(option)).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });

  it.each([['--help'], ['-h'], ['verify', '--help'], ['verify', 'a.pod', '--help']])(
    'answers %s with the help',
    (...args) => {
      const { code, out, err } = everpod(...args);
      expect([code, err]).toEqual([0, '']);
      expect(out).toMatch(args[0] === 'verify' ? /^Usage: everpod verify .*<path>/ : /^Usage: everpod COMMAND PATH/);
    },
  );

  it.each(['verify', 'accept', 'repair', 'export'])(
    '%s says so where there is no folder, and makes none',
    (command) => {
      const path = temporary.path('nothing.pod');
      const { code, out, err } = everpod(command, path);
      expect([code, out]).toEqual([2, '']);
      expect(err).toContain('ERR_POD_NOT_FOUND');
      expect(existsSync(path)).toBe(false);
    },
  );

  it.each(['verify', 'accept', 'repair', 'export', 'stats', 'compact'])(
    '%s says so where a file is no folder',
    (command) => {
      const file = join(closedPod(), 'pod.json');
      for (const path of [file, join(file, 'below')]) {
        const { code, out, err } = everpod(command, path);
        expect([path, code, out]).toEqual([path, 2, '']);
        expect(err).toContain('ERR_POD_NOT_FOLDER');
      }
    },
  );

  it.each(['verify', 'accept', 'repair', 'export'])(
    '%s says so where the folder is no pod, and leaves it alone',
    (command) => {
      const path = temporary.path('photos');
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, 'a.jpg'), 'x');
      expect(everpod(command, path).code).toBe(2);
      expect(Object.keys(filesOf(path))).toEqual(['a.jpg']);
    },
  );

  it.each(['accept', 'repair'])('%s does not touch a folder that is open', (command) => {
    const path = closedPod();
    const pod = temporary.keep(POD.open<unknown>(path));
    pod.set('new', 1);
    pod.sync();
    const before = filesOf(path);
    const { code, out, err } = everpod(command, path);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('ERR_POD_LOCKED');
    expect(filesOf(path)).toEqual(before);
  });
});

describe('verify', () => {
  it('counts what is in the shards and in the log', () => {
    const { path, entries } = killedPod();
    const before = filesOf(path);
    expect(everpod('verify', path)).toEqual({
      code: 0,
      out: `${path}: all is well, ${entries.length} entries.\n`,
      err: '',
    });
    expect(everpod('verify', path, '--json')).toEqual({
      code: 0,
      out: `{"ok":true,"entries":${entries.length}}\n`,
      err: '',
    });
    expect(filesOf(path)).toEqual(before);
  });

  it.each<[string, (path: string) => void, string]>([
    ['a changed value', (path) => edit(path, '1.json', (text) => text.replace('"n":4', '"n":5')), '1.json'],
    ['a line that is none', (path) => edit(path, '0.json', (text) => text.replace('\t', ' ')), '0.json line 1'],
    ['a missing shard', (path) => rmSync(join(path, '1.json')), '1.json'],
    ['a cut shard', (path) => truncateSync(join(path, '0.json'), 20), '0.json'],
    [
      'a damaged manifest',
      (path) => edit(path, 'pod.json', (text) => text.replace('"fileSize":3', '"fileSize":4')),
      'pod.json',
    ],
    ['rot in the log', (path) => edit(path, wal(path), (text) => text.replace('changed', 'chanGed')), 'wal-'],
    ['a missing log', (path) => rmSync(join(path, wal(path))), 'wal-'],
  ])('finds %s and changes nothing', (_name, damage, named) => {
    const { path } = killedPod();
    damage(path);
    const before = filesOf(path);
    const { code, out, err } = everpod('verify', path);
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain('ERR_POD_CORRUPT');
    const answer = JSON.parse(everpod('verify', path, '--json').out) as { error: { code: string; message: string } };
    expect(answer.error.code).toBe('ERR_POD_CORRUPT');
    expect(err).toContain(answer.error.message);
    expect(err).toContain(named);
    expect(filesOf(path)).toEqual(before);
  });

  it('finds a key that is there twice', () => {
    const path = closedPod();
    const [line = ''] = readFileSync(join(path, '0.json'), 'utf8').split('\n');
    edit(path, '2.json', (text) => `${text}${line}\n`);
    expect(everpod('accept', path).code).toBe(1);
    expect(everpod('verify', path).code).toBe(1);
  });
});

function wal(path: string): string {
  return readdirSync(path).find((name) => name.startsWith('wal-')) as string;
}

describe('accept', () => {
  it('takes over changed values, added and deleted lines, and says which files', () => {
    const path = closedPod();
    edit(path, '0.json', (text) => text.replace('"n":1', '"n":"one"'));
    edit(path, '1.json', (text) => text.split('\n').slice(1).join('\n'));
    edit(path, '2.json', (text) => `${text}"by hand"\t[1, 2]\n`);
    const wanted = entriesOf(8).map(([key, value]) => [key, key === 'k1' ? { ...(value as object), n: 'one' } : value]);
    wanted.splice(3, 1);
    wanted.push(['by hand', [1, 2]]);
    expect(everpod('accept', path)).toEqual({ code: 0, out: `${path}: accepted 0.json, 1.json, 2.json.\n`, err: '' });
    expect(exported(path)).toEqual(wanted);
    const pod = temporary.keep(POD.open<unknown>(path));
    expect(pod.recovery.ended).toBe('closed');
    pod.close();
    expect(pod_(path)).toEqual(wanted);
  });

  it('takes a last line without a newline', () => {
    const path = closedPod();
    edit(path, '2.json', (text) => `${text}"last"\t1`);
    expect(everpod('accept', path, '--json').out).toBe('{"accepted":["2.json"]}\n');
    expect(exported(path).at(-1)).toEqual(['last', 1]);
    // What is added afterwards does not run into it.
    POD.open<unknown>(path, { init: { after: 2 } }).close();
    expect(exported(path).slice(-2)).toEqual([
      ['last', 1],
      ['after', 2],
    ]);
  });

  it('takes a shard that was emptied', () => {
    const path = closedPod();
    writeFileSync(join(path, '1.json'), '');
    expect(everpod('accept', path)).toEqual({ code: 0, out: `${path}: accepted 1.json.\n`, err: '' });
    expect(exported(path).map(([key]) => key)).toEqual(['k0', 'k1', 'k2', 'k6', 'k7']);
    // The empty file is gone, as nothing is in it; and the folder goes on like any other.
    expect(readdirSync(path)).not.toContain('1.json');
    expect(readdirSync(path)).not.toContain('quarantine');
    POD.open<unknown>(path, { init: entriesOf(8) }).close();
    expect(exported(path).map(([key]) => key)).toEqual(['k0', 'k1', 'k2', 'k6', 'k7', 'k3', 'k4', 'k5']);
  });

  it('lets the log win over the edit', () => {
    const { path, entries } = killedPod();
    edit(path, '0.json', (text) => text.replace('"n":1', '"n":"edited"').replace('"n":0', '"n":"edited"'));
    expect(everpod('accept', path).code).toBe(0);
    const wanted = entries.map(([key, value]) => [key, key === 'k0' ? { ...(value as object), n: 'edited' } : value]);
    expect(exported(path)).toEqual(wanted);
  });

  it('says no where nothing was edited, and the next opening hears nothing of it', () => {
    const path = closedPod();
    const before = filesOf(path);
    expect(everpod('accept', path)).toEqual({ code: 1, out: `${path}: nothing was edited.\n`, err: '' });
    expect(everpod('accept', path, '--json')).toEqual({ code: 1, out: '{"accepted":[]}\n', err: '' });
    expect(filesOf(path)).toEqual(before);
    const pod = temporary.keep(POD.open(path));
    expect([pod.recovery.ended, pod.recovery.previous]).toEqual(['closed', undefined]);
  });

  it('a shard that was gzipped again by hand is no edit', () => {
    const path = closedPod(entriesOf(8), true);
    const file = join(path, '0.json.gz');
    const text = gunzipSync(readFileSync(file));
    writeFileSync(file, gzipSync(text, { level: 9 }));
    expect(everpod('verify', path).code).toBe(0);
    expect(everpod('accept', path)).toEqual({ code: 1, out: `${path}: nothing was edited.\n`, err: '' });
    expect(exported(path)).toEqual(entriesOf(8));
  });

  it('takes over an edit of a gzipped shard', () => {
    const path = closedPod(entriesOf(8), true);
    const file = join(path, '1.json.gz');
    writeFileSync(file, gzipSync(gunzipSync(readFileSync(file)).toString().replace('"n":4', '"n":-4')));
    expect(everpod('accept', path).out).toBe(`${path}: accepted 1.json.gz.\n`);
    expect(exported(path)[4]).toEqual(['k4', { n: -4, text: 'é "4"\t\\' }]);
  });

  it('takes over an edit of a shard of the ancestor, whose keys have their backslashes doubled', () => {
    const path = temporary.path();
    cpSync(join(FIXTURES, 'plain.pod'), path, { recursive: true });
    POD.open(path).close();
    const before = exported(path);
    edit(path, '1.json', (text) => `${text}"x\\\\u00e9"\t1\n`);
    expect(everpod('accept', path).code).toBe(0);
    const after = exported(path);
    expect(after).toHaveLength(before.length + 1);
    expect(after.find(([key]) => key === 'xé')).toEqual(['xé', 1]);
  });

  it.each<[string, (path: string) => void, string]>([
    [
      'a line without a tab',
      (path) => edit(path, '1.json', (text) => text.replace('"k4"\t', '"k4" ')),
      '1.json line 2',
    ],
    [
      'a value that is no JSON',
      (path) => edit(path, '0.json', (text) => text.replace('"n":2', 'n:2')),
      '0.json line 3',
    ],
    ['a key that is none', (path) => edit(path, '2.json', (text) => text.replace('"k6"', 'true')), '2.json line 1'],
    ['an empty line', (path) => edit(path, '0.json', (text) => text.replace('\n', '\n\n')), '0.json line 2'],
    ['a missing shard', (path) => rmSync(join(path, '1.json')), '1.json'],
    ['a damaged manifest', (path) => edit(path, 'pod.json', (text) => text.replace('3', '4')), 'pod.json'],
  ])('refuses %s with its place, and changes nothing, not even the good edits', (_name, damage, named) => {
    const path = closedPod();
    damage(path);
    if (!named.startsWith('2.json')) edit(path, '2.json', (text) => `${text}"good"\t1\n`);
    const before = filesOf(path);
    const { code, out, err } = everpod('accept', path);
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain(named);
    expect(filesOf(path)).toEqual(before);
  });

  it.each<[string, (path: string) => void]>([
    ['in two shards', (path) => edit(path, '2.json', (text) => `${text}"k0"\t1\n`)],
    ['twice in one shard', (path) => edit(path, '0.json', (text) => `${text}"k0"\t1\n`)],
  ])('refuses a key that is %s, and changes nothing', (_name, damage) => {
    const path = closedPod();
    damage(path);
    const before = filesOf(path);
    const { code, err } = everpod('accept', path);
    expect(code).toBe(1);
    expect(err).toContain('"k0"');
    expect(filesOf(path)).toEqual(before);
  });
});

describe('repair', () => {
  /** Repairs, and expects a folder that is in order, with everything that was replaced in quarantine. */
  function repaired(path: string): { entries: Entries; lostLines: number; out: string } {
    const before = readdirSync(path)
      .filter((name) => !['lock', 'quarantine'].includes(name))
      .map((name) => readFileSync(join(path, name)));
    const inQuarantine = quarantined(path);
    const { code, out, err } = everpod('repair', path, '--json');
    expect([code, err]).toEqual([0, '']);
    const report = JSON.parse(out) as { entries: number; lostLines: number; quarantined: string[] };
    const kept = quarantined(path);
    for (const bytes of [...before, ...inQuarantine]) expect(kept.some((other) => other.equals(bytes))).toBe(true);
    for (const name of report.quarantined) expect(existsSync(join(path, name))).toBe(true);
    expect(everpod('verify', path, '--json').out).toBe(`{"ok":true,"entries":${report.entries}}\n`);
    const entries = exported(path);
    const pod = temporary.keep(POD.open<unknown>(path));
    expect(JSON.parse(JSON.stringify([...pod]))).toEqual(entries);
    pod.set('after', 1);
    pod.close();
    expect(pod_(path)).toEqual([...entries, ['after', 1]]);
    return { entries, lostLines: report.lostLines, out };
  }

  const without = (entries: Entries, ...keys: string[]): Entries => entries.filter(([key]) => !keys.includes(key));

  it('keeps everything of a folder that is in order', () => {
    const { path, entries } = killedPod();
    expect(repaired(path)).toMatchObject({ entries, lostLines: 0 });
  });

  it('says in words what it did', () => {
    const path = closedPod();
    edit(path, '0.json', (text) => text.replace('"k1"\t', ''));
    const { code, out } = everpod('repair', path);
    expect(code).toBe(0);
    expect(out).toContain('kept 7 entries; 1 line could not be read');
    expect(out).toContain(`${path}/quarantine`);
  });

  it('keeps every line beside a bad one', () => {
    const path = closedPod();
    edit(path, '0.json', (text) => text.replace('"n":1', 'n:1'));
    edit(path, '2.json', (text) => `garbage\n${text}\0\0\0\n`);
    expect(repaired(path)).toMatchObject({ entries: without(entriesOf(8), 'k1'), lostLines: 3 });
  });

  it('keeps what stands before a cut', () => {
    const path = closedPod();
    const file = join(path, '1.json');
    truncateSync(file, readFileSync(file).length - 4);
    expect(repaired(path)).toMatchObject({ entries: without(entriesOf(8), 'k5'), lostLines: 1 });
  });

  it('keeps what stands before a cut in a gzipped shard', () => {
    const entries: Entries = Array.from({ length: 40 }, (_, n) => [`k${n}`, Math.sin(n).toString(36).repeat(9)]);
    const path = temporary.path();
    POD.open<unknown>(path, { init: entries, fileSize: 20, gzipped: true }).close();
    const file = join(path, '0.json.gz');
    truncateSync(file, Math.floor(readFileSync(file).length / 2));
    const { entries: kept, lostLines } = repaired(path);
    expect(kept.length).toBeGreaterThan(24);
    expect(kept).toEqual([...entries.slice(0, kept.length - 20), ...entries.slice(20)]);
    expect(lostLines).toBe(40 - kept.length);
  });

  it('keeps what stands before a damaged byte in a gzipped shard', () => {
    const entries: Entries = Array.from({ length: 40 }, (_, n) => [`k${n}`, Math.sin(n).toString(36).repeat(9)]);
    const path = temporary.path();
    POD.open<unknown>(path, { init: entries, fileSize: 20, gzipped: true }).close();
    const file = join(path, '1.json.gz');
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.fill(0xff, Math.floor(bytes.length * 0.75)));
    const { entries: kept } = repaired(path);
    expect(kept.length).toBeGreaterThan(28);
    expect(kept.slice(0, 20)).toEqual(entries.slice(0, 20));
    // What was read after the damage may be anything that parses; what stood before it is as it was.
    expect(kept.slice(20, 28)).toEqual(entries.slice(20, 28));
  });

  it('keeps the other shards where one is missing, and counts its lines', () => {
    const path = closedPod();
    rmSync(join(path, '1.json'));
    expect(repaired(path)).toMatchObject({ entries: without(entriesOf(8), 'k3', 'k4', 'k5'), lostLines: 3 });
  });

  it.each<[string, (path: string) => void]>([
    ['missing', (path) => rmSync(join(path, 'pod.json'))],
    ['damaged', (path) => edit(path, 'pod.json', (text) => text.replace('"fileSize"', '"filesize"'))],
    ['empty', (path) => writeFileSync(join(path, 'pod.json'), '')],
    ['cut', (path) => truncateSync(join(path, 'pod.json'), 30)],
  ])('keeps everything where pod.json is %s', (_name, damage) => {
    for (const gzipped of [false, true]) {
      const { path, entries } = killedPod(gzipped);
      damage(path);
      expect(repaired(path)).toMatchObject({ entries, lostLines: 0 });
    }
  });

  it('keeps a tracker one, with its limit', () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open(path, { maxTries: 3, fileSize: 2 });
    tracker.addMany(['a', 'b', 'c']);
    tracker.markDone('b');
    tracker.close();
    edit(path, '0.json', (text) => text.replace('"a"', 'a'));
    expect(everpod('repair', path).code).toBe(0);
    const again = temporary.keep(ProgressTracker.open(path));
    expect([again.maxTries, again.numDone(), [...again.todoKeys()], again.resume.ended]).toEqual([
      3,
      1,
      ['c'],
      'closed',
    ]);
  });

  it('keeps what is intact in a log that rotted in the middle', () => {
    const { path, entries } = killedPod();
    edit(path, wal(path), (text) => text.replace('"changed"', '"chanGed"'));
    const { entries: kept, lostLines } = repaired(path);
    expect(without(kept, 'k1', 'k2')).toEqual(without(entries, 'k1', 'k2'));
    expect(kept.find(([key]) => key === 'k1')).toEqual(entriesOf(6)[1]);
    expect(lostLines).toBeGreaterThan(0);
  });

  it('keeps what is intact in a log that was cut', () => {
    const { path, entries } = killedPod();
    const file = join(path, wal(path));
    truncateSync(file, readFileSync(file).length - 5);
    // The last batch is not closed, so nothing of it was ever promised.
    expect(without(repaired(path).entries, 'k6', 'k7')).toEqual(without(entries, 'k6', 'k7'));
  });

  it('keeps the shards where the log is missing', () => {
    const { path } = killedPod();
    rmSync(join(path, wal(path)));
    expect(repaired(path).entries).toEqual(entriesOf(6));
  });

  it('keeps one value of a key that is there twice', () => {
    const path = closedPod();
    edit(path, '2.json', (text) => `${text}"k0"\t"again"\n`);
    const { entries } = repaired(path);
    expect(entries).toHaveLength(8);
    expect(entries.map(([key]) => key)).toEqual(entriesOf(8).map(([key]) => key));
  });

  it('keeps what it can of a folder in which everything is damaged at once', () => {
    const { path, entries } = killedPod();
    rmSync(join(path, 'pod.json'));
    edit(path, '0.json', (text) => text.replace('"k0"\t', '"k0"'));
    truncateSync(join(path, '1.json'), readFileSync(join(path, '1.json')).length - 3);
    edit(path, wal(path), (text) => text.replace('"six"', '"siX"'));
    appendFileSync(join(path, wal(path)), 'torn');
    const { entries: kept, lostLines } = repaired(path);
    // What the damaged record was about is lost with it, and the record after it is no longer tied to anything.
    expect(without(kept, 'k7')).toEqual(without(entries, 'k0', 'k5', 'k6', 'k7'));
    expect(lostLines).toBeGreaterThanOrEqual(4);
  });

  it('mends a folder of the ancestor', () => {
    const path = temporary.path();
    cpSync(join(FIXTURES, 'plain.pod'), path, { recursive: true });
    const wanted = (JSON.parse(readFileSync(join(FIXTURES, 'plain.expected.json'), 'utf8')) as { entries: Entries })
      .entries;
    appendFileSync(join(path, '2.json'), 'not a line\n');
    expect(repaired(path)).toMatchObject({ entries: wanted, lostLines: 1 });
  });

  it('mends a folder of the ancestor that has been carried on', () => {
    const path = temporary.path();
    cpSync(join(FIXTURES, 'plain.pod'), path, { recursive: true });
    POD.open(path).close();
    const wanted = exported(path);
    appendFileSync(join(path, '1.json'), 'not a line\n');
    expect(repaired(path)).toMatchObject({ entries: wanted, lostLines: 1 });
  });

  it("leaves files alone that are nobody's", () => {
    const path = closedPod();
    writeFileSync(join(path, 'notes.txt'), 'mine');
    writeFileSync(join(path, '0.json~'), 'an editor left this');
    edit(path, '0.json', (text) => text.replace('"k0"', 'k0'));
    expect(everpod('repair', path).code).toBe(0);
    expect(readFileSync(join(path, 'notes.txt'), 'utf8')).toBe('mine');
    expect(readFileSync(join(path, '0.json~'), 'utf8')).toBe('an editor left this');
  });

  it('keeps what a rescue wrote that the manifest does not know of yet', () => {
    const { path, entries } = killedPod();
    // An older pod.json put back: the log has gone on in a segment that it does not list.
    const older = readFileSync(join(path, 'pod.json'));
    const pod = temporary.keep(POD.open<unknown>(path));
    rotate(pod);
    pod.set('later', 1);
    pod.sync();
    const copy = temporary.copy(path);
    pod.close();
    writeFileSync(join(copy, 'pod.json'), older);
    const wanted: Entries = [...entries, ['later', 1]];
    expect(exported(copy)).toEqual(wanted);
    edit(copy, '1.json', (text) => `${text}garbage\n`);
    expect(repaired(copy).entries).toEqual(wanted);
  });

  it.each([false, true])('brings nothing back that was cleared (pod.json lost: %s)', (lost) => {
    const path = closedPod();
    const pod = temporary.keep(POD.open<unknown>(path));
    pod.set('k0', 'gone too');
    pod.clear();
    pod.sync();
    pod.update([
      ['new', 1],
      ['k1', 'again'],
    ]);
    pod.sync();
    const copy = temporary.copy(path);
    pod.close();
    if (lost) rmSync(join(copy, 'pod.json'));
    edit(copy, '0.json', (text) => `${text}garbage\n`);
    expect(repaired(copy)).toMatchObject({
      entries: [
        ['new', 1],
        ['k1', 'again'],
      ],
      lostLines: 1,
    });
  });

  it('does not touch what a newer version wrote', () => {
    const path = closedPod();
    const pod = { format: 3, whatever: true };
    const body = JSON.stringify(pod);
    writeFileSync(join(path, 'pod.json'), `{"crc":"${crc32(body).toString(16).padStart(8, '0')}","pod":${body}}\n`);
    const before = filesOf(path);
    for (const command of ['verify', 'accept', 'repair', 'export']) {
      const { code, err } = everpod(command, path);
      expect(code).toBe(2);
      expect(err).toContain('ERR_POD_FORMAT');
    }
    expect(filesOf(path)).toEqual(before);
  });

  it('loses no line of the ancestor but the one with a broken key', () => {
    const path = temporary.path();
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, '0.json'), '"a\\\\u00e9"\t1\n"b\\u00e9"\t2\n"c"\t3\n');
    expect(repaired(path)).toMatchObject({
      entries: [
        ['aé', 1],
        ['c', 3],
      ],
      lostLines: 1,
    });
  });

  it('does not count what stands in a segment beyond the place where the next one goes on', async () => {
    const path = closedPod();
    const pod = temporary.keep(POD.open<unknown>(path));
    pod.set('ghost', 1);
    await Promise.resolve();
    pod.delete('ghost');
    rotate(pod);
    const copy = temporary.copy(path);
    pod.close();
    // The deletion can no longer be read, but it was not that segment's to tell.
    const [first = ''] = readdirSync(copy).filter((name) => name.startsWith('wal-'));
    edit(copy, first, (text) => text.replace('"o":"del"', '"o":"dEl"'));
    edit(copy, '0.json', (text) => `${text}garbage\n`);
    expect(repaired(copy).entries).toEqual([...entriesOf(8), ['later', 0]]);
  });

  it('does not let a log bring back what was before a compaction', () => {
    const path = closedPod();
    const pod = temporary.keep(POD.open<unknown>(path));
    pod.set('k0', 'old');
    pod.sync();
    const name = wal(path);
    const log = readFileSync(join(path, name));
    pod.compact();
    pod.set('k0', 'new');
    pod.close();
    const wanted = exported(path);
    writeFileSync(join(path, name), log);
    rmSync(join(path, 'pod.json'));
    expect(wanted[0]).toEqual(['k0', 'new']);
    expect(repaired(path).entries).toEqual(wanted);
  });

  it('lets a line stand that is newer than the log', () => {
    const path = closedPod();
    const system = fastSystem as { foldLogBytes?: number };
    system.foldLogBytes = 1;
    clock.readingCostMs = 100;
    try {
      const pod = temporary.keep(POD.open<unknown>(path));
      for (const [key] of entriesOf(8)) pod.set(key, 'before');
      pod.sync();
      // The fold has begun a new segment; what is written now goes into that one, and into the shard as well.
      clock.runNext();
      pod.set('k7', 'log');
      pod.sync();
      for (let step = 0; step < 50; step++) clock.runNext();
      const copy = temporary.copy(path);
      pod.close();
      expect(readFileSync(join(copy, wal(copy)), 'utf8')).toContain('"log"');
      edit(copy, '2.json', (text) => text.replace('"log"', '"hand"'));
      expect(repaired(copy).entries.at(-1)).toEqual(['k7', 'hand']);
    } finally {
      delete system.foldLogBytes;
      clock.readingCostMs = 0;
    }
  });

  it('may be run again, and nothing in quarantine is touched', () => {
    const path = closedPod();
    edit(path, '0.json', (text) => text.replace('"k0"', 'k0'));
    everpod('repair', path);
    const first = quarantined(path);
    expect(repaired(path).entries).toEqual(without(entriesOf(8), 'k0'));
    expect(first.length).toBeGreaterThan(0);
  });
});

/** Makes the log go on in another segment, as it does after an fsync that failed. */
function rotate(pod: POD<unknown>): void {
  const files = readdirSync(pod.path).length;
  const failing = vi.spyOn(fastSystem.fs, 'fdatasync').mockImplementationOnce(() => {
    throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'fdatasync' });
  });
  pod.set('later', 0);
  pod.sync();
  failing.mockRestore();
  expect(readdirSync(pod.path).length).toBeGreaterThan(files);
}

describe('export', () => {
  it('prints one array a line, from the shards and from the log', () => {
    const { path, entries } = killedPod();
    const before = filesOf(path);
    expect(exported(path)).toEqual(entries);
    expect(filesOf(path)).toEqual(before);
  });

  it('prints keys of every kind', () => {
    const path = temporary.path();
    const pod = temporary.keep(POD.open<unknown, string | number | (string | number)[]>(path));
    pod.set(1, 'a').set('1', 'b').set(['1', 2], 'c').set('a\tb\n', null);
    pod.close();
    expect(everpod('export', path).out).toBe('[1,"a"]\n["1","b"]\n[["1",2],"c"]\n["a\\tb\\n",null]\n');
  });

  it('prints nothing of an empty pod', () => {
    expect(everpod('export', closedPod([]))).toEqual({ code: 0, out: '', err: '' });
  });

  it.each(['plain.pod', 'gz.pod', 'crawl.tracker'])('--tastypy writes %s back byte for byte', (name) => {
    const fixture = join(FIXTURES, name);
    const path = temporary.path(name);
    cpSync(fixture, path, { recursive: true });
    for (const opened of [false, true]) {
      if (opened) POD.open(path).close();
      const target = temporary.path('back');
      const { code, out } = everpod('export', path, '--tastypy', target);
      const files = readdirSync(fixture).sort();
      expect(code).toBe(0);
      expect(out).toMatch(new RegExp(`: \\d+ entries in ${files.length} files\\.\\n$`));
      expect(readdirSync(target).sort()).toEqual(files);
      for (const file of files) {
        const text = (folder: string): Buffer => {
          const bytes = readFileSync(join(folder, file));
          return file.endsWith('.gz') ? gunzipSync(bytes) : bytes;
        };
        expect(text(target).equals(text(fixture)), file).toBe(true);
      }
    }
  });

  it('--tastypy writes what was changed in the same form', () => {
    const path = temporary.path();
    cpSync(join(FIXTURES, 'crawl.tracker'), path, { recursive: true });
    const tracker = temporary.keep(ProgressTracker.open(path, { maxTries: 3 }));
    for (const key of tracker.tryKeys({ limit: 5 })) tracker.markDone(key);
    tracker.add('é\\"new');
    const wanted = JSON.parse(JSON.stringify([...tracker])) as Entries;
    tracker.close();
    const target = temporary.path('back');
    expect(everpod('export', path, '--tastypy', target, '--json').code).toBe(0);
    const text = readdirSync(target).map((name) => readFileSync(join(target, name), 'latin1'));
    expect(text.join('')).toMatch(/^[\t\n\x20-\x7e]*$/);
    expect(text.join('')).toContain('"\\\\u00e9\\\\\\\\\\\\"new"\t');
    expect(pod_(target)).toEqual(wanted);
  });

  it('--tastypy fills every file but the last', () => {
    const path = closedPod(entriesOf(8));
    const pod = temporary.keep(POD.open<unknown>(path));
    pod.delete('k1');
    pod.close();
    const target = temporary.path('back');
    expect(JSON.parse(everpod('export', path, '--tastypy', target, '--json').out)).toEqual({
      files: ['0.json', '1.json', '2.json'],
    });
    const lines = ['0.json', '1.json', '2.json'].map(
      (name) => readFileSync(join(target, name), 'utf8').split('\n').length - 1,
    );
    expect(lines).toEqual([3, 3, 1]);
  });

  it('--tastypy does not write into a folder that holds something', () => {
    const path = closedPod();
    const target = temporary.path('full');
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, 'a.txt'), 'mine');
    const { code, err } = everpod('export', path, '--tastypy', target);
    expect(code).toBe(2);
    expect(err).toContain('is not empty');
    expect(Object.keys(filesOf(target))).toEqual(['a.txt']);
    expect(everpod('export', path, '--tastypy', path).code).toBe(2);
    expect(exported(path)).toEqual(entriesOf(8));
  });

  it('prints nothing of a folder that is damaged', () => {
    const path = closedPod();
    renameSync(join(path, '1.json'), join(path, 'gone.json'));
    const { code, out, err } = everpod('export', path);
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain('ERR_POD_CORRUPT');
  });
});
