import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import { sha256 } from "@paddock/api/log/canonical";
import type { EventDataOf, LogEvent, NewEvent } from "@paddock/api/log/events";
import { parseUsd } from "@paddock/api/log/money";
import { buildTestBundle, decidedEvent, event, requestedEvent, respondedEvent, runFinishedEvent, toolFinishedEvent, toolStartedEvent } from "../../../test/fakes/session.ts";
import type { SharedBudget } from "../store/store.ts";
import { begin, makeFolder, open, problemOf, runnerOf, seqsOf, stateOf, stoppedClock } from "./testdata/writer.ts";
import type { Clock, Opened } from "./testdata/writer.ts";

// What the gateway appends in its own name, and what it writes beside the events.

const START = "2026-01-01T23:00:00.000Z";
const DAY = "2026-01-01";
const [CALL, NOTE] = ["root/1/0", "root/1/1"] as const;

function buildBundle(uid: string, change: Partial<Bundle> = {}): Bundle {
  const { agent, environment, ...plain } = buildTestBundle(uid, { startTime: START, limits: { maxTurns: 50, timeoutSeconds: 604_800 } });
  const customTools = [{ name: "post_note", description: "Post a note.", inputSchema: {}, timeoutSeconds: 90 }];
  return {
    ...plain,
    agent: { ...agent, spec: { ...agent.spec, customTools, model: { name: "m", maxOutputTokens: 1000 } } },
    environment: { ...environment, spec: { ...environment.spec, permissions: [{ tool: "bash", decision: "Ask" }], approvals: { timeoutSeconds: 3600 } } },
    ...change,
  };
}

const bundle = buildBundle("u");
const called = [requestedEvent(1, 1, 3), respondedEvent(1, 1, ["bash", "post_note"].map((name) => ({ name, arguments: "{}" })))];
const decided = [decidedEvent(bundle, CALL, { decision: "Ask" }), decidedEvent(bundle, NOTE, { tool: "post_note" }), toolStartedEvent(NOTE, 1)];

async function opened(context: TestContext, of: Bundle = bundle): Promise<Opened & { readonly clock: Clock }> {
  const clock = stoppedClock(START);
  const made = open(makeFolder(context), clock.now);
  context.after(() => made.store.close());
  await begin(made, of);
  return { ...made, clock };
}

async function logOf({ store }: Pick<Opened, "store">, uid = "u"): Promise<readonly LogEvent[]> {
  return store.events(uid, { after: 0, limit: 1000 });
}

const shortly = (log: readonly LogEvent[]): string[] => log.map(({ seq, type, role }) => `${seq} ${type} ${role}`);

/** What is used and reserved of a day, whatever its limit. */
async function budgetOf({ store }: Pick<Opened, "store">, uid: string, day: string): Promise<Pick<SharedBudget, "usedNanoUSD" | "reservedNanoUSD">> {
  return (await store.change<SharedBudget | undefined>(uid, ({ budget }) => ({ result: budget }), { day })) ?? assert.fail(`no budget of ${day}`);
}

test("people are asked in the commit of the decision, and the reply of the batch does not know it", async (context) => {
  const made = await opened(context);
  const { writer, commits, counts } = made;
  commits.length = 0;
  const batch = { epoch: 1, batch: 2, events: [...called, ...decided] };
  const first = await writer.appendByRunner("u", "p1", batch);
  assert.deepEqual(seqsOf(first), [4, 5, 6, 8, 9]);
  assert.deepEqual(await writer.appendByRunner("u", "p1", batch), first, "repeated, it is the same reply");
  const [commit = assert.fail(), ...others] = commits;
  assert.deepEqual([others, commit.before?.state.lastSeq, commit.bundle], [[], 3, bundle]);
  assert.deepEqual(shortly(commit.events), ["4 model.requested runner", "5 model.responded runner", "6 tool.decided runner", "7 approval.requested gateway", "8 tool.decided runner", "9 tool.started runner"]);
  assert.deepEqual(commit.events, (await logOf(made)).slice(3));
  assert.deepEqual(counts.filter((count) => count.startsWith("approval")), ["approval.requested stored"]);
  const asking = commit.events.find(({ type }) => type === "approval.requested");
  assert.deepEqual(Object.keys(asking ?? assert.fail()).toSorted(), ["at", "data", "hash", "role", "run", "seq", "type", "v"], "neither an epoch nor a batch is the gateway's");
});

