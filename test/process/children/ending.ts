/** Changes a pod in three steps, says each, and ends in the way it was told to. Also runs as a worker thread. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { onExit } from 'signal-exit';
import { type Durability, POD, type PodError } from '../../../src/index.ts';
import { nextTurn, say } from './say.ts';

type Ending = () => void;

/** So many that writing them takes long enough for a second signal to come in the middle. */
const MANY = 60_000;

const [folder = '', durability = 'process', ending = ''] = process.argv.slice(2);

/** Handlers that are installed before the pod is opened, and so are called before its own. */
const early: Record<string, () => void> = {
  'early throwing signal-exit handler': throwAtExit,
  'early vetoing signal-exit handler': veto,
  'own handler from before the pod was opened': () => void process.on('SIGTERM', () => process.exit(6)),
  'own handler that is called once, from before the pod was opened': () =>
    void process.once('SIGTERM', () => process.exit(6)),
};
early[ending]?.();

const pod = POD.open<{ n: number }>(folder, {
  durability: durability as Durability,
  syncAt: 1_000_000,
  syncEvery: 0,
});

const endings: Record<string, Ending> = {
  'end of the loop': () => {},
  'exit code set': () => {
    process.exitCode = 7;
  },
  close: () => pod.close(),
  throw: () => {
    throw new Error('on purpose');
  },
  rejection: () => void Promise.reject(new Error('on purpose')),
  'process.exit': () => process.exit(3),
  'process.exit in a transaction': () =>
    pod.transaction(() => {
      pod.set('unfinished', { n: 1 });
      set('first', 99);
      pod.delete('turn');
      process.exit(4);
    }),
  'throw in a transaction': () =>
    pod.transaction(() => {
      pod.set('unfinished', { n: 1 });
      pod.delete('turn');
      throw new Error('on purpose');
    }),
  'await for ever': () => {},
  SIGINT: () => signalSelf('SIGINT'),
  SIGTERM: () => signalSelf('SIGTERM'),
  SIGHUP: () => signalSelf('SIGHUP'),
  SIGQUIT: () => signalSelf('SIGQUIT'),
  SIGUSR2: () => signalSelf('SIGUSR2'),
  'end of the loop in a hold': () => void pod.hold(),
  'process.exit in a hold': () => {
    pod.hold();
    process.exit(3);
  },
  'own handler from before the pod was opened': () => signalSelf('SIGTERM'),
  'own handler that is called once, from before the pod was opened': () => signalSelf('SIGTERM'),
  SIGKILL: () => signalSelf('SIGKILL'),
  'SIGTERM, then close in the same turn': () => {
    signalSelf('SIGTERM');
    pod.close();
  },
  'SIGTERM, then close and open again in the same turn': () => {
    signalSelf('SIGTERM');
    pod.close();
    POD.open<{ n: number }>(folder, { durability: durability as Durability, syncEvery: 0 }).set('again', { n: 1 });
  },
  abort: () => process.abort(),
  'heap exhaustion': () => {
    const kept: unknown[] = [];
    for (;;) kept.push(new Array(1000).fill(kept.length));
  },
  wait: () => {
    // Said when the turn has ended.
    setImmediate(() => parentPort?.postMessage('waiting'));
    setInterval(() => {}, 1_000);
  },
  'many dirty keys': () => {
    pod.transaction(() => {
      for (let n = 0; n < MANY; n++) pod.set(`many ${n}`, { n });
    });
    say('many');
    setInterval(() => {}, 1_000);
  },
  // Handlers of the application.
  'own handler that exits later': () => {
    process.on('SIGINT', () => {
      pod.set('handler', { n: 1 });
      setTimeout(() => {
        pod.set('later', { n: 1 });
        process.exit(5);
      }, 20);
    });
    signalSelf('SIGINT');
  },
  // What the manual of Node advises: tidy up, then let the signal do the rest. Nothing else keeps the loop going.
  'own handler that closes and sends the signal again': () => {
    process.once('SIGTERM', (signal) => {
      pod.close();
      process.kill(process.pid, signal);
    });
    signalSelfBriefly('SIGTERM');
  },
  'own handler that closes later and sends the signal again': () => {
    const onSignal = (signal: NodeJS.Signals): void => {
      void nextTurn().then(() => {
        pod.close();
        process.off('SIGINT', onSignal);
        process.kill(process.pid, signal);
      });
    };
    process.on('SIGINT', onSignal);
    signalSelfBriefly('SIGINT');
  },
  'own handler that sends the signal again': () => {
    process.once('SIGHUP', (signal) => process.kill(process.pid, signal));
    signalSelfBriefly('SIGHUP');
  },
  'own handler that never exits': () => {
    process.on('SIGTERM', () => {
      say('heard');
      process.kill(process.pid, 'SIGKILL');
    });
    signalSelf('SIGTERM');
  },
  'own handler that lets the process live': () => {
    process.on('SIGTERM', () => {
      say('alive');
      pod.syncAt = 1;
      pod.set('after', { n: 1 });
      pod.syncAt = 1_000_000;
      pod.set('later', { n: 1 });
      process.kill(process.pid, 'SIGKILL');
    });
    signalSelf('SIGTERM');
  },
  'own handler of uncaught errors': () => {
    process.on('uncaughtException', () => say('caught'));
    setTimeout(() => pod.set('later', { n: 1 }), 20);
    throw new Error('on purpose');
  },
  'own exit listener that changes the pod': () => {
    process.on('exit', () => pod.set('last', { n: 1 }));
  },
  'early throwing signal-exit handler': () => signalSelf('SIGTERM'),
  'late throwing signal-exit handler': () => {
    throwAtExit();
    signalSelf('SIGTERM');
  },
  'early vetoing signal-exit handler': vetoed,
  'late vetoing signal-exit handler': () => {
    veto();
    vetoed();
  },
  'vetoed signal, then another': () => {
    veto();
    vetoed('SIGHUP');
  },
  'vetoed signal, then SIGKILL': () => {
    veto();
    vetoed('SIGKILL');
  },
  'lost lock': () => {
    rmSync(join(folder, 'lock'));
    try {
      pod.set('after', { n: 1 });
      pod.sync();
      say('saved');
    } catch (error) {
      const { code, file } = error as PodError;
      say(`refused: ${code} ${file}`);
    }
  },
  // The log is moved away, so that the last flush must fail.
  'failing flush, end of the loop': loseLog,
  'failing flush, process.exit': () => {
    loseLog();
    process.exit(0);
  },
  'two failing flushes': () => {
    loseLog();
    POD.open<number>(`${folder}-second`, { durability: 'exit' }).set('second', 1);
    renameSync(join(`${folder}-second`, 'wal-000001.jsonl'), join(`${folder}-second`, 'moved-away'));
  },
  'failing flush beside a healthy pod': () => {
    loseLog();
    POD.open<number>(`${folder}-healthy`, { durability: 'exit' }).set('healthy', 1);
  },
  'failing flush, SIGTERM': () => {
    loseLog();
    signalSelf('SIGTERM');
  },
};

