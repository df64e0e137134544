import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { ValidateFunction } from "ajv/dist/2020.js";
import type { Bundle } from "@paddock/api/log/bundle";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import type { EventPage, PersonAppendReply, UsagePage } from "@paddock/api/wire/people";
import { follow, send } from "../../test/fakes/client.ts";
import type { Reply } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";
import { RATES } from "./api/rate.ts";
import { buildTestBundle, decidedEvent, event, requestedEvent, respondedEvent, startedEvent, toolStartedEvent } from "../../test/fakes/session.ts";

// What people do besides reading and writing messages: interrupts, results of custom tools, blobs, usage; every answer against the published document.

let gateway: LocalGateway;
let operator: string;
let ann: string;
let bob: string;
let answers: Readonly<Record<string, ValidateFunction>>;

before(async () => {
  gateway = await startLocalGateway();
  operator = gateway.reviews.operatorToken();
  ann = gateway.reviews.personToken("ann", ["team"], ["get", "create", "list"]);
  bob = gateway.reviews.personToken("bob", ["team"], ["get"]);
  const { status, body } = await send(gateway, { path: "/v1/openapi.json", token: ann });
  assert.equal(status, 200);
  answers = compile(body as { readonly components: { readonly schemas: Readonly<Record<string, object>> } });
});
after(() => gateway.close());

function compile(document: { readonly components: { readonly schemas: Readonly<Record<string, object>> } }): Readonly<Record<string, ValidateFunction>> {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(document, "api");
  return Object.fromEntries(Object.keys(document.components.schemas).map((name) => [name, ajv.compile({ $ref: `api#/components/schemas/${name}` })]));
}

/** Asserts that the document describes this. */
function conforms(name: string, value: unknown): void {
  const validate = answers[name];
  assert.ok(validate !== undefined, `the document has no schema ${name}`);
  assert.ok(validate(value), `${name}: ${JSON.stringify(validate.errors?.slice(0, 3))}\n${JSON.stringify(value).slice(0, 2000)}`);
}

interface Made {
  readonly uid: string;
  readonly token: string;
  /** Path of the session for people. */
  readonly path: string;
}

let made = 0;

async function makeSession(events: readonly NewEvent[] = [], change: Partial<Bundle> = {}): Promise<Made> {
  const uid = `p${(made += 1)}`;
  const podUid = `pod-${uid}`;
  const bundle = buildTestBundle(uid, { mode: "Conversation", ...change });
  assert.equal((await send(gateway, { method: "PUT", path: `/v1/records/${uid}`, token: operator, body: { bundle, namespaceUid: "n1", prompt: "Hello" } })).status, 201);
  assert.equal((await send(gateway, { method: "PUT", path: `/v1/pods/${podUid}`, token: operator, body: { sessionUid: uid, component: "runner", podName: podUid } })).status, 204);
  const token = gateway.reviews.runnerToken({ namespace: "team", podUid, podName: podUid });
  const reply = await append(token, 1, [startedEvent(podUid, 1), requestedEvent(1, 1, 3), ...events]);
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  return { uid, token, path: `/v1/namespaces/team/sessions/session-${uid}` };
}

async function append(token: string, batch: number, events: readonly NewEvent[]): Promise<Reply> {
  return send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch, events } });
}

async function post({ path }: Made, body: unknown, { token = ann, key }: { readonly token?: string; readonly key?: string } = {}): Promise<Reply> {
  return send(gateway, { method: "POST", path: `${path}/events`, token, body, ...(key === undefined ? {} : { headers: { "idempotency-key": key } }) });
}

function eventOf({ status, body }: Reply): LogEvent {
  assert.equal(status, 200, JSON.stringify(body));
  conforms("PersonAppendReply", body);
  return (body as PersonAppendReply).event;
}

function problemOf({ status, body }: Reply): string {
  conforms("Problem", body);
  const { type, detail } = body as { type: string; detail: string };
  assert.ok(detail.length > 20, detail);
  return `${status} ${type.replace("https://paddock.dev/problems/", "")}`;
}

test("the published document is OpenAPI 3.1 and describes what people send and get", async () => {
  const { body } = await send(gateway, { path: "/v1/openapi.json", token: bob });
  const { openapi, paths, security } = body as { openapi: string; paths: Record<string, Record<string, unknown>>; security: unknown };
  assert.deepEqual([openapi, security], ["3.1.0", [{ kubernetes: [] }]]);
  const routes = Object.entries(paths).flatMap(([path, methods]) => ["get", "post", "put", "delete"].filter((method) => method in methods).map((method) => `${method} ${path}`));
  assert.deepEqual(routes, [
    "get /healthz",
    "get /v1/openapi.json",
    "get /v1/namespaces/{namespace}/sessions/{name}/events",
    "post /v1/namespaces/{namespace}/sessions/{name}/events",
    "get /v1/namespaces/{namespace}/sessions/{name}/blobs/{sha256}",
    "get /v1/namespaces/{namespace}/usage",
  ]);
  conforms("PersonAppend", { type: "input.received", data: { content: "Hi" } });
  conforms("PersonAppend", { type: "turn.interrupted" });
  assert.equal(answers.PersonAppend?.({ type: "run.finished", data: {} }), false);
  assert.equal(answers.LogEvent?.({ type: "input.received" }), false, "the schemas refuse something");
});

