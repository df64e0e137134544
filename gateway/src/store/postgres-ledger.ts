import { createHash } from "node:crypto";
import type { Bundle } from "@paddock/api/log/bundle";
import { parseUsd } from "@paddock/api/log/money";
import type { BudgetView } from "@paddock/api/wire/records";
import { NO_AMOUNTS, addAmounts, sumUsage } from "./ledger.ts";
import type { Amounts, LedgerRow } from "./ledger.ts";
import { integer, optionalText, text } from "./postgres-connection.ts";
import type { Queryable, Row, Transaction } from "./postgres-connection.ts";
import { CHANGES } from "./postgres-schema.ts";
import type { LedgerChange, SharedBudget, UsageQuery, UsageSum } from "./store.ts";

/** What one lock guards: all rows of the ledger of an Environment and a UTC day. */
export interface BudgetKey {
  readonly environmentUid: string;
  readonly day: string;
}

/** Identity of a key in maps, and their order. */
export function nameOf({ environmentUid, day }: BudgetKey): string {
  return `${environmentUid}\n${day}`;
}

/** Waits until nobody else holds the locks of these names, and holds them to the end of the transaction. Taken in one order by everybody. */
export async function lockNames(transaction: Queryable, names: Iterable<string>): Promise<void> {
  const keys = [...new Set([...names].map((name) => createHash("sha256").update(name).digest().readBigInt64BE()))].sort((a, b) => (a < b ? -1 : 1));
  if (keys.length > 0) await transaction.query("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key", [keys.map(String)]);
}

const BUDGETS = `SELECT asked.environment_uid, asked.day, budgets.environment_uid IS NOT NULL AS is_put, budgets.cost_per_day,
    sums.used::text AS used, sums.reserved::text AS reserved
  FROM unnest($1::text[], $2::text[]) AS asked (environment_uid, day)
  LEFT JOIN budgets ON budgets.environment_uid = asked.environment_uid
  CROSS JOIN LATERAL (SELECT coalesce(sum(cost + uncertain), 0) AS used, coalesce(sum(reserved), 0) AS reserved
    FROM ledger WHERE ledger.environment_uid = asked.environment_uid AND ledger.day = asked.day) AS sums`;

/** Shared budgets by the name of their key. To be asked after the lock was taken: a statement sees what was committed before it. */
export async function readShared(on: Queryable, keys: readonly BudgetKey[]): Promise<Map<string, SharedBudget>> {
  if (keys.length === 0) return new Map();
  const rows = await on.query(BUDGETS, [keys.map(({ environmentUid }) => environmentUid), keys.map(({ day }) => day)]);
  return new Map(rows.map((row) => [nameOf({ environmentUid: text(row, "environment_uid"), day: text(row, "day") }), sharedOf(row)]));
}

function sharedOf(row: Row): SharedBudget {
  const limit = optionalText(row, "cost_per_day");
  const put = limit === undefined ? null : parseUsd(limit);
  return { day: text(row, "day"), limitNanoUSD: row.is_put === true ? put : undefined, usedNanoUSD: money(row, "used"), reservedNanoUSD: money(row, "reserved") };
}

/** The budget as it is after these changes. Pure. */
export function addToShared(budget: SharedBudget, changes: readonly LedgerChange[]): SharedBudget {
  const sum = changes.filter(({ day }) => day === budget.day).reduce<Amounts>(addAmounts, NO_AMOUNTS);
  const usedNanoUSD = budget.usedNanoUSD + sum.costNanoUSD + sum.uncertainNanoUSD;
  return { ...budget, usedNanoUSD, reservedNanoUSD: budget.reservedNanoUSD + sum.reservedNanoUSD };
}

const COUNTS = ["sessions", "requests", "inputTokens", "cachedInputTokens", "outputTokens"] as const;
const SUMS = ["costNanoUSD", "uncertainNanoUSD", "reservedNanoUSD"] as const;
const MOST = String(Number.MAX_SAFE_INTEGER);

const ADD = `INSERT INTO ledger AS known (day, environment_uid, namespace, agent, environment, sessions, requests, input_tokens, cached_input_tokens, output_tokens, cost, uncertain, reserved)
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::numeric[], $12::numeric[], $13::numeric[])
  ON CONFLICT (environment_uid, day, namespace, agent) DO UPDATE SET
    environment = excluded.environment,
    sessions = least(${MOST}, known.sessions + excluded.sessions),
    requests = least(${MOST}, known.requests + excluded.requests),
    input_tokens = least(${MOST}, known.input_tokens + excluded.input_tokens),
    cached_input_tokens = least(${MOST}, known.cached_input_tokens + excluded.cached_input_tokens),
    output_tokens = least(${MOST}, known.output_tokens + excluded.output_tokens),
    cost = known.cost + excluded.cost,
    uncertain = known.uncertain + excluded.uncertain,
    reserved = known.reserved + excluded.reserved`;

