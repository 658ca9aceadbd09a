/** Opens a pod, changes nothing, and ends. */
import { POD } from '../../../src/index.ts';
import { say } from './say.ts';

const [folder = '', ending = ''] = process.argv.slice(2);
const pod = POD.open(folder);
say(`opened ${pod.recovery.ended}`);
if (ending.startsWith('SIG')) {
  process.kill(process.pid, ending);
  setTimeout(() => {}, 10_000);
}
