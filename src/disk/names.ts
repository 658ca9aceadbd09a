/**
 * What the files in a pod's folder are called. Names are built from numbers alone, never from keys (reliability B34).
 */
import { randomHex } from './random.ts';

export const MANIFEST_NAME = 'pod.json';
export const LOCK_NAME = 'lock';
export const INDEX_NAME = 'index.bin';
/** Where the owner of a shared pod listens. */
export const ADDRESS_NAME = 'shared.json';
/** A socket of an owner of a shared pod. Each has its own, so that a note never leads to another owner than the one that wrote it. */
export function newSocketName(): string {
  return `shared-${randomHex(4)}.sock`;
}

/** Whether a name is as `newSocketName` makes it. */
export function isSocketName(name: string): boolean {
  return /^shared-[0-9a-f]{8}\.sock$/.test(name);
}

export const QUARANTINE_NAME = 'quarantine';

/** The highest number of a shard: its file name has nine digits at most. */
export const SHARD_MAX = 999_999_999;

/** The file of a shard. */
export function shardName(shard: number, gzip: boolean): string {
  return gzip ? `${shard}.json.gz` : `${shard}.json`;
}

/** A shard that a compaction of this generation wrote and that has not taken its name yet. */
export function stagedName(shard: number, gzip: boolean, generation: number): string {
  return `.${shardName(shard, gzip)}.g${generation}`;
}

/** A log segment. */
export function segmentName(segment: number): string {
  return `wal-${String(segment).padStart(6, '0')}.jsonl`;
}

/** An output that a copy of this generation wrote and that has not taken its name yet. */
export function stagedOutputName(name: string, generation: number): string {
  return `.output.${name}.g${generation}`;
}

/** Whether a file of outputs may have this name: a plain one that means the same on every system, and none of ours. */
export function isOutputName(name: unknown): name is string {
  return typeof name === 'string' && OUTPUT.test(name) && !OURS.test(name) && classify(name).kind === 'other';
}

const OUTPUT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** Also where the system does not tell capitals from small letters. */
const OURS =
  /^(pod\.json|lock.*|quarantine|backup\.json|index\..*|wal-.*|shared\.json|shared-.*\.sock|\d+\.json(\.gz)?)$/i;

/** A fresh name to write under before a rename: 16 random hexadecimal digits, so that nobody can plant it. */
export function temporaryName(name: string): string {
  return `.${name}.${randomHex(8)}.tmp`;
}

/** Whether a path ends as `temporaryName` makes it. */
export function isRandomName(path: string): boolean {
  return /\.[0-9a-f]{16}\.tmp$/.test(path);
}

/** What a file in the folder is, by its name. */
export type FileKind =
  | { readonly kind: 'shard'; readonly shard: number; readonly gzip: boolean }
  | { readonly kind: 'staged'; readonly shard: number; readonly gzip: boolean; readonly generation: number }
  | { readonly kind: 'stagedOutput'; readonly output: string; readonly generation: number }
  | { readonly kind: 'segment'; readonly segment: number }
  | { readonly kind: 'temporary' }
  /** The saved index: a copy of what the rest says, which may go. */
  | { readonly kind: 'index' }
  | { readonly kind: 'other' };

/** Matched whole, so that an editor's `0.json~` or `0.json.bak` is nobody's shard (checklist TP-098). */
export function classify(name: string): FileKind {
  const shard = /^(0|[1-9]\d{0,8})\.json(\.gz)?$/.exec(name);
  if (shard !== null) return { kind: 'shard', shard: Number(shard[1]), gzip: shard[2] !== undefined };
  const staged = /^\.(0|[1-9]\d{0,8})\.json(\.gz)?\.g(\d{1,9})$/.exec(name);
  if (staged !== null) {
    return { kind: 'staged', shard: Number(staged[1]), gzip: staged[2] !== undefined, generation: Number(staged[3]) };
  }
  const output = /^\.output\.(.{1,100})\.g(\d{1,9})$/.exec(name);
  if (output !== null) return { kind: 'stagedOutput', output: output[1] as string, generation: Number(output[2]) };
  const segment = /^wal-(\d{6,9})\.jsonl$/.exec(name);
  if (segment !== null && segmentName(Number(segment[1])) === name)
    return { kind: 'segment', segment: Number(segment[1]) };
  if (name === INDEX_NAME) return { kind: 'index' };
  // The digits at the end are those that write-file-atomic adds while it writes.
  const temporary =
    /^\.(pod\.json|index\.bin|backup\.json|\d+\.json(\.gz)?)\.([0-9a-f]{16}\.tmp(\.\d+)?|g\d{1,9}\.\d+)$/;
  if (temporary.test(name)) return { kind: 'temporary' };
  return { kind: 'other' };
}
