import { Hono } from "hono";
import type { Context } from "hono";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { eventData } from "@paddock/api/log/events";
import type { EventType } from "@paddock/api/log/events";
import type { EventPage, StateView } from "@paddock/api/wire/people";
import { followLog } from "../log/follow.ts";
import type { Followed } from "../log/follow.ts";
import { buildView } from "../log/view.ts";
import { LogCorruptError } from "../store/store.ts";
import type { EventQuery, StoredRecord } from "../store/store.ts";
import { requireAccess, requireSession, sessionOf } from "./access.ts";
import type { SessionName } from "./access.ts";
import { sendBlob } from "./blobs.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { parseCount } from "./query.ts";
import { ProblemError } from "./problem.ts";
import { createSeats } from "./seats.ts";
import { openEventStream } from "./stream.ts";
import type { EventStream, StreamMessage } from "./stream.ts";
import { usageRoutes } from "./usage.ts";

const MAX_LIMIT = 1000;
const DEFAULT_LIMIT = 200;

/** What people may read, each with the rights that Kubernetes gives them. */
export function peopleRoutes(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const seats = createSeats();
  app.get("/:namespace/sessions/:name/events", async (context) => {
    const session = sessionOf(context);
    await requireAccess(ports, context, "get", session);
    const record = await requireSession(ports, context, session);
    const query = parseQuery(context);
    const wantsStream = context.req.header("accept")?.includes("text/event-stream") === true;
    return wantsStream ? streamEvents(ports, context, { session, record, query, leave: seats.take(context.get("identity").username) }) : listEvents(ports, context, { record, query });
  });
  app.get("/:namespace/sessions/:name/blobs/:sha256", async (context) => {
    const session = sessionOf(context);
    await requireAccess(ports, context, "get", session);
    const { uid } = await requireSession(ports, context, session);
    return sendBlob(ports, uid, context.req.param("sha256"));
  });
  app.route("/", usageRoutes(ports));
  return app;
}

function parseQuery(context: Context<ApiEnv>): EventQuery {
  const types = context.req.query("types");
  return {
    after: parseCount(context, "after", { least: 0, most: Number.MAX_SAFE_INTEGER, absent: 0 }),
    limit: parseCount(context, "limit", { least: 1, most: MAX_LIMIT, absent: DEFAULT_LIMIT }),
    ...(types === undefined ? {} : { types: types.split(",").map(parseType) }),
  };
}

function parseType(text: string): EventType {
  if (Object.hasOwn(eventData, text)) return text as EventType;
  throw new ProblemError("malformed", `types names ${JSON.stringify(text.slice(0, 64))}: give event types with commas between them, of ${Object.keys(eventData).join(", ")}`);
}

async function listEvents({ store }: ApiPorts, context: Context<ApiEnv>, { record, query }: { record: StoredRecord; query: EventQuery }): Promise<Response> {
  const events = await store.events(record.uid, query);
  const page: EventPage = { uid: record.uid, events, lastSeq: record.state.lastSeq, finished: record.state.finished !== undefined };
  return context.json(page);
}

interface Read {
  readonly session: SessionName;
  readonly record: StoredRecord;
  readonly query: EventQuery;
}

function streamEvents(ports: ApiPorts, context: Context<ApiEnv>, read: Read & { leave(): void }): Response {
  const after = resumeAfter(context.req.header("last-event-id"), read.record.uid) ?? read.query.after;
  const stream = openEventStream(context.env.outgoing, { writeTimeoutMs: ports.times.writeTimeoutMs, shutdown: ports.shutdown });
  ports.metrics.streamOpened("person");
  const recheck = setInterval(() => void cutWhenRevoked(ports, context, { stream, session: read.session }), ports.times.recheckMs);
  writeEvents(ports, stream, { ...read, query: { ...read.query, after } })
    .catch((error: unknown) => endFailed(ports, stream, { error, record: read.record }))
    .catch((error: unknown) => ports.logger.error({ err: error, uid: read.record.uid }, "a person's stream failed"))
    .finally(() => {
      clearInterval(recheck);
      read.leave();
      ports.metrics.streamClosed("person");
      stream.end();
    });
  return RESPONSE_ALREADY_SENT;
}

async function writeEvents({ store, followers, times }: ApiPorts, stream: EventStream, { record, query }: Read): Promise<void> {
  const { uid } = record;
  const follower = followers.join(uid);
  try {
    await stream.send({ event: "state", data: buildState((await store.record(uid)) ?? record) });
    const finished = await followLog({
      store,
      follower,
      uid,
      after: query.after,
      signal: stream.signal,
      write: async (item) => {
        if (isWanted(item, query.types)) await stream.send(messageOf(item, uid));
      },
      idle: () => stream.comment("alive"),
      idleMs: times.keepAliveMs,
    });
    if (finished) await stream.send({ event: "end", data: { uid } });
  } finally {
    follower.close();
  }
}

/** Who reads a damaged log is told how the session stands now, and that no more comes. */
async function endFailed({ damage, store }: ApiPorts, stream: EventStream, { error, record }: { error: unknown; record: StoredRecord }): Promise<void> {
  const { uid } = record;
  if (!(error instanceof LogCorruptError)) throw error;
  await damage.report(error);
  await stream.send({ event: "state", data: buildState((await store.record(uid)) ?? record) });
  await stream.send({ event: "end", data: { uid } });
}

function isWanted(item: Followed, types: readonly EventType[] | undefined): boolean {
  return types === undefined || (item.kind === "event" && types.includes(item.event.type));
}

function messageOf(item: Followed, uid: string): StreamMessage {
  return item.kind === "delta" ? { event: "delta", data: item.delta } : { event: "log", id: `${uid}:${item.event.seq}`, data: item.event };
}

/** The session as it is now, so that a reader can show something before it has read the log. Pure. */
function buildState(record: StoredRecord): StateView {
  const { version: _version, bundle: _bundle, sandbox: _sandbox, runner: _runner, ...state } = buildView(record);
  return state;
}

/** The sequence number in `<uid>:<seq>`; undefined for another session's, which says nothing about this one. Pure. */
export function resumeAfter(lastEventId: string | undefined, uid: string): number | undefined {
  const [of, digits = ""] = (lastEventId ?? "").split(":");
  return of === uid && /^[0-9]{1,9}$/.test(digits) ? Number(digits) : undefined;
}

async function cutWhenRevoked({ reviewer }: ApiPorts, context: Context<ApiEnv>, { stream, session }: { stream: EventStream; session: SessionName }): Promise<void> {
  const reviewed = await reviewer.reviewToken(context.get("token"));
  // An API server that cannot be asked says nothing against them.
  if (reviewed.kind === "unavailable") return;
  const access = reviewed.kind === "rejected" ? "denied" : await reviewer.reviewAccess(reviewed.identity, { verb: "get", ...session, subresource: "events" });
  if (access === "denied") stream.stop();
}
