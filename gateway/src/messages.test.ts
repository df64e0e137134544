import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import type { PersonAppendReply, StateView } from "@paddock/api/wire/people";
import type { RecordView } from "@paddock/api/wire/records";
import { follow, send } from "../../test/fakes/client.ts";
import type { Events, Reply, ServerEvent } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";
import { STREAMS_PER_PERSON } from "./api/seats.ts";
import { buildTestBundle, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent } from "../../test/fakes/session.ts";

// Conversations over real HTTP: messages of people and of the operator, waiting and going on.

let gateway: LocalGateway;
let operator: string;
let ann: string;
let bob: string;

before(async () => {
  gateway = await startLocalGateway();
  operator = gateway.reviews.operatorToken();
  ann = gateway.reviews.personToken("ann", ["team"], ["get", "create"]);
  bob = gateway.reviews.personToken("bob", ["team"], ["get", "create"]);
});
after(() => gateway.close());

interface Made {
  readonly uid: string;
  readonly podUid: string;
  readonly token: string;
  readonly path: string;
}

let made = 0;

async function makeSession(change: Partial<Bundle> = { mode: "Conversation" }): Promise<Made> {
  const uid = `m${(made += 1)}`;
  const podUid = `pod-${uid}`;
  assert.equal((await asOperator("PUT", `/v1/records/${uid}`, { bundle: buildTestBundle(uid, change), namespaceUid: "n1", prompt: "Hello" })).status, 201);
  assert.equal((await asOperator("PUT", `/v1/pods/${podUid}`, { sessionUid: uid, component: "runner", podName: podUid })).status, 204);
  return { uid, podUid, token: gateway.reviews.runnerToken({ namespace: "team", podUid, podName: podUid }), path: `/v1/namespaces/team/sessions/session-${uid}/events` };
}

/** A session whose runner has answered the prompt and waits: events 3 to 6. */
async function makeWaiting(): Promise<Made> {
  const session = await makeSession();
  const events = [startedEvent(session.podUid, 1), requestedEvent(1, 1, 3), respondedEvent(1, 1), event("run.waiting", { for: "input", text: "Done.", through: 5 })];
  const reply = await append(session.token, 1, events);
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  return session;
}

async function asOperator(method: string, path: string, body: unknown): Promise<Reply> {
  return send(gateway, { method, path, token: operator, body });
}

async function append(token: string, batch: number, events: readonly NewEvent[]): Promise<Reply> {
  return send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch, events } });
}

async function say(path: string, content: unknown, { token = ann, key }: { readonly token?: string; readonly key?: string } = {}): Promise<Reply> {
  const headers = key === undefined ? {} : { "idempotency-key": key };
  return send(gateway, { method: "POST", path, token, headers, body: { type: "input.received", data: { content } } });
}

function problemOf({ status, body }: Reply): string {
  const { type, detail } = body as { type: string; detail: string };
  assert.ok(detail.length > 20, detail);
  return `${status} ${type.replace("https://paddock.dev/problems/", "")}`;
}

function eventOf({ status, body }: Reply): LogEvent {
  assert.equal(status, 200, JSON.stringify(body));
  return (body as PersonAppendReply).event;
}

async function recordOf(uid: string): Promise<RecordView> {
  const stream = await follow(gateway, { path: "/v1/records", token: operator });
  try {
    for await (const { event: kind, data } of stream) if (kind === "record" && (data as RecordView).uid === uid) return data as RecordView;
  } finally {
    stream.close();
  }
  throw new Error(`no record of ${uid}`);
}

async function next(events: Events): Promise<ServerEvent> {
  const { value, done } = await events.next();
  assert.notEqual(done, true, "the stream ended");
  return value as ServerEvent;
}

async function until(events: Events, fits: (view: RecordView) => boolean): Promise<RecordView> {
  for (;;) {
    const { event: kind, data } = await next(events);
    if (kind === "record" && fits(data as RecordView)) return data as RecordView;
  }
}

