import fc from "fast-check";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { isApproved, isInterrupted, pendingApprovals, unseenInput } from "@paddock/api/log/state";
import type { CallState, SessionState } from "@paddock/api/log/state";
import { decidedEvent, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../../../../test/fakes/session.ts";

// What everybody may try on a session: mostly what could come next, often the wrong thing, sometimes off by one.

export interface Moment {
  readonly bundle: Bundle;
  readonly state: SessionState;
}

/** `due`: the gateway looks at what is due; `pass`: so many seconds go by; `replace`: the next runner starts. */
export type Step =
  | { readonly kind: "append"; readonly role: "runner" | "operator" | "person"; readonly event: NewEvent }
  | { readonly kind: "due" }
  | { readonly kind: "pass"; readonly seconds: number }
  | { readonly kind: "replace" };
export type Try = (moment: Moment) => Step;

const TOOLS = ["bash", "read", "post_note", "nothing"] as const;
const ARGUMENTS: Readonly<Record<string, Record<string, unknown>>> = { bash: { command: "true" }, read: { path: "a" } };

const by = (role: "runner" | "operator" | "person", made: (moment: Moment) => NewEvent): Try => (moment) => ({ kind: "append", role, event: made(moment) });

export function decide({ bundle }: Moment, { call, name }: Pick<CallState, "call" | "name">, decision: "Allow" | "Ask" | "Deny"): NewEvent {
  return decidedEvent(bundle, call, { decision, tool: name, arguments: ARGUMENTS[name] ?? {}, effect: name === "read" ? "Pure" : "Once" });
}

/** An answer that uses this part of what its request was granted. */
function respond({ state: { request, turns, attempt } }: Moment, names: readonly string[], part: number): NewEvent {
  const { data } = respondedEvent(request?.turn ?? turns + 1, Math.max(1, request?.attempt ?? attempt), names.map((name) => ({ name, arguments: "{}" })));
  const { inputTokens = 0, outputTokens = 0 } = request?.grant ?? {};
  return { type: "model.responded", data: { ...data, usage: part === 0 ? undefined : { inputTokens: Math.floor(inputTokens * part), cachedInputTokens: 0, outputTokens: Math.floor(outputTokens * part) } } } as NewEvent;
}

/** What a good runner does next about a call. */
function forCall(moment: Moment, call: CallState): NewEvent {
  const { state } = moment;
  const wait = (what: "approval" | "tool"): NewEvent => event("run.waiting", { for: what, text: "", through: state.lastSeq });
  if (isInterrupted(state)) return toolFinishedEvent(call.call, { status: "cancelled" });
  if (call.name === "nothing") return toolFinishedEvent(call.call, { status: "error" });
  if (call.decision === undefined) return decide(moment, call, call.name === "bash" ? "Ask" : "Allow");
  if (call.attempts > 0) return call.name === "post_note" ? wait("tool") : toolFinishedEvent(call.call);
  if (isApproved(state, call)) return forSandbox(moment, call) ?? toolStartedEvent(call.call, 1);
  return pendingApprovals(state).some((approval) => approval.call === call.call) ? wait("approval") : toolFinishedEvent(call.call, { status: "denied" });
}

/** What has to be there before a call of the sandbox starts; undefined when it is, and for a client's call. */
function forSandbox({ state: { sandbox } }: Moment, { name }: CallState): NewEvent | undefined {
  if (name === "post_note") return undefined;
  const { bound, isolation } = sandbox;
  if (bound === undefined) return event("sandbox.requested", { reason: name });
  if (isolation?.podUid !== bound.podUid) return reported(bound.podUid, []);
  return isolation.open.length === 0 ? undefined : event("sandbox.requested", { reason: name, replaces: bound.podUid });
}

function reported(podUid: string, open: readonly string[]): NewEvent {
  return event("isolation.reported", { podUid, probed: ["sink (tcp 192.0.2.1:80)"], open: [...open] });
}

/** What a good operator does about a sandbox that is asked for. */
function bindSandbox({ state: { sandbox } }: Moment): Step {
  const podUid = `s${sandbox.requested}`;
  return sandbox.pending ? { kind: "append", role: "operator", event: event("sandbox.bound", { podUid, podName: podUid, address: "10.0.0.1" }) } : { kind: "due" };
}

/** What a good runner does next. */
function next(moment: Moment, names: readonly string[], part: number): NewEvent {
  const { state } = moment;
  if (state.request !== undefined) return respond(moment, names, part);
  const open = state.calls.filter(({ finished }) => finished === undefined);
  const call = open.find(({ decision, attempts }) => decision === undefined || attempts === 0) ?? open[0];
  if (call !== undefined) return forCall(moment, call);
  const isAnswered = state.turns > 0 && state.calls.length === 0 && unseenInput(state) === undefined;
  if (isAnswered || isInterrupted(state)) return event("run.waiting", { for: "input", text: "", through: state.lastSeq });
  return requestedEvent(state.turns + 1, state.attempt + 1, state.lastSeq);
}

function callAt({ state }: Moment, index: number): CallState {
  return state.calls[index % Math.max(1, state.calls.length)] ?? { call: `root/${state.turns + 1}/0`, name: "bash", attempts: 0 };
}

function resolve({ state }: Moment, decision: EventDataOf<"approval.resolved">["decision"], scope: "Once" | "Session"): NewEvent {
  const { call = "root/1/0", fingerprint = "f" } = pendingApprovals(state)[0] ?? state.approvals?.at(-1) ?? {};
  return event("approval.resolved", { call, fingerprint, decision, scope, by: "bob" });
}

/** What ends the session's waiting, done by whom it waits for. */
function wake(moment: Moment, answers: readonly ["Approved" | "Denied", "Once" | "Session", "ok" | "error"]): Step {
  const { state } = moment;
  const [decision, scope, status] = answers;
  switch (state.waiting?.for) {
    case "approval":
      return { kind: "append", role: "operator", event: resolve(moment, decision, scope) };
    case "tool":
      return { kind: "append", role: "person", event: toolFinishedEvent(clientsCall(moment), { status, seconds: 0 }) };
    case "resume":
      return { kind: "append", role: "operator", event: event("session.resumed", {}) };
    case "input":
      return { kind: "append", role: "person", event: event("input.received", { id: `after-${state.lastSeq}`, content: "more" }) };
    case undefined:
      return { kind: "due" };
  }
}

function clientsCall({ state }: Moment): string {
  return state.calls.find(({ name, attempts, finished }) => name === "post_note" && attempts > 0 && finished === undefined)?.call ?? "root/1/0";
}

const slip = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1) });
const names = fc.array(fc.constantFrom(...TOOLS), { maxLength: 3, size: "max" });
const part = fc.constantFrom(0, 0.1, 0.5, 1);
const index = fc.nat(2);
const id = fc.constantFrom("a", "b", "c");
const statuses = fc.constantFrom("ok", "error", "timeout", "cancelled", "denied", "indeterminate");

