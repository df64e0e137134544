import type { ClientRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Something that happened and that loops wait for: nothing that happens between two waits is missed. */
export interface Pulse {
  /** Something has changed. */
  beat(): void;
  /** Resolves at once when there was a beat since the last wait ended, else at the next one. One waiter at a time. */
  next(): Promise<void>;
}

export function createPulse(): Pulse {
  let { promise, resolve } = Promise.withResolvers<void>();
  return {
    beat: () => resolve(),
    async next() {
      await promise;
      ({ promise, resolve } = Promise.withResolvers<void>());
    },
  };
}

/** Waits; resolves early, without an error, when `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

/**
 * Destroys a request when `signal` aborts, until it is closed. The option `signal` of node:http will not do: an agent hands it on to the
 * socket, and a connection that is kept would die with the first request it served.
 */
export function destroyOnAbort(sent: ClientRequest, signal: AbortSignal): void {
  // Without an error: behind the headers it would go to the socket, where nobody listens, and end the process.
  const onAbort = (): void => void sent.destroy();
  if (signal.aborted) return onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  sent.once("close", () => signal.removeEventListener("abort", onAbort));
}
