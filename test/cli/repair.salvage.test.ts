// Whatever is done to a folder's files, repair keeps every entry whose line is intact, invents none, and deletes no byte.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it, vi } from 'vitest';
import { repairFolder, verifyFolder } from '../../src/disk/repair.ts';
import { POD } from '../../src/index.ts';
import fc from '../fast-check.ts';
import { testSize } from '../size.ts';
import { fastSystem } from '../tracker/fast-system.ts';
import { codeOf, useTemporary } from '../tracker/temporary.ts';

vi.mock('../../src/disk/system.ts', async () => ({
  nodeSystem: (await import('../tracker/fast-system.ts')).fastSystem,
}));

const temporary = useTemporary();
const RUNS = { small: 50, ci: 1_000, long: 5_000 }[testSize];

/** Far enough from each other that a flipped bit does not make one of another. */
const KEYS = Array.from({ length: 24 }, (_, n) => `${String.fromCharCode(97 + n).repeat(3)}/é"\\${n * 37}`);

interface Recipe {
  readonly gzipped: boolean;
  readonly inShards: number;
  /** Batches of the log: keys to set, or to delete where they are there and `dels` says so. */
  readonly batches: readonly (readonly { readonly key: number; readonly del: boolean; readonly value: number }[])[];
}

type Damage =
  | { readonly kind: 'flip'; readonly file: number; readonly at: number; readonly bit: number }
  | { readonly kind: 'cut'; readonly file: number; readonly at: number }
  | { readonly kind: 'zeros' | 'drop'; readonly file: number; readonly at: number; readonly length: number }
  | { readonly kind: 'insert'; readonly file: number; readonly at: number; readonly text: string }
  | { readonly kind: 'remove'; readonly file: number };

const recipeArb: fc.Arbitrary<Recipe> = fc.record({
  gzipped: fc.boolean(),
  inShards: fc.nat(KEYS.length),
  batches: fc.array(
    fc.array(fc.record({ key: fc.nat(KEYS.length - 1), del: fc.boolean(), value: fc.nat(99_999) }), {
      minLength: 1,
      maxLength: 4,
    }),
    { maxLength: 5 },
  ),
});

const file = fc.nat(20);
const at = fc.double({ min: 0, max: 1, noNaN: true });
const damageArb: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('flip' as const), file, at, bit: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), file, at }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('zeros' as const, 'drop' as const),
      file,
      at,
      length: fc.integer({ min: 1, max: 60 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      file,
      at,
      text: fc.constantFrom('x', '\n', '\t', '\n\n', 'garbage\n', '\0\0', '"'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), file }) },
);

function isOurs(name: string): boolean {
  return /^(pod\.json|\d+\.json(\.gz)?|wal-\d+\.jsonl)$/.test(name);
}

/** Builds a folder and leaves it as a killed process would. */
function build({ gzipped, inShards, batches }: Recipe): string {
  const path = temporary.path();
  const init = KEYS.slice(0, inShards).map((key, n) => [key, { n, text: `é${n}` }] as const);
  POD.open<unknown>(path, { init, fileSize: 4, gzipped }).close();
  const pod = temporary.keep(POD.open<unknown>(path, { durability: 'exit' }));
  for (const batch of batches) {
    for (const { key, del, value } of batch) {
      if (del) pod.delete(KEYS[key] as string);
      else pod.set(KEYS[key] as string, { value });
    }
    pod.sync();
  }
  const copy = temporary.copy(path);
  pod.close();
  rmSync(path, { recursive: true });
  return copy;
}

function harm(path: string, damage: Damage): void {
  const names = readdirSync(path).filter(isOurs).sort();
  const name = names[damage.file % names.length];
  if (name === undefined) return;
  const target = join(path, name);
  if (damage.kind === 'remove') {
    rmSync(target);
    return;
  }
  const bytes = readFileSync(target);
  const place = Math.min(bytes.length - 1, Math.floor(damage.at * bytes.length));
  if (place < 0) return;
  switch (damage.kind) {
    case 'flip':
      bytes[place] = (bytes[place] as number) ^ (1 << damage.bit);
      writeFileSync(target, bytes);
      break;
    case 'cut':
      writeFileSync(target, bytes.subarray(0, place));
      break;
    case 'zeros':
      writeFileSync(target, bytes.fill(0, place, Math.min(bytes.length, place + damage.length)));
      break;
    case 'drop':
      writeFileSync(target, Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + damage.length)]));
      break;
    case 'insert':
      writeFileSync(target, Buffer.concat([bytes.subarray(0, place), Buffer.from(damage.text), bytes.subarray(place)]));
      break;
  }
}

// ---- What is intact, found out without any of the code under test.

interface LogLine {
  readonly text: string;
  readonly operation: string;
  readonly key?: string;
  readonly value?: string;
}

function logLines(path: string): LogLine[] {
  const names = readdirSync(path).filter((name) => name.startsWith('wal-'));
  expect(names).toHaveLength(1);
  const text = readFileSync(join(path, names[0] as string), 'utf8');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const { o = 'header', k, v } = JSON.parse(line.slice(9)) as { o?: string; k?: string; v?: unknown };
      return {
        text: line,
        operation: o,
        ...(k !== undefined && { key: k }),
        ...(v !== undefined && { value: JSON.stringify(v) }),
      };
    });
}

