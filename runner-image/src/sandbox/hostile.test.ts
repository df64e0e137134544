import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { SandboxCall } from "@paddock/api/wire/sandbox";
import { LinkLost, openLink } from "./link.ts";
import type { Link, LinkPorts, LinkTarget } from "./link.ts";

// A sandbox that is an attacker's, written over plain sockets. Whatever it does ends its call or its link, and never this process: an exception that
// nobody catches fails the test.

const never = new AbortController().signal;
const CALL: SandboxCall = { call: "root/1/0", attempt: 1, tool: "bash", arguments: { command: "true" }, timeoutSeconds: 60 };
const TIMEOUT = { timeout: 120_000 };
/** What may be on its way: buffers of both kernels and of one stream. */
const MOST_TAKEN = 48 * 1024 * 1024;

const REPLY = '{"workspace":"/workspace","protocol":1}';
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: paddock-egress\r\n\r\n";
const PREFACE = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, Buffer.alloc(0))]);

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Header block of `CONNECT a:443`, as literals. */
const CONNECT = Buffer.concat([Buffer.from([0x02, 7]), Buffer.from("CONNECT"), Buffer.from([0x01, 5]), Buffer.from("a:443")]);
const opened = (stream: number): Buffer => frame(1, 0x4, stream, CONNECT);
const reset = (stream: number): Buffer => frame(3, 0, stream, Buffer.from([0, 0, 0, 8]));

