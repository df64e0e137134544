import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { decidedEvent, event, requestedEvent, respondedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../../test/fakes/session.ts";
import { next } from "./next.ts";
import type { Here } from "./next.ts";
import { stopsOf } from "./next-end.ts";
import { BUNDLE, by, viewOf } from "./testdata/view.ts";

const START = Date.parse(BUNDLE.startTime);
const READY: Here["sandbox"] = { podUid: "s1", phase: "ready", reason: "", isolation: { probed: ["canary"], open: [] } };
const CUSTOM: Bundle = {
  ...BUNDLE,
  agent: { ...BUNDLE.agent, spec: { ...BUNDLE.agent.spec, customTools: [{ name: "post_note", description: "Posts a note.", inputSchema: { type: "object" } }] } },
};

const call = (index: number): string => `root/1/${index}`;
const asked = [startedEvent("p1", 1), requestedEvent(1, 1, 3)];
const boundSandbox = [event("sandbox.requested", { reason: "bash needs a sandbox" }), event("sandbox.bound", { podUid: "s1", podName: "s1", address: "10.0.0.9" }), event("isolation.reported", { podUid: "s1", probed: ["canary"], open: [] })];
const suspended = by("operator", event("session.suspended", {}));
const resumed = by("operator", event("session.resumed", {}));
const interrupted = by("person", event("turn.interrupted", { id: "i1" }));
const message = by("person", event("input.received", { id: "m1", content: "And now?" }));
const waits = (what: EventDataOf<"run.waiting">["for"]): NewEvent => event("run.waiting", { for: what, text: "Done.", through: 1 });

/** An answer with these calls, of which those of `decisions` are decided. */
function answered(names: readonly string[], decisions: readonly EventDataOf<"tool.decided">["decision"][], bundle = BUNDLE): NewEvent[] {
  const decided = decisions.map((decision, index) => decidedEvent(bundle, call(index), { tool: names[index] ?? "bash", decision, rule: "because", arguments: { command: String(index) } }));
  const requests = decided.flatMap((one) => (one.type === "tool.decided" && one.data.decision === "Ask" ? [requestFor(one.data)] : []));
  return [...asked, respondedEvent(1, 1, names.map((name) => ({ name, arguments: "{}" }))), ...decided, ...requests];
}

function requestFor({ call: asking, tool, fingerprint }: EventDataOf<"tool.decided">): NewEvent {
  return by("gateway", event("approval.requested", { call: asking, tool, fingerprint, summary: tool, argumentsDigest: "sha256:a", expiresAt: "2026-01-02T00:00:00.000Z" }));
}

function resolved(log: readonly NewEvent[], index: number, change: Partial<EventDataOf<"approval.resolved">> = {}): NewEvent {
  const decision = log.find((one) => one.type === "tool.decided" && one.data.call === call(index));
  const fingerprint = decision?.type === "tool.decided" ? decision.data.fingerprint : "";
  return by("operator", event("approval.resolved", { call: call(index), fingerprint, decision: "Approved", scope: "Once", by: "ann", ...change }));
}

function plus(log: readonly NewEvent[], ...more: readonly ((log: readonly NewEvent[]) => NewEvent)[]): NewEvent[] {
  return [...log, ...more.map((make) => make(log))];
}

interface Row {
  readonly name: string;
  readonly log: readonly NewEvent[];
  readonly here?: Partial<Here>;
  readonly bundle?: Bundle;
  /** A part of each step that is to come, in order. */
  readonly steps: readonly object[];
}

function rows(title: string, all: readonly Row[]): void {
  describe(title, () => {
    for (const { name, log, here, bundle = BUNDLE, steps } of all) {
      test(name, () => {
        const taken = next(viewOf(log, bundle), { epoch: 1, nowMs: START + 1000, stopping: false, underWay: new Set(), ...here });
        assert.equal(taken.length, steps.length, JSON.stringify(taken));
        for (const [index, step] of steps.entries()) assert.partialDeepStrictEqual(taken[index], step);
      });
    }
  });
}

const one = answered(["bash"], ["Ask"]);
const two = answered(["bash", "bash"], ["Ask", "Ask"]);
const waitsForApproval = { kind: "wait", for: "approval", text: "Done." };

rows("a call that is asked for", [
  { name: "undecided: waits, and asks for no pod", log: one, steps: [waitsForApproval] },
  { name: "undecided, as the next runner finds it: waits", log: [...one, startedEvent("p2", 2)], here: { epoch: 2 }, steps: [waitsForApproval] },
  { name: "decided, and its request for approval not yet seen: waits", log: one.slice(0, -1), steps: [waitsForApproval] },
  { name: "waiting: nothing is left to do", log: [...one, waits("approval")], here: { nowMs: START + 86_400_000 }, steps: [] },
  { name: "approved, not started: asks for its sandbox", log: plus([...one, waits("approval")], (log) => resolved(log, 0)), steps: [{ kind: "requestSandbox", reason: "bash needs a sandbox" }] },
  { name: "approved, not started, bound: starts", log: [...plus(one, (log) => resolved(log, 0)), ...boundSandbox], here: { sandbox: READY }, steps: [{ kind: "startCall", call: call(0), attempt: 1 }] },
  {
    name: "approved once and started: never again",
    log: [...plus(one, (log) => resolved(log, 0)), ...boundSandbox, toolStartedEvent(call(0), 1)],
    here: { sandbox: READY },
    steps: [{ kind: "finishCall", verdict: { status: "indeterminate" } }],
  },
  { name: "denied: has its result", log: plus(one, (log) => resolved(log, 0, { decision: "Denied", reason: "Not on a Friday" })), steps: [{ kind: "finishCall", call: call(0), verdict: { status: "denied" } }] },
  { name: "expired: has its result", log: plus(one, (log) => resolved(log, 0, { decision: "Expired" })), steps: [{ kind: "finishCall", call: call(0), verdict: { status: "denied" } }] },
  { name: "several, one approved: that one goes on", log: plus(two, (log) => resolved(log, 1)), steps: [{ kind: "requestSandbox" }] },
  {
    name: "several, one approved and bound: it starts, the other is waited for later",
    log: [...plus(two, (log) => resolved(log, 1)), ...boundSandbox],
    here: { sandbox: READY },
    steps: [{ kind: "startCall", call: call(1) }],
  },
  { name: "several, one under way: nothing is waited for yet", log: [...plus(two, (log) => resolved(log, 1)), ...boundSandbox, toolStartedEvent(call(1), 1)], here: { sandbox: READY, underWay: new Set([call(1)]) }, steps: [] },
  {
    name: "several, one done: the other is waited for",
    log: [...plus(two, (log) => resolved(log, 1)), ...boundSandbox, toolStartedEvent(call(1), 1), toolFinishedEvent(call(1))],
    here: { sandbox: READY },
    steps: [waitsForApproval],
  },
  { name: "several, one denied: it has its result, and the other is waited for later", log: plus(two, (log) => resolved(log, 0, { decision: "Denied" })), steps: [{ kind: "finishCall", call: call(0) }] },
  { name: "beside an allowed one: that one goes first", log: answered(["bash", "bash"], ["Ask", "Allow"]), steps: [{ kind: "requestSandbox" }] },
  { name: "a message does not decide it", log: [...one, waits("approval"), message], steps: [] },
  { name: "cancelled while it waits: has its result", log: [...one, waits("approval"), by("operator", event("session.cancelled", { reason: "" }))], steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
]);

test("a call like one that was approved for the session starts without another decision, and not when it was denied itself", () => {
  const same = { tool: "bash", decision: "Ask", arguments: { command: "same" } } as const;
  const decisions = [decidedEvent(BUNDLE, call(0), same), decidedEvent(BUNDLE, call(1), same)];
  const log = [...asked, respondedEvent(1, 1, [0, 1].map(() => ({ name: "bash", arguments: "{}" }))), ...decisions, ...decisions.map((each) => requestFor(each.data as EventDataOf<"tool.decided">))];
  const here: Here = { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), sandbox: READY };
  const forSession = [...log, resolved(log, 0, { scope: "Session" }), ...boundSandbox];
  assert.deepEqual(next(viewOf(forSession), here).map((step) => step.kind === "startCall" && step.call), [call(0), call(1)]);
  const [first, second] = next(viewOf([...forSession, resolved(log, 1, { decision: "Denied" })]), here);
  assert.partialDeepStrictEqual([first, second], [{ kind: "finishCall", call: call(1) }, { kind: "startCall", call: call(0) }]);
});

test("a call that had started by an approval elsewhere, and was denied after that, may have run: it is not told as denied", () => {
  const decisions = [0, 1].map((index) => decidedEvent(CUSTOM, call(index), { tool: index === 0 ? "bash" : "post_note", decision: "Ask", arguments: { command: "same" } }));
  const log = [...asked, respondedEvent(1, 1, ["bash", "post_note"].map((name) => ({ name, arguments: "{}" }))), ...decisions, ...decisions.map((each) => requestFor(each.data as EventDataOf<"tool.decided">))];
  const started = [...log, ...boundSandbox, toolStartedEvent(call(0), 1), toolStartedEvent(call(1), 1), ...[0, 1].map((index) => resolved(log, index, { decision: "Denied" }))];
  const here: Here = { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), sandbox: READY };
  assert.partialDeepStrictEqual(next(viewOf(started, CUSTOM), here), [{ kind: "finishCall", call: call(0), verdict: { status: "indeterminate" } }]);
  assert.partialDeepStrictEqual(next(viewOf([...started, toolFinishedEvent(call(0), { status: "indeterminate" })], CUSTOM), here), [{ kind: "wait", for: "tool" }]);
});

