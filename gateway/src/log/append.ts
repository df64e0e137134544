import { randomBytes } from "node:crypto";
import type { Bundle } from "@paddock/api/log/bundle";
import { digestOf } from "@paddock/api/log/canonical";
import { LOG_VERSION, ROOT_RUN } from "@paddock/api/log/limits";
import type { EventType, LogEvent, NewEvent } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import type { RecordRequest } from "@paddock/api/wire/records";
import type { AppendRequest } from "@paddock/api/wire/runner";
import type { Decided, Store, StoredBatch, StoredRecord, Write } from "../store/store.ts";
import { admit, refuseFenced } from "./admit.ts";
import { refuse } from "./admission.ts";
import type { Appender, Refusal } from "./admission.ts";

/** Where one event of a request is: its number, or the newest of its type. */
type Place = { readonly seq: number } | { readonly newest: EventType };

type Outcome = { readonly kind: "stored"; readonly places: readonly Place[] } | Refusal;

/** The events as stored, in the request's order, or why none was. Undefined: no such record. */
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
  /** Ends a session whose stored log is damaged, with the outcome LogCorrupt. */
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

/** The append path: admission and commit in one transaction of the store, which publishes after it. */
export function openLogWriter(ports: LogWriterPorts): LogWriter {
  const { store } = ports;
  const append = async (uid: string, events: readonly NewEvent[], decide: (record: StoredRecord) => Decided<Outcome>): Promise<AppendResult> => {
    const outcome = await store.change(uid, decide);
    if (outcome === undefined) return undefined;
    if (outcome.kind === "refuse") {
      if (outcome.type !== undefined) ports.count(outcome.type, "refused");
      return outcome;
    }
    for (const event of events) ports.count(event.type, "stored");
    return { kind: "stored", events: await readPlaces(store, uid, outcome.places) };
  };
  return {
    create: (request) => createRecord(ports, request),
    appendByOperator: (uid, events) => append(uid, events, (record) => decideEvents(ports, record, { events, who: { role: "operator" } })),
    appendByPerson: (uid, username, event) => append(uid, [event], (record) => decideEvents(ports, record, { events: [event], who: { role: "person", username } })),
    appendByRunner: (uid, podUid, request) => append(uid, request.events, (record) => decideBatch(ports, record, podUid, request)),
  };
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
  const { events: sealed, state } = admitted;
  const bindKey = randomBytes(32).toString("base64url");
  const stored = { uid, namespace, name, namespaceUid, bundle, bundleDigest, bindKey, at: now.toISOString() };
  const { created, record } = await ports.store.create(stored, { events: sealed, state });
  if (created) {
    for (const event of events) ports.count(event.type, "stored");
    return { kind: "created", record };
  }
  return { kind: record.bundleDigest === bundleDigest && record.namespaceUid === namespaceUid ? "known" : "conflict", record };
}

/** A runner's batch: repeated ones get their stored reply, the next one is decided, any other is a gap. */
function decideBatch(ports: LogWriterPorts, record: StoredRecord, podUid: string, request: AppendRequest): Decided<Outcome> {
  const { epoch, batch, events } = request;
  const who: Appender = { role: "runner", podUid, epoch, newestPodUid: record.runner.podUid };
  const fenced = refuseFenced({ type: events[0]?.type ?? "run.finished" }, { state: record.state, who });
  if (fenced !== undefined) return { result: fenced };
  const digest = digestOf(events);
  const last = record.batch?.epoch === epoch ? record.batch : { batch: 0, digest: "", seqs: [] };
  if (batch === last.batch) return { result: repeatBatch(last, digest, podUid === record.state.runnerPodUid) };
  if (batch !== last.batch + 1) {
    return { result: refuse("gap", "final", `the next batch of epoch ${epoch} is ${last.batch + 1}, not ${batch}: take the assignment again and go on from its lastBatch`) };
  }
  const decided = decideEvents(ports, record, { events, who, batch });
  return decided.result.kind === "refuse" ? decided : rememberBatch(decided, decided.result.places, { record, epoch, batch, digest });
}

