import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import type { RecordView } from "@paddock/api/wire/records";
import type { Assignment } from "@paddock/api/wire/runner";
import { TIMES, startGateway } from "../../gateway/src/server.ts";
import type { Gateway } from "../../gateway/src/server.ts";
import { openPostgresStore } from "../../gateway/src/store/postgres.ts";
import { createLogger } from "../../gateway/src/telemetry/logger.ts";
import { createMetrics } from "../../gateway/src/telemetry/metrics.ts";
import { follow, send } from "../fakes/client.ts";
import type { Events, Reply, ServerEvent } from "../fakes/client.ts";
import { startReviews } from "../fakes/reviews.ts";
import type { Reviews } from "../fakes/reviews.ts";
import { buildTestBundle, event, requestedEvent, respondedEvent, startedEvent } from "../fakes/session.ts";
import { openProgress } from "../progress.ts";
import { startPostgres } from "../postgres/server.ts";
import type { PostgresServer } from "../postgres/server.ts";

// Two whole gateways over one Postgres: whoever asks whichever of them finds one log.

interface Scene {
  readonly server: PostgresServer;
  readonly reviews: Reviews;
  readonly url: string;
  readonly a: Gateway;
  readonly b: Gateway;
}

let opened: Scene | undefined;

function startOne(reviews: Reviews, url: string): Promise<Gateway> {
  const metrics = createMetrics();
  const options = { port: 0, host: "127.0.0.1", names: ["localhost", "127.0.0.1"], operatorUser: reviews.operatorUser, apiServer: reviews.options, namespace: "paddock-system" };
  const start = async (): Promise<Gateway> => {
    const store = await openPostgresStore(url, { now: () => new Date() });
    return startGateway({ ...options, store, logger: createLogger("silent"), metrics, times: { ...TIMES, keepAliveMs: 100, coalesceMs: 100 } });
  };
  return start();
}

before(async () => {
  const server = await startPostgres(openProgress());
  const reviews = await startReviews();
  const url = await server.createDatabase();
  const [a, b] = await Promise.all([startOne(reviews, url), startOne(reviews, url)]);
  opened = { server, reviews, url, a, b };
});
after(async () => {
  await Promise.all([opened?.a.close(), opened?.b.close()]);
  await opened?.reviews.close();
  await opened?.server.remove();
});

function sceneOf(): Scene {
  if (opened === undefined) throw new Error("the gateways did not start");
  return opened;
}

async function next(events: Events): Promise<ServerEvent> {
  const { value, done } = await events.next();
  assert.notEqual(done, true, "the stream ended");
  return value as ServerEvent;
}

/** What comes until `isIt`, this one included. */
async function takeUntil(events: Events, isIt: (one: ServerEvent) => boolean): Promise<readonly ServerEvent[]> {
  const taken: ServerEvent[] = [];
  for (;;) {
    const one = await next(events);
    taken.push(one);
    if (isIt(one)) return taken;
  }
}

/** A stream that nobody reads does not show its end. */
async function readToEnd(events: Events): Promise<void> {
  while ((await events.next()).done !== true);
}

const isLog = (type: string) => (one: ServerEvent): boolean => one.event === "log" && (one.data as LogEvent).type === type;
const typesOf = (events: readonly ServerEvent[]): readonly string[] => events.filter(({ event: name }) => name === "log").map(({ data }) => (data as LogEvent).type);

const append = (gateway: Gateway, token: string, batch: number, events: readonly NewEvent[]): Promise<Reply> =>
  send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch, events } });

test("both serve with certificates of one authority", () => {
  const { a, b } = sceneOf();
  assert.equal(a.ca, b.ca);
});

