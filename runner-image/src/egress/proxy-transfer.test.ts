import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { pipeline } from "node:stream/promises";
import { Readable, Writable } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startChannel, startForwarder, startHostile, startUpstream, tunnelTo } from "./testdata/channel.ts";
import { helloOf } from "./testdata/hello.ts";
import { neededBytes } from "./testdata/memory.ts";

const HOST = "api.example";
const MIB = 1024 * 1024;
const TOTAL = 64 * MIB;
const PIECE = Buffer.from(Array.from({ length: 64 * 1024 }, (_, place) => (place * 31) % 251));

/** The first bytes, then so many more. */
async function* sending(first: Buffer, total: number): AsyncGenerator<Buffer> {
  yield first;
  for (let sent = 0; sent < total; sent += PIECE.length) yield PIECE;
}

async function digestOf(first: Buffer, total: number): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of sending(first, total)) hash.update(piece);
  return hash.digest("hex");
}

/** Resolves when a number has stopped to grow. Too early does no harm: it is looked at for being too high. */
async function stalled(current: () => number): Promise<number> {
  for (let last = -1, same = 0; same < 20; ) {
    await sleep(10);
    same = current() === last ? same + 1 : 0;
    last = current();
  }
  return current();
}

test("64 MiB both ways through forwarder and proxy arrive as they were sent, in bounded memory", { timeout: 300_000 }, async (t) => {
  const upstream = await startUpstream(t);
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }] });
  const hello = await helloOf({ servername: HOST });
  const { socket } = await tunnelTo(await startForwarder(t, channel), `${HOST}:${upstream.port}`);
  const before = neededBytes();
  let peak = 0;
  let chunks = 0;
  const hash = createHash("sha256");
  const slow = new Writable({
    write(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      if (++chunks % 256 === 0) peak = Math.max(peak, neededBytes() - before);
      // A turn for each chunk: everybody else is faster.
      setImmediate(done);
    },
  });
  await Promise.all([pipeline(Readable.from(sending(hello, TOTAL)), socket, { end: true }), pipeline(socket, slow)]);
  assert.equal(hash.digest("hex"), await digestOf(hello, TOTAL));
  assert.ok(peak > 0 && peak < 16 * MIB, `${peak} bytes held`);
  const [note] = channel.notes;
  assert.deepEqual([note?.sent, note?.received], [TOTAL + hello.length, TOTAL + hello.length]);
});

test("a program that does not read makes the server wait, and the proxy holds little", { timeout: 300_000 }, async (t) => {
  let written = 0;
  const upstream = await startUpstream(t, (socket) => {
    const flood = (): void => {
      while (written < 512 * MIB) {
        written += PIECE.length;
        if (!socket.write(PIECE)) {
          socket.once("drain", flood);
          return;
        }
      }
    };
    socket.once("data", flood).resume();
  });
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }] });
  const session = await startHostile(t, channel);
  const stream = session.request({ ":method": "CONNECT", ":authority": `${HOST}:${upstream.port}` });
  stream.on("error", () => undefined);
  await once(stream, "response");
  stream.write(await helloOf({ servername: HOST }));
  await stalled(() => written);
  const [note] = channel.notes;
  assert.ok(note !== undefined && note.received < 2 * MIB, `${String(note?.received)} bytes taken from the server`);
  // Somebody else goes on meanwhile.
  const other = session.request({ ":method": "CONNECT", ":authority": "other.example:443" });
  const [{ ":status": status }] = (await once(other.resume(), "response")) as [{ ":status": number }];
  assert.equal(status, 403);
  stream.destroy();
});

test("a server that does not read makes the program wait, and the proxy holds little", { timeout: 300_000 }, async (t) => {
  const upstream = await startUpstream(t, (socket) => void socket.pause());
  const channel = startChannel(t, { hosts: [{ host: HOST, ports: [upstream.port] }] });
  const session = await startHostile(t, channel);
  const stream = session.request({ ":method": "CONNECT", ":authority": `${HOST}:${upstream.port}` });
  stream.on("error", () => undefined);
  await once(stream, "response");
  const before = neededBytes();
  pipeline(Readable.from(sending(await helloOf({ servername: HOST }), 512 * MIB)), stream).catch(() => undefined);
  const taken = await stalled(() => channel.notes[0]?.sent ?? 0);
  // The system's buffers for a socket take some; what the proxy holds beyond is little.
  assert.ok(taken < 64 * MIB, `${taken} bytes taken from the program`);
  assert.ok(neededBytes() - before < 16 * MIB);
  stream.destroy();
});
