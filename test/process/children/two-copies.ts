/** Loads the library twice and opens one folder with both copies. */
import { pathToFileURL } from 'node:url';
import { describeError, say } from './say.ts';

type Library = typeof import('../../../src/index.ts');

const [folder = '', first = '', second = ''] = process.argv.slice(2);
const one = (await import(pathToFileURL(first).href)) as Library;
const two = (await import(pathToFileURL(second).href)) as Library;
say(`different: ${one.POD !== two.POD}`);

function attempt(library: Library): void {
  try {
    const pod = library.POD.open<number>(folder);
    pod.set('n', (pod.get('n') ?? 0) + 1);
    say(`opened, n = ${pod.get('n')}`);
  } catch (error) {
    say(describeError(error));
  }
}

attempt(one);
attempt(two);
// A reader sees what is on the disk: that is at the end of the turn.
await Promise.resolve();
const reader = two.POD.open<number>(folder, { mode: 'r' });
say(`read, n = ${reader.get('n')}`);
reader.close();
const again = one.POD.open(folder);
again.close();
again.close();
attempt(two);
attempt(one);
