/**
 * A fault at each single call to the disk, once and for good: the handle works on or says that it does not, memory keeps the truth, and
 * what was acknowledged is there after a death and after a power cut.
 */
import { Buffer } from 'node:buffer';
import { describe, expect, it, vi } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Key } from '../../src/core/key.ts';
import { Table } from '../../src/core/table.ts';
import type { TableOwner } from '../../src/core/table-owner.ts';
import { copyTable } from '../../src/disk/compact.ts';
import { makeEmptyFolder } from '../../src/disk/make-folder.ts';
import { bindFolder, recoverFolder } from '../../src/disk/recovery.ts';
import { PodEngine } from '../../src/pod/engine.ts';
import type { Durability } from '../../src/pod/options.ts';
import { type FsCall, type FsFault, MemoryFileSystem, type TestSystem, testSystem } from '../../src/testing/index.ts';
import { testSize } from '../size.ts';
import { exitTasks } from './enumerator-exit.ts';
import { stateOf as entriesOf, outputText, settle } from './enumerator-explorer.ts';

vi.mock('../../src/disk/exit.ts', async () => import('./enumerator-exit.ts'));

const PATH = '/data/crawl/pod';
type Value = { n: number };
type Engine = PodEngine<Value, Key>;

interface World {
  system: TestSystem;
  engine: Engine | undefined;
  /** What the pod holds for sure: the state of the last sync point. */
  acknowledged: string;
  /** What a process that died had appended beyond that: there until the power fails. */
  appended: string | undefined;
  level: Durability;
}

interface Scenario {
  readonly level?: Durability;
  /** Brings everything to where the faults begin. */
  readonly prepare: (world: World) => void | Promise<void>;
  readonly work: (world: World) => void | Promise<void>;
}

/** Pods save an index, however small they are, and read every value from the disk. */
let isIndexed = false;

// ---- What is done.

function open(world: World, options: { fileSize?: number; gzipped?: boolean } = {}): Engine {
  const { system, level } = world;
  const settings = { durability: level, fileSize: 3, ...(isIndexed && { cacheSize: 0 }), ...options };
  world.engine = new PodEngine<Value, Key>(system, PATH, settings, {});
  return world.engine;
}

function live({ engine }: World): Engine {
  if (engine === undefined) throw new Error('The pod is not open.');
  return engine;
}

/** Everything that memory holds: the entries, and the lines of outputs. */
function stateOf(world: World): string {
  const { table, outputs } = live(world);
  return `${entriesOf(table)}${outputText(world.system.fs, outputs.contents(), PATH)}`;
}

function set(world: World, ...keys: string[]): void {
  for (const key of keys) live(world).table.set(key, { n: key.charCodeAt(0) });
}

function sync(world: World): void {
  live(world).sync();
  world.acknowledged = stateOf(world);
}

/** Five entries in two shards, and two changes that are in the log. */
async function fill(world: World): Promise<void> {
  open(world);
  set(world, 'a', 'b', 'c', 'd', 'e');
  live(world).close();
  open(world);
  set(world, 'f');
  sync(world);
  live(world).table.delete(live(world).table.find('b') as never);
  set(world, 'a', 'g');
  await settle();
}

/** The same with an output: two lines in the file, one in the log behind the sync point. */
async function fillLines(world: World): Promise<void> {
  await fill(world);
  live(world).declareOutput('lines.jsonl');
  line(world, 'h');
  live(world).compact();
  line(world, 'i');
  sync(world);
  line(world, 'j');
  await settle();
}

/** Sets an entry with a line, as a task that becomes done. */
function line(world: World, key: string): void {
  live(world).outputs.add('lines.jsonl', 'json', `{"line":"${key}"}`);
  set(world, key);
}

