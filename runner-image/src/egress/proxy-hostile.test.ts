import assert from "node:assert/strict";
import { once } from "node:events";
import { constants } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { startChannel, startForwarder, startHostile, startUpstream, tunnelTo } from "./testdata/channel.ts";
import type { Channel } from "./testdata/channel.ts";
import { helloOf } from "./testdata/hello.ts";
import { neededBytes } from "./testdata/memory.ts";

const HOST = "api.example";

function open(session: ClientHttp2Session, headers: OutgoingHttpHeaders): ClientHttp2Stream {
  const stream = session.request(headers, { endStream: false });
  stream.on("error", () => undefined);
  return stream;
}

function over(stream: ClientHttp2Stream): Promise<unknown> {
  return stream.closed && stream.destroyed ? Promise.resolve() : new Promise((done) => stream.once("close", done));
}

/** Waits, turn by turn: for what other turns of this process bring about. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}

/** Handles of this process that keep it alive, without timers, which the test runner has too. */
function sockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name.startsWith("TCP")).length;
}

test("streams that say nothing sensible are answered, and the next one is served", async (t) => {
  const channel = startChannel(t);
  const session = await startHostile(t, channel);
  const strange: OutgoingHttpHeaders[] = [
    { ":method": "CONNECT", ":authority": "" },
    { ":method": "CONNECT", ":authority": "x".repeat(10_000) },
    { ":method": "CONNECT", ":authority": "a b:443" },
    { ":method": "CONNECT", ":authority": "[::1:443" },
    { ":method": "FLY", ":scheme": "http", ":authority": "a.example", ":path": "/" },
    { ":method": "GET", ":scheme": "gopher", ":authority": "a.example", ":path": "/" },
    { ":method": "GET", ":scheme": "http", ":path": "/" },
    { ":method": "GET", ":scheme": "http", ":authority": "a.example:99999", ":path": "\u00ff" },
    { ":method": "OPTIONS", ":scheme": "http", ":authority": "a.example", ":path": "*" },
    { ":method": "GET", ":scheme": "http", ":authority": "u:p@a.example", ":path": "/", ...Object.fromEntries(Array.from({ length: 90 }, (_, place) => [`x-${place}`, "y".repeat(100)])) },
  ];
  let answered = 0;
  for (const headers of strange) {
    const stream = open(session, headers).resume();
    let status: unknown;
    stream.once("response", (answer) => (status = answer[":status"]));
    await over(stream);
    // HTTP/2 itself refuses some of them.
    assert.ok(status === 400 || status === 403 || stream.rstCode === constants.NGHTTP2_PROTOCOL_ERROR, `${String(headers[":authority"])} ${String(status)} ${stream.rstCode}`);
    answered += status === undefined ? 0 : 1;
  }
  assert.ok(answered >= 5, `${answered} answers`);
  assert.equal(channel.notes.length, answered);
  assert.deepEqual(channel.lines, []);
});

test("headers beyond number and size end their stream or session, never the process", async (t) => {
  const channel = startChannel(t);
  for (const headers of [Object.fromEntries(Array.from({ length: 1000 }, (_, place) => [`x-${place}`, "y"])), { "x-long": "y".repeat(100_000) }]) {
    const session = await startHostile(t, channel);
    const stream = open(session, { ":method": "CONNECT", ":authority": "a.example:443", ...headers });
    await over(stream);
    session.destroy();
  }
  const { status } = await tunnelTo(await startForwarder(t, channel), "a.example:443");
  assert.equal(status, 403);
});

test("bodies that nobody wants hold nothing up", async (t) => {
  const channel = startChannel(t);
  const session = await startHostile(t, channel);
  const streams = Array.from({ length: 60 }, () => {
    const stream = open(session, { ":method": "POST", ":scheme": "http", ":authority": "a.example", ":path": "/" });
    stream.write(Buffer.alloc(200_000));
    return stream.resume();
  });
  await Promise.all(streams.map(over));
  assert.equal(channel.notes.length, 60);
});

