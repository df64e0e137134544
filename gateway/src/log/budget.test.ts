import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Bundle } from "@paddock/api/log/bundle";
import { costOf, formatUsd, parseUsd } from "@paddock/api/log/money";
import type { Pricing } from "@paddock/api/log/money";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { buildTestBundle } from "../../../test/fakes/session.ts";
import type { SharedBudget } from "../store/store.ts";
import { decideGrant } from "./budget.ts";
import type { GrantDecision } from "./budget.ts";

const DAY = "2026-01-01";

interface Given {
  readonly pricing?: Pricing | undefined;
  /** Of the session. */
  readonly limits?: { readonly costUSD?: string; readonly totalTokens?: number };
  readonly used?: Partial<SessionState["totals"]>;
  readonly contextTokens?: number;
  /** Frozen limit of the day. */
  readonly perDay?: string;
  readonly shared?: Partial<SharedBudget>;
  readonly asked?: { readonly inputTokens?: number; readonly maxOutputTokens?: number };
  readonly agentTokens?: number;
  readonly modelTokens?: number;
}

/** A dollar per token of output and nothing for input, unless said otherwise. */
const DOLLAR: Pricing = { inputPerMillion: "0", outputPerMillion: "100000" };

function bundleOf({ pricing, perDay, agentTokens, modelTokens }: Given): Bundle {
  const plain = buildTestBundle("u");
  const model = { name: "m", model: "scripted", baseURL: "http://model/v1", ...(pricing === undefined ? {} : { pricing }), ...(modelTokens === undefined ? {} : { maxOutputTokens: modelTokens }) };
  const spec = { ...plain.environment.spec, models: [model], ...(perDay === undefined ? {} : { budget: { costUSDPerDay: perDay } }) };
  const agent = { ...plain.agent.spec, model: { name: "m", ...(agentTokens === undefined ? {} : { maxOutputTokens: agentTokens }) } };
  return { ...plain, agent: { ...plain.agent, spec: agent }, environment: { ...plain.environment, spec } };
}

function decide(given: Given): GrantDecision {
  const { limits = {}, used = {}, contextTokens = 0, shared, asked = {} } = given;
  const totals = { ...EMPTY_STATE.totals, inputTokens: 1, ...used };
  const state = { ...EMPTY_STATE, limits: { ...EMPTY_STATE.limits, ...limits }, totals, contextTokens };
  const budget: SharedBudget = { day: DAY, limitNanoUSD: undefined, usedNanoUSD: 0n, reservedNanoUSD: 0n, ...shared };
  return decideGrant({ model: "m", ...asked }, { state, bundle: bundleOf(given), budget, day: DAY });
}

const usd = (amount: string): bigint => parseUsd(amount);