test("a message is stored with its author, wakes the operator and the runner, and moves the deadline", async () => {
  const { uid, token, path } = await makeWaiting();
  const records = await follow(gateway, { path: "/v1/records", token: operator });
  const waiting = await until(records, (view) => view.uid === uid);
  assert.deepEqual([waiting.activity.kind, waiting.answer, waiting.deadline], ["Waiting", { text: "Done.", truncated: false }, undefined]);
  const runner = await follow(gateway, { path: "/v1/runner", token, headers: { "last-event-id": "6" } });
  assert.equal((await next(runner)).event, "assignment");

  const stored = eventOf(await say(path, "And now?"));
  assert.partialDeepStrictEqual(stored, { seq: 7, type: "input.received", role: "person", by: "ann", data: { content: "And now?" } });
  assert.deepEqual((await next(runner)).data, stored);
  const active = await until(records, (view) => view.uid === uid && view.activity.kind === "Active");
  assert.deepEqual([active.deadline, active.answer], [undefined, undefined], "its time begins with what a runner does next");
  assert.equal((await append(token, 2, [requestedEvent(2, 1, 7)])).status, 200);
  const begun = await until(records, (view) => view.uid === uid && view.deadline !== undefined);
  assert.ok(Date.parse(begun.deadline ?? "") >= Date.parse(stored.at) + 3_600_000);
  runner.close();
  records.close();
});

test("people are told in the state that a session waits, and what it answered", async () => {
  const { path } = await makeWaiting();
  const stream = await follow(gateway, { path, token: ann });
  const { event: kind, data } = await next(stream);
  stream.close();
  const { activity, answer } = data as StateView;
  assert.deepEqual([kind, activity.kind, answer?.text], ["state", "Waiting", "Done."]);
  const { body } = await send(gateway, { path, token: ann });
  assert.partialDeepStrictEqual(body, { lastSeq: 6, finished: false });
});

test("the same key by the same person is the same message, another person's is another", async () => {
  const { uid, path } = await makeWaiting();
  const first = eventOf(await say(path, "once", { key: "k1" }));
  assert.equal((first as { data: { id: string } }).data.id, "k1");
  assert.deepEqual(eventOf(await say(path, "once", { key: "k1" })), first);
  const theirs = eventOf(await say(path, "once", { token: bob, key: "k1" }));
  assert.deepEqual([theirs.seq, theirs.by], [first.seq + 1, "bob"]);
  const operators = await asOperator("POST", `/v1/records/${uid}/events`, { events: [event("input.received", { id: "k1", content: "minute" })] });
  assert.equal((operators.body as { events: LogEvent[] }).events[0]?.seq, first.seq + 2);
  const without = [eventOf(await say(path, "twice")), eventOf(await say(path, "twice"))];
  assert.deepEqual(without.map(({ seq }) => seq), [first.seq + 3, first.seq + 4], "without a key each is a message of its own");
});

test("the same message sent many times at once is stored once", async () => {
  const { path } = await makeWaiting();
  const replies = await Promise.all(Array.from({ length: 10 }, () => say(path, "once", { key: "k" })));
  assert.deepEqual(new Set(replies.map((reply) => eventOf(reply).seq)), new Set([7]));
});

test("a schedule's prompt is taken once by its id, and refused when the session is over", async () => {
  const { uid } = await makeWaiting();
  const prompt = (id: string): Promise<Reply> => asOperator("POST", `/v1/records/${uid}/events`, { events: [event("input.received", { id, content: "It is time." })] });
  const first = await prompt("s1/2026-01-01T00:00Z");
  assert.deepEqual((await prompt("s1/2026-01-01T00:00Z")).body, first.body);
  await asOperator("POST", `/v1/records/${uid}/events`, { events: [event("session.cancelled", { reason: "spec.cancel" })] });
  assert.equal(problemOf(await prompt("s1/2026-01-01T00:01Z")), "409 stopped");
  await asOperator("POST", `/v1/records/${uid}/events`, { events: [runFinishedEvent({ outcome: "Cancelled", text: "", through: 8 })] });
  assert.equal(problemOf(await prompt("s1/2026-01-01T00:01Z")), "409 finished");
  assert.deepEqual((await prompt("s1/2026-01-01T00:00Z")).body, first.body, "what was taken before the end stays taken");
});

test("a runner cannot wait with a message unread, and goes on with it", async () => {
  const { token, podUid, path } = await makeSession();
  await append(token, 1, [startedEvent(podUid, 1), requestedEvent(1, 1, 3), respondedEvent(1, 1)]);
  eventOf(await say(path, "One more"));
  const waits = (through: number): NewEvent => event("run.waiting", { for: "input", text: "Done.", through });
  assert.equal(problemOf(await append(token, 2, [waits(5)])), "409 stale");
  assert.equal(problemOf(await append(token, 2, [waits(6)])), "409 stale", "to have read it is not to have answered it");
  const reply = await append(token, 2, [requestedEvent(2, 1, 6), respondedEvent(2, 1), waits(8)]);
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
});

