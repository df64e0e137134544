import { constants } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Logger } from "pino";
import { decideEgress, parseTarget } from "./decision.ts";

/** Answers what programs in the sandbox send to their proxy, on the session that the sandbox opened over the turned connection. */
export function serveEgress(session: ServerHttp2Session, environment: string, logger: Logger): void {
  // A peer that is killed breaks its streams; without a listener each of them would end this process.
  session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => undefined);
    if (stream.destroyed) return;
    const target = parseTarget(headers[":method"] ?? "", headers[":authority"] ?? "", headers[":path"] ?? "");
    const { status, message } = decideEgress(environment, target);
    logger.debug({ host: target?.host, port: target?.port, status }, "egress refused");
    stream.respond({ ":status": status, "content-type": "text/plain; charset=utf-8" });
    stream.end(message);
    // Nothing of the request's body is wanted.
    stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
  });
}
