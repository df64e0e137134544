import { randomBytes } from "node:crypto";
import { startOf } from "@paddock/api/cut";
import type { Bundle } from "@paddock/api/log/bundle";
import { digestOf } from "@paddock/api/log/canonical";
import type { EventType, LogEvent, NewEvent } from "@paddock/api/log/events";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { RecordRequest } from "@paddock/api/wire/records";
import type { AppendRequest } from "@paddock/api/wire/runner";
import type { Decided, Inside, Store, StoredBatch, StoredRecord, Write } from "../store/store.ts";
import { refuseFenced } from "./admit.ts";
import { refuse } from "./admission.ts";
import type { Appender, Refusal } from "./admission.ts";
import { admitAll, gatewaysOwn } from "./append-sequence.ts";
import type { Place } from "./append-sequence.ts";
import { dueAt, dueEvents } from "./due.ts";
import { dayOf } from "./ledger.ts";

/**
 * The events as stored, in the request's order, or why none was. Undefined: no such record. What the gateway appended behind them in the same
 * commit, such as approval.requested, is no part of it: those who wait for that follow the log, and a repeated batch has the same reply.
 */
export type AppendResult = { readonly kind: "stored"; readonly events: readonly LogEvent[] } | Refusal | undefined;

export interface LogWriter {
  /** Makes a session's record with its first two events. `conflict`: the uid has a record with another bundle or namespace. */
  create(request: RecordRequest): Promise<{ readonly kind: "created" | "known" | "conflict"; readonly record: StoredRecord } | Refusal>;
  appendByOperator(uid: string, events: readonly NewEvent[]): Promise<AppendResult>;
  /** `username` is as authenticated; whether they may was asked before. */
  appendByPerson(uid: string, username: string, event: NewEvent): Promise<AppendResult>;
  appendByRunner(uid: string, podUid: string, request: AppendRequest): Promise<AppendResult>;
  /** What the gateway itself has to append by now: approvals that expired, custom tools whose time is over. */
  appendDue(uid: string): Promise<AppendResult>;
  /** Marks a session's stored log as damaged and ends the session with the outcome LogCorrupt. */
  finishCorrupt(uid: string, reason: string): Promise<AppendResult>;
}

export interface LogWriterPorts {
  readonly store: Store;
  now(): Date;
  /** Told after each commit, in commit order per record: the record as it was before (undefined for a new one), its bundle, and the events as stored. */
  stored(commit: { readonly before: StoredRecord | undefined; readonly bundle: Bundle; readonly events: readonly LogEvent[] }): void;
  /** Told of each event that is stored (or was before), and of the one a request was refused for. */
  count(type: EventType, result: "stored" | "refused"): void;
}

type Answer = { readonly kind: "stored"; readonly places: readonly Place[] } | Refusal;

/** What is answered, and what was committed with it. */
interface Outcome {
  readonly answer: Answer;
  readonly before: StoredRecord;
  readonly events: readonly LogEvent[];
}

type Decide = (inside: Inside) => { readonly answer: Answer; readonly write?: Write | undefined };

/** Longest reason of a run.finished. */
const REASON_CHARS = 2048;

/** The append path: admission and commit in one transaction of the store, which publishes after it. */
export function openLogWriter(ports: LogWriterPorts): LogWriter {
  const { now } = ports;
  return {
    create: (request) => createRecord(ports, request),
    appendByOperator: (uid, events) => append(ports, { uid, events }, (inside) => decideEvents(inside, { events, who: { role: "operator" }, now: now() })),
    appendByPerson: (uid, username, event) =>
      append(ports, { uid, events: [event] }, (inside) => decideEvents(inside, { events: [event], who: { role: "person", username }, now: now() })),
    appendByRunner: (uid, podUid, request) => append(ports, { uid, events: request.events }, (inside) => decideBatch(inside, { podUid, request, now: now() })),
    appendDue: (uid) => append(ports, { uid, events: [] }, (inside) => decideDue(inside.record, now())),
    finishCorrupt: async (uid, reason) => {
      const cut = startOf(reason, REASON_CHARS);
      await ports.store.markCorrupt(uid, cut);
      return append(ports, { uid, events: [] }, (inside) => decideCorrupt(inside.record, cut, now()));
    },
  };
}

