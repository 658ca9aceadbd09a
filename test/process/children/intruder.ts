/** A child that tries to open what its parent has open, has a pod of its own, and ends. */
import { POD } from '../../../src/index.ts';
import { describeError } from './say.ts';

const [folder = '', ending = ''] = process.argv.slice(2);
const own = POD.open<number>(`${folder}-own`, { durability: 'exit' });
own.set('own', 1);
let answer = 'opened';
try {
  POD.open(folder);
} catch (error) {
  const reader = POD.open<number>(folder, { mode: 'r' });
  answer = `${describeError(error)}, reads ${reader.get('before')}`;
  reader.close();
}
process.send?.(answer, () => {
  if (ending === 'process.exit') process.exit(0);
  process.kill(process.pid, ending);
  setTimeout(() => {}, 10_000);
});
