import type { Context } from "hono";
import type { ApiEnv } from "./ports.ts";
import { ProblemError } from "./problem.ts";

/** A whole number of the query. Throws ProblemError that names it. */
export function parseCount(context: Context<ApiEnv>, name: string, { least, most, absent }: { least: number; most: number; absent: number }): number {
  const text = context.req.query(name);
  if (text === undefined) return absent;
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new ProblemError("malformed", `${name} is ${JSON.stringify(text.slice(0, 40))}: give a whole number from ${least} to ${most}`);
}
