import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";

/** About one connection, not the message (RFC 9110, 7.6.1), or said otherwise in HTTP/2. */
const HOP_BY_HOP = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host", "expect", "http2-settings", "proxy-authorization", "proxy-authenticate"]);
/** Make some servers take another method or path than the one that was decided on, some of them with an underscore for a hyphen too. */
const OVERRIDES = new Set(["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"]);
/** A part of an answer may hold half of a value, which no mask finds. */
const PARTIAL = new Set(["range", "if-range", "accept-encoding"]);
/** Another way to the host, which is closed. */
const DETOURS = new Set(["alt-svc"]);

/** Headers of a request that go on; `te` for HTTP/2 only. `isMasked`: the answer has to be readable as a whole. Pure. */
export function requestHeaders(headers: IncomingHttpHeaders, isMasked: boolean): OutgoingHttpHeaders {
  const kept = without(headers, (name) => OVERRIDES.has(name.replaceAll("_", "-")) || (isMasked && PARTIAL.has(name)));
  const plain = isMasked ? { ...kept, "accept-encoding": "identity" } : kept;
  // The one value that HTTP/2 knows (RFC 9113, 8.2.2), and gRPC asks for.
  return /\btrailers\b/i.test(String(headers["te"] ?? "")) ? { ...plain, te: "trailers" } : plain;
}

/** Headers of an answer that go on. Pure. */
export function answerHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return without(headers, (name) => DETOURS.has(name));
}

function without(headers: IncomingHttpHeaders, isDropped: (name: string) => boolean): OutgoingHttpHeaders {
  const named = new Set((headers.connection ?? "").toLowerCase().split(",").map((name) => name.trim()));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(":") && !HOP_BY_HOP.has(name) && !named.has(name) && !isDropped(name)));
}

/** The same names with other values; header names stand for themselves. Pure. */
export function mapHeaders(headers: OutgoingHttpHeaders, change: (text: string) => string): OutgoingHttpHeaders {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [change(name), Array.isArray(value) ? value.map(change) : change(String(value))]),
  );
}
