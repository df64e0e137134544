import type { Context } from "hono";
import { z } from "zod";
import { parseNewEvent } from "@paddock/api/log/events";
import type { NewEvent } from "@paddock/api/log/events";
import { ProblemError } from "./problem.ts";

/** Deeper values could exhaust the stack of whoever walks or hashes them. */
const MAX_DEPTH = 64;
const MAX_EVENTS = 256;

/** What is read of a request's body: by this schema, at most so many bytes. */
export interface BodyShape<T> {
  readonly schema: z.ZodType<T>;
  readonly maxBytes: number;
}

/** The request's JSON body. Throws ProblemError that names the faulty fields, or the limit. */
export async function readBody<T>(context: Context, { schema, maxBytes }: BodyShape<T>): Promise<T> {
  const value = parseJson(await readText(context.req.raw, maxBytes));
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new ProblemError("malformed", `the request's body is not as documented: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

async function readText({ body }: Request, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const stream: AsyncIterable<Uint8Array> | [] = body ?? [];
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new ProblemError("too-large", `the request's body exceeds ${maxBytes} bytes: send less at once`, { refusal: "final" });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Events of a request, each checked against its type's schema. Throws ProblemError. */
export function parseEvents(values: readonly unknown[]): NewEvent[] {
  if (values.length === 0 || values.length > MAX_EVENTS) throw new ProblemError("malformed", `a request appends 1 to ${MAX_EVENTS} events, not ${values.length}`);
  return values.map((value, index) => {
    const parsed = parseNewEvent(value);
    if ("fault" in parsed) throw new ProblemError("malformed", `events[${index}]: ${parsed.fault}`, { refusal: "final" });
    return parsed.event;
  });
}

function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ProblemError("malformed", `the request's body is not JSON: ${error instanceof Error ? error.message.slice(0, 200) : "unreadable"}`);
  }
  if (isTooDeep(value)) throw new ProblemError("malformed", `the request's body is nested deeper than ${MAX_DEPTH} levels`);
  return value;
}

function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) return true;
    level = level.flatMap((item): unknown[] => (item !== null && typeof item === "object" ? Object.values(item) : []));
  }
  return false;
}
