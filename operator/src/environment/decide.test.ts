import assert from "node:assert/strict";
import { test } from "node:test";
import type { EnvironmentStatus } from "@paddock/api/environment";
import { digestOf } from "@paddock/api/log/canonical";
import type { RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import type { PolicyView } from "../sources.ts";
import { decideEnvironment } from "./decide.ts";
import type { EnvironmentWorld } from "./observe.ts";
import { buildBaselinePolicy } from "./policy-baseline.ts";
import { buildRunnerPolicy } from "./policy-runner.ts";
import { buildSandboxPolicy } from "./policy-sandbox.ts";
import { CREATED, complete, environment, settings, standing, told, world } from "./sample.ts";

/** CREATED and so many seconds. */
const after = (seconds: number): Date => new Date(Date.parse(CREATED) + seconds * 1000);
const decide = (observed: EnvironmentWorld, seconds = 0): Plan<EnvironmentStatus> => decideEnvironment(observed, after(seconds));

const applied = ({ actions }: Plan<EnvironmentStatus>): readonly string[] => actions.map((action) => `${action.verb} ${"object" in action ? action.object.metadata.name : ""}`);
const claimed = ({ claims }: Plan<EnvironmentStatus>): readonly string[] => (claims ?? []).map(({ type, status, reason }) => `${type} ${status} ${reason}`);
const messageOf = ({ claims }: Plan<EnvironmentStatus>): string => claims?.[0]?.message ?? "";

test("what is missing is made: account and baseline first, and the Environment is not Ready before it stands", () => {
  const plan = decide(world());
  assert.deepEqual(applied(plan), ["apply paddock-pod", "apply paddock-baseline", "apply paddock-standard-sandbox", "apply paddock-standard-runner"]);
  assert.deepEqual(claimed(plan), ["Ready False Progressing", "Reconciling True Progressing"]);
});

test("with everything in place its pods are tried before it is Ready, once per generation", () => {
  const first = decide(complete());
  assert.deepEqual([applied(first), claimed(first), first.requeueAfterMs], [["preflight standard-s0", "preflight standard-r0"], ["Ready True Available"], 30_000]);
  assert.deepEqual(first.status, { revision: digestOf(environment().spec), models: 1 });
  const second = decide(complete(told(environment(), "Available")));
  assert.deepEqual([applied(second), claimed(second), second.requeueAfterMs], [[], ["Ready True Available"], undefined]);
  const edited = decide(complete(told(environment({}, { generation: 2 }), "Available")));
  assert.deepEqual(applied(edited), ["preflight standard-s0", "preflight standard-r0"]);
  const handless = decide(complete(environment({ sandbox: { provisioning: "Never" } })));
  assert.deepEqual(applied(handless), ["preflight standard-r0"]);
});

test("no pod is tried while anything else is in the way", () => {
  const foreign: PolicyView = { ...standing(buildBaselinePolicy("demo")), spec: {}, opens: ["Ingress"] };
  const worlds = [complete(environment(), { admission: undefined }), complete(environment(), { policies: [{ ...foreign, metadata: { ...foreign.metadata, name: "open" } }] }), world()];
  for (const observed of worlds) assert.equal(applied(decide(observed)).some((action) => action.startsWith("preflight")), false);
});

test("a policy that was changed is repaired, and sessions wait for it", () => {
  const observed = complete();
  const open = { ...observed, sandboxPolicy: standing({ ...buildSandboxPolicy(observed.self), spec: { podSelector: {}, policyTypes: ["Ingress"] } }) };
  assert.deepEqual(applied(decide(open)), ["apply paddock-standard-sandbox"]);
  assert.deepEqual(claimed(decide(open))[0], "Ready False Progressing");
  const unlabelled = { ...observed, baseline: { ...standing(buildBaselinePolicy("demo")), metadata: { ...standing(buildBaselinePolicy("demo")).metadata, labels: { "app.kubernetes.io/managed-by": "paddock" } } } };
  assert.deepEqual(applied(decide(unlabelled)), ["apply paddock-baseline"]);
});

test("a new endpoint changes the runners' policy", () => {
  const observed = complete();
  const self = environment({ models: [{ name: "default", model: "x", baseURL: "https://models.example:8443/v1" }] });
  assert.deepEqual(applied(decide({ ...observed, self })), ["apply paddock-standard-runner"]);
});

test("a policy of an earlier Environment of the same name is waited for", () => {
  const earlier = environment({}, { uid: "earlier-uid" });
  const plan = decide({ ...complete(), runnerPolicy: standing(buildRunnerPolicy(earlier, settings)) });
  assert.deepEqual([applied(plan), claimed(plan), plan.requeueAfterMs], [[], ["Ready False Progressing", "Reconciling True Progressing"], 2000]);
});

test("somebody else's policy under our name is never touched: NameConflict names it and what to do", () => {
  const foreign = { ...standing(buildRunnerPolicy(environment(), settings)), metadata: { ...standing(buildRunnerPolicy(environment(), settings)).metadata, ownerReferences: [] } };
  const plan = decide({ ...complete(), runnerPolicy: foreign });
  assert.deepEqual([applied(plan), claimed(plan)], [[], ["Ready False NameConflict", "Stalled True NameConflict"]]);
  assert.match(messageOf(plan), /NetworkPolicy demo\/paddock-standard-runner .*kubectl get networkpolicy paddock-standard-runner -n demo/);
});

test("a baseURL inside the cluster needs a peer; policies are made all the same", () => {
  const models = [{ name: "local", model: "x", baseURL: "http://llama.models.svc:8000/v1" }];
  const plan = decide(world({ self: environment({ models }) }));
  assert.equal(plan.actions.length, 4);
  assert.deepEqual(claimed(plan), ["Ready False InvalidReference", "Stalled True InvalidReference"]);
  assert.match(messageOf(plan), /spec\.models\[local\]\.baseURL points to llama\.models\.svc .*spec\.network\.inCluster/);
  assert.deepEqual(claimed(decide(complete(environment({ models, network: { inCluster: [{ namespaceSelector: {}, ports: [8000] }] } })))), ["Ready True Available"]);
});

test("a baseURL that is none, and a request above its limit, name the field and the fix", () => {
  const url = decide(complete(environment({ models: [{ name: "default", model: "x", baseURL: "http://a:99999" }] })));
  assert.equal(messageOf(url), 'spec.models[default].baseURL "http://a:99999" is not a URL: write one such as https://api.openai.com/v1');
  const memory = decide(complete(environment({ sandbox: { resources: { requests: { memory: "2Gi" }, limits: { memory: "1024Mi" } } } })));
  assert.deepEqual(claimed(memory), ["Ready False Invalid", "Stalled True Invalid"]);
  assert.match(messageOf(memory), /spec\.sandbox\.resources: requests\.memory 2Gi is more than limits\.memory 1024Mi/);
  assert.deepEqual(claimed(decide(complete(environment({ runner: { resources: { requests: { cpu: "500m" }, limits: { cpu: 1 } } } })))), ["Ready True Available"]);
});

test("an Environment that is being deleted is left alone", () => {
  assert.deepEqual(decide(world({ self: environment({}, { deletionTimestamp: CREATED }) })), { actions: [], claims: undefined });
});

test("a policy that somebody changes back all the time is told with the fix, after half a minute", () => {
  const changed = { runnerPolicy: standing({ ...buildRunnerPolicy(environment(), settings), spec: { podSelector: { matchLabels: { app: "none" } } } }) };
  const repairing = complete(told(environment(), "Progressing", { abnormal: "Reconciling" }), changed);
  assert.deepEqual(claimed(decide(repairing, 29)), ["Ready False Progressing", "Reconciling True Progressing"]);
  const undone = decide(repairing, 30);
  assert.deepEqual([applied(undone), claimed(undone), undone.requeueAfterMs], [["apply paddock-standard-runner"], ["Ready False NetworkPolicyConflict", "Stalled True NetworkPolicyConflict"], 30_000]);
  assert.match(messageOf(undone), /NetworkPolicy demo\/paddock-standard-runner .*kubectl get networkpolicy paddock-standard-runner -n demo .*managed-fields/);
  assert.equal(claimed(decide(complete(told(environment(), "NetworkPolicyConflict", { abnormal: "Stalled" }), changed)))[0], "Ready False NetworkPolicyConflict", "it does not swing");
  assert.equal(claimed(decide(complete(told(environment(), "Available"), changed), 999))[0], "Ready False Progressing", "a first repair is none in vain");
  assert.equal(claimed(decide(complete(told(environment(), "NetworkPolicyConflict", { abnormal: "Stalled" }))))[0], "Ready True Available", "and recovers");
});

test("a policy's owner reference to which others have added is as it should be", () => {
  const runnerPolicy = standing(buildRunnerPolicy(environment(), settings));
  const [owner] = runnerPolicy.metadata.ownerReferences ?? [];
  assert.ok(owner);
  const blocking = { ...runnerPolicy, metadata: { ...runnerPolicy.metadata, ownerReferences: [{ ...owner, blockOwnerDeletion: true }] } };
  assert.deepEqual(applied(decide(complete(told(environment(), "Available"), { runnerPolicy: blocking }))), []);
});

test("somebody else's baseline is a conflict, not ours to change", () => {
  const ours = standing(buildBaselinePolicy("demo"));
  const plan = decide(complete(environment(), { baseline: { ...ours, metadata: { ...ours.metadata, labels: {} } } }));
  assert.deepEqual([applied(plan), claimed(plan)], [[], ["Ready False NameConflict", "Stalled True NameConflict"]]);
});

test("without trusted admission policies nothing is honoured, and it says what is wrong and who cures it", () => {
  const plan = decide(complete(told(environment(), "Available"), { admission: { trusted: false, problems: ["ValidatingAdmissionPolicy paddock-pods is missing", "b", "c"] } }));
  assert.deepEqual(claimed(plan), ["Ready False AdmissionMissing"]);
  assert.match(messageOf(plan), /ValidatingAdmissionPolicy paddock-pods is missing \(and 2 more\).*helm upgrade.*kubectl get validatingadmissionpolicies/);
  assert.deepEqual(claimed(decide(complete(environment(), { admission: undefined }))), ["Ready False AdmissionMissing"]);
});

test("a Secret that runners miss is told until the last of them has it, and other sessions still get pods", () => {
  const apiKey = { secretKeyRef: { name: "openai", key: "api-key" } };
  const self = environment({ models: [{ name: "default", model: "gpt-5.2", baseURL: "https://api.openai.com/v1", apiKey }] });
  const waiting = [waitingFor("secret openai, key api-key"), waitingFor("secret openai, key api-key")];
  const plan = decide(complete(told(self, "Available"), { waiting }));
  assert.deepEqual([applied(plan), claimed(plan)], [[], ["Ready False SecretNotFound"]]);
  assert.match(messageOf(plan), /spec\.models\[default\]\.apiKey: .* key api-key .* Secret demo\/openai.*kubectl create secret generic openai -n demo/);
  assert.deepEqual(decide(complete(told(self, "SecretNotFound"), { waiting })).actions, [], "pods were tried before");
  assert.deepEqual(claimed(decide(complete(told(self, "SecretNotFound"), { waiting: [] }))), ["Ready True Available"]);
  assert.equal(decide(complete(told(self, "SecretNotFound"), { waiting: undefined })).claims, undefined, "before the records are known nothing is taken back");
  const renamed = environment({ models: [{ name: "default", model: "x", baseURL: "https://api.openai.com/v1", apiKey: { secretKeyRef: { name: "other", key: "k" } } }] });
  assert.deepEqual(claimed(decide(complete(told(renamed, "SecretNotFound"), { waiting }))), ["Ready True Available"], "a Secret that the spec names no more");
});

function waitingFor(subject: string): RecordView {
  return { problem: { problem: "CredentialMissing", subject, message: "" } } as RecordView;
}

test("a peer for another namespace does not make a baseURL reachable", () => {
  const models = [{ name: "local", model: "x", baseURL: "http://llama.models.svc.cluster.local:8000/v1" }];
  const reasonWith = (peer: object): string | undefined => claimed(decide(complete(environment({ models, network: { inCluster: [{ ports: [8000], ...peer }] } }))))[0];
  assert.equal(reasonWith({}), "Ready False InvalidReference");
  assert.equal(reasonWith({ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "other" } } }), "Ready False InvalidReference");
  assert.equal(reasonWith({ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "models" } } }), "Ready True Available");
  assert.equal(reasonWith({ namespaceSelector: { matchLabels: { team: "ml" } } }), "Ready True Available", "what labels a namespace has is not known here");
  const loopback = decide(complete(environment({ models: [{ name: "local", model: "x", baseURL: "http://localhost:8000" }], network: { inCluster: [{ ports: [8000] }] } })));
  assert.match(messageOf(loopback), /"http:\/\/localhost:8000" points to the runner pod itself/);
});