/** The lines of a shard as it lies, or undefined where it is not there or cannot be unpacked. */
function shardLines(path: string, name: string): string[] | undefined {
  const target = join(path, name);
  if (!existsSync(target)) return undefined;
  const bytes = readFileSync(target);
  try {
    return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').split('\n');
  } catch {
    return undefined;
  }
}

function shardNames(path: string): string[] {
  return readdirSync(path).filter((name) => /^\d+\.json(\.gz)?$/.test(name));
}

/** Keys whose last word is intact, with the value they must have, or undefined where they must be gone. */
function intactEntries(before: string, after: string): Map<string, string | undefined> {
  const intact = new Map<string, string | undefined>();
  const log = logLines(before);
  const inLog = new Set(log.map(({ key }) => key));
  const lines = shardNames(before).flatMap((name) => shardLines(after, name) ?? []);
  for (const name of shardNames(before)) {
    const kept = new Set(shardLines(after, name));
    for (const line of shardLines(before, name) ?? []) {
      const [keyText = '', value = ''] = line.split('\t');
      if (value === '' || !kept.has(line)) continue;
      const key = JSON.parse(keyText) as string;
      // Damage may have made another line of this key; then nobody can tell which of them is right.
      if (inLog.has(key) || lines.filter((other) => other.startsWith(`${keyText}\t`)).length > 1) continue;
      intact.set(key, value);
    }
  }
  const damaged = readLog(after);
  const found = log.map((line, index) => index > 0 && isIntact(damaged, line.text, (log[index - 1] as LogLine).text));
  const last = new Map<string, number>();
  log.forEach(({ key }, index) => {
    if (key !== undefined) last.set(key, index);
  });
  for (const [key, index] of last) {
    const closed = log.some((line, other) => other > index && line.operation === 'sync' && found[other] === true);
    if (found[index] === true && closed) intact.set(key, (log[index] as LogLine).value);
  }
  return intact;
}

function readLog(path: string): string[] {
  const name = readdirSync(path).find((each) => each.startsWith('wal-'));
  return name === undefined ? [] : readFileSync(join(path, name), 'utf8').split('\n');
}

/** A line counts when it is as it was and stands behind a line that carries the checksum it is tied to. */
function isIntact(damaged: readonly string[], line: string, previous: string): boolean {
  const place = damaged.indexOf(line);
  const isTerminated = place < damaged.length - 1;
  const before = damaged[place - 1] ?? '';
  return place > 0 && isTerminated && before.length > 20 && before.startsWith(previous.slice(0, 9));
}

/** Every pair that any line of the folder holds. */
function pairsIn(path: string): Set<string> {
  const pairs = new Set<string>();
  const add = (key: () => unknown, value: () => unknown): void => {
    try {
      pairs.add(`${JSON.stringify(key())}\t${JSON.stringify(value())}`);
    } catch {
      // This line is none.
    }
  };
  for (const name of shardNames(path)) {
    for (const line of shardLines(path, name) ?? []) {
      const tab = line.indexOf('\t');
      add(
        () => JSON.parse(line.slice(0, tab)) as unknown,
        () => JSON.parse(line.slice(tab + 1)) as unknown,
      );
    }
  }
  for (const line of readLog(path)) {
    add(
      () => (JSON.parse(line.slice(9)) as { k: unknown }).k,
      () => (JSON.parse(line.slice(9)) as { v: unknown }).v,
    );
  }
  return pairs;
}

it('repair loses no intact line', () => {
  fc.assert(
    fc.property(recipeArb, fc.array(damageArb, { maxLength: 6 }), (recipe, damages) => {
      const before = build(recipe);
      const after = temporary.path();
      cpSync(before, after, { recursive: true });
      for (const damage of damages) harm(after, damage);
      const left = readdirSync(after)
        .filter(isOurs)
        .map((name) => readFileSync(join(after, name)));
      if (!readdirSync(after).some((name) => isOurs(name) && name !== 'pod.json')) {
        expect(codeOf(() => repairFolder(fastSystem, after))).toBe('ERR_POD_NOT_FOUND');
        return;
      }
      const intact = intactEntries(before, after);
      const possible = pairsIn(after);
      const gzWasHarmed = recipe.gzipped && shardNames(after).some((name) => shardLines(after, name) === undefined);

      const report = repairFolder(fastSystem, after);

      const kept = readdirSync(join(after, 'quarantine')).map((name) => readFileSync(join(after, 'quarantine', name)));
      for (const bytes of left) expect(kept.some((other) => other.equals(bytes))).toBe(true);
      expect(verifyFolder(fastSystem, after)).toBe(report.entries);
      const pod = temporary.keep(POD.open<unknown>(after));
      expect(pod.recovery.quarantined).toEqual([]);
      expect(pod.size).toBe(report.entries);
      for (const [key, value] of intact) expect([key, JSON.stringify(pod.get(key))]).toEqual([key, value]);
      // A damaged gzip file may unpack to anything that happens to parse.
      if (!gzWasHarmed) {
        for (const [key, value] of pod) expect(possible).toContain(`${JSON.stringify(key)}\t${JSON.stringify(value)}`);
      }
      if (damages.length === 0) expect(report.lostLines).toBe(0);
      pod.close();
      for (const path of [before, after]) rmSync(path, { recursive: true });
    }),
    { numRuns: RUNS },
  );
});