test("the model is told why a person said no, and not who", () => {
  const verdictOf = (change: Partial<EventDataOf<"approval.resolved">>): string => {
    const [step] = next(viewOf(plus(one, (log) => resolved(log, 0, change))), { epoch: 1, nowMs: START, stopping: false, underWay: new Set() });
    return step?.kind === "finishCall" ? step.verdict.content : "";
  };
  assert.match(verdictOf({ decision: "Denied", reason: "Not on a Friday." }), /^Denied by a person: Not on a Friday\. The call was not run/);
  assert.match(verdictOf({ decision: "Denied" }), /who gave no reason/);
  assert.match(verdictOf({ decision: "Expired" }), /nobody decided in time/);
  assert.doesNotMatch(verdictOf({ decision: "Denied", reason: "No" }), /ann/);
});

test("forty calls that were approved while no runner was there all start", () => {
  const names = Array.from({ length: 40 }, () => "bash");
  const asking = answered(names, names.map(() => "Ask" as const));
  const all = [...asking, ...names.map((_, index) => resolved(asking, index)), ...boundSandbox];
  const started = new Set<string>();
  let log: readonly NewEvent[] = all;
  for (let round = 0; round < 10; round += 1) {
    for (const step of next(viewOf(log), { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), sandbox: READY })) {
      assert.ok(step.kind === "startCall", step.kind);
      started.add(step.call);
      log = [...log, toolStartedEvent(step.call, 1), toolFinishedEvent(step.call)];
    }
    if (started.size === 40) return;
  }
  assert.equal(started.size, 40);
});

