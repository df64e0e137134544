import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import fc from "fast-check";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, EventType, LogEvent, NewEvent } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { CallState, SessionState } from "@paddock/api/log/state";
import {
  buildTestBundle,
  decidedEvent,
  event,
  requestedEvent,
  respondedEvent,
  runFinishedEvent,
  startedEvent,
  toolFinishedEvent,
  toolStartedEvent,
} from "../../../test/fakes/session.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { openLogWriter } from "./append.ts";
import type { AppendResult, LogWriter } from "./append.ts";

interface Opened {
  readonly store: Store;
  readonly writer: LogWriter;
}

const now = (): Date => new Date();

function open(folder: string): Opened {
  const store = openSqliteStore(folder, now);
  return { store, writer: openLogWriter({ store, now, count: () => undefined, stored: () => undefined }) };
}

function makeFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "paddock-append-"));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A record with a started runner: batch 1 of epoch 1 is used. */
async function begin({ store, writer }: Opened, uid = "u"): Promise<void> {
  await writer.create({ bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
  await store.register({ podUid: "p1", sessionUid: uid, component: "runner", podName: "p1" }, now().toISOString());
  seqsOf(await writer.appendByRunner(uid, "p1", { epoch: 1, batch: 1, events: [startedEvent("p1", 1)] }));
}

function seqsOf(result: AppendResult): number[] {
  assert.equal(result?.kind, "stored");
  return result.kind === "stored" ? result.events.map(({ seq }) => seq) : [];
}

function problemOf(result: AppendResult): string {
  assert.equal(result?.kind, "refuse");
  return result.kind === "refuse" ? result.problem : "";
}

test("a record is made once, with its prompt, and keeps the bundle it has", async (context) => {
  const { store, writer } = open(makeFolder(context));
  const bundle = buildTestBundle("u");
  const secret = `ghp_${"a1B2".repeat(9)}`;
  const first = await writer.create({ bundle, namespaceUid: "n1", prompt: `Use ${secret}.` });
  assert.equal(first.kind, "created");
  const again = await writer.create({ bundle, namespaceUid: "n1", prompt: "Hello" });
  assert.equal(again.kind, "known");
  const other = await writer.create({ bundle: { ...bundle, limits: { maxTurns: 9, timeoutSeconds: 9 } }, namespaceUid: "n1", prompt: "Hello" });
  assert.equal(other.kind, "conflict");
  assert.equal(other.kind === "conflict" ? other.record.bundle.limits.maxTurns : 0, 5);
  assert.equal((await writer.create({ bundle, namespaceUid: "n2", prompt: "Hello" })).kind, "conflict");
  const events = await store.events("u", { after: 0, limit: 10 });
  assert.deepEqual(events.map(({ type }) => type), ["session.bound", "input.received"]);
  assert.deepEqual(events[1]?.data, { id: "prompt", content: "Use [redacted]." });
  await store.close();
});

test("a repeated batch is answered with its stored reply, also after a restart", async (context) => {
  const folder = makeFolder(context);
  const before = open(folder);
  await begin(before);
  const batch = { epoch: 1, batch: 2, events: [requestedEvent(1, 1, 3)] };
  const first = await before.writer.appendByRunner("u", "p1", batch);
  assert.deepEqual(seqsOf(first), [4]);
  assert.deepEqual(await before.writer.appendByRunner("u", "p1", batch), first);
  await before.store.close();
  const after = open(folder);
  assert.deepEqual(await after.writer.appendByRunner("u", "p1", batch), first);
  assert.equal((await after.store.record("u"))?.state.lastSeq, 4);
  await after.store.close();
});

test("any other batch number is a gap, and a used number with other events a conflict", async (context) => {
  const opened = open(makeFolder(context));
  await begin(opened);
  const send = async (batch: number, events: NewEvent[]): Promise<AppendResult> => opened.writer.appendByRunner("u", "p1", { epoch: 1, batch, events });
  assert.equal(problemOf(await send(3, [requestedEvent(1, 1, 3)])), "gap");
  assert.equal(problemOf(await send(1, [requestedEvent(1, 1, 3)])), "conflict");
  assert.deepEqual(seqsOf(await send(2, [requestedEvent(1, 1, 3)])), [4]);
  assert.equal(problemOf(await send(1, [startedEvent("p1", 1)])), "gap");
  await opened.store.close();
});

test("a batch is stored whole or not at all, and a refused number can be used again", async (context) => {
  const opened = open(makeFolder(context));
  await begin(opened);
  const send = async (events: NewEvent[]): Promise<AppendResult> => opened.writer.appendByRunner("u", "p1", { epoch: 1, batch: 2, events });
  const refused = await send([requestedEvent(1, 1, 3), respondedEvent(1, 1), respondedEvent(1, 1)]);
  assert.equal(problemOf(refused), "unexpected");
  assert.match(refused?.kind === "refuse" ? refused.detail : "", /model\.responded \(event 3 of 3\)/);
  assert.equal((await opened.store.record("u"))?.state.lastSeq, 3);
  assert.deepEqual(seqsOf(await send([requestedEvent(1, 1, 3), respondedEvent(1, 1)])), [4, 5]);
  await opened.store.close();
});

test("the next runner's epoch fences the one before it", async (context) => {
  const { store, writer } = open(makeFolder(context));
  await begin({ store, writer });
  await store.register({ podUid: "p2", sessionUid: "u", component: "runner", podName: "p2" }, now().toISOString());
  const requested = { epoch: 1, batch: 2, events: [requestedEvent(1, 1, 3)] };
  assert.equal(problemOf(await writer.appendByRunner("u", "p1", requested)), "fenced");
  assert.equal(problemOf(await writer.appendByRunner("u", "p2", requested)), "fenced");
  assert.equal(problemOf(await writer.appendByRunner("u", "p2", { epoch: 1, batch: 1, events: [startedEvent("p1", 1)] })), "fenced");
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p2", { epoch: 2, batch: 1, events: [startedEvent("p2", 2)] })), [4]);
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p2", { epoch: 2, batch: 2, events: [requestedEvent(1, 1, 3)] })), [5]);
  await store.close();
});

test("a known result in a batch is answered with its first event", async (context) => {
  const { store, writer } = open(makeFolder(context));
  await begin({ store, writer });
  const bundle = buildTestBundle("u");
  const call = "root/1/0";
  const events = [requestedEvent(1, 1, 3), respondedEvent(1, 1, [{ name: "bash", arguments: "{}" }]), decidedEvent(bundle, call), toolStartedEvent(call, 1), toolFinishedEvent(call)];
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p1", { epoch: 1, batch: 2, events })), [4, 5, 6, 7, 8]);
  const again = { epoch: 1, batch: 3, events: [toolFinishedEvent(call)] };
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p1", again)), [8]);
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p1", again)), [8]);
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p1", { epoch: 1, batch: 4, events: [requestedEvent(2, 1, 8)] })), [9]);
  await store.close();
});

test("an operator's event that changes nothing is answered with the earlier one", async (context) => {
  const { store, writer } = open(makeFolder(context));
  await begin({ store, writer });
  const cancel = event("session.cancelled", { reason: "spec.cancel" });
  assert.deepEqual(seqsOf(await writer.appendByOperator("u", [cancel])), [4]);
  const { version } = (await store.record("u")) ?? assert.fail();
  assert.deepEqual(seqsOf(await writer.appendByOperator("u", [cancel])), [4]);
  assert.equal((await store.record("u"))?.version, version);
  assert.deepEqual(seqsOf(await writer.appendByOperator("u", [runFinishedEvent({ outcome: "Cancelled" })])), [5]);
  assert.deepEqual(seqsOf(await writer.appendByOperator("u", [cancel, runFinishedEvent({ outcome: "RunnerFailed" })])), [5, 5]);
  assert.equal(await writer.appendByOperator("nobody", [cancel]), undefined);
  await store.close();
});

// What a runner or operator may try: mostly what could come next, often the wrong thing, sometimes off by one.
interface Moment {
  readonly bundle: Bundle;
  readonly state: SessionState;
}
type Try = (moment: Moment) => { readonly role: "runner" | "operator"; readonly event: NewEvent };

const slip = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1) });
const tools = fc.array(fc.constantFrom("bash", "read", "nothing"), { maxLength: 2, size: "max" });
const statuses = fc.constantFrom("ok", "error", "timeout", "cancelled", "denied", "indeterminate");
const byRunner = (made: (moment: Moment) => NewEvent): Try => (moment) => ({ role: "runner", event: made(moment) });
const byOperator = (made: NewEvent): Try => () => ({ role: "operator", event: made });

