// The commands of the model test: changes by turns, sync points, and every way in which a pod can end and come back.
import * as fs from 'node:fs';
import { expect } from 'vitest';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import type { PodOptions } from '../../src/pod/options.ts';
import fc from '../fast-check.ts';
import { type Model, type State, stateText } from './model-state.ts';
import { codeOf, makeStep, type Step, stepArb } from './model-steps.ts';
import { keyArb } from './model-values.ts';
import type { Pod, World } from './model-world.ts';

/** The real side. */
export interface Real {
  readonly world: World;
  pod: Pod;
  /** A flush that was not waited for. */
  flush: Promise<void> | undefined;
}

type PodCommand = fc.AsyncCommand<Model, Real, boolean>;

/** What the folder was opened with, and is again unless a command says otherwise. */
export function openAs(model: Model, options: PodOptions<Json, Key> = {}): PodOptions<Json, Key> {
  return { ...model.settings, ...options };
}

/** One command: `work` does it in both worlds; then a turn of the event loop ends and everything is compared. */
class Command implements PodCommand {
  readonly #name: () => string;
  readonly #work: (model: Model, real: Real) => void | Promise<void>;
  readonly #needs: (model: Model) => boolean;

  constructor(
    /** Only asked for when a program is printed. */
    name: string | (() => string),
    work: (model: Model, real: Real) => void | Promise<void>,
    needs: (model: Model) => boolean = () => true,
  ) {
    this.#name = typeof name === 'string' ? () => name : name;
    this.#work = work;
    this.#needs = needs;
  }

  check(model: Model): boolean {
    return this.#needs(model);
  }

  async run(model: Model, real: Real): Promise<void> {
    await this.#work(model, real);
    await real.world.turn();
    model.turnEnded();
    compare(model, real.pod);
  }

  toString(): string {
    return this.#name();
  }
}

/** Every look at a pod agrees with the model. */
export function compare(model: Model, pod: Pod): void {
  const seen: State = new Map([...pod.entries()].map(([key, value]) => [JSON.stringify(key), { key, value }]));
  expect(stateText(seen)).toBe(stateText(model.now));
  expect(pod.size).toBe(model.size);
  expect([...pod.keys()].map((key) => JSON.stringify(key))).toEqual([...model.now.keys()]);
  // One comparison for all of them: this runs after every command.
  const snapshots: State = new Map();
  for (const [text, { key }] of model.now)
    if (pod.has(key)) snapshots.set(text, { key, value: pod.snapshot(key) as Json });
  expect(stateText(snapshots)).toBe(stateText(model.now));
  const dirty = new Set([...pod.dirty()].map((key) => JSON.stringify(key)));
  expect([...model.sincePoint.must].filter((text) => !dirty.has(text))).toEqual([]);
  const { must, may } = model.sincePoint;
  expect([...dirty].filter((text) => !must.has(text) && !may.has(text))).toEqual([]);
}

function pairsOf(state: State): [Key, Json][] {
  return [...state.values()].map(({ key, value }) => [key, value]);
}

/** What a reader beside the writer sees, as text. */
function readerState(real: Real): string {
  const reader = real.world.open(real.pod.path, { mode: 'r', isolated: true });
  const seen: State = new Map([...reader].map(([key, value]) => [JSON.stringify(key), { key, value }]));
  expect(codeOf(() => reader.set('never', 0))).toBe('ERR_POD_READONLY');
  reader.close();
  return stateText(seen);
}

async function endFlush(model: Model, real: Real): Promise<void> {
  await real.world.endFsyncs();
  await real.flush;
  real.flush = undefined;
  model.flushUnderWay = false;
  model.flushEnded();
}

function steps(min: number, max: number): fc.Arbitrary<Step[]> {
  return fc.array(stepArb, { minLength: min, maxLength: max, size: 'max' });
}

const layoutArb = fc.record(
  { gzipped: fc.boolean(), fileSize: fc.constantFrom(1, 2, 3, 7, 1000) },
  { requiredKeys: [] },
);

/** Throws inside a transaction; anything else that is thrown is a failure of the test. */
class ChangeOfMind extends Error {}

type Plan = readonly (Step | { readonly nested: Plan; readonly commits: boolean })[];

const planArb: fc.Arbitrary<Plan> = fc.letrec<{ plan: Plan; step: Step | { nested: Plan; commits: boolean } }>(
  (tie) => ({
    plan: fc.array(tie('step'), { maxLength: 5 }),
    step: fc.oneof(
      { maxDepth: 3 },
      { weight: 5, arbitrary: stepArb },
      { weight: 1, arbitrary: fc.record({ nested: tie('plan'), commits: fc.boolean() }) },
    ),
  }),
).plan;

