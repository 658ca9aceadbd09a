// A tracker against a plain Map: any sequence of commands leaves the same tasks, counts and lists, also after kills and reopens.
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import type { Key } from '../../src/core/key.ts';
import type { Durability } from '../../src/index.ts';
import { ProgressTracker } from '../../src/tracker/tracker.ts';
import fc from '../fast-check.ts';
import { makeMemoryFolder } from '../memory-folder.ts';
import { testSize } from '../size.ts';
import { clock } from '../tracker/fast-system.ts';
import { derivedBy, factsOf, isToDo, priorityOf, recount } from '../tracker/recount.ts';
import { codeOf } from '../tracker/temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const SIZES = { small: [60, 60], ci: [2_000, 100], long: [8_000, 100] } as const;
const [RUNS, COMMANDS] = SIZES[testSize];

const root = makeMemoryFolder('tracker-model');
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Task = Record<string, unknown>;
type Tracker = ProgressTracker<object, Key>;

// ---- The model.

interface Item {
  readonly key: Key;
  readonly task: Task;
  /** Higher means added later; never given twice, so a loop knows its place by it. */
  readonly number: number;
}

type State = ReadonlyMap<string, Item>;

class Model {
  now: Map<string, Item> = new Map();
  /** What `revert` goes back to. */
  point: State = new Map();
  /** What a kill leaves. */
  appended: State = new Map();
  maxTries: number = 0;
  /** Claims and turns append at every level but this. */
  readonly durability: Durability;
  /** Whether some task has or had a priority, since all were filed anew. */
  usesPriorities: boolean = false;
  /** The number of the last place in the order, or -1: a deleted task leaves its place empty, until all are cleared. */
  lastNumber: number = -1;
  #numbers: number = 0;

  constructor(durability: Durability) {
    this.durability = durability;
  }

  copy(): Map<string, Item> {
    return new Map([...this.now].map(([text, item]) => [text, { ...item, task: plain(item.task) }]));
  }

  has(key: Key): boolean {
    return this.now.has(JSON.stringify(key));
  }

  /** The task itself, to be changed in place. */
  task(key: Key): Task {
    return (this.now.get(JSON.stringify(key)) as Item).task;
  }

  set(key: Key, task: Task): void {
    const text = JSON.stringify(key);
    const number = this.now.get(text)?.number ?? this.#numbers++;
    this.now.set(text, { key, task, number });
    // At once, as one `update` can give a task a priority and take it away again.
    this.usesPriorities ||= priorityOf(task) !== 0;
    this.lastNumber = Math.max(this.lastNumber, number);
  }

  /** Whether some task has a priority now. */
  get hasPriorities(): boolean {
    return [...this.now.values()].some(({ task }) => priorityOf(task) !== 0);
  }

  keyAt(nth: number): Key | undefined {
    const items = [...this.now.values()];
    return items[nth % items.length]?.key;
  }

  appends(inTransaction: boolean = false): void {
    if (this.durability !== 'exit' && !inTransaction) this.appended = this.copy();
  }

  synced(): void {
    this.point = this.copy();
    this.appended = this.point;
  }

  become(state: State): void {
    this.now = new Map([...state].map(([text, item]) => [text, { ...item, task: plain(item.task) }]));
    for (const { number } of state.values()) this.lastNumber = Math.max(this.lastNumber, number);
  }

  clear(): void {
    this.now.clear();
    this.lastNumber = -1;
  }

  entries(): [Key, Task][] {
    return [...this.now.values()].map(({ key, task }) => [key, task]);
  }
}

function plain(task: Task): Task {
  return JSON.parse(JSON.stringify(task)) as Task;
}

/** A task from data, by the words of the contract; undefined where it is refused. */
function asTask(data: unknown, base: Task = {}): Task | undefined {
  if (!isAccepted(data)) return undefined;
  return { ...{ _tries: 0, _done: false, _aborted: false }, ...base, ...plain(data as Task) };
}

function isAccepted(data: unknown): boolean {
  if (typeof data !== 'object' || data === null || Array.isArray(data) || data instanceof Date) return false;
  const { _tries, _done, _aborted, _priority, deep } = data as Task;
  const isPriority =
    _priority === undefined || (Number.isInteger(_priority) && Math.abs(_priority as number) <= PRIORITY_MAX);
  const isCount = _tries === undefined || (Number.isSafeInteger(_tries) && (_tries as number) >= 0);
  const isFlag = (flag: unknown): boolean => flag === undefined || typeof flag === 'boolean';
  return isCount && isPriority && isFlag(_done) && isFlag(_aborted) && !Number.isNaN(deep);
}

