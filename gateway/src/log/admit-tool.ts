import { digestOf } from "@paddock/api/log/canonical";
import type { EventDataOf } from "@paddock/api/log/events";
import { callOf } from "@paddock/api/log/fold";
import type { CallState } from "@paddock/api/log/state";
import type { Effect } from "@paddock/api/policy/effects";
import { decideTool, fingerprintOf } from "@paddock/api/policy/rules";
import { toolOf } from "@paddock/api/policy/tools";
import { refuseStopped } from "./admit-model.ts";
import { refuse } from "./admission.ts";
import type { Admission, Question, Refusal } from "./admission.ts";
import { redactValue } from "@paddock/api/log/redaction";

const STRICTNESS: Readonly<Record<Effect, number>> = { Pure: 0, Idempotent: 1, Once: 2 };

/** The runner's decision stands when it is the one the frozen policy gives, or a stricter one. */
export function admitDecided(data: EventDataOf<"tool.decided">, { state, bundle }: Question): Admission | undefined {
  const call = callOf(state, data.call);
  if (call === undefined) return refuse("unexpected", "final", unknownCall(data.call));
  if (call.finished !== undefined) return refuse("unexpected", "final", `call ${data.call} has its tool.finished already`);
  if (call.decision !== undefined) return refuse("unexpected", "final", `call ${data.call} was decided already (${call.decision.decision}): go by that decision`);
  if (call.name !== data.tool) return refuse("denied", "final", `call ${data.call} is for the tool ${call.name}, not ${data.tool}`);
  const verdict = decideTool(bundle, data.tool);
  if (STRICTNESS[data.effect] < STRICTNESS[verdict.effect]) return refuse("denied", "final", `${data.tool} has the effect ${verdict.effect}, and ${data.effect} claims less`);
  if (data.fingerprint !== fingerprintOf(bundle, data.tool, data.arguments)) {
    return refuse("denied", "final", `the fingerprint of call ${data.call} is not the one of its agent, tool definition and arguments`);
  }
  if (data.decision === "Deny") return undefined;
  if (verdict.decision === "Deny") return refuse("denied", "final", `call ${data.call}: ${verdict.rule}`);
  return refuseArguments(data);
}

function refuseArguments({ call, tool, arguments: args }: EventDataOf<"tool.decided">): Refusal | undefined {
  const faults = toolOf(tool)?.faultsOf(args) ?? ["no such tool"];
  if (faults.length === 0) return undefined;
  return refuse("malformed", "final", `arguments of call ${call} to ${tool}: ${faults.join("; ")}; append tool.finished with status error instead`);
}

export function admitStarted(data: EventDataOf<"tool.started">, question: Question): Admission | undefined {
  const call = callOf(question.state, data.call);
  if (call === undefined) return refuse("unexpected", "final", unknownCall(data.call));
  if (call.finished !== undefined) return refuse("unexpected", "final", `call ${data.call} has its tool.finished already: a recorded call never runs again`);
  return refuseStopped(question) ?? refuseUndecided(call) ?? refuseAttempt(call, data.attempt);
}

function refuseUndecided({ call, decision }: CallState): Refusal | undefined {
  if (decision === undefined) return refuse("unexpected", "final", `call ${call} is not decided: append tool.decided first`);
  return decision.decision === "Allow" ? undefined : refuse("denied", "final", `call ${call} was denied: append tool.finished with status denied`);
}

function refuseAttempt({ call, attempts, decision }: CallState, attempt: number): Refusal | undefined {
  if (decision?.effect === "Once" && attempts > 0) {
    return refuse("unexpected", "final", `call ${call} may have run and must not run twice: append tool.finished with status indeterminate`);
  }
  return attempt === attempts + 1 ? undefined : refuse("unexpected", "final", `the next attempt of call ${call} is ${attempts + 1}, not ${attempt}`);
}

/** One result per call: the same one again is known, another one is refused. */
export function admitFinished(data: EventDataOf<"tool.finished">, { state }: Question): Admission | undefined {
  const call = callOf(state, data.call);
  if (call === undefined) return refuse("unexpected", "final", unknownCall(data.call));
  if (call.finished !== undefined) {
    // The stored result is what redaction left of it.
    if (call.finished.digest === digestOf(redactValue(data))) return { kind: "known", seq: call.finished.seq };
    return refuse("conflict", "final", `call ${data.call} has another result already, at event ${call.finished.seq}: that one stands`);
  }
  return refuseStatus(call, data.status);
}

function refuseStatus({ call, attempts, decision }: CallState, status: EventDataOf<"tool.finished">["status"]): Refusal | undefined {
  const needsStart = status === "ok" || status === "timeout" || status === "indeterminate";
  if (needsStart && attempts === 0) return refuse("unexpected", "final", `call ${call} never started and cannot be finished as ${status}: append tool.started first`);
  if (status === "denied" && decision?.decision === "Allow") return refuse("unexpected", "final", `call ${call} was allowed and cannot be finished as denied`);
  return undefined;
}

function unknownCall(call: string): string {
  return `the newest answer has no call ${call}: calls are named <run>/<turn>/<index>`;
}
