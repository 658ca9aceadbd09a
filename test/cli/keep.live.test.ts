// Backups beside a process that writes, folds and compacts, and commands that are killed: real processes on a real disk.
import { cpSync, existsSync, mkdirSync, openSync, readdirSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { backUp } from '../../src/disk/backup.ts';
import { copyFolder } from '../../src/disk/copy.ts';
import { nodeSystem } from '../../src/disk/system.ts';
import { POD } from '../../src/index.ts';
import { useBench } from '../process/built.ts';
import { applyVersion } from '../process/children/versions.ts';
import { testSize } from '../size.ts';
import { everpod } from './everpod.ts';

const bench = useBench();
const quietly = (): void => {};
const HOUR_MS = 3_600_000;

/** The entries of a pod, in order, as text; a reader disturbs nothing. */
function contentOf(path: string): string {
  const pod = POD.open(path, { mode: 'r', isolated: true });
  try {
    return JSON.stringify([...pod]);
  } finally {
    pod.close();
  }
}

/** What each version holds, made as the versions are asked for. */
class Versions {
  readonly #map = new Map<string, object>();
  readonly #texts: string[] = [JSON.stringify([])];

  textOf(version: number): string {
    while (this.#texts.length <= version) {
      applyVersion(this.#texts.length, this.#map);
      this.#texts.push(JSON.stringify([...this.#map]));
    }
    return this.#texts[version] as string;
  }
}

function noted(fd: number, place: number): number {
  const bytes = Buffer.alloc(8);
  readSync(fd, bytes, 0, 8, 8 * place);
  return bytes.readDoubleLE();
}

describe('backups beside a process that writes, syncs, folds, compacts and reopens', () => {
  const count = { small: 10, ci: 150, long: 750 }[testSize];

  it.each([false, true])(
    'D36: are prefixes of what it wrote, none older than its beginning (gzipped: %s)',
    { timeout: HOUR_MS },
    async (gzipped) => {
      const folder = bench.newPath();
      const writer = bench.start('versions', [folder, String(gzipped)]);
      await writer.said('ready');
      const progress = openSync(`${folder}.progress`, 'r');
      const versions = new Versions();
      const seen = new Set<number>();
      for (let n = 0; n < count; n++) {
        const isCopy = n % 4 === 3;
        const target = bench.newPath('backup');
        const acknowledged = noted(progress, 1);
        if (isCopy) copyFolder(nodeSystem, folder, target, { gzip: !gzipped, fileSize: 3 }, quietly);
        else backUp(nodeSystem, folder, target, quietly);
        const begun = noted(progress, 0);
        const content = contentOf(target);
        const version = Number(/"version":(\d+)/.exec(content)?.[1]);
        expect(version).toBeGreaterThanOrEqual(acknowledged);
        expect(version).toBeLessThanOrEqual(begun);
        expect(content).toBe(versions.textOf(version));
        expect(existsSync(join(target, gzipped !== isCopy ? '0.json.gz' : '0.json'))).toBe(true);
        seen.add(version);
        await sleep(n % 5);
      }
      writer.process.kill('SIGKILL');
      await writer.finished;
      console.info(`backups (gzipped: ${gzipped}): ${count}, ${seen.size} versions of ${noted(progress, 0)}`);
      // Else the writer stood still and nothing was tried.
      expect(seen.size).toBeGreaterThan(count / 4);
      // The writer is as it was, too: its last acknowledged version is there.
      const content = contentOf(folder);
      const version = Number(/"version":(\d+)/.exec(content)?.[1]);
      expect(version).toBeGreaterThanOrEqual(noted(progress, 1));
      expect(content).toBe(versions.textOf(version));
    },
  );
});

/** Two pods with enough files that a kill lands in the middle. */
function makePods(): { first: string; second: string } {
  const make = (word: string, size: number): string => {
    const path = bench.newPath(word);
    const init = Array.from({ length: size }, (_, n): [string, object] => [`k${n}`, { word, n }]);
    POD.open(path, { fileSize: 20, init }).close();
    return path;
  };
  return { first: make('first', 1_200), second: make('second', 900) };
}

/** The exit code, and what was said on standard error beside progress, of which a slow machine sees some. */
function complaints({ code, err }: { code: number | null; err: string }): { code: number | null; err: string } {
  return { code, err: err.replace(/^everpod \w+: .* (written|back|MB)\n/gm, '') };
}

/** Runs a command and kills it at a random moment of its life. Returns whether it came to its end before. */
async function killAtRandom(args: readonly string[], lifeMs: number): Promise<boolean> {
  const child = bench.start('everpod', args);
  const timer = setTimeout(() => child.process.kill('SIGKILL'), Math.random() * lifeMs);
  const { code, signal, stderr } = await child.finished;
  clearTimeout(timer);
  if (signal === null) expect(complaints({ code, err: stderr })).toEqual({ code: 0, err: '' });
  return signal === null;
}

/** How long a command takes when nobody kills it. */
async function lifeOf(args: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  expect(await bench.run('everpod', args)).toMatchObject({ code: 0 });
  return performance.now() - startedMs;
}

describe('a command that is killed', () => {
  const kills = { small: 2, ci: 25, long: 125 }[testSize];

  it('D36: backup leaves the whole pod or none, and the next one begins anew', { timeout: HOUR_MS }, async () => {
    const { first } = makePods();
    const content = contentOf(first);
    const lifeMs = 1.1 * (await lifeOf(['backup', first, bench.newPath('backup')]));
    const target = bench.newPath('backup');
    let [ended, whole, cut] = [0, 0, 0];
    for (let n = 0; n < kills; n++) {
      const path = `${target}-${n}`;
      if (await killAtRandom(['backup', first, path], lifeMs)) ended++;
      if (existsSync(join(path, 'pod.json'))) {
        expect(contentOf(path)).toBe(content);
        whole++;
        continue;
      }
      expect(() => POD.open(path, { mode: 'r' })).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/NOT_FOUND|CORRUPT/) }),
      );
      if (existsSync(path)) cut++;
      expect(everpod('backup', path, first).code).not.toBe(0);
      expect(complaints(everpod('backup', first, path))).toEqual({ code: 0, err: '' });
      expect(contentOf(path)).toBe(content);
    }
    console.info(`killed backups: ${kills}, ${ended} came to their end, ${whole} were whole, ${cut} cut short`);
  });

  it('backup --keep: never leaves fewer whole ones than asked for', { timeout: HOUR_MS }, async () => {
    const { first } = makePods();
    const content = contentOf(first);
    const series = bench.newPath('series');
    for (let n = 0; n < 2; n++) expect(everpod('backup', first, series, '--keep', '2').code).toBe(0);
    const lifeMs = 1.1 * (await lifeOf(['backup', first, series, '--keep', '2']));
    for (let n = 0; n < kills; n++) {
      await killAtRandom(['backup', first, series, '--keep', '2'], lifeMs);
      const whole = readdirSync(series).filter((name) => existsSync(join(series, name, 'pod.json')));
      expect(whole.length).toBeGreaterThanOrEqual(2);
      for (const name of whole) expect(contentOf(join(series, name))).toBe(content);
    }
    expect(complaints(everpod('backup', first, series, '--keep', '2'))).toEqual({ code: 0, err: '' });
    // What was left without a receipt holds nothing.
    const left = readdirSync(series).filter((name) => readdirSync(join(series, name)).some((file) => file !== 'lock'));
    expect(left).toHaveLength(2);
  });

  it('D37: restore leaves the old pod or the new one, and the old one beside it', { timeout: HOUR_MS }, async () => {
    const { first, second } = makePods();
    const contents = { first: contentOf(first), second: contentOf(second) };
    const tried = bench.newPath('tried');
    cpSync(second, tried, { recursive: true });
    const lifeMs = 1.1 * (await lifeOf(['restore', first, tried]));
    let [ended, isNew] = [0, 0];
    for (let n = 0; n < kills; n++) {
      const parent = bench.newPath('place');
      const path = join(parent, 'a.pod');
      mkdirSync(parent);
      cpSync(second, path, { recursive: true });
      if (await killAtRandom(['restore', first, path], lifeMs)) ended++;
      const found = contentOf(path);
      expect([contents.first, contents.second]).toContain(found);
      const kept = readdirSync(dirname(path)).filter((name) => /^a\.pod\.before-restore-[\dTZ-]+$/.test(name));
      for (const name of kept) expect(contentOf(join(parent, name))).toBe(contents.second);
      if (found === contents.first) {
        isNew++;
        expect(kept).toHaveLength(1);
      }
      // A program opens it, whatever is left over, and finds the same.
      const pod = POD.open(path);
      expect(JSON.stringify([...pod])).toBe(found);
      expect(pod.recovery.quarantined).toEqual([]);
      pod.close();
      expect(readdirSync(path).filter((name) => name.startsWith('.'))).toEqual([]);
      expect(complaints(everpod('restore', first, path))).toEqual({ code: 0, err: '' });
      expect(contentOf(path)).toBe(contents.first);
      expect(basename(path)).toBe('a.pod');
    }
    console.info(`killed restores: ${kills}, ${ended} came to their end, ${isNew} left the new pod`);
  });
});

describe('restore', () => {
  it('D37: is refused while a program has the path open, and changes nothing', async () => {
    const { first, second } = makePods();
    const content = contentOf(second);
    const pod = POD.open(second);
    const refused = await bench.run('everpod', ['restore', first, second]);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('ERR_POD_LOCKED') });
    pod.close();
    expect(contentOf(second)).toBe(content);
    expect(readdirSync(dirname(second)).filter((name) => name.startsWith(`${basename(second)}.`))).toEqual([]);
  });
});
