import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import type { PodView } from "../sources.ts";
import { decideSession } from "./decide.ts";
import type { SessionWorld } from "./observe.ts";
import { START, at, attempted, environment, failed, pod, record, running, session, world } from "./sample.ts";

const registered = { podUid: "uid-of-notes-r1", epoch: 1, connected: true, since: START };

interface Case {
  readonly status?: SessionStatus;
  readonly record?: Partial<RecordView>;
  readonly pods?: readonly PodView[];
  readonly environment?: SessionWorld["environment"];
  readonly seconds?: number;
}

function decide({ status, record: change = {}, pods = [], seconds = 1, ...rest }: Case): Plan<SessionStatus> {
  const self = status === undefined ? session() : session({ status });
  return decideSession(world({ self, record: record(change), pods, ...rest }), at(seconds));
}

const verbs = ({ actions }: Plan<SessionStatus>): readonly string[] => actions.map((action) => action.verb);
const succeeded = ({ claims }: Plan<SessionStatus>) => claims?.find(({ type }) => type === "Succeeded");

test("the first attempt is counted before its pod is made", () => {
  const counted = decide({});
  assert.deepEqual(counted.actions, []);
  assert.deepEqual(counted.status?.runner, { podName: "notes-r1", attempts: 1, failuresInARow: undefined, disruptionsInARow: undefined, replacesPodUID: undefined });
  assert.equal(succeeded(counted)?.reason, "Starting");
  const made = decide({ status: attempted(1) });
  assert.equal(made.actions[0]?.verb === "create" && made.actions[0].object.metadata.name, "notes-r1");
  assert.equal(made.claims, undefined);
  assert.equal(made.status, undefined);
});

test("a pod is registered as soon as it is seen, and once it is known no more", () => {
  const seen = decide({ status: attempted(1), pods: [pod("notes-r1", "runner")] });
  assert.deepEqual(seen.actions, [{ verb: "register", podUid: "uid-of-notes-r1", registration: { sessionUid: "session-uid", component: "runner", podName: "notes-r1" } }]);
  assert.deepEqual(verbs(decide({ status: attempted(1), pods: [pod("notes-r1", "runner")], record: { runner: registered } })), []);
});

test("a pod that is being deleted is not registered", () => {
  assert.deepEqual(verbs(decide({ status: attempted(1), pods: [pod("notes-r1", "runner", { metadata: { deletionTimestamp: START } })] })), []);
});

test("nothing is written before the session is five seconds old, then Running with counters", () => {
  const young = decide({ status: attempted(1), pods: [pod("notes-r1", "runner", { status: running })], record: { runner: registered, turns: 1 }, seconds: 3 });
  assert.deepEqual([young.claims, young.status, young.requeueAfterMs], [undefined, undefined, 2000]);
  const old = decide({ status: attempted(1), pods: [pod("notes-r1", "runner", { status: running })], record: { runner: registered, turns: 1, lastSeq: 6 }, seconds: 5 });
  assert.equal(succeeded(old)?.reason, "Running");
  assert.deepEqual([old.status?.turns, old.status?.lastEventSeq], [1, 6]);
});

test("a first attempt that takes its time says what it waits for", () => {
  const status: PodView["status"] = { phase: "Pending", containerStatuses: [{ name: "runner", state: { waiting: { reason: "ErrImagePull", message: "not found" } } }] };
  const plan = decide({ status: attempted(1), pods: [pod("notes-r1", "runner", { status })], record: { runner: registered }, seconds: 6 });
  assert.deepEqual([succeeded(plan)?.reason, succeeded(plan)?.message], ["Starting", "Pod notes-r1 is waiting: ImagePullBackOff: not found"]);
});

test("a sandbox that does not come up shows in the session", () => {
  const status: PodView["status"] = { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "no memory" }] };
  const plan = decide({
    status: attempted(1),
    pods: [pod("notes-r1", "runner", { status: running }), pod("notes-s1", "sandbox", { status })],
    record: { runner: registered, sandbox: { requested: 1, pending: true } },
    seconds: 6,
  });
  assert.deepEqual([succeeded(plan)?.reason, succeeded(plan)?.message], ["Starting", "Pod notes-s1 is not scheduled: Unschedulable: no memory"]);
});

