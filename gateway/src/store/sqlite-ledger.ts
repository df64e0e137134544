import { parseUsd } from "@paddock/api/log/money";
import type { BudgetView } from "@paddock/api/wire/records";
import { addAmounts, NO_AMOUNTS, sumUsage } from "./ledger.ts";
import type { Amounts, LedgerRow } from "./ledger.ts";
import { integer, optionalText, text } from "./sqlite-connection.ts";
import type { Connection, Row } from "./sqlite-connection.ts";
import type { LedgerChange, SharedBudget, StoredRecord, UsageQuery, UsageSum } from "./store.ts";

const AMOUNTS = "sessions, requests, input_tokens, cached_input_tokens, output_tokens, cost, uncertain, reserved";

/** Adds to the ledger's rows of a session. Inside a transaction. */
export function changeLedger(connection: Connection, { namespace, bundle }: Pick<StoredRecord, "namespace" | "bundle">, changes: readonly LedgerChange[]): void {
  const { agent, environment } = bundle;
  for (const { day, ...more } of changes) {
    const key = [day, environment.uid, namespace, agent.name] as const;
    const known = connection.one(`SELECT ${AMOUNTS} FROM ledger WHERE day = ? AND environment_uid = ? AND namespace = ? AND agent = ?`, ...key);
    const sum = addAmounts(known === undefined ? NO_AMOUNTS : amountsOf(known), more);
    connection.run(
      `INSERT OR REPLACE INTO ledger (day, environment_uid, namespace, agent, environment, ${AMOUNTS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...key,
      environment.name,
      ...[sum.sessions, sum.requests, sum.inputTokens, sum.cachedInputTokens, sum.outputTokens],
      ...[sum.costNanoUSD, sum.uncertainNanoUSD, sum.reservedNanoUSD].map(String),
    );
  }
}

/** What all sessions of the Environment share of this day. */
export function sharedBudget(connection: Connection, environmentUid: string, day: string): SharedBudget {
  const rows = connection.all(`SELECT ${AMOUNTS} FROM ledger WHERE day = ? AND environment_uid = ?`, day, environmentUid);
  const sum = rows.map(amountsOf).reduce(addAmounts, NO_AMOUNTS);
  return { day, limitNanoUSD: limitOf(connection, environmentUid), usedNanoUSD: sum.costNanoUSD + sum.uncertainNanoUSD, reservedNanoUSD: sum.reservedNanoUSD };
}

function limitOf(connection: Connection, environmentUid: string): bigint | null | undefined {
  const row = connection.one("SELECT cost_per_day FROM budgets WHERE environment_uid = ?", environmentUid);
  if (row === undefined) return undefined;
  const limit = optionalText(row, "cost_per_day");
  return limit === undefined ? null : parseUsd(limit);
}

/** Whether it changed anything. */
export function putBudget(connection: Connection, { environmentUid, costUSDPerDay }: BudgetView): boolean {
  const sql = `INSERT INTO budgets (environment_uid, cost_per_day) VALUES (?, ?)
    ON CONFLICT (environment_uid) DO UPDATE SET cost_per_day = excluded.cost_per_day WHERE cost_per_day IS NOT excluded.cost_per_day`;
  return connection.run(sql, environmentUid, costUSDPerDay ?? null) > 0;
}

export function readBudgets(connection: Connection): readonly BudgetView[] {
  return connection.all("SELECT environment_uid, cost_per_day FROM budgets ORDER BY environment_uid").map((row) => {
    const costUSDPerDay = optionalText(row, "cost_per_day");
    return { environmentUid: text(row, "environment_uid"), ...(costUSDPerDay === undefined ? {} : { costUSDPerDay }) };
  });
}

export function readUsage(connection: Connection, { namespace, from, to, by, agent, environment }: UsageQuery): readonly UsageSum[] {
  const sql = `SELECT day, agent, environment, ${AMOUNTS} FROM ledger
    WHERE namespace = ?1 AND day BETWEEN ?2 AND ?3 AND (?4 IS NULL OR agent = ?4) AND (?5 IS NULL OR environment = ?5)`;
  return sumUsage(connection.all(sql, namespace, from, to, agent ?? null, environment ?? null).map(rowOf), by);
}

function rowOf(row: Row): LedgerRow {
  return { day: text(row, "day"), agent: text(row, "agent"), environment: text(row, "environment"), ...amountsOf(row) };
}

function amountsOf(row: Row): Amounts {
  return {
    sessions: integer(row, "sessions"),
    requests: integer(row, "requests"),
    inputTokens: integer(row, "input_tokens"),
    cachedInputTokens: integer(row, "cached_input_tokens"),
    outputTokens: integer(row, "output_tokens"),
    costNanoUSD: BigInt(text(row, "cost")),
    uncertainNanoUSD: BigInt(text(row, "uncertain")),
    reservedNanoUSD: BigInt(text(row, "reserved")),
  };
}
