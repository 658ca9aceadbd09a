/**
 * What a person asks for when a folder was edited or damaged: look at it, accept an edit, salvage what is intact.
 *
 * Nothing is ever deleted here: whatever is not taken over lies in `quarantine/` afterwards.
 */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { PodError } from '../core/errors.ts';
import { copyJson } from '../core/json.ts';
import { type Key, type KeyIdentity, keyIdentity, keyText, parseKey } from '../core/key.ts';
import { crcText, disk, readFile, removeFile } from './files.ts';
import { readFolderState } from './folder-state.ts';
import type { FileSystem } from './fs.ts';
import { salvageSegment } from './log-reader.ts';
import { LogWriter } from './log-writer.ts';
import { type Manifest, parseManifest, replaceManifest, type ShardContent } from './manifest.ts';
import { classify, MANIFEST_NAME, shardName, stagedName } from './names.ts';
import { quarantine } from './recovery.ts';
import { describeText, firstBadLine, lineError, matches, packShard, readShardText } from './shards.ts';
import type { System } from './system.ts';
import { decodeTastypyKey } from './tastypy.ts';

/** What `repairFolder` did. */
export interface RepairReport {
  readonly entries: number;
  /** Lines of shards, and stretches of the log, that could not be read. */
  readonly lostLines: number;
  /** What went into quarantine: the files as they were. */
  readonly quarantined: readonly string[];
}

/** The largest text a gzipped shard may unpack to when nothing says how large it should be. */
const TEXT_BYTES_MAX = 1 << 30;

/**
 * Reads the whole folder and every value in it, and says nothing if all is well.
 *
 * @returns how many entries there are
 * @throws {PodError} what is wrong
 */
export function verifyFolder(system: System, path: string): number {
  const manifest = requireManifest(system.fs, path);
  const state = readFolderState(system.fs, path, manifest, { judge: true });
  const seen = new Map<KeyIdentity, number>();
  for (const { key, shard, source, position } of state.entries()) {
    const other = seen.get(keyIdentity(key));
    if (other !== undefined) {
      throw new PodError(
        'ERR_POD_CORRUPT',
        `${path}: the key ${keyText(key)} is in shard ${other} and again in shard ${shard}.`,
        { path, key },
      );
    }
    seen.set(keyIdentity(key), shard);
    copyJson(JSON.parse(source.textAt(position)));
  }
  return seen.size;
}

/**
 * Takes over what a person edited in the shards by hand: each shard that differs is listed as it is now, if every line of it can be read.
 * Where the log holds a newer value for a key, the log wins.
 *
 * @returns the files that were accepted
 * @throws {PodError} `ERR_POD_CORRUPT` with file and line where a line cannot be read, or where the damage is elsewhere; nothing was changed
 */
export function acceptEdits(system: System, path: string): string[] {
  const { fs } = system;
  requireManifest(fs, path);
  const lock = system.locks.acquire(path);
  try {
    const manifest = requireManifest(fs, path);
    const shards = new Map(manifest.shards);
    const accepted: string[] = [];
    for (const [shard, listed] of manifest.shards) {
      const file = shardName(shard, manifest.gzip);
      const text = readShardText(fs, path, file, manifest.gzip, TEXT_BYTES_MAX);
      if (text === undefined || text === 'damaged' || matches(text, listed)) continue;
      const bad = firstBadLine(text, listed.tastypy);
      if (bad !== undefined) throw lineError(path, file, bad.line, bad.why, bad.cause);
      shards.set(shard, { ...describeText(text, listed.seq), tastypy: listed.tastypy });
      accepted.push(file);
    }
    const next: Manifest = { ...manifest, shards, epoch: manifest.epoch + 1 };
    // Read all of it as it would be, so that a key in two shards, or damage elsewhere, is found before anything is changed.
    const seen = new Set<KeyIdentity>();
    for (const { key } of readFolderState(fs, path, next, { judge: true }).entries()) {
      if (seen.has(keyIdentity(key))) {
        throw new PodError('ERR_POD_CORRUPT', `${path}: the key ${keyText(key)} is there twice. Nothing was changed.`, {
          path,
          key,
        });
      }
      seen.add(keyIdentity(key));
    }
    if (accepted.length === 0) return [];
    for (const file of accepted) {
      disk(path, `fsync ${file}`, () => {
        const fd = fs.open(join(path, file), 'r');
        try {
          fs.fsync(fd);
        } finally {
          fs.close(fd);
        }
      });
    }
    replaceManifest(fs, path, next);
    return accepted;
  } finally {
    lock.release('undone');
  }
}

