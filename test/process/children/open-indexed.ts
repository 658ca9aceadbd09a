/** Opens a pod whose index is saved however small it is, and whose log is folded while it is small. */
import { nodeSystem } from '../../../src/disk/system.ts';
import { openHandle } from '../../../src/pod/open-pods.ts';
import type { PodOptions } from '../../../src/pod/options.ts';
import { HANDLE_DOOR, PersistentOrderedDict } from '../../../src/pod/pod.ts';

const SYSTEM = { ...nodeSystem, indexEntries: 0, foldLogBytes: 50_000 };

/** As `POD.open`. */
export function openIndexed<V>(path: string, options: PodOptions<V, string>): PersistentOrderedDict<V> {
  const { handle } = openHandle<PersistentOrderedDict<V>, V, string>(path, options, {
    name: 'PersistentOrderedDict',
    meta: {},
    accepts: (other): other is PersistentOrderedDict<V> => other instanceof PersistentOrderedDict,
    make: (engine) => new PersistentOrderedDict(HANDLE_DOOR, engine),
    system: SYSTEM,
  });
  return handle;
}
