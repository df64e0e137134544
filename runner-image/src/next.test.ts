import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { decidedEvent, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../../test/fakes/session.ts";
import type { IsolationReport } from "@paddock/api/wire/sandbox";
import { next } from "./next.ts";
import type { Here } from "./next.ts";
import type { HandsState } from "./sandbox/hands.ts";
import { BUNDLE, viewOf } from "./testdata/view.ts";

const START = Date.parse(BUNDLE.startTime);
const CALL = "root/1/0";
const BOUND = { podUid: "s1", podName: "s1", address: "10.0.0.9" };
const REPORT: IsolationReport = { probed: ["gateway (tcp 10.0.0.1:8443)"], open: [] };
const READY: HandsState = { podUid: "s1", phase: "ready", reason: "", isolation: REPORT };

const UNTOLD: HandsState = { podUid: "s1", phase: "ready", reason: "" };

const started = startedEvent("p1", 1);
const asked = [started, requestedEvent(1, 1, 3)];
const requestedSandbox = event("sandbox.requested", { reason: "bash needs a sandbox" });
const boundSandbox = event("sandbox.bound", BOUND);
const provenSandbox = [requestedSandbox, boundSandbox, event("isolation.reported", { podUid: "s1", probed: [...REPORT.probed], open: [] })];
const openSandbox = [requestedSandbox, boundSandbox, event("isolation.reported", { podUid: "s1", probed: ["gateway (tcp 10.0.0.1:8443)"], open: ["gateway (tcp 10.0.0.1:8443)"] })];
const lostSandbox = event("sandbox.lost", { podUid: "s1", reason: "OOMKilled" });

function answered(name: string, args = "{}"): NewEvent[] {
  return [...asked, respondedEvent(1, 1, [{ name, arguments: args }])];
}

function decided(tool: string, effect: EventDataOf<"tool.decided">["effect"], decision: "Allow" | "Deny" = "Allow"): NewEvent[] {
  return [...answered(tool), decidedEvent(BUNDLE, CALL, { tool, effect, decision, rule: "because" })];
}

function failed(change: Partial<EventDataOf<"model.failed">> = {}): NewEvent {
  return event("model.failed", { turn: 1, attempt: 1, class: "server", message: "503 of the endpoint", ...change });
}

function said(turn: number, text: string, finishReason = "stop"): NewEvent[] {
  return [requestedEvent(turn, 1, 3), event("model.responded", { turn, attempt: 1, message: { text, toolCalls: [] }, finishReason, seconds: 1 })];
}

interface Row {
  readonly name: string;
  readonly log: readonly NewEvent[];
  readonly here?: Partial<Here>;
  /** A part of each step that is to come, in order. */
  readonly steps: readonly object[];
}

const rows: readonly Row[] = [
  { name: "a new session starts its runner", log: [], steps: [{ kind: "startRunner", reason: "new", recovered: [] }] },
  { name: "a started session asks the model", log: [started], steps: [{ kind: "askModel", turn: 1, attempt: 1, failures: 0, delaySeconds: 0 }] },
  { name: "a request under way is waited for", log: asked, here: { underWay: new Set(["askModel"]) }, steps: [] },
  { name: "a request nobody waits for is given up", log: asked, steps: [{ kind: "abandonRequest", turn: 1, attempt: 1 }] },
  { name: "a request without answer is asked again by the next runner", log: [...asked, startedEvent("p2", 2)], here: { epoch: 2 }, steps: [{ kind: "askModel", turn: 1, attempt: 2 }] },
  { name: "a failed attempt is repeated after its delay", log: [...asked, failed({ delaySeconds: 2 })], steps: [{ kind: "askModel", attempt: 2, failures: 1, delaySeconds: 2 }] },
  { name: "a failure without a next attempt ends the run", log: [...asked, failed()], steps: [{ kind: "finish", outcome: "ModelError", reason: "503 of the endpoint" }] },
  { name: "an attempt that was cancelled counts for nothing", log: [...asked, failed({ class: "cancelled" })], steps: [{ kind: "askModel", attempt: 2, failures: 0 }] },
  { name: "an answer without calls completes the run", log: [started, ...said(1, "Done.")], steps: [{ kind: "finish", outcome: "Completed", text: "Done.", reason: "" }] },
  { name: "an empty answer is nudged once", log: [started, ...said(1, " ")], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "two empty answers end the run", log: [started, ...said(1, ""), ...said(2, "")], steps: [{ kind: "finish", outcome: "ModelError" }] },
  { name: "a cut answer is no result", log: [started, ...said(1, "The answ", "length")], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "two cut answers end the run", log: [started, ...said(1, "a", "length"), ...said(2, "b", "length")], steps: [{ kind: "finish", outcome: "ModelError", text: "b" }] },
  { name: "a filtered answer ends the run", log: [started, ...said(1, "", "content_filter")], steps: [{ kind: "finish", outcome: "ModelError" }] },
  { name: "a result is given to the model", log: [...answered("bash"), toolFinishedEvent(CALL, { status: "error" })], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "answered calls that are not decided are decided now", log: answered("read", '{"path":"a"}'), steps: [{ kind: "decideCalls", calls: [{ call: CALL, name: "read", argumentsText: '{"path":"a"}' }] }] },
  { name: "a denied call gets its result", log: decided("glob", "Pure", "Deny"), steps: [{ kind: "finishCall", call: CALL, verdict: { status: "denied" } }] },
  { name: "an allowed call asks for a sandbox", log: decided("bash", "Once"), steps: [{ kind: "requestSandbox" }] },
  { name: "a sandbox that was asked for is waited for", log: [...decided("bash", "Once"), requestedSandbox], steps: [] },
  { name: "a bound sandbox is connected", log: [...decided("bash", "Once"), ...provenSandbox], steps: [{ kind: "connectSandbox", podUid: "s1", address: "10.0.0.9" }] },
  { name: "an unreachable sandbox is replaced", log: [...decided("bash", "Once"), ...provenSandbox], here: { sandbox: { podUid: "s1", phase: "failed", reason: "refused" } }, steps: [{ kind: "requestSandbox", replaces: "s1" }] },
  { name: "a connected sandbox's report comes before its first call", log: [...decided("bash", "Once"), requestedSandbox, boundSandbox], here: { sandbox: READY }, steps: [{ kind: "reportIsolation", podUid: "s1", report: REPORT }] },
  { name: "a sandbox of an older release gives its calls a result first", log: [...decided("bash", "Once"), requestedSandbox, boundSandbox], here: { sandbox: UNTOLD }, steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "a sandbox of an older release ends the run", log: [...answered("bash"), toolFinishedEvent(CALL, { status: "cancelled" }), requestedSandbox, boundSandbox], here: { sandbox: UNTOLD }, steps: [{ kind: "finish", outcome: "NotIsolated" }] },
  { name: "an open sandbox gives its calls a result first", log: [...decided("bash", "Once"), ...openSandbox], here: { sandbox: READY }, steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "an open sandbox ends the run, whichever runner finds the report", log: [...answered("bash"), toolFinishedEvent(CALL, { status: "cancelled" }), ...openSandbox, startedEvent("p2", 2)], here: { epoch: 2 }, steps: [{ kind: "finish", outcome: "NotIsolated" }] },
  { name: "an allowed call starts in a connected sandbox", log: [...decided("bash", "Once"), ...provenSandbox], here: { sandbox: READY }, steps: [{ kind: "startCall", call: CALL, tool: "bash", attempt: 1, arguments: { command: "true" } }] },
  { name: "a call under way is waited for", log: [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1)], here: { sandbox: READY, underWay: new Set([CALL]) }, steps: [] },
  { name: "started and not finished, Pure: rebinds, then runs again", log: [...decided("read", "Pure"), ...provenSandbox, toolStartedEvent(CALL, 1)], steps: [{ kind: "connectSandbox" }] },
  { name: "started and not finished, Pure, bound: runs again", log: [...decided("read", "Pure"), ...provenSandbox, toolStartedEvent(CALL, 1)], here: { sandbox: READY }, steps: [{ kind: "startCall", attempt: 2 }] },
  { name: "started and not finished, Idempotent, bound: runs again", log: [...decided("write", "Idempotent"), ...provenSandbox, toolStartedEvent(CALL, 1)], here: { sandbox: READY }, steps: [{ kind: "startCall", attempt: 2 }] },
  { name: "started and not finished, Once: first rebinds", log: [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1)], steps: [{ kind: "connectSandbox" }] },
  { name: "started and not finished, Once, bound: indeterminate", log: [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1)], here: { sandbox: READY }, steps: [{ kind: "finishCall", verdict: { status: "indeterminate" } }] },
  { name: "sandbox lost, Once: indeterminate at once", log: [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1), lostSandbox], steps: [{ kind: "finishCall", verdict: { status: "indeterminate" } }] },
  { name: "sandbox lost, Pure: asks for a new one", log: [...decided("read", "Pure"), ...provenSandbox, toolStartedEvent(CALL, 1), lostSandbox], steps: [{ kind: "requestSandbox", reason: "read needs a sandbox again: OOMKilled" }] },
  { name: "three sandboxes lost in a row end the call", log: [...decided("read", "Pure"), ...provenSandbox, lostSandbox, lostSandbox, lostSandbox], steps: [{ kind: "finishCall", verdict: { status: "error" } }] },
  { name: "a call started three times is given up", log: [...decided("read", "Pure"), ...provenSandbox, ...[1, 2, 3].map((n) => toolStartedEvent(CALL, n))], here: { sandbox: READY }, steps: [{ kind: "finishCall", verdict: { status: "error" } }] },
  { name: "a cancelled session finishes its open calls", log: [...decided("bash", "Once"), event("session.cancelled", { reason: "asked" })], steps: [{ kind: "finishCall", verdict: { status: "cancelled" } }] },
  { name: "a cancelled session waits for what is being stopped", log: [...asked, event("session.cancelled", { reason: "asked" })], here: { underWay: new Set(["askModel"]) }, steps: [] },
  { name: "a cancelled session ends", log: [started, event("session.cancelled", { reason: "asked" })], steps: [{ kind: "finish", outcome: "Cancelled" }] },
  { name: "a session past its deadline ends", log: [started], here: { nowMs: START + 3_600_000 }, steps: [{ kind: "finish", outcome: "DeadlineExceeded" }] },
  { name: "a log that takes no more ends the run", log: [started], here: { refusal: { problem: "limit", detail: "the log is full", seq: 3 } }, steps: [{ kind: "finish", outcome: "RunnerFailed", reason: "the log is full" }] },
  { name: "a stopping process starts nothing", log: decided("bash", "Once"), here: { stopping: true }, steps: [] },
  { name: "a finished run is left", log: [started, runFinishedEvent()], steps: [{ kind: "exit", why: "finished" }] },
  { name: "a newer runner's session is left", log: [startedEvent("p2", 2)], steps: [{ kind: "exit", why: "fenced" }] },
];

