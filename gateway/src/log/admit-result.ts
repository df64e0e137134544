import { detachPayload } from "@paddock/api/log/blobs";
import type { EventDataOf } from "@paddock/api/log/events";
import { callOf, resultDigest } from "@paddock/api/log/fold";
import { redactValue } from "@paddock/api/log/redaction";
import { isApproved, pendingApprovals } from "@paddock/api/log/state";
import type { CallState, SessionState } from "@paddock/api/log/state";
import { customToolOf } from "@paddock/api/policy/rules";
import { refuse } from "./admission.ts";
import type { Admission, Question, Refusal } from "./admission.ts";
import { unknownCall } from "./admit-tool.ts";
import { customSeconds } from "./due.ts";

type Result = EventDataOf<"tool.finished">;

/** One result per call: the same one again is known, another one is refused. */
export function admitFinished(sent: Result, question: Question): Admission | undefined {
  const { state, who } = question;
  const data = who.role === "person" ? measured(sent) : sent;
  const call = callOf(state, data.call);
  const earlier = earlierResult(call, data, state);
  if (earlier !== undefined) return answerEarlier(data, earlier);
  if (call === undefined) return refuse("unexpected", "final", unknownCall(data.call));
  switch (who.role) {
    case "person":
      return admitPersons(data, call, question);
    case "gateway":
      return refuseGateways(data, call, question);
    default:
      return refuseStatus(call, data.status) ?? refuseClients(call, data, question) ?? refuseDenied(call, data, question);
  }
}

function measured(data: Result): Result {
  return { ...data, bytes: Buffer.byteLength(data.content) };
}

/** Also of an older answer's call, when a client gave it. */
function earlierResult(call: CallState | undefined, data: Result, { clientResults = [] }: SessionState): CallState["finished"] {
  return call?.finished ?? clientResults.findLast((result) => result.call === data.call);
}

function answerEarlier(data: Result, { seq, digest }: { readonly seq: number; readonly digest: string }): Admission {
  // The stored result is what redaction left of it, without what is in a blob.
  const stored = detachPayload(redactValue({ type: "tool.finished" as const, data })).event.data as Result;
  if (resultDigest(stored) === digest) return { kind: "known", seq };
  return refuse("conflict", "final", `call ${data.call} has another result already, at event ${seq}: that one stands`);
}

/** The result of a custom tool, by a client. Its size and time are the gateway's to say. */
function admitPersons(data: Result, call: CallState, { state, bundle, now }: Question): Admission {
  const { finished } = state;
  if (finished !== undefined) return refuse("finished", "final", `the session finished with ${finished.outcome} at event ${finished.seq} and takes no result any more`);
  const tool = customToolOf(bundle, call.name);
  if (tool === undefined) return refuse("denied", "final", `call ${call.call} is of ${call.name}, which the session runs itself: people give results of custom tools only`);
  if (data.status !== "ok" && data.status !== "error") return refuse("malformed", "final", `a client's result is ok or error, not ${data.status}`);
  if (call.deadline === undefined) return refuse("unexpected", "wait", `call ${call.call} has not started: give its result after tool.started`);
  const deadline = Date.parse(call.deadline);
  if (now.getTime() >= deadline) {
    return refuse("stopped", "final", `the time of call ${call.call} was over at ${call.deadline} and it ends with timeout: customTools[].timeoutSeconds of the Agent (${customSeconds(tool)}) is how long a result may take`);
  }
  const seconds = Math.max(0, (now.getTime() - deadline) / 1000 + customSeconds(tool));
  return { kind: "accept", event: { type: "tool.finished", data: { ...data, seconds } } };
}

function refuseGateways({ status }: Result, { call, name, deadline }: CallState, { bundle, now }: Question): Refusal | undefined {
  const isLate = customToolOf(bundle, name) !== undefined && deadline !== undefined && now.getTime() >= Date.parse(deadline);
  return isLate && status === "timeout" ? undefined : refuse("denied", "final", `the gateway only ends calls of custom tools whose time is over, and not ${call} as ${status}`);
}

function refuseStatus({ call, attempts }: CallState, status: Result["status"]): Refusal | undefined {
  const needsStart = status === "ok" || status === "timeout" || status === "indeterminate";
  if (!needsStart || attempts > 0) return undefined;
  return refuse("unexpected", "final", `call ${call} never started and cannot be finished as ${status}: append tool.started first`);
}

/** A runner knows of a custom tool's call only what was before its start, and that it was cancelled. */
function refuseClients({ call, name, attempts }: CallState, { status }: Result, { bundle }: Question): Refusal | undefined {
  if (attempts === 0 || status === "cancelled" || customToolOf(bundle, name) === undefined) return undefined;
  return refuse("denied", "wait", `the result of call ${call} comes from a client of custom tool ${name}, or the gateway ends it with timeout: append run.waiting for tool`);
}

function refuseDenied(call: CallState, { status }: Result, { state }: Question): Refusal | undefined {
  if (status !== "denied") return undefined;
  if (call.attempts > 0) return refuse("unexpected", "final", `call ${call.call} was started and may have run: append its tool.finished, with status indeterminate when nobody knows`);
  if (isApproved(state, call)) return refuse("unexpected", "final", `call ${call.call} was allowed and cannot be finished as denied`);
  if (!pendingApprovals(state).some((approval) => approval.call === call.call)) return undefined;
  return refuse("unexpected", "wait", `nobody has decided about call ${call.call} yet: append run.waiting for approval`);
}
