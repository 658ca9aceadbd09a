// Readers of pods with a saved index: they read lines when they are asked for, and are in everything like those that have read all of it.
import { closeSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeFileSystem } from '../../src/disk/fs.ts';
import { nodeSystem, type System } from '../../src/disk/system.ts';
import type { Key } from '../../src/index.ts';
import { openHandle } from '../../src/pod/open-pods.ts';
import type { PodOptions } from '../../src/pod/options.ts';
import { HANDLE_DOOR, PersistentOrderedDict } from '../../src/pod/pod.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import { codeOf, listing, plain, temporary, thrownBy } from './support.ts';

const { path } = temporary();

/** Files that are open and belong to readers. */
let openFiles = 0;
/** What readers have read of shards. */
let bytesRead = 0;
const shards: Set<number> = new Set();

const readerSystem: System = {
  ...nodeSystem,
  fs: {
    ...nodeFileSystem,
    open: (file, mode) => {
      const fd = nodeFileSystem.open(file, mode);
      openFiles++;
      if (/\/\d+\.json$/.test(file)) shards.add(fd);
      return fd;
    },
    close: (fd) => {
      openFiles--;
      shards.delete(fd);
      nodeFileSystem.close(fd);
    },
    read: (fd, ...rest) => {
      const count = nodeFileSystem.read(fd, ...rest);
      if (shards.has(fd)) bytesRead += count;
      return count;
    },
  },
};

interface Value {
  n: number;
}

type ValuePod = PersistentOrderedDict<Value, Key>;

function openPod(at: string, options: PodOptions<Value, Key>): ValuePod {
  const { handle } = openHandle<ValuePod, Value, Key>(at, options, {
    name: 'PersistentOrderedDict',
    meta: {},
    accepts: (other): other is ValuePod => other instanceof PersistentOrderedDict,
    make: (engine) => new PersistentOrderedDict<Value, Key>(HANDLE_DOOR, engine),
    system: options.mode === 'r' ? readerSystem : { ...nodeSystem, indexEntries: 0 },
  });
  return handle;
}

const keyAt = (n: number): string => `k${n}`;

/** A closed pod of so many entries, three to a shard, with an index. */
function made(entries: number = 9): string {
  const at = path();
  const pod = openPod(at, { fileSize: 3, syncEvery: 0 });
  for (let n = 0; n < entries; n++) pod.set(keyAt(n), { n });
  pod.close();
  return at;
}

const reading = (at: string, cacheSize: number = 0): ValuePod => openPod(at, { mode: 'r', isolated: true, cacheSize });

const stateOf = (pod: ValuePod): [Key, Value][] => plain([...pod]);