function ok(body: string, type = "application/json"): string {
  return `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

type Path = "/v1/bind" | "/v1/calls" | "/v1/egress";
/** What it does with a request once that is there whole. */
type Deed = (socket: Socket) => void;

interface Hostile {
  readonly target: LinkTarget;
  /** Bytes that were taken from it, by its own kernel at least. */
  taken(): number;
}

const HONEST: Readonly<Record<Path, Deed>> = {
  "/v1/bind": (socket) => socket.write(ok(REPLY)),
  "/v1/calls": (socket) => socket.write(ok('{"status":"ok","content":"","bytes":0,"truncated":false,"seconds":0}')),
  "/v1/egress": (socket) => socket.write(Buffer.concat([Buffer.from(SWITCH), PREFACE])),
};

async function listen(t: TestContext, deeds: Partial<Record<Path, Deed>>): Promise<Hostile> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    let asked = "";
    const onData = (data: Buffer): void => {
      asked += data.toString("latin1");
      const end = asked.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(asked)?.[1] ?? 0);
      if (end < 0 || asked.length < end + 4 + length) return;
      const path = (asked.split(" ")[1] ?? "") as Path;
      asked = "";
      if (path === "/v1/egress") socket.off("data", onData);
      ({ ...HONEST, ...deeds })[path](socket);
    };
    socket.on("data", onData);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const target = { host: "127.0.0.1", port, bindKey: "key", epoch: 1, session: "u1", files: [], keepExisting: false };
  return { target, taken: () => [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0) };
}

/** Writes the same again and again for as long as it is taken. */
function flood(piece: string | Buffer | ((n: number) => Buffer), start: string | Buffer = ""): Deed {
  return (socket) => {
    let n = 0;
    socket.write(start);
    const more = (): void => {
      while (!socket.destroyed && socket.write(typeof piece === "function" ? piece((n += 1)) : piece));
      if (!socket.destroyed) socket.once("drain", more);
    };
    more();
  };
}

function refuseAll(session: ServerHttp2Session): void {
  session.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => undefined);
    if (stream.destroyed) return;
    stream.respond({ ":status": 403 });
    stream.end("refused");
  });
}

const PORTS: LinkPorts = { random: () => 0, probe: () => Promise.resolve([]), trust: () => Promise.resolve(""), serve: refuseAll };

async function open(t: TestContext, { target }: Hostile, ports: Partial<LinkPorts> = {}): Promise<Link> {
  const link = await openLink(target, { ...PORTS, ...ports }, never);
  t.after(() => link.close("the test ends"));
  return link;
}

const JSON_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
const CHUNKED = `${JSON_HEAD}Transfer-Encoding: chunked\r\n\r\n`;
const X = "x".repeat(16_384);

const answers: readonly (readonly [string, Deed])[] = [
  ["headers without an end", flood(`X-Flood: ${"a".repeat(1000)}\r\n`, "HTTP/1.1 200 OK\r\n")],
  ["one header without an end", flood(X, "HTTP/1.1 200 OK\r\nX-Flood: ")],
  ["a status line without an end", flood(X, "HTTP/1.1 200 ")],
  ["interim answers without an end", flood("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")],
  ["answers to an expectation that nobody had", flood("HTTP/1.1 100 Continue\r\n\r\n")],
  ["garbage", (socket) => void socket.write("\0\x01\x02 what is this\r\n\r\n")],
  ["another protocol", (socket) => void socket.write(PREFACE)],
  ["a body longer than any result", flood(X, `${JSON_HEAD}Content-Length: 99999999999\r\n\r\n`)],
  ["chunks without an end", flood(`4000\r\n${X}\r\n`, CHUNKED)],
  ["a chunk of an impossible size", (socket) => void socket.write(`${CHUNKED}fffffffffffffffff\r\n`)],
  ["a chunk's extension without an end", flood(X, `${CHUNKED}1;`)],
  ["trailers without an end", flood(`X-Trailer: ${"a".repeat(1000)}\r\n`, `${CHUNKED}2\r\n{}\r\n0\r\n`)],
  ["two lengths", (socket) => void socket.write(`${JSON_HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`)],
  ["a body that breaks off", (socket) => void socket.end(`${JSON_HEAD}Content-Length: 100\r\n\r\n{"status"`)],
  ["nothing, and the end", (socket) => void socket.end()],
  ["a page", (socket) => void socket.write(ok("<html>hello</html>", "text/html"))],
  ["JSON that is no result", (socket) => void socket.write(ok('{"status":"ok","content":{"toString":"x"},"bytes":-1}'))],
  ["JSON that is nested without a bottom", (socket) => void socket.write(ok("[".repeat(200_000)))],
  ["a result that claims what it may not be", (socket) => void socket.write(ok('{"status":"ok","content":"","bytes":1e400,"truncated":false,"seconds":1e300}'))],
  ["a body in a coding that was not asked for", (socket) => void socket.write(`${JSON_HEAD}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b`)],
];

for (const [name, deed] of answers) {
  test(`a call answered with ${name} is lost with its link`, TIMEOUT, async (t) => {
    const hostile = await listen(t, { "/v1/calls": deed });
    const link = await open(t, hostile);
    await assert.rejects(link.call(CALL, never), LinkLost);
    await link.closed;
    assert.ok(hostile.taken() < MOST_TAKEN, `${hostile.taken()} bytes were taken`);
  });
}

test("an answer that comes byte by byte has no more time than the call", TIMEOUT, async (t) => {
  const hostile = await listen(t, {
    "/v1/calls": (socket) => {
      socket.write(CHUNKED);
      const drip = setInterval(() => socket.write("1\r\nx\r\n"), 5);
      socket.once("close", () => clearInterval(drip));
    },
  });
  const link = await open(t, hostile, { callGraceMs: 100 });
  await assert.rejects(link.call({ ...CALL, timeoutSeconds: 0 }, never), (error) => error instanceof LinkLost && /did not answer within/.test(error.message));
});

test("the largest result that a tool server may send arrives whole, and its text cannot move a terminal's cursor in a refusal", TIMEOUT, async (t) => {
  const content = "\x01".repeat(48 * 1024);
  let calls = 0;
  const hostile = await listen(t, {
    "/v1/calls": (socket) => {
      calls += 1;
      if (calls === 1) socket.write(ok(JSON.stringify({ status: "ok", content, bytes: 10, truncated: true, seconds: 1 })));
      else socket.write(ok(JSON.stringify({ type: "urn:paddock:problem:malformed", title: "x", status: 400, detail: "a\x1b[2Jb\u202ec" })).replace("200 OK", "400 Bad"));
    },
  });
  const link = await open(t, hostile);
  assert.equal((await link.call(CALL, never)).content.length, content.length);
  await assert.rejects(link.call(CALL, never), ({ message }: Error) => !/[\x1b\u202e]/.test(message));
});

const bindings: readonly (readonly [string, string])[] = [
  ["something that is no reply", "[]"],
  ["another protocol's version", '{"workspace":"/workspace","protocol":2}'],
  ["a report of the wrong shape", '{"workspace":"/w","protocol":1,"isolation":{"probed":"all","open":[]}}'],
  ["a report with a long line", JSON.stringify({ workspace: "/w", protocol: 1, isolation: { probed: ["x".repeat(257)], open: [] } })],
  ["a report of a thousand lines", JSON.stringify({ workspace: "/w", protocol: 1, isolation: { probed: new Array(1000).fill("x"), open: [] } })],
];

for (const [name, reply] of bindings) {
  test(`a bind answered with ${name} is given up`, TIMEOUT, async (t) => {
    const { target } = await listen(t, { "/v1/bind": (socket) => void socket.write(ok(reply)) });
    await assert.rejects(openLink(target, PORTS, never), LinkLost);
  });
}

const upgrades: readonly (readonly [string, Deed])[] = [
  ["an ordinary answer", (socket) => void socket.write(ok("{}"))],
  ["another protocol", (socket) => void socket.write(SWITCH.replace("paddock-egress", "websocket"))],
  ["no protocol", (socket) => void socket.write(SWITCH.replace("Upgrade: paddock-egress\r\n", ""))],
  ["garbage", (socket) => void socket.write("\0\0\0\r\n\r\n")],
  ["the end", (socket) => void socket.end()],
  ["headers without an end", flood(`X-Flood: ${"a".repeat(1000)}\r\n`, "HTTP/1.1 101 Switching Protocols\r\n")],
  ["interim answers without an end", flood("HTTP/1.1 103 Early Hints\r\n\r\n")],
];

for (const [name, deed] of upgrades) {
  test(`a channel that is opened with ${name} is given up`, TIMEOUT, async (t) => {
    const { target } = await listen(t, { "/v1/egress": deed });
    await assert.rejects(openLink(target, { ...PORTS, connectMs: 0 }, never), LinkLost);
  });
}

const HEAD = Buffer.concat([Buffer.from(SWITCH), PREFACE]);
const times = (count: number, piece: (n: number) => Buffer): Buffer => Buffer.concat(Array.from({ length: count }, (_, n) => piece(n)));
const bigHeader = Buffer.concat([CONNECT, Buffer.from([0x00, 1]), Buffer.from("x"), Buffer.from([0x7f, 0x81, 0x7b]), Buffer.alloc(15_872, "a")]);

// The sockets are not read: what this side would answer has nowhere to go.
/** Where each offence is answered and no bound is reached, this side stops reading until its answers are read: then it is the ping that ends it. */
const BY_PING = ["headers larger than any"];
const floods: readonly (readonly [string, Deed])[] = [
  ["pings", flood(times(100, () => frame(6, 0, 0, Buffer.alloc(8))), HEAD)],
  ["settings", flood(times(100, () => frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0xff, 0xff]))), HEAD)],
  ["streams that are opened and reset", flood((n) => times(100, (i) => Buffer.concat([opened(200 * n + 2 * i + 1), reset(200 * n + 2 * i + 1)])), HEAD)],
  ["streams that stay open", flood((n) => times(100, (i) => opened(200 * n + 2 * i + 1)), HEAD)],
  ["a header block that goes on and on", flood(frame(9, 0, 1, Buffer.alloc(1024, 0x20)), Buffer.concat([HEAD, frame(1, 0, 1, CONNECT)]))],
  ["headers larger than any", flood((n) => Buffer.concat([frame(1, 0, 2 * n + 1, bigHeader), frame(9, 0, 2 * n + 1, bigHeader.subarray(CONNECT.length)), frame(9, 4, 2 * n + 1, bigHeader.subarray(CONNECT.length))]), HEAD)],
  ["empty data", flood(times(100, () => frame(0, 0, 1, Buffer.alloc(0))), Buffer.concat([HEAD, opened(1)]))],
  ["data beyond the window", flood(frame(0, 0, 1, Buffer.alloc(16_384)), Buffer.concat([HEAD, opened(1)]))],
  ["a frame larger than any", flood(frame(0, 0, 1, Buffer.alloc(65_536)), Buffer.concat([HEAD, opened(1)]))],
  ["data for no stream", flood(frame(0, 0, 0, Buffer.alloc(10)), HEAD)],
  ["resets of streams that are not there", flood((n) => reset(2 * n + 1), HEAD)],
  ["windows without a bound", flood(frame(8, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])), HEAD)],
  ["header blocks that cannot be read", flood(frame(1, 4, 1, Buffer.from([0xff, 0xff, 0xff, 0xff])), HEAD)],
];

for (const [name, deed] of floods) {
  test(`a channel that is flooded with ${name} ends with its link`, TIMEOUT, async (t) => {
    const hostile = await listen(t, {
      "/v1/egress": (socket) => {
        socket.pause();
        deed(socket);
      },
    });
    const link = await open(t, hostile, { pings: { everyMs: 200, answerMs: 2000 } });
    await link.closed;
    await assert.rejects(link.call(CALL, never), LinkLost);
    // Until the ping's time is over a quick machine takes more.
    if (!BY_PING.includes(name)) assert.ok(hostile.taken() < MOST_TAKEN, `${hostile.taken()} bytes were taken`);
  });
}

test("a peer that reads nothing of what it asked for is noticed by its pings", TIMEOUT, async (t) => {
  const hostile = await listen(t, {
    "/v1/egress": (socket) => {
      socket.pause();
      // No stream may be sent a byte.
      socket.write(Buffer.concat([HEAD, frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])), times(200, (n) => opened(2 * n + 1))]));
    },
  });
  const link = await open(t, hostile, { pings: { everyMs: 20, answerMs: 100 } });
  assert.match(await link.closed, /broke/);
});
