import type { EventDataOf } from "@paddock/api/log/events";
import { refuseIncomplete, refuseOpen, refuseStale } from "./admit-run.ts";
import { refuse } from "./admission.ts";
import type { Question, Refusal } from "./admission.ts";

/** A Conversation waits when its newest answer asks for nothing and takes every input into account. */
export function admitRunWaiting(data: EventDataOf<"run.waiting">, question: Question): Refusal | undefined {
  const { state, bundle } = question;
  if (bundle.mode !== "Conversation") return refuse("denied", "final", "a session of mode Task does not wait for input: append run.finished with outcome Completed");
  if (data.through > state.lastSeq) return refuse("unexpected", "final", `through is ${data.through} and the log ends at ${state.lastSeq}`);
  if (state.cancelled) return refuse("stopped", "final", "the session is cancelled: append run.finished with outcome Cancelled");
  if (state.waiting !== undefined) return refuse("unexpected", "final", `the session waits since event ${state.waiting.seq} already: follow the log until the next input.received`);
  return refuseStale(data, question) ?? refuseOpen(question) ?? refuseIncomplete(question);
}
