/** Has a pod open while a child of its own, forked or of a cluster, tries to open it too and ends. */
import { type ChildProcess, fork } from 'node:child_process';
import cluster from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Durability, POD } from '../../../src/index.ts';
import { say } from './say.ts';

const [folder = '', durability = '', kind = '', ending = ''] = process.argv.slice(2);
const program = fileURLToPath(new URL('./intruder.js', import.meta.url));

const pod = POD.open<number>(folder, { durability: durability as Durability, syncEvery: 0 });
pod.set('before', 1);
pod.sync();
pod.set('during', 1);
let child: ChildProcess;
if (kind === 'cluster') {
  cluster.setupPrimary({ exec: program, args: [folder, ending] });
  child = cluster.fork().process;
} else {
  child = fork(program, [folder, ending]);
}
child.on('message', (message) => say(String(message)));
const [code, signal] = await once(child, 'exit');
say(`child ended with ${code ?? signal}`);
pod.set('after', 1);
