// The changes a pod can be asked for between two turns of the event loop, each made in the model and in the pod and compared.
import { expect } from 'vitest';
import { PodError } from '../../src/core/errors.ts';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import fc from '../fast-check.ts';
import type { Model } from './model-state.ts';
import { applyEdit, type Edit, editArb, keyArb, plainCopy, valueArb } from './model-values.ts';
import type { Pod } from './model-world.ts';

/** A value must not grow without end by being copied into itself. */
const VALUE_TEXT_MAX = 2_000;

export type Step =
  | { readonly op: 'set' | 'getOrInsert'; readonly key: Key; readonly value: Json }
  | { readonly op: 'edit'; readonly which: number; readonly edit: Edit }
  | { readonly op: 'delete' | 'mark' | 'pop'; readonly which: number }
  | { readonly op: 'deleteKey' | 'popKey'; readonly key: Key }
  | { readonly op: 'readd'; readonly which: number; readonly value: Json }
  | { readonly op: 'clear' }
  | {
      readonly op: 'update';
      readonly pairs: readonly (readonly [Key, Json])[];
      readonly members: Readonly<Record<string, Json>>;
    }
  | { readonly op: 'refused'; readonly which: number; readonly bad: number }
  | { readonly op: 'keep'; readonly which: number }
  | { readonly op: 'writeKept'; readonly which: number; readonly edit: Edit };

const which = fc.nat(40);

export const stepArb: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('set' as const), key: keyArb, value: valueArb }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('edit' as const), which, edit: editArb }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('delete' as const, 'pop' as const), which }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('mark' as const), which }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('deleteKey' as const, 'popKey' as const), key: keyArb }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('readd' as const), which, value: valueArb }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('clear' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('getOrInsert' as const), key: keyArb, value: valueArb }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('update' as const),
      pairs: fc.array(fc.tuple(keyArb, valueArb), { maxLength: 4 }),
      members: fc.dictionary(fc.string({ maxLength: 2 }), valueArb, { maxKeys: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('refused' as const), which, bad: fc.nat(10) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('keep' as const), which }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('writeKept' as const), which, edit: editArb }) },
);

/** Makes a step in the model and in the pod, and compares what they answer. */
export function makeStep(model: Model, pod: Pod, step: Step): void {
  make(model, pod, step);
  noteSync(model, pod);
}

/** Takes note of a sync point that the pod made by itself, which has to be when enough keys are dirty and at no other time. */
function noteSync(model: Model, pod: Pod): void {
  const { must, may } = model.sincePoint;
  const dirty = pod.dirty().size;
  if (model.holds > 0 || model.inTransaction) return;
  expect(dirty).toBeLessThan(model.settings.syncAt);
  if (dirty > 0 || must.size === 0) return;
  // A key that was deleted and added again may count twice.
  expect(2 * (must.size + may.size)).toBeGreaterThanOrEqual(model.settings.syncAt);
  model.synced();
}

/** The pairs, each set in the model as it is handed out. */
function* noted(model: Model, pod: Pod, pairs: Iterable<readonly [Key, Json]>): Generator<readonly [Key, Json]> {
  for (const [key, value] of pairs) {
    model.set(key, plainCopy(value));
    yield [key, value];
    noteSync(model, pod);
  }
}

function setAll(model: Model, members: Readonly<Record<string, Json>>): Readonly<Record<string, Json>> {
  for (const [key, value] of Object.entries(members)) model.set(key, plainCopy(value));
  return members;
}

function make(model: Model, pod: Pod, step: Step): void {
  switch (step.op) {
    case 'set':
      model.set(step.key, plainCopy(step.value));
      expect(pod.set(step.key, step.value)).toBe(pod);
      return;
    case 'getOrInsert': {
      if (!model.has(step.key)) model.set(step.key, plainCopy(step.value));
      expectSame(pod.getOrInsert(step.key, step.value), model.get(step.key));
      return;
    }
    case 'deleteKey':
      expect(pod.delete(step.key)).toBe(model.delete(step.key));
      return;
    case 'popKey': {
      const value = model.get(step.key);
      const found = model.delete(step.key);
      const popped = pod.pop(step.key, 'fallback');
      if (found) expectSame(popped, value);
      else expect(popped).toBe('fallback');
      return;
    }
    case 'clear':
      model.clear();
      pod.clear();
      return;
    case 'update':
      pod.update(noted(model, pod, step.pairs));
      if (model.syncsByItself) pod.update(noted(model, pod, Object.entries(step.members)));
      else pod.update(setAll(model, step.members));
      return;
    case 'writeKept':
      writeKept(model, pod, step);
      return;
    default: {
      const key = model.keyAt(step.which);
      if (key !== undefined) makeStepAt(model, pod, key, step);
    }
  }
}

