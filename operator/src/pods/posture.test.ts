import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { EnvironmentSpec } from "@paddock/api/environment";
import { at, record, session, settings } from "../session/sample.ts";
import { buildPreflightPods } from "./preflight.ts";
import { buildRunnerPod } from "./runner.ts";
import { buildSandboxPod } from "./sandbox.ts";
import { type PosturePod, RUNNER, SANDBOX, brokenRules } from "./testdata/posture.ts";

// Every pod that the operator can make, whatever its Environment says, keeps every rule; and each rule can be broken.

const label = fc.stringMatching(/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/);
const amount = fc.constantFrom("1m", "100m", "2", "64Mi", "1Gi", "3.5Gi", 1, 4096);
const amounts = fc.record({ cpu: fc.constantFrom("1m", "250m", "2", 4), memory: amount, "ephemeral-storage": amount }, { requiredKeys: [] });
const byName = <T extends { readonly name: string }>(entry: fc.Arbitrary<T>, min: number, max: number) => fc.uniqueArray(entry, { minLength: min, maxLength: max, selector: ({ name }) => name });
const secretKeyRef = fc.record({ name: label, key: fc.constantFrom("token", "api-key", "tls.key") });
const defined = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;

// A limit below its request is refused by the schema.
const resources = fc.oneof(fc.record({ limits: amounts }), fc.record({ requests: amounts }), fc.constant(undefined));

const environmentSpec: fc.Arbitrary<EnvironmentSpec> = fc
  .record({
    models: byName(fc.record({ name: label, model: fc.constant("m"), baseURL: fc.webUrl(), apiKey: fc.option(fc.record({ secretKeyRef }), { nil: undefined }) }).map(defined), 1, 8),
    credentials: fc.option(byName(fc.record({ name: label, secretKeyRef, hosts: fc.constant(["api.example.com"]) }), 0, 8), { nil: undefined }),
    network: fc.option(fc.record({ caBundle: fc.option(fc.record({ configMapKeyRef: fc.record({ name: label, key: label }) }), { nil: undefined }) }).map(defined), { nil: undefined }),
    runner: fc.option(fc.record({ resources }).map(defined), { nil: undefined }),
    sandbox: fc.option(
      fc
        .record({
          image: fc.constantFrom("registry.example/a@sha256:0123", undefined),
          provisioning: fc.constantFrom("OnDemand", "Eager", "Never", undefined),
          runtimeClassName: fc.option(label, { nil: undefined }),
          userNamespaces: fc.option(fc.boolean(), { nil: undefined }),
          resources,
          workspace: fc.option(fc.record({ size: fc.constantFrom("10Mi", "5Gi", 1_000_000), persistence: fc.constantFrom("Ephemeral", "Session", undefined) }).map(defined), { nil: undefined }),
        })
        .map(defined),
      { nil: undefined },
    ),
    imagePullSecrets: fc.option(fc.array(fc.record({ name: label }), { maxLength: 4 }), { nil: undefined }),
    scheduling: fc.option(
      fc.record({ nodeSelector: fc.option(fc.dictionary(label, label, { maxKeys: 2 }), { nil: undefined }), tolerations: fc.constantFrom([{ operator: "Exists" }], undefined), priorityClassName: fc.option(label, { nil: undefined }) }).map(defined),
      { nil: undefined },
    ),
  })
  .map((spec) => defined(spec) as EnvironmentSpec);

const parts = fc.record({
  spec: environmentSpec,
  name: label,
  environmentName: fc.stringMatching(/^[a-z][a-z0-9.-]{0,200}[a-z0-9]$/),
  mode: fc.constantFrom("Task" as const, "Conversation" as const),
  canaries: fc.array(fc.constantFrom("203.0.113.7:443", "[2001:db8::7]:443"), { maxLength: 3 }),
  n: fc.integer({ min: 1, max: 99 }),
  seconds: fc.integer({ min: -10, max: 100_000 }),
  deadline: fc.boolean(),
});

type Parts = typeof parts extends fc.Arbitrary<infer T> ? T : never;

function podsOf({ spec, name, environmentName, mode, canaries, n, seconds, deadline }: Parts) {
  const { bundle } = record();
  const given = {
    session: session({ metadata: { name }, spec: { mode } }),
    bundle: { ...bundle, environment: { ...bundle.environment, name: environmentName, spec } },
    deadline: deadline ? at(600).toISOString() : undefined,
    settings: { ...settings, canaries },
  };
  return { runner: buildRunnerPod(given, n, at(seconds)), sandbox: buildSandboxPod(given, n, at(seconds)) };
}

const asPod = (pod: unknown): PosturePod => pod as PosturePod;

test("every pod of a session keeps every rule, whatever its Environment says", () => {
  fc.assert(
    fc.property(parts, (given) => {
      const { runner, sandbox } = podsOf(given);
      assert.deepEqual({ runner: brokenRules(asPod(runner), RUNNER), sandbox: brokenRules(asPod(sandbox), SANDBOX) }, { runner: [], sandbox: [] });
      assert.equal(asPod(sandbox).spec["hostUsers"], given.spec.sandbox?.userNamespaces === true ? false : undefined);
      assert.equal(asPod(sandbox).spec["runtimeClassName"], given.spec.sandbox?.runtimeClassName);
    }),
    { numRuns: 300 },
  );
});

test("the pods of dry runs are like those of sessions, but for what says whose they are", () => {
  fc.assert(
    fc.property(parts, (given) => {
      const metadata = { name: given.environmentName, namespace: "demo", uid: "u", resourceVersion: "1", creationTimestamp: at(0).toISOString() };
      for (const pod of buildPreflightPods({ apiVersion: "paddock.dev/v1alpha1", kind: "Environment", metadata, spec: given.spec }, settings)) {
        const isRunner = pod.metadata.labels?.["paddock.dev/component"] === "runner";
        assert.deepEqual(brokenRules(asPod(pod), isRunner ? RUNNER : SANDBOX), ["says whether it may be evicted"]);
      }
    }),
    { numRuns: 100 },
  );
});

const { runner, sandbox } = podsOf({
  spec: { models: [{ name: "default", model: "m", baseURL: "https://api.example.com/v1", apiKey: { secretKeyRef: { name: "s", key: "k" } } }] },
  name: "notes", environmentName: "standard", mode: "Task", canaries: [], n: 1, seconds: 0, deadline: true,
});

for (const [component, pod, rules] of [["runner", runner, RUNNER], ["sandbox", sandbox, SANDBOX]] as const) {
  for (const each of rules) {
    test(`${component}: "${each.name}" is broken by its control, and no change of it passes unseen`, () => {
      const changed = each.control(asPod(pod));
      assert.ok(each.holds(asPod(pod)));
      assert.ok(!each.holds(changed));
    });
  }
}
