import assert from "node:assert/strict";
import { test } from "node:test";
import { BASELINE_POLICY, LABELS, MANAGED_BY, ownerReference } from "@paddock/api/names";
import { buildBaselinePolicy } from "../environment/policy-baseline.ts";
import { createBarePass } from "../kernel/bare.ts";
import type { Action, Fault, Key, Read, Source } from "../kernel/kind.ts";
import { environment, pod, session } from "../session/sample.ts";
import { environments, networkPolicies, pods, sessions } from "../sources.ts";
import { baselineGuard, baselineKey } from "./baseline.ts";
import { strays } from "./strays.ts";

type Objects = Readonly<Record<string, readonly { readonly metadata: Key }[]>>;

function readerOf(objects: Objects): Read {
  return {
    get: <T>(source: Source<T>, { namespace, name }: Key) => objects[source.name]?.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name) as T | undefined,
    list: <T>(source: Source<T>, _index: string, value: string) => (objects[source.name] ?? []).filter(({ metadata }) => metadata.namespace === value) as unknown as readonly T[],
    isSynced: () => true,
  };
}

async function pass(duty: typeof strays | typeof baselineGuard, objects: Objects, key: Key) {
  const acted: Action[] = [];
  const act = async (action: Action): Promise<undefined> => void acted.push(action);
  const classify = (error: unknown): Fault => ({ kind: "programming", message: String(error), retry: true, cause: error });
  // One of both: their worlds differ, their passes do not.
  const result = duty === strays ? await createBarePass(strays(readerOf(objects)), { act, classify })(key, () => undefined) : await createBarePass(baselineGuard(readerOf(objects)), { act, classify })(key, () => undefined);
  assert.equal(result.fault, undefined);
  return { acted, result };
}

const sandbox = pod("notes-s1", "sandbox");
const runner = pod("notes-r1", "runner");
const keyOf = ({ metadata: { namespace, name } }: { readonly metadata: Key }): Key => ({ namespace, name });

test("a pod whose Session is there is left alone", async () => {
  assert.deepEqual((await pass(strays, { [pods.name]: [sandbox], [sessions.name]: [session()] }, keyOf(sandbox))).acted, []);
});

for (const [name, found] of [["is gone", []], ["is another one of that name", [session({ metadata: { uid: "later" } })]]] as const) {
  test(`a pod whose Session ${name} is deleted at once, unless a live read still finds the Session`, async () => {
    const objects = { [pods.name]: [sandbox, runner], [sessions.name]: found };
    const unless = { session: { namespace: "demo", name: "notes" }, uid: "session-uid" };
    const first = await pass(strays, objects, keyOf(sandbox));
    assert.deepEqual(first.acted, [{ verb: "delete", resource: "Pod", key: keyOf(sandbox), uid: "uid-of-notes-s1", unless }]);
    assert.equal(first.result.requeueAfterMs, 2_000);
    assert.deepEqual((await pass(strays, objects, keyOf(runner))).acted, [{ verb: "delete", resource: "Pod", key: keyOf(runner), uid: "uid-of-notes-r1", graceSeconds: 5, unless }]);
  });
}

test("a stray that is on its way out, a pod that is gone and a pod of nobody's make no writes", async () => {
  const leaving = pod("notes-s1", "sandbox", { metadata: { deletionTimestamp: "2026-11-21T12:00:00Z" } });
  const warm = pod("warm", "runner", { metadata: { ownerReferences: [ownerReference(environment)] } });
  assert.deepEqual((await pass(strays, { [pods.name]: [leaving, warm] }, keyOf(leaving))).acted, []);
  assert.deepEqual((await pass(strays, { [pods.name]: [leaving, warm] }, keyOf(warm))).acted, []);
  assert.deepEqual(await pass(strays, {}, keyOf(sandbox)), { acted: [], result: { writes: 0 } });
});

const baseline = { ...buildBaselinePolicy("demo"), metadata: { ...buildBaselinePolicy("demo").metadata, uid: "b", resourceVersion: "1", creationTimestamp: "" } };
const key = baselineKey({ namespace: "demo" });

test("a baseline that is deleted or changed while pods are left and no Environment is, is made again; nothing else is", async () => {
  const leaving = { ...environment, metadata: { ...environment.metadata, deletionTimestamp: "2026-11-21T12:00:00Z" } };
  for (const found of [[], [leaving]]) {
    for (const policies of [[], [{ ...baseline, spec: { ...baseline.spec, egress: [{}] } }], [{ ...baseline, metadata: { ...baseline.metadata, labels: {} } }]]) {
      const { acted } = await pass(baselineGuard, { [pods.name]: [sandbox], [environments.name]: found, [networkPolicies.name]: policies }, key);
      assert.deepEqual(acted, [{ verb: "apply", object: buildBaselinePolicy("demo") }]);
      assert.equal(baseline.metadata.labels[LABELS.managedBy], MANAGED_BY);
    }
    assert.deepEqual((await pass(baselineGuard, { [pods.name]: [sandbox], [environments.name]: found, [networkPolicies.name]: [baseline] }, key)).acted, [], "it stands");
  }
});

test("an Environment repairs the baseline itself, a namespace without pods needs none, and another namespace's pods do not count", async () => {
  assert.deepEqual((await pass(baselineGuard, { [pods.name]: [sandbox], [environments.name]: [environment] }, key)).acted, []);
  assert.deepEqual((await pass(baselineGuard, {}, key)).acted, []);
  assert.deepEqual((await pass(baselineGuard, { [pods.name]: [sandbox] }, { namespace: "other", name: BASELINE_POLICY })).acted, []);
});
