import { Hono } from "hono";
import type { Context } from "hono";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { z } from "zod";
import { deltaSchema } from "@paddock/api/schema/people";
import type { AppendReply, Assignment } from "@paddock/api/wire/runner";
import type { Caller } from "../auth/roles.ts";
import { LogCorruptError } from "../store/store.ts";
import { followLog } from "../log/follow.ts";
import { redactText } from "@paddock/api/log/redaction";
import type { Registration, StoredRecord } from "../store/store.ts";
import { sendBlob } from "./blobs.ts";
import { parseEvents, readBody } from "./body.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";
import { openEventStream } from "./stream.ts";
import type { EventStream } from "./stream.ts";

/** A payload of the most bytes, quotes and line ends escaped as usual texts have them, and the rest of its batch. */
const MAX_APPEND_BYTES = 9 * 1024 * 1024;
const MAX_DELTA_BYTES = 512 * 1024;

/** An open stream of a pod, and the newest token that the pod has shown. */
interface Held {
  readonly stream: EventStream;
  token: string;
}

type Runner = Extract<Caller, { role: "runner" }>;

const appendSchema = z.object({ epoch: z.int().min(1), batch: z.int().min(1), events: z.array(z.unknown()) });

/** What a runner pod asks; see wire/runner.ts. */
export function runnerRoutes(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  // The newest stream of each pod: an older one of the same pod is a connection that nobody reads any more.
  const streams = new Map<string, Held>();
  app.use(async (context, next) => {
    // A pod's token is renewed every few minutes, and each of its requests carries the newest.
    const { caller, token } = context.var;
    const held = caller.role === "runner" ? streams.get(caller.podUid) : undefined;
    if (held !== undefined) held.token = token;
    await next();
  });
  app.get("/", async (context) => {
    const runner = runnerOf(context);
    const registration = await ports.store.registration(runner.podUid);
    if (registration !== undefined) requireNewest(await requireRecord(ports, runner, registration), runner);
    const stream = openEventStream(context.env.outgoing, { writeTimeoutMs: ports.times.writeTimeoutMs, shutdown: ports.shutdown });
    const held: Held = { stream, token: context.get("token") };
    const earlier = streams.get(runner.podUid);
    streams.set(runner.podUid, held);
    earlier?.stream.stop();
    ports.metrics.streamOpened("runner");
    const recheck = setInterval(() => void cutWhenRevoked(ports, held), ports.times.recheckMs);
    serve(ports, { runner, stream, after: positionOf(context.req.header("last-event-id")), isNewest: () => streams.get(runner.podUid) === held })
      .catch((error: unknown) => (error instanceof LogCorruptError ? ports.damage.report(error) : ports.logger.error({ err: error, podUid: runner.podUid }, "a runner's stream failed")))
      .finally(() => {
        clearInterval(recheck);
        if (streams.get(runner.podUid) === held) streams.delete(runner.podUid);
        ports.metrics.streamClosed("runner");
        stream.end();
      });
    return RESPONSE_ALREADY_SENT;
  });
  app.post("/events", async (context) => {
    const runner = runnerOf(context);
    const record = await requireRecord(ports, runner, await ports.store.registration(runner.podUid));
    const { epoch, batch, events } = await readBody(context, { schema: appendSchema, maxBytes: MAX_APPEND_BYTES });
    const appended = await ports.writer.appendByRunner(record.uid, runner.podUid, { epoch, batch, events: parseEvents(events) });
    if (appended === undefined) throw new ProblemError("not-found", `the record of session ${record.uid} is gone`);
    if (appended.kind === "refuse") throw new ProblemError(appended.problem, appended.detail, { refusal: appended.refusal });
    const reply: AppendReply = { events: appended.events };
    return context.json(reply);
  });
  app.get("/blobs/:sha256", async (context) => {
    const runner = runnerOf(context);
    const record = await requireRecord(ports, runner, await ports.store.registration(runner.podUid));
    requireNewest(record, runner);
    return sendBlob(ports, record.uid, context.req.param("sha256"));
  });
  app.post("/deltas", async (context) => {
    const runner = runnerOf(context);
    const record = await requireRecord(ports, runner, await ports.store.registration(runner.podUid));
    requireNewest(record, runner);
    const delta = await readBody(context, { schema: deltaSchema, maxBytes: MAX_DELTA_BYTES });
    const { request, lastSeq } = record.state;
    // A delta that comes after its answer was stored would only confuse.
    const isOpen = request?.turn === delta.turn && request.attempt === delta.attempt;
    const shown = delta.text === undefined ? delta : { ...delta, text: redactText(delta.text) };
    if (isOpen || delta.discarded === true) ports.deltas.show({ uid: record.uid, after: lastSeq, delta: shown });
    return context.body(null, 202);
  });
  return app;
}

