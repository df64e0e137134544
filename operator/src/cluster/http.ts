import { type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, constants } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./connect.ts";
import { ApiError, ConnectionError } from "./errors.ts";
import { type Lane, type LaneOptions, LANE_OPTIONS, createLane } from "./session.ts";

export type Verb = "get" | "list" | "watch" | "create" | "apply" | "update" | "delete";

/** What a request is about, in closed unions: metric labels are made from it. */
export interface Subject {
  readonly verb: Verb;
  /** Plural, with subresource: `sessions/status`. */
  readonly resource: string;
}

export interface ApiRequest extends Subject {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path and query. */
  readonly path: string;
  readonly contentType?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly timeoutMs?: number;
}

/** The API server over HTTP/2. Watches have a connection of their own, so that no write waits behind them. */
export interface ApiClient {
  /** The answer's JSON. Throws ApiError for anything but 2xx, ConnectionError when there is no answer. 429 is waited out. */
  request(request: ApiRequest): Promise<unknown>;
  /** The bytes of a watch. Throws as `request`. The stream ends or fails by itself; destroy it to stop. */
  watch(resource: string, path: string): Promise<ClientHttp2Stream>;
  /** Ends everything at once. */
  close(): void;
}

export interface ApiClientOptions {
  /** One call per answer or failure; code 0 when there was none. */
  readonly onRequest?: (subject: Subject, code: number) => void;
  /** Requests at the API server at the same time, watches aside. */
  readonly inFlight?: number;
  readonly lane?: LaneOptions;
}

const REQUEST_TIMEOUT_MS = 30_000;
const MAX_429 = 4;
const MAX_RETRY_AFTER_SECONDS = 30;
const USER_AGENT = "paddock-operator";

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export function createApiClient(connection: Connection, { onRequest = () => undefined, inFlight = 64, lane = LANE_OPTIONS }: ApiClientOptions = {}): ApiClient {
  const requests = createLane(connection, lane);
  const watches = createLanes(() => createLane(connection, lane));
  const slots = createSlots(inFlight);

  const headersOf = async (fresh: boolean): Promise<Record<string, string>> => {
    const authorization = await connection.authorization(fresh).catch((error: unknown) => {
      throw new ConnectionError(`cannot read our token for the API server: ${String(error)}`, false, error);
    });
    return { "user-agent": USER_AGENT, accept: "application/json", ...(authorization === undefined ? {} : { authorization }) };
  };

  const once = async (request: ApiRequest, fresh: boolean): Promise<Answer> => {
    const release = await slots.take();
    try {
      return await exchange(requests, request, await headersOf(fresh));
    } finally {
      release();
    }
  };

  const answerTo = async (request: ApiRequest): Promise<Answer> => {
    let answer = await once(request, false);
    // A token replaced before its time: what is in the file now may be newer than what we remember.
    if (answer.status === 401) answer = await once(request, true);
    for (let tries = 0; answer.status === 429 && tries < MAX_429; tries += 1) {
      await sleep(retryAfterMs(answer.headers["retry-after"]));
      answer = await once(request, false);
    }
    return answer;
  };

  const counted = async <T extends { readonly status: number }>(subject: Subject, ask: () => Promise<T>): Promise<T> => {
    try {
      const answer = await ask();
      onRequest(subject, answer.status);
      return answer;
    } catch (error) {
      onRequest(subject, 0);
      throw error;
    }
  };

  return {
    request: async (request) => {
      const { status, text } = await counted(request, () => answerTo(request));
      if (status < 200 || status > 299) throw new ApiError(status, `${request.method} ${pathOnly(request.path)}`, text);
      return text === "" ? undefined : (JSON.parse(text) as unknown);
    },
    watch: async (resource, path) => {
      const { status, stream } = await counted({ verb: "watch", resource }, async () => openWatch(watches.pick(), path, await headersOf(false)));
      if (status === 200) return stream;
      throw new ApiError(status, `watch ${pathOnly(path)}`, await textOf(stream, REQUEST_TIMEOUT_MS));
    },
    close: () => {
      requests.close();
      watches.close();
    },
  };
}

async function exchange(lane: Lane, request: ApiRequest, headers: Record<string, string>): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    const session = await lane.session();
    const stream = begin(session, request, headers);
    try {
      return await answerOf(stream, request.timeoutMs ?? REQUEST_TIMEOUT_MS);
    } catch (error) {
      // Refused means: not even looked at, e.g. because the server was about to close the connection.
      const refused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
      if (refused && tries < 3) continue;
      throw new ConnectionError(`${request.method} ${pathOnly(request.path)}: no answer: ${error instanceof Error ? error.message : String(error)}`, !refused, error);
    }
  }
}

