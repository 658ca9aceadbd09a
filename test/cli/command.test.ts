// The command as a child process: what it prints where, its exit codes, and the folder it leaves.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { POD } from '../../src/index.ts';
import { useTemporary } from '../tracker/temporary.ts';
import { everpodChild, MAIN } from './everpod.ts';

const temporary = useTemporary();

function podAt(entries: Record<string, unknown>): string {
  const path = temporary.path();
  POD.open<unknown>(path, { init: entries }).close();
  return path;
}

describe.concurrent('everpod, as a process', () => {
  it('says how it is used', async () => {
    const help = await everpodChild('--help');
    expect([help.code, help.err]).toEqual([0, '']);
    for (const word of ['verify', 'accept', 'repair', 'export', 'stats', 'retry']) expect(help.out).toContain(word);
    expect(help.out).not.toContain('torture-writer');
    const ofOne = await everpodChild('export', '--help');
    expect([ofOne.code, ofOne.err]).toEqual([0, '']);
    for (const word of ['--tastypy', '--json', 'Examples:']) expect(ofOne.out).toContain(word);
  });

  it('is refused with exit code 2 where it is used wrongly', async () => {
    const wrong = await everpodChild('mend', 'a.pod');
    expect([wrong.code, wrong.out]).toEqual([2, '']);
    expect(wrong.err).toContain("unknown command 'mend'");
    expect(wrong.err).toContain('Usage:');
  });

  it('verifies', async () => {
    const path = podAt({ a: 1, b: { c: [2] } });
    expect(await everpodChild('verify', path)).toEqual({ code: 0, out: `${path}: all is well, 2 entries.\n`, err: '' });
  });

  it('takes an edit by hand over, which until then is damage', async () => {
    const path = podAt({ a: 1, b: 2 });
    writeFileSync(join(path, '0.json'), '"a"\t1\n"b"\t"two"\n"c"\t3\n');
    const verified = await everpodChild('verify', path);
    expect([verified.code, verified.out]).toEqual([1, '']);
    expect(verified.err).toContain('everpod accept');
    expect(await everpodChild('accept', path)).toEqual({ code: 0, out: `${path}: accepted 0.json.\n`, err: '' });
    const { out } = await everpodChild('export', path);
    expect(out).toBe('["a",1]\n["b","two"]\n["c",3]\n');
  });

  it('repairs', async () => {
    const path = podAt({ a: 1, b: 2, c: 3 });
    writeFileSync(join(path, '0.json'), '"a"\t1\nsomething else\n"c"\t3\n');
    const repaired = await everpodChild('repair', path, '--json');
    expect(repaired.code).toBe(0);
    expect(JSON.parse(repaired.out)).toMatchObject({ entries: 2, lostLines: 1 });
    const verified = await everpodChild('verify', '--json', path);
    expect(JSON.parse(verified.out)).toEqual({ ok: true, entries: 2 });
  });

  it('exports the folder of the ancestor back byte for byte', async () => {
    const fixture = fileURLToPath(new URL('../fixtures/tastypy/plain.pod', import.meta.url));
    const path = temporary.path();
    cpSync(fixture, path, { recursive: true });
    const target = temporary.path('back');
    const exported = await everpodChild('export', path, '--tastypy', target);
    expect([exported.code, exported.err]).toEqual([0, '']);
    for (const file of ['0.json', '1.json', '2.json']) {
      expect(readFileSync(join(target, file)).equals(readFileSync(join(fixture, file)))).toBe(true);
    }
  });

  it('does not touch a folder that another process has open', async () => {
    const path = podAt({ a: 1 });
    const pod = POD.open<unknown>(path);
    try {
      pod.set('b', 2);
      pod.sync();
      for (const command of ['accept', 'repair']) {
        const { code, out, err } = await everpodChild(command, path);
        expect(err).toContain('ERR_POD_LOCKED');
        expect(err).toContain(String(process.pid));
        expect([code, out]).toEqual([2, '']);
      }
      expect((await everpodChild('export', path)).out).toBe('["a",1]\n["b",2]\n');
      expect(existsSync(join(path, 'quarantine'))).toBe(false);
    } finally {
      pod.close();
    }
  });

  it('says so where there is no folder, and makes none', async () => {
    const path = temporary.path('nothing.pod');
    const { code, out, err } = await everpodChild('repair', path);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('ERR_POD_NOT_FOUND');
    expect(existsSync(path)).toBe(false);
  });

  it('ends quietly when nobody reads on, as in `everpod export a.pod | head -1`', async () => {
    const path = temporary.path();
    const pod = POD.open<string>(path, { durability: 'exit' });
    for (let key = 0; key < 4_000; key++) pod.set(`k${key}`, 'x'.repeat(200));
    pod.close();
    const child = spawn(process.execPath, [MAIN, 'export', path], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let err = '';
    child.stderr.on('data', (words: Buffer) => {
      err += words.toString();
    });
    const [first] = (await once(child.stdout, 'data')) as [Buffer];
    expect(first.toString()).toContain('["k0"');
    child.stdout.destroy();
    await once(child, 'close');
    expect(err).toBe('');
  });

  const hasFullDisk = existsSync('/dev/full');
  if (!hasFullDisk) console.warn('# skipped: an answer to a full disk: there is no /dev/full here');
  it.skipIf(!hasFullDisk)('says on a full disk that it could not answer, which is no word about the pod', async () => {
    const path = podAt({ a: 1 });
    for (const args of [['verify', path], ['export', path], ['--help']]) {
      const child = spawn('sh', ['-c', '"$@" > /dev/full', 'sh', process.execPath, MAIN, ...args]);
      let err = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
      const [code] = (await once(child, 'close')) as [number];
      expect([code, err]).toEqual([2, expect.stringMatching(/^everpod: the answer could not be written: ENOSPC.*\n$/)]);
    }
  });
});