function runPlan(model: Model, pod: Pod, plan: Plan, commits: boolean): void {
  const before = model.before();
  try {
    pod.transaction(() => {
      model.inTransaction = true;
      for (const item of plan) {
        if ('nested' in item) {
          runPlan(model, pod, item.nested, item.commits);
          model.inTransaction = true;
        } else makeStep(model, pod, item);
      }
      if (!commits) throw new ChangeOfMind();
    });
  } catch (error) {
    if (!(error instanceof ChangeOfMind)) throw error;
    model.undone(before);
  } finally {
    model.inTransaction = false;
  }
}

/** A transaction that is over can have made a sync point, as any change can. */
function noteTransaction(model: Model, pod: Pod): void {
  const { must } = model.sincePoint;
  if (model.holds === 0 && model.syncsByItself && must.size > 0 && pod.dirty().size === 0) model.synced();
}

/** A sync point, a slice of the fold if one is due, and changes before the next slice. */
const sliceArb: fc.Arbitrary<PodCommand> = steps(0, 3).map(
  (list) =>
    new Command(
      () => `slice of a fold ${fc.stringify(list)}`,
      async (model, { world, pod }) => {
        pod.sync();
        model.synced();
        world.tick(0);
        await world.turn();
        for (const step of list) makeStep(model, pod, step);
      },
    ),
);

const killArb: fc.Arbitrary<PodCommand> = fc.record({ list: steps(0, 3), layout: layoutArb }).map(
  ({ list, layout }) =>
    new Command(
      () => `kill ${fc.stringify(list)} ${fc.stringify(layout)}`,
      async (model, real) => {
        // What was changed in the turn of the kill may be lost; what was appended before may not.
        for (const step of list) makeStep(model, real.pod, step);
        if (model.settings.durability === 'power') model.turnEnded();
        const copy = real.world.copyOf(real.pod.path);
        model.recovered();
        real.pod.close();
        await endFlush(model, real);
        real.pod = real.world.open(copy, openAs(model, layout));
        expect(real.pod.recovery.quarantined).toEqual([]);
      },
    ),
);

