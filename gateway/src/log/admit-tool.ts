import type { EventDataOf } from "@paddock/api/log/events";
import { callOf } from "@paddock/api/log/fold";
import { isApproved } from "@paddock/api/log/state";
import type { CallState } from "@paddock/api/log/state";
import type { Effect } from "@paddock/api/policy/effects";
import { customToolOf, decideTool, fingerprintOf } from "@paddock/api/policy/rules";
import type { Decision } from "@paddock/api/policy/rules";
import { buildApprovalRequest } from "./admit-approval.ts";
import { argumentFaults } from "./admit-arguments.ts";
import { refuseEnding, refuseInterrupted, refuseStopped } from "./admit-stop.ts";
import { refuseUnproven } from "./admit-isolation.ts";
import { refuse } from "./admission.ts";
import type { Admission, Question, Refusal } from "./admission.ts";
import { customSeconds } from "./due.ts";

type Decided = EventDataOf<"tool.decided">;

const EFFECTS: Readonly<Record<Effect, number>> = { Pure: 0, Idempotent: 1, Once: 2 };
const DECISIONS: Readonly<Record<Decision, number>> = { Allow: 0, Ask: 1, Deny: 2 };

/** The runner's decision stands when it is the one the frozen policy gives, or a stricter one. Behind Ask people are asked. */
export function admitDecided(data: Decided, question: Question): Admission | undefined {
  return refuseCall(data, question) ?? refuseWeaker(data, question) ?? refuseArguments(data, question) ?? ask(data, question);
}

function refuseCall({ call: name, tool }: Decided, { state }: Question): Refusal | undefined {
  const call = callOf(state, name);
  if (call === undefined) return refuse("unexpected", "final", unknownCall(name));
  if (call.finished !== undefined) return refuse("unexpected", "final", `call ${name} has its tool.finished already`);
  if (call.decision !== undefined) return refuse("unexpected", "final", `call ${name} was decided already (${call.decision.decision}): go by that decision`);
  return call.name === tool ? undefined : refuse("denied", "final", `call ${name} is for the tool ${call.name}, not ${tool}`);
}

function refuseWeaker({ call, tool, effect, decision, fingerprint, arguments: args }: Decided, { bundle }: Question): Refusal | undefined {
  const verdict = decideTool(bundle, tool);
  if (EFFECTS[effect] < EFFECTS[verdict.effect]) return refuse("denied", "final", `${tool} has the effect ${verdict.effect}, and ${effect} claims less`);
  if (fingerprint !== fingerprintOf(bundle, tool, args)) {
    return refuse("denied", "final", `the fingerprint of call ${call} is not the one of its agent, tool definition and arguments`);
  }
  if (DECISIONS[decision] >= DECISIONS[verdict.decision]) return undefined;
  return refuse("denied", "final", `call ${call}: ${verdict.rule}, and ${decision} claims more: append tool.decided with ${verdict.decision}`);
}

function refuseArguments({ call, tool, decision, arguments: args }: Decided, { bundle }: Question): Refusal | undefined {
  const faults = decision === "Deny" ? [] : argumentFaults(bundle, tool, args);
  if (faults.length === 0) return undefined;
  return refuse("malformed", "final", `arguments of call ${call} to ${tool}: ${faults.join("; ")}; append tool.finished with status error instead`);
}

function ask(data: Decided, question: Question): Admission | undefined {
  if (data.decision !== "Ask") return undefined;
  // Nobody is asked about what cannot start any more.
  const stop = refuseEnding(question) ?? refuseInterrupted(question);
  if (stop !== undefined) return stop;
  const followed = buildApprovalRequest(data, question);
  return { kind: "accept", event: { type: "tool.decided", data }, ...(followed === undefined ? {} : { followed }) };
}

export function admitStarted(data: EventDataOf<"tool.started">, question: Question): Admission | undefined {
  const call = callOf(question.state, data.call);
  if (call === undefined) return refuse("unexpected", "final", unknownCall(data.call));
  if (call.finished !== undefined) return refuse("unexpected", "final", `call ${data.call} has its tool.finished already: a recorded call never runs again`);
  return refuseStopped(question) ?? refuseUnapproved(call, question) ?? refuseUnproven(call, question) ?? refuseAttempt(call, data.attempt, question) ?? startCustom(data, call, question);
}

function refuseUnapproved(call: CallState, { state }: Question): Refusal | undefined {
  if (call.decision === undefined) return refuse("unexpected", "final", `call ${call.call} is not decided: append tool.decided first`);
  if (isApproved(state, call)) return undefined;
  const approval = call.decision.decision === "Ask" ? state.approvals?.findLast((asked) => asked.call === call.call) : undefined;
  if (approval !== undefined && approval.resolution === undefined) {
    return refuse("unexpected", "wait", `call ${call.call} waits for approval since event ${approval.seq}: start it after approval.resolved with Approved`);
  }
  const why = approval?.resolution?.decision === "Expired" ? "was not decided in time" : "was denied";
  return refuse("denied", "final", `call ${call.call} ${why}: append tool.finished with status denied`);
}

function refuseAttempt({ call, name, attempts, decision }: CallState, attempt: number, { bundle }: Question): Refusal | undefined {
  if (attempts > 0 && customToolOf(bundle, name) !== undefined) {
    return refuse("unexpected", "wait", `call ${call} was started already and a client of custom tool ${name} gives its result: append run.waiting for tool`);
  }
  if (decision?.effect === "Once" && attempts > 0) {
    return refuse("unexpected", "final", `call ${call} may have run and must not run twice: append tool.finished with status indeterminate`);
  }
  return attempt === attempts + 1 ? undefined : refuse("unexpected", "final", `the next attempt of call ${call} is ${attempts + 1}, not ${attempt}`);
}

/** The time of a custom tool's call is the gateway's, whose clock ends it. */
function startCustom(data: EventDataOf<"tool.started">, { name }: CallState, { bundle, now }: Question): Admission | undefined {
  const tool = customToolOf(bundle, name);
  if (tool === undefined) return undefined;
  const deadline = new Date(now.getTime() + customSeconds(tool) * 1000).toISOString();
  return { kind: "accept", event: { type: "tool.started", data: { ...data, deadline } } };
}

export function unknownCall(call: string): string {
  return `the newest answer has no call ${call}: calls are named <run>/<turn>/<index>`;
}
