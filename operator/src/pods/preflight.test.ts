import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { stringify } from "yaml";
import { environment, settings } from "../session/sample.ts";
import { buildPreflightPods } from "./preflight.ts";

// The golden file is what reviewers read. After a wanted change: node --test --test-update-snapshots operator/src/pods/preflight.test.ts

const metadata = (change: object = {}) => buildPreflightPods({ ...environment, spec: { ...environment.spec, ...change } }, settings).map((pod) => pod.metadata);

test("the pods that are tried carry the labels of the Environment's pods and the Environment as their owner", (t) => {
  t.assert.fileSnapshot(metadata(), join(import.meta.dirname, "preflight.golden.yaml"), { serializers: [(value: unknown) => stringify(value, { lineWidth: 0 })] });
});

test("no pod is tried that no session gets, and none has the name of a session's pod", () => {
  assert.deepEqual(metadata({ sandbox: { provisioning: "Never" } }).map(({ name }) => name), ["standard-r0"]);
  assert.deepEqual(metadata().map(({ name }) => name), ["standard-s0", "standard-r0"]);
});
