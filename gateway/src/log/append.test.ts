import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewEvent } from "@paddock/api/log/events";
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
import type { AppendResult } from "./append.ts";
import { begin, makeFolder, open, problemOf, seqsOf } from "./testdata/writer.ts";

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
  const opened = open(makeFolder(context));
  const { store, writer } = opened;
  await begin(opened);
  await store.register({ podUid: "p2", sessionUid: "u", component: "runner", podName: "p2" }, new Date().toISOString());
  const requested = { epoch: 1, batch: 2, events: [requestedEvent(1, 1, 3)] };
  assert.equal(problemOf(await writer.appendByRunner("u", "p1", requested)), "fenced");
  assert.equal(problemOf(await writer.appendByRunner("u", "p2", requested)), "fenced");
  assert.equal(problemOf(await writer.appendByRunner("u", "p2", { epoch: 1, batch: 1, events: [startedEvent("p1", 1)] })), "fenced");
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p2", { epoch: 2, batch: 1, events: [startedEvent("p2", 2)] })), [4]);
  assert.deepEqual(seqsOf(await writer.appendByRunner("u", "p2", { epoch: 2, batch: 2, events: [requestedEvent(1, 1, 3)] })), [5]);
  await store.close();
});

test("a known result in a batch is answered with its first event", async (context) => {
  const opened = open(makeFolder(context));
  const { store, writer } = opened;
  await begin(opened);
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
  const opened = open(makeFolder(context));
  const { store, writer } = opened;
  await begin(opened);
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