export const commandArbs: fc.Arbitrary<PodCommand>[] = [
  steps(1, 4).map(
    (list) =>
      new Command(
        () => `turn ${fc.stringify(list)}`,
        (model, { pod }) => {
          for (const step of list) makeStep(model, pod, step);
        },
      ),
  ),
  stepArb.map(
    (step) =>
      new Command(
        () => `step ${fc.stringify(step)}`,
        (model, { pod }) => makeStep(model, pod, step),
      ),
  ),
  stepArb.map(
    (step) =>
      new Command(
        () => `step ${fc.stringify(step)}`,
        (model, { pod }) => makeStep(model, pod, step),
      ),
  ),
  fc.constant(
    new Command('sync', (model, { pod }) => {
      pod.sync();
      model.synced();
    }),
  ),
  fc.constant(
    new Command(
      'flush',
      async (model, real) => {
        const flush = real.pod.flush();
        model.flushBegan();
        await real.world.endFsyncs();
        await flush;
        model.flushEnded();
        expect(real.pod.dirty().size).toBe(0);
      },
      (model) => !model.flushUnderWay,
    ),
  ),
  fc.constant(
    new Command(
      'beginFlush',
      (model, real) => {
        real.flush = real.pod.flush();
        // Where everything is on the disk already there is nothing to wait for.
        if (real.pod.dirty().size === 0) model.synced();
        else model.flushBegan();
        model.flushUnderWay = true;
      },
      (model) => !model.flushUnderWay,
    ),
  ),
  fc.constant(new Command('endFlush', endFlush)),
  fc.constant(
    new Command('revert', (model, { pod }) => {
      pod.revert();
      model.reverted();
    }),
  ),
  fc.constant(
    new Command(
      'hold',
      (model, { pod }) => {
        pod.hold();
        model.holds++;
      },
      (model) => model.holds < 3,
    ),
  ),
  fc.constant(
    new Command('unhold', (model, { pod }) => {
      pod.unhold();
      model.holds = Math.max(0, model.holds - 1);
      noteTransaction(model, pod);
    }),
  ),
  fc.record({ plan: planArb, commits: fc.boolean() }).map(
    ({ plan, commits }) =>
      new Command(
        () => `transaction ${commits ? 'commits' : 'throws'} ${fc.stringify(plan)}`,
        (model, { pod }) => {
          runPlan(model, pod, plan, commits);
          noteTransaction(model, pod);
        },
      ),
  ),
  layoutArb.map(
    (layout) =>
      new Command(
        () => `reopen ${fc.stringify(layout)}`,
        async (model, real) => {
          const { path } = real.pod;
          real.pod.close();
          expect(real.pod.closed).toBe(true);
          model.synced();
          model.recovered();
          await endFlush(model, real);
          real.pod = real.world.open(path, openAs(model, layout));
          expect(real.pod.recovery.replayed).toBe(0);
          expect(real.pod.recovery.droppedBytes).toBe(0);
        },
      ),
  ),
  killArb,
  killArb,
  fc.constant(
    new Command('compact', (model, { pod }) => {
      pod.compact();
      model.synced();
    }),
  ),
  steps(0, 2).map(
    (list) =>
      new Command(
        () => `reader ${fc.stringify(list)}`,
        (model, real) => {
          for (const step of list) makeStep(model, real.pod, step);
          if (model.settings.durability === 'power') model.turnEnded();
          expect(readerState(real)).toBe(stateText(model.appended));
        },
      ),
  ),
  fc
    .record({ list: fc.array(stepArb, { maxLength: 12 }), of: fc.constantFrom('keys' as const, 'entries' as const) })
    .map(
      ({ list, of }) =>
        new Command(
          () => `iterate ${of} ${fc.stringify(list)}`,
          (model, { pod }) => iterate(model, pod, list, of),
        ),
    ),
  fc.constantFrom(0, 0, 0, 500, 1000, 3000).map(
    (ms) =>
      new Command(
        () => `tick ${ms}`,
        async (model, real) => {
          const dueBefore = model.settings.syncEvery > 0 && ms > model.settings.syncEvery && model.holds === 0;
          real.world.tick(ms);
          await endFlush(model, real);
          if (dueBefore) expect(real.pod.dirty().size).toBe(0);
          if (model.holds === 0 && real.pod.dirty().size === 0) model.synced();
        },
      ),
  ),
  sliceArb,
  sliceArb,
  sliceArb,
  fc.record({ first: steps(1, 3), by: fc.constantFrom('sync', 'revert', 'compact'), after: steps(1, 3) }).map(
    ({ first, by, after: later }) =>
      new Command(
        () => `flush overtaken by ${by} ${fc.stringify(first)} ${fc.stringify(later)}`,
        async (model, { world, pod }) => {
          for (const step of first) makeStep(model, pod, step);
          const flush = pod.flush();
          if (pod.dirty().size === 0) model.synced();
          else model.flushBegan();
          if (by === 'sync') pod.sync();
          else if (by === 'compact') pod.compact();
          else pod.revert();
          if (by === 'revert') model.reverted();
          else model.synced();
          for (const step of later) makeStep(model, pod, step);
          await world.endFsyncs();
          await flush;
        },
        (model) => !model.flushUnderWay,
      ),
  ),
  fc.boolean().map(
    (due) =>
      new Command(
        () => `fold ${due ? 'is due' : 'is not due'}`,
        (_, { world }) => {
          world.foldIsDue(due);
        },
      ),
  ),
  layoutArb.map(
    (layout) =>
      new Command(
        () => `copyTo ${fc.stringify(layout)}`,
        (model, { world, pod }) => {
          const copy = pod.copyTo(world.newFolder(), layout);
          expect(copy.equals(pairsOf(model.now))).toBe(true);
          copy.close();
        },
      ),
  ),
  fc.record({ key: keyArb, other: fc.nat(3) }).map(
    ({ key, other }) =>
      new Command(
        () => `look ${fc.stringify(key)}`,
        (model, { pod }) => {
          const wanted = model.get(key);
          expect(pod.has(key)).toBe(model.has(key));
          expect(JSON.stringify(pod.get(key))).toBe(JSON.stringify(wanted));
          expect(pod.get(key)).toBe(pod.get(key));
          const pairs = pairsOf(model.now);
          expect(pod.equals(pairs)).toBe(true);
          if (pairs.length > 0) expect(pod.equals(pairs.toSpliced(other % pairs.length, 1))).toBe(false);
        },
      ),
  ),
];

/** Visits entries while they change, and visits what a `Map` visits under the same changes. */
function iterate(model: Model, pod: Pod, list: readonly Step[], of: 'keys' | 'entries'): void {
  const real = pod[of]();
  const wanted = model.now.values();
  // A key that is deleted and added again in the loop is met again, for ever if need be.
  for (let turn = 0; turn < 100; turn++) {
    const next = real.next();
    const want = wanted.next();
    expect(next.done ?? false).toBe(want.done ?? false);
    if (next.done === true || want.done === true) return;
    const { key, value } = want.value;
    expect(JSON.stringify(next.value)).toBe(JSON.stringify(of === 'keys' ? key : [key, value]));
    const step = list[turn];
    if (step !== undefined) makeStep(model, pod, step);
  }
}

/** A pod whose files are left alone by everybody else says nothing of damage. */
export function expectTidy(path: string): void {
  const names = fs.readdirSync(path);
  const odd = names.filter((name) => !/^(pod\.json|index\.bin|lock|wal-\d{6}\.jsonl|\d+\.json(\.gz)?)$/.test(name));
  expect(odd).toEqual([]);
}
