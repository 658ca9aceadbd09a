/**
 * What runs underneath a handle: a table and, when it may be written, the folder that keeps it; and the times at which
 * changes are appended, synced and folded.
 *
 * States: open, then closed; a closed engine never opens again. While open for writing it may be held (no automatic sync points, no
 * folding) and in a transaction (nothing is appended at all). An error of the disk in the background is kept and met by the next
 * change, before that change is made.
 */
import { join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { addPlace, PodError } from '../core/errors.ts';
import type { Key } from '../core/key.ts';
import type { Rows } from '../core/rows.ts';
import { Table } from '../core/table.ts';
import type { TableOwner } from '../core/table-owner.ts';
import { closeFolder, compactFolder, type Layout } from '../disk/compact.ts';
import { atExit } from '../disk/exit.ts';
import { Fold, isFoldDue } from '../disk/fold.ts';
import type { Folder } from '../disk/folder.ts';
import type { FolderMeta } from '../disk/manifest.ts';
import type { Notes } from '../disk/notes.ts';
import type { OutputSource } from '../disk/output-copies.ts';
import type { Outputs } from '../disk/outputs.ts';
import { randomHex } from '../disk/random.ts';
import { type ReadFolder, readFolder } from '../disk/reader.ts';
import { bindFolder, type Recovered, type RecoveryReport, recoverFolder } from '../disk/recovery.ts';
import type { System } from '../disk/system.ts';
import { Events, type PodEvents } from './events.ts';
import {
  DEFAULT_CACHE_SIZE,
  DEFAULT_FILE_SIZE,
  DEFAULT_SYNC_AT,
  DEFAULT_SYNC_EVERY,
  type Durability,
  type PodOptions,
  schemaCheck,
} from './options.ts';

/** A fold that failed is tried again this much later; nothing is lost meanwhile, the log only grows. */
const FOLD_RETRY_MS = 5_000;
/** A process that lives this long after the signal that should have ended it lives on. */
const STILL_ALIVE_MS = 20;

export class PodEngine<V, K extends Key> implements TableOwner {
  readonly path: string;
  readonly table: Table<V, K>;
  readonly recovery: RecoveryReport;
  readonly durability: Durability;
  readonly isWritable: boolean;
  readonly schema: PodOptions<V, K>['schema'];
  readonly checkValue: ((value: unknown, key: Key) => unknown) | undefined;
  syncAt: number;
  syncEvery: number;
  closed: boolean = false;
  readonly events: Events<PodEvents> = new Events();
  /** Called when the engine closes: whoever waits for something in it need not wait any more. */
  readonly closing: Set<() => void> = new Set();
  /** Opening wrote nothing but the files that every pod has: the folder was missing, empty, or tastypy's and keeps its layout. */
  readonly isFresh: boolean;
  /** Opens that were not closed yet. */
  handles: number = 1;
  readonly #system: System;
  readonly #folder: Folder<V, K> | undefined;
  /** How a reader found the folder. */
  #read: ReadFolder | undefined;
  readonly #cacheBytes: number;
  readonly #stopExit: () => void;
  #holds: number = 0;
  #appendScheduled: boolean = false;
  #cancelTimer: (() => void) | undefined;
  #cancelMark: (() => void) | undefined;
  #fold: Fold<V, K> | undefined;
  #foldScheduled: boolean = false;
  #foldNotBeforeMs: number = 0;
  /** An error of the disk that nobody has met yet. */
  #backgroundError: unknown;

  constructor(system: System, path: string, options: PodOptions<V, K>, meta: FolderMeta) {
    this.#system = system;
    this.path = path;
    this.durability = options.durability ?? 'process';
    this.syncAt = options.syncAt ?? DEFAULT_SYNC_AT;
    this.syncEvery = options.syncEvery ?? DEFAULT_SYNC_EVERY;
    this.isWritable = options.mode !== 'r';
    this.schema = options.schema;
    this.checkValue = options.schema === undefined ? undefined : schemaCheck(path, options.schema);
    const cacheBytes = options.cacheSize ?? DEFAULT_CACHE_SIZE;
    this.#cacheBytes = cacheBytes;
    const seed = Number.parseInt(randomHex(4), 16);
    if (!this.isWritable) {
      const read = readFolder(system, path, cacheBytes);
      this.table = new Table(this, read.fileSize, { cacheBytes, seed });
      this.#take(read, () => {
        refuseOtherLayout(path, options, read);
        if (read.rows === undefined) this.table.load(read.entries);
        else this.table.loadRows(asOurs(read.rows));
      });
      this.recovery = readerReport(read);
      this.isFresh = false;
      this.#stopExit = () => {};
      return;
    }
    const recovered = recoverFolder(system, path, {
      fileSize: options.fileSize ?? DEFAULT_FILE_SIZE,
      gzip: options.gzipped ?? false,
      meta,
      cacheBytes,
    });
    this.table = new Table(this, recovered.opened.manifest.fileSize, { cacheBytes, seed });
    this.#folder = this.#bind(recovered, options);
    this.recovery = recovered.report;
    // Who keeps notes takes those that were found at once; for all others they would only fill memory, and the log.
    const { notes } = this.#folder;
    queueMicrotask(() => notes.take());
    const isNew = this.recovery.ended === 'new' || this.recovery.adopted;
    this.isFresh = isNew && this.#folder.manifest.generation === recovered.opened.manifest.generation;
    this.#stopExit = atExit((how) => this.#processEnds(how));
  }

  #bind(recovered: Recovered, options: PodOptions<V, K>): Folder<V, K> {
    const folder = bindFolder(this.#system, this.path, recovered, this.table);
    try {
      const { fileSize, gzip } = folder.manifest;
      const wanted: Layout = { fileSize: options.fileSize ?? fileSize, gzip: options.gzipped ?? gzip };
      if (wanted.fileSize !== fileSize || wanted.gzip !== gzip) compactFolder(folder, wanted);
      // What the last process said of its end is in the report; from now on it would be said of this one.
      folder.quietly(() => folder.withdrawEnding());
      return folder;
    } catch (error) {
      folder.release(false);
      throw error;
    }
  }

  // ---- What a handle asks.

  get layout(): Layout {
    const { fileSize } = this.table;
    return { fileSize, gzip: this.#folder?.manifest.gzip ?? this.#read?.gzip ?? false };
  }

  get clock(): Clock {
    return this.#system.clock;
  }

  get meta(): FolderMeta {
    return this.#folder?.manifest.meta ?? this.#read?.meta ?? {};
  }

  setMeta(meta: FolderMeta): void {
    this.requireWritable();
    this.#writable().setMeta(meta);
  }

  /** Makes a file for lines that belong to entries, unless there is one. */
  declareOutput(name: string): void {
    this.requireWritable();
    this.#writable().declareOutput(name);
  }

  /** The lines themselves. */
  get outputs(): Outputs {
    return this.#writable().outputs;
  }

  /** What somebody keeps in the log beside the entries. What the last one kept can be taken in the turn in which the pod is opened. */
  get notes(): Notes {
    return this.#writable().notes;
  }

  /** What a copy of the pod as it is in memory takes over from the files of outputs. */
  outputSources(): OutputSource[] {
    if (this.#folder === undefined) return this.#read?.outputs() ?? [];
    return this.#folder.outputs.contents().map((each) => ({ ...each, from: join(this.path, each.name) }));
  }

  /** Whether the files under the path are still those that are open. */
  get isInPlace(): boolean {
    try {
      this.#folder?.requireInPlace();
      return true;
    } catch {
      return false;
    }
  }

  requireOpen(): void {
    if (!this.closed) return;
    throw new PodError('ERR_POD_CLOSED', `${this.path} was closed. Open it again with open().`, { path: this.path });
  }

  requireWritable(): void {
    this.requireOpen();
    if (this.isWritable) return;
    throw new PodError(
      'ERR_POD_READONLY',
      `${this.path} was opened for reading. Open it with mode: 'w' to change it.`,
      {
        path: this.path,
      },
    );
  }

  sync(): void {
    this.requireWritable();
    this.#requireNoTransaction('sync()');
    const told = this.#syncPoint();
    this.#writable().sync();
    this.#backgroundError = undefined;
    told();
    this.#afterSyncPoint();
  }

  async flush(): Promise<void> {
    this.requireWritable();
    this.#requireNoTransaction('flush()');
    const told = this.#syncPoint();
    await this.#writable().flush();
    this.#backgroundError = undefined;
    told();
    if (!this.closed) this.#afterSyncPoint();
  }

  /** What tells of the sync point that begins here, once it is made. */
  #syncPoint(): () => void {
    const { clock } = this.#system;
    const keys = this.table.dirty.size;
    if (keys === 0 || !this.events.isHeard('sync')) return () => {};
    const startedMs = clock.monotonic();
    return () => {
      this.events.emit('sync', () => ({ path: this.path, keys, durationMs: clock.monotonic() - startedMs }));
    };
  }

  /** Appends what is pending: safe from the death of the process, not yet from a power cut. Nothing at level `exit`. */
  appendNow(): void {
    if (this.durability === 'exit' || this.table.inTransaction) return;
    this.#writable().append();
  }

  hold(): void {
    this.requireWritable();
    this.#holds++;
  }

  unhold(): void {
    this.requireWritable();
    if (this.#holds === 0) return;
    this.#holds--;
    if (this.#holds > 0 || this.table.inTransaction) return;
    if (this.table.dirty.size >= this.syncAt) this.sync();
    else {
      this.#startTimer();
      this.#scheduleFold();
    }
  }

  get held(): boolean {
    return this.#holds > 0;
  }

  revert(): void {
    this.requireOpen();
    this.#requireNoTransaction('revert()');
    if (this.#folder !== undefined) {
      this.#folder.revert();
      this.#backgroundError = undefined;
      return;
    }
    const read = readFolder(this.#system, this.path, this.#cacheBytes);
    this.#take(read, () => {
      if (read.rows === undefined) this.table.replaceAll(read.entries);
      else this.table.replaceRows(asOurs(read.rows));
    });
  }

  /** Keeps what a reader read once the table has it; what it read before is given up then, and not where the table refuses. */
  #take(read: ReadFolder, fill: () => void): void {
    try {
      fill();
    } catch (error) {
      read.release();
      throw error;
    }
    this.#read?.release();
    // The table has them; here they would only fill memory.
    this.#read = { ...read, entries: [], rows: undefined };
  }

  transaction<R>(change: () => R): R {
    this.requireWritable();
    if (this.table.inTransaction) return this.table.transaction(() => withoutPromise(this.path, change()));
    this.beforeChange();
    const result = this.table.transaction(() => withoutPromise(this.path, change()));
    if (!this.table.pending.isEmpty) this.afterChange(true);
    return result;
  }

  compact(layout: Layout = this.layout): void {
    this.requireWritable();
    this.#requireNoTransaction('compact()');
    this.#fold?.abandon();
    this.#fold = undefined;
    compactFolder(this.#writable(), layout);
  }

  /**
   * Puts the folder away. Where the disk refuses the last changes the engine stays open, so that nothing is lost. `beforeRelease` runs last,
   * while no other process can have the folder.
   */
  close(beforeRelease: () => void = () => {}): void {
    if (this.closed) return;
    if (this.#folder !== undefined) {
      this.#requireNoTransaction('close()');
      const told = this.#syncPoint();
      this.#folder.sync();
      told();
      this.#fold?.abandon();
      this.#fold = undefined;
      this.#stop();
      try {
        closeFolder(this.#folder, beforeRelease);
      } catch (error) {
        // Everything is in the log; the next open goes on from there.
        this.#folder.release(false);
        throw error;
      }
      return;
    }
    this.#stop();
    this.#read?.release();
  }

  #stop(): void {
    this.closed = true;
    for (const tell of this.closing) tell();
    this.#stopExit();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#cancelMark?.();
    this.#cancelMark = undefined;
  }

  // ---- What the table asks.

  beforeChange(): void {
    this.requireWritable();
    if (this.#backgroundError === undefined || this.table.inTransaction) return;
    // The disk refused what was written in the background. Nobody was told yet: try once more, and tell before changing anything.
    this.#writable().append();
    this.#writable().outputs.requireWritten();
    this.#backgroundError = undefined;
  }

  afterChange(first: boolean): void {
    if (this.table.inTransaction) return;
    if (this.durability === 'power') this.#writable().persist();
    if (!first) return;
    if (this.durability === 'process' && !this.#appendScheduled) {
      this.#appendScheduled = true;
      queueMicrotask(() => this.#appendInBackground());
    }
    if (this.#holds > 0) return;
    if (this.table.dirty.size >= this.syncAt) this.#inBackground(() => this.sync());
    else this.#startTimer();
  }

  located(error: unknown, key: unknown): unknown {
    return addPlace(error, this.path, key);
  }

  afterTurn(work: () => void): void {
    this.#system.clock.after(0, work);
  }

  detachedError(key: Key): PodError {
    if (this.closed) {
      return new PodError('ERR_POD_CLOSED', `${this.path} was closed. Open it again with open().`, {
        path: this.path,
        key,
      });
    }
    return new PodError(
      'ERR_POD_DETACHED',
      `The value this view belongs to is no longer in ${this.path}: ${JSON.stringify(key)}, or the part of it, was replaced or deleted. ` +
        'The write was refused, not lost; get the value again.',
      { path: this.path, key },
    );
  }

  // ---- Work in the background.

  #appendInBackground(): void {
    this.#appendScheduled = false;
    if (this.closed || this.table.inTransaction) return;
    this.#inBackground(() => this.#writable().append());
  }

  #startTimer(): void {
    if (this.syncEvery === 0 || this.#cancelTimer !== undefined || this.closed || this.table.dirty.isEmpty) return;
    this.#cancelMark?.();
    this.#cancelMark = undefined;
    this.#cancelTimer = this.#system.clock.after(this.syncEvery, () => {
      this.#cancelTimer = undefined;
      if (this.#holds > 0 || this.closed) return;
      void this.flush().catch((error: unknown) => {
        this.#backgroundError ??= error;
        this.#startTimer();
      });
    });
  }

  #afterSyncPoint(): void {
    this.#scheduleFold();
    if (!this.table.dirty.isEmpty) this.#startTimer();
    else if (this.#cancelTimer === undefined && this.#cancelMark === undefined && this.syncEvery > 0) {
      // Idle by then: let a later line vouch for what was synced, so that rot in it can be told from an unfinished append.
      this.#cancelMark = this.#system.clock.after(this.syncEvery, () => {
        this.#cancelMark = undefined;
        if (!this.closed) this.#inBackground(() => this.#writable().mark());
      });
    }
  }

  #scheduleFold(): void {
    const folder = this.#writable();
    if (this.#foldScheduled || this.#holds > 0) return;
    if (this.#fold === undefined && !isFoldDue(folder)) return;
    if (this.#system.clock.monotonic() < this.#foldNotBeforeMs) return;
    this.#foldScheduled = true;
    this.#system.clock.after(0, () => {
      this.#foldScheduled = false;
      if (this.closed || this.#holds > 0 || this.table.inTransaction) return;
      try {
        this.#fold ??= new Fold(folder);
        if (this.#fold.step()) this.#fold = undefined;
        else this.#scheduleFold();
      } catch (error) {
        // The log keeps everything, so nothing is lost and nobody waits: try again later. If the disk stays as it is, the next
        // sync point, or close(), meets the error too.
        if (error instanceof PodError && error.code === 'ERR_POD_CORRUPT') {
          this.events.emit('corrupt', () => ({ path: this.path, error }));
        }
        this.#fold = undefined;
        this.#foldNotBeforeMs = this.#system.clock.monotonic() + FOLD_RETRY_MS;
      }
    });
  }

  #inBackground(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#backgroundError ??= error;
    }
  }

  #processEnds(how: string): void {
    if (this.closed) return;
    const folder = this.#writable();
    // A process that exits inside a transaction leaves it unfinished, and unfinished means that nothing happened.
    this.table.abandonTransactions();
    if (!this.table.pending.isEmpty || !this.table.dirty.isEmpty) folder.sync(how);
    // Only the word of how the process ends is missing: without it nothing is lost.
    else if (folder.ending !== how) folder.quietly(() => folder.sync(how));
    if (!how.startsWith('SIG')) return;
    // Somebody may veto a signal.
    this.#system.clock.after(STILL_ALIVE_MS, () => {
      if (!this.closed) folder.quietly(() => folder.withdrawEnding());
    });
  }

  #requireNoTransaction(what: string): void {
    if (!this.table.inTransaction) return;
    throw new PodError('ERR_POD_UNSUPPORTED', `${what} cannot run inside a transaction: a transaction is one step.`, {
      path: this.path,
    });
  }

  #writable(): Folder<V, K> {
    if (this.#folder === undefined) this.requireWritable();
    return this.#folder as Folder<V, K>;
  }
}

