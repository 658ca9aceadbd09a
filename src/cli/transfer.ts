/**
 * The commands that carry entries out of a pod and into one: export and import, as JSON Lines or CSV.
 *
 * The formats are described in docs/transfer.md.
 */
import { PodError } from '../core/errors.ts';
import { copyJson, type Json } from '../core/json.ts';
import { type Key, type KeyIdentity, keyIdentity, keyText } from '../core/key.ts';
import { readInput } from '../disk/input-file.ts';
import { writeOutputFile } from '../disk/output-file.ts';
import { nodeSystem } from '../disk/system.ts';
import { exportTastypy } from '../disk/tastypy-export.ts';
import { discardHandle, normalizePath } from '../pod/open-pods.ts';
import { optionsError } from '../pod/options.ts';
import { engineOf } from '../pod/pod.ts';
import { asObject, toTask } from '../tracker/task.ts';
import { ProgressTracker } from '../tracker/tracker.ts';
import type { Command, Given, Output } from './command.ts';
import { Columns } from './csv.ts';
import { csvEntries, jsonEntries, type LineEntry } from './entries.ts';
import { lineError, linesOf } from './lines.ts';
import { type AnyPod, isThere, open, openForWork, reading } from './open.ts';
import { entriesWhere, WHERE_OPTION, whereOption } from './select.ts';
import { entries as entryCount, figure } from './words.ts';

type Format = 'jsonl' | 'csv';

/** The standard output, or input. */
const STANDARD = '-';
/** Text is handed on in pieces of about this many characters. */
const PIECE_CHARS = 1 << 16;
/** A CSV with more columns is read by no spreadsheet, and means that the properties are data rather than names. */
const COLUMNS_MAX = 10_000;
/** Work that is done sooner says nothing of its progress. */
const QUIET_MS = 1_000;
const PROGRESS_MS = 5_000;
/** The clock is looked at once for so many entries. */
const ENTRIES_A_LOOK = 256;
/** Each sync point waits for the disk, and whoever is interrupted runs the import again. */
const IMPORT_SYNC_AT = 10_000;

const FORMAT_OPTION = ['--format <format>', 'jsonl or csv; else the name tells, and jsonl where it does not'] as const;
const PROGRESS_OPTION = ['--progress', 'say on standard error how far it is, also where that is no terminal'] as const;

export const TRANSFERRING: readonly Command[] = [
  {
    name: 'export',
    summary:
      'every entry as a line of JSON, [key, value], or as a row of CSV; with --tastypy a folder in the format of tastypy',
    options: [
      [
        '--out <file>',
        'into this file, which appears when it is complete; gzipped where the name ends in .gz (-, standard output)',
      ],
      FORMAT_OPTION,
      WHERE_OPTION,
      PROGRESS_OPTION,
      ['--tastypy <dir>', 'write this folder instead'],
    ],
    examples: [
      'export crawl.pod --out crawl.jsonl.gz',
      'export crawl.pod --format csv --where "done and not title exists" | head',
      'export crawl.pod --tastypy crawl-for-python',
    ],
    run: exportEntries,
  },
  {
    name: 'import',
    summary:
      'set entries from JSON Lines, [key, value] or {"key": ..., "value": ...}, or from CSV; what is there already keeps its place; doing it ' +
      'twice gives the same pod',
    options: [
      ['--from <file>', 'from this file, gzipped or not (-, standard input)'],
      FORMAT_OPTION,
      ['--merge', 'keep the properties of entries that are there where the new ones do not name them'],
      ['--skip-existing', 'leave entries that are there as they are'],
      ['--create', 'make the folder where there is none'],
      ['--tracker', 'it must be a tracker; with --create it is made one'],
      ['--dry-run', 'only count what would be done'],
      PROGRESS_OPTION,
    ],
    examples: [
      'import copy.pod --from crawl.jsonl.gz --create --tracker',
      'import crawl.pod --from seeds.csv --skip-existing --dry-run',
    ],
    run: importEntries,
  },
];

// ---- Export.

