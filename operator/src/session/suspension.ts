import type { SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import { claimWaiting } from "./claim.ts";
import type { SessionWorld } from "./observe.ts";
import { runnerStateOf } from "./runner-state.ts";
import { planRelease } from "./waiting.ts";

/** The log is told what spec.suspend says, and holds everybody to it; all else follows from the log. Pure. */
export function decideSuspension({ self }: SessionWorld, record: RecordView): Plan<SessionStatus> | undefined {
  const wanted = self.spec.suspend === true;
  if (wanted === record.suspended) return undefined;
  return { actions: [{ verb: "append", uid: record.uid, events: [{ type: wanted ? "session.suspended" : "session.resumed", data: {} }] }], claims: undefined };
}

/** A suspended session that has no runner to finish what was begun gets none; undefined while it has one. Pure. */
export function decideSuspended(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> | undefined {
  if (runnerStateOf(world, record, now).kind === "Alive") return undefined;
  return planRelease(world, record, claimWaiting("Suspended", "Nothing begins while spec.suspend is true, and the session has no pods meanwhile."));
}

/** What a suspended session does is to end what it has begun, and its readers are told so. Pure. */
export function claimSuspended({ name }: RecordView, plan: Plan<SessionStatus>): Plan<SessionStatus> {
  if (plan.claims === undefined) return plan;
  return { ...plan, claims: claimWaiting("Suspended", `Nothing new begins while spec.suspend is true; the runner of ${name} still works and ends what it has begun.`) };
}