const PRIORITY_MAX = 10;

/** A loop that somebody is in the middle of. */
interface Loop {
  readonly tries: boolean;
  readonly allowAborted: boolean;
  left: number;
  /** The tasks, by number, that the walk has visited or gone past, each in the priority that it had then. */
  readonly passed: Set<number>;
  /** How far it is in each priority. */
  readonly places: Map<number, number>;
  ended: boolean;
  readonly real: Iterator<unknown>;
  readonly shows: 'keys' | 'items' | 'values';
}

/** From the highest on. */
const PRIORITIES = Array.from({ length: 21 }, (_, index) => 10 - index);

// ---- The commands.

const keyArb = fc.constantFrom<Key>('a', 'b', 'c', '', '__proto__', '1', 1, ['1'], [1, ['a']], 'é\n');
const hostileArb = fc.constantFrom<unknown>(
  0,
  1,
  2,
  3,
  -1,
  1.5,
  1e6,
  true,
  false,
  'yes',
  '',
  null,
  {},
  { try: 1 },
  undefined,
);
const dataArb = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record(
      {
        _tries: fc.nat(3),
        _done: fc.boolean(),
        _aborted: fc.boolean(),
        _priority: fc.constantFrom(-10, -1, 0, 1, 10),
        n: fc.integer(),
        deep: fc.constantFrom<unknown>({ a: [1] }, [], 'x', undefined, null),
        constructor: fc.constant(1),
      },
      { requiredKeys: [] },
    ),
  },
  { weight: 1, arbitrary: fc.constant(JSON.parse('{"__proto__":{"_done":true}}') as unknown) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      5,
      null,
      [],
      'x',
      new Date(0),
      { _tries: '1' },
      { _done: 1 },
      { _priority: 11 },
      { deep: Number.NaN },
    ),
  },
);
const nth = fc.nat(30);
const RECORD = ['_tries', '_done', '_aborted', '_error', '_priority', 'n'] as const;

type Change =
  | { readonly op: 'add' | 'addIfAbsent' | 'set'; readonly key: Key; readonly data: unknown }
  | { readonly op: 'update'; readonly pairs: readonly (readonly [Key, unknown])[] }
  | { readonly op: 'addMany' | 'addManyIfAbsent'; readonly keys: readonly Key[] }
  | {
      readonly op: 'delete' | 'markNotDone' | 'unabort' | 'tryIt' | 'incrementTries' | 'decrementTries' | 'resetTries';
      readonly nth: number;
    }
  | { readonly op: 'shouldTryAdd'; readonly key: Key; readonly allowAborted: boolean }
  | { readonly op: 'markDone'; readonly nth: number; readonly data: unknown }
  | { readonly op: 'fail' | 'abort'; readonly nth: number; readonly reason: unknown }
  | {
      readonly op: 'edit';
      readonly nth: number;
      readonly name: (typeof RECORD)[number];
      readonly value: unknown;
      readonly remove: boolean;
    }
  | { readonly op: 'setPriority'; readonly nth: number; readonly priority: number }
  | { readonly op: 'step'; readonly nth: number }
  | { readonly op: 'clear' };

type Command =
  | Change
  | {
      readonly op: 'loop';
      readonly tries: boolean;
      readonly shows: Loop['shows'];
      readonly allowAborted: boolean;
      readonly limit: number;
    }
  | { readonly op: 'transaction'; readonly changes: readonly Change[]; readonly fails: boolean }
  | { readonly op: 'maxTries'; readonly tries: number }
  | { readonly op: 'turn' | 'sync' | 'revert' | 'reopen' | 'kill' | 'compact' };