const custom = answered(["post_note"], ["Allow"], CUSTOM);
const customStarted = [...custom, toolStartedEvent(call(0), 1)];
const mixed = answered(["post_note", "bash"], ["Allow", "Ask"], CUSTOM);
const waitsForTool = { kind: "wait", for: "tool", text: "Done." };

rows("a custom tool", [
  { name: "allowed: starts, without a sandbox", bundle: CUSTOM, log: custom, steps: [{ kind: "startCall", call: call(0), tool: "post_note", attempt: 1 }] },
  { name: "asked for: waits for the decision first", bundle: CUSTOM, log: answered(["post_note"], ["Ask"], CUSTOM), steps: [waitsForApproval] },
  { name: "started: its result is waited for", bundle: CUSTOM, log: customStarted, steps: [waitsForTool] },
  { name: "started, and the runner replaced: still waited for, never started again and never indeterminate", bundle: CUSTOM, log: [...customStarted, startedEvent("p2", 2)], here: { epoch: 2 }, steps: [waitsForTool] },
  { name: "started, past its own deadline: the log ends it", bundle: CUSTOM, log: [...customStarted, waits("tool")], here: { nowMs: START + 86_400_000 }, steps: [] },
  { name: "answered: the model is asked", bundle: CUSTOM, log: [...customStarted, waits("tool"), by("person", toolFinishedEvent(call(0)))], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "timed out by the gateway: the model is asked", bundle: CUSTOM, log: [...customStarted, waits("tool"), by("gateway", toolFinishedEvent(call(0), { status: "timeout" }))], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "beside an approval: the approval is waited for, whatever comes first wakes", bundle: CUSTOM, log: [...mixed, toolStartedEvent(call(0), 1)], steps: [waitsForApproval] },
  {
    name: "one of two answered: the other is waited for",
    bundle: CUSTOM,
    log: [...answered(["post_note", "post_note"], ["Allow", "Allow"], CUSTOM), toolStartedEvent(call(0), 1), toolStartedEvent(call(1), 1), waits("tool"), by("person", toolFinishedEvent(call(1)))],
    steps: [waitsForTool],
  },
  {
    name: "beside a call in the sandbox that nobody waits for: only that is indeterminate",
    bundle: CUSTOM,
    log: [...answered(["post_note", "bash"], ["Allow", "Allow"], CUSTOM), ...boundSandbox, toolStartedEvent(call(0), 1), toolStartedEvent(call(1), 1)],
    here: { sandbox: READY },
    steps: [{ kind: "finishCall", call: call(1), verdict: { status: "indeterminate" } }],
  },
]);

