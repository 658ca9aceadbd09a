/**
 * Small pods for the damage tests, each with its history: every state that was written, and every version that each file ever had.
 */
import { Buffer } from 'node:buffer';
import type { Key } from '../../src/core/key.ts';
import { PodEngine } from '../../src/pod/engine.ts';
import {
  type DiskImage,
  type FsCall,
  type FsFault,
  MemoryFileSystem,
  type TestSystem,
  testSystem,
} from '../../src/testing/index.ts';
import { exitTasks } from './enumerator-exit.ts';
import { settle, stateOf } from './enumerator-explorer.ts';

export const PATH = '/pod';

/** A folder on the disk, and what is known of it. */
export interface DamagePod {
  readonly name: string;
  readonly image: DiskImage;
  /** What it holds. */
  readonly state: string;
  /** Every state that was written, the last one included. */
  readonly states: ReadonlySet<string>;
  /** Every other version of each file, by path. */
  readonly older: ReadonlyMap<string, readonly Uint8Array[]>;
}

type Value = number | readonly number[];
type Engine = PodEngine<Value, Key>;

class History {
  readonly fs: MemoryFileSystem;
  readonly states: Set<string> = new Set();
  readonly versions: Map<string, Map<string, Uint8Array>> = new Map();
  engine: Engine;
  #system: TestSystem;

  constructor(image: DiskImage, gzip: boolean, folds: boolean = false, isIndexed: boolean = false) {
    this.fs = MemoryFileSystem.fromImage(image);
    this.#system = { ...testSystem({ fs: this.fs }), foldLogBytes: folds ? 300 : 1 << 20 };
    if (isIndexed) this.#system = { ...this.#system, indexEntries: 0 };
    this.#system.clock.readingCostMs = 20;
    this.fs.changed = () => this.note();
    this.engine = new PodEngine(this.#system, PATH, { fileSize: 2, gzipped: gzip, syncAt: 1000 }, {});
    this.states.add(stateOf(this.engine.table as never));
  }

  /** Remembers the files as they are. */
  note(): void {
    for (const [path, content] of this.fs.image()) {
      if (content === 'folder') continue;
      const versions = this.versions.get(path) ?? new Map<string, Uint8Array>();
      versions.set(Buffer.from(content).toString('latin1'), content);
      this.versions.set(path, versions);
    }
  }

  set(key: Key, value: Value): void {
    this.engine.table.set(key, value);
  }

  delete(key: Key): void {
    const entry = this.engine.table.find(key);
    if (entry !== undefined) this.engine.table.delete(entry);
  }

  async turn(): Promise<void> {
    this.states.add(stateOf(this.engine.table as never));
    await settle();
  }

  sync(): void {
    this.states.add(stateOf(this.engine.table as never));
    this.engine.sync();
  }

  async timer(): Promise<void> {
    this.#system.clock.runNext();
    await settle();
  }

  reopen(): void {
    this.engine.close();
    this.engine = new PodEngine(this.#system, PATH, { syncAt: 1000 }, {});
  }

  finish(name: string): DamagePod {
    exitTasks.clear();
    const image = this.fs.image();
    const state = stateOf(this.engine.table as never);
    this.states.add(state);
    const older = new Map<string, Uint8Array[]>();
    for (const [path, versions] of this.versions) {
      const now = image.get(path);
      older.set(
        path,
        [...versions.values()].filter(
          (bytes) => now === undefined || now === 'folder' || Buffer.compare(bytes, now) !== 0,
        ),
      );
    }
    return { name, image, state, states: this.states, older };
  }
}

/** Two shards and a log of three batches. */
async function begin(gzip: boolean, folds: boolean = false, isIndexed: boolean = false): Promise<History> {
  const history = new History(new Map(), gzip, folds, isIndexed);
  history.set('a', 1);
  history.set('b', [2]);
  history.set('c', 3);
  await history.turn();
  history.reopen();
  history.set('a', 10);
  history.delete('b');
  await history.turn();
  history.sync();
  history.engine.transaction(() => {
    history.set('d', 4);
    history.delete('c');
    history.set('c', 30);
  });
  history.sync();
  return history;
}

/** Makes one call go wrong. */
function once(fs: MemoryFileSystem, matches: (call: FsCall) => boolean, fault: FsFault): void {
  fs.intercept = (call) => {
    if (!matches(call)) return undefined;
    if (fault.kind !== 'kill') fs.intercept = undefined;
    return fault;
  };
}

/** All pods. */
export async function damagePods(): Promise<DamagePod[]> {
  const pods: DamagePod[] = [];
  for (const gzip of [false, true]) {
    const kind = gzip ? 'gzipped' : 'plain';
    const unmarked = await begin(gzip);
    pods.push(unmarked.finish(`${kind}, its last batch not vouched for`));

    const marked = await begin(gzip);
    for (let count = 0; count < 12 && !lastLine(marked).includes('"mark"'); count++) await marked.timer();
    if (!lastLine(marked).includes('"mark"')) throw new Error('No mark was written.');
    pods.push(marked.finish(`${kind}, marked`));

    const closed = await begin(gzip, false, !gzip);
    closed.engine.close();
    pods.push(closed.finish(`${kind}, closed${gzip ? '' : ', with a saved index'}`));

    const folding = await begin(gzip, true);
    for (let count = 0; count < 4; count++) folding.set('a', 100 + count);
    folding.sync();
    await folding.timer();
    await folding.timer();
    folding.set('e', 5);
    folding.sync();
    pods.push(folding.finish(`${kind}, in the middle of a fold`));

    const compacting = await begin(gzip);
    once(compacting.fs, ({ name, to }) => name === 'rename' && to?.endsWith(gzip ? '/1.json.gz' : '/1.json') === true, {
      kind: 'kill',
    });
    compacting.engine.compact();
    pods.push(compacting.finish(`${kind}, killed in a compaction`));
  }

  const rescued = await begin(false);
  rescued.set('a', 11);
  once(rescued.fs, ({ name, path }) => name === 'fdatasync' && path.includes('/wal-'), { kind: 'error', code: 'EIO' });
  rescued.sync();
  rescued.set('a', 12);
  rescued.sync();
  pods.push(rescued.finish('plain, rescued from a failed fsync'));

  const noted = await begin(false);
  noted.engine.notes.keep(() => '{"all":[1,2]}');
  noted.engine.notes.renew();
  noted.set('a', 11);
  noted.sync();
  noted.set('a', 12);
  noted.engine.notes.add('[3]');
  noted.sync();
  pods.push(noted.finish('plain, with notes'));

  const bare = new Map([
    [`${PATH}/0.json`, Buffer.from('"q\\\\"x"\t{"n": 1}\n"b"\t[2]\n')],
    [`${PATH}/1.json`, Buffer.from('7\t3\n')],
  ]);
  const adopted = new History(bare, false);
  adopted.set('b', 20);
  adopted.sync();
  adopted.delete(7);
  adopted.sync();
  pods.push(adopted.finish('adopted'));
  return pods;
}

function lastLine(history: History): string {
  const { fs } = history;
  const logs = [...fs.image()].filter(([path]) => path.includes('/wal-')).sort(([a], [b]) => (a < b ? -1 : 1));
  const [, bytes] = logs.at(-1) ?? ['', Buffer.alloc(0)];
  return (
    Buffer.from(bytes as Uint8Array)
      .toString()
      .trimEnd()
      .split('\n')
      .at(-1) ?? ''
  );
}
