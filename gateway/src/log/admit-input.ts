import type { EventDataOf } from "@paddock/api/log/events";
import { MAX_AUTHORS } from "@paddock/api/log/limits";
import { deadlineAt } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { refuse } from "./admission.ts";
import type { Admission, Question } from "./admission.ts";

/**
 * A message to the model. The same id by the same author is the same message, also when the session has ended since; people cannot take
 * the ids of the operator's or of each other. It is taken while the session runs or waits, and reaches the model at its next request.
 */
export function admitInput({ id }: EventDataOf<"input.received">, { state, who, now }: Question): Admission | undefined {
  const by = who.role === "person" ? who.username : undefined;
  const known = state.inputs.find((input) => input.id === id && input.by === by);
  if (known !== undefined) return { kind: "known", seq: known.seq };
  const { finished, cancelled, waiting, inputs } = state;
  if (finished !== undefined) return refuse("finished", "final", `the session finished with ${finished.outcome} at event ${finished.seq} and reads nothing any more: make another Session for this message`);
  if (cancelled) return refuse("stopped", "final", "the session is cancelled and reads nothing any more: make another Session for this message");
  if (isOneTooMany(by, state)) {
    return refuse("limit", "final", `${MAX_AUTHORS} people have written to the session, which is the most: one of them can, or make another Session for this message`);
  }
  if (inputs.length > 0 && waiting === undefined && now.getTime() >= deadlineAt(state)) {
    return refuse("stopped", "final", "the session's time (limits.timeoutSeconds) is over and it is about to end: make another Session for this message");
  }
  return undefined;
}

/** Everybody who wrote is remembered, because none of them may approve. */
function isOneTooMany(by: string | undefined, { authors = [] }: SessionState): boolean {
  return by !== undefined && authors.length >= MAX_AUTHORS && !authors.includes(by);
}

/** Stops what is under way. The same id by the same author is the same interrupt, and while one holds another changes nothing. */
export function admitInterrupted({ id }: EventDataOf<"turn.interrupted">, { state, who }: Question): Admission | undefined {
  const by = who.role === "person" ? who.username : undefined;
  const known = state.interrupts?.find((interrupt) => interrupt.id === id && interrupt.by === by);
  if (known !== undefined) return { kind: "known", seq: known.seq };
  const { finished, cancelled, interrupted, waiting } = state;
  if (finished !== undefined) return refuse("finished", "final", `the session finished with ${finished.outcome} at event ${finished.seq}: nothing is under way`);
  if (cancelled) return refuse("stopped", "final", "the session is cancelled and ends: nothing is left to interrupt");
  if (waiting?.for === "input") return refuse("unexpected", "final", `the session waits for input since event ${waiting.seq}: nothing is under way, send the next message`);
  return interrupted === undefined ? undefined : { kind: "known", seq: interrupted };
}