test("what the runner reports as missing shows until the model has answered", () => {
  const problem = { problem: "CredentialMissing", subject: "Secret openai, key api-key", message: "create it" };
  const pods = [pod("notes-r1", "runner", { status: running })];
  const before = succeeded(decide({ status: attempted(1), pods, record: { runner: registered, problem }, seconds: 6 }));
  assert.deepEqual([before?.reason, before?.message], ["Retrying", "CredentialMissing (Secret openai, key api-key): create it"]);
  assert.equal(succeeded(decide({ status: attempted(1), pods, record: { runner: registered, problem, turns: 1 }, seconds: 6 }))?.reason, "Running");
});

test("a failed runner is replaced after a second: back-off, count, make", () => {
  const pods = [pod("notes-r1", "runner", { status: failed(137, { reason: "OOMKilled", finishedAt: at(10).toISOString() }) })];
  const resting = decide({ status: attempted(1), pods, record: { runner: registered }, seconds: 10.4 });
  assert.deepEqual([verbs(resting), succeeded(resting)?.reason, resting.requeueAfterMs], [[], "Retrying", 600]);
  assert.equal(resting.status?.runner?.attempts, 1);
  const counted = decide({ status: attempted(1), pods, record: { runner: registered }, seconds: 11 });
  assert.deepEqual(counted.status?.runner, { podName: "notes-r2", attempts: 2, failuresInARow: 1, disruptionsInARow: undefined, replacesPodUID: "uid-of-notes-r1" });
  assert.match(succeeded(counted)?.message ?? "", /OOMKilled, exit code 137; attempt 2/);
  const made = decide({ status: attempted(2, { failuresInARow: 1, replacesPodUID: "uid-of-notes-r1" }), pods, record: { runner: registered }, seconds: 11 });
  assert.equal(made.actions[0]?.verb === "create" && made.actions[0].object.metadata.name, "notes-r2");
});

test("a failed pod that the gateway does not know yet is registered before its attempt is given up", () => {
  const plan = decide({ status: attempted(1), pods: [pod("notes-r1", "runner", { status: failed(1) })], seconds: 9 });
  assert.deepEqual([verbs(plan), plan.claims, plan.status], [["register"], undefined, undefined]);
});

test("three pods that a full node turns away at once do not use up the session's attempts within a second", () => {
  const turnedAway: PodView["status"] = { phase: "Failed", reason: "OutOfcpu", message: "Node didn't have enough resource: cpu" };
  const pods = [pod("notes-r2", "runner", { status: turnedAway })];
  const status = attempted(2, { disruptionsInARow: 1, replacesPodUID: "uid-of-notes-r1" });
  const record = { runner: { ...registered, podUid: "uid-of-notes-r2", connected: false } };
  const waiting = decide({ status, pods, record, seconds: 0.5 });
  assert.deepEqual([succeeded(waiting)?.reason, waiting.status?.runner?.attempts, waiting.requeueAfterMs], ["Retrying", 2, 1500]);
  assert.equal(decide({ status, pods, record, seconds: 2 }).status?.runner?.attempts, 3);
});

test("back-off doubles with failures in a row", () => {
  const pods = [pod("notes-r2", "runner", { status: failed(1, { finishedAt: at(20).toISOString() }) })];
  const plan = decide({ status: attempted(2, { failuresInARow: 1 }), pods, record: { runner: { ...registered, podUid: "uid-of-notes-r2" } }, seconds: 20 });
  assert.equal(plan.requeueAfterMs, 2000);
});

test("three runners in a row without progress end the session, with the reason of the last", () => {
  const pods = [pod("notes-r3", "runner", { status: failed(1, { finishedAt: at(20).toISOString() }) })];
  const plan = decide({ status: attempted(3, { failuresInARow: 2 }), pods, record: { runner: { ...registered, podUid: "uid-of-notes-r3" } }, seconds: 20 });
  const [append] = plan.actions;
  const event = append?.verb === "append" ? append.events[0] : undefined;
  assert.equal(event?.type === "run.finished" && event.data.outcome, "RunnerFailed");
  assert.match(event?.type === "run.finished" ? event.data.reason : "", /3 runner pods in a row.*notes-r3 ended: exit code 1/);
});

test("progress of the log forgets earlier failures, also when status tells it in between", () => {
  const pods = [pod("notes-r3", "runner", { status: failed(1, { finishedAt: at(20).toISOString() }) })];
  const change = { runner: { ...registered, podUid: "uid-of-notes-r3" }, turns: 1, lastSeq: 9 };
  const counted = decide({ status: attempted(3, { failuresInARow: 2 }), pods, record: change, seconds: 30 });
  assert.equal(counted.status?.runner?.failuresInARow, 1);
  const resting = decide({ status: attempted(3, { failuresInARow: 2 }), pods, record: change, seconds: 20.5 });
  assert.equal(resting.status?.runner?.failuresInARow, undefined);
  assert.equal(resting.status?.turns, 1);
});