test("a Task takes messages while it runs, and says what to do when it is over", async () => {
  const { token, podUid, path } = await makeSession({});
  await append(token, 1, [startedEvent(podUid, 1), requestedEvent(1, 1, 3)]);
  assert.equal(eventOf(await say(path, "Be quick")).seq, 5);
  assert.equal((await append(token, 2, [respondedEvent(1, 1)])).status, 200);
  assert.equal(problemOf(await append(token, 3, [event("run.waiting", { for: "input", text: "", through: 6 })])), "409 denied");
  assert.equal(problemOf(await append(token, 3, [runFinishedEvent({ through: 6 })])), "409 stale");
  assert.equal((await append(token, 3, [requestedEvent(2, 1, 6), respondedEvent(2, 1), runFinishedEvent({ through: 8 })])).status, 200);
  const late = await say(path, "Wait");
  assert.equal(problemOf(late), "409 finished");
  assert.match((late.body as { detail: string }).detail, /finished with Completed.*make another Session/);
});

test("who may read may not write by that, and a pod is nobody", async () => {
  const { token, path } = await makeWaiting();
  const reader = gateway.reviews.personToken("carl", ["team"]);
  assert.equal((await send(gateway, { path, token: reader })).status, 200);
  const refused = await say(path, "Hi", { token: reader });
  assert.equal(problemOf(refused), "403 forbidden");
  assert.match((refused.body as { detail: string }).detail, /carl may not create sessions\/events of paddock\.dev in namespace team/);
  assert.equal(problemOf(await say(path, "Hi", { token: gateway.reviews.personToken("dan", ["other"], ["create"]) })), "403 forbidden");
  assert.equal(problemOf(await say(path, "Hi", { token })), "403 forbidden");
  const writer = gateway.reviews.personToken("eva", ["team"], ["create"]);
  assert.equal(problemOf(await send(gateway, { path, token: writer })), "403 forbidden");
  assert.equal(eventOf(await say(path, "Hi", { token: writer })).by, "eva");
});

test("what is no message is refused with what is wrong", async () => {
  const { path, uid } = await makeWaiting();
  const post = (body: unknown): Promise<Reply> => send(gateway, { method: "POST", path, token: ann, body });
  for (const body of ["{", {}, { type: "run.finished", data: {} }, { type: "input.received" }]) assert.equal(problemOf(await post(body)), "400 malformed");
  for (const content of ["", "  \n", "a\0b", 5, "x".repeat(98_305)]) assert.equal(problemOf(await say(path, content)), "400 malformed");
  assert.equal(problemOf(await say(path, "x".repeat(8 * 1024 * 1024))), "413 too-large");
  for (const key of ["", " ", "x".repeat(201)]) assert.equal(problemOf(await say(path, "Hi", { key })), "400 malformed");
  assert.equal(problemOf(await say("/v1/namespaces/team/sessions/nobody/events", "Hi")), "404 not-found");
  assert.equal(problemOf(await say(`${path}?uid=other`, "Hi")), "404 not-found");
  assert.equal((await recordOf(uid)).lastSeq, 6, "nothing was stored");
});

test("a credential in a message is replaced before it is stored", async () => {
  const { path } = await makeWaiting();
  const stored = eventOf(await say(path, `use sk-${"a1B2".repeat(8)}`));
  assert.deepEqual((stored as { data: { content: string } }).data.content, "use [redacted]");
});

test("a person has so many streams at once, others have theirs, and a closed one makes room", async () => {
  const { path } = await makeWaiting();
  const fay = gateway.reviews.personToken("fay", ["team"]);
  const streams = await Promise.all(Array.from({ length: STREAMS_PER_PERSON }, () => follow(gateway, { path, token: fay })));
  const open = (token: string): Promise<Events> => follow(gateway, { path, token });
  await assert.rejects(open(fay), /status 429: .*too-many.*fay has 64 event streams open/);
  assert.equal((await send(gateway, { path, token: fay })).status, 200, "pages are served all the same");
  streams.push(await open(ann));
  streams.shift()?.close();
  // The gateway learns of a closed connection by itself, a moment later.
  const again = async (): Promise<Events> => open(fay).catch(again);
  streams.push(await again());
  for (const stream of streams) stream.close();
});

test("a session still waits after the gateway was restarted, and takes the next message", async () => {
  const { uid, path } = await makeWaiting();
  await gateway.restart();
  assert.equal((await recordOf(uid)).activity.kind, "Waiting");
  assert.equal(eventOf(await say(path, "Are you there?")).seq, 7);
  assert.equal((await recordOf(uid)).activity.kind, "Active");
});
