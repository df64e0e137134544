import { AsyncLocalStorage } from "node:async_hooks";
import { timingSafeEqual, createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer as createModel } from "@copilotkit/aimock";
import type { ChatCompletionRequest, Fixture } from "@copilotkit/aimock";
import { buildRefusal, chooseTurn, fillResponse } from "./answer.ts";
import type { Script } from "./script.ts";

/** One request for completions. Times in milliseconds since 1970 by a clock that never steps back. */
interface RequestRecord {
  readonly number: number;
  prompt: string | null;
  turn: number | null;
  status: number;
  readonly receivedAt: number;
  lastByteAt: number | null;
}

interface ScriptedModel {
  readonly server: Server;
  close(): Promise<void>;
}

const KEPT_REQUESTS = 1000;
const COMPLETIONS = ["/v1/chat/completions", "/api/v1/chat/completions"];

/**
 * A server that answers by scripts; not listening yet. `keyFile` need not exist: without it no key is asked for. `log` gets one line per refusal.
 * aimock's own server serves what passes the gate: it listens on a loopback port of its own, which nobody is told.
 */
export async function createScriptedModel(scripts: readonly Script[], keyFile: string, log: (line: string) => void): Promise<ScriptedModel> {
  const records: RequestRecord[] = [];
  const current = new AsyncLocalStorage<RequestRecord>();
  const model = await createModel(buildFixtures(scripts, current, log), { host: "127.0.0.1", port: 0, strict: true, logLevel: "warn", chunkSize: 20, journalMaxEntries: 1 });
  let count = 0;
  const server = createHttpServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    if (pathname === "/healthz") return answer(response, 200, { status: "ok" });
    if (pathname === "/requests") return answer(response, 200, { requests: records });
    if (request.method !== "POST" || !COMPLETIONS.includes(pathname)) return refuse(response, 404, `there is only POST ${COMPLETIONS.join(" and ")}, GET /requests and GET /healthz`);
    const record = openRecord(++count, response);
    records.push(record);
    if (records.length > KEPT_REQUESTS) records.shift();
    if (!hasKey(request, keyFile)) {
      log(`request ${count}: refused, it does not bear the key of ${keyFile}`);
      return refuse(response, 401, "the API key is not the one of this server's key file");
    }
    current.run(record, () => model.server.emit("request", request, response));
  });
  return {
    server,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await new Promise((resolve) => model.server.close(resolve));
    },
  };
}

/** One fixture for each turn, because latency and truncation belong to a fixture; the last one takes what no turn takes. */
function buildFixtures(scripts: readonly Script[], current: AsyncLocalStorage<RequestRecord>, log: (line: string) => void): Fixture[] {
  const turns = scripts.flatMap((script) => script.turns.map((turn, index): Fixture => ({
    match: {
      predicate: (request) => {
        const choice = chooseTurn(scripts, request);
        return "turn" in choice && choice.turn === turn;
      },
    },
    response: (request) => {
      note(current.getStore(), script, index);
      return logged(fillResponse(turn.response, request));
    },
    ...turn.options,
  })));
  const refuseAll = (request: ChatCompletionRequest) => {
    const choice = chooseTurn(scripts, request);
    if (choice.script !== undefined) note(current.getStore(), choice.script, request.messages.filter(({ role }) => role === "assistant").length);
    return logged(buildRefusal("refusal" in choice ? choice.refusal : "the request changed while it was read"));
  };
  return [...turns, { match: { predicate: () => true }, response: refuseAll }];

  function logged<R extends object>(response: R): R {
    if ("error" in response) log(`request ${current.getStore()?.number ?? "?"}: ${JSON.stringify(response.error)}`);
    return response;
  }
}

function note(record: RequestRecord | undefined, script: Script, turn: number): void {
  if (record === undefined) return;
  record.prompt = script.prompt;
  record.turn = turn;
}

function openRecord(number: number, response: ServerResponse): RequestRecord {
  const record: RequestRecord = { number, prompt: null, turn: null, status: 0, receivedAt: nowMs(), lastByteAt: null };
  response.once("finish", () => {
    record.lastByteAt = nowMs();
    record.status = response.statusCode;
  });
  return record;
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Whether the request bears the key, which is read anew each time; true when there is no key file. */
function hasKey(request: IncomingMessage, keyFile: string): boolean {
  let key: string;
  try {
    key = readFileSync(keyFile, "utf8").trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return true;
    throw error;
  }
  return timingSafeEqual(digest(request.headers.authorization ?? ""), digest(`Bearer ${key}`));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function refuse(response: ServerResponse, status: number, sentence: string): void {
  answer(response, status, { error: { message: `scripted model: ${sentence}`, type: "invalid_request_error" } });
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