function exportEntries(given: Given, output: Output): number | Promise<number> {
  const { path, json, options } = given;
  const { out = STANDARD, tastypy } = options as { out?: string; tastypy?: string };
  const where = whereOption(given);
  const format = formatOption(path, options.format, out);
  if (tastypy !== undefined && (options.out ?? options.format) !== undefined) {
    throw optionsError(path, 'tastypy', 'cannot be given together with --out or --format');
  }
  return reading(path, (pod) => {
    const progress = new Progress(given, output, pod.size);
    const selected = () => entriesWhere(pod, where, () => progress.count());
    if (tastypy !== undefined) {
      let count = 0;
      const counted = function* () {
        for (const entry of selected()) {
          count++;
          yield entry;
        }
      };
      const files = exportTastypy(nodeSystem.fs, normalizePath(tastypy), counted(), engineOf(pod).layout);
      output.out(
        json
          ? `${JSON.stringify({ files })}\n`
          : `${tastypy}: ${entryCount(count)} in ${files.length} ${files.length === 1 ? 'file' : 'files'}.\n`,
      );
      return 0;
    }
    const result = { entries: 0 };
    const texts = pieces(format === 'csv' ? csvTexts(path, selected, progress, result) : jsonTexts(selected, result));
    if (out === STANDARD) return print(texts, output);
    const place = { gzip: /\.gz$/i.test(out), pod: pod.path };
    return writeOutputFile(nodeSystem.fs, normalizePath(out), texts, place).then(() => {
      const { entries } = result;
      output.out(json ? `${JSON.stringify({ entries, file: out })}\n` : `${out}: ${entryCount(entries)}.\n`);
      return 0;
    });
  });
}

interface Exported {
  readonly key: Key;
  readonly text: string;
  peek(): Json;
}

function* jsonTexts(selected: () => Iterable<Exported>, result: { entries: number }): Generator<string> {
  // A value is handed on as it is, since the text of a large one may be as long as a string can be.
  for (const { key, text } of selected()) {
    result.entries++;
    yield `[${keyText(key)},`;
    yield text;
    yield ']\n';
  }
}

/** Looks at everything twice: the columns must be known before the first row. */
function* csvTexts(
  path: string,
  selected: () => Iterable<Exported>,
  progress: Progress,
  result: { entries: number },
): Generator<string> {
  const columns = new Columns();
  progress.begin('looked at for the columns');
  for (const entry of selected()) {
    columns.add(entry.peek());
    if (columns.size > COLUMNS_MAX) {
      throw new PodError(
        'ERR_POD_UNSUPPORTED',
        `The values in ${path} have more than ${figure(COLUMNS_MAX)} different properties, too many for columns. Export JSON Lines.`,
        { path },
      );
    }
  }
  progress.begin('exported');
  yield columns.header();
  for (const entry of selected()) {
    result.entries++;
    yield columns.row(entry.key, entry.peek());
  }
}

/** Texts put together to pieces of some size, so that not every little one takes a call. */
function* pieces(texts: Iterable<string>): Generator<string, void, undefined> {
  let piece: string[] = [];
  let chars = 0;
  for (const text of texts) {
    if (chars + text.length > PIECE_CHARS && chars > 0) {
      yield piece.join('');
      piece = [];
      chars = 0;
    }
    piece.push(text);
    chars += text.length;
  }
  if (chars > 0) yield piece.join('');
}

/** Prints as fast as somebody reads, and no longer than that. */
function print(texts: Generator<string, void, undefined>, output: Output): number | Promise<number> {
  for (;;) {
    const next = texts.next();
    if (next.done === true) return 0;
    output.out(next.value);
    const drained = output.drained?.();
    if (drained !== undefined) return printOn(texts, output, drained);
  }
}

async function printOn(
  texts: Generator<string, void, undefined>,
  output: Output,
  drained: Promise<boolean>,
): Promise<number> {
  // Whoever has had enough, as `head` does, got what they wanted.
  if (!(await drained)) return 0;
  for (const text of texts) {
    output.out(text);
    if ((await output.drained?.()) === false) return 0;
  }
  return 0;
}

// ---- Import.

