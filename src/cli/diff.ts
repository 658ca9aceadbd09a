/**
 * `everpod diff`: what differs between two pods, entry by entry and place by place.
 */
import { type Difference, differences, outOfOrder } from '../core/difference.ts';
import type { Entry } from '../core/entry.ts';
import { equalJson, type Json } from '../core/json.ts';
import type { Key } from '../core/key.ts';
import { engineOf } from '../pod/pod.ts';
import type { Given, Output } from './command.ts';
import { type AnyPod, type AnyTracker, reading } from './open.ts';
import { columns, countOption, figure, keyWord } from './words.ts';

type AnyEntry = Entry<Json, Key>;

/** One entry that is not the same in both. */
interface EntryChange {
  readonly key: Key;
  readonly change: 'added' | 'removed' | 'changed' | 'moved';
  /** Of a changed one: it stands elsewhere, too. */
  readonly moved?: true;
  /** Of a changed one: where and how its value differs. */
  readonly places?: readonly Difference[];
}

/** How many entries are in which way different. One that changed and moved counts for both. */
interface Counts {
  added: number;
  removed: number;
  changed: number;
  moved: number;
  same: number;
}

/** A pod with what is known of it beside its entries. */
interface Side {
  readonly path: string;
  readonly pod: AnyPod;
  readonly tracker: AnyTracker | undefined;
}

/** Of one value so many places are shown to people; `--json` has all. */
const PLACES_SHOWN = 10;
const VALUE_SHOWN = 60;

/** Tells the differences. Returns 1 where there are any, else 0. */
export function diffPods(given: Given, output: Output): number {
  const { path, words, options } = given;
  const [other = ''] = words;
  const limit =
    options.limit === undefined ? Number.POSITIVE_INFINITY : countOption(path, 'limit', String(options.limit));
  return reading(path, (pod, tracker) =>
    reading(other, (otherPod, otherTracker) => {
      const from: Side = { path, pod, tracker };
      const to: Side = { path: other, pod: otherPod, tracker: otherTracker };
      return tellDifferences(from, to, limit, given, output);
    }),
  );
}

function tellDifferences(from: Side, to: Side, limit: number, { json, options }: Given, { out, err }: Output): number {
  const counts: Counts = { added: 0, removed: 0, changed: 0, moved: 0, same: 0 };
  let told = 0;
  for (const change of changes(from.pod, to.pod, options.keysOnly !== true, counts)) {
    if (told++ < limit) out(json ? `${JSON.stringify(change)}\n` : describeChange(change));
  }
  if (told > limit) err(`everpod: ${figure(limit)} of ${figure(told)} differences; --limit left the others out.\n`);
  const facts = [...differences(factsOf(from), factsOf(to), '')].map((fact) => ({ ...fact, at: fact.at.slice(1) }));
  if (json) {
    const tasks = from.tracker && to.tracker && { from: tasksOf(from.tracker), to: tasksOf(to.tracker) };
    out(`${JSON.stringify({ summary: { ...counts, ...(facts.length > 0 && { facts }), tasks } })}\n`);
  } else {
    for (const fact of facts) out(`${describePlace(fact)}\n`);
    out(describeCounts(from, to, counts, told + facts.length === 0));
  }
  return told + facts.length === 0 ? 0 : 1;
}

/** What differs, in the order of the second pod; what it does not have comes last. */
function* changes(
  from: AnyPod,
  to: AnyPod,
  withPlaces: boolean,
  counts: Counts,
): Generator<EntryChange, void, undefined> {
  const before = engineOf(from).table;
  const after = engineOf(to).table;
  const slots: number[] = [];
  for (const { key } of after.entries()) {
    const old = before.find(key);
    if (old !== undefined) slots.push(old.slot);
  }
  const moved = outOfOrder(slots);
  let common = 0;
  for (const entry of after.entries()) {
    const old = before.find(entry.key);
    const hasMoved = old !== undefined && moved.has(common++);
    if (hasMoved) counts.moved++;
    const { key } = entry;
    if (old === undefined) {
      counts.added++;
      yield { key, change: 'added' };
    } else if (!isEqual(old, entry)) {
      counts.changed++;
      const places = withPlaces ? { places: [...differences(old.peek(), entry.peek())] } : {};
      yield { key, change: 'changed', ...(hasMoved && { moved: true }), ...places };
    } else if (hasMoved) yield { key, change: 'moved' };
    else counts.same++;
  }
  for (const { key } of before.entries()) {
    if (after.find(key) !== undefined) continue;
    counts.removed++;
    yield { key, change: 'removed' };
  }
}

/** As `equals()` of a pod decides. Most values have the same text, which needs no parsing. */
function isEqual(a: AnyEntry, b: AnyEntry): boolean {
  return a.text === b.text || equalJson(a.peek(), b.peek());
}

/** What belongs to a pod as a whole. The layout of its files is no part of it. */
function factsOf({ tracker }: Side): Json {
  return tracker === undefined ? { kind: 'pod' } : { kind: 'tracker', maxTries: tracker.maxTries };
}

function tasksOf(tracker: AnyTracker) {
  const { total, done, todo, failed, exhausted, aborted, tries } = tracker.stats();
  return { total, done, todo, failed, exhausted, aborted, tries };
}

// ---- For people.

const MARKS = { added: '+', removed: '-', changed: '~', moved: '>' } as const;

function describeChange({ key, change, moved, places = [] }: EntryChange): string {
  const lines = places.slice(0, PLACES_SHOWN).map((place) => `    ${describePlace(place)}\n`);
  const more = places.length - lines.length;
  if (more > 0) lines.push(`    and ${figure(more)} more\n`);
  return `${MARKS[change]} ${keyWord(key)}${moved === true ? ' (moved)' : ''}\n${lines.join('')}`;
}

function describePlace({ at, from, to }: Difference): string {
  if (from === undefined) return `${at}: added ${shortText(to)}`;
  if (to === undefined) return `${at}: removed ${shortText(from)}`;
  return `${at}: ${shortText(from)} -> ${shortText(to)}`;
}

function shortText(value: Json | undefined): string {
  const text = JSON.stringify(value);
  return text.length <= VALUE_SHOWN ? text : `${text.slice(0, VALUE_SHOWN)}…`;
}

function describeCounts(from: Side, to: Side, counts: Counts, isSame: boolean): string {
  const { added, removed, changed, moved, same } = counts;
  if (isSame) return `${from.path} and ${to.path} are equal, ${figure(same)} entries.\n`;
  const words = { added, removed, changed, moved, 'the same': same };
  const text = Object.entries(words).map(([word, count]) => `${figure(count)} ${word}`);
  return `${describeTasks(from, to)}${from.path} and ${to.path}: ${text.join(', ')}\n`;
}

function describeTasks({ tracker: from }: Side, { tracker: to }: Side): string {
  if (from === undefined || to === undefined) return '';
  const [before, after] = [tasksOf(from), tasksOf(to)];
  const rows = (Object.keys(before) as (keyof typeof before)[]).map((name) => {
    const change = after[name] - before[name];
    return [name, figure(before[name]), '->', figure(after[name]), change > 0 ? `+${figure(change)}` : figure(change)];
  });
  return columns(rows, [1, 3, 4]);
}
