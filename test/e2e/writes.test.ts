import assert from "node:assert/strict";
import { before, test } from "node:test";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, podsOf } from "./lab.ts";
import { get } from "./kubectl.ts";
import { deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { countWrites } from "./writes.ts";

let namespace: string;

before(async () => {
  namespace = await openNamespace("writes");
  await deployModel(namespace, { hello: [say("Hello.")] });
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
  await eventually("a ready Environment", async () => {
    const environment = await get<{ status?: { conditions?: { type: string; status: string }[] } }>("environment", "environment", namespace);
    return environment?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
  });
});

test("a short session costs the API server at most six writes of the operator", async () => {
  const before = await countWrites();
  await apply(namespace, buildSession("counted", "hello"));
  await finished(namespace, "counted");
  await eventually("its pods to be gone", async () => (await podsOf(namespace, "counted", "runner")).length === 0);
  const spent = (await countWrites()) - before;
  console.log(`operator writes for one session: ${spent}`);
  assert.ok(spent >= 3, `the count sees writes at all: ${spent}`);
  assert.ok(spent <= 6, `${spent} writes`);
});

test("with nothing to do the operator writes nothing", async () => {
  const before = await countWrites();
  const started = Date.now();
  await eventually("five quiet seconds", () => Promise.resolve(Date.now() - started > 5000));
  assert.equal((await countWrites()) - before, 0);
});
