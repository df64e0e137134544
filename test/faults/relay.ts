import http from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import http2 from "node:http2";
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { Transform } from "node:stream";
import { isWrite } from "./fate.ts";
import type { Fate } from "./fate.ts";

// What stands between one operator and its two servers: everything passes, until the operator's fate says that it dies, freezes or misses an answer.

export interface Relay {
  readonly url: string;
  close(): Promise<void>;
}

/** To an API server that speaks HTTP/2 without TLS. */
export async function relayToApi(target: string, fate: Fate): Promise<Relay> {
  const server = http2.createServer();
  const sessions = new Set<ServerHttp2Session>();
  let upstream = connect(target);

  const answer = async (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> => {
    const line = describe(headers);
    const body = await readAll(stream);
    // A request that was reset looks like one that has ended.
    if (stream.aborted) return;
    await fate.thawed();
    if (fate.before(line) === "dead") return;
    if (upstream.closed || upstream.destroyed) upstream = connect(target);
    const request = upstream.request(withoutConnection(headers), { endStream: body.length === 0 });
    request.on("error", () => stream.destroy());
    request.on("close", () => {
      if (!request.readableEnded && !fate.isDead()) stream.destroy();
    });
    request.on("response", (received) => {
      if (!isWrite(line)) {
        if (stream.destroyed) return void request.destroy();
        stream.respond(withoutConnection(received));
        request.pipe(frozenWith(fate)).pipe(stream);
        stream.on("close", () => request.destroy());
        return;
      }
      void readAll(request).then((text) => {
        const verdict = fate.after(line);
        if (verdict === "lost") stream.session?.destroy();
        void fate.thawed().then(() => {
          if (verdict !== "answered" || stream.destroyed) return;
          stream.respond(withoutConnection(received));
          stream.end(text);
        });
      }).catch(() => stream.destroy());
    });
    if (body.length > 0) request.end(body);
  };

  server.on("session", (session) => {
    if (fate.isDead()) return session.destroy();
    sessions.add(session);
    session.on("error", () => undefined);
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    void answer(stream, headers).catch(() => stream.destroy());
  });
  fate.onDeath(() => {
    for (const session of sessions) session.destroy();
  });
  return { url: await listen(server), close: () => closeAll(server, sessions, () => upstream.destroy()) };
}

/** To the gateway, which speaks HTTPS: the operator dials the relay without TLS. */
export async function relayToGateway(target: { readonly url: string; readonly ca: string }, fate: Fate): Promise<Relay> {
  const agent = new https.Agent({ keepAlive: false, ca: target.ca });
  const sockets = new Set<Socket>();

  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const line = `${incoming.method ?? ""} ${incoming.url ?? ""}`;
    const body = await readAll(incoming);
    await fate.thawed();
    if (fate.before(line) === "dead") return;
    const request = https.request(new URL(incoming.url ?? "/", target.url), { agent, method: incoming.method, headers: incoming.headers }, (received) => {
      if (!isWrite(line)) {
        outgoing.writeHead(received.statusCode ?? 502, received.headers);
        outgoing.flushHeaders();
        received.pipe(frozenWith(fate)).pipe(outgoing);
        outgoing.on("close", () => received.destroy());
        return;
      }
      void readAll(received).then((text) => {
        const verdict = fate.after(line);
        if (verdict === "lost") incoming.socket.destroy();
        if (verdict === "answered") void fate.thawed().then(() => outgoing.writeHead(received.statusCode ?? 502, received.headers).end(text));
      }).catch(() => incoming.socket.destroy());
    });
    request.on("error", () => incoming.socket.destroy());
    outgoing.on("close", () => request.destroy());
    request.end(body);
  };

  const server = http.createServer((incoming, outgoing) => void answer(incoming, outgoing).catch(() => incoming.socket.destroy()));
  server.on("connection", (socket) => {
    if (fate.isDead()) return void socket.destroy();
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  fate.onDeath(() => {
    for (const socket of sockets) socket.destroy();
  });
  return { url: await listen(server), close: () => closeAll(server, sockets, () => agent.destroy()) };
}

/** Holds back what passes while the operator is frozen. */
function frozenWith(fate: Fate): Transform {
  return new Transform({ transform: (chunk, _encoding, pass) => void fate.thawed().then(() => pass(null, chunk)) });
}

function connect(target: string): ClientHttp2Session {
  const session = http2.connect(target);
  session.on("error", () => undefined);
  return session;
}

/** `<METHOD> <path>`; a dry run is told apart, because it writes nothing. */
function describe(headers: IncomingHttpHeaders): string {
  const [path = "", query = ""] = String(headers[":path"]).split("?", 2);
  return `${query.includes("dryRun=All") ? "DRY " : ""}${String(headers[":method"])} ${path}`;
}

function withoutConnection(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { connection: _, ...rest } = headers;
  return rest;
}

async function readAll(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function listen(server: http.Server | http2.Http2Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function closeAll(server: http.Server | http2.Http2Server, open: Iterable<{ destroy(): unknown }>, more: () => void): Promise<void> {
  for (const each of open) each.destroy();
  more();
  await new Promise((resolve) => server.close(resolve));
}
