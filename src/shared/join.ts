/**
 * Finds the owner of a shared folder, or becomes it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PodError } from '../core/errors.ts';
import { readManifest } from '../disk/manifest.ts';
import { readAddress } from '../disk/shared-address.ts';
import { nodeSystem } from '../disk/system.ts';
import { connectTo, type Identity, type Link, type LinkEvents } from './link.ts';
import { Owner, type OwnerOptions } from './owner.ts';

/** Between two looks at a folder that is locked by somebody who does not listen yet. */
const PAUSE_MS_MIN = 5;
const PAUSE_MS_MAX = 40;

/** The owners in this process, by the path of their folder. */
const owners: Map<string, Promise<Owner>> = new Map();

/** A connection, and the owner where it is in this process. */
export interface Joined {
  readonly link: Link;
  readonly owner: Owner | undefined;
  /** This call made the owner. */
  readonly isNew: boolean;
}

/**
 * Connects to the owner of a folder; where there is none, becomes it.
 *
 * @param patienceMs how long to wait for somebody who has the folder and does not listen
 * @param podId of the pod that was there before; undefined where any will do, and a new one
 * @throws {PodError} `ERR_POD_LOCKED` where somebody has the folder and does not share it; `ERR_POD_DISK` where the pod is not there any
 * more; `ERR_POD_OPTIONS`, `ERR_POD_PROTOCOL`; and as `PersistentOrderedDict.open`
 */
export async function join(
  place: string,
  options: OwnerOptions,
  identity: Identity,
  events: LinkEvents,
  patienceMs: number,
  podId: string | undefined,
): Promise<Joined> {
  const { fs, clock } = nodeSystem;
  const endMs = clock.monotonic() + patienceMs;
  for (;;) {
    if (podId !== undefined && readManifest(fs, place)?.id !== podId) throw goneError(place);
    const own = owners.get(place);
    if (own !== undefined) {
      const owner = await own.catch(() => undefined);
      if (owner?.isOpen === true) return attach(owner, identity, events, false);
      await sleep(1);
      if (owners.get(place) === own && clock.monotonic() > endMs) throw busyError(place);
      continue;
    }
    const address = readAddress(fs, place);
    const link = address && (await connectTo(address, identity, events));
    if (link !== undefined) return { link, owner: undefined, isNew: false };
    // Another handle of this process may have been quicker.
    if (owners.has(place)) continue;
    if (!options.mayOwn) {
      if (clock.monotonic() > endMs) throw nobodyError(place);
      await pause();
      continue;
    }
    try {
      const opening = Owner.open(place, options, () => owners.delete(place));
      owners.set(place, opening);
      opening.catch(() => owners.delete(place));
      return attach(await opening, identity, events, true);
    } catch (error) {
      const isLocked = error instanceof PodError && error.code === 'ERR_POD_LOCKED';
      if (!isLocked || isPlainHere(error) || clock.monotonic() > endMs) throw error;
    }
    await pause();
  }
}

/** So that not all come again at the same moment. */
function pause(): Promise<void> {
  return sleep(PAUSE_MS_MIN + Math.random() * (PAUSE_MS_MAX - PAUSE_MS_MIN));
}

function attach(owner: Owner, identity: Identity, events: LinkEvents, isNew: boolean): Joined {
  const link = owner.attach(identity, events);
  owner.use();
  return { link, owner, isNew };
}

/** A plain handle of this process does not go away by waiting. */
function isPlainHere({ info }: PodError): boolean {
  return info?.pid === process.pid && info.host === undefined;
}

/** What was acknowledged is elsewhere, and what is asked now must not go into whatever is at the path, or into a new pod. */
function goneError(place: string): PodError {
  return new PodError(
    'ERR_POD_DISK',
    `${place} was moved, removed or replaced while it was shared. Put it back and call again; or close this handle, and open what is there now.`,
    { path: place },
  );
}

function busyError(place: string): PodError {
  return new PodError(
    'ERR_POD_DISCONNECTED',
    `${place} is being opened or closed in this process, and it takes long.`,
    {
      path: place,
    },
  );
}

function nobodyError(place: string): PodError {
  return new PodError(
    'ERR_POD_DISCONNECTED',
    `Nobody serves ${place}, and this process may not (mayOwn is false). Start "everpod serve-pod ${place}", or a process that may.`,
    { path: place },
  );
}
