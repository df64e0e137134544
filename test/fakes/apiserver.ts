import { type Http2Server, type ServerHttp2Session, type ServerHttp2Stream, createServer } from "node:http2";
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { type FakeStore, StatusError, createFakeStore } from "./apiserver-store.ts";
import { type StreamingLists, createFakeWatches, matcherOf } from "./apiserver-watch.ts";

// The part of the Kubernetes API that a client of ours uses, in process, over HTTP/2 without TLS: list in pages and as a stream, watch with
// bookmarks, create, get, delete with preconditions, apply, status, dry runs, access reviews. It keeps the API server's rules where a client can see them; the same cases run against a real one.

export interface FakeApiServer {
  readonly url: string;
  readonly store: FakeStore;
  /** `<METHOD> <path>` of every request so far, watches included. */
  readonly requests: readonly string[];
  /** The header `authorization` of each of them; "" where there was none. */
  readonly callers: readonly string[];
  /** Answers the next `count` requests whose `<METHOD> <path>` matches with this status. */
  failNext(match: RegExp, status: number, options?: { readonly count?: number; readonly headers?: Readonly<Record<string, string>> }): void;
  /** Carries out the next matching request and then drops its connection without an answer. */
  loseNextAnswer(match: RegExp): void;
  /** How the next SubjectAccessReviews are answered; at first everything is allowed. */
  reviewAccess(allows: (spec: ReviewSpec) => boolean): void;
  /** Open watches. */
  watches(): number;
  /** Ends all watches; `midLine` sends half an event first. */
  cutWatches(how?: "clean" | "midLine"): void;
  /** The watches open now, or those of one collection, stay open and say nothing any more. */
  muteWatches(collection?: string): void;
  /** Whether sendInitialEvents is served ("WatchList"), refused as by a server without the feature, or not understood as by an old one. */
  setStreamingLists(how: StreamingLists): void;
  /** Sets the clock behind the header `Date`, as so many milliseconds ahead of ours. */
  setClock(aheadMs: number): void;
  /** Sends a bookmark on all watches. */
  bookmark(): void;
  /** Connections accepted so far. */
  connections(): number;
  /** Tells all connections to go away, as an API server does now and then. */
  goaway(): void;
  /** Breaks all connections without a word. */
  drop(): void;
  /** Ends: nobody is listening any more. What is stored stays. */
  stop(): Promise<void>;
  /** Listens again, on the same port. */
  resume(): Promise<void>;
  close(): Promise<void>;
}

/** What a SubjectAccessReview asks. */
export interface ReviewSpec {
  readonly user: string;
  readonly groups?: readonly string[];
  readonly resourceAttributes?: Readonly<Record<"namespace" | "verb" | "group" | "resource" | "name", string>>;
}

interface Failure {
  readonly match: RegExp;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  left: number;
}

interface Route {
  /** Path of the collection without namespace, e.g. `/api/v1/pods`: what is stored together. */
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

const REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

export async function startFakeApiServer(): Promise<FakeApiServer> {
  const server: Http2Server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  const requests: string[] = [];
  const callers: string[] = [];
  const failures: Failure[] = [];
  const losses: RegExp[] = [];
  let allowsAccess: (spec: ReviewSpec) => boolean = () => true;
  let connections = 0;
  let aheadMs = 0;

  const store = createFakeStore((type, object) => watches.tell(type, object));
  const watches = createFakeWatches(store);

  server.on("session", (session) => {
    connections += 1;
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => undefined);
  });

  const answer = (method: string, route: Route, query: URLSearchParams, body: unknown): { status: number; body: unknown } => {
    const { collection, namespace = "", name, subresource } = route;
    if (collection === REVIEWS) return { status: 201, body: { ...(body as object), status: { allowed: allowsAccess((body as { spec: ReviewSpec }).spec) } } };
    if (name === undefined) return method === "POST" ? { status: 201, body: store.create(collection, namespace, body, query.get("dryRun") === "All") } : { status: 200, body: list(store, route, query) };
    const key = { collection, namespace, name };
    switch (method) {
      case "GET":
        return { status: 200, body: store.get(key) };
      case "DELETE":
        return { status: 200, body: store.delete(key, body) };
      case "PUT":
        return { status: 200, body: store.update(key, body, subresource === "status") };
      case "PATCH":
        return store.apply(key, body, { force: query.get("force") === "true", manager: query.get("fieldManager") ?? "" });
      default:
        throw new StatusError(405, "MethodNotAllowed", method);
    }
  };