function callAt({ state }: Moment, index: number): CallState {
  return state.calls[index % Math.max(1, state.calls.length)] ?? { call: `root/${state.turns + 1}/0`, name: "bash", attempts: 0 };
}

function decide({ bundle }: Moment, { call, name }: CallState, decision: "Allow" | "Deny"): NewEvent {
  return name === "read"
    ? decidedEvent(bundle, call, { decision, tool: name, arguments: { path: "a" }, effect: "Pure" })
    : decidedEvent(bundle, call, { decision, tool: name });
}

const index = fc.nat(1);
const tries: fc.Arbitrary<Try> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(slip, slip, slip).map(([turn, attempt, through]) =>
      byRunner(({ state }) => requestedEvent(Math.max(1, state.turns + 1 + turn), Math.max(1, state.attempt + 1 + attempt), state.lastSeq + through)),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(slip, slip, tools).map(([turn, attempt, names]) =>
      byRunner(({ state }) =>
        respondedEvent(Math.max(1, state.turns + 1 + turn), Math.max(1, state.attempt + attempt), names.map((name) => ({ name, arguments: "{}" }))),
      ),
    ),
  },
  { weight: 6, arbitrary: fc.tuple(index, fc.constantFrom("Allow", "Allow", "Deny")).map(([at, decision]) => byRunner((moment) => decide(moment, callAt(moment, at), decision))) },
  { weight: 6, arbitrary: fc.tuple(index, slip).map(([at, attempt]) => byRunner((moment) => toolStartedEvent(callAt(moment, at).call, Math.max(1, callAt(moment, at).attempts + 1 + attempt)))) },
  { weight: 6, arbitrary: fc.tuple(index, statuses).map(([at, status]) => byRunner((moment) => toolFinishedEvent(callAt(moment, at).call, { status }))) },
  { weight: 1, arbitrary: slip.map((attempt) => byRunner(({ state }) => event("model.failed", { turn: state.turns + 1, attempt: Math.max(1, state.attempt + attempt), class: "server", message: "" }))) },
  { weight: 1, arbitrary: fc.constant(byRunner(() => event("sandbox.requested", { reason: "bash" }))) },
  { weight: 1, arbitrary: fc.constantFrom("s1", "s2").map((podUid) => byOperator(event("sandbox.bound", { podUid, podName: podUid, address: "10.0.0.1" }))) },
  { weight: 1, arbitrary: fc.constantFrom("s1", "s2").map((podUid) => byOperator(event("sandbox.lost", { podUid, reason: "" }))) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom("Completed", "ModelError", "Cancelled"), slip).map(([outcome, through]) => byRunner(({ state }) => runFinishedEvent({ outcome, through: state.lastSeq + through }))) },
);

