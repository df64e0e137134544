import assert from "node:assert/strict";
import { test } from "node:test";
import type { EnvironmentStatus } from "@paddock/api/environment";
import { ApiError, NameConflictError, classifyClusterError } from "../cluster/errors.ts";
import { classifyWith } from "../kernel/faults.ts";
import type { Action, Key, Manifest, Ports, Read, Source } from "../kernel/kind.ts";
import { reconcile } from "../kernel/reconcile.ts";
import { type AdmissionView, type PolicyView, admission, environments, networkPolicies } from "../sources.ts";
import { environmentKind } from "./environment.ts";
import { CREATED, environment, settings, standing } from "./sample.ts";

// A namespace with one Environment, small enough for a test, under the kernel's own pass.

interface House {
  readonly objects: Map<string, PolicyView>;
  /** Runtime classes of the cluster. */
  readonly classes: Set<string>;
  /** Accounts that carry no label of ours: no cache shows them. */
  readonly hidden: Set<string>;
  self: ReturnType<typeof environment>;
  admission: AdmissionView;
  /** Passes until nothing is written any more, at most 8; resolves to how many writes there were. */
  settle(): Promise<number>;
  /** The answer to the n-th write from the start is lost. */
  crashAt: number;
  reason(): string | undefined;
}

function open(spec: Parameters<typeof environment>[0] = {}): House {
  let writes = 0;
  const write = async (deed: () => void): Promise<void> => {
    deed();
    writes += 1;
    if (writes === house.crashAt) throw new ApiError(503, "PATCH", "");
    return Promise.resolve();
  };
  const preflight = (object: Manifest): void => {
    const { runtimeClassName } = (object as Manifest & { readonly spec: { readonly runtimeClassName?: string } }).spec;
    if (runtimeClassName === undefined || house.classes.has(runtimeClassName)) return;
    throw new ApiError(403, "POST", JSON.stringify({ reason: "Forbidden", message: `pods "${object.metadata.name}" is forbidden: pod rejected: RuntimeClass "${runtimeClassName}" not found` }));
  };
  const apply = (object: Manifest): void => {
    if (house.hidden.has(object.metadata.name)) throw new NameConflictError(`${object.kind} demo/${object.metadata.name} exists already and was not made by Paddock`);
    house.objects.set(`${object.kind} ${object.metadata.name}`, standing(object as Manifest & { readonly spec: PolicyView["spec"] }));
  };
  const act = async (action: Action): Promise<void> => {
    if (action.verb === "preflight") preflight(action.object);
    else if (action.verb === "apply") await write(() => apply(action.object));
    else assert.fail(`an Environment does not ${action.verb}`);
  };
  const of = (source: Source<unknown>, key: Key): unknown => {
    switch (source.name) {
      case environments.name:
        return house.self;
      case admission.name:
        return house.admission;
      default:
        return house.objects.get(`${source.name === networkPolicies.name ? "NetworkPolicy" : "ServiceAccount"} ${key.name}`);
    }
  };
  const policies = (): readonly PolicyView[] => [...house.objects].filter(([name]) => name.startsWith("NetworkPolicy ")).map(([, object]) => object);
  const read: Read = {
    get: <T>(source: Source<T>, key: Key) => of(source, key) as T | undefined,
    list: <T>(source: Source<T>) => (source.name === networkPolicies.name ? policies() : []) as readonly T[],
    isSynced: () => true,
  };
  const ports: Ports<EnvironmentStatus> = {
    read,
    write: { act, status: (_, status) => write(() => void (house.self = { ...house.self, status })) },
    now: () => new Date(CREATED),
    classify: classifyWith(classifyClusterError),
    announce: () => undefined,
  };
  const house: House = {
    objects: new Map(),
    classes: new Set(),
    hidden: new Set(),
    self: environment(spec),
    admission: { trusted: true, problems: [] },
    crashAt: 0,
    settle: async () => {
      const before = writes;
      for (let pass = 0; pass < 8; pass += 1) await reconcile(environmentKind(() => settings), house.self.metadata, ports);
      return writes - before;
    },
    reason: () => house.self.status?.conditions?.find(({ type }) => type === "Ready")?.reason,
  };
  return house;
}

const OWN = ["NetworkPolicy paddock-baseline", "NetworkPolicy paddock-standard-runner", "NetworkPolicy paddock-standard-sandbox", "ServiceAccount paddock-pod"];

