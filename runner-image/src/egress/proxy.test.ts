import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { constants } from "node:http2";
import { Readable } from "node:stream";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { EgressConnection } from "./policy.ts";
import { startChannel, startForwarder, startHostile, startTlsUpstream, startUpstream, tunnelTo } from "./testdata/channel.ts";
import { helloOf } from "./testdata/hello.ts";
import { UNRECOGNIZED_NAME } from "./tunnel.ts";

const HOST = "api.example";

/** Reads until so many bytes are there. */
async function read(duplex: Duplex, length: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let held = 0;
  while (held < length) {
    const piece = duplex.read() as Buffer | null;
    if (piece === null) await Promise.race([once(duplex, "readable"), once(duplex, "end").then(() => { throw new Error(`ended after ${held} bytes`); })]);
    else held += pieces.push(piece) > 0 ? piece.length : 0;
  }
  return Buffer.concat(pieces);
}

/** Waits for the other side's end, of which this side makes its own. */
async function closed(duplex: Duplex): Promise<void> {
  if (duplex.readableEnded) duplex.end();
  else duplex.once("end", () => void duplex.end());
  // A connection that was reset has an error too.
  if (!duplex.closed) await new Promise((done) => duplex.once("close", done).resume());
}

test("TLS goes through as it is, and both directions are counted", async (t) => {
  const { port, certificate } = await startTlsUpstream(t, HOST, (socket) => void socket.pipe(socket));
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [port] }] });
  const { status, socket } = await tunnelTo(await startForwarder(t, channel), `${HOST}:${port}`);
  assert.equal(status, 200);
  const secure = connectTls({ socket, servername: HOST, ca: certificate });
  await once(secure, "secureConnect");
  secure.write("ping");
  assert.equal((await read(secure, 4)).toString(), "ping");
  assert.equal(secure.getPeerX509Certificate()?.subjectAltName, `DNS:${HOST}`);
  const [note] = channel.notes;
  assert.partialDeepStrictEqual(note, { host: HOST, port, decision: "Allow", rule: "network.allowedHosts[0]" });
  assert.ok(note !== undefined && note.sent > 200 && note.received > 500, JSON.stringify(note));
  secure.destroy();
});

test("each side may end its direction, and what is on its way still arrives", async (t) => {
  const hello = await helloOf({ servername: HOST });
  const late = Buffer.alloc(300_000, "z");
  // Answers only when the program has ended its side.
  const { port } = await startUpstream(t, (socket) => {
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => (bytes += chunk.length)).once("end", () => socket.end(Buffer.concat([Buffer.from(`${bytes};`), late])));
  });
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [port] }] });
  const { socket } = await tunnelTo(await startForwarder(t, channel), `${HOST}:${port}`);
  socket.end(hello);
  const answer = await text(socket);
  assert.equal(answer.length, `${hello.length};`.length + late.length);
  assert.match(answer, new RegExp(`^${hello.length};z`));
});

test("what a program has sent reaches a slow server, although both have ended", async (t) => {
  const hello = await helloOf({ servername: HOST });
  // More than the system keeps for a socket.
  const pieces = Array.from({ length: 256 }, () => Buffer.alloc(65_536, "b"));
  let bytes = 0;
  let finish: (() => void) | undefined;
  const whole = new Promise<void>((resolve) => (finish = resolve));
  const { port } = await startUpstream(t, (socket) => {
    socket.pause().end("bye");
    // Reads only after the program has seen its end.
    go.then(() => socket.on("data", (chunk: Buffer) => (bytes += chunk.length)).once("end", () => finish?.()).resume(), () => undefined);
  });
  let start: (() => void) | undefined;
  const go = new Promise<void>((resolve) => (start = resolve));
  const session = await startHostile(t, startChannel(t, { hosts: [{ host: HOST, ports: [port] }] }));
  const stream = session.request({ ":method": "CONNECT", ":authority": `${HOST}:${port}` });
  Readable.from([hello, ...pieces]).pipe(stream);
  assert.equal(await text(stream), "bye");
  start?.();
  await whole;
  assert.equal(bytes, hello.length + 256 * 65_536);
});

test("TLS for another host, or for none, is ended with an alert and noted", async (t) => {
  const { port, sockets } = await startUpstream(t, (socket) => socket.on("data", () => assert.fail("a byte went out")));
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [port] }] });
  const proxyPort = await startForwarder(t, channel);
  for (const servername of ["evil.example", "sub.api.example", undefined]) {
    const { socket } = await tunnelTo(proxyPort, `${HOST}:${port}`);
    socket.write(await helloOf(servername === undefined ? {} : { servername }));
    assert.deepEqual(await read(socket, UNRECOGNIZED_NAME.length), UNRECOGNIZED_NAME);
    await closed(socket);
  }
  assert.deepEqual(channel.notes.map(({ decision, rule }) => `${decision} ${rule}`), Array.from({ length: 3 }, () => "Deny NameMismatch"));
  for (const socket of sockets) await closed(socket);
});

