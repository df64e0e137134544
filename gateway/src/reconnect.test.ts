import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { after, before, test } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { hashOf } from "@paddock/api/log/fold";
import type { EventPage } from "@paddock/api/wire/people";
import { follow, send } from "../../test/fakes/client.ts";
import type { Events, Reply } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";
import { buildTestBundle, event, requestedEvent, runFinishedEvent, startedEvent } from "../../test/fakes/session.ts";
import { RATES } from "./api/rate.ts";

// Readers that come and go, and one that is stuck, while a session is being written.

const RECONNECTS = 100;
/** Requests and failures of one batch. */
const PAIRS = 100;

let gateway: LocalGateway;
let operator: string;
let ann: string;

before(async () => {
  // Readers here come again faster than people do.
  gateway = await startLocalGateway({ writeTimeoutMs: 200 }, { rates: { ...RATES, person: { perSecond: 10_000, burst: 10_000 } } });
  operator = gateway.reviews.operatorToken();
  ann = gateway.reviews.personToken("ann", ["team"]);
});
after(() => gateway.close());

/** Numbers below `below`, the same again for the same seed (mulberry32). */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface Session {
  readonly uid: string;
  readonly path: string;
  append(events: readonly NewEvent[]): Promise<void>;
  show(text: string, attempt: number): Promise<Reply>;
  finish(): Promise<void>;
}

async function makeSession(uid: string): Promise<Session> {
  const podUid = `pod-${uid}`;
  const asOperator = (method: string, path: string, body: unknown): Promise<Reply> => send(gateway, { method, path, token: operator, body });
  await asOperator("PUT", `/v1/records/${uid}`, { bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
  await asOperator("PUT", `/v1/pods/${podUid}`, { sessionUid: uid, component: "runner", podName: podUid });
  const token = gateway.reviews.runnerToken({ namespace: "team", podUid, podName: podUid });
  let batch = 0;
  const append = async (events: readonly NewEvent[]): Promise<void> => {
    const reply = await send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch: (batch += 1), events } });
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
  };
  await append([startedEvent(podUid, 1)]);
  return {
    uid,
    path: `/v1/namespaces/team/sessions/session-${uid}/events`,
    append,
    show: (text, attempt) => send(gateway, { method: "POST", path: "/v1/runner/deltas", token, body: { turn: 1, attempt, text } }),
    finish: async () => {
      const events = [event("session.cancelled", { reason: "" }), runFinishedEvent({ outcome: "Cancelled", text: "" })];
      assert.equal((await asOperator("POST", `/v1/records/${uid}/events`, { events })).status, 200);
    },
  };
}

/** Requests and their failures, one after the other, with what the model streams between them, until told to stop; then the session ends. */
async function write(session: Session, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    await session.append([requestedEvent(1, attempt, 3)]);
    await session.show(`attempt ${attempt}`, attempt);
    await session.append([event("model.failed", { turn: 1, attempt, class: "overloaded", message: "" })]);
  }
  await session.finish();
}

/** The whole log by pages. */
async function readLog({ path }: Session): Promise<LogEvent[]> {
  const log: LogEvent[] = [];
  for (;;) {
    const { body } = await send(gateway, { path: `${path}?limit=1000&after=${log.length}`, token: ann });
    const { events } = body as EventPage;
    if (events.length === 0) return log;
    log.push(...events);
  }
}

interface Read {
  readonly events: LogEvent[];
  lastId: string;
  ended: boolean;
}

/** Takes at most this many items of one connection and notes the events among them. */
async function take(stream: Events, count: number, read: Read): Promise<void> {
  const first = await stream.next();
  assert.equal(first.value?.event, "state", "each connection begins with the state");
  for (let taken = 0; taken < count; taken += 1) {
    const { value, done } = await stream.next();
    if (done === true) return;
    if (value.event === "end") read.ended = true;
    assert.equal(value.id !== undefined, value.event === "log", "events have an id and deltas have none");
    if (value.event !== "log") continue;
    read.events.push(value.data as LogEvent);
    read.lastId = value.id ?? "";
  }
}

test("a reader that is disconnected and comes again 100 times at random ends with exactly the log", async (t) => {
  const seed = randomInt(2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const random = createRandom(seed);
  const session = await makeSession("random");
  const enough = new AbortController();
  const writing = write(session, enough.signal);
  const read: Read = { events: [], lastId: "", ended: false };
  for (let connection = 0; connection <= RECONNECTS; connection += 1) {
    if (connection === RECONNECTS) {
      enough.abort();
      await writing;
    }
    const stream = await follow(gateway, { path: session.path, token: ann, ...(read.lastId === "" ? {} : { headers: { "last-event-id": read.lastId } }) });
    // The last one reads to the end, the others go in the middle of it: sometimes at once, sometimes with a page still to come.
    await take(stream, connection === RECONNECTS ? Infinity : random(6), read);
    if (connection < RECONNECTS) assert.equal(read.ended, false);
    stream.close();
  }
  assert.equal(read.ended, true);
  const log = await readLog(session);
  assert.deepEqual(read.events.map(({ seq }) => seq), log.map((_, index) => index + 1), `seed ${seed}: no gap, no duplicate`);
  assert.deepEqual(read.events, log, `seed ${seed}`);
  let previous = "";
  for (const { hash, ...hashed } of read.events) {
    assert.equal(hash, hashOf(previous, hashed as Omit<LogEvent, "hash">));
    previous = hash;
  }
});

test("a reader goes on where it was when the gateway restarts meanwhile", async () => {
  const session = await makeSession("restarted");
  await session.append([requestedEvent(1, 1, 3)]);
  const read: Read = { events: [], lastId: "", ended: false };
  const reading = take(await follow(gateway, { path: session.path, token: ann }), Infinity, read);
  await session.append([event("model.failed", { turn: 1, attempt: 1, class: "overloaded", message: "" })]);
  await gateway.restart();
  await reading;
  assert.equal(read.ended, false);
  await session.finish();
  await take(await follow(gateway, { path: session.path, token: ann, headers: { "last-event-id": read.lastId } }), Infinity, read);
  assert.deepEqual([read.events, read.ended], [await readLog(session), true]);
});

test("a reader that takes nothing is cut, appends and other readers go on, and it misses nothing when it comes again", async () => {
  const session = await makeSession("stuck");
  const large = (attempt: number): NewEvent => event("model.failed", { turn: 1, attempt, class: "overloaded", message: "x".repeat(2048) });
  const stuck = await follow(gateway, { path: session.path, token: ann });
  stuck.pause();
  const others: Read = { events: [], lastId: "", ended: false };
  const reading = take(await follow(gateway, { path: session.path, token: ann }), Infinity, others);
  const isOpen = async (): Promise<boolean> => /paddock_gateway_open_streams\{audience="person"\} 2/.test(await gateway.metrics.text());
  // The cut shows at the gateway; the reader that takes nothing does not see it. There is room in sockets for some megabytes.
  for (let first = 1; first === 1 || (await isOpen()); first += PAIRS) {
    await session.append(Array.from({ length: PAIRS }, (_, index) => [requestedEvent(1, first + index, 3), large(first + index)]).flat());
  }
  await session.finish();
  await reading;
  const log = await readLog(session);
  assert.deepEqual([others.events, others.ended], [log, true]);
  const again: Read = { events: [], lastId: "", ended: false };
  await take(await follow(gateway, { path: session.path, token: ann, headers: { "last-event-id": `${session.uid}:2` } }), Infinity, again);
  assert.deepEqual([again.events, again.ended], [log.slice(2), true]);
  stuck.close();
});
