import type { IncomingMessage, ServerResponse } from "node:http";
import type { Inbound } from "./exchange.ts";

/** A request of HTTP/1.1 as exchange.ts takes it. `asksFirst`: the program waits for word before it sends its body. */
export function inboundOfHttp1(request: IncomingMessage, response: ServerResponse, asksFirst: boolean): Inbound {
  const over = new AbortController();
  request.on("error", () => undefined);
  response.on("error", () => undefined);
  // The rest of a body that the host's complete answer did not wait for goes nowhere.
  response.once("finish", () => {
    if (request.complete) return;
    over.abort();
    request.unpipe().resume();
  });
  response.once("close", () => { if (!response.writableFinished) over.abort(); });
  const hasBody = request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0;
  return {
    method: request.method ?? "",
    path: request.url ?? "",
    authorities: request.headersDistinct["host"] ?? [],
    headers: request.headers,
    body: hasBody ? request : undefined,
    signal: over.signal,
    proceed() {
      if (asksFirst) response.writeContinue();
    },
    refuse({ status, message }) {
      if (response.headersSent || response.destroyed) { response.destroy(); return; }
      // Whoever asked first may send its body or not, as it likes, and nobody could tell a body from the next request.
      response.writeHead(status, { "content-type": "text/plain; charset=utf-8", ...(asksFirst ? { connection: "close" } : {}) });
      response.end(`${message}\n`);
    },
    answer(status, headers) {
      response.writeHead(status, headers);
      if (request.method !== "HEAD" && status !== 204 && status !== 304) return response;
      response.end();
      return undefined;
    },
  };
}
