import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { LogEvent } from "@paddock/api/log/events";
import type { Session } from "@paddock/api/session";
import { get, must } from "./kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, podsOf, reasonOf } from "./lab.ts";
import { call, deployModel, modelRequests, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { type PeopleClient, openGateway, readLog, userToken } from "./people.ts";

// What people do to a session while it runs: say more, interrupt, suspend, answer for a custom tool, cancel.

let namespace: string;
let gateway: PeopleClient;
let token: string;

const POST_NOTE = { name: "post_note", description: "Posts a note.", inputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false } };

before(async () => {
  namespace = await openNamespace("lifecycle");
  await deployModel(namespace, {
    chat: [say("First."), say("Second."), say("Third.")],
    slow: [call("bash", { command: "sleep 600" }), { ...say("I was stopped."), expect: "interrupted" }],
    steady: [call("bash", { command: "sleep 3; echo slept" }), { ...say("It slept."), expect: "slept" }],
    note: [call("post_note", { text: "hello" }), { ...say("Posted."), expect: "note 17" }],
    wrong: [call("post_note", { words: 1 }), { ...say("I see."), expect: "text" }],
    stuck: [call("bash", { command: "sleep 600" }), say("late")],
  });
  await apply(namespace, buildAgent("agent", { customTools: [POST_NOTE] }), buildEnvironment("environment"));
  token = await userToken(namespace);
  gateway = await openGateway();
});

after(() => {
  gateway.close();
});

const path = (session: string): string => `/v1/namespaces/${namespace}/sessions/${session}/events`;

async function post(session: string, type: string, data: object, headers: Readonly<Record<string, string>> = {}): Promise<LogEvent> {
  const { status, body } = await gateway.post(path(session), token, { type, data }, headers);
  assert.equal(status, 200, body);
  return (JSON.parse(body) as { event: LogEvent }).event;
}

async function refusal(session: string, type: string, data: object): Promise<{ status: number; detail: string }> {
  const { status, body } = await gateway.post(path(session), token, { type, data });
  return { status, detail: (JSON.parse(body) as { detail: string }).detail };
}

async function seen(session: string, what: string, isIt: (event: LogEvent) => boolean): Promise<LogEvent> {
  return eventually(`${what} in the log of ${session}`, async () => (await readLog(gateway, namespace, session, token).catch(() => [])).find(isIt));
}

async function reasonIs(name: string, reason: string): Promise<Session> {
  return eventually(`${name} to be ${reason}`, async () => {
    const session = await get<Session>("session", name, namespace);
    return session !== undefined && reasonOf(session) === reason ? session : undefined;
  });
}

async function withoutPods(name: string): Promise<void> {
  await eventually(`no pods of ${name}`, async () => (await podsOf(namespace, name, "runner")).length + (await podsOf(namespace, name, "sandbox")).length === 0);
}

const patch = (name: string, spec: object) => must(["patch", "session", name, "-n", namespace, "--type=merge", "-p", JSON.stringify({ spec })]);

test("a conversation waits without pods, and a message of a paddock-user wakes it; the same key is the same message", async () => {
  await apply(namespace, buildSession("chat", "chat", { spec: { mode: "Conversation", idleTimeoutSeconds: 0 } }));
  await reasonIs("chat", "AwaitingInput");
  await withoutPods("chat");
  const sent = await post("chat", "input.received", { content: "go on" }, { "idempotency-key": "one" });
  const again = await post("chat", "input.received", { content: "go on" }, { "idempotency-key": "one" });
  assert.equal(again.seq, sent.seq);
  await seen("chat", "the second answer", (event) => event.type === "run.waiting" && event.seq > sent.seq);
  await withoutPods("chat");
  const [writes] = [await must(["get", "session", "chat", "-n", namespace, "-o", "jsonpath={.metadata.resourceVersion}"])];
  assert.notEqual(writes, "");
  await patch("chat", { cancel: true });
  assert.equal(reasonOf(await finished(namespace, "chat")), "Cancelled");
  const { status, detail } = await refusal("chat", "input.received", { content: "anyone?" });
  assert.deepEqual([status, /make another Session/.test(detail)], [409, true]);
});

test("an interrupt stops the command under way; a Task waits for the next message and goes on with it", async () => {
  await apply(namespace, buildSession("slow", "slow"));
  await seen("slow", "the start of the command", ({ type }) => type === "tool.started");
  await post("slow", "turn.interrupted", {});
  const stopped = await seen("slow", "the end of the command", ({ type }) => type === "tool.finished");
  assert.ok(stopped.type === "tool.finished" && stopped.data.status === "cancelled");
  await reasonIs("slow", "AwaitingInput");
  await post("slow", "input.received", { content: "what happened?" });
  assert.equal(reasonOf(await finished(namespace, "slow")), "Completed");
});

test("suspend lets a running command end, then nothing begins and no pod is left; resume goes on", async () => {
  await apply(namespace, buildSession("steady", "steady", { spec: { idleTimeoutSeconds: 0 } }));
  await seen("steady", "the start of the command", ({ type }) => type === "tool.started");
  await patch("steady", { suspend: true });
  await reasonIs("steady", "Suspended");
  await withoutPods("steady");
  const events = await readLog(gateway, namespace, "steady", token);
  assert.ok(events.some((event) => event.type === "tool.finished" && event.data.status === "ok"), "the command's result is recorded");
  assert.equal(events.filter(({ type }) => type === "model.requested").length, 1, "the model was not asked again");
  await patch("steady", { suspend: false });
  assert.equal(reasonOf(await finished(namespace, "steady")), "Completed");
});

test("a Session that is made suspended begins when it is resumed", async () => {
  await apply(namespace, buildSession("later", "chat", { spec: { suspend: true } }));
  await reasonIs("later", "Suspended");
  await patch("later", { suspend: false });
  assert.equal(reasonOf(await finished(namespace, "later")), "Completed");
});

test("a custom tool's call waits without pods for a client's result, which counts once", async () => {
  await apply(namespace, buildSession("note", "note", { spec: { idleTimeoutSeconds: 0 } }));
  await reasonIs("note", "AwaitingToolResult");
  await withoutPods("note");
  const result = { call: "root/1/0", status: "ok", content: "note 17" };
  const first = await post("note", "tool.finished", result);
  assert.equal((await post("note", "tool.finished", result)).seq, first.seq);
  const { status } = await refusal("note", "tool.finished", { ...result, content: "note 18" });
  assert.equal(status, 409);
  assert.equal(reasonOf(await finished(namespace, "note")), "Completed");
  assert.equal(first.by?.endsWith(":user"), true, "the log says who answered");
});

test("arguments that do not fit a custom tool's schema are the model's to repair; no client is asked", async () => {
  await apply(namespace, buildSession("wrong", "wrong"));
  assert.equal(reasonOf(await finished(namespace, "wrong")), "Completed");
  assert.equal((await readLog(gateway, namespace, "wrong", token)).some(({ type }) => type === "tool.started"), false);
});

test("cancel during a command ends it and the session", async () => {
  await apply(namespace, buildSession("stuck", "stuck"));
  await seen("stuck", "the start of the command", ({ type }) => type === "tool.started");
  await patch("stuck", { cancel: true });
  assert.equal(reasonOf(await finished(namespace, "stuck")), "Cancelled");
  await withoutPods("stuck");
  assert.equal((await modelRequests(namespace)).filter(({ prompt }) => prompt === "stuck").length, 1);
});
