import { Hono } from "hono";
import type { Context, Next } from "hono";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { z } from "zod";
import { budgetRequestSchema, podRegistrationSchema, recordRequestSchema } from "@paddock/api/wire/records";
import type { OperatorAppendReply } from "@paddock/api/wire/records";
import { buildView } from "../log/view.ts";
import { watchRecords } from "../log/watch.ts";
import type { RecordNews } from "../log/watch.ts";
import { parseEvents, readBody } from "./body.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";
import { openEventStream } from "./stream.ts";
import type { EventStream, StreamMessage } from "./stream.ts";

const MAX_BODY_BYTES = 2 * 1024 * 1024;
const MAX_SMALL_BYTES = 64 * 1024;
const MAX_UID_CHARS = 128;
/** Prompt, instructions and files have 512 KiB each, and a control character takes six bytes of JSON. */
const MAX_RECORD_BYTES = 12 * 1024 * 1024;
const appendSchema = z.object({ events: z.array(z.unknown()) });

/** What the operator asks; see wire/records.ts. */
export function operatorRoutes(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  for (const path of ["/records/*", "/pods/*", "/budgets/*"]) app.use(path, requireOperator);
  app.get("/records", (context) => streamRecords(ports, context));
  app.put("/records/:uid", (context) => putRecord(ports, context, context.req.param("uid")));
  app.post("/records/:uid/events", (context) => appendEvents(ports, context, context.req.param("uid")));
  app.delete("/records/:uid", (context) => acknowledge(ports, context, context.req.param("uid")));
  app.put("/budgets/:uid", (context) => putBudget(ports, context, context.req.param("uid")));
  app.put("/pods/:uid", (context) => register(ports, context, context.req.param("uid")));
  return app;
}

async function requireOperator(context: Context<ApiEnv>, next: Next): Promise<void> {
  if (context.get("caller").role !== "operator") {
    throw new ProblemError("forbidden", "only the operator may do this; people read sessions at /v1/namespaces/NAMESPACE/sessions/NAME/events");
  }
  await next();
}

async function putRecord({ writer }: ApiPorts, context: Context<ApiEnv>, uid: string): Promise<Response> {
  const request = await readBody(context, { schema: recordRequestSchema, maxBytes: MAX_RECORD_BYTES });
  if (request.bundle.session.uid !== uid) throw new ProblemError("malformed", `the path names session ${uid} and the bundle ${request.bundle.session.uid}`);
  const made = await writer.create(request);
  if (made.kind === "refuse") throw new ProblemError(made.problem, made.detail, { refusal: made.refusal });
  const record = buildView(made.record);
  if (made.kind !== "conflict") return context.json({ record }, made.kind === "created" ? 201 : 200);
  throw new ProblemError("conflict", `session ${uid} is bound to another bundle (${record.bundle.digest}): go on with that one`, { members: { record } });
}

async function appendEvents({ writer }: ApiPorts, context: Context<ApiEnv>, uid: string): Promise<Response> {
  const { events } = await readBody(context, { schema: appendSchema, maxBytes: MAX_BODY_BYTES });
  const appended = await writer.appendByOperator(uid, parseEvents(events));
  if (appended === undefined) throw unknownRecord(uid);
  if (appended.kind === "refuse") throw new ProblemError(appended.problem, appended.detail, { refusal: appended.refusal });
  const reply: OperatorAppendReply = { events: appended.events };
  return context.json(reply);
}

async function acknowledge({ store }: ApiPorts, context: Context<ApiEnv>, uid: string): Promise<Response> {
  const outcome = await store.acknowledge(uid);
  if (outcome === "unknown") throw unknownRecord(uid);
  if (outcome === "unfinished") throw new ProblemError("conflict", `session ${uid} has not finished: append run.finished before acknowledging it`);
  return context.body(null, 204);
}

async function register({ store, followers, now }: ApiPorts, context: Context<ApiEnv>, podUid: string): Promise<Response> {
  const registration = await readBody(context, { schema: podRegistrationSchema, maxBytes: MAX_SMALL_BYTES });
  const outcome = await store.register({ ...registration, podUid }, now().toISOString());
  if (outcome === "unknown-session") throw unknownRecord(registration.sessionUid);
  if (outcome === "conflict") throw new ProblemError("conflict", `pod ${podUid} is registered for something else already: a pod serves one session in its life`);
  followers.wake(podUid);
  return context.body(null, 204);
}

async function putBudget({ store }: ApiPorts, context: Context<ApiEnv>, environmentUid: string): Promise<Response> {
  if (environmentUid.length > MAX_UID_CHARS) throw new ProblemError("malformed", `the UID of an Environment has at most ${MAX_UID_CHARS} characters, not ${environmentUid.length}`);
  const { costUSDPerDay } = await readBody(context, { schema: budgetRequestSchema, maxBytes: MAX_SMALL_BYTES });
  await store.putBudget({ environmentUid, ...(costUSDPerDay === undefined ? {} : { costUSDPerDay }) });
  return context.body(null, 204);
}

function unknownRecord(uid: string): ProblemError {
  return new ProblemError("not-found", `there is no record of session ${uid}: make it with PUT /v1/records/${uid} first`);
}

function streamRecords(ports: ApiPorts, context: Context<ApiEnv>): Response {
  const stream = openEventStream(context.env.outgoing, { writeTimeoutMs: ports.times.writeTimeoutMs, shutdown: ports.shutdown });
  ports.metrics.streamOpened("operator");
  writeRecords(ports, stream, context.req.header("last-event-id"))
    .catch((error: unknown) => ports.logger.error({ err: error }, "the stream of records failed"))
    .finally(() => {
      ports.metrics.streamClosed("operator");
      stream.end();
    });
  return RESPONSE_ALREADY_SENT;
}

async function writeRecords({ store, times }: ApiPorts, stream: EventStream, lastEventId: string | undefined): Promise<void> {
  const { incarnation } = store;
  const after = resumeAt(lastEventId, incarnation, await store.version());
  if (after === undefined) await stream.send({ event: "reset", id: `${incarnation}:0`, data: {} });
  const { keepAliveMs: idleMs, coalesceMs } = times;
  await watchRecords({
    store,
    after: after ?? 0,
    signal: stream.signal,
    write: (news) => stream.send(messageOf(news, incarnation)),
    idle: () => stream.comment("alive"),
    idleMs,
    coalesceMs,
    clock: () => performance.now(),
  });
}

/** Where a reader goes on: 0 for one that begins; undefined when its position means nothing in this store. Pure. */
export function resumeAt(lastEventId: string | undefined, incarnation: string, newest: number): number | undefined {
  if (lastEventId === undefined || lastEventId === "") return 0;
  const [known, digits = ""] = lastEventId.split(":");
  const version = /^[0-9]{1,15}$/.test(digits) ? Number(digits) : -1;
  return known === incarnation && version >= 0 && version <= newest ? version : undefined;
}

function messageOf(news: RecordNews, incarnation: string): StreamMessage {
  if (news.kind === "budget") return { event: "budget", data: news.budget };
  const id = `${incarnation}:${news.version}`;
  switch (news.kind) {
    case "record":
      return { event: "record", id, data: news.view };
    case "gone":
      return { event: "gone", id, data: { uid: news.uid } };
    case "synced":
      return { event: "synced", id, data: {} };
  }
}