test("approval and expiry at the same moment with no runner: the first commit stands", async (context) => {
  for (const isOperatorFirst of [true, false]) {
    const made = await opened(context, buildBundle(`race-${isOperatorFirst}`));
    const uid = `race-${isOperatorFirst}`;
    await runnerOf(made, uid)(...called, decided[0] ?? assert.fail(), toolFinishedEvent(NOTE, { status: "cancelled" }));
    const { approvals = [] } = await stateOf(made, uid);
    const { call, fingerprint } = approvals[0] ?? assert.fail();
    const approve = event("approval.resolved", { call, fingerprint, decision: "Approved", by: "bob", scope: "Once" });
    made.clock.pass(isOperatorFirst ? 3599 : 3600);
    const steps = [() => made.writer.appendByOperator(uid, [approve]), () => made.writer.appendDue(uid)];
    if (!isOperatorFirst) steps.reverse();
    await Promise.all(steps.map((step) => step()));
    made.clock.pass(1);
    await made.writer.appendDue(uid);
    const resolved = (await logOf(made, uid)).filter(({ type }) => type === "approval.resolved");
    assert.deepEqual(resolved.map(({ role, data }) => [role, (data as EventDataOf<"approval.resolved">).decision]), [isOperatorFirst ? ["operator", "Approved"] : ["gateway", "Expired"]]);
  }
});

test("what is due is remembered with the record, appended once and then over", async (context) => {
  const made = await opened(context);
  const { store, writer, clock } = made;
  const due = async (): Promise<string | undefined> => (await store.record("u"))?.dueAt;
  assert.equal(await due(), undefined);
  await runnerOf(made)(...called, ...decided);
  assert.equal(await due(), "2026-01-01T23:01:30.000Z");
  assert.deepEqual(seqsOf(await writer.appendDue("u")), []);
  clock.pass(90);
  assert.deepEqual(await store.due(clock.now().toISOString(), 10), ["u"]);
  assert.deepEqual(seqsOf(await writer.appendDue("u")), [10]);
  assert.deepEqual([await due(), await store.nextDueAt()], ["2026-01-02T00:00:00.000Z", "2026-01-02T00:00:00.000Z"]);
  assert.deepEqual(seqsOf(await writer.appendDue("u")), []);
  clock.pass(3600);
  assert.deepEqual(seqsOf(await writer.appendDue("u")), [11]);
  assert.deepEqual([await due(), await store.nextDueAt()], [undefined, undefined]);
  assert.deepEqual(shortly(await logOf(made)).slice(-2), ["10 tool.finished gateway", "11 approval.resolved gateway"]);
  assert.equal(await writer.appendDue("nobody"), undefined);
});

test("a time that has nothing to append any more does not come back", async (context) => {
  const made = await opened(context);
  const { store, writer, clock } = made;
  await store.change("u", ({ record }) => ({ result: undefined, write: { events: [], state: record.state, dueAt: clock.now().toISOString() } }));
  assert.deepEqual(await store.due(clock.now().toISOString(), 10), ["u"]);
  assert.deepEqual(seqsOf(await writer.appendDue("u")), []);
  assert.deepEqual(await store.due(clock.now().toISOString(), 10), []);
});

