/**
 * A schema for the user's part of a task as one for the whole task.
 */
import { setOwn } from '../core/json.ts';
import type { StandardSchema } from '../pod/options.ts';
import { asObject, NEW_TASK, RECORD_NAMES, type Task } from './task.ts';

const taskSchemas = new WeakMap<object, StandardSchema<never>>();

/** A schema for the user's part as one for the whole task; the same one each time, so that opening again does not conflict. */
export function taskSchema<T extends object>(schema: StandardSchema<T>): StandardSchema<Task<T>> {
  const known = taskSchemas.get(schema);
  if (known !== undefined) return known;
  const whole: StandardSchema<Task<T>> = {
    '~standard': {
      version: 1,
      vendor: 'everpod',
      validate: (value) => {
        const record: Record<string, unknown> = { ...NEW_TASK };
        const data: Record<string, unknown> = {};
        for (const [name, member] of Object.entries(asObject(value))) {
          const isRecord = (RECORD_NAMES as readonly string[]).includes(name);
          setOwn(isRecord ? record : data, name, member);
        }
        const result = schema['~standard'].validate(data);
        if (result instanceof Promise) return result as Promise<never>;
        return result.issues === undefined ? { value: { ...(result.value as object), ...record } as Task<T> } : result;
      },
    },
  };
  taskSchemas.set(schema, whole as unknown as StandardSchema<never>);
  return whole;
}
