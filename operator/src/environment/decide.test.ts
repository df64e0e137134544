import assert from "node:assert/strict";
import { test } from "node:test";
import type { EnvironmentStatus } from "@paddock/api/environment";
import { digestOf } from "@paddock/api/log/canonical";
import type { Fault, Key, Manifest, Plan, Ports, Read, Source } from "../kernel/kind.ts";
import { reconcile } from "../kernel/reconcile.ts";
import { networkPolicies, serviceAccounts } from "../sources.ts";
import { decideEnvironment, explainFault } from "./decide.ts";
import { environmentKind } from "./environment.ts";
import type { EnvironmentWorld } from "./observe.ts";
import { buildBaselinePolicy } from "./policy-baseline.ts";
import { buildRunnerPolicy } from "./policy-runner.ts";
import { buildSandboxPolicy } from "./policy-sandbox.ts";
import { CREATED, environment, settings, standing, world } from "./sample.ts";
import { buildServiceAccount } from "./service-account.ts";

/** Everything stands as built for this Environment. */
function complete(self = environment()): EnvironmentWorld {
  return world({
    self,
    account: standing(buildServiceAccount("demo")),
    baseline: standing(buildBaselinePolicy("demo")),
    runnerPolicy: standing(buildRunnerPolicy(self, settings)),
    sandboxPolicy: standing(buildSandboxPolicy(self)),
  });
}

const applied = ({ actions }: Plan<EnvironmentStatus>): readonly string[] => actions.map((action) => `${action.verb} ${"object" in action ? action.object.metadata.name : ""}`);
const claimed = ({ claims }: Plan<EnvironmentStatus>): readonly string[] => (claims ?? []).map(({ type, status, reason }) => `${type} ${status} ${reason}`);
const messageOf = ({ claims }: Plan<EnvironmentStatus>): string => claims?.[0]?.message ?? "";

test("what is missing is made: account and baseline first, and the Environment is not Ready before it stands", () => {
  const plan = decideEnvironment(world());
  assert.deepEqual(applied(plan), ["apply paddock-pod", "apply paddock-baseline", "apply paddock-standard-sandbox", "apply paddock-standard-runner"]);
  assert.deepEqual(claimed(plan), ["Ready False Progressing", "Reconciling True Progressing"]);
});

test("with everything in place it is Ready, and tells digest and number of models", () => {
  const plan = decideEnvironment(complete());
  assert.deepEqual([applied(plan), claimed(plan)], [[], ["Ready True Available"]]);
  assert.deepEqual(plan.status, { revision: digestOf(environment().spec), models: 1 });
});

test("a policy that was changed is repaired, and sessions wait for it", () => {
  const observed = complete();
  const open = { ...observed, sandboxPolicy: standing({ ...buildSandboxPolicy(observed.self), spec: { podSelector: {}, policyTypes: ["Ingress"] } }) };
  assert.deepEqual(applied(decideEnvironment(open)), ["apply paddock-standard-sandbox"]);
  assert.deepEqual(claimed(decideEnvironment(open))[0], "Ready False Progressing");
  const unlabelled = { ...observed, baseline: { ...standing(buildBaselinePolicy("demo")), metadata: { ...standing(buildBaselinePolicy("demo")).metadata, labels: { "app.kubernetes.io/managed-by": "paddock" } } } };
  assert.deepEqual(applied(decideEnvironment(unlabelled)), ["apply paddock-baseline"]);
});

test("a new endpoint changes the runners' policy", () => {
  const observed = complete();
  const self = environment({ models: [{ name: "default", model: "x", baseURL: "https://models.example:8443/v1" }] });
  assert.deepEqual(applied(decideEnvironment({ ...observed, self })), ["apply paddock-standard-runner"]);
});

test("a policy of an earlier Environment of the same name is waited for", () => {
  const earlier = environment({}, { uid: "earlier-uid" });
  const plan = decideEnvironment({ ...complete(), runnerPolicy: standing(buildRunnerPolicy(earlier, settings)) });
  assert.deepEqual([applied(plan), claimed(plan), plan.requeueAfterMs], [[], ["Ready False Progressing", "Reconciling True Progressing"], 2000]);
});

test("somebody else's policy under our name is never touched: NameConflict names it and what to do", () => {
  const foreign = { ...standing(buildRunnerPolicy(environment(), settings)), metadata: { ...standing(buildRunnerPolicy(environment(), settings)).metadata, ownerReferences: [] } };
  const plan = decideEnvironment({ ...complete(), runnerPolicy: foreign });
  assert.deepEqual([applied(plan), claimed(plan)], [[], ["Ready False NameConflict", "Stalled True NameConflict"]]);
  assert.match(messageOf(plan), /NetworkPolicy demo\/paddock-standard-runner .*kubectl get networkpolicy paddock-standard-runner -n demo/);
});

