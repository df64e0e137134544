import assert from "node:assert/strict";
import { type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import type { RecordView } from "@paddock/api/wire/records";
import { BY_UID } from "../sources.ts";
import { createGatewayClient } from "./client.ts";
import { GatewayError, classifyGatewayError } from "./errors.ts";
import { createRecordStream } from "./stream.ts";

const environment = (digest = "e"): RecordView["bundle"]["environment"] => ({ name: "lab", uid: "u", digest, spec: { models: [{ name: "main", model: digest, baseURL: "https://models.example/v1" }] } });

function view(uid: string, version: number, more: Partial<RecordView> = {}): RecordView {
  return {
    uid, version, namespace: "team", name: `session-${uid}`,
    activity: { kind: "Active" },
    bundle: { digest: "d", agentDigest: "a", environment: environment(), limits: { maxTurns: 1, timeoutSeconds: 1 }, startTime: "2026-01-01T00:00:00Z", traceId: "t" },
    runner: { epoch: 0, connected: false, since: "2026-01-01T00:00:00Z" },
    sandbox: { requested: 0, pending: false },
    cancelled: false, suspended: false, approvals: [], authors: [], lastSeq: 2, turns: 0, toolCalls: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, totalTokens: 0 },
    recentSteps: [],
    ...more,
  };
}

interface Connection {
  readonly lastEventId: string | undefined;
  readonly authorization: string | undefined;
  send(type: string, data: unknown, id?: string): void;
  raw(text: string): void;
  end(): void;
}