/**
 * Salvages a damaged folder: every shard line that can be read and every complete batch of the log is kept, the files as they were go
 * into `quarantine/`, and the folder is written anew.
 *
 * @throws {PodError} `ERR_POD_LOCKED`, `ERR_POD_NOT_FOUND`, `ERR_POD_DISK`
 */
export function repairFolder(system: System, path: string): RepairReport {
  const { fs } = system;
  if (fs.stat(path)?.isFolder !== true) throw notFound(path);
  const lock = system.locks.acquire(path);
  try {
    const files = disk(path, 'list the folder', () => fs.readdir(path)).map((name) => ({ name, ...classify(name) }));
    if (!files.some(({ kind }) => kind === 'shard' || kind === 'segment' || kind === 'staged')) throw notFound(path);
    const salvage = new Salvage(fs, path, files);
    return salvage.writeAnew();
  } finally {
    lock.release('undone');
  }
}

function requireManifest(fs: FileSystem, path: string): Manifest {
  const bytes = fs.stat(path)?.isFolder === true ? readFile(fs, path, MANIFEST_NAME) : undefined;
  if (bytes === undefined) throw notFound(path);
  return parseManifest(path, bytes);
}

function notFound(path: string): PodError {
  return new PodError('ERR_POD_NOT_FOUND', `There is no pod at ${path}.`, { path });
}

type NamedFile = { readonly name: string } & ReturnType<typeof classify>;

/** Everything that can still be read in a folder. */
class Salvage {
  readonly #fs: FileSystem;
  readonly #path: string;
  readonly #files: readonly NamedFile[];
  readonly #manifest: Manifest | undefined;
  readonly #gzip: boolean;
  /** Lines, by key, with the shard they were in: the order of a pod is that of its shards and their lines. */
  readonly #lines: Map<KeyIdentity, { key: Key; shard: number; value: string }> = new Map();
  #lostLines: number = 0;

  constructor(fs: FileSystem, path: string, files: readonly NamedFile[]) {
    this.#fs = fs;
    this.#path = path;
    this.#files = files;
    this.#manifest = this.#readManifest();
    const shards = files.filter((file) => file.kind === 'shard');
    this.#gzip = this.#manifest?.gzip ?? shards.some(({ gzip }) => gzip);
    const seqs = this.#salvageShards();
    this.#salvageLog(seqs);
  }

