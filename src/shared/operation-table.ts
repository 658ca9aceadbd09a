/**
 * The table of what a client may ask for: nothing else is carried out, whatever a frame says.
 */
import { PodError } from '../core/errors.ts';
import { type Operation, POD_OPERATIONS } from './operations.ts';
import { TRACKER_OPERATIONS } from './tracker-operations.ts';

/** A map, and no object: `constructor` is no operation (reliability K9). */
const OPERATIONS: ReadonlyMap<string, Operation> = new Map([...POD_OPERATIONS, ...TRACKER_OPERATIONS]);

/** @throws {PodError} `ERR_POD_UNSUPPORTED` where there is no such operation */
export function operationOf(name: string): Operation {
  const operation = OPERATIONS.get(name);
  if (operation !== undefined) return operation;
  throw new PodError('ERR_POD_UNSUPPORTED', `A shared pod has no operation ${JSON.stringify(name.slice(0, 40))}.`);
}
