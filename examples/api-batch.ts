/**
 * A batch of API calls that may be killed at any moment and started again: no call that succeeded is paid for twice.
 *
 *     npx tsx examples/api-batch.ts [folder]
 *
 * Without a folder it works in a temporary one. With one, stop it half-way in any way you like (Ctrl-C, kill -9) and
 * give the same command again.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProgressTracker } from '../src/index.ts';

/** What we keep with each task, beside the tries, done, aborted and the last error that the tracker keeps. */
interface Prompt {
  text: string;
  answer?: string;
}

/** No further try can help against it. */
class InvalidRequest extends Error {}

const CONCURRENCY = 4;

const folder = process.argv[2] ?? mkdtempSync(path.join(tmpdir(), 'everpod-api-batch-'));
const batch = ProgressTracker.open<Prompt>(path.join(folder, 'batch.pod'), { maxTries: 3 });

// Adding is for every run: a task that is there already keeps its state.
for (let n = 1; n <= 60; n++) batch.addIfAbsent(`prompt-${n}`, { text: n === 17 ? '' : `Say something about ${n}.` });
console.log(`${batch.numDone()} of ${batch.size} done before, ${batch.numTodo()} to do`);

// One pass of `tryItems` hands out each task that is left, once. What failed in it is left for the next pass, until it
// has used up its tries. The try is on disk before the task is handed out, so even a task that kills us is counted.
let calls = 0;
while (batch.numTodo() > 0) {
  const inFlight = new Set<Promise<void>>();
  for (const [id, prompt] of batch.tryItems()) {
    const call = answer(id, prompt.text).finally(() => inFlight.delete(call));
    inFlight.add(call);
    if (inFlight.size >= CONCURRENCY) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
}

async function answer(id: string, text: string): Promise<void> {
  try {
    calls += 1;
    // The answer and the word that it is there are one change of one entry: no crash can come between them.
    batch.markDone(id, { answer: await callModel(id, text) });
  } catch (error) {
    if (error instanceof InvalidRequest) batch.abort(id, error.message);
    else batch.fail(id, error);
  }
}

console.log(`${calls} calls made; ${batch.numDone()} done, ${batch.numAborted()} aborted, ${batch.numTodo()} to do`);
for (const [id, { _aborted, _tries, _error }] of batch.failedItems()) {
  console.log(`${id} ${_aborted ? 'was given up' : `failed ${_tries} times`}: ${_error?.message}`);
}
batch.close();

/** Stands for a service on the network: slow, at times busy, and broken for one of the prompts. */
async function callModel(id: string, text: string): Promise<string> {
  await sleep(10);
  if (text === '') throw new InvalidRequest('the prompt is empty');
  if (id === 'prompt-13') throw new Error('500 Internal Server Error');
  if (id.endsWith('5') && batch.tries(id) === 1) throw new Error('429 Too Many Requests');
  return `${text} Done.`;
}
