import assert from "node:assert/strict";
import { before, test } from "node:test";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, podsOf } from "./lab.ts";
import { get, must } from "./kubectl.ts";
import { deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { countAudited, countWrites } from "./writes.ts";

let namespace: string;

before(async () => {
  // Namespaces of earlier files are still being deleted, and their Environments with them: what that costs is not what is counted here.
  await eventually("earlier namespaces to be gone", async () => !(await must(["get", "namespaces", "-o", "name"])).includes("namespace/e2e-"));
  namespace = await openNamespace("writes");
  await deployModel(namespace, { hello: [say("Hello.")] });
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
  await eventually("a ready Environment", async () => {
    const environment = await get<{ status?: { conditions?: { type: string; status: string }[] } }>("environment", "environment", namespace);
    return environment?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
  });
});

test("a short session costs the API server at most four writes of the operator", async (t) => {
  const [before, auditedBefore] = [await countWrites(), countAudited()];
  await apply(namespace, buildSession("counted", "hello"));
  await finished(namespace, "counted");
  await eventually("its pods to be gone", async () => (await podsOf(namespace, "counted", "runner")).length === 0);
  const spent = (await countWrites()) - before;
  t.diagnostic(`operator writes for one session: ${spent}`);
  if (auditedBefore !== undefined) assert.equal((countAudited() ?? 0) - auditedBefore, spent, "the API server has counted the same");
  assert.ok(spent >= 3, `the count sees writes at all: ${spent}`);
  assert.ok(spent <= 4, `${spent} writes`);
});

test("with nothing to do the operator writes nothing", async () => {
  const before = await countWrites();
  const started = Date.now();
  await eventually("five quiet seconds", () => Promise.resolve(Date.now() - started > 5000));
  assert.equal((await countWrites()) - before, 0);
});
