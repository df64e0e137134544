import type { LogEvent } from "@paddock/api/log/events";
import { isApproved } from "@paddock/api/log/state";
import type { CallState, SessionState } from "@paddock/api/log/state";
import { customToolOf } from "@paddock/api/policy/rules";
import type { IsolationReport } from "@paddock/api/wire/sandbox";
import { deniedCall, EXPIRED_CALL, freshSandbox, noSandbox, refusedCall, triedTooOften, unknownOutcome } from "./context/notices.ts";
import type { Verdict } from "./context/notices.ts";
import { callIn, decisionOf } from "./context/turn.ts";
import type { Turn } from "./context/turn.ts";
import type { Here, Step } from "./next.ts";
import type { View } from "./transcript.ts";

/** Calls of one turn that run at the same time. */
export const PARALLEL_CALLS = 8;

/** Starts of a call that may be repeated: what loses the sandbox three times will lose it again. */
const MAX_ATTEMPTS = 3;

/** Sandboxes lost in a row, without a result between them, before calls are given up. */
const MAX_SANDBOXES = 3;

/** The bound sandbox as seen from here, with the step that brings it nearer. */
type Sandbox =
  | { readonly phase: "ready" }
  /** Not there, or not reached; `step` is absent while somebody else acts. */
  | { readonly phase: "absent" | "unreached"; readonly step?: Step }
  | { readonly phase: "hopeless"; readonly reason: string };

/** What one decided call needs: a step of ours now, a sandbox to run in, a person's decision, or the result of the client that answers it. */
type Need = Extract<Step, { kind: "startCall" | "finishCall" }> | "sandbox" | "approval" | "tool";

/** Steps for the open calls of the newest answer: decide all of them, then run what may run, then wait. Pure. */
export function callSteps(view: View, here: Here, turn: Turn): readonly Step[] {
  const open = view.state.calls.filter((call) => call.finished === undefined);
  const undecided = open.filter((call) => call.decision === undefined);
  if (undecided.length > 0) return [{ kind: "decideCalls", calls: undecided.map(({ call }) => callIn(turn, call)).filter((call) => call !== undefined) }];

  const idle = open.filter(({ call }) => !here.underWay.has(call));
  const sandbox = sandboxOf(view, here, idle.filter((call) => isForSandbox(view, call)));
  const needs = idle.map((call) => needOf(call, { view, turn, sandbox }));
  const running = open.length - idle.length;
  const starts = needs.filter((need) => typeof need === "object" && need.kind === "startCall").slice(0, PARALLEL_CALLS - running);
  const finishes = needs.filter((need) => typeof need === "object" && need.kind === "finishCall");
  const waitsForSandbox = needs.includes("sandbox") && "step" in sandbox && sandbox.step !== undefined;
  const steps = [...finishes, ...starts, ...(waitsForSandbox ? [sandbox.step] : [])];
  if (steps.length > 0 || needs.includes("sandbox") || here.underWay.size > 0) return steps;
  return waitSteps(needs, turn);
}

/** Only people can bring it further. Approvals come first: a result also ends that waiting, a decision does not end the waiting for a result. */
function waitSteps(needs: readonly (Need | undefined)[], { answer }: Turn): readonly Step[] {
  const text = answer?.data.message.text ?? "";
  if (needs.includes("approval")) return [{ kind: "wait", for: "approval", text }];
  return needs.includes("tool") ? [{ kind: "wait", for: "tool", text }] : [];
}

/** The request that an Environment of eager sandboxes makes beside the model's first answer: one per runner, and none for an agent without tools. Pure. */
export function eagerSteps({ bundle, state, events }: View): readonly Step[] {
  const { agent, environment } = bundle;
  if (environment.spec.sandbox?.provisioning !== "Eager" || (agent.spec.tools ?? []).length === 0) return [];
  if (state.sandbox.bound !== undefined || state.sandbox.pending) return [];
  const start = events.findLastIndex(({ type }) => type === "runner.started");
  // One that was lost since is only asked for again when a call needs it.
  if (events.slice(start + 1).some(({ type }) => type === "sandbox.requested")) return [];
  return [{ kind: "requestSandbox", reason: `Environment ${environment.name} provisions sandboxes eagerly` }];
}

interface Needing {
  readonly view: View;
  readonly turn: Turn;
  readonly sandbox: Sandbox;
}

/** What the resume table says for one call; undefined for one whose decision the view does not hold. */
function needOf(state: CallState, needing: Needing): Need | undefined {
  const { view, turn } = needing;
  const { call, name, attempts } = state;
  const decided = decisionOf(turn, call)?.data;
  if (decided === undefined) return undefined;
  const isCustom = customToolOf(view.bundle, name) !== undefined;
  if (isCustom && attempts > 0) return "tool";
  const denial = denialOf(view.state, state, decided.rule);
  if (denial !== undefined) return { kind: "finishCall", call, verdict: attempts > 0 ? unknownOutcome(name, "it was denied") : denial };
  if (!isApproved(view.state, state)) return "approval";
  if (isCustom) return startStep(state, decided.arguments);
  return sandboxNeed(state, decided.arguments, needing);
}

/** No is no: a denial of this call counts even when the same call was approved for the session elsewhere. */
function denialOf({ approvals = [] }: SessionState, { call, decision }: CallState, rule: string): Verdict | undefined {
  if (decision?.decision === "Deny") return deniedCall(rule);
  const resolution = approvals.find((approval) => approval.call === call && approval.resolution !== undefined)?.resolution;
  if (resolution?.decision === "Denied") return refusedCall(resolution.reason);
  return resolution?.decision === "Expired" ? EXPIRED_CALL : undefined;
}