/** A change, then the reason it leads to, then silence. */
async function leadsTo(house: House, reason: string, change: () => void): Promise<void> {
  change();
  await house.settle();
  assert.equal(house.reason(), reason);
  assert.equal(await house.settle(), 0, `silence at ${reason}`);
}

test("an Environment converges, then is silent, also after a repair and a restart at any write", async () => {
  for (let crashAt = 0; crashAt <= 7; crashAt += 1) {
    const house = open();
    house.crashAt = crashAt;
    await leadsTo(house, "Available", () => undefined);
    assert.deepEqual([...house.objects.keys()].sort(), OWN);
    await leadsTo(house, "Available", () => void house.objects.delete("NetworkPolicy paddock-baseline"));
    assert.ok(house.objects.has("NetworkPolicy paddock-baseline"), "repaired");
  }
});

test("a runtime class that appears later is picked up", async () => {
  const house = open({ sandbox: { runtimeClassName: "gvisor" } });
  await leadsTo(house, "RuntimeClassNotFound", () => undefined);
  await leadsTo(house, "Available", () => void house.classes.add("gvisor"));
  assert.deepEqual(house.self.status?.conditions?.map(({ type }) => type), ["Ready"], "no abnormal condition is left");
});

test("an account of somebody else's under our name is a conflict until it is gone", async () => {
  const house = open();
  await leadsTo(house, "NameConflict", () => void house.hidden.add("paddock-pod"));
  assert.deepEqual(house.self.status?.conditions?.map(({ type, status }) => `${type} ${status}`), ["Ready False", "Stalled True"]);
  await leadsTo(house, "Available", () => void house.hidden.delete("paddock-pod"));
});

test("a policy of somebody else's under our name is never touched, and the Environment recovers when it is gone", async () => {
  const house = open();
  const theirs: PolicyView = { metadata: { ...standing(environment()).metadata, name: "paddock-standard-runner", uid: "theirs" }, spec: { podSelector: { matchLabels: { app: "shop" } }, policyTypes: ["Egress"] }, opens: ["Egress"] };
  await leadsTo(house, "NameConflict", () => void house.objects.set("NetworkPolicy paddock-standard-runner", theirs));
  assert.equal(house.objects.get("NetworkPolicy paddock-standard-runner"), theirs);
  await leadsTo(house, "Available", () => void house.objects.delete("NetworkPolicy paddock-standard-runner"));
});

test("a policy that opens the Environment stops it, and it recovers when Paddock's pods are left out", async () => {
  const house = open();
  await house.settle();
  const policy = (podSelector: object): PolicyView => ({ metadata: { ...standing(environment()).metadata, name: "open", uid: "open" }, spec: { podSelector, policyTypes: ["Ingress"] }, opens: ["Ingress"] });
  await leadsTo(house, "NetworkPolicyConflict", () => void house.objects.set("NetworkPolicy open", policy({})));
  await leadsTo(house, "Available", () => void house.objects.set("NetworkPolicy open", policy({ matchExpressions: [{ key: "paddock.dev/component", operator: "DoesNotExist" }] })));
});

test("an Environment stops being Ready while admission is not trusted", async () => {
  const house = open();
  await house.settle();
  await leadsTo(house, "AdmissionMissing", () => void (house.admission = { trusted: false, problems: ["a binding is missing"] }));
  await leadsTo(house, "Available", () => void (house.admission = { trusted: true, problems: [] }));
});

test("an Environment that is deleted leaves the baseline, which denies, and takes only what it owns", async () => {
  const house = open();
  await house.settle();
  const owned = [...house.objects].filter(([, { metadata }]) => metadata.ownerReferences?.some(({ uid }) => uid === house.self.metadata.uid) === true).map(([name]) => name);
  assert.deepEqual(owned.sort(), ["NetworkPolicy paddock-standard-runner", "NetworkPolicy paddock-standard-sandbox"]);
  house.self = environment({}, { deletionTimestamp: CREATED });
  for (const name of owned) house.objects.delete(name);
  assert.equal(await house.settle(), 0, "what is collected is not made again");
  assert.deepEqual([...house.objects.keys()].sort(), ["NetworkPolicy paddock-baseline", "ServiceAccount paddock-pod"]);
  const { spec } = house.objects.get("NetworkPolicy paddock-baseline") ?? {};
  assert.partialDeepStrictEqual(spec, { ingress: [], egress: [], policyTypes: ["Ingress", "Egress"] });
});
