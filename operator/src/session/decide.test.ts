import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionOutcome } from "@paddock/api/conditions";
import type { Environment } from "@paddock/api/environment";
import type { SessionStatus } from "@paddock/api/session";
import type { Plan } from "../kernel/kind.ts";
import { decideSession } from "./decide.ts";
import type { SessionWorld } from "./observe.ts";
import { START, agent, at, attempted, environment, failed, pod, record, running, session, world } from "./sample.ts";

/** A plan in a few words: what it does, and Succeeded's status and reason. */
function summary({ actions, claims }: Plan<SessionStatus>): readonly string[] {
  const done = actions.map((action) => {
    switch (action.verb) {
      case "create":
      case "apply":
        return `${action.verb} ${action.object.metadata.name}`;
      case "delete":
        return `delete ${action.key.name}`;
      case "append":
        return `append ${action.events.map(({ type, data }) => (type === "run.finished" ? `${type} ${data.outcome}` : type)).join(", ")}`;
      case "register":
        return `register ${action.registration.podName}`;
      default:
        return action.verb;
    }
  });
  const succeeded = claims?.find(({ type }) => type === "Succeeded");
  return succeeded === undefined ? done : [...done, `${succeeded.status} ${succeeded.reason}`];
}

function messageOf({ claims }: Plan<SessionStatus>): string {
  return claims?.find(({ type }) => type === "Succeeded")?.message ?? "";
}

const finishedStatus: SessionStatus = { ...attempted(1), conditions: [{ type: "Finished", status: "True", reason: "Completed", message: "", lastTransitionTime: START }] };

function unready(status: Environment["status"], metadata: Partial<Environment["metadata"]> = {}): Environment {
  const { status: _, ...rest } = environment;
  return { ...rest, metadata: { ...environment.metadata, ...metadata }, ...(status === undefined ? {} : { status }) };
}

const cancelling: SessionStatus = { ...attempted(1), conditions: [...(attempted(1).conditions ?? []), { type: "Cancelling", status: "True", reason: "Cancelled", message: "", lastTransitionTime: START }] };

const files = [{ path: "notes.md", configMapKeyRef: { name: "notes", key: "notes.md" } }];

