/**
 * What each command answers with `--json`, as schemas that know every member: the promise that docs/command-line.md makes to programs.
 *
 * An answer is one line of JSON, or any number of them; where the command could not be carried out, it is `failure` instead.
 */
import { z } from 'zod';

const count = z.int().nonnegative();
const time = z.iso.datetime();
const key: z.ZodType = z.lazy(() => z.union([z.string(), z.int(), z.array(key)]));
const value = z.json();

const layout = { fileSize: count.positive(), gzipped: z.boolean() };
const pod = z.strictObject({ kind: z.literal('pod'), total: count, ...layout });
/** How many tasks there are, and of each kind. */
const counts = { total: count, done: count, todo: count, failed: count, exhausted: count, aborted: count };
const tracker = z.strictObject({
  kind: z.literal('tracker'),
  ...counts,
  tried: count,
  tries: count,
  maxTries: count,
  ...layout,
});

const errorClass = z.strictObject({
  id: z.string().regex(/^E[0-9a-f]{6}$/),
  name: z.string(),
  code: z.string().optional(),
  message: z.string(),
  count: count.positive(),
  stuck: count,
  firstAt: time,
  lastAt: time,
  sample: z.string(),
  sampleKeys: z.array(key).min(1).max(3),
});

const verdict = z.strictObject({
  held: z.boolean(),
  seed: count,
  seconds: count,
  kills: count,
  acknowledged: count,
  looks: count,
  findings: z.array(z.string()),
  kept: z.string().optional(),
});

/** How often a command answers in one run, and what one line of it is. */
interface AnswerForm {
  readonly lines: 'one' | 'any';
  readonly line: z.ZodType;
}

const one = (line: z.ZodType): AnswerForm => ({ lines: 'one', line });
const any = (line: z.ZodType): AnswerForm => ({ lines: 'any', line });

const place = z.strictObject({ at: z.string(), from: value.optional(), to: value.optional() });
const change = z.strictObject({
  key,
  change: z.enum(['added', 'removed', 'changed', 'moved']),
  moved: z.literal(true).optional(),
  places: z.array(place).optional(),
});
const tasks = z.strictObject({ ...counts, tries: count });
const summary = z.strictObject({
  added: count,
  removed: count,
  changed: count,
  moved: count,
  same: count,
  facts: z.array(place).optional(),
  tasks: z.strictObject({ from: tasks, to: tasks }).optional(),
});

const rate = z.number().nonnegative().optional();
const picture = z.strictObject({
  path: z.string(),
  watchedMs: z.number().nonnegative(),
  everyMs: z.number().positive(),
  process: z.strictObject({
    state: z.string(),
    pid: count.optional(),
    host: z.string().optional(),
    since: z.string().optional(),
    how: z.string().optional(),
    lastWrite: time.optional(),
  }),
  total: count,
  done: count,
  todo: count,
  failing: count,
  failed: count,
  exhausted: count,
  aborted: count,
  eta: z.looseObject({ state: z.enum(['range', 'growing', 'early', 'stalled', 'finished']) }),
  perMinute1: rate,
  perMinute15: rate,
  foundPerDone: rate,
  inFlight: count,
  flights: z.array(z.looseObject({ key })),
  hosts: z.array(z.looseObject({ host: z.string() })),
  hostCount: count,
  failures: z.array(z.strictObject({ id: z.string(), count, text: z.string() })),
  failureKinds: count,
});

/** Nothing was changed, because that was asked for. */
const dryRun = z.literal(true).optional();

/** By command; a command with two forms gives the second one for an option, as docs/command-line.md says. */
export const ANSWERS: Readonly<Record<string, AnswerForm>> = {
  stats: one(z.union([pod, tracker])),
  ls: any(key),
  get: one(z.strictObject({ key, value })),
  explain: one(z.strictObject({ key, todo: z.boolean(), why: z.string() })),
  errors: any(errorClass),
  export: any(
    z.union([
      z.tuple([key, value]),
      z.strictObject({ entries: count, file: z.string() }),
      z.strictObject({ files: z.array(z.string()) }),
    ]),
  ),
  import: one(z.strictObject({ read: count, added: count, changed: count, unchanged: count, skipped: count, dryRun })),
  tail: any(
    z.strictObject({
      record: count,
      operation: z.enum(['set', 'del', 'clear']),
      key: key.optional(),
      task: z.string().optional(),
      value: value.optional(),
    }),
  ),
  top: one(picture),
  retry: one(z.strictObject({ retried: count, dryRun })),
  abort: one(z.strictObject({ aborted: count, dryRun })),
  done: one(z.strictObject({ done: count, dryRun })),
  reset: one(z.strictObject({ reset: count, dryRun })),
  compact: one(z.strictObject({ entries: count })),
  verify: one(z.strictObject({ ok: z.literal(true), entries: count })),
  accept: one(z.strictObject({ accepted: z.array(z.string()) })),
  repair: one(
    z.strictObject({
      entries: count,
      lostLines: count,
      lostSettings: z.boolean(),
      quarantined: z.array(z.string().regex(/^quarantine\//)),
    }),
  ),
  torture: one(verdict),
  backup: one(
    z.strictObject({
      path: z.string(),
      entries: count,
      removed: z.array(z.string()),
      left: z.array(z.strictObject({ name: z.string(), why: z.string() })),
    }),
  ),
  restore: one(z.strictObject({ entries: count, before: z.string().optional() })),
  copy: one(z.strictObject({ path: z.string(), entries: count })),
  diff: any(z.union([change, z.strictObject({ summary })])),
  'serve-pod': one(
    z.strictObject({ path: z.string(), kind: z.enum(['pod', 'tracker']), isOwner: z.boolean(), ownerPid: count }),
  ),
};

/** What every command answers with `--json` where it could not be carried out. */
const failure = z.strictObject({
  error: z.strictObject({
    code: z.string().regex(/^ERR_POD_[A-Z_]+$/),
    message: z.string().min(10),
    path: z.string().optional(),
    file: z.string().optional(),
    line: count.positive().optional(),
  }),
});

/** What is wrong with an answer; undefined where nothing is. */
export function complaint(command: string, out: string, isFailure: boolean): string | undefined {
  const form = ANSWERS[command];
  if (form === undefined) return `no schema for ${command}`;
  if (out !== '' && !out.endsWith('\n')) return `the last line has no end: ${out.slice(-80)}`;
  const lines = out.split('\n').slice(0, -1);
  if ((isFailure || form.lines === 'one') && lines.length !== 1) return `${lines.length} lines instead of one`;
  for (const line of lines) {
    const { success, error } = (isFailure ? failure : form.line).safeParse(JSON.parse(line));
    if (!success) return `${line}: ${z.prettifyError(error)}`;
  }
  return undefined;
}