async function append(ports: LogWriterPorts, { uid, events }: { uid: string; events: readonly NewEvent[] }, decide: Decide): Promise<AppendResult> {
  const { store } = ports;
  const inTransaction = (inside: Inside): Decided<Outcome> => {
    const { answer, write } = decide(inside);
    return { result: { answer, before: inside.record, events: write?.events ?? [] }, ...(write === undefined ? {} : { write }) };
  };
  // A request is charged to the day on which it is decided, and needs to know what others have left of it.
  const options = events.some(({ type }) => type === "model.requested") ? { day: dayOf(ports.now()) } : {};
  const outcome = await store.change(uid, inTransaction, options);
  if (outcome === undefined) return undefined;
  const { answer } = outcome;
  announce(ports, outcome, events);
  return answer.kind === "refuse" ? answer : { kind: "stored", events: await readPlaces(store, uid, answer.places) };
}

function announce(ports: LogWriterPorts, { answer, before, events: stored }: Outcome, asked: readonly NewEvent[]): void {
  if (stored.length > 0) ports.stored({ before, bundle: before.bundle, events: stored });
  if (answer.kind === "refuse") {
    if (answer.type !== undefined) ports.count(answer.type, "refused");
  } else {
    for (const event of asked) ports.count(event.type, "stored");
  }
  for (const event of stored) if (event.role === "gateway") ports.count(event.type, "stored");
}

async function createRecord(ports: LogWriterPorts, request: RecordRequest): ReturnType<LogWriter["create"]> {
  const { bundle, namespaceUid, prompt } = request;
  const { uid, namespace, name } = bundle.session;
  const bundleDigest = digestOf(bundle);
  const bound: NewEvent = {
    type: "session.bound",
    data: {
      bundleDigest,
      agentDigest: bundle.agent.digest,
      environmentDigest: bundle.environment.digest,
      limits: bundle.limits,
      startTime: bundle.startTime,
      traceId: bundle.traceId,
      ...(bundle.mode === undefined ? {} : { mode: bundle.mode }),
    },
  };
  const events: readonly NewEvent[] = [bound, { type: "input.received", data: { id: "prompt", content: prompt } }];
  const now = ports.now();
  const admitted = admitAll(EMPTY_STATE, { events, bundle, who: { role: "operator" }, now });
  if (admitted.kind === "refuse") return admitted;
  const bindKey = randomBytes(32).toString("base64url");
  const stored = { uid, namespace, name, namespaceUid, bundle, bundleDigest, bindKey, at: now.toISOString() };
  const { created, record } = await ports.store.create(stored, admitted.write);
  if (created) {
    ports.stored({ before: undefined, bundle, events: admitted.write.events });
    for (const event of events) ports.count(event.type, "stored");
    return { kind: "created", record };
  }
  return { kind: record.bundleDigest === bundleDigest && record.namespaceUid === namespaceUid ? "known" : "conflict", record };
}

/** A runner's batch: repeated ones get their stored reply, the next one is decided, any other is a gap. */
function decideBatch(inside: Inside, { podUid, request, now }: { podUid: string; request: AppendRequest; now: Date }): ReturnType<Decide> {
  const { record } = inside;
  const { epoch, batch, events } = request;
  const who: Appender = { role: "runner", podUid, epoch, newestPodUid: record.runner.podUid };
  const fenced = refuseFenced({ type: events[0]?.type ?? "run.finished" }, { state: record.state, who });
  if (fenced !== undefined) return { answer: fenced };
  const digest = digestOf(events);
  const last = record.batch?.epoch === epoch ? record.batch : { batch: 0, digest: "", seqs: [] };
  if (batch === last.batch) return { answer: repeatBatch(last, digest, podUid === record.state.runnerPodUid) };
  if (batch !== last.batch + 1) {
    return { answer: refuse("gap", "final", `the next batch of epoch ${epoch} is ${last.batch + 1}, not ${batch}: take the assignment again and go on from its lastBatch`) };
  }
  const decided = decideEvents(inside, { events, who, now, batch });
  if (decided.answer.kind === "refuse") return decided;
  // A batch that only repeats what is known is remembered all the same.
  const { bundle, state } = record;
  const write: Write = decided.write ?? { events: [], state, dueAt: dueAt(state, bundle) };
  return { answer: decided.answer, write: { ...write, batch: { epoch, batch, digest, seqs: decided.answer.places.flatMap(seqOf) } } };
}

