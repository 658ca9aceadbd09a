// What a tracker's counters have to be: counted anew from plain values, by the words of the contract and by nothing of the code under test.
import type { Key } from '../../src/core/key.ts';
import type { ProgressTracker } from '../../src/tracker/tracker.ts';

/** Everything that is derived from the entries. Lists hold keys as JSON texts, in order. */
export interface Derived {
  readonly size: number;
  readonly done: readonly string[];
  readonly aborted: readonly string[];
  readonly failed: readonly string[];
  readonly todo: readonly string[];
  readonly todoAllowingAborted: readonly string[];
  readonly tried: number;
  readonly tries: number;
  readonly exhausted: number;
}

/** The facts about one task; what is missing or of the wrong type counts as not there. */
export function factsOf(value: unknown): { tries: number; done: boolean; aborted: boolean; hasError: boolean } {
  const task = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const own = (name: string): unknown => (Object.hasOwn(task, name) ? task[name] : undefined);
  const tries = own('_tries');
  const error = own('_error');
  return {
    tries: typeof tries === 'number' && tries > 0 ? Math.floor(tries) : 0,
    done: own('_done') === true,
    aborted: own('_aborted') === true,
    hasError: typeof error === 'object' && error !== null,
  };
}

/** Whether a task is to do. */
export function isToDo(value: unknown, maxTries: number, allowAborted: boolean): boolean {
  const { tries, done, aborted } = factsOf(value);
  return !done && (maxTries === 0 || tries < maxTries) && (allowAborted || !aborted);
}

/** A whole number from -10 to 10 in its place; anything else counts as 0. */
export function priorityOf(value: unknown): number {
  const task = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const priority = Object.hasOwn(task, '_priority') ? task._priority : 0;
  return Number.isInteger(priority) && Math.abs(priority as number) <= 10 ? (priority as number) : 0;
}

/** Counts everything anew. */
export function recount(entries: Iterable<readonly [Key, unknown]>, maxTries: number): Derived {
  const all = [...entries].map(([key, value]) => ({ key: JSON.stringify(key), value, ...factsOf(value) }));
  const byPriority = [...all].sort((a, b) => priorityOf(b.value) - priorityOf(a.value));
  const todo = (allowAborted: boolean): string[] =>
    byPriority.filter(({ value }) => isToDo(value, maxTries, allowAborted)).map(({ key }) => key);
  const keys = (wanted: (task: (typeof all)[number]) => boolean): string[] => all.filter(wanted).map(({ key }) => key);
  return {
    size: all.length,
    done: keys(({ done }) => done),
    aborted: keys(({ aborted }) => aborted),
    failed: keys(({ hasError, done }) => hasError && !done),
    todo: todo(false),
    todoAllowingAborted: todo(true),
    tried: keys(({ tries }) => tries > 0).length,
    tries: all.reduce((sum, { tries }) => sum + tries, 0),
    exhausted: keys(({ tries, done, aborted }) => !done && !aborted && maxTries > 0 && tries >= maxTries).length,
  };
}

/** What the tracker says, asked in every way it can be asked. */
export function derivedBy<K extends Key>(tracker: ProgressTracker<object, K>): Derived {
  const texts = (keys: Iterable<K>): string[] => [...keys].map((key) => JSON.stringify(key));
  const { total, done, aborted, todo, tried, tries, failed, exhausted } = tracker.stats();
  const derived = {
    size: tracker.size,
    done: texts(tracker.doneKeys()),
    aborted: texts(tracker.abortedKeys()),
    failed: texts(tracker.failedKeys()),
    todo: texts(tracker.todoKeys()),
    todoAllowingAborted: texts(tracker.todoKeys({ allowAborted: true })),
    tried,
    tries,
    exhausted,
  };
  const pairs: [string, number, number][] = [
    ['total', total, derived.size],
    ['done', done, derived.done.length],
    ['aborted', aborted, derived.aborted.length],
    ['failed', failed, derived.failed.length],
    ['todo', todo, derived.todo.length],
    ['numDone', tracker.numDone(), derived.done.length],
    ['numAborted', tracker.numAborted(), derived.aborted.length],
    ['numTried', tracker.numTried(), tried],
    ['numTodo', tracker.numTodo(), derived.todo.length],
    ['numNotDone', tracker.numNotDone(), derived.size - derived.done.length],
    ['numNotAborted', tracker.numNotAborted(), derived.size - derived.aborted.length],
    ['numNotTried', tracker.numNotTried(), derived.size - tried],
  ];
  for (const [name, said, counted] of pairs) {
    if (said !== counted) throw new Error(`${name} is ${said}, and ${counted} were counted.`);
  }
  return derived;
}
