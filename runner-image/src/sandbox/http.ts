import { request } from "node:http";
import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { EGRESS_UPGRADE } from "@paddock/api/wire/sandbox";
import { destroyOnAbort } from "../signal.ts";

/**
 * Most bytes of an answer. The tool server cuts a result to 48 KiB, of which JSON makes six times as much when every character is a control character;
 * a hostile one must not fill this process.
 */
const MAX_BODY_BYTES = 320 * 1024;
/** Of the status line and all headers, and of trailers. */
const MAX_HEADER_BYTES = 16 * 1024;
/** Interim answers (1xx) before the one that counts; the tool server sends none. */
const MOST_INTERIM = 4;

/** The sandbox's tool server, and by what it knows us. */
export interface SandboxAddress {
  readonly host: string;
  readonly port: number;
  readonly bindKey: string;
  readonly epoch: number;
  readonly agent: Agent;
}

export interface SandboxAnswer {
  readonly status: number;
  /** JSON value, undefined when the body is not JSON. */
  readonly body: unknown;
}

export interface SandboxRequest {
  readonly method: "PUT" | "POST";
  readonly path: string;
  readonly body: unknown;
  /** For the whole exchange. */
  readonly timeoutMs: number;
  /** Aborting closes the connection, which ends the call in the sandbox. */
  readonly signal: AbortSignal;
}

/** One request to the tool server. Rejects with the socket's error, the signal's reason, or an Error for an answer that is too long. */
export function sendToSandbox(to: SandboxAddress, { method, path, body, timeoutMs, signal }: SandboxRequest): Promise<SandboxAnswer> {
  const json = JSON.stringify(body);
  const headers = { ...credentials(to), "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(json)) };
  return new Promise((resolve, reject) => {
    const sent = request({ host: to.host, port: to.port, agent: to.agent, method, path, headers, maxHeaderSize: MAX_HEADER_BYTES });
    destroyOnAbort(sent, signal);
    boundInterim(sent);
    const timer = setTimeout(() => sent.destroy(new Error(`the sandbox did not answer within ${timeoutMs / 1000} s`)), timeoutMs);
    let answered = false;
    sent.on("error", reject);
    sent.once("close", () => {
      clearTimeout(timer);
      // A connection that the other side turns round ends without an error, and without an answer.
      if (!answered) reject(new Error("the sandbox ended the connection without an answer"));
    });
    sent.once("response", (response) => {
      answered = true;
      readJson(response).then((value) => resolve({ status: response.statusCode ?? 0, body: value }), (error: unknown) => {
        sent.destroy();
        reject(error instanceof Error ? error : new Error(String(error)));
      });
    });
    sent.end(json);
  });
}

/** Asks the tool server to turn the connection round. Resolves with the socket and the bytes that came with the answer. */
export function upgradeToEgress(to: SandboxAddress, timeoutMs: number, signal: AbortSignal): Promise<{ readonly socket: Duplex; readonly head: Buffer }> {
  const headers = { ...credentials(to), Connection: "Upgrade", Upgrade: EGRESS_UPGRADE };
  return new Promise((resolve, reject) => {
    const sent = request({ host: to.host, port: to.port, agent: false, method: "GET", path: "/v1/egress", headers, maxHeaderSize: MAX_HEADER_BYTES });
    const fail = (why: string): void => void sent.destroy(new Error(why));
    const timer = setTimeout(() => fail(`the sandbox did not open the egress channel within ${timeoutMs / 1000} s`), timeoutMs);
    destroyOnAbort(sent, signal);
    boundInterim(sent);
    sent.on("error", reject);
    sent.once("close", () => {
      clearTimeout(timer);
      reject(new Error("the sandbox ended the connection where the egress channel was asked for"));
    });
    sent.once("response", (response) => fail(`the sandbox answered ${response.statusCode ?? "nothing"} where the egress channel was asked for`));
    sent.once("upgrade", (response, socket, head) => {
      clearTimeout(timer);
      socket.on("error", () => undefined);
      if (response.headers.upgrade === EGRESS_UPGRADE) return resolve({ socket, head });
      socket.destroy();
      reject(new Error("the sandbox turned the connection round to something else than the egress channel"));
    });
    sent.end();
  });
}

/** A peer that goes on and on without an answer. */
function boundInterim(sent: ClientRequest): void {
  let seen = 0;
  sent.on("information", () => {
    seen += 1;
    if (seen > MOST_INTERIM) sent.destroy(new Error("the sandbox sent interim answers without an end"));
  });
}

function credentials({ bindKey, epoch }: SandboxAddress): Record<string, string> {
  return { Authorization: `Bearer ${bindKey}`, "Paddock-Epoch": String(epoch) };
}

async function readJson(response: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response) {
    const chunk = piece as Buffer;
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error(`the sandbox sent more than ${MAX_BODY_BYTES} bytes for one call`);
    pieces.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString("utf8"));
  } catch {
    return undefined;
  }
}
