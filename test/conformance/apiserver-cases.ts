import assert from "node:assert/strict";
import { test } from "node:test";
import { POD_SERVICE_ACCOUNT } from "@paddock/api/names";
import type { BaseStatus, OwnerReference } from "@paddock/api/object";
import { requireAccess } from "../../operator/src/cluster/access.ts";
import { classifyClusterError } from "../../operator/src/cluster/errors.ts";
import type { Connection } from "../../operator/src/cluster/connect.ts";
import type { ApiClient } from "../../operator/src/cluster/http.ts";
import { observeResource } from "../../operator/src/cluster/observe.ts";
import { NETWORK_POLICIES, PODS, type RawObject, SERVICE_ACCOUNTS, SESSIONS } from "../../operator/src/cluster/resources.ts";
import { readObject } from "../../operator/src/cluster/reads.ts";
import { createClusterWriter } from "../../operator/src/cluster/writer.ts";
import type { SessionStatus } from "@paddock/api/session";
import type { Fault, Manifest, Self } from "../../operator/src/kernel/kind.ts";

/** An API server and a namespace in it that is ours alone. */
export interface ApiTarget {
  readonly client: ApiClient;
  /** How the client gets there. */
  readonly connection: Connection;
  /** The same as the operator, whose writes alone admission takes where they bear its marks. */
  readonly operator: { readonly client: ApiClient; readonly connection: Connection };
  readonly namespace: string;
  /** Makes the server forget all versions so far; absent where nobody can. */
  forget?(): void;
  close(): Promise<void>;
}

type Writer = ReturnType<typeof createClusterWriter>;

type Case = (name: string, run: (context: { writer: Writer; target: ApiTarget; caches: Caches }) => Promise<void>) => void;

function casesAt(server: string, open: () => Promise<ApiTarget>): Case {
  return (name, run) => {
    test(`${server}: ${name}`, async (t) => {
      const target = await open();
      const caches = observeAll(target);
      t.after(async () => {
        await caches.stop();
        await target.close();
      });
      await caches.synced();
      await run({ writer: createClusterWriter(target.operator.client, caches.byPlural), target, caches });
    });
  };
}

