/** One waiting reader and those who wake it: a wake-up that comes while nobody waits is kept for the next wait, several count as one. */
export interface Waker {
  wake(): void;
  /** Resolves at once when woken since the last call, else at the next wake-up, `signal`'s abort, or after `timeoutMs`; true when woken. */
  next(timeoutMs: number, signal: AbortSignal): Promise<boolean>;
}

export function createWaker(): Waker {
  let woken = false;
  let resolveWait: (() => void) | undefined;
  return {
    wake: () => {
      woken = true;
      resolveWait?.();
    },
    next: async (timeoutMs, signal) => {
      if (!woken && !signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const finish = (): void => resolve();
        const timer = setTimeout(finish, timeoutMs);
        signal.addEventListener("abort", finish, { once: true });
        resolveWait = finish;
        await promise;
        resolveWait = undefined;
        clearTimeout(timer);
        signal.removeEventListener("abort", finish);
      }
      const answer = woken;
      woken = false;
      return answer;
    },
  };
}
