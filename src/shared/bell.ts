/**
 * Something that is waited for again and again, and leaves nothing behind with who was waited for in vain.
 */
export class Bell {
  readonly #waiting: Set<() => void> = new Set();

  ring(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Waits for the next ring, for the signal, or for what is awaited beside them. Returns what that gives, undefined where it was not the first. */
  async until<T>(awaited?: Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
    let wake = (): void => {};
    const rung = new Promise<undefined>((resolve) => {
      wake = () => resolve(undefined);
    });
    this.#waiting.add(wake);
    signal?.addEventListener('abort', wake, { once: true });
    try {
      return await (awaited === undefined ? rung : Promise.race([awaited, rung]));
    } finally {
      this.#waiting.delete(wake);
      signal?.removeEventListener('abort', wake);
    }
  }
}