function makeStepAt(model: Model, pod: Pod, key: Key, step: Step): void {
  const value = model.get(key) as Json;
  const isContainer = typeof value === 'object' && value !== null;
  switch (step.op) {
    case 'edit': {
      if (!isContainer) return;
      const edited = editedCopy(value, step.edit);
      if (edited === undefined) return;
      model.edit(key, edited.value);
      // One edit can be several changes; the model knows only of sync points between edits.
      pod.hold();
      expect(applyEdit(pod.get(key) as Json, step.edit, false)).toBe(edited.result);
      pod.unhold();
      return;
    }
    case 'delete':
      model.delete(key);
      expect(pod.delete(key)).toBe(true);
      return;
    case 'pop':
      model.delete(key);
      expectSame(pod.pop(key), value);
      return;
    case 'mark':
      model.mark(key);
      pod.markDirty(key);
      return;
    case 'readd':
      model.delete(key);
      pod.delete(key);
      noteSync(model, pod);
      model.set(key, plainCopy(step.value));
      pod.set(key, step.value);
      return;
    case 'refused':
      expectRefused(pod, key, step.bad);
      return;
    case 'keep': {
      if (!isContainer) return;
      const view = pod.get(key) as object;
      expect(pod.get(key)).toBe(view);
      model.kept.push({ text: JSON.stringify(key), view, attached: true });
      return;
    }
    default:
      throw new Error(`${step.op} needs no key`);
  }
}

function editedCopy(value: Json, edit: Edit): { value: Json; result: string | undefined } | undefined {
  const copy = plainCopy(value);
  const result = applyEdit(copy, edit, true);
  const text = JSON.stringify(copy);
  return text.length > VALUE_TEXT_MAX ? undefined : { value: JSON.parse(text) as Json, result };
}

/** Writes to a view that was kept: it changes the entry, or is refused if the value is no longer there. */
function writeKept(model: Model, pod: Pod, { which: nth, edit }: { which: number; edit: Edit }): void {
  if (model.kept.length === 0) return;
  const { text, view, attached } = model.kept[nth % model.kept.length] as Model['kept'][number];
  const item = model.now.get(text);
  if (attached && item !== undefined) {
    const edited = editedCopy(item.value, edit);
    if (edited === undefined) return;
    model.edit(item.key, edited.value);
    pod.hold();
    expect(applyEdit(view as Json, edit, false)).toBe(edited.result);
    pod.unhold();
    return;
  }
  const before = JSON.stringify(view);
  expect(codeOf(() => Reflect.set(view, Array.isArray(view) ? view.length : 'x', 1))).toBe('ERR_POD_DETACHED');
  expect(JSON.stringify(view)).toBe(before);
}

/** Each is refused, whatever the entry holds, and changes nothing. */
function expectRefused(pod: Pod, key: Key, bad: number): void {
  const cycle: unknown[] = [];
  cycle.push({ cycle });
  const values: unknown[] = [
    Number.NaN,
    undefined,
    1n,
    new Date(0),
    new Map(),
    [undefined],
    { deep: [Number.POSITIVE_INFINITY] },
    cycle,
  ];
  const refusals: (() => void)[] = [
    ...values.map((value) => () => pod.set(key, value as Json)),
    () => pod.update([['never', new Set() as unknown as Json]]),
    () => pod.set(1.5, 0),
    () => {
      const value = pod.get(key);
      if (Array.isArray(value)) value.splice(0, 9, 1, Number.NaN);
      else if (typeof value === 'object' && value !== null)
        Object.defineProperty(value, 'never', { get: () => 1, enumerable: true });
      throw new PodError('ERR_POD_VALUE', 'there was nothing to refuse');
    },
  ];
  expect(codeOf(refusals[bad % refusals.length] as () => void)).toMatch(/^ERR_POD_(VALUE|KEY)$/);
}

export function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof PodError) return error.code;
    throw error;
  }
  return 'nothing was thrown';
}

function expectSame(real: unknown, wanted: unknown): void {
  expect(JSON.stringify(real)).toBe(JSON.stringify(wanted));
}
