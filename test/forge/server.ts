import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createSecureServer } from "node:http2";
import type { Http2SecureServer, Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { serveEcho } from "./echo.ts";
import { reply } from "./exchange.ts";
import { headOf } from "./repository.ts";
import { serveExchange } from "./routes.ts";
import type { ForgeTerms } from "./routes.ts";
import { clock, createRecord } from "./seen.ts";
import type { Record } from "./seen.ts";

/** The forge's servers, not listening yet. */
export interface Forge {
  /** HTTPS: HTTP/1.1 and HTTP/2. */
  readonly https: Http2SecureServer;
  /** HTTPS: HTTP/2 and nothing else. */
  readonly http2: Http2SecureServer;
  /** Plain HTTP, the same routes. */
  readonly http: Server;
  /** Plain HTTP, for the test alone: GET /healthz, /clock, /seen, /head. */
  readonly control: Server;
}

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

export function createForge(certificate: Certificate, terms: ForgeTerms): Forge {
  const record = createRecord();
  const answer = (request: Http2ServerRequest, response: Http2ServerResponse): void => answerRequest(request, response, { record, terms });
  const https = createSecureServer({ ...certificate, allowHTTP1: true }, answer);
  const http2 = createSecureServer({ ...certificate }, answer);
  // The compatibility layer gives HTTP/2 the shape of HTTP/1.1: one handler has both.
  const http = createServer((request, response) => answer(request as unknown as Http2ServerRequest, response as unknown as Http2ServerResponse));
  for (const server of [https, http]) {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const entry = record.noteRequest(request as unknown as Http2ServerRequest);
      socket.once("close", () => (entry.endedAt = clock()));
      serveEcho(request, socket, head, entry);
    });
  }
  for (const server of [https, http2, http]) {
    server.on("connection", (socket: Socket) => {
      record.noteConnection(socket.remoteAddress);
      socket.on("error", () => undefined);
    });
    server.on("clientError", (_: Error, socket: Duplex) => socket.destroy());
  }
  for (const server of [https, http2]) server.on("sessionError", () => undefined);
  const control = createServer((request, response) => answerControl(request, response, { record, terms }));
  return { https, http2, http, control };
}

interface Ports {
  readonly record: Record;
  readonly terms: ForgeTerms;
}

function answerRequest(request: Http2ServerRequest, response: Http2ServerResponse, { record, terms }: Ports): void {
  const entry = record.noteRequest(request);
  request.on("error", () => undefined);
  response.on("error", () => undefined);
  response.once("close", () => (entry.endedAt = clock()));
  const scheme = "encrypted" in request.socket ? "https" : "http";
  const url = URL.parse(request.url, `${scheme}://${entry.host}`);
  if (url === null) return reply({ request, response, entry, url: new URL("http://unreadable/") }, "this is no path\n", { status: 400 });
  serveExchange({ request, response, url, entry }, terms).catch(() => response.destroy()); // the other side has gone
}

function answerControl(request: IncomingMessage, response: ServerResponse, { record, terms }: Ports): void {
  const answers: Readonly<{ [path: string]: () => object }> = {
    "/healthz": () => ({ ok: true }),
    "/clock": () => ({ now: clock() }),
    "/seen": () => record.read(),
    "/head": () => ({ commit: headOf(terms.folder) }),
  };
  const path = request.url ?? "";
  const make = Object.hasOwn(answers, path) ? answers[path] : undefined;
  response.writeHead(make === undefined ? 404 : 200, { "content-type": "application/json" }).end(JSON.stringify(make?.() ?? {}));
}