for (const { name, log, here, steps } of rows) {
  test(name, () => {
    const taken = next(viewOf(log), { epoch: 1, nowMs: START + 1000, stopping: false, underWay: new Set(), ...here });
    assert.equal(taken.length, steps.length, JSON.stringify(taken));
    for (const [index, step] of steps.entries()) assert.partialDeepStrictEqual(taken[index], step);
  });
}

const CONVERSATION: Bundle = { ...BUNDLE, mode: "Conversation", limits: { maxTurns: 1, timeoutSeconds: 60 } };
const waits = (through: number): NewEvent => event("run.waiting", { for: "input", text: "Done.", through });
const input = (id: string): NewEvent => event("input.received", { id, content: id });
const spoken = [started, ...said(1, "Done.")];
const after = [...spoken, waits(5)];
/** Long after every deadline. */
const late = { nowMs: START + 86_400_000 };

const conversations: readonly (Row & { readonly bundle?: Bundle })[] = [
  { name: "an answer makes it wait", log: spoken, steps: [{ kind: "wait", for: "input", text: "Done." }] },
  { name: "a message while the model answered is answered first", log: [started, requestedEvent(1, 1, 3), input("late"), ...said(1, "Done.").slice(1)], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "a message after the answer is answered first", log: [...spoken, input("late")], steps: [{ kind: "askModel", turn: 2 }] },
  { name: "a message while a call runs waits for its result", log: [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1), input("late")], here: { sandbox: READY, underWay: new Set([CALL]) }, steps: [] },
  { name: "it waits, however long", log: after, here: late, steps: [] },
  { name: "a new runner of one that waits takes its epoch and no more", log: after, here: { ...late, epoch: 2 }, steps: [{ kind: "startRunner", reason: "resume", recovered: [] }] },
  { name: "a new runner of one that waits, started, waits", log: [...after, startedEvent("p2", 2)], here: { ...late, epoch: 2 }, steps: [] },
  { name: "the next message is answered, with turns of its own", log: [...after, input("next")], steps: [{ kind: "askModel", turn: 2, attempt: 1 }] },
  { name: "the next message is answered by the next runner", log: [...after, input("next"), startedEvent("p2", 2)], here: { epoch: 2 }, steps: [{ kind: "askModel", turn: 2 }] },
  { name: "the turns of a message end it", log: [...after, input("next"), ...decided("read", "Pure").slice(1).map((one) => ofTurn(2, one)), toolFinishedEvent("root/2/0")], steps: [{ kind: "finish", outcome: "MaxTurns" }] },
  { name: "the time of a message ends it", log: [...after, input("next")], here: late, steps: [{ kind: "finish", outcome: "DeadlineExceeded" }] },
  { name: "a cancellation ends it while it waits", log: [...after, event("session.cancelled", { reason: "asked" })], here: late, steps: [{ kind: "finish", outcome: "Cancelled", text: "Done." }] },
  { name: "a log that takes no more does not matter while it waits", log: after, here: { refusal: { problem: "limit", detail: "the log is full", seq: 3 } }, steps: [] },
  { name: "sandboxes that were given up while it waited do not count for the next message", log: [...losses(), input("next"), ...decided("read", "Pure").slice(1)], steps: [{ kind: "requestSandbox" }] },
  { name: "a Task answers a message, too, and then ends", bundle: BUNDLE, log: [...spoken, input("late"), requestedEvent(2, 1, 6), ...said(2, "Both.").slice(1)], steps: [{ kind: "finish", outcome: "Completed", text: "Both." }] },
  { name: "a Task answers a message before it ends", bundle: BUNDLE, log: [...spoken, input("late")], steps: [{ kind: "askModel", turn: 2 }] },
];

