import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, EventType, LogEvent } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { parseUsd } from "@paddock/api/log/money";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { buildTestBundle, startedEvent } from "../../../test/fakes/session.ts";
import type { AppendResult } from "./append.ts";
import { tries } from "./testdata/tries.ts";
import type { Step } from "./testdata/tries.ts";
import { makeFolder, open, stateOf, stoppedClock } from "./testdata/writer.ts";
import type { Clock, Opened } from "./testdata/writer.ts";

// Random histories of sessions that share a day's money, by runners, people and operators who try anything: what must hold of them all.

const START = "2026-01-01T12:00:00.000Z";
const SESSION_USD = "0.015";
const SESSION_TOKENS = 30_000;
const DAY_USD = "0.025";

function buildBundle(uid: string, environmentUid: string, mode: "Task" | "Conversation"): Bundle {
  const { agent, environment: unverified, ...plain } = buildTestBundle(uid, { startTime: START, mode, limits: { maxTurns: 20, timeoutSeconds: 50_000, costUSD: SESSION_USD, totalTokens: SESSION_TOKENS } });
  const { network: _, ...spec } = unverified.spec;
  const environment = { ...unverified, spec };
  const customTools = [{ name: "post_note", description: "Post a note.", inputSchema: {}, timeoutSeconds: 90 }];
  return {
    ...plain,
    agent: { ...agent, spec: { ...agent.spec, customTools, model: { name: "m", maxOutputTokens: 1000 } } },
    environment: { ...environment, uid: environmentUid, spec: { ...environment.spec, permissions: [{ tool: "bash", decision: "Ask" }], approvals: { timeoutSeconds: 3600 }, budget: { costUSDPerDay: DAY_USD } } },
  };
}

/** One session and its runners, one after the other. */
interface Session {
  readonly bundle: Bundle;
  epoch: number;
  batch: number;
  pod: string;
}

async function startRunner({ store, writer, now }: Opened, session: Session): Promise<void> {
  const { uid } = session.bundle.session;
  const podUid = `${uid}-r${session.epoch + 1}`;
  await store.register({ podUid, sessionUid: uid, component: "runner", podName: podUid }, now().toISOString());
  const result = await writer.appendByRunner(uid, podUid, { epoch: session.epoch + 1, batch: 1, events: [startedEvent(podUid, session.epoch + 1)] });
  if (result?.kind === "stored") Object.assign(session, { epoch: session.epoch + 1, batch: 2, pod: podUid });
}

async function take(made: Opened & { readonly clock: Clock }, session: Session, step: Step): Promise<AppendResult> {
  const { writer, clock } = made;
  const { uid } = session.bundle.session;
  switch (step.kind) {
    case "pass":
      clock.pass(step.seconds);
      return undefined;
    case "replace":
      await startRunner(made, session);
      return undefined;
    case "due":
      return writer.appendDue(uid);
    case "append":
      return append(made, session, step);
  }
}

async function append({ writer }: Opened, session: Session, { role, event }: Extract<Step, { kind: "append" }>): Promise<AppendResult> {
  const { uid } = session.bundle.session;
  if (role === "operator") return writer.appendByOperator(uid, [event]);
  if (role === "person") return writer.appendByPerson(uid, "ann", event);
  const batch = { epoch: session.epoch, batch: session.batch, events: [event] };
  const result = await writer.appendByRunner(uid, session.pod, batch);
  if (result?.kind === "stored") {
    session.batch += 1;
    assert.deepEqual(await writer.appendByRunner(uid, session.pod, batch), result, "a repeated batch has its first reply");
  }
  return result;
}

