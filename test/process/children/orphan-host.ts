/** Has a pod open, and a child that lives on when this process is killed. */
import { spawn } from 'node:child_process';
import { POD } from '../../../src/index.ts';
import { say } from './say.ts';

const [folder = ''] = process.argv.slice(2);
POD.open<number>(folder).set('held', 1).sync();
const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)'], { stdio: 'ignore', detached: true });
say(`child ${child.pid}`);
setInterval(() => {}, 1_000);
