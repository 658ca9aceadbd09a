// export and import: what is carried out of a pod comes back as it was, into pods and trackers, and what cannot be read is refused by its line.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { linesOf } from '../../src/cli/lines.ts';
import { run } from '../../src/cli/run.ts';
import { POD, ProgressTracker } from '../../src/index.ts';
import fc from '../fast-check.ts';
import { clock } from '../tracker/fast-system.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { type Answer, MAIN } from './everpod.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();

type Key = string | number | (string | number)[];
type Entries = [Key, unknown][];

/** One command line, in this process; `input` is what stands on the standard input, piece by piece. */
async function everpod(
  args: string[],
  input: readonly (string | Buffer)[] = [],
  onOut?: () => boolean,
): Promise<Answer> {
  const said = { out: '', err: '' };
  const code = await run(args, {
    out: (words) => {
      said.out += words;
    },
    err: (words) => {
      said.err += words;
    },
    ...(onOut !== undefined && { drained: () => Promise.resolve(onOut()) }),
    input: async function* () {
      for (const piece of input) yield Buffer.from(piece);
    },
  });
  return { code, ...said };
}

const SOME: Entries = [
  ['a', { n: 1, text: 'é "1"\t\\' }],
  [7, { n: null, deep: { list: [1, '2'] } }],
  ['7', 'seven'],
  [['x', 1], { '': '=1+1', n: '1' }],
  ['empty', {}],
  ['none', null],
];

function podAt(entries: Entries = SOME): string {
  const path = temporary.path();
  const pod = POD.open<unknown, Key>(path);
  for (const [key, value] of entries) pod.set(key, value);
  pod.close();
  return path;
}

function entriesOf(path: string): Entries {
  const pod = temporary.keep(POD.open<unknown, Key>(path, { mode: 'r' }));
  const entries = JSON.parse(JSON.stringify([...pod])) as Entries;
  pod.close();
  return entries;
}

function tasksOf(path: string): Entries {
  const tracker = temporary.keep(ProgressTracker.open<object, Key>(path, { mode: 'r' }));
  const entries = JSON.parse(JSON.stringify([...tracker])) as Entries;
  tracker.close();
  return entries;
}