test("no history breaks the log's laws, nor spends more than anybody's limit", async (context) => {
  const clock = stoppedClock(START);
  const made = { ...open(makeFolder(context), clock.now), clock };
  let runs = 0;
  const seen = new Set<string>();
  const steps = fc.array(fc.tuple(fc.nat(2), tries), { minLength: 60, maxLength: 120, size: "max" });
  await fc.assert(
    fc.asyncProperty(steps, async (attempted) => {
      runs += 1;
      const environment = `environment-${runs}`;
      const sessions = ["a", "b", "c"].map((name): Session => ({ bundle: { ...buildBundle(`${name}${runs}`, environment, name === "a" ? "Task" : "Conversation"), startTime: clock.now().toISOString() }, epoch: 0, batch: 1, pod: "" }));
      const days = new Set([clock.now().toISOString().slice(0, 10)]);
      for (const session of sessions) {
        await made.writer.create({ bundle: session.bundle, namespaceUid: "n1", prompt: "Hello" });
        await startRunner(made, session);
      }
      for (const [index, attempt] of attempted) {
        const session = sessions[index] ?? assert.fail();
        const { uid } = session.bundle.session;
        const result = await take(made, session, attempt({ bundle: session.bundle, state: await stateOf(made, uid) }));
        days.add(clock.now().toISOString().slice(0, 10));
        if (result?.kind !== "stored") continue;
        checkSpent(await stateOf(made, uid));
        for (const day of days) await checkDay(made, uid, day);
      }
      for (const { bundle } of sessions) {
        const { uid } = bundle.session;
        const log = await made.store.events(uid, { after: 0, limit: 1000 });
        checkLaws(log, await stateOf(made, uid));
        for (const { type, role } of log) seen.add(`${type} ${role}`);
        if ((await stateOf(made, uid)).recentSteps.some(({ name, outcome }) => name === "read" && outcome === "ok")) seen.add("read ok");
      }
    }),
    { numRuns: 25 },
  );
  await made.store.close();
  // What random histories never reach, they cannot try.
  for (const reached of ["approval.requested gateway", "tool.started runner", "isolation.reported runner", "read ok", "turn.interrupted person", "run.waiting runner", "input.received person"]) {
    assert.ok(seen.has(reached), `no history had ${reached}`);
  }
});

/** The session's own limits hold, reservation and uncertain money included. */
function checkSpent({ totals, request }: SessionState): void {
  const { reservedNanoUSD = "0", inputTokens = 0, outputTokens = 0 } = request?.grant ?? {};
  const money = BigInt(totals.costNanoUSD ?? assert.fail("the cost is known")) + BigInt(totals.uncertainNanoUSD ?? "0") + BigInt(reservedNanoUSD);
  assert.ok(money <= parseUsd(SESSION_USD), `${money}`);
  assert.ok(totals.inputTokens + totals.outputTokens + (totals.uncertainTokens ?? 0) + inputTokens + outputTokens <= SESSION_TOKENS);
}

/** All sessions together keep the day's limit. */
async function checkDay({ store }: Opened, uid: string, day: string): Promise<void> {
  const { usedNanoUSD, reservedNanoUSD } = (await store.change(uid, ({ budget }) => ({ result: budget ?? assert.fail() }), { day })) ?? assert.fail();
  assert.ok(usedNanoUSD + reservedNanoUSD <= parseUsd(DAY_USD) && reservedNanoUSD >= 0n, `${day}: ${usedNanoUSD} and ${reservedNanoUSD}`);
}

/** What one log has shown so far, told by its events alone. */
class Seen {
  readonly finished = new Set<string>();
  readonly decisions = new Map<string, { readonly decision: string; readonly fingerprint: string; readonly effect: string }>();
  readonly approvals = new Map<string, string>();
  readonly forSession = new Set<string>();
  readonly starts = new Map<string, number>();
  /** What the first report about each sandbox found open. */
  readonly reports = new Map<string, readonly string[]>();

  mayStart(call: string): boolean {
    const decided = this.decisions.get(call);
    if (decided?.decision === "Ask") return this.approvals.get(call) === "Approved" || this.forSession.has(decided.fingerprint);
    return decided?.decision === "Allow";
  }
}

function isProven(call: string, { calls, sandbox }: SessionState, { reports }: Seen): boolean {
  return calls.some(({ call: one, name }) => one === call && name === "post_note") || reports.get(sandbox.bound?.podUid ?? "")?.length === 0;
}

