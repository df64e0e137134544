import type { IncomingMessage } from "node:http";
import type { BindRequest, SandboxCall } from "@paddock/api/wire/sandbox";
import { isToolName } from "./arguments.ts";
import type { Caller } from "./binding.ts";
import { parseProbe } from "./probe.ts";
import { RequestRefused } from "./problem.ts";
import { parseTrust } from "./trust.ts";

/** The largest call there is: `edit` with both texts written as escapes. */
const BODY_BYTES = 4 * 1024 * 1024;
const LONGEST_CALL_SECONDS = 3600;

/** Who asks. Throws RequestRefused. */
export function callerOf({ headers }: IncomingMessage): Caller {
  const key = /^Bearer (\S{1,512})$/.exec(headers.authorization ?? "")?.[1];
  if (key === undefined) throw new RequestRefused("unauthenticated", "the request needs the header Authorization: Bearer with the session's bind key");
  const epoch = headers["paddock-epoch"];
  if (typeof epoch !== "string" || !/^\d{1,15}$/.test(epoch)) throw new RequestRefused("malformed", "the request needs the header Paddock-Epoch with the runner's epoch, an integer");
  return { key, epoch: Number(epoch) };
}

/** The body as an object. Throws RequestRefused; stops reading at 4 MiB. */
export async function readBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const tooLarge = new RequestRefused("too-large", `the body is larger than ${BODY_BYTES} bytes`);
  if (Number(request.headers["content-length"] ?? 0) > BODY_BYTES) throw tooLarge;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES) throw tooLarge;
    chunks.push(chunk);
  }
  return parseObject(Buffer.concat(chunks).toString());
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestRefused("malformed", "the body is not JSON");
  }
  if (!isObject(value)) throw new RequestRefused("malformed", "the body must be a JSON object");
  return value;
}

/** Pure. Throws RequestRefused. */
export function parseBind({ session, probe, trust }: Readonly<Record<string, unknown>>): BindRequest {
  if (!isName(session)) throw new RequestRefused("malformed", "session must be a text of 1 to 512 characters");
  return { session, probe: parseProbe(probe), trust: parseTrust(trust) };
}

/** Pure. Throws RequestRefused; what is wrong with the arguments themselves is for the model, and the tool's to say. */
export function parseCall(body: Readonly<Record<string, unknown>>): SandboxCall {
  const { call, attempt, tool, arguments: given, timeoutSeconds } = body;
  if (!isName(call)) throw new RequestRefused("malformed", "call must be a text of 1 to 512 characters");
  if (!Number.isSafeInteger(attempt) || Number(attempt) < 0) throw new RequestRefused("malformed", "attempt must be an integer of 0 or more");
  if (typeof tool !== "string" || !isToolName(tool)) throw new RequestRefused("malformed", `tool ${JSON.stringify(tool)} is none of this sandbox`);
  if (!isObject(given)) throw new RequestRefused("malformed", "arguments must be an object");
  if (!isDuration(timeoutSeconds)) throw new RequestRefused("malformed", `timeoutSeconds must be a number over 0 and at most ${LONGEST_CALL_SECONDS}`);
  return { call, attempt: Number(attempt), tool, arguments: given, timeoutSeconds };
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= 512;
}

function isDuration(value: unknown): value is number {
  return typeof value === "number" && value > 0 && value <= LONGEST_CALL_SECONDS;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