const waitsForResume = { kind: "wait", for: "resume" };
const allowed = [...answered(["bash"], ["Allow"]), ...boundSandbox];

rows("a suspended session", [
  { name: "before the model is asked: waits", log: [startedEvent("p1", 1), suspended], steps: [waitsForResume] },
  { name: "with a request under way: lets it be answered", log: [...asked, suspended], here: { underWay: new Set(["askModel"]) }, steps: [] },
  { name: "with calls to decide: waits", log: [...answered(["bash"], []), suspended], steps: [waitsForResume] },
  { name: "with calls to start: waits", log: [...allowed, suspended], here: { sandbox: READY }, steps: [waitsForResume] },
  { name: "with a call under way: lets it end", log: [...allowed, toolStartedEvent(call(0), 1), suspended], here: { sandbox: READY, underWay: new Set([call(0)]) }, steps: [] },
  { name: "with a result: waits", log: [...allowed, toolStartedEvent(call(0), 1), suspended, toolFinishedEvent(call(0))], here: { sandbox: READY }, steps: [waitsForResume] },
  { name: "with the last answer: waits, and completes when it is resumed", log: [...asked, suspended, respondedEvent(1, 1)], steps: [waitsForResume] },
  { name: "that waits: nothing is left to do", log: [...allowed, suspended, waits("resume")], steps: [] },
  { name: "resumed: goes on", log: [...allowed, suspended, waits("resume"), resumed], here: { sandbox: READY }, steps: [{ kind: "startCall" }] },
  { name: "resumed by the time it would wait: goes on", log: [...allowed, suspended, resumed], here: { sandbox: READY }, steps: [{ kind: "startCall" }] },
  { name: "approved meanwhile: waits for being resumed", log: plus([...one, waits("approval"), suspended], (log) => resolved(log, 0)), steps: [] },
  { name: "approved and resumed: goes on", log: [...plus([...one, waits("approval"), suspended], (log) => resolved(log, 0)), resumed], steps: [{ kind: "requestSandbox" }] },
  { name: "cancelled: ends", log: [startedEvent("p1", 1), suspended, waits("resume"), by("operator", event("session.cancelled", { reason: "" }))], steps: [{ kind: "finish", outcome: "Cancelled" }] },
  {
    name: "found by a new runner with a call without result: waits, and settles it when it is resumed",
    log: [...allowed, toolStartedEvent(call(0), 1), suspended, startedEvent("p2", 2)],
    here: { epoch: 2, sandbox: READY },
    steps: [waitsForResume],
  },
  { name: "found by a new runner with a request without answer: waits", log: [...asked, suspended, startedEvent("p2", 2)], here: { epoch: 2 }, steps: [waitsForResume] },
]);

