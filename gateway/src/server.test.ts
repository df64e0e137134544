import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { after, before, test } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import type { RecordView } from "@paddock/api/wire/records";
import type { Assignment } from "@paddock/api/wire/runner";
import { follow, send } from "../../test/fakes/client.ts";
import type { Events, Reply, ServerEvent } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";
import { buildTestBundle, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent } from "../../test/fakes/session.ts";

const COALESCE_MS = 400;

let gateway: LocalGateway;
let operator: string;
let ann: string;

before(async () => {
  gateway = await startLocalGateway({ keepAliveMs: 100, coalesceMs: COALESCE_MS, writeTimeoutMs: 500, recheckMs: 100 });
  operator = gateway.reviews.operatorToken();
  ann = gateway.reviews.personToken("ann", ["team"]);
});
after(() => gateway.close());

interface Made {
  readonly uid: string;
  readonly podUid: string;
  readonly token: string;
  /** Path of its events for people. */
  readonly path: string;
}

let made = 0;

async function asOperator(method: string, path: string, body?: unknown): Promise<Reply> {
  return send(gateway, { method, path, token: operator, body });
}

/** A bound session with a registered runner pod. */
async function makeSession(): Promise<Made> {
  const uid = `u${(made += 1)}`;
  const podUid = `pod-${uid}`;
  const created = await asOperator("PUT", `/v1/records/${uid}`, { bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
  assert.equal(created.status, 201);
  await registerRunner(uid, podUid);
  return { uid, podUid, token: runnerToken(podUid), path: `/v1/namespaces/team/sessions/session-${uid}/events` };
}

async function registerRunner(uid: string, podUid: string): Promise<void> {
  assert.equal((await asOperator("PUT", `/v1/pods/${podUid}`, { sessionUid: uid, component: "runner", podName: podUid })).status, 204);
}

function runnerToken(podUid: string, namespace = "team"): string {
  return gateway.reviews.runnerToken({ namespace, podUid, podName: podUid });
}

async function append(token: string, batch: number, events: readonly NewEvent[], epoch = 1): Promise<Reply> {
  return send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch, batch, events } });
}

async function next(events: Events): Promise<ServerEvent> {
  const { value, done } = await events.next();
  assert.notEqual(done, true, "the stream ended");
  return value as ServerEvent;
}

async function take(events: Events, count: number): Promise<ServerEvent[]> {
  const taken: ServerEvent[] = [];
  while (taken.length < count) taken.push(await next(events));
  return taken;
}

async function takeAll(events: Events): Promise<ServerEvent[]> {
  const taken: ServerEvent[] = [];
  for await (const one of events) taken.push(one);
  return taken;
}

function problemOf({ status, body }: Reply): string {
  const { type, detail } = body as { type: string; detail: string };
  assert.ok(detail.length > 20, detail);
  return `${status} ${type.replace("https://paddock.dev/problems/", "")}`;
}

function seqOf({ data }: ServerEvent): number {
  return (data as LogEvent).seq;
}

test("only health is served without a token, and a wrong one says what to do", async () => {
  assert.deepEqual(await send(gateway, { path: "/healthz" }).then(({ status, body }) => [status, body]), [200, "ok"]);
  for (const path of ["/v1/records", "/v1/runner", "/v1/namespaces/team/sessions/x/events", "/v1/anything"]) {
    const reply = await send(gateway, { path });
    assert.equal(problemOf(reply), "401 unauthenticated");
    assert.equal(reply.headers["www-authenticate"], "Bearer");
    assert.equal(problemOf(await send(gateway, { path, token: "wrong" })), "401 unauthenticated");
  }
  assert.equal((await send(gateway, { path: "/other" })).status, 404);
});