/** Where the entries go; a dry run has one of its own. */
interface Target {
  readonly isTracker: boolean;
  textOf(key: Key): string | undefined;
  set(key: Key, value: Json, text: string): void;
}

type Existing = 'overwrite' | 'merge' | 'skip';

interface Counts {
  read: number;
  added: number;
  changed: number;
  unchanged: number;
  skipped: number;
}

async function importEntries(given: Given, output: Output): Promise<number> {
  const { path, json, options } = given;
  const { from = STANDARD } = options as { from?: string };
  const format = formatOption(path, options.format, from);
  if (options.merge === true && options.skipExisting === true) {
    throw optionsError(path, 'merge', 'cannot be given together with --skip-existing');
  }
  const existing = options.merge === true ? 'merge' : options.skipExisting === true ? 'skip' : 'overwrite';
  const name = from === STANDARD ? 'standard input' : from;
  const create = options.create !== true ? undefined : options.tracker === true ? 'tracker' : 'pod';
  // Nobody should have to type everything in to hear that there is no such folder.
  const isNew = !isThere(path);
  const source = from === STANDARD ? output.input?.() : normalizePath(from);
  if (source === undefined) throw optionsError(path, 'from', 'must be a file, as there is no standard input');
  if (isNew && create === undefined) openForWork(path, create);

  const counts: Counts = { read: 0, added: 0, changed: 0, unchanged: 0, skipped: 0 };
  const isDry = options.dryRun === true;
  const progress = new Progress(given, output);
  progress.begin('read');
  const lines = linesOf(readInput(source, name));
  // The folder is opened when there is something to put into it: a file that is missing leaves none behind, and a pipe keeps none locked.
  const first = await placed(name, counts, isDry, () => lines.next());
  const target = isDry ? dryTarget(path, isNew, options.tracker === true) : realTarget(path, create);
  try {
    requireKind(path, target, options.tracker === true);
    const reader = format === 'csv' ? csvEntries() : jsonEntries();
    await placed(name, counts, isDry, async () => {
      for (let next = first; next.done !== true; next = await lines.next()) {
        for (const line of next.value) {
          const entry = reader.read(line);
          if (entry === undefined) continue;
          take(target, entry, existing, counts);
          progress.count();
        }
      }
      reader.end();
    });
  } catch (error) {
    target.close(counts.read === 0);
    throw error;
  } finally {
    await lines.return();
  }
  target.close(false);
  const words = `${entryCount(counts.read)} read: ${figure(counts.added)} added, ${figure(counts.changed)} changed, ${figure(counts.unchanged)} as they were, ${figure(counts.skipped)} skipped`;
  if (json) output.out(`${JSON.stringify({ ...counts, ...(isDry && { dryRun: true }) })}\n`);
  else output.out(`${path}: ${words}${isDry ? '; this was a dry run, and nothing was changed' : ''}.\n`);
  return 0;
}

interface OpenTarget extends Target {
  /** `isUnused`: nothing came, so a folder that was made for it goes again. */
  close(isUnused: boolean): void;
}

function realTarget(path: string, create: 'pod' | 'tracker' | undefined): OpenTarget {
  const pod: AnyPod = openForWork(path, create);
  const { table } = engineOf(pod);
  pod.syncAt = IMPORT_SYNC_AT;
  return {
    isTracker: (pod as object) instanceof ProgressTracker,
    textOf: (key) => table.find(key)?.text,
    set: (key, value) => {
      pod.set(key, value);
    },
    close: (isUnused) => {
      if (isUnused) discardHandle(engineOf(pod));
      else pod.close();
    },
  };
}

/** Keeps to itself what would be set, on top of what is in the folder. */
function dryTarget(path: string, isNew: boolean, makesTracker: boolean): OpenTarget {
  const pod = isNew ? undefined : open(path, 'r');
  const texts = new Map<KeyIdentity, string>();
  return {
    isTracker: pod === undefined ? makesTracker : (pod as object) instanceof ProgressTracker,
    textOf: (key) => texts.get(keyIdentity(key)) ?? (pod && engineOf(pod).table.find(key)?.text),
    set: (key, _value, text) => {
      texts.set(keyIdentity(key), text);
    },
    close: () => pod?.close(),
  };
}