/** A file beside a path that nothing uses yet. */
function fileWith(content: string | Buffer, name: string): string {
  const path = temporary.path(name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

function freshFolder(): string {
  const path = temporary.path('out');
  mkdirSync(path, { recursive: true });
  return path;
}

describe('export and import', () => {
  it.each(['x.jsonl', 'x.jsonl.gz', 'x.csv', 'x.csv.gz', 'x.CSV.GZ'])('carry a pod over in %s', async (name) => {
    const path = podAt();
    const file = join(freshFolder(), name);
    expect(await everpod(['export', path, '--out', file])).toEqual({ code: 0, out: `${file}: 6 entries.\n`, err: '' });
    expect(readdirSync(dirname(file))).toEqual([name]);
    const bytes = readFileSync(file);
    const isGzipped = /gz$/i.test(name);
    expect(bytes.subarray(0, 2).equals(Buffer.from([0x1f, 0x8b]))).toBe(isGzipped);
    const content = (isGzipped ? gunzipSync(bytes) : bytes).toString('utf8');
    expect(content.startsWith(/csv/i.test(name) ? 'key,$,' : '["a",{"n":1')).toBe(true);
    const copy = temporary.path('copy.pod');
    const { code, out } = await everpod(['import', copy, '--from', file, '--create', '--json']);
    expect([code, JSON.parse(out)]).toEqual([0, { read: 6, added: 6, changed: 0, unchanged: 0, skipped: 0 }]);
    expect(entriesOf(copy)).toEqual(SOME);
    // Once more, and nothing is different.
    const again = await everpod(['import', copy, '--from', file]);
    expect(again.out).toBe(`${copy}: 6 entries read: 0 added, 0 changed, 6 as they were, 0 skipped.\n`);
    expect(entriesOf(copy)).toEqual(SOME);
  });

  it('carry a tracker over with its record', async () => {
    const path = temporary.path();
    const tracker = ProgressTracker.open<{ title?: string }>(path, { maxTries: 3 });
    tracker.addMany(['a', 'b', 'c']);
    for (const key of tracker.tryKeys()) {
      if (key === 'a') tracker.markDone(key, { title: 'A' });
      else tracker.fail(key, new Error('no'));
    }
    tracker.abort('c', 'enough');
    tracker.close();
    for (const format of ['jsonl', 'csv']) {
      const { out } = await everpod(['export', path, '--format', format]);
      const copy = temporary.path('copy.pod');
      const { code } = await everpod(['import', copy, '--create', '--tracker', '--format', format], [out]);
      expect(code).toBe(0);
      expect(tasksOf(copy)).toEqual(tasksOf(path));
    }
  });

  it('give the same pod whatever it was and however often: the import is idempotent', async () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const value = fc.oneof(fc.constant(null), fc.nat(3), fc.dictionary(fc.constantFrom('x', 'y'), fc.nat(3)));
    const entries = fc.array(fc.tuple(key, value), { maxLength: 6 });
    const how = fc.constantFrom([], ['--merge'], ['--skip-existing']);
    await fc.assert(
      fc.asyncProperty(entries, entries, how, fc.boolean(), async (before, lines, flags, isTracker) => {
        const path = temporary.path();
        const pod = isTracker ? ProgressTracker.open<object>(path) : POD.open<unknown>(path);
        for (const [each, first] of before) pod.set(each, (isTracker ? { first } : first) as never);
        pod.close();
        const input = lines.map((line) => `${JSON.stringify(line)}\n`);
        const dry = await everpod(['import', path, '--json', '--dry-run', ...flags], input);
        const first = await everpod(['import', path, '--json', ...flags], input);
        expect(JSON.parse(dry.out)).toEqual({ ...(JSON.parse(first.out) as object), dryRun: true });
        const once = entriesOf(path);
        const second = JSON.parse((await everpod(['import', path, '--json', ...flags], input)).out) as {
          added: number;
        };
        expect(second.added).toBe(0);
        expect(entriesOf(path)).toEqual(once);
        if (flags.length === 0 && !isTracker) expect(Object.fromEntries(once)).toMatchObject(Object.fromEntries(lines));
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});

describe('export', () => {
  it('writes only what the condition holds for', async () => {
    const path = podAt();
    expect((await everpod(['export', path, '--where', 'n = 1 or key = 7'])).out).toBe(
      '["a",{"n":1,"text":"é \\"1\\"\\t\\\\"}]\n[7,{"n":null,"deep":{"list":[1,"2"]}}]\n',
    );
    const csv = await everpod(['export', path, '--where', 'deep exists', '--format', 'csv']);
    expect(csv.out).toBe('key,n,deep\r\n7,null,"{""list"":[1,""2""]}"\r\n');
    const target = temporary.path('py');
    const folder = await everpod(['export', path, '--where', 'n = 1', '--tastypy', target]);
    expect(folder.out).toContain('1 entry in 1 file');
    expect(entriesOf(target)).toEqual([SOME[0]]);
  });

  it('leaves the file that was there as it was when it fails, and nothing beside it', async () => {
    const wide = podAt(Array.from({ length: 10_001 }, (_, n): [Key, unknown] => [n, { [`p${n}`]: 1 }]));
    const file = fileWith('mine', 'x.csv');
    const { code, err } = await everpod(['export', wide, '--out', file]);
    expect(code).toBe(2);
    expect(err).toContain('ERR_POD_UNSUPPORTED');
    expect(err).toContain('more than 10,000 different properties');
    expect(readFileSync(file, 'utf8')).toBe('mine');
    expect(readdirSync(dirname(file))).toEqual(['x.csv']);
  }, 30_000);

  it('writes through a link, and into no folder, no device and no pod', async () => {
    const path = podAt();
    const file = fileWith('old', 'x.jsonl');
    const link = join(dirname(file), 'link.jsonl');
    symlinkSync(file, link);
    expect((await everpod(['export', path, '--out', link, '--json'])).out).toBe(
      `${JSON.stringify({ entries: 6, file: link })}\n`,
    );
    expect(readFileSync(file, 'utf8')).toContain('["a",');
    const before = readFileSync(join(path, '0.json'));
    const folder = freshFolder();
    for (const [out, code] of [
      [folder, 'ERR_POD_OPTIONS'],
      ['/dev/null', 'ERR_POD_OPTIONS'],
      [join(path, '0.json'), 'ERR_POD_OPTIONS'],
      [join(podAt(), 'x.csv'), 'ERR_POD_OPTIONS'],
      [join(folder, 'no', 'x.csv'), 'ERR_POD_DISK'],
    ] as const) {
      const answer = await everpod(['export', path, '--out', out]);
      expect([answer.code, answer.out]).toEqual([2, '']);
      expect(answer.err).toContain(code);
    }
    expect(readFileSync(join(path, '0.json')).equals(before)).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each([
    [['--format', 'xml'], 'must be jsonl or csv'],
    [['--tastypy', 'x', '--out', 'y'], 'cannot be given together'],
    [['--where', 'n >'], 'at character 4:\n  n >\n     ^\n'],
  ])('refuses %j', async (args, message) => {
    const { code, out, err } = await everpod(['export', podAt(), ...args]);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('ERR_POD_OPTIONS');
    expect(err).toContain(message);
  });

  it('waits for whoever reads, and ends when nobody does', async () => {
    const path = podAt(Array.from({ length: 2_000 }, (_, n): [Key, unknown] => [n, 'x'.repeat(200)]));
    let waits = 0;
    const all = await everpod(['export', path], [], () => ++waits > 0);
    expect(all.out.split('\n')).toHaveLength(2_001);
    expect(waits).toBeGreaterThan(3);
    const some = await everpod(['export', path], [], () => false);
    expect([some.code, some.err]).toEqual([0, '']);
    // One piece, and no more is asked for.
    expect(some.out.length).toBeGreaterThan(0);
    expect(some.out.length).toBeLessThanOrEqual(1 << 16);
    expect(all.out.startsWith(some.out)).toBe(true);
    // The folder was let go.
    POD.open(path).close();
  });

  it('says how far it is when it takes long and is asked to', async () => {
    const path = podAt(Array.from({ length: 1_000 }, (_, n): [Key, unknown] => [n, 'x'.repeat(1_000)]));
    const slowly = (): boolean => {
      clock.advance(400);
      return true;
    };
    const { err } = await everpod(['export', path, '--progress'], [], slowly);
    expect(err).toMatch(/^everpod: .*: \d+ of 1,000 entries exported\n/);
    expect((await everpod(['export', path], [], slowly)).err).toBe('');
    expect((await everpod(['export', path, '--progress'])).err).toBe('');
  });

  const hasSignals = process.platform !== 'win32';
  if (!hasSignals) console.warn('# skipped: an interrupted export: there are no signals here');
  it.skipIf(!hasSignals)(
    'leaves neither a half file nor a hidden one when it is interrupted',
    async () => {
      const path = podAt(Array.from({ length: 60_000 }, (_, n): [Key, unknown] => [n, { text: 'x'.repeat(300), n }]));
      const file = fileWith('mine', 'x.csv.gz');
      const child = spawn(process.execPath, [MAIN, 'export', path, '--out', file], {
        stdio: 'ignore',
      });
      const ended = once(child, 'exit');
      while (!readdirSync(dirname(file)).some((name) => name.startsWith('.export.'))) {
        if (child.exitCode !== null) throw new Error('it was done before it could be interrupted');
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      child.kill('SIGINT');
      expect(await ended).toEqual([null, 'SIGINT']);
      expect(readdirSync(dirname(file))).toEqual(['x.csv.gz']);
      expect(readFileSync(file, 'utf8')).toBe('mine');
    },
    60_000,
  );
});

describe('import', () => {
  it('reads both forms of lines, empty lines, any line end, a byte order mark, gzip whatever its name, and pieces cut anywhere', async () => {
    const lines = '\ufeff["é",1]\r\n\n  \n{"value":{"b":[2]},"key":["x",1]}\n[7,null]';
    const whole = Buffer.from(lines);
    const wanted: Entries = [
      ['é', 1],
      [['x', 1], { b: [2] }],
      [7, null],
    ];
    const bytes = (of: Buffer): Buffer[] => Array.from(of, (_, at) => of.subarray(at, at + 1));
    for (const input of [
      [whole],
      bytes(whole),
      bytes(gzipSync(whole)),
      [Buffer.concat([gzipSync(whole), gzipSync('\n[8,8]')])],
    ]) {
      const path = temporary.path();
      expect((await everpod(['import', path, '--create'], input)).code).toBe(0);
      expect(entriesOf(path).slice(0, 3)).toEqual(wanted);
    }
    const path = temporary.path();
    await everpod(['import', path, '--create', '--from', fileWith(gzipSync(whole), 'x.txt')]);
    await everpod(['import', path, '--from', fileWith(whole, 'plain.jsonl.gz')]);
    expect(entriesOf(path)).toEqual(wanted);
  });

  it('sets, merges or leaves what is there, which keeps its place', async () => {
    const before: Entries = [
      ['a', { x: 1, y: 1 }],
      ['b', 2],
      ['c', { x: 3 }],
    ];
    const input = ['["c",{"y":9}]\n["b",{"z":1}]\n["d",4]\n["a",{"x":1,"y":1}]\n'];
    const wanted: Record<string, [unknown, string]> = {
      '': [{ y: 9 }, '1 added, 2 changed, 1 as they were, 0 skipped'],
      '--merge': [{ x: 3, y: 9 }, '1 added, 2 changed, 1 as they were, 0 skipped'],
      '--skip-existing': [{ x: 3 }, '1 added, 0 changed, 0 as they were, 3 skipped'],
    };
    for (const [flag, [c, words]] of Object.entries(wanted)) {
      const path = podAt(before);
      const { out } = await everpod(['import', path, ...(flag === '' ? [] : [flag])], input);
      expect(out).toBe(`${path}: 4 entries read: ${words}.\n`);
      const b = flag === '--skip-existing' ? 2 : { z: 1 };
      expect(entriesOf(path)).toEqual([before[0], ['b', b], ['c', c], ['d', 4]]);
    }
  });

  it('fills up tasks that have no record, keeps one that is named, and makes a task of anything', async () => {
    const path = temporary.path();
    const input = ['["a",{"x":1}]\n["b",{"_tries":2,"_done":true}]\n["c",5]\n'];
    expect((await everpod(['import', path, '--create', '--tracker'], input)).code).toBe(0);
    const fresh = { _tries: 0, _done: false, _aborted: false };
    const wanted: Entries = [
      ['a', { ...fresh, x: 1 }],
      ['b', { ...fresh, _tries: 2, _done: true }],
      ['c', { ...fresh, val: 5 }],
    ];
    expect(tasksOf(path)).toEqual(wanted);
    // With --merge a record that is there survives lines without one.
    await everpod(['import', path, '--merge'], ['["b",{"x":2}]\n']);
    expect(tasksOf(path)[1]).toEqual(['b', { ...fresh, _tries: 2, _done: true, x: 2 }]);
    const bad = await everpod(['import', path], ['["d",{"_tries":"2"}]\n']);
    expect(bad.err).toContain("standard input, line 1 cannot be kept: A task's _tries must be a whole number");
    expect(tasksOf(path)).toHaveLength(3);
  });

  it('makes a folder only where it is told to, and none for input that is missing or bad', async () => {
    const path = temporary.path('new.pod');
    const missing = await everpod(['import', path], ['["a",1]\n']);
    expect([missing.code, missing.err]).toEqual([2, expect.stringContaining('--create makes one')]);
    const noFile = await everpod(['import', path, '--create', '--from', `${path}.jsonl`]);
    expect([noFile.code, noFile.err]).toEqual([2, expect.stringMatching(/ERR_POD_DISK.*could not be read: ENOENT/)]);
    const bad = await everpod(['import', path, '--create'], ['nonsense\n']);
    expect([bad.code, bad.err]).toEqual([2, expect.stringMatching(/line 1 is not JSON.*Nothing was changed\.\n$/)]);
    const dry = await everpod(['import', path, '--create', '--dry-run'], ['["a",1]\n']);
    expect([dry.code, dry.out]).toEqual([0, expect.stringContaining('1 added')]);
    expect(existsSync(path)).toBe(false);
    expect((await everpod(['import', path, '--create'], [])).code).toBe(0);
    expect(entriesOf(path)).toEqual([]);
    const kind = await everpod(['import', path, '--tracker'], ['["a",1]\n']);
    expect([kind.code, kind.err]).toEqual([2, expect.stringContaining('pod of other values')]);
    expect(entriesOf(path)).toEqual([]);
  });

  it.each([
    ['no JSON', 'x', 'is not JSON'],
    ['half a line', '["b",', 'is not JSON'],
    ['a list of one', '["b"]', 'is no entry'],
    ['a list of three', '["b",1,2]', 'is no entry'],
    ['an object without a value', '{"key":"b"}', 'is no entry'],
    ['an object with more', '{"key":"b","value":1,"x":1}', 'is no entry'],
    ['a text', '"b"', 'is no entry'],
    ['a key that is none', '[1.5,1]', 'has no key: 1.5 cannot be a key'],
    ['a number that is too large', '["b",1e999]', 'cannot be kept'],
    ['an id that would be rounded', '["b",{"id":12345678901234567890}]', 'has the number 12345678901234567890'],
    ['too many levels', `["b",${'['.repeat(513)}${']'.repeat(513)}]`, 'is nested too deeply'],
    ['very many levels', '['.repeat(100_000), 'is nested too deeply'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'is not UTF-8'],
  ])('refuses %s by its line, keeps what came before, and can be repeated', async (_, line, message) => {
    const path = podAt([]);
    const input = ['["a",1]\n\n', line, '\n["c",3]\n'];
    const { code, out, err } = await everpod(['import', path, '--json'], input);
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ error: { line: 3, file: 'standard input' } });
    expect(err).toContain(`standard input, line 3 ${message}`);
    expect(err).toContain('The 1 entry before it is in the pod; put this right and import again');
    expect(entriesOf(path)).toEqual([['a', 1]]);
    expect((await everpod(['import', path], ['["a",1]\n["b",2]\n["c",3]\n'])).code).toBe(0);
    expect(entriesOf(path)).toHaveLength(3);
  });

  it('takes numbers that are exact, however long they are', async () => {
    const path = podAt([]);
    const long = [12345678901234567000, 2 ** 63, 100000000000000000000, 1.2345678901234567, -9007199254740991];
    const input = [
      `["a",${JSON.stringify(long)}]\n["b","12345678901234567890 \\" 12345678901234567891"]\n[9007199254740991,1]\n`,
    ];
    expect((await everpod(['import', path], input)).err).toBe('');
    expect(entriesOf(path)[0]).toEqual(['a', long]);
  });

  it('refuses rows of CSV by the line on which they begin, and a file that is cut off', async () => {
    const path = podAt([]);
    const broken = await everpod(['import', path, '--format', 'csv'], ['key,a\nx,"1\n2"\ny,1,2\n']);
    expect(broken.err).toContain('standard input, line 4 has 3 cells, and there are 2 columns.');
    const open = await everpod(['import', path, '--format', 'csv'], ['key,a\nx,1\ny,"1\n2\n']);
    expect(open.err).toContain('standard input, line 3 begins a cell in quotes that never ends.');
    expect(entriesOf(path)).toEqual([['x', { a: 1 }]]);
    const zipped = gzipSync(Array.from({ length: 5_000 }, (_, n) => `[${n},"${(n * 7919) % 5000}"]\n`).join(''));
    const cut = fileWith(zipped.subarray(0, zipped.length / 2), 'x.jsonl.gz');
    const short = await everpod(['import', path, '--from', cut]);
    expect([short.code, short.err]).toEqual([2, expect.stringContaining('is gzipped, and is damaged or cut off')]);
  });

  it('is refused while a program has the folder, but for a dry run', async () => {
    const path = podAt();
    const pod = temporary.keep(POD.open(path, { isolated: true }));
    expect((await everpod(['import', path], ['["a",1]\n'])).err).toContain('ERR_POD_LOCKED');
    expect((await everpod(['import', path, '--dry-run'], ['["a",1]\n'])).out).toContain('1 changed');
    pod.close();
    expect(entriesOf(path)).toEqual(SOME);
  });

  it('refuses --merge together with --skip-existing', async () => {
    const { code, err } = await everpod(['import', podAt(), '--merge', '--skip-existing']);
    expect([code, err]).toEqual([2, expect.stringContaining('cannot be given together with --skip-existing')]);
  });

  it('works in a pipe between two processes', async () => {
    const path = podAt();
    const copy = temporary.path('copy.pod');
    const everpodIn = (...args: string[]) => spawn(process.execPath, [MAIN, ...args]);
    const from = everpodIn('export', path);
    const to = everpodIn('import', copy, '--create', '--from', '-');
    from.stdout.pipe(to.stdin);
    const [out, err, [code]] = await Promise.all([text(to.stdout), text(to.stderr), once(to, 'exit')]);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('6 added');
    expect(entriesOf(copy)).toEqual(SOME);
  }, 60_000);
});

describe('lines', () => {
  it('are refused where one is longer than a line may be, also when it never ends', async () => {
    const read = async (...pieces: string[]): Promise<string[]> => {
      const found: string[] = [];
      const source = async function* () {
        for (const piece of pieces) yield Buffer.from(piece);
      };
      try {
        for await (const lines of linesOf(source(), 5)) found.push(...lines.map((line) => line.text));
      } catch (error) {
        found.push((error as Error).message);
      }
      return found;
    };
    expect(await read('12345\n1', '234', '5')).toEqual(['12345', '12345']);
    expect(await read('1\n123456\n2')).toEqual(['1', 'line 2 is longer than 5 bytes.']);
    expect(await read('1\n123', '456')).toEqual(['1', 'line 2 is longer than 5 bytes.']);
  });
});
