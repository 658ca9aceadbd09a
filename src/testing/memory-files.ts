/**
 * What a file or a folder in memory consists of: what is surely on the disk, and the operations whose survival is still open.
 *
 * The model is the weakest one that POSIX allows. Each write, truncation and change of a folder survives a power cut on its own, in any
 * combination with the others, until an fsync of that file or folder has returned. An fsync that failed leaves the writes in limbo:
 * they are seen by everybody, may or may not be on the disk, and no later fsync changes that.
 */

/** What is known about an operation's survival. */
export type OperationStatus =
  /** Not fsynced yet. */
  | 'pending'
  /** An fsync of it failed: it may be on the disk or not, and no later fsync will say. */
  | 'limbo'
  /** On the disk, behind another operation that may not be. */
  | 'durable';

interface Operation {
  /** Ascending in the order of the calls. */
  readonly order: number;
  /** The file or folder that it changed. */
  readonly node: MemoryNode;
  status: OperationStatus;
}

/** Bytes written to a file. */
export interface WriteOperation extends Operation {
  readonly kind: 'write';
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A file cut, or lengthened with zeros. */
export interface TruncateOperation extends Operation {
  readonly kind: 'truncate';
  readonly size: number;
}

/** A name that came into a folder. */
export interface LinkOperation extends Operation {
  readonly kind: 'link';
  readonly name: string;
  readonly target: MemoryNode;
}

/** A name that left a folder. */
export interface UnlinkOperation extends Operation {
  readonly kind: 'unlink';
  readonly name: string;
  readonly target: MemoryNode;
}

/** A name that replaced another one. */
export interface RenameOperation extends Operation {
  readonly kind: 'rename';
  readonly from: string;
  readonly name: string;
  readonly target: MemoryNode;
}

/** An operation whose survival is open. */
export type OpenOperation = WriteOperation | TruncateOperation | LinkOperation | UnlinkOperation | RenameOperation;

/**
 * What becomes of an operation in a power cut: it survives, it does not, or in part. Of a write, the bytes of a range survive, or the file is as long
 * as if they had and holds zeros there; of a rename, both names survive.
 */
export type Survival = boolean | { readonly from: number; readonly to: number } | 'zeros' | 'both names';

const NOTHING: Uint8Array = new Uint8Array(0);

/** A file or a folder. */
export class MemoryNode {
  readonly id: number;
  readonly isFolder: boolean;
  /** What everybody sees now. */
  data: Uint8Array = NOTHING;
  entries: Map<string, MemoryNode> = new Map();
  mtimeMs: number = 0;
  /** How many fsyncs of it failed. */
  failures: number = 0;
  /** What is surely on the disk. */
  #base: Uint8Array = NOTHING;
  #baseEntries: Map<string, MemoryNode> = new Map();
  /** Oldest first; the first one is never durable. */
  #operations: OpenOperation[] = [];

  constructor(id: number, isFolder: boolean) {
    this.id = id;
    this.isFolder = isFolder;
  }

  /** A file that is on the disk. */
  static durableFile(id: number, bytes: Uint8Array): MemoryNode {
    const node = new MemoryNode(id, false);
    node.data = bytes;
    node.#base = bytes;
    return node;
  }

  /** A folder that is on the disk with what is in it. */
  static durableFolder(id: number, entries: ReadonlyMap<string, MemoryNode>): MemoryNode {
    const node = new MemoryNode(id, true);
    node.entries = new Map(entries);
    node.#baseEntries = new Map(entries);
    return node;
  }

  /** Operations whose survival is open. */
  get openOperations(): readonly OpenOperation[] {
    return this.#operations;
  }

  /** Does an operation, as everybody sees it; what the disk has does not change. */
  perform(operation: OpenOperation): void {
    if (this.isFolder) applyToEntries(this.entries, operation, true);
    else this.data = applyToBytes(this.data, operation, true);
    this.#operations.push(operation);
  }