test("pages and streams are what the document says", async () => {
  const session = await makeSession([respondedEvent(1, 1), event("run.waiting", { for: "input", text: "Done.", through: 5 })]);
  const page = await send(gateway, { path: `${session.path}/events`, token: bob });
  conforms("EventPage", page.body);
  assert.equal((page.body as EventPage).events.length, 6);
  const stream = await follow(gateway, { path: `${session.path}/events`, token: bob });
  const state = (await stream.next()).value as { event: string; data: unknown };
  assert.equal(state.event, "state");
  conforms("StateView", state.data);
  const first = (await stream.next()).value as { event: string; data: unknown };
  conforms("LogEvent", first.data);
  stream.close();
});

test("an interrupt is stored with who asked, once per key, and only by who may write", async () => {
  const session = await makeSession();
  assert.equal(problemOf(await post(session, { type: "turn.interrupted" }, { token: bob })), "403 forbidden");
  assert.equal(problemOf(await post(session, { type: "turn.interrupted" }, { token: session.token })), "403 forbidden");
  const stored = eventOf(await post(session, { type: "turn.interrupted" }, { key: "stop-1" }));
  assert.partialDeepStrictEqual(stored, { type: "turn.interrupted", role: "person", by: "ann", data: { id: "stop-1" } });
  assert.deepEqual(eventOf(await post(session, { type: "turn.interrupted", data: {} }, { key: "stop-1" })), stored);
});

const CUSTOM: Pick<Bundle, "agent"> = {
  agent: {
    ...buildTestBundle("x").agent,
    spec: {
      ...buildTestBundle("x").agent.spec,
      customTools: [{ name: "lookup", description: "Looks something up.", inputSchema: { type: "object" } }],
    },
  },
};

async function makeLooking(): Promise<Made> {
  const bundle = buildTestBundle("x", CUSTOM);
  const calls = respondedEvent(1, 1, [{ name: "lookup", arguments: "{}" }]);
  const decided = decidedEvent(bundle, "root/1/0", { tool: "lookup", arguments: {}, effect: "Once", rule: "agent.spec.customTools" });
  const deadline = new Date(Date.now() + 600_000).toISOString();
  const { data } = toolStartedEvent("root/1/0", 1) as { data: object };
  return makeSession([calls, decided, { type: "tool.started", data: { ...data, deadline } } as NewEvent], CUSTOM);
}

const RESULT = { type: "tool.finished", data: { call: "root/1/0", status: "ok", content: "42" } };

test("a custom tool's result is a person's, once: the same again answers with it, another is refused", async () => {
  const session = await makeLooking();
  assert.equal(problemOf(await post(session, RESULT, { token: bob })), "403 forbidden");
  const stored = eventOf(await post(session, RESULT));
  assert.partialDeepStrictEqual(stored, { type: "tool.finished", role: "person", by: "ann", data: { call: "root/1/0", status: "ok", content: "42", bytes: 2 } });
  assert.deepEqual(eventOf(await post(session, RESULT)), stored);
  assert.match(problemOf(await post(session, { ...RESULT, data: { ...RESULT.data, content: "43" } })), /^409 /);
  assert.match(problemOf(await post(session, { ...RESULT, data: { ...RESULT.data, call: "root/1/7" } })), /^409 /);
});

test("a person gives no result for a tool of the session itself", async () => {
  const calls = respondedEvent(1, 1, [{ name: "bash", arguments: '{"command":"true"}' }]);
  const session = await makeSession([calls]);
  assert.match(problemOf(await post(session, RESULT)), /^409 /);
});

test("what is no interrupt and no result is refused with what is wrong", async () => {
  const session = await makeLooking();
  const wrong = [
    { type: "turn.interrupted", data: 5 },
    { type: "tool.finished", data: { call: "root/1/0", status: "denied", content: "" } },
    { type: "tool.finished", data: { call: "../1", status: "ok", content: "" } },
    { type: "tool.finished", data: { call: "root/1/0", status: "ok", content: "a\0b" } },
    { type: "tool.finished", data: { call: "root/1/0", status: "ok", content: "x".repeat(1_048_577) } },
  ];
  for (const body of wrong) assert.equal(problemOf(await post(session, body)), "400 malformed");
});

