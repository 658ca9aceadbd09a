/**
 * Works on tasks of several groups with a paced loop, a breaker and an output, while the outside world fails now and then, until it is killed
 * or nothing is left. It says what happens when it is safe to say so.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ProgressTracker } from '../../../src/index.ts';
import { say } from './say.ts';
import { randomFrom } from './steps.ts';

const [folder = '', seedText = '', sizeText = ''] = process.argv.slice(2);
const random = randomFrom(Number(seedText));

const tasks = ProgressTracker.open<object>(folder, { maxTries: 1_000, maxDeaths: 0, syncEvery: 20 });
const output = tasks.output<[string, number, number]>('lines.jsonl');
tasks.addManyIfAbsent(Array.from({ length: Number(sizeText) }, (_, n) => `${n % 5}:${n}`));
say('ready');

let isOut = false;
setInterval(() => {
  isOut = random(3) === 0;
}, 15);

/** Says something once the turn that made it so is in the log. */
function sayWhenSafe(line: string): void {
  setImmediate(() => say(line));
}

tasks.on('pause', () => {
  setImmediate(() => {
    for (const key of tasks.failedKeys()) {
      const { _tries, _error } = tasks.snapshot(key) ?? {};
      // One that is in flight again has a try more than its error.
      if (_error?.blame === 'environment' && _error.try === _tries) say(`refunded ${key} ${_tries}`);
    }
  });
});

async function work(key: string): Promise<void> {
  const count = 1 + (Number(key.split(':')[1]) % 3);
  for (let part = 0; part < count; part++) {
    output.write(key, [key, part, count]);
    await sleep(random(3));
  }
  say(`end ${key} ${Date.now()}`);
  if (isOut) tasks.fail(key, new Error('connect ECONNREFUSED: the proxy is down'));
  else {
    tasks.markDone(key);
    sayWhenSafe(`done ${key}`);
  }
}

const groupOf = (key: string): string => key.split(':')[0] as string;
const pace = { concurrency: 4, group: groupOf, perGroup: 1, delayMs: 4, retryDelayMs: 2 };
for await (const key of tasks.tryKeys({ ...pace, breaker: { failures: 4, pauseMs: 10 } })) {
  say(`start ${key} ${Date.now()} ${tasks.tries(key)}`);
  void work(key);
}
tasks.close();
say('over');
process.exit(0);