describe('a reader with an index', () => {
  it('keeps the state that it opened, through folds, compactions and closes, and gives its files back', () => {
    for (const cacheSize of [0, 1 << 20]) {
      const at = made();
      const before = openFiles;
      const reader = reading(at, cacheSize);
      expect(openFiles).toBe(before + 3);
      const pod = openPod(at, { syncEvery: 0 });
      pod.delete('k1');
      (pod.get('k5') as Value).n = 500;
      pod.sync();
      pod.compact();
      pod.set('new', { n: 9 });
      pod.close();
      const expected = Array.from({ length: 9 }, (_, n): [Key, Value] => [keyAt(n), { n }]);
      expect(stateOf(reader)).toEqual(expected);
      expect([...reader.keys()]).toEqual(expected.map(([key]) => key));
      expect([reader.size, reader.has('k1'), reader.has('new')]).toEqual([9, true, false]);
      const view = reader.get('k5') as Value;
      reader.close();
      expect(openFiles).toBe(before);
      expect(view.n).toBe(5);
      expect(codeOf(() => reader.get('k6'))).toBe('ERR_POD_CLOSED');
    }
  });

  it('creates and changes nothing', () => {
    const at = made();
    const before = listing(at);
    const reader = reading(at);
    expect(stateOf(reader).length).toBe(9);
    expect(codeOf(() => reader.set('k1', { n: 2 }))).toBe('ERR_POD_READONLY');
    expect(codeOf(() => ((reader.get('k1') as Value).n = 2))).toBe('ERR_POD_READONLY');
    reader.revert();
    reader.close();
    expect(listing(at)).toEqual(before);
  });

  it('reads the newest state after revert(), as one without an index does', () => {
    const states: unknown[] = [];
    for (const isIndexed of [true, false]) {
      const at = made();
      if (!isIndexed) rmSync(join(at, 'index.bin'));
      const before = openFiles;
      const reader = reading(at);
      expect(openFiles > before).toBe(isIndexed);
      const view = reader.get('k5') as Value;
      const loop = reader.keys();
      const seen = [loop.next().value, loop.next().value];
      const pod = openPod(at, { syncEvery: 0 });
      pod.delete('k1');
      pod.set('k5', { n: 500 });
      pod.set('new', { n: 9 });
      pod.close();
      if (!isIndexed) rmSync(join(at, 'index.bin'));
      reader.revert();
      expect(reader.get('k5')).not.toBe(view);
      states.push([stateOf(reader), view.n, seen, [...loop]]);
      reader.revert();
      reader.close();
      expect(openFiles).toBe(before);
    }
    expect(states[0]).toEqual(states[1]);
  });

  it('goes on with what it has where revert() finds a folder that cannot be read', () => {
    const at = made();
    const before = openFiles;
    const reader = reading(at);
    const manifest = readFileSync(join(at, 'pod.json'));
    writeFileSync(join(at, 'pod.json'), 'x');
    expect(codeOf(() => reader.revert())).toBe('ERR_POD_CORRUPT');
    expect(openFiles).toBe(before + 3);
    expect(reader.get('k4')).toEqual({ n: 4 });
    writeFileSync(join(at, 'pod.json'), manifest);
    reader.revert();
    expect(stateOf(reader).length).toBe(9);
    reader.close();
    expect(openFiles).toBe(before);
  });

  it('leaves no file open where opening fails after all', () => {
    const at = made();
    const before = openFiles;
    expect(thrownBy(() => openPod(at, { mode: 'r', fileSize: 4 })).info).toEqual({ option: 'fileSize' });
    expect(openFiles).toBe(before);
  });

  it('says which line is not what it was, and finds an edit that was made before it opened', () => {
    const at = made();
    const reader = reading(at);
    // In place, as hardly an editor does.
    const shard = readFileSync(join(at, '1.json'), 'utf8');
    const fd = openSync(join(at, '1.json'), 'r+');
    writeSync(fd, shard.replace('"n":4', '"n":8'), 0);
    closeSync(fd);
    expect(thrownBy(() => reader.get('k4'))).toMatchObject({ code: 'ERR_POD_CORRUPT', file: '1.json', path: at });
    expect(reader.get('k5')).toEqual({ n: 5 });
    reader.close();
    expect(codeOf(() => reading(at))).toBe('ERR_POD_CORRUPT');
  });

  it('can copy what it sees', () => {
    const at = made();
    const reader = reading(at);
    openPod(at, { syncEvery: 0 }).clear();
    openPod(at, { syncEvery: 0 }).close();
    const copy = reader.copyTo(path());
    reader.close();
    expect(stateOf(copy as ValuePod).length).toBe(9);
    copy.close();
  });
});

describe('a reader of a tracker with an index', () => {
  type Tasks = ProgressTracker<Value, Key>;

  function openTasks(at: string, mode: 'r' | 'w'): Tasks {
    const { handle } = openHandle<Tasks, never, Key>(
      at,
      { mode, fileSize: 3, cacheSize: 0, ...(mode === 'r' ? { isolated: true } : { syncEvery: 0 }) },
      {
        name: 'ProgressTracker',
        meta: { tracker: true },
        accepts: (other): other is Tasks => other instanceof ProgressTracker,
        make: (engine) => new ProgressTracker<Value, Key>(HANDLE_DOOR, engine as never),
        system: mode === 'r' ? readerSystem : { ...nodeSystem, indexEntries: 0 },
      },
    );
    return handle;
  }

  const countsOf = (tasks: Tasks): number[] => [tasks.size, tasks.numDone(), tasks.numTodo(), tasks.stats().tries];

  it('counts without reading a task, also what stands in the log, and counts anew after revert()', () => {
    const at = path();
    bytesRead = 0;
    const tasks = openTasks(at, 'w');
    for (let n = 0; n < 9; n++) tasks.add(keyAt(n), { n });
    tasks.markDone('k2');
    tasks.close();
    const closed = openTasks(at, 'r');
    expect(countsOf(closed)).toEqual([9, 1, 8, 0]);
    closed.close();
    expect(bytesRead).toBe(0);
    const again = openTasks(at, 'w');
    again.markDone('k3');
    again.incrementTries('k3');
    again.sync();
    const [line] = readFileSync(join(at, '1.json'), 'utf8').split('\n');
    const reader = openTasks(at, 'r');
    expect(countsOf(reader)).toEqual([9, 2, 7, 1]);
    // The line of `k3`, to find what the log is about.
    expect(bytesRead).toBe(line?.length);
    again.markDone('k5');
    again.close();
    expect(countsOf(reader)).toEqual([9, 2, 7, 1]);
    expect([...reader.doneKeys()]).toEqual(['k2', 'k3']);
    reader.revert();
    expect(countsOf(reader)).toEqual([9, 3, 6, 1]);
    expect([...reader.todoKeys()]).toEqual(['k0', 'k1', 'k4', 'k6', 'k7', 'k8']);
    reader.close();
  });
});