const failed = event("model.failed", { turn: 1, attempt: 1, class: "cancelled", message: "the request was cancelled" });
const waitsForInput = { kind: "wait", for: "input" };

rows("an interrupted turn", [
  { name: "with a request under way: waits for its end", log: [...asked, interrupted], here: { underWay: new Set(["askModel"]) }, steps: [] },
  { name: "with the request aborted: waits for the next message, a Task too", log: [...asked, interrupted, failed], steps: [waitsForInput] },
  { name: "with a call under way: waits for its end", log: [...allowed, toolStartedEvent(call(0), 1), interrupted], here: { underWay: new Set([call(0)]) }, steps: [] },
  { name: "with a call stopped: records that, and that it may have run in part", log: [...allowed, toolStartedEvent(call(0), 1), interrupted], steps: [{ kind: "finishCall", verdict: { content: "Cancelled: a person interrupted the turn. It was stopped while it ran and may have done part of its work: check before you repeat it." } }] },
  { name: "with calls undecided and pending: cancels all", log: [...answered(["bash", "bash"], ["Ask"]), interrupted], steps: [0, 1].map((index) => ({ kind: "finishCall", call: call(index), verdict: { status: "cancelled" } })) },
  { name: "with a decision on its way: waits for it first", log: [...answered(["bash", "bash"], ["Ask"]), interrupted], here: { underWay: new Set(["decideCalls"]) }, steps: [] },
  { name: "while it waits for an approval: cancels that call", log: [...one, waits("approval"), interrupted], steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "with a custom tool started: cancels that call", bundle: CUSTOM, log: [...customStarted, waits("tool"), interrupted], steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "with all calls cancelled: waits for the next message", log: [...one, interrupted, toolFinishedEvent(call(0), { status: "cancelled" })], steps: [waitsForInput] },
  { name: "with the answer already there: its calls are not run", log: [...asked, interrupted, respondedEvent(1, 1, [{ name: "bash", arguments: "{}" }])], steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "and a message with it: cancels all the same, and then answers", log: [...one, interrupted, message], steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "and a message after it: is answered", log: [...asked, interrupted, failed, waits("input"), message], steps: [{ kind: "askModel", turn: 1, attempt: 2, delaySeconds: 0 }] },
  { name: "and a message, all calls cancelled: is answered", log: [...one, interrupted, message, toolFinishedEvent(call(0), { status: "cancelled" })], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "found by a new runner: its calls are cancelled", log: [...allowed, toolStartedEvent(call(0), 1), interrupted, startedEvent("p2", 2)], here: { epoch: 2 }, steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "of a suspended session: waits for the next message", log: [startedEvent("p1", 1), suspended, interrupted], steps: [waitsForInput] },
]);