function requireKind(path: string, { isTracker }: Target, asked: boolean): void {
  if (asked && !isTracker) throw optionsError(path, 'tracker', 'does not fit: there is a pod of other values already');
}

/** Puts one entry in. */
function take(target: Target, { key, value, line }: LineEntry, existing: Existing, counts: Counts): void {
  const before = target.textOf(key);
  if (before !== undefined && existing === 'skip') {
    counts.read++;
    counts.skipped++;
    return;
  }
  const wanted = before !== undefined && existing === 'merge' ? merged(target, before, value) : value;
  try {
    const whole = copyJson(target.isTracker ? toTask(asObject(wanted)) : wanted);
    const text = JSON.stringify(whole);
    // An entry that is as it should be is not written again, so that repeating an import costs next to nothing.
    if (text !== before) target.set(key, whole, text);
    counts.read++;
    if (before === undefined) counts.added++;
    else if (text === before) counts.unchanged++;
    else counts.changed++;
  } catch (error) {
    if (!(error instanceof PodError) || error.code !== 'ERR_POD_VALUE') throw error;
    throw lineError(
      line,
      `cannot be kept: ${error.message.replace(/ Nothing was changed\.$/, '').replace(/\.$/, '')}`,
      error,
    );
  }
}

/** As `update()` of a tracker does: the properties of the new value over those of the old one; what is no object takes the place of all. */
function merged({ isTracker }: Target, before: string, value: Json): Json {
  const old = JSON.parse(before) as Json;
  if (isTracker) return { ...(asObject(old) as object), ...(asObject(value) as object) };
  const isObject = (each: Json): boolean => typeof each === 'object' && each !== null && !Array.isArray(each);
  return isObject(old) && isObject(value) ? { ...(old as object), ...(value as object) } : value;
}

/** Says in an error where it was met and how far the import had come. */
async function placed<R>(name: string, counts: Counts, isDry: boolean, work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PodError)) throw error;
    const { code, message, path, line, key, at, info } = error;
    const far =
      isDry || counts.read === 0
        ? 'Nothing was changed.'
        : `The ${entryCount(counts.read)} before it ${counts.read === 1 ? 'is' : 'are'} in the pod; put this right and import again, which leaves them as they are.`;
    const where = line === undefined ? message : `${name}, ${message}`;
    throw new PodError(code, `${where} ${far}`, { path, file: name, line, key, at, info, cause: error });
  }
}

// ---- Both.

/** @throws {PodError} `ERR_POD_OPTIONS` */
function formatOption(path: string, format: unknown, name: string): Format {
  if (format === 'jsonl' || format === 'csv') return format;
  if (format !== undefined) throw optionsError(path, 'format', 'must be jsonl or csv');
  return /\.csv(\.gz)?$/i.test(name) ? 'csv' : 'jsonl';
}

/** Says on standard error how far long work has come. */
class Progress {
  readonly #path: string;
  readonly #say: ((text: string) => void) | undefined;
  readonly #total: string;
  #what: string = 'exported';
  #count: number = 0;
  #nextMs: number;

  constructor({ path, options }: Given, output: Output, total?: number) {
    this.#path = path;
    this.#say = options.progress === true || output.isErrTerminal === true ? (text) => output.err(text) : undefined;
    this.#total = total === undefined ? '' : ` of ${figure(total)}`;
    this.#nextMs = nodeSystem.clock.monotonic() + QUIET_MS;
  }

  /** Counts from the beginning, in other words. */
  begin(what: string): void {
    this.#what = what;
    this.#count = 0;
  }

  count(): void {
    this.#count++;
    if (this.#say === undefined || this.#count % ENTRIES_A_LOOK !== 0) return;
    const nowMs = nodeSystem.clock.monotonic();
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + PROGRESS_MS;
    this.#say(`everpod: ${this.#path}: ${figure(this.#count)}${this.#total} entries ${this.#what}\n`);
  }
}
