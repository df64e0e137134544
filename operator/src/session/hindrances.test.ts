import assert from "node:assert/strict";
import { test } from "node:test";
import { cutText } from "@paddock/api/cut";
import { LABELS } from "@paddock/api/names";
import type { Key, Read, Source } from "../kernel/kind.ts";
import { type PodView, agents, environments, pods, records, sessions } from "../sources.ts";
import { decideSession } from "./decide.ts";
import { observeSession } from "./observe.ts";
import { isDisrupted } from "./pod-trouble.ts";
import { START, agent, at, attempted, environment, failed, pod, record, running, session, settings, world } from "./sample.ts";
import { createSlots } from "./slots.ts";
import type { SessionWorld } from "./observe.ts";

const succeeded = (observed: SessionWorld) => decideSession(observed, at(9)).claims?.find(({ type }) => type === "Succeeded");
const unready = (reason: string) => ({ ...environment, status: { conditions: [{ type: "Ready", status: "False" as const, reason, message: "it is so", observedGeneration: 1, lastTransitionTime: START }] } });

test("an Agent that the Environment does not allow is Forbidden, and told by which field and who can change it", () => {
  const claim = succeeded(world({ environment: { ...environment, spec: { ...environment.spec, allowedAgents: ["other"] } } }));
  assert.equal(claim?.reason, "Forbidden");
  assert.match(claim.message, /Agent writer is not in spec\.allowedAgents of Environment standard: .*kubectl auth can-i update environments\/standard -n demo/);
});

test("what only a runner can find out does not keep sessions away; a missing admission policy and a foreign one do", () => {
  assert.deepEqual(decideSession(world({ environment: unready("SecretNotFound") }), at(9)).actions.map(({ verb }) => verb), ["bind"]);
  for (const reason of ["AdmissionMissing", "NetworkPolicyConflict"]) assert.equal(succeeded(world({ environment: unready(reason) }))?.reason, "EnvironmentNotReady");
});

test("a missing admission policy lets what runs go on and starts nothing new", () => {
  const alive = decideSession(world({ self: session({ status: attempted(1) }), record: record(), pods: [pod("notes-r1", "runner", { status: running })], environment: unready("AdmissionMissing") }), at(9));
  assert.deepEqual([alive.actions.map(({ verb }) => verb), alive.claims?.[0]?.reason], [["register"], "Running"]);
  assert.deepEqual(decideSession(world({ self: session({ status: attempted(1) }), record: record(), environment: unready("AdmissionMissing") }), at(9)).actions, []);
});

test("a session without pods is not stopped by a foreign policy, only kept from starting", () => {
  const plan = decideSession(world({ self: session({ status: attempted(1) }), record: record(), environment: unready("NetworkPolicyConflict") }), at(9));
  assert.deepEqual([plan.actions, plan.claims?.[0]?.reason], [[], "EnvironmentNotReady"]);
});

test("sessions in the queue do not write status twice whenever their Environment is edited", () => {
  const edited = { ...environment, metadata: { ...environment.metadata, generation: 2 } };
  const line = (reason: string) => session({ status: { conditions: [{ type: "Succeeded", status: "Unknown", reason, message: "", lastTransitionTime: START }] } });
  for (const reason of ["Queued", "ConfigMapNotFound", "Invalid"]) {
    const plan = decideSession(world({ self: line(reason), environment: edited }), at(9));
    assert.deepEqual([plan.actions, plan.claims], [[], undefined], reason);
  }
  assert.equal(succeeded(world({ self: line("EnvironmentNotFound"), environment: edited }))?.reason, "EnvironmentNotReady");
  assert.equal(succeeded(world({ self: line("Queued"), environment: unready("NetworkPolicyConflict") }))?.reason, "EnvironmentNotReady");
});

test("a woken Conversation that has to wait does not work on in the pods that it has given up", () => {
  const woken = { self: session({ spec: { mode: "Conversation" }, status: { startTime: START, lastEventSeq: 2, runner: { attempts: 1 } } }), record: record(), pods: [pod("notes-r1", "runner", { status: running })] };
  for (const hindered of [world({ ...woken, queued: { limit: 1 } }), world({ ...woken, environment: undefined })]) {
    assert.deepEqual(decideSession(hindered, at(9)).actions.map((action) => (action.verb === "delete" ? action.key.name : action.verb)), ["notes-r1"]);
  }
});