test("a large result is a blob, read whole by who may read the session, and through no other session", async () => {
  const session = await makeLooking();
  const other = await makeSession();
  const content = "ä\n".repeat(100_000);
  const stored = eventOf(await post(session, { ...RESULT, data: { ...RESULT.data, content } })) as Extract<LogEvent, { type: "tool.finished" }>;
  const sha256 = stored.data.blob?.sha256 ?? "";
  assert.ok(stored.data.content.length < 3000 && content.startsWith(stored.data.content));
  const read = await send(gateway, { path: `${session.path}/blobs/${sha256}`, token: bob });
  assert.deepEqual([read.status, read.body === content, read.headers["x-content-type-options"]], [200, true, "nosniff"]);
  assert.equal((await send(gateway, { path: `${session.path}/blobs/${encodeURIComponent(sha256)}`, token: bob })).status, 200);
  assert.equal((await send(gateway, { path: `/v1/runner/blobs/${sha256}`, token: session.token })).body, content);
  assert.equal(problemOf(await send(gateway, { path: `${other.path}/blobs/${sha256}`, token: bob })), "404 not-found");
  assert.equal(problemOf(await send(gateway, { path: `/v1/runner/blobs/${sha256}`, token: other.token })), "404 not-found");
  const stranger = gateway.reviews.personToken("stranger", ["elsewhere"]);
  assert.equal(problemOf(await send(gateway, { path: `${session.path}/blobs/${sha256}`, token: stranger })), "403 forbidden");
  for (const digest of [sha256.slice(7), `${sha256}0`, "..%2Fx"]) assert.equal(problemOf(await send(gateway, { path: `${session.path}/blobs/${digest}`, token: bob })), "400 malformed");
});

async function usage(query = "", token = ann): Promise<Reply> {
  return send(gateway, { path: `/v1/namespaces/team/usage${query}`, token });
}

test("usage sums what sessions used, for who may list them", async () => {
  await makeSession([respondedEvent(1, 1)]);
  const { status, body } = await usage();
  assert.equal(status, 200);
  conforms("UsagePage", body);
  const { to, rows } = body as UsagePage;
  assert.deepEqual([rows.length, rows[0]?.day], [1, to]);
  const [row] = rows;
  assert.ok(row !== undefined && row.sessions >= 1 && row.requests >= 1 && row.outputTokens % 5 === 0 && Number(row.costUSD) > 0, JSON.stringify(row));
  const grouped = (await usage("?by=agent,environment&agent=agent")).body as UsagePage;
  assert.deepEqual(grouped.rows.map(({ agent, environment, day }) => [agent, environment, day]), [["agent", "environment", undefined]]);
  assert.deepEqual(((await usage("?agent=none")).body as UsagePage).rows, []);
  assert.deepEqual(((await usage("?from=2020-01-01&to=2020-12-31")).body as UsagePage).rows, []);
  assert.equal(problemOf(await usage("", bob)), "403 forbidden");
  assert.match(((await usage("", bob)).body as { detail: string }).detail, /bob may not list sessions of paddock\.dev in namespace team/);
  assert.equal(problemOf(await send(gateway, { path: "/v1/namespaces/other/usage", token: ann })), "403 forbidden");
});

test("a faulty question about usage names what is wrong", async () => {
  const detail = async (query: string): Promise<string> => {
    const reply = await usage(query);
    assert.equal(problemOf(reply), "400 malformed");
    return (reply.body as { detail: string }).detail;
  };
  assert.match(await detail("?from=yesterday"), /from is "yesterday": give a UTC day as yyyy-mm-dd/);
  assert.match(await detail("?to=2026-02-30"), /to is "2026-02-30"/);
  assert.match(await detail("?from=2026-02-02&to=2026-02-01"), /from 2026-02-02 is after to 2026-02-01/);
  assert.match(await detail("?from=2024-01-01&to=2026-01-01"), /are 732 days: ask for at most 366/);
  assert.match(await detail("?by=month"), /by is "month": give some of day, agent, environment/);
  assert.match(await detail("?by=day,day"), /each once/);
  assert.match(await detail("?by="), /by is ""/);
  assert.match(await detail("?agent="), /agent is "": give the name of one/);
});

test("a person who asks too often is refused for a moment, and nobody else is", async (t) => {
  const own = await startLocalGateway({}, { rates: { ...RATES, person: { perSecond: 0.01, burst: 5 } } });
  t.after(() => own.close());
  const [eager, calm] = ["eager", "calm"].map((name) => own.reviews.personToken(name, ["team"]));
  const read = (token: string | undefined): Promise<Reply> => send(own, { path: "/v1/openapi.json", token: token ?? "" });
  for (let n = 0; n < 5; n += 1) assert.equal((await read(eager)).status, 200);
  const refused = await read(eager);
  assert.equal(problemOf(refused), "429 too-many");
  assert.ok(Number(refused.headers["retry-after"]) >= 1);
  assert.equal((await read(calm)).status, 200);
  assert.match(await own.metrics.text(), /paddock_gateway_rate_limited_requests_total\{audience="person"\} 1/);
});