function losses(): NewEvent[] {
  return [...decided("read", "Pure"), ...provenSandbox, lostSandbox, lostSandbox, lostSandbox];
}

/** The event of turn 1 as one of another turn. */
function ofTurn(turn: number, one: NewEvent): NewEvent {
  return { type: one.type, data: { ...one.data, ...("turn" in one.data ? { turn } : {}), ...("through" in one.data ? { through: 7 } : {}), ...("call" in one.data ? { call: CALL.replace("1", String(turn)) } : {}) } } as NewEvent;
}

for (const { name, bundle = CONVERSATION, log, here, steps } of conversations) {
  test(`conversation: ${name}`, () => {
    const taken = next(viewOf(log, bundle), { epoch: 1, nowMs: START + 1000, stopping: false, underWay: new Set(), ...here });
    assert.equal(taken.length, steps.length, JSON.stringify(taken));
    for (const [index, step] of steps.entries()) assert.partialDeepStrictEqual(taken[index], step);
  });
}

test("an eager sandbox is asked for once per runner, beside the model, and not for an agent without tools", () => {
  const { agent, environment } = BUNDLE;
  const eager: Bundle = { ...BUNDLE, environment: { ...environment, spec: { ...environment.spec, sandbox: { provisioning: "Eager" } } } };
  const kinds = (log: readonly NewEvent[], bundle = eager, epoch = 1): string[] => next(viewOf(log, bundle), { epoch, nowMs: START, stopping: false, underWay: new Set() }).map(({ kind }) => kind);
  assert.deepEqual(kinds([started]), ["requestSandbox", "askModel"]);
  assert.deepEqual(kinds([started, requestedSandbox]), ["askModel"]);
  assert.deepEqual(kinds([started, ...provenSandbox]), ["askModel"]);
  assert.deepEqual(kinds([started, ...provenSandbox, lostSandbox]), ["askModel"], "it is asked for again when a call needs it");
  assert.deepEqual(kinds([started, requestedSandbox, lostSandbox, startedEvent("p2", 2)], eager, 2), ["requestSandbox", "askModel"]);
  assert.deepEqual(kinds([started, ...said(1, "Done.")]), ["finish"]);
  assert.deepEqual(kinds([started], BUNDLE), ["askModel"]);
  assert.deepEqual(kinds([started], { ...eager, agent: { ...agent, spec: { ...agent.spec, tools: [] } } }), ["askModel"]);
});

