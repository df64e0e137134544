import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./connect.ts";
import { ApiError, ConnectionError } from "./errors.ts";
import { REQUEST_TIMEOUT_MS, type WireRequest, exchange, pathOnly, textOf } from "./exchange.ts";
import { type LaneOptions, LANE_OPTIONS, createLane } from "./session.ts";
import { type SkewRange, nextSkew, skewMsOf } from "./skew.ts";
import { type Priority, createSlots } from "./slots.ts";
import { createWatchLanes } from "./watch-lanes.ts";

export type Verb = "get" | "list" | "watch" | "create" | "apply" | "update" | "delete";

/** What a request is about, in closed unions: metric labels are made from it. */
export interface Subject {
  readonly verb: Verb;
  /** Plural, with subresource: `sessions/status`. */
  readonly resource: string;
}

export interface ApiRequest extends Subject, WireRequest {
  /** Who goes first when many wait; "progress" when absent. */
  readonly priority?: Priority;
}

/** What a connection is for. */
export type ConnectionUse = "requests" | "watches";

/** The API server over HTTP/2. Watches have a connection of their own, so that no write waits behind them. */
export interface ApiClient {
  /** The answer's JSON. Throws ApiError for anything but 2xx, ConnectionError when there is no answer. 429 and 503 are waited out as long as the server asks, within bounds. */
  request(request: ApiRequest): Promise<unknown>;
  /** The bytes of a watch. Throws as `request`. The stream ends or fails by itself; destroy it to stop. */
  watch(resource: string, path: string): Promise<ClientHttp2Stream>;
  /** Our clock minus the API server's in milliseconds, by its newest answers; 0 while they may agree. */
  skewMs(): number;
  /** Connections made so far. */
  connections(): number;
  /** Ends everything at once. */
  close(): void;
}

export interface ApiClientOptions {
  /** One call per answer or failure; code 0 when there was none. */
  readonly onRequest?: (subject: Subject, code: number) => void;
  readonly onConnect?: (use: ConnectionUse) => void;
  /** Called right before any request that is no get, list or watch is sent, however long it has waited; throws when it must not be. */
  readonly permit?: () => void;
  /** Requests at the API server at the same time, watches aside. */
  readonly inFlight?: number;
  readonly lane?: LaneOptions;
}

const READS: ReadonlySet<Verb> = new Set(["get", "list", "watch"]);
const USER_AGENT = "paddock-operator";
/** How often a request that the server puts off is tried again, and how long that may take in all. */
const MAX_WAITS = 4;
const MAX_WAIT_MS = 30_000;

export function createApiClient(connection: Connection, { onRequest = () => undefined, onConnect = () => undefined, permit, inFlight = 64, lane = LANE_OPTIONS }: ApiClientOptions = {}): ApiClient {
  let connections = 0;
  let skew: SkewRange | undefined;
  const closing = new AbortController();
  const laneFor = (use: ConnectionUse) =>
    createLane(connection, lane, () => {
      connections += 1;
      onConnect(use);
    });
  const requests = laneFor("requests");
  const watches = createWatchLanes(() => laneFor("watches"));
  const slots = createSlots(inFlight);

  const headersOf = async (fresh: boolean): Promise<Record<string, string>> => {
    const authorization = await connection.authorization(fresh).catch((error: unknown) => {
      throw new ConnectionError(`cannot read our token for the API server: ${String(error)}`, false, error);
    });
    return { "user-agent": USER_AGENT, accept: "application/json", ...(authorization === undefined ? {} : { authorization }) };
  };

  const noteDate = ({ date }: IncomingHttpHeaders, sentMs: number): void => {
    const dateMs = Date.parse(date ?? "");
    if (!Number.isNaN(dateMs)) skew = nextSkew(skew, { dateMs, sentMs, receivedMs: Date.now(), atMs: performance.now() });
  };

  /** Tries again what may be tried again: once with the newest token, and as often as the server says that it only has no time now. */
  const patiently = async <T extends Headed>(once: (headers: Record<string, string>) => Promise<T>, drop: (answer: T) => void): Promise<T> => {
    const send = async (fresh: boolean): Promise<T> => {
      const headers = await headersOf(fresh);
      const sentMs = Date.now();
      const answer = await once(headers);
      noteDate(answer.headers, sentMs);
      return answer;
    };
    let answer = await send(false);
    if (answer.status === 401) {
      // A token replaced before its time: what is in the file now may be newer than what we remember.
      drop(answer);
      answer = await send(true);
    }
    for (let waits = 0, left = MAX_WAIT_MS; waits < MAX_WAITS; waits += 1) {
      const waitMs = waitMsOf(answer);
      if (waitMs === undefined || waitMs > left) return answer;
      left -= waitMs;
      drop(answer);
      await sleep(waitMs, undefined, { signal: closing.signal }).catch(() => Promise.reject(new ConnectionError("the client is closed", false)));
      answer = await send(false);
    }
    return answer;
  };

  const counted = async <T extends Headed>(subject: Subject, ask: () => Promise<T>): Promise<T> => {
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
      const once = async (headers: Record<string, string>) => {
        // Held only while the request is at the server, never while it waits to be sent again.
        const release = await slots.take(request.priority ?? "progress");
        try {
          return await exchange(requests, permit === undefined || READS.has(request.verb) ? request : { ...request, permit }, headers);
        } finally {
          release();
        }
      };
      const { status, text } = await counted(request, () => patiently(once, () => undefined));
      if (status < 200 || status > 299) throw new ApiError(status, `${request.method} ${pathOnly(request.path)}`, text);
      return text === "" ? undefined : (JSON.parse(text) as unknown);
    },
    watch: async (resource, path) => {
      const { status, stream } = await counted({ verb: "watch", resource }, () => patiently((headers) => watches.open(path, headers), (answer) => answer.stream.destroy()));
      if (status === 200) return stream;
      throw new ApiError(status, `watch ${pathOnly(path)}`, await textOf(stream, REQUEST_TIMEOUT_MS));
    },
    skewMs: () => skewMsOf(skew),
    connections: () => connections,
    close: () => {
      closing.abort();
      requests.close();
      watches.close();
    },
  };
}

interface Headed {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** Milliseconds to wait before this request is sent again, with jitter on top; undefined when it should not be. A 503 counts only when it says how long. */
function waitMsOf({ status, headers }: Headed): number | undefined {
  const asked = headers["retry-after"];
  if (status !== 429 && !(status === 503 && asked !== undefined)) return undefined;
  const seconds = Number(asked ?? "1");
  return (Number.isFinite(seconds) && seconds >= 0 ? seconds : 1) * 1000 + Math.random() * 500;
}
