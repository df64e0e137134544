import assert from "node:assert/strict";
import { test } from "node:test";
import type { WaitingFor } from "@paddock/api/log/state";
import type { SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import { decideSession } from "./decide.ts";
import type { SessionWorld } from "./observe.ts";
import { agent, asked, at, attempted, environment, failed, pod, record, running, session, world } from "./sample.ts";
import { isReleased, standingOf } from "./slots.ts";

// Sessions that wait for somebody, or that somebody holds: what they say, which pods they have, and that they cost nothing.

/** What is done, and the conditions but for Finished. */
function summary({ actions, claims }: Plan<SessionStatus>): readonly string[] {
  const done = actions.map((action) => {
    if (action.verb === "append") return `append ${action.events.map(({ type }) => type).join(", ")}`;
    if (action.verb === "create") return `create ${action.object.metadata.name}`;
    return action.verb === "delete" ? `delete ${action.key.name}` : action.verb;
  });
  return [...done, ...(claims ?? []).filter(({ type }) => type !== "Finished" && type !== "Isolated").map(({ type, status, reason }) => (type === "Succeeded" ? `${status} ${reason}` : `${type} ${status} ${reason}`))];
}

/** The runner is there, connected and known to the gateway. */
const connected: RecordView["runner"] = { podUid: "uid-of-notes-r1", epoch: 1, connected: true, since: at(1).toISOString() };
const pods = [pod("notes-r1", "runner", { status: running }), pod("notes-s1", "sandbox", { status: running })];
const waits = (kind: WaitingFor, change: Partial<RecordView> = {}): RecordView => {
  const { deadline: _, ...rest } = record({ activity: { kind: "Waiting", for: kind, since: at(10).toISOString() }, runner: connected, ...change });
  return rest;
};
const begun = (change: Partial<Parameters<typeof session>[0]> = {}) => session({ status: attempted(1), ...change });
const released = (change: Partial<Parameters<typeof session>[0]> = {}) => session({ status: { ...attempted(1), runner: { attempts: 1 } }, ...change });
const suspend = { spec: { suspend: true } };

const KINDS: readonly (readonly [WaitingFor, string, readonly string[]])[] = [
  ["input", "AwaitingInput", ["AwaitingInput True AwaitingInput"]],
  ["tool", "AwaitingToolResult", ["AwaitingInput True AwaitingToolResult"]],
  ["approval", "AwaitingApproval", ["AwaitingApproval True AwaitingApproval"]],
  ["resume", "Suspended", ["Suspended True Suspended"]],
];

for (const [kind, reason, conditions] of KINDS) {
  const view = waits(kind, { approvals: kind === "approval" ? [{ ...asked() }] : [], suspended: kind === "resume" });
  const spec = kind === "resume" ? suspend : {};
  const ask = kind === "approval" ? ["create notes-a1-0"] : [];

  test(`a Task that waits for ${kind} keeps its pods for the idle time, then gives them up and costs nothing`, () => {
    const early = decideSession(world({ self: begun(spec), record: view, pods }), at(309));
    assert.deepEqual([summary(early), early.requeueAfterMs], [[...ask, `Unknown ${reason}`, ...conditions], 1_000]);
    assert.equal(isReleased(early.status), false);
    const late = decideSession(world({ self: begun(spec), record: view, pods }), at(310));
    assert.deepEqual([summary(late), late.requeueAfterMs, isReleased(late.status)], [[...ask, `Unknown ${reason}`, ...conditions], undefined, true]);
    const after = decideSession(world({ self: released(spec), record: view, pods }), at(311));
    assert.deepEqual(summary(after).filter((word) => word.startsWith("delete")), ["delete notes-r1", "delete notes-s1"]);
    const idle = decideSession(world({ self: released(spec), record: view }), at(9_000_000));
    assert.deepEqual([summary(idle), idle.requeueAfterMs], [[...ask, `Unknown ${reason}`, ...conditions], undefined], "no deadline runs while it waits");
  });

  test(`a session that waits for ${kind} without pods holds no slot, and wants one again when it goes on`, () => {
    assert.equal(standingOf(begun(spec), view), "Holds");
    assert.equal(standingOf(released(spec), view), "Aside");
    assert.equal(standingOf(released(), record()), "Wants");
  });
}

test("a session that goes on after a wait gets a runner that is no failure, and no deadline before that runner works", () => {
  const { deadline: _, ...view } = record({ lastSeq: 9 });
  const { status, requeueAfterMs } = decideSession(world({ self: released(), record: view }), at(9_000_000));
  assert.deepEqual([status?.runner?.podName, status?.runner?.failuresInARow, requeueAfterMs], ["notes-r2", undefined, undefined]);
});

test("the answer is shown while a session waits for the next message, and for nothing else", () => {
  const answer = { text: "Now what?", truncated: false };
  const shown = (kind: WaitingFor) => decideSession(world({ self: begun(), record: waits(kind, { answer }), pods }), at(20)).status?.answer?.text;
  assert.deepEqual([shown("input"), shown("approval"), shown("tool")], ["Now what?", undefined, undefined]);
});

const TABLE: readonly (readonly [string, SessionWorld, readonly string[]])[] = [
  ["suspend is said to the log first", world({ self: begun(suspend), record: record({ runner: connected }), pods }), ["append session.suspended"]],
  ["resume too", world({ self: begun(), record: record({ runner: connected, suspended: true }), pods }), ["append session.resumed"]],
  ["a suspended session whose runner still works says so, and is let", world({ self: begun(suspend), record: record({ runner: connected, suspended: true }), pods }), ["Unknown Suspended", "Suspended True Suspended"]],
  ["a suspended session whose runner dies gets no other: it gives up its pods", world({ self: begun(suspend), record: record({ suspended: true }), pods: [pod("notes-r1", "runner", { status: failed(1) })] }), ["Unknown Suspended", "Suspended True Suspended"]],
  ["… in the next pass", world({ self: released(suspend), record: record({ suspended: true }), pods }), ["delete notes-r1", "delete notes-s1", "Unknown Suspended", "Suspended True Suspended"]],
  ["a suspended session that was bound and never begun gets no pod", world({ self: session(suspend), record: record({ suspended: true }) }), ["Unknown Suspended", "Suspended True Suspended"]],
  ["a suspended session that waits for a message says both", world({ self: begun(suspend), record: waits("input", { suspended: true }), pods }), ["Unknown Suspended", "AwaitingInput True AwaitingInput", "Suspended True Suspended"]],
  ["a Session made suspended is not bound", world({ self: session(suspend) }), ["Unknown Suspended", "Suspended True Suspended"]],
  ["… nor looks for what it names", world({ self: session(suspend), agent: undefined, environment: undefined }), ["Unknown Suspended", "Suspended True Suspended"]],
  ["cancel goes before suspend", world({ self: session({ spec: { suspend: true, cancel: true } }) }), ["False Cancelled"]],
  ["cancel ends a session that waits for an approval", world({ self: released({ spec: { cancel: true } }), record: waits("approval", { approvals: [asked()] }) }), ["append session.cancelled, run.finished"]],
];

for (const [name, observed, expected] of TABLE) {
  test(`session: ${name}`, () => {
    assert.deepEqual(summary(decideSession(observed, at(20))), expected);
  });
}

test("a suspended session that is in line, or was made so, leaves its place to others", () => {
  assert.equal(standingOf(session(suspend), undefined), "Aside");
  assert.equal(standingOf(released(suspend), record()), "Aside");
  assert.equal(standingOf(released(), record({ suspended: true })), "Aside");
  const plan = decideSession(world({ self: session(suspend), record: record({ suspended: true }) }), at(20));
  assert.equal(isReleased(plan.status), true);
});

const priced = (change: Partial<typeof environment.spec>) => ({ ...environment, spec: { ...environment.spec, ...change } });
const withPrice = environment.spec.models.map((model) => ({ ...model, pricing: { inputPerMillion: "1", outputPerMillion: "2" } }));

test("money without a price: the session waits, says which limit and which model, and is bound once there is one", () => {
  const limited: readonly (readonly [SessionWorld, RegExp])[] = [
    [world({ self: session({ spec: { limits: { costUSD: "1" } } }) }), /spec\.limits\.costUSD of the Session.*spec\.models\[default\]\.pricing/],
    [world({ environment: priced({ limits: { costUSD: "1" } }) }), /spec\.limits\.costUSD of Environment standard/],
    [world({ environment: priced({ budget: { costUSDPerDay: "1" } }) }), /spec\.budget\.costUSDPerDay of Environment standard/],
  ];
  for (const [observed, message] of limited) {
    const { actions, claims } = decideSession(observed, at(0));
    assert.deepEqual([actions, claims?.[0]?.reason], [[], "PriceUnknown"]);
    assert.match(claims?.[0]?.message ?? "", message);
  }
  assert.deepEqual(summary(decideSession(world({ environment: priced({ models: withPrice, limits: { costUSD: "1" } }) }), at(0))), ["bind"]);
  assert.deepEqual(summary(decideSession(world({ self: session({ spec: { limits: { totalTokens: 9 } } }) }), at(0))), ["bind"], "tokens need no price");
});

test("no session is bound before the gateway knows the Environment's budget as it is now", () => {
  const limited = priced({ models: withPrice, budget: { costUSDPerDay: "5.00" } });
  const told = (costUSDPerDay?: string): SessionWorld["budget"] => ({ environmentUid: "environment-uid", ...(costUSDPerDay === undefined ? {} : { costUSDPerDay }) });
  for (const budget of [undefined, told(), told("50.00")]) {
    const early = decideSession(world({ environment: limited, budget }), at(1));
    assert.deepEqual([summary(early), early.requeueAfterMs], [[], 4_000], "for a moment nothing is written");
    assert.deepEqual(summary(decideSession(world({ environment: limited, budget }), at(5))), ["Unknown EnvironmentNotReady"]);
  }
  assert.deepEqual(summary(decideSession(world({ environment: limited, budget: told("5") }), at(1))), ["bind"]);
  assert.deepEqual(summary(decideSession(world({ agent, budget: told("5") }), at(1))), [], "a budget that was taken away is told as well");
});

test("what lost answers may have cost is told, also before the first one that came", () => {
  const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, totalTokens: 0, costUSD: "0", uncertainCostUSD: "0.02" };
  const { status } = decideSession(world({ self: begun(), record: record({ runner: connected, usage }), pods }), at(20));
  assert.deepEqual(status?.usage, usage);
});

test("a log that was restored from an old backup is lost: nothing of it is run again, whatever it waits for", () => {
  const seen = (): ReturnType<typeof session> => session({ status: { ...attempted(1), lastEventSeq: 70 } });
  const active = record({ lastSeq: 60, runner: connected, sandbox: { requested: 2, pending: true } });
  for (const view of [active, waits("approval", { lastSeq: 60, approvals: [asked()] }), waits("input", { lastSeq: 60 }), record({ lastSeq: 60, suspended: true })]) {
    const plan = decideSession(world({ self: seen(), record: view, pods }), at(20));
    assert.deepEqual(summary(plan), ["delete notes-r1", "delete notes-s1", "False LogLost"]);
    const over = session({ status: { ...seen().status, conditions: [{ type: "Finished", status: "True", reason: "LogLost", message: "", lastTransitionTime: at(20).toISOString() }] } });
    assert.deepEqual(summary(decideSession(world({ self: over, record: view }), at(21))), ["append run.finished"], "the restored record is closed");
  }
});
