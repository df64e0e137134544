import { isDeepStrictEqual } from "node:util";
import type { BaseStatus } from "@paddock/api/object";
import { announceProblems } from "./announce.ts";
import { nextStatus } from "./conditions.ts";
import { againAfterMs } from "./faults.ts";
import type { Action, Fault, Key, Kind, Plan, Ports, Self } from "./kind.ts";

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
    // Who does not lead any more writes nothing, status neither.
    if (fault?.kind === "not-leader") return resultOf(writes, fault, undefined);
    const status = statusAfter(kind, world, { plan, fault, now: now() });
    if (status !== undefined) {
      await write.status(world.self, status);
      writes += 1;
      const events = (kind.announce ?? announceProblems)(world.self.status, status);
      if (events.length > 0) announce(world.self, events);
    }
    return resultOf(writes, fault, plan.requeueAfterMs);
  } catch (error) {
    return resultOf(writes, classify(error), undefined);
  }
}

interface Acted {
  /** Actions that were accepted, until the first fault. */
  readonly done: number;
  readonly fault?: Fault;
}

async function actAll<Status extends BaseStatus>(actions: readonly Action[], { write, classify }: Pick<Ports<Status>, "write" | "classify">): Promise<Acted> {
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

interface Outcome<Status extends BaseStatus> {
  readonly plan: Plan<Status>;
  readonly fault: Fault | undefined;
  readonly now: Date;
}

/** What status is to say now that the plan was carried out, or failed; undefined when it says so already. */
function statusAfter<World extends { readonly self: Self<Status> }, Status extends BaseStatus>(
  kind: Kind<World, Status>, world: World, { plan, fault, now }: Outcome<Status>,
): Status | undefined {
  const status = fault === undefined ? nextStatus(world.self, plan, [], now) : nextStatus(world.self, onFault(plan, fault), kind.explain?.(world, fault) ?? [], now);
  // The kind's own fields come from its plan or from its status as observed, so the shape is the kind's.
  return isDeepStrictEqual(status, world.self.status) ? undefined : (status as Status);
}

function onFault<Status extends BaseStatus>(plan: Plan<Status>, fault: Fault): Plan<Status> {
  return { ...plan, ...plan.onFault?.(fault) };
}

function resultOf(writes: number, fault: Fault | undefined, requeueAfterMs: number | undefined): PassResult {
  const again = fault !== undefined && !fault.retry ? Math.min(requeueAfterMs ?? Infinity, againAfterMs(fault, Math.random())) : requeueAfterMs;
  return { writes, ...(fault === undefined ? {} : { fault }), ...(again === undefined ? {} : { requeueAfterMs: again }) };
}
