import type { SessionStatus } from "@paddock/api/session";
import type { Fault, Kind } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import { announceSession, explainFault } from "./claim.ts";
import { decideSession } from "./decide.ts";
import { type SessionWorld, observeSession } from "./observe.ts";
import { createSlots } from "./slots.ts";

/** Faults by which a bind is known not to have been carried out. */
const REFUSALS: ReadonlySet<Fault["kind"]> = new Set(["missing-reference", "invalid", "forbidden", "namespace-terminating"]);

/** A Session: bound to its record at the gateway, then given the pods that the record asks for. `settings` is called in each observation. */
export function sessionKind(settings: () => Settings): Kind<SessionWorld, SessionStatus> {
  const slots = createSlots();
  return {
    name: "Session",
    observe: (read, key) => observeSession(read, key, { settings: settings(), slots }),
    decide: decideSession,
    announce: announceSession,
    explain: (world, fault) => {
      if (world.record === undefined && REFUSALS.has(fault.kind)) slots.release(world.self);
      return explainFault(world, fault);
    },
  };
}
