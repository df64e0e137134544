import type { LogEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import type { LedgerChange, SharedBudget } from "../store/store.ts";

/** The UTC day of a time, as yyyy-mm-dd. */
export function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10);
}

/**
 * What one event changes in the ledger, given the session before and after it: so the sum of a log's changes is what its fold counts.
 * Everything about a request is charged to the day of its reservation. Pure.
 */
export function ledgerChangesOf(before: SessionState, after: SessionState, event: LogEvent): LedgerChange[] {
  const today = event.at.slice(0, 10);
  if (event.type === "session.bound") return [{ day: today, sessions: 1 }];
  const day = (before.request ?? after.request)?.grant?.day ?? today;
  const change = withoutZeros({
    requests: event.type === "model.requested" ? 1 : 0,
    inputTokens: after.totals.inputTokens - before.totals.inputTokens,
    cachedInputTokens: after.totals.cachedInputTokens - before.totals.cachedInputTokens,
    outputTokens: after.totals.outputTokens - before.totals.outputTokens,
    costNanoUSD: costOf(event),
    uncertainNanoUSD: uncertainOf(after) - uncertainOf(before),
    reservedNanoUSD: reservedOf(after) - reservedOf(before),
  });
  return Object.keys(change).length === 0 ? [] : [{ day, ...change }];
}

/** The shared budget once these changes are made. Pure. */
export function chargedBudget(budget: SharedBudget | undefined, changes: readonly LedgerChange[]): SharedBudget | undefined {
  return changes.reduce((charged, change) => {
    if (charged?.day !== change.day) return charged;
    const { costNanoUSD = 0n, uncertainNanoUSD = 0n, reservedNanoUSD = 0n } = change;
    return { ...charged, usedNanoUSD: charged.usedNanoUSD + costNanoUSD + uncertainNanoUSD, reservedNanoUSD: charged.reservedNanoUSD + reservedNanoUSD };
  }, budget);
}

function withoutZeros(change: Omit<LedgerChange, "day">): Omit<LedgerChange, "day"> {
  return Object.fromEntries(Object.entries(change).filter(([, amount]) => amount !== 0 && amount !== 0n));
}

/** Not the difference of the totals: theirs is unknown for good once one answer's is. */
function costOf(event: LogEvent): bigint {
  return event.type === "model.responded" ? BigInt(event.data.costNanoUSD ?? "0") : 0n;
}

function uncertainOf({ totals }: SessionState): bigint {
  return BigInt(totals.uncertainNanoUSD ?? "0");
}

function reservedOf({ request }: SessionState): bigint {
  return BigInt(request?.grant?.reservedNanoUSD ?? "0");
}
