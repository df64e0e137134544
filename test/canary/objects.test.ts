import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { makeCanaries } from "./canaries.ts";
import { findInObject, leavesOf } from "./objects.ts";
import { describeFound, findInPlace } from "./places.ts";

const canaries = makeCanaries(7);
const [canary] = canaries;
if (canary === undefined) throw new Error("there is no canary");
const base64 = (text: string | Buffer): string => Buffer.from(text).toString("base64");
const metadata = { name: "one", namespace: "shop" };

describe("objects", () => {
  it("are found by field", () => {
    const pod = { metadata, spec: { containers: [{ env: [{ name: "A", value: "none" }, { name: "B", value: canary.value }] }] } };
    assert.deepEqual(findInObject(pod, "Pod", canaries), [{ canary: canary.name, encoding: "raw", place: "Pod shop/one", where: "spec.containers[0].env[1].value" }]);
    assert.deepEqual(findInObject({ metadata }, "Pod", canaries), []);
  });

  it("may be Secrets: their data is where secrets belong, all else of them is not", () => {
    const data = { "api-key": base64(canary.value) };
    assert.deepEqual(findInObject({ metadata, data }, "Secret", canaries), []);
    assert.equal(findInObject({ metadata, data }, "ConfigMap", canaries)[0]?.where, "data.api-key", "control: the same in another kind");
    const applied = { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ stringData: { "api-key": canary.value } }) };
    assert.match(findInObject({ metadata: { ...metadata, annotations: applied } as typeof metadata, data }, "Secret", canaries)[0]?.where ?? "", /^metadata\.annotations\./);
  });

  it("may be Helm's releases, which are packed three times", () => {
    const release = base64(base64(gzipSync(JSON.stringify({ config: { key: canary.value }, manifest: "x".repeat(5000) }))));
    assert.deepEqual(findInObject({ metadata, type: "helm.sh/release.v1", data: { release } }, "Secret", canaries).map(({ where, encoding }) => [where, encoding]), [["data.release", "base64 > base64 > gzip"]]);
  });

  it("may hold it in a key", () => {
    const labelled = makeCanaries(4)[3];
    assert.ok(labelled !== undefined);
    assert.equal(findInObject({ metadata: { ...metadata, labels: { [labelled.value]: "x" } } as typeof metadata }, "Pod", [labelled])[0]?.where, "metadata.labels (a key)");
  });

  it("have leaves by path", () => {
    assert.deepEqual(leavesOf({ a: ["x", { b: "y" }], n: 1, z: null }).filter(([path]) => !path.endsWith("(a key)")), [["a[0]", "x"], ["a[1].b", "y"]]);
  });
});

describe("places", () => {
  it("say line and encoding, and never the secret", () => {
    const found = findInPlace({ name: "log of a/b", data: `{"n":1}\n{"n":2,"key":"${base64(canary.value)}"}` }, [canary]);
    assert.deepEqual(found.map(describeFound), [`${canary.name}: log of a/b, line 2, base64`]);
  });
});
