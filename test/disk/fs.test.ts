/**
 * What Node's file system does more than Node: it frees large files beside the program.
 */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nodeFileSystem } from '../../src/disk/fs.ts';

const LARGE = Buffer.alloc(5 << 20, 'x');

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'everpod-fs-'));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

/** What this process has open below the folder, also without a name. */
function openFiles(): string[] {
  const found: string[] = [];
  for (const fd of fs.readdirSync('/proc/self/fd')) {
    try {
      found.push(fs.readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor of the listing itself is gone.
    }
  }
  return found.filter((path) => path.startsWith(folder));
}

async function untilNothingIsOpen(): Promise<void> {
  if (process.platform !== 'linux') return;
  await vi.waitFor(() => expect(openFiles()).toEqual([]));
}

describe('a large file', () => {
  it('is gone when it was removed, and is kept open by nobody', async () => {
    const path = join(folder, 'large');
    fs.writeFileSync(path, LARGE);
    nodeFileSystem.unlink(path);
    expect(fs.existsSync(path)).toBe(false);
    await untilNothingIsOpen();
  });

  it('is gone when another was put in its place', async () => {
    const path = join(folder, 'large');
    fs.writeFileSync(path, LARGE);
    fs.writeFileSync(join(folder, 'new'), 'new');
    nodeFileSystem.rename(join(folder, 'new'), path);
    expect(fs.readFileSync(path, 'utf8')).toBe('new');
    expect(fs.existsSync(join(folder, 'new'))).toBe(false);
    await untilNothingIsOpen();
  });

  it('stays, and is not kept open, where the system refuses', async () => {
    const path = join(folder, 'large');
    fs.writeFileSync(path, LARGE);
    expect(() => nodeFileSystem.rename(join(folder, 'missing'), path)).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
    expect(fs.statSync(path).size).toBe(LARGE.length);
    await untilNothingIsOpen();
  });

  it('stays where only a link to it goes', async () => {
    const target = join(folder, 'large');
    fs.writeFileSync(target, LARGE);
    const link = join(folder, 'link');
    fs.symlinkSync(target, link);
    nodeFileSystem.unlink(link);
    expect(fs.readdirSync(folder)).toEqual(['large']);
    await untilNothingIsOpen();
  });
});

it('what is missing cannot be removed', () => {
  expect(() => nodeFileSystem.unlink(join(folder, 'missing'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});
