import type { SessionStatus } from "@paddock/api/session";
import type { Session } from "@paddock/api/session";
import type { Plan } from "../kernel/kind.ts";
import { claimWaiting, conditionOf } from "./claim.ts";
import type { Obstacle } from "./ground.ts";
import type { Queued } from "./slots.ts";
import type { StatusFields } from "./status.ts";

/** Whoever gives up a slot wakes who is next; this is for the case that nobody is awake to do so. */
const LOOK_AGAIN_MS = 60_000;

/** What a session that waits in line has told: its turn, or what hindered an earlier try. */
const TOLD_IN_LINE: ReadonlySet<string> = new Set(["Queued", "ConfigMapNotFound", "Invalid"]);

/**
 * A session waits for what it names. One in the queue says nothing about what passes in a moment: each edit of an Environment would otherwise write two
 * statuses for each session of its queue. Pure.
 */
export function planHindered(self: Session, { reason, message, isBrief }: Obstacle, status?: StatusFields): Plan<SessionStatus> {
  if (isBrief === true && TOLD_IN_LINE.has(conditionOf(self, "Succeeded")?.reason ?? "")) return { actions: [], claims: undefined };
  return { actions: [], claims: claimWaiting(reason, message), ...(status === undefined ? {} : { status }) };
}

/**
 * A session waits for its turn. The place is told once, when it joins the queue: a queue of a thousand that told each step would write a thousand
 * statuses for each session that ends. What hindered an earlier try stays told. Pure.
 */
export function planQueued(self: Session, { limit, turn }: Queued, status?: StatusFields): Plan<SessionStatus> {
  const { name } = self.spec.environmentRef;
  const { namespace } = self.metadata;
  const fact = `Environment ${name} runs at most ${limit} ${limit === 1 ? "session" : "sessions"} at the same time (its spec.budget.maxConcurrentSessions)`;
  if (isToldSo(self, fact)) return { actions: [], claims: undefined, requeueAfterMs: LOOK_AGAIN_MS };
  const place = turn === undefined ? "" : `; it was at place ${turn.place} of ${turn.count} when it joined the queue`;
  const message = `${fact}: this one starts by itself when others have ended${place}. Whoever may update the Environment can raise the limit (kubectl auth can-i update environments/${name} -n ${namespace})`;
  return { actions: [], claims: claimWaiting("Queued", message), ...(status === undefined ? {} : { status }), requeueAfterMs: LOOK_AGAIN_MS };
}

function isToldSo(self: Session, fact: string): boolean {
  const { reason = "", message = "" } = conditionOf(self, "Succeeded") ?? {};
  return TOLD_IN_LINE.has(reason) && (reason !== "Queued" || message.startsWith(fact));
}