  const answerWith = (stream: ServerHttp2Stream, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void =>
    respond(stream, status, body, { date: new Date(Date.now() + aheadMs).toUTCString(), ...headers });

  const handle = (stream: ServerHttp2Stream, method: string, url: URL, text: string): void => {
    const line = `${method} ${url.pathname}`;
    const failure = failures.find(({ match, left }) => left > 0 && match.test(line));
    if (failure !== undefined) {
      failure.left -= 1;
      return answerWith(stream, failure.status, statusOf(failure.status, "Injected", "a fault of the test"), failure.headers);
    }
    const route = parseRoute(url.pathname);
    if (url.searchParams.get("watch") === "1") return watches.open(stream, { ...route, query: url.searchParams });
    const { status, body } = answer(method, route, url.searchParams, text === "" ? undefined : JSON.parse(text));
    const lost = losses.findIndex((match) => match.test(line));
    if (lost === -1) return answerWith(stream, status, body);
    losses.splice(lost, 1);
    stream.session?.destroy();
  };

  server.on("stream", (stream, headers) => {
    const method = String(headers[":method"]);
    const url = new URL(String(headers[":path"]), "http://fake");
    requests.push(`${method} ${url.pathname}`);
    callers.push(headers.authorization ?? "");
    stream.on("error", () => undefined);
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      // A request that was reset in its body looks like one that has ended.
      if (stream.aborted) return;
      try {
        handle(stream, method, url, Buffer.concat(chunks).toString("utf8"));
      } catch (error) {
        if (!(error instanceof StatusError)) throw error;
        answerWith(stream, error.status, statusOf(error.status, error.reason, error.message));
      }
    });
  });

  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const stop = (): Promise<void> => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    store, requests, callers,
    failNext: (match, status, { count = 1, headers = {} } = {}) => void failures.push({ match, status, headers, left: count }),
    loseNextAnswer: (match) => void losses.push(match),
    reviewAccess: (allows) => {
      allowsAccess = allows;
    },
    watches: watches.count,
    cutWatches: (how = "clean") => watches.cut(how),
    muteWatches: watches.mute,
    bookmark: watches.bookmark,
    setStreamingLists: watches.setStreamingLists,
    setClock: (ms) => {
      aheadMs = ms;
    },
    connections: () => connections,
    goaway: () => {
      for (const session of sessions) session.goaway();
    },
    drop: () => {
      for (const session of sessions) session.destroy();
    },
    stop,
    resume: () => listen(port),
    close: stop,
  };
}

function list(store: FakeStore, route: Route, query: URLSearchParams): unknown {
  const all = store.list(route.collection).filter(matcherOf({ ...route, query }));
  const [from = 0, version = store.version()] = (query.get("continue") ?? "").split("@").filter((part) => part !== "").map(Number);
  if (version < store.compactedAt()) throw new StatusError(410, "Expired", "the continue token is too old");
  const limit = Number(query.get("limit") ?? all.length);
  const rest = from + limit < all.length;
  return {
    kind: "List",
    metadata: { resourceVersion: String(version), ...(rest ? { continue: `${from + limit}@${version}` } : {}) },
    items: all.slice(from, from + limit).map((object) => object.body),
  };
}

function parseRoute(pathname: string): Route {
  const match = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+)(?=\/))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(pathname);
  if (match === null) throw new StatusError(404, "NotFound", `no route ${pathname}`);
  const [, base = "", namespace, plural = "", name, subresource] = match;
  return { collection: `${base}/${plural}`, namespace, name, subresource };
}

function respond(stream: ServerHttp2Stream, status: number, body: unknown, headers: Readonly<Record<string, string>>): void {
  if (stream.destroyed) return;
  stream.respond({ ":status": status, "content-type": "application/json", ...headers });
  stream.end(JSON.stringify(body));
}

function statusOf(code: number, reason: string, message: string): unknown {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message, details: { uid: randomUUID() } };
}