/** What writer and caches do at an API server; the same cases for the fake and for a real one, also beside a running operator. */
export function writerCases(server: string, open: () => Promise<ApiTarget>): void {
  const withWriter = casesAt(server, open);

  withWriter("who may not is refused with what to ask for", async ({ target }) => {
    const check = { groups: [], namespace: target.namespace, verb: "use", group: "paddock.dev", resource: "environments", name: "standard" };
    const fault = await faultOf(() => requireAccess(target.operator.client, { ...check, user: "paddock-conformance-nobody" }));
    assert.equal(fault.kind, "access-denied");
    assert.match(fault.message, /paddock-conformance-nobody/);
    await requireAccess(target.operator.client, { ...check, groups: ["system:masters"], user: "paddock-conformance-nobody" });
  });

  withWriter("creating what is ours already is success, and the cache reaches it", async ({ writer, target, caches }) => {
    const owner = await makeOwner(target, "owner");
    const pod = podOf(target, "p-r1", owner);
    const receipt = await writer.act({ verb: "create", object: pod });
    await until(() => receipt?.reached() === true);
    assert.equal(caches.pods.store.get(pod.metadata)?.metadata.name, "p-r1");
    const again = await writer.act({ verb: "create", object: pod });
    assert.equal(again?.reached(), true);
  });

  withWriter("a foreign object under our name is a name conflict", async ({ writer, target }) => {
    const owner = await makeOwner(target, "owner");
    const { metadata, ...rest } = podOf(target, "p-r1", owner);
    await post(target, "pods", { ...rest, metadata: { name: metadata.name, namespace: metadata.namespace } });
    const fault = await faultOf(() => writer.act({ verb: "create", object: { ...rest, metadata } }));
    assert.equal(fault.kind, "name-conflict");
    assert.match(fault.message, /Pod .*\/p-r1 exists already and was not made by Paddock/);
  });

  withWriter("the child of an earlier object of the same name is waited for", async ({ writer, target }) => {
    const earlier = await makeOwner(target, "earlier");
    const owner = await makeOwner(target, "owner");
    await writer.act({ verb: "create", object: podOf(target, "p-r1", earlier) });
    const fault = await faultOf(() => writer.act({ verb: "create", object: podOf(target, "p-r1", owner) }));
    assert.equal(fault.kind, "conflict");
    assert.equal(fault.retry, true);
  });

  withWriter("apply creates, changes, and changes nothing when nothing differs", async ({ writer, target, caches }) => {
    const policy = (port: number): Manifest & { spec: unknown } => policyOf(target, "paddock-wall", port);
    const first = await writer.act({ verb: "apply", object: policy(80) });
    await until(() => first?.reached() === true);
    const before = caches.policies.store.get({ namespace: target.namespace, name: "paddock-wall" });
    const same = await writer.act({ verb: "apply", object: policy(80) });
    assert.equal(same?.reached(), true);
    assert.equal((await live(target, "NetworkPolicy", "paddock-wall"))?.metadata.resourceVersion, before?.metadata.resourceVersion);
    const changed = await writer.act({ verb: "apply", object: policy(81) });
    await until(() => changed?.reached() === true);
    assert.deepEqual(caches.policies.store.get({ namespace: target.namespace, name: "paddock-wall" })?.spec, policy(81).spec);
  });

  withWriter("apply takes back what others changed in an object of ours", async ({ writer, target }) => {
    await writer.act({ verb: "apply", object: policyOf(target, "paddock-wall", 80) });
    const found = await live(target, "NetworkPolicy", "paddock-wall");
    const path = `/apis/networking.k8s.io/v1/namespaces/${target.namespace}/networkpolicies/paddock-wall`;
    const { kind, apiVersion, spec } = policyOf(target, "paddock-wall", 443);
    await target.client.request({ verb: "update", resource: "networkpolicies", method: "PUT", path, body: { kind, apiVersion, metadata: found?.metadata, spec } });
    await writer.act({ verb: "apply", object: policyOf(target, "paddock-wall", 80) });
    assert.deepEqual((await live(target, "NetworkPolicy", "paddock-wall"))?.spec, policyOf(target, "paddock-wall", 80).spec);
  });

  withWriter("apply leaves a foreign object alone", async ({ writer, target }) => {
    const { kind, apiVersion, spec } = policyOf(target, "paddock-wall", 443);
    await post(target, "networkpolicies", { kind, apiVersion, spec, metadata: { name: "paddock-wall", namespace: target.namespace } });
    const fault = await faultOf(() => writer.act({ verb: "apply", object: policyOf(target, "paddock-wall", 80) }));
    assert.equal(fault.kind, "name-conflict");
    assert.deepEqual((await live(target, "NetworkPolicy", "paddock-wall"))?.spec, spec);
  });

  withWriter("delete takes only the object it means, and absent is success", async ({ writer, target }) => {
    const owner = await makeOwner(target, "owner");
    await writer.act({ verb: "create", object: podOf(target, "p-r1", owner) });
    const key = { namespace: target.namespace, name: "p-r1" };
    await writer.act({ verb: "delete", resource: "Pod", key, uid: "00000000-0000-0000-0000-000000000000" });
    const pod = await live(target, "Pod", "p-r1");
    assert.equal(pod?.metadata.deletionTimestamp, undefined);
    const uid = pod?.metadata.uid ?? "";
    await writer.act({ verb: "delete", resource: "Pod", key, uid });
    await until(async () => (await live(target, "Pod", "p-r1")) === undefined);
    await writer.act({ verb: "delete", resource: "Pod", key, uid });
  });

  withWriter("status is written whole: what is no longer said disappears", async ({ writer, target, caches }) => {
    const session = await endSession({ writer, target, caches });
    const path = `/apis/paddock.dev/v1alpha1/namespaces/${target.namespace}/sessions/s`;
    assert.equal(((await target.client.request({ verb: "get", resource: "sessions", method: "GET", path })) as Self<SessionStatus>).status?.turns, 1);
    // What the operator's cache leaves out of a finished Session keeps its writer from writing one: here it is one that it takes for unfinished.
    const second = await writer.status({ ...session, status: {} }, { observedGeneration: 1, conditions: [FINISHED] });
    await until(() => second?.reached() === true);
    const now = (await target.client.request({ verb: "get", resource: "sessions", method: "GET", path })) as Self<SessionStatus>;
    assert.deepEqual(now.status, { observedGeneration: 1, conditions: [FINISHED] });
    assert.equal(now.metadata.generation, 1);
  });

  withWriter("a status decided on an older object is a conflict; of a deleted object it is nothing", async ({ writer, target, caches }) => {
    const session = await endSession({ writer, target, caches });
    const open = { ...session, status: {} };
    await writer.status(open, { observedGeneration: 1, conditions: [FINISHED] });
    const fault = await faultOf(() => writer.status(open, { observedGeneration: 2, conditions: [FINISHED] }));
    assert.equal(fault.kind, "conflict");
    const path = `/apis/paddock.dev/v1alpha1/namespaces/${target.namespace}/sessions/s`;
    await target.client.request({ verb: "delete", resource: "sessions", method: "DELETE", path });
    await until(async () => (await live(target, "Session", "s")) === undefined);
    assert.equal(await writer.status(open, { observedGeneration: 1 }), undefined);
  });
}

type Caches = ReturnType<typeof observeAll>;