test("a runner that takes over tells what was in flight", () => {
  const log = [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1)];
  const steps = next(viewOf(log), { epoch: 2, nowMs: START, stopping: false, underWay: new Set() });
  assert.deepEqual(steps, [{ kind: "startRunner", reason: "resume", recovered: [CALL] }]);
});

test("turns that are used up end the run with a reason that says what to raise", () => {
  const bundle = { ...BUNDLE, limits: { maxTurns: 1, timeoutSeconds: 3600 } };
  const [step] = next(viewOf([...answered("read"), toolFinishedEvent(CALL)], bundle), { epoch: 1, nowMs: START, stopping: false, underWay: new Set() });
  assert.ok(step?.kind === "finish");
  assert.equal(step.outcome, "MaxTurns");
  assert.match(step.reason, /limits\.maxTurns/);
});

test("calls that were cut with their answer are never run", () => {
  const cut = event("model.responded", { turn: 1, attempt: 1, message: { text: "", toolCalls: [{ id: "", name: "bash", arguments: '{"comm' }] }, finishReason: "length", seconds: 1 });
  const steps = next(viewOf([...asked, cut]), { epoch: 1, nowMs: START, stopping: false, underWay: new Set() });
  assert.partialDeepStrictEqual(steps, [{ kind: "finishCall", call: CALL, verdict: { status: "error" } }]);
});