describe("a grant", () => {
  const grants: readonly { readonly name: string; readonly given: Given; readonly grant: object }[] = [
    { name: "bounds nothing where nothing is limited", given: { asked: { inputTokens: 7 } }, grant: { inputTokens: 7 } },
    { name: "is what the request asks for", given: { asked: { maxOutputTokens: 100 } }, grant: { inputTokens: 0, outputTokens: 100 } },
    { name: "is the least of request, agent and model", given: { asked: { maxOutputTokens: 900 }, agentTokens: 800, modelTokens: 700 }, grant: { inputTokens: 0, outputTokens: 700 } },
    { name: "is the agent's when the request asks for nothing", given: { agentTokens: 800 }, grant: { inputTokens: 0, outputTokens: 800 } },
    { name: "is 16384 when a limit holds and nobody says", given: { limits: { totalTokens: 1_000_000 } }, grant: { inputTokens: 0, outputTokens: 16_384 } },
    { name: "reserves money of input and output at the model's price", given: { pricing: { inputPerMillion: "1", outputPerMillion: "2" }, asked: { inputTokens: 10, maxOutputTokens: 5 } }, grant: { inputTokens: 10, outputTokens: 5, reservedNanoUSD: "20000" } },
    { name: "reserves cached input at its price when that is dearer", given: { pricing: { inputPerMillion: "1", cachedInputPerMillion: "3", outputPerMillion: "2" }, asked: { inputTokens: 10, maxOutputTokens: 5 } }, grant: { inputTokens: 10, outputTokens: 5, reservedNanoUSD: "40000" } },
    { name: "reserves at least what the fold counts", given: { contextTokens: 500, asked: { inputTokens: 10 } }, grant: { inputTokens: 500 } },
    { name: "is reduced to the money that is left", given: { pricing: DOLLAR, limits: { costUSD: "300" }, used: { costNanoUSD: usd("10").toString() } }, grant: { inputTokens: 0, outputTokens: 2900, reservedNanoUSD: usd("290").toString() } },
    { name: "counts uncertain money as used", given: { pricing: DOLLAR, limits: { costUSD: "300" }, used: { costNanoUSD: usd("10").toString(), uncertainNanoUSD: usd("100").toString() } }, grant: { inputTokens: 0, outputTokens: 1900, reservedNanoUSD: usd("190").toString() } },
    { name: "is reduced to the tokens that are left", given: { limits: { totalTokens: 1000 }, used: { inputTokens: 100, outputTokens: 50, uncertainTokens: 50 }, asked: { inputTokens: 300 } }, grant: { inputTokens: 300, outputTokens: 500 } },
    { name: "is reduced to what others leave of the day", given: { pricing: DOLLAR, perDay: "100", shared: { usedNanoUSD: usd("30"), reservedNanoUSD: usd("20") } }, grant: { inputTokens: 0, outputTokens: 500, reservedNanoUSD: usd("50").toString() } },
    { name: "goes by the live limit of the day", given: { pricing: DOLLAR, perDay: "1", shared: { limitNanoUSD: usd("100") } }, grant: { inputTokens: 0, outputTokens: 1000, reservedNanoUSD: usd("100").toString() } },
    { name: "knows that the live limit was taken away", given: { perDay: "0.000000001", shared: { limitNanoUSD: null } }, grant: { inputTokens: 0 } },
    { name: "is exactly 256 tokens at the edge", given: { pricing: DOLLAR, limits: { costUSD: "25.6" } }, grant: { inputTokens: 0, outputTokens: 256, reservedNanoUSD: usd("25.6").toString() } },
    { name: "may be smaller when no more was asked for", given: { limits: { totalTokens: 100 }, asked: { maxOutputTokens: 50 } }, grant: { inputTokens: 0, outputTokens: 50 } },
    { name: "of a model that costs nothing is bounded by no money", given: { pricing: { inputPerMillion: "0", outputPerMillion: "0" }, limits: { costUSD: "0.000000001" } }, grant: { inputTokens: 0, outputTokens: 16_384, reservedNanoUSD: "0" } },
  ];
  for (const { name, given, grant } of grants) {
    test(name, () => {
      const decided = decide({ pricing: undefined, ...given });
      assert.deepEqual(decided, { kind: "grant", grant: { day: DAY, ...grant } });
    });
  }

  test("counts instructions and tools in bytes until the endpoint has counted them", () => {
    const first = decide({ used: { inputTokens: 0 }, contextTokens: 20 });
    const later = decide({ used: { inputTokens: 1 }, contextTokens: 20 });
    assert.ok(first.kind === "grant" && later.kind === "grant");
    assert.equal(later.grant.inputTokens, 20);
    // The agent has instructions of nine bytes and five tools, whose schemas are some thousand.
    assert.ok(first.grant.inputTokens > 2000, `${first.grant.inputTokens}`);
  });
});