type Law<T extends EventType> = (data: EventDataOf<T>, state: SessionState, seen: Seen) => void;

/** What must hold of an event, given the state before it and what was seen; in our own words, not the admission's. */
const LAWS: { readonly [T in EventType]?: Law<T> } = {
  "tool.decided": ({ call, tool, decision, fingerprint, effect }, _, { decisions }) => {
    assert.ok(!decisions.has(call), "a call is decided once");
    assert.ok(decision !== "Allow" || ["read", "post_note"].includes(tool), `${tool} is not allowed without asking`);
    decisions.set(call, { decision, fingerprint, effect });
  },
  "approval.resolved": ({ call, decision, scope, fingerprint }, _, { approvals, forSession }) => {
    assert.ok(!approvals.has(call), "a call is resolved once");
    approvals.set(call, decision);
    if (decision === "Approved" && scope === "Session") forSession.add(fingerprint);
  },
  "isolation.reported": ({ podUid, open }, { sandbox }, { reports }) => {
    assert.ok(sandbox.bound?.podUid === podUid && !reports.has(podUid), "a sandbox is reported about once, while it is bound");
    reports.set(podUid, open);
  },
  "tool.started": ({ call, attempt }, state, seen) => {
    assert.ok(isProven(call, state, seen), "no sandbox tool starts without a clean report about its sandbox");
    assert.ok(seen.mayStart(call) && !seen.finished.has(call), "only what was allowed or approved starts, and nothing that has its result");
    assert.ok(state.waiting === undefined && state.suspended !== true && state.interrupted === undefined, "nothing starts in a session that rests");
    seen.starts.set(call, (seen.starts.get(call) ?? 0) + 1);
    assert.equal(attempt, seen.starts.get(call));
    assert.ok(attempt === 1 || seen.decisions.get(call)?.effect !== "Once", "Once starts once");
  },
  "tool.finished": ({ call, status }, _, { finished, starts, approvals }) => {
    assert.ok(!finished.has(call), "one result per call");
    finished.add(call);
    if (status === "ok" || status === "timeout") assert.ok(starts.has(call), `${status} needs a start`);
    if (status === "denied") assert.notEqual(approvals.get(call), "Approved");
  },
  "model.requested": (_, { request, calls: open, waiting, suspended }, { finished }) => {
    assert.ok(request === undefined && open.every(({ call }) => finished.has(call)), "the model is asked with every result");
    assert.ok(waiting === undefined && suspended !== true);
  },
  "model.responded": ({ attempt }, { request }) => assert.equal(request?.attempt, attempt),
  "model.failed": ({ attempt }, { request }) => assert.equal(request?.attempt, attempt),
  "run.waiting": ({ through }, { lastNewsSeq, request }) => assert.ok(request === undefined && through >= lastNewsSeq, "no wake-up is lost"),
  "run.finished": ({ outcome }, { turns: answers, calls: open, budgetExceeded, cancelled }) => {
    if (outcome === "Completed") assert.ok(answers > 0 && open.length === 0);
    if (outcome === "BudgetExceeded") assert.ok(budgetExceeded !== undefined);
    if (outcome === "Cancelled") assert.ok(cancelled);
    assert.notEqual(outcome, "LogCorrupt");
  },
};

function checkLaws(log: readonly LogEvent[], stored: SessionState): void {
  const seen = new Seen();
  const end = log.reduce((state, appended, index) => {
    const { hash, ...hashed } = appended;
    assert.deepEqual([appended.seq, hash], [index + 1, hashOf(state.lastHash, hashed)]);
    assert.equal(state.finished, undefined, "nothing follows run.finished");
    const law = LAWS[appended.type] as Law<EventType> | undefined;
    law?.(appended.data, state, seen);
    return foldEvent(state, appended);
  }, EMPTY_STATE);
  assert.deepEqual(JSON.parse(JSON.stringify(end)), JSON.parse(JSON.stringify(stored)), "the state is the fold of exactly what is stored");
}
