import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { openPeer } from "./testdata/peer.ts";
import type { Peer } from "./testdata/peer.ts";
import { KEY, openBound, until } from "./testdata/sandbox.ts";

async function serve(t: TestContext, handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<number> {
  return listening(t, createServer(handler));
}

async function listening(t: TestContext, server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    if ("closeAllConnections" in server) server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A request through the proxy as programs make it. */
async function ask(proxyPort: number, path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}): Promise<{ status: number; headers: IncomingMessage["headers"]; body: string }> {
  const asked = request({ host: "127.0.0.1", port: proxyPort, path, method: options.method ?? "GET", headers: options.headers ?? {}, agent: new Agent() });
  asked.end(options.body);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) };
}

/** A tunnel; throws the answer's status and body when there is none. */
async function tunnel(t: TestContext, proxyPort: number, authority: string): Promise<Socket> {
  const asked = request({ host: "127.0.0.1", port: proxyPort, method: "CONNECT", path: authority });
  asked.end();
  const [answer, socket, head] = (await once(asked, "connect")) as [IncomingMessage, Socket, Buffer];
  socket.on("error", () => undefined);
  t.after(() => { socket.destroy(); });
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode ?? 0} ${head.toString()}${await text(socket)}`);
  if (head.length > 0) socket.unshift(head);
  return socket;
}

/** Its session tells the error as well, of which `once` would make a rejection. */
async function closedOf({ session }: Peer): Promise<void> {
  await new Promise((resolve) => session.once("close", resolve));
}

async function startPeer(t: TestContext, port: number): Promise<ChildProcess> {
  const peer = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, "testdata/peer.ts"), String(port), "1"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => { peer.kill("SIGKILL"); });
  const { stdout } = peer;
  assert.ok(stdout);
  await once(stdout, "data");
  return peer;
}

test("without a channel programs get 503 and a sentence", async (t) => {
  const { proxyPort } = await openBound(t);
  const { status, body } = await ask(proxyPort, "http://example.test/");
  assert.deepEqual([status, body], [503, "the sandbox has no way out now: no runner is connected. Try again in a few seconds\n"]);
  await assert.rejects(tunnel(t, proxyPort, "example.test:443"), /^Error: 503 the sandbox has no way out/);
});

test("only the bound runner can open the channel", async (t) => {
  const { port, bind } = await openBound(t);
  await assert.rejects(openPeer(port, 0), /^Error: 403/);
  await assert.rejects(openPeer(port, 2), /^Error: 403/);
  await openPeer(port, 1);
  assert.equal((await bind(2)).status, 200);
  await assert.rejects(openPeer(port, 1), /^Error: 403/);
});

test("plain HTTP goes through with method, path, headers and body; hop-by-hop headers do not", async (t) => {
  const { port, proxyPort } = await openBound(t);
  const target = await serve(t, (asked, response) => {
    void text(asked).then((body) => {
      response.writeHead(201, { "x-answer": "yes", "set-cookie": ["a=1", "b=2"] });
      response.end(JSON.stringify({ method: asked.method, url: asked.url, headers: asked.headers, body }));
    });
  });
  await openPeer(port);
  const { status, headers, body } = await ask(proxyPort, `http://127.0.0.1:${target}/a/b?c=d`, { method: "POST", body: "hello", headers: { "x-own": "1", "proxy-authorization": "Basic eA==", connection: "x-hop, close", "x-hop": "2" } });
  assert.deepEqual([status, headers["x-answer"], headers["set-cookie"]], [201, "yes", ["a=1", "b=2"]]);
  const seen = JSON.parse(body) as { method: string; url: string; headers: Record<string, string>; body: string };
  assert.deepEqual([seen.method, seen.url, seen.body, seen.headers["x-own"], seen.headers.host], ["POST", "/a/b?c=d", "hello", "1", `127.0.0.1:${target}`]);
  assert.deepEqual([seen.headers["proxy-authorization"], seen.headers["x-hop"]], [undefined, undefined]);
  assert.equal((await ask(proxyPort, `http://127.0.0.1:${target}/`, { method: "HEAD" })).status, 201);
});

test("what is no proxy request gets 400; what the runner refuses comes with its words", async (t) => {
  const { port, proxyPort } = await openBound(t);
  await openPeer(port);
  for (const path of ["/", "https://example.test/", "http://"]) assert.match((await ask(proxyPort, path)).body, /this is a proxy/);
  const refused = await ask(proxyPort, "http://refused.test/");
  assert.deepEqual([refused.status, refused.headers["x-reason"], refused.body], [403, "policy", "refused.test is not among the allowed hosts\n"]);
  await assert.rejects(tunnel(t, proxyPort, "refused.test:443"), /^Error: 403 refused\.test:443 is not among the allowed hosts/);
  await assert.rejects(tunnel(t, proxyPort, "127.0.0.1:1"), /^Error: 502/);
});