/** Adds the reply to what is written; a batch that only repeats what is known is remembered all the same. */
function rememberBatch(decided: Decided<Outcome>, places: readonly Place[], of: { record: StoredRecord } & Omit<StoredBatch, "seqs">): Decided<Outcome> {
  const { record, epoch, batch, digest } = of;
  const seqs = places.flatMap((place) => ("seq" in place ? [place.seq] : []));
  return { result: decided.result, write: { events: [], state: record.state, ...decided.write, batch: { epoch, batch, digest, seqs } } };
}

function repeatBatch({ batch, digest, seqs }: Omit<StoredBatch, "epoch">, repeated: string, ours: boolean): Outcome {
  if (!ours) return refuse("fenced", "final", "another pod holds this epoch: stop, it goes on from the log");
  if (digest !== repeated) return refuse("conflict", "final", `batch ${batch} was stored with other events: repeat a batch unchanged, or use the next number`);
  return { kind: "stored", places: seqs.map((seq) => ({ seq })) };
}

interface Asked {
  readonly events: readonly NewEvent[];
  readonly who: Appender;
  readonly batch?: number;
}

function decideEvents(ports: LogWriterPorts, record: StoredRecord, asked: Asked): Decided<Outcome> {
  const admitted = admitAll(record.state, { ...asked, bundle: record.bundle, now: ports.now() });
  if (admitted.kind === "refuse") return { result: admitted };
  const { events, state, places } = admitted;
  const write: { write?: Write } = events.length === 0 ? {} : { write: { events, state } };
  return { ...write, result: { kind: "stored", places } };
}

interface Admitted {
  readonly kind: "admitted";
  readonly events: readonly LogEvent[];
  readonly state: SessionState;
  readonly places: readonly Place[];
}

/** All or nothing: every event is admitted in the state that the ones before it leave. */
function admitAll(first: SessionState, asked: Asked & { readonly bundle: Bundle; readonly now: Date }): Admitted | Refusal {
  const events: LogEvent[] = [];
  const places: Place[] = [];
  let state = first;
  for (const [index, event] of asked.events.entries()) {
    const admission = admit(state, asked.bundle, event, asked);
    if (admission.kind === "refuse") return { ...admission, type: event.type, detail: `${event.type} (event ${index + 1} of ${asked.events.length}): ${admission.detail}` };
    if (admission.kind === "known") {
      places.push("seq" in admission ? { seq: admission.seq } : { newest: admission.newest });
      continue;
    }
    const sealed = sealEvent(state, admission.event, asked);
    state = foldEvent(state, sealed);
    events.push(sealed);
    places.push({ seq: sealed.seq });
  }
  return { kind: "admitted", events, state, places };
}

function sealEvent(state: SessionState, event: NewEvent, { who, batch, now }: Asked & { readonly now: Date }): LogEvent {
  const envelope = {
    v: LOG_VERSION,
    seq: state.lastSeq + 1,
    at: now.toISOString(),
    role: who.role,
    run: ROOT_RUN,
    ...(who.role === "runner" ? { epoch: who.epoch } : {}),
    ...(batch === undefined ? {} : { batch }),
    ...(who.role === "person" ? { by: who.username } : {}),
  };
  // The union of events is closed over type and data together, which a spread cannot show.
  const unsealed = { ...envelope, ...event } as Omit<LogEvent, "hash">;
  return { ...unsealed, hash: hashOf(state.lastHash, unsealed) } as LogEvent;
}

async function readPlaces(store: Store, uid: string, places: readonly Place[]): Promise<LogEvent[]> {
  const found = await Promise.all(places.map((place) => readPlace(store, uid, place)));
  return found.filter((event) => event !== undefined);
}

async function readPlace(store: Store, uid: string, place: Place): Promise<LogEvent | undefined> {
  if ("seq" in place) return (await store.events(uid, { after: place.seq - 1, limit: 1 }))[0];
  return (await store.events(uid, { after: 0, limit: 1000, types: [place.newest] })).at(-1);
}
