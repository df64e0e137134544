import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Environment } from "@paddock/api/environment";
import type { LogEvent } from "@paddock/api/log/events";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, reasonOf, runningPod } from "./lab.ts";
import type { Pod } from "./lab.ts";
import { get, list } from "./kubectl.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { openGateway, readLog, userToken } from "./people.ts";
import type { PeopleClient } from "./people.ts";
import { killProcess } from "./processes.ts";

const RELEASE = "paddock-system";
let namespace: string;
let gateway: PeopleClient;
let token: string;

before(async () => {
  namespace = await openNamespace("crash");
  await deployModel(namespace, {
    sleepy: [call("bash", { command: "echo begun >> marks; sleep 8; echo ended" }), call("bash", { command: "cat marks" }), say("It says: {{lastToolResult}}")],
    patient: [call("bash", { command: "sleep 60" }), say("Done.")],
  });
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
  token = await userToken(namespace);
  gateway = await openGateway();
});

after(() => {
  gateway.close();
});

/** Kills NODE's process of a pod in the release namespace with SIGKILL; the kubelet restarts the container. */
async function killRelease(name: string): Promise<void> {
  const pod = (await list<Pod>("pods", RELEASE)).find(({ metadata }) => metadata.name.startsWith(name));
  assert.ok(pod, `a pod of ${name}`);
  killProcess(pod.metadata.uid, /^node /);
}

async function log(session: string): Promise<LogEvent[]> {
  return readLog(gateway, namespace, session, token);
}

/** Waits until the session's first tool call has started and not finished. */
async function inToolCall(session: string): Promise<void> {
  await eventually(`a tool call of ${session} in flight`, async () => {
    const types = (await log(session)).map(({ type }) => type);
    return types.includes("tool.started") && !types.includes("tool.finished");
  });
}

/** Digest of an Environment's spec as the operator has last looked at it, once it is another than `before`. */
async function revisionOf(environment: string, before?: string): Promise<string> {
  return eventually(`a new revision of Environment ${environment}`, async () => {
    const revision = (await get<Environment>("environment", environment, namespace))?.status?.revision;
    return revision !== before && revision;
  });
}

function assertSound(events: readonly LogEvent[], calls: number): void {
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
    "no gap",
  );
  const finishedCalls = events.flatMap((event) => (event.type === "tool.finished" ? [event.data.call] : []));
  assert.deepEqual([...new Set(finishedCalls)], finishedCalls, "one result per call");
  assert.equal(finishedCalls.length, calls);
}

test("kill -9 of the runner in the middle of a tool call: completes with a second attempt, one result per call, nothing run twice", async () => {
  await apply(namespace, buildSession("runner-killed", "sleepy"));
  await inToolCall("runner-killed");
  killProcess((await runningPod(namespace, "runner-killed", "runner")).metadata.uid, /^node /);
  const session = await finished(namespace, "runner-killed");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.equal(session.status?.runner?.attempts, 2);
  const events = await log("runner-killed");
  assertSound(events, 2);
  const first = events.find((event) => event.type === "tool.finished");
  assert.equal(first?.type === "tool.finished" && first.data.status, "indeterminate", "bash may have run: it is not started again");
  assert.equal(events.filter(({ type }) => type === "tool.started").length, 2);
  assert.match(session.status.result?.text ?? "", /begun/);
  assert.equal((session.status.result?.text ?? "").match(/begun/g)?.length, 1, "the first command ran once");
});

test("kill -9 of a runner whose Environment was edited meanwhile: the second attempt is built from what the session is bound to", async () => {
  await apply(namespace, buildEnvironment("edited"));
  const bound = await revisionOf("edited");
  await apply(namespace, buildSession("edit-survivor", "patient", { environment: "edited" }));
  await inToolCall("edit-survivor");
  // No node could hold a runner that is built from the edit.
  const model = { pricing: { inputPerMillion: "1000", outputPerMillion: "1000" } };
  await apply(namespace, buildEnvironment("edited", { model, spec: { runner: { resources: { requests: { cpu: "1000" } } } } }));
  await revisionOf("edited", bound);
  killProcess((await runningPod(namespace, "edit-survivor", "runner")).metadata.uid, /^node /);
  const session = await finished(namespace, "edit-survivor");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.equal(session.status?.runner?.attempts, 2);
  assert.equal(session.status.environmentRevision, bound);
  assertSound(await log("edit-survivor"), 1);
});

for (const component of ["gateway", "operator"] as const) {
  test(`kill -9 of the ${component} in the middle of a tool call: completes, no event lost, no second attempt`, async () => {
    const session = `${component}-killed`;
    await apply(namespace, buildSession(session, "sleepy"));
    await inToolCall(session);
    const before = await log(session);
    await killRelease(`paddock-${component}`);
    if (component === "gateway") {
      gateway.close();
      gateway = await eventually("the gateway to answer again", async () => {
        const next = await openGateway();
        try {
          await next.get("/healthz", undefined);
          return next;
        } catch (error) {
          next.close();
          throw error;
        }
      });
    }
    const result = await finished(namespace, session);
    assert.equal(reasonOf(result), "Completed", JSON.stringify(result.status));
    assert.equal(result.status?.runner?.attempts, 1);
    const events = await log(session);
    assertSound(events, 2);
    assert.deepEqual(events.slice(0, before.length), before, "what was acknowledged is still there, unchanged");
    assert.ok(events.every((event) => event.type !== "tool.finished" || event.data.status === "ok"));
  });
}