test("a custom result sent twice is one event, and the second is answered with the first", async (context) => {
  const made = await opened(context);
  const { writer, clock } = made;
  const append = runnerOf(made);
  await append(...called, ...decided);
  await append(toolFinishedEvent(CALL, { status: "cancelled" }));
  const state = await stateOf(made);
  seqsOf(await append(event("run.waiting", { for: "tool", text: "", through: state.lastSeq })));
  const result = toolFinishedEvent(NOTE, { content: "noted", seconds: 0 });
  clock.pass(20);
  const [first, second] = await Promise.all([writer.appendByPerson("u", "ann", result), writer.appendByPerson("u", "ann", result)]);
  assert.deepEqual([seqsOf(first), second], [[12], first]);
  const [stored] = first?.kind === "stored" ? first.events : [];
  assert.deepEqual([stored?.by, (stored?.data as { seconds?: number }).seconds], ["ann", 20]);
  clock.pass(500);
  assert.deepEqual(await writer.appendByPerson("u", "eve", result), first, "also after its time, by anybody");
  assert.equal(problemOf(await writer.appendByPerson("u", "ann", toolFinishedEvent(NOTE, { content: "other" }))), "conflict");
  assert.equal((await stateOf(made)).waiting, undefined);
});

test("a large payload is beside its event, once, and without its credential", async (context) => {
  const made = await opened(context);
  const append = runnerOf(made);
  const content = `AKIA${"A".repeat(16)} ${"line\n".repeat(5000)}`;
  const held = `[redacted] ${"line\n".repeat(5000)}`;
  seqsOf(await append(requestedEvent(1, 1, 3), respondedEvent(1, 1, ["read", "read"].map((name) => ({ name, arguments: "{}" })))));
  const results = [CALL, NOTE].map((call) => toolFinishedEvent(call, { status: "error", content, bytes: content.length }));
  const reply = await append(...results);
  const stored = (await logOf(made)).slice(-2);
  assert.deepEqual(reply, { kind: "stored", events: stored }, "the reply is what is stored");
  for (const { data } of stored) {
    const { blob, content: start } = data as EventDataOf<"tool.finished">;
    assert.deepEqual([blob?.sha256, blob?.bytes, start], [sha256(held), held.length, held.slice(0, 2048)]);
    assert.equal(await made.store.blob("u", blob?.sha256 ?? ""), held);
  }
  assert.deepEqual(seqsOf(await append(...results)), stored.map(({ seq }) => seq), "the same results again are known");
});

test("a refusal for money is noted once, and its batch can come again", async (context) => {
  const made = await opened(context, buildBundle("u", { limits: { maxTurns: 50, timeoutSeconds: 604_800, costUSD: "0.000001" } }));
  const append = runnerOf(made);
  made.counts.length = 0;
  for (let again = 0; again < 3; again += 1) {
    const refused = await append(requestedEvent(1, 1, 3));
    assert.equal(problemOf(refused), "budget");
    assert.deepEqual(Object.keys(refused ?? {}).toSorted(), ["detail", "kind", "problem", "refusal", "type"]);
  }
  assert.deepEqual(made.counts, ["model.requested refused", "budget.exceeded stored", "model.requested refused", "model.requested refused"]);
  assert.deepEqual(shortly(await logOf(made)).slice(3), ["4 budget.exceeded gateway"]);
  assert.deepEqual(seqsOf(await append(runFinishedEvent({ outcome: "BudgetExceeded", through: 4 }))), [5]);
});

test("one batch asks for no more than is left after what it asks for itself", async (context) => {
  const made = await opened(context);
  await made.store.putBudget({ environmentUid: "environment-uid", costUSDPerDay: "0.01" });
  const append = runnerOf(made);
  const failed = event("model.failed", { turn: 1, attempt: 1, class: "network", message: "" });
  // Input is some thousand tokens of instructions and tools at 1 USD per million, output 1000 at 2.
  seqsOf(await append(requestedEvent(1, 1, 3), failed, requestedEvent(1, 2, 3)));
  const { usedNanoUSD, reservedNanoUSD } = await budgetOf(made, "u", DAY);
  assert.ok(usedNanoUSD > 0n && reservedNanoUSD > 0n && usedNanoUSD + reservedNanoUSD <= parseUsd("0.01"), `${usedNanoUSD} ${reservedNanoUSD}`);
  const refused = await append(event("model.failed", { turn: 1, attempt: 2, class: "network", message: "" }), requestedEvent(1, 3, 3));
  assert.equal(problemOf(refused), "budget");
});