function runnerOf(context: Context<ApiEnv>): Runner {
  const caller = context.get("caller");
  if (caller.role === "runner") return caller;
  throw new ProblemError("forbidden", "only runner pods may do this, with the token that the kubelet gave them for the gateway");
}

async function requireRecord({ store }: ApiPorts, { podUid, namespace }: Runner, registration: Registration | undefined): Promise<StoredRecord> {
  if (registration === undefined) {
    throw new ProblemError("unexpected", `pod ${podUid} is not registered for a session yet: follow GET /v1/runner until its assignment comes`, { refusal: "wait" });
  }
  const record = await store.record(registration.sessionUid);
  if (registration.component !== "runner" || record === undefined || record.namespace !== namespace) {
    throw new ProblemError("forbidden", `pod ${podUid} of namespace ${namespace} is not registered as the runner of a session there`);
  }
  return record;
}

function requireNewest({ runner: newest, uid }: StoredRecord, { podUid }: Runner): void {
  if (newest.podUid === podUid) return;
  throw new ProblemError("fenced", `another runner pod was registered for session ${uid} since: stop, it goes on from the log`, { refusal: "final" });
}

interface Served {
  readonly runner: Runner;
  readonly stream: EventStream;
  readonly after: number;
  isNewest(): boolean;
}

/** Holds the pod until it has a session, then gives it the assignment and the log. */
async function serve(ports: ApiPorts, served: Served): Promise<void> {
  const { runner, stream } = served;
  const registration = await waitForRegistration(ports, runner.podUid, stream);
  if (registration === undefined) return;
  const record = await requireRecord(ports, runner, registration);
  const { uid } = record;
  const { podUid } = runner;
  const follower = ports.followers.join(uid);
  const unsubscribe = ports.listeners.on(uid, ({ runner: newest }) => {
    if (newest.podUid !== podUid) stream.stop();
  });
  try {
    await ports.store.connected(uid, podUid, true, ports.now().toISOString());
    const current = await ports.store.record(uid);
    if (current?.runner.podUid !== podUid) return;
    await stream.send({ event: "assignment", data: buildAssignment(current, podUid) });
    await followLog({
      store: ports.store,
      follower,
      uid,
      after: Math.min(served.after, current.state.lastSeq),
      signal: stream.signal,
      write: async (item) => {
        if (item.kind === "event") await stream.send({ event: "log", id: `${item.event.seq}`, data: item.event });
      },
      idle: () => stream.comment("alive"),
      idleMs: ports.times.keepAliveMs,
    });
  } finally {
    unsubscribe();
    follower.close();
    if (served.isNewest()) await ports.store.connected(uid, podUid, false, ports.now().toISOString());
  }
}

/**
 * A token is the pod's own as long as the pod is there: a runner whose pod is gone, as Kubernetes sees it, reads nothing more, whatever node still runs
 * it. One whose token has merely run out comes again with the next.
 */
async function cutWhenRevoked({ reviewer }: ApiPorts, held: Held): Promise<void> {
  const { token } = held;
  const reviewed = await reviewer.reviewToken(token);
  // One that ran out while the runner showed its next says nothing.
  if (reviewed.kind === "rejected" && held.token === token) held.stream.stop();
}

async function waitForRegistration({ store, followers, times }: ApiPorts, podUid: string, stream: EventStream): Promise<Registration | undefined> {
  const follower = followers.join(podUid);
  try {
    while (!stream.signal.aborted) {
      const registration = await store.registration(podUid);
      if (registration !== undefined) return registration;
      await stream.comment("waiting: the operator has not registered this pod yet");
      await follower.next(times.keepAliveMs, stream.signal);
    }
    return undefined;
  } finally {
    follower.close();
  }
}

/** What a pod is to do: go on in the epoch it has, or take the next one. Pure. */
export function buildAssignment({ bundle, bindKey, state, batch }: StoredRecord, podUid: string): Assignment {
  const started = state.runnerPodUid === podUid;
  const epoch = started ? state.epoch : state.epoch + 1;
  return { bundle, bindKey, started, epoch, lastBatch: batch?.epoch === epoch ? batch.batch : 0 };
}

function positionOf(lastEventId: string | undefined): number {
  return lastEventId !== undefined && /^[0-9]{1,9}$/.test(lastEventId) ? Number(lastEventId) : 0;
}
