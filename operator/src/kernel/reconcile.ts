import { isDeepStrictEqual } from "node:util";
import type { BaseStatus } from "@paddock/api/object";
import { announceProblems } from "./announce.ts";
import { nextStatus } from "./conditions.ts";
import { againAfterMs } from "./faults.ts";
import type { Action, Fault, Key, Kind, Ports, Self } from "./kind.ts";

/** What a pass came to. A fault that is to be retried is the queue's to back off from. */
export interface PassResult {
  /** Writes that were accepted, the status among them. */
  readonly writes: number;
  readonly fault?: Fault;
  readonly requeueAfterMs?: number;
}

/**
 * One pass over one object: observe, decide, act, tell. Actions go in order and the first fault ends them; status is written at
 * most once, only when it differs, and also when acting failed. Never throws: what goes wrong is the result's fault.
 */
export async function reconcile<World extends { readonly self: Self<Status> }, Status extends BaseStatus>(
  kind: Kind<World, Status>, key: Key, { read, write, announce, now, classify }: Ports<Status>,
): Promise<PassResult> {
  let writes = 0;
  try {
    const world = kind.observe(read, key);
    if (world === undefined) return { writes };
    const plan = kind.decide(world, now());
    const { done, fault } = await actAll(plan.actions, { write, classify });
    writes += done;
    if (fault?.kind === "not-leader") return resultOf(writes, fault, undefined);
    const told = fault === undefined ? plan : { ...plan, ...plan.onFault?.(fault) };
    const status = nextStatus(world.self, told, fault === undefined ? [] : (kind.explain?.(world, fault) ?? []), now());
    if (status !== undefined && !isDeepStrictEqual(status, world.self.status)) {
      // The kind's own fields come from its plan or from its status as observed, so the shape is the kind's.
      const after = status as Status;
      await write.status(world.self, after);
      writes += 1;
      const events = (kind.announce ?? announceProblems)(world.self.status, after);
      if (events.length > 0) announce(world.self, events);
    }
    return resultOf(writes, fault, plan.requeueAfterMs);
  } catch (error) {
    return resultOf(writes, classify(error), undefined);
  }
}

async function actAll(
  actions: readonly Action[], { write, classify }: Pick<Ports<BaseStatus>, "classify"> & { readonly write: { act(action: Action): Promise<void> } },
): Promise<{ done: number; fault?: Fault }> {
  let done = 0;
  for (const action of actions) {
    try {
      await write.act(action);
      done += 1;
    } catch (error) {
      return { done, fault: classify(error) };
    }
  }
  return { done };
}

function resultOf(writes: number, fault: Fault | undefined, requeueAfterMs: number | undefined): PassResult {
  const again = fault !== undefined && !fault.retry ? Math.min(requeueAfterMs ?? Infinity, againAfterMs(fault, Math.random())) : requeueAfterMs;
  return { writes, ...(fault === undefined ? {} : { fault }), ...(again === undefined ? {} : { requeueAfterMs: again }) };
}