function refuseOtherLayout(
  path: string,
  options: { gzipped?: boolean | undefined; fileSize?: number | undefined },
  found: ReadFolder,
): void {
  const conflict =
    options.gzipped !== undefined && options.gzipped !== found.gzip
      ? 'gzipped'
      : options.fileSize !== undefined && options.fileSize !== found.fileSize
        ? 'fileSize'
        : undefined;
  if (conflict === undefined) return;
  throw new PodError(
    'ERR_POD_OPTIONS',
    `${path}: the option "${conflict}" differs from what is on disk, and a reader changes nothing.`,
    {
      path,
      info: { option: conflict },
    },
  );
}

/** Rows know nothing of what a caller says its keys and values are. */
function asOurs<V, K extends Key>(rows: Rows<never, never>): Rows<V, K> {
  return rows as unknown as Rows<V, K>;
}

function withoutPromise<R>(path: string, result: R): R {
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') return result;
  throw new PodError(
    'ERR_POD_UNSUPPORTED',
    'A transaction must finish before it returns; its function returned a promise. Nothing was changed.',
    { path },
  );
}

function readerReport({ replayed, durationMs }: ReadFolder): RecoveryReport {
  return {
    ended: 'unknown',
    how: undefined,
    previous: undefined,
    lastWrite: undefined,
    restarted: false,
    oomKills: undefined,
    replayed,
    droppedBytes: 0,
    quarantined: [],
    adopted: false,
    durationMs,
  };
}
