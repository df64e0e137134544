import * as http from "node:http";
import * as https from "node:https";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { type BudgetRequest, type OperatorAppendReply, type PodRegistration, RECORDS, type RecordRequest, type RecordView } from "@paddock/api/wire/records";
import { GatewayConnectionError, GatewayError } from "./errors.ts";

/** The gateway as the operator uses it. All calls may be repeated. Throws GatewayError and GatewayConnectionError. */
export interface GatewayClient {
  /** Creates a record; one that is there already stays as it is and is returned. */
  putRecord(uid: string, record: RecordRequest): Promise<RecordView>;
  putPod(podUid: string, registration: PodRegistration): Promise<void>;
  putBudget(environmentUid: string, budget: BudgetRequest): Promise<void>;
  /** The events as stored, or the earlier ones when they change nothing. `patienceMs`: how long an answer may take to begin. */
  append(uid: string, events: readonly NewEvent[], patienceMs?: number): Promise<readonly LogEvent[]>;
  acknowledge(uid: string): Promise<void>;
  /** The body of the stream of records. The caller destroys it. */
  follow(lastEventId: string | undefined): Promise<http.IncomingMessage>;
  close(): void;
}

export interface GatewayClientOptions {
  /** Origin, e.g. https://paddock-gateway.paddock-system.svc:8443. */
  readonly url: string;
  /** PEM of the CA that signed the gateway's certificate. Called for each new connection; may throw. */
  ca(): Promise<string>;
  /** The server's certificate was not signed by what `ca` returned last. */
  onUntrusted(): void;
  token(fresh: boolean): Promise<string>;
  /** Called right before anything but a read is sent; throws when it must not be. */
  permit?(): void;
}

const TIMEOUT_MS = 15_000;
const MAX_SOCKETS = 32;
const UNTRUSTED = new Set(["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN", "DEPTH_ZERO_SELF_SIGNED_CERT", "CERT_SIGNATURE_FAILURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_GET_ISSUER_CERT"]);

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds until an answer has to begin; absent means TIMEOUT_MS. */
  readonly patienceMs?: number | undefined;
}

export function createGatewayClient({ url, ca, onUntrusted, token, permit = () => undefined }: GatewayClientOptions): GatewayClient {
  const { request, Agent } = url.startsWith("https:") ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  const streams = new Agent({ keepAlive: false });

  const prepare = async (fresh: boolean): Promise<{ authorization: string; ca: string }> => {
    try {
      return { authorization: `Bearer ${await token(fresh)}`, ca: await ca() };
    } catch (error) {
      throw new GatewayConnectionError(`cannot call the gateway ${url}: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  };

  const send = async (call: Call, fresh: boolean, from: http.Agent): Promise<http.IncomingMessage> => {
    const { authorization, ca: pem } = await prepare(fresh);
    if (call.method !== "GET") permit();
    const text = call.body === undefined ? undefined : JSON.stringify(call.body);
    const headers = {
      authorization,
      accept: "application/json",
      ...(call.method === "GET" ? {} : { "content-length": String(Buffer.byteLength(text ?? "")) }),
      ...(text === undefined ? {} : { "content-type": "application/json" }),
      ...call.headers,
    };
    const options = { method: call.method, headers, agent: from, ca: pem };
    const { patienceMs = TIMEOUT_MS } = call;
    return new Promise((resolve, reject) => {
      const outgoing = request(new URL(call.path, url), options, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      const timer = setTimeout(() => outgoing.destroy(new Error(`no answer within ${patienceMs / 1000} s`)), patienceMs);
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        if (UNTRUSTED.has(error.code ?? "")) onUntrusted();
        reject(new GatewayConnectionError(`${call.method} ${call.path} at the gateway ${url}: ${error.message}`, error));
      });
      outgoing.end(text);
    });
  };

  const open = async (call: Call, from: http.Agent): Promise<http.IncomingMessage> => {
    const answer = await send(call, false, from);
    if (answer.statusCode !== 401) return answer;
    answer.resume();
    return send(call, true, from);
  };

  /** `accepted`: statuses other than 2xx whose body is wanted too. */
  const ask = async (call: Call, accepted?: number): Promise<unknown> => {
    const answer = await open(call, agent);
    const status = answer.statusCode ?? 0;
    const text = await textOf(answer, `${call.method} ${call.path}`);
    if ((status < 200 || status > 299) && status !== accepted) throw new GatewayError(status, `${call.method} ${call.path} at the gateway`, text);
    return text === "" ? undefined : JSON.parse(text);
  };

  const recordPath = (uid: string): string => `${RECORDS}/${encodeURIComponent(uid)}`;

  return {
    putRecord: async (uid, record) => {
      const reply = (await ask({ method: "PUT", path: recordPath(uid), body: record }, 409)) as { readonly record?: RecordView };
      // 409: bound already with another bundle, which then is the one that counts. Any other conflict comes without the record.
      if (reply.record === undefined) throw new GatewayError(409, `PUT ${recordPath(uid)} at the gateway`, JSON.stringify(reply));
      return reply.record;
    },
    putPod: async (podUid, registration) => {
      await ask({ method: "PUT", path: `/v1/pods/${encodeURIComponent(podUid)}`, body: registration });
    },
    putBudget: async (environmentUid, budget) => {
      await ask({ method: "PUT", path: `/v1/budgets/${encodeURIComponent(environmentUid)}`, body: budget });
    },
    append: async (uid, events, patienceMs) => ((await ask({ method: "POST", path: `${recordPath(uid)}/events`, body: { events }, patienceMs })) as OperatorAppendReply).events,
    acknowledge: async (uid) => {
      await ask({ method: "DELETE", path: recordPath(uid) });
    },
    follow: async (lastEventId) => {
      const headers = { accept: "text/event-stream", ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }) };
      const answer = await open({ method: "GET", path: RECORDS, headers }, streams);
      if (answer.statusCode === 200) return answer;
      throw new GatewayError(answer.statusCode ?? 0, `GET ${RECORDS} at the gateway`, await textOf(answer, `GET ${RECORDS}`));
    },
    close: () => {
      agent.destroy();
      streams.destroy();
    },
  };
}

async function textOf(answer: http.IncomingMessage, what: string): Promise<string> {
  const timer = setTimeout(() => answer.destroy(new Error(`the answer did not end within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  } catch (error) {
    throw new GatewayConnectionError(`${what} at the gateway: ${String(error)}`, error);
  } finally {
    clearTimeout(timer);
  }
}