const changeArb: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constantFrom('add' as const, 'addIfAbsent' as const, 'set' as const),
      key: keyArb,
      data: dataArb,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('update' as const),
      pairs: fc.array(fc.tuple(keyArb, dataArb), { maxLength: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constantFrom('addMany' as const, 'addManyIfAbsent' as const),
      keys: fc.array(keyArb, { maxLength: 4 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constantFrom(
        'delete',
        'markNotDone',
        'unabort',
        'tryIt',
        'incrementTries',
        'decrementTries',
        'resetTries' as const,
      ),
      nth,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('shouldTryAdd' as const), key: keyArb, allowAborted: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('markDone' as const), nth, data: fc.option(dataArb, { nil: undefined }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constantFrom('fail' as const, 'abort' as const),
      nth,
      reason: fc.constantFrom('why', undefined, 7),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('edit' as const),
      nth,
      name: fc.constantFrom(...RECORD),
      value: hostileArb,
      remove: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('setPriority' as const),
      nth,
      priority: fc.constantFrom(-10, -1, 0, 1, 10, 11, 0.5),
    }),
  },
  { weight: 12, arbitrary: fc.record({ op: fc.constant('step' as const), nth }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('clear' as const) }) },
);

const commandArb: fc.Arbitrary<Command> = fc.oneof(
  { weight: 40, arbitrary: changeArb },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('loop' as const),
      tries: fc.boolean(),
      shows: fc.constantFrom('keys' as const, 'items' as const, 'values' as const),
      allowAborted: fc.boolean(),
      limit: fc.constantFrom(Number.POSITIVE_INFINITY, 0, 1, 3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('transaction' as const),
      changes: fc.array(changeArb, { maxLength: 6 }),
      fails: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('maxTries' as const), tries: fc.nat(3) }) },
  {
    weight: 9,
    arbitrary: fc.record({
      op: fc.constantFrom('turn', 'turn', 'turn', 'sync', 'sync', 'revert', 'compact', 'reopen', 'kill' as const),
    }),
  },
);

// ---- Running them, in the model and in the tracker.

const MODEL_ERROR = new RangeError('the transaction fails here');

class World {
  readonly model: Model;
  path: string;
  tracker: Tracker;
  readonly #opened: Tracker[] = [];
  #loops: Loop[] = [];
  #inTransaction: boolean = false;
  static #folders: number = 0;

  constructor(durability: Durability) {
    this.model = new Model(durability);
    this.path = this.#newPath();
    this.tracker = this.#open();
  }

  #newPath(): string {
    return join(root, String(World.#folders++));
  }

  #open(): Tracker {
    const { durability } = this.model;
    const tracker = ProgressTracker.open<object, Key>(this.path, {
      durability,
      fileSize: 3,
      syncAt: 1e9,
      syncEvery: 0,
      // Only a few tasks stay in memory.
      cacheSize: 1500,
    });
    this.#opened.push(tracker);
    return tracker;
  }

  run(command: Command): void {
    const { model } = this;
    switch (command.op) {
      case 'turn':
        model.appends();
        break;
      case 'sync':
      case 'compact':
        this.tracker[command.op]();
        model.synced();
        if (command.op === 'compact') model.usesPriorities = model.hasPriorities;
        break;
      case 'revert':
        this.tracker.revert();
        this.#goBack(model.point);
        model.appended = model.point;
        this.#replaced();
        break;
      case 'reopen':
        this.tracker.close();
        this.#recovered();
        model.synced();
        break;
      case 'kill': {
        const copy = this.#newPath();
        cpSync(this.path, copy, { recursive: true });
        this.path = copy;
        model.become(model.appended);
        this.#recovered();
        model.synced();
        break;
      }
      case 'maxTries':
        this.tracker.maxTries = command.tries;
        if (model.maxTries !== command.tries) model.usesPriorities = model.hasPriorities;
        model.maxTries = command.tries;
        break;
      case 'loop':
        this.#begin(command);
        break;
      case 'transaction':
        this.#transaction(command);
        break;
      default:
        this.#change(command);
    }
    this.compare();
  }