test("what is neither TLS nor HTTP, and a program that says nothing, are ended", async (t) => {
  const { port } = await startUpstream(t, (socket) => {
    socket.on("data", () => assert.fail("a byte went out"));
    // A server that speaks first is not read before the program has spoken.
    socket.write("SSH-2.0-server\r\n");
  });
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [port] }], limits: { helloMs: 50 } });
  const proxyPort = await startForwarder(t, channel);
  for (const first of ["SSH-2.0-OpenSSH\r\n", "\u0000\u0001", "\u0016\u0003\u0001", ""]) {
    const { socket } = await tunnelTo(proxyPort, `${HOST}:${port}`);
    if (first !== "") socket.write(first);
    assert.equal(await text(socket), "");
  }
  assert.deepEqual(channel.notes.map(({ rule }) => rule), Array.from({ length: 4 }, () => "ProtocolNotAllowed"));
});

test("refusals are answers that programs can read", async (t) => {
  const unused = await startUpstream(t);
  const channel = startChannel(t, {
    hosts: [{ host: HOST, ports: [unused.port] }, { host: "private.example" }, { host: "unknown.example" }, { host: "down.example", ports: [1] }],
    resolve: (host) => (host === "unknown.example" ? Promise.reject(new Error("ENOTFOUND")) : Promise.resolve([host === "private.example" ? "10.0.0.1" : "127.0.0.1"])),
  });
  const proxyPort = await startForwarder(t, channel);
  const expected: readonly (readonly [authority: string, status: number, rule: string, text: RegExp])[] = [
    ["other.example:443", 403, "HostNotAllowed", /^Paddock refused other\.example:443: Environment prod does not list it\. To allow it, add \{host: other\.example\}/],
    [`${HOST}:443`, 403, "PortNotAllowed", /on port \d+ only/],
    ["127.0.0.1:443", 403, "HostNotAllowed", /by name, never by address/],
    ["0x7f.1:443", 403, "HostNotAllowed", /Paddock refused 127\.0\.0\.1:443/],
    ["private.example:443", 403, "AddressNotAllowed", /stands for 10\.0\.0\.1/],
    ["unknown.example:443", 502, "Unresolved", /does not know the name/],
    ["down.example:1", 502, "Unreachable", /127\.0\.0\.1 refused the connection/],
    ["no-port.example", 400, "Malformed", /names no host and port that can be read/],
  ];
  for (const [authority, status, rule, pattern] of expected) {
    const answer = await tunnelTo(proxyPort, authority);
    assert.equal(answer.status, status, authority);
    assert.match(answer.text, pattern);
    assert.equal(channel.notes.at(-1)?.rule, rule);
  }
  assert.ok(channel.notes.every(({ decision }) => decision === "Deny"));
});

test("a plain request that is refused is answered before its body was read", async (t) => {
  const channel = startChannel(t);
  const proxyPort = await startForwarder(t, channel);
  for (const method of ["GET", "POST", "HEAD"]) {
    const sent = request({ port: proxyPort, path: "http://example.com/a", method, agent: false });
    sent.on("error", () => undefined);
    if (method === "POST") sent.write("x".repeat(300_000));
    else sent.end();
    const [response] = (await once(sent, "response")) as [Duplex & { statusCode: number }];
    assert.equal(response.statusCode, 403);
    if (method !== "HEAD") assert.match(await text(response), /^Paddock refused example\.com:80: Environment prod allows sandboxes no host/);
    sent.destroy();
  }
});

test("requests that have to be seen are handed over with what was read of them", async (t) => {
  const seen: { kind: string; first: string; connection: EgressConnection }[] = [];
  const take = (kind: string) => (duplex: Duplex, connection: EgressConnection): void => {
    duplex.once("data", (chunk: Buffer) => {
      seen.push({ kind, first: chunk.toString("latin1"), connection });
      duplex.end("seen");
    }).resume();
  };
  const channel = startChannel(t, {
    hosts: [{ host: HOST, methods: ["GET"] }, { host: "free.example", ports: [80] }],
    // A host whose requests are seen is not dialled for CONNECT.
    resolve: (host) => (host === HOST ? Promise.reject(new Error("nobody asks")) : Promise.resolve(["127.0.0.1"])),
    inspector: { terminate: take("tls"), serveHttp: take("http"), serveStream: (stream, headers, connection) => {
      seen.push({ kind: "stream", first: `${headers[":method"] ?? ""} ${headers[":path"] ?? ""}`, connection });
      stream.respond({ ":status": 204 }, { endStream: true });
    } },
  });
  const proxyPort = await startForwarder(t, channel);
  const hello = await helloOf({ servername: HOST });
  for (const bytes of [hello, Buffer.from("GET / HTTP/1.1\r\n\r\n")]) {
    const { status, socket } = await tunnelTo(proxyPort, `${HOST}:443`);
    assert.equal(status, 200);
    socket.write(bytes);
    assert.equal((await read(socket, 4)).toString(), "seen");
    assert.equal(seen.at(-1)?.first, bytes.toString("latin1"));
  }
  const mismatch = await tunnelTo(proxyPort, `${HOST}:443`);
  mismatch.socket.write(await helloOf({ servername: "evil.example" }));
  assert.deepEqual(await read(mismatch.socket, UNRECOGNIZED_NAME.length), UNRECOGNIZED_NAME);
  const plain = request({ port: proxyPort, path: "http://free.example/a?b", agent: false }).end();
  const [response] = (await once(plain, "response")) as [Duplex & { statusCode: number }];
  assert.equal(response.statusCode, 204);
  assert.deepEqual(seen.map(({ kind, connection }) => `${kind} ${connection.target.host}:${connection.target.port} ${connection.grant.kind}`), ["tls api.example:443 Terminate", "http api.example:443 Terminate", "stream free.example:80 Tunnel"]);
});