/** A gateway of which the test holds the other end of each stream. */
async function open(t: TestContext, silenceMs?: number) {
  const connections: Connection[] = [];
  const streams: ServerResponse[] = [];
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    streams.push(response);
    connections.push({
      lastEventId: request.headers["last-event-id"] as string | undefined,
      authorization: request.headers.authorization,
      send: (type, data, id) => response.write(`event: ${type}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`),
      raw: (text) => response.write(text),
      end: () => response.end(),
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createGatewayClient({ url, ca: async () => "", onUntrusted: () => undefined, token: async () => "secret" });
  const stream = createRecordStream({ client, ...(silenceMs === undefined ? {} : { silenceMs }) });
  stream.start();
  t.after(async () => {
    await stream.stop();
    client.close();
    for (const response of streams) response.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const connection = async (index: number): Promise<Connection> => {
    await until(() => connections.length > index);
    const found = connections[index];
    assert.ok(found);
    return found;
  };
  return { stream, connection };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test("nothing is known before the end of the initial list, then all of it at once", async (t) => {
  const { stream, connection } = await open(t);
  let synced = 0;
  stream.feed.onSynced(() => (synced += 1));
  const first = await connection(0);
  assert.equal(first.authorization, "Bearer secret");
  first.send("record", view("a", 1), "x:1");
  first.send("record", view("b", 2), "x:2");
  first.raw(": still here\n\n");
  assert.equal(stream.feed.isSynced(), false);
  assert.equal(stream.byUid("a"), undefined);
  first.send("synced", {});
  await until(() => stream.feed.isSynced());
  assert.equal(synced, 1);
  assert.equal(stream.feed.list(BY_UID, "a")[0]?.version, 1);
  assert.deepEqual([...stream.feed.keys()], [{ namespace: "team", name: "a" }, { namespace: "team", name: "b" }]);
});

test("who begins to lead knows no record before the gateway has told them anew", async (t) => {
  const { stream, connection } = await open(t);
  const first = await connection(0);
  first.send("record", view("a", 1, { lastSeq: 2 }), "x:1");
  first.send("synced", {}, "x:1");
  await until(() => stream.feed.isSynced());
  // From here on nothing comes through, though nobody can tell: the connection stands.
  let synced = 0;
  stream.feed.onSynced(() => (synced += 1));
  stream.renew();
  assert.equal(stream.feed.isSynced(), false);
  const second = await connection(1);
  assert.equal(second.lastEventId, "x:1");
  first.send("synced", {});
  second.send("record", view("a", 2, { lastSeq: 9 }), "x:2");
  await until(() => stream.byUid("a")?.lastSeq === 9);
  assert.equal(stream.feed.isSynced(), false);
  second.send("synced", {}, "x:2");
  await until(() => stream.feed.isSynced());
  assert.equal(synced, 1);
});

test("shared budgets are complete before the records are known, follow each change, and are told anew by each connection", async (t) => {
  const { stream, connection } = await open(t);
  let changes = 0;
  stream.budgets.onChange(() => (changes += 1));
  const first = await connection(0);
  first.send("budget", { environmentUid: "e1", costUSDPerDay: "5" });
  first.send("budget", { environmentUid: "e2" });
  first.send("record", view("a", 1), "x:1");
  first.send("synced", {}, "x:1");
  let budgetsFirst: unknown;
  stream.feed.onSynced(() => (budgetsFirst ??= stream.budgetOf("e1")));
  await until(() => stream.feed.isSynced());
  assert.deepEqual([budgetsFirst, stream.budgetOf("e2")], [{ environmentUid: "e1", costUSDPerDay: "5" }, { environmentUid: "e2" }]);
  first.send("budget", { environmentUid: "e1", costUSDPerDay: "7" });
  await until(() => stream.budgetOf("e1")?.costUSDPerDay === "7");
  const before = changes;
  first.end();
  const second = await connection(1);
  assert.equal(second.lastEventId, "x:1");
  second.send("budget", { environmentUid: "e1", costUSDPerDay: "7" });
  second.send("record", view("a", 2), "x:2");
  second.send("synced", {}, "x:2");
  await until(() => stream.byUid("a")?.version === 2 && stream.budgetOf("e2") === undefined);
  assert.deepEqual([stream.budgetOf("e1")?.costUSDPerDay, changes], ["7", before + 1], "what is the same wakes nobody");
});

test("changes and acknowledged records follow, in any pieces", async (t) => {
  const { stream, connection } = await open(t);
  const first = await connection(0);
  first.send("synced", {});
  const text = `event: record\r\nid: x:7\r\ndata: ${JSON.stringify(view("ä", 7))}\r\n\r\n`;
  first.raw(text.slice(0, 30));
  await new Promise((resolve) => setImmediate(resolve));
  first.raw(text.slice(30));
  await until(() => stream.byUid("ä")?.version === 7);
  first.send("gone", { uid: "ä" });
  await until(() => stream.byUid("ä") === undefined);
});

test("records of one Environment share its spec, in the list and later; another revision has its own", async (t) => {
  const { stream, connection } = await open(t);
  const specOf = (uid: string): unknown => stream.byUid(uid)?.bundle.environment.spec;
  const first = await connection(0);
  first.send("record", view("a", 1));
  first.send("record", view("b", 2));
  first.send("synced", {}, "x:2");
  first.send("record", view("edited", 3, { bundle: { ...view("edited", 3).bundle, environment: environment("f") } }));
  first.send("record", view("a", 4));
  await until(() => stream.byUid("a")?.version === 4);
  assert.deepEqual(specOf("a"), environment().spec);
  assert.equal(specOf("a"), specOf("b"));
  assert.deepEqual(specOf("edited"), environment("f").spec);
});

test("a lost stream goes on from the last id; the records stay known meanwhile", async (t) => {
  const { stream, connection } = await open(t);
  const first = await connection(0);
  first.send("record", view("a", 1), "x:1");
  first.send("synced", {});
  first.send("record", view("a", 4), "x:4");
  await until(() => stream.byUid("a")?.version === 4);
  first.end();
  const second = await connection(1);
  assert.equal(second.lastEventId, "x:4");
  assert.equal(stream.feed.isSynced(), true);
  second.send("record", view("b", 5), "x:5");
  second.send("synced", {});
  await until(() => stream.byUid("b") !== undefined);
  assert.notEqual(stream.byUid("a"), undefined);
});

test("a list cut short starts again from nothing", async (t) => {
  const { stream, connection } = await open(t);
  const first = await connection(0);
  first.send("record", view("a", 1), "x:1");
  first.end();
  const second = await connection(1);
  assert.equal(second.lastEventId, undefined);
  second.send("record", view("b", 2), "x:2");
  second.send("synced", {});
  await until(() => stream.feed.isSynced());
  assert.equal(stream.byUid("a"), undefined);
});

test("after a reset the new list replaces the old one as a whole", async (t) => {
  const { stream, connection } = await open(t);
  const first = await connection(0);
  first.send("record", view("a", 1), "x:1");
  first.send("synced", {}, "x:1");
  await until(() => stream.feed.isSynced());
  first.end();
  const second = await connection(1);
  second.send("reset", {});
  second.send("record", view("b", 1), "y:1");
  await new Promise((resolve) => setImmediate(resolve));
  assert.notEqual(stream.byUid("a"), undefined);
  second.send("synced", {}, "y:1");
  await until(() => stream.byUid("b") !== undefined);
  assert.equal(stream.byUid("a"), undefined);
});

test("a silent stream is given up", async (t) => {
  const { connection } = await open(t, 40);
  (await connection(0)).send("synced", {});
  await connection(1);
});

test("two records of one session name: by name the newest is found", async (t) => {
  const { stream, connection } = await open(t);
  const first = await connection(0);
  first.send("record", view("old", 1, { name: "s" }), "x:1");
  first.send("record", view("new", 2, { name: "s" }), "x:2");
  first.send("synced", {});
  await until(() => stream.feed.isSynced());
  assert.equal(stream.feed.get({ namespace: "team", name: "s" })?.uid, "new");
});

test("faults of the gateway by answer", () => {
  const kinds = [409, 404, 422, 401, 503].map((status) => {
    const fault = classifyGatewayError(new GatewayError(status, "PUT /", JSON.stringify({ type: "https://paddock.dev/problems/conflict", title: "", status, detail: "why" })));
    return [status, fault?.kind, fault?.retry, fault?.message];
  });
  assert.deepEqual(kinds, [
    [409, "log-conflict", true, "PUT /: 409: why"],
    [404, "log-conflict", true, "PUT /: 404: why"],
    [422, "invalid", false, "PUT /: 422: why"],
    [401, "unavailable", true, "PUT /: 401: why"],
    [503, "unavailable", true, "PUT /: 503: why"],
  ]);
});