function seqOf(place: Place): number[] {
  if ("event" in place) return [place.event.seq];
  return "seq" in place ? [place.seq] : [];
}

function repeatBatch({ batch, digest, seqs }: Omit<StoredBatch, "epoch">, repeated: string, ours: boolean): Answer {
  if (!ours) return refuse("fenced", "final", "another pod holds this epoch: stop, it goes on from the log");
  if (digest !== repeated) return refuse("conflict", "final", `batch ${batch} was stored with other events: repeat a batch unchanged, or use the next number`);
  return { kind: "stored", places: seqs.map((seq) => ({ seq })) };
}

interface Asked {
  readonly events: readonly NewEvent[];
  readonly who: Appender;
  readonly now: Date;
  readonly batch?: number;
}

function decideEvents({ record, budget }: Inside, asked: Asked): ReturnType<Decide> {
  const { state, bundle, corrupt } = record;
  if (corrupt !== undefined) return { answer: answerCorrupt(corrupt, asked.who) };
  const admitted = admitAll(state, { ...asked, bundle, budget });
  if (admitted.kind === "refuse") {
    const { instead, ...refusal } = admitted;
    return { answer: refusal, write: instead === undefined ? undefined : gatewaysOwn(state, { events: [instead], bundle, now: asked.now }) };
  }
  const { write, places } = admitted;
  return { answer: { kind: "stored", places }, write: write.events.length === 0 ? undefined : write };
}

/** Nothing is read back from a damaged log. */
function answerCorrupt(reason: string, who: Appender): Answer {
  if (who.role === "operator") return { kind: "stored", places: [] };
  return refuse("corrupt", "final", `the session's log is damaged (${reason}) and takes nothing any more: make another Session`);
}

function decideDue({ state, bundle, dueAt: remembered }: StoredRecord, now: Date): ReturnType<Decide> {
  const write = gatewaysOwn(state, { events: dueEvents(state, bundle, now), bundle, now });
  if (write !== undefined) return { answer: { kind: "stored", places: write.events.map((event) => ({ event })) }, write };
  const at = dueAt(state, bundle);
  // Otherwise the gateway would look at the record again and again.
  return { answer: { kind: "stored", places: [] }, write: at === remembered ? undefined : { events: [], state, dueAt: at } };
}

function decideCorrupt({ state, bundle }: StoredRecord, reason: string, now: Date): ReturnType<Decide> {
  const end: NewEvent = { type: "run.finished", data: { outcome: "LogCorrupt", text: "", reason, through: state.lastSeq } };
  const write = gatewaysOwn(state, { events: [end], bundle, now });
  return { answer: { kind: "stored", places: (write?.events ?? []).map((event) => ({ event })) }, write };
}

async function readPlaces(store: Store, uid: string, places: readonly Place[]): Promise<LogEvent[]> {
  const found = await Promise.all(places.map((place) => readPlace(store, uid, place)));
  return found.filter((event) => event !== undefined);
}

async function readPlace(store: Store, uid: string, place: Place): Promise<LogEvent | undefined> {
  if ("event" in place) return place.event;
  if ("seq" in place) return (await store.events(uid, { after: place.seq - 1, limit: 1 }))[0];
  return (await store.events(uid, { after: 0, limit: 1000, types: [place.newest] })).at(-1);
}
