/**
 * The raw limit of each work: the least that any program in this language must do, with nothing around it.
 *
 * Lines go to one file, a `Map` holds what is in memory. There are no checksums, no recovery, no order of events that a crash must respect.
 */
import { closeSync, existsSync, fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { CrawlEntry } from '../data.ts';
import { countTasks, type Level, type Peer, type Safety, type Store, type TaskQueue, type TaskRecord } from './peer.ts';

const TAB = 9;
const LINE_FEED = 10;

export function limit(): Peer {
  return { openStore: store, openQueue: queue };
}

/** A value, or where its text lies in the file. */
interface Slot {
  readonly start: number;
  readonly end: number;
  value: CrawlEntry | undefined;
}

function store(folder: string, level: Level): Store {
  const path = join(folder, 'data.jsonl');
  // Changes have a file of their own, so that reading everything once is reading each entry once.
  const changesPath = join(folder, 'changes.jsonl');
  const bytes = readIfThere(path);
  const fds: number[] = [];
  let slots: Map<string, Slot> | undefined;
  // Made on the first use: reading everything once does without.
  const index = (): Map<string, Slot> => {
    if (slots === undefined) {
      slots = indexOf(bytes);
      const changes = readIfThere(changesPath);
      eachLine(changes, (key, start, end) => slots?.set(key, { start: 0, end: 0, value: parse(changes, start, end) }));
    }
    return slots;
  };
  const touch = (slot: Slot): CrawlEntry => {
    slot.value ??= parse<CrawlEntry>(bytes, slot.start, slot.end);
    return slot.value;
  };
  const open = (file: string): number => {
    const fd = openSync(file, 'a');
    fds.push(fd);
    return fd;
  };
  let dataFd: number | undefined;
  let changesFd: number | undefined;
  const append = (fd: number, lines: readonly string[]): void => {
    writeSync(fd, lines.join(''));
    if (level === 'power') fdatasyncSync(fd);
  };
  return {
    put(keys, values) {
      const slots = index();
      dataFd ??= open(path);
      append(
        dataFd,
        keys.map((key, place) => {
          const value = values[place] as CrawlEntry;
          slots.set(key, { start: 0, end: 0, value });
          return line(key, value);
        }),
      );
    },
    getEach(keys, visit) {
      const slots = index();
      for (const key of keys) visit(touch(slots.get(key) as Slot));
    },
    update(keys, change) {
      const slots = index();
      changesFd ??= open(changesPath);
      append(
        changesFd,
        keys.map((key, place) => {
          const value = touch(slots.get(key) as Slot);
          change(value, place);
          return line(key, value);
        }),
      );
    },
    sync() {
      for (const fd of fds) fdatasyncSync(fd);
    },
    iterate(visit) {
      if (existsSync(changesPath)) for (const [key, slot] of index()) visit(key, touch(slot));
      else eachLine(bytes, (key, start, end) => visit(key, parse(bytes, start, end)));
    },
    close() {
      for (const fd of fds) closeSync(fd);
    },
  };
}

function readIfThere(path: string): Buffer {
  return existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
}

function parse<V>(bytes: Buffer, start: number, end: number): V {
  return JSON.parse(bytes.toString('latin1', start, end)) as V;
}

function line(key: string, value: object): string {
  return `${JSON.stringify(key)}\t${JSON.stringify(value)}\n`;
}

function indexOf(bytes: Buffer): Map<string, Slot> {
  const slots = new Map<string, Slot>();
  eachLine(bytes, (key, start, end) => slots.set(key, { start, end, value: undefined }));
  return slots;
}

function eachLine(bytes: Buffer, visit: (key: string, start: number, end: number) => void): void {
  let start = 0;
  for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
    const tab = bytes.indexOf(TAB, start);
    visit(JSON.parse(bytes.toString('latin1', start, tab)) as string, tab + 1, end);
    start = end + 1;
  }
}

/** Each claim and each end of a task is an append, as it is where both must survive; in a batch there is one append. */
function queue(folder: string, safety: Safety): TaskQueue {
  const path = join(folder, 'tasks.jsonl');
  const tasks = new Map<string, TaskRecord>();
  const todo: string[] = [];
  const bytes = readIfThere(path);
  eachLine(bytes, (key, start, end) => tasks.set(key, parse(bytes, start, end)));
  for (const [key, { _done }] of tasks) if (!_done) todo.push(key);
  const fd = openSync(path, 'a');
  let taken = 0;
  let lines = '';
  const append = (): void => {
    writeSync(fd, lines);
    lines = '';
  };
  return {
    fill(keys, done) {
      for (let index = 0; index < keys.length; index++) {
        const isDone = index < done;
        const task = { _tries: isDone ? 1 : 0, _done: isDone, _aborted: false };
        tasks.set(keys[index] as string, task);
        if (!isDone) todo.push(keys[index] as string);
        lines += line(keys[index] as string, task);
        if (index % 1000 === 999) append();
      }
      append();
    },
    crawl(count, linksOf) {
      const before = taken;
      for (; taken < todo.length && taken < before + count; taken++) {
        const key = todo[taken] as string;
        const task = tasks.get(key) as TaskRecord;
        task._tries++;
        lines += line(key, task);
        // The end of one task and the claim of the next are one append.
        if (safety === 'step') append();
        for (const link of linksOf(key)) {
          if (tasks.has(link)) continue;
          const found = { _tries: 0, _done: false, _aborted: false };
          tasks.set(link, found);
          todo.push(link);
          lines += line(link, found);
        }
        task._done = true;
        lines += line(key, task);
      }
      append();
      if (safety === 'batch') fdatasyncSync(fd);
      return taken - before;
    },
    counts: () => countTasks(tasks.values()),
    close: () => closeSync(fd),
  };
}