/** Name, world, time in seconds after START, expected summary. First the binding, then ends from outside, then ends of the log. */
const TABLE: readonly (readonly [string, SessionWorld, number, readonly string[]])[] = [
  ["nothing is decided before the records are known", world({ isRecordsSynced: false }), 1, []],
  ["… but after five seconds a new Session is told what it waits for", world({ isRecordsSynced: false }), 5, ["Unknown Pending"]],
  ["… and one that has a status is left as it is", world({ isRecordsSynced: false, self: session({ status: attempted(1) }) }), 9, []],
  ["no Agent", world({ agent: undefined }), 0, ["Unknown AgentNotFound"]],
  ["no Environment", world({ environment: undefined }), 0, ["Unknown EnvironmentNotFound"]],
  ["an Environment without status", world({ environment: unready(undefined) }), 0, ["Unknown EnvironmentNotReady"]],
  ["an Environment that was Ready before its last change", world({ environment: unready(environment.status, { generation: 2 }) }), 0, ["Unknown EnvironmentNotReady"]],
  ["an Environment that is being deleted", world({ environment: unready(environment.status, { deletionTimestamp: START }) }), 0, ["Unknown EnvironmentNotReady"]],
  ["a model that the Environment does not have", world({ agent: { ...agent, spec: { ...agent.spec, model: { name: "big" } } } }), 0, ["Unknown ModelNotFound"]],
  ["files for an Agent without tools", world({ self: session({ spec: { files } }), agent: { ...agent, spec: { ...agent.spec, tools: [] } } }), 0, ["Unknown NoSandbox"]],
  ["files for an Environment without sandboxes", world({ self: session({ spec: { files } }), environment: { ...environment, spec: { ...environment.spec, sandbox: { provisioning: "Never" } } } }), 0, ["Unknown NoSandbox"]],
  ["files for a sandbox", world({ self: session({ spec: { files } }) }), 0, ["bind"]],
  ["everything there: bind, and no status before the log has it", world(), 0, ["bind"]],
  ["cancelled before it was bound", world({ self: session({ spec: { cancel: true } }) }), 0, ["False Cancelled"]],
  ["cancelled although its Agent does not exist", world({ self: session({ spec: { cancel: true } }), agent: undefined }), 0, ["False Cancelled"]],

  ["bound, and the record is gone", world({ self: session({ status: attempted(1) }), pods: [pod("notes-r1", "runner", { status: running })] }), 9, ["delete notes-r1", "False LogLost"]],
  ["bound, and the record is older than status", world({ self: session({ status: { ...attempted(1), lastEventSeq: 7 } }), record: record({ lastSeq: 6 }) }), 9, ["False LogLost"]],
  ["being deleted before it was bound", world({ self: session({ metadata: { deletionTimestamp: START } }) }), 0, []],
  [
    "being deleted while it runs: nothing new, the log is closed, pods go",
    world({ self: session({ status: attempted(1), metadata: { deletionTimestamp: START } }), record: record(), pods: [pod("notes-r1", "runner")] }),
    1, ["delete notes-r1", "append session.cancelled, run.finished Cancelled"],
  ],
  [
    "cancel takes the sandbox at once, and its time is told",
    world({ self: session({ spec: { cancel: true }, status: attempted(1) }), record: record(), pods: [pod("notes-r1", "runner", { status: running }), pod("notes-s1", "sandbox", { status: running })] }),
    1, ["delete notes-s1", "Unknown Starting"],
  ],
  [
    "… then the log hears of it",
    world({ self: session({ spec: { cancel: true }, status: cancelling }), record: record(), pods: [pod("notes-r1", "runner", { status: running })] }),
    1, ["append session.cancelled"],
  ],
  [
    "… which may have heard of it before",
    world({ self: session({ spec: { cancel: true }, status: attempted(1) }), record: record({ cancelled: true }), pods: [pod("notes-r1", "runner", { status: running })] }),
    1, ["Unknown Starting"],
  ],
  [
    "cancel while the gateway is away takes the sandbox, too",
    world({ isRecordsSynced: false, self: session({ spec: { cancel: true }, status: attempted(1) }), pods: [pod("notes-r1", "runner", { status: running }), pod("notes-s1", "sandbox", { status: running })] }),
    1, ["delete notes-s1", "Unknown Starting"],
  ],
  [
    "… and after its moment the runner",
    world({ isRecordsSynced: false, self: session({ spec: { cancel: true }, status: cancelling }), pods: [pod("notes-r1", "runner", { status: running })] }),
    3, ["delete notes-r1"],
  ],
  ["… and then waits in silence until the gateway is back", world({ isRecordsSynced: false, self: session({ spec: { cancel: true }, status: cancelling }) }), 9, []],
  [
    "… then waited for",
    world({ self: session({ spec: { cancel: true }, status: cancelling }), record: record({ cancelled: true }), pods: [pod("notes-r1", "runner", { status: running })] }),
    2.9, [],
  ],
  [
    "… then finished by the operator",
    world({ self: session({ spec: { cancel: true }, status: cancelling }), record: record({ cancelled: true }), pods: [pod("notes-r1", "runner", { status: running })] }),
    3, ["delete notes-r1", "append run.finished Cancelled"],
  ],
  [
    "… also when the gateway has not heard of the cancel",
    world({ self: session({ spec: { cancel: true }, status: cancelling }), record: record(), pods: [pod("notes-r1", "runner", { status: running })] }),
    3, ["delete notes-r1", "append session.cancelled, run.finished Cancelled"],
  ],
  [
    "cancel with no runner that could finish ends at once",
    world({ self: session({ spec: { cancel: true }, status: attempted(1) }), record: record(), pods: [pod("notes-r1", "runner", { status: failed(1) })] }),
    1, ["delete notes-r1", "append session.cancelled, run.finished Cancelled"],
  ],
  ["the deadline", world({ self: session({ status: attempted(1) }), record: record(), pods: [pod("notes-r1", "runner", { status: running })] }), 600, ["append run.finished DeadlineExceeded"]],
  ["the deadline of a session whose Environment is gone", world({ self: session({ status: attempted(1) }), environment: undefined, record: record() }), 601, ["append run.finished DeadlineExceeded"]],
  [
    "somebody else's pod under the runner's name",
    world({ self: session({ status: attempted(1) }), record: record(), strangers: [pod("notes-r1", "runner", { metadata: { ownerReferences: [] } })] }),
    1, ["append run.finished NameConflict"],
  ],
  [
    "a pod of an earlier Session of the same name is waited for by creating",
    world({
      self: session({ status: attempted(1) }), record: record(),
      strangers: [pod("notes-r1", "runner", { metadata: { ownerReferences: [{ apiVersion: "paddock.dev/v1alpha1", kind: "Session", name: "notes", uid: "earlier" }] } })],
    }),
    1, ["create notes-r1"],
  ],

  [
    "finished: terminal status and pods in one pass",
    world({ self: session({ status: attempted(1) }), record: record({ activity: { kind: "Finished", outcome: "Completed", at: START } }), pods: [pod("notes-r1", "runner"), pod("notes-s1", "sandbox")] }),
    1, ["delete notes-r1", "delete notes-s1", "True Completed"],
  ],
  [
    "finished: what is being deleted already is left",
    world({ self: session({ status: finishedStatus }), pods: [pod("notes-r1", "runner", { metadata: { deletionTimestamp: START } }), pod("notes-s1", "sandbox")] }),
    1, ["delete notes-s1"],
  ],
  ["finished and told: the record is acknowledged", world({ self: session({ status: finishedStatus }), record: record({ activity: { kind: "Finished", outcome: "Completed", at: START } }) }), 1, ["acknowledge"]],
  ["finished in status only: the record is ended", world({ self: session({ status: finishedStatus }), record: record() }), 1, ["append run.finished Cancelled"]],
  ["finished, acknowledged and empty: silence", world({ self: session({ status: finishedStatus }) }), 1, []],
];