test("a request is charged to its own day, also when its answer comes on the next", async (context) => {
  const made = await opened(context);
  const append = runnerOf(made);
  seqsOf(await append(requestedEvent(1, 1, 3)));
  const [, , , requested] = await logOf(made);
  const { grant } = requested?.data as EventDataOf<"model.requested">;
  assert.deepEqual([grant?.day, grant?.outputTokens], [DAY, 1000]);
  assert.equal((await budgetOf(made, "u", DAY)).reservedNanoUSD, BigInt(grant?.reservedNanoUSD ?? "0"));
  made.clock.pass(7200);
  seqsOf(await append(respondedEvent(1, 1)));
  const [first, next] = [await budgetOf(made, "u", DAY), await budgetOf(made, "u", "2026-01-02")];
  assert.deepEqual([first.usedNanoUSD, first.reservedNanoUSD, next.usedNanoUSD], [20_000n, 0n, 0n]);
  const [row] = await made.store.usage({ namespace: "team", from: DAY, to: DAY, by: [] });
  assert.deepEqual([row?.sessions, row?.requests, row?.inputTokens, row?.costNanoUSD], [1, 1, 10, 20_000n]);
});

test("32 sessions ask at once for a day's money: what is granted fits, and the others wait", async (context) => {
  const uids = Array.from({ length: 32 }, (_, n) => `s${n}`);
  const made = open(makeFolder(context), stoppedClock(START).now);
  context.after(() => made.store.close());
  for (const uid of uids) await begin(made, buildBundle(uid));
  await made.store.putBudget({ environmentUid: "environment-uid", costUSDPerDay: "0.03" });
  const results = await Promise.all(uids.map((uid) => runnerOf(made, uid)(requestedEvent(1, 1, 3))));
  const granted = results.filter((result) => result?.kind === "stored").length;
  assert.ok(granted > 0 && granted < 32, `${granted} were granted`);
  for (const result of results) if (result?.kind === "refuse") assert.deepEqual([result.problem, result.refusal], ["budget", "wait"]);
  const { usedNanoUSD, reservedNanoUSD } = await budgetOf(made, "s0", DAY);
  assert.ok(usedNanoUSD === 0n && reservedNanoUSD <= parseUsd("0.03"));
});

test("a damaged log ends its session and no other", async (context) => {
  const made = await opened(context);
  const { store, writer } = made;
  await begin(made, buildBundle("other"));
  const finished = await writer.finishCorrupt("u", "event 2 is missing");
  assert.deepEqual(seqsOf(finished), [4]);
  const record = await store.record("u");
  assert.deepEqual([record?.corrupt, record?.state.finished?.outcome, record?.state.finished?.reason, record?.state.finished?.role], ["event 2 is missing", "LogCorrupt", "event 2 is missing", "gateway"]);
  assert.deepEqual(seqsOf(await writer.finishCorrupt("u", "again")), []);
  assert.equal((await store.record("u"))?.corrupt, "event 2 is missing");
  const message: NewEvent = event("input.received", { id: "x", content: "hi" });
  for (const refused of [await runnerOf(made)(requestedEvent(1, 1, 3)), await writer.appendByPerson("u", "ann", message)]) {
    assert.equal(problemOf(refused), "corrupt");
  }
  assert.deepEqual(seqsOf(await writer.appendByOperator("u", [event("session.cancelled", { reason: "" })])), []);
  assert.deepEqual(seqsOf(await runnerOf(made, "other")(requestedEvent(1, 1, 3))), [4]);
  assert.equal(await writer.finishCorrupt("nobody", "x"), undefined);
});