  #readManifest(): Manifest | undefined {
    try {
      const bytes = readFile(this.#fs, this.#path, MANIFEST_NAME);
      return bytes === undefined ? undefined : parseManifest(this.#path, bytes);
    } catch (error) {
      if (error instanceof PodError && error.code === 'ERR_POD_CORRUPT') return undefined;
      throw error;
    }
  }

  /** Takes the lines of every shard in. Returns, for each, the record through which its content is known to be complete. */
  #salvageShards(): Map<number, number> {
    const seqs = new Map<number, number>();
    const numbers = new Set(this.#manifest?.shards.keys());
    for (const file of this.#files) {
      if ((file.kind === 'shard' || file.kind === 'staged') && file.gzip === this.#gzip) numbers.add(file.shard);
    }
    for (const shard of [...numbers].sort((a, b) => a - b)) {
      const listed = this.#manifest?.shards.get(shard);
      const text = this.#shardText(shard, listed);
      if (text === undefined) {
        this.#lostLines += listed?.lines ?? 0;
        continue;
      }
      // What a shard that is not the listed one contains is not known, so the log is applied from the listed record on.
      seqs.set(shard, listed?.seq ?? 0);
      this.#takeLines(shard, text, listed);
    }
    return seqs;
  }

  #shardText(shard: number, listed: ShardContent | undefined): Buffer | undefined {
    const names = [shardName(shard, this.#gzip)];
    for (const file of this.#files) if (file.kind === 'staged' && file.shard === shard) names.push(file.name);
    const texts = names
      .map((name) => readShardText(this.#fs, this.#path, name, this.#gzip, TEXT_BYTES_MAX))
      .filter((text) => text !== undefined && text !== 'damaged');
    return texts.find((text) => listed !== undefined && matches(text, listed)) ?? texts[0];
  }

  #takeLines(shard: number, text: Buffer, listed: ShardContent | undefined): void {
    const tastypy =
      listed?.tastypy ?? (this.#manifest === undefined && !this.#files.some(({ kind }) => kind === 'segment'));
    for (const line of text.toString('utf8').split('\n')) {
      if (line === '') continue;
      const tab = line.indexOf('\t');
      try {
        if (tab < 0) throw new SyntaxError('There is no tab.');
        const key = tastypy ? decodeTastypyKey(line.slice(0, tab)) : parseKey(line.slice(0, tab));
        this.#takeIn(key, shard, line.slice(tab + 1));
      } catch {
        this.#lostLines++;
      }
    }
  }

  #takeIn(key: Key, shard: number, value: string): void {
    const plain = copyJson(JSON.parse(value));
    const identity = keyIdentity(key);
    const known = this.#lines.get(identity);
    const text = JSON.stringify(plain);
    if (known === undefined) this.#lines.set(identity, { key, shard, value: text });
    else known.value = text;
  }

  #salvageLog(seqs: ReadonlyMap<number, number>): void {
    const segments = this.#files.filter((file) => file.kind === 'segment').sort((a, b) => a.segment - b.segment);
    const listed = new Set(this.#manifest?.segments.map(([segment]) => segment));
    for (const { segment } of segments) {
      if (this.#manifest !== undefined && !listed.has(segment)) continue;
      const { records, lostLines } = salvageSegment(this.#fs, this.#path, segment);
      this.#lostLines += lostLines;
      for (const record of records) {
        if (record.operation === 'clear') {
          for (const [identity, { shard }] of this.#lines)
            if (record.s > (seqs.get(shard) ?? 0)) this.#lines.delete(identity);
          continue;
        }
        if (record.s <= (seqs.get(record.shard) ?? 0)) continue;
        const key = parseKey(record.key);
        if (record.operation === 'del') this.#lines.delete(keyIdentity(key));
        else this.#takeIn(key, record.shard, record.value);
      }
    }
  }

  /** Puts the files as they are into quarantine and writes what was salvaged. */
  writeAnew(): RepairReport {
    const fs = this.#fs;
    const path = this.#path;
    const replaced = this.#files.filter(
      ({ kind, name }) => kind === 'shard' || kind === 'segment' || kind === 'staged' || name === MANIFEST_NAME,
    );
    const quarantined = replaced.map(({ name }) =>
      quarantine(fs, path, name, readFile(fs, path, name) ?? new Uint8Array()),
    );
    const generation = this.#nextGeneration();
    const fileSize = this.#manifest?.fileSize ?? 1000;
    const shards = this.#stageShards(generation, fileSize);
    const segment = 1 + Math.max(0, ...this.#files.map((file) => (file.kind === 'segment' ? file.segment : 0)));
    const id = this.#manifest?.id ?? randomBytes(4).toString('hex');
    const log = LogWriter.create(fs, path, { wal: segment, id, gen: generation, base: 0, prev: '00000000' });
    log.fsync();
    log.retire();
    replaceManifest(fs, path, {
      id,
      epoch: (this.#manifest?.epoch ?? 0) + 1,
      generation,
      fileSize,
      gzip: this.#gzip,
      meta: this.#manifest?.meta ?? {},
      segments: [[segment, 0]],
      dropped: new Map(),
      shards,
    });
    for (const { name, kind } of replaced) if (kind !== 'other') removeFile(fs, path, name);
    for (const shard of shards.keys()) {
      const staged = stagedName(shard, this.#gzip, generation);
      disk(path, `rename ${staged}`, () => fs.rename(join(path, staged), join(path, shardName(shard, this.#gzip))));
    }
    fs.fsyncFolder(path);
    return { entries: this.#lines.size, lostLines: this.#lostLines, quarantined };
  }

  /** Above every generation that a file in the folder may come from. */
  #nextGeneration(): number {
    const staged = this.#files.map((file) => (file.kind === 'staged' ? file.generation : 0));
    return 1 + Math.max(this.#manifest?.generation ?? 0, ...staged);
  }

  #stageShards(generation: number, fileSize: number): Map<number, ShardContent> {
    const shards = new Map<number, ShardContent>();
    const ordered = [...this.#lines.values()].sort((a, b) => a.shard - b.shard);
    for (let from = 0; from < ordered.length; from += fileSize) {
      const lines = ordered.slice(from, from + fileSize);
      const text = Buffer.from(lines.map(({ key, value }) => `${keyText(key)}\t${value}\n`).join(''), 'utf8');
      const name = stagedName(shards.size, this.#gzip, generation);
      disk(this.#path, `write ${name}`, () => this.#fs.stage(join(this.#path, name), packShard(text, this.#gzip)));
      shards.set(shards.size, { lines: lines.length, bytes: text.length, crc: crcText(text), seq: 0, tastypy: false });
    }
    return shards;
  }
}