/** What `fillLines` leaves in memory, and in the log after a death. */
const APPENDED_LINES = ['a', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']
  .map((key) => `"${key}"\t{"n":${key.charCodeAt(0)}}\n`)
  .concat(['h', 'i', 'j'].map((key) => `{"line":"${key}"}\n`))
  .join('');

/** A folder that tastypy wrote, two entries to a shard. */
function bare(world: World): void {
  const image = [
    [`${PATH}/0.json`, Buffer.from('"a"\t{"n":1}\n"b"\t{"n":2}\n')],
    [`${PATH}/1.json`, Buffer.from('"c"\t{"n":3}\n')],
  ] as const;
  world.system = systemOn(MemoryFileSystem.fromImage(new Map(image)));
  world.acknowledged = '"a"\t{"n":1}\n"b"\t{"n":2}\n"c"\t{"n":3}\n';
}

/** What `fill` leaves in memory, and in the log after a death. */
const APPENDED = ['a', 'c', 'd', 'e', 'f', 'g'].map((key) => `"${key}"\t{"n":${key.charCodeAt(0)}}\n`).join('');

/** The process dies without a word. */
function die(world: World): void {
  exitTasks.clear();
  world.engine = undefined;
  world.system = systemOn(world.system.fs.afterDeath());
}

function systemOn(fs: MemoryFileSystem): TestSystem {
  const system = testSystem({ fs, foldLogBytes: 300, indexEntries: isIndexed ? 0 : undefined });
  system.clock.readingCostMs = 20;
  return system;
}

async function timers(world: World, count: number): Promise<void> {
  for (let left = count; left > 0; left--) {
    world.system.clock.runNext();
    await settle();
  }
}

const isLogSync = ({ name, path }: FsCall): boolean => name === 'fdatasync' && path.includes('/wal-');

const scenarios: Readonly<Record<string, Scenario>> = {
  'opening a new folder': { prepare: () => {}, work: (world) => void open(world) },
  'opening a folder that was closed': {
    prepare: async (world) => {
      await fill(world);
      live(world).close();
      world.acknowledged = stateOf(world);
      world.engine = undefined;
    },
    work: (world) => void open(world),
  },
  'opening after a death': {
    prepare: async (world) => {
      await fill(world);
      die(world);
      world.appended = APPENDED;
    },
    work: (world) => void open(world),
  },
  'opening after an append that was cut short': {
    prepare: async (world) => {
      await fill(world);
      sync(world);
      set(world, 'h', 'i');
      let writes = 0;
      world.system.fs.intercept = ({ name }) => {
        if (name !== 'write') return undefined;
        return ++writes === 1 ? { kind: 'short', bytes: 30 } : { kind: 'kill' };
      };
      await settle();
      die(world);
    },
    work: (world) => void open(world),
  },
  'opening after a compaction that was cut short': {
    prepare: async (world) => {
      await fill(world);
      let renamed = false;
      world.system.fs.intercept = ({ name, to }) => {
        if (renamed && name === 'rename') return { kind: 'kill' };
        renamed ||= name === 'rename' && to?.endsWith('/pod.json') === true;
        return undefined;
      };
      world.acknowledged = stateOf(world);
      live(world).compact();
      expect(world.system.fs.killed).toBe(true);
      die(world);
    },
    work: (world) => void open(world),
  },
  'opening after a rescue that was cut short': {
    prepare: async (world) => {
      await fill(world);
      let failed = false;
      world.system.fs.intercept = (call) => {
        if (failed && call.path.includes('pod.json')) return { kind: 'kill' };
        if (!isLogSync(call) || failed) return undefined;
        failed = true;
        return { kind: 'error', code: 'EIO' };
      };
      expect(() => live(world).sync()).toThrow();
      die(world);
      world.appended = APPENDED;
    },
    work: (world) => void open(world),
  },
  'opening in another layout': {
    prepare: async (world) => {
      await fill(world);
      live(world).close();
      world.acknowledged = stateOf(world);
      world.engine = undefined;
    },
    work: (world) => void open(world, { fileSize: 2, gzipped: true }),
  },
  'adopting a folder of tastypy': {
    prepare: bare,
    work: (world) => void open(world, { fileSize: 2 }),
  },
  'adopting a folder of tastypy in another layout': {
    prepare: bare,
    work: (world) => void open(world),
  },
  'appending a turn': {
    prepare: fill,
    work: async (world) => {
      set(world, 'h', 'i');
      await settle();
      if (live(world).table.pending.isEmpty) world.appended = stateOf(world);
      // An error of the background is met by the next change.
      set(world, 'j');
      await settle();
    },
  },
  'a sync point': { prepare: fill, work: sync },
  'a sync point at level exit': {
    level: 'exit',
    prepare: fill,
    work: sync,
  },
  'a change at level power': { level: 'power', prepare: fill, work: (world) => set(world, 'h') },
  'a transaction at level power': {
    level: 'power',
    prepare: fill,
    work: (world) => live(world).transaction(() => set(world, 'h', 'i', 'a')),
  },
  'a flush': {
    prepare: fill,
    work: async (world) => {
      await live(world).flush();
      world.acknowledged = stateOf(world);
    },
  },
  'a flush beside changes': {
    prepare: fill,
    work: async (world) => {
      const reached = stateOf(world);
      const done = live(world).flush();
      set(world, 'h');
      await done;
      world.acknowledged = reached;
    },
  },
  'going back': { prepare: fill, work: (world) => live(world).revert() },
  'a background sync and a fold': {
    prepare: fill,
    work: (world) => timers(world, 8),
  },
  'a mark': {
    prepare: async (world) => {
      await fill(world);
      sync(world);
      await timers(world, 6);
      set(world, 'h');
      sync(world);
    },
    work: (world) => timers(world, 2),
  },
  closing: { prepare: fill, work: (world) => live(world).close() },
  compacting: { prepare: fill, work: (world) => live(world).compact() },
  'compacting into gzip': { prepare: fill, work: (world) => live(world).compact({ fileSize: 2, gzip: true }) },
  'a copy': {
    prepare: fill,
    work: (world) => {
      const { fs } = world.system;
      makeEmptyFolder(fs, '/copy');
      copyTable(fs, '/copy', live(world).table, { fileSize: 2, gzip: false }, {});
    },
  },
  'a rescue': {
    prepare: fill,
    work: (world) => {
      const { intercept } = world.system.fs;
      let failed = false;
      world.system.fs.intercept = (call) => {
        if (!failed && isLogSync(call)) {
          failed = true;
          return { kind: 'error', code: 'EIO' };
        }
        return intercept?.(call);
      };
      try {
        sync(world);
      } finally {
        world.system.fs.intercept = intercept;
      }
    },
  },
  'the first use of an output': { prepare: fill, work: (world) => live(world).declareOutput('lines.jsonl') },
  'a sync point with lines': { prepare: fillLines, work: sync },
  'a flush with lines': {
    prepare: fillLines,
    work: async (world) => {
      await live(world).flush();
      world.acknowledged = stateOf(world);
    },
  },
  'going back with lines': { prepare: fillLines, work: (world) => live(world).revert() },
  'closing with lines': { prepare: fillLines, work: (world) => live(world).close() },
  'compacting with lines': { prepare: fillLines, work: (world) => live(world).compact() },
  'a fold with lines': { prepare: fillLines, work: (world) => timers(world, 8) },
  'a copy with lines': {
    prepare: fillLines,
    work: (world) => {
      const { fs } = world.system;
      makeEmptyFolder(fs, '/copy');
      const { table, outputs } = live(world);
      const sources = outputs.contents().map((each) => ({ ...each, from: `${PATH}/${each.name}` }));
      copyTable(fs, '/copy', table, { fileSize: 2, gzip: false }, {}, sources);
    },
  },
  'opening with lines after a death': {
    prepare: async (world) => {
      await fillLines(world);
      die(world);
      world.appended = APPENDED_LINES;
    },
    work: (world) => void open(world),
  },
  'opening with lines whose end was cut short': {
    prepare: async (world) => {
      await fillLines(world);
      let writes = 0;
      world.system.fs.intercept = ({ name, path }) => {
        if (name !== 'write' || !path.endsWith('lines.jsonl')) return undefined;
        return ++writes === 1 ? { kind: 'short', bytes: 7 } : { kind: 'kill' };
      };
      expect(() => live(world).sync()).toThrow();
      world.acknowledged = APPENDED_LINES;
      die(world);
    },
    work: (world) => void open(world),
  },
  'the end of the process': { prepare: fill, work: () => exitTasks.run('SIGTERM') },
  'noting facts about the folder': { prepare: fill, work: (world) => live(world).setMeta({ tracker: true }) },
};

// ---- Faults.

type Mode = 'once' | 'for good' | 'disk full';

/** What goes wrong with a call, in the way such calls do go wrong. */
function faultFor({ name }: FsCall): FsFault {
  if (name === 'write' || name === 'mkdir') return { kind: 'error', code: 'ENOSPC' };
  if (name === 'open') return { kind: 'error', code: 'EMFILE' };
  if (name === 'rename' || name === 'unlink' || name === 'truncate') return { kind: 'error', code: 'EROFS' };
  return { kind: 'error', code: 'EIO' };
}

async function worldOf({ level = 'process', prepare }: Scenario): Promise<World> {
  exitTasks.clear();
  const world: World = {
    system: systemOn(new MemoryFileSystem()),
    engine: undefined,
    acknowledged: '',
    appended: undefined,
    level,
  };
  await prepare(world);
  return world;
}

/** The call that was hit last, for messages. */
let lastStruck: string = '';

/** How many calls the work makes when nothing goes wrong, and what memory holds then. */
async function measure(scenario: Scenario): Promise<{ calls: number; reached: string }> {
  const world = await worldOf(scenario);
  const { fs } = world.system;
  const before = fs.calls;
  fs.intercept = () => undefined;
  await scenario.work(world);
  await settle();
  return { calls: fs.calls - before, reached: stateOf(world) };
}

/** Runs the work with a fault at its call number `at`, and looks at everything afterwards. */
async function strike(scenario: Scenario, at: number, mode: Mode, reached: string): Promise<void> {
  const world = await worldOf(scenario);
  const { fs } = world.system;
  const first = fs.calls + at;
  const memory = world.engine === undefined ? undefined : stateOf(world);
  const imageBefore = fs.image();
  const openBefore = fs.openPaths.length;
  const failedFsyncs = new Set<number>();
  let struck = false;
  fs.intercept = (call) => {
    if (call.name === 'fsync' || call.name === 'fdatasync') {
      expect(failedFsyncs.has(call.fd as number), 'an fsync is tried again on a descriptor where it failed').toBe(
        false,
      );
    }
    const hits = mode === 'once' ? call.index === first : call.index >= first;
    if (!hits || (mode === 'disk full' && call.name !== 'write')) return undefined;
    struck = true;
    lastStruck = `${call.name} ${call.path}`;
    const fault = faultFor(call);
    if (call.name === 'fsync' || call.name === 'fdatasync') failedFsyncs.add(call.fd as number);
    return fault;
  };
  let error: unknown;
  try {
    await scenario.work(world);
  } catch (thrown) {
    error = thrown;
  }
  await settle();
  fs.intercept = undefined;
  if (error !== undefined) requireDiskError(error);
  if (!struck && error !== undefined) throw error;
  if (world.engine === undefined) {
    // On a disk that refuses everything nothing can be removed either.
    requireNothingLeft(world, memory, mode === 'for good' ? fs.image() : imageBefore, openBefore);
    return;
  }
  const { engine } = world;
  const now = stateOf(world);
  const possible = [memory ?? world.acknowledged, reached, world.appended ?? reached];
  const partly = scenario === scenarios['appending a turn'];
  if (!partly) expect(possible, 'what memory holds').toContain(now);
  requireSound(world, engine, now, memory ?? world.acknowledged);
  requireCopy(world, now, mode);
}

/** A failed open leaves nothing open, nothing locked and nothing new; and it works when the disk does. */
function requireNothingLeft(
  world: World,
  memory: string | undefined,
  imageBefore: ReturnType<MemoryFileSystem['image']>,
  openBefore: number,
): void {
  const { fs, locks } = world.system;
  expect(fs.openPaths.length, 'descriptors left open').toBe(openBefore);
  expect(locks.isHeld(PATH), 'the lock is left held').toBe(false);
  expect(memory).toBeUndefined();
  if (imageBefore.size === 0) expect([...fs.image().keys()], 'what a failed open left').toEqual([]);
  expect([world.acknowledged, world.appended]).toContain(recovered(powerCut(fs)));
  expect(recovered(fs.afterDeath())).toBe(world.appended ?? world.acknowledged);
  open(world);
  expect(stateOf(world)).toBe(world.appended ?? world.acknowledged);
}

/** The handle saves everything now that the disk works, or says that it cannot. What it acknowledged is there either way. */
function requireSound(world: World, engine: Engine, now: string, before: string): void {
  const { fs } = world.system;
  if (engine.closed) {
    for (const after of [fs.afterDeath(), powerCut(fs)]) {
      expect(recovered(after)).toBe(now);
    }
    return;
  }
  let works = true;
  try {
    engine.sync();
  } catch (error) {
    requireDiskError(error);
    works = false;
  }
  if (works) {
    expect(engine.table.dirty.isEmpty).toBe(true);
    engine.table.set('probe', { n: 1 });
    engine.sync();
    const expected = stateOf(world);
    for (const after of [fs.afterDeath(), powerCut(fs)]) {
      expect(recovered(after)).toBe(expected);
    }
    engine.close();
    expect(recovered(powerCut(fs))).toBe(expected);
    expect(fs.openPaths, 'descriptors left open').toEqual([]);
    return;
  }
  // It said that it saves nothing any more: it must not say otherwise later, and it still reads.
  expect(() => engine.sync()).toThrow(PodError);
  expect(stateOf(world)).toBe(now);
  for (const after of [fs.afterDeath(), powerCut(fs)]) {
    const possible = [world.acknowledged, ...(world.appended === undefined ? [] : [world.appended]), now, before];
    const found = recovered(after);
    expect(possible, `what is there after a failure: ${found}`).toContain(found);
  }
}

/** A copy is whole, or it is none; a disk that refuses everything may keep what could not be removed, but that is no pod. */
function requireCopy(world: World, source: string, mode: Mode): void {
  const { fs } = world.system;
  const files = [...fs.image().keys()].filter((path) => path.startsWith('/copy/'));
  if (files.includes('/copy/pod.json')) expect(recovered(fs.afterDeath(), '/copy')).toBe(source);
  else if (mode !== 'for good') expect(files).toEqual([]);
}

function requireDiskError(error: unknown): void {
  if (error instanceof PodError && error.code === 'ERR_POD_DISK') return;
  throw new Error(`A fault of the disk must be met as ERR_POD_DISK, not as ${String(error)}`, { cause: error });
}

/** The worst a power cut can leave: nothing that was not fsynced. */
function powerCut(fs: MemoryFileSystem): MemoryFileSystem {
  return MemoryFileSystem.fromImage(fs.imageAfter(() => false));
}

const owner: TableOwner = {
  beforeChange: () => {},
  afterChange: () => {},
  detachedError: () => new PodError('ERR_POD_DETACHED', 'detached'),
  located: (error) => error,
};

/** What the next process finds. */
function recovered(fs: MemoryFileSystem, path: string = PATH): string {
  const system = testSystem({ fs });
  const found = recoverFolder(system, path, { fileSize: 3, gzip: false, meta: {} });
  const table = new Table<never, Key>(owner, found.opened.manifest.fileSize);
  const folder = bindFolder(system, path, found, table);
  return `${entriesOf(table)}${outputText(fs, folder.outputs.contents(), path)}`;
}

describe('D24, D25: a fault of the disk', () => {
  let faults = 0;
  const variants = Object.entries(scenarios).flatMap(([name, scenario]) => [
    { name, scenario, indexed: false },
    { name: `${name}, with a saved index and no cache`, scenario, indexed: true },
  ]);
  for (const { name, scenario, indexed } of variants) {
    it(`while ${name}`, async () => {
      isIndexed = indexed;
      const { calls, reached } = await measure(scenario);
      expect(calls).toBeGreaterThan(0);
      // The other two are about writing, which is the same with an index.
      const modes: Mode[] = indexed && testSize === 'small' ? ['once'] : ['once', 'for good', 'disk full'];
      for (const [turn, mode] of modes.entries()) {
        for (let at = 0; at < calls; at++) {
          // Where time is short, every second call fails, in one of the ways, in turn.
          if (testSize === 'small' && at % 6 !== 2 * turn) continue;
          try {
            await strike(scenario, at, mode, reached);
          } catch (error) {
            throw new Error(`${mode}, call ${at} of ${calls}, ${lastStruck}: ${String(error)}`, { cause: error });
          }
          faults++;
        }
      }
    });
  }

  it('was tried at every call', () => {
    console.log(`errors, ${testSize}: ${faults} faults in ${variants.length} variants`);
    expect(faults).toBeGreaterThan(testSize === 'small' ? 400 : 1000);
  });
});
