import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { costOf, formatUsd, parseUsd } from "./money.ts";

/** A price with at most `decimals` decimals, as text and as the exact fraction `digits / 10^decimals`. */
const price = fc
  .tuple(fc.integer({ min: 0, max: 999_999 }), fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 999_999_999 }))
  .map(([whole, decimals, tail]) => {
    const fraction = tail.toString().padStart(9, "0").slice(0, decimals);
    return { text: decimals === 0 ? `${whole}` : `${whole}.${fraction}`, digits: BigInt(`${whole}${fraction}`), decimals };
  });
const tokens = fc.integer({ min: 0, max: 2 ** 40 });

interface Fraction {
  readonly n: bigint;
  readonly d: bigint;
}
const fraction = ({ digits, decimals }: { readonly digits: bigint; readonly decimals: number }): Fraction => ({ n: digits, d: 10n ** BigInt(decimals) });
const times = (a: Fraction, n: bigint): Fraction => ({ n: a.n * n, d: a.d });
const plus = (a: Fraction, b: Fraction): Fraction => ({ n: a.n * b.d + b.n * a.d, d: a.d * b.d });
const ceiling = ({ n, d }: Fraction): bigint => (n % d === 0n ? n / d : n / d + 1n);

describe("USD amounts", () => {
  it("are exact nano-USD", () => {
    assert.equal(parseUsd("1.25"), 1_250_000_000n);
    assert.equal(parseUsd("0"), 0n);
    assert.equal(parseUsd("0.000000001"), 1n);
    assert.equal(parseUsd("999999.999999999"), 999_999_999_999_999n);
  });

  it("print without exponent and trailing zeros", () => {
    assert.deepEqual([0n, 1n, 36_100_000n, 2_000_000_000n].map(formatUsd), ["0", "0.000000001", "0.0361", "2"]);
  });

  it("survive the way there and back", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 999_999_999_999_999n }), (nano) => parseUsd(formatUsd(nano)) === nano));
  });

  for (const text of ["", "-1", "+1", "1e3", "1.", ".5", "01", "1,5", "$1", " 1", "1\n", "1.0000000001", "1000000", "NaN", "Infinity", "0x1"]) {
    it(`refuse ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseUsd(text), RangeError);
    });
  }
});

describe("cost of an answer", () => {
  it("counts cached tokens once, at their own price", () => {
    const usage = { inputTokens: 1_000_000, cachedInputTokens: 400_000, outputTokens: 100_000 };
    assert.equal(formatUsd(costOf(usage, { inputPerMillion: "1.25", cachedInputPerMillion: "0.125", outputPerMillion: "10" })), "1.8");
    assert.equal(formatUsd(costOf(usage, { inputPerMillion: "1.25", outputPerMillion: "10" })), "2.25");
  });

  it("rounds up once", () => {
    assert.equal(costOf({ inputTokens: 1, cachedInputTokens: 0, outputTokens: 1 }, { inputPerMillion: "0.000000001", outputPerMillion: "0.000000001" }), 1n);
    assert.equal(costOf({ inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 }, { inputPerMillion: "1", outputPerMillion: "1" }), 0n);
  });

  it("takes no more cached tokens than there is input", () => {
    const prices = { inputPerMillion: "2", cachedInputPerMillion: "1", outputPerMillion: "0" };
    assert.equal(costOf({ inputTokens: 10, cachedInputTokens: 999, outputTokens: 0 }, prices), costOf({ inputTokens: 10, cachedInputTokens: 10, outputTokens: 0 }, prices));
  });

  it("equals exact fractions, rounded up to a nano-USD", () => {
    const prices = fc.record({ input: price, cached: price, output: price });
    const usage = fc.record({ inputTokens: tokens, cachedInputTokens: tokens, outputTokens: tokens });
    fc.assert(fc.property(prices, usage, ({ input, cached, output }, { inputTokens, cachedInputTokens, outputTokens }) => {
      const hits = BigInt(Math.min(inputTokens, cachedInputTokens));
      const usd = [times(fraction(input), BigInt(inputTokens) - hits), times(fraction(cached), hits), times(fraction(output), BigInt(outputTokens))].reduce(plus);
      const expected = ceiling({ n: usd.n * 1_000_000_000n, d: usd.d * 1_000_000n });
      const pricing = { inputPerMillion: input.text, cachedInputPerMillion: cached.text, outputPerMillion: output.text };
      assert.equal(costOf({ inputTokens, cachedInputTokens, outputTokens }, pricing), expected);
    }));
  });
});
