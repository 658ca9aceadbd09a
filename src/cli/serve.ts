/**
 * The command that shares a folder by itself: an owner that does nothing else, so that no worker's own work keeps the others waiting.
 */
import { PodError } from '../core/errors.ts';
import { normalizePath } from '../pod/open-pods.ts';
import { SharedPOD } from '../shared/shared-pod.ts';
import { SharedTracker } from '../shared/shared-tracker.ts';
import type { Command, Given, Output } from './command.ts';
import { isThere, reading } from './open.ts';
import { untilSignal } from './until-signal.ts';
import { countOption } from './words.ts';

/** How often it looks whether it has become the owner, or is to end. */
const LOOK_MS = 200;

export const SERVING: readonly Command[] = [
  {
    name: 'serve-pod',
    summary:
      'share a folder with the processes that open it with SharedPOD or SharedTracker, until Ctrl-C; where another process is the owner already, it stands by',
    options: [
      ['--create', 'make the folder where there is none'],
      ['--tracker', 'with --create, make it a tracker'],
      ['--seconds <n>', 'end after so long; default: at a signal'],
    ],
    examples: [
      'serve-pod crawl.pod',
      'serve-pod crawl.pod --create --tracker',
      'serve-pod crawl.pod --seconds 3600 --json',
    ],
    run: serve,
  },
];

async function serve({ path, json, options }: Given, output: Output): Promise<number> {
  const place = normalizePath(path);
  const seconds = options.seconds === undefined ? undefined : countOption(place, 'seconds', String(options.seconds));
  const kind = kindOf(path, options);
  const onRefusal = (error: PodError): void => output.err(`everpod: a connection was cut off: ${error.message}\n`);
  const shared =
    kind === 'tracker' ? await SharedTracker.open(place, { onRefusal }) : await SharedPOD.open(place, { onRefusal });
  let wasOwner: boolean | undefined;
  const tell = (): void => {
    if (shared.isOwner === wasOwner || (!shared.isOwner && shared.ownerPid === undefined)) return;
    wasOwner = shared.isOwner;
    const { isOwner, ownerPid } = shared;
    if (json) output.out(`${JSON.stringify({ path: place, kind, isOwner, ownerPid })}\n`);
    else
      output.out(isOwner ? `${path}: served as a ${kind}\n` : `${path}: served by process ${ownerPid}; standing by\n`);
  };
  tell();
  const endMs = seconds === undefined ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000;
  await untilSignal(LOOK_MS, tell, { isOver: () => performance.now() >= endMs });
  await shared.close();
  return 0;
}

function kindOf(path: string, options: Given['options']): 'pod' | 'tracker' {
  if (isThere(path)) return reading(path, (_, tracker) => (tracker === undefined ? 'pod' : 'tracker'));
  if (options.create === true) return options.tracker === true ? 'tracker' : 'pod';
  throw new PodError('ERR_POD_NOT_FOUND', `There is no pod at ${path}. Check the path; --create makes one.`, { path });
}
