/**
 * Stands in for `src/disk/exit.ts`: what would run when the process ends is kept, and run when a test says that it ends.
 */
import type { ExitTask } from '../../src/disk/exit.ts';

const tasks = new Set<ExitTask>();

export const exitTasks = {
  run: (how: string): void => {
    for (const task of [...tasks]) task(how);
  },
  clear: (): void => tasks.clear(),
};

/** Has the shape of the real one. */
export function atExit(task: ExitTask): () => void {
  tasks.add(task);
  return () => {
    tasks.delete(task);
  };
}