test("a session across both: bound at one, followed at the other, said at either, and every stream has all of it once", async () => {
  const { a, b, reviews } = sceneOf();
  const operator = reviews.operatorToken();
  const ann = reviews.personToken("ann", ["team"], ["get", "create"]);
  const runner = reviews.runnerToken({ namespace: "team", podUid: "pod-u1", podName: "pod-u1" });
  const path = "/v1/namespaces/team/sessions/session-u1/events";
  const records = await follow(b, { path: "/v1/records", token: operator });
  await takeUntil(records, ({ event: name }) => name === "synced");

  // Connects at b before anybody has registered it, at a.
  const following = follow(b, { path: "/v1/runner", token: runner });
  const bound = await send(a, { method: "PUT", path: "/v1/records/u1", token: operator, body: { bundle: buildTestBundle("u1", { mode: "Conversation" }), namespaceUid: "n1", prompt: "Hello" } });
  assert.equal(bound.status, 201);
  assert.equal((await send(a, { method: "PUT", path: "/v1/pods/pod-u1", token: operator, body: { sessionUid: "u1", component: "runner", podName: "pod-u1" } })).status, 204);
  const atB = await following;
  const assignment = await next(atB);
  assert.equal(assignment.event, "assignment");
  assert.equal((assignment.data as Assignment).epoch, 1);

  const reader = await follow(a, { path, token: ann });
  assert.equal((await append(b, runner, 1, [startedEvent("pod-u1", 1), requestedEvent(1, 1, 2)])).status, 200);
  // Its answer was lost: it asks the other one.
  assert.equal((await append(a, runner, 1, [startedEvent("pod-u1", 1), requestedEvent(1, 1, 2)])).status, 200);
  assert.deepEqual(typesOf(await takeUntil(reader, isLog("model.requested"))), ["session.bound", "input.received", "runner.started", "model.requested"]);

  assert.equal((await send(b, { method: "POST", path: "/v1/runner/deltas", token: runner, body: { turn: 1, attempt: 1, text: "Do" } })).status, 202);
  const delta = await next(reader);
  assert.deepEqual([delta.event, (delta.data as { readonly text: string }).text], ["delta", "Do"]);

  const said = await send(a, { method: "POST", path, token: ann, headers: { "idempotency-key": "k1" }, body: { type: "input.received", data: { content: "More" } } });
  const again = await send(b, { method: "POST", path, token: ann, headers: { "idempotency-key": "k1" }, body: { type: "input.received", data: { content: "More" } } });
  assert.deepEqual([said.status, (again.body as { readonly event: LogEvent }).event.seq], [200, (said.body as { readonly event: LogEvent }).event.seq]);
  const heard = await takeUntil(atB, (one) => one.event === "log" && (one.data as LogEvent).seq === 5);
  assert.deepEqual(heard.map(({ id }) => id), ["1", "2", "3", "4", "5"]);

  assert.equal((await append(a, runner, 2, [respondedEvent(1, 1)])).status, 200);
  await takeUntil(records, ({ event: name, data }) => name === "record" && (data as RecordView).uid === "u1" && (data as RecordView).lastSeq === 6);
  assert.deepEqual(typesOf(await takeUntil(reader, isLog("model.responded"))), ["input.received", "model.responded"]);
  for (const stream of [records, atB, reader]) stream.close();
});

test("a gateway that stops: its runner and its reader go on at the other, where they were", async () => {
  const { a, reviews, url } = sceneOf();
  const third = await startOne(reviews, url);
  const operator = reviews.operatorToken();
  const ann = reviews.personToken("ann", ["team"], ["get"]);
  const runner = reviews.runnerToken({ namespace: "team", podUid: "pod-u2", podName: "pod-u2" });
  const path = "/v1/namespaces/team/sessions/session-u2/events";
  await send(third, { method: "PUT", path: "/v1/records/u2", token: operator, body: { bundle: buildTestBundle("u2"), namespaceUid: "n1", prompt: "Hello" } });
  await send(third, { method: "PUT", path: "/v1/pods/pod-u2", token: operator, body: { sessionUid: "u2", component: "runner", podName: "pod-u2" } });
  const [before, reader] = [await follow(third, { path: "/v1/runner", token: runner }), await follow(third, { path, token: ann })];
  await next(before);
  assert.equal((await append(third, runner, 1, [startedEvent("pod-u2", 1)])).status, 200);
  const lastId = (await takeUntil(reader, isLog("runner.started"))).at(-1)?.id ?? "";
  await third.close();
  for (const stream of [before, reader]) await readToEnd(stream);

  const [runnerAgain, readerAgain] = [await follow(a, { path: "/v1/runner", token: runner, headers: { "last-event-id": "3" } }), await follow(a, { path, token: ann, headers: { "last-event-id": lastId } })];
  const { started, epoch, lastBatch } = (await next(runnerAgain)).data as Assignment;
  assert.deepEqual({ started, epoch, lastBatch }, { started: true, epoch: 1, lastBatch: 1 });
  assert.equal((await append(a, runner, 2, [event("runner.reported", { problem: "EndpointUnreachable", subject: "m", message: "away" })])).status, 200);
  assert.deepEqual(typesOf(await takeUntil(readerAgain, isLog("runner.reported"))), ["runner.reported"]);
  for (const stream of [runnerAgain, readerAgain]) stream.close();
});
