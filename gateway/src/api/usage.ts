import { Hono } from "hono";
import type { Context } from "hono";
import { formatUsd } from "@paddock/api/log/money";
import { USAGE_GROUPS } from "@paddock/api/wire/people";
import type { UsageGroup, UsagePage, UsageRow } from "@paddock/api/wire/people";
import type { UsageQuery, UsageSum } from "../store/store.ts";
import { requireList } from "./access.ts";
import type { ApiEnv, ApiPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";

const DAY_MS = 86_400_000;
/** Days that one answer may cover, and those it covers when nothing is said. */
const MOST_DAYS = 366;
const DEFAULT_DAYS = 30;
const MOST_NAME_CHARS = 253;

/** What the namespace's sessions have used; see wire/people.ts. */
export function usageRoutes(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.get("/:namespace/usage", async (context) => {
    const namespace = context.req.param("namespace");
    await requireList(ports, context, namespace);
    const query = parseUsageQuery(namespace, context.req.query(), ports.now());
    return sendUsage(ports, context, query);
  });
  return app;
}

async function sendUsage({ store }: ApiPorts, context: Context<ApiEnv>, query: UsageQuery): Promise<Response> {
  const rows = await store.usage(query);
  const page: UsagePage = { from: query.from, to: query.to, rows: rows.map(buildRow) };
  return context.json(page);
}

/** What is asked of the ledger. Pure; throws ProblemError that names the parameter, its value and what is wanted. */
export function parseUsageQuery(namespace: string, given: Readonly<Record<string, string>>, now: Date): UsageQuery {
  const to = given.to === undefined ? now.getTime() : parseDay("to", given.to);
  const from = given.from === undefined ? to - (DEFAULT_DAYS - 1) * DAY_MS : parseDay("from", given.from);
  const days = Math.floor(to / DAY_MS) - Math.floor(from / DAY_MS) + 1;
  if (days < 1) throw new ProblemError("malformed", `from ${dayOf(from)} is after to ${dayOf(to)}: both are UTC days, and both are included`);
  if (days > MOST_DAYS) throw new ProblemError("malformed", `from ${dayOf(from)} to ${dayOf(to)} are ${days} days: ask for at most ${MOST_DAYS} at once`);
  return { namespace, from: dayOf(from), to: dayOf(to), by: parseGroups(given.by ?? "day"), ...parseName("agent", given.agent), ...parseName("environment", given.environment) };
}

function parseDay(name: string, text: string): number {
  const at = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  // A day that a month has not is taken for one of the next month.
  if (!Number.isNaN(at) && dayOf(at) === text) return at;
  throw new ProblemError("malformed", `${name} is ${JSON.stringify(text.slice(0, 40))}: give a UTC day as yyyy-mm-dd`);
}

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

function parseGroups(text: string): readonly UsageGroup[] {
  const named = text.split(",");
  const groups = USAGE_GROUPS.filter((group) => named.includes(group));
  if (groups.length === named.length) return groups;
  throw new ProblemError("malformed", `by is ${JSON.stringify(text.slice(0, 64))}: give some of ${USAGE_GROUPS.join(", ")}, each once, with commas between them`);
}

function parseName(name: "agent" | "environment", text: string | undefined): Readonly<Partial<Record<"agent" | "environment", string>>> {
  if (text === undefined) return {};
  if (text !== "" && text.length <= MOST_NAME_CHARS) return { [name]: text };
  throw new ProblemError("malformed", `${name} is ${JSON.stringify(text.slice(0, 40))}: give the name of one, 1 to ${MOST_NAME_CHARS} characters, or leave it out`);
}

function buildRow({ costNanoUSD, uncertainNanoUSD, reservedNanoUSD, ...counts }: UsageSum): UsageRow {
  return { ...counts, costUSD: formatUsd(costNanoUSD), uncertainUSD: formatUsd(uncertainNanoUSD), reservedUSD: formatUsd(reservedNanoUSD) };
}
