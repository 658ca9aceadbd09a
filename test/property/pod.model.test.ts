// The stateful model test: random programs on a pod and on a plain ordered map, with every way to end and to come back among them.
//
// A failure prints its seed and path; put them into EVERPOD_TEST_SEED and EVERPOD_TEST_PATH to play it again.
import { describe, expect, it, vi } from 'vitest';
import type { Json } from '../../src/core/json.ts';
import type { Key } from '../../src/core/key.ts';
import { PersistentOrderedDict } from '../../src/pod/pod.ts';
import fc from '../fast-check.ts';
import { testSize } from '../size.ts';
import { commandArbs, compare, expectTidy, openAs, type Real } from './model-commands.ts';
import { Model, type Settings } from './model-state.ts';
import { World } from './model-world.ts';

/** A fold is due when the log has outgrown 4 MB; here it is due when the test says so, and the slices run between commands. */
const fold = vi.hoisted(() => ({ isDue: false }));
vi.mock('../../src/disk/fold.ts', async (original) => ({
  ...(await original<typeof import('../../src/disk/fold.ts')>()),
  isFoldDue: () => fold.isDue,
}));

const sizes = { small: [60, 60], ci: [1_000, 100], long: [4_000, 100] } as const;
const [numRuns, maxCommands] = sizes[testSize];
const path = process.env.EVERPOD_TEST_PATH;

const settingsArb: fc.Arbitrary<Settings> = fc.record({
  durability: fc.constantFrom('exit' as const, 'process' as const, 'process' as const, 'power' as const),
  syncAt: fc.constantFrom(1, 3, 1_000_000, 1_000_000),
  syncEvery: fc.constantFrom(0, 1000),
  // Nothing stays, or a few entries, or all.
  cacheSize: fc.constantFrom(0, 2000, 1 << 28),
});

const layoutArb = fc.record({ gzipped: fc.boolean(), fileSize: fc.constantFrom(1, 2, 3, 5, 1000) });

describe('a pod is an ordered map that comes back', () => {
  it(`after any program (${numRuns} runs of up to ${maxCommands} commands)`, { timeout: 7_200_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        settingsArb,
        layoutArb,
        fc.boolean(),
        fc.boolean(),
        fc.commands(commandArbs, { maxCommands, size: 'max' }),
        async (settings, layout, folds, indexed, commands) => {
          const world = new World((isDue) => {
            fold.isDue = isDue;
          }, indexed);
          world.foldIsDue(folds);
          try {
            await run(world, settings, layout, commands);
          } finally {
            world.remove();
          }
        },
      ),
      { numRuns, ...(path === undefined ? {} : { path }) },
    );
  });
});

async function run(
  world: World,
  settings: Settings,
  layout: { gzipped: boolean; fileSize: number },
  commands: Iterable<fc.AsyncCommand<Model, Real, boolean>>,
): Promise<void> {
  const model = new Model(settings);
  const real: Real = { world, pod: world.open(world.newFolder(), openAs(model, layout)), flush: undefined };
  await fc.asyncModelRun(() => ({ model, real }), commands);
  // In the end the folder is closed and opened as any other program would do it.
  const { pod } = real;
  pod.close();
  await world.endFsyncs();
  expectTidy(pod.path);
  const again = PersistentOrderedDict.open<Json, Key>(pod.path);
  try {
    model.synced();
    compare(model, again);
    expect(again.recovery).toMatchObject({ ended: 'closed', replayed: 0, droppedBytes: 0, quarantined: [] });
  } finally {
    again.close();
  }
}
