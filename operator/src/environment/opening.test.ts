import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LABELS, MANAGED_BY } from "@paddock/api/names";
import type { ObjectMeta } from "@paddock/api/object";
import type { PodView, PolicyView } from "../sources.ts";
import { findOpening } from "./opening.ts";
import { buildBaselinePolicy } from "./policy-baseline.ts";
import { buildRunnerPolicy } from "./policy-runner.ts";
import { buildSandboxPolicy } from "./policy-sandbox.ts";
import { CREATED, environment, settings, standing } from "./sample.ts";

// What matters of selectors is who they select, not how they are written.

const meta = (name: string, more: Partial<ObjectMeta> = {}): ObjectMeta => ({ name, namespace: "demo", uid: name, resourceVersion: "1", creationTimestamp: CREATED, ...more });

/** A policy of somebody else's as the cache holds it: without its rules. */
const foreign = (podSelector: unknown, { name = "theirs", opens = ["Ingress"], policyTypes = ["Ingress", "Egress"] }: { name?: string; opens?: PolicyView["opens"]; policyTypes?: readonly string[] } = {}): PolicyView => ({
  metadata: meta(name),
  spec: { podSelector, policyTypes },
  ...(opens === undefined ? {} : { opens }),
});

const podWith = (labels: Readonly<Record<string, string>>): PodView => ({ metadata: meta("notes-r1", { labels }), spec: {}, status: {} });
const openingOf = (policies: readonly PolicyView[], labelledPods: readonly PodView[] = []) => findOpening({ environment: "standard", policies, labelledPods });
const isOpened = (policy: PolicyView, labelledPods: readonly PodView[] = []): boolean => openingOf([policy], labelledPods) !== undefined;

const expressions = (...matchExpressions: readonly object[]) => ({ matchExpressions });
const component = LABELS.component;

describe("a foreign policy that has a rule", () => {
  const selecting: readonly (readonly [string, unknown])[] = [
    ["everything", {}],
    ["everything, by saying nothing", undefined],
    ["what Paddock manages", { matchLabels: { [LABELS.managedBy]: MANAGED_BY } }],
    ["sandboxes", { matchLabels: { [component]: "sandbox" } }],
    ["pods of this Environment", expressions({ key: LABELS.environment, operator: "In", values: ["other", "standard"] })],
    ["one session", { matchLabels: { [LABELS.session]: "notes" } }],
    ["pods of some session", expressions({ key: LABELS.sessionUid, operator: "Exists" })],
    ["pods that are not of the shop", expressions({ key: "app", operator: "NotIn", values: ["shop"] })],
    ["all runners but of another Environment", expressions({ key: component, operator: "NotIn", values: ["sandbox"] }, { key: LABELS.environment, operator: "NotIn", values: ["other"] })],
    ["pods with a label of ours that may come", { matchLabels: { [LABELS.schedule]: "nightly" } }],
    ["by an operator nobody knows yet", expressions({ key: component, operator: "Like", values: ["x"] })],
  ];
  for (const [whom, podSelector] of selecting) {
    it(`opens the Environment when it selects ${whom}`, () => {
      assert.equal(isOpened(foreign(podSelector)), true);
    });
  }

  const harmless: readonly (readonly [string, unknown])[] = [
    ["the tenant's own application", { matchLabels: { app: "shop" } }],
    ["everything but Paddock's pods", expressions({ key: component, operator: "DoesNotExist" })],
    ["everything but pods of sessions", expressions({ key: LABELS.session, operator: "DoesNotExist" })],
    ["everything but runners and sandboxes", expressions({ key: component, operator: "NotIn", values: ["runner", "sandbox"] })],
    ["what Helm manages", { matchLabels: { [LABELS.managedBy]: "Helm" } }],
    ["another Environment", { matchLabels: { [LABELS.environment]: "other" } }],
    ["runners of the application", { matchLabels: { [component]: "runner", app: "shop" } }],
    ["pods with a label that ours do not have", expressions({ key: "app", operator: "Exists" })],
  ];
  for (const [whom, podSelector] of harmless) {
    it(`leaves it alone when it selects ${whom}`, () => {
      assert.equal(isOpened(foreign(podSelector)), false);
    });
  }

  it("opens pods to which somebody else gave the label it selects by", () => {
    const policy = foreign({ matchLabels: { mesh: "on" } });
    const labels = { [LABELS.managedBy]: MANAGED_BY, [component]: "runner", [LABELS.environment]: "standard" };
    assert.equal(isOpened(policy, [podWith(labels)]), false);
    assert.equal(isOpened(policy, [podWith({ ...labels, mesh: "on" })]), true);
  });
});

describe("a policy that selects every pod", () => {
  it("opens nothing without a rule, it only denies more", () => {
    assert.equal(isOpened(foreign({}, { opens: [] })), false);
  });

  it("opens nothing by rules for a direction that it is not about", () => {
    assert.equal(isOpened(foreign({}, { opens: ["Egress"], policyTypes: ["Ingress"] })), false);
    assert.equal(isOpened(foreign({}, { opens: ["Egress"], policyTypes: ["Egress"] })), true);
  });

  it("is judged by its rules also when it carries our label", () => {
    const ours = { labels: { [LABELS.managedBy]: MANAGED_BY } };
    const policy = (spec: object): PolicyView => ({ metadata: meta("copy", ours), spec: { podSelector: {}, policyTypes: ["Ingress"], ...spec } });
    assert.equal(isOpened(policy({ ingress: [{}] })), true);
    assert.equal(isOpened(policy({})), false);
  });

  it("is told with all its names, the directions and the fix, in the same words every time", () => {
    const policies = [foreign({}, { name: "zeta" }), foreign({}, { name: "alpha", opens: ["Ingress", "Egress"] })];
    const message = openingOf(policies)?.message ?? "";
    assert.match(message, /^NetworkPolicy demo\/alpha selects .* allows ingress and egress.*kubectl edit networkpolicy alpha -n demo.*\{key: paddock\.dev\/component, operator: DoesNotExist\}.* zeta\.$/);
    assert.equal(openingOf([...policies].reverse())?.message, message);
  });
});

describe("Paddock's own policies", () => {
  const own = [standing(buildBaselinePolicy("demo")), standing(buildRunnerPolicy(environment(), settings)), standing(buildSandboxPolicy(environment()))];

  it("open nothing: neither its own, nor those of an earlier Environment of the name or of others beside it", () => {
    const other = environment({}, { name: "other", uid: "other-uid" });
    const earlier = environment({}, { uid: "earlier-uid" });
    assert.equal(openingOf([...own, standing(buildRunnerPolicy(other, settings)), standing(buildSandboxPolicy(other)), standing(buildRunnerPolicy(earlier, settings))]), undefined);
  });

  it("are told from somebody else's under the same name", () => {
    const name = "paddock-standard-sandbox";
    assert.equal(isOpened(foreign({}, { name })), true);
    assert.equal(isOpened(foreign({}, { name: "paddock-baseline" })), true);
  });
});