test("what has to stop: all at an end, the turn at an interrupt, only the wait before a request at a suspension", () => {
  const stops = (log: readonly NewEvent[], nowMs = START): unknown => stopsOf(viewOf(log), nowMs);
  const running = [...allowed, toolStartedEvent(call(0), 1)];
  const cancelled = by("operator", event("session.cancelled", { reason: "" }));
  assert.deepEqual(stops(asked), { model: false, calls: false });
  assert.deepEqual(stops(running), { model: false, calls: false });
  assert.deepEqual(stops([...running, cancelled]), { model: true, calls: true });
  assert.deepEqual(stops(running, START + 3_600_000), { model: true, calls: true });
  assert.deepEqual(stops([...asked, interrupted]), { model: true, calls: false });
  assert.deepEqual(stops([...asked, interrupted, message]), { model: true, calls: false }, "a message right behind it does not take it back");
  assert.deepEqual(stops([...asked, interrupted, failed, message]), { model: false, calls: false });
  assert.deepEqual(stops([...running, interrupted]), { model: true, calls: true });
  assert.deepEqual(stops([...running, interrupted, message]), { model: false, calls: true });
  assert.deepEqual(stops([...asked, suspended]), { model: false, calls: false }, "what was asked is answered");
  assert.deepEqual(stops([startedEvent("p1", 1), suspended]), { model: true, calls: false });
  assert.deepEqual(stops([...running, suspended]), { model: true, calls: false });
});

const budget = { problem: "budget", detail: "the log's own words", seq: 3 } as const;
const exceeded = by("gateway", event("budget.exceeded", { limit: "costUSD", used: "0.98", reserved: "0", allowed: "1" }));

rows("a request that the budget does not pay", [
  { name: "ends the run with the amounts and what to raise", log: [startedEvent("p1", 1), exceeded], here: { refusal: budget }, steps: [{ kind: "finish", outcome: "BudgetExceeded" }] },
  { name: "is not asked again while the log is about to say why", log: [startedEvent("p1", 1)], here: { refusal: budget }, steps: [] },
  { name: "is asked again when a message has come since", log: [startedEvent("p1", 1), exceeded, message], here: { refusal: budget }, steps: [{ kind: "askModel" }] },
  { name: "whose price is not known ends it in the log's words", log: [startedEvent("p1", 1)], here: { refusal: { ...budget, problem: "denied" } }, steps: [{ kind: "finish", outcome: "ModelError", reason: budget.detail }] },
  { name: "is asked again by the next runner", log: [startedEvent("p1", 1), exceeded, startedEvent("p2", 2)], here: { epoch: 2 }, steps: [{ kind: "askModel" }] },
]);

test("a model without a price under a money limit ends the run with what to set", () => {
  const [entry] = BUNDLE.environment.spec.models;
  assert.ok(entry);
  const { pricing: _, ...unpriced } = entry;
  const bundle: Bundle = { ...BUNDLE, environment: { ...BUNDLE.environment, spec: { ...BUNDLE.environment.spec, models: [unpriced] } } };
  const [step] = next(viewOf([startedEvent("p1", 1), exceeded], bundle), { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), refusal: budget });
  assert.ok(step?.kind === "finish" && step.outcome === "BudgetExceeded");
  assert.match(step.reason, /limits\.costUSD of the session \(1 USD\) holds: add pricing to spec\.models\[m\] of Environment environment/);
});

test("the reason of BudgetExceeded names the limit, what is used, what is allowed and what to raise", () => {
  const reasonOf = (data: EventDataOf<"budget.exceeded">): string => {
    const [step] = next(viewOf([startedEvent("p1", 1), event("budget.exceeded", data)]), { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), refusal: budget });
    return step?.kind === "finish" ? step.reason : "";
  };
  assert.equal(
    reasonOf({ limit: "costUSD", used: "0.98", reserved: "0", allowed: "1" }),
    "The next model request does not fit into limits.costUSD of the session: 0.98 USD of 1 USD are used. Raise limits.costUSD of the Session, and of Environment environment, which is the ceiling, or give it less to do.",
  );
  assert.match(reasonOf({ limit: "totalTokens", used: "990", reserved: "10", allowed: "1000" }), /990 tokens of 1000 tokens are used and 10 tokens reserved .* Raise limits\.totalTokens/);
  assert.match(reasonOf({ limit: "costUSDPerDay", used: "5", reserved: "0", allowed: "5" }), /budget\.costUSDPerDay of Environment environment: 5 USD of 5 USD are used\. .* on the next day/);
});
