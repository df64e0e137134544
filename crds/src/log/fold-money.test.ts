import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isFreeFailure } from "./fold.ts";
import { MODEL_FAILURES } from "./events.ts";
import type { Grant, NewEvent } from "./events.ts";
import { EMPTY_STATE } from "./state.ts";
import type { SessionState } from "./state.ts";
import { answered, append, fold, sample } from "./testdata/samples.ts";

const grant: Grant = { day: "2026-11-21", inputTokens: 1000, outputTokens: 500, reservedNanoUSD: "9007199254740993" };
const open = fold([...answered.slice(0, 3), sample("model.requested", { grant })]);
const uncertain = ({ totals }: SessionState): unknown[] => [totals.costNanoUSD, totals.uncertainNanoUSD, totals.uncertainTokens];
const lost = ["0", "9007199254740993", 1500];
const nothing = ["0", undefined, undefined];

describe("a reservation", () => {
  it("stands while its request is open, and counts as nothing yet", () => {
    assert.deepEqual([open.request?.grant, uncertain(open)], [grant, nothing]);
  });

  for (const failure of MODEL_FAILURES) {
    it(`is ${isFreeFailure(failure) ? "free again" : "uncertain"} after a failure of class ${failure}`, () => {
      const state = append(open, sample("model.failed", { class: failure }));
      assert.deepEqual([state.request, uncertain(state)], [undefined, isFreeFailure(failure) ? nothing : lost]);
    });
  }

  const losers: readonly NewEvent[] = [sample("runner.started", { epoch: 2 }), sample("run.finished", { outcome: "Cancelled" })];
  for (const loser of losers) {
    it(`is uncertain after ${loser.type}`, () => assert.deepEqual(uncertain(append(open, loser)), lost));
  }

  it("is counted once, whoever comes after", () => {
    const state = losers.reduce((folded, event) => append(folded, event), open);
    assert.deepEqual(uncertain(state), lost);
  });

  it("gives way to the cost of the answer", () => {
    assert.deepEqual(uncertain(append(open, sample("model.responded"))), ["250", undefined, undefined]);
  });

  it("is what an answer without usage counts as", () => {
    const state = append(open, sample("model.responded", { usage: undefined, costNanoUSD: undefined }));
    assert.deepEqual([uncertain(state), state.totals.inputTokens], [lost, 0]);
  });

  it("without a price leaves the cost unknown", () => {
    const { reservedNanoUSD: _, ...unpriced } = grant;
    const state = append(fold([sample("model.requested", { grant: unpriced })]), sample("model.failed", { class: "network" }));
    assert.deepEqual(uncertain(state), [undefined, undefined, 1500]);
  });

  it("adds up without loss beyond what a float holds", () => {
    const amount = fc.bigInt({ min: 0n, max: 10n ** 28n });
    fc.assert(fc.property(fc.array(amount, { maxLength: 8 }), (amounts) => {
      const events = amounts.flatMap((reserved) => [sample("model.requested", { grant: { ...grant, reservedNanoUSD: reserved.toString() } }), sample("model.failed", { class: "server" })]);
      assert.equal(BigInt(fold(events).totals.uncertainNanoUSD ?? "0"), amounts.reduce((sum, reserved) => sum + reserved, 0n));
    }));
  });
});

describe("a refusal for money", () => {
  it("holds until a request is granted or an input comes", () => {
    const refused = append(EMPTY_STATE, sample("budget.exceeded"));
    assert.equal(refused.budgetExceeded?.seq, 1);
    assert.equal(append(refused, sample("tool.finished")).budgetExceeded?.seq, 1);
    assert.equal(append(refused, sample("model.requested")).budgetExceeded, undefined);
    assert.equal(append(refused, sample("input.received")).budgetExceeded, undefined);
  });
});

describe("the tokens of the next request", () => {
  const bytes = (text: string): NewEvent => sample("input.received", { id: text, content: text });

  it("are at most the bytes of what came, until the endpoint has counted", () => {
    assert.equal(fold([bytes("go")]).contextTokens, 18);
    assert.equal(fold([bytes("gö")]).contextTokens, 19);
    // 100 of input and 10 of output were counted; the frame of the answer's message comes on top.
    assert.equal(fold(answered).contextTokens, 126);
    assert.equal(append(fold(answered), sample("tool.finished")).contextTokens, 146);
  });

  it("count an input that lands while the model answers, which the endpoint has not seen", () => {
    const meanwhile = fold([...answered.slice(0, 4), bytes("meanwhile"), sample("model.responded")]);
    assert.equal(meanwhile.contextTokens, 126 + 25);
    // Once it was shown, the endpoint's count holds it.
    const shown = fold([sample("model.requested", { turn: 2, through: 6 }), sample("model.responded", { turn: 2 })], meanwhile);
    assert.equal(shown.contextTokens, 126);
  });

  it("are the bytes of the answer too when the endpoint counts nothing", () => {
    const before = fold(answered.slice(0, 4)).contextTokens ?? 0;
    const uncounted = fold([...answered.slice(0, 4), sample("model.responded", { usage: undefined, message: { text: "x".repeat(1000), toolCalls: [] } })]);
    assert.ok((uncounted.contextTokens ?? 0) >= before + 1000);
  });

  it("count a payload beside its event whole", () => {
    const blob = { sha256: `sha256:${"a".repeat(64)}`, bytes: 50_000, mediaType: "text/plain" } as const;
    const state = append(fold(answered), sample("tool.finished", { content: "start", blob }));
    assert.deepEqual([state.contextTokens, state.bytes > 50_000], [126 + 50_016, true]);
  });

  it("count what is noted beside a result, which the model is shown too", () => {
    const note = "n".repeat(300);
    assert.equal(append(fold(answered), sample("tool.finished", { note })).contextTokens, 146 + 300);
  });

  it("are what compaction and pruning leave", () => {
    assert.equal(append(fold(answered), sample("context.compacted")).contextTokens, 90);
    assert.equal(append(fold(answered), sample("context.pruned")).contextTokens, 400);
  });
});