function isForSandbox({ state, bundle }: View, call: CallState): boolean {
  return isApproved(state, call) && customToolOf(bundle, call.name) === undefined;
}

function sandboxNeed(state: CallState, args: Readonly<Record<string, unknown>>, { view, sandbox }: Needing): Need {
  const { call, name, attempts, decision } = state;
  if (attempts > 0 && decision?.effect === "Once") {
    // Until the sandbox is bound again the command of before may still be running.
    return sandbox.phase === "unreached" ? "sandbox" : { kind: "finishCall", call, verdict: unknownOutcome(name, whatHappened(view.events, call)) };
  }
  const verdict = givenUp(attempts, sandbox);
  if (verdict !== undefined) return { kind: "finishCall", call, verdict };
  return sandbox.phase === "ready" ? startStep(state, args, isFreshSandbox(view.events) ? freshSandbox(isWorkspaceKept(view)) : undefined) : "sandbox";
}

function startStep({ call, name, attempts }: CallState, args: Readonly<Record<string, unknown>>, note?: string): Need {
  return { kind: "startCall", call, tool: name, arguments: args, attempt: attempts + 1, ...(note === undefined ? {} : { note }) };
}

function givenUp(attempts: number, sandbox: Sandbox): Verdict | undefined {
  if (sandbox.phase === "hopeless") return noSandbox(sandbox.reason);
  return attempts >= MAX_ATTEMPTS ? triedTooOften(attempts) : undefined;
}

function sandboxOf({ state, events }: View, here: Here, wanting: readonly CallState[]): Sandbox {
  const { bound, pending } = state.sandbox;
  if (bound === undefined) return pending ? { phase: "absent" } : absentSandbox(events, wanting[0]?.name ?? "a tool");
  if (here.sandbox?.podUid !== bound.podUid) return { phase: "unreached", step: { kind: "connectSandbox", podUid: bound.podUid, address: bound.address } };
  const { phase, reason, isolation } = here.sandbox;
  if (phase === "ready") return readySandbox(state, bound.podUid, isolation);
  if (lossesOf(events).length >= MAX_SANDBOXES) return { phase: "hopeless", reason };
  return { phase: "absent", step: { kind: "requestSandbox", reason, replaces: bound.podUid } };
}

/** No call before the log knows what its sandbox reaches; what is open, or not known, ends the run where it counts (next-end.ts). */
function readySandbox({ sandbox }: SessionState, podUid: string, report: IsolationReport | undefined): Sandbox {
  if (report === undefined || sandbox.isolation?.podUid === podUid) return { phase: "ready" };
  return { phase: "absent", step: { kind: "reportIsolation", podUid, report } };
}

function absentSandbox(events: readonly LogEvent[], tool: string): Sandbox {
  const losses = lossesOf(events);
  const last = losses.at(-1);
  if (last === undefined) return { phase: "absent", step: { kind: "requestSandbox", reason: `${tool} needs a sandbox` } };
  if (losses.length >= MAX_SANDBOXES) return { phase: "hopeless", reason: last };
  return { phase: "absent", step: { kind: "requestSandbox", reason: `${tool} needs a sandbox again: ${last}` } };
}

/** Why sandboxes were given up since a call last had a result of its own or a message came, oldest first: waiting costs a sandbox, too. */
function lossesOf(events: readonly LogEvent[]): readonly string[] {
  const result = events.findLastIndex((event) => event.type === "input.received" || isResult(event, ["ok", "timeout"]));
  return events.slice(result + 1).flatMap((event) => {
    if (event.type === "sandbox.lost") return [event.data.reason];
    return event.type === "sandbox.requested" && event.data.replaces !== undefined ? [event.data.reason] : [];
  });
}

function isWorkspaceKept({ bundle }: View): boolean {
  return bundle.environment.spec.sandbox?.workspace?.persistence === "Session";
}

/** Whether the bound sandbox is another one than the model last had a result from. */
function isFreshSandbox(events: readonly LogEvent[]): boolean {
  const bound = events.findLast((event) => event.type === "sandbox.bound");
  const lastResult = events.findLast((event) => isResult(event, ["ok", "timeout", "indeterminate"]));
  if (bound?.type !== "sandbox.bound" || lastResult === undefined || lastResult.seq > bound.seq) return false;
  return events.some((event) => event.type === "sandbox.bound" && event.data.podUid !== bound.data.podUid && event.seq < lastResult.seq);
}

/** Whether it is a result with one of these ends from a sandbox, not from a client of the log. */
function isResult(event: LogEvent, ends: readonly string[]): boolean {
  return event.type === "tool.finished" && event.role === "runner" && ends.includes(event.data.status);
}

/** What broke a call off: the newest thing after its start that can have. */
function whatHappened(events: readonly LogEvent[], call: string): string {
  const start = events.findLastIndex((event) => event.type === "tool.started" && event.data.call === call);
  const broke = events.slice(start + 1).find(({ type }) => type === "sandbox.lost" || type === "runner.started" || type === "sandbox.requested");
  if (broke?.type === "sandbox.lost") return `the sandbox was lost (${broke.data.reason})`;
  if (broke?.type === "sandbox.requested") return "the sandbox could not be reached any more and was replaced";
  return broke?.type === "runner.started" ? "the runner that waited for it ended" : "the connection to the sandbox broke";
}