test("each audience reaches its own routes only", async () => {
  const { token, path, uid } = await makeSession();
  for (const foreign of [ann, token]) {
    assert.equal(problemOf(await send(gateway, { path: "/v1/records", token: foreign })), "403 forbidden");
    assert.equal(problemOf(await send(gateway, { method: "PUT", path: `/v1/records/${uid}`, token: foreign, body: {} })), "403 forbidden");
    assert.equal(problemOf(await send(gateway, { method: "DELETE", path: `/v1/records/${uid}`, token: foreign })), "403 forbidden");
    assert.equal(problemOf(await send(gateway, { method: "POST", path: `/v1/records/${uid}/events`, token: foreign, body: {} })), "403 forbidden");
    assert.equal(problemOf(await send(gateway, { method: "PUT", path: "/v1/pods/x", token: foreign, body: {} })), "403 forbidden");
  }
  for (const foreign of [ann, operator]) {
    assert.equal(problemOf(await send(gateway, { path: "/v1/runner", token: foreign })), "403 forbidden");
    assert.equal(problemOf(await append(foreign, 1, [startedEvent("x", 1)])), "403 forbidden");
  }
  assert.equal(problemOf(await send(gateway, { path, token })), "403 forbidden");
  assert.equal(problemOf(await send(gateway, { path, token: gateway.reviews.personToken("bob", ["elsewhere"]) })), "403 forbidden");
});

test("an API server that cannot be asked is no refusal for ever", async () => {
  gateway.reviews.setBroken(true);
  const fresh = gateway.reviews.personToken("carol", ["team"]);
  assert.equal(problemOf(await send(gateway, { path: "/v1/namespaces/team/sessions/none/events", token: fresh })), "503 unavailable");
  gateway.reviews.setBroken(false);
  assert.equal(problemOf(await send(gateway, { path: "/v1/namespaces/team/sessions/none/events", token: fresh })), "404 not-found");
});

test("a token is reviewed once a minute, not once a request", async () => {
  const token = gateway.reviews.personToken("dora", ["team"]);
  const { path } = await makeSession();
  await send(gateway, { path, token });
  const before = [gateway.reviews.asked("tokenreviews"), gateway.reviews.asked("subjectaccessreviews")];
  for (let n = 0; n < 5; n += 1) assert.equal((await send(gateway, { path, token })).status, 200);
  assert.deepEqual([gateway.reviews.asked("tokenreviews"), gateway.reviews.asked("subjectaccessreviews")], before);
});

test("the CA's certificate is published", async () => {
  const published = (): string | undefined => gateway.reviews.configMap("paddock-system", "paddock-gateway-ca")["ca.crt"];
  while (published() === undefined) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(published(), gateway.ca);
});