for (const [name, observed, seconds, expected] of TABLE) {
  test(`session: ${name}`, () => {
    assert.deepEqual(summary(decideSession(observed, at(seconds))), expected);
  });
}

const OUTCOMES: readonly SessionOutcome[] = ["Completed", "MaxTurns", "DeadlineExceeded", "Cancelled", "ModelError", "RunnerFailed", "NameConflict", "LogLost"];
for (const outcome of OUTCOMES) {
  test(`session: the outcome ${outcome} is Finished and ${outcome === "Completed" ? "Succeeded" : "not Succeeded"}`, () => {
    const observed = world({ self: session({ status: attempted(1) }), record: record({ activity: { kind: "Finished", outcome, at: START } }) });
    const claims = decideSession(observed, at(1)).claims?.map(({ type, status, reason }) => [type, status, reason]);
    assert.deepEqual(claims, [["Succeeded", outcome === "Completed" ? "True" : "False", outcome], ["Finished", "True", outcome], ["Isolated", "Unknown", "NotProbed"]]);
  });
}

test("a terminal status tells result, usage, steps, trace and times as the record has them", () => {
  const done = record({
    activity: { kind: "Finished", outcome: "Completed", at: "2026-11-21T12:00:03.000Z" },
    lastSeq: 9, turns: 2, toolCalls: 1,
    usage: { inputTokens: 10, cachedInputTokens: 0, outputTokens: 5, totalTokens: 15, costUSD: "0.01" },
    recentSteps: [{ seq: 4, kind: "model", name: "default", outcome: "stop", seconds: 1 }],
    sandbox: { requested: 1, pending: false },
    result: { outcome: "Completed", text: "Done.", truncated: false, message: "" },
  });
  const { status } = decideSession(world({ self: session({ status: attempted(1) }), record: done }), at(5));
  assert.deepEqual(status, {
    agentRevision: done.bundle.agentDigest,
    environmentRevision: done.bundle.environment.digest,
    startTime: START,
    completionTime: "2026-11-21T12:00:03.000Z",
    trace: { id: done.bundle.traceId, url: undefined },
    limits: done.bundle.limits,
    answer: undefined,
    runner: { podName: "notes-r1", attempts: 1, failuresInARow: undefined, disruptionsInARow: undefined },
    sandbox: { podName: "notes-s1" },
    turns: 2, toolCalls: 1, lastEventSeq: 9,
    usage: done.usage,
    recentSteps: done.recentSteps,
    result: { outcome: "Completed", text: "Done.", truncated: undefined, message: undefined },
  });
});

test("waiting messages name the object, the namespace and the command that helps", () => {
  const noModel = { ...agent, spec: { ...agent.spec, model: { name: "big" } } };
  assert.match(messageOf(decideSession(world({ agent: undefined }), at(0))), /Agent writer .* namespace demo: see kubectl get agents -n demo/);
  assert.match(messageOf(decideSession(world({ environment: undefined }), at(0))), /Environment standard .* namespace demo: see kubectl get environments -n demo/);
  assert.match(messageOf(decideSession(world({ agent: noModel }), at(0))), /model big.* default, local/);
  const stalled = unready({ conditions: [{ type: "Ready", status: "False", reason: "InvalidReference", message: "add a peer", observedGeneration: 1, lastTransitionTime: START }] });
  assert.match(messageOf(decideSession(world({ environment: stalled }), at(0))), /not Ready \(InvalidReference\): add a peer; see kubectl describe environment standard -n demo/);
});

test("the pass that binds freezes what it sees and asks for nothing else", () => {
  const { actions, claims, status } = decideSession(world(), at(0));
  assert.equal(claims, undefined);
  assert.equal(status, undefined);
  const [bind] = actions;
  assert.equal(bind?.verb === "bind" && bind.record.prompt, "Notes, please.");
  assert.equal(bind?.verb === "bind" && bind.record.bundle.startTime, START);
});

test("a session is looked at again at its deadline even when nothing wakes it", () => {
  const observed = world({ self: session({ status: attempted(1) }), environment: undefined, record: record() });
  assert.equal(decideSession(observed, at(100)).requeueAfterMs, 500_000);
});