test("programs reach a host through the proxy that their environment names", async (t) => {
  const { port, run } = await openBound(t);
  const target = await serve(t, (_, response) => { response.end("reached\n"); });
  await openPeer(port);
  const node = await run("bash", { command: `NO_PROXY= no_proxy= node -e 'fetch("http://127.0.0.1:${target}/").then((r) => r.text()).then((x) => process.stdout.write(x))'` });
  assert.equal(node.content, "reached\n[exit code 0]");
  const curl = await run("bash", { command: `NO_PROXY= no_proxy= curl -sS --proxytunnel http://127.0.0.1:${target}/` });
  assert.equal(curl.content, "reached\n[exit code 0]");
});

test("a tunnel carries 64 MB both ways unchanged, and each side ends for itself", async (t) => {
  const { port, proxyPort } = await openBound(t);
  const target = await listening(t, createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    const hash = createHash("sha256");
    socket.on("data", (chunk) => hash.update(chunk)).on("end", () => {
      socket.write(hash.digest());
      socket.end(Buffer.alloc(64 * 1024 * 1024, 7));
    });
  }));
  await openPeer(port);
  const socket = await tunnel(t, proxyPort, `127.0.0.1:${target}`);
  const block = randomBytes(1024 * 1024);
  const sent = createHash("sha256");
  for (let i = 0; i < 64; i++) {
    sent.update(block);
    if (!socket.write(block)) await once(socket, "drain");
  }
  socket.end();
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  const answer = Buffer.concat(chunks);
  assert.deepEqual(answer.subarray(0, 32), sent.digest());
  assert.equal(answer.length, 32 + 64 * 1024 * 1024);
  assert.ok(answer.subarray(32).every((byte) => byte === 7));
});

test("a program that does not read holds its sender back, and nobody else", async (t) => {
  const { port, proxyPort } = await openBound(t);
  let written = 0;
  const target = await listening(t, createTcpServer((socket) => {
    socket.on("error", () => undefined);
    const block = Buffer.alloc(64 * 1024, 1);
    const more = (): void => {
      while (!socket.destroyed && socket.write(block, () => { written += block.length; })); 
    };
    socket.on("drain", more);
    more();
  }));
  const other = await serve(t, (_, response) => { response.end("served"); });
  await openPeer(port);
  const stuck = await Promise.all(Array.from({ length: 20 }, () => tunnel(t, proxyPort, `127.0.0.1:${target}`)));
  for (const socket of stuck) socket.pause();
  let [before, same] = [-1, 0];
  // It has to come to rest, for ten looks: buffers of kernel and windows are full.
  await until("the senders to be held back", () => {
    same = written === before && written > 0 ? same + 1 : 0;
    before = written;
    return same === 10;
  });
  assert.equal((await ask(proxyPort, `http://127.0.0.1:${other}/`)).body, "served");
  assert.ok(written < 20 * 16 * 1024 * 1024, `${written} bytes are on their way`);
});

test("a killed peer ends its tunnels, and a newer channel serves", async (t) => {
  const { port, proxyPort } = await openBound(t);
  const target = await listening(t, createTcpServer((socket) => { socket.on("error", () => undefined).write("hello"); }));
  const peer = await startPeer(t, port);
  const sockets = await Promise.all([1, 2, 3].map(() => tunnel(t, proxyPort, `127.0.0.1:${target}`)));
  await Promise.all(sockets.map((socket) => once(socket, "data")));
  const waiting = ask(proxyPort, "http://silent.test/");
  const closed = Promise.all(sockets.map((socket) => assert.rejects(once(socket, "close"), /ECONNRESET/)));
  peer.kill("SIGKILL");
  await closed;
  assert.match((await waiting).body, /ended before it answered|no way out/);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 503);
  await openPeer(port);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 403);
});

test("a download that loses its channel fails: a program never takes its part for the whole", async (t) => {
  const { port, proxyPort } = await openBound(t);
  const chunked = await serve(t, (_, response) => { response.write("the first part"); });
  const sized = await serve(t, (_, response) => { response.writeHead(200, { "content-length": "1000" }).write("the first part"); });
  const raw = await listening(t, createTcpServer((socket) => { socket.on("error", () => undefined).write("the first part"); }));
  for (const how of ["replaced", "killed", "closed"]) {
    const peer = how === "killed" ? await startPeer(t, port) : undefined;
    const { socket } = peer === undefined ? await openPeer(port) : {};
    const answers = await Promise.all([chunked, sized].map(async (target) => {
      const asked = request({ host: "127.0.0.1", port: proxyPort, path: `http://127.0.0.1:${target}/`, agent: new Agent() });
      asked.end();
      const [answer] = (await once(asked, "response")) as [IncomingMessage];
      return answer;
    }));
    const streams: readonly Readable[] = [...answers, await tunnel(t, proxyPort, `127.0.0.1:${raw}`)];
    const ends = streams.map(async (stream, index) => {
      await once(stream, "data");
      await assert.rejects(text(stream), /aborted|ECONNRESET/, `${how} ${index}`);
    });
    await Promise.all(streams.map((stream) => once(stream, "data")));
    if (how === "replaced") await openPeer(port);
    else if (peer !== undefined) peer.kill("SIGKILL");
    else socket?.destroy();
    await Promise.all(ends);
  }
});