function observeAll({ client, namespace }: ApiTarget) {
  const options = { client, namespaces: [namespace] };
  const pods = observeResource(PODS, options);
  const policies = observeResource(NETWORK_POLICIES, options);
  const accounts = observeResource(SERVICE_ACCOUNTS, options);
  const sessions = observeResource(SESSIONS, options);
  const all = [pods, policies, accounts, sessions];
  for (const observation of all) observation.start();
  return {
    pods, policies, sessions,
    byPlural: new Map(all.map((observation) => [observation.plural, observation])),
    synced: () => until(() => all.every(({ store }) => store.isSynced())),
    stop: async () => {
      await Promise.all(all.map((observation) => observation.stop()));
    },
  };
}

/** Resolves when the condition holds; the test's own time limit bounds it. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

function live(target: ApiTarget, kind: string, name: string): Promise<RawObject | undefined> {
  return readObject(target.client, kind, { namespace: target.namespace, name });
}

async function faultOf(act: () => Promise<unknown>): Promise<Fault> {
  try {
    await act();
  } catch (error) {
    const fault = classifyClusterError(error);
    assert.ok(fault, String(error));
    return fault;
  }
  return assert.fail("nothing was refused");
}

async function post({ client, namespace }: ApiTarget, plural: string, body: unknown): Promise<RawObject> {
  const base = { pods: "/api/v1", configmaps: "/api/v1", networkpolicies: "/apis/networking.k8s.io/v1", sessions: "/apis/paddock.dev/v1alpha1" }[plural] ?? "";
  return (await client.request({ verb: "create", resource: plural, method: "POST", path: `${base}/namespaces/${namespace}/${plural}`, body })) as RawObject;
}

/** A real owner, whose Agent is missing, beside the service account that pods need: the garbage collector takes children of what does not exist. */
async function makeOwner(target: ApiTarget, name: string): Promise<OwnerReference> {
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: POD_SERVICE_ACCOUNT, namespace: target.namespace, labels: { "app.kubernetes.io/managed-by": "paddock" } } };
  await createClusterWriter(target.operator.client, new Map()).act({ verb: "create", object: account });
  const { metadata } = await post(target, "sessions", { apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata: { name, namespace: target.namespace }, ...SPEC });
  return { apiVersion: "paddock.dev/v1alpha1", kind: "Session", name, uid: metadata.uid, controller: true };
}

const SPEC = { spec: { agentRef: { name: "a" }, environmentRef: { name: "e" }, prompt: "hello" } };

function podOf({ namespace }: ApiTarget, name: string, owner: OwnerReference): Manifest & { spec: unknown } {
  const labels = { "app.kubernetes.io/managed-by": "paddock", "paddock.dev/component": "runner" };
  const securityContext = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } };
  const spec = {
    // The gate keeps a real scheduler away from it; all else is what admission asks of the operator.
    schedulingGates: [{ name: "paddock.dev/test" }],
    serviceAccountName: POD_SERVICE_ACCOUNT,
    automountServiceAccountToken: false,
    restartPolicy: "Never",
    activeDeadlineSeconds: 3600,
    terminationGracePeriodSeconds: 0,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    containers: [{ name: "main", image: "example.invalid/none:1", securityContext }],
  };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels, ownerReferences: [owner] }, spec };
}

function policyOf({ namespace }: ApiTarget, name: string, port: number): Manifest & { spec: unknown } {
  const labels = { "app.kubernetes.io/managed-by": "paddock" };
  const spec = { podSelector: { matchLabels: { "app.kubernetes.io/managed-by": "paddock", "paddock.dev/component": "runner", "paddock.dev/environment": "e" } }, policyTypes: ["Ingress"], ingress: [{ ports: [{ port, protocol: "TCP" }] }] };
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name, namespace, labels }, spec };
}

const FINISHED = { type: "Finished", status: "True", reason: "Cancelled", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" } as const;

/** A Session that has ended, after one turn: a running operator leaves its status alone from then on. Until then it may write it first. */
async function endSession({ writer, target, caches }: { writer: Writer; target: ApiTarget; caches: Caches }): Promise<Self<SessionStatus>> {
  const key = { namespace: target.namespace, name: "s" };
  await post(target, "sessions", { apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata: key, ...SPEC });
  for (;;) {
    await until(() => caches.sessions.store.get(key) !== undefined);
    const found = caches.sessions.store.get(key);
    assert.ok(found);
    try {
      const receipt = await writer.status(found, { observedGeneration: 1, conditions: [FINISHED], turns: 1 } as BaseStatus);
      await until(() => receipt?.reached() === true);
      return caches.sessions.store.get(key) ?? found;
    } catch (error) {
      assert.equal(classifyClusterError(error)?.kind, "conflict", String(error));
      await until(() => caches.sessions.store.get(key)?.metadata.resourceVersion !== found.metadata.resourceVersion);
    }
  }
}