describe("a refusal", () => {
  const refusals: readonly { readonly name: string; readonly given: Given; readonly limit?: string; readonly says: RegExp }[] = [
    { name: "when the session's money is used up", given: { pricing: DOLLAR, limits: { costUSD: "30" }, used: { costNanoUSD: usd("4.5").toString() } }, limit: "costUSD", says: /^costUSD: the request needs 25\.6 USD \(at most 0 tokens of input, and 256 of output\), and 4\.5 of 30 USD are used: .*spec\.limits\.costUSD/ },
    { name: "when input alone is too dear", given: { pricing: { inputPerMillion: "100000", outputPerMillion: "0" }, limits: { costUSD: "1" }, asked: { inputTokens: 11 } }, limit: "costUSD", says: /needs 1\.1 USD/ },
    { name: "when the session's tokens are used up", given: { limits: { totalTokens: 300 }, asked: { inputTokens: 45 } }, limit: "totalTokens", says: /^totalTokens: the request needs 301 tokens .* and 1 of 300 tokens are used/ },
    { name: "when the day's money is used up", given: { pricing: DOLLAR, perDay: "100", shared: { usedNanoUSD: usd("74.5"), reservedNanoUSD: usd("20") } }, limit: "costUSDPerDay", says: /raise spec\.budget\.costUSDPerDay of Environment environment, or try again on the next UTC day/ },
    { name: "when money is limited and the price is unknown", given: { limits: { costUSD: "5" } }, limit: "costUSD", says: /model m of Environment environment has no pricing, and costUSD limits the money: set spec\.models\[\]\.pricing/ },
    { name: "when the day's money is limited and the price is unknown", given: { perDay: "5" }, limit: "costUSDPerDay", says: /no pricing, and costUSDPerDay limits/ },
    { name: "to wait while others only hold the day's money", given: { pricing: DOLLAR, perDay: "100", shared: { usedNanoUSD: usd("30"), reservedNanoUSD: usd("44.5") } }, says: /^costUSDPerDay: of 100 USD 30 are used, and open requests of other sessions hold 44\.5: ask again when they are answered$/ },
    { name: "of its own limit first, whatever others hold", given: { pricing: DOLLAR, limits: { costUSD: "1" }, perDay: "100", shared: { reservedNanoUSD: usd("99") } }, limit: "costUSD", says: /^costUSD/ },
  ];
  for (const { name, given, limit, says } of refusals) {
    test(name, () => {
      const decided = decide({ pricing: undefined, ...given });
      assert.ok(decided.kind !== "grant", JSON.stringify(decided));
      assert.match(decided.detail, says);
      assert.equal(decided.kind === "exceeded" ? decided.exceeded.limit : undefined, limit);
    });
  }

  test("tells used, reserved and allowed in the limit's own unit", () => {
    const day = decide({ pricing: DOLLAR, perDay: "100", shared: { usedNanoUSD: usd("80"), reservedNanoUSD: usd("0.000000001") } });
    assert.deepEqual(day.kind === "exceeded" ? day.exceeded : day, { limit: "costUSDPerDay", used: "80", reserved: "0.000000001", allowed: "100" });
    const tokens = decide({ limits: { totalTokens: 5 } });
    assert.deepEqual(tokens.kind === "exceeded" ? tokens.exceeded : tokens, { limit: "totalTokens", used: "1", reserved: "0", allowed: "5" });
  });
});

const price = fc.tuple(fc.nat(999_999), fc.nat(999_999_999)).map(([whole, nano]) => formatUsd(BigInt(whole) * 10n ** 9n + BigInt(nano)));
const cheap = fc.nat(999_999_999).map((nano) => formatUsd(BigInt(nano)));
const amount = fc.bigInt({ min: 0n, max: 10n ** 15n - 1n });
const prices = fc.record({ inputPerMillion: fc.oneof(price, cheap), cachedInputPerMillion: fc.oneof(price, cheap), outputPerMillion: fc.oneof(price, cheap) });

test("an answer within its grant costs no more than was reserved, and that is left", () => {
  const limit = amount.map((nano) => formatUsd(nano));
  const drawn = fc.record({ pricing: prices, costUSD: limit, perDay: limit, used: amount, reserved: amount, input: fc.nat(200_000), output: fc.nat(200_000), part: fc.float({ min: 0, max: 1, noNaN: true }) });
  fc.assert(fc.property(drawn, ({ pricing, costUSD, perDay, used, reserved, input, output, part }) => {
    const shared = { usedNanoUSD: used, reservedNanoUSD: reserved };
    const decided = decide({ pricing, limits: { costUSD, totalTokens: 300_000 }, used: { costNanoUSD: used.toString() }, perDay, shared, asked: { inputTokens: input, maxOutputTokens: output + 1 } });
    if (decided.kind !== "grant") return;
    const { inputTokens, outputTokens = 0, reservedNanoUSD = "" } = decided.grant;
    const cost = costOf({ inputTokens, cachedInputTokens: Math.floor(inputTokens * part), outputTokens: Math.floor(outputTokens * part) }, pricing);
    assert.ok(cost <= BigInt(reservedNanoUSD));
    assert.ok(used + BigInt(reservedNanoUSD) <= parseUsd(costUSD));
    assert.ok(used + reserved + BigInt(reservedNanoUSD) <= parseUsd(perDay));
    assert.ok(1 + inputTokens + outputTokens <= 300_000);
    assert.ok(outputTokens >= Math.min(256, output + 1));
  }), { numRuns: 2000 });
});