test("asking the model and failing again is no progress", () => {
  const pods = [pod("notes-r3", "runner", { status: failed(1) })];
  const plan = decide({ status: attempted(3, { failuresInARow: 2 }), pods, record: { runner: { ...registered, podUid: "uid-of-notes-r3" }, lastSeq: 40 }, seconds: 20 });
  assert.deepEqual(verbs(plan), ["append"]);
});

test("a registered pod that is gone is a failed attempt; one that was never seen is made again under its name", () => {
  const gone = decide({ status: attempted(1), record: { runner: { ...registered, connected: false, since: at(10).toISOString() } }, seconds: 12 });
  assert.equal(gone.status?.runner?.attempts, 2);
  assert.match(succeeded(gone)?.message ?? "", /Pod notes-r1 was deleted/);
  const unseen = decide({ status: attempted(2, { replacesPodUID: "uid-of-notes-r1" }), record: { runner: registered } });
  assert.deepEqual([verbs(unseen), unseen.status], [["create"], undefined]);
});

test("a runner away from the gateway for a minute is replaced although its pod runs, and its pod goes", () => {
  const away = { ...registered, connected: false, since: at(100).toISOString() };
  const pods = [pod("notes-r1", "runner", { status: running })];
  const waiting = decide({ status: attempted(1), pods, record: { runner: away }, seconds: 130 });
  assert.deepEqual([succeeded(waiting)?.reason, waiting.requeueAfterMs], ["Running", 30_000]);
  const lost = decide({ status: attempted(1), pods, record: { runner: away }, seconds: 160 });
  assert.equal(lost.status?.runner?.attempts, 2);
  assert.match(succeeded(lost)?.message ?? "", /not been connected to the gateway for 60 s/);
  const made = decide({ status: attempted(2, { failuresInARow: 1, replacesPodUID: "uid-of-notes-r1" }), pods, record: { runner: away }, seconds: 160 });
  assert.deepEqual(verbs(made), ["delete", "create"]);
});

test("a pod that cannot connect because its image is still pulled is not lost", () => {
  const plan = decide({ status: attempted(1), pods: [pod("notes-r1", "runner")], record: { runner: { ...registered, epoch: 0, connected: false } }, seconds: 300 });
  assert.deepEqual([verbs(plan), plan.status?.runner?.attempts], [[], 1]);
});

test("the pod before the newest is kept for its logs when it has ended; older ones go", () => {
  const pods = [pod("notes-r1", "runner", { status: failed(1) }), pod("notes-r2", "runner", { status: failed(1) })];
  const plan = decide({ status: attempted(3, { failuresInARow: 2, replacesPodUID: "uid-of-notes-r2" }), pods, record: { runner: { ...registered, podUid: "uid-of-notes-r2" } } });
  assert.deepEqual(plan.actions.map((action) => (action.verb === "delete" ? action.key.name : action.verb)), ["notes-r1", "create"]);
});

test("no runner pod without the Environment or while it is not Ready", () => {
  const reason = (change: SessionWorld["environment"]): unknown => {
    const plan = decide({ status: attempted(1), environment: change });
    assert.deepEqual(plan.actions, []);
    return succeeded(plan)?.reason;
  };
  assert.equal(reason(undefined), "EnvironmentNotFound");
  assert.equal(reason({ ...environment, status: {} }), "EnvironmentNotReady");
});

test("an edited Environment changes no pod of a session that was bound before", () => {
  const models = environment.spec.models.map((model) => ({ ...model, baseURL: "https://other.example/v1", apiKey: { secretKeyRef: { name: "other", key: "k" } } }));
  const edited = { ...environment, spec: { ...environment.spec, models, runner: { resources: { limits: { memory: "2Gi" } } }, sandbox: { image: "other:1" } } };
  const change = { status: attempted(1), record: { runner: { epoch: 0, connected: false, since: START }, sandbox: { requested: 1, pending: true } } };
  const made = decide(change).actions;
  assert.deepEqual(made.map((action) => action.verb === "create" && action.object.metadata.name), ["notes-r1", "notes-s1"]);
  assert.deepEqual(decide({ ...change, environment: edited }).actions, made);
});