test("a newer channel of the same epoch replaces the earlier one", async (t) => {
  const { port, proxyPort } = await openBound(t);
  const target = await listening(t, createTcpServer((socket) => { socket.on("error", () => undefined).write("hello"); }));
  const first = await openPeer(port);
  const socket = await tunnel(t, proxyPort, `127.0.0.1:${target}`);
  await once(socket, "data");
  const ended = Promise.all([assert.rejects(once(socket, "close"), /ECONNRESET/), closedOf(first)]);
  await openPeer(port);
  await ended;
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 403);
});

test("a takeover closes the channel of the earlier runner", async (t) => {
  const { port, proxyPort, bind } = await openBound(t);
  const first = await openPeer(port);
  const closed = closedOf(first);
  assert.equal((await bind(2)).status, 200);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 503);
  await closed;
  await openPeer(port, 2);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 403);
});

test("a peer that is stopped is given up when it does not answer a ping", async (t) => {
  const { port, proxyPort, lines } = await openBound(t, { pingEveryMs: 50, pingDeadlineMs: 1000 });
  const peer = await startPeer(t, port);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 403);
  peer.kill("SIGSTOP");
  const waiting = ask(proxyPort, "http://refused.test/");
  assert.equal((await waiting).status, 502);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 503);
  assert.ok(lines.some((line) => line.includes("does not answer")));
});

test("a program that goes away ends its stream; the 257th connection is told to wait", async (t) => {
  const { port, proxyPort } = await openBound(t);
  const { session } = await openPeer(port);
  let open = 0;
  session.on("stream", (stream) => {
    open++;
    stream.on("close", () => { open--; });
  });
  const sockets = Array.from({ length: 256 }, () => {
    const socket = connect(proxyPort, "127.0.0.1");
    t.after(() => { socket.destroy(); });
    socket.on("error", () => undefined).write("CONNECT silent.test:1 HTTP/1.1\r\n\r\n");
    return socket;
  });
  await until("256 streams", () => open === 256);
  const refused = await ask(proxyPort, "http://refused.test/");
  assert.deepEqual([refused.status, refused.body], [503, "more than 256 connections leave the sandbox; close some and try again\n"]);
  for (const socket of sockets) socket.destroy();
  await until("all to end", () => open === 0);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 403);
});

test("bytes that are no HTTP get 400", async (t) => {
  const { proxyPort } = await openBound(t);
  const socket = connect(proxyPort, "127.0.0.1");
  socket.end("\x05\x01\x00 socks\r\n\r\n");
  assert.match(await text(socket), /^HTTP\/1\.1 400 [^]*this is a proxy/);
});

/** The upgraded socket, without anybody who speaks HTTP/2 on it. */
async function dialRaw(t: TestContext, port: number): Promise<Socket> {
  const dial = request({ port, host: "127.0.0.1", path: "/v1/egress", headers: { connection: "Upgrade", upgrade: "paddock-egress", authorization: `Bearer ${KEY}`, "paddock-epoch": "1" } });
  dial.end();
  const [, socket] = (await once(dial, "upgrade")) as [IncomingMessage, Socket, Buffer];
  socket.on("error", () => undefined).resume();
  t.after(() => { socket.destroy(); });
  return socket;
}

function frame(type: number, { flags = 0, stream = 0, payload = Buffer.alloc(0) }: { flags?: number; stream?: number; payload?: Buffer } = {}): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

test("a runner that sends garbage or floods with frames loses its channel, and the tool server goes on", async (t) => {
  const { port, proxyPort, run } = await openBound(t);
  const settings = frame(4);
  const floods: Readonly<Record<string, Buffer>> = {
    "no HTTP/2": randomBytes(4096),
    "a frame of 16 MiB": Buffer.concat([settings, frame(0, { stream: 1, payload: Buffer.alloc(2 ** 24 - 1) })]),
    "a stream that nobody asked for": Buffer.concat([settings, frame(1, { flags: 4, stream: 2, payload: Buffer.from([0x88]) })]),
    "headers without end": Buffer.concat([settings, frame(1, { stream: 1 }), ...Array.from({ length: 2000 }, () => frame(9, { stream: 1, payload: Buffer.alloc(1024) }))]),
    "pings without end": Buffer.concat([settings, ...Array.from({ length: 200_000 }, () => frame(6, { payload: Buffer.alloc(8) }))]),
    "settings without end": Buffer.concat([settings, ...Array.from({ length: 200_000 }, () => settings)]),
  };
  for (const [name, bytes] of Object.entries(floods)) {
    const before = process.memoryUsage().rss;
    const socket = await dialRaw(t, port);
    if (name.endsWith("without end")) socket.pause(); // its answers have nowhere to go
    socket.write(bytes);
    const waiting = ask(proxyPort, "http://silent.test/");
    socket.end();
    assert.match((await waiting).body, /ended before it answered|no way out/, name);
    assert.equal((await run("bash", { command: "echo goes on" })).content, "goes on\n[exit code 0]", name);
    assert.ok(process.memoryUsage().rss - before < 256 * 1024 * 1024, name);
  }
  await openPeer(port);
  assert.equal((await ask(proxyPort, "http://refused.test/")).status, 403);
});