  #recovered(): void {
    this.#loops = [];
    this.model.usesPriorities = this.model.hasPriorities;
    this.tracker = this.#open();
    const { resume } = this.tracker;
    const counted = recount(this.model.entries(), this.model.maxTries);
    expect(resume).toMatchObject({
      total: counted.size,
      done: counted.done.length,
      aborted: counted.aborted.length,
      failed: counted.failed.length,
      todo: counted.todo.length,
      exhausted: counted.exhausted,
    });
    expect(resume.nothingLeft === undefined).toBe(counted.todo.length > 0);
  }

  compare(): void {
    const { model, tracker } = this;
    expect(tracker.maxTries).toBe(model.maxTries);
    expect([...tracker].map(([key, task]) => [key, plain(task as Task)])).toEqual(model.entries());
    expect(derivedBy(tracker)).toEqual(recount(model.entries(), model.maxTries));
  }

  close(): void {
    for (const tracker of this.#opened) if (!tracker.closed) tracker.close();
    rmSync(this.path, { recursive: true, force: true });
  }

  #transaction({ changes, fails }: Extract<Command, { op: 'transaction' }>): void {
    const { model, tracker } = this;
    const before = model.copy();
    const work = (): void => {
      for (const change of changes) this.#change(change);
      if (fails) throw MODEL_ERROR;
    };
    this.#inTransaction = true;
    try {
      tracker.transaction(work);
      expect(fails).toBe(false);
      if (model.durability === 'power') model.appends();
    } catch (error) {
      if (error !== MODEL_ERROR) throw error;
      this.#goBack(before);
      if (changes.some(({ op }) => op === 'clear')) this.#replaced();
    } finally {
      this.#inTransaction = false;
    }
  }

  /** Does the same to both, and compares what they answer: a result, or that it was refused. */
  #both(code: string | undefined, real: () => unknown, result: unknown): void {
    if (code === undefined) expect(real()).toEqual(result);
    else expect(codeOf(real)).toBe(code);
    this.model.usesPriorities ||= this.model.hasPriorities;
    // At level power every change is on the disk when it returns.
    if (this.model.durability === 'power') this.model.appends(this.#inTransaction);
  }

  #change(change: Change): void {
    const { model, tracker } = this;
    switch (change.op) {
      case 'add': {
        const known = model.has(change.key);
        const task = asTask(change.data);
        if (!known && task !== undefined) model.set(change.key, task);
        const code = known ? 'ERR_POD_DUPLICATE_KEY' : task === undefined ? 'ERR_POD_VALUE' : undefined;
        // No data is no data, and null counts as none.
        if (change.data === null && !known) model.set(change.key, asTask({}) as Task);
        this.#both(
          change.data === null && !known ? undefined : code,
          () => tracker.add(change.key, change.data as object),
          undefined,
        );
        return;
      }
      case 'addIfAbsent': {
        const known = model.has(change.key);
        const task = asTask(change.data ?? {});
        if (!known && task !== undefined) model.set(change.key, task);
        const code = !known && task === undefined ? 'ERR_POD_VALUE' : undefined;
        this.#both(code, () => tracker.addIfAbsent(change.key, change.data as object), !known);
        return;
      }
      case 'set': {
        const task = asTask(change.data);
        if (task !== undefined) model.set(change.key, task);
        this.#both(
          task === undefined ? 'ERR_POD_VALUE' : undefined,
          () => tracker.set(change.key, change.data as never) === tracker,
          true,
        );
        return;
      }
      case 'update': {
        let code: string | undefined;
        for (const [key, data] of change.pairs) {
          const task = asTask(data, model.has(key) ? model.task(key) : {});
          if (task === undefined) {
            code = 'ERR_POD_VALUE';
            break;
          }
          model.set(key, task);
        }
        this.#both(code, () => tracker.update(change.pairs as never), undefined);
        return;
      }
      case 'addMany': {
        const duplicate = change.keys.some((key) => {
          if (model.has(key)) return true;
          model.set(key, asTask({}) as Task);
          return false;
        });
        this.#both(duplicate ? 'ERR_POD_DUPLICATE_KEY' : undefined, () => tracker.addMany(change.keys), undefined);
        return;
      }
      case 'addManyIfAbsent': {
        const size = model.now.size;
        for (const key of change.keys) if (!model.has(key)) model.set(key, asTask({}) as Task);
        this.#both(undefined, () => tracker.addManyIfAbsent(change.keys), model.now.size - size);
        return;
      }
      case 'shouldTryAdd': {
        const { key, allowAborted } = change;
        if (!model.has(key)) model.set(key, asTask({}) as Task);
        const open = isToDo(model.task(key), model.maxTries, allowAborted);
        if (open) this.#claim(key);
        this.#both(undefined, () => tracker.shouldTryAdd(key, { allowAborted }), open);
        return;
      }
      case 'clear':
        model.clear();
        this.#both(undefined, () => tracker.clear(), undefined);
        this.#replaced();
        return;
      case 'step':
        this.#step(change.nth);
        return;
      default: {
        const key = model.keyAt(change.nth);
        if (key !== undefined) this.#changeTask(key, change);
      }
    }
  }

  #changeTask(key: Key, change: Extract<Change, { nth: number }>): void {
    const { model, tracker } = this;
    const task = model.task(key);
    const { tries } = factsOf(task);
    const at = new Date(clock.now()).toISOString();
    switch (change.op) {
      case 'delete':
        model.now.delete(JSON.stringify(key));
        this.#both(undefined, () => tracker.delete(key), true);
        return;
      case 'markDone': {
        const accepted = change.data === undefined || isAccepted(change.data);
        if (accepted) {
          const done: Task = {
            ...filled(task),
            ...(change.data === undefined ? {} : plain(change.data as Task)),
            _done: true,
          };
          delete done._error;
          model.set(key, done);
        }
        this.#both(
          accepted ? undefined : 'ERR_POD_VALUE',
          () => tracker.markDone(key, change.data as object),
          undefined,
        );
        return;
      }
      case 'markNotDone':
        model.set(key, { ...filled(task), _done: false });
        this.#both(undefined, () => tracker.markNotDone(key), undefined);
        return;
      case 'abort': {
        const reason = String(change.reason);
        const error =
          change.reason === undefined ? {} : { _error: { name: 'Aborted', message: reason, at, try: tries } };
        model.set(key, { ...filled(task), _aborted: true, ...error });
        this.#both(undefined, () => tracker.abort(key, change.reason), undefined);
        return;
      }
      case 'unabort': {
        const back: Task = { ...filled(task), _aborted: false };
        if ((back._error as { name?: unknown } | null | undefined)?.name === 'Aborted') delete back._error;
        model.set(key, back);
        this.#both(undefined, () => tracker.unabort(key), undefined);
        return;
      }
      case 'fail': {
        const message = change.reason === undefined ? '' : String(change.reason);
        model.set(key, { ...filled(task), _error: { name: 'Error', message, at, try: tries } });
        this.#both(undefined, () => tracker.fail(key, change.reason), undefined);
        return;
      }
      case 'incrementTries':
        model.set(key, withTries(task, tries + 1));
        this.#both(undefined, () => tracker.incrementTries(key), undefined);
        return;
      case 'decrementTries':
        model.set(key, withTries(task, Math.max(0, tries - 1)));
        this.#both(undefined, () => tracker.decrementTries(key), undefined);
        return;
      case 'resetTries':
        model.set(key, withTries(task, 0));
        this.#both(undefined, () => tracker.resetTries(key), undefined);
        return;
      case 'setPriority': {
        const { priority } = change;
        const isOne = Number.isInteger(priority) && Math.abs(priority) <= PRIORITY_MAX;
        if (isOne && priorityOf(task) !== priority) {
          const { _priority, ...rest } = filled(task);
          model.set(key, { ...rest, ...(priority !== 0 && { _priority: priority }) });
        }
        this.#both(isOne ? undefined : 'ERR_POD_OPTIONS', () => tracker.setPriority(key, priority), undefined);
        expect(tracker.priority(key)).toBe(priorityOf(model.task(key)));
        return;
      }
      case 'tryIt': {
        const open = isToDo(task, model.maxTries, false);
        if (open) this.#claim(key);
        this.#both(undefined, () => tracker.shouldTry(key), open);
        return;
      }
      case 'edit': {
        const { name, value, remove } = change;
        const view = tracker.get(key) as Task;
        if (remove || value === undefined) delete task[name];
        else task[name] = typeof value === 'object' && value !== null ? plain(value as Task) : value;
        const edit = (): boolean => (remove ? Reflect.deleteProperty(view, name) : Reflect.set(view, name, value));
        this.#both(undefined, edit, true);
        return;
      }
      default:
        throw new Error(`${change.op} is not about one task`);
    }
  }

  /** A try is counted, and appended with everything before it, before the task is handed out. */
  #claim(key: Key): void {
    const { model } = this;
    const task = model.task(key);
    model.set(key, { ...filled(task), _tries: factsOf(task).tries + 1 });
    model.appends(this.#inTransaction);
  }

  #begin({ tries, shows, allowAborted, limit }: Extract<Command, { op: 'loop' }>): void {
    const { tracker } = this;
    const options = { allowAborted, limit };
    const real = tries
      ? { keys: tracker.tryKeys(options), items: tracker.tryItems(options), values: tracker.tryValues(options) }[shows]
      : { keys: tracker.todoKeys(options), items: tracker.todoItems(options), values: tracker.todoValues(options) }[
          shows
        ];
    if (this.#loops.length > 3) this.#loops.shift();
    this.#loops.push({
      tries,
      shows,
      allowAborted,
      left: limit,
      passed: new Set(),
      places: new Map(),
      ended: false,
      real,
    });
  }

  /** The first task to do in the highest priority that has one, of those that the walk has not gone past. */
  #next({ passed, places, allowAborted }: Loop): Item | undefined {
    const { model } = this;
    const items = [...model.now.values()].sort((a, b) => a.number - b.number);
    for (const priority of PRIORITIES) {
      const goTo = (number: number): unknown => places.set(priority, Math.max(places.get(priority) ?? -1, number));
      for (const item of items) {
        if (priorityOf(item.task) !== priority || passed.has(item.number)) continue;
        passed.add(item.number);
        if (!isToDo(item.task, model.maxTries, allowAborted)) continue;
        goTo(item.number);
        return item;
      }
      goTo(model.lastNumber);
    }
    return undefined;
  }

  /** Going back brings tasks back to their places; a walk that is beyond such a place does not turn round. */
  #goBack(state: State): void {
    const { model } = this;
    const before = new Set([...model.now.values()].map(({ number }) => number));
    model.become(state);
    for (const { passed, places } of this.#loops) {
      for (const { number, task } of model.now.values()) {
        if (!before.has(number) && number <= (places.get(priorityOf(task)) ?? -1)) passed.add(number);
      }
    }
  }

  /** All tasks were replaced. Where they have priorities nobody knows any more which was passed in which: the walks begin anew. */
  #replaced(): void {
    const { model } = this;
    if (model.usesPriorities || model.hasPriorities) {
      for (const { passed, places } of this.#loops) {
        passed.clear();
        places.clear();
      }
    }
    model.usesPriorities = model.hasPriorities;
  }

  /** One step of one of the loops that are under way. */
  #step(which: number): void {
    const loop = this.#loops[which % this.#loops.length];
    if (loop === undefined) return;
    const { model, tracker } = this;
    const next = loop.ended || loop.left === 0 ? undefined : this.#next(loop);
    if (next === undefined) loop.ended = true;
    const result = loop.real.next();
    expect(result.done).toBe(loop.ended);
    if (loop.ended || next === undefined) return;
    loop.left--;
    if (loop.tries) this.#claim(next.key);
    if (loop.tries && model.durability === 'power') model.appends(this.#inTransaction);
    const view = tracker.get(next.key);
    if (loop.shows === 'values') expect(result.value).toBe(view);
    else expect(result.value).toEqual(loop.shows === 'keys' ? next.key : [next.key, view]);
  }
}

