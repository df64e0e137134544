import type { LedgerChange, UsageQuery, UsageSum } from "./store.ts";

/** The amounts of a ledger row. Counts stop at 2^53 - 1, money never does. */
export type Amounts = Required<Omit<LedgerChange, "day">>;

/** A row of the ledger. `environment` is the name. */
export interface LedgerRow extends Amounts {
  readonly day: string;
  readonly agent: string;
  readonly environment: string;
}

export const NO_AMOUNTS: Amounts = {
  sessions: 0,
  requests: 0,
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens: 0,
  costNanoUSD: 0n,
  uncertainNanoUSD: 0n,
  reservedNanoUSD: 0n,
};

/** Pure. Members that are not there count as nothing. */
export function addAmounts(to: Amounts, more: Partial<Amounts>): Amounts {
  return {
    sessions: addCounts(to.sessions, more.sessions),
    requests: addCounts(to.requests, more.requests),
    inputTokens: addCounts(to.inputTokens, more.inputTokens),
    cachedInputTokens: addCounts(to.cachedInputTokens, more.cachedInputTokens),
    outputTokens: addCounts(to.outputTokens, more.outputTokens),
    costNanoUSD: to.costNanoUSD + (more.costNanoUSD ?? 0n),
    uncertainNanoUSD: to.uncertainNanoUSD + (more.uncertainNanoUSD ?? 0n),
    reservedNanoUSD: to.reservedNanoUSD + (more.reservedNanoUSD ?? 0n),
  };
}

function addCounts(to: number, more = 0): number {
  return Math.min(Number.MAX_SAFE_INTEGER, to + more);
}

/** Rows summed by the members that `by` names, in their order. Pure. */
export function sumUsage(rows: Iterable<LedgerRow>, by: UsageQuery["by"]): readonly UsageSum[] {
  const sums = new Map<string, UsageSum>();
  for (const row of rows) {
    const group = Object.fromEntries(by.map((member) => [member, row[member]]));
    const key = JSON.stringify(by.map((member) => row[member]));
    sums.set(key, { ...group, ...addAmounts(sums.get(key) ?? NO_AMOUNTS, row) });
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum);
}
