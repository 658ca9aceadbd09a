import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyFolder } from '../../src/disk/repair.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD, PodError } from '../../src/index.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'everpod-lost-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function refusal(open: () => unknown): PodError {
  try {
    open();
  } catch (error) {
    if (error instanceof PodError) return error;
    throw error;
  }
  throw new Error('It was opened.');
}

/** A copy of a pod that was never closed, without its manifest. */
function unclosedWithoutManifest(): string {
  const pod = POD.open<number>(join(folder, 'pod'));
  pod.set('a', 1);
  pod.sync();
  const copy = join(folder, 'copy');
  pod.copyTo(join(folder, 'kept')).close();
  rmSync(copy, { recursive: true, force: true });
  POD.open(copy).close();
  for (const name of readdirSync(copy)) rmSync(join(copy, name), { recursive: true });
  writeFileSync(join(copy, 'wal-000001.jsonl'), readFileSync(join(folder, 'pod', 'wal-000001.jsonl')));
  pod.close();
  return copy;
}

describe('a folder whose manifest is lost', () => {
  it('is refused when its log holds records', () => {
    const copy = unclosedWithoutManifest();
    expect(refusal(() => POD.open(copy)).code).toBe('ERR_POD_CORRUPT');
  });

  it('is refused when the header of its log is damaged too, and the log stays', () => {
    const copy = unclosedWithoutManifest();
    const log = readFileSync(join(copy, 'wal-000001.jsonl'));
    for (const at of [0, 12, 40]) {
      const damaged = Buffer.from(log);
      damaged[at] = (damaged[at] as number) ^ 1;
      writeFileSync(join(copy, 'wal-000001.jsonl'), damaged);
      expect(refusal(() => POD.open(copy)).code).toBe('ERR_POD_CORRUPT');
      expect(readFileSync(join(copy, 'wal-000001.jsonl'))).toEqual(damaged);
    }
  });

  it('is not taken for one of tastypy when it is a copy', () => {
    const pod = POD.open<number>(join(folder, 'pod'));
    pod.set('a\\b', 1);
    pod.copyTo(join(folder, 'copy')).close();
    pod.close();
    rmSync(join(folder, 'copy', 'pod.json'));
    expect(refusal(() => POD.open(join(folder, 'copy'))).code).toBe('ERR_POD_CORRUPT');
  });

  it('is a new one when the first open was cut short in the header', () => {
    const copy = unclosedWithoutManifest();
    const log = readFileSync(join(copy, 'wal-000001.jsonl'));
    writeFileSync(join(copy, 'wal-000001.jsonl'), log.subarray(0, 30));
    const pod = POD.open(copy);
    expect(pod.recovery.ended).toBe('new');
    pod.close();
  });
});

describe('a bad line in a folder of tastypy', () => {
  it('is named once, with advice that works there', () => {
    const bare = join(folder, 'bare');
    POD.open(bare).close();
    for (const name of readdirSync(bare)) rmSync(join(bare, name), { recursive: true });
    writeFileSync(join(bare, '0.json'), '"a"\t1\nno tab here\n');
    const error = refusal(() => POD.open(bare));
    expect(error).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '0.json', line: 2 });
    expect(error.message).toContain('0.json line 2: there is no tab between key and value.');
    expect(error.message).not.toContain('accept');
    expect(refusal(() => verifyFolder(nodeSystem, bare)).line).toBe(2);
    writeFileSync(join(bare, '0.json'), '"a"\t1\n"b"\t2\n');
    expect(verifyFolder(nodeSystem, bare)).toBe(2);
  });
});
