/**
 * What a disk may hold after a power cut: combinations of the operations that were not fsynced, some of them in part.
 *
 * Few open operations are combined in every way. Of many, each survives alone, each is lost alone, every prefix survives, and some sets
 * are drawn from the seed.
 */
import { createHash } from 'node:crypto';
import type { DiskImage, MemoryFileSystem } from './memory-file-system.ts';
import type { OpenOperation, Survival, WriteOperation } from './memory-files.ts';
import type { Random } from './random.ts';

/** How many states are made. */
export interface CrashBudget {
  /** Up to this many open operations are combined in every way. */
  readonly subsetsUpTo: number;
  /** How many sets are drawn where there are more. */
  readonly drawn: number;
  /** At how many places inside a write it is torn, beside the ends of its lines. */
  readonly tears: number;
  /** How many of the latest writes are torn. */
  readonly tornWrites: number;
}

/** One way the disk may be after a power cut. */
export interface CrashState {
  readonly image: DiskImage;
  /** Which operations survived, for people. */
  describe(): string;
}

const LINE_ENDS_MAX = 6;
const NEWLINE = 0x0a;

/**
 * The states a power cut may leave now.
 *
 * @param latest only states in which this operation survived, at least in part: those without it were possible before it was done
 */
export function* crashStates(
  fs: MemoryFileSystem,
  random: Random,
  budget: CrashBudget,
  latest?: OpenOperation,
): Generator<CrashState, void, undefined> {
  const operations = fs.openOperations();
  const free = operations.filter((operation) => operation !== latest);
  const state = (survivors: ReadonlySet<OpenOperation>, partly?: ReadonlyMap<OpenOperation, Survival>): CrashState => {
    const survival = (operation: OpenOperation): Survival =>
      partly?.get(operation) ?? (operation === latest || survivors.has(operation));
    return { image: fs.imageAfter(survival), describe: () => describeSurvival(operations, survival) };
  };
  for (const survivors of subsets(free, random, budget)) yield state(survivors);
  const all = new Set(free);
  const none = new Set<OpenOperation>();
  const writes = operations.filter((operation) => operation.kind === 'write').slice(-budget.tornWrites);
  const torn = latest?.kind === 'write' ? [latest] : latest === undefined ? writes : [];
  for (const write of torn) {
    for (const partly of tears(write, random, budget)) {
      yield state(all, new Map([[write, partly]]));
      yield state(none, new Map([[write, partly]]));
      if (free.length > 1) yield state(drawSubset(free, random), new Map([[write, partly]]));
    }
  }
  for (const operation of operations) {
    if (operation.kind !== 'rename' || (latest !== undefined && operation !== latest)) continue;
    yield state(all, new Map([[operation, 'both names']]));
    yield state(none, new Map([[operation, 'both names']]));
  }
}

function* subsets(
  operations: readonly OpenOperation[],
  random: Random,
  budget: CrashBudget,
): Generator<ReadonlySet<OpenOperation>, void, undefined> {
  if (operations.length <= budget.subsetsUpTo) {
    for (let bits = 0; bits < 1 << operations.length; bits++) {
      yield new Set(operations.filter((_, index) => (bits & (1 << index)) !== 0));
    }
    return;
  }
  yield new Set();
  for (const [index, one] of operations.entries()) {
    yield new Set([one]);
    yield new Set(operations.filter((other) => other !== one));
    yield new Set(operations.slice(0, index + 1));
  }
  for (let count = 0; count < budget.drawn; count++) yield drawSubset(operations, random);
}

function drawSubset(operations: readonly OpenOperation[], random: Random): ReadonlySet<OpenOperation> {
  return new Set(operations.filter(() => random.chance(0.5)));
}

/** Ways in which a write survives in part: cut at the ends of lines and elsewhere, without its head, or as zeros. */
function* tears(
  { bytes }: WriteOperation,
  random: Random,
  { tears: places }: CrashBudget,
): Generator<Survival, void, undefined> {
  const ends: number[] = [];
  for (let at = bytes.indexOf(NEWLINE); at >= 0 && at + 1 < bytes.length; at = bytes.indexOf(NEWLINE, at + 1)) {
    ends.push(at + 1);
  }
  while (ends.length > LINE_ENDS_MAX) ends.splice(random.below(ends.length), 1);
  for (const end of ends) yield { from: 0, to: end };
  if (bytes.length > 1) {
    for (let count = 0; count < places; count++) yield { from: 0, to: 1 + random.below(bytes.length - 1) };
    yield { from: 0, to: bytes.length - 1 };
    yield { from: 1 + random.below(bytes.length - 1), to: bytes.length };
  }
  yield 'zeros';
}

/** A text that is equal for equal images. */
export function imageKey(image: DiskImage): string {
  const hash = createHash('sha1');
  for (const path of [...image.keys()].sort()) {
    const content = image.get(path) as Uint8Array | 'folder';
    hash.update(content === 'folder' ? `\n${path}/` : `\n${path} ${content.length} `);
    if (content !== 'folder') hash.update(content);
  }
  return hash.digest('base64');
}

/** An image as people read it. */
export function dumpImage(image: DiskImage): string {
  const parts: string[] = [];
  for (const [path, content] of [...image].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (content === 'folder') continue;
    const text = new TextDecoder('latin1').decode(content.length > 6000 ? content.subarray(0, 6000) : content);
    parts.push(`--- ${path} (${content.length} bytes)\n${text.replaceAll('\0', '·').trimEnd()}`);
  }
  return parts.join('\n');
}

/** An operation as people read it. */
export function describeOperation(operation: OpenOperation): string {
  switch (operation.kind) {
    case 'write':
      return `write of ${operation.bytes.length} at ${operation.offset} in #${operation.node.id}`;
    case 'truncate':
      return `truncation to ${operation.size} of #${operation.node.id}`;
    case 'rename':
      return `rename ${operation.from} -> ${operation.name}`;
    default:
      return `${operation.kind} ${operation.name} (#${operation.target.id})`;
  }
}

function describeSurvival(operations: readonly OpenOperation[], survival: (one: OpenOperation) => Survival): string {
  return operations
    .map((operation) => {
      const fate = survival(operation);
      const shown = typeof fate === 'object' ? `bytes ${fate.from}..${fate.to}` : String(fate);
      return `  ${describeOperation(operation)} [${operation.status}]: ${shown}`;
    })
    .join('\n');
}