test("a flood of refusals is answered at a pace, and the flood's end is the pace's end", async (t) => {
  const channel = startChannel(t);
  const session = await startHostile(t, channel);
  const begunMs = performance.now();
  let open_ = 0;
  let done = 0;
  await new Promise<void>((finish) => {
    const next = (): void => {
      while (open_ < 100 && done + open_ < 400) {
        open_++;
        open(session, { ":method": "CONNECT", ":authority": `h${done}.example:443` }).resume().once("close", () => {
          open_--;
          done++;
          if (done === 400) finish();
          else next();
        });
      }
    };
    next();
  });
  // 200 at once, and 200 of which each had to wait 5 ms more.
  assert.ok(performance.now() - begunMs > 900);
  assert.equal(channel.notes.length, 400);
});

/** Streams that are given up at any moment of their life. */
async function churn(session: ClientHttp2Session, { authority, hello, count }: { authority: string; hello: Buffer; count: number }): Promise<void> {
  for (let place = 0; place < count; place += 40) {
    const batch = Array.from({ length: 40 }, (_, at) => {
      const stream = open(session, { ":method": "CONNECT", ":authority": at % 5 === 4 ? "other.example:443" : authority });
      const give = (): void => stream.close(constants.NGHTTP2_CANCEL);
      const moments: readonly (() => void)[] = [
        give,
        () => stream.once("response", give),
        () => stream.once("response", () => stream.write(hello.subarray(0, 40), give)),
        () => stream.once("response", () => stream.write(hello)).once("data", give),
        () => stream.once("response", () => stream.end(hello)),
        () => stream.end(),
        () => void stream.once("response", () => stream.destroy()),
      ];
      moments[(place + at) % moments.length]?.();
      // Node's client closes no stream that has something to be read.
      return over(stream.resume());
    });
    await Promise.all(batch);
  }
}

test("thousands of streams that are given up at any moment leave nothing behind", { timeout: 300_000 }, async (t) => {
  const upstream = await startUpstream(t);
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }] });
  const hello = await helloOf({ servername: HOST });
  const authority = `${HOST}:${upstream.port}`;
  const round = async (): Promise<void> => {
    const session = await startHostile(t, channel);
    await churn(session, { authority, hello, count: 400 });
    session.destroy();
    await until(() => upstream.sockets.size === 0);
  };
  await round();
  await round();
  const before = { sockets: sockets(), bytes: neededBytes() };
  for (let rounds = 0; rounds < 4; rounds++) await round();
  await until(() => sockets() <= before.sockets);
  const grown = neededBytes() - before.bytes;
  assert.ok(grown < 1600 * 4096, `${grown} bytes kept of 1600 streams`);
  assert.deepEqual(channel.lines, []);
  const { status } = await tunnelTo(await startForwarder(t, channel), authority);
  assert.equal(status, 200);
});

test("a sandbox that vanishes takes every connection with it", async (t) => {
  const upstream = await startUpstream(t);
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }] });
  const hello = await helloOf({ servername: HOST });
  const session = await startHostile(t, channel);
  const streams = Array.from({ length: 100 }, (_, place) => {
    const stream = open(session, { ":method": "CONNECT", ":authority": `${HOST}:${upstream.port}` });
    if (place % 2 === 0) stream.write(hello);
    return once(stream, "response");
  });
  await Promise.all(streams);
  await until(() => upstream.sockets.size === 100);
  session.destroy();
  await until(() => upstream.sockets.size === 0);
});

test("resets faster than any program's end the session, and the next one is served", async (t) => {
  const channel = startChannel(t);
  const session = await startHostile(t, channel);
  const flood = (): void => {
    for (let place = 0; place < 100 && !session.destroyed; place++) open(session, { ":method": "CONNECT", ":authority": "a.example:443" }).close(constants.NGHTTP2_CANCEL);
  };
  while (!session.destroyed) {
    flood();
    await turn();
  }
  const { status } = await tunnelTo(await startForwarder(t, channel), "a.example:443");
  assert.equal(status, 403);
});

test("garbage in place of frames ends the session only", async (t) => {
  const channel: Channel = startChannel(t);
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const garbage = [Buffer.from("GET / HTTP/1.1\r\n\r\n"), preface, Buffer.concat([preface, Buffer.alloc(100, 0xff)]), Buffer.concat([preface, Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])])];
  for (const bytes of garbage) {
    const socket = await channel.openSocket();
    socket.end(bytes);
    await once(socket.resume(), "close");
  }
  const { status } = await tunnelTo(await startForwarder(t, channel), "a.example:443");
  assert.equal(status, 403);
});