test("ten calls of one turn run eight at a time", () => {
  const calls = Array.from({ length: 10 }, () => ({ name: "read", arguments: '{"path":"a"}' }));
  const decisions = calls.map((_, index) => decidedEvent(BUNDLE, `root/1/${index}`, { tool: "read", effect: "Pure", arguments: { path: "a" } }));
  const log = [...asked, respondedEvent(1, 1, calls), ...decisions, ...provenSandbox];
  const here: Here = { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), sandbox: READY };
  const first = next(viewOf(log), here);
  assert.deepEqual(first.map((step) => step.kind === "startCall" && step.call), [0, 1, 2, 3, 4, 5, 6, 7].map((index) => `root/1/${index}`));
  const underWay = new Set(first.slice(1).map((step) => (step.kind === "startCall" ? step.call : "")));
  const then = next(viewOf([...log, toolStartedEvent("root/1/0", 1), toolFinishedEvent("root/1/0")]), { ...here, underWay });
  assert.deepEqual(then.map((step) => step.kind === "startCall" && step.call), ["root/1/8"]);
});

test("the first result from a new sandbox says that the old one is gone", () => {
  const first = [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1), toolFinishedEvent(CALL), lostSandbox];
  const second = [requestedEvent(2, 1, 12), respondedEvent(2, 1, [{ name: "bash", arguments: "{}" }]), decidedEvent(BUNDLE, "root/2/0"), requestedSandbox, event("sandbox.bound", { ...BOUND, podUid: "s2" }), event("isolation.reported", { podUid: "s2", probed: [], open: [] })];
  const [step] = next(viewOf([...first, ...second]), { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), sandbox: { podUid: "s2", phase: "ready", reason: "" } });
  assert.ok(step?.kind === "startCall");
  assert.match(step.note ?? "", /new one/);
});

test("an Environment that goes without proof runs calls in a sandbox that is open, and in one that does not tell", () => {
  const { environment } = BUNDLE;
  const bundle: Bundle = { ...BUNDLE, environment: { ...environment, spec: { ...environment.spec, network: { enforcement: "Unverified" } } } };
  const kinds = (log: readonly NewEvent[], sandbox: HandsState): string[] => next(viewOf(log, bundle), { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), sandbox }).map(({ kind }) => kind);
  assert.deepEqual(kinds([...decided("bash", "Once"), ...openSandbox], READY), ["startCall"]);
  assert.deepEqual(kinds([...decided("bash", "Once"), requestedSandbox, boundSandbox], READY), ["reportIsolation"]);
  assert.deepEqual(kinds([...decided("bash", "Once"), requestedSandbox, boundSandbox], UNTOLD), ["startCall"]);
});

test("a workspace that is kept is told as such with the first result from a new sandbox", () => {
  const { environment } = BUNDLE;
  const bundle: Bundle = { ...BUNDLE, environment: { ...environment, spec: { ...environment.spec, sandbox: { workspace: { persistence: "Session" } } } } };
  const first = [...decided("bash", "Once"), ...provenSandbox, toolStartedEvent(CALL, 1), toolFinishedEvent(CALL), lostSandbox];
  const second = [requestedEvent(2, 1, 12), respondedEvent(2, 1, [{ name: "bash", arguments: "{}" }]), decidedEvent(bundle, "root/2/0"), requestedSandbox, event("sandbox.bound", { ...BOUND, podUid: "s2" }), event("isolation.reported", { podUid: "s2", probed: [], open: [] })];
  const [step] = next(viewOf([...first, ...second], bundle), { epoch: 1, nowMs: START, stopping: false, underWay: new Set(), sandbox: { podUid: "s2", phase: "ready", reason: "" } });
  assert.ok(step?.kind === "startCall");
  assert.match(step.note ?? "", /files in the workspace are as they were left/);
});
