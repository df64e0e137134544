import type { Bundle } from "@paddock/api/log/bundle";
import { canonicalJson } from "@paddock/api/log/canonical";
import type { EventDataOf, Grant } from "@paddock/api/log/events";
import { formatUsd, parseUsd } from "@paddock/api/log/money";
import type { SessionState } from "@paddock/api/log/state";
import { toolOf } from "@paddock/api/policy/tools";
import type { SharedBudget } from "../store/store.ts";

/** Least output tokens that are worth a request, when more were asked for. */
export const LEAST_OUTPUT_TOKENS = 256;
/** Output that is asked for when a limit holds and nobody says how much. */
export const DEFAULT_OUTPUT_TOKENS = 16_384;

const MILLION = 1_000_000n;
/** More tokens than anybody counts: what a price of nothing pays for. */
const UNBOUNDED = 10n ** 18n;

type Asked = Pick<EventDataOf<"model.requested">, "model" | "inputTokens" | "maxOutputTokens">;
type Exceeded = EventDataOf<"budget.exceeded">;

/** What a grant is decided by. `day` is the UTC day that pays (yyyy-mm-dd), `budget` what all sessions share of it. */
export interface Funds {
  readonly state: SessionState;
  readonly bundle: Bundle;
  readonly budget: SharedBudget | undefined;
  readonly day: string;
}

/** `wait`: it would fit but for what others only hold. `exceeded`: it cannot fit. `detail` says what to do. */
export type GrantDecision =
  | { readonly kind: "grant"; readonly grant: Grant }
  | { readonly kind: "wait"; readonly detail: string }
  | { readonly kind: "exceeded"; readonly exceeded: Exceeded; readonly detail: string };

/** One limit, in nano-USD or tokens. `reserved` is what open requests of other sessions hold of it. */
interface Limit {
  readonly name: Exceeded["limit"];
  readonly inUSD: boolean;
  readonly used: bigint;
  readonly reserved: bigint;
  readonly allowed: bigint;
  /** What to do when it is used up. */
  readonly advice: string;
}

/** nano-USD per million tokens; the dearer of the two prices of input, because nobody knows yet how much is cached. */
interface Prices {
  readonly input: bigint;
  readonly output: bigint;
}

interface Need {
  readonly inputTokens: number;
  /** Output asked for; undefined leaves it to the endpoint. */
  readonly outputTokens: number | undefined;
  readonly prices: Prices | undefined;
}

/**
 * How much a model request may use, so that no limit is exceeded whatever the endpoint does within it: all input as dear as it can be, and at most
 * `grant.outputTokens` of output. Pure.
 */
export function decideGrant(asked: Asked, funds: Funds): GrantDecision {
  const limits = limitsOf(funds);
  const need = needOf(asked, funds, limits.length > 0);
  const unpriced = need.prices === undefined ? limits.find(({ inUSD }) => inUSD) : undefined;
  if (unpriced !== undefined) return refuseUnpriced(unpriced, asked.model, funds);
  const least = BigInt(Math.min(LEAST_OUTPUT_TOKENS, need.outputTokens ?? LEAST_OUTPUT_TOKENS));
  const used = limits.find((limit) => outputLeft(limit, need, 0n) < least);
  if (used !== undefined) return refuseUsed(used, need, least);
  const held = limits.find((limit) => outputLeft(limit, need, limit.reserved) < least);
  if (held !== undefined) return waitForOthers(held);
  const left = limits.map((limit) => outputLeft(limit, need, limit.reserved));
  const output = need.outputTokens === undefined ? undefined : left.reduce(smaller, BigInt(need.outputTokens));
  return { kind: "grant", grant: grantOf(need, output, funds.day) };
}

function grantOf({ inputTokens, prices }: Need, output: bigint | undefined, day: string): Grant {
  return {
    day,
    inputTokens,
    ...(output === undefined ? {} : { outputTokens: Number(output) }),
    ...(prices === undefined ? {} : { reservedNanoUSD: costOf(prices, BigInt(inputTokens), output ?? 0n).toString() }),
  };
}

function limitsOf({ state, bundle, budget }: Funds): readonly Limit[] {
  const { costUSD, totalTokens } = state.limits;
  const { costNanoUSD = "0", uncertainNanoUSD = "0", inputTokens, outputTokens, uncertainTokens = 0 } = state.totals;
  const shared = sharedLimit(bundle, budget);
  return [
    ...(costUSD === undefined
      ? []
      : [{ name: "costUSD", inUSD: true, used: BigInt(costNanoUSD) + BigInt(uncertainNanoUSD), reserved: 0n, allowed: parseUsd(costUSD), advice: "a new Session needs a larger spec.limits.costUSD, which its Environment's caps" } as const]),
    ...(totalTokens === undefined
      ? []
      : [{ name: "totalTokens", inUSD: false, used: BigInt(inputTokens + outputTokens + uncertainTokens), reserved: 0n, allowed: BigInt(totalTokens), advice: "a new Session needs a larger spec.limits.totalTokens, which its Environment's caps" } as const]),
    ...(shared === undefined || budget === undefined
      ? []
      : [{ name: "costUSDPerDay", inUSD: true, used: budget.usedNanoUSD, reserved: budget.reservedNanoUSD, allowed: shared, advice: `raise spec.budget.costUSDPerDay of Environment ${bundle.environment.name}, or try again on the next UTC day` } as const]),
  ];
}

