import { constants } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Inbound } from "./exchange.ts";
import { cutOff } from "./tunnel.ts";

/** A request of HTTP/2, of a program or of the forwarder, as exchange.ts takes it. */
export function inboundOfHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Inbound {
  const over = new AbortController();
  const method = headers[":method"] ?? "";
  stream.on("error", () => undefined);
  stream.once("close", () => { if (!stream.writableFinished) over.abort(); });
  // The rest of a body that the host's complete answer did not wait for is not wanted (RFC 9113, 8.1).
  stream.once("finish", () => {
    if (stream.readableEnded || stream.endAfterHeaders) return;
    over.abort();
    stream.close(constants.NGHTTP2_NO_ERROR);
  });
  return {
    method,
    path: headers[":path"] ?? "",
    authorities: [headers[":authority"], headers.host].filter((name) => name !== undefined),
    headers,
    body: stream.endAfterHeaders ? undefined : stream,
    signal: over.signal,
    proceed() {
      if (headers.expect?.toLowerCase() === "100-continue") stream.additionalHeaders({ ":status": 100 });
    },
    refuse({ status, message }) {
      if (stream.destroyed) return;
      if (stream.headersSent) { cutOff(stream); return; }
      stream.respond({ ":status": status, "content-type": "text/plain; charset=utf-8" });
      stream.end(`${message}\n`);
    },
    answer(status, answerHeaders, trailers) {
      if (stream.destroyed) return undefined;
      const isEmpty = method === "HEAD" || status === 204 || status === 304;
      stream.respond({ ":status": status, ...answerHeaders }, { endStream: isEmpty, waitForTrailers: !isEmpty });
      if (isEmpty) return undefined;
      stream.once("wantTrailers", () => {
        if (!stream.destroyed) stream.sendTrailers(trailers());
      });
      return stream;
    },
  };
}