  /** An fsync returned: those of the given operations that were still pending are on the disk. */
  persist(operations: readonly OpenOperation[] = this.#operations): void {
    for (const operation of operations) if (operation.status === 'pending') operation.status = 'durable';
    const first = this.#operations.findIndex(({ status }) => status !== 'durable');
    const settled = this.#operations.splice(0, first < 0 ? this.#operations.length : first);
    for (const operation of settled) {
      if (this.isFolder) applyToEntries(this.#baseEntries, operation, true);
      else this.#base = applyToBytes(this.#base, operation, true);
    }
    if (this.#operations.length === 0 && !this.isFolder) this.#base = this.data;
  }

  /** An fsync failed: the system calls the pages clean and will never write them. The size is in the journal, and may still follow. */
  lose(): void {
    for (const operation of this.#operations) {
      if (operation.status === 'pending' && operation.kind === 'write') operation.status = 'limbo';
    }
  }

  /** The content after a power cut. */
  bytesAfter(survival: (operation: OpenOperation) => Survival): Uint8Array {
    let bytes = this.#base;
    for (const operation of this.#operations) {
      bytes = applyToBytes(bytes, operation, operation.status === 'durable' ? true : survival(operation));
    }
    return bytes;
  }

  /** The entries after a power cut. */
  entriesAfter(survival: (operation: OpenOperation) => Survival): ReadonlyMap<string, MemoryNode> {
    if (this.#operations.length === 0) return this.#baseEntries;
    const entries = new Map(this.#baseEntries);
    for (const operation of this.#operations) {
      applyToEntries(entries, operation, operation.status === 'durable' ? true : survival(operation));
    }
    return entries;
  }

  /** A copy with the same open operations; `copies` maps the nodes copied so far. */
  clone(copies: Map<MemoryNode, MemoryNode>): MemoryNode {
    const known = copies.get(this);
    if (known !== undefined) return known;
    const copy = new MemoryNode(this.id, this.isFolder);
    copies.set(this, copy);
    copy.data = this.data;
    copy.#base = this.#base;
    copy.mtimeMs = this.mtimeMs;
    for (const [name, node] of this.entries) copy.entries.set(name, node.clone(copies));
    for (const [name, node] of this.#baseEntries) copy.#baseEntries.set(name, node.clone(copies));
    copy.#operations = this.#operations.map((operation) =>
      'target' in operation
        ? { ...operation, node: copy, target: operation.target.clone(copies) }
        : { ...operation, node: copy },
    );
    return copy;
  }
}

function applyToBytes(bytes: Uint8Array, operation: OpenOperation, survival: Survival): Uint8Array {
  if (survival === false) return bytes;
  if (operation.kind === 'truncate') return resized(bytes, operation.size);
  if (operation.kind !== 'write') return bytes;
  const { offset, bytes: written } = operation;
  if (survival === 'zeros') return resized(bytes, Math.max(bytes.length, offset + written.length), true);
  const { from, to } = typeof survival === 'object' ? survival : { from: 0, to: written.length };
  const result = resized(bytes, Math.max(bytes.length, offset + to), true);
  result.set(written.subarray(from, to), offset + from);
  return result;
}

/** A copy of another length, filled up with zeros. */
function resized(bytes: Uint8Array, size: number, always: boolean = false): Uint8Array {
  if (bytes.length === size && !always) return bytes;
  const result = new Uint8Array(size);
  result.set(bytes.length > size ? bytes.subarray(0, size) : bytes);
  return result;
}

function applyToEntries(entries: Map<string, MemoryNode>, operation: OpenOperation, survival: Survival): void {
  if (survival === false) return;
  switch (operation.kind) {
    case 'link':
      entries.set(operation.name, operation.target);
      break;
    case 'unlink':
      if (entries.get(operation.name) === operation.target) entries.delete(operation.name);
      break;
    case 'rename':
      entries.set(operation.name, operation.target);
      if (survival !== 'both names' && entries.get(operation.from) === operation.target) entries.delete(operation.from);
      break;
    default:
      break;
  }
}