test("a baseURL inside the cluster needs a peer; policies are made all the same", () => {
  const models = [{ name: "local", model: "x", baseURL: "http://llama.models.svc:8000/v1" }];
  const plan = decideEnvironment(world({ self: environment({ models }) }));
  assert.equal(plan.actions.length, 4);
  assert.deepEqual(claimed(plan), ["Ready False InvalidReference", "Stalled True InvalidReference"]);
  assert.match(messageOf(plan), /spec\.models\[local\]\.baseURL points to llama\.models\.svc .*spec\.network\.inCluster/);
  assert.deepEqual(claimed(decideEnvironment(complete(environment({ models, network: { inCluster: [{ ports: [8000] }] } })))), ["Ready True Available"]);
});

test("a baseURL that is none, and a request above its limit, name the field and the fix", () => {
  const url = decideEnvironment(complete(environment({ models: [{ name: "default", model: "x", baseURL: "http://a:99999" }] })));
  assert.equal(messageOf(url), 'spec.models[default].baseURL "http://a:99999" is not a URL: write one such as https://api.openai.com/v1');
  const memory = decideEnvironment(complete(environment({ sandbox: { resources: { requests: { memory: "2Gi" }, limits: { memory: "1024Mi" } } } })));
  assert.deepEqual(claimed(memory), ["Ready False Invalid", "Stalled True Invalid"]);
  assert.match(messageOf(memory), /spec\.sandbox\.resources: requests\.memory 2Gi is more than limits\.memory 1024Mi/);
  assert.deepEqual(claimed(decideEnvironment(complete(environment({ runner: { resources: { requests: { cpu: "500m" }, limits: { cpu: 1 } } } })))), ["Ready True Available"]);
});

test("an Environment that is being deleted is left alone", () => {
  assert.deepEqual(decideEnvironment(world({ self: environment({}, { deletionTimestamp: CREATED }) })), { actions: [], claims: undefined });
});

test("faults that people can cure are told, others are not", () => {
  const told = (kind: Fault["kind"]): unknown => explainFault({ kind, message: "no", retry: false, cause: undefined }).map(({ type, status, reason }) => `${type} ${status} ${reason}`);
  for (const [kind, reason] of [["forbidden", "Forbidden"], ["invalid", "Invalid"], ["name-conflict", "NameConflict"]] as const) {
    assert.deepEqual(told(kind), [`Ready False ${reason}`, `Stalled True ${reason}`, `Reconciling False ${reason}`]);
  }
  for (const kind of ["conflict", "log-conflict", "namespace-terminating", "unavailable", "programming"] as const) assert.deepEqual(told(kind), []);
});

test("an Environment converges, then is silent, also after a repair and a restart at any write", async () => {
  for (let crashAt = 0; crashAt <= 7; crashAt += 1) {
    const objects = new Map<string, ReturnType<typeof standing>>();
    let self = environment();
    let writes = 0;
    const write = (deed: () => void): Promise<void> => Promise.resolve().then(() => {
      writes += 1;
      deed();
      if (writes === crashAt) throw new Error("the answer was lost");
    });
    const apply = (object: Manifest): void => void objects.set(`${object.kind} ${object.metadata.name}`, standing(object));
    const kinds = new Map<string, string>([[networkPolicies.name, "NetworkPolicy"], [serviceAccounts.name, "ServiceAccount"]]);
    const read: Read = {
      get: <T>(source: Source<T>, key: Key) => (kinds.has(source.name) ? objects.get(`${kinds.get(source.name) ?? ""} ${key.name}`) : self) as T | undefined,
      list: () => [],
      isSynced: () => true,
    };
    const ports: Ports<EnvironmentStatus> = {
      read,
      write: {
        act: (action) => write(() => void ("object" in action && apply(action.object))),
        status: (_, status) => write(() => void (self = { ...self, status })),
      },
      now: () => new Date(CREATED),
      classify: (cause) => ({ kind: "unavailable", message: String(cause), retry: true, cause }),
    };
    const settle = async (): Promise<number> => {
      const before = writes;
      for (let pass = 0; pass < 6; pass += 1) await reconcile(environmentKind(() => settings), self.metadata, ports);
      return writes - before;
    };
    await settle();
    assert.equal(self.status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
    assert.deepEqual([...objects.keys()].sort(), ["NetworkPolicy paddock-baseline", "NetworkPolicy paddock-standard-runner", "NetworkPolicy paddock-standard-sandbox", "ServiceAccount paddock-pod"]);
    assert.equal(await settle(), 0, "silence");
    objects.delete("NetworkPolicy paddock-baseline");
    await settle();
    assert.ok(objects.has("NetworkPolicy paddock-baseline"), "repaired");
    assert.equal(await settle(), 0, "silence after the repair");
  }
});