/** The live limit; the frozen one until the operator has put any. */
function sharedLimit({ environment }: Bundle, budget: SharedBudget | undefined): bigint | undefined {
  if (budget?.limitNanoUSD !== undefined) return budget.limitNanoUSD ?? undefined;
  const frozen = environment.spec.budget?.costUSDPerDay;
  return frozen === undefined ? undefined : parseUsd(frozen);
}

function needOf({ model, inputTokens = 0, maxOutputTokens }: Asked, { state, bundle }: Funds, isLimited: boolean): Need {
  const endpoint = bundle.environment.spec.models.find(({ name }) => name === model);
  const bounds = [maxOutputTokens, bundle.agent.spec.model.maxOutputTokens, endpoint?.maxOutputTokens].filter((bound) => bound !== undefined);
  const asked = bounds.length === 0 ? undefined : Math.min(...bounds);
  // What the endpoint has counted once holds instructions and tools; before that their bytes come on top.
  const context = (state.contextTokens ?? 0) + (state.totals.inputTokens > 0 ? 0 : preambleTokens(bundle));
  return { inputTokens: Math.max(inputTokens, context), outputTokens: asked ?? (isLimited ? DEFAULT_OUTPUT_TOKENS : undefined), prices: pricesOf(endpoint?.pricing) };
}

/** At most so many tokens of instructions and tool definitions: each has a byte at least. */
function preambleTokens({ agent: { spec } }: Bundle): number {
  const builtIn = (spec.tools ?? []).map(({ name }) => toolOf(name)?.definition);
  const custom = (spec.customTools ?? []).map(({ name, description, inputSchema }) => ({ name, description, parameters: inputSchema }));
  return Buffer.byteLength(spec.instructions ?? "") + Buffer.byteLength(canonicalJson([...builtIn, ...custom]));
}

function pricesOf(pricing: Bundle["environment"]["spec"]["models"][number]["pricing"]): Prices | undefined {
  if (pricing === undefined) return undefined;
  const input = parseUsd(pricing.inputPerMillion);
  const cached = parseUsd(pricing.cachedInputPerMillion ?? pricing.inputPerMillion);
  return { input: input > cached ? input : cached, output: parseUsd(pricing.outputPerMillion) };
}

/** Tokens of output that a limit pays for after the input; negative when not even that. */
function outputLeft({ inUSD, used, allowed }: Limit, { inputTokens, prices }: Need, reserved: bigint): bigint {
  const left = allowed - used - reserved;
  if (!inUSD) return left - BigInt(inputTokens);
  if (prices === undefined) return -1n;
  const forOutput = left * MILLION - BigInt(inputTokens) * prices.input;
  if (forOutput < 0n) return -1n;
  return prices.output === 0n ? UNBOUNDED : forOutput / prices.output;
}

/** nano-USD, rounded up once as an answer's cost is. */
function costOf({ input, output }: Prices, inputTokens: bigint, outputTokens: bigint): bigint {
  return (inputTokens * input + outputTokens * output + MILLION - 1n) / MILLION;
}

function refuseUnpriced(limit: Limit, model: string, { bundle }: Funds): GrantDecision {
  const detail = `model ${model} of Environment ${bundle.environment.name} has no pricing, and ${limit.name} limits the money: set spec.models[].pricing, or leave the limit out, and make another Session`;
  return { kind: "exceeded", exceeded: exceededOf(limit), detail };
}

function refuseUsed(limit: Limit, { inputTokens, prices }: Need, least: bigint): GrantDecision {
  const needed = limit.inUSD && prices !== undefined ? costOf(prices, BigInt(inputTokens), least) : BigInt(inputTokens) + least;
  const { used, allowed } = exceededOf(limit);
  const unit = limit.inUSD ? "USD" : "tokens";
  const detail = `${limit.name}: the request needs ${amountOf(limit, needed)} ${unit} (at most ${inputTokens} tokens of input, and ${least} of output), and ${used} of ${allowed} ${unit} are used: ${limit.advice}`;
  return { kind: "exceeded", exceeded: exceededOf(limit), detail };
}

function waitForOthers(limit: Limit): GrantDecision {
  const { used, reserved, allowed } = exceededOf(limit);
  return { kind: "wait", detail: `${limit.name}: of ${allowed} USD ${used} are used, and open requests of other sessions hold ${reserved}: ask again when they are answered` };
}

function exceededOf(limit: Limit): Exceeded {
  const { name, used, reserved, allowed } = limit;
  return { limit: name, used: amountOf(limit, used), reserved: amountOf(limit, reserved), allowed: amountOf(limit, allowed) };
}

function amountOf({ inUSD }: Limit, amount: bigint): string {
  return inUSD ? formatUsd(amount) : amount.toString();
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