test("records: created once, another bundle conflicts and names the stored one", async () => {
  const { uid } = await makeSession();
  const other = await asOperator("PUT", `/v1/records/${uid}`, { bundle: buildTestBundle(uid, { limits: { maxTurns: 1, timeoutSeconds: 9 } }), namespaceUid: "n1", prompt: "Hello" });
  assert.equal(problemOf(other), "409 conflict");
  assert.equal((other.body as { record: RecordView }).record.bundle.limits.maxTurns, 5);
  assert.equal(problemOf(await asOperator("PUT", "/v1/records/another", { bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" })), "400 malformed");
  const malformed = await asOperator("PUT", `/v1/records/${uid}`, { bundle: { version: 2 }, namespaceUid: "n1", prompt: "" });
  assert.match((malformed.body as { detail: string }).detail, /bundle\.version/);
  assert.equal(problemOf(await asOperator("POST", "/v1/records/nobody/events", { events: [event("session.cancelled", { reason: "" })] })), "404 not-found");
  assert.equal(problemOf(await asOperator("PUT", "/v1/pods/p", { sessionUid: "nobody", component: "runner", podName: "p" })), "404 not-found");
});

test("malformed, deep and large bodies are refused with what is wrong", async () => {
  const { token, podUid } = await makeSession();
  const raw = (body: string) => send(gateway, { method: "POST", path: "/v1/runner/events", token, body });
  assert.equal(problemOf(await raw("{")), "400 malformed");
  assert.equal(problemOf(await raw("{}")), "400 malformed");
  assert.equal(problemOf(await append(token, 1, [])), "400 malformed");
  assert.equal(problemOf(await raw(`${"[".repeat(100_000)}${"]".repeat(100_000)}`)), "400 malformed");
  assert.equal(problemOf(await raw(`{"x":"${"x".repeat(9 * 1024 * 1024)}"}`)), "413 too-large");
  const chunked = await send(gateway, { method: "POST", path: "/v1/runner/events", token, body: "{}", headers: { "transfer-encoding": "chunked" } });
  assert.equal(problemOf(chunked), "400 malformed");
  const wrong = await raw(JSON.stringify({ epoch: 1, batch: 1, events: [{ type: "runner.started", data: { epoch: 0, podUid } }] }));
  assert.match((wrong.body as { detail: string }).detail, /events\[0\]: runner\.started.*epoch/s);
});

test("a runner that comes before its registration is held, then gets assignment and log", async () => {
  const uid = `u${(made += 1)}`;
  const podUid = `early-${uid}`;
  const token = runnerToken(podUid);
  const stream = await follow(gateway, { path: "/v1/runner", token });
  assert.equal(problemOf(await append(token, 1, [startedEvent(podUid, 1)])), "409 unexpected");
  await asOperator("PUT", `/v1/records/${uid}`, { bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
  await registerRunner(uid, podUid);
  const [assigned, first, second] = await take(stream, 3);
  assert.equal(assigned?.event, "assignment");
  const { epoch, started, lastBatch, bindKey, bundle } = assigned.data as Assignment;
  assert.deepEqual([epoch, started, lastBatch, bundle.session.uid], [1, false, 0, uid]);
  assert.ok(bindKey.length >= 32);
  assert.deepEqual([first?.event, first?.id, second?.id], ["log", "1", "2"]);
  assert.equal((await append(token, 1, [startedEvent(podUid, 1)])).status, 200);
  assert.equal((await next(stream)).id, "3");
  stream.close();
  const again = await follow(gateway, { path: "/v1/runner", token, headers: { "last-event-id": "2" } });
  const [reassigned, resumed] = await take(again, 2);
  assert.deepEqual([(reassigned?.data as Assignment).started, (reassigned?.data as Assignment).lastBatch, resumed?.id], [true, 1, "3"]);
  again.close();
});

test("a runner of another namespace, a sandbox pod and a replaced runner are refused", async () => {
  const { uid, podUid, token } = await makeSession();
  assert.equal(problemOf(await append(runnerToken(podUid, "elsewhere"), 1, [startedEvent(podUid, 1)])), "403 forbidden");
  await asOperator("PUT", "/v1/pods/sandbox-1", { sessionUid: uid, component: "sandbox", podName: "s" });
  assert.equal(problemOf(await append(runnerToken("sandbox-1"), 1, [startedEvent("sandbox-1", 1)])), "403 forbidden");
  const stream = await follow(gateway, { path: "/v1/runner", token });
  assert.equal((await next(stream)).event, "assignment");
  await registerRunner(uid, `${podUid}-next`);
  await takeAll(stream);
  assert.equal(problemOf(await send(gateway, { path: "/v1/runner", token })), "409 fenced");
  assert.equal(problemOf(await append(token, 1, [startedEvent(podUid, 1)])), "409 fenced");
});

test("refusals of appends carry whether asking again can help", async () => {
  const { token, podUid } = await makeSession();
  await append(token, 1, [startedEvent(podUid, 1)]);
  const refused = await append(token, 2, [requestedEvent(2, 1, 3)]);
  assert.equal(problemOf(refused), "409 unexpected");
  assert.equal((refused.body as { refusal: string }).refusal, "final");
});

test("people list a session's events by page and type", async () => {
  const { path, uid } = await makeSession();
  const list = async (query: string): Promise<{ uid: string; events: LogEvent[]; lastSeq: number; finished: boolean }> => {
    const { status, body } = await send(gateway, { path: `${path}${query}`, token: ann });
    assert.equal(status, 200);
    return body as { uid: string; events: LogEvent[]; lastSeq: number; finished: boolean };
  };
  const all = await list("");
  assert.deepEqual([all.uid, all.lastSeq, all.finished, all.events.map(({ type }) => type)], [uid, 2, false, ["session.bound", "input.received"]]);
  assert.deepEqual((await list("?after=1")).events.map(({ seq }) => seq), [2]);
  assert.deepEqual((await list("?limit=1")).events.map(({ seq }) => seq), [1]);
  assert.deepEqual((await list("?types=input.received,model.responded")).events.map(({ seq }) => seq), [2]);
  assert.deepEqual((await list(`?uid=${uid}`)).events.length, 2);
  for (const query of ["?after=-1", "?limit=0", "?limit=1001", "?types=nothing"]) {
    assert.equal(problemOf(await send(gateway, { path: path + query, token: ann })), "400 malformed");
  }
  assert.equal(problemOf(await send(gateway, { path: `${path}?uid=other`, token: ann })), "404 not-found");
});

test("a person's stream tells the state, replays, goes on live without gap or duplicate, and ends with the run", async () => {
  const { path, token, podUid, uid } = await makeSession();
  await append(token, 1, [startedEvent(podUid, 1)]);
  const turns = 40;
  const followers: Promise<ServerEvent[]>[] = [];
  for (let attempt = 1; attempt <= turns; attempt += 1) {
    await append(token, 2 * attempt, [requestedEvent(1, attempt, 3)]);
    // Readers that come while the log grows, each from somewhere else.
    if (attempt % 4 === 0) followers.push(follow(gateway, { path, token: ann, headers: { "last-event-id": `${uid}:${attempt}` } }).then(takeAll));
    await append(token, 2 * attempt + 1, [event("model.failed", { turn: 1, attempt, class: "overloaded", message: "" })]);
  }
  await asOperator("POST", `/v1/records/${uid}/events`, { events: [event("session.cancelled", { reason: "" }), runFinishedEvent({ outcome: "Cancelled" })] });
  const last = 3 + 2 * turns + 2;
  for (const [index, read] of (await Promise.all(followers)).entries()) {
    const from = 4 * (index + 1);
    const [state, ...rest] = read;
    assert.equal(state?.event, "state");
    assert.equal(state.id, undefined);
    assert.equal(rest.pop()?.event, "end");
    assert.deepEqual(rest.map(seqOf), Array.from({ length: last - from }, (_, offset) => from + 1 + offset));
    assert.equal(rest.at(-1)?.id, `${uid}:${last}`);
  }
  const done = await follow(gateway, { path: `${path}?types=run.finished`, token: ann }).then(takeAll);
  assert.deepEqual(done.map((one) => one.event), ["state", "log", "end"]);
  assert.equal((done[0]?.data as RecordView).activity.kind, "Finished");
});

test("deltas are shown to readers, not stored, and dropped when their answer is there", async () => {
  const { path, token, podUid } = await makeSession();
  await append(token, 1, [startedEvent(podUid, 1)]);
  await append(token, 2, [requestedEvent(1, 1, 3)]);
  const stream = await follow(gateway, { path: `${path}?after=3`, token: ann });
  assert.deepEqual((await take(stream, 2)).map((one) => one.event), ["state", "log"]);
  const delta = (body: unknown) => send(gateway, { method: "POST", path: "/v1/runner/deltas", token, body });
  assert.equal((await delta({ turn: 1, attempt: 1, text: "Hel" })).status, 202);
  const shown = await next(stream);
  assert.deepEqual([shown.event, shown.id, shown.data], ["delta", undefined, { turn: 1, attempt: 1, text: "Hel" }]);
  await append(token, 3, [respondedEvent(1, 1)]);
  assert.equal((await delta({ turn: 1, attempt: 1, text: "late" })).status, 202);
  await append(token, 4, [runFinishedEvent({ through: 5 })]);
  assert.deepEqual((await takeAll(stream)).map((one) => one.event), ["log", "log", "end"]);
  assert.equal((await send(gateway, { path, token: ann })).status, 200);
});

test("a reader whose right is taken away is cut", async () => {
  const local = await startLocalGateway({ recheckMs: 20, reviewMs: 20 });
  try {
    const admin = local.reviews.operatorToken();
    await send(local, { method: "PUT", path: "/v1/records/x", token: admin, body: { bundle: buildTestBundle("x"), namespaceUid: "n1", prompt: "Hello" } });
    const path = "/v1/namespaces/team/sessions/session-x/events";
    const revoked = local.reviews.personToken("eve", ["team"]);
    const ofRevoked = await follow(local, { path, token: revoked });
    assert.equal((await next(ofRevoked)).event, "state");
    const ofOther = await follow(local, { path, token: local.reviews.personToken("ann", ["team"]) });
    local.reviews.revoke(revoked);
    assert.deepEqual((await takeAll(ofRevoked)).map((one) => one.event), ["log", "log"]);
    await send(local, { method: "POST", path: "/v1/records/x/events", token: admin, body: { events: [runFinishedEvent({ outcome: "Cancelled" })] } });
    assert.deepEqual((await takeAll(ofOther)).map((one) => one.event), ["state", "log", "log", "log", "end"]);
  } finally {
    await local.close();
  }
});

interface Record {
  readonly id: string;
  readonly view: RecordView;
}

async function followRecords(lastEventId?: string, target: LocalGateway = gateway): Promise<Events> {
  return follow(target, { path: "/v1/records", token: operator, ...(lastEventId === undefined ? {} : { headers: { "last-event-id": lastEventId } }) });
}

/** The next record of this session that the stream tells; others' are passed over. */
async function nextRecord(stream: Events, uid: string): Promise<Record> {
  for (;;) {
    const { event: name, id = "", data } = await next(stream);
    const view = data as RecordView;
    if (name === "record" && view.uid === uid) return { id, view };
  }
}

async function nextOf(stream: Events, name: string): Promise<ServerEvent> {
  for (;;) {
    const told = await next(stream);
    if (told.event === name) return told;
  }
}

test("the operator's stream lists records, says when it is in sync, and tells what changes", async () => {
  const { uid, token, podUid } = await makeSession();
  const stream = await followRecords();
  const listed = await nextRecord(stream, uid);
  assert.deepEqual([listed.view.activity, listed.view.runner.podUid, listed.view.runner.connected], [{ kind: "Active" }, podUid, false]);
  await nextOf(stream, "synced");
  const runner = await follow(gateway, { path: "/v1/runner", token });
  assert.equal((await nextRecord(stream, uid)).view.runner.connected, true);
  await append(token, 1, [startedEvent(podUid, 1)]);
  assert.equal((await nextRecord(stream, uid)).view.runner.epoch, 1);
  await append(token, 2, [event("sandbox.requested", { reason: "bash" })]);
  assert.equal((await nextRecord(stream, uid)).view.sandbox.pending, true);
  await append(token, 3, [event("runner.reported", { problem: "CredentialMissing", subject: "secret key/api", message: "" })]);
  assert.equal((await nextRecord(stream, uid)).view.problem?.subject, "secret key/api");
  runner.close();
  assert.equal((await nextRecord(stream, uid)).view.runner.connected, false);
  await asOperator("POST", `/v1/records/${uid}/events`, { events: [runFinishedEvent({ outcome: "Cancelled", text: "é".repeat(4000), reason: "why" })] });
  const { result, activity } = (await nextRecord(stream, uid)).view;
  assert.equal(activity.kind, "Finished");
  assert.deepEqual([result?.outcome, result?.text.length, result?.truncated, result?.message], ["Cancelled", 2048, true, "why"]);
  assert.equal((await asOperator("DELETE", `/v1/records/${uid}`)).status, 204);
  assert.deepEqual((await nextOf(stream, "gone")).data, { uid });
  stream.close();
});

test("counters are told together, at most once per interval", async () => {
  const { uid, token, podUid } = await makeSession();
  const stream = await followRecords();
  await nextOf(stream, "synced");
  await append(token, 1, [startedEvent(podUid, 1)]);
  await nextRecord(stream, uid);
  const begun = performance.now();
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    await append(token, 2 * attempt, [requestedEvent(1, attempt, 3)]);
    await append(token, 2 * attempt + 1, [event("model.failed", { turn: 1, attempt, class: "server", message: "" })]);
  }
  let told = 0;
  for (let lastSeq = 0; lastSeq < 23; told += 1) lastSeq = (await nextRecord(stream, uid)).view.lastSeq;
  const intervals = (performance.now() - begun) / COALESCE_MS;
  assert.ok(told <= intervals + 1, `20 changes of counters were told ${told} times in ${intervals} intervals`);
  stream.close();
});

test("the operator goes on from where it was, and begins anew with another store", async () => {
  const { uid } = await makeSession();
  const first = await followRecords();
  const synced = await nextOf(first, "synced");
  first.close();
  const missed = await makeSession();
  const second = await followRecords(synced.id);
  const told = (await take(second, 2)).map((one) => [one.event, (one.data as RecordView).uid]);
  assert.deepEqual(told, [["record", missed.uid], ["synced", undefined]]);
  second.close();
  const elsewhere = await followRecords("00000000-0000-0000-0000-000000000000:5");
  assert.equal((await next(elsewhere)).event, "reset");
  await nextRecord(elsewhere, uid);
  await nextOf(elsewhere, "synced");
  elsewhere.close();
});

test("an unfinished record is not acknowledged", async () => {
  const { uid } = await makeSession();
  assert.equal(problemOf(await asOperator("DELETE", `/v1/records/${uid}`)), "409 conflict");
  assert.equal(problemOf(await asOperator("DELETE", "/v1/records/nobody")), "404 not-found");
});

test("idle streams are kept alive by comments", async () => {
  const { token } = await makeSession();
  const stream = await follow(gateway, { path: "/v1/runner", token });
  await take(stream, 3);
  const waiting = stream.next();
  while (!stream.comments.includes("alive")) await new Promise((resolve) => setImmediate(resolve));
  stream.close();
  assert.equal((await waiting).done, true);
});

test("appends, reviews and streams are counted", async () => {
  const text = await gateway.metrics.text();
  assert.match(text, /paddock_gateway_appends_total\{type="runner.started",result="stored"\} [1-9]/);
  assert.match(text, /paddock_gateway_appends_total\{type="model.requested",result="refused"\} 1/);
  assert.match(text, /paddock_gateway_token_reviews_total\{result="identity"\} [1-9]/);
  assert.match(text, /paddock_gateway_open_streams\{audience="person"\} 0/);
});

test("a gateway that stops takes no request on a connection that a stream has left", { timeout: 60_000 }, async (t) => {
  const own = await startLocalGateway();
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: own.ca });
  t.after(async () => {
    agent.destroy();
    await own.close();
  });
  const get = async (path: string, token: string): Promise<IncomingMessage> => {
    const sent = request(`${own.url}${path}`, { agent, headers: { authorization: `Bearer ${token}` } }).end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    return response;
  };
  const stream = await get("/v1/records", own.reviews.operatorToken());
  assert.equal(stream.statusCode, 200);
  const stopped = own.stop();
  for await (const _ of stream);
  await assert.rejects(get("/v1/records", own.reviews.operatorToken()), /ECONNRE|socket hang up/);
  await stopped;
  await own.start();
});