/** Tries that are set take the number of an error with them that belongs to a try which was taken back. */
function withTries(task: Task, _tries: number): Task {
  const error = task._error as { try?: unknown } | null | undefined;
  const isTakenBack = factsOf(task).hasError && typeof error?.try === 'number' && error.try > _tries;
  return { ...filled(task), _tries, ...(isTakenBack && { _error: { ...error, try: _tries } }) };
}

/** A method that changes a task makes its record complete. */
function filled(task: Task): Task {
  return { _tries: 0, _done: false, _aborted: false, ...task };
}

it(`behaves like a Map with counters, in ${RUNS} runs of up to ${COMMANDS} commands`, async () => {
  const durabilityArb = fc.constantFrom<Durability>('process', 'exit', 'power');
  const commandsArb = fc.array(commandArb, { minLength: 1, maxLength: COMMANDS, size: 'max' });
  await fc.assert(
    fc.asyncProperty(durabilityArb, commandsArb, async (durability, commands) => {
      const world = new World(durability);
      try {
        for (const command of commands) {
          // A turn of the event loop ends here and nowhere else, so that a kill can come in the middle of one.
          if (command.op === 'turn') await Promise.resolve();
          world.run(command);
        }
      } finally {
        world.close();
      }
    }),
    { numRuns: RUNS },
  );
});
