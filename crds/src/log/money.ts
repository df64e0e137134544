import { z } from "zod";

// Prices are decimal strings per million tokens with at most nine decimals, so a price is an integer count of
// nano-USD per million tokens and a cost an integer count of nano-USD. Never a float.

const DECIMALS = 9;
const NANO = 10n ** BigInt(DECIMALS);
const MILLION = 1_000_000n;

/** Pattern of a price or amount in USD: at most six digits before and nine after the point. */
export const USD_PATTERN = "^(0|[1-9][0-9]{0,5})(\\.[0-9]{1,9})?$";

/** Normalised token counts: cached tokens are part of the input, reasoning tokens part of the output. */
export const tokenUsageSchema = z.object({
  inputTokens: z.int().min(0),
  cachedInputTokens: z.int().min(0),
  outputTokens: z.int().min(0),
});
export type TokenUsage = z.infer<typeof tokenUsageSchema>;

/** USD per million tokens, as decimal strings. */
export interface Pricing {
  readonly inputPerMillion: string;
  readonly cachedInputPerMillion?: string | undefined;
  readonly outputPerMillion: string;
}

/** A decimal string as nano-USD. Throws RangeError when it does not match USD_PATTERN. */
export function parseUsd(text: string): bigint {
  if (!new RegExp(USD_PATTERN).test(text)) throw new RangeError(`"${text}" is not a USD amount such as "1.25" (at most nine decimals)`);
  const [whole = "0", fraction = ""] = text.split(".");
  return BigInt(whole) * NANO + BigInt(fraction.padEnd(DECIMALS, "0"));
}

/** nano-USD as a decimal string: no exponent, no trailing zeros. */
export function formatUsd(nanoUsd: bigint): string {
  const fraction = (nanoUsd % NANO).toString().padStart(DECIMALS, "0").replace(/0+$/, "");
  return `${nanoUsd / NANO}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Whether two amounts are the same money, however they are written; undefined is no amount. Throws as parseUsd does. */
export function isSameUsd(a: string | undefined, b: string | undefined): boolean {
  return a === undefined || b === undefined ? a === b : parseUsd(a) === parseUsd(b);
}

/** Cost of one answer in nano-USD, rounded up once. Cached input without a price of its own costs as input. */
export function costOf(usage: TokenUsage, pricing: Pricing): bigint {
  const input = parseUsd(pricing.inputPerMillion);
  const cached = pricing.cachedInputPerMillion === undefined ? input : parseUsd(pricing.cachedInputPerMillion);
  const cachedTokens = BigInt(Math.min(usage.cachedInputTokens, usage.inputTokens));
  const sum = (BigInt(usage.inputTokens) - cachedTokens) * input + cachedTokens * cached + BigInt(usage.outputTokens) * parseUsd(pricing.outputPerMillion);
  return (sum + MILLION - 1n) / MILLION;
}