test("texts in ConfigMaps go to the writer of the bind by reference", () => {
  const ref = { name: "texts", key: "prompt" };
  const { prompt: _, ...spec } = session().spec;
  const self = { ...session(), spec: { ...spec, promptFrom: { configMapKeyRef: ref }, files: [{ path: "a.md", configMapKeyRef: ref }] } };
  const [bind] = decideSession(world({ self, agent: { ...agent, spec: { model: { name: "default" }, instructionsFrom: { configMapKeyRef: ref }, tools: [{ name: "bash" }] } } }), at(0)).actions;
  assert.ok(bind?.verb === "bind");
  const { bundle: __, ...texts } = bind.record;
  assert.deepEqual(texts, { prompt: undefined, promptFrom: ref, instructionsFrom: ref, filesFrom: [{ path: "a.md", configMapKeyRef: ref }] });
});

test("the runner's pod comes before the sandbox's, so that a refused sandbox does not keep it away", () => {
  const { actions } = decideSession(world({ self: session({ status: attempted(1) }), record: record({ sandbox: { requested: 1, pending: true } }) }), at(1));
  assert.deepEqual(actions.map((action) => action.verb === "create" && action.object.metadata.name), ["notes-r1", "notes-s1"]);
});

test("what the cluster takes away is told from what ended by itself or broke its own limits", () => {
  const is = (status: PodView["status"], metadata: Partial<PodView["metadata"]> = {}): boolean => isDisrupted(pod("notes-r1", "runner", { status, metadata }));
  assert.equal(is({ ...failed(143), conditions: [{ type: "DisruptionTarget", status: "True", reason: "EvictionByEvictionAPI" }] }), true);
  for (const reason of ["NodeLost", "OutOfcpu", "Terminated", "Evicted", "DeadlineExceeded"]) assert.equal(is({ phase: "Failed", reason }), true, reason);
  assert.equal(is(failed(143), { deletionTimestamp: START }), true);
  assert.equal(is(failed(1)), false);
  assert.equal(is({ phase: "Failed", reason: "Evicted", message: 'Usage of EmptyDir volume "tmp" exceeds the limit "64Mi".' }), false);
});

test("a pod that its dead node cannot delete is replaced after a minute, and is no failure", () => {
  const pods_ = [pod("notes-r1", "runner", { status: running, metadata: { deletionTimestamp: START } })];
  const away = { podUid: "uid-of-notes-r1", epoch: 1, connected: false, since: START };
  const plan = decideSession(world({ self: session({ status: attempted(1) }), record: record({ runner: away }), pods: pods_ }), at(60));
  assert.deepEqual([plan.status?.runner?.attempts, plan.status?.runner?.failuresInARow, plan.status?.runner?.disruptionsInARow], [2, undefined, 1]);
  assert.match(plan.claims?.[0]?.message ?? "", /node unknown does not answer; attempt 2 takes over/);
});

test("a pod that names the Session as its owner and is not one that the operator makes is never adopted: under a name of ours it is a conflict", () => {
  const self = session({ status: attempted(1) });
  const observe = (...found: readonly PodView[]): SessionWorld | undefined => {
    const objects: Readonly<Record<string, readonly unknown[]>> = { [sessions.name]: [self], [agents.name]: [agent], [environments.name]: [environment], [pods.name]: found, [records.name]: [record()] };
    const isNamed = ({ name }: Key) => (item: unknown): boolean => (item as PodView).metadata.name === name;
    const read: Read = {
      get: <T>(source: Source<T>, key: Key) => objects[source.name]?.find(isNamed(key)) as T | undefined,
      list: <T>(source: Source<T>) => (objects[source.name] ?? []) as readonly T[],
      isSynced: () => true,
    };
    return observeSession(read, { namespace: "demo", name: "notes" }, { settings, slots: createSlots() });
  };
  assert.deepEqual(observe(pod("notes-r1", "runner"))?.pods.length, 1);
  assert.deepEqual([observe(pod("notes-x", "runner"))?.pods, observe(pod("notes-x", "runner"))?.strangers], [[], []]);
  const forged = observe(pod("notes-r1", "runner", { metadata: { labels: { [LABELS.component]: "sandbox", [LABELS.sessionUid]: "session-uid" } } }));
  assert.ok(forged);
  const [append] = decideSession(forged, at(1)).actions;
  assert.equal(append?.verb === "append" && append.events[0]?.type === "run.finished" && append.events[0].data.outcome, "NameConflict");
});

test("texts are cut on a character", () => {
  assert.equal(cutText("ab😀cd", 5), "ab😀…");
  assert.equal(cutText("ab😀cd", 4), "ab…");
  assert.equal(cutText("abcd", 4), "abcd");
});
