/** Meets a limit of its process or its user, says what it hears, and goes on once the limit is gone. */
import { closeSync, openSync } from 'node:fs';
import { POD } from '../../../src/index.ts';
import { describeError, say } from './say.ts';

const [task = '', folder = '', other = ''] = process.argv.slice(2);

/** Says how a step went. */
function attempt(name: string, step: () => unknown): void {
  try {
    step();
    say(`${name}: ok`);
  } catch (error) {
    say(`${name}: ${describeError(error)}`);
  }
}

const tasks: Record<string, () => void | Promise<void>> = {
  /** The log may not grow beyond a size. */
  async fileSize() {
    const pod = POD.open<string>(folder, { durability: 'exit', syncEvery: 0 });
    pod.set('small', 'x'.repeat(1_000));
    attempt('small', () => pod.sync());
    pod.set('large', 'x'.repeat(100_000));
    attempt('large', () => pod.sync());
    attempt('large again', () => pod.sync());
    say(`in memory: ${pod.size}, dirty: ${[...pod.dirty()]}`);
    // SIGXFSZ has come with it by now.
    await new Promise((resolve) => setTimeout(resolve, 20));
    say('limited');
    const waiting = setInterval(() => {
      try {
        pod.sync();
      } catch {
        return; // Still limited.
      }
      clearInterval(waiting);
      say(`synced, dirty: ${pod.dirty().size}`);
    }, 20);
  },

  /** No file can be opened any more. */
  files() {
    const pod = POD.open<number>(folder, { durability: 'power' });
    const opened: number[] = [];
    try {
      for (;;) opened.push(openSync('/dev/null', 'r'));
    } catch {
      // That was the last one.
    }
    attempt('set', () => pod.set('a', 1));
    attempt('sync', () => pod.sync());
    attempt('open another', () => POD.open(other));
    attempt('read another', () => POD.open(other, { mode: 'r' }));
    attempt('compact', () => pod.compact());
    attempt('copy', () => pod.copyTo(`${other}-copy`));
    attempt('set again', () => pod.set('b', 2));
    for (const fd of opened) closeSync(fd);
    attempt('open another', () => POD.open(other).close());
    attempt('compact', () => pod.compact());
    attempt('close', () => pod.close());
  },

  open() {
    attempt('write', () => POD.open(folder).close());
    attempt('read', () => {
      const pod = POD.open(folder, { mode: 'r' });
      say(`size ${pod.size}`);
      pod.close();
    });
  },
};

await tasks[task]?.();
