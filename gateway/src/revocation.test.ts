import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { NewEvent } from "@paddock/api/log/events";
import { follow, send } from "../../test/fakes/client.ts";
import type { Events, Reply, ServerEvent } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";
import { buildTestBundle, event, runFinishedEvent, startedEvent } from "../../test/fakes/session.ts";

// A runner's stream is its licence: where it ends and is refused, the runner's proxy lets nothing out any more.

let gateway: LocalGateway;
let operator: string;

before(async () => {
  gateway = await startLocalGateway({ recheckMs: 20, reviewMs: 20 });
  operator = gateway.reviews.operatorToken();
});
after(() => gateway.close());

interface Runner {
  readonly uid: string;
  readonly podUid: string;
  token: string;
  readonly stream: Events;
}

/** A session whose runner follows its log; the stream has told three events. */
async function startRunner(uid: string): Promise<Runner> {
  const podUid = `pod-${uid}`;
  await asOperator("PUT", `/v1/records/${uid}`, { bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
  await register(uid, podUid);
  const token = issue(podUid);
  const stream = await follow(gateway, { path: "/v1/runner", token });
  const runner = { uid, podUid, token, stream };
  assert.equal((await append(runner, 1, startedEvent(podUid, 1))).status, 200);
  assert.deepEqual((await take(stream, 4)).map(({ event: name }) => name), ["assignment", "log", "log", "log"]);
  return runner;
}

async function asOperator(method: string, path: string, body: unknown): Promise<Reply> {
  return send(gateway, { method, path, token: operator, body });
}

async function register(uid: string, podUid: string): Promise<void> {
  assert.equal((await asOperator("PUT", `/v1/pods/${podUid}`, { sessionUid: uid, component: "runner", podName: podUid })).status, 204);
}

async function operatorAppends({ uid }: Runner, ...events: NewEvent[]): Promise<void> {
  assert.equal((await asOperator("POST", `/v1/records/${uid}/events`, { events })).status, 200);
}

function issue(podUid: string): string {
  return gateway.reviews.runnerToken({ namespace: "team", podUid, podName: podUid });
}

async function append({ token }: Pick<Runner, "token">, batch: number, ...events: NewEvent[]): Promise<Reply> {
  return send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch, events } });
}

async function take(events: Events, count: number): Promise<ServerEvent[]> {
  const taken: ServerEvent[] = [];
  while (taken.length < count) {
    const { value, done } = await events.next();
    assert.notEqual(done, true, "the stream ended");
    taken.push(value as ServerEvent);
  }
  return taken;
}

/** Types of what is left, until the stream ends. */
async function rest(stream: Events): Promise<string[]> {
  const types: string[] = [];
  for await (const { data } of stream) types.push((data as NewEvent).type);
  return types;
}

const refusalOf = ({ status, body }: Reply): string => `${status} ${(body as { type: string }).type.split("/").at(-1)}`;
const comesAgain = async ({ token }: Pick<Runner, "token">): Promise<string> => refusalOf(await send(gateway, { path: "/v1/runner", token }));
const noted: NewEvent = event("runner.reported", { problem: "EndpointUnreachable", subject: "m", message: "refused" });

test("a runner whose pod is gone loses its stream, is refused, and writes nothing more", async () => {
  const [runner, other] = await Promise.all([startRunner("gone"), startRunner("stays")]);
  gateway.reviews.revoke(runner.token);
  assert.deepEqual(await rest(runner.stream), []);
  assert.equal(await comesAgain(runner), "401 unauthenticated");
  assert.equal(refusalOf(await append(runner, 2, noted)), "401 unauthenticated");
  assert.equal((await append(other, 2, noted)).status, 200);
  assert.equal((await take(other.stream, 1))[0]?.id, "4");
  other.stream.close();
});

test("a runner that shows its next token keeps its stream when the first has run out", async () => {
  const runner = await startRunner("renews");
  const first = runner.token;
  runner.token = issue(runner.podUid);
  assert.equal((await append(runner, 2, noted)).status, 200);
  gateway.reviews.revoke(first);
  // Its stream is looked at again by the new token, several times.
  const asked = gateway.reviews.asked("tokenreviews");
  while (gateway.reviews.asked("tokenreviews") < asked + 5) await new Promise((resolve) => setImmediate(resolve));
  await operatorAppends(runner, event("session.suspended", {}));
  assert.deepEqual((await take(runner.stream, 2)).map(({ id }) => id), ["4", "5"]);
  runner.stream.close();
});

test("an API server that cannot be asked takes nobody's stream", async () => {
  const runner = await startRunner("patient");
  gateway.reviews.setBroken(true);
  const asked = gateway.reviews.asked("tokenreviews");
  while (gateway.reviews.asked("tokenreviews") < asked + 3) await new Promise((resolve) => setImmediate(resolve));
  gateway.reviews.setBroken(false);
  await operatorAppends(runner, event("session.suspended", {}));
  assert.equal((await take(runner.stream, 1))[0]?.id, "4");
  runner.stream.close();
});

test("a runner learns of the cancellation, may start nothing, and its stream ends with the session", async () => {
  const runner = await startRunner("cancelled");
  await operatorAppends(runner, event("session.cancelled", { reason: "spec.cancel" }));
  assert.equal(refusalOf(await append(runner, 2, event("sandbox.requested", { reason: "bash" }))), "409 stopped");
  await operatorAppends(runner, runFinishedEvent({ outcome: "Cancelled", through: 0 }));
  assert.deepEqual(await rest(runner.stream), ["session.cancelled", "run.finished"]);
  assert.equal(refusalOf(await append(runner, 2, noted)), "409 finished");
});

test("a runner behind which a newer one was registered loses its stream, is refused, and writes nothing more", async () => {
  const runner = await startRunner("replaced");
  await register(runner.uid, "pod-newer");
  assert.deepEqual(await rest(runner.stream), []);
  assert.equal(await comesAgain(runner), "409 fenced");
  assert.equal(refusalOf(await append(runner, 2, noted)), "409 fenced");
  // Its own pod registered once more does not bring it back.
  await register(runner.uid, runner.podUid);
  assert.equal(refusalOf(await append(runner, 2, noted)), "409 fenced");
});