test("plain HTTP inside CONNECT to a host that is tunnelled is handed over too", async (t) => {
  const upstream = await startUpstream(t);
  const channel = startChannel(t, {
    hosts: [{ host: HOST, ports: [upstream.port] }],
    inspector: { serveHttp: (duplex) => server.emit("connection", duplex) },
  });
  // A server of HTTP as it is: it has to get a stream that runs.
  const server = createServer((asked, response) => void response.end(`you asked for ${asked.url ?? ""}`));
  const { socket } = await tunnelTo(await startForwarder(t, channel), `${HOST}:${upstream.port}`);
  socket.write(`GET /a HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
  assert.match(await text(socket), /you asked for \/a/);
  for (const unused of upstream.sockets) await closed(unused);
});

test("a closed gate refuses at once, and closing it ends what is under way on both sides", async (t) => {
  const upstream = await startUpstream(t);
  let asked: (() => void) | undefined;
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  const resolve = (host: string): Promise<readonly string[]> => {
    if (host === HOST) return Promise.resolve(["127.0.0.1"]);
    asked?.();
    return new Promise(() => undefined);
  };
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }, { host: "slow.example" }], resolve });
  const proxyPort = await startForwarder(t, channel);
  const hello = await helloOf({ servername: HOST });
  const open = await tunnelTo(proxyPort, `${HOST}:${upstream.port}`);
  open.socket.write(hello);
  assert.deepEqual(await read(open.socket, hello.length), hello);
  const silent = await tunnelTo(proxyPort, `${HOST}:${upstream.port}`);
  const dialling = tunnelTo(proxyPort, "slow.example:443");
  await isAsked;
  channel.gate.set(false);
  await Promise.all([closed(open.socket), closed(silent.socket), dialling.then(({ status }) => assert.equal(status, 502))]);
  for (const socket of upstream.sockets) await closed(socket);
  const refused = await tunnelTo(proxyPort, `${HOST}:${upstream.port}`);
  assert.deepEqual([refused.status, channel.notes.at(-1)?.rule], [503, "Stopped"]);
  channel.gate.set(true);
  const again = await tunnelTo(proxyPort, `${HOST}:${upstream.port}`);
  again.socket.write(hello);
  assert.deepEqual(await read(again.socket, hello.length), hello);
  channel.gate.set(false);
  await closed(again.socket);
});

test("a server that breaks off is told from one that has said all", async (t) => {
  const hello = await helloOf({ servername: HOST });
  for (const [breaksOff, code] of [[true, constants.NGHTTP2_INTERNAL_ERROR], [false, constants.NGHTTP2_NO_ERROR]] as const) {
    const { port } = await startUpstream(t, (socket) => socket.once("data", () => (breaksOff ? socket.resetAndDestroy() : socket.end("all"))));
    const session = await startHostile(t, startChannel(t, { hosts: [{ host: HOST, ports: [port] }] }));
    const stream = session.request({ ":method": "CONNECT", ":authority": `${HOST}:${port}` });
    stream.on("error", () => undefined).end(hello);
    await new Promise((done) => stream.once("close", done).resume());
    assert.equal(stream.rstCode, code);
  }
});

test("a tunnel in which nothing moves is ended, on both sides", async (t) => {
  const hello = await helloOf({ servername: HOST });
  const upstream = await startUpstream(t);
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }], limits: { idleMs: 50 } });
  const { socket } = await tunnelTo(await startForwarder(t, channel), `${HOST}:${upstream.port}`);
  socket.write(hello);
  await closed(socket);
  for (const peer of upstream.sockets) await closed(peer);
});

test("more connections than a session may have are refused, until one of them ends", async (t) => {
  const upstream = await startUpstream(t);
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }], limits: { streams: 3 } });
  const proxyPort = await startForwarder(t, channel);
  const where = `${HOST}:${upstream.port}`;
  const three = await Promise.all([1, 2, 3].map(() => tunnelTo(proxyPort, where)));
  assert.deepEqual(three.map(({ status }) => status), [200, 200, 200]);
  const fourth = await tunnelTo(proxyPort, where);
  assert.deepEqual([fourth.status, channel.notes.at(-1)?.rule], [503, "TooMany"]);
  three[0]?.socket.destroy();
  for (let status = 503; status !== 200; ) ({ status } = await tunnelTo(proxyPort, where));
});
