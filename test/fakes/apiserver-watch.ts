import type { ServerHttp2Stream } from "node:http2";
import { type FakeObject, type FakeStore, StatusError } from "./apiserver-store.ts";

/** Which objects a list or watch is about. */
export interface Selection {
  /** Path of the collection without namespace, e.g. `/api/v1/pods`. */
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly query: URLSearchParams;
}

/** Open watches of a fake API server. */
export interface FakeWatches {
  /** Answers a watch. Throws StatusError before anything is sent. */
  open(stream: ServerHttp2Stream, selection: Selection): void;
  tell(type: string, object: FakeObject): void;
  count(): number;
  cut(how: "clean" | "midLine"): void;
  /** Those open now say nothing any more: all, or those of one collection. */
  mute(collection?: string): void;
  bookmark(): void;
  /** Whether sendInitialEvents is served ("WatchList"), refused as by a server without the feature, or not understood as by an old one. */
  setStreamingLists(how: StreamingLists): void;
}

export type StreamingLists = "served" | "refused" | "unknown";

interface Watch {
  readonly collection: string;
  readonly stream: ServerHttp2Stream;
  readonly matches: (object: FakeObject) => boolean;
  muted: boolean;
}

export function createFakeWatches(store: FakeStore): FakeWatches {
  const watches = new Set<Watch>();
  let streamingLists: StreamingLists = "served";

  const requireKnown = (query: URLSearchParams): void => {
    if (query.get("sendInitialEvents") !== "true" || streamingLists === "unknown") return;
    if (streamingLists === "refused") throw new StatusError(422, "Invalid", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled");
    if (query.get("resourceVersionMatch") !== "NotOlderThan") throw new StatusError(422, "Invalid", "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  };

  /** What there is already, and with bookmarks allowed the one that ends it. */
  const sendPresent = (stream: ServerHttp2Stream, { collection, query }: Selection, matches: (object: FakeObject) => boolean): void => {
    for (const object of store.list(collection)) if (matches(object)) writeEvent(stream, "ADDED", object.body);
    if (streamingLists !== "served" || query.get("sendInitialEvents") !== "true" || query.get("allowWatchBookmarks") !== "true") return;
    writeEvent(stream, "BOOKMARK", { metadata: { resourceVersion: String(store.version()), annotations: { "k8s.io/initial-events-end": "true" } } });
  };

  return {
    open: (stream, selection) => {
      const { query } = selection;
      requireKnown(query);
      const from = query.get("resourceVersion") ?? "";
      const matches = matcherOf(selection);
      if (from !== "" && Number(from) < store.compactedAt()) throw new StatusError(410, "Expired", `too old resource version: ${from}`);
      stream.respond({ ":status": 200, "content-type": "application/json" });
      if (from === "" || query.get("sendInitialEvents") === "true") sendPresent(stream, selection, matches);
      else for (const { type, object } of store.since(Number(from))) if (matches(object)) writeEvent(stream, type, object.body);
      const entry: Watch = { collection: selection.collection, stream, matches, muted: false };
      watches.add(entry);
      const seconds = Number(query.get("timeoutSeconds") ?? "300");
      const timer = setTimeout(() => stream.end(), seconds * 1000);
      stream.on("close", () => {
        watches.delete(entry);
        clearTimeout(timer);
      });
    },
    tell: (type, object) => {
      for (const watch of watches) if (!watch.muted && watch.matches(object)) writeEvent(watch.stream, type, object.body);
    },
    count: () => watches.size,
    cut: (how) => {
      for (const { stream } of watches) {
        if (how === "midLine") stream.write('{"type":"MODIFIED","object":{"metadata":{"name":"half');
        stream.end();
      }
    },
    mute: (collection) => {
      for (const entry of watches) if (collection === undefined || entry.collection === collection) entry.muted = true;
    },
    bookmark: () => {
      const metadata = { resourceVersion: String(store.version()), name: "", uid: "" };
      for (const { stream, muted } of watches) if (!muted) writeEvent(stream, "BOOKMARK", { apiVersion: "v1", kind: "Bookmark", metadata });
    },
    setStreamingLists: (how) => {
      streamingLists = how;
    },
  };
}

/** Which objects a selection holds, by collection, namespace, labels and `metadata.name`. Throws StatusError for a field that is not served. */
export function matcherOf({ collection, namespace, query }: Selection): (object: FakeObject) => boolean {
  const labels = termsOf(query.get("labelSelector"));
  const fields = termsOf(query.get("fieldSelector"));
  const unknown = fields.find(([name]) => name !== "metadata.name" && name !== "metadata.namespace");
  if (unknown !== undefined) throw new StatusError(400, "BadRequest", `field label not supported: ${unknown[0]}`);
  return ({ collection: of, body: { metadata } }) =>
    of === collection &&
    (namespace === undefined || metadata.namespace === namespace) &&
    labels.every(([name, value]) => (value === undefined ? metadata.labels?.[name] !== undefined : metadata.labels?.[name] === value)) &&
    fields.every(([name, value]) => (name === "metadata.name" ? metadata.name : metadata.namespace) === value);
}

function termsOf(selector: string | null): readonly (readonly [name: string, value: string | undefined])[] {
  return (selector ?? "").split(",").filter((term) => term !== "").map((term) => {
    const [name = "", value] = term.split(/==?/);
    return [name, value];
  });
}

function writeEvent(stream: ServerHttp2Stream, type: string, object: unknown): void {
  if (!stream.destroyed && !stream.writableEnded) stream.write(`${JSON.stringify({ type, object })}\n`);
}
