import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished } from "./lab.ts";
import { must } from "./kubectl.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { openGateway, readLog, tokenOf, userToken } from "./people.ts";
import type { PeopleClient } from "./people.ts";

let namespace: string;
let gateway: PeopleClient;
let token: string;
const path = (session: string, query = ""): string => `/v1/namespaces/${namespace}/sessions/${session}/events${query}`;

before(async () => {
  namespace = await openNamespace("log");
  await deployModel(namespace, { steps: [call("bash", { command: "sleep 2; echo one" }), call("bash", { command: "echo two" }), say("Both ran.")] });
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
  token = await userToken(namespace);
  gateway = await openGateway();
});

after(() => {
  gateway.close();
});

test("a user follows a session live and reads the same log afterwards", async () => {
  await apply(namespace, buildSession("followed", "steps"));
  await eventually("the session's log", async () => (await gateway.get(path("followed"), token)).status === 200);
  const seen = await gateway.follow(path("followed"), token, {});
  assert.equal(seen[0]?.event, "state", "the first event tells the current state");
  const ids = seen.flatMap(({ id }) => (id === undefined ? [] : [id]));
  const events = await readLog(gateway, namespace, "followed", token);
  assert.deepEqual(ids.map((id) => Number(id.split(":")[1])), events.map(({ seq }) => seq));
  assert.equal(events[0]?.type, "session.bound");
  assert.equal(events.at(-1)?.type, "run.finished");
  await finished(namespace, "followed");
});

test("a stream resumes after Last-Event-ID without gap or duplicate", async () => {
  const all = await gateway.follow(path("followed"), token, {});
  const ids = all.flatMap(({ id }) => (id === undefined ? [] : [id]));
  const middle = ids[3];
  assert.ok(middle);
  const rest = await gateway.follow(path("followed"), token, { lastEventId: middle });
  assert.deepEqual(rest.flatMap(({ id }) => (id === undefined ? [] : [id])), ids.slice(4));
});

test("a page is limited and goes on after a sequence number", async () => {
  const { body } = await gateway.get(path("followed", "?after=2&limit=3"), token);
  assert.deepEqual((JSON.parse(body) as { events: { seq: number }[] }).events.map(({ seq }) => seq), [3, 4, 5]);
});

test("no token and a wrong token: 401 with a sentence", async () => {
  for (const wrong of [undefined, "not-a-token", `${token}x`]) {
    const { status, body } = await gateway.get(path("followed"), wrong);
    assert.equal(status, 401, body);
    assert.match((JSON.parse(body) as { detail: string }).detail, /token/i);
  }
});

test("a token of somebody without the right: 403 with the right to ask for", async () => {
  await must(["create", "serviceaccount", "stranger", "-n", namespace]);
  const { status, body } = await gateway.get(path("followed"), await tokenOf(namespace, "stranger"));
  assert.equal(status, 403);
  assert.match((JSON.parse(body) as { detail: string }).detail, /sessions\/events/);
});

test("a user of another namespace: 403", async () => {
  const other = await openNamespace("log-other");
  const { status } = await gateway.get(path("followed"), await userToken(other));
  assert.equal(status, 403);
});

test("a session that does not exist: 404 with a sentence", async () => {
  const { status, body } = await gateway.get(path("nobody"), token);
  assert.equal(status, 404);
  assert.match((JSON.parse(body) as { detail: string }).detail, /nobody/);
});