function begin(session: ClientHttp2Session, { method, path, contentType = "application/json", body }: ApiRequest, headers: Record<string, string>): ClientHttp2Stream {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const pseudo = { [constants.HTTP2_HEADER_METHOD]: method, [constants.HTTP2_HEADER_PATH]: path };
  if (session.destroyed || session.closed) throw new ConnectionError(`${method} ${pathOnly(path)}: the connection was just closed`, false);
  const stream = session.request({ ...headers, ...pseudo, ...(text === undefined ? {} : { "content-type": contentType }) }, { endStream: text === undefined });
  if (text !== undefined) stream.end(text);
  return stream;
}

async function answerOf(stream: ClientHttp2Stream, timeoutMs: number): Promise<Answer> {
  let headers: IncomingHttpHeaders | undefined;
  stream.once("response", (received) => {
    headers = received;
  });
  const text = await textOf(stream, timeoutMs);
  if (headers === undefined) throw new Error("closed without headers");
  return { status: Number(headers[constants.HTTP2_HEADER_STATUS]), headers, text };
}

function textOf(stream: ClientHttp2Stream, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => stream.destroy(new Error(`none within ${timeoutMs / 1000} s`)), timeoutMs);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    let ended = false;
    stream.once("end", () => {
      ended = true;
    });
    stream.on("error", reject);
    stream.once("close", () => {
      clearTimeout(timer);
      // A reset in the middle of a body can look like its end.
      if (ended && stream.rstCode === constants.NGHTTP2_NO_ERROR) resolve(Buffer.concat(chunks).toString("utf8"));
      else reject(new Error(`the stream was closed early (code ${stream.rstCode ?? 0})`));
    });
  });
}

/** A lane and how many watches it carries. */
interface WatchLane {
  readonly lane: Lane;
  watches: number;
}

// The API server takes 250 streams on a connection (100 behind some proxies); what is beyond waits without a word.
const WATCHES_PER_LANE = 64;

/** As many connections as the watches need, the first with room first. */
function createLanes(create: () => Lane): { pick(): WatchLane; close(): void } {
  const lanes: WatchLane[] = [];
  return {
    pick: () => {
      const free = lanes.find(({ watches }) => watches < WATCHES_PER_LANE);
      if (free !== undefined) return free;
      const added: WatchLane = { lane: create(), watches: 0 };
      lanes.push(added);
      return added;
    },
    close: () => {
      for (const { lane } of lanes) lane.close();
    },
  };
}

async function openWatch(on: WatchLane, path: string, headers: Record<string, string>): Promise<{ status: number; stream: ClientHttp2Stream }> {
  on.watches += 1;
  const stream = await beginWatch(on.lane, path, headers).catch((error: unknown) => {
    on.watches -= 1;
    throw error;
  });
  stream.once("close", () => {
    on.watches -= 1;
  });
  return statusOf(stream, path);
}

async function beginWatch(lane: Lane, path: string, headers: Record<string, string>): Promise<ClientHttp2Stream> {
  const session = await lane.session();
  return begin(session, { verb: "watch", resource: "", method: "GET", path }, headers);
}

function statusOf(stream: ClientHttp2Stream, path: string): Promise<{ status: number; stream: ClientHttp2Stream }> {
  return new Promise((resolve, reject) => {
    const fail = (error?: Error): void => {
      clearTimeout(timer);
      reject(new ConnectionError(`watch ${pathOnly(path)}: ${error?.message ?? "closed before an answer"}`, false, error));
    };
    const timer = setTimeout(() => stream.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS / 1000} s`)), REQUEST_TIMEOUT_MS);
    // Stays for the stream's whole life: without a listener a late error would end the process.
    stream.on("error", fail);
    stream.once("close", fail);
    stream.once("response", (received) => {
      clearTimeout(timer);
      resolve({ status: Number(received[constants.HTTP2_HEADER_STATUS]), stream });
    });
  });
}

/** Milliseconds that a 429 asks us to wait, with jitter on top, bounded. */
function retryAfterMs(header: string | undefined): number {
  const seconds = Number(header);
  const asked = Number.isFinite(seconds) && seconds >= 0 && header !== undefined ? seconds : 1;
  return Math.min(asked, MAX_RETRY_AFTER_SECONDS) * 1000 + Math.random() * 500;
}

function pathOnly(path: string): string {
  return path.split("?", 1)[0] ?? path;
}

/** At most `count` holders at a time, first come first served. */
function createSlots(count: number): { take(): Promise<() => void> } {
  let free = count;
  const waiting: (() => void)[] = [];
  const release = (): void => {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  };
  const takeOne = (): Promise<void> => {
    if (free === 0) return new Promise((resolve) => waiting.push(resolve));
    free -= 1;
    return Promise.resolve();
  };
  return {
    take: async () => {
      await takeOne();
      return release;
    },
  };
}
