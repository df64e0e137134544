import type { Receipt } from "./expectations.ts";
import { SLOW_RETRY_MS } from "./faults.ts";
import type { Action, Fault, Key } from "./kind.ts";
import type { PassResult } from "./reconcile.ts";

/** Something that is kept in order without a status that tells of it. `observe` returns undefined when there is nothing to do; `decide` is pure. */
export interface Duty<World> {
  observe(key: Key): World | undefined;
  decide(world: World): { readonly actions: readonly Action[]; readonly requeueAfterMs?: number };
}

/** What its passes need from outside. */
export interface DutyPorts {
  act(action: Action): Promise<Receipt | undefined>;
  classify(error: unknown): Fault;
}

/** One pass: observe, decide, act; the first fault ends it. Never throws. */
export function createBarePass<World>({ observe, decide }: Duty<World>, { act, classify }: DutyPorts): (key: Key, note: (receipt: Receipt) => void) => Promise<PassResult> {
  return async (key, note) => {
    let writes = 0;
    try {
      const world = observe(key);
      if (world === undefined) return { writes };
      const { actions, requeueAfterMs } = decide(world);
      for (const action of actions) {
        const receipt = await act(action);
        writes += 1;
        if (receipt !== undefined) note(receipt);
      }
      return { writes, ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }) };
    } catch (error) {
      const fault = classify(error);
      return { writes, fault, ...(fault.retry ? {} : { requeueAfterMs: SLOW_RETRY_MS }) };
    }
  };
}