test("no sequence of appends breaks the log's laws", async (context) => {
  const { store, writer } = open(makeFolder(context));
  let sessions = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(tries, { minLength: 20, maxLength: 80, size: "max" }), async (attempted) => {
      const uid = `u${(sessions += 1)}`;
      const bundle = buildTestBundle(uid);
      await writer.create({ bundle, namespaceUid: "n1", prompt: "Hello" });
      const podUid = `p-${uid}`;
      await store.register({ podUid, sessionUid: uid, component: "runner", podName: podUid }, now().toISOString());
      await writer.appendByRunner(uid, podUid, { epoch: 1, batch: 1, events: [startedEvent(podUid, 1)] });
      let batch = 2;
      for (const attempt of attempted) {
        const { state } = (await store.record(uid)) ?? assert.fail();
        const { role, event: tried } = attempt({ bundle, state });
        const result = role === "runner" ? await writer.appendByRunner(uid, podUid, { epoch: 1, batch, events: [tried] }) : await writer.appendByOperator(uid, [tried]);
        if (role === "runner" && result?.kind === "stored") batch += 1;
      }
      checkLaws(await store.events(uid, { after: 0, limit: 1000 }), (await store.record(uid))?.state.lastHash);
    }),
    { numRuns: 40 },
  );
  await store.close();
});

interface Seen {
  readonly finished: Set<string>;
  readonly allowed: Set<string>;
  readonly starts: Map<string, number>;
}

/** What must hold of an event, given the state before it and what was seen; in our own words, not the admission's. */
const LAWS: { readonly [T in EventType]?: (data: EventDataOf<T>, state: SessionState, seen: Seen) => void } = {
  "tool.decided": ({ call, decision, tool }, _, { allowed }) => {
    assert.notEqual(`${decision} ${tool}`, "Allow nothing", "no tool is called nothing");
    if (decision === "Allow") allowed.add(call);
  },
  "tool.started": ({ call, attempt }, _, { allowed, finished, starts }) => {
    assert.ok(allowed.has(call) && !finished.has(call), "only an allowed, unfinished call starts");
    starts.set(call, (starts.get(call) ?? 0) + 1);
    assert.equal(attempt, starts.get(call));
  },
  "tool.finished": ({ call, status }, _, { finished, starts }) => {
    assert.ok(!finished.has(call), "one result per call");
    finished.add(call);
    if (status === "ok") assert.ok(starts.has(call), "ok needs a start");
  },
  "model.requested": (_, { request, calls: open }, { finished }) => {
    assert.ok(request === undefined && open.every(({ call }) => finished.has(call)), "the model is asked with every result");
  },
  "model.responded": ({ attempt }, { request }) => assert.equal(request?.attempt, attempt),
  "model.failed": ({ attempt }, { request }) => assert.equal(request?.attempt, attempt),
  "run.finished": ({ outcome }, { turns: answers, calls: open }) => {
    if (outcome === "Completed") assert.ok(answers > 0 && open.length === 0);
  },
};

function checkLaws(log: readonly LogEvent[], lastHash: string | undefined): void {
  const seen: Seen = { finished: new Set(), allowed: new Set(), starts: new Map() };
  const end = log.reduce((state, appended, index) => {
    const { hash, ...hashed } = appended;
    assert.deepEqual([appended.seq, hash], [index + 1, hashOf(state.lastHash, hashed)]);
    assert.equal(state.finished, undefined, "nothing follows run.finished");
    const law = LAWS[appended.type] as ((data: unknown, state: SessionState, seen: Seen) => void) | undefined;
    law?.(appended.data, state, seen);
    return foldEvent(state, appended);
  }, EMPTY_STATE);
  assert.equal(end.lastHash, lastHash);
}