function set(key: string, n: number): void {
  const value = pod.get(key);
  if (value !== undefined) value.n = n;
}

function signalSelf(signal: NodeJS.Signals): void {
  process.kill(process.pid, signal);
  // Without it the loop would end before the signal is seen.
  setTimeout(() => {}, 10_000);
}

/** Only until the signal is told. */
function signalSelfBriefly(signal: NodeJS.Signals): void {
  const wait = setTimeout(() => {}, 10_000);
  process.prependOnceListener(signal, () => clearTimeout(wait));
  process.kill(process.pid, signal);
}

function throwAtExit(): void {
  onExit(() => {
    throw new Error('a handler of another library');
  });
}

/** The first signal comes to nothing. */
function veto(): void {
  let signals = 0;
  onExit((_code, signal) => {
    if (signal === null || ++signals > 1) return undefined;
    setTimeout(() => void goOn(), 250);
    return true;
  });
}

let keepAlive: NodeJS.Timeout | undefined;
let next: NodeJS.Signals | undefined;

function vetoed(second?: NodeJS.Signals): void {
  keepAlive = setInterval(() => {}, 1_000);
  next = second;
  process.kill(process.pid, 'SIGTERM');
}

/** What is changed after a vetoed signal counts too. */
async function goOn(): Promise<void> {
  say('alive');
  pod.set('after', { n: 1 });
  if (durability !== 'exit') await nextTurn();
  if (next !== undefined) process.kill(process.pid, next);
  else clearInterval(keepAlive);
}

function loseLog(): void {
  renameSync(join(folder, 'wal-000001.jsonl'), join(folder, 'moved-away'));
}

pod.set('first', { n: 1 });
pod.set('gone', { n: 1 });
pod.sync();
say('synced');
set('first', 2);
pod.set('turn', { n: 1 });
await nextTurn();
say('turned');
setImmediate(() => {
  const run = endings[ending];
  if (run === undefined) throw new Error(`no such ending: ${ending}`);
  set('first', 3);
  pod.delete('gone');
  pod.set('now', { n: 1 });
  say('now');
  run();
});
if (ending === 'await for ever') await new Promise(() => {});