/** What one session changes in the ledger. */
export interface LedgerWrite {
  readonly bundle: Bundle;
  readonly namespace: string;
  readonly changes: readonly LedgerChange[];
}

/** Adds to the ledger's rows of these sessions. The locks of their keys are held. */
export async function changeLedger(transaction: Queryable, sessions: readonly LedgerWrite[]): Promise<void> {
  const sums = new Map<string, { readonly key: readonly string[]; readonly amounts: Amounts }>();
  for (const { bundle, namespace, changes } of sessions) {
    const { agent, environment } = bundle;
    for (const { day, ...more } of changes) {
      const name = [day, environment.uid, namespace, agent.name].join("\n");
      const amounts = addAmounts(sums.get(name)?.amounts ?? NO_AMOUNTS, more);
      sums.set(name, { key: [day, environment.uid, namespace, agent.name, environment.name], amounts });
    }
  }
  const rows = [...sums.values()];
  if (rows.length === 0) return;
  const keys = [0, 1, 2, 3, 4].map((index) => rows.map(({ key }) => key[index]));
  await transaction.query(ADD, [...keys, ...[...COUNTS, ...SUMS].map((member) => rows.map(({ amounts }) => String(amounts[member])))]);
}

/** Whether it changed anything, with its place in the order of all changes. Takes the counter's lock: the last thing of its transaction. */
export async function putBudget(transaction: Transaction, { environmentUid, costUSDPerDay }: BudgetView): Promise<number | undefined> {
  await lockNames(transaction, [`budget/${environmentUid}`]);
  const [known] = await transaction.query("SELECT cost_per_day FROM budgets WHERE environment_uid = $1", [environmentUid]);
  if (known !== undefined && optionalText(known, "cost_per_day") === costUSDPerDay) return undefined;
  await transaction.last();
  const sql = `WITH next AS (UPDATE counter SET position = position + 1 RETURNING position)
    INSERT INTO budgets (environment_uid, cost_per_day, position) SELECT $1, $2, position FROM next
    ON CONFLICT (environment_uid) DO UPDATE SET cost_per_day = excluded.cost_per_day, position = excluded.position RETURNING position, pg_notify('${CHANGES}', position::text)`;
  const [row] = await transaction.query(sql, [environmentUid, costUSDPerDay ?? null]);
  return integer(row, "position");
}

export async function readBudgets(on: Queryable, after = 0): Promise<readonly { readonly position: number; readonly budget: BudgetView }[]> {
  const rows = await on.query("SELECT environment_uid, cost_per_day, position FROM budgets WHERE position > $1 ORDER BY environment_uid", [after]);
  return rows.map((row) => {
    const costUSDPerDay = optionalText(row, "cost_per_day");
    return { position: integer(row, "position"), budget: { environmentUid: text(row, "environment_uid"), ...(costUSDPerDay === undefined ? {} : { costUSDPerDay }) } };
  });
}

const USAGE = `SELECT day, agent, environment, sessions, requests, input_tokens, cached_input_tokens, output_tokens, cost::text AS cost, uncertain::text AS uncertain, reserved::text AS reserved
  FROM ledger WHERE namespace = $1 AND day BETWEEN $2 AND $3 AND ($4::text IS NULL OR agent = $4) AND ($5::text IS NULL OR environment = $5)`;

export async function readUsage(on: Queryable, { namespace, from, to, by, agent, environment }: UsageQuery): Promise<readonly UsageSum[]> {
  const rows = await on.query(USAGE, [namespace, from, to, agent ?? null, environment ?? null]);
  return sumUsage(rows.map(rowOf), by);
}

function rowOf(row: Row): LedgerRow {
  return {
    day: text(row, "day"),
    agent: text(row, "agent"),
    environment: text(row, "environment"),
    sessions: integer(row, "sessions"),
    requests: integer(row, "requests"),
    inputTokens: integer(row, "input_tokens"),
    cachedInputTokens: integer(row, "cached_input_tokens"),
    outputTokens: integer(row, "output_tokens"),
    costNanoUSD: money(row, "cost"),
    uncertainNanoUSD: money(row, "uncertain"),
    reservedNanoUSD: money(row, "reserved"),
  };
}

function money(row: Row, column: string): bigint {
  return BigInt(text(row, column));
}
