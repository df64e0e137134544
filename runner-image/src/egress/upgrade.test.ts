import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { createServer as createHttps } from "node:https";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { makeEgressAuthority } from "./authority.ts";
import { listen, startInspected } from "./testdata/inspected.ts";
import type { InspectedLab, InspectedOptions } from "./testdata/inspected.ts";

const HOST = "ws.example.com";
const SECRET = "tok-3f9a/x+7Q==secret";
const CREDENTIAL = { name: "api", secretKeyRef: { name: "tokens", key: "api" }, hosts: [HOST] };

/** A host that agrees to a WebSocket, says what the handshake held, and then sends back what it gets. */
function serveEcho(server: Server, seen: IncomingMessage[]): Server {
  return server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    seen.push(request);
    socket.on("error", () => undefined);
    const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"] ?? ""}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nX-Seen: ${request.headers.authorization ?? "none"}\r\n\r\nhello `);
    socket.write(head);
    socket.pipe(socket);
  });
}

async function start(t: TestContext, options: Omit<InspectedOptions, "bundle" | "network"> = {}): Promise<{ lab: InspectedLab; port: number; seen: IncomingMessage[] }> {
  const world = await makeEgressAuthority({ uid: "world", hosts: ["example.com"], now: new Date() });
  const leaf = await world.leafFor(HOST);
  const seen: IncomingMessage[] = [];
  const server = createHttps({ SNICallback: (_, done) => { done(null, leaf); } }, (_, response) => { response.writeHead(400).end(`no ${SECRET}`); });
  serveEcho(server, seen);
  const port = await listen(t, server);
  const lab = await startInspected(t, { ...options, network: { allowedHosts: [{ host: HOST, ports: [port], methods: ["GET"], paths: ["/ws"] }] }, bundle: world.certificate });
  return { lab, port, seen };
}

async function handshake(socket: Duplex, host: string, { path = "/ws", upgrade = "websocket", more = "" } = {}): Promise<{ head: string; rest: () => Promise<string> }> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n${more}\r\n`);
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (piece: string) => (text += piece));
  while (!text.includes("\r\n\r\n")) await once(socket, "data");
  const end = text.indexOf("\r\n\r\n") + 4;
  return { head: text.slice(0, end), rest: async () => text.slice(end) };
}

async function readUntil(read: () => Promise<string>, socket: Duplex, wanted: string): Promise<string> {
  while (!(await read()).includes(wanted)) await once(socket, "data");
  return read();
}

test("a WebSocket through TLS carries bytes both ways, and is counted", async (t) => {
  const { lab, port, seen } = await start(t);
  const socket = await lab.secure(HOST, port);
  const { head, rest } = await handshake(socket, `${HOST}:${port}`);
  assert.match(head, /^HTTP\/1\.1 101 /);
  assert.match(head, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
  assert.equal(seen[0]?.headers["sec-websocket-extensions"], "permessage-deflate");
  const big = "x".repeat(200_000);
  socket.write(`${big}!`);
  assert.equal(await readUntil(rest, socket, "!"), `hello ${big}!`);
  const closed = once(socket, "close");
  socket.destroy();
  await closed;
  assert.deepEqual(lab.notes.map(({ decision, rule, method }) => [decision, rule, method]), [["Allow", "network.allowedHosts[0]", "GET"]]);
});

test("a credential goes into the handshake, extensions go, and what comes back is masked", async (t) => {
  const { lab, port, seen } = await start(t, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const socket = await lab.secure(HOST, port);
  const { head, rest } = await handshake(socket, `${HOST}:${port}`, { more: "Authorization: Bearer mine\r\n" });
  assert.equal(seen[0]?.headers.authorization, `Bearer ${SECRET}`);
  assert.equal(seen[0].headers["sec-websocket-extensions"], undefined);
  assert.match(head, new RegExp(`x-seen: Bearer \\*{${SECRET.length}}\r\n`, "i"));
  socket.write(SECRET.slice(0, 5));
  socket.write(`${SECRET.slice(5)}!`);
  assert.equal(await readUntil(rest, socket, "!"), `hello ${"*".repeat(SECRET.length)}!`);
  assert.deepEqual(lab.notes.map(({ credential }) => credential), ["api"]);
});

test("a path that is not allowed, another host, and other protocols are refused", async (t) => {
  const { lab, port, seen } = await start(t);
  const ask = async (host: string, options: Parameters<typeof handshake>[2]): Promise<string> => (await handshake(await lab.secure(HOST, port), host, options)).head.slice(0, 12);
  assert.equal(await ask(`${HOST}:${port}`, { path: "/other" }), "HTTP/1.1 403");
  assert.equal(await ask("other.example.com", {}), "HTTP/1.1 421");
  assert.equal(await ask(`${HOST}:${port}`, { upgrade: "h2c" }), "HTTP/1.1 403");
  assert.deepEqual(lab.notes.map(({ rule }) => rule), ["PathNotAllowed", "NameMismatch", "ProtocolNotAllowed"]);
  assert.deepEqual([seen.length, lab.dialled.length], [0, 0]);
});

test("a host that does not switch is heard all the same", async (t) => {
  const world = await makeEgressAuthority({ uid: "world", hosts: ["example.com"], now: new Date() });
  const leaf = await world.leafFor(HOST);
  const server = createHttps({ SNICallback: (_, done) => { done(null, leaf); } }, (_, response) => { response.writeHead(400).end(`no ${SECRET}`); });
  const port = await listen(t, server);
  const lab = await startInspected(t, { credentials: [CREDENTIAL], network: { allowedHosts: [{ host: HOST, ports: [port] }] }, bundle: world.certificate });
  await lab.write("api", SECRET);
  const socket = await lab.secure(HOST, port);
  const ended = once(socket, "end");
  const { head, rest } = await handshake(socket, `${HOST}:${port}`);
  await ended;
  assert.match(head, /^HTTP\/1\.1 400 /);
  assert.match(await rest(), /no \*+/);
  assert.doesNotMatch(await rest(), /tok-/);
});

test("a WebSocket through plain HTTP works too", async (t) => {
  const seen: IncomingMessage[] = [];
  const port = await listen(t, serveEcho(createServer(), seen));
  const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports: [port] }] } });
  const socket = await lab.tunnel(HOST, port);
  const { head, rest } = await handshake(socket, `${HOST}:${port}`);
  assert.match(head, /^HTTP\/1\.1 101 /);
  socket.write("ping!");
  assert.equal(await readUntil(rest, socket, "!"), "hello ping!");
});

test("a WebSocket in which nothing moves is ended, and so is one whose gate closes", async (t) => {
  const { lab, port } = await start(t, { limits: { idleMs: 300 } });
  const idle = await lab.secure(HOST, port);
  const idleClosed = once(idle, "close");
  await handshake(idle, `${HOST}:${port}`);
  await idleClosed;
  const open = await start(t);
  const socket = await open.lab.secure(HOST, open.port);
  await handshake(socket, `${HOST}:${open.port}`);
  const closed = new Promise((done) => socket.once("close", done));
  open.lab.stop();
  await closed;
});
