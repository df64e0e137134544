import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { MODEL_FAILURES } from "@paddock/api/log/events";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, event, foldAll, requestedEvent, respondedEvent, runFinishedEvent, startedEvent } from "../../../test/fakes/session.ts";
import type { LedgerChange } from "../store/store.ts";
import { chargedBudget, dayOf, ledgerChangesOf } from "./ledger.ts";

const AT = "2026-01-01T00:00:00.000Z";
const TODAY = "2026-01-01";
/** The day of the reservation, before midnight. */
const DAY = "2025-12-31";
const bundle = buildTestBundle("u");
const started = foldAll([...boundEvents(bundle), startedEvent("p1", 1)]);

function requested(reserved: string, turn = 1): NewEvent {
  const { data } = requestedEvent(turn, 1, 3);
  return { type: "model.requested", data: { ...data, grant: { day: DAY, inputTokens: 10, outputTokens: 5, reservedNanoUSD: reserved } } } as NewEvent;
}

function answered(change: object = {}, turn = 1): NewEvent {
  return { type: "model.responded", data: { ...respondedEvent(turn, 1).data, costNanoUSD: "70", ...change } } as NewEvent;
}

function changesOf(before: SessionState, appended: NewEvent): LedgerChange[] {
  const unsealed = { v: 1, seq: before.lastSeq + 1, at: AT, role: "runner", run: "root", ...appended } as Omit<LogEvent, "hash">;
  return ledgerChangesOf(before, foldAll([appended], before), { ...unsealed, hash: hashOf(before.lastHash, unsealed) } as LogEvent);
}

const open = foldAll([requested("100")], started);
const lost = [{ day: DAY, uncertainNanoUSD: 100n, reservedNanoUSD: -100n }];

describe("the ledger counts", () => {
  const rows: readonly { readonly name: string; readonly state: SessionState; readonly appended: NewEvent; readonly changes: readonly LedgerChange[] }[] = [
    { name: "a session when it is bound", state: EMPTY_STATE, appended: boundEvents(bundle)[0] ?? assert.fail(), changes: [{ day: TODAY, sessions: 1 }] },
    { name: "a request with its reservation, on the day that pays", state: started, appended: requested("100"), changes: [{ day: DAY, requests: 1, reservedNanoUSD: 100n }] },
    { name: "a request without a grant today", state: started, appended: requestedEvent(1, 1, 3), changes: [{ day: TODAY, requests: 1 }] },
    { name: "an answer on the day of its reservation, which is over", state: open, appended: answered(), changes: [{ day: DAY, inputTokens: 10, outputTokens: 5, costNanoUSD: 70n, reservedNanoUSD: -100n }] },
    { name: "an answer without usage as uncertain", state: open, appended: answered({ usage: undefined, costNanoUSD: undefined }), changes: lost },
    { name: "a cost also when the session's sum is unknown for good", state: { ...open, totals: { ...open.totals, costNanoUSD: undefined } }, appended: answered(), changes: [{ day: DAY, inputTokens: 10, outputTokens: 5, costNanoUSD: 70n, reservedNanoUSD: -100n }] },
    { name: "an answer to a request without a grant today", state: foldAll([requestedEvent(1, 1, 3)], started), appended: answered(), changes: [{ day: TODAY, inputTokens: 10, outputTokens: 5, costNanoUSD: 70n }] },
    { name: "a free failure as nothing", state: open, appended: event("model.failed", { turn: 1, attempt: 1, class: "overloaded", message: "" }), changes: [{ day: DAY, reservedNanoUSD: -100n }] },
    { name: "another failure as uncertain", state: open, appended: event("model.failed", { turn: 1, attempt: 1, class: "network", message: "" }), changes: lost },
    { name: "what a lost runner left open as uncertain", state: open, appended: startedEvent("p2", 2), changes: lost },
    { name: "what the end left open as uncertain", state: open, appended: runFinishedEvent({ outcome: "Cancelled" }), changes: lost },
    { name: "nothing else", state: open, appended: event("session.cancelled", { reason: "" }), changes: [] },
  ];
  for (const { name, state, appended, changes } of rows) {
    test(name, () => assert.deepEqual(changesOf(state, appended), changes));
  }
});

test("a budget is charged with what its own day pays", () => {
  const budget = { day: DAY, limitNanoUSD: 1000n, usedNanoUSD: 5n, reservedNanoUSD: 0n };
  const changes: LedgerChange[] = [{ day: DAY, requests: 1, reservedNanoUSD: 100n }, { day: DAY, costNanoUSD: 70n, uncertainNanoUSD: 2n, reservedNanoUSD: -100n }, { day: TODAY, costNanoUSD: 9n }];
  assert.deepEqual(chargedBudget(budget, changes), { ...budget, usedNanoUSD: 77n });
  assert.deepEqual(chargedBudget(budget, changes.slice(0, 1)), { ...budget, reservedNanoUSD: 100n });
  assert.equal(chargedBudget(undefined, changes), undefined);
  assert.equal(dayOf(new Date("2025-12-31T23:59:59.999Z")), DAY);
});

test("the sum of a log's changes is what its fold counts, without loss", () => {
  const amount = fc.bigInt({ min: 0n, max: 10n ** 28n }).map(String);
  const anyEvent = fc.oneof(
    amount.map((reserved) => requested(reserved)),
    amount.map((costNanoUSD) => answered({ costNanoUSD })),
    fc.constant(answered({ usage: undefined, costNanoUSD: undefined })),
    fc.constantFrom(...MODEL_FAILURES).map((failure) => event("model.failed", { turn: 1, attempt: 1, class: failure, message: "" })),
    fc.constant(startedEvent("p2", 2)),
  );
  fc.assert(fc.property(fc.array(anyEvent, { maxLength: 30 }), (log) => {
    let state = started;
    const changes: LedgerChange[] = [];
    for (const appended of log) {
      changes.push(...changesOf(state, appended));
      state = foldAll([appended], state);
    }
    const money = (member: "costNanoUSD" | "uncertainNanoUSD" | "reservedNanoUSD"): bigint => changes.reduce((sum, change) => sum + (change[member] ?? 0n), 0n);
    const tokens = changes.reduce((sum, { inputTokens = 0, outputTokens = 0 }) => sum + inputTokens + outputTokens, 0);
    const { totals, request } = state;
    if (totals.costNanoUSD !== undefined) assert.equal(money("costNanoUSD"), BigInt(totals.costNanoUSD));
    assert.deepEqual([money("uncertainNanoUSD"), money("reservedNanoUSD")], [BigInt(totals.uncertainNanoUSD ?? "0"), BigInt(request?.grant?.reservedNanoUSD ?? "0")]);
    assert.equal(tokens, totals.inputTokens + totals.outputTokens);
  }));
});