const good = fc.tuple(names, part).map(([tools, used]) => by("runner", (moment) => next(moment, tools, used)));
const woken = fc.tuple(fc.constantFrom("Approved", "Approved", "Denied"), fc.constantFrom("Once", "Session"), fc.constantFrom("ok", "error")).map((answers): Try => (moment) => wake(moment, answers));
const wild: readonly fc.Arbitrary<Try>[] = [
  fc.tuple(slip, slip, slip).map(([turn, attempt, through]) => by("runner", ({ state }) => requestedEvent(Math.max(1, state.turns + 1 + turn), Math.max(1, state.attempt + 1 + attempt), Math.max(1, state.lastSeq + through)))),
  fc.tuple(names, part).map(([tools, used]) => by("runner", (moment) => respond(moment, tools, used))),
  fc.tuple(index, fc.constantFrom("Allow", "Ask", "Deny")).map(([at, decision]) => by("runner", (moment) => decide(moment, callAt(moment, at), decision))),
  fc.tuple(index, slip).map(([at, attempt]) => by("runner", (moment) => toolStartedEvent(callAt(moment, at).call, Math.max(1, callAt(moment, at).attempts + 1 + attempt)))),
  fc.tuple(index, statuses).map(([at, status]) => by("runner", (moment) => toolFinishedEvent(callAt(moment, at).call, { status }))),
  fc.tuple(index, fc.constantFrom("ok", "error")).map(([at, status]) => by("person", (moment) => toolFinishedEvent(callAt(moment, at).call, { status, seconds: 0 }))),
  fc.constantFrom("overloaded", "network", "cancelled").map((failure) => by("runner", ({ state }) => event("model.failed", { turn: state.turns + 1, attempt: Math.max(1, state.attempt), class: failure, message: "" }))),
  fc.tuple(fc.constantFrom("Approved", "Approved", "Denied", "Expired"), fc.constantFrom("Once", "Session")).map(([decision, scope]) => by("operator", (moment) => resolve(moment, decision, scope))),
  fc.tuple(fc.constantFrom("input", "approval", "tool", "resume"), slip).map(([what, through]) => by("runner", ({ state }) => event("run.waiting", { for: what, text: "", through: state.lastSeq + through }))),
  id.map((name) => by("person", () => event("input.received", { id: name, content: "more" }))),
  id.map((name) => by("person", () => event("turn.interrupted", { id: name }))),
  fc.constantFrom("session.suspended", "session.resumed", "session.resumed").map((type) => by("operator", () => event(type, {}))),
  fc.constant(by("runner", () => event("sandbox.requested", { reason: "bash" }))),
  fc.constantFrom("s1", "s2").map((podUid) => by("operator", () => event("sandbox.bound", { podUid, podName: podUid, address: "10.0.0.1" }))),
  fc.constantFrom("s1", "s2").map((podUid) => by("operator", () => event("sandbox.lost", { podUid, reason: "" }))),
  fc.tuple(fc.constantFrom("s1", "s2", "bound"), fc.constantFrom([], ["sink"])).map(([pod, open]) => by("runner", ({ state }) => reported(pod === "bound" ? (state.sandbox.bound?.podUid ?? "s1") : pod, open))),
  fc.constant(by("runner", ({ state }) => startedEvent("p1", state.epoch + 1))),
];
const rare: readonly fc.Arbitrary<Try>[] = [
  fc.tuple(fc.constantFrom("Completed", "ModelError", "Cancelled", "BudgetExceeded", "DeadlineExceeded", "LogCorrupt"), slip).map(([outcome, through]) => by("runner", ({ state }) => runFinishedEvent({ outcome, through: state.lastSeq + through }))),
  fc.constant(by("operator", () => event("session.cancelled", { reason: "spec.cancel" }))),
];

/** One step of anybody. */
export const tries: fc.Arbitrary<Try> = fc.oneof(
  { weight: 40, arbitrary: good },
  { weight: 16, arbitrary: woken },
  { weight: 8, arbitrary: fc.constant<Try>(bindSandbox) },
  ...wild.map((arbitrary) => ({ weight: 1, arbitrary })),
  // What waits for people must not start, however often its runner tries.
  { weight: 12, arbitrary: index.map((at) => by("runner", (moment) => toolStartedEvent(callAt(moment, at).call, callAt(moment, at).attempts + 1))) },
  { weight: 3, arbitrary: fc.constant<Try>(() => ({ kind: "due" })) },
  { weight: 3, arbitrary: fc.constantFrom(1, 30, 100, 4000).map((seconds): Try => () => ({ kind: "pass", seconds })) },
  { weight: 2, arbitrary: fc.constant<Try>(() => ({ kind: "replace" })) },
  { weight: 1, arbitrary: fc.oneof(...rare) },
);
