import { EGRESS_REFUSALS, refusalOf } from "@paddock/api/egress";
import type { EventDataOf } from "@paddock/api/log/events";
import { EGRESS_EVENTS_PER_MINUTE } from "@paddock/api/log/limits";
import { egressIn } from "@paddock/api/log/state";
import { refuse } from "./admission.ts";
import type { Question, Refusal } from "./admission.ts";

/** What a program asks for again and again is told in few events: more of them would fill the log, which ends its session. */
export function admitEgress({ decision, rule }: EventDataOf<"egress.decided">, { state, now }: Question): Refusal | undefined {
  if (decision === "Deny" && refusalOf(rule) === undefined) {
    return refuse("malformed", "final", `the rule of a denial is one of ${EGRESS_REFUSALS.join(", ")}, not ${rule.slice(0, 64)}`);
  }
  if (egressIn(state, now).events < EGRESS_EVENTS_PER_MINUTE) return undefined;
  return refuse("too-many", "wait", `the session has ${EGRESS_EVENTS_PER_MINUTE} events egress.decided within a minute, which is the most: count decisions that are alike in one event`);
}
